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

from common.replication import Run
from common.tasks.task import Example
from replications.sparse_distillation import trial as trial_module
from replications.sparse_distillation.engine.bags import BagBatch, BagSplit
from replications.sparse_distillation.lesson import Lesson
from replications.sparse_distillation.method import DAN
from replications.sparse_distillation.settings import SETTINGS, Design
from replications.sparse_distillation.storage import load_dan, save_dan
from replications.sparse_distillation.students import CNN, BiLSTM
from replications.sparse_distillation.trial import (
    FROM_SCRATCH,
    FT,
    KD,
    KD_NO_TASK_DATA,
    SYSTEMS,
    Trial,
    bag_split,
    dan_logits,
    joined,
    label_loss,
    teacher_loss,
)

Shown = list[tuple[str, Any, BagSplit]]


@pytest.fixture
def trial(toy_run: Run) -> Trial:
    return Trial(Lesson(toy_run, "sst-2"), 0)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    """What every stage was shown: its loss, its plan and its texts; nothing is learned."""
    kept: Shown = []

    def train(self: Trial, model: DAN, split: BagSplit, loss: Callable[..., Tensor], plan: Any, folder: Any) -> None:
        kept.append((loss.__name__, plan, split))
        with torch.no_grad():
            model.layers[-1].bias.add_(1.0)

    monkeypatch.setattr(Trial, "train", train)
    return kept


# -- What each stage is shown -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", [FROM_SCRATCH, KD, KD_NO_TASK_DATA])
def test_a_stage_learns_from_its_own_texts_and_targets(trial: Trial, shown: Shown, stage: str) -> None:
    trial.folder((stage,))
    lesson, vocabulary = trial.lesson, trial.vocabulary(trial.design)
    ((loss, plan, split),) = shown
    examples = {
        FROM_SCRATCH: lesson.task.train,
        KD: (*lesson.corpus, *lesson.task.train),
        KD_NO_TASK_DATA: lesson.corpus,
    }[stage]
    wanted = vocabulary.bags([e.text_a for e in examples])
    np.testing.assert_array_equal(split.first.ids, wanted.ids)
    np.testing.assert_array_equal(split.first.offsets, wanted.offsets)
    if stage == FROM_SCRATCH:
        assert loss == "label_loss"
        assert split.targets.tolist() == [int(e.label) for e in examples]
        assert plan == replace(lesson.settings.from_scratch, seed=0)
    else:
        assert loss == "teacher_loss"
        answers = lesson.teacher_logits
        both = [answers.corpus] if stage == KD_NO_TASK_DATA else [answers.corpus, answers.train]
        assert torch.equal(split.targets, torch.cat(both))
        assert plan == replace(lesson.settings.distil, seed=0)


def test_fine_tuning_goes_on_from_the_distilled_student_on_labels_of_train_alone(trial: Trial, shown: Shown) -> None:
    folder = trial.folder((KD, FT))
    assert [loss for loss, _, _ in shown] == ["teacher_loss", "label_loss"]
    assert shown[1][1] == replace(trial.lesson.settings.finetune, seed=0)
    assert len(shown[1][2]) == len(trial.lesson.task.train)
    start, end = load_dan(trial.folder((KD,))), load_dan(folder)
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
    split = BagSplit(trial_bags([[1, 2], [3]]), None, targets)
    return split.batch([0, 1])


def trial_bags(texts: list[list[int]]) -> Any:
    from replications.sparse_distillation.engine.ngrams import Bags

    return Bags(np.array([i for t in texts for i in t]), np.cumsum([0, *map(len, texts)]))


# -- Sizes come from the task -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [("no", "yes"), tuple("abcdef")])
@pytest.mark.parametrize("pair", [False, True])
def test_classes_and_inputs_are_the_task_s(labels: tuple[str, ...], pair: bool) -> None:
    task = SimpleNamespace(labels=labels, is_pair=pair)
    lesson: Any = SimpleNamespace(task=task)
    model = Trial(lesson, 0).fresh(Design(100, 8), range(37))  # type: ignore[arg-type]
    assert tuple(model.table.shape) == (37, 8)
    assert model.layers[0].in_features == (32 if pair else 8)
    assert model.layers[-1].out_features == len(labels)


def test_a_pair_is_two_bags(trial: Trial) -> None:
    pairs = [Example("film", "plot", 0.0), Example("superb film", "", 1.0)]
    vocabulary = trial.vocabulary(trial.design)
    split = bag_split(vocabulary, pairs, torch.tensor([0, 1]))
    assert split.second is not None
    np.testing.assert_array_equal(split.first.ids, vocabulary.bags(["film", "superb film"]).ids)
    assert split.second.lengths.tolist() == [1, 0]


# -- Training for real ------------------------------------------------------------------------------------------------


def test_training_improves_the_student_is_repeatable_and_depends_on_the_seed(trial: Trial) -> None:
    model = trial.model((KD,))
    assert not model.training
    again = Trial(Lesson(replace(trial.lesson.run), "sst-2"), 0)
    assert again.folder((KD,)) == trial.folder((KD,))
    other = Trial(trial.lesson, 1)
    assert not torch.equal(other.model((KD,)).table, model.table)
    split = bag_split(trial.vocabulary(trial.design), trial.lesson.corpus, trial.lesson.teacher_logits.corpus)
    torch.manual_seed(0)
    untrained = trial.fresh(trial.design, trial.vocabulary(trial.design)).eval()
    batch = next(split.in_order(len(split)))
    with torch.no_grad():
        assert teacher_loss(model, batch) < teacher_loss(untrained, batch)


