"""The comparison on a toy task run, and its judgement on invented evidence."""

from pathlib import Path

import numpy as np
import pytest
from kit.toy_run import run_steps, small_run, toy_task
from sklearn.linear_model import LogisticRegression

from common.compare.experiments import Entrants, at_like_speeds, trained_steps
from common.compare.judgement import TaskStandings, area_over_ladder, sentences, verdict_markdown
from common.compare.names import BASELINE, INT8, LADDER, ONNX, ONNX_INT8, SPEEDS, TFIDF, engine_of, in_int8
from common.compare.rivals import Baseline, Int8, Ladder, TfIdf
from common.errors import UserError
from common.methods import ONLY, find_method
from common.records.measurements import Measurement
from common.records.predictions import LABELS, Evidence, answers_name, seconds_name
from common.records.runs import RunRecord
from common.task_run import TaskRun

TOY = toy_task("toy", ("no", "yes"), lambda i: i % 3 > 0)
VALUES = toy_task("values", (), lambda i: i / 7, "spearman")


@pytest.fixture(scope="module")
def task_run(tmp_path_factory: pytest.TempPathFactory) -> TaskRun:
    return TaskRun.of(small_run(tmp_path_factory.mktemp("run"), TOY), "toy", 0)


# -- Who takes part ---------------------------------------------------------------------------------------------------


def test_an_unknown_method_is_answered_with_a_suggestion() -> None:
    with pytest.raises(UserError, match="unknown method 'TF-IFD'; did you mean 'tf-idf'"):
        Entrants.asked(["TF-IFD"], print)


def test_of_a_regression_those_that_need_classes_are_left_out_by_name(tmp_path: Path) -> None:
    said: list[str] = []
    run = TaskRun.of(small_run(tmp_path, VALUES), "values", 0)
    contenders = Entrants.asked(["DeeBERT", LADDER, TFIDF], said.append).on(run)
    assert [c.name for c in contenders] == [LADDER]
    assert said == ["values is a regression; methods that need classes are left out: DeeBERT, TF-IDF"]


def test_where_no_method_is_left_it_says_so(tmp_path: Path) -> None:
    run = TaskRun.of(small_run(tmp_path, VALUES), "values", 0)
    with pytest.raises(UserError, match="values is a regression, and DeeBERT need classes: no method is left"):
        Entrants.asked(["DeeBERT"], print).on(run)


# -- Contenders -------------------------------------------------------------------------------------------------------


