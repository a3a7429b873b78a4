"""What each of DistilBERT's pre-trainings is given: masking, losses, start, optimiser and plan. Nothing is trained."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from kit.toy_run import small_run
from torch import Tensor
from toy_teacher import language_model

from common.training.loop import TrainingPlan, fused_adamw
from common.training.pretraining.batches import MaskedBatches
from common.training.pretraining.language_model import MaskedLanguageModel
from common.training.pretraining.pretrainer import Pretrainer
from common.training.pretraining.teacher import LanguageTeacher
from replications.distilbert.method import SmoothedByFrequency, TripleLoss, Weights, student_of
from replications.distilbert.names import DISTILBERT, NO_CE, NO_COS, NO_MLM, RANDOM, REFERENCE
from replications.distilbert.students import MAIN, SETTINGS, VARIANTS, Students

MADE = {
    DISTILBERT: ((5.0, 2.0, 1.0), True),
    REFERENCE: ((5.0, 2.0, 1.0), True),
    NO_CE: ((0.0, 2.0, 1.0), True),
    NO_COS: ((5.0, 2.0, 0.0), True),
    NO_MLM: ((5.0, 0.0, 1.0), True),
    RANDOM: ((5.0, 2.0, 1.0), False),
}
"""Table 4, by hand: the weights of L_ce, L_mlm and L_cos, and whether a student begins as its teacher."""


@dataclass(frozen=True)
class Training:
    """What `trained` was given."""

    fresh: Callable[[], MaskedLanguageModel]
    batches: Callable[[], MaskedBatches]
    loss: Callable[[Any, Any], Tensor]
    plan: TrainingPlan
    make_optimizer: Callable[..., torch.optim.Optimizer]


@pytest.fixture(scope="module")
def teacher() -> MaskedLanguageModel:
    return language_model()


@pytest.fixture(scope="module")
def trainings(tmp_path_factory: pytest.TempPathFactory, teacher: MaskedLanguageModel) -> dict[str, Training]:
    """By the student's name."""
    seen: list[Training] = []

    def trained(
        self: object,
        kind: str,
        facts: object,
        fresh: Any,
        batches: Any,
        loss: Any,
        plan: TrainingPlan,
        work: object,
        *,
        make_optimizer: Any = fused_adamw,
        **finish: object,
    ) -> Path:
        seen.append(Training(fresh, batches, loss, plan, make_optimizer))
        return Path(kind)

    students = Students.of(small_run(tmp_path_factory.mktemp("run")))
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pretrainer, "trained", trained)
        patch.setattr(LanguageTeacher, "model", lambda self: teacher)
        for variant in (MAIN, *VARIANTS):
            students.folder(variant)
            found[variant.name] = seen[-1]
            seen[-1].loss(seen[-1].fresh(), next(seen[-1].batches().epoch(0)))  # asks for the teacher while it is this
    return found


def test_the_ablations_are_those_of_table_4() -> None:
    assert {v.name: ((v.weights.ce, v.weights.mlm, v.weights.cos), v.from_teacher) for v in (MAIN, *VARIANTS)} == MADE


@pytest.mark.parametrize("name", MADE)
def test_a_student_learns_what_its_row_says(
    trainings: dict[str, Training], teacher: MaskedLanguageModel, name: str
) -> None:
    training, student = trainings[name], student_of(teacher, (1, 4), seed=0).eval()
    batch = next(training.batches().epoch(0))
    share = SETTINGS["smoke"].pretraining.share

    def drawn(loss: Callable[[Any, Any], Tensor]) -> Tensor:
        torch.manual_seed(0)
        return loss(student, batch)

    with torch.no_grad():
        expected = drawn(TripleLoss(teacher, Weights(*MADE[name][0]), share=share))
        torch.testing.assert_close(drawn(training.loss), expected)


@pytest.mark.parametrize("name", MADE)
def test_only_the_random_student_does_not_begin_as_its_teacher(
    monkeypatch: pytest.MonkeyPatch, trainings: dict[str, Training], teacher: MaskedLanguageModel, name: str
) -> None:
    monkeypatch.setattr(LanguageTeacher, "model", lambda self: teacher)
    student = trainings[name].fresh()
    assert torch.equal(student.table, teacher.table) == MADE[name][1]
    assert student.encoder.num_layers == 2


@pytest.mark.parametrize("name", MADE)
def test_rare_words_are_masked_more_often_in_every_pre_training(trainings: dict[str, Training], name: str) -> None:
    """By the counts of the text that is read; so many of a whole batch, rounded up."""
    batches = trainings[name].batches()
    masking, text = batches.masking, batches.rows.rows.text  # type: ignore[attr-defined]
    assert isinstance(masking, SmoothedByFrequency)
    assert (masking.share, masking.exponent, masking.padding) == (0.15, 0.7, batches.words.padding)
    assert masking.counts.tolist() == text.counts.tolist()
    found = list(batches.epoch(0))
    assert [len(b.targets) for b in found] == [math.ceil(0.15 * b.input_ids.numel()) for b in found]
    originals = [b.input_ids.flatten().scatter(0, b.places, b.targets) for b in found]
    shown = torch.cat([ids[batches.words.maskable(ids)] for ids in originals])
    chosen = torch.cat([b.targets for b in found])
    counts = torch.from_numpy(text.counts).double()
    assert counts[chosen].log().mean() < counts[shown].log().mean() - 0.5


@pytest.mark.parametrize("name", MADE)
def test_every_student_is_trained_by_the_official_codes_optimiser(trainings: dict[str, Training], name: str) -> None:
    training = trainings[name]
    plan = training.plan
    assert (plan.adam_epsilon, plan.warmup, plan.max_gradient_norm, plan.weight_decay) == (1e-6, 0.05, 5.0, 0.0)
    optimizer = training.make_optimizer(torch.nn.Linear(2, 2), plan)
    assert isinstance(optimizer, torch.optim.AdamW)
    (group,) = optimizer.param_groups
    assert (group["betas"], group["eps"], group["weight_decay"]) == ((0.9, 0.98), 1e-6, 0.0)