def test_the_same_seed_trains_to_the_same_bits(trial: Trial, toy_run: Run) -> None:
    first = trial.model((FROM_SCRATCH,))
    folder = trial.folder((FROM_SCRATCH,))
    for file in folder.iterdir():
        file.unlink()
    fresh_run = replace(toy_run)
    second = Trial(Lesson(fresh_run, "sst-2"), 0).model((FROM_SCRATCH,))
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_changed_hyper_parameter_is_another_student(
    trial: Trial, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = trial.lesson.settings
    folders = [trial.folder((KD,)), trial.folder((KD,), replace(trial.design, activation="tanh"))]
    for changed in (
        replace(settings, ngram_dropout=0.5),
        replace(settings, distil=replace(settings.distil, learning_rate=0.5)),
    ):
        monkeypatch.setitem(SETTINGS, "toy", changed)
        folders.append(Trial(trial.lesson, 0).folder((KD,)))
    assert len(set(folders)) == 4
    assert len(shown) == 4


def test_training_a_loaded_student_leaves_its_file_alone(trial: Trial) -> None:
    """Stage 3 trains what it has loaded from stage 2, in place: the artifact must not change with it."""
    folder = trial.folder((KD,))
    before = (folder / "student.safetensors").read_bytes()
    model = load_dan(folder)
    with torch.no_grad():
        model.table.mul_(2.0)
    assert (folder / "student.safetensors").read_bytes() == before
    trial.folder((KD, FT))
    assert (folder / "student.safetensors").read_bytes() == before
    assert trial.folder((KD,)) == folder


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
    save_dan(model, design, tmp_path)
    loaded = load_dan(tmp_path)
    second = trial_bags([[0], []]) if pair else None
    split = BagSplit(trial_bags([[1, 2], [6, 6]]), second, torch.zeros(2))
    assert torch.equal(dan_logits(loaded, split), dan_logits(model, split))
    assert not loaded.training
    assert loaded.dropout == design.dropout
    assert all(p.requires_grad for p in loaded.parameters())


def test_predictions_are_the_largest_logits_on_dev(trial: Trial) -> None:
    dev = trial.dev()
    assert dev.targets.tolist() == [int(e.label) for e in trial.lesson.task.dev]
    logits = dan_logits(trial.model((KD,)), dev)
    one_by_one = torch.cat(
        [dan_logits(trial.model((KD,)), BagSplit(dev.first.take([i]), None, dev.targets[[i]])) for i in range(5)]
    )
    torch.testing.assert_close(logits[:5], one_by_one)
    np.testing.assert_array_equal(trial.answers((KD,)), logits.argmax(-1).numpy())


# -- Students that read tokens ----------------------------------------------------------------------------------------


def test_token_students_learn_from_corpus_and_train(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    original = trial_module.fit

    def spy(model: Any, batches: Any, *more: Any, **options: Any) -> Any:
        seen.append(batches)
        return original(model, batches, *more, **options)

    monkeypatch.setattr(trial_module, "fit", spy)
    model = trial.token_student("cnn", CNN)
    lesson = trial.lesson
    split = seen[0].split
    assert split.input_ids == lesson.encoded_corpus.input_ids + lesson.encoded.train.input_ids
    assert torch.equal(split.labels, torch.cat([lesson.teacher_logits.corpus, lesson.teacher_logits.train]))
    assert not model.training
    assert trial.token_answers(model).shape == (len(lesson.task.dev),)
    again = Trial(lesson, 0).token_student("cnn", CNN)
    assert len(seen) == 1, "trained once"
    for a, b in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    start = lesson.source.encoder.word_embeddings
    assert not torch.equal(model.embedding.weight, start), "the copy goes on learning, the teacher's stays"


def test_an_lstm_of_another_width_is_another_student(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    from replications.sparse_distillation.findings import Findings
    from replications.sparse_distillation.names import LSTM_STUDENT

    assert isinstance(Findings(trial).token_students[LSTM_STUDENT], BiLSTM)
    wider = replace(trial.lesson.settings, lstm=6)
    monkeypatch.setitem(SETTINGS, "toy", wider)
    found = Findings(Trial(trial.lesson, 0)).token_students[LSTM_STUDENT]
    assert isinstance(found, BiLSTM)
    assert found.lstm.hidden_size == 6
    assert not Findings(Trial(trial.lesson, 7)).token_students, "the first seed alone has them"


def test_joined_splits_keep_order_and_segments(trial: Trial) -> None:
    first, second = trial.lesson.encoded_corpus, trial.lesson.encoded.dev
    labels = torch.arange(len(first) + len(second))
    both = joined(first, second, labels)
    assert len(both) == len(labels)
    batch = both.batch([len(first)])
    assert batch.input_ids[0].tolist() == list(second.input_ids[0])
    assert batch.labels.tolist() == [len(first)]
    if first.token_type_ids is not None:
        assert both.token_type_ids == first.token_type_ids + second.token_type_ids  # type: ignore[operator]
