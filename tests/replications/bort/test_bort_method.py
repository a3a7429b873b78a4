"""The search: closed forms, the W-coefficient, the algorithm on families with a known optimum, and bad input."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.costs.flops import EncoderShape, encoder_flops
from common.encoders.shapes import random_encoder
from common.errors import UserError
from replications.bort.exact import MAXIMUM_POINTS, exact_rows, size_factor
from replications.bort.method import (
    AS_COUNTED,
    BORT,
    ROBERTA_LARGE,
    SMALL,
    SPACE,
    Architecture,
    Cost,
    SearchSpace,
    closed_form,
    fptas,
    in_order,
    largest,
    w_coefficient,
)

ARCHITECTURES = st.builds(
    lambda depth, heads, size, intermediate: Architecture(depth, heads, heads * size, intermediate),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(1, 16),
    st.integers(1, 64),
)

# -- Xi and the surrogates -----------------------------------------------------------------------------------------


def test_the_space_has_the_cards_300_settings_of_360() -> None:
    assert len(SPACE.depth) * len(SPACE.heads) * len(SPACE.hidden) * len(SPACE.intermediate) == 360
    assert len(set(SPACE.candidates)) == len(SPACE.candidates) == 300
    assert BORT in SPACE.candidates
    assert AS_COUNTED in SPACE.candidates
    assert Architecture(2, 16, 1024, 512) in SPACE.candidates


@pytest.mark.parametrize("architecture", [BORT, AS_COUNTED, Architecture(2, 12, 768, 3072)], ids=lambda a: a.name)
def test_parameters_are_those_of_the_modules_layers(architecture: Architecture) -> None:
    encoder = random_encoder(architecture.shape(), device="meta")
    layers = [p.numel() for i in range(1, architecture.depth + 1) for p in encoder.layer_module(i).parameters()]
    assert architecture.parameters == sum(layers)


@given(ARCHITECTURES, st.integers(1, 40))
def test_multiply_adds_are_half_the_flops_of_the_matrix_products(architecture: Architecture, tokens: int) -> None:
    shape = EncoderShape(architecture.depth, architecture.hidden, architecture.intermediate, architecture.heads, 10)
    assert 2 * architecture.multiply_adds(tokens) == encoder_flops(shape, tokens)


def test_the_other_operations_are_few_and_heads_enter_through_the_softmax_alone() -> None:
    few, many = Architecture(4, 4, 1024, 768), Architecture(4, 16, 1024, 768)
    assert few.parameters == many.parameters
    assert few.multiply_adds(128) == many.multiply_adds(128)
    assert many.operations(128) - few.operations(128) == 4 * 4 * (16 - 4) * 128 * 128
    for xi in SPACE.candidates:
        assert 1.0 < xi.operations() / (2 * xi.multiply_adds(128)) < 1.05


def test_multiply_adds_against_baselines_are_the_cards() -> None:
    """Of the card's derived ratios, for both readings at three lengths."""
    base, large = Architecture(12, 12, 768, 3072), Architecture(24, 16, 1024, 4096)
    ratios = {
        (xi.hidden, tokens): (
            round(large.multiply_adds(tokens) / xi.multiply_adds(tokens), 2),
            round(base.multiply_adds(tokens) / xi.multiply_adds(tokens), 2),
        )
        for xi in (BORT, AS_COUNTED)
        for tokens in (32, 128, 512)
    }
    assert ratios == {
        (1024, 32): (13.01, 3.67),
        (1024, 128): (12.78, 3.62),
        (1024, 512): (12.0, 3.46),
        (768, 32): (19.06, 5.37),
        (768, 128): (18.67, 5.29),
        (768, 512): (17.33, 5.0),
    }


def test_the_official_names_have_the_feed_forward_width_before_the_width_of_the_model() -> None:
    """Gluon's hidden_size is the feed-forward width and units the model's: where the swap in the README comes from."""
    assert Architecture.from_official("bort_4_8_768_1024") == BORT == Architecture(4, 8, hidden=1024, intermediate=768)
    assert Architecture.from_official("bort_2_16_512_1024") == Architecture(2, 16, hidden=1024, intermediate=512)
    with pytest.raises(UserError, match="expected bort_D_A_I_H"):
        Architecture.from_official("roberta_24_1024_16")


