"""RightTool at home: what reads the folder of a trained system (`common.serve.home`)."""

from __future__ import annotations

from common.serve.tokens import leaving_early
from replications.right_tool.method import ConfidenceAtLeast, RightTool
from replications.right_tool.names import RIGHT_TOOL

HOMES = {RIGHT_TOOL: leaving_early(RightTool.load, ConfidenceAtLeast)}
