"""The search on a toy task run: cheapest first, tried when made, and what is dominated is not trained."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from kit.invented_clock import clock
from kit.toy_run import run_steps, small_run, toy_task

from common.best import search as searching
from common.best.floor import BareLayers, Rung, at_home, by_rungs, floor_answer, floor_name
from common.best.limits import Limits
from common.best.search import Search, entries_of, without_the_dear
from common.best.times import Times, timed
from common.compare.names import BASELINE, INT8, LADDER, TFIDF
from common.compare.rivals import Baseline, Ladder, TfIdf
from common.early_exit.systems import Scored
from common.errors import UserError
from common.methods import ONLY, Answer, Offered, find_method
from common.records.measurements import Measurement
from common.run.replication import Run
from common.task_run import TaskRun
from common.timing.paired import CONTROL

TOY = toy_task("toy", ("no", "yes"), lambda i: i % 3 > 0)
VALUES = toy_task("values", (), lambda i: i / 7, "spearman")
ANYTHING = Limits(100.0)
METHODS = (LADDER, TFIDF, "DeeBERT")


@pytest.fixture(scope="module")
def task_run(tmp_path_factory: pytest.TempPathFactory) -> TaskRun:
    return TaskRun.of(small_run(tmp_path_factory.mktemp("run"), TOY), "toy", 0)


@pytest.fixture
def every_baseline_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Search, "_check_learned", lambda self: None)


def all_below_the_floors(arm: str) -> float:
    return 1.0 if arm in (BASELINE, CONTROL) else 0.5 if arm.startswith(BareLayers.name) else 0.1


def search_of(run: Run, said: list[str] | None = None, limits: Limits = ANYTHING) -> Search:
    if said is not None:
        object.__setattr__(run, "say", said.append)
    return Search.of(run, "toy", limits, METHODS)


# -- Who is tried -----------------------------------------------------------------------------------------------------


def test_contenders_come_cheapest_first_and_the_ladder_rung_by_rung(task_run: TaskRun) -> None:
    search = search_of(task_run.run)
    costs = [sum(step.seconds for step in contender.training_steps()) for contender in search.contenders]
    assert costs == sorted(costs)
    depths = [c.least_layers for c in search.contenders if isinstance(c, Rung)]
    assert depths == list(task_run.recipe.depths(task_run.num_layers))
    assert {c.name for c in search.contenders} == set(METHODS)


def test_the_dear_are_left_out_and_named_unless_they_are_asked_for(
    task_run: TaskRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered = Offered({"DeeBERT": find_method("DeeBERT")}, {})
    monkeypatch.setattr("common.compare.experiments.find_methods", lambda: offered)
    monkeypatch.setattr(searching, "DEAR", 0.0)
    search = Search.of(task_run.run, "toy", ANYTHING)
    assert search.contenders == [] and set(search.not_asked) >= {LADDER, INT8, TFIDF, "DeeBERT"}
    assert f"{TFIDF} (about 3 s)" in search.plan_lines(search.steps())[1]
    assert search_of(task_run.run).not_asked == {}


def test_what_a_cheaper_one_makes_is_not_counted_again(task_run: TaskRun) -> None:
    rungs = by_rungs(Ladder(task_run))
    shared = Ladder(task_run)
    most = max(sum(step.seconds for step in rung.training_steps()) for rung in rungs)
    assert sum(step.seconds for step in shared.training_steps()) > most
    assert without_the_dear([shared, *rungs], most) == ([*rungs, shared], {})
    assert list(without_the_dear([shared], most)[1]) == [LADDER]


def test_of_a_regression_those_that_need_classes_are_left_out_by_name(tmp_path: Path) -> None:
    said: list[str] = []
    run = small_run(tmp_path, VALUES)
    object.__setattr__(run, "say", said.append)
    search = Search.of(run, "values", Limits(5.0), METHODS)
    assert {c.name for c in search.contenders} == {LADDER}
    assert said == ["values is a regression; methods that need classes are left out: TF-IDF, DeeBERT"]


def test_who_cannot_be_taken_home_is_left_out_by_name(task_run: TaskRun, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("common.compare.home.HOMES", {})
    search = search_of(task_run.run, said)
    assert {contender.name for contender in search.contenders} == {"DeeBERT"}
    assert [line.partition(" is left out: ")[0] for line in said] == [LADDER, TFIDF]


def test_too_few_texts_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="toy: 60 texts held back from train are too few for a choice"):
        Search.of(small_run(tmp_path, TOY), "toy", Limits(1.0))
    with pytest.raises(UserError, match="BATCH=61"):
        Search.of(small_run(tmp_path, TOY), "toy", Limits(5.0, batch=61))


def test_a_baseline_that_learned_nothing_ends_the_search(task_run: TaskRun, monkeypatch: pytest.MonkeyPatch) -> None:
    search = search_of(task_run.run)
    constant = torch.zeros(60, 2)
    monkeypatch.setattr(TaskRun, "static_logits", lambda self, layers=None: {"tune": constant, "dev": constant})
    with pytest.raises(UserError, match="toy: the baseline is not surely better than a constant answer"):
        search._check_learned()


# -- Floors -----------------------------------------------------------------------------------------------------------


def test_the_floor_computes_the_first_layers_and_nothing_else(task_run: TaskRun) -> None:
    texts = task_run.task.dev[:1]
    encoder = task_run.backbone.encoder.eval()
    ids = torch.tensor([task_run.encoded.dev.input_ids[0]])
    with torch.inference_mode():
        states = encoder.hidden_states(ids, None)
        for layers in range(1, task_run.num_layers + 1):
            found = floor_answer(task_run, layers)(texts)
            assert torch.allclose(found, states[layers], atol=1e-5)


def test_what_is_known_of_a_method_holds_at_every_setting(task_run: TaskRun) -> None:
    """The fewest layers that anyone leaves after, over all settings, is no less than what the method says."""
    for name in ("DeeBERT", "PABEE", "RightTool", "FastBERT"):
        contender = find_method(name).on(task_run)
        fewest = min(int(contender.outcome("dev", s).exit_layer.min()) for s in contender.settings)
        assert 1 <= contender.least_layers <= fewest, name
    assert TfIdf(task_run).least_layers == 0


def test_a_rung_is_saved_as_the_ladder_at_its_depth(task_run: TaskRun) -> None:
    ladder = Ladder(task_run)
    rungs = by_rungs(ladder)
    assert [at_home(rung) for rung in rungs] == [ladder] * len(ladder.settings)
    assert [rung.settings[0] for rung in rungs] == ladder.settings
    assert by_rungs(TfIdf(task_run))[0].name == TFIDF and isinstance(at_home(TfIdf(task_run)), TfIdf)


# -- Settings ---------------------------------------------------------------------------------------------------------


def test_settings_are_chosen_on_tune_alone(task_run: TaskRun, monkeypatch: pytest.MonkeyPatch) -> None:
    deebert = find_method("DeeBERT").on(task_run)
    asked: set[str] = set()
    outcome, flops = type(deebert).outcome, type(deebert).flops
    noting = lambda call: lambda s, split, at: (asked.add(split), call(s, split, at))[1]  # type: ignore[func-returns-value]  # noqa: E731
    monkeypatch.setattr(searching, "Scored", lambda run, split="dev": (asked.add(split), Scored(run, split))[1])  # type: ignore[func-returns-value]
    monkeypatch.setattr(type(deebert), "outcome", noting(outcome))
    monkeypatch.setattr(type(deebert), "flops", noting(flops))
    entries = {loss: entries_of(deebert, loss) for loss in (0.0, 5.0, 100.0)}
    assert asked == {"tune"}
    assert all(len(found) == 1 for found in entries.values()), "of many settings one"
    spent = [float(deebert.flops("tune", found[0].setting).sum()) for found in entries.values()]
    assert spent == sorted(spent, reverse=True), "whoever may lose more is faster"
    assert spent[-1] == min(float(deebert.flops("tune", setting).sum()) for setting in deebert.settings)


def test_of_few_settings_the_two_fastest_stand_for_choice(task_run: TaskRun) -> None:
    ladder = Ladder(task_run)
    assert [int(entry.setting.at) for entry in entries_of(ladder, 100.0)] == [
        int(setting.at) for setting in ladder.settings[:2]
    ]
    (nearest,) = entries_of(ladder, -100.0)
    assert nearest.setting in ladder.settings


# -- Steps ------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("every_baseline_learned")
def test_what_is_dominated_is_not_trained_and_it_is_said_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "timed", clock(all_below_the_floors))
    run = small_run(tmp_path, TOY)
    said: list[str] = []
    search = search_of(run, said)
    rows = run_steps(search.steps(), run, tmp_path / "journal")
    measured = {(m.system, m.setting) for m in rows if m.metric == "time_speedup"}
    dropped = [index for index in range(2, len(search.contenders)) if search.contenders[index].least_layers]
    expected = [index for index in range(len(search.contenders)) if index not in dropped]
    entries = [entry for index in expected for entry in search.entries(index)]
    assert measured == {(BASELINE, ""), (CONTROL, ""), *((entry.contender.name, entry.shown) for entry in entries)}
    why = [line for line in said if "not trained" in line]
    assert len(why) == len(dropped) > 0
    assert all("of the backbone, as it does for every text, takes longer than" in line for line in why)
    assert all(" and " in line.partition("takes longer than ")[2] for line in why), "two are ahead"
    kept = [json.loads(path.read_text())["name"] for path in (tmp_path / "objects").glob("*/manifest.json")]
    rungs = [c for c in search.contenders if isinstance(c, Rung)]
    answered = {rung for rung in rungs if any(f"logits-{rung.least_layers}L" in name for name in kept)}
    assert answered == {rung for rung in rungs if rung in [search.contenders[i] for i in expected]} != set(rungs)


@pytest.mark.usefixtures("every_baseline_learned")
def test_where_nothing_is_below_a_floor_everything_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = clock(lambda arm: 0.05 if arm.startswith(BareLayers.name) else 0.5 if arm != BASELINE else 1.0)
    monkeypatch.setattr(searching, "timed", slow)
    run = small_run(tmp_path, TOY)
    said: list[str] = []
    search = search_of(run, said)
    rows = run_steps(search.steps(), run, tmp_path / "journal")
    assert {m.system for m in rows} == {BASELINE, CONTROL, *METHODS}
    assert not any("not trained" in line for line in said)


@pytest.mark.usefixtures("every_baseline_learned")
def test_an_interrupted_search_goes_on_and_drops_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "timed", clock(all_below_the_floors))
    run = small_run(tmp_path, TOY)
    steps = search_of(run).steps()
    assert steps[-1].name == "toy seed 0: the answers and the clock of all"

    def interrupted() -> list[Measurement]:
        raise KeyboardInterrupt

    broken = [*steps[:-1], type(steps[-1])(steps[-1].name, 1.0, interrupted)]
    with pytest.raises(KeyboardInterrupt):
        run_steps(broken, run, tmp_path / "journal")
    clocked: list[list[str]] = []
    again = clock(all_below_the_floors)

    def counting(run: TaskRun, arms: Mapping[str, Answer], batch: int) -> Times:
        clocked.append(sorted(arms))
        return again(run, arms, batch)

    monkeypatch.setattr(searching, "timed", counting)
    second = search_of(run)
    rows = run_steps(second.steps(), run, tmp_path / "journal")
    assert len(clocked) == 2, "what was tried before is not tried again: one by one and in batches"
    assert len([c for i, c in enumerate(second.contenders) if second.why_dominated(i)]) > 0
    assert {m.system for m in rows} >= {BASELINE, TFIDF}


def test_a_standing_finds_its_contender_again(task_run: TaskRun) -> None:
    search = search_of(task_run.run)
    index = next(i for i, c in enumerate(search.contenders) if isinstance(c, Rung) and c.least_layers == 2)
    (entry,) = search.entries(index)
    times = Times(1, {name: np.ones(4) for name in (BASELINE, CONTROL, entry.arm)})
    contender, setting = search.system(search._standing(entry, times))
    assert type(contender) is Ladder and int(setting.at) == 2


# -- Times ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 16])
def test_a_clock_keeps_seconds_a_text_of_every_arm(task_run: TaskRun, tmp_path: Path, batch: int) -> None:
    arms = {BASELINE: Baseline(task_run).answer(ONLY), floor_name(1): floor_answer(task_run, 1)}
    found = timed(task_run, arms, batch)
    assert set(found.seconds) == {BASELINE, floor_name(1), CONTROL}
    assert found.p50_ms(BASELINE) == pytest.approx(1000 * float(np.median(found.seconds[BASELINE])))
    found.save(tmp_path / "times.npz")
    read = Times.load(tmp_path / "times.npz", batch)
    assert {name: list(values) for name, values in read.seconds.items()} == {
        name: list(values) for name, values in found.seconds.items()
    }


def test_faster_is_what_lies_outside_the_noise_of_the_control() -> None:
    pace = 1 + np.arange(8) / 100
    quiet = Times(1, {BASELINE: pace, CONTROL: pace, "A": 0.9 * pace})
    noisy = Times(1, {BASELINE: pace, CONTROL: 1.2 * pace, "A": 0.9 * pace})
    assert quiet.surely_faster("A") and not noisy.surely_faster("A")
    assert quiet.speedup("A").value == pytest.approx(1 / 0.9)
    assert not quiet.surely_faster(CONTROL)


def test_below_a_floor_is_who_is_faster_in_total_and_in_the_median() -> None:
    floor = np.ones(20)
    slow_tail = np.where(np.arange(20) < 15, 0.5, 4.0)
    times = Times(1, {BASELINE: 3 * floor, CONTROL: 3 * floor, "floor": floor, "tail": slow_tail, "A": 0.5 * floor})
    assert times.surely_below("A", "floor")
    assert not times.surely_below("tail", "floor") and np.median(slow_tail) < 1
