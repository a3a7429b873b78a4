"""The training loop against a bare PyTorch loop, and against interruptions."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.training.loop import TrainingPlan, deferred_interrupt, fit, fused_adamw, linear_schedule


@dataclass(frozen=True)
class Points:
    x: Tensor
    y: Tensor

    @property
    def tokens(self) -> int:
        return len(self.x)

    def to(self, device: torch.device) -> "Points":
        return Points(self.x.to(device), self.y.to(device))


class Source:
    def __len__(self) -> int:
        return 5

    def epoch(self, number: int) -> Iterator[Points]:
        generator = torch.Generator().manual_seed(number)
        for _ in range(5):
            x = torch.randn(8, 4, generator=generator)
            yield Points(x, x.sum(1))


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.Tanh(), nn.Linear(8, 1))


def loss(module: nn.Module, batch: Points) -> Tensor:
    return F.mse_loss(module(batch.x).squeeze(-1), batch.y)


PLAN = TrainingPlan(0.05, epochs=4, batch_size=8, seed=1, warmup=0.25, weight_decay=0.01, precision="float32")


def quiet(done: int, total: int) -> None:
    pass


def weights(module: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in module.parameters()]


def test_it_does_what_a_bare_loop_does(tmp_path: Path) -> None:
    ours = network()
    report = fit(ours, Source(), loss, PLAN, checkpoint=tmp_path / "c", progress=quiet)
    theirs = network()
    optimizer = torch.optim.AdamW(theirs.parameters(), lr=0.05, eps=1e-8, weight_decay=0.01)
    torch.manual_seed(1)
    for step, batch in enumerate(b for epoch in range(4) for b in Source().epoch(epoch)):
        for group in optimizer.param_groups:
            group["lr"] = 0.05 * (step / 5 if step < 5 else (20 - step) / 15)
        optimizer.zero_grad()
        loss(theirs, batch).backward()
        nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        optimizer.step()
    for a, b in zip(weights(ours), weights(theirs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    assert report.steps == 20
    assert report.tokens_per_second > 0
    assert not ours.training


def test_the_same_seed_gives_the_same_weights_and_another_does_not(tmp_path: Path) -> None:
    results = []
    for seed in (1, 1, 2):
        module = network()
        plan = TrainingPlan(learning_rate=0.05, epochs=2, batch_size=8, seed=seed)
        fit(module, Source(), loss, plan, checkpoint=tmp_path / str(len(results)), progress=quiet)
        results.append(torch.cat([w.flatten() for w in weights(module)]))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


@pytest.mark.parametrize("stop_at", [1, 7, 19])
def test_an_interrupted_training_resumes_to_the_same_weights(tmp_path: Path, stop_at: int) -> None:
    whole = network()
    fit(whole, Source(), loss, PLAN, checkpoint=tmp_path / "whole", progress=quiet)

    def interrupt(done: int, total: int) -> None:
        if done == stop_at:
            os.kill(os.getpid(), signal.SIGINT)

    checkpoint = tmp_path / "cut"
    with pytest.raises(KeyboardInterrupt):
        fit(network(), Source(), loss, PLAN, checkpoint=checkpoint, progress=interrupt)
    resumed = network()
    report = fit(resumed, Source(), loss, PLAN, checkpoint=checkpoint, progress=quiet)
    assert report.steps == 20 - stop_at
    for a, b in zip(weights(whole), weights(resumed), strict=True):
        assert torch.equal(a, b)


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import os, signal, test_loop as t
def kill(done, total):
    if done == 9:
        os.kill(os.getpid(), signal.SIGKILL)
t.fit(t.network(), t.Source(), t.loss, t.PLAN, checkpoint=Path(sys.argv[1]), progress=kill, checkpoint_every_s=0)
"""


def test_a_killed_training_resumes_to_the_same_weights(tmp_path: Path) -> None:
    checkpoint = tmp_path / "cut"
    arguments = [sys.executable, "-c", KILLED, str(checkpoint), str(Path(__file__).parent)]
    assert subprocess.run(arguments, check=False).returncode == -signal.SIGKILL
    whole, resumed = network(), network()
    fit(whole, Source(), loss, PLAN, checkpoint=tmp_path / "whole", progress=quiet)
    report = fit(resumed, Source(), loss, PLAN, checkpoint=checkpoint, progress=quiet)
    assert 0 < report.steps <= 12
    for a, b in zip(weights(whole), weights(resumed), strict=True):
        assert torch.equal(a, b)


