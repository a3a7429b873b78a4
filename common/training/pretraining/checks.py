"""What a teacher and its student have to share, refused before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from common.encoders.layered import LayeredEncoder
from common.errors import UserError

MUCH_BETTER, SURE = 0.1, 4.0
"""By which share of the examples another order of labels has to fit better to be the likelier one, and by how many
roots of their number: a teacher that guesses at random has an order that fits a little better, too."""


def require_same_heads(student: LayeredEncoder, teacher: LayeredEncoder) -> None:
    """Refuse attention that cannot be matched head by head.

    Raises:
        UserError: the numbers of heads differ.
    """
    ours, theirs = student.config.num_attention_heads, teacher.config.num_attention_heads
    if ours != theirs:
        raise UserError(
            f"the student has {ours} attention heads and the teacher {theirs}: attention is matched head by head, so "
            f"give the student {theirs}"
        )


def require_layers(layers: Sequence[int], teacher: LayeredEncoder, *, first: int = 1) -> None:
    """Refuse a map to layers that the teacher does not have; layers count from 1 (`first` 0 allows the embeddings).

    Raises:
        UserError: one of them is outside.
    """
    outside = [layer for layer in layers if not first <= layer <= teacher.num_layers]
    if outside:
        raise UserError(
            f"the layer map names the teacher's layer {outside[0]}: expected {first} to {teacher.num_layers}"
        )


def require_label_order(logits: Tensor, labels: Tensor, names: Sequence[str]) -> None:
    """Refuse a teacher whose classes come in another order than the task's: it would teach the opposite.

    Args:
        logits: (N, C) of the teacher on examples whose labels are known.
        labels: (N,) class indices.
        names: of the task's classes.

    Raises:
        UserError: another assignment of the teacher's classes fits far better than its own order.
    """
    answers, truth, classes = logits.argmax(-1).numpy(), labels.numpy(), len(names)
    if logits.shape[-1] != classes:
        raise UserError(f"the teacher tells {logits.shape[-1]} classes apart and the task has {classes}")
    table = np.zeros((classes, classes), dtype=int)
    np.add.at(table, (answers, truth), 1)
    own, (rows, columns) = np.trace(table), linear_sum_assignment(table, maximize=True)
    best = table[rows, columns].sum()
    if best - own > max(MUCH_BETTER * len(truth), SURE * len(truth) ** 0.5):
        read = ", ".join(f"its class {row} as {names[column]!r}" for row, column in zip(rows, columns, strict=True))
        raise UserError(
            "the teacher's classes seem to come in another order than the task's: it is right on "
            f"{own / len(truth):.0%} of the examples, and on {best / len(truth):.0%} if one reads {read}. Give a "
            f"teacher whose labels are in the task's order ({', '.join(names)})"
        )
