"""CascadeBERT's paper.yaml: the numbers as printed, their arithmetic, and what may carry a verdict."""

import os
from pathlib import Path

import pytest
import yaml

from common.paper import Paper, load_paper
from replications.cascadebert.findings import AS_FAST
from replications.cascadebert.method import closed_form

FOLDER = Path(__file__).parents[3] / "replications" / "cascadebert"
TASKS = ["MNLI-m", "MNLI-mm", "MRPC", "QNLI", "QQP", "RTE", "SST-2"]
GROUPS = ("2x", "3x", "4x")

# Transcribed row by row, apart from the file; the last number is the printed average.
MAIN = {
    ("baseline", ""): [84.6, 83.4, 88.9, 90.5, 71.2, 66.4, 93.5, 82.6],
    ("BERT-kL", "2x"): [79.9, 79.2, 85.1, 86.2, 68.9, 65.0, 90.9, 79.3],
    ("DeeBERT", "2x"): [74.4, 73.1, 84.4, 85.6, 70.4, 64.3, 90.2, 77.5],
    ("PABEE", "2x"): [79.8, 78.7, 84.4, 88.0, 70.4, 64.0, 89.3, 79.2],
    ("CascadeBERT", "2x"): [83.0, 81.6, 85.9, 89.4, 71.2, 64.6, 91.7, 81.1],
    ("BERT-kL", "3x"): [75.8, 75.1, 82.7, 84.7, 66.5, 63.0, 87.5, 76.5],
    ("DeeBERT", "3x"): [63.2, 61.3, 83.5, 82.4, 67.0, 59.9, 88.8, 72.3],
    ("PABEE", "3x"): [75.9, 75.3, 82.6, 82.6, 69.5, 60.5, 85.2, 75.9],
    ("CascadeBERT", "3x"): [81.2, 79.5, 84.0, 88.5, 71.0, 63.8, 90.9, 79.8],
    ("BERT-kL", "4x"): [74.8, 74.3, 80.5, 83.1, 65.8, 55.2, 86.4, 74.3],
    ("DeeBERT", "4x"): [55.8, 54.2, 82.9, 75.9, 62.9, 57.4, 85.4, 67.8],
    ("CascadeBERT", "4x"): [79.3, 77.9, 82.6, 86.5, 70.0, 61.6, 90.3, 78.3],
}


@pytest.fixture(scope="module")
def paper() -> Paper:
    return load_paper(FOLDER / "paper.yaml")


def scores(paper: Paper) -> dict[tuple[str, str, str], float]:
    return {(c.system, c.setting, c.task): c.value for c in paper.numbers["table-main"].cells if c.metric == "score"}


def averages(paper: Paper) -> dict[tuple[str, str], float]:
    return {(system, setting): value for (system, setting, task), value in scores(paper).items() if task == "macro"}


def test_scores_are_as_printed_and_average_to_the_printed_average(paper: Paper) -> None:
    found = scores(paper)
    for (system, setting), row in MAIN.items():
        assert [found[system, setting, task] for task in [*TASKS, "macro"]] == row
        assert sum(row[:-1]) / 7 == pytest.approx(row[-1], abs=0.051)


def test_gaps_stay_gaps(paper: Paper) -> None:
    """PABEE reaches no QNLI, no SST-2 and so no average at about 4x."""
    found = scores(paper)
    assert [t for t in [*TASKS, "macro"] if ("PABEE", "4x", t) not in found] == ["QNLI", "SST-2", "macro"]


def test_a_small_model_of_two_layers_explains_every_printed_speed(paper: Paper) -> None:
    """A k-layer one caps the speed at 12/k, and 3.03x and 4.04x are printed."""
    cells = paper.numbers["table-main"].cells
    printed = [c.value for c in cells if c.metric == "speedup" and c.system == "CascadeBERT"]
    assert len(printed) == 21
    assert 12 / 4 < max(printed) <= 12 / 2


def test_the_released_run_obeys_the_closed_form(paper: Paper) -> None:
    cells = paper.numbers["thresholds"].cells
    for tau in (0.6, 0.7, 0.8, 0.9):
        row = {c.metric: c.value for c in cells if c.at == tau}
        assert row["speedup"] == pytest.approx(closed_form(row["passed_on"], 2, 12), abs=1e-3)


