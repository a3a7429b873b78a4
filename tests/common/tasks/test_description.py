"""What a user is told of his data: rows, classes, what was cut and by what, and what to beware of."""

from collections.abc import Sequence

import pytest

from common.tasks.description import USUAL_TOKENS, summarise
from common.tasks.task import Example, Task
from common.training.loop import TrainingPlan


def task(train: Sequence[int], dev: Sequence[int], labels: Sequence[str] = ("bad", "good")) -> Task:
    parts = [
        tuple(Example(f"{name} {i}", None, float(label)) for i, label in enumerate(part))
        for name, part in (("train", train), ("dev", dev))
    ]
    return Task("mine", tuple(labels), "accuracy", "files", parts[0], parts[1])


def test_rows_classes_and_uses_are_told() -> None:
    read = task([0] * 1500 + [1] * 1500, [0, 1] * 600)
    lines = summarise(read, read.hold_back(128), "task.yaml").lines()
    assert lines == [
        "mine: 3,000 train and 1,200 dev rows read; 2 classes: bad 1,500, good 1,500",
        "  used: 2,872 to train on, 128 of train held back for choosing thresholds, 1,200 of dev to score by (all); "
        "metric accuracy",
    ]


def test_what_was_cut_is_told_with_what_cut_it() -> None:
    read = task([0, 1] * 1500, [0, 1] * 600)
    for train, dev in ((100, None), (None, 100)):
        lines = summarise(read, read.hold_back(128).at_most(train, dev), "SCALE=mini").lines()
        assert "(cut by SCALE=mini)" in lines[1]
    assert "100 of dev to score by" in lines[1]


def test_many_classes_are_named_by_their_ends_and_warned_of() -> None:
    labels = [f"c{i}" for i in range(120)]
    read = task([*range(120), 5], [0, 1] * 20, labels)
    lines = summarise(read, read, "").lines()
    assert "120 classes, from c5 (2 rows) to c119 (1)" in lines[0]
    assert any("warning: 120 classes" in line for line in lines)
    assert not summarise(task([*range(9)], [0, 1] * 20, labels[:9]), read, "").warnings


def test_few_dev_rows_are_warned_of() -> None:
    for count, few in ((29, True), (30, False)):
        read = task([0, 1] * 20, ([0, 1] * 20)[:count])
        assert any(f"{count} dev rows are few" in w for w in summarise(read, read, "").warnings) is few


def test_one_class_in_dev_is_warned_of() -> None:
    read = task([0, 1] * 20, [1] * 40)
    assert summarise(read, read, "").warnings == (
        "dev holds one class (good) alone: a constant answer is right everywhere, and no score means anything",
    )


def test_dev_rows_that_stand_in_train_are_counted_whatever_their_case_and_spacing() -> None:
    clean = task([0, 1] * 20, [0, 1] * 20)
    dev = (Example("Train  3", None, 1.0), Example("train 4 ", None, 1.0), *clean.dev)
    read = Task("mine", clean.labels, "accuracy", "files", clean.train, dev)
    warning = "2 of 42 dev rows stand in train too: scores come out too good"
    assert summarise(read, read, "").warnings == (warning,)
    assert summarise(read, read.hold_back(20), "").warnings == (warning,), "what is held back counts too"
    assert summarise(clean, clean, "").warnings == ()


def test_pairs_are_compared_as_pairs() -> None:
    train = tuple(Example("a", f"b {i}", float(i % 2)) for i in range(40))
    dev = tuple(Example("a", f"c {i}", float(i % 2)) for i in range(40))
    read = Task("mine", ("x", "y"), "accuracy", "files", train, dev)
    assert summarise(read, read, "").warnings == ()


@pytest.mark.parametrize(("words", "share"), [(98, None), (99, "50 %"), (500, "50 %")])
def test_texts_that_are_cut_are_told(words: int, share: str | None) -> None:
    train = tuple(Example(" ".join(["w"] * (words if i % 2 else 5)), None, float(i % 2)) for i in range(40))
    read = Task("mine", ("x", "y"), "accuracy", "files", train, task([0], [0, 1] * 20).dev)
    told = [line for line in summarise(read, read, "").lines() if "usually cut to 128 tokens" in line]
    assert len(told) == (share is not None)
    assert all(f"{share} are longer" in line for line in told)


def test_the_usual_length_is_that_of_the_plans() -> None:
    assert TrainingPlan(learning_rate=1.0, epochs=1, batch_size=1, seed=0).max_length == USUAL_TOKENS


def test_a_regression_has_a_range() -> None:
    train = tuple(Example(f"a {i}", "b", i / 10) for i in range(40))
    dev = tuple(Example("c", f"d {i}", 0.5) for i in range(40))
    lines = summarise(read := Task("mine", (), "spearman", "files", train, dev), read, "").lines()
    assert lines[0].endswith("a regression on 0 to 3.9")
    assert any("dev holds one target alone" in line for line in lines)
