"""A headline claim, in a form that a measurement can decide."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from common.paper.facts import Facts, Provenance
from common.records.facts import Premise
from common.records.measurements import Quantifier

Subject = Literal["efficiency", "quality"]
Op = Literal[">=", ">", "<=", "<", "==", "note"]


class Claim(Facts):
    """A headline claim in a form that a measurement can decide: `metric op value`, over the cells as `over` says.

    Attributes:
        type: `by-construction` follows from the rule or a closed form; `empirical` is judged on three questions.
        subject: what it is about.
        metric: the quantity, in words; op, value, unit: what was printed of it.
        no_effect: the quantity's value where the method does nothing (0 for a gain, 1 for a ratio); null where the
            claim is a bound, whose direction is the bound itself.
        over: the quantifier over cells: `one` cell, `all`, `any`, or the `mean`.
        premise: what it presupposes, checked against the run.
        scope: where the paper shows it.
        not_run: why no run here can decide it, where none can.

    `op` is `note` (and `value` null) where only a reader can judge.
    """

    id: str = Field(pattern=r"^[a-z0-9-]+$")
    statement: str
    type: Literal["by-construction", "empirical"]
    subject: Subject
    metric: str
    op: Op
    value: float | None
    no_effect: float | None = None
    over: Quantifier = "one"
    unit: str = ""
    premise: Premise = Premise()
    scope: str
    not_run: str = ""
    provenance: Provenance

    @model_validator(mode="after")
    def _is_decidable(self) -> Claim:
        if (self.op == "note") != (self.value is None):
            raise ValueError("a claim needs a value, unless its op is 'note': then the value is null")
        if self.op == "==" and self.type != "by-construction":
            raise ValueError("an empirical effect is never equal to a number: op == is for what holds by construction")
        return self
