"""PABEE at home: what reads the folder of a trained system (`common.serve.home`)."""

from __future__ import annotations

from common.serve.tokens import leaving_early
from replications.pabee.method import PABEE, AgreeingClasses, AgreeingValues
from replications.pabee.names import PABEE as NAME

HOMES = {NAME: leaving_early(PABEE.load, AgreeingClasses, AgreeingValues)}
