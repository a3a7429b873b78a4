"""The chain of stages that makes a student: what each stage is shown, what it starts from, and what is kept."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from toy_texts import students_of

from common import task_run
from common.baselines import RECIPES
from common.errors import UserError
from common.run.replication import Run
from common.task_run import TaskRun
from common.tasks.task import Example, Task
from common.training.loop import FitReport
from replications.sparse_distillation.corpus import cut
from replications.sparse_distillation.design import Design
from replications.sparse_distillation.distillation import (
    FROM_SCRATCH,
    FT,
    KD,
    KD_NO_TASK_DATA,
    SYSTEMS,
    Distillation,
    bag_split,
    dan_logits,
    label_loss,
    teacher_loss,
)
from replications.sparse_distillation.engine.bags import BagBatch, BagBatches, BagSplit
from replications.sparse_distillation.engine.extraction import Bags
from replications.sparse_distillation.findings import Findings
from replications.sparse_distillation.method import DAN
from replications.sparse_distillation.names import LSTM_STUDENT
from replications.sparse_distillation.settings import SETTINGS
from replications.sparse_distillation.storage import load_student
from replications.sparse_distillation.students import CNN, BiLSTM

Shown = list[tuple[str, Any, BagSplit]]


@pytest.fixture
def students(toy_run: Run) -> Distillation:
    return students_of(toy_run, "sst-2")


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    """What every stage was shown: its loss, its plan and its texts; nothing is learned."""
    kept: Shown = []

    def fit(model: DAN, batches: BagBatches, loss: Callable[..., Tensor], plan: Any, **_: object) -> FitReport:
        kept.append((loss.__name__, plan, batches.split))
        with torch.no_grad():
            model.layers[-1].bias.add_(1.0)
        return FitReport(0.0, 0, 0.0, "cpu", "float32", 1)

    monkeypatch.setattr(task_run, "fit", fit)
    return kept


# -- Stage 1: the teacher's answers -----------------------------------------------------------------------------------


def test_the_teacher_is_the_baseline_and_answers_each_text_in_its_place(students: Distillation) -> None:
    """C first, then D_train, which it reads uncut."""
    run, logits = students.task_run, students.teacher_logits
    model, examples = run.classifier(), (*students.corpus, *students.task.train)
    assert logits.shape == (len(examples), 2)
    encoded = run.backbone.tokenizer([e.text_a for e in examples])["input_ids"]
    short = [i for i, ids in enumerate(encoded) if len(ids) <= run.plan.max_length]
    assert short[0] < len(students.corpus) <= short[-1]
    for i in short[::7]:
        ids = torch.tensor([encoded[i]])
        row = SimpleNamespace(input_ids=ids, attention_mask=torch.ones_like(ids), token_type_ids=None)
        with torch.inference_mode():
            torch.testing.assert_close(model(row)[0], logits[i], atol=1e-4, rtol=1e-4)


def test_answers_are_stored_and_read_again(
    students: Distillation, toy_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = students.teacher_logits
    monkeypatch.setattr(TaskRun, "classifier", lambda *_: pytest.fail("the teacher was asked again"))
    assert torch.equal(first, students_of(toy_run, "sst-2").teacher_logits)


def test_the_recipe_follows_teacher_and_texts(
    students: Distillation, toy_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = replace(students.settings.teacher.whole, learning_rate=0.5)
    changed = [students.teacher_recipe]
    for settings in (
        replace(students.settings, corpus_words=200),
        replace(students.settings, max_words=3),
        replace(students.settings, teacher=replace(students.settings.teacher, whole=whole)),
    ):
        monkeypatch.setitem(SETTINGS, "toy", settings)
        changed.append(students_of(toy_run, "sst-2").teacher_recipe)
    assert all(a != b for i, a in enumerate(changed) for b in changed[:i])


def test_a_regression_is_refused(toy_run: Run) -> None:
    examples = tuple(Example(f"text {i}", None, 0.5) for i in range(20))
    regression = Task("own", (), "spearman", "files", examples, examples)
    with pytest.raises(UserError, match="own is a regression"):
        students_of(replace(toy_run, _tasks={"own": regression}), "own")


def test_every_seed_has_the_teacher_of_its_own_task_run(toy_run: Run) -> None:
    recipes = [students_of(toy_run, "sst-2", seed).teacher_recipe for seed in (0, 1)]
    assert recipes[0] != recipes[1]
    assert recipes[0]["texts"] == recipes[1]["texts"], "and the vocabulary of all"


# -- The vocabulary ---------------------------------------------------------------------------------------------------


def test_the_vocabulary_is_of_train_and_corpus_and_not_of_dev(students: Distillation, toy_run: Run) -> None:
    task = toy_run.task("sst-2")
    marked = replace(
        task,
        train=(Example("onlyintrain", None, 0.0), *task.train[1:]),
        dev=(Example("onlyindev", None, 0.0), *task.dev[1:]),
    )
    known = set(students_of(replace(toy_run, _tasks={"sst-2": marked}), "sst-2").vocabulary(10**6).ngrams())
    assert "onlyintrain" in known
    assert "onlyindev" not in known
    assert "went on" in known, "from the corpus: no text of the task has it"
    assert len(students.vocabulary(50)) == 50


def test_both_texts_of_a_pair_are_in_the_vocabulary(toy_run: Run) -> None:
    pairs = tuple(Example(f"first{i} word", f"second{i} word", float(i % 2)) for i in range(30))
    task = Task("qqp", ("no", "yes"), "f1", "files", pairs, pairs)
    students = students_of(replace(toy_run, _tasks={"qqp": task}), "qqp")
    students.__dict__["corpus"] = (Example("third", "fourth", 0.0),)
    known = set(students.vocabulary(10**6).ngrams())
    assert {"first7", "second7", "third", "fourth"} <= known


# -- Long texts -------------------------------------------------------------------------------------------------------


def test_long_texts_are_cut_after_so_many_words_and_short_ones_left_as_they_are() -> None:
    examples = (Example("one  two\tthree four", "a b", 1.0, 3), Example(" two  words ", None, 0.0))
    found = cut(examples, 2)
    assert found == (Example("one two", "a b", 1.0, 3), Example(" two  words ", None, 0.0))
    assert cut(examples, 3)[0].text_a == "one two three"
    assert cut(examples, 4) == examples
    assert cut((Example("", "a b c", 0.0),), 2) == (Example("", "a b", 0.0),)


def test_students_read_the_first_words_alone_and_no_markup(
    students: Distillation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SETTINGS, "toy", replace(students.settings, max_words=3))
    short = students_of(students.task_run.run, "imdb")
    texts = [e.text_a for split in (short.train, short.dev, short.corpus) for e in split]
    assert max(len(text.split()) for text in texts) == 3
    assert [e.label for e in short.dev] == [e.label for e in short.task.dev]
    assert not any("<br" in e.text_a for e in students_of(students.task_run.run, "imdb").train)
    words = {word for ngram in short.vocabulary(10**6).ngrams() for word in ngram.split()}
    assert words <= {word for text in texts for word in text.lower().replace(".", " ").split()}


# -- What each stage is shown -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", [FROM_SCRATCH, KD, KD_NO_TASK_DATA])
def test_a_stage_learns_from_its_own_texts_and_targets(students: Distillation, shown: Shown, stage: str) -> None:
    students.folder((stage,))
    vocabulary, corpus = students.vocabulary(students.design.vocabulary_size), students.corpus
    ((loss, plan, split),) = shown
    examples = {FROM_SCRATCH: students.train, KD: (*corpus, *students.train), KD_NO_TASK_DATA: corpus}[stage]
    wanted = vocabulary.bags([e.text_a for e in examples])
    np.testing.assert_array_equal(split.first.ids, wanted.ids)
    np.testing.assert_array_equal(split.first.offsets, wanted.offsets)
    if stage == FROM_SCRATCH:
        assert loss == "label_loss"
        assert split.targets.tolist() == [int(e.label) for e in examples]
        assert plan == replace(students.settings.from_scratch, seed=0)
    else:
        assert loss == "teacher_loss"
        assert torch.equal(split.targets, students.teacher_logits[: len(examples)])
        assert plan == replace(students.settings.distil, seed=0)


def test_without_a_corpus_the_student_is_distilled_on_train_alone(toy_run: Run, shown: Shown) -> None:
    students = Distillation(TaskRun.of(toy_run, "sst-2", 0, SETTINGS["toy"].teacher), without_corpus=True)
    students.folder((KD, FT))
    assert [len(split) for _, _, split in shown] == [len(students.task.train)] * 2
    assert torch.equal(shown[0][2].targets, students.teacher_logits)
    assert "went on" not in students.vocabulary(10**6).ngrams()


def test_how_much_is_read_of_train_is_a_part_of_every_recipe(toy_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    students = Distillation(TaskRun.of(toy_run, "sst-2", 0, SETTINGS["toy"].teacher), without_corpus=True)
    before = students.texts
    monkeypatch.setitem(SETTINGS, "toy", replace(students.settings, max_words=3))
    assert students.texts != before


def test_fine_tuning_goes_on_from_the_distilled_student_on_labels_alone(students: Distillation, shown: Shown) -> None:
    folder = students.folder((KD, FT))
    assert [loss for loss, _, _ in shown] == ["teacher_loss", "label_loss"]
    assert shown[1][1] == replace(students.settings.finetune, seed=0)
    assert len(shown[1][2]) == len(students.task.train)
    start, end = load_student(students.folder((KD,))), load_student(folder)
    assert torch.equal(end.table, start.table)
    torch.testing.assert_close(end.layers[-1].bias, start.layers[-1].bias + 1)


def test_the_systems_of_table_2_are_these_chains() -> None:
    assert SYSTEMS == {
        "DAN (from scratch)": (FROM_SCRATCH,),
        "DAN (KD, no task data)": (KD_NO_TASK_DATA,),
        "DAN (KD)": (KD,),
        "DAN (KD+FT)": (KD, FT),
    }


def test_there_is_no_gold_label_in_distillation() -> None:
    """The corpus has no labels; those of D_train must not reach stage 2 either."""
    model = Design(5, 4).build(5, 3, pair=False).eval()
    batch = bag_batch(torch.randn(2, 3))
    by_hand = F.kl_div(model(batch).log_softmax(-1), batch.targets.softmax(-1), reduction="sum") / 2
    torch.testing.assert_close(teacher_loss(model, batch), by_hand)
    gold = bag_batch(torch.tensor([2, 0]))
    torch.testing.assert_close(label_loss(model, gold), -model(gold).log_softmax(-1)[[0, 1], [2, 0]].mean())


def bag_batch(targets: Tensor) -> BagBatch:
    split = BagSplit(bags([[1, 2], [3]]), None, targets)
    return split.batch([0, 1])


def bags(texts: list[list[int]]) -> Bags:
    return Bags(np.array([i for t in texts for i in t]), np.cumsum([0, *map(len, texts)]))


# -- Sizes come from the task -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [("no", "yes"), tuple("abcdef")])
@pytest.mark.parametrize("pair", [False, True])
def test_classes_and_inputs_are_the_task_s(toy_run: Run, labels: tuple[str, ...], pair: bool) -> None:
    examples = tuple(Example("a", "b" if pair else None, 0.0) for _ in range(3))
    task = Task("mine", labels, "accuracy", "files", examples, examples)
    students = students_of(replace(toy_run, _tasks={"mine": task}), "mine")
    students.__dict__["vocabulary"] = lambda size: range(37)
    model = students.fresh(Design(100, 8))
    assert tuple(model.table.shape) == (37, 8)
    assert model.layers[0].in_features == (32 if pair else 8)
    assert model.layers[-1].out_features == len(labels)


def test_a_pair_is_two_bags(students: Distillation) -> None:
    pairs = [Example("film", "plot", 0.0), Example("superb film", "", 1.0)]
    vocabulary = students.vocabulary(students.design.vocabulary_size)
    split = bag_split(vocabulary, pairs, torch.tensor([0, 1]))
    assert split.second is not None
    np.testing.assert_array_equal(split.first.ids, vocabulary.bags(["film", "superb film"]).ids)
    assert split.second.lengths.tolist() == [1, 0]


# -- Training for real ------------------------------------------------------------------------------------------------


def test_training_improves_the_student_is_repeatable_and_depends_on_the_seed(students: Distillation) -> None:
    model = students.model((KD,))
    assert not model.training
    run = students.task_run.run
    assert students_of(replace(run), "sst-2").folder((KD,)) == students.folder((KD,))
    other = students_of(run, "sst-2", 1)
    assert not torch.equal(other.model((KD,)).table, model.table)
    vocabulary = students.vocabulary(students.design.vocabulary_size)
    split = bag_split(vocabulary, students.corpus, students.teacher_logits[: len(students.corpus)])
    untrained = students.fresh(students.design).eval()
    batch = next(split.in_order(len(split)))
    with torch.no_grad():
        assert teacher_loss(model, batch) < teacher_loss(untrained, batch)


def test_the_same_seed_trains_to_the_same_bits(students: Distillation, toy_run: Run) -> None:
    """Whether or not the teacher and the vocabulary had to be made first."""
    first = [p.clone() for p in students.model((KD,)).parameters()]
    folder = students.folder((KD,))
    for file in folder.iterdir():
        file.unlink()
    second = students_of(replace(toy_run), "sst-2").model((KD,))
    for a, b in zip(first, second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_changed_hyper_parameter_is_another_student(
    students: Distillation, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, run = students.settings, students.task_run.run
    folders = [students.folder((KD,)), students.folder((KD,), replace(students.design, activation="tanh"))]
    for changed in (
        replace(settings, ngram_dropout=0.5),
        replace(settings, max_words=3),
        replace(settings, distil=replace(settings.distil, learning_rate=0.5)),
    ):
        monkeypatch.setitem(SETTINGS, "toy", changed)
        folders.append(students_of(run, "sst-2").folder((KD,)))
    assert len(set(folders)) == 5
    assert len(shown) == 5


def test_training_a_loaded_student_leaves_its_file_alone(students: Distillation) -> None:
    """Stage 3 trains what it has loaded from stage 2, in place: the artifact must not change with it."""
    folder = students.folder((KD,))
    before = (folder / "student.safetensors").read_bytes()
    model = load_student(folder)
    with torch.no_grad():
        model.table.mul_(2.0)
    assert (folder / "student.safetensors").read_bytes() == before
    students.folder((KD, FT))
    assert (folder / "student.safetensors").read_bytes() == before
    assert students.folder((KD,)) == folder


@pytest.mark.parametrize("pair", [False, True])
@pytest.mark.parametrize(
    "design",
    [
        Design(9, 4),
        Design(9, 4, pooling="attentive", activation="tanh"),
        Design(9, 4, hidden=(4, 2), dropout=0.4),
        Design(9, 4, hidden=(16,), pooling="max"),
    ],
)
def test_a_saved_student_answers_as_before(tmp_path: Any, design: Design, pair: bool) -> None:
    torch.manual_seed(0)
    model = design.build(7, 3, pair=pair).eval()
    model.save(tmp_path)
    loaded = load_student(tmp_path)
    second = bags([[0], []]) if pair else None
    split = BagSplit(bags([[1, 2], [6, 6]]), second, torch.zeros(2))
    assert torch.equal(dan_logits(loaded, split), dan_logits(model, split))
    assert not loaded.training
    assert loaded.dropout == design.dropout
    assert all(p.requires_grad for p in loaded.parameters())


def test_predictions_are_the_largest_logits_on_dev(students: Distillation) -> None:
    dev, model = students.dev_bags(), students.model((KD,))
    assert dev.targets.tolist() == [int(e.label) for e in students.task.dev]
    logits = dan_logits(model, dev)
    one_by_one = torch.cat([dan_logits(model, BagSplit(dev.first.take([i]), None, dev.targets[[i]])) for i in range(5)])
    torch.testing.assert_close(logits[:5], one_by_one)
    np.testing.assert_array_equal(students.answers((KD,)), logits.argmax(-1).numpy())


# -- Students that read tokens ----------------------------------------------------------------------------------------


def test_token_students_learn_from_corpus_and_train(students: Distillation, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    original = task_run.fit

    def spy(model: Any, batches: Any, *more: Any, **options: Any) -> Any:
        seen.append(batches)
        return original(model, batches, *more, **options)

    monkeypatch.setattr(task_run, "fit", spy)
    model = students.token_student("cnn", CNN)
    run, split = students.task_run, seen[0].split
    assert split.input_ids[len(students.corpus) :] == run.encoded.train.input_ids
    assert len(split) == len(students.corpus) + len(students.task.train)
    assert torch.equal(split.labels, students.teacher_logits)
    assert not model.training
    assert students.token_answers(model).shape == (len(students.task.dev),)
    again = Distillation(run).token_student("cnn", CNN)
    assert len(seen) == 1, "trained once"
    for a, b in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    start = run.backbone.encoder.word_embeddings
    assert not torch.equal(model.embedding.weight, start), "the copy goes on learning, the teacher's stays"


def test_an_lstm_of_another_width_is_another_student(students: Distillation, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(Findings(students).token_students[LSTM_STUDENT], BiLSTM)
    monkeypatch.setitem(SETTINGS, "toy", replace(students.settings, lstm=6))
    run = students.task_run.run
    found = Findings(students_of(run, "sst-2")).token_students[LSTM_STUDENT]
    assert isinstance(found, BiLSTM)
    assert found.lstm.hidden_size == 6
    assert not Findings(students_of(run, "sst-2", 7)).token_students, "the first seed alone has them"


# -- Costs ------------------------------------------------------------------------------------------------------------


def test_costs_are_positive_and_grow_with_the_work(students: Distillation, monkeypatch: pytest.MonkeyPatch) -> None:
    before = students.labelling_seconds, students.student_seconds
    monkeypatch.setitem(SETTINGS, "toy", replace(students.settings, corpus_words=10**8))
    assert students.labelling_seconds > before[0] > 0
    assert students.student_seconds > before[1] > 0


def test_at_a_known_scale_the_teacher_is_everyone_s_baseline(toy_run: Run) -> None:
    """Equal to the last bit: the artifact of the common recipe."""
    run = TaskRun.of(replace(toy_run, scale=replace(toy_run.scale, name="smoke")), "sst-2", 0)
    assert run.recipe is RECIPES["smoke"]
    assert run.recipe == SETTINGS["smoke"].teacher
    assert Distillation(run).teacher_recipe["teacher"] == run.facts
