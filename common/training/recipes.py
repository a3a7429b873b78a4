"""Encoders and plans that papers share, so that what one paper's method is compared with is what another's is."""

from __future__ import annotations

from common.training.loop import TrainingPlan

SMOKE_ENCODER = "random:tiny"
SMOKE_PLAN = TrainingPlan(learning_rate=2e-3, epochs=6, batch_size=32, seed=0, warmup=0.1, precision="float32")
"""Of every paper's classifiers at the smoke scale: with it an untrained encoder learns `mood` and `reply`."""
