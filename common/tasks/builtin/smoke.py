"""Generated tasks of the smoke scale, `mood` and `reply`: an encoder without pretraining learns them in seconds.

`mood` asks whether a remark is a happy one, `reply` whether the second speaker agrees. The label follows from a few
telling words that train and dev share; who speaks of what is new in dev. Levels: 1 one telling word, 2 two against
one, 3 three against two, 4 one against one, where the label is a coin: nobody can be right there, or should be sure.
"""

from __future__ import annotations

from common.tasks.builtin.generation import Draw, Texts
from common.tasks.builtin.lexicon import sentence

SAD = ("sad", "angry", "bitter", "afraid", "tired")
HAPPY = ("glad", "happy", "merry", "proud", "calm")
DENYING = ("no", "wrong", "false", "hardly", "nonsense")
AGREEING = ("yes", "indeed", "certainly", "true", "right")

TELLING = ((1, 0), (2, 1), (3, 2), (1, 1))
"""By level: how many words tell the label, and how many the other one."""


def mood(draw: Draw, level: int, label: int) -> Texts:
    """Return a remark: 0 sad, 1 happy."""
    return sentence(f"{_topic(draw)}: {_told(draw, level, label, (SAD, HAPPY))}"), None


def reply(draw: Draw, level: int, label: int) -> Texts:
    """Return a remark and the reply to it: 0 denies, 1 agrees."""
    return sentence(f"{_topic(draw)}"), sentence(_told(draw, level, label, (DENYING, AGREEING)))


def _topic(draw: Draw) -> str:
    return f"{draw.one(draw.lexicon.names)} on the {draw.one(draw.lexicon.subjects)}"


def _told(draw: Draw, level: int, label: int, words: tuple[tuple[str, ...], tuple[str, ...]]) -> str:
    telling, contrary = TELLING[level - 1]
    told = [*draw.rng.sample(words[label], telling), *draw.rng.sample(words[1 - label], contrary)]
    draw.rng.shuffle(told)
    return ", ".join(told)
