"""The figures of the records, small enough for a page that holds them all."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from common.paper import Paper
from common.records.runs import RunRecord

EFFORT = 80
"""Of the search for the fewest bytes: 100 takes eighty times as long for one byte in a hundred."""

SUFFIX = ".webp"
"""Lossless: the same picture in three quarters of a PNG's bytes."""


@dataclass(frozen=True)
class Picture:
    """A figure of a run.

    Attributes:
        name: its file within the page's folder.
        run, label, caption: what it shows.
        data: the file.
        width, height: in pixels.
    """

    name: str
    run: str
    label: str
    caption: str
    data: bytes
    width: int
    height: int


def pictures(paper: Paper, run: RunRecord) -> list[Picture]:
    """The run's figures in the paper's order; none where none was drawn.

    Raises:
        UserError: a file is no picture.
    """
    assert run.folder is not None, "a record that was read has a folder"
    found = []
    for figure in paper.figures:
        path = run.folder / "figures" / f"{figure.id}.png"
        if path.exists():
            data, (width, height) = shrunk(path)
            name = f"figures/{paper.slug}-{run.name}-{figure.id}{SUFFIX}"
            found.append(Picture(name, run.name, figure.label, figure.caption, data, width, height))
    return found


def shrunk(path: Path) -> tuple[bytes, tuple[int, int]]:
    """A picture without loss in fewer bytes, and its width and height in pixels.

    Raises:
        UserError: the file is no picture.
    """
    from PIL import Image

    stream = io.BytesIO()
    try:
        with Image.open(path) as image:
            image.convert("RGB").save(stream, format="webp", lossless=True, quality=EFFORT, method=4)
            return stream.getvalue(), image.size
    except OSError as error:
        raise UserError(f"{path}: no picture that can be read: {error}. Type make tables to draw it anew") from error
