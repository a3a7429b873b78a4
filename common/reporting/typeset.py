"""From a LaTeX source to a PDF, with whichever TeX engine this machine has."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError

PDF = "fast-bert-replicated.pdf"

INSTALL = (
    "Install one: apt-get install texlive-latex-recommended (Debian, Ubuntu), brew install tectonic (macOS), or see "
    "https://tectonic-typesetting.github.io"
)


@dataclass(frozen=True)
class Engine:
    """A program that typesets; `passes` times, until references to pages stand still."""

    program: str
    options: tuple[str, ...]
    passes: int = 1


STRICT = ("-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape")

ENGINES = (
    Engine("tectonic", ("--untrusted", "--keep-logs", "--chatter", "minimal")),
    Engine("latexmk", ("-norc", "-pdf", "-interaction=nonstopmode", "-halt-on-error")),
    Engine("pdflatex", STRICT, passes=3),
)
"""In the order in which they are looked for."""


def find_engine() -> Engine:
    """The first engine that is installed.

    Raises:
        UserError: none is; the message says what to install.
    """
    for engine in ENGINES:
        if shutil.which(engine.program):
            return engine
    names = ", ".join(engine.program for engine in ENGINES)
    raise UserError(f"no TeX engine here: looked for {names}. {INSTALL}")


def typeset(source: Path) -> Path:
    """Typeset a source beside itself and put the PDF, once it is whole, into the folder above.

    Raises:
        UserError: there is no engine, or it fails; the message holds its first complaint and names its log.
    """
    try:
        engine = find_engine()
    except UserError as error:
        raise UserError(f"{error}. The source is written: {source}") from error
    for _ in range(engine.passes):
        command = [engine.program, *engine.options, source.name]
        done = subprocess.run(command, cwd=source.parent, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode != 0:
            raise UserError(
                f"{engine.program} cannot typeset {source}: {complaint(done.stdout + done.stderr)}. What it says in "
                f"full: {source.with_suffix('.log')}"
            )
    target = source.parents[1] / PDF
    source.with_suffix(".pdf").replace(target)
    return target


def complaint(output: str) -> str:
    """The first line of an engine's output that says what is wrong."""
    found = re.search(r"^(?:! *|error: *)(.+)$", output, re.MULTILINE)
    return found[1].strip().rstrip(".") if found else "it does not say why"
