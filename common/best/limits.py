"""What a user allows: so many points lost, so many milliseconds, in batches of so many texts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from common.errors import UserError

LEAST_TEXTS = 50
"""With fewer, even who differs from the baseline on one text in twenty has an interval of 6 points each way."""

MOST_AT_ONCE = 1024


@dataclass(frozen=True)
class Limits:
    """What the system to be taken must keep.

    Attributes:
        max_loss: points of the task's metric that it may lose against the baseline.
        max_ms: milliseconds that a text may take at `batch`, median (p50); None: however long.
        batch: texts at once at which speed counts; 1 is one by one.
    """

    max_loss: float
    max_ms: float | None = None
    batch: int = 1

    @staticmethod
    def parse(max_loss: str, max_ms: str = "", batch: str = "1") -> Limits:
        """Check the command line's options.

        Raises:
            UserError: one is not such a number.
        """
        loss = _number(max_loss, lambda value: 0 <= value <= 100)
        if loss is None:
            raise UserError(
                "MAX_LOSS is how many points of the task's metric may be lost, 0 to 100; "
                f"got {max_loss[:20]!r}. Type MAX_LOSS=1"
            )
        ms = _number(max_ms, lambda value: value > 0)
        if max_ms and ms is None:
            raise UserError(
                f"MAX_MS is how many milliseconds a text may take, above 0; got {max_ms[:20]!r}. Type MAX_MS=5"
            )
        if not (batch.isdecimal() and len(batch) <= len(str(MOST_AT_ONCE)) and 1 <= int(batch) <= MOST_AT_ONCE):
            raise UserError(
                f"BATCH is how many texts are answered at once, 1 to {MOST_AT_ONCE}; got {batch[:20]!r}. Type BATCH=32"
            )
        return Limits(loss, ms, int(batch))

    @property
    def least_texts(self) -> int:
        """How many texts tell a loss of `max_loss`: one of them is worth no more than that."""
        return max(LEAST_TEXTS, math.ceil(100 / self.max_loss - 1e-9)) if self.max_loss > 0 else LEAST_TEXTS

    @property
    def speed(self) -> str:
        """At what speed is meant, for prose."""
        return at_once(self.batch)

    def check_texts(self, name: str, tune: int, dev: int) -> None:
        """Refuse to choose by too few texts.

        Raises:
            UserError: one text of `tune` or `dev` is worth more than may be lost, or they are fewer than `LEAST_TEXTS`.
        """
        needed, fewest = self.least_texts, min(tune, dev)
        if fewest >= needed:
            return
        which = "held back from train" if tune <= dev else "in dev"
        told = f", or allow what so many can tell: MAX_LOSS={rounded_up(100 / fewest)}" if fewest >= LEAST_TEXTS else ""
        raise UserError(
            f"{name}: {fewest} texts {which} are too few for a choice: one of them is worth {100 / fewest:.1f} points, "
            f"and MAX_LOSS={self.max_loss:g} wants at least {needed} held back (an eighth of train, as far as the "
            f"scale allows) and as many in dev. Give more rows{told}"
        )

    def check_batch(self, name: str, dev: int) -> None:
        """Refuse batches that dev cannot fill.

        Raises:
            UserError: it has fewer texts than a batch.
        """
        if self.batch > dev:
            raise UserError(
                f"BATCH={self.batch}: {name} has {dev} texts in dev to time. Type BATCH={dev} or fewer, or give more"
            )


def at_once(batch: int) -> str:
    """`one by one`, or `in batches of 32`."""
    return "one by one" if batch == 1 else f"in batches of {batch}"


def rounded_up(value: float) -> str:
    """Rounded up to a tenth."""
    return f"{math.ceil(10 * value - 1e-9) / 10:g}"


def _number(text: str, allowed: Callable[[float], bool]) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and allowed(value) else None
