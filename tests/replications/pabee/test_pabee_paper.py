"""PABEE's paper.yaml: the tables as printed, their arithmetic, and what may carry a verdict."""

import os
from functools import partial
from pathlib import Path

import pytest
import yaml

from common.paper import Paper, Published, load_paper

FOLDER = Path(__file__).parents[3] / "replications" / "pabee"
TASKS = ["CoLA", "MNLI", "MRPC", "QNLI", "QQP", "RTE", "SST-2", "STS-B"]

# Transcribed row by row, apart from the file; the last number is the printed macro score.
TABLE_1 = {
    "baseline": [58.9, 84.6, 89.5, 91.7, 89.6, 78.6, 92.8, 89.5, 84.4],
    "ALBERT-6L": [53.4, 80.2, 85.8, 87.2, 86.8, 73.6, 89.8, 83.4, 80.0],
    "ALBERT-9L": [55.2, 81.2, 87.1, 88.7, 88.3, 75.9, 91.3, 87.1, 81.9],
    "LayerDrop": [53.6, 79.8, 85.9, 87.0, 87.3, 74.3, 90.7, 86.5, 80.6],
    "HeadPrune": [54.1, 80.3, 86.2, 86.8, 88.0, 75.1, 90.5, 87.4, 81.1],
    "PABEE": [61.2, 85.1, 90.0, 91.8, 89.6, 80.1, 93.0, 90.1, 85.1],
}
SPEEDUPS = {
    "baseline": 1.0,
    "ALBERT-6L": 1.96,
    "ALBERT-9L": 1.3,
    "LayerDrop": 1.96,
    "HeadPrune": 1.22,
    "BranchyNet": 1.88,
    "Shallow-Deep": 1.95,
    "PABEE": 1.57,
}
TEST = {
    "baseline": [54.1, 84.3, 87.0, 90.8, 71.1, 76.4, 94.1, 85.5, 80.4],
    "PABEE": [55.7, 84.8, 87.4, 91.0, 71.2, 77.3, 94.1, 85.7, 80.9],
}
LABELS = {3: 2.35, 4: 2.06, 5: 1.78, 6: 1.57, 7: 1.39, 8: 1.27, 9: 1.14, 10: 1.05, 11: 1.00}


@pytest.fixture(scope="module")
def paper() -> Paper:
    return load_paper(FOLDER / "paper.yaml")


def scores(paper: Paper, table: str) -> dict[tuple[str, str], float]:
    return {(c.system, c.task): c.value for c in paper.numbers[table].cells if c.metric == "score"}


@pytest.mark.parametrize(("table", "printed"), [("table1", TABLE_1), ("table1-test", TEST)])
def test_scores_are_as_printed_and_average_to_the_printed_macro(
    paper: Paper, table: str, printed: dict[str, list[float]]
) -> None:
    found = scores(paper, table)
    for system, row in printed.items():
        assert [found[system, task] for task in [*TASKS, "macro"]] == row
        assert sum(row[:-1]) / 8 == pytest.approx(row[-1], abs=0.051)


def test_confidence_exits_have_no_regression_and_so_no_macro(paper: Paper) -> None:
    found = scores(paper, "table1")
    for system in ("BranchyNet", "Shallow-Deep"):
        assert [task for task in [*TASKS, "macro"] if (system, task) not in found] == ["STS-B", "macro"]


def test_one_speedup_is_printed_for_each_system(paper: Paper) -> None:
    cells = [c for c in paper.numbers["table1"].cells if c.metric == "speedup"]
    assert {c.system: c.value for c in cells} == SPEEDUPS
    assert {c.task for c in cells} == {"macro"}


def test_printed_speedups_stay_below_the_ceiling_of_their_patience(paper: Paper) -> None:
    """Patience t needs t+1 exits: were t enough, t = 11 could be faster than 1."""
    cells = [c for c in paper.numbers["patience-sweep"].cells if c.metric == "speedup"]
    assert {c.at: c.value for c in cells} == LABELS
    assert all(c.at is not None and c.value <= 12 / (c.at + 1) + 1e-9 for c in cells)


def test_patience_6_of_the_figure_is_table_1(paper: Paper) -> None:
    at_6 = {c.task: c.value for c in paper.numbers["patience-sweep"].cells if c.at == 6 and c.metric == "score"}
    table = scores(paper, "table1")
    assert at_6 == {task: table["PABEE", task] for task in at_6}
    assert len(at_6) == 3


def test_claims_hold_on_the_published_cells(paper: Paper) -> None:
    target = {c.id: c.value for c in paper.claims if c.value is not None}
    dev, test, bert = (scores(paper, t) for t in ("table1", "table1-test", "table2"))
    near = partial(pytest.approx, abs=1e-9)
    assert dev["PABEE", "macro"] - dev["baseline", "macro"] == near(target["pabee-albert-dev"])
    assert test["PABEE", "macro"] - test["baseline", "macro"] == near(target["pabee-albert-test"])
    assert SPEEDUPS["PABEE"] == target["pabee-albert-speedup"]
    rivals = {t: max(dev["BranchyNet", t], dev["Shallow-Deep", t]) for t in TASKS[:-1]}
    assert min(dev["PABEE", t] - rivals[t] for t in rivals) == near(target["pabee-beats-confidence-exits"])
    losses = [bert["baseline", t] - bert["PABEE", t] for t in ("MNLI", "SST-2", "STS-B")]
    assert max(losses) == near(target["pabee-bert"])
    cells = paper.numbers["patience-sweep"].cells
    sweep = {c.at: c.value for c in cells if (c.task, c.metric) == ("MNLI", "score")}
    middle = sum(sweep[t] for t in (6, 7, 8)) / 3
    above = [middle - 84.6, middle - sweep[3], middle - sweep[11]]
    assert [round(each, 1) for each in above] == [target["pabee-patience-window"], 3.0, 1.3]


