"""A classifier as an ONNX file: written by PyTorch's exporter, in float32 or in 8-bit integers.

What is exported is the suite's own classifier, pooling included; how many texts and tokens it is given stays open. Of
PyTorch's two exporters it is the one on TorchScript: the other, on `torch.export`, is the default since 2.9 and gives
the same logits, but takes 12 to 18 seconds of a core for each model instead of 0.3 to 2, and another library. Should
PyTorch give up the first, `write_onnx` is the place to change: `dynamo=True`, `dynamic_shapes`.

The integers are ONNX Runtime's dynamic quantisation of what has weights, the linear layers, with a scale for each of
their outputs (PyTorch's has one for a whole matrix). What they read is scaled by the largest value of the whole batch:
a text's logits depend a little on its company.
"""

from __future__ import annotations

import importlib.util
import io
import logging
import platform
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor, nn

from common.models.classifier import EncoderClassifier
from common.training.batches import Batch

LIBRARIES = ("onnx", "onnxruntime")

FILE = "classifier.onnx"
"""How the file is called where it lies alone."""

OPSET = 20
"""Version of the operators: PyTorch 2.13's default, and the last that this exporter writes."""

IDS, MASK, TYPES, LOGITS = "input_ids", "attention_mask", "token_type_ids", "logits"


def missing_libraries() -> list[str]:
    """What would have to be installed."""
    return [name for name in LIBRARIES if importlib.util.find_spec(name) is None]


def versions() -> dict[str, str]:
    """What a written file depends on beside the model."""
    return {name: version(name) for name in LIBRARIES}


class _FromIds(nn.Module):
    """A classifier whose inputs are tensors."""

    def __init__(self, classifier: EncoderClassifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """(B, C) logits of (B, L) ids."""
        not_read = input_ids[:, 0]
        logits: Tensor = self.classifier(Batch(input_ids, attention_mask, token_type_ids, not_read, not_read))
        return logits


def write_onnx(classifier: EncoderClassifier, path: Path) -> None:
    """Write a classifier in float32: (B, C) `logits` of `input_ids`, `attention_mask` and, of an encoder that has
    types of tokens, `token_type_ids`, all (B, L).
    """  # noqa: D205
    has_types = getattr(classifier.encoder.config, "type_vocab_size", 1) > 1
    names = [IDS, MASK, TYPES] if has_types else [IDS, MASK]
    example = tuple(torch.ones((2, 8), dtype=torch.long) for _ in names)
    with _quiet(), torch.no_grad():
        torch.onnx.export(
            _FromIds(classifier.cpu().eval()).eval(),
            example,
            str(path),
            input_names=names,
            output_names=[LOGITS],
            opset_version=OPSET,
            dynamic_axes={name: {0: "texts", 1: "tokens"} for name in names},
            dynamo=False,
        )


def write_int8(full: Path, path: Path) -> None:
    """Write a float32 file with its linear layers in 8-bit integers."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(full)
    # The quantiser transposes matrices and does not correct the shapes that the exporter noted of them.
    del model.graph.value_info[:]
    with _quiet():
        quantize_dynamic(
            model,
            path,
            op_types_to_quantize=["MatMul"],
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=saturates(),
        )


def saturates() -> bool:
    """Whether sums of 8-bit products overflow here: x86 without VNNI. Seven bits of a weight are used there."""
    return platform.machine() in ("x86_64", "AMD64") and not torch.cpu._is_vnni_supported()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep exporter and quantiser from telling what they do."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
