"""The baseline and the static ladder: one recipe per scale, shared by every paper.

The baseline is the whole backbone, fine-tuned plainly; the static ladder is its first k layers, fine-tuned alike. What
a paper's method is compared with is thus what every other's is, to the last bit. The recipes were tuned once, on
held-back data of several tasks. A paper that needs another recipe says so and shows the common baseline beside its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from common.encoders.pooling import FIRST_TOKEN, MEAN
from common.training.loop import TrainingPlan


@dataclass(frozen=True)
class Recipe:
    """How a backbone is fine-tuned plainly.

    Attributes:
        backbone: the pretrained encoder, by the name that `load_encoder` knows.
        whole: the plan for all layers: the baseline.
        shallow: the plan for the first k layers: fewer layers learn with a higher rate and more epochs.
        pooling: what of the last layer the classifier reads, one of `POOLINGS`; exits read the same.
        ladder: shares of the depth at which the static ladder stands.
        epochs: of a task, where they are not the plan's; the shallow plan's are scaled alike.
    """

    backbone: str
    whole: TrainingPlan
    shallow: TrainingPlan
    pooling: str = FIRST_TOKEN
    ladder: tuple[float, ...] = (1 / 6, 1 / 3, 1 / 2, 2 / 3)
    epochs: Mapping[str, int] = field(default_factory=dict)

    def plan(self, task: str, seed: int) -> TrainingPlan:
        """The baseline's plan for one task and seed."""
        return replace(self.whole, seed=seed, epochs=self.epochs.get(task, self.whole.epochs))

    def shallow_plan(self, task: str, seed: int) -> TrainingPlan:
        """The static ladder's plan for one task and seed."""
        epochs = self.shallow.epochs * self.epochs.get(task, self.whole.epochs) // self.whole.epochs
        return replace(self.shallow, seed=seed, epochs=epochs)

    def depths(self, layers: int) -> tuple[int, ...]:
        """The ladder's depths k on a backbone of `layers` layers, ascending, without the whole."""
        return tuple(sorted({max(1, round(share * layers)) for share in self.ladder} - {layers}))


SMOKE_ENCODER = "random:tiny"
SMOKE_PLAN = TrainingPlan(learning_rate=2e-3, epochs=6, batch_size=32, seed=0, warmup=0.1, precision="float32")
"""With it an untrained encoder learns `mood` and `reply`."""

RECIPES: Mapping[str, Recipe] = {
    "smoke": Recipe(SMOKE_ENCODER, whole=SMOKE_PLAN, shallow=SMOKE_PLAN),
    "mini": Recipe(
        "minilm",
        whole=TrainingPlan(learning_rate=1e-4, epochs=2, batch_size=16, seed=0, warmup=0.1),
        shallow=TrainingPlan(learning_rate=2e-4, epochs=3, batch_size=16, seed=0, warmup=0.1),
        pooling=MEAN,
        epochs={"cola": 4},
    ),
    "base": Recipe(
        "mpnet",
        whole=TrainingPlan(learning_rate=3e-5, epochs=3, batch_size=32, seed=0, warmup=0.1),
        shallow=TrainingPlan(learning_rate=5e-5, epochs=3, batch_size=32, seed=0, warmup=0.1),
        pooling=MEAN,
        epochs={"mrpc": 6, "rte": 6, "cola": 6},
    ),
    "paper": Recipe(
        "google-bert/bert-base-uncased",
        whole=TrainingPlan(learning_rate=2e-5, epochs=3, batch_size=32, seed=0, warmup=0.1),
        shallow=TrainingPlan(learning_rate=5e-5, epochs=3, batch_size=32, seed=0, warmup=0.1),
    ),
}
"""By scale."""
