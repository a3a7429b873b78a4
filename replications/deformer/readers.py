"""DeFormer on a reading task: which readers are trained, how, and what they answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from common.reading_run import Marks, ReadingRun
from common.run.replication import Step
from common.training.batches import BucketedBatches
from common.training.segments import TwoSegmentBatch
from replications.deformer.method import DeFormer, Direction, LossWeights, plain_loss, taught_loss
from replications.deformer.names import (
    BASELINE,
    CONSTANT,
    DEFORMER,
    FOUND,
    NO_LRS,
    PLAIN,
    PRINTED_KL,
    TEACHER,
    at_k,
    depth_of,
)
from replications.deformer.settings import PUBLISHED_WEIGHTS, Settings
from replications.deformer.weights import search_weights

TEACHER_PASS = 1 / 3
"""A teacher's forward pass beside a training step of as many layers, in time."""


@dataclass(frozen=True)
class Reader:
    """A reader in DeFormer's layout.

    Attributes:
        system: its name in tables.
        k: layers apart; 0 is the teacher.
        weights: of the losses; None: the plain loss.
        direction: of the KL divergence.
    """

    system: str
    k: int
    weights: LossWeights | None = None
    direction: Direction = "code"

    @property
    def setting(self) -> str:
        """Its depth by name; the teacher has but one."""
        return at_k(self.k) if self.k else ""


