"""How much of everything: smoke for CI, mini (the default) for a laptop, base and paper for a GPU.

`base` has an encoder of BERT-base's depth and width, real weights, and whole small tasks: the records that verdicts on
quality rest on. Two cores with bfloat16 instructions can do it, too. `paper` has the paper's own encoder and setting.
"""

from __future__ import annotations

from dataclasses import dataclass

from common.errors import UserError, did_you_mean


@dataclass(frozen=True)
class Scale:
    """The size of a run. Hyper-parameters that belong to a method live with the paper, per scale.

    Attributes:
        name: `smoke`, `mini`, `base` or `paper`.
        train_examples: at most so many training examples per task (None: all).
        tune_examples: how many train examples are held back for choosing thresholds.
        dev_examples: at most so many dev examples (None: all).
        timing_examples: dev examples that each timed arm runs at batch 1.
        timing_rounds: how often each of them is timed.
        shapes: whether the paper's own architectures are measured too, with random weights.
        quality_verdicts: whether trained quality means anything at this scale.
        spares: whether costly tasks and models are left out, or left to the first seed.
        float32: whether training keeps to float32 everywhere, so that metrics agree between machines.
    """

    name: str
    train_examples: int | None
    tune_examples: int
    dev_examples: int | None
    timing_examples: int
    timing_rounds: int
    shapes: bool
    quality_verdicts: bool
    spares: bool
    float32: bool = False


SCALES = {
    scale.name: scale
    for scale in (
        Scale("smoke", 512, 128, 256, 8, 2, shapes=False, quality_verdicts=False, spares=True, float32=True),
        Scale("mini", 2500, 800, 1000, 64, 2, shapes=True, quality_verdicts=True, spares=True),
        Scale("base", 10_000, 1000, None, 32, 2, shapes=False, quality_verdicts=True, spares=False),
        Scale("paper", None, 2000, None, 500, 3, shapes=True, quality_verdicts=True, spares=False),
    )
}


def find_scale(name: str) -> Scale:
    """The scale called `name`.

    Raises:
        UserError: there is none; the message suggests one.
    """
    if name in SCALES:
        return SCALES[name]
    raise UserError(
        f"unknown scale {name!r}{did_you_mean(name, SCALES) or '.'} Scales: {', '.join(SCALES)}. Type SCALE=mini"
    )
