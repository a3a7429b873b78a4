"""What DistilBERT trains and measures on a toy task run, and what the run keeps for its claims."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from kit.toy_evidence import all_right, record_of
from kit.toy_run import picked, quiet, run_steps, small_run, toy_task

from common.costs.flops import classifier_flops
from common.errors import UserError
from common.methods import ONLY, find_method
from common.models.classifier import classifier_logits
from common.models.span_reader import SpanReader
from common.reading_run import ReadingRun
from common.records.measurements import Measurement
from common.records.predictions import Evidence, static_name
from common.run.artifacts import ArtifactStore
from common.run.replication import Run
from common.scales import SCALES
from common.task_run import TaskRun
from common.training.loop import TrainingPlan
from common.training.pretraining.language_model import MaskedLanguageModel
from common.training.pretraining.rows import PackedRows, held_out
from replications.distilbert import students as module
from replications.distilbert.claims import init_matters, mlm_little, retains_97
from replications.distilbert.contender import DistilBERT
from replications.distilbert.experiments import macro_rows, trained_steps
from replications.distilbert.names import (
    ABLATIONS,
    BASELINE,
    CONSTANT,
    DISTILBERT,
    EXACT,
    F1,
    RANDOM,
    REFERENCE,
    TEACHER,
    TWICE,
    UNIGRAM,
    marks_name,
)
from replications.distilbert.reading import Readers
from replications.distilbert.students import MAIN, SETTINGS, VARIANTS, Pretraining, Students

TOY = toy_task("toy", ("no", "yes"), lambda i: i % 3 > 0)
OTHER = toy_task("other", ("no", "yes"), lambda i: i % 2)


@pytest.fixture(scope="module", autouse=True)
def little_text() -> object:
    """Every student of the smoke scale reads a few hundred words, and the ablations fewer."""
    plan = TrainingPlan(2e-3, epochs=1, batch_size=8, seed=0, max_length=24, precision="float32")
    settings = SETTINGS["smoke"]
    quick = replace(
        settings.recipe,
        whole=replace(settings.recipe.whole, epochs=1),
        shallow=replace(settings.recipe.shallow, epochs=1),
    )
    little = replace(settings, recipe=quick, pretraining=Pretraining(500, 400, plan, share=0.5))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(module.SETTINGS, "smoke", little)
        yield


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Measurement], list[Evidence], Run]:
    """Every step on two toys."""
    folder = tmp_path_factory.mktemp("whole")
    run = small_run(folder, TOY, OTHER)
    return run_steps(trained_steps(run), run, folder), run.evidence, run


def test_every_table_and_figure_has_its_rows(measured: tuple[list[Measurement], list[Evidence], Run]) -> None:
    rows, _, _ = measured
    scored = picked(rows, experiment="table1", task="toy", metric="score")
    assert {m.system for m in scored} == {"constant answer", "baseline", static_name(2), DISTILBERT}
    assert picked(rows, experiment="table1", task="toy", metric="time_speedup", system=DISTILBERT)
    assert [m.system for m in picked(rows, experiment="table4", task="toy", metric="delta")] == list(ABLATIONS)
    assert not picked(rows, experiment="table4", task="other"), "the smoke scale spares"
    macro = picked(rows, experiment="table1", task="macro", metric="score", system=DISTILBERT)
    both = [
        m.value
        for m in rows
        if (m.experiment, m.metric, m.system) == ("table1", "score", DISTILBERT) and m.task != "macro"
    ]
    assert [m.value for m in macro] == [pytest.approx(sum(both) / 2)]
    assert picked(rows, experiment="difficulty", system=DISTILBERT)


def test_who_guesses_how_many_masked_words_is_told_beside_word_counts(
    measured: tuple[list[Measurement], list[Evidence], Run],
) -> None:
    rows = picked(measured[0], experiment="pretraining", metric="masked_accuracy")
    assert {m.system for m in rows} == {UNIGRAM, TEACHER, DISTILBERT, REFERENCE, *ABLATIONS}
    tokens = {m.system: m.value for m in picked(measured[0], experiment="pretraining", metric="tokens")}
    assert tokens[DISTILBERT] > tokens[REFERENCE] == tokens[RANDOM]
    assert len({m.n for m in rows}) == 1, "all guess the same masked words, whatever they read"


def test_everyone_is_scored_on_the_end_of_the_longest_text_and_rows_held_back_are_not_counted(
    measured: tuple[list[Measurement], list[Evidence], Run],
) -> None:
    students = Students.of(measured[2])
    ablation, whole = students.reading(VARIANTS[0]), students.reading(MAIN)
    assert ablation.facts != whole.facts
    model = MaskedLanguageModel.load(students.folder(VARIANTS[0]))
    assert students.score(VARIANTS[0]) == whole.score(model) != ablation.score(model)
    assert students.teacher_score == whole.score(students.teacher.model())
    rows = [len(part) for part in held_out(PackedRows(whole.text, whole.words, 24))]
    assert rows[1] > 0
    assert students.tokens(MAIN) == 24 * rows[0]


def test_the_claims_can_be_decided_from_what_is_kept(
    measured: tuple[list[Measurement], list[Evidence], Run],
) -> None:
    sst2 = [replace(all_right(e), task="sst-2") for e in measured[1] if e.task == "toy"]
    assert all(decide(record_of(*sst2)) is not None for decide in (retains_97, init_matters, mlm_little))


def test_variants_are_pre_trained_apart_and_the_student_begins_as_chosen_layers(
    measured: tuple[list[Measurement], list[Evidence], Run],
) -> None:
    students = Students.of(measured[2])
    folders = [students.folder(variant) for variant in (MAIN, *VARIANTS)]
    assert len(set(folders)) == 1 + len(VARIANTS)
    assert students.layers == (1, 4)
    assert students.source().encoder.num_layers == 2
    assert students.source().tokenizer is students.run.encoder(students.backbone).tokenizer


def test_a_student_is_fine_tuned_without_a_teacher_on_all_of_its_layers(
    measured: tuple[list[Measurement], list[Evidence], Run],
) -> None:
    run = TaskRun.of(measured[2], "toy", 0, SETTINGS["smoke"].recipe)
    contender = DistilBERT(run, Students.of(measured[2]))
    arm = contender.arm(ONLY)
    found = classifier_logits(arm, run.splits["dev"], torch.device("cpu"))  # type: ignore[arg-type]
    torch.testing.assert_close(found, contender.logits("dev"))
    outcome = contender.outcome("dev", ONLY)
    assert outcome.exit_layer.tolist() == [2] * len(found)
    lengths = run.splits["dev"].lengths
    assert contender.flops("dev", ONLY).tolist() == [classifier_flops(run.shape, t, 2, layers=2) for t in lengths]
    before = contender.students.source().encoder
    after = arm.encoder  # type: ignore[attr-defined]
    assert not torch.equal(before.word_embeddings, after.word_embeddings)


def test_equal_budgets_are_one_student(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where ablations read as much as the student does, what they are compared with is the student."""
    settings = SETTINGS["smoke"]
    equal = replace(settings, pretraining=replace(settings.pretraining, ablation_words=500))
    monkeypatch.setitem(module.SETTINGS, "smoke", equal)
    students = Students.of(small_run(tmp_path, TOY))
    assert students.text(MAIN).fingerprint == students.text(VARIANTS[0]).fingerprint


