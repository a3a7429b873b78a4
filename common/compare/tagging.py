"""The comparison on tasks of tagged words: the baseline, the static ladder and every method, from words to tags.

The counterpart of `common.compare.experiments` for sequence labelling; what is kept is judged alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from common.compare.names import BASELINE, LADDER
from common.early_exit.clock import BATCH_SIZE
from common.records.measurements import Measurement
from common.records.predictions import LABELS, TIMED, Evidence, answers_name, exits_name, seconds_name
from common.records.statistics import bootstrap_statistic
from common.records.tagging import TAG_PARTS, WORDS
from common.rows import Rows
from common.run.replication import Step
from common.tagging_methods import TaggingContender, TaggingMethod, TaggingSystem
from common.tagging_run import TaggingRun
from common.tasks.tag_metrics import points, points_ahead, tag_parts
from common.tasks.tagging import Sentence
from common.timing.paired import CONTROL, PairedThroughput, PairedTimings, paired_latency, paired_throughput, pass_over
from common.timing.threads import pinned_threads
from common.training.word_pieces import encode_tagged, positions_of

RESAMPLES = 2000


def tagging_steps(run: TaggingRun, methods: Sequence[TaggingMethod]) -> Iterator[Step]:
    """Train and measure every contender on one task and seed."""
    contenders = [method.on(run) for method in methods]
    yield from run.static_steps(run.recipe.depths(run.num_layers))
    for contender in contenders:
        yield from contender.training_steps()
    seconds = 10 + 30 * len(contenders) * (run.pass_seconds("tune") + run.pass_seconds("dev"))
    measured = TaggingComparison(run, contenders).measure
    yield Step(f"{run.label}: all contenders, answers and clock", seconds, measured)


@dataclass
class TaggingComparison:
    """What the contenders answer and cost on one tagging run."""

    run: TaggingRun
    contenders: Sequence[TaggingContender]

    def measure(self) -> list[Measurement]:
        """Rows of every system; the record's evidence is kept."""
        systems = [*self._static(), *(system for contender in self.contenders for system in contender.systems())]
        latency, throughput = self._clock(systems)
        self.run.run.keep(self._evidence(systems, latency, throughput))
        row = Rows(self.run.task_name, self.run.seed, self.run.backbone.backbone, len(self.run.task.dev))
        labels = self.run.labels("dev")
        constants = (self.run.counts("dev", np.full_like(labels, tag)).points for tag in range(self.run.tags))
        rows = [row("comparison", "constant answer", "score", max(constants), "points")]
        for system in systems:
            rows += self._rows(row, system, systems[0], latency, throughput)
        how = {"timed": True, "setting": "", "note": "the baseline against itself"}
        rows.append(row("comparison", CONTROL, "time_speedup", latency.speedup(CONTROL), "ratio", **how))
        rows.append(row("comparison", CONTROL, "throughput_ratio", throughput.speedup(CONTROL), "ratio", **how))
        return rows

    def _static(self) -> list[TaggingSystem]:
        """The baseline, then the rungs of the ladder."""
        n = self.run.num_layers
        names = {n: (BASELINE, "")} | {k: (LADDER, f"{k} of {n} layers") for k in self.run.recipe.depths(n)}
        return [self._rung(depth, *name) for depth, name in names.items()]

    def _rung(self, depth: int, method: str, setting: str) -> TaggingSystem:
        answers = self.run.static_logits(depth)["dev"].argmax(-1).numpy()
        arm = self.run.tagger(depth).to(self.run.run.timing_device)
        flops = self.run.static_flops("dev", depth)
        return TaggingSystem(method, setting, float(depth), answers, np.full_like(answers, depth), flops, arm)

    def _rows(
        self,
        row: Rows,
        system: TaggingSystem,
        baseline: TaggingSystem,
        latency: PairedTimings,
        throughput: PairedThroughput,
    ) -> Iterator[Measurement]:
        at = {"setting": system.setting, "at": system.at}
        mine, full = (self.run.counts("dev", one.answers).arrays for one in (system, baseline))
        score = bootstrap_statistic(points, *mine, resamples=RESAMPLES)
        gained = bootstrap_statistic(points_ahead, *mine, *full, resamples=RESAMPLES)
        yield row("comparison", system.method, "score", score, "points", **at)
        yield row("comparison", system.method, "score_delta", gained, "points", **at)
        flops = float(baseline.flops.sum() / system.flops.sum())
        yield row("comparison", system.method, "flops_speedup", flops, "ratio", **at)
        how = {**at, "timed": True}
        yield row("comparison", system.method, "time_speedup", latency.speedup(system.name), "ratio", **how)
        yield row("comparison", system.method, "throughput_ratio", throughput.speedup(system.name), "ratio", **how)
        quantiles = latency.latency(system.name)
        for quantile in ("p50", "p90", "p99"):
            value = getattr(quantiles, quantile)
            yield row("comparison", system.method, f"latency_{quantile}", value, "ms", n=quantiles.n, **how)

    @property
    def _timed(self) -> np.ndarray:
        """Places in dev of the sentences that are timed."""
        return np.random.default_rng(0).permutation(len(self.run.task.dev))[: self.run.run.scale.timing_examples]

    def _clock(self, systems: Sequence[TaggingSystem]) -> tuple[PairedTimings, PairedThroughput]:
        """All arms one sentence at a time, then in batches of sentences of like length."""
        scale = self.run.run.scale
        timed = [self.run.task.dev[place] for place in self._timed]
        alone = [[sentence] for sentence in timed]
        by_length = sorted(timed, key=lambda s: len(s.words))
        batches = [by_length[i : i + BATCH_SIZE] for i in range(0, len(timed), BATCH_SIZE)]
        with pinned_threads(), torch.inference_mode():
            latency = paired_latency(
                {s.name: lambda i, s=s: self._from_words(s, alone[i]) for s in systems},  # type: ignore[misc]
                baseline=BASELINE,
                samples=len(timed),
                rounds=scale.timing_rounds,
            )
            throughput = paired_throughput(
                {s.name: pass_over(partial(self._from_words, s), batches) for s in systems},
                baseline=BASELINE,
                rounds=2 + 2 * scale.timing_rounds,
            )
        return latency, throughput

    def _from_words(self, system: TaggingSystem, sentences: Sequence[Sentence]) -> object:
        """Split into pieces, then tag."""
        source = self.run.backbone
        split = encode_tagged(source.tokenizer, sentences, positions_of(source.encoder.config))
        return system.arm(split.batch(range(len(sentences))).to(self.run.run.timing_device))

    def _evidence(
        self, systems: Sequence[TaggingSystem], latency: PairedTimings, throughput: PairedThroughput
    ) -> Evidence:
        run = self.run
        arrays: dict[str, np.ndarray] = {
            LABELS: run.labels("dev"),
            WORDS: np.array(run.splits["dev"].words),
            TAG_PARTS: tag_parts(run.task.tags),
            TIMED: self._timed,
            seconds_name(CONTROL): latency.sample_seconds(CONTROL),
        }
        for system in systems:
            name = (system.method, system.setting)
            arrays[answers_name(*name)], arrays[exits_name(*name)] = system.answers, system.layers
            arrays[seconds_name(*name)] = latency.sample_seconds(system.name)
        for number, arm in enumerate(throughput.arms):
            arrays[f"{arm}/seconds in batches"] = throughput.seconds[number]
        return Evidence(run.task_name, run.seed, run.task.metric, run.tags, run.num_layers, arrays)
