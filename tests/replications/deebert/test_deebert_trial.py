"""What a trial trains and chooses, on a toy run, against the same done by hand."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from kit.toy_run import small_run, toy_task
from replications.deebert.findings import EQUAL_SAVING, SWEEP, Findings
from replications.deebert.timing import clock
from replications.deebert.trial import Logits, Trial
from sklearn.metrics import f1_score

from common.early_exit.clock import BASELINE, TRUNCATED
from common.early_exit.runtime import collect_logits
from common.training.classifier import EncoderClassifier, classifier_logits
from common.training.frozen import FrozenBatches, frozen_states
from common.training.loop import fit
from replications.deebert.method import DeeBERT, OffRamps, off_ramp_loss

CPU = torch.device("cpu")
TOY = toy_task("toy", ("no", "yes"), lambda i: i % 3 > 0, "f1")


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    return Trial(small_run(tmp_path_factory.mktemp("run"), TOY), "toy", 0)


def test_the_backbone_is_what_stage_1_trained(trial: Trial) -> None:
    trained = trial.classifier(trial.num_layers)
    assert not torch.equal(trained.encoder.word_embeddings, trial.source.encoder.word_embeddings)
    assert torch.equal(trial.model().encoder.word_embeddings, trained.encoder.word_embeddings)


def test_off_ramps_learn_on_the_trained_backbone_from_the_pretrained_pooler(trial: Trial, tmp_path: Path) -> None:
    """Section 3.1, and `init_highway_pooler`, which is called before stage 1: nothing of stage 1 reaches a pooler."""
    plan, split = trial.settings.stage2, trial.encoded.train
    off_ramps = OffRamps.fresh(trial.source.encoder, 2, plan.seed)
    batches = FrozenBatches(frozen_states(trial.classifier(trial.num_layers), split, CPU), plan.batch_size, plan.seed)
    fit(off_ramps, batches, off_ramp_loss, plan, checkpoint=tmp_path / "c", progress=lambda done, total: None)
    found = OffRamps.load(trial.off_ramps_folder() / "off_ramps.safetensors").state_dict()
    assert all(torch.equal(found[key], value) for key, value in off_ramps.state_dict().items())


def test_logits_are_those_of_their_split(trial: Trial) -> None:
    model, logits = trial.model(), trial.logits()
    for name in ("tune", "dev"):
        split = getattr(trial.encoded, name)
        torch.testing.assert_close(getattr(logits, name), collect_logits(model, split.by_length(64), len(split), CPU))
    assert not torch.allclose(logits.tune, logits.dev), "the toy must tell them apart"
    plain = classifier_logits(trial.classifier(trial.num_layers), trial.encoded.dev, CPU)
    torch.testing.assert_close(logits.stage1, plain)


def rigged(truth: np.ndarray, *, early_right: bool) -> torch.Tensor:
    """(N, 4, 2): the first three exits are quite sure, and always right or always wrong; the last is right."""
    last = 5.0 * torch.nn.functional.one_hot(torch.as_tensor(truth), 2)
    early = last if early_right else last.flip(-1)
    return torch.stack([early, early, early, last], dim=1)


def test_thresholds_are_chosen_on_tune_and_only_the_dev_tuned_ones_on_dev(trial: Trial) -> None:
    findings, tune = Findings(trial), trial.encoded.tune.labels.numpy()
    findings.logits = Logits(
        tune=rigged(tune, early_right=True),
        dev=rigged(findings.labels, early_right=False),
        stage1=torch.zeros(0),
        truncated=torch.zeros(0),
    )
    for setting, threshold in findings.thresholds.items():
        leaves = findings.outcome(threshold).exit_layer
        if "dev-tuned" in setting:
            assert (leaves == 4).all(), "on dev leaving early costs everything"
        elif setting != EQUAL_SAVING:
            assert (leaves == 1).all(), "on tune it costs nothing"


def test_points_are_those_of_the_tasks_metric(trial: Trial) -> None:
    """Table 1 gives F1 for MRPC and QQP."""
    findings = Findings(trial)
    guessed = np.arange(len(findings.labels)) % 2
    assert findings.points(guessed) == pytest.approx(100 * f1_score(findings.labels, guessed))
    assert findings.points(guessed) != pytest.approx(100 * (guessed == findings.labels).mean())


def test_time_is_saved_against_the_plain_classifier_not_against_s_0(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The authors' denominator, their own run at S = 0, already pays for every off-ramp."""
    seen: dict[str, object] = {}

    class Stopped:
        def one_by_one(self, arms: Mapping[str, object]) -> None:
            seen.update(arms)

    monkeypatch.setattr(Trial, "clock", Stopped())
    clock(trial, {f"S={s}": s for s in SWEEP})
    assert all(isinstance(seen[name], EncoderClassifier) for name in (BASELINE, TRUNCATED))
    assert [len(seen[name].encoder.model.encoder.layer) for name in (BASELINE, TRUNCATED)] == [4, 2]  # type: ignore[attr-defined]
    assert not any(isinstance(arm, EncoderClassifier | DeeBERT) for name, arm in seen.items() if name.startswith("S="))
