"""DistilBERT on questions about passages: plain fine-tuning, and (D), with a second distillation while fine-tuning.

The teacher of (D) is the run's plain reader, the backbone fine-tuned on the same questions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from torch import Tensor

from common.models.span_reader import Answers, SpanReader, reader_loss
from common.reading_run import Marks, ReadingRun
from common.records.measurements import Measurement
from common.records.predictions import Array, Evidence
from common.rows import Rows
from common.run.replication import Step
from common.tasks.spans.scoring import ANSWER_F1
from common.training.segments import TwoSegmentBatch
from replications.distilbert.method import SecondDistillation
from replications.distilbert.names import BASELINE, CONSTANT, DISTILBERT, EXACT, F1, TWICE, marks_name
from replications.distilbert.students import SETTINGS, Students


@dataclass(frozen=True)
class Readers:
    """The students of one reading task and seed."""

    reading: ReadingRun
    students: Students

    def steps(self) -> list[Step]:
        """The plain reader, the two students, then their marks."""
        reading = self.reading
        cost = reading.training_seconds(len(self.students.layers)) + reading.scored_seconds / 2
        twice = cost + reading.scored_seconds
        return [
            *reading.reader_steps(),
            Step.making(f"{reading.label}: {DISTILBERT}, fine-tuned", cost, lambda: self.answers(twice=False)),
            Step.making(f"{reading.label}: {TWICE}, distilled again", twice, lambda: self.answers(twice=True)),
            Step(f"{reading.label}: answers", 1.0, self.measure),
        ]

    def folder(self, *, twice: bool) -> Path:
        """A student fine-tuned as a `SpanReader`."""
        reading, source = self.reading, self.students.source()
        plan = SETTINGS[reading.run.scale.name].plan(reading.task_name, reading.seed)
        facts = {**reading.facts, "student": source.fingerprint, "twice": twice}
        loss: Callable[[SpanReader, TwoSegmentBatch], Tensor] = reader_loss
        if twice:
            facts |= {"teacher": reading.reader_folder().name}

            @cache
            def second() -> SecondDistillation:
                return SecondDistillation(reading.reader().eval().requires_grad_(False))

            def loss(model: SpanReader, batch: TwoSegmentBatch) -> Tensor:
                return second()(model, batch)

        return reading.trained(
            "distilbert-reader, distilled again" if twice else "distilbert-reader",
            facts,
            lambda: SpanReader.fresh(source.encoder.first_layers(source.encoder.num_layers), reading.seed),
            lambda: reading.batches,
            loss,
            plan,
        )

    def answers(self, *, twice: bool) -> Mapping[str, Answers]:
        """What a student answers, by split."""
        folder, kind = self.folder(twice=twice), "distilbert-answers, twice" if twice else "distilbert-answers"
        return self.reading.answers(kind, folder, lambda: SpanReader.load(folder).to(self.reading.device))

    def measure(self) -> list[Measurement]:
        """F1 and exact match of everyone, kept question by question."""
        reading = self.reading
        marks = {
            CONSTANT: reading.constant_marks(),
            BASELINE: reading.marks(reading.reader_answers()),
            DISTILBERT: reading.marks(self.answers(twice=False)),
            TWICE: reading.marks(self.answers(twice=True)),
        }
        arrays: dict[str, Array] = {}
        for name, found in marks.items():
            arrays |= {marks_name(name, F1): found.f1, marks_name(name, EXACT): found.exact}
        kept = Evidence(reading.task_name, reading.seed, ANSWER_F1, 0, reading.num_layers, arrays)
        reading.run.keep(kept)
        row = Rows(reading.task_name, reading.seed, reading.backbone.backbone, len(reading.task.dev))
        return [m for name, found in marks.items() for m in _rows(row, name, found)]


def _rows(row: Rows, name: str, marks: Marks) -> list[Measurement]:
    values = ((F1, marks.f1), (EXACT, marks.exact))
    return [row("table1", name, metric, 100 * float(found.mean()), "points") for metric, found in values]
