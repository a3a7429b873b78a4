"""What a teacher and its student have to share, refused before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from common.encoders.layered import LayeredEncoder
from common.errors import UserError

_PROBE = "It's 3.5 o'clock, said Zoë: unbelievable?"

MUCH_BETTER, SURE = 0.1, 4.0
"""By which share of the examples another order of labels has to fit better to be the likelier one, and by how many
roots of their number: a teacher that guesses at random has an order that fits a little better, too."""


def require_same_words(student: Any, teacher: Any) -> None:  # noqa: ANN401
    """Refuse two tokenizers that do not cut texts into the same ids: logits over words would mean different words.

    Raises:
        UserError: the vocabularies differ, or one text is cut in two ways (one lower-cases, the other does not).
    """
    if student.get_vocab() != teacher.get_vocab() or student(_PROBE)["input_ids"] != teacher(_PROBE)["input_ids"]:
        raise UserError(
            f"the student reads {len(student)} words and the teacher {len(teacher)}, and they cut texts differently: "
            "a student learns from a teacher with the same tokenizer"
        )


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
