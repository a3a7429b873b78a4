"""How a trial makes difficulty labels, regularises with them and ranks by confidence, on a toy run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kit.toy_run import small_run, toy_task
from replications.cascadebert.trial import Trial, complete_encoders

from common.training.batches import BucketedBatches
from common.training.classifier import classifier_logits
from common.training.loop import fit
from replications.cascadebert import trial as trial_module
from replications.cascadebert.findings import Findings
from replications.cascadebert.method import calibrated_loss

CPU = torch.device("cpu")
TOY = toy_task("toy", ("no", "yes"), lambda i: i * i % 5 > 1)

Texts = Sequence[Sequence[int]]


def toy_trial(folder: Path) -> Trial:
    run = small_run(folder, TOY)
    return Trial(run, "toy", 0, complete_encoders(run))


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    return toy_trial(tmp_path_factory.mktemp("run"))


def test_no_example_is_judged_by_a_model_that_was_trained_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught: list[Texts] = []
    judged: list[Texts] = []

    def watched_fit(model: object, batches: BucketedBatches, *rest: Any, **more: Any) -> object:
        taught.append(batches.split.input_ids)
        return fit(model, batches, *rest, **more)  # type: ignore[type-var]

    def watched_logits(model: Any, split: Any, device: torch.device) -> torch.Tensor:
        judged.append(split.input_ids)
        return classifier_logits(model, split, device)

    fresh = toy_trial(tmp_path)
    _ = fresh.complete.source(fresh.first)
    monkeypatch.setattr(trial_module, "fit", watched_fit)
    monkeypatch.setattr(trial_module, "classifier_logits", watched_logits)
    fresh.labels_folder()
    ways, everything = fresh.settings.labels, fresh.encoded.train.input_ids
    assert len(taught) == len(judged) == ways.seeds * ways.folds
    for trained, held in zip(taught, judged, strict=True):
        assert {id(text) for text in trained}.isdisjoint(id(text) for text in held)
        assert len(trained) + len(held) == len(everything)


def test_the_calibrated_model_is_regularised(trial: Trial, tmp_path: Path) -> None:
    """By hand with the official margin and weight; both matter on this toy."""
    assert 0 < trial.hard.sum() < len(trial.hard), "the toy must hold easy and hard examples"
    plan, kept = trial.settings.complete_plan, trial.answers("dev").calibrated
    for weight, same in ((0.5, True), (0.0, False)):
        model = trial._new_small(plan.seed)
        batches = BucketedBatches(trial.encoded.train, plan.batch_size, plan.seed)
        loss = calibrated_loss(trial.hard, 0.5, weight)
        checkpoint = tmp_path / f"{weight}"
        fit(model, batches, loss, plan, checkpoint=checkpoint, progress=lambda done, total: None)
        assert torch.allclose(classifier_logits(model, trial.encoded.dev, CPU), kept) is same


def test_the_big_model_is_trained(trial: Trial) -> None:
    trained = trial.classifier(trial.num_layers).encoder.word_embeddings
    assert not torch.equal(trained, trial.source.encoder.word_embeddings)


def test_confidence_ranks_where_the_probability_is_1(trial: Trial) -> None:
    """Softmax in float32 is 1 from a margin of 17 on; such ties would count as inversions."""
    findings = Findings(trial)
    margins = 20.0 + torch.arange(len(findings.labels)).float()
    confidences, hard = findings.knows(torch.stack([torch.zeros_like(margins), margins], dim=1))
    assert (np.diff(confidences) > 0).all()
    assert np.array_equal(hard, findings.labels != 1)
