"""Operating points, variants, and a whole small run on two tasks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from kit.toy_run import picked, run_steps, small_run, toy_task

from common.early_exit.clock import BASELINE
from common.early_exit.cost_split import ASKED, EVERY_EXIT, cost_shares
from common.early_exit.runtime import simulate
from common.errors import UserError
from common.records.measurements import Measurement
from common.replication import Run
from replications.fastbert import experiments
from replications.fastbert.findings import Findings, at_speed, speeds
from replications.fastbert.names import DROPOUT_ON, FASTBERT, FIXED, FROM_LABELS, PRINTED_DIRECTION
from replications.fastbert.trial import Trial

SENTIMENT = toy_task("sentiment", ("no", "yes"), lambda i: i % 2)
TOY = toy_task("toy", ("a", "b", "c"), lambda i: i % 3)
VALUES = toy_task("values", (), lambda i: i / 7)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return small_run(tmp_path_factory.mktemp("run"), SENTIMENT, TOY)


@pytest.fixture(scope="module")
def rows(run: Run, tmp_path_factory: pytest.TempPathFactory) -> list[Measurement]:
    return run_steps(experiments.trained_steps(run), run, tmp_path_factory.mktemp("journal"))


@pytest.fixture(scope="module")
def sentiment(run: Run, rows: list[Measurement]) -> Findings:
    return Findings(Trial(run, "sentiment", 0))


# -- A whole run ------------------------------------------------------------------------------------------------------


def test_each_number_of_a_table_is_measured_once(rows: list[Measurement]) -> None:
    keys = [(m.experiment, m.system, m.setting, m.task, m.metric, m.at, m.seed) for m in rows]
    assert len(set(keys)) == len(keys)


def test_variants_are_trained_where_they_are_asked_for(rows: list[Measurement]) -> None:
    systems = {task: {m.system for m in picked(rows, experiment="table3", task=task)} for task in ("sentiment", "toy")}
    assert systems["toy"] == {FASTBERT, FIXED}
    assert systems["sentiment"] - systems["toy"] == {PRINTED_DIRECTION, DROPOUT_ON, FROM_LABELS}


def test_shallow_encoders_stand_beside_where_they_are_asked_for(rows: list[Measurement]) -> None:
    systems = {m.system for m in picked(rows, experiment="table2", task="sentiment")}
    assert {"truncated 1L", "truncated 2L"} <= systems
    assert "truncated 1L" not in {m.system for m in picked(rows, experiment="table2", task="toy")}


def test_table_2_has_the_papers_speeds_and_equal_speedups(rows: list[Measurement]) -> None:
    mine = picked(rows, experiment="table2", system=FASTBERT, task="toy")
    for metric in ("score", "score_delta", "layer_speedup", "flops_speedup", "printed_speedup"):
        settings = {m.setting for m in mine if m.metric == metric}
        tuned = {"1.5x", "2x", "3x"}
        assert settings == {"speed=0.1", "speed=0.5", "speed=0.8"} | tuned | {f"{t} (dev-tuned)" for t in tuned}
    timed = {m.setting for m in mine if m.metric == "time_speedup"}
    assert timed == {"speed=0.1", "speed=0.5", "speed=0.8", "1.5x", "2x", "3x"}


def test_the_macro_score_is_the_plain_mean(rows: list[Measurement]) -> None:
    for system, setting in (("baseline", ""), ("teacher", ""), (FASTBERT, "speed=0.5")):
        found = {
            m.task: m.value for m in picked(rows, experiment="table2", system=system, setting=setting, metric="score")
        }
        assert found["macro"] == pytest.approx((found["sentiment"] + found["toy"]) / 2)


def test_more_speed_saves_more(rows: list[Measurement]) -> None:
    for metric in ("layer_speedup", "printed_speedup"):
        curve = sorted((m.at, m.value) for m in picked(rows, experiment="figure3", task="toy", metric=metric))
        values = [value for _, value in curve]
        assert values == sorted(values)
        assert curve[-1][0] == 1.0
    layers = {m.at: m.value for m in picked(rows, experiment="figure3", task="toy", metric="layer_speedup")}
    assert layers[1.0] == 4.0, "Speed 1 leaves at the first of 4 layers"


def test_a_histogram_of_exits_sums_to_one_and_counts_from_1(rows: list[Measurement]) -> None:
    for setting in ("speed=0.3", "speed=0.5", "speed=0.8"):
        shares = picked(rows, experiment="figure5", task="toy", setting=setting)
        assert [m.at for m in shares] == [1, 2, 3, 4]
        assert sum(m.value for m in shares) == pytest.approx(1)
        (mean,) = picked(rows, experiment="exit-layers", task="toy", setting=setting, metric="mean_from_0")
        from_0 = sum(layer * m.value for layer, m in enumerate(shares))
        assert mean.value == pytest.approx(from_0)


def test_the_teacher_agrees_with_itself(rows: list[Measurement]) -> None:
    agreement = picked(rows, experiment="classifiers", metric="agreement", setting="layer 4")
    assert {m.value for m in agreement} == {1.0}


def test_the_last_fixed_layer_is_left_to_the_teacher(rows: list[Measurement]) -> None:
    fixed = picked(rows, experiment="table3", system=FIXED, task="toy", metric="layer_speedup")
    assert {m.setting: m.value for m in fixed} == {"layer=1": 4.0, "layer=2": 2.0, "layer=3": pytest.approx(4 / 3)}


# -- Operating points -------------------------------------------------------------------------------------------------


def test_a_speed_is_chosen_on_tune_not_on_dev(sentiment: Findings) -> None:
    """Rigged: on tune everyone is nearly sure at layer 1, on dev nearly uniform; the Speeds chosen differ."""
    findings = Findings(sentiment.trial)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(300, 4, 1, generator=generator)
    sure = torch.cat([3 + noise, torch.zeros(300, 4, 1)], dim=-1)
    unsure = torch.cat([noise / 10, torch.zeros(300, 4, 1)], dim=-1)
    findings.tune_exits = sure
    findings.dev = replace(sentiment.dev, exits=unsure, labels=np.zeros(300, dtype=np.int64))
    points = {p.setting: p for p in findings.table_points}
    assert simulate(sure, points["2x"].rule).layer_saving(4) == pytest.approx(0.5, abs=0.03)
    assert simulate(unsure, points["2x (dev-tuned)"].rule).layer_saving(4) == pytest.approx(0.5, abs=0.03)
    assert points["2x"].speed < 0.8 < points["2x (dev-tuned)"].speed


def test_speeds_cover_0_to_1() -> None:
    for classes in (2, 6):
        swept = speeds(classes)
        assert (swept[0], swept[-1]) == (0.0, 1.0)
        assert all(0 <= s <= 1 for s in swept)
        assert len(swept) > 100


def test_flops_count_every_classifier_on_the_way(sentiment: Findings) -> None:
    everything, first = at_speed(0.0), at_speed(1.0)
    assert sentiment.layer_speedup(everything) == 1.0
    assert sentiment.flops_speedup(everything) < sentiment.teacher_flops_speedup <= 1.0
    assert sentiment.printed_speedup(everything) < 1.0
    assert 1 < sentiment.flops_speedup(first) < 4.0
    assert 0 < sentiment.exits_flops_share < 1


def test_the_teacher_is_the_last_exit_and_not_the_plain_classifier(sentiment: Findings) -> None:
    everyone = sentiment.predictions(at_speed(0.0))
    assert (everyone == sentiment.teacher).all()
    assert not torch.allclose(sentiment.dev.exits[:, -1], sentiment.dev.plain)


def test_cost_shares_sum_to_one() -> None:
    base = 1 + np.random.default_rng(0).random(50)
    seconds = {BASELINE: 0.8 * base, EVERY_EXIT: 0.95 * base, ASKED: base}
    shares = cost_shares(seconds.__getitem__)
    assert {name: round(s.value, 6) for name, s in shares.items()} == {
        "backbone_share": 0.8,
        "exits_share": 0.15,
        "selection_share": 0.05,
    }


# -- What is trained --------------------------------------------------------------------------------------------------


def test_the_baseline_is_trained_by_the_plan_that_others_share(sentiment: Findings) -> None:
    """Equal recipes make one artifact: nothing of FastBERT's own may enter the plain classifier's."""
    recipe = sentiment.trial.tuner.recipe(sentiment.trial.task, sentiment.trial.classifier_plan, 4)
    assert recipe["kind"] == "classifier"
    assert not {"classifiers_rate", "direction", "teacher"} & recipe.keys()


def test_both_directions_of_kl_are_trained_on_one_teacher(sentiment: Findings) -> None:
    trial = sentiment.trial
    ours, printed = trial.model(), trial.model(PRINTED_DIRECTION)
    assert torch.equal(ours.teacher.narrow.weight, printed.teacher.narrow.weight)
    mine, other = (m.students[0].get_parameter("narrow.weight") for m in (ours, printed))
    assert not torch.equal(mine, other)
    labels = trial.model(FROM_LABELS)
    assert not torch.equal(ours.teacher.narrow.weight, labels.teacher.narrow.weight), "its backbone is its own"


def test_only_the_first_seed_does_the_expensive_extras(tmp_path: Path) -> None:
    run = small_run(tmp_path, SENTIMENT, seeds=(0, 1))
    first, second = Trial(run, "sentiment", 0), Trial(run, "sentiment", 1)
    assert first.variants == (FROM_LABELS, PRINTED_DIRECTION, DROPOUT_ON)
    assert second.variants == (FROM_LABELS,)
    assert (first.static_depths, second.static_depths) == ((1, 2), (2,))


def test_a_regression_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="values is a regression"):
        experiments.trained_steps(small_run(tmp_path, VALUES))
    assert not list(tmp_path.rglob("*.safetensors"))
