"""A model at home: order, company, kinds of texts, and how far it reads ahead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.early_exit.runtime import Outcome
from common.errors import UserError
from common.serve import model as module
from common.serve.about import About
from common.serve.model import Answer, Model
from common.serve.tokens import batches_of_like_length
from common.tasks.task import Example

LABELS = ("short", "long")


class Counting:
    """Says `long` of a text of more than five characters, after as many layers as it has words."""

    def __init__(self) -> None:
        self.windows: list[int] = []

    def __call__(self, examples: Sequence[Example], /) -> Outcome:
        self.windows.append(len(examples))
        sizes = torch.tensor([len(e.text_a) + len(e.text_b or "") for e in examples])
        logits = torch.stack([torch.zeros(len(sizes)), (sizes - 5.5)], dim=1)
        return Outcome(logits, torch.tensor([len(e.text_a.split()) for e in examples]))


def about(*, pair: bool = False, labels: tuple[str, ...] = LABELS) -> About:
    return About(
        method="M", setting="", at=0.0, offered_by="common.compare", facts={}, task="mood", labels=labels,
        metric="accuracy", pair=pair, reading=None, backbone="tiny", weights="random:tiny", seed=0, files={},
        versions={},
    )  # fmt: skip


@pytest.fixture
def runner() -> Counting:
    return Counting()


def test_each_text_gets_label_probability_and_exit_layer(runner: Counting) -> None:
    first, second = Model(about(), runner)(["a b c", "much longer"])
    assert first == Answer("short", pytest.approx(torch.sigmoid(torch.tensor(0.5)).item()), 3)
    assert second == Answer("long", pytest.approx(torch.sigmoid(torch.tensor(5.5)).item()), 2)


def test_of_equal_classes_the_first_one_is_the_answer() -> None:
    model = Model(about(), lambda examples: Outcome(torch.zeros(len(examples), 2), torch.ones(len(examples))))
    assert model(["x"]) == [Answer("short", 0.5, 1)]


def test_a_regression_gives_a_value() -> None:
    model = Model(about(labels=()), lambda examples: Outcome(torch.full((1, 1), 2.5), torch.tensor([4])))
    assert model(["x"]) == [Answer(None, None, 4, 2.5)]


def test_no_texts_no_answers(runner: Counting) -> None:
    assert Model(about(), runner)([]) == [] and runner.windows == []


def test_it_reads_no_further_ahead_than_a_window(runner: Counting) -> None:
    read: list[int] = []

    def texts() -> Iterator[str]:
        for number in range(10):
            read.append(number)
            yield f"{'x' * number}"

    stream = Model(about(), runner).stream(texts(), 3)
    assert read == []
    assert next(stream).label == "short" and len(read) == 3
    assert [a.label for a in stream] == ["short"] * 5 + ["long"] * 4
    assert runner.windows == [3, 3, 3, 1]


def test_long_texts_end_a_window_early(runner: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHARACTERS", 20)
    model = Model(about(pair=True), runner)
    assert len(model([("x" * 9, "y" * 9)] * 5)) == 5
    assert runner.windows == [2, 2, 1]


@pytest.mark.parametrize(
    "texts", [[("a", "b")], ["fine", ("a", "b")], [None], [b"bytes"]], ids=["pair", "mixed", "none", "bytes"]
)
def test_a_model_of_single_texts_refuses_all_else(runner: Counting, texts: list) -> None:
    with pytest.raises(UserError, match=f"text {len(texts)}: expected a single text for a model of mood, found"):
        Model(about(), runner)(texts)


@pytest.mark.parametrize("text", ["one", ("one", "two", "three"), ("one", None)], ids=str)
def test_a_model_of_pairs_refuses_all_else(runner: Counting, text: object) -> None:
    with pytest.raises(UserError, match="text 1: expected a pair of texts for a model of mood, found"):
        Model(about(pair=True), runner)([text])  # type: ignore[list-item]


def test_a_text_alone_is_no_list_of_texts(runner: Counting) -> None:
    with pytest.raises(UserError, match=r"expected a list of texts, found a text. Type model\(\[text\]\)"):
        Model(about(), runner)("a great film")


@given(st.lists(st.integers(1, 50), max_size=60), st.integers(1, 8), st.integers(1, 120))
def test_batches_hold_every_text_once_within_their_limits(lengths: list[int], most: int, positions: int) -> None:
    batches = list(batches_of_like_length(lengths, most, positions))
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        assert 1 <= len(batch) <= most
        assert len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= positions
    flat = [lengths[row] for batch in batches for row in batch]
    assert flat == sorted(flat)
