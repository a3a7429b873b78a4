"""How the encoder of a saved model is opened: with all that training asks of it, or for answering alone.

A model's `load` takes one of these. Neither is imported before it is asked for: transformers takes seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from common.encoders.layered import LayeredEncoder

OpenEncoder = Callable[[Path], "LayeredEncoder"]
"""The encoder in a folder that `LayeredEncoder.save` wrote, in evaluation mode on the CPU."""


def layered(folder: Path) -> LayeredEncoder:
    """The encoder of transformers."""
    from common.encoders.layered import LayeredEncoder

    return LayeredEncoder.load(folder)


def answering(folder: Path) -> LayeredEncoder:
    """What gives the same states and is ready at once; the encoder of transformers where there is no other."""
    from common.encoders.plain import PlainEncoder

    # It runs as a `LayeredEncoder` does, and is neither trained nor cut.
    return cast("LayeredEncoder", PlainEncoder.load(folder)) if PlainEncoder.knows(folder) else layered(folder)
