"""Where the papers that are not on the common baselines yet find the smoke scale's."""

from __future__ import annotations

from common.baselines import SMOKE_ENCODER as SMOKE_ENCODER
from common.baselines import SMOKE_PLAN as SMOKE_PLAN
