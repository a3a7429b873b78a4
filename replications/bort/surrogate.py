"""e-hat: the cross-entropy of a candidate's outputs against those of the maximum point, after n steps of plain SGD.

Nothing is trained to convergence. Every candidate sees the same batches from the same seed; weights are clipped after
each step, as the algorithm's conditions ask. The error is taken on rows that were held back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from common.costs.estimates import training_seconds
from common.devices import available_device, float32_training
from common.errors import UserError
from common.run.replication import Step
from common.training.pretraining.batches import MaskedBatch, MaskedBatches
from common.training.pretraining.language_model import MaskedLanguageModel
from common.training.pretraining.masking import Uniform
from replications.bort.method import BORT, SPACE, Architecture, in_order
from replications.bort.settings import Sweep
from replications.bort.student import Pretraining

CLIP = 1.0
"""Weights are kept within [-CLIP, CLIP] (ours)."""

ORDERED = tuple(in_order(SPACE.candidates))

STEP_SECONDS = 0.05
"""Of one step of one candidate beside its arithmetic, for estimates alone."""


@dataclass(frozen=True)
class Answered:
    """Batches with the maximum point's log-probabilities at their masked positions, (M, V) each."""

    batches: Sequence[MaskedBatch]
    answers: Sequence[Tensor]

    @staticmethod
    @torch.no_grad()
    def by(teacher: MaskedLanguageModel, batches: Iterator[MaskedBatch]) -> Answered:
        """Ask the maximum point."""
        moved = [batch.to(available_device()) for batch in batches]
        return Answered(moved, [F.log_softmax(teacher(batch).float(), dim=-1) for batch in moved])

    @property
    def masks(self) -> NDArray[np.int64]:
        """(S,) masked tokens of each row."""
        ones = [torch.ones(len(batch.places), dtype=torch.double) for batch in self.batches]
        return self.by_row(ones).long().numpy()

    def by_row(self, values: Sequence[Tensor]) -> Tensor:
        """(S,) values at masked positions, (M,) a batch, summed over each row."""
        sums = []
        for batch, found in zip(self.batches, values, strict=True):
            row = torch.div(batch.places, batch.input_ids.shape[1], rounding_mode="floor").cpu()
            sums.append(torch.zeros(len(batch.input_ids), dtype=torch.double).index_add(0, row, found.double().cpu()))
        return torch.cat(sums)


def cross_entropy(logits: Tensor, answers: Tensor) -> Tensor:
    """(M,) -sum_v p_T(v) log p(v) of (M, V) logits against the maximum point's log-probabilities."""
    return -(answers.exp() * F.log_softmax(logits.float(), dim=-1)).sum(dim=-1)


def errors_after(
    model: MaskedLanguageModel, steps: Sequence[int], rate: float, train: Answered, held: Answered
) -> dict[int, NDArray[np.float64]]:
    """(S,) cross-entropies, summed over the masked tokens of each row held back, after each number of steps.

    Args:
        model: an untrained candidate; it is trained in place.
        steps: n, ascending; at least 1.
        rate: of plain SGD.
        train: one batch a step.
        held: on what the error is taken.

    Raises:
        UserError: a number of steps below 1, or more than there are batches.
    """
    if not steps or min(steps) < 1 or max(steps) > len(train.batches):
        raise UserError(f"expected 1 to {len(train.batches)} steps of the error surrogate, found {list(steps)}")
    model.to(available_device()).train()
    found = {}
    for n, (batch, answers) in enumerate(zip(train.batches, train.answers, strict=True), 1):
        if n > max(steps):
            break
        model.zero_grad()
        cross_entropy(model(batch), answers).mean().backward()
        with torch.no_grad():
            for weight in model.parameters():
                if weight.grad is not None:
                    weight.sub_(rate * weight.grad).clamp_(-CLIP, CLIP)
        if n in steps:
            found[n] = taken(model, held)
    return found


