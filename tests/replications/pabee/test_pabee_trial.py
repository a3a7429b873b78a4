"""What a trial answers on each split, on a toy run."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from kit.toy_run import small_run, toy_task

from common.early_exit.runtime import collect_logits
from common.training.classifier import classifier_logits
from replications.pabee.findings import Findings
from replications.pabee.trial import Trial

CPU = torch.device("cpu")
TOY = replace(toy_task("toy", ("no", "yes"), lambda i: i % 2), tune=toy_task("", ("", ""), lambda i: i % 3 > 0).train)


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    return Trial(small_run(tmp_path_factory.mktemp("run"), TOY), "toy", 0)


@pytest.mark.parametrize("name", ["tune", "dev"])
def test_answers_are_those_of_their_split(trial: Trial, name: str) -> None:
    """The patience is tuned on `tune`, so what stands under that name must be it."""
    answers, split = getattr(Findings(trial), name), getattr(trial.encoded, name)
    assert np.array_equal(answers.labels, split.labels.numpy())
    torch.testing.assert_close(answers.exits, collect_logits(trial.model(), split.by_length(64), len(split), CPU))
    torch.testing.assert_close(answers.plain, classifier_logits(trial.classifier(trial.num_layers), split, CPU))


def test_the_plain_classifier_is_trained(trial: Trial) -> None:
    trained = trial.classifier(trial.num_layers).encoder.word_embeddings
    assert not torch.equal(trained, trial.source.encoder.word_embeddings)
