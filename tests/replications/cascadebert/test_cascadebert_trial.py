"""How a task run makes difficulty labels, regularises with them and ranks by confidence, on a toy run."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kit.toy_run import small_run, toy_task

from common.errors import UserError
from common.models.classifier import classifier_logits
from common.task_run import TaskRun
from common.training.batches import BucketedBatches
from common.training.loop import fit
from replications.cascadebert import method
from replications.cascadebert import small_models as models
from replications.cascadebert.contender import CascadeBERT
from replications.cascadebert.findings import Findings
from replications.cascadebert.method import calibrated_loss
from replications.cascadebert.small_models import SETTINGS, SmallModels, complete_encoders

CPU = torch.device("cpu")
TOY = toy_task("toy", ("no", "yes"), lambda i: i * i % 5 > 1)

Texts = Sequence[Sequence[int]]


def small_models(folder: Path) -> SmallModels:
    run = small_run(folder, TOY)
    return SmallModels(TaskRun.of(run, "toy", 0, SETTINGS["smoke"].baseline), complete_encoders(run))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> SmallModels:
    return small_models(tmp_path_factory.mktemp("run"))


class OtherWords:
    """A tokenizer of one word."""

    def get_vocab(self) -> dict[str, int]:
        return {"a": 0}

    def __len__(self) -> int:
        return 1


def test_a_small_model_that_reads_other_words_is_refused(small: SmallModels, monkeypatch: pytest.MonkeyPatch) -> None:
    source = replace(small.complete.source(small.first), tokenizer=OtherWords())
    monkeypatch.setattr(type(small.complete), "source", lambda self, depth: source)
    with pytest.raises(UserError, match="the small model reads 1 words and the big one"):
        small.tuner(small.first)


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

    fresh = small_models(tmp_path)
    _ = fresh.complete.source(fresh.first)
    monkeypatch.setattr(models, "fit", watched_fit)
    monkeypatch.setattr(models, "classifier_logits", watched_logits)
    fresh.labels_folder()
    ways, everything = fresh.settings.labels, fresh.task_run.encoded.train.input_ids
    assert len(taught) == len(judged) == ways.seeds * ways.folds
    for trained, held in zip(taught, judged, strict=True):
        assert {id(text) for text in trained}.isdisjoint(id(text) for text in held)
        assert len(trained) + len(held) == len(everything)


def test_the_calibrated_model_is_regularised(small: SmallModels, tmp_path: Path) -> None:
    """By hand with the official margin and weight; both matter on this toy."""
    assert 0 < small.hard.sum() < len(small.hard), "the toy must hold easy and hard examples"
    run, plan = small.task_run, small.plan
    kept = CascadeBERT(run, small).logits("dev")[:, 0]
    for weight, same in ((0.5, True), (0.0, False)):
        model = small._fresh(plan.seed)
        batches = BucketedBatches(run.encoded.train, plan.batch_size, plan.seed)
        loss = calibrated_loss(small.hard, 0.5, weight)
        checkpoint = tmp_path / f"{weight}"
        fit(model, batches, loss, plan, checkpoint=checkpoint, progress=lambda done, total: None)
        assert torch.allclose(classifier_logits(model, run.encoded.dev, CPU), kept) is same


def test_without_regularisation_the_small_model_is_the_plainly_fine_tuned_one(
    small: SmallModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the last bit, once drawing hard examples no longer shifts what dropout draws."""
    monkeypatch.setattr(method, "dar_loss", lambda confidences, hard, margin: 0.0 * confidences.sum())
    run, plan = small.task_run, small.plan
    model, batches = small._fresh(plan.seed), BucketedBatches(run.encoded.train, plan.batch_size, plan.seed)
    loss = calibrated_loss(small.hard, 0.5, 0.5)
    fit(model, batches, loss, plan, checkpoint=tmp_path / "c", progress=lambda done, total: None)
    plain = small.logits(small.plain_folder(small.first))["dev"]
    assert torch.equal(classifier_logits(model, run.encoded.dev, CPU), plain)


def test_the_big_model_is_trained(small: SmallModels) -> None:
    trained = small.task_run.classifier().encoder.word_embeddings
    assert not torch.equal(trained, small.task_run.backbone.encoder.word_embeddings)


def test_confidence_ranks_where_the_probability_is_1(small: SmallModels) -> None:
    """Softmax in float32 is 1 from a margin of 17 on; such ties would count as inversions."""
    findings = Findings(small.task_run, small)
    margins = 20.0 + torch.arange(len(findings.scored.labels)).float()
    confidences, hard = findings.knows(torch.stack([torch.zeros_like(margins), margins], dim=1))
    assert (np.diff(confidences) > 0).all()
    assert np.array_equal(hard, findings.scored.labels != 1)
