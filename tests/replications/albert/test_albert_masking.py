"""n-gram masking: whole words, lengths by p(n), the budget, the end of a row."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from common.errors import UserError
from replications.albert.masking import NgramMasking, whole_words

NOTHING = torch.zeros(50, dtype=torch.bool)


def masking(**changes: object) -> NgramMasking:
    return NgramMasking(**{"continues": NOTHING, **changes})  # type: ignore[arg-type]


def spans(places: list[int]) -> list[int]:
    """Lengths of runs of neighbouring positions."""
    runs = np.split(np.array(places), np.flatnonzero(np.diff(places) > 1) + 1)
    return [len(run) for run in runs]


rows = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=80)


@settings(max_examples=200, deadline=None)
@given(rows, st.integers(0, 1000), st.integers(1, 3), st.one_of(st.none(), st.integers(1, 8)))
def test_whole_words_within_the_budget_and_never_what_may_not(
    row: list[tuple[bool, bool]], seed: int, longest: int, most: int | None
) -> None:
    free, goes_on = (np.array(part) for part in zip(*row, strict=True))
    rule = masking(longest=longest, most=most)
    places = rule.places(free, goes_on, np.random.default_rng(seed))
    words, chosen = whole_words(free, goes_on), set(places)
    assert places == sorted(chosen)
    assert len(places) <= rule.budget(int(free.sum()))
    assert bool(free[places].all()) if places else True
    assert all(chosen.issuperset(word) or chosen.isdisjoint(word) for word in words)
    shortest = min(map(len, words), default=0)
    if words and shortest <= rule.budget(int(free.sum())):
        assert places, "a word that fits is chosen"


@settings(max_examples=100, deadline=None)
@given(rows)
def test_words_are_runs_that_part_what_may_be_chosen(row: list[tuple[bool, bool]]) -> None:
    free, goes_on = (np.array(part) for part in zip(*row, strict=True))
    words = whole_words(free, goes_on)
    assert [place for word in words for place in word] == np.flatnonzero(free).tolist()
    assert all(word == list(range(word[0], word[-1] + 1)) for word in words)
    assert all(goes_on[place] for word in words for place in word[1:])


def test_a_special_token_ends_a_word() -> None:
    free = np.array([False, True, True, False, True, True])
    goes_on = np.array([False, False, True, False, True, True])
    assert whole_words(free, goes_on) == [[1, 2], [4, 5]]


def test_lengths_are_drawn_by_p() -> None:
    assert masking().chances.tolist() == pytest.approx([6 / 11, 3 / 11, 2 / 11])
    rng = np.random.default_rng(0)
    found = Counter(n for _ in range(400) for n in masking()._lengths(60, rng)[:57])
    assert [found[n] / sum(found.values()) for n in (1, 2, 3)] == pytest.approx([6 / 11, 3 / 11, 2 / 11], abs=0.01)


def test_near_the_end_only_what_fits_is_drawn_and_p_is_renormalised() -> None:
    """The last word has no length but 1; the one before it 1 and 2, two to one."""
    rng = np.random.default_rng(0)
    ends = np.array([masking()._lengths(10, rng)[-2:] for _ in range(6000)])
    assert set(ends[:, 1]) == {1}
    assert np.mean(ends[:, 0] == 1) == pytest.approx(2 / 3, abs=0.02)
    assert set(ends[:, 0]) == {1, 2}


def test_spans_of_three_occur_and_long_ones_are_shortened_to_the_budget() -> None:
    free: NDArray[np.bool_] = np.ones(200, dtype=bool)
    none = np.zeros(200, dtype=bool)
    found = [masking().places(free, none, np.random.default_rng(seed)) for seed in range(50)]
    assert {len(places) for places in found} == {30}, "the budget is used up, spans are shortened to it"
    assert max(max(spans(places)) for places in found) >= 3
    alone = [masking(longest=1).places(free, none, np.random.default_rng(seed)) for seed in range(50)]
    mean = [np.mean([n for places in some for n in spans(places)]) for some in (found, alone)]
    assert mean[0] > 1.3 * mean[1]


def test_at_most_so_many_whatever_the_length() -> None:
    """The official code's default of 20 at 512 tokens; without a limit 77 of 512."""
    assert masking(most=20).budget(512) == 20
    assert masking().budget(512) == 77
    assert masking().budget(3) == 1
    free = np.ones(512, dtype=bool)
    assert len(masking(most=20).places(free, np.zeros(512, dtype=bool), np.random.default_rng(0))) == 20


def test_a_batch_is_masked_row_by_row_by_its_generator_alone() -> None:
    ids = torch.arange(40).reshape(2, 20)
    free = torch.ones_like(ids, dtype=torch.bool)
    free[0, 10:] = False
    rule = masking(continues=torch.arange(50) % 2 == 1)
    chosen = [rule(ids, free, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(chosen[0], chosen[1]) and not torch.equal(chosen[0], chosen[2])
    assert not (chosen[0] & ~free).any()
    assert torch.equal(chosen[0][:, ::2], chosen[0][:, 1::2]), "pairs of pieces are words"


def test_settings_outside_their_range_are_refused() -> None:
    for changes in ({"share": 0.0}, {"share": 1.0}, {"longest": 0}, {"most": 0}):
        with pytest.raises(UserError, match="masking needs a share"):
            masking(**changes)
