"""What PABEE trains and answers on each split, on a toy task run."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from kit.toy_run import small_run, toy_task

from common.early_exit.runtime import collect_logits
from common.early_exit.systems import Scored
from common.models.classifier import classifier_logits
from common.task_run import TaskRun
from replications.pabee.contender import SETTINGS, PatientExits

CPU = torch.device("cpu")
TOY = replace(toy_task("toy", ("no", "yes"), lambda i: i % 2), tune=toy_task("", ("", ""), lambda i: i % 3 > 0).train)


@pytest.fixture(scope="module")
def pabee(tmp_path_factory: pytest.TempPathFactory) -> PatientExits:
    return PatientExits(
        TaskRun.of(small_run(tmp_path_factory.mktemp("run"), TOY), "toy", 0, SETTINGS["smoke"].baseline)
    )


@pytest.mark.parametrize("name", ["tune", "dev"])
def test_answers_are_those_of_their_split(pabee: PatientExits, name: str) -> None:
    """The patience is tuned on `tune`, so what stands under that name must be it."""
    run, split = pabee.task_run, pabee.task_run.splits[name]
    assert np.array_equal(Scored(run, name).labels, getattr(run.encoded, name).labels.numpy())
    torch.testing.assert_close(pabee.exits(name), collect_logits(pabee.model(), split.by_length(64), len(split), CPU))
    torch.testing.assert_close(run.static_logits()[name], classifier_logits(run.classifier(), split, CPU))


def test_the_plain_classifier_and_pabees_encoder_are_trained(pabee: PatientExits) -> None:
    fresh = pabee.task_run.backbone.encoder.word_embeddings
    assert not torch.equal(pabee.task_run.classifier().encoder.word_embeddings, fresh)
    assert not torch.equal(pabee.model().encoder.word_embeddings, fresh)


def test_the_baseline_depends_on_nothing_of_pabees(pabee: PatientExits) -> None:
    """Equal recipes make one artifact."""
    facts = pabee.task_run.facts
    assert facts["kind"] == "classifier"
    assert "exits_rate" not in facts
