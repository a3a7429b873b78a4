"""TinyBERT's paper.yaml: tables as printed, their arithmetic, the claims' terms."""

import os
from pathlib import Path

import numpy as np
import pytest
import yaml

from common.paper import Paper, load_paper
from replications.tinybert import claims as claims_module
from replications.tinybert.method import StudentSize
from replications.tinybert.names import TABLE_2, TABLE_3, TABLE_4, TABLE_7, TEACHER, TINYBERT
from replications.tinybert.settings import SETTINGS

FOLDER = Path(__file__).parents[3] / "replications" / "tinybert"
FOUR = ("MNLI-m", "MNLI-mm", "MRPC", "CoLA", "macro")

# Transcribed row by row, apart from the file.
TABLES = {
    "table2": {
        "TinyBERT": [82.8, 82.9, 85.8, 50.8, 75.6],
        "w/o GD": [82.5, 82.6, 84.1, 40.8, 72.5],
        "w/o TD": [80.6, 81.2, 83.8, 28.5, 68.5],
        "w/o DA": [80.5, 81.0, 82.4, 29.8, 68.4],
    },
    "table3": {
        "TinyBERT": [82.8, 82.9, 85.8, 50.8, 75.6],
        "w/o Embd": [82.3, 82.3, 85.0, 46.7, 74.1],
        "w/o Pred": [80.5, 81.0, 84.3, 48.2, 73.5],
        "w/o Trm": [71.7, 72.3, 70.1, 11.2, 56.3],
        "w/o Attn": [79.9, 80.7, 82.3, 41.1, 71.0],
        "w/o Hidn": [81.7, 82.1, 84.1, 43.7, 72.9],
    },
    "table4": {
        "Uniform": [82.8, 82.9, 85.8, 50.8, 75.6],
        "Top": [81.7, 82.3, 83.6, 35.9, 70.9],
        "Bottom": [80.6, 81.3, 84.6, 38.5, 71.3],
    },
    "table7": {
        "BERT-tiny": [75.9, 76.9, 83.2, 19.5, 63.9],
        "BERT-tiny (+TD)": [79.2, 79.7, 82.9, 12.4, 63.6],
        "TinyBERT (GD)": [76.6, 77.2, 82.0, 8.7, 61.1],
        "TinyBERT (GD+TD)": [80.5, 81.0, 82.4, 29.8, 68.4],
    },
}
NINE = ("MNLI-m", "MNLI-mm", "QQP", "QNLI", "SST-2", "CoLA", "STS-B", "MRPC", "RTE", "macro")
TABLE_1 = {
    (TEACHER, ""): [83.9, 83.4, 71.1, 90.9, 93.4, 52.8, 85.2, 87.5, 67.0, 79.5],
    ("BERT-tiny", ""): [75.4, 74.9, 66.5, 84.8, 87.6, 19.5, 77.1, 83.2, 62.6, 70.2],
    ("TinyBERT", "narrow"): [82.5, 81.8, 71.3, 87.7, 92.6, 44.1, 80.4, 86.4, 66.6, 77.0],
    ("TinyBERT", "wide"): [84.6, 83.2, 71.6, 90.4, 93.1, 51.1, 83.7, 87.3, 70.0, 79.4],
}


@pytest.fixture(scope="module")
def paper() -> Paper:
    return load_paper(FOLDER / "paper.yaml")


def cells_of(paper: Paper, table: str) -> dict[tuple[str, str, str], float]:
    """Scores by system, setting and task."""
    (found,) = [t for t in paper.tables if t.id == table]
    return {(c.system, c.setting, c.task): c.value for c in found.cells if c.metric == "score"}


def test_the_tables_are_as_printed(paper: Paper) -> None:
    for name, rows in TABLES.items():
        found = cells_of(paper, name)
        assert found == {(s, "", t): v for s, row in rows.items() for t, v in zip(FOUR, row, strict=True)}
    first = cells_of(paper, "table1")
    for (system, setting), row in TABLE_1.items():
        assert [first[system, setting, task] for task in NINE] == row


