"""Pre-training as an artifact: trained once, whoever asks, with how fast it went beside how fast it could have gone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from common.costs.flops import EncoderShape, encoder_flops, linear_flops
from common.records.measurements import write_json
from common.run.artifacts import ArtifactStore
from common.run.replication import Run
from common.task_run import Savable
from common.timing.matmul_rate import matmul_rate
from common.training.batches import EpochSource, Movable
from common.training.loop import FitReport, MakeOptimizer, Progress, TrainingPlan, fit, fused_adamw

BatchT = TypeVar("BatchT", bound=Movable)
ModuleT = TypeVar("ModuleT", bound=nn.Module)


@dataclass(frozen=True)
class Work:
    """What a token of pre-training costs, so that a speed can be laid beside the machine's.

    Attributes:
        flops_per_token: of all matrix products, backwards included.
        shape: of the encoder that most of them are in: products of its sizes set the ceiling.
    """

    flops_per_token: float
    shape: EncoderShape

    def ceiling(self, tokens: int, report: FitReport) -> float:
        """FLOP/s of a product (`tokens`, hidden) x (hidden, intermediate), by the device and precision of a report."""
        sizes = (tokens, self.shape.hidden, self.shape.intermediate)
        return matmul_rate(*sizes, repeats=5, device=report.device, precision=report.precision)


def encoder_work(shape: EncoderShape, length: int, *, trained: bool) -> float:
    """FLOPs of an encoder for each token of rows of `length`; backwards every product is two."""
    return (3 if trained else 1) * encoder_flops(shape, length) / length


def head_work(shape: EncoderShape, share: float, *, trained: bool) -> float:
    """FLOPs of a language head for each token, computed on this share of them."""
    width = shape.embedding or shape.hidden
    once = linear_flops(shape.hidden, width) + linear_flops(width, shape.vocabulary)
    return (3 if trained else 1) * share * once


@dataclass(frozen=True)
class Pretrainer:
    """Trains on plain text, or finds that it has been done."""

    store: ArtifactStore
    say: Callable[[str], None]
    progress: Progress

    @staticmethod
    def of(run: Run) -> Pretrainer:
        """That of a run."""
        return Pretrainer(run.store, run.say, run.progress)

    def trained(
        self,
        name: str,
        facts: Mapping[str, object],
        fresh: Callable[[], ModuleT],
        batches: Callable[[], EpochSource[BatchT]],
        loss: Callable[[ModuleT, BatchT], Tensor],
        plan: TrainingPlan,
        work: Work,
        *,
        make_optimizer: MakeOptimizer = fused_adamw,
        finish: Callable[[ModuleT, Path], None] = lambda module, folder: None,
    ) -> Path:
        """The folder of a trained module (`save(folder)`); an interrupted training goes on where it was.

        Args:
            name: what it is, e.g. `distilbert-student`; a part of the key.
            facts: all that it depends on beside the plan: the text's fingerprint, the teacher's, the masking, ...
            fresh: the untrained module.
            batches: called once training begins.
            loss: of one batch.
            plan: how it is trained.
            work: what a token costs, for the share of the ceiling.
            make_optimizer: by default AdamW over what requires gradients.
            finish: called with the trained module, on the device and in evaluation mode, and the folder: to score it.
        """

        def make(folder: Path) -> None:
            module = fresh()
            checkpoint = folder / "checkpoint" / "loop.safetensors"
            source = batches()
            report = fit(
                module,
                source,
                loss,
                plan,
                checkpoint=checkpoint,
                progress=self.progress,
                make_optimizer=make_optimizer,
            )
            self._tell(name, folder, report, work, plan)
            finish(module.eval(), folder)
            cast(Savable, module.cpu()).save(folder)

        recipe = {**facts, "kind": name, "threads": torch.get_num_threads(), "plan": plan.recipe()}
        return self.store.get(f"pretraining/{name}", recipe, make, self.say)

    def _tell(self, name: str, folder: Path, report: FitReport, work: Work, plan: TrainingPlan) -> None:
        """Say and keep how fast it went."""
        rate = work.ceiling(plan.batch_size * plan.max_length, report)
        share = report.tokens_per_second * work.flops_per_token / rate
        self.say(
            f"{name}: {report.tokens_per_second:,.0f} tokens/s, {share:.2f} of the ceiling of matrix products "
            f"({rate / 1e9:,.0f} GFLOP/s in {report.precision} on this {report.device})"
        )
        speed = {"matmul_rate": rate, "ceiling_share": share, "flops_per_token": work.flops_per_token}
        write_json(folder / "training.json", {**asdict(report), **speed})
