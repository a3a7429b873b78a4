"""Agora's loop on an invented learner, its pruning and its varied examples."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from common.errors import UserError
from common.tasks.task import Example
from replications.bort.agora import CHANGED, Theta, agora, least_promising, vary

WORDS = ("red", "green", "blue", "white")


def theta(rate: float = 1.0, decay: float = 0.0, warmup: float = 0.1, batch: int = 8, seed: int = 0) -> Theta:
    return Theta(rate, decay, warmup, batch, seed)


def dev(count: int = 20) -> list[Example]:
    return [Example(f"text number {i} of many", None, float(i % 2)) for i in range(count)]


@dataclass
class Learner:
    """Right on a share of the dev examples that its theta's rate says, more with every example added."""

    trained: list[tuple[tuple[Example, ...], Theta]] = field(default_factory=list)

    def train(self, added: Sequence[Example], theta: Theta) -> float:
        self.trained.append((tuple(added), theta))
        return theta.learning_rate + 0.001 * len(added)

    def answers(self, model: float, examples: Sequence[Example]) -> NDArray[Any]:
        right = round(model * len(examples))
        return np.array([e.label if i < right else 1 - e.label for i, e in enumerate(examples)])


def labels(examples: Sequence[Example]) -> NDArray[Any]:
    """An acceptable model that always says 1."""
    return np.ones(len(examples))


def varied(examples: Sequence[Example]) -> list[Example]:
    return vary(examples, WORDS, seed=0)


def test_every_theta_is_trained_each_round_on_what_was_added_before() -> None:
    learner = Learner()
    thetas = [theta(0.5, decay=1, warmup=0.1, batch=8, seed=0), theta(0.7, decay=2, warmup=0.2, batch=16, seed=1)]
    outcome = agora(learner, thetas, dev(), varied, labels)
    assert [(len(added), one.learning_rate) for added, one in learner.trained] == [(0, 0.5), (0, 0.7), (6, 0.7)]
    first, second = outcome.rounds
    assert (first.accuracies, first.wrong, first.added) == ((0.5, 0.7), 6, 0)
    assert first.dropped == (thetas[0],) and second.dropped == (thetas[1],)
    assert outcome.trainings == 3


def test_what_the_best_copy_got_wrong_is_varied_and_labelled_by_the_acceptable_model() -> None:
    """Not with the labels of the dev set, and never the dev points themselves."""
    learner, examples = Learner(), dev()
    seen: list[Sequence[Example]] = []

    def tau(wrong: Sequence[Example]) -> list[Example]:
        seen.append(tuple(wrong))
        return varied(wrong)

    thetas = [theta(0.5, decay=1), theta(0.7, decay=2, warmup=0.2, batch=16, seed=1)]
    agora(learner, thetas, examples, tau, labels)
    assert list(seen[0]) == examples[14:], "of the best of the round, not of the worst"
    added = learner.trained[-1][0]
    assert {e.label for e in added} == {1.0} != {e.label for e in examples[14:]}
    assert not {e.text_a for e in added} & {e.text_a for e in examples}


def test_a_varied_example_that_is_a_dev_point_word_for_word_is_left_out() -> None:
    learner, examples = Learner(), dev()
    thetas = [theta(0.5, decay=1), theta(0.7, decay=2, warmup=0.2, batch=16, seed=1)]
    outcome = agora(learner, thetas, examples, lambda wrong: wrong, labels)
    assert all(not added for added, _ in learner.trained)
    assert [r.added for r in outcome.rounds] == [0, 0]


def test_the_best_model_of_all_rounds_is_returned_not_the_last() -> None:
    class Forgets(Learner):
        def train(self, added: Sequence[Example], theta: Theta) -> float:
            return super().train(added, theta) - (0.5 if added else 0.0)

    thetas = [theta(0.5, decay=1), theta(0.9, decay=2, warmup=0.2, batch=16, seed=1)]
    outcome = agora(Forgets(), thetas, dev(), varied, labels)
    assert len(outcome.rounds) == 2
    assert outcome.best is outcome.rounds[0] and outcome.model == 0.9


