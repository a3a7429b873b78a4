"""One training loop, on accelerate: any module, any loss, any batches; it can be interrupted and resumes exactly.

A checkpoint holds the weights, the optimiser's state and the random state, all in safetensors (nothing is ever
unpickled). A run that was killed and resumed ends with the same weights, bit for bit, as one that was not.

Where the device has the instructions, matrices are multiplied in bfloat16 (autocast); weights, gradients, moments and
losses stay float32. A checkpoint therefore does not depend on the precision, but a trained model does: the precision
is part of its recipe, the kind of device is only told in its report.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import AutocastKwargs, convert_to_fp32
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from common.devices import Precision, available_device, training_precision
from common.records.measurements import atomic_write
from common.timing.interleave import device_synchroniser
from common.training.allocator import freed_memory_kept
from common.training.batches import EpochSource, Movable, batches_from

BatchT = TypeVar("BatchT", bound=Movable)
ModuleT = TypeVar("ModuleT", bound=nn.Module)


@dataclass(frozen=True)
class TrainingPlan:
    """The hyper-parameters of one training.

    `warmup` is the share of steps over which the learning rate rises from 0; after it, the rate falls linearly
    to 0 at the last step. `max_gradient_norm` None leaves gradients as they are. `precision` is what the device does
    fast (`auto`, see `common.devices.training_precision`) or one that is named.
    """

    learning_rate: float
    epochs: int
    batch_size: int
    seed: int
    weight_decay: float = 0.0
    adam_epsilon: float = 1e-8
    warmup: float = 0.0
    max_gradient_norm: float | None = 1.0
    max_length: int = 128
    precision: Precision | Literal["auto"] = "auto"

    def precision_on(self, device: torch.device) -> Precision:
        """What training on `device` multiplies matrices in."""
        return training_precision(device) if self.precision == "auto" else self.precision

    def recipe(self) -> dict[str, float | str | None]:
        """The plan as JSON, for an artifact's key; the precision is that of the device at hand."""
        return {**asdict(self), "precision": self.precision_on(available_device())}


@dataclass(frozen=True)
class FitReport:
    """How a training went, and on what.

    Attributes:
        last_epoch_loss: mean loss of the last epoch.
        steps: done here; less than all of them after an interruption.
        tokens_per_second: padding included; making batches counts, writing checkpoints does not.
        device: its kind, e.g. `cpu`.
        precision: of its matrix products.
        threads: of PyTorch on the CPU.
    """

    last_epoch_loss: float
    steps: int
    tokens_per_second: float
    device: str
    precision: Precision
    threads: int


Progress = Callable[[int, int], None]
"""Told how far a piece of work is: units done, units in all."""


MakeOptimizer = Callable[[nn.Module, TrainingPlan], torch.optim.Optimizer]


