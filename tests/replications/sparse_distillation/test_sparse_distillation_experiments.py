"""Tables and figures from invented findings, number by number, and the steps of a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from common.paper import load_paper
from common.records.measurements import Measurement
from common.rows import Rows
from common.run.replication import Run
from common.tasks.task import Example, Task
from replications.sparse_distillation import experiments
from replications.sparse_distillation.design import VARIANTS, Design
from replications.sparse_distillation.engine.ngrams import Bags
from replications.sparse_distillation.experiments import TASKS, trained_steps
from replications.sparse_distillation.names import STUDENT

N = 10
ROW = Rows("imdb", 0, "backbone", N)


def bags(texts: list[list[int]]) -> Bags:
    return Bags(np.array([i for t in texts for i in t], dtype=np.int64), np.cumsum([0, *map(len, texts)]))


class Invented:
    """Ten examples; a system's predictions are right on the first so many."""

    labels = np.arange(N) % 2
    constant = np.zeros(N, dtype=np.int64)
    coverage = np.array([0.0, 0.05, 0.1, 0.55, 0.59, 0.95, 0.999, 1.0, 1.0, 1.0])
    cross_entropy = np.arange(N, dtype=float)
    train_ids = np.array([0, 0, 1, 4])
    train_counts = np.array([2, 1, 0, 0, 1])

    def __init__(self) -> None:
        self.predictions = {STUDENT: self.right(7), "teacher": self.right(9)}
        self.vocabulary = FiveNgrams()
        self.split = SimpleNamespace(first=bags([[0, 1], [2], [], [4, 4]] + [[]] * 6), second=None)
        dev = tuple(Example("two words", None, float(i % 2), 1 + i // 5) for i in range(N))
        train = (Example("three words here", None, 0.0), Example("one", None, 1.0))
        grid = {"1K": ((10, 100), (20, 50))}
        self.students = SimpleNamespace(
            task=Task("imdb", ("a", "b"), "accuracy", "files", train, dev),
            train=train,
            metric="accuracy",
            corpus=dev[:3],
            settings=SimpleNamespace(grid=grid),
            design=Design(5, 4),
            answers=self.answers,
        )
        self.asked: list[Design] = []

    def right(self, count: int) -> np.ndarray:
        return np.where(np.arange(N) < count, self.labels, 1 - self.labels)

    def answers(self, stages: tuple[str, ...], design: Design) -> np.ndarray:
        assert stages == ("KD",)
        self.asked.append(design)
        return self.right(5)

    def most_frequent(self, share: float, counts: np.ndarray) -> tuple[float, list[int]]:
        return share, counts.tolist()

    def pruned(self, keep: Any) -> np.ndarray:
        if isinstance(keep, tuple):
            share, counts = keep
            return self.right(round(10 * share) if counts[0] == 9 else 1)
        return self.right(int(keep.sum()))


class FiveNgrams:
    """A vocabulary, as far as the tables look at it."""

    n = np.array([1, 1, 2, 3, 4])
    counts = np.array([9, 8, 7, 6, 5])

    def __len__(self) -> int:
        return 5


def measured(experiment: Any, f: Any = None) -> list[Measurement]:
    found: Iterator[Measurement] = experiment(f or Invented(), ROW)
    return list(found)


def values(experiment: Any, metric: str, by: str = "system") -> dict[Any, float]:
    return {getattr(m, by): m.value for m in measured(experiment) if m.metric == metric}


def test_table_1_counts_the_data() -> None:
    found = {m.metric: m.value for m in measured(experiments.table1)}
    assert found == {"train_size": 2, "dev_size": 10, "average_tokens": 2.0, "corpus_size": 3}


def test_table_2_scores_every_system_and_the_constant_answer() -> None:
    assert values(experiments.table2, "score") == {"constant answer": 50.0, STUDENT: 70.0, "teacher": 90.0}
    for m in measured(experiments.table2):
        assert m.ci_low is not None
        assert m.ci_high is not None
        assert m.ci_low <= m.value <= m.ci_high
        assert m.n == N


def test_table_5_has_every_variant_once() -> None:
    f = Invented()
    found = measured(experiments.table5, f)
    assert [(m.system, m.setting) for m in found] == [
        (g, name) for g, variants in VARIANTS.items() for name in variants
    ]
    wanted = [change(f.students.design) for variants in VARIANTS.values() for change in variants.values()]
    assert f.asked == wanted


def test_table_8_trains_a_student_for_each_cell() -> None:
    f = Invented()
    found = measured(experiments.table8, f)
    assert [(d.vocabulary_size, d.dimension) for d in f.asked] == [(10, 100), (20, 50)]
    assert [(m.system, m.at, m.value) for m in found if m.metric == "dimension"] == [
        ("DAN (1K)", 10, 100),
        ("DAN (1K)", 20, 50),
    ]
    assert [m.value for m in found if m.metric == "score"] == [50.0, 50.0]


def test_table_10_disables_longer_ngrams() -> None:
    assert values(experiments.table10, "vocabulary_size", "at") == {1: 2, 2: 3, 3: 4, 4: 5}
    assert values(experiments.table10, "score", "at") == {1: 20.0, 2: 30.0, 3: 40.0, 4: 50.0}


def test_table_13_intersects_vocabulary_train_and_dev() -> None:
    assert {m.metric: m.value for m in measured(experiments.table13)} == {
        "v0_vocab": 5,
        "v0_and_v1": 3,  # 0, 1, 4
        "v0_and_v2": 4,  # 0, 1, 2, 4
        "v0_and_v1_and_v2": 3,
        "activated_per_example": 0.5,
    }


def test_table_13_counts_both_texts_of_a_pair() -> None:
    f = Invented()
    f.split.second = bags([[3]] * 10)
    found = {m.metric: m.value for m in measured(experiments.table13, f)}
    assert found["v0_and_v2"] == 5
    assert found["activated_per_example"] == 1.5


def test_figure_5_prunes_by_both_frequencies() -> None:
    found = measured(experiments.figure5)
    by_corpus = {m.at: m.value for m in found if m.setting == "C and D_train"}
    assert by_corpus[50.0] == 50.0
    assert by_corpus[100.0] == 100.0
    assert {m.value for m in found if m.setting == "D_train"} == {10.0}
    assert 3.0 in by_corpus, "the claim is about 3 %"


def test_figure_6_has_tenths_of_coverage_each_with_its_examples() -> None:
    share = values(experiments.figure6, "example_share", "at")
    assert share == {5: 0.2, 15: 0.1, 25: 0, 35: 0, 45: 0, 55: 0.2, 65: 0, 75: 0, 85: 0, 95: 0.5}
    assert values(experiments.figure6, "cross_entropy", "at") == {5: 0.5, 15: 2.0, 55: 3.5, 95: 7.0}


def test_language_scores_each_level_of_difficulty() -> None:
    found = {(m.system, m.at): m.value for m in measured(experiments.language)}
    assert found == {(STUDENT, 1): 100.0, (STUDENT, 2): 40.0, ("teacher", 1): 100.0, ("teacher", 2): 80.0}


def test_figure_1_lays_score_beside_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    from common.records.statistics import Interval

    timings = SimpleNamespace(
        arms=("teacher", STUDENT, "control"), speedup=lambda arm: Interval(float(len(arm)), 1.0, 99.0, 7)
    )
    monkeypatch.setattr(experiments, "speeds", lambda f: (timings, {"teacher": 1000.0, STUDENT: 10.0}))
    found = measured(experiments.figure1)
    assert {m.system for m in found if m.metric == "speedup" and m.timed} == {"teacher", STUDENT, "control"}
    assert {m.system: m.value for m in found if m.metric == "score"} == {"teacher": 90.0, STUDENT: 70.0}
    assert {m.system: m.value for m in found if m.metric == "flops_ratio"} == {"teacher": 1.0, STUDENT: 100.0}


def test_measured_metrics_are_those_that_the_paper_file_shows() -> None:
    paper = load_paper(Path(experiments.__file__).with_name("paper.yaml"))
    tables = {t.id: {c.metric for c in t.metrics} for t in paper.tables}
    for experiment in ("table1", "table2", "table5", "table8", "table10", "table13"):
        found = measured(getattr(experiments, experiment))
        assert {m.experiment for m in found} == {experiment}
        assert {m.metric for m in found} <= tables[experiment], experiment
    figures = {f.experiment or f.id: f for f in paper.figures}
    for name in ("figure5", "figure6", "language"):
        assert {m.experiment for m in measured(getattr(experiments, name))} == {name}
        assert name in figures


# -- The steps of a run -----------------------------------------------------------------------------------------------


def names(run: Run) -> list[str]:
    return [step.name for step in trained_steps(run)]


def test_teaching_comes_before_students_and_the_evidence_last(toy_run: Run) -> None:
    found = names(replace(toy_run, task_names=("sst-2", "imdb"), seeds=(0, 1)))
    labels = [f"{t} seed {s}" for t in ("sst-2", "imdb") for s in (0, 1)]
    assert found[-4:] == [f"{label}: the answers of every system" for label in labels]
    for label in labels:
        mine = [name.removeprefix(f"{label}: ") for name in found if name.startswith(label)]
        assert mine[:4] == [
            "the baseline", "static ladder, 2 of 4 layers", "the teacher's answers", "students"
        ]  # fmt: skip
    assert len(set(found)) == len(found)


def test_the_paper_s_studies_on_imdb_are_on_documents_alone(toy_run: Run) -> None:
    assert not any("variants" in name or "dimension" in name for name in names(replace(toy_run, task_names=("sst-2",))))
    builtin = names(replace(toy_run, data="builtin", data_dir=None))
    assert "sentiment seed 0: variants" in builtin
    assert {name.split()[0].strip(":") for name in builtin} == set(TASKS["builtin"])


def test_planning_trains_nothing(toy_run: Run) -> None:
    steps = trained_steps(replace(toy_run, task_names=("sst-2",)))
    assert all(step.seconds > 0 for step in steps)
    assert not (toy_run.store.root / "objects").exists()
