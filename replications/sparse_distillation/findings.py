"""What the tables, figures and claims are made of, for one task run: predictions of every system on dev."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from common.records.statistics import Interval, bootstrap_statistic
from common.task_run import TaskRun
from common.tasks.metrics import points_along
from replications.sparse_distillation.distillation import FT, KD, SYSTEMS, Distillation, dan_logits
from replications.sparse_distillation.engine.bags import BagSplit
from replications.sparse_distillation.engine.extraction import Bags, Vocabulary
from replications.sparse_distillation.engine.windows import LONGEST
from replications.sparse_distillation.engine.words import split_texts
from replications.sparse_distillation.method import DAN
from replications.sparse_distillation.names import CNN_STUDENT, LSTM_STUDENT, SMALL, TEACHER
from replications.sparse_distillation.students import CNN, BiLSTM, TokenStudent

Predictions = NDArray[np.int64]


@dataclass
class Findings:
    """Predictions of one task run's systems, each made when first asked for."""

    students: Distillation

    @property
    def task_run(self) -> TaskRun:
        """Whose students they are."""
        return self.students.task_run

    @cached_property
    def labels(self) -> Predictions:
        """(N,) of dev."""
        return self.split.targets.numpy()

    @cached_property
    def split(self) -> BagSplit:
        """Dev as bags."""
        return self.students.dev_bags()

    @cached_property
    def predictions(self) -> dict[str, Predictions]:
        """(N,) on dev, of every system of Table 2, the slowest first."""
        run = self.task_run
        found = {
            TEACHER: run.static_logits()["dev"].argmax(-1).numpy(),
            SMALL: run.static_logits(run.half)["dev"].argmax(-1).numpy(),
        }
        found |= {name: self.students.token_answers(model) for name, model in self.token_students.items()}
        return found | {system: self.students.answers(stages) for system, stages in SYSTEMS.items()}

    @cached_property
    def token_students(self) -> dict[str, TokenStudent]:
        """The distilled Bi-LSTM and CNN: of a run's first seed alone, for they cost as much as all the rest."""
        if self.task_run.seed != self.task_run.run.seeds[0]:
            return {}
        hidden = self.students.settings.lstm
        return {
            LSTM_STUDENT: self.students.token_student(f"lstm-{hidden}", partial(build_lstm, hidden)),
            CNN_STUDENT: self.students.token_student("cnn", CNN),
        }

    @cached_property
    def constant(self) -> Predictions:
        """(N,) the constant answer that scores best on dev."""
        points = points_along(self.students.metric)
        constants = np.tile(np.unique(self.labels)[:, None], len(self.labels))
        best: Predictions = constants[points(constants, self.labels).argmax()]
        return best

    @cached_property
    def student_logits(self) -> Tensor:
        """(N, C) of the student on dev."""
        return dan_logits(self._student, self.split)

    # -- Post-hoc pruning (Section 5.3): n-grams are disabled, the mean runs over those that remain --------------------

    def pruned(self, keep: NDArray[np.bool_]) -> Predictions:
        """(N,) predictions of the student when only the n-grams in `keep` (|V|,) are looked up."""
        second = None if self.split.second is None else restricted(self.split.second, keep)
        split = BagSplit(restricted(self.split.first, keep), second, self.split.targets)
        return dan_logits(self._student, split).argmax(-1).numpy()

    @cached_property
    def _student(self) -> DAN:
        return self.students.model((KD, FT))

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """V."""
        return self.students.vocabulary(self.students.design.vocabulary_size)

    def most_frequent(self, share: float, counts: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(|V|,) the given share of V with the highest counts; ties by id."""
        keep = np.zeros(len(counts), dtype=bool)
        keep[np.argsort(-counts, kind="stable")[: max(1, round(share * len(counts)))]] = True
        return keep

    @cached_property
    def train_counts(self) -> NDArray[np.int64]:
        """(|V|,) how often each n-gram occurs in D_train."""
        return np.bincount(self.train_ids, minlength=len(self.vocabulary))

    @cached_property
    def train_ids(self) -> NDArray[np.int64]:
        """Ids of all known n-grams of D_train, one text after the other."""
        texts = [t for e in self.students.train for t in (e.text_a, e.text_b) if t is not None]
        return self.vocabulary.bags(texts).ids

    # -- Coverage (Figure 6) ------------------------------------------------------------------------------------------

    @cached_property
    def coverage(self) -> NDArray[np.float64]:
        """(N,) share of each dev example's n-grams that are in V; 0 for a text without any."""
        known, there = self.split.first.lengths, count_ngrams([e.text_a for e in self.students.dev])
        if self.split.second is not None:
            known = known + self.split.second.lengths
            there = there + count_ngrams([e.text_b or "" for e in self.students.dev])
        return known / np.maximum(there, 1)

    @property
    def cross_entropy(self) -> NDArray[np.float64]:
        """(N,) in nats, of the student on dev."""
        return F.cross_entropy(self.student_logits, torch.from_numpy(self.labels), reduction="none").numpy()


def build_lstm(hidden: int, embeddings: Tensor, outputs: int) -> BiLSTM:
    """A Bi-LSTM of the given hidden width."""
    return BiLSTM(embeddings, hidden, outputs)


def restricted(bags: Bags, keep: NDArray[np.bool_]) -> Bags:
    """The same texts without the n-grams that are not kept."""
    kept = keep[bags.ids]
    return Bags(bags.ids[kept], np.concatenate([[0], np.cumsum(kept)])[bags.offsets])


def count_ngrams(texts: Sequence[str]) -> NDArray[np.int64]:
    """How many n-grams (n <= 4) each text has, repetitions counted."""
    words = np.diff(split_texts(texts).bounds)
    return sum((np.maximum(words - n + 1, 0) for n in range(1, LONGEST + 1)), np.zeros_like(words))


def score(f: Findings, predictions: Predictions, chosen: NDArray[np.bool_] | slice = slice(None)) -> Interval:
    """In points of the metric, over the chosen examples of dev."""
    points = points_along(f.students.metric)
    return bootstrap_statistic(points, predictions[chosen], f.labels[chosen], resamples=2000)
