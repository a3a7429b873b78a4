"""The frame of every program of the project: what its `main` does around the work.

Whatever a user can mend ends in one message and exit code 2, an interruption in exit code 130; a reader who has seen
enough (`... | head`) is no error.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable

from common.errors import UserError

# Read by libraries when they are loaded, so set before anything is; what the user says counts.
BEFORE_TORCH = {
    # Threads that wait sleep. If they spin, whoever shares the cores waits for them: on two shared cores two processes
    # took two to three times as long for large matrix products and ten to a hundred times for small ones. It is not
    # free: to wake them takes about a tenth of a millisecond a product, which tells in small products alone.
    "OMP_WAIT_POLICY": "PASSIVE",
    # cuBLAS sums in a fixed order only with a workspace of its own.
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
}


def run_program(name: str, work: Callable[[], int | None], interrupted: str) -> int:
    """Do a program's work; returns the exit code, which is 0 where `work` gives none.

    Args:
        name: of the program, with which its messages begin.
        work: all of it, the reading of its arguments included.
        interrupted: what an interruption leaves, e.g. `what was trained is kept`.
    """
    for variable, value in BEFORE_TORCH.items():
        os.environ.setdefault(variable, value)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # A terminal without a character for it shows a question mark.
    try:
        code = work() or 0
        sys.stdout.flush()
        return code
    except UserError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\n{name}: interrupted; {interrupted}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The interpreter's own flush must not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"{name}: {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)
        return 2
