"""What RightTool trains, calibrates and chooses on a toy task run, and what the run keeps for its claims."""

from pathlib import Path

import numpy as np
import pytest
import torch
from kit.toy_evidence import record_of
from kit.toy_run import picked, run_steps, small_run, toy_task
from torch import Tensor

from common.costs.flops import EncoderShape
from common.early_exit.cost import exit_flops
from common.early_exit.runtime import collect_logits, simulate
from common.errors import UserError
from common.methods import find_method
from common.records.claims import Decision
from common.records.measurements import Measurement
from common.records.predictions import Evidence, at_layer, static_name
from common.task_run import TaskRun
from replications.right_tool.claims import favourable, five_times, top_point_drop
from replications.right_tool.contender import NotCalibrated, ReleasedMix, RightTool, added_flops
from replications.right_tool.experiments import calibration_error, operating_points, trained_steps
from replications.right_tool.method import fit_temperature
from replications.right_tool.names import NOT_CALIBRATED, OPERATING_POINTS, RELEASED_MIX, RIGHT_TOOL

CPU = torch.device("cpu")
TOY = toy_task("toy", ("no", "yes"), lambda i: i % 3 > 0)


@pytest.fixture(scope="module")
def task_run(tmp_path_factory: pytest.TempPathFactory) -> TaskRun:
    return TaskRun.of(small_run(tmp_path_factory.mktemp("run"), TOY), "toy", 0)


@pytest.fixture(scope="module")
def right_tool(task_run: TaskRun) -> RightTool:
    return RightTool(task_run)


# -- Training and calibration -----------------------------------------------------------------------------------------


def test_temperatures_are_fitted_on_tune_to_what_was_trained(right_tool: RightTool) -> None:
    run, raw = right_tool.task_run, NotCalibrated(right_tool)
    model = right_tool.model()
    assert torch.equal(raw.model().temperatures, torch.ones(3))
    for j, depth in enumerate(model.depths):
        on_tune = fit_temperature(raw.exits("tune")[:, depth - 1], run.splits["tune"].labels)
        on_dev = fit_temperature(raw.exits("dev")[:, depth - 1], run.splits["dev"].labels)
        assert model.temperatures[j].item() == pytest.approx(on_tune)
        assert on_dev != pytest.approx(on_tune), "the toy must tell them apart"
        expected = raw.exits("dev")[:, depth - 1] / on_tune
        torch.testing.assert_close(right_tool.exits("dev")[:, depth - 1], expected, rtol=1e-4, atol=1e-5)


def test_logits_are_those_of_their_split(right_tool: RightTool) -> None:
    model, splits = right_tool.model(), right_tool.task_run.splits
    for name in ("tune", "dev", "test"):
        expected = collect_logits(model, splits[name].by_length(64), len(splits[name]), CPU)
        torch.testing.assert_close(right_tool.exits(name), expected)


def test_encoder_and_classifiers_are_trained_and_a_mix_as_released_is_another_model(right_tool: RightTool) -> None:
    backbone = right_tool.task_run.backbone.encoder
    released = ReleasedMix(right_tool.task_run)
    assert not torch.equal(right_tool.model().encoder.word_embeddings, backbone.word_embeddings)
    assert released.trained_folder() != right_tool.trained_folder()
    drawn, learned = (m.model().classifiers[2].mix for m in (released, right_tool))
    assert not torch.equal(drawn, learned)


# -- Thresholds and costs ---------------------------------------------------------------------------------------------


def rigged(truth: np.ndarray, *, early_right: bool) -> Tensor:
    """(N, 4, 2): the first three exits are quite sure, and always right or always wrong; the last is right."""
    last = 5.0 * torch.nn.functional.one_hot(torch.as_tensor(truth), 2)
    early = last if early_right else last.flip(-1)
    return torch.stack([early, early, early, last], dim=1)


@pytest.mark.parametrize("good_on", ["tune", "dev"])
def test_thresholds_are_chosen_on_tune(task_run: TaskRun, good_on: str) -> None:
    contender = RightTool(task_run)
    labels = {name: split.labels.numpy() for name, split in task_run.splits.items()}
    contender._exits = {name: rigged(truth, early_right=name == good_on) for name, truth in labels.items()}
    systems = operating_points(contender)
    assert [s.setting for s in systems] == list(OPERATING_POINTS)
    for system in systems:
        assert (system.exit_layers() == (1 if good_on == "tune" else 4)).all()


def test_what_may_be_lost_is_counted_from_never_leaving(task_run: TaskRun) -> None:
    """Of 60 texts the first classifier loses one (1.7 points) against the last: too many for all but `3 points`."""
    contender, truth = RightTool(task_run), task_run.splits["tune"].labels.numpy()
    exits = rigged(truth, early_right=True)
    exits[0, :3] = exits[0, :3].flip(-1)
    contender._exits = {"tune": exits, "dev": exits}
    assert [int(s.exit_layers("tune").max()) for s in operating_points(contender)] == [4, 4, 1]


