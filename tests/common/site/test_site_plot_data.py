"""What the plot holds: each quantity from its own metric, each number with its band, from the records alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from kit.toy_site import HOSTILE, TASKS, measured, write_comparison

from common.compare.command import comparison
from common.errors import UserError
from common.paper import Paper, load_paper
from common.records.measurements import Measurement
from common.records.runs import RunRecord, find_runs, read_run
from common.reporting.looks import COLOURS
from common.reporting.report import comparable
from common.site.colours import GROUNDS, LEAST_CONTRAST, contrast, readable, shades
from common.site.comparison import comparison_sources
from common.site.data import plot_json
from common.site.numbers import Number, Reading, pooled
from common.site.published import printed_points
from common.site.tradeoff import KEYS_OF_SPEED, STATIC, Line, Point, paper_sources

ROOT = Path(__file__).resolve().parents[3]


def of(value: float, seed: int | None, **fields: float) -> Measurement:
    return Measurement(
        experiment="e", system="s", metric="time_saving", value=value, unit="fraction", seed=seed, **fields
    )


@pytest.fixture(scope="module")
def layout() -> Paper:
    return comparison().paper


@pytest.fixture
def compared(tmp_path: Path) -> RunRecord:
    write_comparison(tmp_path / "mini-builtin")
    return read_run(tmp_path / "mini-builtin")


def line_of(lines: tuple[Line, ...], method: str) -> Line:
    (line,) = [line for line in lines if line.method == method]
    return line


def at(line: Line, setting: str) -> Point:
    (point,) = [point for point in line.points if point.setting == setting]
    return point


# -- Numbers ----------------------------------------------------------------------------------------------------------


def test_a_share_that_is_saved_becomes_a_speed_with_its_interval() -> None:
    number = pooled([of(0.5, 0, ci_low=0.25, ci_high=0.6)], Reading("time_saving", is_saving=True))
    assert (number.value, number.low, number.high) == pytest.approx((2.0, 4 / 3, 2.5))
    assert (number.seeds, number.band) == (1, "examples")


def test_several_seeds_have_a_standard_deviation_of_the_turned_values() -> None:
    number = pooled([of(0.5, 0), of(0.75, 1)], Reading("time_saving", is_saving=True))
    assert (number.value, number.low, number.high) == pytest.approx((3.0, 3 - 2**0.5, 3 + 2**0.5))
    assert (number.seeds, number.band) == (2, "seeds")


def test_what_is_the_same_in_every_seed_has_no_band() -> None:
    assert pooled([of(0.5, 0), of(0.5, 1)], Reading("time_saving")) == Number(0.5, 2)


def test_nobody_saves_everything() -> None:
    with pytest.raises(UserError, match="time_saving is 1: expected a share below 1"):
        pooled([of(1.0, 0)], Reading("time_saving", is_saving=True))


# -- The comparison ---------------------------------------------------------------------------------------------------


def test_each_currency_is_read_from_its_own_metric(layout: Paper, compared: RunRecord) -> None:
    (source,) = comparison_sources(layout, compared)
    assert [plot.task for plot in source.tasks] == list(TASKS) and HOSTILE in TASKS
    numbers = at(line_of(source.tasks[0].lines, "DeeBERT"), "2x").numbers
    speeds = {key: numbers[key].value for key in ("latency", "throughput", "layers", "flops")}
    assert speeds == pytest.approx({"latency": 1.85, "throughput": 2.75, "layers": 3.65, "flops": 5.45})
    assert numbers["score"].value == pytest.approx(88.25)


def test_points_gained_have_the_interval_over_examples_and_seeds(layout: Paper, compared: RunRecord) -> None:
    (source,) = comparison_sources(layout, compared)
    gained = at(line_of(source.tasks[0].lines, "DeeBERT"), "3x").numbers["gained"]
    assert gained.value == pytest.approx(-10.0) and gained.band == "both" and gained.seeds == 2
    assert gained.low is not None and gained.high is not None and gained.low < -10.0 < gained.high < 0.0


def test_the_reference_is_exactly_once_as_fast_and_the_ladder_is_known(layout: Paper, compared: RunRecord) -> None:
    (source,) = comparison_sources(layout, compared)
    lines = source.tasks[0].lines
    assert {line.method: line.role for line in lines} == {"baseline": "reference", STATIC: "ladder", "DeeBERT": ""}
    assert at(line_of(lines, "baseline"), "").numbers["latency"] == Number(1.0)
    assert source.tasks[0].constant == pytest.approx({"score": 50.0, "gained": -40.25})


def test_looks_are_those_of_the_figures(layout: Paper, compared: RunRecord) -> None:
    (source,) = comparison_sources(layout, compared)
    looks = {line.method: (line.look.colour, line.look.marker) for line in source.tasks[0].lines}
    assert looks == {"baseline": ("#000000", "o"), STATIC: ("#888888", "s"), "DeeBERT": ("#0072B2", "s")}


def test_a_run_of_an_untrained_encoder_says_so(layout: Paper) -> None:
    rows = [m.model_copy(update={"scale": "smoke"}) for m in measured("comparison", "mood", 0)]
    (source,) = comparison_sources(layout, RunRecord("smoke-builtin", tuple(rows)))
    assert "an untrained encoder" in source.note


# -- A paper's own experiments ----------------------------------------------------------------------------------------


def test_settings_chosen_on_the_reported_examples_stay_out(layout: Paper) -> None:
    rows = [m for m in measured("comparison", "mood", 0) if m.system != "DeeBERT"]
    tuned = [
        m.model_copy(update={"setting": f"{m.setting} (dev-tuned)"})
        for m in measured("comparison", "mood", 0)
        if m.system == "DeeBERT"
    ]
    (source,) = paper_sources(layout, RunRecord("mini", (*rows, *tuned)))
    assert "DeeBERT" not in {line.method for line in source.tasks[0].lines}


def test_a_task_that_was_not_learned_is_named_and_not_drawn(layout: Paper) -> None:
    lost = [
        m.model_copy(update={"task": "lost", "value": 50.0, "ci_low": 45.0})
        if m.system == "baseline"
        else m.model_copy(update={"task": "lost"})
        for m in measured("comparison", "mood", 0)
    ]
    (source,) = paper_sources(layout, RunRecord("mini", (*measured("comparison", "mood", 0), *lost)))
    assert [plot.task for plot in source.tasks] == ["mood"] and source.left_out == ("lost",)


def test_operating_points_without_a_name_are_points_of_their_own(layout: Paper) -> None:
    rows = [m for m in measured("comparison", "mood", 0) if m.system == "baseline"]
    sweep = [
        m.model_copy(update={"setting": "kept", "at": place})
        for place, setting in ((10.0, "2x"), (20.0, "3x"))
        for m in measured("comparison", "mood", 0)
        if (m.system, m.setting) == ("DeeBERT", setting)
    ]
    (source,) = paper_sources(layout, RunRecord("mini", (*rows, *sweep)))
    line = line_of(source.tasks[0].lines, "DeeBERT")
    assert {p.setting: p.numbers["score"].value for p in line.points} == {"kept 10": 88.0, "kept 20": 80.0}


def test_first_layers_alone_are_one_ladder_under_any_paper() -> None:
    deebert = load_paper(ROOT / "replications" / "deebert" / "paper.yaml")
    (run,) = [run for run in find_runs(ROOT / "results", "deebert") if run.name == "mini-builtin"]
    sources = {source.key: source for source in paper_sources(deebert, run)}
    lines = sources["deebert/mini-builtin/table1"].tasks[0].lines
    assert line_of(lines, STATIC).role == "ladder"
    assert [point.setting for point in line_of(lines, STATIC).points] == ["3L"]


def test_the_papers_that_have_trained_records_have_something_to_plot() -> None:
    for slug in ("cascadebert", "deebert", "fastbert", "pabee", "right_tool"):
        paper = load_paper(ROOT / "replications" / slug / "paper.yaml")
        runs = comparable(find_runs(ROOT / "results", slug))
        sources = [source for run in runs for source in paper_sources(paper, run)]
        assert sources, slug
        assert len({source.key for source in sources}) == len(sources)
        assert plot_json(sources, printed_points(paper))


# -- Published points -------------------------------------------------------------------------------------------------


def test_a_printed_change_of_time_is_a_speed_and_a_gain_may_follow_from_two_scores() -> None:
    deebert = load_paper(ROOT / "replications" / "deebert" / "paper.yaml")
    found = {(p.task, p.backbone, p.setting): p.numbers for p in printed_points(deebert) if p.system == "DeeBERT"}
    numbers = found["SST-2", "BERT-base", "threshold-2"]
    assert numbers["latency"].value == pytest.approx(1 / (1 - 0.40)) and numbers["gained"].value == pytest.approx(-0.6)
    pabee = load_paper(ROOT / "replications" / "pabee" / "paper.yaml")
    gains = [p for p in printed_points(pabee) if p.system == "PABEE" and "gained" in p.numbers]
    assert gains and all(set(KEYS_OF_SPEED) & p.numbers.keys() for p in gains)


def test_the_reference_is_no_published_point_of_its_own() -> None:
    deebert = load_paper(ROOT / "replications" / "deebert" / "paper.yaml")
    assert deebert.reference not in {point.system for point in printed_points(deebert)}


# -- Colours ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dress", GROUNDS)
def test_every_colour_stands_out_on_both_grounds(dress: str) -> None:
    found = shades(dress)
    assert set(found) == set(COLOURS)
    assert all(contrast(shade, GROUNDS[dress]) >= LEAST_CONTRAST for shade in found.values())
    assert len(set(found.values())) == len(found), "and none becomes another"


def test_a_colour_that_stands_out_is_left_alone() -> None:
    assert readable("#0072B2", "#FFFFFF") == "#0072B2"
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21.0)
