"""RightTool's paper.yaml: the claims' terms, and that nothing is printed that could not be read."""

import os
from pathlib import Path

import pytest
import yaml

from common.paper import UNVERIFIED, Paper, load_paper
from replications.right_tool.claims import DECIDERS, SHARE_LIMIT
from replications.right_tool.method import classifier_layers

FOLDER = Path(__file__).parents[3] / "replications" / "right_tool"


@pytest.fixture(scope="module")
def paper() -> Paper:
    return load_paper(FOLDER / "paper.yaml")


def test_no_number_is_published_because_none_could_be_read(paper: Paper) -> None:
    assert not [cell for numbers in paper.numbers.values() for cell in numbers.cells]


def test_claims_state_what_is_judged_and_how(paper: Paper) -> None:
    assert {c.id: (c.type, c.subject, c.over, c.op, c.value, c.no_effect, c.unit) for c in paper.claims} == {
        "right-tool-5x": ("empirical", "efficiency", "any", ">=", 5.0, 1.0, "ratio"),
        "right-tool-parameter-overhead": ("by-construction", "efficiency", "one", "<", SHARE_LIMIT, None, "%"),
        "right-tool-top-point-small-drop": ("empirical", "quality", "mean", ">=", 0.0, 0.0, "points"),
        "right-tool-favourable-almost-all": ("empirical", "quality", "mean", ">=", 0.0, 0.0, "points"),
        "right-tool-confidence-vs-difficulty": ("empirical", "quality", "one", "note", None, None, ""),
    }


def test_what_rests_on_one_secondary_source_is_marked(paper: Paper) -> None:
    assert {c.id for c in paper.claims if c.provenance in UNVERIFIED} == {
        "right-tool-parameter-overhead",
        "right-tool-top-point-small-drop",
        "right-tool-confidence-vs-difficulty",
    }
    assert [h.name for h in paper.hyperparameters if h.provenance in UNVERIFIED] == ["classifier layers"]


def test_every_claim_that_a_number_decides_has_its_decider(paper: Paper) -> None:
    assert set(DECIDERS) == {c.id for c in paper.claims if c.op != "note"}


def test_the_code_has_the_printed_layers(paper: Paper) -> None:
    values = {h.name: h.value for h in paper.hyperparameters}
    assert classifier_layers(24) == values["classifier layers"]
    assert classifier_layers(12) == values["classifier layers bert-base"]


def test_deviations_are_numbered_from_one(paper: Paper) -> None:
    assert [d.id for d in paper.deviations] == list(range(1, len(paper.deviations) + 1))


@pytest.mark.skipif("SHARED_PAPERS" not in os.environ, reason="SHARED_PAPERS: folder with the card right_tool.yaml")
def test_claims_and_hyperparameters_equal_the_card(paper: Paper) -> None:
    card = yaml.safe_load((Path(os.environ["SHARED_PAPERS"]) / "right_tool.yaml").read_text(encoding="utf-8"))
    assert not card["tables"]
    ours, theirs = ({c["id"]: c for c in claims} for claims in ([c.model_dump() for c in paper.claims], card["claims"]))
    assert set(ours) == set(theirs)
    assert all(ours[name]["provenance"] == theirs[name]["provenance"] for name in ours)
    for name in ("right-tool-5x", "right-tool-parameter-overhead", "right-tool-top-point-small-drop"):
        assert (ours[name]["op"], ours[name]["value"]) == (theirs[name]["op"], theirs[name]["value"])
    values, known = {h.name: h.value for h in paper.hyperparameters}, card["hyperparameters"]
    assert [layer - 1 for layer in values["classifier layers"]] == known["classifier_layers_zero_based"]  # type: ignore[union-attr, operator]
    assert list(values["learning_rate"]) == known["learning_rate_choices"]  # type: ignore[arg-type]
    for name, theirs_name in (("train_batch_size", "batch_size"), ("max_seq_length", "max_word_pieces")):
        assert values[name] == known[theirs_name]
    assert (values["epochs"], values["dropout"]) == (known["epochs"], known["dropout"])
