"""The command `new`: the folder of a paper and that of its tests, filled from the templates beside this file.

What is laid down is a small true method (everyone leaves after so many layers) with a TODO wherever its author writes:
it trains, is timed, has tables and passes every test that papers must pass. No number of any paper is in it.
"""

from __future__ import annotations

import keyword
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from string import Template

from common.errors import UserError
from common.paper import Paper, load_paper
from common.records.measurements import write_text
from common.reporting.blocks import update_block
from common.reporting.looks import COLOURS, MARKERS, RESERVED, ROLE_OF_NAME
from common.reporting.overview import PaperRuns
from common.reporting.paper_page import facts_markdown
from common.run.replication import ROOT, find_replications

TEMPLATES = Path(__file__).parent / "template"
SUFFIX = ".tmpl"

LONGEST = 30
"""Letters of a name: lines of code hold it."""

COMMANDS = ("all", "compare", "best", "baselines", "benchmarks", "ledger", "site")
"""Names that mean something else after PAPER=, or in results/ and tables/."""


@dataclass(frozen=True)
class NewPaper:
    """What is filled into the templates.

    Attributes:
        name: as it was typed, for prose, tables and figures.
        slug: of its folders, e.g. `fast_tagger`.
        look: a colour and a marker that no other system of the project has.
    """

    name: str
    slug: str
    look: str

    @property
    def fields(self) -> dict[str, str]:
        """By the name that the templates use."""
        parts = re.split(r"[-_\s]+", self.name)
        return {
            "name": self.name,
            "slug": self.slug,
            "look": self.look,
            "class_name": "".join(part[:1].upper() + part[1:] for part in parts) + "Method",
            "kind": self.slug.replace("_", "-"),
            "claim": self.slug.replace("_", "-"),
        }


def lay_down(name: str, root: Path = ROOT) -> NewPaper:
    """Make `replications/<slug>/` and `tests/replications/<slug>/`, both or neither.

    Raises:
        UserError: the name is none, or taken, or a folder cannot be written.
    """
    slug = slug_of(name, root)
    papers = [replication.paper for replication in find_replications(root / "replications")]
    papers.append(load_paper(root / "common" / "compare" / "comparison.yaml"))
    new = NewPaper(" ".join(name.split()), slug, free_look(papers))
    _refuse_a_taken_name(new, papers)
    build = root / "build"
    try:
        build.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=build, prefix="new-") as temporary:
            paper, tests = _filled(new, Path(temporary))
            beside = Path(shutil.move(tests, root / "tests" / "replications" / slug))
            try:
                shutil.move(paper, root / "replications" / slug)
            except OSError:
                shutil.rmtree(beside)
                raise
    except OSError as error:
        raise UserError(f"cannot write {error.filename}: {error.strerror}. Make the folder writable") from error
    return new


def slug_of(name: str, root: Path = ROOT) -> str:
    """The folder's name: lower case, `_` for spaces and hyphens.

    Raises:
        UserError: it is no Python identifier of ASCII letters, is too long, or a folder or file of this name is there.
    """
    if not name.strip():
        raise UserError("what is the paper called? Type make new PAPER=FastTagger")
    slug = re.sub(r"[-\s]+", "_", name.strip()).lower()
    if not re.fullmatch(r"[a-z][a-z0-9_]*", slug) or keyword.iskeyword(slug) or len(slug) > LONGEST:
        raise UserError(
            f"a paper's name becomes a Python package: expected a letter, then at most {LONGEST - 1} letters, digits, "
            f"- or _, and no word of Python's own; got {name[:60]!r}. Type make new PAPER=FastTagger"
        )
    taken = {_plain(replication.slug): replication.slug for replication in find_replications(root / "replications")}
    if _plain(slug) in taken:
        found = taken[_plain(slug)]
        raise UserError(f"there is a paper {found} already: see replications/{found}. Choose another name")
    if slug in COMMANDS:
        raise UserError(f"{slug} means something else here, and can be no paper. Choose another name")
    folders = [
        root / "replications" / slug,
        *(root / part / slug for part in ("tests/replications", "results", "tables")),
    ]
    there = [*(path for path in folders if path.exists()), *(root / "tests").rglob(f"test_{slug}_*.py")]
    if there:
        raise UserError(
            f"{there[0].relative_to(root)} is there already. Remove it, or choose another name: "
            "make new PAPER=FastTagger"
        )
    return slug


def _refuse_a_taken_name(new: NewPaper, papers: Iterable[Paper]) -> None:
    """What a system is called in the records must be one system's alone."""
    systems = {name for paper in papers for name in paper.systems} | set(ROLE_OF_NAME)
    same = [system for system in systems if _plain(system) == _plain(new.name)]
    if same:
        raise UserError(f"{same[0]!r} is a system of this project already. Choose another name")


def free_look(papers: Sequence[Paper]) -> str:
    """A colour and a marker that no system has, of a colour that no paper's own method has, as far as there is one.

    The comparison draws a method over int8 layers in the method's colour, with a plus.
    """
    taken = [look for paper in papers for look in paper.systems.values()]
    own = {paper.systems[paper.name].partition("-")[0] for paper in papers if paper.name in paper.systems}
    used = Counter(look.partition("-")[0] for look in dict.fromkeys(taken))
    colours = sorted(COLOURS.keys() - RESERVED, key=lambda c: (c in own or f"{c}-plus" in taken, used[c], c))
    return next(look for c, m in product(colours, MARKERS) if (look := f"{c}-{m}") not in taken)


def _filled(new: NewPaper, folder: Path) -> tuple[Path, Path]:
    """The folders of the paper and of its tests, below `folder`."""
    paper, tests = folder / new.slug, folder / "tests"
    for template in sorted((TEMPLATES / "paper").glob(f"*{SUFFIX}")):
        write_text(paper / template.name.removesuffix(SUFFIX), _fill(template, new))
    for template in sorted((TEMPLATES / "tests").glob(f"*{SUFFIX}")):
        write_text(tests / f"test_{new.slug}_{template.name.removesuffix(SUFFIX)}", _fill(template, new))
    update_block(paper / "README.md", "facts", facts_markdown(PaperRuns(load_paper(paper / "paper.yaml"), ())))
    return paper, tests


def _fill(template: Path, new: NewPaper) -> str:
    return Template(template.read_text(encoding="utf-8")).substitute(new.fields)


def _plain(name: str) -> str:
    return re.sub(r"[-_\s]", "", name.lower())


def welcome(new: NewPaper) -> str:
    """What is there now, and what to type next."""
    return f"""\
replications/{new.slug}/ and tests/replications/{new.slug}/ are laid down and run as they are:
  make reproduce PAPER={new.slug} SCALE=smoke
  .venv/bin/python -m pytest tests/replications -k {new.slug}
What is yours to write is marked: grep -rn TODO replications/{new.slug} tests/replications/{new.slug}
How: CONTRIBUTING.md. When its numbers stand: make regress-update PAPER={new.slug}, then make tables"""