@given(st.lists(st.tuples(*[st.integers(0, 2)] * 5), min_size=1, max_size=12, unique=True), st.data())
def test_the_loop_ends_after_at_most_as_many_rounds_as_thetas(
    values: list[tuple[int, ...]], data: st.DataObject
) -> None:
    thetas = [Theta(v[0] / 10 + 0.1, *v[1:]) for v in values]
    outcome = agora(Learner(), thetas, dev(4), varied, labels)
    assert 1 <= len(outcome.rounds) <= len(thetas)
    sizes = [len(r.thetas) for r in outcome.rounds]
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == len(sizes)
    assert sorted(t.values for r in outcome.rounds for t in r.dropped) == sorted(t.values for t in thetas)


# -- Step 6 --------------------------------------------------------------------------------------------------------


def test_the_worst_goes_and_with_it_the_next_worst_that_share_a_value_with_it() -> None:
    a, b = theta(1, decay=0, warmup=0.1, batch=8, seed=0), theta(1, decay=5, warmup=0.2, batch=16, seed=1)
    c, d = theta(1, decay=6, warmup=0.3, batch=32, seed=2), theta(2, decay=7, warmup=0.4, batch=64, seed=3)
    assert least_promising([d, c, b, a], [0.9, 0.7, 0.6, 0.5]) == (a, b, c)
    assert least_promising([d, c, b, a], [0.5, 0.7, 0.8, 0.9]) == (d,)


def test_the_chain_has_one_value_in_common_from_end_to_end() -> None:
    a = theta(1, decay=0, warmup=0.1, batch=8, seed=0)
    b = theta(1, decay=5, warmup=0.2, batch=8, seed=1)
    c = theta(2, decay=0, warmup=0.3, batch=16, seed=2)
    assert least_promising([a, b, c], [0.1, 0.2, 0.3]) == (a, b), "c shares a value with a, but none with b too"


def test_a_value_that_all_share_does_not_drop_all_at_once() -> None:
    thetas = [theta(rate, decay=rate, warmup=rate, batch=8, seed=int(rate)) for rate in (1, 2, 3)]
    assert least_promising(thetas, [0.3, 0.1, 0.2]) == (thetas[1],)


# -- tau -----------------------------------------------------------------------------------------------------------


@given(st.integers(1, 60), st.integers(0, 5), st.booleans())
def test_a_neighbour_differs_in_few_words_and_no_text_is_emptied(length: int, seed: int, pair: bool) -> None:
    text = " ".join(f"w{i}" for i in range(length))
    example = Example(text, "one two three" if pair else None, 1.0)
    (found,) = vary([example], WORDS, seed)
    before = f"{example.text_a} {example.text_b or ''}".split()
    after = f"{found.text_a} {found.text_b or ''}".split()
    kept = [word for word in after if word not in WORDS]
    changed = len(before) - len(kept)
    assert changed == max(1, round(CHANGED * len(before)))
    assert found.text_a and (found.text_b is None) == (not pair) and found.text_b != ""
    assert (found.text_a, found.text_b) != (example.text_a, example.text_b)


def test_the_same_seed_gives_the_same_neighbours() -> None:
    assert vary(dev(), WORDS, 1) == vary(dev(), WORDS, 1) != vary(dev(), WORDS, 2)


# -- Bad input -----------------------------------------------------------------------------------------------------


def test_without_hyper_parameters_or_dev_examples_it_refuses() -> None:
    with pytest.raises(UserError, match="at least one set of hyper-parameters"):
        agora(Learner(), [], dev(), varied, labels)
    with pytest.raises(UserError, match="Agora needs dev examples"):
        agora(Learner(), [theta()], [], varied, labels)
