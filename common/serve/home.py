"""How a method comes home: what it leaves in a folder, and who makes it run again from there.

A contender leaves its files and a few facts (`Contender.save_parts`). Beside its module stands a module `home` with
`HOMES`: for the name of each method the function that makes of those files and facts what answers texts. `home` imports
nothing that trains, so that a model at home answers at once. Whoever saves and whoever loads go by the package that
offers the method and by its name: a new paper brings its own `home.py`, and nothing else has to be edited.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from common.early_exit.runtime import Outcome
from common.errors import UserError
from common.serve.about import MODEL, TOKENIZER, About
from common.tasks.task import Example


@dataclass(frozen=True)
class Parts:
    """What a method finds of itself in a folder."""

    root: Path
    about: About

    @property
    def folder(self) -> Path:
        """Its files."""
        return self.root / MODEL

    @property
    def tokenizer(self) -> Path:
        """The folder of the tokenizer."""
        return self.root / TOKENIZER

    @property
    def outputs(self) -> int:
        """C: classes, or 1 for a regression."""
        return max(1, len(self.about.labels))


class Runner(Protocol):
    """A system at work."""

    def __call__(self, examples: Sequence[Example], /) -> Outcome:
        """(N, C) logits of N texts, in their order, and the layers of the backbone that each took; labels are 0."""


Load = Callable[[Parts], Runner]
"""Makes a system run again."""

_OFFERS = re.compile(r"(common|replications)(\.\w+)+")


def package_of(contender: object) -> str:
    """The package whose `home` reads what this contender leaves."""
    return type(contender).__module__.rpartition(".")[0]


def find_home(package: str, method: str) -> Load:
    """Who makes `method` run again, by the package that offers it.

    Raises:
        UserError: nobody; the message says where it would stand.
    """
    if not _OFFERS.fullmatch(package):
        raise UserError(f"expected a package of this project that offers {method}, found {package!r}")
    try:
        homes: Mapping[str, Load] = importlib.import_module(f"{package}.home").HOMES
    except ModuleNotFoundError as error:
        if error.name not in (package, f"{package}.home"):
            raise
        raise _homeless(package, method) from error
    if method not in homes:
        raise _homeless(package, method)
    return homes[method]


def _homeless(package: str, method: str) -> UserError:
    return UserError(
        f"{method} cannot be taken home: expected HOMES with {method!r} in {package.replace('.', '/')}/home.py "
        "(common/serve/home.py says what goes there)"
    )
