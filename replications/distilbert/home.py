"""DistilBERT at home: what reads the folder of a trained system (`common.serve.home`)."""

from __future__ import annotations

from common.serve.tokens import whole
from replications.distilbert.method import StudentClassifier
from replications.distilbert.names import DISTILBERT

HOMES = {DISTILBERT: whole(StudentClassifier.load)}
