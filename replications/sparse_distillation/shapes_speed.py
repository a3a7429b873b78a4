"""Tables 3, 4 and 12 on a CPU: every system on batches of 32 inputs of each task's average length, random weights.

Inputs are random: tokens uniform over the vocabulary, and n-grams uniform over V, which is the worst case for a cache
(real n-grams are frequent ones, that stay in it). No batch is used twice in a round. As in the paper, tokenisation and
n-gram extraction are off the clock (`shapes_text` puts them on it).

All systems run in turn, in random order, one pass each in a round; the student runs twice, as its own control. A pass
is one batch, of the student (milliseconds a batch) `STUDENT_PASS` batches. The teacher takes up to a minute a batch, so
that rounds are few, and there are as many times more as the run has seeds: nothing is trained here, but who asks for
more seeds wants to know more surely. With less than 6 rounds an interval is the range that was seen, not 95 %; `n`
says how many.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Any

import numpy as np
import torch

from common.records.measurements import Measurement
from common.records.predictions import Evidence, seconds_name
from common.records.statistics import Interval
from common.timing.interleave import Schedule, Stopwatch, device_synchroniser, nothing, time_interleaved
from common.timing.paired import CONTROL, PairedThroughput
from common.timing.threads import pinned_threads
from common.training.batches import Batch
from replications.sparse_distillation.engine.bags import Bag, BagBatch
from replications.sparse_distillation.shapes_systems import STUDENT, TEACHER, Drawn, Systems

BATCH = 32
STUDENT_PASS = 64
ENOUGH_ROUNDS = 6
"""With fewer, the interval of a median does not reach 95 %."""


@dataclass(frozen=True)
class Workload:
    """Inputs of a task's average size.

    Attributes:
        tasks: those with (about) this size; measured once, reported for each.
        tokens: average length (Table 1; of a pair both texts together).
        ngrams: average number of n-grams that are in V, of each text (Table 13).
        rounds: timed passes of every system, for each of a run's seeds.
        texts: texts in an example.
        with_students: whether the LSTMs and the CNN take part (Table 12 has them for IMDB and SST-2).
    """

    tasks: tuple[str, ...]
    tokens: int
    ngrams: int
    rounds: int = 2
    texts: int = 1
    with_students: bool = False

    def for_seeds(self, seeds: Sequence[int]) -> Workload:
        """The same with as many rounds as a run with these seeds gives it."""
        return replace(self, rounds=self.rounds * len(seeds))

    def systems(self, systems: Systems) -> tuple[str, ...]:
        """Who takes part."""
        left_out = () if self.with_students else (*systems.recurrent, *systems.convolutional)
        return tuple(name for name in systems.names if name not in left_out)

    def flops(self, systems: Systems) -> int:
        """What all passes take, for an estimate."""
        return self.rounds * BATCH * sum(systems.flops(name, self.tokens) for name in self.systems(systems))


IMDB = Workload(("imdb",), tokens=300, ngrams=496, with_students=True)
SHORTER = (
    # TREC: 11 tokens too, and 17 n-grams.
    Workload(("sst-2", "trec"), tokens=11, ngrams=16, rounds=6, with_students=True),
    Workload(("ag-news",), tokens=55, ngrams=68),
    Workload(("civilcomments",), tokens=67, ngrams=103),
    Workload(("wikitoxic",), tokens=92, ngrams=144),
    # 13 tokens a question; its n-grams are not in Table 13: 17 a question is ours, after TREC's.
    Workload(("qqp",), tokens=26, ngrams=17, rounds=6, texts=2),
)


# -- Inputs -----------------------------------------------------------------------------------------------------------


def random_tokens(size: int, tokens: int, vocabulary: int, seed: int) -> Batch:
    """`size` texts of `tokens` random tokens (special ones excepted), nothing padded."""
    ids = torch.randint(5, vocabulary, (size, tokens), generator=torch.Generator().manual_seed(seed))
    return Batch(ids, torch.ones_like(ids), None, torch.zeros(size, dtype=torch.long), torch.arange(size))


def random_bags(size: int, ngrams: int, vocabulary: int, seed: int, texts: int = 1) -> BagBatch:
    """`size` examples of one or two texts, each of `ngrams` random n-grams, sorted as the extractor leaves them."""
    generator = torch.Generator().manual_seed(seed)
    offsets = torch.arange(0, size * ngrams, ngrams)

    def bag() -> Bag:
        ids = torch.randint(0, vocabulary, (size, ngrams), generator=generator).sort(dim=1).values
        return Bag(ids.flatten(), offsets)

    return BagBatch(bag(), bag() if texts == 2 else None, torch.zeros(size, dtype=torch.long), torch.arange(size))


# -- The clock --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Arm:
    """Something to be timed.

    Attributes:
        call: does the work on one input.
        feed: inputs, taken in turn.
        per_pass: inputs in a pass.
        warm: a small input on which it is called before anything is timed.
    """

    call: Callable[[Any], object]
    feed: Sequence[Any]
    per_pass: int
    warm: Any


def timed_passes(
    arms: Mapping[str, Arm], baseline: str, rounds: int, advance: Callable[[], object] = nothing
) -> PairedThroughput:
    """Seconds of each arm for one input, in every round, interleaved; the baseline takes part again as `CONTROL`."""
    taking_part = {**arms, CONTROL: arms[baseline]}
    feeds = {id(arm): cycle(arm.feed) for arm in arms.values()}

    def passing(arm: Arm) -> Callable[[int], None]:
        def run(_: int) -> None:
            for item in islice(feeds[id(arm)], arm.per_pass):
                arm.call(item)

        return run

    with pinned_threads():
        with torch.inference_mode():
            for arm in arms.values():
                arm.call(arm.warm)
        seconds = time_interleaved(
            [passing(arm) for arm in taking_part.values()],
            Schedule(items=1, rounds=rounds, warmup=0, seed=0),
            Stopwatch(device_synchroniser()),
            advance,
        )
    per_pass = np.array([arm.per_pass for arm in taking_part.values()])
    return PairedThroughput(baseline, tuple(taking_part), seconds[:, :, 0] / per_pass[:, None], BATCH)


def system_arms(drawn: Drawn, workload: Workload) -> dict[str, Arm]:
    """The workload's systems, each with inputs of its own kind."""
    return {name: _system_arm(drawn, workload, name) for name in workload.systems(drawn.systems)}