def fused_adamw(module: nn.Module, plan: TrainingPlan) -> torch.optim.Optimizer:
    """AdamW over all parameters that require gradients (`fused` is several times faster on a CPU)."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    return torch.optim.AdamW(
        parameters, lr=plan.learning_rate, eps=plan.adam_epsilon, weight_decay=plan.weight_decay, fused=True
    )


def linear_schedule(plan: TrainingPlan, total_steps: int) -> Callable[[int], float]:
    """The factor on the learning rate at each step (0-based): linear warm-up, then linear decay to 0."""
    rising = int(plan.warmup * total_steps)

    def factor(step: int) -> float:
        if step < rising:
            return step / max(1, rising)
        return max(0.0, (total_steps - step) / max(1, total_steps - rising))

    return factor


def fit(
    module: ModuleT,
    batches: EpochSource[BatchT],
    loss: Callable[[ModuleT, BatchT], Tensor],
    plan: TrainingPlan,
    *,
    checkpoint: Path,
    progress: Progress,
    make_optimizer: MakeOptimizer = fused_adamw,
    checkpoint_every_s: float = 60.0,
) -> FitReport:
    """Minimise `loss` over the parameters of `module` that require gradients; linear schedule, clipping.

    Args:
        module: trained in place; parameters with `requires_grad=False` are left alone.
        batches: the same batches for the same epoch, whenever asked.
        loss: scalar loss of one batch.
        plan: the hyper-parameters.
        checkpoint: a file (safetensors). If it is there, training goes on from it; it is rewritten at most every
            `checkpoint_every_s` seconds, and at Ctrl-C.
        progress: called after every step.
        make_optimizer: by default AdamW; a table with sparse gradients needs another one.
        checkpoint_every_s: seconds between checkpoints.
    """
    device = available_device()
    precision = plan.precision_on(device)
    # The state behind every Accelerator of a process is one, and keeps its mixed precision: what differs between two
    # trainings is whether autocast is on.
    autocast = AutocastKwargs(enabled=precision == "bfloat16")
    accelerator = Accelerator(mixed_precision="bf16", kwargs_handlers=[autocast])
    parameters = [p for p in module.parameters() if p.requires_grad]
    module.to(device)
    optimizer = make_optimizer(module, plan)
    total = plan.epochs * len(batches)
    schedule = LambdaLR(optimizer, linear_schedule(plan, total))
    stepper = accelerator.prepare(optimizer)
    torch.manual_seed(plan.seed)
    state = _LoopState(module, optimizer, schedule)
    first = state.load(checkpoint) if checkpoint.exists() else 0
    tokens, losses, watch = 0, [torch.zeros(())], _Watch(device_synchroniser())
    module.train()
    saved_at = time.monotonic()
    with freed_memory_kept(), repeatable(device), float32_outputs(module), deferred_interrupt() as interrupted:
        for epoch in range(first // len(batches), plan.epochs):
            losses = []
            for cpu_batch in batches_from(batches, epoch, max(0, first - epoch * len(batches))):
                watch.start()
                batch = cpu_batch.to(device)
                with accelerator.autocast():
                    value = loss(module, batch)
                accelerator.backward(value)
                if plan.max_gradient_norm is not None:
                    accelerator.clip_grad_norm_(parameters, plan.max_gradient_norm)
                stepper.step()
                schedule.step()
                stepper.zero_grad()
                state.step += 1
                tokens += batch.tokens
                losses.append(value.detach())
                progress(state.step, total)
                if interrupted() or time.monotonic() - saved_at > checkpoint_every_s:
                    watch.stop()
                    state.save(checkpoint)
                    saved_at = time.monotonic()
                if interrupted():
                    raise KeyboardInterrupt
    watch.stop()
    module.eval()
    last = torch.stack(losses).mean().item() if losses else 0.0
    speed = tokens / watch.seconds if watch.seconds else 0.0
    return FitReport(last, state.step - first, speed, device.type, precision, torch.get_num_threads())


@contextmanager
def float32_outputs(module: nn.Module) -> Iterator[None]:
    """Within the block what `module` returns (tensors in tuples, lists, dicts) is float32, whatever it computed in.

    A loss then works in float32 also where autocast leaves its operations as they are, as softmax on a CPU.
    """
    hook = module.register_forward_hook(lambda _module, _inputs, outputs: convert_to_fp32(outputs))
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Within the block a GPU sums in a fixed order wherever PyTorch has such a way; a CPU always does."""
    if device.type != "cuda":
        yield
        return
    before, warned = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)


@dataclass
class _Watch:
    """Seconds between `start` and `stop`, work queued on a device included; starting a running watch does nothing."""

    synchronise: Callable[[], object]
    seconds: float = 0.0
    _started: float | None = None

    def start(self) -> None:
        if self._started is None:
            self._started = time.perf_counter()

    def stop(self) -> None:
        if self._started is not None:
            self.synchronise()
            self.seconds += time.perf_counter() - self._started
            self._started = None


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Within the block Ctrl-C only raises a flag (yielded as a function), so that no step is cut in half.

    A second Ctrl-C interrupts at once. Outside the main thread signals cannot be caught and nothing changes.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    previous = signal.getsignal(signal.SIGINT)

    def remember(number: int, _frame: object) -> None:
        received.append(number)
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, remember)
    try:
        yield lambda: bool(received)
    finally:
        signal.signal(signal.SIGINT, previous)


class _LoopState:
    """All that a loop needs to go on: the step, weights, optimiser moments, schedule position, random state."""

    def __init__(self, module: nn.Module, optimizer: torch.optim.Optimizer, schedule: LambdaLR) -> None:
        self.module, self.optimizer, self.schedule = module, optimizer, schedule
        self.step = 0

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all."""
        tensors = {f"module.{k}": v.contiguous().clone() for k, v in self.module.state_dict().items()}
        for index, slots in self.optimizer.state_dict()["state"].items():
            tensors.update({f"optimizer.{index}.{slot}": v.clone() for slot, v in slots.items()})
        tensors["random.cpu"] = torch.get_rng_state()
        if torch.cuda.is_available():
            tensors["random.cuda"] = torch.cuda.get_rng_state()
        with atomic_write(path) as temporary:
            save_file(tensors, temporary, metadata={"loop": json.dumps({"step": self.step})})

    def load(self, path: Path) -> int:
        """Take up a checkpoint; returns how many steps it had done."""
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
            self.step = int(json.loads(file.metadata()["loop"])["step"])
        self.module.load_state_dict({k[7:]: v for k, v in tensors.items() if k.startswith("module.")})
        slots: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith("optimizer."):
                _, index, slot = key.split(".")
                slots.setdefault(int(index), {})[slot] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": slots, "param_groups": groups})
        self.schedule.last_epoch = self.step
        for group, base, factor in zip(
            self.optimizer.param_groups, self.schedule.base_lrs, self.schedule.lr_lambdas, strict=True
        ):
            group["lr"] = base * factor(self.step)
        torch.set_rng_state(tensors["random.cpu"])
        if "random.cuda" in tensors and torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["random.cuda"])
        return self.step
