"""The generated tables as HTML, from their Markdown twins."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from common.errors import UserError

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

    from common.paper import Paper

COMMENT = re.compile(r"\A<!--.*?-->\s*", re.DOTALL)
"""What begins a generated file: where it comes from."""

CAPTION = re.compile(r"\*\*(?P<label>.+?)\.\*\*")
APPENDIX = "-appendix"


@dataclass(frozen=True)
class TablePage:
    """A table as the page shows it."""

    id: str
    label: str
    is_appendix: bool
    html: Markup


def table_pages(paper: Paper, folder: Path) -> list[TablePage]:
    """The tables of a paper in its own order, each before its appendix; what else lies in the folder comes last.

    Raises:
        UserError: a table cannot be read.
    """
    order = [name for table in paper.tables for name in (table.id, f"{table.id}{APPENDIX}")]
    paths = {path.stem: path for path in sorted(folder.glob("*.md"))}
    named = [*(name for name in order if name in paths), *(name for name in paths if name not in order)]
    return [table_page(paths[name]) for name in named]


def table_page(path: Path) -> TablePage:
    """One table.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        text = COMMENT.sub("", path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}. Type make tables to write it anew") from error
    caption = CAPTION.match(text)
    label = _plain(caption["label"]) if caption else path.stem
    return TablePage(path.stem, label, path.stem.endswith(APPENDIX), to_html(text, label))


def to_html(text: str, label: str) -> Markup:
    """Markdown as HTML, without any HTML of its own; each table in a box that scrolls, which `label` names."""
    box = Markup('<div class="scroll" role="region" tabindex="0" aria-label="{}"><table>').format(label)
    html = _markdown().render(text)
    # The text's own HTML is escaped, so each of these tags is one that the renderer wrote.
    return Markup(html.replace("<table>", box).replace("</table>", "</table></div>"))


@cache
def _markdown() -> MarkdownIt:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False}).enable("table")


def _plain(text: str) -> str:
    """Text without Markdown's escapes."""
    return re.sub(r"\\(.)", r"\1", text).replace("&lt;", "<")
