"""CascadeBERT at home: what reads the folder of a trained system (`common.serve.home`)."""

from __future__ import annotations

from common.early_exit.rules import ConfidenceAbove
from common.serve.tokens import leaving_early
from replications.cascadebert.method import Cascade
from replications.cascadebert.names import CASCADE

HOMES = {CASCADE: leaving_early(Cascade.load, ConfidenceAbove)}