def student_arm(drawn: Drawn, workload: Workload) -> Arm:
    """The student, with batches for itself and its control: what they touch of the table is more than a cache holds."""
    model = drawn.pair_student() if workload.texts == 2 else drawn.student()

    def batch(seed: int) -> BagBatch:
        return random_bags(BATCH, workload.ngrams, drawn.systems.ngrams, seed, workload.texts)

    return Arm(model, [batch(seed) for seed in range(2 * STUDENT_PASS)], STUDENT_PASS, batch(2 * STUDENT_PASS))


def _system_arm(drawn: Drawn, workload: Workload, name: str) -> Arm:
    if name == STUDENT:
        return student_arm(drawn, workload)
    systems = drawn.systems
    vocabulary = systems.encoder_shape(name if name in systems.encoders else TEACHER).vocabulary
    feed = [random_tokens(BATCH, workload.tokens, vocabulary, seed) for seed in range(workload.rounds)]
    return Arm(drawn.model(name), feed, 1, random_tokens(2, min(workload.tokens, 16), vocabulary, seed=workload.rounds))


# -- What is reported -------------------------------------------------------------------------------------------------


def speed_rows(timings: PairedThroughput, names: Sequence[str], experiment: str, setting: str) -> list[Measurement]:
    """Samples per second of each system, and its speed-up over the teacher."""
    against_teacher = replace(timings, baseline=TEACHER)
    rows = []
    for name in names:
        for metric, value, unit in (
            ("samples_per_second", timings.throughput(name), "1/s"),
            ("speedup", against_teacher.speedup(name), "ratio"),
        ):
            rows.append(timed_row(experiment, name, metric, value, unit, setting=setting))
    return rows


def timed_row(
    experiment: str, system: str, metric: str, value: Interval, unit: str, *, setting: str = "", note: str = ""
) -> Measurement:
    """A measurement that depends on the clock."""
    return Measurement(
        experiment=experiment,
        system=system,
        metric=metric,
        value=value.value,
        ci_low=value.low,
        ci_high=value.high,
        n=value.n,
        unit=unit,
        setting=setting,
        timed=True,
        note=note,
    )


def workload_rows(workload: Workload, timings: PairedThroughput, systems: Systems) -> list[Measurement]:
    """A workload's part of Tables 3, 4 and 12, and how far the student's control strays from 1."""
    names = workload.systems(systems)
    size = f"batch {BATCH}, {workload.tokens} tokens, {workload.texts * workload.ngrams} n-grams, random weights"
    if workload.rounds < ENOUGH_ROUNDS:
        size += f"; the interval is the range of {workload.rounds} rounds"
    rows = []
    for task in workload.tasks:
        # Table 3 has the transformers and the student.
        mine = speed_rows(timings, [*systems.encoders, STUDENT], "table3", "CPU")
        if task == "imdb":
            mine += speed_rows(timings, names, "table4", "CPU")
        if task in ("imdb", "sst-2"):
            mine += speed_rows(timings, names, "table12", "CPU fp32")
        mine.append(timed_row("control", CONTROL, "time_ratio", timings.ratio(CONTROL), "ratio"))
        rows += [row.model_copy(update={"task": task, "note": size}) for row in mine]
    return rows


def round_seconds(task: str, timings: PairedThroughput) -> Evidence:
    """Every arm's seconds for a batch, round by round."""
    arrays = {seconds_name(arm): row for arm, row in zip(timings.arms, timings.seconds, strict=True)}
    return Evidence(task, 0, "", 0, 0, arrays)
