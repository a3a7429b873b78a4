"""DeeBERT's paper.yaml: Table 1 as printed, its arithmetic, and the claims' terms."""

import os
from collections import Counter
from pathlib import Path

import pytest
import yaml

from common.paper import Paper, Published, load_paper
from replications.deebert import claims as claims_module

Cells = dict[tuple[str, str, str, str, str], Published]

FOLDER = Path(__file__).parents[3] / "replications" / "deebert"
TASKS = ["SST-2", "MRPC", "QNLI", "RTE", "QQP", "MNLI-m", "MNLI-mm"]

# Transcribed row by row, apart from the file: scores of the baselines, else differences; then times in percent.
BASELINES = {
    "BERT-base": [93.6, 88.2, 91.0, 69.9, 71.4, 83.9, 83.0],
    "RoBERTa-base": [94.3, 90.4, 92.4, 67.5, 71.8, 87.0, 86.3],
}
DEEBERT_DELTAS = {
    ("BERT-base", "threshold-1"): [-0.2, -0.3, -0.1, -0.4, 0.0, 0.0, -0.1],
    ("BERT-base", "threshold-2"): [-0.6, -1.3, -0.7, -0.6, -0.1, -0.8, -0.7],
    ("BERT-base", "threshold-3"): [-2.1, -3.0, -3.1, -3.2, -2.0, -3.9, -3.8],
    ("RoBERTa-base", "threshold-1"): [0.1, 0.1, -0.1, -0.6, 0.1, 0.0, 0.0],
    ("RoBERTa-base", "threshold-2"): [0.0, 0.2, -0.5, -0.4, 0.0, -0.1, -0.3],
    ("RoBERTa-base", "threshold-3"): [-1.8, -1.1, -2.5, -1.1, -0.6, -3.9, -4.1],
}
DEEBERT_TIMES = {
    ("BERT-base", "threshold-1"): [-21, -14, -15, -9, -24, -14, -14],
    ("BERT-base", "threshold-2"): [-40, -31, -29, -11, -39, -25, -25],
    ("BERT-base", "threshold-3"): [-47, -44, -44, -33, -49, -37, -37],
    ("RoBERTa-base", "threshold-1"): [-26, -25, -25, -32, -32, -19, -19],
    ("RoBERTa-base", "threshold-2"): [-33, -28, -30, -33, -39, -23, -23],
    ("RoBERTa-base", "threshold-3"): [-44, -38, -39, -35, -44, -29, -29],
}


@pytest.fixture(scope="module")
def paper() -> Paper:
    return load_paper(FOLDER / "paper.yaml")


@pytest.fixture(scope="module")
def values(paper: Paper) -> Cells:
    return {(c.backbone, c.system, c.setting, c.task, c.metric): c for c in paper.tables[0].cells}


def row(values: Cells, backbone: str, system: str, setting: str, metric: str) -> list[float]:
    return [values[backbone, system, setting, task, metric].value for task in TASKS]


@pytest.mark.parametrize("backbone", BASELINES)
def test_baseline_scores_are_as_printed(values: Cells, backbone: str) -> None:
    assert row(values, backbone, "baseline", "", "score") == BASELINES[backbone]


@pytest.mark.parametrize("key", DEEBERT_DELTAS)
def test_differences_and_times_are_as_printed(values: Cells, key: tuple[str, str]) -> None:
    backbone, setting = key
    assert row(values, backbone, "DeeBERT", setting, "score_delta") == DEEBERT_DELTAS[key]
    times = [100 * change for change in row(values, backbone, "DeeBERT", setting, "time_change")]
    assert times == pytest.approx(DEEBERT_TIMES[key])


def test_the_table_has_every_cell_and_no_other(paper: Paper) -> None:
    cells = paper.tables[0].cells
    assert Counter(c.metric for c in cells if c.basis == "printed") == {
        "score": 14,
        "score_delta": 50,
        "time_change": 50,
        "runtime": 14,
    }
    assert Counter(c.metric for c in cells if c.basis == "derived") == {"score": 48, "time_ratio": 64}
    assert Counter(c.system for c in cells if c.metric == "time_change") == {
        "DeeBERT": 42,
        "DistilBERT": 6,
        "LayerDrop": 2,
    }


