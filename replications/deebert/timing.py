"""The clock of DeeBERT's experiments: samples one by one, as in the paper, all thresholds interleaved.

Savings are against the plain fine-tuned classifier. (The authors' plots divide by DeeBERT's own run at S = 0, which
already pays for every off-ramp; that run is one of the arms here, so the difference can be seen.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from common.early_exit.runtime import early_exit_arm, run_early_exit
from common.records import atomic_write
from common.statistics import Interval
from common.timing.paired import PairedThroughput, PairedTimings, paired_latency, paired_throughput
from common.timing.threads import pinned_threads
from replications.deebert.method import leaves_below
from replications.deebert.trial import Trial

BASELINE = "baseline"
TRUNCATED = "truncated"
BATCH_SIZE = 32


@dataclass(frozen=True)
class Clocked:
    """Batch-1 timings of one trial on a random part of dev, kept until the run is complete.

    Attributes:
        rows: positions in dev of the samples that were timed.
        timings: every arm on every sample; the baseline is the plain classifier.
    """

    rows: NDArray[np.int64]
    timings: PairedTimings

    def saving(self, arm: str) -> Interval:
        """Share of wall time that `arm` saves."""
        return self.timings.saving(arm)

    def save(self, path: Path) -> None:
        """Write everything to one file."""
        with atomic_write(path) as temporary:
            np.savez(temporary, rows=self.rows, arms=np.array(self.timings.arms), seconds=self.timings.seconds)

    @staticmethod
    def load(path: Path) -> Clocked:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            timings = PairedTimings(BASELINE, tuple(map(str, file["arms"])), file["seconds"])
            return Clocked(file["rows"], timings)


def clock(trial: Trial, thresholds: Mapping[str, float]) -> Clocked:
    """Time the baseline, the truncated classifier and DeeBERT at each of `thresholds` (arm name to S)."""
    model, plain, short = trial.model(), trial.classifier(trial.num_layers), trial.classifier(trial.truncated_layers)
    dev, scale = trial.encoded.dev, trial.run.scale
    rows = np.random.default_rng(0).permutation(len(dev))[: scale.timing_examples]
    batches = [dev.batch([row]).to(trial.device) for row in rows.tolist()]
    arms: dict[str, Callable[[int], object]] = {
        BASELINE: lambda i: plain(batches[i]),
        TRUNCATED: lambda i: short(batches[i]),
    }
    for name, threshold in thresholds.items():
        arms[name] = early_exit_arm(model, batches, leaves_below(threshold))
    total, done = scale.timing_rounds * len(rows), iter(range(1, 1 + scale.timing_rounds * len(rows)))
    with pinned_threads():
        timings = paired_latency(
            arms,
            baseline=BASELINE,
            samples=len(rows),
            rounds=scale.timing_rounds,
            advance=lambda: trial.run.progress(next(done), total),
        )
    return Clocked(rows, timings)


@torch.inference_mode()
def clock_batched(trial: Trial, threshold: float) -> PairedThroughput:
    """Time whole passes in batches of 32, the baseline against DeeBERT with compaction at `threshold`."""
    model, plain, dev = trial.model(), trial.classifier(trial.num_layers), trial.encoded.dev
    rows = np.random.default_rng(0).permutation(len(dev))[: trial.run.scale.timing_examples].tolist()
    rows.sort(key=lambda row: len(dev.input_ids[row]))
    batches = [dev.batch(rows[i : i + BATCH_SIZE]).to(trial.device) for i in range(0, len(rows), BATCH_SIZE)]
    rule = leaves_below(threshold)

    def all_layers() -> int:
        return sum(len(plain(batch)) for batch in batches)

    def early_exit() -> int:
        return sum(len(run_early_exit(model, batch, rule).logits) for batch in batches)

    arms = {BASELINE: all_layers, "DeeBERT": early_exit}
    with pinned_threads():
        return paired_throughput(arms, baseline=BASELINE, rounds=1 + 2 * trial.run.scale.timing_rounds)
