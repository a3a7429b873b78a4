"""FastBERT at home: what reads the folder of a trained system (`common.serve.home`)."""

from __future__ import annotations

from pathlib import Path

from common.encoders.opening import OpenEncoder
from common.serve.tokens import leaving_early
from replications.fastbert.method import EveryLayerClassified, UncertaintyAtMost
from replications.fastbert.names import FASTBERT


def _model(folder: Path, open_encoder: OpenEncoder) -> EveryLayerClassified:
    """Teacher and students, which `EveryLayerClassified.save` puts into one folder."""
    return EveryLayerClassified.load(folder, folder, open_encoder)


HOMES = {FASTBERT: leaving_early(_model, UncertaintyAtMost)}
