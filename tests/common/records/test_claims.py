"""What claims are decided with, on predictions whose statistics are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from kit.toy_evidence import record_of

from common.records.claims import (
    Cell,
    Decision,
    by_task,
    constant_answer,
    gain,
    has_learned,
    learned,
    learned_tasks,
    speedup,
    system,
    time_saved,
)
from common.records.effects import Effect, effect_of
from common.records.measurements import Measurement
from common.records.predictions import Evidence, answers_name, exits_name, seconds_name
from common.tasks.metrics import points_along

N = 400


def evidence(accuracy: float, task: str = "t", seed: int = 0, layers: int = 6) -> Evidence:
    """A system that is right on a share `accuracy` of balanced labels, leaves at 3 of 6, and takes half the time."""
    rng = np.random.default_rng(seed)
    labels = np.arange(N) % 2
    wrong = rng.permutation(N) >= accuracy * N
    arrays = {
        "labels": labels,
        answers_name("fast"): np.where(wrong, 1 - labels, labels),
        answers_name("baseline"): labels,
        exits_name("fast"): np.full(N, 3),
        seconds_name("fast"): np.full(20, 0.5),
        seconds_name("baseline"): np.full(20, 1.0),
    }
    return Evidence(task, seed, "accuracy", 2, layers, arrays)


def test_seeds_are_grouped_by_task() -> None:
    found = by_task([evidence(1, "a"), evidence(1, "b"), evidence(1, "a", seed=1)])
    assert {task: [e.seed for e in seeds] for task, seeds in found.items()} == {"a": [0, 1], "b": [0]}


def test_effects_are_what_they_say() -> None:
    seeds = [evidence(0.9, seed=s) for s in range(3)]
    assert gain(seeds, system("fast"), system("baseline")).value == pytest.approx(-10)
    assert time_saved(seeds, "fast").value == pytest.approx(0.5)
    assert speedup(seeds, "fast").value == pytest.approx(2)
    assert gain(seeds, system("fast"), system("baseline")).seeds == 3


def test_the_short_way_to_a_gain_in_accuracy_is_the_long_one() -> None:
    seeds = [evidence(accuracy, seed=s) for s, accuracy in enumerate((0.9, 0.8, 0.7))]
    points = points_along("accuracy")
    arrays = [(e.answers("fast"), constant_answer(e), e.labels) for e in seeds]
    long = effect_of("t", arrays, lambda a, b, y, axis=-1: points(a, y, axis=axis) - points(b, y, axis=axis))
    short = gain(seeds, system("fast"), constant_answer)
    assert (short.value, short.error, short.freedom) == pytest.approx((long.value, long.error, long.freedom))


@pytest.mark.parametrize(("accuracy", "is_learned"), [(0.9, True), (0.5, False), (0.52, False), (0.3, False)])
def test_learning_is_a_test_against_the_constant(accuracy: float, is_learned: bool) -> None:
    """52 % right lies above 50 and yet shows nothing."""
    assert has_learned([evidence(accuracy)], system("fast")) is is_learned


def test_the_constant_is_the_best_one_by_the_metric() -> None:
    labels = np.array([0, 0, 0, 1])
    assert constant_answer(Evidence("t", 0, "accuracy", 2, 6, {"labels": labels})).tolist() == [0] * 4
    assert constant_answer(Evidence("t", 0, "f1", 2, 6, {"labels": labels})).tolist() == [1] * 4
    assert constant_answer(Evidence("t", 0, "spearman", 0, 6, {"labels": labels})).tolist() == [0.25] * 4


def test_what_was_not_learned_is_left_out_with_its_reason() -> None:
    known, left_out = learned({"a": [evidence(0.9, "a")], "b": [evidence(0.5, "b")]}, system("fast"), "the teacher")
    assert list(known) == ["a"]
    assert left_out == ("b: the teacher did not learn it",)


def test_the_tasks_of_a_run_count_where_the_system_learned_them_over_all_seeds() -> None:
    """What shapes kept has no metric and is no task; tasks outside `among` are not even a reason."""
    shapes = replace(evidence(0.9, "bert-base"), metric="")
    record = record_of(evidence(0.9, "a"), evidence(0.9, "a", seed=1), evidence(0.5, "b"), evidence(0.5, "c"), shapes)
    known, left_out = learned_tasks(record, "fast", "the teacher")
    assert {task: len(seeds) for task, seeds in known.items()} == {"a": 2}
    assert left_out == ("b: the teacher did not learn it", "c: the teacher did not learn it")
    assert learned_tasks(record, "fast", among=("a", "b"))[1] == ("b: the baseline did not learn it",)
    assert list(learned_tasks(record)[0]) == ["a", "b", "c"], "asked of another system, the answer is another"


def test_no_task_counts_at_a_scale_where_quality_means_nothing() -> None:
    at_smoke = Measurement.model_construct(scale="smoke")
    assert learned_tasks(record_of(evidence(0.9, "a"), measurements=[at_smoke]), "fast") == ({}, ())


def test_a_decision_knows_its_tasks_and_fewest_seeds() -> None:
    cells = (Cell("a at 2x", Effect(1.0, (), 10, 3), "a"), Cell("b at 2x", Effect(1.0, (), 10, 1), "b"))
    assert (Decision(cells).tasks, Decision(cells).seeds) == (["a", "b"], 1)
    mean = Decision((Cell("above PABEE", Effect(1.0, (), 10, 3)),), averaged=("a", "b"))
    assert mean.tasks == ["a", "b"], "a mean over tasks says which"
    with pytest.raises(ValueError, match="needs a cell"):
        Decision(())
