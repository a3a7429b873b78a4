"""CascadeBERT on a task run: the cascade as a contender.

The big model is the baseline. Before it stands a complete small model, fine-tuned with difficulty-aware regularisation;
variants of the cascade begin with the same model without it, or with a deeper one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.costs.flops import classifier_flops
from common.early_exit.contender import RuleContender
from common.early_exit.rules import ConfidenceAbove
from common.early_exit.runtime import Outcome, simulate
from common.errors import UserError
from common.methods import Method, Setting
from common.models.classifier import EncoderClassifier
from common.run.replication import Step
from common.task_run import TaskRun
from replications.cascadebert.method import Cascade, confidence, executed_layers, settles_above
from replications.cascadebert.names import CASCADE, layers
from replications.cascadebert.small_models import SmallModels, complete_encoders


class CascadeBERT(RuleContender):
    """A small model before the baseline; `depth` and `calibrated` say which one."""

    def __init__(
        self, task_run: TaskRun, small: SmallModels, name: str = CASCADE, *, depth: int = 0, calibrated: bool = True
    ) -> None:
        super().__init__(task_run)
        self.name, self.small, self.depth, self.calibrated = name, small, depth or small.first, calibrated

    @staticmethod
    def of(task_run: TaskRun) -> CascadeBERT:
        """The paper's, on its own.

        Raises:
            UserError: the task is a regression, which has no confidence.
        """
        require_classes(task_run)
        return CascadeBERT(task_run, SmallModels(task_run, complete_encoders(task_run.run)))

    def training_steps(self) -> Sequence[Step]:
        """The small encoders, difficulty labels (shared by all seeds), the small model."""
        run, small, complete = self.task_run, self.small, self.small.complete
        plan, label = small.plan, f"{run.label}: CascadeBERT"
        one = run.training_seconds(plan, small.first)
        steps = (
            [] if complete.published else [Step.making(f"{label}, small encoders", complete.estimate, complete.folder)]
        )
        ways = small.settings.labels
        labels = ways.seeds * (ways.folds - 1) * one + 2
        steps.append(Step.making(f"{label}, difficulty labels", labels, small.labels_folder))
        made = f"{label}, the small model of {layers(self.depth)}"
        return [*steps, Step.making(made, one + run.scored_seconds / run.num_layers, lambda: self._small_logits)]

    @property
    def folder(self) -> Path:
        """The small model's."""
        return self.small.calibrated_folder() if self.calibrated else self.small.plain_folder(self.depth)

    @cached_property
    def _small_logits(self) -> dict[str, Tensor]:
        return self.small.logits(self.folder)

    def logits(self, split: str) -> Tensor:
        """(N, 2, C) of both models."""
        return torch.stack([self._small_logits[split], self.task_run.static_logits()[split]], dim=1)

    def model(self) -> Cascade:
        """Both, where they are timed, in evaluation mode."""
        models = [EncoderClassifier.load(self.folder), self.task_run.classifier()]
        return Cascade(models).to(self.task_run.timing_device).eval()

    @property
    def settings(self) -> Sequence[Setting]:
        """Thresholds between neighbouring confidences of the small model on tune; 0 passes nothing on, 1 everything."""
        taus = (0.0, *between(confidence(self._small_logits["tune"])), 1.0)
        return [Setting(f"tau={tau:.3g}", tau) for tau in taus]

    def rule(self, at: float) -> ConfidenceAbove:
        """Settled above the threshold tau."""
        return settles_above(at)

    @property
    def prices(self) -> tuple[int, ...]:
        """Layers executed for whom model 1 settles, and for whom model 2 does."""
        depths = (self.depth, self.task_run.num_layers)
        return tuple(executed_layers(torch.tensor([1, 2]), depths).tolist())

    def outcome(self, split: str, setting: Setting) -> Outcome:
        """Answers, and layers executed, those of the small model included: 7 where 1 layer passes on to 6."""
        settled = simulate(self.logits(split), self.rule(setting.at))
        return Outcome(settled.logits, torch.tensor(self.prices)[settled.exit_layer - 1])

    def save_parts(self, setting: Setting, folder: Path) -> Mapping[str, Any]:
        """Both models, the rule, and what each step costs in layers."""
        return {**super().save_parts(setting, folder), "layers": self.prices}

    def flops_by_model(self, tokens: int) -> NDArray[np.int64]:
        """(2,) FLOPs of a text settled by model 1, and by model 2."""
        shapes, outputs = (self.small.shape(self.depth), self.task_run.shape), self.task_run.outputs
        return np.cumsum(np.array([classifier_flops(shape, tokens, outputs) for shape in shapes], dtype=np.int64))

    def flops_of_layers(self, split: str, layers: NDArray[np.int64]) -> NDArray[np.float64]:
        """(N,), of both models where both ran."""
        lengths, settled_by = self.task_run.splits[split].lengths, np.searchsorted(self.prices, layers).tolist()
        price = {tokens: self.flops_by_model(tokens) for tokens in set(lengths)}
        return np.array([price[t][i] for t, i in zip(lengths, settled_by, strict=True)], dtype=float)


def between(values: Tensor, count: int = 200) -> list[float]:
    """At most `count` thresholds in the middle between neighbours among `values`, evenly by rank.

    A fixed grid misses the speed that is asked for where a model is about equally sure of everything.
    """
    distinct = values.double().flatten().unique()
    middles = (distinct[1:] + distinct[:-1]) / 2
    if len(middles) == 0:
        return []
    chosen = np.linspace(0, len(middles) - 1, count).round().astype(int)
    return [float(middles[i]) for i in np.unique(chosen)]


def require_classes(task_run: TaskRun) -> None:
    """Refuse a regression.

    Raises:
        UserError: it is one.
    """
    if task_run.task.is_regression:
        raise UserError(
            f"a cascade passes on by confidence, which needs classes; {task_run.task_name} is a regression. "
            "Drop it from TASKS"
        )


METHODS = (Method(CASCADE, CascadeBERT.of),)
