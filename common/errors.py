"""The one exception that a user may see, and the hint that goes with a mistyped name."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something the user can mend: the message says what was expected and what to type.

    The command line prints the message alone (no traceback) and exits with code 2.
    """


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` when a known word is close to `word`, else an empty string."""
    close = difflib.get_close_matches(word.lower(), list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
