"""Bort's paper.yaml: the claims' terms, the printed numbers and their contradictions, and the card."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from common.encoders.pooling import MEAN
from common.paper import UNVERIFIED, Paper, load_paper
from replications.bort.claims import DECIDERS
from replications.bort.distillation import CE_WEIGHT, MLM_WEIGHT, TEMPERATURE
from replications.bort.method import BORT, SPACE
from replications.bort.names import STEPS
from replications.bort.settings import README_GRID, SETTINGS, Settings

FOLDER = Path(__file__).parents[3] / "replications" / "bort"
CARD = Path(os.environ.get("SHARED_PAPERS", "")) / "bort.yaml"


@pytest.fixture(scope="module")
def paper() -> Paper:
    return load_paper(FOLDER / "paper.yaml")


def test_claims_state_what_is_judged_and_how(paper: Paper) -> None:
    assert {c.id: (c.type, c.subject, c.over, c.op, c.value, c.no_effect, c.unit) for c in paper.claims} == {
        "bort-effective-5-5": ("by-construction", "efficiency", "one", "<=", 0.0555, None, "fraction"),
        "bort-effective-5-5-released": ("empirical", "efficiency", "one", "<=", 0.0555, 1.0, "fraction"),
        "bort-net-16": ("by-construction", "efficiency", "one", "<=", 0.165, None, "fraction"),
        "bort-net-16-released": ("empirical", "efficiency", "one", "<=", 0.165, 1.0, "fraction"),
        "bort-cpu-7-9x": ("empirical", "efficiency", "any", ">=", 7.9, 1.0, "ratio"),
        "bort-cpu-7-9x-bert-base": ("empirical", "efficiency", "any", ">=", 7.9, 1.0, "ratio"),
        "bort-cpu-20x": ("empirical", "efficiency", "any", ">=", 20.0, 1.0, "ratio"),
        "bort-cpu-20x-roberta-large": ("empirical", "efficiency", "any", ">=", 20.0, 1.0, "ratio"),
        "bort-pretrain-288h": ("empirical", "efficiency", "one", "<=", 288.0, None, "hours"),
        "bort-pretrain-1-2pct": ("empirical", "efficiency", "one", "<=", 0.012, 1.0, "ratio"),
        "bort-pretrain-33pct": ("empirical", "efficiency", "one", "<=", 0.33, 1.0, "ratio"),
        "bort-20-of-23": ("empirical", "quality", "one", ">=", 20.0, None, "tasks"),
        "bort-glue-score": ("empirical", "quality", "one", ">=", 3.1, 0.0, "points"),
        "bort-superglue-score": ("empirical", "quality", "one", ">=", 5.1, 0.0, "points"),
        "bort-rte-gain": ("empirical", "quality", "one", ">=", 12.6, 0.0, "points"),
        "bort-record-loss": ("empirical", "quality", "one", ">=", 22.2, 0.0, "points"),
        "bort-vs-roberta-large": ("empirical", "quality", "one", "<=", 1.0, None, "tasks"),
        "bort-small-data": ("empirical", "quality", "one", "note", None, None, ""),
        "agora-bound": ("empirical", "quality", "all", "<=", 1.0, None, "ratio"),
        "agora-not-below-once": ("empirical", "quality", "mean", ">=", 0.0, 0.0, "points"),
        "fptas-bound": ("by-construction", "efficiency", "one", "<=", 1.0, None, "ratio"),
        "bort-fptas-winner": ("empirical", "efficiency", "one", ">", 1.0, 1.0, "ratio"),
        "bort-distilled-pretraining": ("empirical", "quality", "one", ">=", 0.0, 0.0, "points"),
        "bort-distilled-faster": ("empirical", "efficiency", "one", "note", None, None, ""),
    }


def test_what_cannot_be_verified_is_not_run_with_its_reason(paper: Paper) -> None:
    undecided = {c.id for c in paper.claims if c.not_run}
    assert undecided == {c.id for c in paper.claims if c.op != "note"} - set(DECIDERS)
    assert undecided == {
        "bort-pretrain-288h",
        "bort-pretrain-1-2pct",
        "bort-pretrain-33pct",
        "bort-20-of-23",
        "bort-glue-score",
        "bort-superglue-score",
        "bort-rte-gain",
        "bort-record-loss",
        "bort-vs-roberta-large",
    }


def test_what_rests_on_secondary_sources_is_marked(paper: Paper) -> None:
    assert {c.id for c in paper.claims if c.provenance in UNVERIFIED} == {
        "bort-20-of-23",
        "bort-vs-roberta-large",
        "bort-fptas-winner",
        "bort-distilled-pretraining",
        "bort-distilled-faster",
    }
    marked = {h.name for h in paper.hyperparameters if h.provenance in UNVERIFIED}
    assert {name for name in marked if name.startswith("search")} == {
        h.name for h in paper.hyperparameters if h.name.startswith("search")
    }


# -- Contradictions in print -------------------------------------------------------------------------------------------


def test_7_9x_and_20x_are_judged_against_every_baseline_that_was_printed(paper: Paper) -> None:
    """The baseline is contradictory between abstract, README by date, and the author's note: one claim for each."""
    speeds = {c.id: c.premise.architectures for c in paper.claims if "cpu" in c.id}
    assert speeds == {
        "bort-cpu-7-9x": ("bert-large",),
        "bort-cpu-7-9x-bert-base": ("bert-base",),
        "bort-cpu-20x": ("bert-large",),
        "bort-cpu-20x-roberta-large": ("roberta-large",),
    }


