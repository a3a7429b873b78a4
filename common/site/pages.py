"""The pages as HTML: templates filled with what the records hold."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from common.paper import Paper
from common.records.measurements import Verdict
from common.reporting.overview import PaperRuns
from common.reporting.scoreboard import STRONG, VERDICTS
from common.site.claims import Entry
from common.site.images import Picture
from common.site.tables import TablePage

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).parent
TEMPLATES = FOLDER / "templates"
INDEX = "index.html"


@dataclass(frozen=True)
class PaperPage:
    """All that a paper's page shows.

    Attributes:
        runs: the paper with its comparable runs.
        claims: by the verdict that counts for them.
        pictures, tables: of the runs, and of all of them together.
        folder: the paper's own, whose README is linked.
    """

    runs: PaperRuns
    claims: Mapping[Verdict, Sequence[Entry]]
    pictures: tuple[Picture, ...]
    tables: tuple[TablePage, ...]
    folder: Path

    @property
    def paper(self) -> Paper:
        """The facts."""
        return self.runs.paper

    @property
    def file(self) -> str:
        """Its name beside the front page."""
        return f"{self.paper.slug}.html"

    @property
    def counts(self) -> dict[Verdict, int]:
        """Claims by verdict, every word in its order."""
        return {verdict: len(self.claims.get(verdict, ())) for verdict in VERDICTS}


@dataclass(frozen=True)
class Front:
    """What the front page shows besides the papers.

    Attributes:
        data: the plot's, as JSON.
        comparison: the page of the committed comparison; None where there is none.
        winners: which method wins where, in words; empty without a comparison.
    """

    data: Markup
    comparison: PaperPage | None
    winners: Markup


def front_page(front: Front, pages: Sequence[PaperPage], out: Path, root: Path) -> str:
    """The front page; `out` is where it will lie, `root` the checkout that it links to."""
    total: Counter[Verdict] = Counter()
    for page in pages:
        total.update(page.counts)
    decided = sum(total.values()) - total["not run"]
    return (
        environment()
        .get_template(INDEX)
        .render(front=front, pages=pages, total=total, decided=decided, root=os.path.relpath(root, out))
    )


def paper_page(page: PaperPage, pages: Sequence[PaperPage], out: Path) -> str:
    """A paper's page; `pages` are all that there are, `out` is where it will lie."""
    return (
        environment()
        .get_template("paper.html")
        .render(page=page, pages=pages, folder=os.path.relpath(page.folder, out))
    )


def environment() -> Environment:
    """Templates in which everything is escaped and nothing may be missing."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.globals.update(verdicts=VERDICTS, strong=STRONG)
    made.filters.update(anchor=anchor, links=links)
    return made


def anchor(verdict: str) -> str:
    """The word as an id: `not-seen-here`."""
    return verdict.replace(" ", "-")


def links(paper: Paper) -> dict[str, str]:
    """Where the paper and its code can be found, by what is found there."""
    citation = paper.citation
    found: dict[str, Any] = {
        "arXiv": citation.arxiv and f"https://arxiv.org/abs/{citation.arxiv}",
        "ACL Anthology": citation.anthology and f"https://aclanthology.org/{citation.anthology}/",
        "DOI": citation.doi and f"https://doi.org/{citation.doi}",
        "the authors' code": citation.code and _address(citation.code.repo),
    }
    return {name: address for name, address in found.items() if address}


def _address(repository: str) -> str:
    return repository if repository.startswith("https://") else f"https://github.com/{repository}"
