"""The baseline with fewer heads and feed-forward units, really taken out, then fine-tuned: narrower, not shallower.

How it is pruned is `common.models.pruned`. Importance is measured on training texts alone. What is left is fine-tuned
by the baseline's own plan, all of it: as many epochs, the same rates, from the trained weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from common.compare.names import PRUNED
from common.compare.outcomes import after
from common.costs.flops import embedding_flops
from common.costs.pruned import pruned_layer_flops
from common.early_exit.clock import Arm
from common.early_exit.cost import pooled_head_flops
from common.early_exit.runtime import Outcome
from common.methods import EncoderContender, Method, Setting
from common.models.classifier import classifier_logits
from common.models.pruned import PrunedClassifier, importance, kept_of, load_pruned
from common.run.replication import Step
from common.training.batches import Batch
from common.training.finetune import classification_loss

SHARES = (0.75, 0.5, 0.25)
"""Of every layer's heads and units, what is kept."""

EXAMPLES, AT_ONCE = 512, 32
"""Training texts that importance is measured on."""


class Pruned(EncoderContender):
    """The baseline, pruned."""

    name = PRUNED

    @property
    def settings(self) -> Sequence[Setting]:
        """A model for each share."""
        return [Setting(f"{share:.0%} kept", share) for share in SHARES]

    def training_steps(self) -> Sequence[Step]:
        """Of each share, fine-tuned anew."""
        run = self.task_run
        seconds = run.training_seconds(run.plan, run.num_layers) + run.scored_seconds
        return [Step.making(f"{run.label}: pruned, {s.name}", seconds, partial(self._logits, s)) for s in self.settings]

    def folder(self, setting: Setting) -> Path:
        """The pruned and fine-tuned classifier."""
        run = self.task_run

        def fresh() -> PrunedClassifier:
            whole = run.classifier()
            found = importance(whole, self._texts())
            return PrunedClassifier.of(whole.cpu(), [layer.most(setting.at) for layer in found])

        facts = {"baseline": run.classifier_folder().name, "kept": setting.at, "examples": EXAMPLES}
        return run.trained(_kind(setting), facts, fresh, lambda: run.batches, classification_loss, run.plan)

    def _texts(self) -> Iterator[Batch]:
        """Random training texts, where the baseline computes."""
        train = self.task_run.encoded.train
        rows = np.random.default_rng(self.task_run.seed).permutation(len(train))[:EXAMPLES].tolist()
        for start in range(0, len(rows), AT_ONCE):
            yield train.batch(rows[start : start + AT_ONCE]).to(self.task_run.device)

    def model(self, setting: Setting) -> PrunedClassifier:
        """Read from its folder."""
        return load_pruned(self.folder(setting))

    def _logits(self, setting: Setting) -> dict[str, Tensor]:
        run, folder = self.task_run, self.folder(setting)

        def compute() -> dict[str, Tensor]:
            model = self.model(setting).to(run.device)
            return {name: classifier_logits(model, split, run.device) for name, split in run.splits.items()}

        return run.tensors(f"{_kind(setting)}-logits", {"model": folder.name}, compute)

    def outcome(self, split: str, setting: Setting) -> Outcome:
        """After all layers, narrower ones."""
        return after(self._logits(setting)[split], self.task_run.num_layers)

    def flops(self, split: str, setting: Setting) -> NDArray[np.float64]:
        """(N,) of what is left."""
        run, shape, share = self.task_run, self.task_run.shape, setting.at
        heads, units = kept_of(shape.heads, share), kept_of(shape.intermediate, share)

        def of_text(tokens: int) -> int:
            layer = pruned_layer_flops(shape, tokens, heads=heads, units=units)
            return embedding_flops(shape, tokens) + shape.layers * layer + pooled_head_flops(shape, run.outputs)

        lengths = run.splits[split].lengths
        by_length = {tokens: of_text(tokens) for tokens in set(lengths)}
        return np.array([by_length[tokens] for tokens in lengths], dtype=float)

    def arm(self, setting: Setting) -> Arm:
        """The pruned classifier."""
        return self.model(setting).to(self.task_run.timing_device)


def _kind(setting: Setting) -> str:
    return f"pruned-{round(100 * setting.at)}"


METHODS = (Method(PRUNED, Pruned, regression=True),)
