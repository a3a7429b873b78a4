"""What a task teaches: the teacher's answers, in order and for the right texts; the vocabulary; what it may cost."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from common.errors import UserError
from common.replication import Run
from common.tasks.task import Example, Task
from replications.sparse_distillation.lesson import Lesson, cut, read_logits
from replications.sparse_distillation.settings import SETTINGS


@pytest.fixture
def lesson(toy_run: Run) -> Lesson:
    return Lesson(toy_run, "sst-2")


def test_the_teacher_answers_each_text_in_its_place(lesson: Lesson) -> None:
    logits, model = lesson.teacher_logits, lesson.teacher()
    splits = {"train": lesson.task.train, "corpus": lesson.corpus, "dev": lesson.task.dev}
    for name, examples in splits.items():
        found = getattr(logits, name)
        assert found.shape == (len(examples), 2)
        encoded = lesson.source.tokenizer([e.text_a for e in examples])["input_ids"]
        for i in range(0, len(examples), 7):
            row = SimpleNamespace(
                input_ids=torch.tensor([encoded[i][:24]]),
                attention_mask=torch.ones(1, len(encoded[i][:24]), dtype=torch.long),
                token_type_ids=None,
            )
            if len(encoded[i]) <= 24:
                with torch.inference_mode():
                    torch.testing.assert_close(model(row)[0], found[i], atol=1e-4, rtol=1e-4)


def test_answers_are_stored_and_a_lesson_taught_again_reads_them(
    lesson: Lesson, toy_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = lesson.teacher_logits
    monkeypatch.setattr(Lesson, "teacher", lambda self: pytest.fail("the teacher was asked again"))
    again = Lesson(toy_run, "sst-2").teacher_logits
    assert torch.equal(first.corpus, again.corpus)
    assert torch.equal(lesson.teacher_logits.train, again.train)


def test_the_recipe_follows_teacher_and_corpus(lesson: Lesson, toy_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = [lesson.teacher_recipe]
    for settings in (
        replace(lesson.settings, corpus_words=200),
        replace(lesson.settings, teacher_plan=replace(lesson.settings.teacher_plan, learning_rate=0.5)),
    ):
        monkeypatch.setitem(SETTINGS, "toy", settings)
        changed.append(Lesson(toy_run, "sst-2").teacher_recipe)
    assert all(a != b for i, a in enumerate(changed) for b in changed[:i])


@pytest.mark.parametrize("wrong", ["train", "corpus", "dev"])
def test_logits_of_other_data_are_refused(tmp_path: Path, wrong: str) -> None:
    expected = {"train": 4, "corpus": 3, "dev": 2}
    path = tmp_path / "logits.safetensors"
    save_file({name: torch.zeros(count, 2) for name, count in expected.items()}, path)
    assert read_logits(path, expected).corpus.shape == (3, 2)
    with pytest.raises(UserError, match=rf"for {expected[wrong] + 1} {wrong} texts, found {expected[wrong]}"):
        read_logits(path, {**expected, wrong: expected[wrong] + 1})
    save_file({name: torch.zeros(count, 2) for name, count in expected.items() if name != wrong}, path)
    with pytest.raises(UserError, match="found 0"):
        read_logits(path, expected)


def test_a_regression_is_refused(lesson: Lesson) -> None:
    examples = tuple(Example(f"text {i}", None, 0.5) for i in range(20))
    regression = Task("own", (), "spearman", "files", examples, examples)
    with pytest.raises(UserError, match="own is a regression"):
        _ = Lesson(replace(lesson.run, _tasks={"own": regression}), "own").task


def test_the_vocabulary_is_of_train_and_corpus_and_not_of_dev(lesson: Lesson, toy_run: Run) -> None:
    task = toy_run.task("sst-2")
    marked = replace(
        task,
        train=(Example("onlyintrain", None, 0.0), *task.train[1:]),
        dev=(Example("onlyindev", None, 0.0), *task.dev[1:]),
    )
    marked_lesson = Lesson(replace(toy_run, _tasks={"sst-2": marked}), "sst-2")
    known = set(marked_lesson.vocabulary(10**6).ngrams())
    assert "onlyintrain" in known
    assert "onlyindev" not in known
    assert "went on" in known, "from the corpus: no text of the task has it"
    assert len(lesson.vocabulary(50)) == 50


def test_both_texts_of_a_pair_are_in_the_vocabulary(toy_run: Run) -> None:
    pairs = tuple(Example(f"first{i} word", f"second{i} word", float(i % 2)) for i in range(30))
    task = Task("qqp", ("no", "yes"), "f1", "files", pairs, pairs)
    lesson = Lesson(replace(toy_run, _tasks={"qqp": task}), "qqp")
    lesson.__dict__["corpus"] = (Example("third", "fourth", 0.0),)
    known = set(lesson.vocabulary(10**6).ngrams())
    assert {"first7", "second7", "third", "fourth"} <= known


# -- The teacher's epochs ---------------------------------------------------------------------------------------------


def epochs(lesson: Lesson, monkeypatch: pytest.MonkeyPatch, most: int, tokens: float) -> int:
    plan = replace(lesson.settings.teacher_plan, epochs=most)
    monkeypatch.setitem(SETTINGS, "toy", replace(lesson.settings, teacher_plan=plan, teacher_tokens=tokens))
    return Lesson(lesson.run, "sst-2").teacher_plan.epochs


def test_epochs_are_what_the_budget_of_tokens_allows(lesson: Lesson, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [len(e.text_a.split()) for e in lesson.task.train]
    one_epoch = sum(3 + 1.3 * w for w in words)
    assert epochs(lesson, monkeypatch, 10, 4 * one_epoch) == 4
    assert epochs(lesson, monkeypatch, 3, 4 * one_epoch) == 3
    assert epochs(lesson, monkeypatch, 10, 0.01 * one_epoch) == 1


def test_a_budget_without_end_is_the_plan_s_own_number(lesson: Lesson, monkeypatch: pytest.MonkeyPatch) -> None:
    """The paper's scale has no budget."""
    assert epochs(lesson, monkeypatch, 10, SETTINGS["paper"].teacher_tokens) == 10


