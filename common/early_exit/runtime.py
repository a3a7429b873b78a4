"""Running an early-exit model for real: batches shrink as samples leave.

Who has left is taken out of the batch (compaction), so that a layer is computed only for those who still need it;
at batch 1 this is the textbook loop. A batch of what few are left runs at a lower rate than a full one: given many
texts and a batch size, those left over of several batches are put together before each layer (pooling). Predictions
and exit layers are those of running each sample alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, Self

import torch
from torch import Tensor

from common.early_exit.rules import ExitRule, ExitState
from common.errors import UserError
from common.training.batches import Batch


class MultiExitModel(Protocol):
    """An encoder with an exit after every layer; the last exit is the ordinary classifier."""

    @property
    def num_layers(self) -> int:
        """n, the number of layers and of exits."""

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """h_0 (B, L, H) and the prepared attention mask (first dimension B), or None if nothing is padded."""

    def layer(self, index: int, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """h_i from h_{i-1}, i = `index` from 1."""

    def exit_logits(self, index: int, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """(B, C) logits of exit i from h_i."""


class MovableMultiExit(MultiExitModel, Protocol):
    """The same as a module, which can be moved to where it computes, and kept."""

    def to(self, device: torch.device, /) -> Self:
        """Itself, there."""

    def save(self, folder: Path) -> None:
        """Write everything that is needed to load it (safetensors and JSON)."""


@dataclass(frozen=True)
class Outcome:
    """How N samples left.

    Attributes:
        logits: (N, C) logits of the exit that each sample took.
        exit_layer: (N,) that exit's layer, 1..n.
    """

    logits: Tensor
    exit_layer: Tensor

    def histogram(self, num_layers: int) -> Tensor:
        """(n,) the share of samples that left at layers 1..n."""
        counts = torch.bincount(self.exit_layer - 1, minlength=num_layers)
        return counts.double() / len(self.exit_layer)

    def layer_saving(self, num_layers: int) -> float:
        """The share of layers not executed: 1 - sum_i i N_i / (n N) (DeeBERT, equation 2)."""
        return 1.0 - self.exit_layer.double().mean().item() / num_layers


@torch.inference_mode()
def run_early_exit(model: MultiExitModel, batch: Batch, rule: ExitRule, at_once: int | None = None) -> Outcome:
    """Run `batch` through `model`, letting samples leave by `rule`; at layer n everyone leaves.

    The rule sees float32 logits on the model's device.

    Args:
        model: with an exit after every layer.
        batch: the texts. The states of all that have not left are held in memory.
        rule: who leaves.
        at_once: a layer is computed for at most so many samples at a time, all that are left counted together; by
            default for all of them.

    Raises:
        UserError: the batch is empty, or `at_once` is below 1.
    """
    _refuse_empty(len(batch.input_ids))
    if at_once is not None and at_once < 1:
        raise UserError(f"a batch holds at least one text; got a batch size of {at_once}")
    hidden, mask = model.embed(batch)
    size, device = len(hidden), hidden.device
    rows = torch.arange(size, device=device)
    exit_layer = torch.full((size,), model.num_layers, device=device)
    final: Tensor | None = None
    history: list[Tensor] = []
    for index in range(1, model.num_layers + 1):
        hidden = _by_parts(partial(model.layer, index), hidden, mask, at_once)
        history.append(_by_parts(partial(model.exit_logits, index), hidden, mask, at_once))
        if final is None:
            final = history[0].new_empty(size, history[0].shape[-1])
        if index == model.num_layers:
            final[rows] = history[-1]
            break
        leaving = rule(ExitState(history, rows))
        count = int(leaving.sum())
        if count == 0:
            continue
        if count == len(rows):
            final[rows], exit_layer[rows] = history[-1], index
            break
        final[rows[leaving]], exit_layer[rows[leaving]] = history[-1][leaving], index
        staying = ~leaving
        rows = rows[staying]
        hidden = hidden[staying]
        mask = None if mask is None else mask[staying]
        history = [logits[staying] for logits in history]
    if final is None:
        raise ValueError("a model needs at least one layer")
    return Outcome(final, exit_layer)


def _by_parts(
    compute: Callable[[Tensor, Tensor | None], Tensor], hidden: Tensor, mask: Tensor | None, at_once: int | None
) -> Tensor:
    """`compute` on at most `at_once` samples at a time."""
    if at_once is None or len(hidden) <= at_once:
        return compute(hidden, mask)
    parts = hidden.split(at_once)
    masks = [None] * len(parts) if mask is None else mask.split(at_once)
    return torch.cat([compute(part, part_mask) for part, part_mask in zip(parts, masks, strict=True)])


def early_exit_arm(model: MultiExitModel, rule: ExitRule) -> Callable[[Batch], Tensor]:
    """For the clock: a function that runs a batch and returns its logits."""
    return lambda batch: run_early_exit(model, batch, rule).logits


def all_exits(model: MultiExitModel, batch: Batch) -> Tensor:
    """(B, n, C) logits of every exit, nobody leaving and no rule asked; for training, sweeps, and the cost of exits."""
    hidden, mask = model.embed(batch)
    layers = []
    for index in range(1, model.num_layers + 1):
        hidden = model.layer(index, hidden, mask)
        layers.append(model.exit_logits(index, hidden, mask))
    return torch.stack(layers, dim=1)


@torch.inference_mode()
def collect_logits(model: MultiExitModel, batches: Iterable[Batch], count: int, device: torch.device) -> Tensor:
    """(N, n, C) logits of every exit for every example, in the split's order; N = `count`.

    With these at hand any rule is a simulation (see `simulate`), and a sweep of thresholds costs nothing.
    """
    collected: Tensor | None = None
    for cpu_batch in batches:
        logits = all_exits(model, cpu_batch.to(device)).cpu()
        if collected is None:
            collected = logits.new_empty(count, *logits.shape[1:])
        collected[cpu_batch.rows] = logits
    if collected is None:
        raise ValueError("there are no batches to collect logits from")
    return collected


def simulate(logits: Tensor, rule: ExitRule) -> Outcome:
    """What `run_early_exit` would answer, from the (N, n, C) logits of all exits.

    Raises:
        UserError: there are no samples.
    """
    size, num_layers, _ = logits.shape
    _refuse_empty(size)
    exit_layer = torch.full((size,), num_layers)
    rows = torch.arange(size)
    for index in range(1, num_layers):
        leaving = rule(ExitState(logits[rows, :index].unbind(1), rows))
        exit_layer[rows[leaving]] = index
        rows = rows[~leaving]
    return Outcome(logits[torch.arange(size), exit_layer - 1], exit_layer)


def _refuse_empty(size: int) -> None:
    if size == 0:
        raise UserError("the batch is empty: leaving early needs at least one text")