def test_a_shrunk_architecture_keeps_depth_and_heads_and_every_candidate_can_be_shrunk_by_16() -> None:
    assert BORT.shrunk(4) == Architecture(4, 8, 256, 192)
    for xi in SPACE.candidates:
        assert xi.shrunk(16).depth == xi.depth
    with pytest.raises(UserError, match="a factor that divides both widths, found 5"):
        BORT.shrunk(5)


# -- The W-coefficient ---------------------------------------------------------------------------------------------


def test_w_is_the_product_of_both_savings_over_the_error() -> None:
    """The published code has a bracket in the wrong place: p(T) - p / p(T), which is near p(T)."""
    w = w_coefficient(Cost(100.0, 1000.0), Cost(25.0, 100.0), 2.0)
    assert w == pytest.approx((75 / 100) * (900 / 1000) / 2.0)
    assert w_coefficient(Cost(100.0, 10.0), Cost(100.0, 10.0), 1.0) == 0
    assert w_coefficient(Cost(2.0, 2.0), Cost(1.0, 1.0), 0.0) == pytest.approx(0.25 / SMALL)


@given(st.floats(0.0, 0.99), st.floats(0.0, 0.99), st.floats(0.1, 10.0), st.floats(1.01, 3.0))
def test_w_grows_as_anything_gets_smaller(p: float, i: float, error: float, factor: float) -> None:
    top = Cost(1.0, 1.0)
    w = w_coefficient(top, Cost(p, i), error)
    assert 0 <= w <= 1 / error
    assert w_coefficient(top, Cost(p / factor, i), error) >= w
    assert w_coefficient(top, Cost(p, i / factor), error) >= w
    assert w_coefficient(top, Cost(p, i), error / factor) > w


def test_a_candidate_larger_than_the_maximum_point_is_refused_before_anything_is_trained() -> None:
    asked: list[Architecture] = []

    def error(xi: Architecture, theta: str) -> float:
        asked.append(xi)
        return 1.0

    for maximum in (Architecture(4, 8, 768, 1024), Architecture(12, 4, 1024, 3072)):
        with pytest.raises(UserError, match="is larger than the maximum point"):
            fptas(SPACE.candidates, ("theta",), error, maximum=maximum)
    assert not asked


# -- The algorithm -------------------------------------------------------------------------------------------------


def test_candidates_are_ordered_by_parameters_and_ties_by_operations() -> None:
    costs = [closed_form(xi) for xi in in_order(SPACE.candidates)]
    for one, other in pairwise(costs):
        assert (one.parameters, one.inference) <= (other.parameters, other.inference)
    assert in_order(SPACE.candidates)[0] == Architecture(2, 4, 512, 256)
    assert largest(SPACE.candidates) == Architecture(12, 16, 1024, 3072)


def test_thetas_are_the_outer_loop_and_every_eps_th_candidate_is_tried() -> None:
    calls: list[tuple[str, Architecture]] = []

    def error(xi: Architecture, theta: str) -> float:
        calls.append((theta, xi))
        return 1.0

    found = fptas(SPACE.candidates, ("a", "b"), error, eps=7)
    tried = in_order(SPACE.candidates)[::7]
    assert calls == [(theta, xi) for theta in ("a", "b") for xi in tried]
    assert len(found.tried) == 2 * len(tried) == 86
    assert found.rank_of(in_order(SPACE.candidates)[1]) is None


def test_the_largest_w_over_all_thetas_wins() -> None:
    good = Architecture(12, 16, 1024, 768)
    found = fptas(
        SPACE.candidates,
        ("a", "b"),
        lambda xi, theta: 0.01 if (xi, theta) == (good, "b") else 1.0,
        maximum=ROBERTA_LARGE,
    )
    assert (found.winner.architecture, found.winner.theta, found.winner.error) == (good, "b", 0.01)
    assert found.rank_of(good) == 1
    assert found.rank_of(in_order(SPACE.candidates)[0]) == 2


def test_with_the_largest_candidate_as_maximum_point_that_one_never_wins() -> None:
    top = largest(SPACE.candidates)
    found = fptas(SPACE.candidates, ("",), lambda xi, theta: 1e-6 if xi == top else 1.0)
    assert found.winner.architecture != top


