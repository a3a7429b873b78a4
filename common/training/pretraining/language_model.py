"""A masked-language model: an encoder, and a head over the vocabulary whose last map is the encoder's own word table.

The head is computed on the positions that are asked for alone. Of a row fifteen tokens in a hundred are to be guessed,
and a vocabulary is thirty times as wide as an encoder: on all positions the head would cost more than the encoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.activations import ACT2FN

from common.encoders.checkpoints import WEIGHTS
from common.encoders.layered import LayeredEncoder
from common.errors import UserError
from common.models.classifier import load_with_metadata
from common.training.pretraining.batches import MaskedBatch

HEAD = "language_head.safetensors"

PUBLISHED: Mapping[str, tuple[str, str, str]] = {
    "bert": ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions.bias"),
    "roberta": ("lm_head.dense", "lm_head.layer_norm", "lm_head.bias"),
    "mpnet": ("lm_head.dense", "lm_head.layer_norm", "lm_head.bias"),
    "albert": ("predictions.dense", "predictions.LayerNorm", "predictions.bias"),
}
"""Names of the dense map, the norm and the bias in checkpoints of each type."""

_NORM_NAMES = {"weight": ("weight", "gamma"), "bias": ("bias", "beta")}
"""Checkpoints of TensorFlow's time call a norm's parameters gamma and beta."""


class LanguageHead(nn.Module):
    """z = E norm(act(W h + b)) + c, for E (V, E) the word table, which belongs to the encoder.

    The head of BERT, RoBERTa, MPNet and DistilBERT, where the table is as wide as h, and of ALBERT, where W narrows.
    """

    def __init__(
        self, hidden: int, width: int, vocabulary: int, activation: str = "gelu", epsilon: float = 1e-12
    ) -> None:
        """`hidden` to `width`, the table's; norm with `epsilon`."""
        super().__init__()
        self.dense = nn.Linear(hidden, width)
        self.act = ACT2FN[activation]
        self.norm = nn.LayerNorm(width, eps=epsilon)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, states: Tensor, table: Tensor) -> Tensor:
        """(M, V) logits from states (M, H)."""
        return F.linear(self.norm(self.act(self.dense(states))), table, self.bias)

    @staticmethod
    def fresh(encoder: LayeredEncoder, seed: int, counts: Tensor | None = None) -> LanguageHead:
        """A head for `encoder`: W from N(0, 0.02), c zero, or the logarithm of how often words occur.

        Args:
            encoder: whose states it reads, and whose word table it is tied to.
            seed: of the draw.
            counts: (V,) how often each word occurs.
        """
        config, table = encoder.config, encoder.word_embeddings
        activation = "gelu" if config.model_type != "albert" else config.hidden_act
        head = LanguageHead(encoder.hidden_size, table.shape[1], table.shape[0], activation, config.layer_norm_eps)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            head.dense.weight.normal_(0.0, config.initializer_range, generator=generator)
            head.dense.bias.zero_()
            if counts is not None:
                share = (counts.double() + 0.5) / (counts.double() + 0.5).sum()
                head.bias[: len(counts)] = share.log().float()
        return head

    def save(self, folder: Path) -> None:
        """Write the head to `folder`."""
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        about = {"epsilon": repr(self.norm.eps), "activation": _name_of(self.act)}
        folder.mkdir(parents=True, exist_ok=True)
        save_file(state, folder / HEAD, metadata=about)

    @staticmethod
    def load(folder: Path) -> LanguageHead:
        """Read what `save` wrote."""
        state, about = load_with_metadata(folder / HEAD)
        width, hidden = state["dense.weight"].shape
        head = LanguageHead(hidden, width, len(state["bias"]), about["activation"], float(about["epsilon"]))
        head.load_state_dict(state)
        return head.eval()


def _name_of(act: nn.Module) -> str:
    return next(name for name in ("gelu", "gelu_new", "relu") if isinstance(act, type(ACT2FN[name])))


class MaskedLanguageModel(nn.Module):
    """An encoder with a `LanguageHead` on its word table, which both train."""

    def __init__(self, encoder: LayeredEncoder, head: LanguageHead) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    @property
    def table(self) -> Tensor:
        """(V, E) the word table."""
        weight: Tensor = self.encoder.model.embeddings.word_embeddings.weight
        return weight

    def states(self, batch: MaskedBatch) -> Tensor:
        """h_n (B, L, H)."""
        found: Tensor = self.encoder(*batch.texts)
        return found

    def logits_at(self, states: Tensor, places: Tensor) -> Tensor:
        """(M, V) at the flat positions `places` (M,) of states (B, L, H)."""
        found: Tensor = self.head(states.flatten(0, 1)[places], self.table)
        return found

    def forward(self, batch: MaskedBatch) -> Tensor:
        """(M, V) logits at the masked positions."""
        return self.logits_at(self.states(batch), batch.places)

    def save(self, folder: Path) -> None:
        """Write encoder and head to `folder`."""
        self.encoder.save(folder / "encoder")
        self.head.save(folder)

    @staticmethod
    def load(folder: Path) -> MaskedLanguageModel:
        """Read what `save` wrote, in evaluation mode."""
        return MaskedLanguageModel(LayeredEncoder.load(folder / "encoder"), LanguageHead.load(folder)).eval()


def language_loss(model: MaskedLanguageModel, batch: MaskedBatch) -> Tensor:
    """Cross-entropy at the masked positions, their mean: plain masked-language pre-training."""
    return F.cross_entropy(model(batch), batch.targets)


def published_head(folder: Path, encoder: LayeredEncoder) -> LanguageHead | None:
    """The head in a checkpoint's safetensors, for `encoder`; None where the checkpoint has none.

    Raises:
        UserError: its shapes are not those of the encoder.
    """
    names = PUBLISHED[encoder.config.model_type]
    with safe_open(folder / WEIGHTS, framework="pt") as file:
        known = set(file.keys())
        wanted: dict[str, str] = {}
        for ours, theirs in (("dense", names[0]), ("norm", names[1])):
            for part in ("weight", "bias"):
                options = _NORM_NAMES[part] if ours == "norm" else (part,)
                found = [name for option in options if (name := f"{theirs}.{option}") in known]
                if not found:
                    return None
                wanted[f"{ours}.{part}"] = found[0]
        if names[2] not in known:
            return None
        state = {name: file.get_tensor(theirs) for name, theirs in {**wanted, "bias": names[2]}.items()}
    head = LanguageHead.fresh(encoder, seed=0)
    try:
        head.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f"the language-model head in {folder / WEIGHTS} does not fit its encoder: {error}") from error
    return head.eval()
