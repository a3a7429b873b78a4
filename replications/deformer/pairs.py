"""DeFormer on a task of text pairs (table 2): the task loss alone, as in the paper, beside the common baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from common.errors import UserError
from common.run.replication import Step
from common.task_run import TaskRun
from common.training.batches import BucketedBatches
from common.training.segments import TwoSegmentSplit, encode_pairs
from replications.deformer.flops import Lengths, speedup_at
from replications.deformer.method import DeFormer, plain_loss
from replications.deformer.names import DEFORMER, TEACHER, at_k, depth_of
from replications.deformer.settings import pair_lengths


class Pairs:
    """DeFormer and its full model on one task of pairs and seed."""

    def __init__(self, task_run: TaskRun) -> None:
        """Look at the task.

        Raises:
            UserError: it has single texts.
        """
        if not task_run.task.is_pair:
            raise UserError(
                f"{task_run.task_name} has single texts, and DeFormer parts pairs: name tasks of pairs or of questions "
                "on passages, with TASKS="
            )
        self.task_run = task_run

    @property
    def k(self) -> int:
        """The paper's depth."""
        return depth_of(self.task_run.num_layers)

    @property
    def lengths(self) -> Lengths:
        """The slots of both texts, and which is cached."""
        return pair_lengths(self.task_run.task_name, self.task_run.run.scale.name)

    @property
    def flops_speedup(self) -> float:
        """Times as few FLOPs as the full model, slots counted whole."""
        return speedup_at(self.task_run.shape, self.k, self.lengths)

    @cached_property
    def splits(self) -> dict[str, TwoSegmentSplit]:
        """Train, tune and dev as two segments."""
        run = self.task_run
        return {
            split: encode_pairs(
                run.backbone.tokenizer,
                getattr(run.task, split),
                self.lengths.layout,
                regression=run.task.is_regression,
            )
            for split in ("train", "tune", "dev")
        }

    def folder(self, k: int) -> Path:
        """The trained classifier; k = 0 is the full model in the same layout."""
        run = self.task_run
        return run.trained(
            f"deformer-classifier-k{k}",
            {**run.facts, "k": k, "layout": asdict(self.lengths.layout)},
            lambda: DeFormer.classifier(
                run.backbone.encoder.first_layers(run.num_layers), k, run.outputs, run.seed, run.pooling
            ),
            lambda: BucketedBatches(self.splits["train"], run.plan.batch_size, run.seed),
            plain_loss,
            run.plan,
        )

    def model(self, k: int) -> DeFormer:
        """The same, on the device, in evaluation mode."""
        model: DeFormer = DeFormer.load(self.folder(k)).to(self.task_run.device)
        return model

    def logits(self, k: int) -> Tensor:
        """(N, C) on dev."""
        run, folder = self.task_run, self.folder(k)

        @torch.inference_mode()
        def compute() -> dict[str, Tensor]:
            model, dev = self.model(k), self.splits["dev"]
            parts = [(batch.rows, model(batch.to(run.device)).cpu()) for batch in dev.by_length(64)]
            order = torch.cat([rows for rows, _ in parts]).argsort()
            return {"dev": torch.cat([logits for _, logits in parts])[order]}

        facts = {"model": folder.name, "dev": len(run.task.dev)}
        return run.kept_tensors(f"deformer-logits-k{k}", facts, compute)["dev"]

    @property
    def depths(self) -> tuple[int, ...]:
        """What is trained: the full model in the same layout, and DeFormer."""
        return 0, self.k

    def steps(self) -> Sequence[Step]:
        """Train both and let them answer."""
        run = self.task_run
        cost = run.training_seconds(run.plan, run.num_layers) + run.scored_seconds
        return [
            Step.making(f"{run.label}: {f'{DEFORMER} {at_k(k)}' if k else TEACHER}", cost, lambda k=k: self.logits(k))  # type: ignore[misc]
            for k in self.depths
        ]