def test_the_range_of_gains_is_relative_for_ax_and_no_maximum_over_tasks(paper: Paper) -> None:
    glue, superglue = (paper.numbers[name].cells for name in ("readme-glue", "readme-superglue"))
    scores = {(c.system, c.task): c.value for c in (*glue, *superglue)}

    def gain(task: str) -> tuple[float, float]:
        mine, theirs = scores["Bort", task], scores["BERT-large", task]
        return round(mine - theirs, 2), round(100 * (mine - theirs) / theirs, 2)

    assert gain("AX") == (12.3, 31.06)
    assert gain("AX-b")[1] > 100
    assert gain("COPA")[1] == 26.91
    assert any("0.3 %" in e.where and "+31.06 % relative" in e.what for e in paper.errata)


def test_published_averages_differ_by_what_is_claimed(paper: Paper) -> None:
    scores = {
        (name, c.system): c.value
        for name in ("readme-glue", "readme-superglue")
        for c in paper.numbers[name].cells
        if c.task == "average"
    }
    values = {c.id: c.value for c in paper.claims}
    for name, claim in (("readme-glue", "bort-glue-score"), ("readme-superglue", "bort-superglue-score")):
        assert scores[name, "Bort"] - scores[name, "BERT-large"] == pytest.approx(values[claim])


@pytest.mark.parametrize(
    "word", ["56M", "hidden_size", "7.9x", "0.3 %", "from_logits", "use_pooler", "33 %", "bracket"]
)
def test_every_contradiction_of_the_sources_is_an_erratum(paper: Paper, word: str) -> None:
    assert any(word in f"{erratum.where} {erratum.what}" for erratum in paper.errata)


# -- The code has what is printed --------------------------------------------------------------------------------------


def test_the_code_has_the_printed_values(paper: Paper) -> None:
    values = {h.name: h.value for h in paper.hyperparameters}
    assert (values["layers"], values["heads"]) == (BORT.depth, BORT.heads)
    assert (values["hidden"], values["intermediate"]) == (BORT.hidden, BORT.intermediate)
    for name in ("depth", "heads", "hidden", "intermediate"):
        assert values[f"search space: {name}"] == tuple(getattr(SPACE, name))
    assert values["search: steps of SGD"] == STEPS
    assert values["pre-training mlm_weight"] == MLM_WEIGHT
    assert values["pre-training teacher_ce_weight"] == CE_WEIGHT
    assert values["pre-training temperature"] == TEMPERATURE
    assert len(README_GRID) == len(set(README_GRID)) == 480
    for name, field in (
        ("learning rates", "learning_rate"),
        ("weight decays", "weight_decay"),
        ("warm-ups", "warmup"),
        ("batches", "batch_size"),
        ("seeds", "seed"),
    ):
        assert {getattr(theta, field) for theta in README_GRID} == set(values[f"Agora {name}"])  # type: ignore[arg-type]


