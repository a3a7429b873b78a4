"""Operating points, and a whole small run."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from kit.papers import agrees, published_stages
from kit.toy_run import picked, run_steps, small_run, toy_task
from safetensors.torch import load_file
from torch import Tensor

from common.early_exit.cost_split import ASKED, EVERY_EXIT
from common.early_exit.runtime import collect_logits, run_early_exit, simulate
from common.errors import UserError
from common.methods import Setting, find_method
from common.models.classifier import EncoderClassifier, classifier_logits
from common.records.measurements import Measurement
from common.records.predictions import TIMED, seconds_name
from common.run.replication import Run, choose
from common.scales import find_scale
from common.task_run import TaskRun
from common.training.batches import BucketedBatches
from common.training.loop import fit
from replications.cascadebert import experiments
from replications.cascadebert.contender import between
from replications.cascadebert.findings import PRINTED_THRESHOLDS, Findings
from replications.cascadebert.method import calibrated_loss
from replications.cascadebert.names import (
    BOTH,
    CASCADE,
    COMPLETE,
    COMPLETE_DAR,
    DEEBERT,
    PABEE,
    SMALL,
    TRUNCATED,
    WITHOUT_DAR,
)
from replications.cascadebert.small_models import SETTINGS, SmallModels, complete_encoders

TOY = toy_task("toy", ("no", "yes"), lambda i: i % 2)
THREE = toy_task("three", ("a", "b", "c"), lambda i: i * 7 % 3)
SIMILARITY = toy_task("similarity", (), lambda i: (i * 7 % 11) / 2, "spearman")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return small_run(tmp_path_factory.mktemp("run"), TOY, THREE)


@pytest.fixture(scope="module")
def rows(run: Run, tmp_path_factory: pytest.TempPathFactory) -> list[Measurement]:
    return run_steps(experiments.trained_steps(run), run, tmp_path_factory.mktemp("journal"))


@pytest.fixture(scope="module")
def toy(run: Run, rows: list[Measurement]) -> Findings:
    return findings_of(run, "toy", 0)


def findings_of(run: Run, task: str, seed: int) -> Findings:
    task_run = TaskRun.of(run, task, seed, SETTINGS[run.scale.name].baseline)
    return Findings(task_run, SmallModels(task_run, complete_encoders(run)))


@pytest.fixture
def rigged(toy: Findings) -> Findings:
    """With logits that differ in confidence, for 500 examples on each split; PABEE's exits always agree."""
    task_run = replace(toy.task_run)
    findings = Findings(task_run, SmallModels(task_run, toy.small.complete))
    generators = {split: torch.Generator().manual_seed(seed) for seed, split in enumerate(("tune", "dev"))}

    def draw(*size: int) -> dict[str, Tensor]:
        """Wider apart on dev."""
        return {s: (2 + (s == "dev")) * torch.randn(*size, generator=by) for s, by in generators.items()}

    assert findings.second is not None
    for cascade in (findings.cascade, findings.without_dar, findings.second):
        cascade._small_logits = draw(500, 2)
    exits = draw(500, 4, 2)
    findings.deebert._exits = exits
    findings.pabee._exits = {split: t.expand(500, 4, 2) for split, t in draw(500, 1, 2).items()}
    task_run.static_logits = lambda layers=None: {split: t[:, -1] for split, t in exits.items()}  # type: ignore[method-assign]
    return findings


def test_rivals_are_those_of_their_own_papers_on_the_same_baseline(toy: Findings) -> None:
    for name, contender in ((DEEBERT, toy.deebert), (PABEE, toy.pabee)):
        assert type(contender) is type(find_method(name).on(toy.task_run))
        assert contender.task_run is toy.task_run
    last, big = toy.deebert.exits("dev")[:, -1], toy.cascade.logits("dev")[:, 1]
    torch.testing.assert_close(last, big, atol=1e-5, rtol=1e-4)


# -- A whole run ------------------------------------------------------------------------------------------------------


def test_each_number_of_a_table_is_measured_once(rows: list[Measurement]) -> None:
    keys = [(m.experiment, m.system, m.setting, m.task, m.metric, m.at, m.seed) for m in rows]
    assert len(set(keys)) == len(keys)


def test_every_experiment_has_its_rows(rows: list[Measurement]) -> None:
    assert {m.experiment for m in rows} == {
        "table-main",
        "thresholds",
        "figure-tradeoff",
        "figure-dis",
        "figure-exited",
        "regularisation",
        "difficulty",
        "costs",
    }
    assert {m.task for m in picked(rows, experiment="table-main")} == {"toy", "three", "macro"}


