"""Table 6: which student meets which domain, what it keeps, and that the source's own student is left alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_texts import students_of

from common import task_run
from common.paper import load_paper
from common.run.replication import Run
from common.training.loop import FitReport
from replications.sparse_distillation import transfer
from replications.sparse_distillation.distillation import (
    FROM_SCRATCH,
    KD_NO_TASK_DATA,
    Distillation,
    bag_split,
    dan_logits,
    gold,
)
from replications.sparse_distillation.findings import Findings
from replications.sparse_distillation.names import TEACHER
from replications.sparse_distillation.storage import load_student
from replications.sparse_distillation.transfer import adapted, table6, transfer_steps


def findings(run: Run, task: str, seed: int = 0) -> Findings:
    return Findings(students_of(run, task, seed))


def test_both_directions_are_run_for_every_seed_where_both_tasks_are(toy_run: Run) -> None:
    run = replace(toy_run, _tasks=dict.fromkeys(("sst-2", "imdb", "trec"), toy_run.task("sst-2")))
    found = [findings(run, task, seed) for task in ("sst-2", "imdb", "trec") for seed in (0, 1)]
    assert [step.name for step in transfer_steps(found)] == [
        "imdb to sst-2 seed 0",
        "imdb to sst-2 seed 1",
        "sst-2 to imdb seed 0",
        "sst-2 to imdb seed 1",
    ]
    assert transfer_steps(found[2:]) == []
    assert transfer_steps([]) == []


@pytest.fixture
def pair_of(toy_run: Run) -> tuple[Findings, Findings]:
    source, target = findings(toy_run, "imdb"), findings(toy_run, "sst-2")
    blank = np.zeros(len(target.labels), dtype=np.int64)
    target.__dict__["predictions"] = {TEACHER: blank}  # of the target's many systems one is looked at here
    return source, target


def test_every_row_is_the_accuracy_on_the_target(pair_of: tuple[Findings, Findings]) -> None:
    source, target = pair_of
    rows = {m.system: m for m in table6(source, target)}
    dev = target.students.dev
    labels = np.array([int(e.label) for e in dev])
    # By hand: the source's student reads the target's dev set in the source's vocabulary.
    student = load_student(source.students.folder((KD_NO_TASK_DATA,)))
    split = bag_split(source.students.vocabulary(source.students.design.vocabulary_size), dev, gold(dev))
    assert rows["DAN (KD)"].value == pytest.approx(
        100 * (dan_logits(student, split).argmax(-1).numpy() == labels).mean()
    )
    scratch = target.students.answers((FROM_SCRATCH,))
    assert rows["DAN (from scratch, target)"].value == pytest.approx(100 * (scratch == labels).mean())
    assert rows["teacher (target)"].value == pytest.approx(100 * (labels == 0).mean())
    for m in rows.values():
        assert (m.task, m.setting, m.experiment, m.metric) == ("sst-2", "IMDB to SST-2", "table6", "score")
        assert m.n == len(dev)


def test_the_student_is_the_one_that_saw_no_label_of_the_source(
    pair_of: tuple[Findings, Findings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """KD learns from the corpus alone, and both fine-tuned rows start from it."""
    source, target = pair_of
    asked: list[Path] = []

    def answers(_source: Distillation, _target: Distillation, folder: Path) -> np.ndarray:
        asked.append(folder)
        return np.zeros(len(target.labels), dtype=np.int64)

    monkeypatch.setattr(transfer, "_answers", answers)
    list(table6(source, target))
    heads = [adapted(source.students, target.students, head) for head in ("kept", "re-initialised")]
    assert asked == [source.students.folder((KD_NO_TASK_DATA,)), *heads]
    assert len(set(asked)) == 3


def test_rows_and_settings_are_the_paper_s(pair_of: tuple[Findings, Findings]) -> None:
    paper = load_paper(Path(transfer.__file__).with_name("paper.yaml"))
    (published,) = (table for table in paper.tables if table.id == "table6")
    rows = list(table6(*pair_of))
    assert {m.system for m in rows} == {c.system.replace("RoBERTa-Large", "teacher") for c in published.cells}
    assert {m.setting for m in rows} <= {c.setting for c in published.cells}


def test_the_head_is_kept_or_drawn_anew_and_the_table_is_the_source_s(
    pair_of: tuple[Findings, Findings], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = (f.students for f in pair_of)
    # Nothing is learned: what stage 3 starts from.
    monkeypatch.setattr(task_run, "fit", lambda *_, **__: FitReport(0.0, 0, 0.0, "cpu", "float32", 1))
    start = load_student(source.folder((KD_NO_TASK_DATA,)))
    kept, fresh = (load_student(adapted(source, target, head)) for head in ("kept", "re-initialised"))
    for model in (kept, fresh):
        assert torch.equal(model.table, start.table)
    for ours, same, other in zip(
        start.layers.parameters(), kept.layers.parameters(), fresh.layers.parameters(), strict=True
    ):
        assert torch.equal(ours, same)
        assert not torch.equal(ours, other)


def test_adapting_leaves_the_source_s_student_alone_and_depends_on_the_seed(pair_of: tuple[Findings, Findings]) -> None:
    source, target = (f.students for f in pair_of)
    file = source.folder((KD_NO_TASK_DATA,)) / "student.safetensors"
    before = file.read_bytes()
    folder = adapted(source, target, "kept")
    assert file.read_bytes() == before
    assert not torch.equal(load_student(folder).table, load_student(file.parent).table)
    assert adapted(source, replace(target, task_run=replace(target.task_run, seed=1)), "kept") != folder
    assert adapted(source, target, "kept") == folder
