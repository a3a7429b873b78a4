"""The students of a run: pre-trained once on its plain text, and shared by all its tasks and seeds."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path

import torch
from torch import nn

from common.baselines import RECIPES, Recipe
from common.costs.estimates import FORWARD_FLOPS_PER_SECOND, PIECES_PER_WORD, TRAINING_FLOPS_PER_SECOND
from common.costs.flops import EncoderShape
from common.devices import available_device
from common.encoders.layered import LayeredEncoder
from common.encoders.sources import PretrainedEncoder
from common.records.measurements import write_json
from common.run.replication import Run, Step
from common.task_run import TaskRun
from common.tasks.corpora import FOLDERS, Corpus, find_corpus, texts_as_corpus
from common.tasks.plain_text import find_text
from common.training.loop import TrainingPlan
from common.training.pretraining.encoded import encoded_text
from common.training.pretraining.language_model import MaskedLanguageModel
from common.training.pretraining.pretrainer import Pretrainer, Work, encoder_work, head_work
from common.training.pretraining.scoring import MaskedScore
from common.training.pretraining.teacher import SCORE, TEACHERS, LanguageTeacher, Reading, language_teacher
from common.training.pretraining.words import Words
from replications.distilbert.method import (
    TEMPERATURE,
    SmoothedByFrequency,
    TripleLoss,
    Weights,
    chosen_layers,
    random_student,
    student_of,
)
from replications.distilbert.names import DISTILBERT, NO_CE, NO_COS, NO_MLM, RANDOM, REFERENCE

# -- Hyper-parameters. At the paper's scale they are the official code's where it has them; else ours, see README ------


@dataclass(frozen=True)
class Pretraining:
    """How students are distilled.

    Attributes:
        words: of plain text (None: all there is).
        ablation_words: of each row of Table 4, and of what the rows are compared with.
        plan: `max_length` is the length of a row.
        share: of the positions on which L_ce is computed.
        copy_transform: whether the head's map and norm begin as the teacher's.
    """

    words: int | None
    ablation_words: int | None
    plan: TrainingPlan
    share: float
    copy_transform: bool = True


@dataclass(frozen=True)
class Settings:
    """What is trained how, at one scale.

    Attributes:
        recipe: of the baseline.
        pretraining: of the students.
        fine_tuning: of the students; None: as the static ladder is.
        ablation_tasks: how many tasks the ablations are fine-tuned on; None: all.
    """

    recipe: Recipe
    pretraining: Pretraining
    fine_tuning: TrainingPlan | None = None
    ablation_tasks: int | None = None

    def plan(self, task: str, seed: int) -> TrainingPlan:
        """Of fine-tuning a student."""
        if self.fine_tuning is None:
            return self.recipe.shallow_plan(task, seed)
        return replace(self.fine_tuning, seed=seed)


BETAS = (0.9, 0.98)


def _plan(rate: float, batch_size: int, length: int, epochs: int = 1, **more: object) -> TrainingPlan:
    """The official code's, but for how much and how fast."""
    return TrainingPlan(
        rate,
        epochs,
        batch_size,
        seed=0,
        adam_epsilon=1e-6,
        warmup=0.05,
        max_gradient_norm=5.0,
        max_length=length,
        **more,  # type: ignore[arg-type]
    )


SETTINGS = {
    "smoke": Settings(
        RECIPES["smoke"],
        Pretraining(3_000, 3_000, _plan(2e-3, 16, 32, precision="float32"), share=0.25),
        ablation_tasks=1,
    ),
    "mini": Settings(RECIPES["mini"], Pretraining(60_000, 60_000, _plan(5e-4, 16, 64), share=0.25), ablation_tasks=2),
    "base": Settings(RECIPES["base"], Pretraining(None, 1_000_000, _plan(3e-4, 32, 128), share=0.25)),
    "paper": Settings(
        RECIPES["paper"],
        Pretraining(None, None, _plan(5e-4, 250, 512, epochs=3), share=1.0, copy_transform=False),
        fine_tuning=TrainingPlan(1e-5, epochs=3, batch_size=32, seed=0, warmup=0.1, max_length=128),
    ),
}


# -- Which students ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Variant:
    """A student.

    Attributes:
        name: its system's.
        weights: of the losses.
        from_teacher: whether it begins as its teacher.
        ablation: whether it reads as much as Table 4's rows do.
    """

    name: str
    weights: Weights = Weights()  # noqa: RUF009 (immutable)
    from_teacher: bool = True
    ablation: bool = True

    @property
    def kind(self) -> str:
        """Of its artifacts; on as much text the student and what ablations are compared with are one."""
        return "triple loss" if self.name in (DISTILBERT, REFERENCE) else self.name