def test_it_is_offered_for_values_too() -> None:
    assert find_method("distilbert").regression


def test_files_without_plain_text_are_refused_by_the_paper_and_read_from_the_task_in_a_comparison(
    tmp_path: Path,
) -> None:
    (tmp_path / "data").mkdir()
    store = ArtifactStore(tmp_path)
    run = Run("r", SCALES["smoke"], "files", tmp_path / "data", (), (0,), store, tmp_path, quiet, lambda line: None)
    run._tasks["toy"] = TOY
    with pytest.raises(UserError, match="no plain text to pre-train on"):
        Students.of(run)
    contender = DistilBERT.of(TaskRun.of(run, "toy", 0))
    assert "the train of toy: there is no plain text" in contender.training_steps()[0].name
    assert contender.students.corpus is not None
    assert sum(1 for _ in contender.students.corpus.documents()) == len(TOY.train)


def test_one_task_has_no_mean(tmp_path: Path, measured: tuple[list[Measurement], list[Evidence], Run]) -> None:
    run = small_run(tmp_path, TOY)
    run.keep(next(e for e in measured[1] if e.task == "toy"))
    assert macro_rows(run) == []


def test_questions_are_read_by_the_student_once_and_twice_distilled(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    run = Run("r", SCALES["smoke"], "builtin", None, ("lookup",), (0,), store, tmp_path, quiet, lambda line: None)
    rows = run_steps(trained_steps(run), run, tmp_path)
    found = {(m.system, m.metric) for m in picked(rows, experiment="table1", task="lookup")}
    assert found == {(s, m) for s in (CONSTANT, BASELINE, DISTILBERT, TWICE) for m in (F1, EXACT)}
    (kept,) = run.evidence
    assert len(kept[marks_name(TWICE, F1)]) == len(run.span_task("lookup").dev)
    assert not picked(rows, task="macro")
    readers = Readers(ReadingRun.of(run, "lookup", 0, SETTINGS["smoke"].recipe), Students.of(run))
    once, twice = (SpanReader.load(readers.folder(twice=t)) for t in (False, True))
    assert not torch.equal(once.head.weight, twice.head.weight)
    assert once.encoder.num_layers == 2
