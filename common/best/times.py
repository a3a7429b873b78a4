"""The clock of the choice: every arm from text to answer, one by one or in batches, interleaved, with a control.

Of every arm is kept one array of seconds a text: one by one an entry for each timed text, in batches an entry for each
pass over all of them. Arms are compared entry by entry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from common.compare.names import BASELINE
from common.methods import Answer
from common.records.measurements import atomic_write
from common.records.statistics import Interval, bootstrap_statistic
from common.task_run import TaskRun
from common.tasks.task import Example
from common.timing.paired import CONTROL, outside_noise, paired_latency, paired_throughput, pass_over
from common.timing.threads import pinned_threads

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Times:
    """What the arms took.

    Attributes:
        batch: texts at once.
        seconds: by arm, (n,) seconds a text; n timed texts one by one, n passes in batches. `CONTROL` is among them.
    """

    batch: int
    seconds: Mapping[str, NDArray[Any]]

    def typical(self, arm: str) -> float:
        """Seconds a text: one by one the mean over texts, in batches the median pass."""
        return float(np.mean(self.seconds[arm]) if self.batch == 1 else np.median(self.seconds[arm]))

    def p50_ms(self, arm: str) -> float:
        """Median milliseconds a text, over texts or over passes."""
        return 1000 * float(np.median(self.seconds[arm]))

    def ratio(self, arm: str, other: str = BASELINE) -> Interval:
        """Time of `arm` relative to `other`: below 1 is faster."""
        statistic = _of_totals if self.batch == 1 else _of_passes
        return bootstrap_statistic(statistic, self.seconds[arm], self.seconds[other])

    def speedup(self, arm: str) -> Interval:
        """How many times as fast as the baseline."""
        ratio = self.ratio(arm)
        return Interval(1 / ratio.value, 1 / ratio.high, 1 / ratio.low, ratio.n)

    def surely_faster(self, arm: str, other: str = BASELINE) -> bool:
        """Whether `arm` is faster beyond what the control shows of this clock's noise."""
        return self._is_less(self.ratio(arm, other))

    def surely_below(self, arm: str, floor: str) -> bool:
        """Whether it is so in total and in the median."""
        medians = bootstrap_statistic(_of_medians, self.seconds[arm], self.seconds[floor])
        return self.surely_faster(arm, floor) and self._is_less(medians)

    def _is_less(self, ratio: Interval) -> bool:
        return ratio.value < 1 and outside_noise(ratio, self.ratio(CONTROL))

    def save(self, path: Path) -> None:
        """Write everything to one file, whole or not at all."""
        with atomic_write(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, arms=np.array(list(self.seconds)), seconds=np.stack(list(self.seconds.values())))

    @staticmethod
    def load(path: Path, batch: int) -> Times:
        """Read what `save` wrote of a clock at that batch."""
        with np.load(path, allow_pickle=False) as file:
            return Times(batch, dict(zip(map(str, file["arms"]), file["seconds"], strict=True)))


def timed_rows(task_run: TaskRun, batch: int) -> NDArray[np.int64]:
    """Places in dev of the timed texts: those of every clock, or as many as a batch holds."""
    wanted = max(task_run.run.scale.timing_examples, batch)
    return np.random.default_rng(0).permutation(len(task_run.task.dev))[:wanted]


def timed(task_run: TaskRun, arms: Mapping[str, Answer], batch: int) -> Times:
    """Time these arms, `BASELINE` among them, on a random part of dev."""
    texts = [task_run.task.dev[row] for row in timed_rows(task_run, batch).tolist()]
    with pinned_threads(), torch.inference_mode():
        return _one_by_one(task_run, arms, texts) if batch == 1 else _in_batches(task_run, arms, texts, batch)


def _one_by_one(task_run: TaskRun, arms: Mapping[str, Answer], texts: Sequence[Example]) -> Times:
    rounds = task_run.run.scale.timing_rounds
    done, total = iter(range(1, 1 + rounds * len(texts))), rounds * len(texts)
    found = paired_latency(
        {name: _on_item(answer, texts) for name, answer in arms.items()},
        baseline=BASELINE,
        samples=len(texts),
        rounds=rounds,
        advance=lambda: task_run.run.progress(next(done), total),
    )
    return Times(1, {arm: found.sample_seconds(arm) for arm in found.arms})


def _in_batches(task_run: TaskRun, arms: Mapping[str, Answer], texts: Sequence[Example], batch: int) -> Times:
    """Batches are of texts of like length."""
    by_length = sorted(texts, key=lambda e: len(e.text_a) + len(e.text_b or ""))
    batches = [by_length[i : i + batch] for i in range(0, len(texts), batch)]
    found = paired_throughput(
        {name: pass_over(answer, batches) for name, answer in arms.items()},
        baseline=BASELINE,
        rounds=2 + 2 * task_run.run.scale.timing_rounds,
    )
    passes = dict(zip(found.arms, found.seconds, strict=True))
    return Times(batch, {arm: seconds / found.examples for arm, seconds in passes.items()})


def _on_item(answer: Answer, texts: Sequence[Example]) -> Callable[[int], object]:
    return lambda item: answer([texts[item]])


def _of_totals(mine: Array, other: Array, axis: int = -1) -> Array:
    return np.asarray(mine.sum(axis=axis) / other.sum(axis=axis))


def _of_passes(mine: Array, other: Array, axis: int = -1) -> Array:
    return np.asarray(np.median(mine / other, axis=axis))


def _of_medians(mine: Array, other: Array, axis: int = -1) -> Array:
    return np.asarray(np.median(mine, axis=axis) / np.median(other, axis=axis))
