"""Sparse Distillation (Ye et al., NAACL 2022), Section 3: a Deep Averaging Network over n-grams learns from a teacher.

Notation: a text x is the list of its n-grams g_1 .. g_m that are in the vocabulary V (1 <= n <= 4, repetitions kept),
d_e the embedding dimension, C classes, B texts in a batch.

    h    = 1/m * sum_i Emb(g_i)             (B, d_e); 0 where no n-gram is known
    z    = W_2 ReLU(W_1 h + b_1) + b_2      (B, C) logits
    KD   minimise KL(teacher || student) over C u D_train, then optionally FT: cross-entropy on D_train

Nearly all parameters are the table's, and an example touches m rows of it. A pair of texts shares the table:
[h_1; h_2; h_1 * h_2; |h_1 - h_2|] goes into the two linear layers.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from common.training.loop import TrainingPlan
from replications.sparse_distillation.engine.bags import Bag, BagBatch

Activation = Callable[[Tensor], Tensor]


# -- Pooling: the n-grams of a text become one vector (Section 3.2; variants of Table 5) ------------------------------


class MeanPooling(nn.Module):
    """The paper's choice: sum / m. The official code clamps m to 1, so that a text without n-grams gives 0."""

    def forward(self, table: Tensor, bag: Bag) -> Tensor:
        """(V, d_e) table to (B, d_e)."""
        return F.embedding_bag(bag.ids, table, bag.offsets, mode="mean", sparse=True)


class SumPooling(nn.Module):
    """The sum, not divided."""

    def forward(self, table: Tensor, bag: Bag) -> Tensor:
        """(V, d_e) table to (B, d_e)."""
        return F.embedding_bag(bag.ids, table, bag.offsets, mode="sum", sparse=True)


class MaxPooling(nn.Module):
    """The largest value of each dimension; 0 for an empty text."""

    def forward(self, table: Tensor, bag: Bag) -> Tensor:
        """(V, d_e) table to (B, d_e)."""
        rows = F.embedding(bag.ids, table, sparse=True)
        start = rows.new_full((len(bag), rows.shape[1]), -torch.inf)
        index = bag.text_of_id[:, None].expand_as(rows)
        largest = start.scatter_reduce(0, index, rows, reduce="amax")
        return torch.where(bag.lengths[:, None] > 0, largest, 0.0)


class AttentivePooling(nn.Module):
    """u_i = v^T tanh(W_g e_i + W_h h), a = softmax(u), pooled = sum_i a_i e_i, with h the mean (Table 5).

    Official code (`attentive_pooling.py`): W_g and W_h without bias, drawn from N(0, 0.001); v starts at 0, with bias.
    """

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.of_ngram = nn.Linear(dimension, dimension, bias=False)
        self.of_mean = nn.Linear(dimension, dimension, bias=False)
        self.value = nn.Linear(dimension, 1)
        for layer in (self.of_ngram, self.of_mean):
            nn.init.normal_(layer.weight, std=0.001)
        nn.init.zeros_(self.value.weight)

    def forward(self, table: Tensor, bag: Bag) -> Tensor:
        """(V, d_e) table to (B, d_e)."""
        rows, text = F.embedding(bag.ids, table, sparse=True), bag.text_of_id
        total = rows.new_zeros(len(bag), rows.shape[1]).index_add(0, text, rows)
        mean = total / bag.lengths.clamp(min=1)[:, None]
        u = self.value(torch.tanh(self.of_ngram(rows) + self.of_mean(mean)[text])).squeeze(-1)
        top = u.new_full((len(bag),), -torch.inf).scatter_reduce(0, text, u.detach(), reduce="amax")
        weight = torch.exp(u - top[text])
        normaliser = weight.new_zeros(len(bag)).index_add(0, text, weight)
        attention = weight / normaliser[text]
        return rows.new_zeros(len(bag), rows.shape[1]).index_add(0, text, attention[:, None] * rows)


# -- The student ------------------------------------------------------------------------------------------------------


