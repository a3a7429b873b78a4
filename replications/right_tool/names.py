"""What systems and settings are called, wherever a number of theirs is kept."""

from __future__ import annotations

RIGHT_TOOL = "RightTool"
RELEASED_MIX = "RightTool, mix as released"
NOT_CALIBRATED = "RightTool, not calibrated"

LOSSLESS = "no loss"
"""The fastest threshold that loses nothing on held-back examples: against the baseline, or against RightTool's own last
classifier where that one falls short by itself."""

OPERATING_POINTS = (LOSSLESS, "1 point", "3 points")
"""By what they may lose there."""