def family(n: int) -> list[Architecture]:
    """A synthetic family in which parameters and operations grow together."""
    return [Architecture(1, 1, 4, width) for width in range(1, n + 1)]


@given(st.integers(2, 60), st.data())
def test_with_everything_tried_the_known_optimum_is_found(n: int, data: st.DataObject) -> None:
    """Errors are made so that W is largest at a place of our choice, the family given in any order."""
    members, maximum = family(n), Architecture(1, 1, 4, n + 1)
    best = data.draw(st.integers(0, n - 1))
    known = {xi: 1 / (1 + abs(place - best)) for place, xi in enumerate(members)}

    def error(xi: Architecture, theta: str) -> float:
        return size_factor(xi, maximum) / known[xi]

    shuffled = data.draw(st.permutations(members))
    assert fptas(shuffled, ("",), error, maximum=maximum).winner.architecture == members[best]


@given(st.integers(2, 60), st.data())
def test_every_eps_th_candidate_loses_no_more_than_the_slope_times_the_distance(n: int, data: st.DataObject) -> None:
    """W with one peak: what is found lies within eps - 1 places of it, and within |1 - eps| times the steepest step."""
    members, maximum = family(n), Architecture(1, 1, 4, n + 1)
    best, eps = data.draw(st.integers(0, n - 1)), data.draw(st.integers(1, n))
    heights = data.draw(st.lists(st.floats(0.01, 1.0), min_size=n, max_size=n))
    up, down = sorted(heights[: best + 1]), sorted(heights[best + 1 :], reverse=True)
    up[-1] = max(heights) + 0.1
    w = dict(zip(members, [*up, *down], strict=True))
    found = fptas(members, ("",), lambda xi, theta: size_factor(xi, maximum) / w[xi], eps=eps, maximum=maximum).winner
    steepest = max(abs(w[a] - w[b]) for a, b in pairwise(members))
    behind = w[members[best]] - w[found.architecture]
    assert behind <= (eps - 1) * steepest + 1e-5
    if eps == 1:
        assert behind == pytest.approx(0.0, abs=1e-5)


# -- Exactly, at full size -----------------------------------------------------------------------------------------


def test_at_equal_errors_the_smallest_wins_and_bort_needs_a_lower_error() -> None:
    rows = {(m.setting, m.system, m.metric): m.value for m in exact_rows()}
    for setting, maximum in MAXIMUM_POINTS.items():
        assert rows[setting, "2-4-512-256", "rank"] == 1
        assert rows[setting, "Bort, 4-8-1024-768", "rank"] > 50
        needed = rows[setting, "Bort, 4-8-1024-768", "error_needed"]
        smallest = in_order(SPACE.candidates)[0]
        assert needed == pytest.approx(size_factor(BORT, maximum) / size_factor(smallest, maximum))
        found = fptas(
            SPACE.candidates, ("",), lambda xi, theta, e=0.999 * needed: e if xi == BORT else 1.0, maximum=maximum
        )
        assert found.winner.architecture == BORT


# -- Bad input -----------------------------------------------------------------------------------------------------


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(UserError, match=r"12 heads do not divide a hidden size of 1024\. Expected depth-heads-hidden"):
        Architecture(4, 12, 1024, 768)
    with pytest.raises(UserError, match="at least 1"):
        Architecture(0, 8, 1024, 768)


def test_an_empty_candidate_set_is_refused() -> None:
    none = SearchSpace(depth=(2,), heads=(12,), hidden=(512, 1024), intermediate=(256,))
    assert none.candidates == ()
    with pytest.raises(UserError, match="an empty candidate set: expected at least one architecture"):
        fptas(none.candidates, ("",), lambda xi, theta: 1.0)
    with pytest.raises(UserError, match="an empty set of hyper-parameters"):
        fptas(SPACE.candidates, (), lambda xi, theta: 1.0)


@pytest.mark.parametrize("eps", [0, -1, 301])
def test_eps_outside_its_range_is_refused(eps: int) -> None:
    with pytest.raises(UserError, match=f"1 to 300 here; got {eps}"):
        fptas(SPACE.candidates, ("",), lambda xi, theta: 1.0, eps=eps)