def test_the_main_table_has_the_papers_systems_at_each_speed(rows: list[Measurement]) -> None:
    scored = picked(rows, experiment="table-main", task="toy", metric="score")
    for setting in ("2x", "3x", "4x"):
        systems = {m.system for m in scored if m.setting == setting}
        assert (
            {TRUNCATED, CASCADE}
            <= systems
            <= {TRUNCATED, DEEBERT, PABEE, CASCADE, WITHOUT_DAR, f"{WITHOUT_DAR}, 2L first"}
        )
    timed = {(m.system, m.setting) for m in picked(rows, experiment="table-main", task="toy", metric="time_speedup")}
    assert {(CASCADE, "2x"), (CASCADE, "3x"), (CASCADE, "4x"), ("baseline", "")} <= timed


def test_the_average_is_the_plain_mean(rows: list[Measurement]) -> None:
    for system, setting in (("baseline", ""), (CASCADE, "2x"), (TRUNCATED, "3x")):
        found = picked(rows, experiment="table-main", system=system, setting=setting, metric="score")
        by_task = {m.task: m.value for m in found}
        assert by_task["macro"] == pytest.approx((by_task["toy"] + by_task["three"]) / 2)


def test_layers_agree_with_the_closed_form(rows: list[Measurement]) -> None:
    for m in picked(rows, experiment="thresholds", metric="layer_speedup"):
        (form,) = picked(rows, experiment="thresholds", metric="closed_form", task=m.task, setting=m.setting)
        assert m.value == pytest.approx(form.value)
        assert 4 / 5 <= m.value <= 4


def test_the_cascade_run_for_real_is_the_simulation(toy: Findings) -> None:
    """Logits are collected model by model; the cascade itself, batched or not, gives the same."""
    cascade, split = toy.cascade.model(), toy.task_run.encoded.dev
    collected = collect_logits(cascade, split.by_length(8), len(split), toy.task_run.device)
    torch.testing.assert_close(collected, toy.cascade.logits("dev"), atol=1e-5, rtol=1e-4)
    batched = run_early_exit(cascade, split.batch(range(len(split))), toy.main.rule)
    singles = [run_early_exit(cascade, split.batch([row]), toy.main.rule).exit_layer for row in range(len(split))]
    sure = (collected[:, 0].softmax(-1).amax(-1) - toy.main.at).abs() > 1e-5
    simulated = simulate(collected, toy.main.rule).exit_layer
    assert sure.sum() > 50
    assert torch.equal(batched.exit_layer[sure], simulated[sure])
    assert torch.equal(torch.cat(singles)[sure], simulated[sure])


def test_the_baseline_is_the_big_model_alone(toy: Findings) -> None:
    """The official evaluation of `big` returns the small model's logits."""
    run = toy.task_run
    alone = classifier_logits(run.classifier(4), run.encoded.dev, run.device)
    torch.testing.assert_close(toy.cascade.logits("dev")[:, 1], alone, atol=1e-5, rtol=1e-4)
    assert np.array_equal(toy.scored.baseline, alone.argmax(-1).numpy())
    assert not torch.allclose(toy.cascade.logits("dev")[:, 1], toy.calibrated)


def test_the_baseline_is_trained_by_the_plan_that_others_share(toy: Findings) -> None:
    """Equal recipes make one artifact: nothing of the cascade's may enter the plain classifier's."""
    recipe = toy.task_run.facts
    assert recipe["kind"] == "classifier"
    assert not {"labels", "margin", "weight"} & set(recipe)


def test_small_models_have_the_depth_that_is_named(toy: Findings) -> None:
    assert toy.cascade.model().depths == (1, 4)
    assert toy.second is not None
    assert toy.second.model().depths == (2, 4)
    assert toy.cascade.prices == (1, 5)
    assert toy.second.prices == (2, 6)


def test_the_last_weights_are_used_not_the_best(toy: Findings, tmp_path: Path) -> None:
    """The official script names a metric for the best model and does not load it at the end."""
    small, plan, settings = toy.small, toy.small.plan, toy.settings
    model = small._fresh(plan.seed)
    batches = BucketedBatches(toy.task_run.encoded.train, plan.batch_size, plan.seed)
    loss = calibrated_loss(small.hard, settings.margin, settings.weight)
    report = fit(model, batches, loss, plan, checkpoint=tmp_path / "c", progress=lambda *_: None)
    assert report.steps == plan.epochs * len(batches)
    kept = EncoderClassifier.load(small.calibrated_folder()).state_dict()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(kept[name], value)


