"""The points that a figure shows, and the files that it becomes."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from common.errors import UserError
from common.paper import Paper
from common.records.measurements import Measurement
from common.records.runs import RunRecord
from common.reporting.drawing import draw
from common.reporting.figures import caption_line, figure_series, write_figures
from common.reporting.series import Point, measured_series

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


def test_a_single_seed_keeps_its_interval(paper: Paper, measure: Measure) -> None:
    series = measured_series(paper.figures[1], shares(measure), "r")
    assert [one.label for one in series] == ["S=1", "S=2"]
    assert series[0].points[1] == Point(2.0, 20.0, 0.0, 50.0)


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


def test_two_numbers_for_one_point_are_refused(paper: Paper, measure: Measure) -> None:
    with pytest.raises(UserError, match=r"run r: table1 has two numbers for fast / sst-2 / score"):
        measured_series(paper.figures[0], [measure("score", 1.0), measure("score", 2.0)], "r")


def test_published_points_stand_in_the_measured_panel(paper: Paper, measure: Measure) -> None:
    run = RunRecord("r", tuple(trade_off(measure, seeds=1)))
    measured, published = figure_series(paper, paper.figures[0], run)
    assert not measured.published
    assert (published.panel, published.label, published.published) == ("sst-2", "published: fast", True)
    assert published.points == (Point(40.0, 93.0),)
    elsewhere = RunRecord("r", tuple(m.model_copy(update={"task": "mine"}) for m in run.measurements))
    assert [one.published for one in figure_series(paper, paper.figures[0], elsewhere)] == [False]


def test_a_figure_names_its_axes_run_and_spread(paper: Paper, measure: Measure) -> None:
    run = RunRecord("mini-files", tuple(trade_off(measure, seeds=2)))
    figure = paper.figures[0]
    series = figure_series(paper, figure, run)
    caption = caption_line(figure, run, series)
    assert caption == (
        "measured, run mini-files · MiniLM · mean of 2 seeds, spread: standard deviation · hollow: published"
        " · commit unknown"
    )
    canvas = draw(figure, series, "the title", caption)
    (ax,) = canvas.axes
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == ("time saved (%)", "score (points)", "sst-2")
    assert [text.get_text() for text in canvas.legends[0].get_texts()] == ["fast", "published: fast", "x = y"]
    assert caption in [text.get_text() for text in canvas.texts]
    hollow = [line for line in ax.lines if line.get_label() == "published: fast"]
    assert [line.get_markerfacecolor() for line in hollow] == ["none"]


def test_bars_stand_side_by_side(paper: Paper, measure: Measure) -> None:
    series = measured_series(paper.figures[1], shares(measure), "r")
    (ax,) = draw(paper.figures[1], series, "title", "caption").axes
    boxes = sorted((bar.get_x(), bar.get_x() + bar.get_width(), bar.get_height()) for bar in ax.patches)
    assert [round(height) for _, _, height in boxes] == [10, 10, 20, 20, 30, 30]
    assert all(left[1] <= right[0] + 1e-9 for left, right in itertools.pairwise(boxes))


def test_a_constant_is_drawn_flat(paper: Paper, measure: Measure) -> None:
    rows = [
        m.model_copy(update={"value": 50 + 1e-4 * i} if m.metric == "score" else {})
        for i, m in enumerate(trade_off(measure, seeds=1))
    ]
    figure = paper.figures[0].model_copy(update={"diagonal": False})
    (ax,) = draw(figure, measured_series(figure, rows, "r"), "title", "caption").axes
    low, high = ax.get_ylim()
    assert high - low == pytest.approx(1, rel=0.01)
    assert low < 50 < high


def test_panels_are_as_many_as_tasks(paper: Paper, measure: Measure) -> None:
    many = [m.model_copy(update={"task": f"task{i}"}) for i in range(4) for m in trade_off(measure, seeds=1)]
    canvas = draw(paper.figures[0], measured_series(paper.figures[0], many, "r"), "title", "caption")
    assert [ax.get_title() for ax in canvas.axes] == ["task0", "task1", "task2", "task3"]


def test_the_same_records_give_the_same_bytes(paper: Paper, measure: Measure, tmp_path: Path) -> None:
    run = RunRecord("r", tuple(trade_off(measure, seeds=2)))
    first = write_figures(paper, run, tmp_path / "a")
    second = write_figures(paper, run, tmp_path / "b")
    assert [path.name for path in first] == ["figure1.png", "figure1.pdf"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert first[0].read_bytes().startswith(b"\x89PNG")
    assert first[1].read_bytes().startswith(b"%PDF")
    assert b"CreationDate" not in first[1].read_bytes()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["figure1.pdf", "figure1.png"]
