"""What one trained reading run says: tables 1 and 5, the depth sweep of figure 4, figures 2 and 5, the clock."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from common.models.span_reader import SpanReader, surest_spans
from common.reading_run import Marks
from common.records.measurements import Measurement
from common.records.predictions import TIMED, Array, Evidence, seconds_name, static_name
from common.records.statistics import Interval, bootstrap_statistic
from common.rows import Rows
from common.run.replication import Step
from common.tasks.spans.scoring import ANSWER_F1
from common.timing.paired import CONTROL, PairedTimings, paired_latency
from common.timing.threads import pinned_threads
from common.training.segments import TwoSegmentBatch
from replications.deformer.cache import About, PassageCache, encode_passages
from replications.deformer.flops import flops_speedup
from replications.deformer.method import DeFormer
from replications.deformer.names import (
    BASELINE,
    CONSTANT,
    DEFORMER,
    EXACT,
    F1,
    PLAIN,
    TEACHER,
    UNCACHED,
    at_k,
    marks_name,
    variance_name,
)
from replications.deformer.online import Online
from replications.deformer.readers import Readers
from replications.deformer.representations import PAIRS, PASSAGES, distance_by_layer, variance_by_layer


class Findings:
    """The measurements of one reading task and seed, its evidence kept."""

    def __init__(self, readers: Readers) -> None:
        self.readers, self.reading = readers, readers.reading
        self.ladder = (self.reading.half,) if readers.is_first else ()

    def steps(self) -> list[Step]:
        """Everything of one reading task and seed, in order."""
        reading = self.reading
        measure = Step(f"{reading.label}: timing, tables and figures", 10 + self._clock_seconds, self.measure)
        return [*reading.reader_steps(self.ladder), *self.readers.steps(), measure]

    @property
    def _clock_seconds(self) -> float:
        scale, reading = self.reading.run.scale, self.reading
        each = reading.scored_seconds / max(1, len(reading.task.dev) + len(reading.task.tune))
        return 3 * scale.timing_rounds * scale.timing_examples * (0.005 + each) + 12 * self._pictured * each

    @property
    def _pictured(self) -> int:
        return min(PASSAGES, self.reading.run.scale.timing_examples)

    @cached_property
    def marks(self) -> dict[tuple[str, str], Marks]:
        """By system and setting, on dev."""
        marks = self.readers.all_marks()
        rungs = {(static_name(k), ""): self.reading.marks(self.reading.reader_answers(k)) for k in self.ladder}
        return marks | rungs

    @property
    def row(self) -> Rows:
        """Makes rows of this task and seed."""
        reading = self.reading
        return Rows(reading.task_name, reading.seed, reading.backbone.backbone, len(reading.task.dev))

    def speedup(self, k: int) -> float:
        """FLOPs of the full model over those of k layers apart with passages cached, slots counted whole."""
        layout = self.reading.layout
        return flops_speedup(self.reading.shape, k, layout.first_slot, layout.max_seq)

    def measure(self) -> list[Measurement]:
        """All rows; the evidence is kept."""
        variance, timings, row = self.variance(), self.timed(), self.row
        self.keep(variance, timings)
        rows = [*self.table1(row), *self.ablation(row), *self.sweep(row), *self.clock_rows(row, timings)]
        rows += [*self.figure2(row, variance), *self.figure5(row), *self.by_difficulty(row)]
        return [*rows, *self.search_rows(row)]

    # -- Scores -------------------------------------------------------------------------------------------------------

    def table1(self, row: Rows) -> Iterator[Measurement]:
        """The constant answer, the baseline, half the static ladder, the teacher, DeFormer."""
        main = self.readers.main
        yield row("table1", CONSTANT, "score", self._score((CONSTANT, "")), "points")
        for system, setting in [(BASELINE, ""), *((static_name(k), "") for k in self.ladder), (TEACHER, "")]:
            yield from self.score_rows(row, "table1", system, setting)
        for k in self.ladder:
            yield row("table1", static_name(k), "flops_speedup", self.reading.num_layers / k, "ratio")
        yield from self.score_rows(row, "table1", main.system, main.setting)
        yield row("table1", main.system, "flops_speedup", self.speedup(main.k), "ratio", setting=main.setting)
        kept = kept_share(self.marks[main.system, main.setting].f1, self.marks[BASELINE, ""].f1)
        if kept is not None:
            yield row("table1", main.system, "retained", kept, "fraction", setting=main.setting)

    def ablation(self, row: Rows) -> Iterator[Measurement]:
        """Table 5."""
        yield from self.score_rows(row, "table5", BASELINE, "")
        readers = [*self.readers.ablation, *([self.readers.found] if self.readers.searches else [])]
        for reader in readers:
            yield from self.score_rows(row, "table5", reader.system, reader.setting)

    def score_rows(self, row: Rows, experiment: str, system: str, setting: str) -> Iterator[Measurement]:
        """F1, exact match, and F1 against the baseline's on the same questions."""
        key = (system, setting)
        yield row(experiment, system, "score", self._score(key), "points", setting=setting)
        exact = _mean(100 * self.marks[key].exact)
        yield row(experiment, system, "exact_match", exact, "points", setting=setting)
        if system != BASELINE:
            yield row(experiment, system, "score_delta", self._gain(key), "points", setting=setting)

    def sweep(self, row: Rows) -> Iterator[Measurement]:
        """Figure 4: the plain DeFormer at each depth."""
        for reader in self.readers.sweep:
            at = {"setting": reader.setting, "at": reader.k}
            yield row("figure4", PLAIN, "score_delta", self._gain((PLAIN, reader.setting)), "points", **at)
            yield row("figure4", PLAIN, "flops_speedup", self.speedup(reader.k), "ratio", **at)

    def by_difficulty(self, row: Rows) -> Iterator[Measurement]:
        """F1 by level, where it is known."""
        levels = np.array([q.difficulty or 0 for q in self.reading.task.dev])
        main, plain = self.readers.main, self.readers.plain
        for level in sorted(set(levels.tolist()) - {0}):
            for system, setting in ((BASELINE, ""), (main.system, main.setting), (plain.system, plain.setting)):
                found = self.marks[system, setting].f1[levels == level]
                at = {"setting": setting or "all joint", "at": level}
                yield row("difficulty", system, "score", 100 * float(found.mean()), "points", **at)

    def search_rows(self, row: Rows) -> Iterator[Measurement]:
        """What the search for loss weights found."""
        if self.readers.searches:
            weights = self.readers.found_weights
            for name, value in (("alpha", weights.alpha), ("beta", weights.beta), ("gamma", weights.gamma)):
                yield row("weights", self.readers.found.system, name, value, "ratio", setting=at_k(self.readers.k))

    def _score(self, key: tuple[str, str]) -> Interval:
        return _mean(100 * self.marks[key].f1)

    def _gain(self, key: tuple[str, str]) -> Interval:
        """Points of F1 above the baseline's on the same questions."""
        return _mean(100 * (self.marks[key].f1 - self.marks[BASELINE, ""].f1))

    # -- Representations ----------------------------------------------------------------------------------------------

    def _rows(self, count: int) -> list[int]:
        """So many random rows of dev."""
        total = len(self.reading.windows["dev"])
        return random.Random(0).sample(range(total), min(count, total))

    def variance(self) -> NDArray[np.float64]:
        """(P, n) of the teacher, passages of dev."""
        teacher = self.readers.model(self.readers.teacher)
        return variance_by_layer(teacher, self.reading.windows["dev"].split, self._rows(self._pictured))

    def figure2(self, row: Rows, variance: NDArray[np.float64]) -> Iterator[Measurement]:
        """Its mean over passages, by layer."""
        for layer in range(variance.shape[1]):
            found = _mean(variance[:, layer])
            yield row("figure2", TEACHER, "question_variance", found, "fraction", at=layer + 1)

    def figure5(self, row: Rows) -> Iterator[Measurement]:
        """Cosine distance to the teacher with and without auxiliary losses, by layer."""
        teacher, split = self.readers.model(self.readers.teacher), self.reading.windows["dev"].split
        rows = self._rows(min(PAIRS, 4 * self._pictured))
        for reader in (self.readers.main, self.readers.plain):
            both = distance_by_layer(self.readers.model(reader), teacher, split, rows)
            for experiment, distances in zip(("figure5a", "figure5b"), both, strict=True):
                for layer in range(distances.shape[1]):
                    at = {"setting": reader.setting, "at": layer + 1}
                    found = _mean(distances[:, layer])
                    yield row(experiment, reader.system, "cosine_distance", found, "ratio", **at)

    # -- The clock ----------------------------------------------------------------------------------------------------

    def timed(self) -> PairedTimings:
        """One question on one passage: the baseline, DeFormer with the passage cached, and with nothing cached."""
        reading, scale = self.reading, self.reading.run.scale
        windows, device = reading.windows["dev"], reading.timing_device
        rows = self._rows(scale.timing_examples)
        model = self.readers.model(self.readers.main).to(device)
        baseline = reading.reader().to(device)
        folder = reading.run.scratch / f"cache-{reading.task_name}-{reading.seed}"
        cache = PassageCache.make(folder, About.of(model, windows.split.layout))
        split = windows.split
        keys = encode_passages(model, [split.second_ids[r] for r in rows], cache, split.padding_id, device)
        online, batches = Online(model, cache), [split.batch([r]).to(device) for r in rows]

        def cached(i: int) -> object:
            asked = online(batches[i].first, [0], [keys[i]])
            return surest_spans(asked.logits, asked.text)

        arms = {
            BASELINE: lambda i: _answered(baseline, batches[i]),
            DEFORMER: cached,
            UNCACHED: lambda i: _answered(model, batches[i]),
        }
        with pinned_threads():
            return paired_latency(arms, baseline=BASELINE, samples=len(rows), rounds=scale.timing_rounds)

    def clock_rows(self, row: Rows, timings: PairedTimings) -> Iterator[Measurement]:
        """Times as fast as the baseline, batch 1, the cache read from disk."""
        main = self.readers.main
        for arm, setting in ((DEFORMER, main.setting), (UNCACHED, main.setting), (CONTROL, "")):
            how = {"setting": setting, "timed": True, "note": "one question on one passage, cache load included"}
            yield row("latency", arm, "time_speedup", timings.speedup(arm), "ratio", **how)
        yield row("latency", main.system, "flops_speedup", self.speedup(main.k), "ratio", setting=main.setting)

    # -- Evidence -----------------------------------------------------------------------------------------------------

    def keep(self, variance: NDArray[np.float64], timings: PairedTimings) -> None:
        """Every system's marks on every question, the variances, and the seconds."""
        reading = self.reading
        arrays: dict[str, Array] = {TIMED: np.arange(timings.seconds.shape[2])}
        for (system, setting), marks in self.marks.items():
            arrays[marks_name(system, setting, F1)] = marks.f1
            arrays[marks_name(system, setting, EXACT)] = marks.exact.astype(np.int8)
        for layer in range(variance.shape[1]):
            arrays[variance_name(layer + 1)] = variance[:, layer]
        for arm in (BASELINE, DEFORMER, UNCACHED, CONTROL):
            arrays[seconds_name(arm)] = timings.sample_seconds(arm)
        kept = Evidence(reading.task_name, reading.seed, ANSWER_F1, 0, reading.num_layers, arrays)
        reading.run.keep(kept)


def _answered(model: SpanReader | DeFormer, batch: TwoSegmentBatch) -> object:
    """Logits, and the answer out of them."""
    return surest_spans(model(batch), batch.second_text)


def kept_share(mine: NDArray[np.float64], baseline: NDArray[np.float64]) -> float | None:
    """The share of the baseline's mean F1 that a system has; None where the baseline is right nowhere.

    It has no interval: among few questions the baseline may be right nowhere in a resample.
    """
    return float(mine.mean() / baseline.mean()) if baseline.any() else None


def _mean(values: NDArray[np.float64]) -> Interval:
    return bootstrap_statistic(np.mean, values, resamples=2000)
