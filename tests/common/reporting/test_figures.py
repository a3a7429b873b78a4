"""The points that a figure shows, and the files that it becomes."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from common.errors import UserError
from common.paper import Paper
from common.records.measurements import Measurement
from common.records.runs import RunRecord
from common.reporting.drawing import draw
from common.reporting.figures import figure_content, write_figures
from common.reporting.footer import footer
from common.reporting.learned import Window
from common.reporting.series import Point, Series, measured_series

Measure = Callable[..., Measurement]


def trade_off(measure: Measure, seeds: int) -> list:
    """Two settings, each with a saving and a score, in the order of falling saving."""
    return [
        measure(metric, value + seed * step, seed=seed, setting=setting)
        for seed in range(seeds)
        for setting, numbers in (("t_2", (0.5, 80.0)), ("t_1", (0.2, 90.0)))
        for metric, value, step in (("saving", numbers[0], 0.0), ("score", numbers[1], 2.0))
    ]


def shares(measure: Measure) -> list[Measurement]:
    return [
        measure("share", layer / 10, experiment="figure2", at=layer, setting=setting, ci_low=0.0, ci_high=0.5)
        for setting in ("S=1", "S=2")
        for layer in (1, 2, 3)
    ]


def test_both_coordinates_of_a_point_come_from_one_seed_and_setting(paper: Paper, measure: Measure) -> None:
    (series,) = measured_series(paper.figures[0], trade_off(measure, seeds=1), "r")
    assert (series.panel, series.label) == ("sst-2", "fast")
    assert series.points == (Point(20.0, 90.0), Point(50.0, 80.0))


def test_seeds_are_pooled_with_their_standard_deviation(paper: Paper, measure: Measure) -> None:
    (series,) = measured_series(paper.figures[0], trade_off(measure, seeds=3), "r")
    assert series.points[0] == Point(pytest.approx(20.0), 92.0, 90.0, 94.0)


def test_a_threshold_tuned_by_each_seed_is_one_setting_and_a_sweep_is_many(paper: Paper, measure: Measure) -> None:
    tuned = [m.model_copy(update={"at": 0.1 + m.seed}) for m in trade_off(measure, seeds=3)]
    (series,) = measured_series(paper.figures[0], tuned, "r")
    assert series.points[0] == Point(pytest.approx(20.0), 92.0, 90.0, 94.0) and series.seeds == 3
    swept = [m.model_copy(update={"at": at}) for m in trade_off(measure, seeds=2) for at in (1.0, 2.0)]
    assert len(measured_series(paper.figures[0], swept, "r")[0].points) == 4


def test_a_single_seed_keeps_its_interval(paper: Paper, measure: Measure) -> None:
    series = measured_series(paper.figures[1], shares(measure), "r")
    assert [one.label for one in series] == ["S=1", "S=2"]
    assert series[0].points[1] == Point(2.0, 20.0, 0.0, 50.0)


def test_a_figure_has_one_kind_of_band(paper: Paper, measure: Measure) -> None:
    one_seed = [m.model_copy(update={"task": "rte"}) for m in trade_off(measure, seeds=1)]
    rows = [
        m.model_copy(update={"ci_low": m.value - 1, "ci_high": m.value + 3}) if m.metric == "score" else m
        for m in (*trade_off(measure, seeds=3), *one_seed)
    ]
    figure = paper.figures[0]
    assert {one.band for one in measured_series(figure, rows[: -len(one_seed)], "r")} == {"seeds"}
    both = measured_series(figure, rows, "r")
    assert [(one.panel, one.seeds, one.band) for one in both] == [("sst-2", 3, "examples"), ("rte", 1, "examples")]
    assert both[0].points[0] == Point(pytest.approx(20.0), 92.0, 91.0, 95.0)


def test_what_all_seeds_share_has_no_band(paper: Paper, measure: Measure) -> None:
    rows = [m.model_copy(update={"seed": seed}) for seed in range(3) for m in trade_off(measure, seeds=1)]
    (series,) = measured_series(paper.figures[0], rows, "r")
    assert (series.shared, series.seeds, series.band) == (True, 3, None)
    assert {point.low for point in series.points} == {None}
    foot = footer(paper.figures[0], RunRecord("r", tuple(rows)), [series])
    assert "the same in every seed, so without a band: fast" in foot


def test_each_panel_tells_its_own_seeds(paper: Paper, measure: Measure) -> None:
    slow = [m.model_copy(update={"system": "slow"}) for m in trade_off(measure, seeds=1)]
    one_seed = [m.model_copy(update={"task": "rte"}) for m in trade_off(measure, seeds=1)]
    rows = [*trade_off(measure, seeds=3), *slow, *one_seed]
    figure = paper.figures[0]
    (foot,) = footer(figure, RunRecord("r", tuple(rows)), measured_series(figure, rows, "r"))
    assert "seeds: 3 on sst-2; 1 on rte (slow: 1 on sst-2) · no band: not every panel has two seeds" in foot


def test_a_point_without_both_coordinates_is_left_out(paper: Paper, measure: Measure) -> None:
    assert measured_series(paper.figures[0], [measure("score", 90.0)], "r") == []
    assert measured_series(paper.figures[1], [measure("share", 0.1, experiment="figure2")], "r") == []


def test_a_figure_may_show_some_settings_alone(paper: Paper, measure: Measure) -> None:
    chosen = paper.figures[0].model_copy(update={"settings": ("t_1",)})
    (series,) = measured_series(chosen, trade_off(measure, seeds=1), "r")
    assert series.points == (Point(20.0, 90.0),)


def test_a_named_setting_is_one_point_though_each_seed_tuned_its_own_threshold(paper: Paper, measure: Measure) -> None:
    chosen = paper.figures[0].model_copy(update={"settings": ("t_1", "t_2")})
    tuned = [m.model_copy(update={"at": 0.1 * (m.seed or 0)}) for m in trade_off(measure, seeds=3)]
    (series,) = measured_series(chosen, tuned, "r")
    assert [point.x for point in series.points] == [pytest.approx(20.0), 50.0]


def test_a_backbone_is_named_where_lines_differ_by_it(paper: Paper, measure: Measure) -> None:
    figure = paper.figures[0].model_copy(update={"line_by": ("system", "backbone")})
    one = trade_off(measure, seeds=1)
    assert [series.label for series in measured_series(figure, one, "r")] == ["fast"]
    both = [*one, *(m.model_copy(update={"backbone": "MPNet"}) for m in one)]
    assert [series.label for series in measured_series(figure, both, "r")] == ["fast, MiniLM", "fast, MPNet"]
    by_backbone = figure.model_copy(update={"line_by": ("backbone",)})
    assert [series.label for series in measured_series(by_backbone, one, "r")] == ["MiniLM"]


def test_several_rungs_of_the_static_ladder_are_one_line(paper: Paper, measure: Measure) -> None:
    def rung(depth: int) -> list[Measurement]:
        changed = {"system": f"truncated {depth}L", "setting": ""}
        return [measure("saving", 1 - depth / 6, **changed), measure("score", 90.0 + depth, **changed)]

    of_system = paper.figures[0].model_copy(update={"line_by": ("system",)})
    (alone,) = measured_series(of_system, rung(3), "r")
    assert alone.label == "truncated 3L"
    both, fast = measured_series(of_system, [*rung(2), *rung(3), *trade_off(measure, seeds=1)], "r")
    assert (both.label, fast.label) == ("static ladder", "fast")
    assert [point.y for point in both.points] == [93.0, 92.0]


def test_two_numbers_for_one_point_are_refused(paper: Paper, measure: Measure) -> None:
    with pytest.raises(UserError, match=r"run r: table1 has two numbers for fast / sst-2 / score"):
        measured_series(paper.figures[0], [measure("score", 1.0), measure("score", 2.0)], "r")


def test_published_points_stand_in_the_measured_panel(paper: Paper, measure: Measure) -> None:
    run = RunRecord("r", tuple(trade_off(measure, seeds=1)))
    measured, published = figure_content(paper, paper.figures[0], run).series
    assert not measured.published
    assert (published.panel, published.label, published.published) == ("sst-2", "published: fast", True)
    assert published.points == (Point(40.0, 93.0),)
    elsewhere = RunRecord("r", tuple(m.model_copy(update={"task": "mine"}) for m in run.measurements))
    assert [one.published for one in figure_content(paper, paper.figures[0], elsewhere).series] == [False]


def test_a_figure_names_its_axes_run_and_band(paper: Paper, measure: Measure) -> None:
    run = RunRecord("mini-files", tuple(trade_off(measure, seeds=2)))
    figure = paper.figures[0]
    series = figure_content(paper, figure, run).series
    foot = footer(figure, run, series)
    assert foot == [
        "measured, run mini-files · MiniLM · mean of 2 seeds · band: ± standard deviation over seeds"
        " · hollow, dotted: published · commit unknown"
    ]
    canvas = draw(figure, series, "the title", foot)
    (ax,) = canvas.axes
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == ("time saved (%)", "score (points)", "sst-2")
    assert [text.get_text() for text in canvas.legends[0].get_texts()] == ["fast", "published: fast", "x = y"]
    assert "".join(foot) in [text.get_text().replace("\n", " ") for text in canvas.texts]


def test_published_points_have_the_systems_colour_and_marker_hollow_and_dotted(paper: Paper, measure: Measure) -> None:
    run = RunRecord("r", tuple(trade_off(measure, seeds=1)))
    series = figure_content(paper, paper.figures[0], run).series
    (ax,) = draw(paper.figures[0], series, "title", [], systems={"fast": "pink-star"}).axes
    measured, published = (next(line for line in ax.lines if line.get_label() == one.label) for one in series)
    assert measured.get_color() == published.get_color() == "#CC79A7"
    assert measured.get_marker() == published.get_marker() == "*"
    assert (measured.get_linestyle(), published.get_linestyle()) == ("-", ":")
    assert (measured.get_fillstyle(), published.get_fillstyle()) == ("full", "none")


def test_bars_stand_side_by_side(paper: Paper, measure: Measure) -> None:
    series = measured_series(paper.figures[1], shares(measure), "r")
    (ax,) = draw(paper.figures[1], series, "title", ["caption"]).axes
    boxes = sorted((bar.get_x(), bar.get_x() + bar.get_width(), bar.get_height()) for bar in ax.patches)
    assert [round(height) for _, _, height in boxes] == [10, 10, 20, 20, 30, 30]
    assert all(left[1] <= right[0] + 1e-9 for left, right in itertools.pairwise(boxes))


def test_a_constant_is_drawn_flat(paper: Paper, measure: Measure) -> None:
    rows = [
        m.model_copy(update={"value": 50 + 1e-4 * i} if m.metric == "score" else {})
        for i, m in enumerate(trade_off(measure, seeds=1))
    ]
    figure = paper.figures[0].model_copy(update={"diagonal": False})
    (ax,) = draw(figure, measured_series(figure, rows, "r"), "title", ["caption"]).axes
    low, high = ax.get_ylim()
    assert high - low == pytest.approx(1, rel=0.01)
    assert low < 50 < high


def test_panels_are_as_many_as_tasks(paper: Paper, measure: Measure) -> None:
    many = [m.model_copy(update={"task": f"task{i}"}) for i in range(4) for m in trade_off(measure, seeds=1)]
    canvas = draw(paper.figures[0], measured_series(paper.figures[0], many, "r"), "title", ["caption"])
    assert [ax.get_title() for ax in canvas.axes] == ["task0", "task1", "task2", "task3"]


def test_the_same_records_give_the_same_bytes(paper: Paper, measure: Measure, tmp_path: Path) -> None:
    run = RunRecord("r", tuple(trade_off(measure, seeds=2)))
    (tmp_path / "a").mkdir()
    for stale in ("dropped.png", ".figure1.png.killed.png", "figure1.pdf"):
        (tmp_path / "a" / stale).touch()
    first = write_figures(paper, run, tmp_path / "a")
    second = write_figures(paper, run, tmp_path / "b")
    assert [path.name for path in first] == ["figure1.png", "figure1.pdf"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert first[0].read_bytes().startswith(b"\x89PNG")
    assert first[1].read_bytes().startswith(b"%PDF")
    assert b"CreationDate" not in first[1].read_bytes()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["figure1.pdf", "figure1.png"]


def test_a_collapsed_rival_does_not_flatten_the_axis(paper: Paper) -> None:
    good = Series("sst-2", "good", (Point(1.0, 90.0), Point(2.0, 80.0, 40.0, 120.0)), system="good", seeds=3)
    flat = Series("sst-2", "flat", (Point(3.0, 0.0, -5.0, 5.0),), system="flat", seeds=3)
    views = {"sst-2": Window(constant=70.0, low=60.0, high=100.0)}
    figure = paper.figures[0].model_copy(update={"diagonal": False})
    (ax,) = draw(figure, [good, flat], "title", [], windows=views).axes
    low, high = ax.get_ylim()
    assert low == pytest.approx(60 - 0.05 * 40)
    assert high == pytest.approx(100 + 0.05 * 40)
    assert [list(line.get_xdata()) for line in ax.lines if line.get_marker() == 7] == [[3.0]]
    assert "constant answer" in [line.get_label() for line in ax.lines]
    foot = footer(figure, RunRecord("r", ()), [good, flat], windows=views)
    assert "▼ below the axis: flat on sst-2 (0.0)" in foot


def test_a_task_that_nothing_learned_has_no_panel(
    paper: Paper, measure: Measure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reference(task: str, score: float, low: float) -> list[Measurement]:
        constant = measure("score", 50.0, system="constant answer", task=task, seed=0)
        return [constant, measure("score", score, system="base", task=task, seed=0, ci_low=low, ci_high=99.0)]

    figure = paper.figures[0]
    paper = paper.model_copy(update={"reference": "base", "figures": (figure,)})
    points = [m.model_copy(update={"task": task}) for task in ("sst-2", "rte") for m in trade_off(measure, seeds=1)]
    rows = [*points, *reference("sst-2", 90.0, 85.0), *reference("rte", 55.0, 49.0)]
    content = figure_content(paper, figure, RunRecord("r", tuple(rows)))
    assert {one.panel for one in content.series} == {"sst-2"}
    assert content.not_learned == ("rte",)
    assert content.windows == {"sst-2": Window(constant=50.0, low=28.5, high=114.5)}
    feet: list[Sequence[str]] = []
    monkeypatch.setattr("common.reporting.figures.draw", lambda *args, **_: feet.append(args[3]) or draw(*args))
    write_figures(paper, RunRecord("r", (*rows, measure("score", 49.0, setting="t_3", seed=1))), tmp_path / "sst-2")
    assert feet[0][1:] == [
        "left out, as the base does not beat the constant answer: rte",
        "seeds that do not beat the constant answer: fast on sst-2 in 1 of 2",
    ]
    nothing = RunRecord("r", tuple(m for m in rows if m.task == "rte"))
    assert write_figures(paper, nothing, tmp_path) == []
