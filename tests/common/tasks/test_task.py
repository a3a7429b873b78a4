"""The Task type: splits that do not mix, the same ones for the same seed."""

from hypothesis import given
from hypothesis import strategies as st

from common.tasks.task import Example, Task

TASK = Task(
    name="toy",
    labels=("a", "b"),
    metric="accuracy",
    source="builtin",
    train=tuple(Example(f"text {i}", None, i % 2) for i in range(50)),
    dev=tuple(Example(f"dev {i}", None, i % 2) for i in range(20)),
)


@given(st.integers(0, 50), st.integers(0, 3))
def test_holding_back_moves_examples(count: int, seed: int) -> None:
    held = TASK.hold_back(count, seed)
    assert len(held.tune) == count
    assert sorted((*held.train, *held.tune), key=TASK.train.index) == list(TASK.train)
    assert held == TASK.hold_back(count, seed)
    assert held.dev == TASK.dev


def test_at_most_takes_a_fixed_random_sample() -> None:
    small = TASK.at_most(10, 5)
    assert (len(small.train), len(small.dev)) == (10, 5)
    assert set(small.train) < set(TASK.train)
    assert small.train != TASK.train[:10]
    assert small == TASK.at_most(10, 5)
    assert TASK.at_most(None, None) == TASK
    assert TASK.at_most(1000, 1000) == TASK


def test_the_fingerprint_is_of_content() -> None:
    assert TASK.fingerprint == TASK.at_most(None, None).fingerprint
    changed = Task("toy", ("a", "b"), "accuracy", "files", TASK.train, TASK.dev[1:])
    assert changed.fingerprint != TASK.fingerprint
    assert TASK.hold_back(5).fingerprint != TASK.fingerprint


def test_kinds() -> None:
    assert not TASK.is_pair
    assert not TASK.is_regression
    assert Task("r", (), "pearson", "files", (Example("a", "b", 0.5),), ()).is_regression
    assert Task("r", (), "pearson", "files", (Example("a", "b", 0.5),), ()).is_pair
