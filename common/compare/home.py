"""What no paper offers, at home: the baseline, the ladder, int8 weights, ONNX Runtime, pruning, a bag of words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from common.compare.names import BASELINE, INT8, LADDER, ONNX, ONNX_INT8, PRUNED, TFIDF
from common.compare.names import in_int8 as named
from common.encoders.opening import OpenEncoder, layered
from common.models.classifier import EncoderClassifier
from common.serve.home import Load, Parts, Runner, find_home
from common.serve.tokens import whole
from common.training.batches import Batch


def _quantised(folder: Path, _: OpenEncoder) -> Callable[[Batch], Tensor]:
    """In int8, which turns the last bit of a state into the last of 8: its encoder is the one that was evaluated."""
    from common.compare.int8 import in_int8

    return in_int8(EncoderClassifier.load(folder))


def _quantise_layers(model: Any) -> Any:  # noqa: ANN401
    from common.compare.int8 import in_int8

    model.encoder = in_int8(model.encoder)
    return model


def _exits_over_int8(parts: Parts) -> Runner:
    """The method's own way home, its encoder quantised.

    Who is still there after a layer scales what the next one reads: who leaves where can differ from what was scored.
    """
    whole = parts.about.facts["whole"]
    load: Any = find_home(whole["offered_by"], whole["method"])
    runner: Runner = load(parts, layered, _quantise_layers)
    return runner


def _session(folder: Path, _: OpenEncoder) -> Callable[[Batch], Tensor]:
    from common.models.onnx_session import OnnxModel

    return OnnxModel.load(folder)


def _pruned(folder: Path, _: OpenEncoder) -> Callable[[Batch], Tensor]:
    from common.models.pruned import load_pruned

    return load_pruned(folder)


def _bag_of_words(parts: Parts) -> Runner:
    # Only who reads a bag of words waits for scikit-learn.
    from common.compare.bag_of_words import bag_at_home

    return bag_at_home(parts)


class _Homes(dict[str, Load]):
    """These, and any method of exits over int8 layers: whose exits they are stands in the folder."""

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or str(name).endswith(named(""))

    def __missing__(self, name: str) -> Load:
        return _exits_over_int8


HOMES: Mapping[str, Load] = _Homes(
    {
        BASELINE: whole(EncoderClassifier.load),
        LADDER: whole(EncoderClassifier.load),
        INT8: whole(_quantised),
        ONNX: whole(_session),
        ONNX_INT8: whole(_session),
        PRUNED: whole(_pruned),
        TFIDF: _bag_of_words,
    }
)
