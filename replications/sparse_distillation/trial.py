"""The students of one task and one seed: each is a chain of stages, and each stage is trained once.

DAN (from scratch)        labels of D_train
DAN (KD, no task data)    the teacher's answers on C
DAN (KD)                  the teacher's answers on C u D_train
DAN (KD+FT)               the same, then the labels of D_train
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from common.tasks.task import Example
from common.training.batches import Batch, BucketedBatches, EncodedSplit
from common.training.classifier import classifier_logits, task_loss
from common.training.finetune import write_report
from common.training.loop import TrainingPlan, fit
from replications.sparse_distillation.engine.bags import BagBatch, BagBatches, BagSplit
from replications.sparse_distillation.lesson import Lesson
from replications.sparse_distillation.method import DAN, HybridAdam, distillation_loss
from replications.sparse_distillation.names import DISTILLED, PRIVATE, SCRATCH, STUDENT
from replications.sparse_distillation.engine.ngrams import Vocabulary
from replications.sparse_distillation.settings import Design
from replications.sparse_distillation.storage import load_dan, save_dan
from replications.sparse_distillation.teacher_rows import copy_teacher_rows

FROM_SCRATCH, KD, KD_NO_TASK_DATA, FT = "from scratch", "KD", "KD, no task data", "FT"

Stages = tuple[str, ...]

SYSTEMS: dict[str, Stages] = {
    SCRATCH: (FROM_SCRATCH,),
    PRIVATE: (KD_NO_TASK_DATA,),
    DISTILLED: (KD,),
    STUDENT: (KD, FT),
}
"""Table 2's rows, by the stages that make them."""

EVALUATION_BATCH = 256


def bag_split(vocabulary: Vocabulary, examples: Sequence[Example], targets: Tensor) -> BagSplit:
    """Examples as bags of n-grams, with what is to be learned of each."""
    second = None
    if examples[0].text_b is not None:
        second = vocabulary.bags([e.text_b or "" for e in examples])
    return BagSplit(vocabulary.bags([e.text_a for e in examples]), second, targets)


def gold(examples: Sequence[Example]) -> Tensor:
    """(N,) class indices."""
    return torch.tensor([int(e.label) for e in examples])


def label_loss(model: DAN, batch: BagBatch) -> Tensor:
    """Cross-entropy on gold labels: training from scratch, and stage 3."""
    return task_loss(model(batch), batch.targets)


def teacher_loss(model: DAN, batch: BagBatch) -> Tensor:
    """Stage 2."""
    return distillation_loss(model(batch), batch.targets)


def token_loss(model: nn.Module, batch: Batch) -> Tensor:
    """Stage 2, for students that read tokens; the batch's labels are the teacher's logits."""
    return distillation_loss(model(batch), batch.labels)


@torch.inference_mode()
def dan_logits(model: DAN, split: BagSplit) -> Tensor:
    """(N, C) for every example, in order."""
    return torch.cat([model(batch) for batch in split.in_order(EVALUATION_BATCH)])