# -- Depths and costs -------------------------------------------------------------------------------------------------


def test_the_small_transformer_has_half_the_layers(lesson: Lesson) -> None:
    assert lesson.source.encoder.num_layers == 4
    assert lesson.small_layers == 2
    found = lesson.answers_of(lesson.small_layers)
    assert found.shape == (len(lesson.task.dev), 2)
    assert not torch.equal(found, lesson.teacher_logits.dev)


def test_a_gpu_is_taken_only_if_it_is_there(lesson: Lesson, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch names the accelerator it was built for, also where the machine has none."""

    def of_a_build_for_cuda(check_available: bool = False) -> Any:
        return None if check_available else torch.device("cuda")

    monkeypatch.setattr(torch.accelerator, "current_accelerator", of_a_build_for_cuda)
    assert Lesson(lesson.run, "sst-2").device == torch.device("cpu")


def test_costs_are_positive_and_grow_with_the_work(lesson: Lesson, monkeypatch: pytest.MonkeyPatch) -> None:
    before = lesson.labelling_seconds, lesson.student_seconds
    assert lesson.teacher_seconds > 0
    monkeypatch.setitem(SETTINGS, "toy", replace(lesson.settings, corpus_words=10**8))
    larger = Lesson(lesson.run, "sst-2")
    assert larger.labelling_seconds > before[0]
    assert larger.student_seconds > before[1]


# -- Long texts -------------------------------------------------------------------------------------------------------


def test_long_texts_are_cut_after_so_many_words_and_short_ones_left_as_they_are() -> None:
    examples = (Example("one  two\tthree four", "a b", 1.0, 3), Example(" two  words ", None, 0.0))
    found = cut(examples, 2)
    assert found == (Example("one two", "a b", 1.0, 3), Example(" two  words ", None, 0.0))
    assert cut(examples, 3)[0].text_a == "one two three"
    assert cut(examples, 4) == examples
    assert cut((Example("", "a b c", 0.0),), 2) == (Example("", "a b", 0.0),)


def test_every_system_sees_the_same_cut_texts(lesson: Lesson, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = max(lesson.encoded.dev.lengths)
    monkeypatch.setitem(SETTINGS, "toy", replace(lesson.settings, max_words=3))
    short = Lesson(lesson.run, "imdb")
    texts = [e.text_a for split in (short.task.train, short.task.dev, short.corpus) for e in split]
    assert max(len(text.split()) for text in texts) == 3
    assert [e.label for e in short.task.dev] == [e.label for e in lesson.run.task("imdb").dev]
    assert max(short.encoded.dev.lengths) < whole