@torch.no_grad()
def taken(model: MaskedLanguageModel, held: Answered) -> NDArray[np.float64]:
    """(S,) the error by row, without dropout."""
    model.eval()
    values = [cross_entropy(model(batch), answers) for batch, answers in zip(held.batches, held.answers, strict=True)]
    model.train()
    return held.by_row(values).numpy()


@dataclass(frozen=True)
class Surrogate:
    """The errors of a run's candidates with one seed, each trained once and kept."""

    pretraining: Pretraining
    seed: int

    @cached_property
    def train(self) -> Answered:
        """A batch for every step."""
        plan = self.pretraining.settings.search
        most = max(n for sweep in plan.sweeps for n in sweep.steps)
        source = self.pretraining.reading.batches(Uniform(), plan.batch_size, self.seed)
        return Answered.by(self.pretraining.teacher_model, islice(_endless(source), most))

    @cached_property
    def held(self) -> Answered:
        """The first rows that are held back."""
        batches = self.pretraining.reading.held_back(self.pretraining.settings.search.held_back).epoch(0)
        return Answered.by(self.pretraining.teacher_model, islice(batches, 1))

    @staticmethod
    def places(sweep: Sweep) -> list[int]:
        """Which candidates a sweep trains, as places in their order."""
        return sorted({*range(0, len(ORDERED), sweep.every), ORDERED.index(BORT)})

    def errors(self, sweep: Sweep, rate: float) -> dict[int, dict[int, NDArray[np.float64]]]:
        """By n and place: (S,) errors by row."""
        plan, run = self.pretraining.settings.search, self.pretraining.run
        places = self.places(sweep)
        facts = {
            "kind": "bort-error-surrogate",
            "teacher": self.pretraining.teacher.fingerprint,
            **self.pretraining.reading.facts,
            "places": places,
            "steps": sweep.steps,
            "rate": rate,
            "clip": CLIP,
            "shrink": plan.shrink,
            "batch_size": plan.batch_size,
            "held_back": plan.held_back,
            "seed": self.seed,
        }

        def make(folder: object) -> None:
            found = {}
            for done, place in enumerate(places, 1):
                for n, values in self._of(ORDERED[place], sweep.steps, rate).items():
                    found[f"{n}/{place}"] = torch.from_numpy(values)
                run.progress(done, len(places))
            save_file(found, f"{folder}/errors.safetensors")

        folder = run.store.get(f"bort-error-surrogate/rate {rate:g}/seed{self.seed}", facts, make, run.say)
        kept: Mapping[str, Tensor] = load_file(folder / "errors.safetensors")
        return {n: {place: kept[f"{n}/{place}"].numpy() for place in places} for n in sweep.steps}

    def _of(self, architecture: Architecture, steps: Sequence[int], rate: float) -> dict[int, NDArray[np.float64]]:
        model = self.pretraining.fresh(architecture.shrunk(self.pretraining.settings.search.shrink), self.seed)
        with float32_training(), torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.seed)
            return errors_after(model, steps, rate, self.train, self.held)

    def steps(self) -> list[Step]:
        """A step for each sweep and rate."""
        plan, made = self.pretraining.settings.search, []
        for sweep in plan.sweeps:
            for rate in plan.rates:
                name = f"seed {self.seed}: error surrogates, {len(self.places(sweep))} candidates, rate {rate:g}"
                task: Callable[[], object] = partial(self.errors, sweep, rate)
                made.append(Step.making(name, self._seconds(sweep), task))
        return made

    def _seconds(self, sweep: Sweep) -> float:
        plan = self.pretraining.settings.search
        tokens = max(sweep.steps) * plan.batch_size * self.pretraining.settings.length
        layers = sum(ORDERED[place].shrunk(plan.shrink).parameters for place in self.places(sweep))
        return 1 + training_seconds(layers, tokens) + STEP_SECONDS * max(sweep.steps) * len(self.places(sweep))


def _endless(source: MaskedBatches) -> Iterator[MaskedBatch]:
    epoch = 0
    while True:
        yield from source.epoch(epoch)
        epoch += 1