def test_derived_cells_follow_from_printed_ones(values: Cells) -> None:
    for (backbone, system, setting, task, metric), cell in values.items():
        if cell.basis == "printed":
            continue
        if metric == "score":
            base = values[backbone, "baseline", "", task, "score"].value
            delta = values[backbone, system, setting, task, "score_delta"].value
            assert cell.value == pytest.approx(base + delta)
        elif system == "baseline":
            assert cell.value == 1.0
        else:
            change = values[backbone, system, setting, task, "time_change"].value
            assert cell.value == pytest.approx(1 + change)


def test_claims_hold_on_the_published_cells(paper: Paper, values: Cells) -> None:
    """The target of each claim on Table 1 is what the table itself gives."""
    claims = {c.id: c for c in paper.claims}
    dee = [c for c in values.values() if c.system == "DeeBERT"]
    savings = {(c.backbone, c.setting, c.task): -c.value for c in dee if c.metric == "time_change"}
    drops = {(c.backbone, c.setting, c.task): -c.value for c in dee if c.metric == "score_delta"}
    cheap = max(saving for key, saving in savings.items() if drops[key] <= 1)
    assert cheap >= claims["deebert-saves-40"].value
    first = [key for key in savings if key[1] == "threshold-1"]
    assert min(savings[key] for key in first) >= claims["deebert-small-drop-saving"].value
    assert max(drops[key] for key in first) <= claims_module.NEARLY_NONE
    ahead = [
        values["BERT-base", "DeeBERT", "threshold-2", task, "score_delta"].value
        - values["BERT-base", "DistilBERT", "as-reported", task, "score_delta"].value
        for task in ("SST-2", "QQP")
    ]
    assert min(ahead) == pytest.approx(claims["deebert-beats-distilbert-quality"].value)


def test_claims_state_what_is_judged_and_how(paper: Paper) -> None:
    assert {c.id: (c.type, c.subject, c.over, c.op, c.no_effect, c.unit) for c in paper.claims} == {
        "deebert-saves-40": ("empirical", "efficiency", "any", ">=", 0.0, "fraction"),
        "deebert-small-drop-saving": ("empirical", "efficiency", "all", ">=", 0.0, "fraction"),
        "deebert-beats-distilbert-quality": ("empirical", "quality", "all", ">=", 0.0, "points"),
        "deebert-expected-equals-measured": ("empirical", "efficiency", "all", "<=", None, "fraction"),
        "deebert-monotone-threshold": ("by-construction", "efficiency", "one", "==", None, "fraction"),
        "deebert-last-exit-unchanged": ("by-construction", "quality", "one", "==", None, "points"),
        "deebert-bert-vs-roberta-shape": ("empirical", "quality", "one", "note", None, ""),
    }


def test_what_rests_on_one_secondary_source_says_so(paper: Paper) -> None:
    for parameter in paper.hyperparameters:
        assert (parameter.provenance == "secondary") == ("anonymous copy" in parameter.source)


@pytest.mark.skipif("SHARED_PAPERS" not in os.environ, reason="SHARED_PAPERS: folder with the card deebert.yaml")
def test_every_cell_equals_the_card(values: Cells) -> None:
    card = yaml.safe_load((Path(os.environ["SHARED_PAPERS"]) / "deebert.yaml").read_text(encoding="utf-8"))
    renamed = {"score_derived": "score", "runtime_s": "runtime"}
    expected = {}
    for line in card["tables"][0]["rows"]:
        system = "DeeBERT" if line["system"].startswith("DeeBERT") else line["system"]
        baseline = line["setting"] == "baseline"
        key = (line["backbone"], "baseline" if baseline else system, "" if baseline else line["setting"], line["task"])
        for name in ("score", "score_delta", "score_derived", "runtime_s", "time_change", "time_ratio"):
            if name in line:
                expected[(*key, renamed.get(name, name))] = line[name]
    assert {key: cell.value for key, cell in values.items()} == expected
