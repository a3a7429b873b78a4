"""ALBERT's paper.yaml against the card, and what the code takes from it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.costs.parameters import encoder_parameters
from common.paper import Paper, load_paper
from replications.albert.ablations import rows_of
from replications.albert.claims import AT_CHANCE, DECIDERS
from replications.albert.full_size import MODELS
from replications.albert.lamb import BETAS
from replications.albert.masking import LONGEST, SHARE
from replications.albert.names import SIXTH, embedding_setting
from replications.albert.settings import PAPER_TOKENS, SETTINGS, TABLE_14, settings_of

FOLDER = Path(__file__).parents[3] / "replications" / "albert"


@pytest.fixture(scope="module")
def paper() -> Paper:
    return load_paper(FOLDER / "paper.yaml")


def cells(paper: Paper, table: str, metric: str) -> dict[tuple[str, str, str], float]:
    return {(c.system, c.setting, c.task): c.value for c in paper.numbers[table].cells if c.metric == metric}


def test_claims_state_what_is_judged_and_how(paper: Paper) -> None:
    found = {c.id: (c.type, c.over, c.op, c.value, c.no_effect, bool(c.not_run)) for c in paper.claims}
    construction, empirical = "by-construction", "empirical"
    assert found == {
        "albert-large-18x-fewer": (construction, "one", ">=", 18.0, None, False),
        "albert-large-1-7x-training": (empirical, "one", ">=", 1.7, 1.0, False),
        "albert-xxlarge-slower": (empirical, "one", "<=", 0.35, 1.0, False),
        "albert-xxlarge-70pct-params": (construction, "one", "<=", 0.72, None, False),
        "albert-xxlarge-beats-bert-large": (empirical, "all", ">=", 1.4, 0.0, True),
        "albert-e128-best-shared": (empirical, "all", ">=", 0.3, 0.0, False),
        "albert-e-bigger-better-unshared": (empirical, "one", ">=", 1.0, 0.0, False),
        "albert-share-cost-e128": (empirical, "one", "<=", 1.5, None, False),
        "albert-share-cost-e768": (empirical, "one", "<=", 2.5, None, False),
        "albert-ffn-sharing-hurts": (empirical, "all", ">=", 1.5, 0.0, False),
        "albert-nsp-chance-on-sop": (empirical, "one", "<=", 55.0, None, False),
        "albert-sop-solves-nsp": (empirical, "one", ">=", 78.9, 50.0, False),
        "albert-sop-downstream": (empirical, "all", ">=", 0.9, 0.0, False),
        "albert-same-time": (empirical, "one", ">=", 1.5, 0.0, True),
        "albert-extra-data": (empirical, "one", ">=", 0.7, 0.0, True),
        "albert-no-dropout": (empirical, "one", ">=", 0.3, 0.0, False),
        "albert-depth-saturates": (empirical, "one", ">=", 0.3, 0.0, False),
        "albert-width-saturates": (empirical, "one", ">=", 2.3, 0.0, False),
        "albert-12-layers-enough": (empirical, "one", "<=", 0.1, None, True),
        "albert-sota-glue": (empirical, "one", ">=", 89.4, None, True),
        "albert-sota-squad2": (empirical, "one", ">=", 92.2, None, True),
        "albert-sota-race": (empirical, "one", ">=", 89.4, None, True),
    }
    assert set(DECIDERS) == {c.id for c in paper.claims if not c.not_run}


def test_printed_gaps_are_those_of_the_printed_tables(paper: Paper) -> None:
    third, fourth = (cells(paper, table, "score") for table in ("table3", "table4"))
    fifth, printed = cells(paper, "table5-downstream", "score"), {c.id: c.value for c in paper.claims}
    shared = {e: third["all-shared", embedding_setting(e, 768), "macro"] for e in (64, 128, 256, 768)}
    assert min(shared[128] - v for e, v in shared.items() if e != 128) == pytest.approx(
        printed["albert-e128-best-shared"]
    )
    for claim, setting in (("albert-share-cost-e128", SIXTH), ("albert-share-cost-e768", "E = H")):
        gap = fourth["not-shared", setting, "macro"] - fourth["all-shared", setting, "macro"]
        assert gap == pytest.approx(printed[claim])
    blocks = [fourth["shared-attention", e, "macro"] - fourth["shared-FFN", e, "macro"] for e in (SIXTH, "E = H")]
    assert min(blocks) == pytest.approx(printed["albert-ffn-sharing-hurts"])
    others = max(fifth[name, "", "macro"] for name in ("none", "NSP"))
    assert fifth["SOP", "", "macro"] - others == pytest.approx(printed["albert-sop-downstream"])


def test_exact_sizes_round_to_the_printed_ones_but_for_those_that_the_errata_name(paper: Paper) -> None:
    printed = {system: value / 1e6 for (system, _, _), value in cells(paper, "table1", "parameters").items()}
    exact = {name: encoder_parameters(MODELS[name].costs) / 1e6 for name in printed}
    off = {name for name in printed if abs(exact[name] - printed[name]) > 1.1}
    assert off == {"ALBERT-xlarge", "ALBERT-xxlarge"}
    assert any("222.6M" in e.what and "58.7M" in e.what for e in paper.errata)


def test_the_code_has_the_papers_settings(paper: Paper) -> None:
    values: dict[str, Any] = {h.name: h.value for h in paper.hyperparameters}
    whole = SETTINGS["paper"]
    assert whole.steps == values["pre-training, steps"]
    assert whole.steps * whole.pretraining.warmup == pytest.approx(values["pre-training, steps of warm-up"])
    assert (whole.vocabulary, whole.most) == (values["vocabulary"], values["most predictions"])
    assert whole.optimiser == values["pre-training, optimiser"] == "LAMB"
    assert values["pre-training, betas"] == BETAS
    assert (values["longest n-gram"], values["masked share"]) == (LONGEST, SHARE)
    assert PAPER_TOKENS == whole.tokens == 125_000 * 4096 * 512
    assert whole.share == 1.0
    assert whole.tuning_dropout == 0.0 == values["fine-tuning, dropout of the encoder"]["others"]


def test_fine_tuning_at_the_papers_scale_is_table_14(paper: Paper) -> None:
    values: dict[str, Any] = {h.name: h.value for h in paper.hyperparameters}
    names = {"cola": "CoLA", "sts-b": "STS-B"}
    for task, plan in TABLE_14.items():
        name = names.get(task, task.upper())
        assert plan.learning_rate == values["fine-tuning: learning_rate"][name]
        assert plan.batch_size == values["fine-tuning: batch_size"][name]
        steps, warmup = values["fine-tuning, steps"][name], values["fine-tuning, steps of warm-up"][name]
        assert plan.warmup == pytest.approx(warmup / steps)
        assert plan.max_length == values["fine-tuning: max_seq_length"]["others"], task
        assert settings_of("paper", "hub").plan(task, 3).seed == 3


def test_mnli_has_the_length_of_table_14_not_of_the_readmes_example(paper: Paper) -> None:
    """512 in the table and in run_glue.sh, 128 in the README: every task of GLUE has the former here."""
    for task in (*TABLE_14, "wnli"):
        assert settings_of("paper", "hub").plan(task, 0).max_length == 512
    assert any("MNLI's length is 512 in the script and the table and 128" in e.what for e in paper.errata)


def test_the_code_calls_chance_what_the_claim_does(paper: Paper) -> None:
    (claim,) = (c for c in paper.claims if c.id == "albert-nsp-chance-on-sop")
    assert claim.value == AT_CHANCE


def test_no_released_or_trained_model_but_table_8s_has_dropout_in_pre_training(paper: Paper) -> None:
    """Version 1 had 0.1 but for xxlarge, version 2 none: which one a model is of has to be said."""
    values: dict[str, Any] = {h.name: h.value for h in paper.hyperparameters}
    assert values["dropout of released models"] == {
        "v1 base": 0.1,
        "v1 large": 0.1,
        "v1 xlarge": 0.1,
        "v1 xxlarge": 0.0,
        "v2": 0.0,
    }
    for settings in SETTINGS.values():
        dropped = [row for row in rows_of(settings) if row.model.shape.dropout]
        assert {(row.system, row.model.shape.dropout) for row in dropped} == {
            ("with dropout", r) for r in settings.dropouts
        }


@pytest.mark.parametrize("scale", SETTINGS)
def test_the_ablations_change_one_thing_of_the_scales_albert(scale: str) -> None:
    settings = SETTINGS[scale]
    base = settings.base
    assert base.embedding * 6 == base.hidden and (base.attention_sets, base.feed_forward_sets) == (1, 1)
    assert {row.model.shape.embedding for row in rows_of(settings) if "table3" in row.experiments} == set(
        settings.embeddings
    )
    assert base.embedding in settings.embeddings and base.hidden in settings.embeddings
    fourth = {(row.system, row.setting) for row in rows_of(settings) if "table4" in row.experiments}
    assert len(fourth) == 4 * len(settings.strategies_at)
    everyone = rows_of(settings)
    assert len({(e, r.system, r.setting) for r in everyone for e in r.experiments}) == sum(
        len(r.experiments) for r in everyone
    )


def test_rows_of_the_paper_stand_beside_ours_under_one_name(paper: Paper) -> None:
    for table in ("table3", "table4", "table5-intrinsic", "table5-downstream", "table8"):
        ours = {(r.system, r.setting) for r in rows_of(SETTINGS["paper"]) if table in r.experiments}
        assert ours == {(c.system, c.setting) for c in paper.numbers[table].cells}
    for table, settings in (("table11", {1, 3, 6, 12, 24, 48}), ("table12", {1024, 2048, 4096, 6144})):
        rows = [r for r in rows_of(SETTINGS["paper"]) if table in r.experiments]
        assert {r.at for r in rows} == settings
        assert {(r.system, r.setting) for r in rows} == {(c.system, c.setting) for c in paper.numbers[table].cells}


@pytest.mark.skipif("SHARED_PAPERS" not in os.environ, reason="SHARED_PAPERS: folder with the card albert.yaml")
def test_every_number_equals_the_card(paper: Paper) -> None:
    card = yaml.safe_load((Path(os.environ["SHARED_PAPERS"]) / "albert.yaml").read_text(encoding="utf-8"))
    assert {table["id"] for table in card["tables"]} <= set(paper.numbers)
    for table in card["tables"]:
        name, theirs = table["id"], {}
        for row in table["rows"]:
            theirs |= of_card(name, row)
        ours = {(c.system, c.setting, c.task, c.metric): c.value for c in paper.numbers[name].cells}
        assert len(ours) == len(paper.numbers[name].cells), f"{name} has a cell twice"
        assert ours == pytest.approx(theirs), name
    claims = {c["id"].lower().replace(".", "-"): c for c in card["claims"]}
    assert set(claims) == {c.id for c in paper.claims}
    values = {h.name: h.value for h in paper.hyperparameters}
    for task, row in card["hyperparameters"]["finetuning_table14"].items():
        assert values["fine-tuning: learning_rate"][task] == row["learning_rate"]  # type: ignore[index, call-overload]
        assert values["fine-tuning, steps"][task] == row["train_steps"]  # type: ignore[index, call-overload]
        assert values["fine-tuning, steps of warm-up"][task] == row["warmup_steps"]  # type: ignore[index, call-overload]
    derived = card["derived"]
    assert encoder_parameters(MODELS["ALBERT-xxlarge"].costs) == derived["albert_xxlarge"]
    assert encoder_parameters(MODELS["BERT-large"].costs) == derived["bert_large_V30000"]


Place = tuple[str, str, str, str]
"""System, setting, task and metric."""

METRICS = {"f1": "score", "score": "score", "em": "em", "middle": "score", "high": "score"}
SIZES = {"params_m": "parameters", "speedup": "training_speedup"}
"""The card's names of numbers, and ours; `SIZES` are of a row, not of a task."""


