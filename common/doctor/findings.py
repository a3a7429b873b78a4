"""What a check finds, and the page that lists it: one line a finding, with what to do.

A finding is of one of three kinds.

`broken`: a number is wrong, or cannot be had; the command's exit code is 1. These are: a Python outside the supported
range; a library that is missing; results or models that cannot be written; data or weights that cannot be read; weights
or products that are not float32 where something is timed; a backbone whose output changes with padding; answers that
are those of permuted labels; a printed score that is not that of the stored answers, and whatever else
`common.records.invariants` calls a defect.

`doubtful`: a number may be off, or will not compare with the recorded ones.

`unknown`: the check could not tell, and says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from common.errors import UserError

Kind = Literal["broken", "doubtful", "unknown"]


@dataclass(frozen=True)
class Finding:
    """Why a number may be off: `what` was found, and what to `do` about it, a sentence each."""

    kind: Kind
    what: str
    do: str = ""


Check = Callable[[], Iterable[Finding]]
"""Looks at one thing; what it finds is empty where nothing is amiss."""


@dataclass(frozen=True)
class Examined:
    """What several checks said of one thing.

    Attributes:
        subject: what was looked at.
        found: findings with the names of the checks, in order.
        silent: names of the checks that found nothing.
    """

    subject: str
    found: tuple[tuple[str, Finding], ...]
    silent: tuple[str, ...]

    @property
    def is_broken(self) -> bool:
        """Whether a finding says so."""
        return any(finding.kind == "broken" for _, finding in self.found)

    def lines(self) -> list[str]:
        """The subject, a line for each finding, and one that names what was found in order."""
        found = [f"  {one.kind:<8}  {name}: {' '.join(filter(None, (one.what, one.do)))}" for name, one in self.found]
        silent = [f"  in order  {', '.join(self.silent)}"] if self.silent else []
        return [f"{self.subject}:", *found, *silent]


def examine(subject: str, checks: Mapping[str, Check]) -> Examined:
    """Make the checks one by one; what a check cannot read is broken, and the others go on."""
    found: list[tuple[str, Finding]] = []
    silent: list[str] = []
    for name, check in checks.items():
        try:
            own = list(check())
        except UserError as error:
            own = [Finding("broken", str(error))]
        found += [(name, one) for one in own]
        if not own:
            silent.append(name)
    return Examined(subject, tuple(found), tuple(silent))


def counted(examined: Iterable[Examined]) -> str:
    """The last line: how many findings of each kind."""
    kinds = [finding.kind for one in examined for _, finding in one.found]
    if not kinds:
        return "nothing found"
    words: tuple[Kind, ...] = ("broken", "doubtful", "unknown")
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in words if kind in kinds)
