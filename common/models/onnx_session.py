"""ONNX Runtime at work on a classifier's file, with as many threads as PyTorch.

What makes two engines comparable is set, not left to chance: within an operator as many threads as PyTorch has, one
operator after the other, on the CPU. Threads that wait sleep, as PyTorch's do here (`common.cli`): ONNX Runtime's would
spin otherwise, and after their own run is over take the cores from whoever is timed next.
"""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import torch
from torch import Tensor

from common.errors import UserError
from common.models.onnx_file import FILE, IDS, LOGITS, MASK, TYPES
from common.training.batches import Batch


class OnnxModel:
    """A session on an ONNX file, opened at the first batch, and anew when PyTorch has another number of threads.

    Attributes:
        threads: within an operator; 0 before the first batch.
    """

    def __init__(self, path: Path) -> None:
        """Of a file that was checked (one of the artifact store was, by its SHA-256)."""
        self.path, self.threads = path, 0

    def save(self, folder: Path) -> None:
        """Copy the file to `folder`, where `load` finds it."""
        shutil.copyfile(self.path, folder / FILE)

    @staticmethod
    def load(folder: Path) -> OnnxModel:
        """Of the file that `save` wrote.

        Raises:
            UserError: ONNX Runtime is not installed.
        """
        if importlib.util.find_spec("onnxruntime") is None:
            raise UserError(f"{folder / FILE} is run by ONNX Runtime; type pip install onnxruntime")
        return OnnxModel(folder / FILE)

    def _open(self, threads: int) -> None:
        import onnxruntime

        self.threads = threads
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(self.path), options, providers=["CPUExecutionProvider"])
        self._inputs = [one.name for one in self._session.get_inputs()]

    def __call__(self, batch: Batch) -> Tensor:
        """(B, C) logits of a batch on the CPU."""
        if self.threads != torch.get_num_threads():
            self._open(torch.get_num_threads())
        types = batch.token_type_ids
        given = {
            IDS: batch.input_ids,
            MASK: batch.attention_mask,
            TYPES: torch.zeros_like(batch.input_ids) if types is None else types,
        }
        (logits,) = self._session.run([LOGITS], {name: given[name].numpy() for name in self._inputs})
        return torch.from_numpy(logits)
