"""The least that a method can take which runs the backbone's first layers on every text; the ladder rung by rung."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from torch import Tensor

from common.compare.rivals import Ladder
from common.early_exit.clock import Arm
from common.methods import Answer, Contender, Setting
from common.run.replication import Step
from common.task_run import TaskRun
from common.training.batches import Batch


class BareLayers(Ladder):
    """The backbone's first layers without a head: as fast as who runs them can be. Time does not depend on weights."""

    name = "bare layers"

    def arm(self, setting: Setting) -> Arm:
        """(B, L, H) states after so many layers."""
        encoder = copy.deepcopy(self.task_run.backbone.encoder).to(self.task_run.timing_device).eval()

        def first_layers(batch: Batch) -> Tensor:
            hidden, mask = encoder.embed(batch.input_ids, batch.attention_mask, batch.token_type_ids)
            for layer in range(1, int(setting.at) + 1):
                hidden = encoder.layer(layer, hidden, mask)
            return hidden

        return first_layers


def floor_name(layers: int) -> str:
    """Its name on the clock."""
    return f"{BareLayers.name} {layers}"


def floor_answer(task_run: TaskRun, layers: int) -> Answer:
    """From texts on, tokenisation included, as every contender on the backbone; what comes out is no answer."""
    return BareLayers(task_run).answer(Setting(floor_name(layers), layers))


class Rung(Ladder):
    """One depth of the static ladder, so that a deeper one need not be trained where two shallower ones do."""

    def __init__(self, whole: Ladder, setting: Setting) -> None:
        super().__init__(whole.task_run)
        self.whole, self.setting, self.least_layers = whole, setting, int(setting.at)

    @property
    def settings(self) -> Sequence[Setting]:
        """The one depth."""
        return [self.setting]

    def training_steps(self) -> Sequence[Step]:
        """One classifier."""
        return self.task_run.static_steps([self.least_layers])[1:]


def by_rungs(contender: Contender) -> list[Contender]:
    """The static ladder's rungs as contenders of their own; any other as it is."""
    if type(contender) is not Ladder:
        return [contender]
    return [Rung(contender, setting) for setting in contender.settings]


def at_home(contender: Contender) -> Contender:
    """Whom a setting is saved from: of a rung the ladder."""
    return contender.whole if isinstance(contender, Rung) else contender


def seconds_to_make(contender: Contender) -> float:
    """Estimated seconds of all that has to be made before it can answer, the baseline not counted."""
    return sum(step.seconds for step in contender.training_steps())
