"""A tagging run: one baseline and one ladder for everyone, what is scored, and what is counted."""

from pathlib import Path

import numpy as np
import pytest
import torch
from kit.toy_tagging import TAGS, tagging_run, toy_tagging

from common.costs.flops import layer_flops
from common.run.replication import Run
from common.scales import SCALES
from common.tagging_run import TAGGING_RECIPES, TaggingRun
from common.tasks.catalogue import SMOKE_TAGGING


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> TaggingRun:
    return TaggingRun.of(tagging_run(tmp_path_factory.mktemp("run"), toy_tagging()), "toy", 0)


def test_every_scale_has_a_recipe() -> None:
    assert set(TAGGING_RECIPES) == set(SCALES)


def test_logits_are_those_of_the_trained_tagger(toy: TaggingRun) -> None:
    logits = toy.static_logits()
    words = {name: sum(toy.splits[name].words) for name in ("tune", "dev")}
    assert {name: len(t) for name, t in logits.items()} == words
    with torch.inference_mode():
        alone = toy.tagger()(toy.splits["dev"].batch([0]))[0]
    torch.testing.assert_close(logits["dev"][: len(alone)], alone, rtol=1e-4, atol=1e-5)
    assert toy.static_logits(1)["dev"].shape == logits["dev"].shape
    assert toy.tagger(1).encoder.num_layers == 1


def test_another_seed_and_depth_are_other_models(toy: TaggingRun) -> None:
    other = TaggingRun.of(toy.run, "toy", 1)
    assert len({toy.tagger_folder(), toy.tagger_folder(1), other.tagger_folder()}) == 3
    assert TaggingRun.of(toy.run, "toy", 0).tagger_folder() == toy.tagger_folder()


def test_what_is_counted_are_spans_of_sentences(toy: TaggingRun) -> None:
    truth = toy.labels("dev")
    assert toy.counts("dev", truth).points == 100
    assert len(toy.counts("dev", truth).true) == len(toy.task.dev)
    assert toy.counts("dev", np.zeros_like(truth)).points == 0
    assert toy.difficulty("dev").tolist() == [d for s in toy.task.dev for d in s.difficulty or ()]
    assert toy.tags == len(TAGS)


def test_flops_are_those_of_the_layers_and_a_classifier_for_each_word(toy: TaggingRun) -> None:
    split, shape = toy.splits["dev"], toy.shape
    spent = toy.static_flops("dev", 2)
    expected = 2 * layer_flops(shape, split.lengths[3]) + 2 * 64 * 5 * split.words[3]
    assert spent[3] == expected
    assert len(spent) == len(split)


def test_plans_are_told_with_their_cost(toy: TaggingRun) -> None:
    steps = toy.static_steps((1, 2))
    assert [step.name for step in steps] == [
        "toy seed 0: the baseline",
        "toy seed 0: static ladder, 1 of 4 layers",
        "toy seed 0: static ladder, 2 of 4 layers",
    ]
    assert all(step.seconds > 0 for step in steps)


@pytest.mark.parametrize("name", SMOKE_TAGGING)
def test_at_the_smoke_scale_the_baseline_learns(tmp_path: Path, name: str) -> None:
    """Where nothing is learned, any threshold and any loss measure the same."""
    none = lambda *_: None  # noqa: E731
    store = tagging_run(tmp_path).store
    run = Run("r", SCALES["smoke"], "builtin", None, (), (0,), store, tmp_path, none, none)
    badges = TaggingRun.of(run, name, 0)
    answers = badges.static_logits()["dev"].argmax(-1).numpy()
    assert 60 < badges.counts("dev", answers).points < 100, "thresholds matter only where some answers are wrong"
    levels, right = badges.difficulty("dev"), answers == badges.labels("dev")
    assert right[levels == 1].mean() > right[levels == 4].mean()