def test_the_curves_of_the_figure_lie_as_the_claim_says(paper: Paper) -> None:
    """PABEE above the better rival from 1.11x to 2.34x, by linear interpolation of the measured points."""
    target = next(c.value for c in paper.claims if c.id == "pabee-beats-confidence-exits-equal-speed")
    cells = paper.numbers["speed-accuracy-curves"].cells
    for task in ("MNLI", "SST-2"):
        gaps = []
        for speed in (1.11, 1.5, 2.0, 2.34):
            height = {s: _at(cells, s, task, speed) for s in ("PABEE", "BranchyNet", "Shallow-Deep")}
            gaps.append(height["PABEE"] - max(height["BranchyNet"], height["Shallow-Deep"]))
        assert target is not None
        assert min(gaps) >= target


def _at(cells: tuple[Published, ...], system: str, task: str, speed: float) -> float:
    import numpy as np

    mine = [c for c in cells if (c.system, c.task) == (system, task)]
    x = [c.value for c in mine if c.metric == "speedup"]
    y = [c.value for c in mine if c.metric == "score"]
    order = np.argsort(x)
    return float(np.interp(speed, np.array(x)[order], np.array(y)[order]))


def test_nothing_from_memory_decides_a_claim(paper: Paper) -> None:
    assert "memory" not in {c.provenance for c in paper.claims}
    assert "memory" not in {n.provenance for n in paper.numbers.values()}
    from_memory = [h for h in paper.hyperparameters if "memory" in h.source]
    assert from_memory
    assert {h.name for h in from_memory} == {h.name for h in paper.hyperparameters if h.provenance == "memory"}
    for name in ("figure-tradeoff", "figure-patience"):
        assert "from memory" in next(f.label for f in paper.figures if f.id == name)


def test_claims_state_what_is_judged_and_how(paper: Paper) -> None:
    assert {c.id: (c.type, c.subject, c.over, c.op, c.no_effect, c.unit) for c in paper.claims} == {
        "pabee-albert-dev": ("empirical", "quality", "mean", ">=", 0.0, "points"),
        "pabee-albert-test": ("empirical", "quality", "mean", ">=", 0.0, "points"),
        "pabee-albert-speedup": ("empirical", "efficiency", "mean", ">=", 1.0, "ratio"),
        "pabee-beats-confidence-exits": ("empirical", "quality", "all", ">=", 0.0, "points"),
        "pabee-beats-confidence-exits-equal-speed": ("empirical", "quality", "all", ">=", 0.0, "points"),
        "pabee-bert": ("empirical", "quality", "all", "<=", None, "points"),
        "pabee-albert-large": ("empirical", "quality", "all", ">=", 0.0, "points"),
        "pabee-patience-window": ("empirical", "quality", "all", ">=", 0.0, "points"),
        "pabee-overthinking": ("empirical", "quality", "mean", ">", 0.0, "points"),
        "pabee-min-layers": ("by-construction", "efficiency", "one", ">=", None, "layers"),
        "pabee-robust": ("empirical", "quality", "one", "note", None, ""),
    }


@pytest.mark.skipif("SHARED_PAPERS" not in os.environ, reason="SHARED_PAPERS: folder with the card pabee.yaml")
def test_every_cell_equals_the_card(paper: Paper) -> None:
    card = yaml.safe_load((Path(os.environ["SHARED_PAPERS"]) / "pabee.yaml").read_text(encoding="utf-8"))
    tables = {t["id"]: t for t in card["tables"]}
    plain = {
        "ALBERT-base": "baseline",
        "BERT-base": "baseline",
        "ALBERT-large": "baseline",
        "PABEE (ALBERT-large)": "PABEE",
    }
    for ours, theirs, split in (
        ("table1", "table1", "dev"),
        ("table1-test", "table1", "test"),
        ("table2", "table2", "dev"),
        ("albert-large", "albert-large", "dev"),
    ):
        rows = [r for r in tables[theirs]["rows"] if r["split"] == split]
        expected = {
            (plain.get(r["system"], r["system"]), r["task"]): r["score"] for r in rows if r["score"] is not None
        }
        assert scores(paper, ours) == expected
    assert [c["id"] for c in card["claims"]] == [c.id for c in paper.claims]
    for values in card["figure_values"]:
        cells = paper.numbers[values["id"]].cells
        for metric in ("score", "speedup"):
            mine = [c.value for c in cells if c.metric == metric]
            tasks = [t for t in ("MNLI", "SST-2", "STS-B") if t in values["rows"][0]]
            assert mine == [r[t] if metric == "score" else r["speedup"] for r in values["rows"] for t in tasks]
