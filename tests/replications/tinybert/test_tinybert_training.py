"""What each of TinyBERT's trainings is given: text, loss, optimiser and plan. Nothing is trained."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from kit.toy_run import small_run, toy_task
from torch import Tensor, nn
from torch.nn import functional as F

from common.encoders.layered import LayeredEncoder
from common.run.replication import Run
from common.task_run import TaskRun
from common.training.loop import TrainingPlan, fused_adamw
from common.training.pretraining.observed import observe
from common.training.pretraining.pretrainer import Pretrainer
from common.training.pretraining.words import Words
from replications.tinybert.distillation import Distillation, side_by_side
from replications.tinybert.general import General, slug
from replications.tinybert.method import Student, Students, Texts, TinyClassifier, adamw_by_tensor
from replications.tinybert.names import (
    BERT_TINY,
    BERT_TINY_TD,
    BOTTOM,
    NARROW,
    TINYBERT,
    TINYBERT_GD,
    TOP,
    WITHOUT_ATTN,
    WITHOUT_DA,
    WITHOUT_EMBD,
    WITHOUT_GD,
    WITHOUT_HIDN,
    WITHOUT_PRED,
    WITHOUT_TD,
    WITHOUT_TRM,
)
from replications.tinybert.settings import SETTINGS
from replications.tinybert.students import OBJECTIVES, VARIANTS

MOOD = toy_task("mood", ("sad", "happy"), lambda i: i % 3 > 0)

ALL, UNIFORM_LAYERS = {"embedding", "hidden", "attention"}, (2, 4)
IMITATED: Mapping[str, tuple[set[str], tuple[int, ...]]] = {
    TINYBERT: (ALL, UNIFORM_LAYERS),
    WITHOUT_GD: (ALL, UNIFORM_LAYERS),
    WITHOUT_DA: (ALL, UNIFORM_LAYERS),
    BERT_TINY_TD: (ALL, UNIFORM_LAYERS),
    WITHOUT_EMBD: ({"hidden", "attention"}, UNIFORM_LAYERS),
    WITHOUT_TRM: ({"embedding"}, UNIFORM_LAYERS),
    WITHOUT_ATTN: ({"embedding", "hidden"}, UNIFORM_LAYERS),
    WITHOUT_HIDN: ({"embedding", "attention"}, UNIFORM_LAYERS),
    TOP: (ALL, (3, 4)),
    BOTTOM: (ALL, (1, 2)),
}
"""What a student of two layers learns of a teacher of four, by hand: which terms, from which layers."""


@dataclass(frozen=True)
class Training:
    """What `trained` was given."""

    fresh: Callable[[], nn.Module]
    batches: Callable[[], Any]
    loss: Callable[[Any, Any], Tensor]
    plan: TrainingPlan
    make_optimizer: object


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> dict[str, Training]:
    """By kind, of general students after `general/`; what notes them stands in the place of both ways to train."""
    seen: dict[str, Training] = {}

    def recorder(of: str) -> Callable[..., Path]:
        def trained(
            self: object,
            kind: str,
            facts: object,
            fresh: Any,
            batches: Any,
            loss: Any,
            plan: TrainingPlan,
            *work: object,
            make_optimizer: object = fused_adamw,
            **finish: object,
        ) -> Path:
            seen[of + kind] = Training(fresh, batches, loss, plan, make_optimizer)
            return Path(kind)

        return trained

    monkeypatch.setattr(Pretrainer, "trained", recorder("general/"))
    monkeypatch.setattr(TaskRun, "trained", recorder(""))
    return seen


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return small_run(tmp_path_factory.mktemp("run"), MOOD)


@pytest.fixture
def mood(run: Run, trainings: dict[str, Training], monkeypatch: pytest.MonkeyPatch) -> Distillation:
    """Its texts count as augmented, and an untrained teacher as trained."""
    task_run = TaskRun.of(run, "mood", 0)
    found = Distillation(task_run, General(run, task_run.backbone))
    teacher = TinyClassifier.fresh(task_run.backbone.encoder, 2, seed=0)
    monkeypatch.setattr(Distillation, "teacher", lambda self: teacher)
    found.__dict__.update(augmented=list(task_run.task.train), teacher_logits={})
    return found


def make_all(d: Distillation) -> None:
    """All trainings of a run."""
    d.general.folder(NARROW)
    d.general.ablated_folder(TOP)
    d.general.direct_folder()
    d.teacher_folder()
    d.folder(TINYBERT)


# -- Text -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["tinybert-narrow", "tinybert-ablations", "bert-tiny-masked-words"])
def test_general_distillation_sees_masked_text(mood: Distillation, trainings: dict[str, Training], kind: str) -> None:
    """As version 1 of the official code did: 15 % of the tokens are chosen, eight tenths of them masked."""
    make_all(mood)
    words = Words.of(mood.general.source.tokenizer)
    batches = list(trainings[f"general/{kind}"].batches().epoch(0))
    tokens = sum(int(words.maskable(batch.input_ids).sum()) for batch in batches)
    masked = sum(int((batch.input_ids == words.mask).sum()) for batch in batches)
    chosen = sum(len(batch.targets) for batch in batches)
    assert chosen / (tokens + masked) == pytest.approx(0.15, abs=0.02)
    assert masked / chosen == pytest.approx(0.8, abs=0.05)


# -- Losses -----------------------------------------------------------------------------------------------------------


def by_hand(student: Student, teacher: LayeredEncoder, texts: Texts, name: str) -> Tensor:
    """L of a student on texts without padding."""
    terms, layers = IMITATED[name]
    mine, wanted, w = observe(student.encoder, *texts), observe(teacher, *texts), student.projection
    parts = []
    if "embedding" in terms:
        parts.append(F.mse_loss(w(mine.hidden[0]), wanted.hidden[0]))
    for m, n in enumerate(layers, 1):
        if "hidden" in terms:
            parts.append(F.mse_loss(w(mine.hidden[m]), wanted.hidden[n]))
        if "attention" in terms:
            parts.append(F.mse_loss(mine.scores[m - 1], wanted.scores[n - 1]))
    return torch.stack(parts).sum()


def check_losses(training: Training, teacher: LayeredEncoder, texts: Texts, batch: object, *names: str) -> None:
    """Students that differ: two that changed places would have another sum."""
    size = SETTINGS["smoke"].narrow.shape(teacher.config)
    students = {name: Student.fresh(size, teacher.hidden_size, seed).eval() for seed, name in enumerate(names)}
    with torch.no_grad():
        for student in students.values():
            for p in student.parameters():
                p.mul_(5.0)
        found = training.loss(Students({slug(name): student for name, student in students.items()}), batch)
        expected = torch.stack([by_hand(student, teacher, texts, name) for name, student in students.items()])
    assert len({round(x, 3) for x in expected.tolist()}) == len(names)
    torch.testing.assert_close(found, expected.sum(), rtol=1e-4, atol=1e-5)


def test_general_students_imitate_what_their_rows_say(mood: Distillation, trainings: dict[str, Training]) -> None:
    """On the masked text that they see."""
    make_all(mood)
    assert set(OBJECTIVES) == {WITHOUT_EMBD, WITHOUT_TRM, WITHOUT_ATTN, WITHOUT_HIDN, TOP, BOTTOM}
    for kind, names in (("tinybert-narrow", (TINYBERT,)), ("tinybert-ablations", tuple(OBJECTIVES))):
        training = trainings[f"general/{kind}"]
        batch = next(iter(training.batches().epoch(0)))
        teacher = mood.general.source.encoder
        check_losses(training, teacher, (batch.input_ids, None, batch.token_type_ids), batch, *names)


@pytest.mark.parametrize("name", [TINYBERT, WITHOUT_EMBD, WITHOUT_DA])
def test_the_first_step_imitates_what_its_rows_say(
    mood: Distillation, trainings: dict[str, Training], name: str
) -> None:
    """Of the fine-tuned teacher; alone, side by side on the augmented texts, and on the original ones."""
    mood.first_step(name)
    training, group = trainings[f"tinybert-layers-{NARROW}"], side_by_side(name)
    batch = mood.task_run.encoded.train.batch([0])
    texts = (batch.input_ids, batch.attention_mask, batch.token_type_ids)
    check_losses(training, mood.teacher().encoder, texts, batch, *group)


def test_every_student_of_the_tables_imitates_what_was_checked() -> None:
    """The others are not distilled on the task, or begin the second step as TinyBERT itself."""
    groups = {name for variant in IMITATED for name in side_by_side(variant)}
    assert groups == set(IMITATED) == set(VARIANTS) - {WITHOUT_PRED, WITHOUT_TD, BERT_TINY, TINYBERT_GD}


# -- Optimisers and plans ---------------------------------------------------------------------------------------------


def test_gradients_are_clipped_by_tensor_wherever_a_student_learns(
    mood: Distillation, trainings: dict[str, Training]
) -> None:
    """By the official code's optimiser: no clipping of all gradients together, no decay of biases and norms."""
    make_all(mood)
    teacher = trainings.pop("tinybert-teacher")
    assert set(trainings) == {
        "general/tinybert-narrow",
        "general/tinybert-ablations",
        "general/bert-tiny-masked-words",
        "tinybert-layers-narrow",
        "tinybert-narrow",
    }
    for kind, training in trainings.items():
        plan = training.plan
        assert training.make_optimizer is adamw_by_tensor, kind
        found = (plan.max_gradient_norm, plan.weight_decay, plan.adam_epsilon, plan.warmup)
        assert found == (None, 0.01, 1e-6, 0.1), kind
    assert teacher.plan == mood.task_run.plan, "it is the baseline's twin"
    assert teacher.make_optimizer is fused_adamw


@pytest.mark.parametrize("scale", SETTINGS)
def test_the_plans_of_every_scale_leave_clipping_to_the_optimiser(scale: str) -> None:
    settings = SETTINGS[scale]
    for plan in (settings.general, settings.intermediate_of("cola", 0), settings.prediction_of(0)):
        adamw_by_tensor(nn.Linear(2, 2), plan)
