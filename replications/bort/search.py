"""Who wins the search, and how much that hangs on n, eps and the maximum point; read off errors that were kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from common.records.measurements import Measurement
from common.records.predictions import Array, Evidence
from common.rows import Rows
from replications.bort.exact import MAXIMUM_POINTS, OWN, ROBERTA
from replications.bort.method import BORT, Architecture, Found, Tried, fptas
from replications.bort.names import BORT as BORT_NAME
from replications.bort.names import (
    MASKS,
    SEARCH,
    SEARCH_EVIDENCE,
    STEPS,
    by_row_name,
    errors_name,
    theta_name,
    tried_name,
)
from replications.bort.surrogate import ORDERED, Surrogate

INTERVALS = (2, 5, 10)
"""Multiples of the interval between trained candidates at which the sensitivity to eps is shown."""


@dataclass(frozen=True)
class Point:
    """A setting of the search.

    Attributes:
        n: steps of SGD.
        eps: the interval between candidates that are tried, in the order of all of them.
        maximum: the maximum point, by name.
        beside: whether Bort is tried, too, where eps passes it over.
    """

    n: int = STEPS
    eps: int = 1
    maximum: str = ROBERTA
    beside: bool = False

    @property
    def name(self) -> str:
        """As tables show it."""
        return f"n={self.n}, eps={self.eps}{' and Bort' if self.beside else ''}, {self.maximum}"

    def tries(self, place: int) -> bool:
        """Whether the candidate at a place of the order is tried."""
        return place % self.eps == 0 or (self.beside and ORDERED[place] == BORT)


@dataclass(frozen=True)
class Searched:
    """All errors of one seed.

    Attributes:
        masks: (S,) masked tokens of the rows that errors were taken on.
        errors: by n, theta and place the (S,) errors by row.
        every: by n the interval between the candidates that were trained; Bort stands beside them.
    """

    seed: int
    masks: NDArray[np.int64]
    errors: dict[int, dict[float, dict[int, NDArray[np.float64]]]]
    every: dict[int, int]

    @staticmethod
    def of(surrogate: Surrogate) -> Searched:
        """Train what was not trained yet."""
        errors: dict[int, dict[float, dict[int, NDArray[np.float64]]]] = {}
        every: dict[int, int] = {}
        for sweep in surrogate.pretraining.settings.search.sweeps:
            every |= dict.fromkeys(sweep.steps, sweep.every)
            for rate in surrogate.pretraining.settings.search.rates:
                for n, by_place in surrogate.errors(sweep, rate).items():
                    errors.setdefault(n, {})[rate] = by_place
        return Searched(surrogate.seed, surrogate.held.masks, errors, every)

    @cached_property
    def tokens(self) -> int:
        """Masked tokens in all."""
        return int(self.masks.sum())

    def places(self, n: int) -> list[int]:
        """Which candidates were trained for n steps."""
        return sorted(next(iter(self.errors[n].values())))

    def rates(self, n: int) -> list[float]:
        """Theta."""
        return list(self.errors[n])

    def error(self, n: int, rate: float, architecture: Architecture) -> float:
        """e-hat in nats a masked token."""
        return float(self.errors[n][rate][ORDERED.index(architecture)].sum() / self.tokens)

    def found(self, point: Point) -> Found[float]:
        """The algorithm on these errors; what eps leaves is chosen here, because Bort may stand beside it."""
        return fptas(
            [ORDERED[place] for place in self.places(point.n) if point.tries(place)],
            self.rates(point.n),
            lambda xi, rate: self.error(point.n, rate, xi),
            maximum=MAXIMUM_POINTS[point.maximum],
        )

    @property
    def points(self) -> list[Point]:
        """The paper's n, all that was trained for it and RoBERTa-large as T; then one of the three changed at a time.

        Where another n has fewer candidates, the paper's n stands beside it on the same ones.
        """
        base = self._point(STEPS if STEPS in self.errors else min(self.errors))
        others = [self._point(n) for n in self.errors if n != base.n]
        same = [replace(other, n=base.n) for other in others if other.eps != base.eps]
        further = [replace(base, eps=k * base.eps) for k in INTERVALS if k * base.eps <= len(ORDERED)]
        return list(dict.fromkeys([base, *others, *same, *further, replace(base, maximum=OWN)]))

    def _point(self, n: int) -> Point:
        """All that was trained for n steps."""
        every = self.every[n]
        return Point(n, every, beside=ORDERED.index(BORT) % every != 0)

    # -- What is reported ----------------------------------------------------------------------------------------------

    def rows(self, row: Rows) -> Iterator[Measurement]:
        """Winner and Bort at every point."""
        for point in self.points:
            found = self.found(point)
            for architecture in dict.fromkeys((found.winner.architecture, BORT)):
                one, rank = found.best_of(architecture), found.rank_of(architecture)
                if one is None or rank is None:
                    continue
                who = f"{BORT_NAME}, {architecture.name}" if architecture == BORT else architecture.name
                at = {"setting": point.name, "note": f"{len(found.tried)} passes, best with {theta_name(one.theta)}"}
                yield row("search", who, "rank", float(rank), "count", **at)
                yield row("search", who, "w", one.w, "ratio", **at)
                yield row("search", who, "error", one.error, "nats", **at)

    def candidate_rows(self, row: Rows) -> Iterator[Measurement]:
        """W of every candidate at the paper's n, for the figure."""
        found = self.found(self.points[0])
        for architecture in dict.fromkeys(tried.architecture for tried in found.tried):
            one: Tried[float] | None = found.best_of(architecture)
            assert one is not None
            at = {"setting": f"{architecture.heads} heads", "at": architecture.parameters / 1e6}
            yield row("search-candidates", SEARCH, "w", one.w, "ratio", **at)

    def evidence(self) -> Evidence:
        """Every error; row by row after the paper's n, where a verdict on the winner rests on them."""
        arrays: dict[str, Array] = {MASKS: self.masks}
        for n, by_rate in self.errors.items():
            places = self.places(n)
            arrays[tried_name(n)] = np.array(places)
            for rate, by_place in by_rate.items():
                theta, by_row = theta_name(rate), np.stack([by_place[p] for p in places])
                arrays[errors_name(theta, n)] = by_row.sum(axis=1) / self.tokens
                if n == STEPS:
                    arrays[by_row_name(theta, n)] = by_row
        return Evidence(SEARCH_EVIDENCE, self.seed, "", 0, 0, arrays)