class Readers:
    """All that is trained on one reading task and seed beside the baseline."""

    def __init__(self, reading: ReadingRun, settings: Settings) -> None:
        self.reading, self.settings = reading, settings

    @property
    def layers(self) -> int:
        """N."""
        return self.reading.num_layers

    @property
    def k(self) -> int:
        """The paper's depth."""
        return depth_of(self.layers)

    @property
    def is_first(self) -> bool:
        """Whether this seed has what a scale spares the others."""
        run = self.reading.run
        return self.reading.seed == run.seeds[0] or not run.scale.spares

    # -- Which --------------------------------------------------------------------------------------------------------

    @property
    def teacher(self) -> Reader:
        """The full model in the same layout."""
        return Reader(TEACHER, 0)

    @property
    def main(self) -> Reader:
        """DeFormer as published."""
        return Reader(DEFORMER, self.k, PUBLISHED_WEIGHTS)

    @property
    def plain(self) -> Reader:
        """Without auxiliary losses."""
        return Reader(PLAIN, self.k)

    @property
    def ablation(self) -> list[Reader]:
        """DeFormer, without LRS (where that is not spared), without both."""
        no_lrs = LossWeights(PUBLISHED_WEIGHTS.alpha, 0.0, PUBLISHED_WEIGHTS.gamma)
        middle = [] if self.settings.leaves_out(self.reading.run) else [Reader(NO_LRS, self.k, no_lrs)]
        readers = [self.main, *middle, self.plain]
        if self.settings.printed_kl and self.is_first:
            readers.append(Reader(PRINTED_KL, self.k, PUBLISHED_WEIGHTS, "paper"))
        return readers

    @property
    def sweep(self) -> list[Reader]:
        """The plain DeFormer at several depths; at the paper's alone where the seed is spared."""
        swept = self.is_first and not self.settings.leaves_out(self.reading.run)
        depths = self.settings.sweep_depths(self.layers) if swept else (self.k,)
        return [Reader(PLAIN, k) for k in depths]

    @property
    def searches(self) -> bool:
        """Whether loss weights are searched here."""
        return self.settings.trials > 0 and self.reading.seed == self.reading.run.seeds[0]

    @property
    def found(self) -> Reader:
        """DeFormer with the weights that the search found."""
        return Reader(FOUND, self.k, self.found_weights)

    @property
    def readers(self) -> list[Reader]:
        """All that answer, each once; those of the search are not among them before it is done."""
        return list(dict.fromkeys([self.teacher, *self.ablation, *self.sweep]))

    # -- Training -----------------------------------------------------------------------------------------------------

    def folder(self, reader: Reader, share: float = 1.0) -> Path:
        """The trained reader; `share` of the training windows is used, the first ones."""
        run = self.reading
        facts = {
            **run.facts,
            "first_position": run.layout.first_position(1),
            "k": reader.k,
            "weights": None if reader.weights is None else asdict(reader.weights),
            "direction": reader.direction,
            "share": share,
            "teacher": self.folder(self.teacher).name if reader.weights else None,
        }
        return run.trained(
            f"deformer-reader-k{reader.k}",
            facts,
            lambda: DeFormer.reader(run.backbone.encoder.first_layers(self.layers), reader.k, run.seed),
            lambda: self._batches(share),
            self._loss(reader),
            run.plan,
        )

    def _batches(self, share: float) -> BucketedBatches[TwoSegmentBatch]:
        run, split = self.reading, self.reading.train_windows.split
        count = max(1, round(share * len(split)))
        return BucketedBatches(split if share == 1.0 else split.first(count), run.plan.batch_size, run.seed)

    def _loss(self, reader: Reader) -> Callable[[DeFormer, TwoSegmentBatch], Tensor]:
        if reader.weights is None:
            return plain_loss
        return taught_loss(self.model(self.teacher), reader.weights, reader.direction)

    def model(self, reader: Reader) -> DeFormer:
        """The trained reader, on the device, in evaluation mode."""
        model: DeFormer = DeFormer.load(self.folder(reader)).to(self.reading.device)
        return model

    def marks(self, reader: Reader, split: str = "dev") -> Marks:
        """What it answers is worth."""
        folder = self.folder(reader)
        kind = f"deformer-answers-k{reader.k}"
        return self.reading.marks(self.reading.answers(kind, folder, lambda: self.model(reader)), split)

    # -- The search for loss weights ----------------------------------------------------------------------------------

    @cached_property
    def found_weights(self) -> LossWeights:
        """The weights with the best F1 on `tune`; every trial is kept, so that a repeated search trains nothing."""
        run = self.reading

        def tune_score(weights: LossWeights) -> float:
            reader, share = Reader(FOUND, self.k, weights), self.settings.trial_share
            folder = self.folder(reader, share)
            answers = run.answers("deformer-trial", folder, lambda: DeFormer.load(folder).to(run.device))
            return 100 * float(run.marks(answers, "tune").f1.mean())

        return search_weights(tune_score, self.settings.trials, run.run.progress).weights

    # -- What it will take --------------------------------------------------------------------------------------------

    def seconds(self, reader: Reader) -> float:
        """Expected seconds to train a reader and to let it answer."""
        trained = self.reading.training_seconds() * (1 + (TEACHER_PASS if reader.weights else 0))
        return trained + self.reading.scored_seconds

    def steps(self) -> Sequence[Step]:
        """Train every reader and let it answer."""
        label = self.reading.label
        steps = [
            Step.making(f"{label}: {r.system} {r.setting}".rstrip(), self.seconds(r), lambda r=r: self.marks(r))  # type: ignore[misc]
            for r in self.readers
        ]
        if self.searches:
            cost = self.settings.trials * self.settings.trial_share * self.seconds(self.main) + self.seconds(self.main)
            name = f"{label}: loss weights by {self.settings.trials} trials, and {DEFORMER} with them"
            steps.append(Step.making(name, cost, lambda: self.marks(self.found)))
        return steps

    # -- Everyone's marks ---------------------------------------------------------------------------------------------

    def all_marks(self) -> dict[tuple[str, str], Marks]:
        """By system and setting, the baseline and the constant answer first; on dev."""
        run = self.reading
        marks = {
            (CONSTANT, ""): run.constant_marks(),
            (BASELINE, ""): run.marks(run.reader_answers()),
        }
        readers = [*self.readers, *([self.found] if self.searches else [])]
        return marks | {(r.system, r.setting): self.marks(r) for r in readers}


def points(marks: NDArray[np.float64]) -> float:
    """Marks 0..1 as a score in points."""
    return 100 * float(marks.mean())
