"""What no paper offers, at home: the baseline, the static ladder, int8 weights, a bag of words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from common.compare.names import BASELINE, INT8, LADDER, TFIDF
from common.encoders.opening import OpenEncoder
from common.models.classifier import EncoderClassifier
from common.serve.home import Load, Parts, Runner
from common.serve.tokens import whole
from common.training.batches import Batch


def _quantised(folder: Path, _: OpenEncoder) -> Callable[[Batch], Tensor]:
    """In int8, which turns the last bit of a state into the last of 8: its encoder is the one that was evaluated."""
    from common.compare.int8 import in_int8

    return in_int8(EncoderClassifier.load(folder))


def _bag_of_words(parts: Parts) -> Runner:
    # Only who reads a bag of words waits for scikit-learn.
    from common.compare.bag_of_words import bag_at_home

    return bag_at_home(parts)


HOMES: Mapping[str, Load] = {
    BASELINE: whole(EncoderClassifier.load),
    LADDER: whole(EncoderClassifier.load),
    INT8: whole(_quantised),
    TFIDF: _bag_of_words,
}
