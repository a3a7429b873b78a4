"""Operating points, variants, and a whole small run on two tasks."""

from pathlib import Path

import pytest
import torch
from kit.toy_run import picked, run_steps, small_run, toy_task

from common.early_exit.clock import BASELINE
from common.errors import UserError
from common.models.classifier import EncoderClassifier
from common.records.measurements import Measurement
from common.run.replication import Run
from common.task_run import TaskRun
from replications.fastbert import experiments
from replications.fastbert.experiments import Findings
from replications.fastbert.method import Teacher
from replications.fastbert.names import DROPOUT_ON, FASTBERT, FIXED, FROM_LABELS, PRINTED_DIRECTION, TEACHER

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
    return Findings(TaskRun.of(run, "sentiment", 0))


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
    assert timed == {"speed=0.1", "speed=0.5", "speed=0.8"}, "a mixture of two Speeds takes what its parts take"


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
    assert {m.setting: m.value for m in fixed} == {"layer 1": 4.0, "layer 2": 2.0, "layer 3": pytest.approx(4 / 3)}


# -- What is counted --------------------------------------------------------------------------------------------------


def test_flops_count_every_classifier_on_the_way(sentiment: Findings) -> None:
    everything, first = sentiment.at_speeds([0.0, 1.0])
    assert everything.layer_speedup.value == 1.0
    assert everything.flops_speedup < sentiment.teacher_flops_speedup <= 1.0
    assert sentiment.printed_speedup(everything) < 1.0
    assert 1 < first.flops_speedup < 4.0


def test_the_students_share_of_the_flops_is_what_the_teacher_saves(
    sentiment: Findings, rows: list[Measurement]
) -> None:
    (share,) = picked(rows, experiment="costs", task="sentiment", metric="exits_flops_share")
    (everything,) = sentiment.at_speeds([0.0])
    assert 1 - share.value == pytest.approx(everything.flops_speedup / sentiment.teacher_flops_speedup)


def test_the_teacher_is_the_last_exit_and_not_the_baseline(sentiment: Findings) -> None:
    (everything,) = sentiment.at_speeds([0.0])
    assert (everything.answers() == sentiment.teacher).all()
    baseline = sentiment.run.static_logits()["dev"]
    assert not torch.allclose(sentiment.exits[:, -1], baseline)


def test_the_teacher_is_timed_without_students(sentiment: Findings, rows: list[Measurement]) -> None:
    arms = sentiment.clock._arms()
    assert isinstance(arms[TEACHER], Teacher)
    assert isinstance(arms[BASELINE], EncoderClassifier)
    assert picked(rows, experiment="table2", task="toy", system=TEACHER, metric="time_speedup")


# -- What is trained --------------------------------------------------------------------------------------------------


def test_the_baseline_is_the_common_one(sentiment: Findings) -> None:
    """Equal recipes make one artifact: nothing of FastBERT's own may enter the baseline's."""
    run = sentiment.run
    common = TaskRun.of(run.run, run.task_name, run.seed)
    assert run.classifier_folder() == common.classifier_folder()
    assert [run.classifier_folder(k) == common.classifier_folder(k) for k in sentiment.depths] == [True, True]


def test_only_the_first_seed_does_the_expensive_extras(tmp_path: Path) -> None:
    run = small_run(tmp_path, SENTIMENT, seeds=(0, 1))
    first, second = (Findings(TaskRun.of(run, "sentiment", seed)) for seed in (0, 1))
    assert [v.name for v in first.variants] == [FASTBERT, FROM_LABELS, PRINTED_DIRECTION, DROPOUT_ON]
    assert [v.name for v in second.variants] == [FASTBERT, FROM_LABELS]
    assert (first.depths, second.depths) == ([1, 2], [2])


def test_a_regression_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="values is a regression"):
        experiments.trained_steps(small_run(tmp_path, VALUES))
    assert not list(tmp_path.rglob("*.safetensors"))
