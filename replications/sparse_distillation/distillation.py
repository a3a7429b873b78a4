"""The students of one task run: each is a chain of stages, and each stage is trained once.

DAN (from scratch)        labels of D_train
DAN (KD, no task data)    the teacher's answers on C
DAN (KD)                  the teacher's answers on C u D_train
DAN (KD+FT)               the same, then the labels of D_train

The teacher (stage 1) is the task run's baseline. It reads the task as it is; the students read at most so many words
of a text (`Distillation.read`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from common.costs.estimates import token_estimate
from common.errors import UserError
from common.models.classifier import classifier_logits, task_loss
from common.task_run import TaskRun
from common.tasks.task import Example, Task
from common.training.batches import Batch, BucketedBatches, EncodedSplit, encode
from common.training.loop import TrainingPlan
from replications.sparse_distillation.corpus import cut, unlabelled
from replications.sparse_distillation.design import Design, Student
from replications.sparse_distillation.engine.bags import BagBatch, BagBatches, BagSplit
from replications.sparse_distillation.engine.ngrams import Vocabulary, build_vocabulary
from replications.sparse_distillation.method import DAN, HybridAdam, distillation_loss
from replications.sparse_distillation.names import DISTILLED, PRIVATE, SCRATCH, STUDENT
from replications.sparse_distillation.settings import Settings, settings_of
from replications.sparse_distillation.storage import load_student
from replications.sparse_distillation.students import TokenStudent
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

ACCURACY_TASKS = frozenset({"imdb", "sst-2", "trec", "ag-news", "qqp", "qqp-sample"})
"""The tasks of Table 2 that are at hand: the paper scores them all by accuracy, where GLUE scores QQP by F1."""

EVALUATION_BATCH = 256


# -- What a stage is shown, and what it minimises ---------------------------------------------------------------------


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


# -- One task run -----------------------------------------------------------------------------------------------------


@dataclass
class Distillation:
    """Trains the students of one task run when they are first asked for.

    Attributes:
        task_run: its baseline is the teacher.
        without_corpus: distil on D_train alone.

    Raises:
        UserError: the task is a regression; the student is a classifier.
    """

    task_run: TaskRun
    without_corpus: bool = False

    def __post_init__(self) -> None:
        if self.task.is_regression:
            raise UserError(f"the n-gram student is a classifier; {self.task.name} is a regression. Drop it from TASKS")

    @property
    def settings(self) -> Settings:
        """By scale and source."""
        return settings_of(self.task_run.run.scale.name, self.task_run.run.data)

    @property
    def task(self) -> Task:
        """The labelled data."""
        return self.task_run.task

    @property
    def design(self) -> Design:
        """The student of the main table."""
        return self.settings.design

    @property
    def metric(self) -> str:
        """What answers are scored by: the paper's accuracy on its own tasks, elsewhere the task's metric."""
        return "accuracy" if self.task.name in ACCURACY_TASKS else self.task.metric

    def plan(self, stage: str) -> TrainingPlan:
        """The hyper-parameters of a stage, with the task run's seed."""
        plans = {FROM_SCRATCH: self.settings.from_scratch, FT: self.settings.finetune}
        return replace(plans.get(stage, self.settings.distil), seed=self.task_run.seed)

    # -- What is read -------------------------------------------------------------------------------------------------

    def read(self, examples: Sequence[Example]) -> tuple[Example, ...]:
        """What the students see of these."""
        return cut(examples, self.settings.max_words)

    @cached_property
    def train(self) -> tuple[Example, ...]:
        """D_train, as the students read it."""
        return self.read(self.task.train)

    @cached_property
    def dev(self) -> tuple[Example, ...]:
        """Dev, as the students read it."""
        return self.read(self.task.dev)

    @cached_property
    def corpus(self) -> tuple[Example, ...]:
        """C: unlabelled text."""
        if self.without_corpus:
            return ()
        run, settings = self.task_run.run, self.settings
        return self.read(unlabelled(run, self.task_run.task_name, settings.corpus_words, settings.max_words))

    @property
    def texts(self) -> dict[str, object]:
        """All that the vocabulary depends on beside its size, as JSON."""
        corpus = Task("corpus", (), "", "", self.corpus, ()).fingerprint
        return {"task": self.task.fingerprint, "corpus": corpus, "max_words": self.settings.max_words}

    # -- Stage 1: the teacher's answers on C u D_train, computed once -------------------------------------------------

    @cached_property
    def shown(self) -> EncodedSplit:
        """C, then D_train, as the teacher's token ids."""
        run, examples = self.task_run, (*self.corpus, *self.task.train)
        return encode(run.backbone.tokenizer, examples, regression=False, max_length=run.plan.max_length)

    @cached_property
    def teacher_logits(self) -> Tensor:
        """(N, C) on C, then D_train."""
        run = self.task_run

        def compute() -> dict[str, Tensor]:
            model, total = run.classifier(), len(self.shown)
            advance = lambda done: run.run.progress(done, total)  # noqa: E731
            return {"logits": classifier_logits(model, self.shown, run.device, advance)}

        return run.tensors("sparse-distillation/teacher-logits", self.teacher_recipe, compute)["logits"]

    @property
    def teacher_recipe(self) -> dict[str, object]:
        """All that the teacher's answers depend on, as JSON."""
        return {"teacher": self.task_run.facts, "texts": self.texts}

    # -- The n-gram vocabulary (Section 3.2): the |V| most frequent over D_train and C --------------------------------

    @cached_property
    def vocabulary(self) -> Callable[[int], Vocabulary]:
        """V by its size; two stay in memory, the usual one and one of an experiment."""
        return lru_cache(maxsize=2)(self._vocabulary)

    def _vocabulary(self, size: int) -> Vocabulary:
        """Kept by task, not by task run: every seed has the same."""
        run, examples = self.task_run.run, (*self.train, *self.corpus)

        def texts() -> list[str]:
            return [text for e in examples for text in (e.text_a, e.text_b) if text is not None]

        def make(folder: Path) -> None:
            build_vocabulary(texts, size, scratch=folder / "checkpoint").save(folder)

        recipe = {"kind": "ngram-vocabulary", "size": size, **self.texts}
        name = f"sparse-distillation/vocabulary/{self.task.name}/{size}"
        return Vocabulary.load(run.store.get(name, recipe, make, run.say))

    # -- DANs ---------------------------------------------------------------------------------------------------------

    def folder(self, stages: Stages, design: Design | None = None) -> Path:
        """The folder of the student that these stages make; `load_student` reads it."""
        design = design or self.design
        start = self.folder(stages[:-1], design) if len(stages) > 1 else None
        facts = {
            "stages": list(stages),
            "start": start.name if start else "",
            "design": design.recipe(),
            **self.teacher_recipe,
        }
        return self.taught(
            "sparse-distillation/" + "+".join(stages),
            facts,
            lambda: load_student(start) if start else self.fresh(design),
            lambda: self._shown_in(stages[-1], design),
            self.plan(stages[-1]),
            label_loss if stages[-1] in (FROM_SCRATCH, FT) else teacher_loss,
        )

    def taught(
        self,
        kind: str,
        facts: dict[str, object],
        fresh: Callable[[], Student],
        split: Callable[[], BagSplit],
        plan: TrainingPlan,
        loss: Callable[[DAN, BagBatch], Tensor] = label_loss,
    ) -> Path:
        """The folder of a student that one stage makes of `fresh()`."""
        dropout = self.settings.ngram_dropout
        return self.task_run.trained(
            kind,
            {**facts, "ngram_dropout": dropout, "threads": torch.get_num_threads()},
            fresh,
            lambda: BagBatches(split(), plan.batch_size, plan.seed, dropout),
            loss,
            plan,
            make_optimizer=HybridAdam.for_dan,
        )

    def fresh(self, design: Design) -> Student:
        """An untrained student for this task; its table is random or, as a variant, taken from the teacher."""
        vocabulary, run = self.vocabulary(design.vocabulary_size), self.task_run
        torch.manual_seed(run.seed)
        model = design.build(len(vocabulary), len(self.task.labels), pair=self.task.is_pair)
        if design.initialisation == "teacher":
            copy_teacher_rows(run.backbone, vocabulary, model.table, design.deviation, run.run.progress)
        return model

    def _shown_in(self, stage: str, design: Design) -> BagSplit:
        vocabulary = self.vocabulary(design.vocabulary_size)
        if stage in (FROM_SCRATCH, FT):
            return bag_split(vocabulary, self.train, gold(self.train))
        if stage == KD_NO_TASK_DATA:
            return bag_split(vocabulary, self.corpus, self.teacher_logits[: len(self.corpus)])
        return bag_split(vocabulary, (*self.corpus, *self.train), self.teacher_logits)

    def model(self, stages: Stages, design: Design | None = None) -> Student:
        """A trained student, in evaluation mode."""
        return load_student(self.folder(stages, design))

    def dev_bags(self, design: Design | None = None) -> BagSplit:
        """Dev as bags of a design's vocabulary, with gold labels."""
        return bag_split(self.vocabulary((design or self.design).vocabulary_size), self.dev, gold(self.dev))

    def answers(self, stages: Stages, design: Design | None = None) -> NDArray[np.int64]:
        """(N,) a student's predictions on dev."""
        return dan_logits(self.model(stages, design), self.dev_bags(design)).argmax(-1).numpy()

    # -- Students that read tokens ------------------------------------------------------------------------------------

    def token_student(self, name: str, build: Callable[[Tensor, int], TokenStudent]) -> TokenStudent:
        """A student over the teacher's word embeddings, distilled on C u D_train; `build(embeddings, C)` draws it."""
        run, plan = self.task_run, replace(self.settings.token_students, seed=self.task_run.seed)

        def fresh() -> TokenStudent:
            torch.manual_seed(plan.seed)
            return build(run.backbone.encoder.word_embeddings, len(self.task.labels))

        def batches() -> BucketedBatches:
            return BucketedBatches(replace(self.shown, labels=self.teacher_logits), plan.batch_size, plan.seed)

        facts = {**self.teacher_recipe, "threads": torch.get_num_threads()}
        folder = run.trained(f"sparse-distillation/{name}", facts, fresh, batches, token_loss, plan)
        model = fresh()
        model.load(folder)
        return model.eval()

    def token_answers(self, model: nn.Module) -> NDArray[np.int64]:
        """(N,) its predictions on dev."""
        return classifier_logits(model, self.task_run.encoded.dev, torch.device("cpu")).argmax(-1).numpy()

    # -- What it will cost --------------------------------------------------------------------------------------------

    @property
    def corpus_words(self) -> int:
        """About how many words C has."""
        return 0 if self.without_corpus else self.settings.corpus_words

    @property
    def labelling_seconds(self) -> float:
        """The teacher on corpus and train, on two CPU cores; a word of the corpus is 1.3 tokens."""
        train = self.task_run.pass_seconds(self.task.train)
        return 2 + train * (1 + 1.3 * self.corpus_words / self.task_run.tokens(self.task.train))

    @property
    def student_seconds(self) -> float:
        """One DAN's stage 2, on two CPU cores: what its n-grams cost."""
        return 1 + 4e-6 * (token_estimate(self.task.train) + 1.5 * self.corpus_words) * self.settings.distil.epochs
