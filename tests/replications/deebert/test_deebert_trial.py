"""What DeeBERT trains and chooses on a toy task run, against the same done by hand."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from kit.toy_run import small_run, toy_task
from sklearn.metrics import f1_score

from common.early_exit.clock import BASELINE, TRUNCATED
from common.early_exit.multi_exit import Heads
from common.early_exit.runtime import collect_logits
from common.early_exit.systems import OnTheClock, Scored, System
from common.methods import find_method
from common.models.classifier import EncoderClassifier, classifier_logits
from common.task_run import TaskRun
from common.training.frozen import FrozenBatches, frozen_states
from common.training.loop import fit
from replications.deebert.contender import DeeBERT
from replications.deebert.experiments import Findings
from replications.deebert.method import fresh_off_ramps, off_ramp_loss
from replications.deebert.names import EQUAL_SAVING, SWEEP, sweep_arm

CPU = torch.device("cpu")
TOY = toy_task("toy", ("no", "yes"), lambda i: i % 3 > 0, "f1")


@pytest.fixture(scope="module")
def task_run(tmp_path_factory: pytest.TempPathFactory) -> TaskRun:
    return TaskRun.of(small_run(tmp_path_factory.mktemp("run"), TOY), "toy", 0)


@pytest.fixture(scope="module")
def deebert(task_run: TaskRun) -> DeeBERT:
    return DeeBERT(task_run)


def test_the_backbone_is_what_stage_1_trained(deebert: DeeBERT) -> None:
    trained, run = deebert.task_run.classifier(), deebert.task_run
    assert not torch.equal(trained.encoder.word_embeddings, run.backbone.encoder.word_embeddings)
    assert torch.equal(deebert.model().encoder.word_embeddings, trained.encoder.word_embeddings)


def test_off_ramps_learn_on_the_trained_backbone_from_the_pretrained_pooler(deebert: DeeBERT, tmp_path: Path) -> None:
    """Section 3.1, and `init_highway_pooler`, which is called before stage 1: nothing of stage 1 reaches a pooler."""
    run, plan = deebert.task_run, deebert.stage2
    off_ramps = fresh_off_ramps(run.backbone.encoder, 2, plan.seed)
    batches = FrozenBatches(frozen_states(run.classifier(), run.encoded.train, CPU), plan.batch_size, plan.seed)
    fit(off_ramps, batches, off_ramp_loss, plan, checkpoint=tmp_path / "c", progress=lambda done, total: None)
    found = Heads.load(deebert.folder()).state_dict()
    assert all(torch.equal(found[key], value) for key, value in off_ramps.state_dict().items())


def test_logits_are_those_of_their_split(deebert: DeeBERT) -> None:
    model, run = deebert.model(), deebert.task_run
    for name in ("tune", "dev", "test"):
        split = run.splits[name]
        torch.testing.assert_close(deebert.exits(name), collect_logits(model, split.by_length(64), len(split), CPU))
    assert not torch.allclose(deebert.exits("tune"), deebert.exits("dev")), "the toy must tell them apart"
    plain = classifier_logits(run.classifier(), run.encoded.dev, CPU)
    torch.testing.assert_close(run.static_logits()["dev"], plain)
    torch.testing.assert_close(deebert.exits("dev")[:, -1], plain)


def rigged(truth: np.ndarray, *, early_right: bool) -> torch.Tensor:
    """(N, 4, 2): the first three exits are quite sure, and always right or always wrong; the last is right."""
    last = 5.0 * torch.nn.functional.one_hot(torch.as_tensor(truth), 2)
    early = last if early_right else last.flip(-1)
    return torch.stack([early, early, early, last], dim=1)


def test_thresholds_are_chosen_on_tune_and_only_the_dev_tuned_ones_on_dev(task_run: TaskRun) -> None:
    deebert = DeeBERT(task_run)
    labels = {name: split.labels.numpy() for name, split in task_run.splits.items()}
    deebert._exits = {name: rigged(truth, early_right=name == "tune") for name, truth in labels.items()}
    for system in Findings(deebert)._operating_points():
        if "dev-tuned" in system.setting:
            assert (system.exit_layers() == 4).all(), "on dev leaving early costs everything"
        elif system.setting != EQUAL_SAVING:
            assert (system.exit_layers() == 1).all(), "on tune it costs nothing"


def test_points_are_those_of_the_tasks_metric(task_run: TaskRun) -> None:
    """Table 1 gives F1 for MRPC and QQP."""
    scored = Scored(task_run)
    guessed = np.arange(len(scored.labels)) % 2
    assert scored.points(guessed) == pytest.approx(100 * f1_score(scored.labels, guessed))
    assert scored.points(guessed) != pytest.approx(100 * (guessed == scored.labels).mean())


def test_time_is_saved_against_the_plain_classifier_not_against_s_0(
    deebert: DeeBERT, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The authors' denominator, their own run at S = 0, already pays for every off-ramp."""
    seen: dict[str, object] = {}

    class Stopped:
        def one_by_one(self, arms: Mapping[str, object]) -> "Stopped":
            seen.update(arms)
            return self

        def save(self, path: Path) -> None:
            raise StopIteration

    monkeypatch.setattr(TaskRun, "clock", Stopped())
    systems = [System(deebert, sweep_arm(s), s) for s in SWEEP]
    with pytest.raises(StopIteration):
        assert OnTheClock(deebert.task_run, systems).one_by_one
    assert all(isinstance(seen[name], EncoderClassifier) for name in (BASELINE, TRUNCATED))
    assert [len(seen[name].encoder.model.encoder.layer) for name in (BASELINE, TRUNCATED)] == [4, 2]  # type: ignore[attr-defined]
    assert not any(isinstance(seen[s.arm], torch.nn.Module) for s in systems)


def test_others_find_it_by_name(task_run: TaskRun) -> None:
    assert isinstance(find_method("deebert").on(task_run), DeeBERT)
