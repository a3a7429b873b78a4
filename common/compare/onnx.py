"""The baseline and the static ladder as they are most often deployed on a CPU: ONNX Runtime, in float32 and in int8.

Nothing is trained: the weights are those of `common.baselines`. Threads are pinned as PyTorch's are (as many within an
operator, one operator after the other, `common.models.onnx_session`), and texts are tokenised alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.compare.names import ONNX, ONNX_INT8
from common.compare.outcomes import after
from common.early_exit.clock import Arm
from common.early_exit.runtime import Outcome
from common.methods import EncoderContender, Method, Setting, of_the_cpu
from common.models.classifier import classifier_logits
from common.models.onnx_file import FILE, OPSET, missing_libraries, saturates, versions, write_int8, write_onnx
from common.models.onnx_session import OnnxModel
from common.run.replication import Run, Step


class OnnxRuntime(EncoderContender):
    """The baseline and every rung of the static ladder in float32."""

    name = ONNX
    settings_are_models = True

    @property
    def settings(self) -> Sequence[Setting]:
        """The ladder's depths, and the whole."""
        n = self.task_run.num_layers
        return [Setting(f"{depth} of {n} layers", depth) for depth in (*self.task_run.recipe.depths(n), n)]

    def training_steps(self) -> Sequence[Step]:
        """The ladder's, then a file for each depth, and its answers."""
        run = self.task_run
        depths = [int(setting.at) for setting in self.settings]
        return [*run.static_steps(depths[:-1])[1:], *(self._step(setting) for setting in self.settings)]

    def _step(self, setting: Setting) -> Step:
        run, share = self.task_run, setting.at / self.task_run.num_layers
        seconds = 8 + 4 * share + share * run.scored_seconds
        return Step.making(f"{run.label}: {self.name}, {setting.name}", seconds, lambda: self._logits(setting))

    def file(self, setting: Setting) -> Path:
        """The ONNX file of a depth, written if it is not there."""
        run, depth = self.task_run, int(setting.at)

        def make(folder: Path) -> None:
            write_onnx(run.classifier(depth), folder / FILE)

        facts = {"model": run.classifier_folder(depth).name, "opset": OPSET, **versions()}
        return run.stored(f"onnx-{depth}L", facts, make) / FILE

    def _logits(self, setting: Setting) -> dict[str, Tensor]:
        run, file = self.task_run, self.file(setting)

        def compute() -> dict[str, Tensor]:
            model, cpu = OnnxModel(file), torch.device("cpu")
            return {name: classifier_logits(model, split, cpu) for name, split in run.splits.items()}

        return run.tensors(f"{self.name}-logits-{int(setting.at)}L", {"file": file.parent.name}, compute)

    def outcome(self, split: str, setting: Setting) -> Outcome:
        """After k layers."""
        return after(self._logits(setting)[split], int(setting.at))

    def original(self, split: str, setting: Setting) -> Tensor:
        """What PyTorch answers with these weights in float32."""
        return self.task_run.static_logits(int(setting.at))[split]

    def flops(self, split: str, setting: Setting) -> NDArray[np.float64]:
        """Of k layers: another engine computes the same."""
        return self.task_run.static_flops(split, int(setting.at))

    def arm(self, setting: Setting) -> Arm:
        """A session, with as many threads as PyTorch."""
        return OnnxModel(self.file(setting))


class OnnxInt8(OnnxRuntime):
    """The same with the linear layers in 8-bit integers: as many operations, in integers."""

    name = ONNX_INT8

    def file(self, setting: Setting) -> Path:
        """The quantised file of a depth."""
        full = super().file(setting)
        facts = {"file": full.parent.name, "seven bits": saturates(), **versions()}
        kind = f"onnx-int8-{int(setting.at)}L"
        return self.task_run.stored(kind, facts, lambda folder: write_int8(full, folder / FILE)) / FILE


def unfit(run: Run) -> str:
    """Why ONNX Runtime cannot take part: what is to be installed, or a clock on a GPU."""
    missing = missing_libraries()
    if missing:
        return f"it needs {', '.join(missing)}; type pip install -c constraints.txt {' '.join(missing)}"
    return of_the_cpu(run)


METHODS = (
    Method(ONNX, OnnxRuntime, regression=True, unfit=unfit),
    Method(ONNX_INT8, OnnxInt8, regression=True, unfit=unfit),
)
