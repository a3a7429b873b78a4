"""Bort at home: what reads the folder of a trained system (`common.serve.home`)."""

from __future__ import annotations

from common.models.classifier import EncoderClassifier
from common.serve.tokens import whole
from replications.bort.names import BORT

HOMES = {BORT: whole(EncoderClassifier.load)}
