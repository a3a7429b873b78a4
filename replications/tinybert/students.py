"""Which students the tables compare: where each starts, what it imitates, and from what it learns the task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from replications.tinybert.method import Objective
from replications.tinybert.names import (
    BERT_TINY,
    BERT_TINY_TD,
    BOTTOM,
    TINYBERT,
    TINYBERT_GD,
    TOP,
    WITHOUT_ATTN,
    WITHOUT_DA,
    WITHOUT_EMBD,
    WITHOUT_GD,
    WITHOUT_HIDN,
    WITHOUT_PRED,
    WITHOUT_TD,
    WITHOUT_TRM,
)

GENERAL, DIRECT, NOTHING = "general distillation", "masked words", "nothing"
"""What a student's weights come from before the task."""


WHOLE = Objective()
"""All of L, by the uniform mapping."""


@dataclass(frozen=True)
class Variant:
    """How a student is made.

    Attributes:
        start: `GENERAL`, `DIRECT` or `NOTHING`.
        objective: what it imitates, in general distillation and in the first step of task distillation.
        distilled: on the task; else it is fine-tuned on labels.
        from_labels: in the second step it learns from the labels of the original training set ("w/o Pred").
        augmented: it sees the augmented texts.
    """

    start: str = GENERAL
    objective: Objective = WHOLE
    distilled: bool = True
    from_labels: bool = False
    augmented: bool = True

    @property
    def first_step(self) -> Variant:
        """What the first step of task distillation depends on."""
        return replace(self, from_labels=False)


VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {
        TINYBERT: Variant(),
        # Table 2.
        WITHOUT_GD: Variant(start=NOTHING),
        WITHOUT_TD: Variant(distilled=False),
        WITHOUT_DA: Variant(augmented=False),
        # Table 3: what is left out is left out of both stages.
        WITHOUT_EMBD: Variant(objective=Objective(embedding=False)),
        WITHOUT_PRED: Variant(from_labels=True),
        WITHOUT_TRM: Variant(objective=Objective(attention=False, hidden=False)),
        WITHOUT_ATTN: Variant(objective=Objective(attention=False)),
        WITHOUT_HIDN: Variant(objective=Objective(hidden=False)),
        # Table 4.
        TOP: Variant(objective=Objective(mapping=TOP)),
        BOTTOM: Variant(objective=Objective(mapping=BOTTOM)),
        # Table 7.
        BERT_TINY: Variant(start=DIRECT, distilled=False, augmented=False),
        BERT_TINY_TD: Variant(start=DIRECT, augmented=False),
        TINYBERT_GD: Variant(distilled=False, augmented=False),
    }
)
"""By the name in the tables; all are the narrow student."""

OBJECTIVES: Mapping[str, Objective] = MappingProxyType(
    {name: v.objective for name, v in VARIANTS.items() if v.start == GENERAL and v.objective != WHOLE}
)
"""The ablations that need a general student of their own."""
