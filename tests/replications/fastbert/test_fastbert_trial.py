"""What a trial distils, on a toy run, against the same done by hand."""

from pathlib import Path

import pytest
import torch
from kit.toy_run import small_run, toy_task

from common.early_exit.runtime import collect_logits
from replications.fastbert.distil import Distillation
from replications.fastbert.method import Direction, Teacher, fresh_students, kl_from_student, kl_from_teacher
from replications.fastbert.names import DISTILLED, PRINTED_DIRECTION
from replications.fastbert.trial import Trial

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    task = toy_task("sentiment", ("no", "yes"), lambda i: i % 3 > 0)
    return Trial(small_run(tmp_path_factory.mktemp("run"), task), "sentiment", 0)


@pytest.mark.parametrize(("variant", "direction"), [(DISTILLED, kl_from_teacher), (PRINTED_DIRECTION, kl_from_student)])
def test_the_default_direction_is_the_official_codes(
    trial: Trial, tmp_path: Path, variant: str, direction: Direction
) -> None:
    """FastBERT learns KL(p_t || p_s), as the code does it; the other way round, as printed, is the variant."""
    teacher = Teacher.load(trial.teacher_folder())
    students = fresh_students(teacher.encoder, 2, trial.seed)
    distillation = Distillation(direction, trial.settings.distil, CPU, lambda done, total: None)
    distillation.run(teacher, trial.encoded.train, students, tmp_path)
    found = trial.model(variant).students
    for mine, other in zip(found, students, strict=True):
        assert all(torch.equal(mine.state_dict()[key], value) for key, value in other.state_dict().items())


def test_students_learn_on_the_trained_backbone_and_speeds_are_chosen_on_tune(trial: Trial) -> None:
    model, tune, dev = trial.model(), trial.encoded.tune, trial.encoded.dev
    assert not torch.equal(model.encoder.word_embeddings, trial.source.encoder.word_embeddings)
    torch.testing.assert_close(trial.tune_exits(), collect_logits(model, tune.by_length(64), len(tune), CPU))
    torch.testing.assert_close(trial.answers().exits, collect_logits(model, dev.by_length(64), len(dev), CPU))
    assert not torch.allclose(trial.tune_exits(), trial.answers().exits), "the toy must tell them apart"
