"""The one exception that a user may see, and the hint that goes with a mistyped name."""

import difflib
import importlib.util
import sys
from collections.abc import Iterable


class UserError(Exception):
    """Something the user can mend: the message says what was expected and what to type.

    The command line prints the message alone (no traceback) and exits with code 2.
    """


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` when a known word is close to `word`, else an empty string."""
    close = difflib.get_close_matches(word.lower(), list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def exit_without(library: str, module: str) -> None:
    """End a module's own command with one message where a library is missing: it was given to another Python.

    Args:
        library: what it needs first of all.
        module: what was run with `python -m`.
    """
    if importlib.util.find_spec(library) is None:
        print(
            f"{library} is not installed for {sys.executable}: the project has a Python of its own. In its folder type "
            f".venv/bin/python -m {module} (make list makes .venv)",
            file=sys.stderr,
        )
        raise SystemExit(2)
