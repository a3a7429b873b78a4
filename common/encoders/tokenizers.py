"""Whether two encoders read the same words."""

from __future__ import annotations

from typing import Any

from common.errors import UserError

_PROBE = "It's 3.5 o'clock, said Zoë: unbelievable?"


def require_same_words(first: Any, second: Any, roles: tuple[str, str]) -> None:  # noqa: ANN401
    """Refuse two tokenizers that do not cut texts into the same ids.

    Models that read one encoded text would read different words, and so would a student that learns from a teacher's
    logits over words.

    Args:
        first: a tokenizer.
        second: another one.
        roles: what their models are to each other, for the message, e.g. `student` and `teacher`.

    Raises:
        UserError: the vocabularies differ, or one text is cut in two ways (one lower-cases, the other does not).
    """
    if first.get_vocab() != second.get_vocab() or first(_PROBE)["input_ids"] != second(_PROBE)["input_ids"]:
        one, other = roles
        raise UserError(
            f"the {one} reads {len(first)} words and the {other} {len(second)}, and they cut texts differently: "
            f"{one} and {other} need the same tokenizer"
        )
