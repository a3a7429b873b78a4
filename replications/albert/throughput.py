"""Training steps and answers of models at full size on the clock, each interleaved with BERT-large's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter

import numpy as np
import psutil
import torch

from common.errors import UserError
from common.records.measurements import Measurement
from common.records.predictions import Evidence, seconds_name
from common.rows import ShapeRows
from common.run.replication import Run
from common.timing.interleave import device_synchroniser
from common.timing.paired import CONTROL, PairedThroughput, PairedTimings, paired_latency, paired_throughput
from common.timing.threads import pinned_threads
from common.training.loop import TrainingPlan
from common.training.pretraining.batches import MaskedBatch
from replications.albert.full_size import MODELS, ROOM, fits, random_encoder, random_model, training_bytes, weight_bytes
from replications.albert.lamb import lamb
from replications.albert.method import Shape, pretraining_loss
from replications.albert.names import INFERENCE, TRAINING

BASELINE = "BERT-large"

TOKENS = 64
"""Of every timed text: that of the other papers' full-size measurements."""

SMALL = ("BERT-base", "ALBERT-base", "ALBERT-large")
LARGE = ("ALBERT-xlarge", "ALBERT-xxlarge")
GROUPS = (SMALL, LARGE)
"""Timed beside BERT-large one after the other, so that not all models are in memory together."""

ROUNDS = {SMALL: 6, LARGE: 3}
ROWS_ON_A_GPU = 16

EXPERIMENT = "table2-efficiency"


@dataclass(frozen=True)
class Bench:
    """What is timed, and how long its texts are.

    Attributes:
        models: by name; the baseline among them.
        tokens: of a text.
        rows: texts in a training step.
        device: where.
    """

    models: Mapping[str, Shape] = field(default_factory=lambda: MODELS)
    tokens: int = TOKENS
    rows: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))


def training(run: Run, bench: Bench, group: tuple[str, ...]) -> list[Measurement]:
    """Whole training steps, interleaved with BERT-large's.

    Raises:
        UserError: the memory lacks room.
    """
    names = [name for name in (BASELINE, *group) if fits(training_bytes(bench.models[name], bench.rows, bench.tokens))]
    check_memory([bench.models[name] for name in names], bench)
    arms = {name: TrainingArm.of(bench.models[name], bench) for name in names}
    rounds = ROUNDS[group]
    steps: dict[str, Callable[[], int]] = {name: arm.step for name, arm in arms.items()}
    with pinned_threads():
        timings = paired_throughput(steps, baseline=BASELINE, rounds=rounds, advance=_Advance(run, rounds).one_more)
    run.keep(_evidence(f"{TRAINING} {', '.join(group)}", timings))
    note = f"steps of {bench.rows} x {bench.tokens} tokens, float32, LAMB included"
    rows = [
        ShapeRows(name)(EXPERIMENT, "", "training_speedup", timings.speedup(name), "ratio", timed=True, note=note)
        for name in group
        if name in names
    ]
    rows += [
        ShapeRows(name)(
            EXPERIMENT, "", "optimiser_share", arms[name].optimiser_share, "fraction", timed=True, note=note
        )
        for name in names
        if name != BASELINE or group == SMALL  # BERT-large is timed beside each group: its share is said once.
    ]
    control = {"system": CONTROL, "timed": True, "note": f"{note}, beside {', '.join(group)}", "setting": group[0]}
    rows.append(ShapeRows(CONTROL)(EXPERIMENT, "", "training_speedup", timings.speedup(CONTROL), "ratio", **control))
    return rows


@dataclass
class TrainingArm:
    """A model in training: each call is a step. How much of it the optimiser took is kept."""

    forward_backward: Callable[[], None]
    optimise: Callable[[], None]
    rows: int
    synchronise: Callable[[], object]
    seconds: list[tuple[float, float]] = field(default_factory=list)

    @staticmethod
    def of(shape: Shape, bench: Bench) -> TrainingArm:
        """With random weights and one batch of random words, 15 % of them masked."""
        model = random_model(shape, bench.device).train()
        plan = TrainingPlan(1e-5, 1, bench.rows, 0, weight_decay=0.01, adam_epsilon=1e-6)
        optimiser, batch = lamb(model, plan), random_batch(shape, bench)

        def forward_backward() -> None:
            pretraining_loss(model, batch).backward()  # type: ignore[no-untyped-call]

        def optimise() -> None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

        return TrainingArm(forward_backward, optimise, bench.rows, device_synchroniser())

    def step(self) -> int:
        """One training step; returns how many texts it was on."""
        # Whatever is timed runs in inference mode, in which nothing could be trained.
        with torch.inference_mode(False), torch.enable_grad():
            start = perf_counter()
            self.forward_backward()
            self.synchronise()
            middle = perf_counter()
            self.optimise()
            self.synchronise()
            self.seconds.append((middle - start, perf_counter() - middle))
        return self.rows

    @property
    def optimiser_share(self) -> float:
        """Of a step's time, the median, the first step left out."""
        shares = [optimiser / (model + optimiser) for model, optimiser in self.seconds[1:] or self.seconds]
        return float(np.median(shares))


