"""DeeBERT at home: what reads the folder of a trained system (`common.serve.home`)."""

from __future__ import annotations

from common.early_exit.multi_exit import MultiExit
from common.early_exit.rules import EntropyBelow
from common.serve.tokens import leaving_early
from replications.deebert.names import DEEBERT

HOMES = {DEEBERT: leaving_early(MultiExit.load, EntropyBelow)}
