"""The distilled n-gram student as a contender: DAN (KD+FT), which has but one setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.early_exit.runtime import Outcome
from common.methods import ONLY, Answer, Contender, Method, Setting
from common.run.replication import Step
from common.tasks.task import Example
from replications.sparse_distillation.corpus import has_unlabelled
from replications.sparse_distillation.distillation import FT, KD, Distillation, bag_split, dan_logits, gold
from replications.sparse_distillation.engine.bags import BagSplit, bag_batch
from replications.sparse_distillation.method import example_flops
from replications.sparse_distillation.names import CONTENDER


class DistilledDAN(Contender):
    """Learns the answers of the task run's baseline on unlabelled text and train, then the labels.

    Where there is no text beside the task's own examples, it learns the baseline's answers on train alone; the name of
    the step says so.
    """

    name = CONTENDER

    @cached_property
    def distillation(self) -> Distillation:
        """How it is trained."""
        run = self.task_run
        return Distillation(run, without_corpus=not has_unlabelled(run.run, run.task_name))

    def training_steps(self) -> Sequence[Step]:
        """The baseline's answers, then vocabulary and student."""
        d, label = self.distillation, self.task_run.label
        where = "train alone: there is no other text" if d.without_corpus else "unlabelled text and train"
        return [
            Step.making(f"{label}: the teacher's answers on {where}", d.labelling_seconds, lambda: d.teacher_logits),
            Step.making(f"{label}: {CONTENDER}, distilled on {where}", 2 * d.student_seconds, self.folder),
        ]

    def folder(self) -> object:
        """The trained student."""
        return self.distillation.folder((KD, FT))

    @property
    def settings(self) -> Sequence[Setting]:
        """One."""
        return [ONLY]

    def outcome(self, split: str, setting: Setting) -> Outcome:
        """After no layer of the backbone."""
        logits = dan_logits(self.distillation.model((KD, FT)), self.bags(split))
        return Outcome(logits, torch.zeros(len(logits), dtype=torch.long))

    def bags(self, split: str) -> BagSplit:
        """The scored examples of a split as bags."""
        d, run = self.distillation, self.task_run
        examples: Sequence[Example] = getattr(run.task, split)
        read = d.read(examples[: len(run.splits[split])])
        return bag_split(d.vocabulary(d.design.vocabulary_size), read, gold(read))

    def flops(self, split: str, setting: Setting) -> NDArray[np.float64]:
        """(N,) an addition for each number of each row, and the linear layers."""
        bags = self.bags(split)
        ngrams = bags.first.lengths + (0 if bags.second is None else bags.second.lengths)
        return example_flops(self.distillation.model((KD, FT)), ngrams.astype(float))

    def answer(self, setting: Setting) -> Answer:
        """From texts to logits, n-gram extraction included; no tokenizer of the backbone's is asked."""
        d, device = self.distillation, self.task_run.timing_device
        model = d.model((KD, FT)).to(device)
        vocabulary, pair = d.vocabulary(d.design.vocabulary_size), d.task.is_pair

        @torch.inference_mode()
        def from_text(examples: Sequence[Example]) -> Tensor:
            read = d.read(examples)
            second = [e.text_b or "" for e in read] if pair else None
            logits: Tensor = model(bag_batch(vocabulary, [e.text_a for e in read], second).to(device))
            return logits

        return from_text

    def save_parts(self, setting: Setting, folder: Path) -> Mapping[str, Any]:
        """The student, the vocabulary, and how much of a text is read."""
        d = self.distillation
        d.model((KD, FT)).save(folder)
        d.vocabulary(d.design.vocabulary_size).save(folder)
        return {"max_words": d.settings.max_words}


METHODS = (Method(CONTENDER, DistilledDAN),)
