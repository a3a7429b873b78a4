"""What was read of a task and what a run uses of it, in plain words, with what a careful reader should know of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from common.costs.estimates import PIECES_PER_WORD
from common.tasks.task import Example, Task

FEW_DEV_ROWS = 30
"""Below it an interval over examples covers almost everything."""

MANY_CLASSES = 100
SHOWN_CLASSES = 8

USUAL_TOKENS = 128
"""Where most papers' plans cut a text."""


@dataclass(frozen=True, slots=True)
class DataSummary:
    """The data of one task in one run.

    Attributes:
        name, metric: the task's.
        classes: train rows read of each class; empty for a regression.
        target: least and greatest target of a regression's train rows; None for classes.
        train_read, dev_read: rows in the files.
        train_used, tune_used, dev_used: rows to train on, to choose thresholds on, and to score by.
        cut_by: what made them fewer (`SCALE=mini`, `task.yaml`); empty where nothing did.
        longer: share of the train rows used that have more than `USUAL_TOKENS` tokens, estimated from their words.
        warnings: what makes numbers on these data worth less.
    """

    name: str
    metric: str
    classes: dict[str, int]
    target: tuple[float, float] | None
    train_read: int
    dev_read: int
    train_used: int
    tune_used: int
    dev_used: int
    cut_by: str
    longer: float
    warnings: tuple[str, ...]

    def lines(self) -> list[str]:
        """As text, the first line with the task's name."""
        read = f"{self.name}: {self.train_read:,} train and {self.dev_read:,} dev rows read; {self._kind()}"
        used = (
            f"{self.train_used:,} to train on, {self.tune_used:,} of train held back for choosing thresholds, "
            f"{self.dev_used:,} of dev to score by"
        )
        lines = [read, f"  used: {used} ({f'cut by {self.cut_by}' if self.cut_by else 'all'}); metric {self.metric}"]
        if self.longer > 0:
            words = round(USUAL_TOKENS / PIECES_PER_WORD)
            share = f"{max(1, round(100 * self.longer))} %"
            lines.append(f"  texts are usually cut to {USUAL_TOKENS} tokens (about {words} words): {share} are longer")
        return [*lines, *(f"  warning: {warning}" for warning in self.warnings)]

    def _kind(self) -> str:
        if self.target is not None:
            return f"a regression on {self.target[0]:g} to {self.target[1]:g}"
        ordered = sorted(self.classes.items(), key=lambda item: -item[1])
        if len(ordered) <= SHOWN_CLASSES:
            return f"{len(ordered)} classes: {', '.join(f'{label} {count:,}' for label, count in self.classes.items())}"
        (most, largest), (least, smallest) = ordered[0], ordered[-1]
        return f"{len(ordered)} classes, from {most} ({largest:,} rows) to {least} ({smallest:,})"


def summarise(read: Task, used: Task, cut_by: str) -> DataSummary:
    """Compare a task as it was read with what a run uses of it.

    Args:
        read: as loaded.
        used: after a part was held back and, perhaps, the rest cut.
        cut_by: what would have cut it; left out of the summary where nothing was.
    """
    targets = [e.label for e in read.train]
    is_cut = len(used.train) + len(used.tune) < len(read.train) or len(used.dev) < len(read.dev)
    counts = Counter(targets)
    return DataSummary(
        name=read.name,
        metric=read.metric,
        classes={label: counts[float(i)] for i, label in enumerate(read.labels)},
        target=(min(targets), max(targets)) if read.is_regression else None,
        train_read=len(read.train),
        dev_read=len(read.dev),
        train_used=len(used.train),
        tune_used=len(used.tune),
        dev_used=len(used.dev),
        cut_by=cut_by if is_cut else "",
        longer=sum(_words(e) * PIECES_PER_WORD > USUAL_TOKENS for e in used.train) / len(used.train),
        warnings=tuple(_warnings(read, used)),
    )


def _warnings(read: Task, used: Task) -> Iterator[str]:
    if len(used.dev) < FEW_DEV_ROWS:
        yield f"{len(used.dev)} dev rows are few: intervals will be wide. Better {FEW_DEV_ROWS} or more, best hundreds"
    if len({e.label for e in used.dev}) < 2:
        what = "target" if read.is_regression else f"class ({read.labels[int(used.dev[0].label)]})"
        yield f"dev holds one {what} alone: a constant answer is right everywhere, and no score means anything"
    if len(read.labels) >= MANY_CLASSES:
        yield f"{len(read.labels)} classes: is the label's column the one you mean? Each class wants dozens of rows"
    known = {_compared(e) for e in (*used.train, *used.tune)}
    leaked = sum(_compared(e) in known for e in used.dev)
    if leaked:
        yield f"{leaked:,} of {len(used.dev):,} dev rows stand in train too: scores come out too good"


def _compared(example: Example) -> tuple[str, ...]:
    return tuple(" ".join(text.casefold().split()) for text in (example.text_a, example.text_b) if text is not None)


def _words(example: Example) -> int:
    return len(example.text_a.split()) + len((example.text_b or "").split())