def random_batch(shape: Shape, bench: Bench) -> MaskedBatch:
    """Random words, the first 15 % of each row masked, every second row swapped."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, shape.vocabulary, (bench.rows, bench.tokens), generator=generator)
    masked = torch.zeros_like(ids, dtype=torch.bool)
    masked[:, : max(1, round(0.15 * bench.tokens))] = True
    places = masked.flatten().nonzero()[:, 0]
    order = torch.arange(bench.rows) % 2
    return MaskedBatch(ids, None, None, order, places, ids.flatten()[places]).to(bench.device)


def inference(run: Run, bench: Bench, group: tuple[str, ...]) -> list[Measurement]:
    """Seconds to answer one text, interleaved with BERT-large's.

    Raises:
        UserError: the memory lacks room.
    """
    names, texts = (BASELINE, *group), 3 if group == LARGE else 6
    check_memory([bench.models[name] for name in names], bench, copies=1)
    encoders = {name: random_encoder(bench.models[name], bench.device).eval() for name in names}
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(
        5, min(s.vocabulary for s in bench.models.values()), (texts, 1, bench.tokens), generator=generator
    ).to(bench.device)
    arms = {name: partial(_forward, encoder, ids) for name, encoder in encoders.items()}
    with pinned_threads():
        timings = paired_latency(
            arms, baseline=BASELINE, samples=texts, rounds=2, warmup=1, advance=_Advance(run, 2 * texts).one_more
        )
    run.keep(_evidence(f"{INFERENCE} {', '.join(group)}", timings))
    note = f"{bench.tokens} tokens, batch 1, float32; not in the paper"
    rows = [
        ShapeRows(name)(EXPERIMENT, "", "time_speedup", timings.speedup(name), "ratio", timed=True, note=note)
        for name in group
    ]
    control = {"system": CONTROL, "timed": True, "note": f"{note}, beside {', '.join(group)}", "setting": group[0]}
    return [*rows, ShapeRows(CONTROL)(EXPERIMENT, "", "time_speedup", timings.speedup(CONTROL), "ratio", **control)]


def _forward(encoder: torch.nn.Module, ids: torch.Tensor, item: int) -> None:
    encoder(ids[item])


def _evidence(name: str, timings: PairedTimings | PairedThroughput) -> Evidence:
    """Seconds of every arm: of each text, or of each round."""
    seconds = (
        timings.seconds
        if isinstance(timings, PairedThroughput)
        else np.quantile(timings.seconds, 0.5, axis=1, method="lower")
    )
    return Evidence(name, 0, "", 0, 0, {seconds_name(arm): seconds[i] for i, arm in enumerate(timings.arms)})


def check_memory(shapes: Sequence[Shape], bench: Bench, copies: int = 0) -> None:
    """Refuse to begin what the system would end for lack of memory.

    Args:
        shapes: of the models that are in memory together.
        bench: the texts.
        copies: of the weights; 0 for training, where gradients are there for one model at a time.

    Raises:
        UserError: the free memory does not hold them.
    """
    if bench.device.type != "cpu":
        return
    needed = sum((copies or 3) * weight_bytes(shape) for shape in shapes) + ROOM // 2
    needed += 0 if copies else max(training_bytes(s, bench.rows, bench.tokens) - 3 * weight_bytes(s) for s in shapes)
    free = psutil.virtual_memory().available
    if free < needed:
        raise UserError(
            f"the models at full size need {needed / 1e9:.1f} GB of memory, but {free / 1e9:.1f} GB are free. Close "
            "other programs, or run this on a larger machine, and repeat the command: it goes on where it stopped"
        )


@dataclass
class _Advance:
    """Tells the run's progress how many of so many parts are done."""

    run: Run
    total: int
    done: int = 0

    def one_more(self) -> None:
        self.done += 1
        self.run.progress(self.done, self.total)
