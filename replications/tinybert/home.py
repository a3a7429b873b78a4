"""TinyBERT at home: what reads the folder of a trained system (`common.serve.home`)."""

from __future__ import annotations

from common.serve.tokens import whole
from replications.tinybert.method import TinyClassifier
from replications.tinybert.names import TINYBERT

HOMES = {TINYBERT: whole(TinyClassifier.load)}