MAIN = Variant(DISTILBERT, ablation=False)
VARIANTS = (
    Variant(REFERENCE),
    Variant(NO_CE, Weights(ce=0)),
    Variant(NO_COS, Weights(cos=0)),
    Variant(NO_MLM, Weights(mlm=0)),
    Variant(RANDOM, from_teacher=False),
)
"""Table 4; the others' weights stay as they are."""


@dataclass
class Students:
    """All students of one backbone and text, each made when first asked for.

    Attributes:
        run: whose scale and data.
        backbone: the teacher's encoder, by name.
        corpus: what they read; None: the source's plain text.
    """

    run: Run
    backbone: str
    corpus: Corpus | None = None
    _sources: dict[str, PretrainedEncoder] = field(default_factory=dict)

    @staticmethod
    def of(run: Run) -> Students:
        """Those of a run.

        Raises:
            UserError: the source has no plain text.
        """
        students = Students(run, run.backbone or SETTINGS[run.scale.name].recipe.backbone)
        students.text(MAIN)
        return students

    @staticmethod
    def beside(task_run: TaskRun) -> Students:
        """Those of a run; where its files hold no plain text, of one task: they read its training texts."""
        run = task_run.run
        data_dir = run.data_dir or Path()
        if run.data != "files" or any(find_text(folder, data_dir) for folder in FOLDERS):
            return Students(run, task_run.backbone.name)
        texts = [text for e in task_run.task.train for text in (e.text_a, e.text_b) if text is not None]
        return Students(run, task_run.backbone.name, texts_as_corpus(f"train of {task_run.task_name}", texts))

    @property
    def reads(self) -> str:
        """What they read, for the name of a step."""
        return "plain text" if self.corpus is None else f"the {self.corpus.name}: there is no plain text"

    @property
    def settings(self) -> Pretraining:
        """The scale's."""
        return SETTINGS[self.run.scale.name].pretraining

    @cached_property
    def teacher(self) -> LanguageTeacher:
        """The backbone as a masked-language model."""
        return language_teacher(self.run, self.backbone, self.corpus)

    @property
    def layers(self) -> tuple[int, ...]:
        """The teacher's layers that a student begins as: half of them."""
        depth = self.run.encoder(self.backbone).encoder.num_layers
        return chosen_layers(depth, max(1, depth // 2))

    def text(self, variant: Variant) -> Corpus:
        """What a variant reads."""
        words = self.settings.ablation_words if variant.ablation else self.settings.words
        return self.corpus or find_corpus(self.run.data, self.run.data_dir, words, smoke=self.run.scale.name == "smoke")

    def reading(self, variant: Variant) -> Reading:
        """The same, encoded."""
        tokenizer = self.run.encoder(self.backbone).tokenizer
        text = encoded_text(self.run.store, self.text(variant), tokenizer, self.run.say)
        return Reading(text, Words.of(tokenizer), self.settings.plan.max_length)

    def source(self, variant: Variant = MAIN) -> PretrainedEncoder:
        """A student's encoder with the teacher's tokenizer, ready to be fine-tuned; read once."""
        if variant.name not in self._sources:
            folder, backbone = self.folder(variant), self.run.encoder(self.backbone)
            self._sources[variant.name] = replace(
                backbone,
                encoder=LayeredEncoder.load(folder / "encoder"),
                name=f"{variant.name} of {backbone.name}",
                fingerprint=f"artifact:{folder.name}",
            )
        return self._sources[variant.name]

    def tokens(self, variant: Variant) -> int:
        """Of the rows that a student is trained on, each pass counted; what is held back is not."""
        plan = self.settings.plan
        rows = self.reading(variant).batches(None, plan.batch_size, plan.seed).rows
        return len(rows) * plan.max_length * plan.epochs

    def score(self, variant: Variant) -> MaskedScore:
        """How well a student guesses masked words of text held back from all: the end of what `MAIN` reads."""
        folder = self.folder(variant)
        if self.reading(variant).facts == self.reading(MAIN).facts:
            return MaskedScore(**json.loads((folder / SCORE).read_text(encoding="utf-8")))
        return self._scored(variant.name, folder.name, lambda: MaskedLanguageModel.load(folder))

    @property
    def teacher_score(self) -> MaskedScore:
        """How well the teacher does, on the same."""
        if self.teacher.reading.facts == self.reading(MAIN).facts:
            return self.teacher.score
        return self._scored("teacher", self.teacher.fingerprint, self.teacher.model)

    def _scored(self, name: str, fingerprint: str, model: Callable[[], MaskedLanguageModel]) -> MaskedScore:
        """On what is held back of `MAIN`'s text, by who read another."""
        reading = self.reading(MAIN)

        def make(folder: Path) -> None:
            write_json(folder / SCORE, asdict(reading.score(model().eval().to(available_device()))))

        recipe = {"kind": "distilbert-score", "model": fingerprint, **reading.facts}
        folder = self.run.store.get(f"distilbert-score/{name}", recipe, make, self.run.say)
        return MaskedScore(**json.loads((folder / SCORE).read_text(encoding="utf-8")))

    def folder(self, variant: Variant = MAIN) -> Path:
        """A student, distilled."""
        settings, teacher, reading = self.settings, self.teacher, self.reading(variant)
        counts = torch.from_numpy(reading.text.counts)
        masking = SmoothedByFrequency(counts, reading.words.padding)
        facts = {
            "teacher": teacher.fingerprint,
            **reading.facts,
            "weights": asdict(variant.weights),
            "temperature": TEMPERATURE,
            "share": settings.share,
            "layers": list(self.layers),
            "from teacher": variant.from_teacher,
            "copy transform": settings.copy_transform,
            "masking": [masking.share, masking.exponent],
            "betas": list(BETAS),
        }

        @cache
        def loss() -> TripleLoss:
            return TripleLoss(teacher.model().to(available_device()), variant.weights, share=settings.share)

        def fresh() -> MaskedLanguageModel:
            student = student_of(
                teacher.model(), self.layers, settings.plan.seed, copy_transform=settings.copy_transform
            )
            return student if variant.from_teacher else random_student(student, settings.plan.seed)

        def finish(student: MaskedLanguageModel, folder: Path) -> None:
            score = reading.score(student)
            self.run.say(f"{variant.name} {score.sentence}")
            write_json(folder / SCORE, asdict(score))

        return Pretrainer.of(self.run).trained(
            f"distilbert, {variant.kind}",
            facts,
            fresh,
            lambda: reading.batches(masking, settings.plan.batch_size, settings.plan.seed),
            lambda student, batch: loss()(student, batch),
            settings.plan,
            Work(self.flops_per_token(variant), self._shapes[0]),
            make_optimizer=adamw,
            finish=finish,
        )

    # -- What it takes ------------------------------------------------------------------------------------------------

    @property
    def _shapes(self) -> tuple[EncoderShape, EncoderShape]:
        """Student's and teacher's."""
        whole = EncoderShape.from_config(self.run.encoder(self.backbone).encoder.config)
        return replace(whole, layers=len(self.layers)), whole

    def flops_per_token(self, variant: Variant) -> float:
        """Of a step: the student forth and back, the teacher forth, both heads where they are computed."""
        (small, whole), weights, length = self._shapes, variant.weights, self.settings.plan.max_length
        encoders = encoder_work(small, length, trained=True) + encoder_work(whole, length, trained=False)
        soft = self.settings.share if weights.ce else 0.0
        heads = head_work(small, soft + (0.15 if weights.mlm else 0.0), trained=True)
        return encoders + heads + head_work(whole, soft, trained=False)

    def seconds(self, variant: Variant) -> float:
        """Expected on two CPU cores."""
        words = self.settings.ablation_words if variant.ablation else self.settings.words
        tokens = PIECES_PER_WORD * (words or 8_000_000) * self.settings.plan.epochs
        return 3 + tokens * self.flops_per_token(variant) / TRAINING_FLOPS_PER_SECOND

    @property
    def scoring_seconds(self) -> float:
        """Of guessing on the common part, by the teacher and the ablations where they read another text."""
        settings, (small, whole) = self.settings, self._shapes
        if settings.ablation_words == settings.words:
            return 2.0
        length, readers = settings.plan.max_length, [whole, *(small for _ in VARIANTS)]
        flops = sum(
            encoder_work(shape, length, trained=False) + head_work(shape, 0.15, trained=False) for shape in readers
        )
        held_back = 0.02 * PIECES_PER_WORD * (settings.words or 8_000_000)
        return 2 + held_back * flops / FORWARD_FLOPS_PER_SECOND

    def steps(self, variants: Sequence[Variant]) -> list[Step]:
        """Make the teacher, then these students."""
        recipe, (_, whole) = TEACHERS[self.run.scale.name], self._shapes
        work = encoder_work(whole, recipe.plan.max_length, trained=True) + head_work(whole, 0.15, trained=True)
        tokens = PIECES_PER_WORD * (recipe.words or 8_000_000) * recipe.plan.epochs
        seconds = 3 + tokens * work / TRAINING_FLOPS_PER_SECOND
        steps = [
            Step.making(
                f"{self.backbone} as a masked-language model, on {self.reads}", seconds, lambda: self.teacher.score
            )
        ]
        for variant in variants:
            name = f"{variant.name}: pre-training on {self.reads}"
            steps.append(Step.making(name, self.seconds(variant), lambda v=variant: self.folder(v)))  # type: ignore[misc]
        return steps


def adamw(module: nn.Module, plan: TrainingPlan) -> torch.optim.Optimizer:
    """AdamW with the official code's second beta, over what requires gradients."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    return torch.optim.AdamW(
        parameters,
        lr=plan.learning_rate,
        betas=BETAS,
        eps=plan.adam_epsilon,
        weight_decay=plan.weight_decay,
        fused=True,
    )