def test_a_row_needs_the_speed_that_the_papers_slowest_cell_has(paper: Paper) -> None:
    cells = paper.numbers["table-main"].cells
    reached = [c.value / float(c.setting[0]) for c in cells if c.metric == "speedup" and c.setting]
    assert AS_FAST <= min(reached) < AS_FAST + 0.02


def test_claims_hold_on_the_published_cells(paper: Paper) -> None:
    target = {c.id: c.value for c in paper.claims if c.value is not None}
    mean = averages(paper)
    mine = {group: mean["CascadeBERT", group] for group in GROUPS}
    assert mine["4x"] / mean["DeeBERT", "4x"] - 1 >= target["cascadebert-4x-15pct"]
    for group in GROUPS:
        rivals = [mean[s, group] for s in ("BERT-kL", "DeeBERT", "PABEE") if (s, group) in mean]
        assert mine[group] - max(rivals) == pytest.approx(target[f"cascadebert-best-avg-{group}"])
    assert mine["2x"] / mean["baseline", ""] == pytest.approx(target["cascadebert-retention-2x"], abs=5e-4)
    dis = {(c.system, c.task, c.at): c.value for c in paper.numbers["dis-map"].cells}
    gaps = [value - dis["DeeBERT", t, at] for (s, t, at), value in dis.items() if s == "BERT-Complete"]
    assert len(gaps) == 6
    assert min(gaps) == pytest.approx(target["cascadebert-dis-complete-over-deebert"])
    bars = {(c.system, c.task, c.at): 100 * c.value for c in paper.numbers["exited-accuracy"].cells}
    gap = bars["BERT-Complete", "MNLI-m", 2.0] - bars["DeeBERT", "MNLI-m", 2.0]
    assert gap == pytest.approx(target["cascadebert-shallow-representation"])


def test_what_is_unverified_is_marked(paper: Paper) -> None:
    """Screenshots are no full text; a re-run by others is no number of this paper's."""
    for name in ("table-main", "dis-map", "exited-accuracy"):
        assert paper.numbers[name].provenance == "secondary"
    assert {c.id: c.provenance for c in paper.claims if c.provenance != "secondary"} == {
        "cascadebert-4x-15pct": "fulltext"
    }
    assert "not this paper's" in paper.numbers["elue"].source_note
    assert "assumption" in next(d.why for d in paper.deviations if d.what.startswith("Difficulty labels"))


@pytest.mark.skipif("SHARED_PAPERS" not in os.environ, reason="SHARED_PAPERS: folder with the card cascadebert.yaml")
def test_every_cell_equals_the_card(paper: Paper) -> None:
    card = yaml.safe_load((Path(os.environ["SHARED_PAPERS"]) / "cascadebert.yaml").read_text(encoding="utf-8"))
    rows = next(t for t in card["tables"] if t["id"] == "main_glue_test")["rows"]
    cells = {(c.note or c.system, c.setting, c.task, c.metric): c.value for c in paper.numbers["table-main"].cells}
    for row in rows:
        system = "baseline" if row["system"] == "BERT-base" else row["system"]
        setting = "" if system == "baseline" else row["group"]
        task = "macro" if row["task"] == "AVG" else row["task"]
        for metric in ("score", "speedup"):
            assert cells.pop((system, setting, task, metric), None) == row[metric]
    assert not cells
    figures = {f["id"]: f["data"] for f in card["figures"]}
    for ours, theirs, key, factor in (
        ("dis-map", "fig_dis", "dis", 1.0),
        ("exited-accuracy", "fig_exited_accuracy", "accuracy_approx", 0.01),
    ):
        found = {(c.system, c.task, c.at): c.value for c in paper.numbers[ours].cells}
        expected = {(r["system"], r["task"], r["layers"]): factor * r[key] for r in figures[theirs]}
        assert found == pytest.approx(expected)
    assert {c["id"]: c["value"] for c in card["claims"]} == {c.id: c.value for c in paper.claims}