def test_printed_averages_are_those_of_their_columns(paper: Paper) -> None:
    for rows in TABLES.values():
        for row in rows.values():
            assert np.mean(row[:-1]) == pytest.approx(row[-1], abs=0.051)
    first = cells_of(paper, "table1")
    whole = [key for key in first if key[2] == "macro"]
    assert len(whole) == 9
    for system, setting, _ in whole:
        row = [first[system, setting, task] for task in NINE]
        assert np.mean(row[:-1]) == pytest.approx(row[-1], abs=0.056)


def test_the_code_fills_the_printed_rows(paper: Paper) -> None:
    for table, rows in (("table2", TABLE_2), ("table3", TABLE_3), ("table4", TABLE_4), ("table7", TABLE_7)):
        assert {system for system, _, _ in cells_of(paper, table)} == set(rows)
    assert TABLES["table7"]["TinyBERT (GD+TD)"] == TABLES["table2"]["w/o DA"]


def test_the_table_on_pretraining_shows_all_that_is_measured_of_it(paper: Paper) -> None:
    (table,) = [t for t in paper.tables if t.id == "pretraining"]
    losses, guessed = ("attention_loss", "hidden_loss", "embedding_loss"), ("masked_accuracy", "unigram_accuracy")
    assert [m.metric for m in table.metrics] == [*losses, "tokens", *guessed]


def test_claims_state_what_is_judged_and_how(paper: Paper) -> None:
    assert {c.id: (c.type, c.over, c.op, c.value, c.no_effect, c.unit) for c in paper.claims} == {
        "tinybert4-retains-968": ("empirical", "mean", ">=", 0.968, None, "ratio"),
        "tinybert4-smaller": ("by-construction", "one", ">=", claims_module.SMALLER, None, "ratio"),
        "tinybert4-faster": ("empirical", "one", ">=", 9.4, 1.0, "ratio"),
        "tinybert4-beats-4layer": ("empirical", "mean", ">=", 4.4, 0.0, "points"),
        "tinybert4-28-params": ("by-construction", "one", "<=", claims_module.SHARE_OF_FOUR, None, "ratio"),
        "tinybert4-31-time": ("empirical", "one", "<=", 0.325, 1.0, "ratio"),
        "tinybert4-beats-tiny": ("empirical", "mean", ">=", 6.8, 0.0, "points"),
        "tinybert6-on-par": ("empirical", "mean", "<=", 0.15, None, "points"),
        "tinybert6-beats-6layer": ("empirical", "mean", ">=", 2.6, 0.0, "points"),
        "tinybert-flops-vs-mobilebert": ("by-construction", "one", "<=", 0.39, None, "ratio"),
        "tinybert-all-stages-needed": ("empirical", "all", ">=", 0.0, 0.0, "points"),
        "tinybert-task-stage-bigger": ("empirical", "all", ">=", 0.0, 0.0, "points"),
        "tinybert-transformer-loss-key": ("empirical", "all", ">=", 19.0, 0.0, "points"),
        "tinybert-attn-over-hidn": ("empirical", "mean", ">=", 0.0, 0.0, "points"),
        "tinybert-uniform-mapping": ("empirical", "all", ">=", 0.0, 0.0, "points"),
        "tinybert-gd-better-init": ("empirical", "mean", ">=", 0.0, 0.0, "points"),
    }


def test_claims_hold_on_the_published_cells(paper: Paper) -> None:
    """The target of each claim is what the tables themselves give."""
    values = {c.id: c.value or 0.0 for c in paper.claims}
    first, mean = cells_of(paper, "table1"), {t: {s: row[-1] for s, row in rows.items()} for t, rows in TABLES.items()}
    narrow, wide, teacher = (first[s, x, "macro"] for s, x in ((TINYBERT, "narrow"), (TINYBERT, "wide"), (TEACHER, "")))
    assert narrow / teacher >= values["tinybert4-retains-968"]
    assert narrow - first["BERT-tiny", "", "macro"] == pytest.approx(values["tinybert4-beats-tiny"])
    rival = max(first["BERT4-PKD", "", "macro"], first["DistilBERT4", "", "macro"])
    assert narrow - rival == pytest.approx(values["tinybert4-beats-4layer"])
    assert teacher - wide <= values["tinybert6-on-par"]
    assert wide - first["DistilBERT6", "", "macro"] == pytest.approx(values["tinybert6-beats-6layer"])
    two, three, four, seven = (mean[t] for t in TABLES)
    assert two["TinyBERT"] - max(two["w/o GD"], two["w/o TD"], two["w/o DA"]) == pytest.approx(3.1)
    assert two["w/o GD"] - max(two["w/o TD"], two["w/o DA"]) == pytest.approx(4.0)
    assert three["TinyBERT"] - three["w/o Trm"] >= values["tinybert-transformer-loss-key"]
    assert min(three, key=lambda name: three[name]) == "w/o Trm"
    assert three["w/o Hidn"] - three["w/o Attn"] == pytest.approx(1.9)
    assert four["Uniform"] - max(four["Top"], four["Bottom"]) == pytest.approx(4.3)
    assert seven["TinyBERT (GD+TD)"] - seven["BERT-tiny (+TD)"] == pytest.approx(4.8)


