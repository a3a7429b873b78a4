"""What systems and settings are called, wherever a number of theirs is kept."""

from __future__ import annotations

DEFORMER = "DeFormer"
"""Lower layers apart, upper layers joint, trained with knowledge distillation (KD) and layer-wise similarity (LRS)."""

NO_LRS = "DeFormer w/o LRS"
PLAIN = "DeFormer w/o KD and LRS"
FOUND = "DeFormer, weights found here"
PRINTED_KL = "DeFormer, KL as printed"
"""Its KD has the divergence in the direction that the paper prints, not the one that its code computes."""

TEACHER = "two segments, all layers joint"
"""The full model in DeFormer's layout, k = 0: what KD and LRS teach."""

BASELINE = "baseline"
CONSTANT = "constant answer"

F1, EXACT = "f1", "exact"
"""Names of the marks of each question, kept for every reader."""

UNCACHED = "DeFormer, nothing cached"
"""Both segments through the lower layers while the question waits."""


PAPER_DEPTHS = {12: 9, 24: 20}
"""k by layers; elsewhere three quarters, rounded down, are apart."""


def depth_of(layers: int) -> int:
    """K for an encoder of so many layers."""
    return PAPER_DEPTHS.get(layers, max(1, 3 * layers // 4))


def at_k(k: int) -> str:
    """Name of the setting in which k layers are apart."""
    return f"k={k}"


def marks_name(system: str, setting: str, mark: str) -> str:
    """Name of a reader's marks, (N,) on dev."""
    return f"{system}@{setting}/{mark}" if setting else f"{system}/{mark}"


def variance_name(layer: int) -> str:
    """Name of the shares of each passage's variance that are due to the question, after a layer."""
    return f"variance/layer {layer}"


def timed_shape(backbone: str, task: str, count: int) -> str:
    """Name under which the seconds of an architecture are kept."""
    return f"{backbone}, {task}, {count} at once"