def of_card(table: str, row: dict[str, Any]) -> dict[Place, float]:
    """The numbers of a row of the card, each at its place in paper.yaml."""
    system, setting = row_of_card(table, row["system"])
    task = {"Avg": "macro"}.get(row["task"], row["task"])
    parts = {"middle": " (middle)", "high": " (high)"}
    found = {(system, setting, task + parts.get(key, ""), METRICS[key]): row[key] for key in METRICS if key in row}
    sizes = {**SIZES, **({key: key for key in ("layers", "hidden", "embedding")} if table == "table1" else {})}
    for key in sizes.keys() & row.keys():
        found[system, setting, "", sizes[key]] = row[key] * (1e6 if key == "params_m" else 1)
    return found


def row_of_card(table: str, name: str) -> tuple[str, str]:
    """System and setting of what the card has under one name, e.g. `E=768 all-shared`."""
    if table in ("table3", "table4"):
        (embedding,) = re.findall(r"E=(\d+)", name)
        return re.sub(r" ?E=\d+ ?", "", name), embedding_setting(int(embedding), 768)
    of_all = {"table11": "ALBERT", "table12": "ALBERT", "table13": "ALBERT-xxlarge"}
    if table in of_all:
        return of_all[table], name
    return {"None": "none", "With dropout": "with dropout", "Without dropout": "without dropout"}.get(name, name), ""
