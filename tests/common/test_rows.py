"""The short-hand for measurements."""

import pytest

from common.records.statistics import Interval
from common.rows import Rows, ShapeRows

ROW = Rows("sst-2", 3, "tiny", 872)


def test_a_number_shares_task_seed_backbone_and_count() -> None:
    m = ROW("table1", "student", "score", 91.5, "points")
    assert (m.experiment, m.system, m.metric, m.value, m.unit) == ("table1", "student", "score", 91.5, "points")
    assert (m.task, m.seed, m.backbone, m.n) == ("sst-2", 3, "tiny", 872)
    assert (m.ci_low, m.ci_high, m.timed, m.setting) == (None, None, False, "")


def test_an_interval_fills_value_interval_and_count() -> None:
    m = ROW("table1", "student", "score", Interval(2.0, 1.0, 4.0, 17), "points", setting="x", at=0.5, timed=True)
    assert (m.value, m.ci_low, m.ci_high, m.n) == (2.0, 1.0, 4.0, 17)
    assert (m.setting, m.at, m.timed) == ("x", 0.5, True)


def test_what_is_said_explicitly_wins() -> None:
    assert ROW("figure6", "student", "share", 0.5, "fraction", n=3).n == 3
    assert ROW("figure6", "student", "share", Interval.exact(0.5), "fraction", n=3).n == 3


def test_a_field_that_no_measurement_has_is_refused() -> None:
    with pytest.raises(ValueError, match="thershold"):
        ROW("table1", "student", "score", 1.0, "points", thershold=3)


def test_random_weights_belong_to_no_task_and_no_seed() -> None:
    m = ShapeRows("student")("sizes", "bert-base", "time_speedup", Interval(2.0, 1.0, 4.0, 17), "ratio", timed=True)
    assert (m.system, m.backbone, m.task, m.seed) == ("student", "bert-base", "", None)
    assert (m.value, m.ci_low, m.ci_high, m.n, m.timed) == (2.0, 1.0, 4.0, 17, True)
    assert ShapeRows("student")("sizes", "bert-base", "bytes", 4.0, "byte", system="teacher").system == "teacher"
