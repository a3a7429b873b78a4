"""What systems and settings are called, wherever a number of theirs is kept."""

from __future__ import annotations

from common.records.predictions import at_layer

FASTBERT = "FastBERT"
TEACHER = "teacher"

PRINTED_DIRECTION = "FastBERT, KL as printed"
DROPOUT_ON = "FastBERT, dropout on in stage 3"
FROM_LABELS = "FastBERT without self-distillation"
UNDISTILLED = "FastBERT before self-distillation"
"""The trained teacher with students that have learned nothing yet: where Figure 7's distillation begins."""

FIXED = "FastBERT without adaptive inference"

COUNT = "printed count"
"""FLOPs by the paper's count: of its "BERT", and of one layer with its classifier."""


def speed_setting(speed: float) -> str:
    """Name of a Speed as it is."""
    return f"speed={speed:.3g}"


def as_fast_as(depth: int) -> str:
    """Name of the Speed, chosen on tune, whose Speedup is that of an encoder of `depth` layers."""
    return f"as fast as {depth}L"


def as_deep_as(layer: int) -> str:
    """Name of the Speed, chosen on tune, at which as many layers are executed as if everyone left at `layer`."""
    return f"as deep as {at_layer(layer)}"


def uncertainty_at(layer: int) -> str:
    """Name of the uncertainties of one layer's classifier."""
    return f"{FASTBERT}@{at_layer(layer)}/uncertainty"


def quarter_layers(layers: int) -> int:
    """A quarter of the depth, rounded up: the 3 layers of 12 that the paper's DistilBERT has."""
    return -(-layers // 4)


def figure_4_layers(layers: int) -> dict[str, int]:
    """The layers (from 1) of Figure 4's three classifiers; 5 of 0..11 is the middle of the depth."""
    return {"first student": 1, "middle student": layers // 2, "teacher": layers}