def test_frozen_parameters_are_left_alone(tmp_path: Path) -> None:
    module = network()
    frozen = module[0]
    before = weights(frozen)
    frozen.requires_grad_(False)
    fit(module, Source(), loss, PLAN, checkpoint=tmp_path / "c", progress=quiet)
    assert all(torch.equal(a, b) for a, b in zip(before, weights(frozen), strict=True))


def plain_sgd(module: nn.Module, plan: TrainingPlan) -> torch.optim.Optimizer:
    return torch.optim.SGD(module.parameters(), lr=plan.learning_rate, momentum=0.9)


STEEP = replace(PLAN, learning_rate=1e-3)


def steep_loss(module: nn.Module, batch: Points) -> Tensor:
    return 100 * loss(module, batch)


@pytest.mark.parametrize("limit", [None, 0.5])
def test_another_optimiser_is_driven_by_the_schedule_and_clipped_only_if_asked(
    tmp_path: Path, limit: float | None
) -> None:
    """Plain gradient descent, unlike Adam, shows how long a gradient was."""
    ours, theirs = network(), network()
    plan = replace(STEEP, max_gradient_norm=limit)
    fit(ours, Source(), steep_loss, plan, checkpoint=tmp_path / "c", progress=quiet, make_optimizer=plain_sgd)
    optimizer = plain_sgd(theirs, plan)
    torch.manual_seed(1)
    norms = []
    for step, batch in enumerate(b for epoch in range(4) for b in Source().epoch(epoch)):
        optimizer.param_groups[0]["lr"] = plan.learning_rate * (step / 5 if step < 5 else (20 - step) / 15)
        optimizer.zero_grad()
        steep_loss(theirs, batch).backward()
        norms.append(nn.utils.get_total_norm([p.grad for p in theirs.parameters() if p.grad is not None]))
        if limit is not None:
            nn.utils.clip_grad_norm_(theirs.parameters(), limit)
        optimizer.step()
    assert min(norms) > 0.5, "clipping would show"
    for a, b in zip(weights(ours), weights(theirs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_another_optimiser_resumes_to_the_same_weights(tmp_path: Path) -> None:
    def kill(done: int, total: int) -> None:
        if done == 9:
            raise RuntimeError("killed")

    whole, cut, resumed = network(), network(), network()
    checkpoint = tmp_path / "cut"
    fit(whole, Source(), loss, STEEP, checkpoint=tmp_path / "whole", progress=quiet, make_optimizer=plain_sgd)
    with pytest.raises(RuntimeError, match="killed"):
        fit(
            cut,
            Source(),
            loss,
            STEEP,
            checkpoint=checkpoint,
            progress=kill,
            make_optimizer=plain_sgd,
            checkpoint_every_s=0,
        )
    report = fit(resumed, Source(), loss, STEEP, checkpoint=checkpoint, progress=quiet, make_optimizer=plain_sgd)
    assert report.steps == 12
    for a, b in zip(weights(whole), weights(resumed), strict=True):
        assert torch.equal(a, b)


def test_the_usual_optimiser_leaves_frozen_parameters_out_and_takes_the_plan() -> None:
    module = network()
    module[0].requires_grad_(False)
    (group,) = fused_adamw(module, replace(PLAN, adam_epsilon=1e-3)).param_groups
    assert [id(p) for p in group["params"]] == [id(p) for p in module[3].parameters()]
    assert (group["lr"], group["eps"], group["weight_decay"]) == (0.05, 1e-3, 0.01)


def test_the_schedule_rises_then_falls_to_zero() -> None:
    factor = linear_schedule(PLAN, 20)
    values = [factor(step) for step in range(21)]
    assert values[0] == 0.0
    assert values[5] == max(values) == 1.0
    assert values[20] == 0.0
    assert linear_schedule(TrainingPlan(0.1, 1, 1, 0), 10)(0) == 1.0


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A suite that runs in the background ignores Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_a_second_interrupt_is_not_deferred() -> None:
    with pytest.raises(KeyboardInterrupt), deferred_interrupt() as interrupted:
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupted()
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("the second interrupt was swallowed")
