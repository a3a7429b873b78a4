"""SENTEE and TOKEE: a classifier after every layer, and the rules by which sentences or single words leave.

Layers i = 1..n, words of a sentence, tags c = 1..C, uncertainty u, window W = 2k + 1, threshold d. The body of the
paper could not be had: the method is that of the official code (V0/), whose files are named where they decide.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from common.encoders.layer_parts import LayerParts, layer_parts
from common.encoders.layered import LayeredEncoder
from common.errors import UserError
from common.models.classifier import load_with_metadata
from common.models.tagger import TagHead, of_words, tag_loss
from common.training.word_pieces import NO_WORD, TaggedBatch

DROPOUT = 0.3
"""Before every classifier (V0/main.py)."""

Copy = Literal["before norm", "after norm"]
BEFORE_NORM: Copy = "before norm"
AFTER_NORM: Copy = "after norm"

# -- The model --------------------------------------------------------------------------------------------------------


class TokenExits(nn.Module):
    """An encoder with a token classifier z_i = W_i h + b_i after every layer.

    Attributes:
        copy: what a word that has left carries upward. `before norm` (keep_norm_same=1, the README's setting): the sum
            before the final LayerNorm of the layer at which it left, to which every later layer's LayerNorm is applied.
            `after norm`: the state itself, as the prose has it.
    """

    def __init__(self, encoder: LayeredEncoder, heads: nn.ModuleList, copy: Copy = BEFORE_NORM) -> None:
        super().__init__()
        self.encoder, self.heads, self.copy = encoder, heads, copy

    @staticmethod
    def fresh(encoder: LayeredEncoder, tags: int, seed: int, copy: Copy = BEFORE_NORM) -> TokenExits:
        """`encoder` with untrained classifiers."""
        torch.manual_seed(seed)
        deviation = encoder.config.initializer_range
        heads = (TagHead(encoder.hidden_size, tags, DROPOUT).initialise(deviation) for _ in range(encoder.num_layers))
        return TokenExits(encoder, nn.ModuleList(heads), copy)

    @property
    def num_layers(self) -> int:
        """The depth n, which is also the number of classifiers."""
        return self.encoder.num_layers

    @cached_property
    def layers(self) -> tuple[LayerParts, ...]:
        """The encoder's layers taken apart, looked up once: of a short sentence the search would cost a good part."""
        return tuple(layer_parts(self.encoder, i) for i in range(1, self.num_layers + 1))

    def forward(self, batch: TaggedBatch, exits: Tensor | None = None) -> Tensor:
        """(B, W, n, C) logits of every layer; with `exits` (B, W), a layer for each word, words halt there.

        A word that has halted is copied upward and remains readable; the later classifiers see the copy.
        """
        states = self._states(batch) if exits is None else self._halted(batch, exits)
        return torch.stack([head(of_words(h, batch)) for head, h in zip(self.heads, states, strict=True)], dim=2)

    def _states(self, batch: TaggedBatch) -> list[Tensor]:
        """h_1..h_n, everyone computed to the end."""
        return self.encoder.hidden_states(batch.input_ids, batch.attention_mask)[1:]

    def _halted(self, batch: TaggedBatch, exits: Tensor) -> list[Tensor]:
        """h_1..h_n where the pieces of a word are computed up to its layer, then copied; for training, all computed."""
        h, mask = self.encoder.embed(batch.input_ids, batch.attention_mask)
        until = of_pieces(exits, batch.word_of, special=self.num_layers)
        r, states = h, []
        for i, parts in enumerate(self.layers, 1):
            goes_on = (until >= i)[..., None]
            computed = parts.all_before_norm(h, mask)
            if self.copy == BEFORE_NORM:
                r = torch.where(goes_on, computed, r)
                h = parts.norm(r)
            else:
                h = torch.where(goes_on, parts.norm(computed), h)
            states.append(h)
        return states

    def save(self, folder: Path) -> None:
        """Write encoder and classifiers to `folder`."""
        self.encoder.save(folder / "encoder")
        state = {key: value.contiguous() for key, value in self.heads.state_dict().items()}
        save_file(state, folder / "heads.safetensors", metadata={"copy": self.copy})

    @staticmethod
    def load(folder: Path) -> TokenExits:
        """Read what `save` wrote, in evaluation mode."""
        state, about = load_with_metadata(folder / "heads.safetensors")
        tags, hidden = state["0.classifier.weight"].shape
        count = sum(key.endswith("classifier.bias") for key in state)
        heads = nn.ModuleList(TagHead(hidden, tags, DROPOUT) for _ in range(count))
        heads.load_state_dict(state)
        copy = AFTER_NORM if about["copy"] == AFTER_NORM else BEFORE_NORM
        return TokenExits(LayeredEncoder.load(folder / "encoder"), heads, copy).eval()


def of_pieces(of_words: Tensor, word_of: Tensor, special: int | bool) -> Tensor:
    """(B, L) what holds of the word that a piece belongs to, out of (B, W); `special` for [CLS], [SEP] and padding.

    All pieces of a word share its fate (copy_wordpiece=all).
    """
    values = of_words.gather(1, word_of.clamp_min(0))
    return torch.where(word_of == NO_WORD, torch.full_like(values, special), values)


# -- Stage 1: all layers together -------------------------------------------------------------------------------------


def by_depth(losses: Tensor) -> Tensor:
    """L = sum_i i L_i / sum_i i, of (n,) losses; for twelve layers the weights sum to 78."""
    weights = torch.arange(1, len(losses) + 1, dtype=losses.dtype, device=losses.device)
    return (weights * losses).sum() / weights.sum()


def joint_loss(model: Callable[[TaggedBatch], Tensor], batch: TaggedBatch) -> Tensor:
    """Every layer's mean cross-entropy over the words, weighted by depth."""
    return by_depth(torch.stack([tag_loss(logits, batch.labels) for logits in model(batch).unbind(2)]))


# -- Uncertainty and who leaves ---------------------------------------------------------------------------------------


def uncertainty(logits: Tensor) -> Tensor:
    """Normalised entropy u = -sum_c p_c log p_c / log C over the last dimension, between 0 and 1.

    From the log-softmax: the official form log sum e^z - sum z e^z / sum e^z (V0/utils.py) overflows for large logits.
    """
    log_p = torch.log_softmax(logits.float(), dim=-1)
    return -(log_p.exp() * log_p).sum(-1) / math.log(logits.shape[-1])


def window_maximum(u: Tensor, is_word: Tensor, window: int) -> Tensor:
    """The largest u within k = (W - 1) / 2 words on either side, in the last dimension; padding never wins.

    Raises:
        UserError: the window is even or below 1.
    """
    check_window(window)
    kept = u.masked_fill(~is_word, -math.inf)
    return F.max_pool1d(kept.flatten(0, -2)[:, None], window, stride=1, padding=window // 2)[:, 0].view_as(u)


def check_window(window: int) -> None:
    """Refuse a window that has no middle.

    Raises:
        UserError: it is even or below 1.
    """
    if window < 1 or window % 2 == 0:
        raise UserError(
            f"a window is an odd number of words, 1, 3, 5, ...: a word and as many on either side; got {window}"
        )


class Rule(Protocol):
    """Who leaves after layer i of n: (B, W) of the active words, from the u (B, W) of all words."""

    def __call__(self, u: Tensor, is_word: Tensor, active: Tensor, i: int, n: int) -> Tensor:
        """Not asked at the last layer, where everyone leaves."""

    def exits(self, u: Tensor, is_word: Tensor) -> Tensor:
        """(B, W) layers at which words would leave if nobody halted, from the u (B, W, n) of every layer."""


@dataclass(frozen=True)
class SentenceBelow:
    """SENTEE: a sentence leaves when the largest u of its words is strictly below d, at every layer the same."""

    threshold: float

    def __post_init__(self) -> None:
        _check_threshold(self.threshold)

    def __call__(self, u: Tensor, is_word: Tensor, active: Tensor, i: int, n: int) -> Tensor:
        """All words of a sentence, or none."""
        largest = u.masked_fill(~is_word, -math.inf).amax(-1, keepdim=True)
        return active & (largest < self.threshold)

    def exits(self, u: Tensor, is_word: Tensor) -> Tensor:
        """Exact: until it leaves a sentence is computed whole."""
        largest = u.masked_fill(~is_word[..., None], -math.inf).amax(-2, keepdim=True)
        return _first(largest < self.threshold).expand(is_word.shape)


@dataclass(frozen=True)
class WindowBelow:
    """TOKEE: a word leaves when the largest u of its window is strictly below d_i = d, in the upper half of layers 2 d.

    Attributes:
        window: W, odd, in words.
        threshold: d.
        cap: d_i is at most so large; 0.5 in self-sampling (max_threshold_2), no bound in use.
        exited_count: whether who has left still counts in a window with the u of its copy. It does in the official code
            (a line that should set it to -1 has no effect), and so it did for the published numbers.
    """

    window: int
    threshold: float
    cap: float = math.inf
    exited_count: bool = True

    def __post_init__(self) -> None:
        check_window(self.window)
        _check_threshold(self.threshold)

    def threshold_at(self, i: int, n: int) -> float:
        """d_i: doubled for layers 7..12 of 12 (V0/test.py)."""
        return min(self.threshold * (2 if i > n // 2 else 1), self.cap)

    def __call__(self, u: Tensor, is_word: Tensor, active: Tensor, i: int, n: int) -> Tensor:
        """Active words whose window is sure."""
        counted = u if self.exited_count else u.masked_fill(~active, -1.0)
        return active & (window_maximum(counted, is_word, self.window) < self.threshold_at(i, n))

    def exits(self, u: Tensor, is_word: Tensor) -> Tensor:
        """The simulation of self-sampling (V0/utils.py, simulate_ee): the first layer at which a window is sure."""
        n = u.shape[-1]
        pooled = window_maximum(u.movedim(-1, 0), is_word.expand(n, *is_word.shape), self.window).movedim(0, -1)
        limits = torch.tensor([self.threshold_at(i, n) for i in range(1, n + 1)], device=u.device)
        return _first(pooled < limits)


def _check_threshold(threshold: float) -> None:
    if not threshold >= 0:
        raise UserError(f"a threshold on uncertainty is a number from 0 (nobody leaves early) on; got {threshold}")


def _first(leaves: Tensor) -> Tensor:
    """The first layer, 1..n, at which `leaves` (..., n) is true; n where it never is."""
    until = leaves.clone()
    until[..., -1] = True
    return until.int().argmax(-1) + 1