class DAN(nn.Module):
    """Deep Averaging Network over n-gram ids (Section 3.2).

    Args:
        vocabulary_size: |V|.
        dimension: d_e.
        outputs: C.
        pair: whether each example is two texts.
        hidden: widths of the hidden layers; the paper's is one of width d_e.
        pooling: how the n-grams of a text become one vector.
        activation: ReLU in the paper's formula; the official code runs tanh.
        dropout: before each linear layer ("pooler dropout").
        deviation: the table is drawn from N(0, deviation); PyTorch's default, which the official code keeps, is 1.
    """

    def __init__(
        self,
        vocabulary_size: int,
        dimension: int,
        outputs: int,
        *,
        pair: bool = False,
        hidden: Sequence[int] | None = None,
        pooling: nn.Module | None = None,
        activation: Activation = F.relu,
        dropout: float = 0.1,
        deviation: float = 1.0,
    ) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(vocabulary_size, dimension).normal_(std=deviation))
        self.pooling = pooling or MeanPooling()
        widths = [4 * dimension if pair else dimension, *(hidden or [dimension]), outputs]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        self.activation, self.dropout = activation, dropout

    def forward(self, batch: BagBatch) -> Tensor:
        """(B, C) logits z."""
        z = self.features(batch)
        for layer in self.layers[:-1]:
            z = self.activation(layer(self._drop(z)))
        logits: Tensor = self.layers[-1](self._drop(z))
        return logits

    def features(self, batch: BagBatch) -> Tensor:
        """(B, d_e) h, or for pairs (B, 4 d_e) [h_1; h_2; h_1 * h_2; |h_1 - h_2|] (Section 4.4)."""
        h1: Tensor = self.pooling(self.table, batch.first)
        if batch.second is None:
            return h1
        h2 = self.pooling(self.table, batch.second)
        return torch.cat([h1, h2, h1 * h2, (h1 - h2).abs()], dim=-1)

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


def example_flops(student: DAN, ngrams: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) FLOPs of examples with so many n-grams: an addition for each number of each row, and the linear layers."""
    weights = [p.numel() for name, p in student.layers.named_parameters() if name.endswith("weight")]
    return ngrams * student.table.shape[1] + 2 * sum(weights)


# -- Losses (Section 3.1) ---------------------------------------------------------------------------------------------


def distillation_loss(logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """sum_j y~_j log(y~_j / y^_j), mean over examples: KL from teacher to student, at temperature 1.

    There is no term for the gold label. (The official loss divides the teacher's logits alone by T: harmless at T = 1.)
    """
    return F.kl_div(F.log_softmax(logits, -1), F.softmax(teacher_logits, -1), reduction="batchmean")


# -- The optimiser (Appendix A.3): with Adam's moments for every row at every step, a 1B table would not fit -----------


class HybridAdam(torch.optim.Optimizer):
    """Lazily updated Adam for the table, whose gradient names the rows that a batch touched; plain Adam for the rest.

    Weight decay holds for the dense parameters alone, as in the official `mixed_adam.py`.
    """

    def __init__(self, table: Tensor, dense: Iterable[Tensor], plan: TrainingPlan) -> None:
        dense = list(dense)
        super().__init__([{"params": dense}, {"params": [table]}], {"lr": plan.learning_rate})
        self._dense_count = len(dense)
        self._dense = torch.optim.AdamW(
            dense, lr=plan.learning_rate, eps=plan.adam_epsilon, weight_decay=plan.weight_decay, fused=True
        )
        self._sparse = torch.optim.SparseAdam([table], lr=plan.learning_rate, eps=plan.adam_epsilon)

    @staticmethod
    def for_dan(model: nn.Module, plan: TrainingPlan) -> HybridAdam:
        """The optimiser of a `DAN`."""
        dense = [p for name, p in model.named_parameters() if name != "table"]
        return HybridAdam(model.get_parameter("table"), dense, plan)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update the rows that have a gradient, and every dense parameter, at the schedule's learning rate."""
        for group, part in zip(self.param_groups, (self._dense, self._sparse), strict=True):
            part.param_groups[0]["lr"] = group["lr"]
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """The moments of both parts, numbered as the parameters are."""
        state = dict(self._dense.state_dict()["state"])
        for slots in self._sparse.state_dict()["state"].values():
            state[self._dense_count] = {name: torch.as_tensor(value) for name, value in slots.items()}
        return {"state": state, "param_groups": super().state_dict()["param_groups"]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        state = dict(state_dict["state"])
        sparse = state.pop(self._dense_count, None)
        if sparse is not None:
            slots = {**sparse, "step": int(sparse["step"])}
            self._sparse.load_state_dict({**self._sparse.state_dict(), "state": {0: slots}})
        self._dense.load_state_dict({**self._dense.state_dict(), "state": state})
        for mine, saved in zip(self.param_groups, state_dict["param_groups"], strict=True):
            mine["lr"] = saved["lr"]
