"""General distillation: students of the pre-trained teacher, made once for all tasks and seeds of a run.

The teacher is the encoder as it was pre-trained. What the students see is the corpus with some words masked, as the
models behind the paper's numbers did; nothing but the layers' losses is asked of them. Students that are compared are
taught side by side in one pass of the teacher, which costs more than they do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from common.costs.estimates import PIECES_PER_WORD, TRAINING_FLOPS_PER_SECOND
from common.costs.flops import EncoderShape
from common.devices import available_device
from common.encoders.sources import PretrainedEncoder
from common.records.measurements import write_json
from common.run.replication import Run, Step
from common.tasks.corpora import FOLDERS, Corpus, find_corpus, texts_as_corpus
from common.tasks.plain_text import find_text
from common.training.loop import TrainingPlan
from common.training.pretraining.batches import MaskedBatch, MaskedBatches
from common.training.pretraining.encoded import encoded_text
from common.training.pretraining.language_model import LanguageHead, MaskedLanguageModel, language_loss
from common.training.pretraining.masking import Uniform
from common.training.pretraining.observed import observe
from common.training.pretraining.pretrainer import Pretrainer, Work, encoder_work, head_work
from common.training.pretraining.teacher import TEACHERS, LanguageTeacher, Reading, language_teacher
from common.training.pretraining.words import Words
from replications.tinybert.method import (
    Objective,
    Student,
    Students,
    StudentSize,
    Texts,
    adamw_by_tensor,
    attention_loss,
    check_pair,
    imitation_loss,
    mapped_layers,
    states_loss,
)
from replications.tinybert.names import BERT_TINY, NARROW, TINYBERT, TOP
from replications.tinybert.settings import SETTINGS, Settings
from replications.tinybert.students import OBJECTIVES

SCORE = "imitation.json"
OWN_TEXTS = "the task's own texts"

ALL_WORDS = 8_000_000
"""About how many a source of plain text has, where all are taken; for an estimate."""

GENERAL_SEED = 0
"""One general model serves all seeds of the tasks."""


def table_seconds(shape: EncoderShape) -> float:
    """Of a step of AdamW over a word table, whose gradient is dense: memory is what it waits for."""
    return 2.8e-9 * shape.vocabulary * shape.hidden


def slug(name: str) -> str:
    """A system's name as a folder's and a module's."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def texts_of(batch: MaskedBatch) -> Texts:
    """What an encoder takes."""
    return batch.texts


