"""How much of a reading task each scale uses, and the same in words."""

from __future__ import annotations

from dataclasses import dataclass

from common.errors import UserError
from common.scales import Scale
from common.tasks.spans.task import SpanTask

QUESTIONS: dict[str, tuple[int | None, int | None]] = {
    "smoke": (320, 128),
    "mini": (4_000, None),
    "base": (12_000, None),
    "paper": (None, None),
}
"""By scale: at most so many train and dev questions (None: all). Questions are longer than the texts of other tasks."""

HELD_BACK = 10
"""One question in so many is held back from train for choosing: the share of DeFormer's tune split."""

LEAST_TRAIN, LEAST_DEV = 20, 2


def at_scale(task: SpanTask, scale: Scale) -> SpanTask:
    """Cut a reading task to a scale, a tenth of what is used of train held back as `tune`; one's own is used whole.

    Raises:
        UserError: there are too few questions, or they are all on one passage, so that none can be held back.
    """
    if len(task.train) < LEAST_TRAIN or len(task.dev) < LEAST_DEV:
        raise UserError(
            f"{task.name}: {len(task.train)} training and {len(task.dev)} evaluation questions are too few: expected "
            f"at least {LEAST_TRAIN} and {LEAST_DEV}. Give more, or another task with TASKS="
        )
    train, dev = (None, None) if task.is_own else QUESTIONS[scale.name]
    if train is not None:
        train += train // HELD_BACK
    cut = task.at_most(train, dev)
    held = cut.hold_back(len(cut.train) // HELD_BACK)
    if not held.tune:
        raise UserError(
            f"{task.name}: all training questions are on one passage, and a part is held back by passages for "
            "choosing. Give more passages, or another task with TASKS="
        )
    return held


@dataclass(frozen=True, slots=True)
class SpanSummary:
    """What was read of a reading task, and what is used of it.

    Attributes:
        train_read: training questions in the source.
        used: what a run uses.
    """

    train_read: int
    used: SpanTask

    def lines(self) -> list[str]:
        """As text."""
        used, passages = self.used, len({question.passage for question in self.used.dev})
        return [
            f"{used.name}: {self.train_read:,} train questions read; {len(used.train):,} to train on, "
            f"{len(used.tune):,} of train held back for choosing, {len(used.dev):,} of dev on {passages:,} passages to "
            "score by; metric F1"
        ]
