"""Optimal subarchitecture extraction: the FPTAS that chooses Bort's architecture.

Given a finite set Xi of architectural parameters (depth D, heads A, hidden size H, intermediate size I), find the xi
whose model is small (p), cheap to run (i) and accurate (e), all at once. The three are replaced by surrogates: p-hat
and i-hat are polynomials of xi, e-hat is the cross-entropy against the maximum point T after a few steps of SGD; one
number, the W-coefficient, weighs them. Because size orders the candidates, every eps-th of them is enough.

The paper's text could not be had: the formulas are those of the paper's card, each marked with its source there. What
is ours where nothing is specified is said, and stands among the deviations.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Generic, TypeVar

from common.encoders.shapes import Shape
from common.errors import UserError

TOKENS = 128
"""N, the length at which operations are counted (ours: the paper's is not known)."""

SMALL = 1e-7
"""Added to the error in the W-coefficient's denominator."""

VOCABULARY = 50_265
"""RoBERTa's byte-level vocabulary, cased."""

OFFICIAL = re.compile(r"bort_(\d+)_(\d+)_(\d+)_(\d+)")

ThetaT = TypeVar("ThetaT", bound=Hashable)


# -- Xi ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Architecture:
    """xi: depth D, heads A, hidden size H, intermediate size I of a BERT encoder.

    Raises:
        UserError: a number is below 1, or the heads do not divide the hidden size.
    """

    depth: int
    heads: int
    hidden: int
    intermediate: int

    def __post_init__(self) -> None:
        if min(self.depth, self.heads, self.hidden, self.intermediate) < 1:
            raise UserError(f"{self.name}: expected depth, heads, hidden and intermediate size of at least 1")
        if self.hidden % self.heads:
            raise UserError(
                f"{self.name}: {self.heads} heads do not divide a hidden size of {self.hidden}. "
                "Expected depth-heads-hidden-intermediate, e.g. 4-8-1024-768"
            )

    @property
    def name(self) -> str:
        """D-A-H-I, e.g. `4-8-1024-768`."""
        return f"{self.depth}-{self.heads}-{self.hidden}-{self.intermediate}"

    @classmethod
    def from_official(cls, name: str) -> Architecture:
        """Read a name of the official code, `bort_D_A_I_H`: its library calls the feed-forward width `hidden_size`.

        Raises:
            UserError: it is no such name.
        """
        found = OFFICIAL.fullmatch(name)
        if found is None:
            raise UserError(
                f"{name!r} is no setting of the official code: expected bort_D_A_I_H, e.g. bort_4_8_768_1024"
            )
        depth, heads, intermediate, hidden = map(int, found.groups())
        return cls(depth, heads, hidden, intermediate)

    @property
    def parameters(self) -> int:
        """p-hat: trainable parameters of the encoder's layers, D (4 H^2 + 2 H I + 9 H + I)."""
        h, i = self.hidden, self.intermediate
        return self.depth * (4 * h * h + 2 * h * i + 9 * h + i)

    def multiply_adds(self, tokens: int) -> int:
        """Of the matrix products of all layers: D (N (4 H^2 + 2 H I) + 2 N^2 H)."""
        h, i, n = self.hidden, self.intermediate, tokens
        return self.depth * (n * (4 * h * h + 2 * h * i) + 2 * n * n * h)

    def operations(self, tokens: int = TOKENS) -> int:
        """i-hat: additions, multiplications and the others of all layers on N tokens.

        The others: scaling and softmax of A N^2 scores at four a score, one GELU a number of I, and for each of the two
        sums and layer norms behind a block six a number of H. Heads enter through the softmax alone.
        """
        n = tokens
        softmax, gelu, norms = 4 * self.heads * n * n, n * self.intermediate, 2 * 6 * n * self.hidden
        return 2 * self.multiply_adds(tokens) + self.depth * (softmax + gelu + norms)

    def shrunk(self, factor: int) -> Architecture:
        """The same depth and heads, both widths divided by `factor`.

        Raises:
            UserError: a width is not divisible by it, or the heads do not divide what is left.
        """
        if factor < 1 or self.hidden % factor or self.intermediate % factor:
            raise UserError(f"{self.name}: expected a factor that divides both widths, found {factor}")
        return Architecture(self.depth, self.heads, self.hidden // factor, self.intermediate // factor)

    def shape(self, vocabulary: int = VOCABULARY, padding: int = 1) -> Shape:
        """As Bort is built: post-layer-norm BERT without pooler and token types, positions from 0.

        transformers' module needs one token type, which adds H numbers that Bort has not.
        """
        return Shape(
            model_type="bert",
            layers=self.depth,
            hidden=self.hidden,
            heads=self.heads,
            intermediate=self.intermediate,
            vocab=vocabulary,
            positions=512,
            token_types=1,
            pad_token_id=padding,
            layer_norm_eps=1e-5,
            has_pooler=False,
        )


@dataclass(frozen=True)
class SearchSpace:
    """Xi as the values of each parameter."""

    depth: Sequence[int]
    heads: Sequence[int]
    hidden: Sequence[int]
    intermediate: Sequence[int]

    @cached_property
    def candidates(self) -> tuple[Architecture, ...]:
        """Every combination whose heads divide its hidden size."""
        combined = product(self.depth, self.heads, self.hidden, self.intermediate)
        return tuple(Architecture(*values) for values in combined if values[2] % values[1] == 0)


SPACE = SearchSpace(
    depth=(2, 4, 6, 8, 10, 12),
    heads=(4, 8, 12, 16),
    hidden=(512, 768, 1024),
    intermediate=(256, 512, 768, 1024, 3072),
)
"""The paper's 300 candidates."""

ROBERTA_LARGE = Architecture(24, 16, 1024, 4096)
"""The maximum point T from which Bort was extracted."""

BORT = Architecture(4, 8, 1024, 768)
"""The released weights."""

AS_COUNTED = Architecture(4, 8, 768, 1024)
"""The sizes that the printed counts (56M, of which 39M embeddings) fit."""


# -- Surrogates and the W-coefficient -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cost:
    """p-hat and i-hat of an architecture; the latter in operations, or in seconds where it was clocked."""

    parameters: float
    inference: float


CostOf = Callable[[Architecture], Cost]


def closed_form(architecture: Architecture) -> Cost:
    """Parameters and operations."""
    return Cost(architecture.parameters, architecture.operations())


def w_coefficient(maximum: Cost, candidate: Cost, error: float) -> float:
    """W(T, xi) = (p(T) - p(xi)) / p(T) * (i(T) - i(xi)) / i(T) / e-hat(xi), to be maximised.

    Raises:
        UserError: the candidate is larger or slower than the maximum point: both factors would change sign.
    """
    if candidate.parameters > maximum.parameters or candidate.inference > maximum.inference:
        raise UserError(
            f"a candidate with {candidate.parameters:,.0f} parameters and an inference cost of "
            f"{candidate.inference:.4g} is larger than the maximum point ({maximum.parameters:,.0f} and "
            f"{maximum.inference:.4g}): give a larger maximum point, or leave the candidate out"
        )
    smaller = (maximum.parameters - candidate.parameters) / maximum.parameters
    cheaper = (maximum.inference - candidate.inference) / maximum.inference
    return smaller * cheaper / (error + SMALL)


def largest(candidates: Iterable[Architecture], cost: CostOf = closed_form) -> Architecture:
    """The maximum point within a set: most parameters, then the costliest to run."""
    return max(candidates, key=lambda xi: (cost(xi).parameters, cost(xi).inference))


# -- The algorithm --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tried(Generic[ThetaT]):
    """One pass of the inner loop: xi, theta, e-hat and W."""

    architecture: Architecture
    theta: ThetaT
    error: float
    w: float


@dataclass(frozen=True)
class Found(Generic[ThetaT]):
    """What the algorithm went through, in its order."""

    tried: tuple[Tried[ThetaT], ...]

    @cached_property
    def winner(self) -> Tried[ThetaT]:
        """The largest W over all theta; of equals the smallest model."""
        return max(self.tried, key=lambda one: one.w)

    def best_of(self, architecture: Architecture) -> Tried[ThetaT] | None:
        """The largest W of one candidate; None if it was passed over."""
        return max((t for t in self.tried if t.architecture == architecture), key=lambda one: one.w, default=None)

    def rank_of(self, architecture: Architecture) -> int | None:
        """1 for the winner: how many candidates have a larger W, plus one; None if it was passed over."""
        mine = self.best_of(architecture)
        if mine is None:
            return None
        return 1 + len({t.architecture for t in self.tried if t.w > mine.w})


def in_order(candidates: Iterable[Architecture], cost: CostOf = closed_form) -> list[Architecture]:
    """By p-hat; ties by i-hat (ours)."""
    return sorted(candidates, key=lambda xi: (cost(xi).parameters, cost(xi).inference))


def fptas(
    candidates: Sequence[Architecture],
    thetas: Sequence[ThetaT],
    error: Callable[[Architecture, ThetaT], float],
    *,
    eps: int = 1,
    maximum: Architecture | None = None,
    cost: CostOf = closed_form,
) -> Found[ThetaT]:
    """Try every eps-th candidate under every theta and keep the largest W-coefficient.

    Args:
        candidates: Xi.
        thetas: Theta, the hyper-parameter sets of the outer loop.
        error: e-hat of a candidate after its s steps of SGD with theta; it is asked once a pass.
        eps: the interval between the candidates that are tried, 1 to |Xi|.
        maximum: T; by default the largest candidate.
        cost: p-hat and i-hat.

    Raises:
        UserError: no candidates, no theta, eps outside 1..|Xi|, or a candidate larger than the maximum point.
    """
    if not candidates:
        raise UserError("an empty candidate set: expected at least one architecture whose heads divide its hidden size")
    if not thetas:
        raise UserError("an empty set of hyper-parameters: expected at least one to train candidates with")
    if not 1 <= eps <= len(candidates):
        raise UserError(f"eps is the interval between tested candidates, 1 to {len(candidates)} here; got {eps}")
    top = cost(maximum or largest(candidates, cost))
    ordered = in_order(candidates, cost)
    for xi in ordered:
        w_coefficient(top, cost(xi), 1.0)  # Refused before anything is trained.
    tried = []
    for theta in thetas:
        for xi in ordered[::eps]:
            e = error(xi, theta)
            tried.append(Tried(xi, theta, e, w_coefficient(top, cost(xi), e)))
    return Found(tuple(tried))