def test_every_scale_searches_after_the_papers_steps_and_has_thetas_of_their_own_seeds() -> None:
    for settings in SETTINGS.values():
        assert any(STEPS in sweep.steps for sweep in settings.search.sweeps)
        assert len(set(settings.thetas)) == len(settings.thetas) > 1
        assert all(theta.seed < 1000 for theta in settings.thetas)


# -- What deviations say of the settings -------------------------------------------------------------------------------


def deviation(paper: Paper, number: int) -> str:
    return next(d.what for d in paper.deviations if d.id == number)


def by_scale(text: str, pattern: str) -> dict[str, int]:
    """A number for each scale that a pattern, which holds `(number) at (scale)`, finds."""
    return {scale: int(number) for number, scale in re.findall(pattern, text)}


@pytest.mark.parametrize(("number", "whose"), [(1, lambda s: s.search.shrink), (6, lambda s: s.shrink)])
def test_deviations_name_the_width_divisors_of_the_settings(
    paper: Paper, number: int, whose: Callable[[Settings], int]
) -> None:
    """The search's and the student's differ at mini."""
    stated = by_scale(deviation(paper, number), r"(\d+) at (\w+)")
    assert stated
    assert {"paper": 1, **stated} == {scale: whose(settings) for scale, settings in SETTINGS.items()}


def test_the_deviation_on_the_search_names_what_was_tried(paper: Paper) -> None:
    stated = by_scale(deviation(paper, 5), r"every (\d+)th at (\w+)")
    sparse = {s: max(sweep.every for sweep in settings.search.sweeps) for s, settings in SETTINGS.items()}
    assert {"paper": 1, **stated} == sparse
    whole = {s for s, settings in SETTINGS.items() if settings.search.sweeps[0].every == 1}
    assert whole == {"mini", "base", "paper"}, "at these the deviation says that every candidate is trained"
    assert {n for s in SETTINGS.values() for sweep in s.search.sweeps for n in sweep.steps} == {1, STEPS, 10, 30}


def test_the_deviation_on_pooling_names_the_scales_that_read_the_mean(paper: Paper) -> None:
    means = [scale for scale, settings in SETTINGS.items() if settings.recipe.pooling == MEAN]
    assert means == ["mini", "base"]
    assert f"At {' and '.join(means)} the classifier reads the mean" in deviation(paper, 17)


# -- The card ----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif("SHARED_PAPERS" not in os.environ, reason="SHARED_PAPERS: folder with the card bort.yaml")
def test_claims_and_published_numbers_equal_the_card(paper: Paper) -> None:
    card = yaml.safe_load(CARD.read_text(encoding="utf-8"))
    ours = {c.id: c for c in paper.claims}
    for claim in card["claims"]:
        mine = ours[claim["id"].replace(".", "-")]
        assert (mine.op, mine.value, mine.provenance) == (claim["op"], claim["value"], claim["provenance"]), mine.id
    for table in card["tables"]:
        cells = paper.numbers[table["id"].replace("_", "-")].cells
        if "score" in table["rows"][0]:
            assert [(c.system, c.value) for c in cells] == [(r["system"], r["score"]) for r in table["rows"]]
            assert all(c.task.startswith(r["task"]) for c, r in zip(cells, table["rows"], strict=True))
        else:
            for row in table["rows"]:
                found = [c.value for c in cells if c.system == row["system"]]
                assert found == pytest.approx(
                    [1e6 * row["params_m"], 1e6 * row["embedding_m"], row["encoder_pct"] / 100]
                )
    space = card["hyperparameters"]["search_space"]
    assert space["valid_settings"] == len(SPACE.candidates)
    assert all(
        tuple(space[name]) == tuple(getattr(SPACE, name)) for name in ("depth", "heads", "hidden", "intermediate")
    )
