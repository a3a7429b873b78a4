"""What every paper does at a scale."""

from pathlib import Path

import numpy as np
import pytest
import torch
from kit.papers import PAPERS, each_paper, settings_of
from kit.toy_run import small_run

from common.baselines import SMOKE_ENCODER, SMOKE_PLAN
from common.models.classifier import EncoderClassifier, classifier_logits
from common.run.replication import Replication
from common.run.runner import Request, describe_plan
from common.scales import SCALES, find_scale
from common.tasks.catalogue import SMOKE_TASKS, SOURCES, find_facts, known_tasks
from common.tasks.metrics import score
from common.training.finetune import FineTuner, encode_task

BASE = Request(find_scale("base"), "builtin", None, 1, (), encoder="random:tiny")
"""With another encoder: MPNet is a download of its own."""


@each_paper
def test_every_paper_has_a_plan_at_the_base_scale_with_nothing_but_the_trained_run(replication: Replication) -> None:
    plan = describe_plan(replication, BASE)
    assert "base-builtin" in plan
    assert "shapes" not in plan


def test_only_the_scales_for_a_gpu_spare_nothing() -> None:
    assert {name for name, scale in SCALES.items() if not scale.spares} == {"base", "paper"}


def test_tasks_have_the_metrics_of_glue() -> None:
    """Wang et al. 2019, Table 1; of two metrics the one that the papers print."""
    f1 = {"mrpc", "qqp", "qqp-sample", "paraphrase", "reply"}
    others = {"cola": "matthews", "sts-b": "spearman"}
    for source in SOURCES:
        for name in known_tasks(source):
            facts = find_facts(name)
            assert facts is not None
            assert facts.metric == ("f1" if name in f1 else others.get(name, "accuracy"))


# -- Smoke: too small to judge a paper by, but large enough that a change of a method moves what is measured -----------


@pytest.mark.parametrize("name", SMOKE_TASKS)
def test_at_the_smoke_scale_the_baseline_learns(tmp_path: Path, name: str) -> None:
    """Where nothing is learned, any threshold and any loss measure the same."""
    run = small_run(tmp_path)
    task, source = run.task(name), run.encoder(SMOKE_ENCODER)
    encoded = encode_task(source.tokenizer, task, SMOKE_PLAN.max_length)
    tuner = FineTuner(run.store, source, run.say, run.progress)
    model = EncoderClassifier.load(tuner.fine_tune(task, encoded, SMOKE_PLAN, source.encoder.num_layers))
    logits, labels = classifier_logits(model, encoded.dev, torch.device("cpu")), encoded.dev.labels.numpy()
    constant = max(score(task.metric, np.full_like(labels, answer), labels) for answer in (0, 1))
    learned = score(task.metric, logits.argmax(-1).numpy(), labels)
    assert learned >= constant + 0.2
    assert learned < 1, "thresholds matter only where some answers are wrong"


def test_at_the_smoke_scale_all_papers_read_a_layer_alike() -> None:
    smoke = [settings_of(replication)["smoke"] for replication in PAPERS]
    assert len({settings.pooling for settings in smoke if hasattr(settings, "pooling")}) <= 1