def test_the_papers_scale_has_the_printed_students_and_augmentation(paper: Paper) -> None:
    known = {h.name: h.value for h in paper.hyperparameters}
    settings = SETTINGS["paper"]
    for name, size in (("TinyBERT4", settings.narrow), ("TinyBERT6", settings.wide)):
        printed = known[name]
        assert isinstance(printed, dict)
        assert size == StudentSize(printed["layers"], printed["hidden"], printed["intermediate"])  # type: ignore[arg-type]
    rule = settings.augmentation
    assert {"p_t": rule.probability, "N_a": rule.copies, "K": rule.candidates} == known["augmentation"]
    assert rule.passes is None
    assert [settings.intermediate_of(t, 0).epochs for t in ("sst-2", "mnli", "cola")] == [20, 10, 50]


def test_the_deviation_on_text_states_the_settings(paper: Paper) -> None:
    (text,) = [d.what for d in paper.deviations if "general distillation sees" in d.what]
    mini, base = SETTINGS["mini"], SETTINGS["base"]
    assert f"{mini.words:,} words in rows of {mini.general.max_length} tokens (mini)" in text
    assert base.words is None and f"in rows of {base.general.max_length} (base)" in text


SYSTEMS = {"BERT-base (teacher)": TEACHER, "TinyBERT4": "TinyBERT narrow", "TinyBERT6": "TinyBERT wide"}
IN_ABLATIONS = {"TinyBERT4": "TinyBERT"}
TASKS = {"GLUE-avg": "macro", "avg4": "macro", "model": "", "SQuAD1.1": "SQuAD-1.1", "SQuAD2.0": "SQuAD-2.0"}
METRICS = {
    "score": ("score", 1.0),
    "f1": ("f1", 1.0),
    "acc": ("accuracy", 1.0),
    "em": ("exact_match", 1.0),
    "pearson": ("pearson", 1.0),
    "spearman": ("spearman", 1.0),
    "params_m": ("parameters", 1e6),
    "flops_b": ("flops", 1e9),
    "speedup": ("time_speedup", 1.0),
}
"""The card's names, and ours."""


@pytest.mark.skipif("SHARED_PAPERS" not in os.environ, reason="SHARED_PAPERS: folder with the card tinybert.yaml")
def test_cells_and_claims_equal_the_card(paper: Paper) -> None:
    card = yaml.safe_load((Path(os.environ["SHARED_PAPERS"]) / "tinybert.yaml").read_text(encoding="utf-8"))
    tables = {t.id: t for t in paper.tables}
    for theirs in card["tables"]:
        names = IN_ABLATIONS if theirs["id"] in ("table2", "table3") else SYSTEMS
        wanted = {
            (names.get(row["system"], row["system"]), TASKS.get(row["task"], row["task"]), metric): row[key] * scale
            for row in theirs["rows"]
            for key, (metric, scale) in METRICS.items()
            if key in row
        }
        ours = tables[theirs["id"]]
        found = {(f"{c.system} {c.setting}".strip(), c.task, c.metric): c.value for c in ours.cells}
        assert len(found) == len(ours.cells)
        assert found == pytest.approx(wanted)
        assert ours.provenance == theirs["provenance"]
    mine = {c.id: (c.op, c.value, c.provenance) for c in paper.claims}
    assert mine == {c["id"]: (c["op"], float(c["value"]), c["provenance"]) for c in card["claims"]}