def test_labels_belong_to_the_first_small_model_and_to_no_training_seed(run: Run, toy: Findings) -> None:
    again = findings_of(run, "toy", 1).small
    assert again.labels_folder() == toy.small.labels_folder()
    assert again.calibrated_folder() != toy.small.calibrated_folder()
    assert toy.small.hard.shape == (64,)
    assert toy.small.hard.dtype == torch.bool
    assert load_file(toy.small.labels_folder() / "labels.safetensors")["hard"].sum() == toy.small.hard.sum()
    assert not list(toy.small.labels_folder().glob("checkpoint*"))


def test_difficulty_is_reported_where_it_is_known(rows: list[Measurement], toy: Findings) -> None:
    true = picked(rows, experiment="figure-dis", metric="dis_true_difficulty", task="toy")
    assert {m.system for m in true} == {DEEBERT, TRUNCATED, COMPLETE, COMPLETE_DAR}
    assert {m.at for m in true} == {3.0, 6.0}, "1 and 2 of 4 layers are 3 and 6 of 12"
    assert {m.at for m in picked(rows, experiment="difficulty", task="toy")} == {1, 2, 3}
    task = replace(TOY, dev=tuple(replace(e, difficulty=None) for e in TOY.dev))
    assert findings_of(small_run(Path("unused"), task), "toy", 0).levels is None


def test_a_smoke_run_decides_nothing(rows: list[Measurement]) -> None:
    assert not picked(rows, experiment="claims")


def test_a_regression_is_refused(tmp_path: Path) -> None:
    run = small_run(tmp_path, SIMILARITY)
    with pytest.raises(UserError, match="similarity is a regression. Drop it from TASKS"):
        experiments.trained_steps(run)


# -- Operating points -------------------------------------------------------------------------------------------------


def test_thresholds_reach_the_asked_speed_on_tune(rigged: Findings) -> None:
    for contender in (rigged.cascade, rigged.without_dar, rigged.deebert):
        for speedup in (2.0, 3.0):
            system = rigged.at_speed(contender, speedup, "")
            assert system is not None
            assert 4 / system.exit_layers("tune").mean() == pytest.approx(speedup, abs=0.05)


def test_a_dev_tuned_threshold_meets_the_speed_on_dev(rigged: Findings) -> None:
    chosen = {(s.name, s.setting): s for s in rigged.dev_tuned}
    mine = chosen[CASCADE, "2x (dev-tuned)"]
    assert mine.layer_speedup.value == pytest.approx(2.0, abs=0.03)
    on_tune = rigged.at_speed(rigged.cascade, 2.0, "")
    assert on_tune is not None
    assert on_tune.at != mine.at
    assert abs(on_tune.layer_speedup.value - 2) > abs(mine.layer_speedup.value - 2)


def test_a_system_that_is_too_slow_has_no_row(rigged: Findings) -> None:
    """Four layers and a patience of 1: at most 2x; a 2-layer model first: at most 2x."""
    for contender in (rigged.pabee, rigged.second):
        assert contender is not None
        assert rigged.at_speed(contender, 2.0, "") is not None
        assert rigged.at_speed(contender, 3.0, "") is None
        assert rigged.at_speed(contender, 4.0, "") is None
    names = {(s.name, s.setting) for s in rigged.table}
    assert (PABEE, "3x") not in names
    assert (CASCADE, "4x") in names


def test_the_main_point_is_timed_even_where_it_is_too_slow_for_its_row(rigged: Findings) -> None:
    """Two confidences alone: 2x is missed by far whatever the threshold, and costs are split at the nearest."""
    margins = torch.where(torch.arange(500) % 60 < 34, 3.0, 1.0)
    coarse = torch.stack([torch.zeros(500), margins], dim=1)
    rigged.cascade._small_logits = {"tune": coarse, "dev": coarse}
    assert (CASCADE, "2x") not in {(s.name, s.setting) for s in rigged.table}
    assert [s.arm for s in rigged.timed].count(rigged.main.arm) == 1


def test_a_cascade_passes_on_what_it_is_least_sure_of(rigged: Findings) -> None:
    sure = torch.softmax(rigged.calibrated, -1).amax(-1).numpy()
    passed, answers = experiments.passed_on(rigged, rigged.main), rigged.main.answers()
    assert 0 < passed.mean() < 0.5
    assert sure[passed].max() <= rigged.main.at < sure[~passed].min()
    assert (answers[passed] == rigged.scored.baseline[passed]).all()
    assert (answers[~passed] == rigged.calibrated.argmax(-1).numpy()[~passed]).all()