@dataclass(frozen=True)
class General:
    """The general students of a run.

    Attributes:
        run: the scale and the source of plain text.
        source: the pre-trained teacher.
        own_texts: what is distilled on where the source has no plain text beside the tasks; empty: that is an error.
    """

    run: Run
    source: PretrainedEncoder
    own_texts: Sequence[str] = ()

    @property
    def settings(self) -> Settings:
        """Of the scale."""
        return SETTINGS[self.run.scale.name]

    @property
    def plan(self) -> TrainingPlan:
        """Of general distillation."""
        return self.settings.general

    @cached_property
    def corpus(self) -> Corpus:
        """Plain text.

        Raises:
            UserError: there is none.
        """
        if self._own is not None:
            return self._own
        smoke = self.run.scale.name == "smoke"
        return find_corpus(self.run.data, self.run.data_dir, self.settings.words, smoke=smoke)

    @cached_property
    def _own(self) -> Corpus | None:
        """The task's own texts, where they are offered and the data folder has no plain text."""
        if not self.own_texts or self.run.data != "files":
            return None
        there = any(find_text(folder, self.run.data_dir or Path()) for folder in FOLDERS)
        return None if there else texts_as_corpus(OWN_TEXTS, self.own_texts)

    @cached_property
    def reading(self) -> Reading:
        """The same as rows of token ids, some held back."""
        tokenizer = self.source.tokenizer
        text = encoded_text(self.run.store, self.corpus, tokenizer, self.run.say)
        return Reading(text, Words.of(tokenizer), self.plan.max_length)

    @property
    def tokens(self) -> int:
        """How many a general student sees, those seen again counted again."""
        return len(self._batches()) * self.plan.batch_size * self.plan.max_length * self.plan.epochs

    def _batches(self) -> MaskedBatches:
        return self.reading.batches(Uniform(), self.plan.batch_size, self.plan.seed)

    # -- Students -----------------------------------------------------------------------------------------------------

    def fresh(self, size: StudentSize) -> Student:
        """An untrained student of the teacher."""
        encoder = self.source.encoder
        return Student.fresh(size.shape(encoder.config), encoder.hidden_size, GENERAL_SEED)

    def folder(self, setting: str) -> Path:
        """The general student `NARROW` or `WIDE`."""
        together = self._distilled(f"tinybert-{setting}", self.settings.students[setting], {TINYBERT: Objective()})
        return together / slug(TINYBERT)

    def ablated_folder(self, name: str) -> Path:
        """The narrow general student that lacks what an ablation takes away; all of them learn together."""
        return self._distilled("tinybert-ablations", self.settings.narrow, OBJECTIVES) / slug(name)

    def start(self, name: str, objective: Objective) -> Path:
        """Where the narrow student of a system starts."""
        return self.folder(NARROW) if objective == Objective() else self.ablated_folder(name)

    def _distilled(self, kind: str, size: StudentSize, objectives: Mapping[str, Objective]) -> Path:
        teacher, plan = self.source.encoder, self.plan
        named = {slug(name): objective for name, objective in objectives.items()}

        def fresh() -> Students:
            students = Students({name: self.fresh(size) for name in named})
            for name, objective in named.items():
                check_pair(students[name].encoder, teacher, objective)  # type: ignore[arg-type]
            teacher.to(self.device)
            return students

        def finish(students: Students, folder: Path) -> None:
            scores = {name: self._imitation(students[name], objective) for name, objective in named.items()}
            teacher.cpu()
            write_json(folder / SCORE, scores)

        facts = {
            "teacher": self.source.fingerprint,
            "size": [size.layers, size.hidden, size.intermediate],
            "objectives": {name: repr(objective) for name, objective in named.items()},
            "masking": Uniform().share,
            **self.reading.facts,
        }
        return Pretrainer.of(self.run).trained(
            kind,
            facts,
            fresh,
            self._batches,
            imitation_loss(teacher, named, texts_of),
            plan,
            self._work(size, len(named)),
            make_optimizer=adamw_by_tensor,
            finish=finish,
        )

    @torch.inference_mode()
    def _imitation(self, student: torch.nn.Module, objective: Objective) -> dict[str, float]:
        """Mean losses on held-back text, of every kind, whether the student was taught it or not."""
        assert isinstance(student, Student)
        sums, count = {"attention_loss": 0.0, "hidden_loss": 0.0, "embedding_loss": 0.0}, 0
        for cpu_batch in self.reading.held_back().epoch(0):
            texts = cpu_batch.to(self.device).texts
            shown, wanted = observe(student.encoder, *texts), observe(self.source.encoder, *texts)
            states = [student.projection(h) for h in shown.hidden]
            layers = mapped_layers(objective.mapping, len(shown.scores), len(wanted.scores))
            sums["embedding_loss"] += states_loss(states[0], wanted.hidden[0], None).item()
            for m, n in list(enumerate(layers))[1:]:
                share = 1 / (len(layers) - 1)
                sums["hidden_loss"] += share * states_loss(states[m], wanted.hidden[n], None).item()
                sums["attention_loss"] += share * attention_loss(shown.scores[m - 1], wanted.scores[n - 1], None).item()
            count += 1
        return {name: value / count for name, value in sums.items()}

    @property
    def device(self) -> torch.device:
        """Where students are taught."""
        return available_device()

    # -- The rival: the narrow architecture, pre-trained directly -----------------------------------------------------

    def direct_folder(self) -> Path:
        """BERT-tiny: an encoder that learned to guess masked words, on as much text."""
        size, plan = self.settings.narrow, self.plan
        shape = size.shape(self.source.encoder.config)

        def fresh() -> MaskedLanguageModel:
            encoder = self.fresh(size).encoder
            counts = torch.from_numpy(self.reading.text.counts)
            return MaskedLanguageModel(encoder, LanguageHead.fresh(encoder, GENERAL_SEED, counts))

        facts = {"size": [size.layers, size.hidden, size.intermediate], "heads": shape.heads, **self.reading.facts}
        return Pretrainer.of(self.run).trained(
            f"{slug(BERT_TINY)}-masked-words",
            facts,
            fresh,
            self._batches,
            language_loss,
            plan,
            self._direct_work,
            make_optimizer=adamw_by_tensor,
        )

    def direct(self) -> Student:
        """The same as a student that has yet to learn its map to the teacher's width."""
        student = self.fresh(self.settings.narrow)
        encoder = MaskedLanguageModel.load(self.direct_folder()).encoder
        return Student(encoder, student.projection)

    # -- The language model behind augmentation -----------------------------------------------------------------------

    @property
    def language_teacher(self) -> LanguageTeacher:
        """The backbone as a masked-language model: the one that all papers share."""
        return language_teacher(self.run, self.source.name, self._own)

    # -- What it will take --------------------------------------------------------------------------------------------

    @property
    def expected_tokens(self) -> float:
        """About how many a student will see; nothing is read for it."""
        return PIECES_PER_WORD * (self.settings.words or ALL_WORDS) * self.plan.epochs

    def _seconds(self, work: Work, size: StudentSize, students: int = 1) -> float:
        steps = self.expected_tokens / (self.plan.batch_size * self.plan.max_length)
        products = work.flops_per_token * self.expected_tokens / TRAINING_FLOPS_PER_SECOND
        return 2 + products + students * steps * table_seconds(self._shape(size))

    def _shape(self, size: StudentSize) -> EncoderShape:
        return EncoderShape.from_config(size.shape(self.source.encoder.config).config())

    def steps(self, settings: Sequence[str], *, ablated: bool = False, rival: bool = False) -> list[Step]:
        """Make the students of these settings, those of the ablations, and the one that is pre-trained directly.

        Raises:
            UserError: there is no plain text.
        """
        narrow = self.settings.narrow
        where = f" on {self.corpus.name}" if self.corpus.name == OWN_TEXTS else ""
        steps = [
            Step.making(
                f"general distillation{where}: {TINYBERT} {setting}",
                self._seconds(self._work(self.settings.students[setting], 1), self.settings.students[setting]),
                lambda setting=setting: self.folder(setting),  # type: ignore[misc]
            )
            for setting in settings
        ]
        if ablated:
            count = len(OBJECTIVES)
            name = f"general distillation{where}: {count} ablations side by side"
            seconds = self._seconds(self._work(narrow, count), narrow, count)
            steps.append(Step.making(name, seconds, lambda: self.ablated_folder(TOP)))
        if rival:
            seconds = self._seconds(self._direct_work, narrow)
            steps.append(Step.making(f"{BERT_TINY}: masked words", seconds, self.direct_folder))
        return [*steps, Step.making("the language model for augmentation", self._language_seconds, self._language)]

    def _language(self) -> object:
        return self.language_teacher.score

    @property
    def _language_seconds(self) -> float:
        """None where the backbone brings its own head; that is not looked into for an estimate."""
        recipe, shape = TEACHERS[self.run.scale.name], EncoderShape.from_config(self.source.encoder.config)
        flops = encoder_work(shape, recipe.plan.max_length, trained=True) + head_work(shape, 0.15, trained=True)
        tokens = PIECES_PER_WORD * (recipe.words or ALL_WORDS) * recipe.plan.epochs
        return 2 + flops * tokens / TRAINING_FLOPS_PER_SECOND

    @property
    def _direct_work(self) -> Work:
        sizes, length = self._shape(self.settings.narrow), self.plan.max_length
        flops = encoder_work(sizes, length, trained=True) + head_work(sizes, Uniform().share, trained=True)
        return Work(flops, sizes)

    def _work(self, size: StudentSize, students: int) -> Work:
        """One pass of the teacher, and every student's forwards and backwards."""
        teacher = EncoderShape.from_config(self.source.encoder.config)
        length = self.plan.max_length
        taught = students * encoder_work(self._shape(size), length, trained=True)
        flops = encoder_work(teacher, length, trained=False) + taught
        return Work(flops, teacher)
