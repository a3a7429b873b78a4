"""The fixture behind the tests of the command line and the run machinery."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_paper import EXPERIMENTS, FakePaper, install


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePaper:
    """The only paper that the command line knows, writing nowhere but into the temporary folder."""
    paper = FakePaper(tmp_path)
    paper.folder.mkdir(parents=True)
    (paper.folder / "__init__.py").touch()
    (paper.folder / "experiments.py").write_text(EXPERIMENTS)
    paper.edit_paper()
    paper.trouble()
    paper.measures()
    install(paper, monkeypatch)
    return paper
