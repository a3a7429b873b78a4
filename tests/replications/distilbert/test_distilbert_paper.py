"""DistilBERT's paper.yaml against the card, and against itself."""

import os
from pathlib import Path

import pytest
import yaml

from common.paper import UNVERIFIED, Paper, load_paper
from replications.distilbert.claims import DECIDERS, SMALLER
from replications.distilbert.method import TEMPERATURE, SmoothedByFrequency, Weights, chosen_layers
from replications.distilbert.students import BETAS, SETTINGS

FOLDER = Path(__file__).parents[3] / "replications" / "distilbert"
NAMES = {"BERT-base": "baseline", "GLUE-macro": "macro"}


@pytest.fixture(scope="module")
def paper() -> Paper:
    return load_paper(FOLDER / "paper.yaml")


def test_the_code_has_the_printed_settings(paper: Paper) -> None:
    values = {h.name: h.value for h in paper.hyperparameters}
    assert chosen_layers(12, 6) == values["layers copied"]
    assert values["loss weights"] == {"ce": Weights().ce, "mlm": Weights().mlm, "cos": Weights().cos}
    assert values["temperature"] == TEMPERATURE
    assert values["betas"] == BETAS
    masking = values["masking"]
    assert isinstance(masking, dict)
    assert (masking["share"], masking["smoothing"]) == (SmoothedByFrequency.share, SmoothedByFrequency.exponent)


def test_at_the_papers_scale_soft_targets_are_over_all_positions() -> None:
    assert SETTINGS["paper"].pretraining.share == 1.0


def test_the_macro_score_of_distilbert_is_the_mean_of_its_row_and_berts_is_not(paper: Paper) -> None:
    """The erratum: with MNLI 86.7 the mean is 79.7."""
    (table,) = (t for t in paper.tables if t.id == "table1")

    def of(system: str) -> tuple[float, float]:
        cells = {c.task: c.value for c in table.cells if c.system == system}
        return cells.pop("macro"), sum(cells.values()) / len(cells)

    assert of("DistilBERT")[0] == pytest.approx(of("DistilBERT")[1], abs=0.05)
    assert of("baseline") == (79.5, pytest.approx(79.7, abs=0.05))


def test_claims_state_what_is_judged_and_how(paper: Paper) -> None:
    assert {c.id: (c.type, c.subject, c.over, c.op, c.value, c.no_effect) for c in paper.claims if not c.not_run} == {
        "distilbert-retains-97": ("empirical", "quality", "one", ">=", 0.965, None),
        "distilbert-40-smaller": ("by-construction", "efficiency", "one", ">=", SMALLER, None),
        "distilbert-60-faster": ("empirical", "efficiency", "one", ">=", 1.6, 1.0),
        "distilbert-imdb-gap": ("empirical", "quality", "one", "<=", 0.65, None),
        "distilbert-squad-gap": ("empirical", "quality", "all", "<=", 3.9, None),
        "distilbert-squad-two-step": ("empirical", "quality", "all", "<=", 3.0, None),
        "distilbert-two-step-helps": ("empirical", "quality", "one", ">=", 1.0, 0.0),
        "distilbert-init-matters": ("empirical", "quality", "all", ">=", 0.0, 0.0),
        "distilbert-mlm-little": ("empirical", "quality", "all", ">=", 0.0, 0.0),
    }
    assert set(DECIDERS) == {c.id for c in paper.claims if not c.not_run}


def test_what_rests_on_one_secondary_source_is_marked(paper: Paper) -> None:
    assert [h.name for h in paper.hyperparameters if h.provenance in UNVERIFIED] == ["fine-tuning SST-2"]


@pytest.mark.skipif("SHARED_PAPERS" not in os.environ, reason="SHARED_PAPERS: folder with the card distilbert.yaml")
def test_published_numbers_and_claims_equal_the_card(paper: Paper) -> None:
    card = yaml.safe_load((Path(os.environ["SHARED_PAPERS"]) / "distilbert.yaml").read_text(encoding="utf-8"))
    theirs = {t["id"]: t for t in card["tables"]}
    for name in ("table1", "readme-glue-dev"):
        (table,) = (t for t in paper.tables if t.id == name)
        renamed = NAMES if name == "table1" else {"GLUE-macro": "macro"}
        expected = {
            (renamed.get(r["system"], r["system"]), renamed.get(r["task"], r["task"])): r["score"]
            for r in theirs[name]["rows"]
        }
        assert {(c.system, c.task): c.value for c in table.cells} == expected
        assert table.provenance == theirs[name]["provenance"]
    (table2,) = (t for t in paper.tables if t.id == "table2")
    for row in theirs["table2"]["rows"]:
        for metric in {"score", "em", "f1"} & set(row):
            system, task = NAMES.get(row["system"], row["system"]), row["task"].removesuffix("1.1")
            (cell,) = (c for c in table2.cells if (c.system, c.task, c.metric) == (system, task, metric))
            assert cell.value == row[metric]
    (table4,) = (t for t in paper.tables if t.id == "table4")
    assert sorted(c.value for c in table4.cells) == sorted(r["delta"] for r in theirs["table4"]["rows"])
    claims = {c["id"]: c for c in card["claims"]}
    assert set(claims) == {c.id for c in paper.claims}
    for claim in paper.claims:
        assert (claim.op, claim.value) == (claims[claim.id]["op"], claims[claim.id]["value"])
        assert claim.provenance == claims[claim.id]["provenance"]
