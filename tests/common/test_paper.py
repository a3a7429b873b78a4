"""The schema of paper.yaml: what it accepts, and what it says about a mistake."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.errors import UserError
from common.paper import Paper, Published, PublishedAs, Quantity, TableMetric, load_paper

Load = Callable[[object], Paper]

ROOT = Path(__file__).parents[2]

PAPER: dict[str, Any] = {
    "slug": "a-paper",
    "name": "A Paper",
    "citation": {"title": "T", "authors": ["A. B."], "venue": "V", "year": 2020, "arxiv": "2004.12993"},
    "headline": "table1",
    "tables": [
        {
            "id": "table1",
            "label": "Table 1",
            "caption": "C",
            "provenance": "fulltext",
            "metrics": [{"metric": "score", "header": "score"}],
            "cells": [
                {"system": "S", "task": t, "metric": "score", "value": 90, "unit": "points"} for t in ("SST-2", "RTE")
            ],
        }
    ],
    "figures": [
        {
            "id": "figure1",
            "label": "Figure 1",
            "caption": "C",
            "x": {"metric": "at", "label": "layer"},
            "y": {"metric": "score", "label": "score"},
            "published": ["table1"],
        }
    ],
    "hyperparameters": [
        {"name": "lr", "value": 2.0e-5, "source": "Section 4", "provenance": "fulltext"},
        {"name": "epochs", "value": {"bert": 3, "lists": [1, 2]}, "source": "ours", "provenance": "ours"},
    ],
    "claims": [
        {
            "id": "c1", "statement": "S", "type": "empirical", "subject": "quality", "metric": "m", "op": ">=",
            "value": 0.5,
            "scope": "all", "provenance": "fulltext",
        }
    ],
    "deviations": [{"id": 1, "what": "w", "why": "y"}],
}  # fmt: skip


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def write_and_load(text: object) -> Paper:
        path = tmp_path / "a-paper" / "paper.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text if isinstance(text, str) else yaml.safe_dump(text, sort_keys=False))
        return load_paper(path)

    return write_and_load


def changed(*steps: Any, value: object = None, remove: bool = False) -> dict[str, Any]:
    """The sample paper with one field replaced or removed."""
    data = copy.deepcopy(PAPER)
    inner: Any = data
    for step in steps[:-1]:
        inner = inner[step]
    if remove:
        del inner[steps[-1]]
    else:
        inner[steps[-1]] = value
    return data


def test_a_sound_file_is_read_as_written(load: Load) -> None:
    paper = load(PAPER)
    assert paper.citation.authors == ("A. B.",)
    assert [cell.value for cell in paper.tables[0].cells] == [90.0, 90.0]
    assert paper.tables[0].source == "table1"
    assert paper.hyperparameters[1].value == {"bert": 3, "lists": (1, 2)}
    assert paper.figures[0].line_by == ("system",)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (changed("tables", 0, "cells", 1, "value", value="high"), r"tables\.0\.cells\.1\.value: .*number.*'high'"),
        (changed("tables", 0, "cells", 1, "value", value="90"), r"tables\.0\.cells\.1\.value: .*number"),
        (changed("citation", "arxiv", value=2004.12993), r"citation\.arxiv: .*string.*2004\.12993"),
        (changed("citation", "title", remove=True), r"citation\.title: Field required"),
        (changed("tabels", value=[]), r"tabels: unknown key 'tabels'; did you mean 'tables'\?"),
        (
            changed("tables", 0, "cells", 0, "systm", value="S"),
            r"tables\.0\.cells\.0\.systm: unknown key 'systm'; did you mean 'system'\?",
        ),
        (changed("figures", 0, "x", "qqqq", value=1), r"figures\.0\.x\.qqqq: unknown key .*known: label, log, metric"),
        (changed("claims", 0, "op", value="~"), r"claims\.0\.op: .*'>='"),
        (changed("claims", 0, "value", value=None), r"claims\.0: a claim needs a value"),
        (changed("claims", 0, "op", value="note"), r"claims\.0: a claim needs a value"),
        (changed("hyperparameters", 0, "value", value="2e-5"), r"hyperparameters\.0: '2e-5' is text in YAML"),
        (changed("tables", 0, "provenance", remove=True), r"tables\.0: published cells need a provenance"),
        (changed("tables", 0, "cells", 1, "task", value="SST-2"), r"two cells for S / SST-2 / score"),
        (
            changed("tables", 0, "same_rows", value=[{"system": "S", "setting": "x", "ours": "y"}]),
            r"tables\.0: same_rows: no published row 'S' with setting 'x'",
        ),
        (changed("tables", 0, "id", value="figure1"), r"'figure1' is used twice"),
        (changed("figures", 0, "published", value=["table9"]), r"figure1 draws published 'table9'"),
        (changed("headline", value="table9"), r"headline 'table9'"),
        (changed("slug", value="other"), r"slug: expected 'a-paper' \(the folder's name\), found 'other'"),
    ],
)
def test_a_mistake_is_named_with_its_file_and_field(load: Load, data: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=rf"a-paper/paper\.yaml: .*{message}") as caught:
        load(data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slug: [1", r"not valid YAML: .*line 1"),
        ("slug: a\nname: b\nslug: c\n", r"'slug' is given twice.*line 3"),
        ("- a\n", r"expected keys .* found list"),
        ("", r"expected keys .* found NoneType"),
    ],
)
def test_a_file_that_is_not_a_mapping_is_refused(load: Load, text: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(text)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read .*paper\.yaml"):
        load_paper(tmp_path / "paper.yaml")


def test_a_cell_is_shown_on_the_scale_of_its_quantity() -> None:
    saving = Quantity(metric="saving", scale=100, published_as=(PublishedAs(metric="change", factor=-1.0),))

    def cell(metric: str, value: float) -> Published:
        return Published(system="S", metric=metric, value=value, unit="fraction")

    assert saving.shown(cell("saving", 0.4)) == pytest.approx(40)
    assert saving.shown(cell("change", -0.4)) == pytest.approx(40)
    assert saving.shown(cell("score", 0.4)) is None
    assert str(saving.shown(cell("change", 0.0))) == "0.0"


def test_a_cell_s_own_provenance_wins(load: Load) -> None:
    table = load(changed("tables", 0, "cells", 1, "provenance", value="memory")).tables[0]
    assert [table.provenance_of(cell) for cell in table.cells] == ["fulltext", "memory"]


def test_a_metric_has_a_title_for_a_page_and_a_name_for_a_terminal() -> None:
    metric = TableMetric(metric="layers", header="speed-up in layers", short="layers", unit="%")
    assert (metric.title, metric.brief) == ("Speed-up in layers (%)", "layers")
    assert TableMetric(metric="score", header="score").brief == "score"


@pytest.mark.parametrize("slug", sorted(path.parent.name for path in ROOT.glob("replications/*/paper.yaml")))
def test_what_a_headline_shows_fits_a_terminal(slug: str) -> None:
    paper = load_paper(ROOT / "replications" / slug / "paper.yaml")
    headline = next(table for table in paper.tables if table.id == paper.headline)
    assert all(len(metric.brief) <= 14 for metric in headline.metrics)
