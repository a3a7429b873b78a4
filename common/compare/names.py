"""Names and speeds that measuring and judging share."""

from __future__ import annotations

BASELINE, LADDER, INT8, TFIDF = "baseline", "static ladder", "int8 baseline", "TF-IDF"
ONNX, ONNX_INT8, PRUNED = "ONNX Runtime", "ONNX int8", "pruned"

SPEEDS = (1.5, 2.0, 3.0, 4.0)
"""FLOPs of the baseline over a contender's, on tune: where methods with many settings are compared."""


def in_int8(name: str) -> str:
    """A method of exits over int8 layers."""
    return f"{name} int8"


PYTORCH = "PyTorch"
"""What every method runs in that is no conversion of another; a bag of words counts as one of them."""


def engine_of(method: str) -> str:
    """Engine and kind of numbers: who runs in another one is faster or slower for that alone."""
    if method in (ONNX, ONNX_INT8):
        return method
    return f"{PYTORCH}, int8" if method.endswith(" int8") or method == INT8 else PYTORCH