def test_flops_count_both_models_for_what_is_passed_on(toy: Findings) -> None:
    assert toy.second is not None
    (small, both), (second, both_with_second) = (c.flops_by_model(20) for c in (toy.cascade, toy.second))
    assert both - small == both_with_second - second
    assert both - small > small > 0
    lengths = toy.task_run.encoded.dev.lengths
    for tau, which in ((0.0, 0), (1.0, 1)):
        spent = toy.cascade.flops("dev", Setting("", tau))
        assert spent.tolist() == [toy.cascade.flops_by_model(tokens)[which] for tokens in lengths]
    first_layer = toy.deebert.flops_of_layers("dev", np.ones(len(lengths), dtype=np.int64))
    assert first_layer.tolist() == toy.cascade.flops("dev", Setting("", 0.0)).tolist(), "a layer, a pooled head"


def test_thresholds_lie_between_the_values_that_were_seen() -> None:
    values = torch.tensor([0.5, 0.5, 0.7, 0.9, 0.9])
    assert between(values) == pytest.approx([0.6, 0.8])
    assert between(torch.ones(5)) == []
    many = between(torch.linspace(0, 1, 5000), count=200)
    assert len(many) == 200
    assert many[0] < 0.001 and many[-1] > 0.999


def test_static_rivals_get_all_of_half_a_layer(run: Run) -> None:
    findings = findings_of(run, "toy", 0)
    assert [findings.layers_at(s) for s in (2, 3, 4)] == [2, 2, 1]
    assert findings.truncations == (1, 2)


def test_further_seeds_and_long_pairs_have_one_complete_model(run: Run) -> None:
    """What stands beside the paper's cascade is trained once, on short texts; with a GPU always."""
    assert findings_of(run, "toy", 0).small.depths == (1, 2)
    further = findings_of(run, "toy", 1)
    assert further.small.depths == findings_of(run, "mrpc", 0).small.depths == (1,)
    assert further.small.second is None
    assert further.second is None
    assert findings_of(replace(run, scale=find_scale("paper")), "mrpc", 1).small.depths == (2, 4, 6)


def test_the_cost_of_a_cascade_is_split_into_both_models_and_the_rule(rows: list[Measurement], toy: Findings) -> None:
    shares = {m.metric: m.value for m in picked(rows, experiment="costs", task="toy", unit="fraction")}
    small, both, asked = (toy.clock.one_by_one.seconds(arm).sum() for arm in (SMALL, EVERY_EXIT, ASKED))
    assert shares["small_share"] == pytest.approx(small / asked)
    assert shares["big_share"] == pytest.approx((both - small) / asked)
    assert shares["small_share"] + shares["big_share"] + shares["selection_share"] == pytest.approx(1)


def test_what_is_kept_says_everyones_answers_layers_and_seconds(toy: Findings) -> None:
    kept = toy.evidence()
    for system in (*toy.table, *toy.dev_tuned, *toy.thresholds):
        assert np.array_equal(kept.answers(system.name, system.setting), system.answers())
        assert np.array_equal(kept.exits(system.name, system.setting), system.exit_layers())
    assert set(kept.exits(CASCADE, "2x").tolist()) <= {1, 5}, "layers of both models where both ran"
    for name in (SMALL, BOTH, f"{BOTH}, rule asked", "2x"):
        assert len(kept[seconds_name(CASCADE, name)]) == len(kept[TIMED])
    assert kept.exits(TRUNCATED, "4x").tolist() == [1] * len(toy.scored.labels)
    assert not any(name.endswith("/seconds") and WITHOUT_DAR + "@" in name for name in kept.arrays)


def test_at_the_papers_scale_the_settings_are_those_of_paper_yaml() -> None:
    (replication,) = choose("cascadebert")
    facts = {fact.name: fact.value for fact in replication.paper.hyperparameters}
    paper = SETTINGS["paper"]
    for plan in (paper.baseline.whole, paper.complete_plan):
        assert agrees(plan, published_stages(replication.paper)[""])
        assert (plan.weight_decay, plan.warmup) == (0, 0), "named in words there"
    assert (paper.margin, paper.weight) == (facts["confidence_margin"], facts["dar_weight"])
    assert paper.labels.seeds == facts["difficulty_seeds"]
    small, big = facts["cascade"]
    assert paper.published[paper.small[0]].endswith(small) and paper.baseline.backbone.endswith(big)
    assert facts["confidence_thresholds"] == PRINTED_THRESHOLDS