def test_answers_from_text_are_those_that_are_scored(task_run: TaskRun) -> None:
    """What runs on the clock is what the scores are of."""
    texts = task_run.task.dev[:12]
    deebert = find_method("DeeBERT").on(task_run)
    middling = deebert.settings[len(deebert.settings) // 2]
    for contender, setting in ((Baseline(task_run), ONLY), (TfIdf(task_run), ONLY), (deebert, middling)):
        scored = contender.outcome("dev", setting).logits[:12].argmax(-1)
        assert (contender.answer(setting)(texts).argmax(-1) == scored).all()
        one_by_one = [int(contender.answer(setting)([text]).argmax(-1)) for text in texts]
        assert one_by_one == scored.tolist()


def test_the_int8_baseline_is_quantised_and_close_to_the_baseline(task_run: TaskRun) -> None:
    int8, full = Int8(task_run), task_run.static_logits()["dev"]
    logits = int8.outcome("dev", ONLY).logits
    assert not (logits == full).all()
    assert (logits - full).abs().max() < 0.3
    kinds = {type(module).__module__ for module in int8.quantised().modules()}
    assert any("quantized" in kind for kind in kinds)


def test_the_ladder_is_that_of_the_task_run(task_run: TaskRun) -> None:
    ladder = Ladder(task_run)
    assert [int(s.at) for s in ladder.settings] == list(task_run.recipe.depths(task_run.num_layers))
    rung = ladder.settings[0]
    assert (ladder.outcome("dev", rung).logits == task_run.static_logits(int(rung.at))["dev"]).all()
    assert (ladder.flops("dev", rung) < task_run.baseline_flops("dev")).all()


def test_a_bag_of_words_tells_first_texts_from_second_ones_and_learns_from_train_alone(task_run: TaskRun) -> None:
    bag = TfIdf(task_run)
    assert isinstance(bag.fitted[-1], LogisticRegression)
    assert bag.fitted[0].transform(["film"]).shape[0] == 1
    words = {word for e in task_run.task.train for word in e.text_a.lower().split()}
    assert set(bag.fitted[0].vocabulary_) >= words
    assert (bag.flops("dev", ONLY) > 0).all()


def test_settings_are_chosen_on_tune_and_only_where_a_speed_is_reached(
    task_run: TaskRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    deebert = find_method("DeeBERT").on(task_run)
    asked = []
    flops = type(deebert).flops
    monkeypatch.setattr(type(deebert), "flops", lambda s, split, at: asked.append(split) or flops(s, split, at))
    entries = at_like_speeds(deebert)
    assert set(asked) == {"tune"} and entries
    full = task_run.baseline_flops("tune").sum()
    for entry in entries:
        reached = full / flops(deebert, "tune", entry.setting).sum()
        assert reached / float(entry.shown.removesuffix("x")) == pytest.approx(1, abs=0.16)
    assert len(at_like_speeds(Ladder(task_run))) == len(Ladder(task_run).settings)


def test_a_comparison_measures_everyone_and_keeps_what_it_judges_by(tmp_path: Path) -> None:
    run = small_run(tmp_path, TOY)
    rows = run_steps(trained_steps(run, [LADDER, INT8, TFIDF, "DeeBERT"]), run, tmp_path / "journal")
    systems = {m.system for m in rows if m.metric == "time_speedup"}
    assert systems >= {BASELINE, LADDER, INT8, TFIDF, "A/A control"}
    assert all(m.timed for m in rows if m.metric in ("time_speedup", "throughput_ratio", "latency_p50"))
    (evidence,) = run.evidence
    standings = TaskStandings("toy", [evidence]).standings
    assert {s.method for s in standings} >= {LADDER, INT8, TFIDF}
    told = {(m.system, m.setting, m.metric): m.value for m in rows if m.experiment == "comparison"}
    for s in standings:
        assert s.speed.value == pytest.approx(told[s.method, s.setting, "time_speedup"])
        assert s.gained.value == pytest.approx(told[s.method, s.setting, "score_delta"])
        answers = evidence[answers_name(s.method, s.setting)]
        assert 100 * (answers == evidence.labels).mean() == pytest.approx(told[s.method, s.setting, "score"])


# -- The judgement ----------------------------------------------------------------------------------------------------

N = 400
LABELS_ = np.arange(N) % 2


Invented = dict[tuple[str, str], tuple[int, float]]
"""By method and setting, its number of wrong answers and its seconds a text."""


def invented(systems: Invented, seed: int = 0) -> Evidence:
    """The evidence of one seed."""
    rng = np.random.default_rng(seed)
    arrays: dict[str, np.ndarray] = {LABELS: LABELS_}
    for (name, setting), (wrong, seconds) in systems.items():
        answers = LABELS_.copy()
        answers[:wrong] = 1 - answers[:wrong]
        arrays[answers_name(name, setting)] = answers
        arrays[seconds_name(name, setting)] = seconds * (1 + 0.01 * rng.random(64))
    return Evidence("toy", seed, "accuracy", 2, 6, arrays)


def standings(systems: Invented) -> TaskStandings:
    full = {(BASELINE, ""): (20, 1.0), **systems}
    return TaskStandings("toy", [invented(full, seed) for seed in range(3)])


RUNG, HALF, QUICK = (LADDER, "3 of 6 layers"), ("A", "2x"), ("B", "4x")


def test_the_winner_at_a_speed_is_the_best_of_those_as_fast() -> None:
    said = list(sentences(standings({RUNG: (60, 0.5), HALF: (24, 0.5), QUICK: (100, 0.25)})))
    assert said[1].startswith("At least 2 times as fast: A (2x), 1.0 points lost")
    assert "within the noise" not in said[1]
    assert said[3].startswith("At least 4 times as fast: B (4x), 20.0 points lost")
    assert "Surely better than as fast a static ladder: A (2x)." in said


def test_who_cannot_be_told_apart_is_named_with_the_winner() -> None:
    said = list(sentences(standings({RUNG: (24, 0.5), HALF: (25, 0.5)})))
    assert said[1].startswith(f"At least 2 times as fast: {LADDER} (3 of 6 layers)")
    assert said[1].endswith("within the noise of it: A.")
    assert "At least 3 times as fast: nobody." in said
    assert any(s.startswith("No method is surely better than simply keeping fewer layers") for s in said)


def test_a_method_that_is_beaten_everywhere_is_never_worth_it() -> None:
    beaten = standings({RUNG: (24, 0.5), ("A", "2x"): (80, 0.5), ("A", "1.5x"): (60, 0.7), QUICK: (26, 0.25)})
    assert beaten.never_worth_it() == ["A"]
    saved_by_one = standings({RUNG: (24, 0.5), ("A", "2x"): (80, 0.5), ("A", "4x"): (90, 0.2)})
    assert saved_by_one.never_worth_it() == []


def test_who_beats_the_ladder_and_is_beaten_by_another_method_is_said_to_be_both() -> None:
    """A is better than as fast a rung, and B than A: one sentence says how both can be."""
    said = list(sentences(standings({RUNG: (80, 0.5), HALF: (50, 0.5), ("B", "2x"): (22, 0.5), ("C", ""): (90, 0.6)})))
    assert "Surely better than as fast a static ladder: A (2x), B (2x)." in said
    assert (
        said[-2] == "Never worth it here (in the same engine something as fast is surely better at every setting): C."
    )
    assert said[-1].startswith("Better than keeping fewer layers, and still never worth it here: A; at every setting")


def test_who_is_beaten_by_a_faster_rung_is_not_better_than_the_ladder() -> None:
    """Where deeper is not better: A beats the rung of its own speed, and loses to one that is faster."""
    quick_rung = (LADDER, "1 of 6 layers")
    task = standings({RUNG: (120, 0.55), quick_rung: (20, 0.2), HALF: (70, 0.5)})
    assert task.better_than_the_ladder() == []
    assert task.never_worth_it() == ["A"]


def test_who_loses_to_another_engine_alone_is_worth_it() -> None:
    """What ONNX Runtime makes of the ladder's layers it would make of A's, too."""
    elsewhere = standings({HALF: (80, 0.5), (ONNX, "6 of 6 layers"): (20, 0.4), (in_int8("B"), "2x"): (20, 0.3)})
    assert elsewhere.never_worth_it() == []
    assert standings({HALF: (80, 0.5), ("B", "2x"): (20, 0.4)}).never_worth_it() == ["A"]
    rung = standings({RUNG: (80, 0.5), (ONNX, "3 of 6 layers"): (20, 0.4), (INT8, ""): (20, 0.5)})
    assert rung.better_than_the_ladder() == []
    assert [engine_of(m) for m in ("A", LADDER, TFIDF, ONNX, ONNX_INT8, INT8, in_int8("A"))] == [
        "PyTorch", "PyTorch", "PyTorch", "ONNX Runtime", "ONNX int8", "PyTorch, int8", "PyTorch, int8"]  # fmt: skip


def test_one_of_many_rivals_has_to_be_surer_than_one_alone() -> None:
    """A lead that is just sure against one rival is not against the best of forty: Holm's level is divided."""
    lead = next(
        wrong
        for wrong in range(21, 80)
        if standings({HALF: (wrong, 0.5), ("B", ""): (20, 0.5)}).never_worth_it() == ["A"]
    )
    crowd: Invented = {(f"C{i}", ""): (lead, 0.5) for i in range(40)}
    assert standings({HALF: (lead, 0.5), ("B", ""): (20, 0.5), **crowd}).never_worth_it() == []


def test_seeds_that_disagree_leave_a_lead_unsure() -> None:
    """Ahead by 15 points on average, of 25 and 5: two seeds do not show that the third would be ahead."""
    agreeing = TaskStandings("toy", [invented({(BASELINE, ""): (20, 1.0), HALF: (w, 0.5)}, 0) for w in (80, 80)])
    apart = TaskStandings("toy", [invented({(BASELINE, ""): (20, 1.0), HALF: (w, 0.5)}, 0) for w in (40, 120)])
    assert agreeing.standings[0].gained.value == pytest.approx(apart.standings[0].gained.value)
    assert agreeing.standings[0].gained.interval[1] < 0 < apart.standings[0].gained.interval[1]


def test_without_rungs_nothing_is_said_of_the_ladder() -> None:
    said = " ".join(sentences(standings({HALF: (24, 0.5), QUICK: (100, 0.25)})))
    assert "fewer layers" not in said and "ladder" not in said


def test_the_page_says_who_took_part_how_to_read_it_and_what_makes_it_doubtful() -> None:
    evidence = tuple(invented({(BASELINE, ""): (20, 1.0), RUNG: (24, 0.5), HALF: (30, 0.5)}, s) for s in range(2))
    quiet = {"timing": {"others_load_max": 0.1}}
    run = RunRecord("mini", (), environment=quiet)
    run.__dict__["all_evidence"] = evidence  # what it would read from its folder
    text = verdict_markdown(run, [LADDER, "A", "Bort"])
    assert "Took part: static ladder, A.\nDid not: Bort." in text and "(2x) is a speed in FLOPs" in text
    assert "Doubtful" not in text and "Did not" not in verdict_markdown(run, [LADDER, "Bort"])
    busy = RunRecord("mini", (), environment={"timing": {"others_load_max": 1.5}})
    assert "**Doubtful**: others kept 1.5 cores busy" in verdict_markdown(busy)


@pytest.mark.parametrize(
    ("metric", "said"),
    [("time_speedup", "**Doubtful**: the A/A control is off by 8.0%"), ("throughput_ratio", "In batches, of which")],
)
def test_a_noisy_clock_in_batches_does_not_make_the_others_times_doubtful(metric: str, said: str) -> None:
    at = {"system": "A/A control", "experiment": "comparison", "unit": "ratio", "scale": "mini", "backbone": "b"}
    controls = {"time_speedup": 1.01, "throughput_ratio": 0.99, metric: 1.08}
    rows = tuple(Measurement(metric=name, value=value, task="toy", **at) for name, value in controls.items())
    text = verdict_markdown(RunRecord("mini", rows, environment={"timing": {"others_load_max": 0.1}}))
    assert said in text and ("Doubtful" in text) == (metric == "time_speedup")


def test_the_front_holds_who_is_beaten_by_nobody_in_both() -> None:
    front = standings({RUNG: (60, 0.55), HALF: (24, 0.5), QUICK: (100, 0.25), ("C", ""): (110, 0.3)}).front()
    assert [(s.method, s.setting) for s in front] == [HALF, QUICK]


def test_where_the_baseline_learned_nothing_nothing_is_compared() -> None:
    unlearned = TaskStandings("toy", [invented({(BASELINE, ""): (200, 1.0), HALF: (24, 0.5)}, s) for s in range(3)])
    assert list(sentences(unlearned)) == [
        "The baseline did not learn this task, so nothing can be lost and nothing is compared."
    ]


def test_the_area_is_the_mean_height_above_the_ladder_at_equal_cost() -> None:
    ladder = [(1.0, 90.0), (0.5, 80.0), (0.25, 60.0)]
    assert area_over_ladder(ladder, ladder) == 0
    assert area_over_ladder([(0.75, 87.0)], ladder) == pytest.approx(2.0)
    assert area_over_ladder([(0.75, 87.0), (0.1, 99.0)], ladder) == pytest.approx(2.0), "outside the ladder: left out"
    assert area_over_ladder([(0.1, 99.0)], ladder) is None
    assert SPEEDS == (1.5, 2.0, 3.0, 4.0)