@dataclass
class Trial:
    """Trains the students of one task and seed when they are first asked for."""

    lesson: Lesson
    seed: int

    @property
    def design(self) -> Design:
        """The student of the main table."""
        return self.lesson.settings.design

    def plan(self, stage: str) -> TrainingPlan:
        """The hyper-parameters of a stage, with this trial's seed."""
        settings = self.lesson.settings
        plans = {FROM_SCRATCH: settings.from_scratch, FT: settings.finetune}
        return replace(plans.get(stage, settings.distil), seed=self.seed)

    def vocabulary(self, design: Design) -> Vocabulary:
        """V of a design."""
        return self.lesson.vocabulary(design.vocabulary_size)

    # -- DANs ---------------------------------------------------------------------------------------------------------

    def folder(self, stages: Stages, design: Design | None = None) -> Path:
        """The folder of the student that these stages make; `load_dan` reads it."""
        design = design or self.design
        start = self.folder(stages[:-1], design) if len(stages) > 1 else None
        recipe = {
            "kind": "dan",
            "stages": list(stages),
            "start": start.name if start else "",
            "design": design.recipe(),
            "ngram_dropout": self.lesson.settings.ngram_dropout,
            "task": self.lesson.task.fingerprint,
            "teacher": self.lesson.teacher_recipe,
            "threads": torch.get_num_threads(),
            **self.plan(stages[-1]).recipe(),
        }
        name = f"sparse-distillation/{'+'.join(stages)}/{self.lesson.task_name}/seed{self.seed}"

        def make(folder: Path) -> None:
            vocabulary = self.vocabulary(design)
            torch.manual_seed(self.seed)
            model = load_dan(start) if start else self.fresh(design, vocabulary)
            split, loss = self._teaching(stages[-1], vocabulary)
            self.train(model, split, loss, self.plan(stages[-1]), folder)
            save_dan(model, design, folder)

        return self.lesson.run.store.get(name, recipe, make, self.lesson.run.say)

    def fresh(self, design: Design, vocabulary: Vocabulary) -> DAN:
        """An untrained student for this task; its table is random or, as a variant, taken from the teacher."""
        model = design.build(len(vocabulary), len(self.lesson.task.labels), pair=self.lesson.task.is_pair)
        if design.initialisation == "teacher":
            copy_teacher_rows(self.lesson.source, vocabulary, model.table, design.deviation, self.lesson.run.progress)
        return model

    def _teaching(self, stage: str, vocabulary: Vocabulary) -> tuple[BagSplit, Callable[[DAN, BagBatch], Tensor]]:
        train, corpus = self.lesson.task.train, self.lesson.corpus
        if stage in (FROM_SCRATCH, FT):
            return bag_split(vocabulary, train, gold(train)), label_loss
        logits = self.lesson.teacher_logits
        if stage == KD_NO_TASK_DATA:
            return bag_split(vocabulary, corpus, logits.corpus), teacher_loss
        targets = torch.cat([logits.corpus, logits.train])
        return bag_split(vocabulary, (*corpus, *train), targets), teacher_loss

    def train(
        self,
        model: DAN,
        split: BagSplit,
        loss: Callable[[DAN, BagBatch], Tensor],
        plan: TrainingPlan,
        folder: Path,
    ) -> None:
        """Train `model` in place and note how it went."""
        batches = BagBatches(split, plan.batch_size, plan.seed, self.lesson.settings.ngram_dropout)
        report = fit(
            model,
            batches,
            loss,
            plan,
            checkpoint=folder / "checkpoint" / "loop.safetensors",
            progress=self.lesson.run.progress,
            make_optimizer=HybridAdam.for_dan,
        )
        model.cpu()
        write_report(folder, report)

    def model(self, stages: Stages, design: Design | None = None) -> DAN:
        """A trained student, in evaluation mode."""
        return load_dan(self.folder(stages, design))

    def dev(self, design: Design | None = None) -> BagSplit:
        """Dev as bags of a design's vocabulary, with gold labels."""
        examples = self.lesson.task.dev
        return bag_split(self.vocabulary(design or self.design), examples, gold(examples))

    def answers(self, stages: Stages, design: Design | None = None) -> NDArray[np.int64]:
        """(N,) a student's predictions on dev."""
        return dan_logits(self.model(stages, design), self.dev(design)).argmax(-1).numpy()

    # -- Students that read tokens ------------------------------------------------------------------------------------

    def token_student(self, name: str, build: Callable[[Tensor, int], nn.Module]) -> nn.Module:
        """A student over the teacher's word embeddings, distilled on C u D_train; `build(embeddings, C)` draws it."""
        lesson, logits = self.lesson, self.lesson.teacher_logits
        embeddings = lesson.source.encoder.word_embeddings
        plan = replace(lesson.settings.token_students, seed=self.seed)

        def fresh() -> nn.Module:
            torch.manual_seed(self.seed)
            return build(embeddings, len(lesson.task.labels))

        def make(folder: Path) -> None:
            targets = torch.cat([logits.corpus, logits.train])
            split = joined(lesson.encoded_corpus, lesson.encoded.train, targets)
            batches = BucketedBatches(split, plan.batch_size, plan.seed)
            model = fresh()
            checkpoint = folder / "checkpoint" / "loop.safetensors"
            report = fit(model, batches, token_loss, plan, checkpoint=checkpoint, progress=lesson.run.progress)
            model.cpu()
            write_report(folder, report)
            save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "student.safetensors")

        recipe = {
            "kind": "token-student",
            "name": name,
            "task": lesson.task.fingerprint,
            "teacher": lesson.teacher_recipe,
            "threads": torch.get_num_threads(),
            **plan.recipe(),
        }
        label = f"sparse-distillation/{name}/{lesson.task_name}/seed{self.seed}"
        folder = lesson.run.store.get(label, recipe, make, lesson.run.say)
        model = fresh()
        model.load_state_dict(load_file(folder / "student.safetensors"))
        return model.eval()

    def token_answers(self, model: nn.Module) -> NDArray[np.int64]:
        """(N,) its predictions on dev."""
        return classifier_logits(model, self.lesson.encoded.dev, torch.device("cpu")).argmax(-1).numpy()


def joined(first: EncodedSplit, second: EncodedSplit, labels: Tensor) -> EncodedSplit:
    """Both splits, one after the other, with new labels."""
    types = None
    if first.token_type_ids is not None and second.token_type_ids is not None:
        types = first.token_type_ids + second.token_type_ids
    return EncodedSplit(first.input_ids + second.input_ids, types, labels, first.padding_id)