def test_the_grid_holds_a_threshold_at_which_even_the_surest_stays(right_tool: RightTool) -> None:
    sure = torch.tensor([[[99.0, 0.0]] * 4])
    rules = [right_tool.rule(t) for t in (min(right_tool.grid), max(right_tool.grid))]
    assert [simulate(sure, rule).exit_layer.item() for rule in rules] == [1, 4]
    assert len({s.name for s in right_tool.settings}) == len(right_tool.settings)


def test_flops_have_a_pooler_a_layer_and_mix_and_map_where_a_classifier_stands() -> None:
    shape = EncoderShape(layers=4, hidden=8, intermediate=32, heads=2, vocabulary=10)
    pooler, linear = 2 * 8 * 8, 2 * 8 * 3
    stands = [pooler + linear + 2 * 1 * 8, pooler, pooler + linear + 2 * 3 * 8, pooler + linear + 2 * 4 * 8]
    assert added_flops(shape, 3).tolist() == stands
    spent = exit_flops(shape, 5, added_flops(shape, 3)) - exit_flops(shape, 5, 0)
    assert spent.tolist() == np.cumsum(stands).tolist()


def test_calibration_error_is_the_mean_gap_over_15_bins() -> None:
    """Two bins: 4 texts at 0.9, of which 3 are right, and 4 at 0.6, of which 1 is."""
    confidence = np.array([0.9] * 4 + [0.6] * 4)
    right = np.array([True, True, True, False, True, False, False, False])
    assert calibration_error(confidence, right) == pytest.approx((abs(0.9 - 0.75) + abs(0.6 - 0.25)) / 2)
    # Within a bin, (9/15, 10/15], a gap up and a gap down cancel; across bins they do not.
    assert calibration_error(np.array([0.62, 0.62]), np.array([True, False])) == pytest.approx(0.12)
    assert calibration_error(np.array([0.62, 0.72]), np.array([True, False])) == pytest.approx((0.38 + 0.72) / 2)
    assert calibration_error(np.array([1.0]), np.array([True])) == 0.0


# -- The run ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Measurement], list[Evidence]]:
    """Every step on the toy."""
    kept: list[Evidence] = []
    folder = tmp_path_factory.mktemp("whole")
    run = small_run(folder, TOY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(run), "keep", lambda self, evidence: kept.append(evidence))
        return run_steps(trained_steps(run), run, folder), kept


def test_every_table_and_figure_has_its_rows(measured: tuple[list[Measurement], list[Evidence]]) -> None:
    first, _ = measured
    points = picked(first, experiment="operating-points", metric="score")
    for name in (RIGHT_TOOL, RELEASED_MIX, NOT_CALIBRATED):
        assert [m.setting for m in points if m.system == name] == list(OPERATING_POINTS)
    assert {static_name(k) for k in (1, 2, 3)} < {m.system for m in points}
    before = picked(first, experiment="calibration", system=NOT_CALIBRATED, metric="temperature")
    after = picked(first, experiment="calibration", system=RIGHT_TOOL, metric="temperature")
    assert [(m.at, m.value) for m in before] == [(1, 1.0), (3, 1.0), (4, 1.0)]
    assert all(m.value != 1 for m in after)
    shares = picked(first, experiment="exits", setting=OPERATING_POINTS[0])
    assert sum(m.value for m in shares) == pytest.approx(1.0)
    assert picked(first, experiment="tradeoff", metric="time_speedup", system=static_name(2))


def test_a_mix_as_released_is_trained_for_the_first_seed_alone_where_a_scale_spares(tmp_path: Path) -> None:
    names = [step.name for step in trained_steps(small_run(tmp_path, TOY, seeds=(0, 1)))]
    assert [name for name in names if "all classifiers" in name] == [
        f"toy seed 0: {RIGHT_TOOL}, all classifiers",
        f"toy seed 0: {RELEASED_MIX}, all classifiers",
        f"toy seed 1: {RIGHT_TOOL}, all classifiers",
    ]


def test_claims_read_what_a_run_keeps(measured: tuple[list[Measurement], list[Evidence]]) -> None:
    _, kept = measured
    for evidence in kept:
        assert all(evidence.has_answers(static_name(k)) for k in (1, 2, 3))
        assert evidence.has_answers(RIGHT_TOOL, at_layer(evidence.layers))
        assert len(evidence.exits(RIGHT_TOOL, OPERATING_POINTS[0])) == len(evidence.labels)
    learned = [Evidence(e.task, e.seed, e.metric, e.classes, e.layers, {**e.arrays, **_right(e)}) for e in kept]
    for decide in (five_times, top_point_drop, favourable):
        decision = decide(record_of(*learned))
        assert isinstance(decision, Decision)
        assert [cell.name for cell in decision.cells] == ["toy"]


def _right(evidence: Evidence) -> dict[str, np.ndarray]:
    """A baseline that learned, which a toy's may not."""
    return {"baseline/answers": evidence.labels}


def test_a_regression_is_refused(tmp_path: Path) -> None:
    run = small_run(tmp_path, toy_task("degrees", (), lambda i: i / 3, "spearman"))
    with pytest.raises(UserError, match="degrees is a regression. Drop it from TASKS"):
        trained_steps(run)


def test_others_find_it_by_name(task_run: TaskRun) -> None:
    assert isinstance(find_method("righttool").on(task_run), RightTool)
