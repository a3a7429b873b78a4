"""The Task type: splits that do not mix, the same ones for the same seed."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.tasks.task import Example, Task, proportional

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


def rare(counts: dict[int, int]) -> Task:
    """Classes of these sizes, one after the other, as a sorted file has them."""
    examples = tuple(Example(f"{label} {i}", None, float(label)) for label, n in counts.items() for i in range(n))
    labels = tuple(map(str, counts))
    return Task("rare", labels, "accuracy", "files", examples, examples)


@pytest.mark.parametrize("seed", range(20))
def test_a_rare_class_leaves_neither_train_nor_the_sample(seed: int) -> None:
    held = rare({0: 500, 1: 300, 2: 2, 3: 1}).hold_back(100, seed)
    assert Counter(e.label for e in held.tune) == {0: 62, 1: 38}
    assert Counter(e.label for e in held.train) == {0: 438, 1: 262, 2: 2, 3: 1}
    small = rare({0: 500, 1: 300, 2: 2, 3: 1}).at_most(80, 8, seed)
    assert Counter(e.label for e in small.train) == {0: 49, 1: 29, 2: 1, 3: 1}
    assert Counter(e.label for e in small.dev) == {0: 4, 1: 2, 2: 1, 3: 1}
    most = rare({0: 100, 1: 1}).hold_back(60, seed)
    assert Counter(e.label for e in most.train) == {0: 40, 1: 1}
    # A sorted file is not sorted after the cut: whoever looks at the first few sees several classes.
    assert len({e.label for e in small.train[:20]}) > 1


def test_an_even_split_stays_even() -> None:
    held = TASK.hold_back(20)
    assert Counter(e.label for e in held.tune) == {0: 10, 1: 10}
    assert held.at_most(10, 6).fingerprint != held.at_most(10, 6, seed=1).fingerprint


def test_a_regression_has_no_classes() -> None:
    numbers = replace(TASK, labels=(), train=tuple(Example("a", "b", i / 7) for i in range(50)))
    assert len(numbers.hold_back(10).tune) == 10
    assert len(numbers.at_most(7, None).train) == 7


@given(st.lists(st.integers(1, 60), min_size=1, max_size=12), st.data())
def test_shares_are_proportional_and_add_up(sizes: list[int], data: st.DataObject) -> None:
    count = data.draw(st.integers(0, sum(sizes)))
    take, leave = data.draw(st.sampled_from([(0, 0), (1, 0), (0, 1)]))
    shares = proportional(sizes, count, take, leave)
    assert sum(shares) == count
    assert all(0 <= share <= size for share, size in zip(shares, sizes, strict=True))
    if take and count >= len(sizes):
        assert min(shares) >= 1
    if leave and count <= sum(sizes) - len(sizes):
        assert all(share < size for share, size in zip(shares, sizes, strict=True))
    if not take and not leave:
        quotas = [count * size / sum(sizes) for size in sizes]
        assert all(abs(share - quota) < 1 for share, quota in zip(shares, quotas, strict=True))


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
