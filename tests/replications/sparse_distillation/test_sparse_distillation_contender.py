"""The distilled student beside other methods: what it learns from, what it answers, and what that costs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_texts import students_of

from common.errors import UserError
from common.methods import ONLY, find_method
from common.run.replication import Run
from common.task_run import TaskRun
from common.tasks.task import Example
from replications.sparse_distillation.contender import DistilledDAN
from replications.sparse_distillation.distillation import FT, KD, dan_logits
from replications.sparse_distillation.settings import SETTINGS


def contender(run: Run, task: str = "sst-2") -> DistilledDAN:
    return DistilledDAN(TaskRun.of(run, task, 0, SETTINGS["toy"].teacher))


def own_task(data_dir: Path, columns: str = "text,label") -> None:
    (data_dir / "mine").mkdir()
    second = ",and more" if columns.count(",") == 2 else ""
    for split in ("train", "dev"):
        rows = [f"{split} number {i}{second},{'spam' if i % 3 else 'ham'}" for i in range(60)]
        (data_dir / "mine" / f"{split}.csv").write_text("\n".join([columns, *rows]))


def test_others_find_it_by_name(toy_run: Run) -> None:
    found = find_method("dan").on(TaskRun.of(toy_run, "sst-2", 0, SETTINGS["toy"].teacher))
    assert isinstance(found, DistilledDAN)


def test_it_is_the_student_of_the_papers_own_run(toy_run: Run) -> None:
    dan, students = contender(toy_run), students_of(toy_run, "sst-2")
    for step in dan.training_steps():
        assert step.measure() == []
        assert step.seconds > 0
    assert dan.folder() == students.folder((KD, FT))
    assert list(dan.settings) == [ONLY]
    outcome = dan.outcome("dev", ONLY)
    assert torch.equal(outcome.logits, dan_logits(students.model((KD, FT)), students.dev_bags()))
    assert outcome.exit_layer.tolist() == [0] * len(students.task.dev)
    assert len(dan.outcome("tune", ONLY).logits) == len(students.task.tune)


@pytest.mark.parametrize("columns", ["text,label", "text_a,text_b,label"])
def test_it_answers_texts_as_it_is_scored(toy_run: Run, data_dir: Path, columns: str) -> None:
    own_task(data_dir, columns)
    dan = contender(toy_run, "mine")
    dev, answer = dan.task_run.task.dev, dan.answer(ONLY)
    torch.testing.assert_close(answer(dev), dan.outcome("dev", ONLY).logits)
    torch.testing.assert_close(answer(dev[3:4]), dan.outcome("dev", ONLY).logits[3:4])
    far = [replace(e, text_a=e.text_a + " x" * 200 + " train") for e in dev]
    cut = [replace(e, text_a=" ".join(e.text_a.split()[: SETTINGS["toy"].max_words])) for e in far]
    torch.testing.assert_close(answer(far), answer(cut))  # It reads no more than in training.


def test_it_needs_no_tokenizer_to_answer(toy_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    dan = contender(toy_run)
    answer = dan.answer(ONLY)
    monkeypatch.setattr(TaskRun, "backbone", property(lambda self: pytest.fail("the backbone was asked")))
    assert answer([Example("a superb film", None, 0.0), Example("", None, 0.0)]).shape == (2, 2)


def test_flops_are_the_rows_added_and_the_linear_layers(toy_run: Run) -> None:
    dan = contender(toy_run)
    width, bags = SETTINGS["toy"].design.dimension, dan.bags("dev")
    wanted = bags.first.lengths * width + 2 * width * width + 2 * width * 2
    np.testing.assert_array_equal(dan.flops("dev", ONLY), wanted)
    assert len(set(wanted.tolist())) > 1


def test_where_there_is_no_other_text_it_learns_from_train_and_says_so(toy_run: Run, data_dir: Path) -> None:
    own_task(data_dir)
    dan = contender(toy_run, "mine")
    assert dan.distillation.without_corpus
    assert all("train alone" in step.name for step in dan.training_steps())
    (data_dir / "mine-unlabelled").mkdir()
    (data_dir / "mine-unlabelled" / "train.txt").write_text("one more\nand another\n")
    fed = contender(toy_run, "mine")
    assert not fed.distillation.without_corpus
    assert all("unlabelled text and train" in step.name for step in fed.training_steps())
    assert fed.folder() != dan.folder()


def test_without_the_folder_of_its_corpus_a_known_task_is_distilled_on_train(toy_run: Run, data_dir: Path) -> None:
    assert not contender(toy_run).distillation.without_corpus
    (data_dir / "imdb").rename(data_dir / "elsewhere")
    assert contender(toy_run).distillation.without_corpus
    assert contender(replace(toy_run, data="hub")).distillation.without_corpus


def test_a_corpus_that_cannot_be_read_is_no_missing_one(toy_run: Run, data_dir: Path) -> None:
    own_task(data_dir)
    (data_dir / "mine-unlabelled").mkdir()
    with pytest.raises(UserError, match=r"looked for train\.txt"):
        contender(toy_run, "mine").training_steps()
