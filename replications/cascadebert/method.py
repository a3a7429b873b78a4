"""CascadeBERT (Li et al., Findings of EMNLP 2021): a complete small model first, the big one for what it passes on.

Notation: models M_1 .. M_m in order of cost, each with embeddings, encoder, pooler and classifier of its own; depths
k_1 .. k_m; z_i (B, C) the logits of M_i, C classes.

    p_i = softmax(z_i),  c_i = max_k p_i[k]                   confidence; no temperature
    L   = sum_i CE(z_i, y) + lambda L_DAR                     M_i share nothing, so each is trained on its own part
    L_DAR = mean over easy a of max(0, eps - (c_1(a) - c_1(b)))      b: a hard example drawn for each easy one
    use   answer with the first M_i whose c_i > tau, strictly; else with M_m

Nothing that M_i computed is used by M_{i+1}: who is passed on starts again from the text. Read in the official code
and the first author's posts; the paper's own text could not be had.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.early_exit.rules import ConfidenceAbove
from common.encoders.opening import OpenEncoder, layered
from common.encoders.pooling import POOLINGS
from common.errors import UserError
from common.models.classifier import EncoderClassifier, task_loss
from common.training.batches import Batch

# -- The cascade, in the form that the exit runtime takes -------------------------------------------------------------


class Cascade(nn.Module):
    """Complete models as a model with exits: "layer" i is all of M_i, and what flows between them is the text.

    The runtime takes out of the batch whom M_i settles, so that M_{i+1} is computed for the others alone. (The official
    code runs every model on everyone and picks afterwards.)
    """

    def __init__(self, models: Sequence[EncoderClassifier]) -> None:
        """The models in order of cost.

        Raises:
            UserError: there are fewer than two, or they do not answer with the same number of classes.
        """
        super().__init__()
        if len(models) < 2:
            raise UserError(f"a cascade needs at least two models, a small one and a big one; got {len(models)}")
        outputs = [model.head.classifier.out_features for model in models]
        if len(set(outputs)) > 1:
            raise UserError(
                f"the models of a cascade must answer with the same labels; they have {', '.join(map(str, outputs))}. "
                "Fine-tune them on the same task"
            )
        self.models = nn.ModuleList(models)

    @property
    def num_layers(self) -> int:
        """m, the number of models: each is one step of the runtime."""
        return len(self.models)

    @property
    def depths(self) -> tuple[int, ...]:
        """k_1 .. k_m, the layers of each model."""
        return tuple(self._model(i).encoder.num_layers for i in range(1, 1 + self.num_layers))

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """The texts themselves: (B, L, 1) token ids, or (B, L, 2) with segment ids, and their (B, L) mask."""
        columns = [batch.input_ids] if batch.token_type_ids is None else [batch.input_ids, batch.token_type_ids]
        return torch.stack(columns, dim=-1), batch.attention_mask

    def layer(self, index: int, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """The texts again: the next model starts from them."""
        return hidden

    def exit_logits(self, index: int, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """z_i from the texts; columns in which nobody has a token any more are cut off."""
        if mask is None:
            raise ValueError("a cascade keeps the attention mask of its texts, even where nothing is padded")
        longest = int(mask.sum(1).max())
        texts, mask = hidden[:, :longest], mask[:, :longest]
        segments = texts[..., 1] if texts.shape[-1] == 2 else None
        model = self._model(index)
        states, attended = model.encoder.encode(texts[..., 0], mask, segments)
        logits: Tensor = model.head(POOLINGS[model.pooling](states, attended))
        return logits

    def save(self, folder: Path) -> None:
        """Write each model to a folder of its own in `folder`."""
        for index in range(1, 1 + self.num_layers):
            (folder / f"model-{index}").mkdir(exist_ok=True)
            self._model(index).save(folder / f"model-{index}")

    @staticmethod
    def load(folder: Path, open_encoder: OpenEncoder = layered) -> Cascade:
        """Read what `save` wrote, in evaluation mode; `open_encoder` says how encoders are to be opened."""
        count = sum(path.name.startswith("model-") for path in folder.iterdir())
        return Cascade(
            [EncoderClassifier.load(folder / f"model-{i}", open_encoder) for i in range(1, 1 + count)]
        ).eval()

    def _model(self, index: int) -> EncoderClassifier:
        model = self.models[index - 1]
        assert isinstance(model, EncoderClassifier)
        return model


# -- Use: who is passed on, and what that costs -----------------------------------------------------------------------


def settles_above(threshold: float) -> ConfidenceAbove:
    """M_i settles what it is surer of than tau = `threshold`, strictly: tau = 1 passes everything on.

    Raises:
        UserError: the threshold is not a probability.
    """
    return ConfidenceAbove(threshold)


def executed_layers(settled_by: Tensor, depths: Sequence[int]) -> Tensor:
    """(N,) layers executed for texts settled by model 1..m: k_1 + .. + k_i; for 2 and 12 layers 2 or 14."""
    return torch.tensor(depths).cumsum(0)[settled_by - 1]


def closed_form(passed_on: float, small: int, big: int) -> float:
    """Speed-up in layers of two models when a share q = `passed_on` reaches the big one: 12 / (2 + 12 q)."""
    return big / (small + big * passed_on)


def share_passed_on(speedup: float, small: int, big: int) -> float:
    """The q at which `closed_form` gives `speedup`.

    Raises:
        UserError: no share does: at most big/small (nothing passed on), at least big/(small + big) (everything).
    """
    share = (big / speedup - small) / big if speedup > 0 else -1.0
    # A share like (6/3 - 2)/6 must count as 0, whichever way it was rounded.
    if not -1e-9 <= share <= 1 + 1e-9:
        raise UserError(
            f"a {small}-layer model before one of {big} layers reaches speed-ups from {big / (small + big):.2f} to "
            f"{big / small:.2f}; got {speedup:g}"
        )
    return min(1.0, max(0.0, share))


# -- Training the small model: difficulty-aware regularisation --------------------------------------------------------


def confidence(logits: Tensor) -> Tensor:
    """(B,) c = max_k softmax(z)[k] of (B, C) logits."""
    return torch.softmax(logits, dim=-1).amax(-1)


def dar_loss(confidences: Tensor, hard: Tensor, margin: float) -> Tensor:
    """L_DAR: mean over the easy examples a of max(0, eps - (c(a) - c(b))), eps = `margin`.

    For every easy example one hard one of the same batch is drawn, with replacement. Without an easy or a hard example
    the loss is 0 (and still carries a gradient, of zeros).

    The draw takes from the random state that dropout draws from, too: a model trained with a weight of 0 is therefore
    not the plainly fine-tuned one, though only by its dropout masks.

    Args:
        confidences: (B,) of the small model.
        hard: (B,) booleans.
        margin: by how much an easy example should be the surer one.
    """
    easy, difficult = confidences[~hard], confidences[hard]
    if len(easy) == 0 or len(difficult) == 0:
        return 0.0 * confidences.sum()
    drawn = difficult[torch.randint(len(difficult), (len(easy),), device=confidences.device)]
    return F.margin_ranking_loss(easy, drawn, torch.ones_like(easy), margin=margin)


def calibrated_loss(hard: Tensor, margin: float, weight: float) -> Callable[[EncoderClassifier, Batch], Tensor]:
    """The small model's part of L: CE(z_1, y) + lambda L_DAR, lambda = `weight`.

    `hard` (N,) holds a boolean for each training example; a batch finds its own by `batch.rows`.
    """

    def loss(model: EncoderClassifier, batch: Batch) -> Tensor:
        logits = model(batch)
        regular = dar_loss(confidence(logits), hard.to(logits.device)[batch.rows], margin)
        return task_loss(logits, batch.labels) + weight * regular

    return loss
