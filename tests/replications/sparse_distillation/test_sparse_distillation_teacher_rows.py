"""Rows taken from the teacher, against the teacher asked about one n-gram at a time."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from common.encoders.sources import PretrainedEncoder, load_encoder
from replications.sparse_distillation import teacher_rows
from replications.sparse_distillation.engine.ngrams import Vocabulary, build_vocabulary
from replications.sparse_distillation.teacher_rows import copy_teacher_rows

WORDS = "good film with an ending bad music very and light".split()  # noqa: SIM905
TEXTS = [" ".join(WORDS[i % 10 : i % 10 + 5] + WORDS[i % 7 :: 3]) for i in range(40)]
DEVIATION, WIDTH = 0.3, 12


@pytest.fixture(scope="module")
def teacher() -> PretrainedEncoder:
    return load_encoder("random:tiny")


@pytest.fixture
def vocabulary(tmp_path: Path) -> Vocabulary:
    return build_vocabulary(lambda: TEXTS, 180, scratch=tmp_path / "scratch")


def states_one_by_one(teacher: PretrainedEncoder, texts: list[str]) -> torch.Tensor:
    rows = []
    for text in texts:
        ids = torch.tensor([teacher.tokenizer(text)["input_ids"]])
        with torch.no_grad():
            hidden = teacher.encoder(ids, torch.ones_like(ids), torch.zeros_like(ids))
        rows.append(hidden[0].mean(0))
    return torch.stack(rows)


def test_rows_are_projected_states_at_the_table_s_scale(teacher: PretrainedEncoder, vocabulary: Vocabulary) -> None:
    table, told = torch.zeros(len(vocabulary), WIDTH), []
    copy_teacher_rows(teacher, vocabulary, table, DEVIATION, lambda done, total: told.append((done, total)))
    states = states_one_by_one(teacher, [vocabulary.ngram(i) for i in range(len(vocabulary))])
    centred = states - states.mean(0)
    assert len(centred) > 2 * centred.shape[1], "with fewer n-grams than dimensions any rows would be a projection"
    projection = torch.linalg.lstsq(centred, table).solution
    torch.testing.assert_close(centred @ projection, table, atol=2e-3, rtol=1e-3)
    assert table.std().item() == pytest.approx(DEVIATION, rel=1e-4)
    torch.testing.assert_close(table.mean(0), torch.zeros(WIDTH), atol=1e-5, rtol=0)
    assert told
    assert all(0 < done <= total for done, total in told)


def test_equal_states_give_equal_rows_and_the_result_is_the_same_each_time(
    teacher: PretrainedEncoder, vocabulary: Vocabulary
) -> None:
    first, second = torch.randn(len(vocabulary), WIDTH), torch.randn(len(vocabulary), WIDTH)
    before = torch.get_rng_state()
    for table in (first, second):
        copy_teacher_rows(teacher, vocabulary, table, DEVIATION, lambda *_: None)
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before), "the student's own draw must not depend on it"


def test_only_the_most_frequent_rows_are_overwritten(
    teacher: PretrainedEncoder, vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teacher_rows, "MOST", 3)
    table = torch.full((len(vocabulary), WIDTH), 7.0)
    copy_teacher_rows(teacher, vocabulary, table, DEVIATION, lambda *_: None)
    changed = np.flatnonzero((table != 7.0).any(dim=1).numpy())
    assert len(changed) == 3
    others = np.delete(vocabulary.counts, changed)
    assert vocabulary.counts[changed].min() >= others.max()


def test_a_parameter_is_overwritten_in_place(teacher: PretrainedEncoder, vocabulary: Vocabulary) -> None:
    model: Any = SimpleNamespace(table=torch.nn.Parameter(torch.zeros(len(vocabulary), WIDTH)))
    copy_teacher_rows(teacher, vocabulary, model.table, DEVIATION, lambda *_: None)
    assert model.table.requires_grad
    assert model.table.detach().abs().sum() > 0
