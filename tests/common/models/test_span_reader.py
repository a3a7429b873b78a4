"""The plain reader against transformers' own model, and decoding against all spans tried one by one."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from common.encoders.shapes import random_encoder
from common.models.span_reader import SpanReader, read, span_loss, surest_spans
from common.tasks.spans import Answer, Question
from common.training.segments import SegmentLayout, TwoSegmentBatch, TwoSegmentSplit, padded
from common.training.windows import TokenisedPassage, Window, Windows


def batch_of(firsts: list[list[int]], seconds: list[list[int]], slot: int = 6) -> TwoSegmentBatch:
    first, second = padded(firsts, 0, 0, slot), padded(seconds, 0, 1, 0)
    labels = torch.tensor([[slot, slot]] * len(firsts))
    return TwoSegmentBatch(first, second, labels, torch.arange(len(firsts)))


FIRSTS, SECONDS = [[101, 7, 8, 102], [101, 9, 102]], [[11, 12, 13, 102], [14, 15, 16, 17, 18, 102]]


# -- The model --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tiny", "tiny-mpnet"])
def test_question_and_passage_are_one_text_with_positions_that_run_on(name: str) -> None:
    """Each row equals transformers' own model on the tokens in a row, wherever padding stands in the batch."""
    model = SpanReader.fresh(random_encoder(name), seed=0).eval()
    batch = batch_of(FIRSTS, SECONDS)
    with torch.inference_mode():
        logits = model(batch)
        for row, (first, second) in enumerate(zip(FIRSTS, SECONDS, strict=True)):
            ids = torch.tensor([first + second])
            types = torch.tensor([[0] * len(first) + [1] * len(second)])
            kinds = {} if name.endswith("mpnet") else {"token_type_ids": types}
            alone = model.head(model.encoder.model(ids, **kinds).last_hidden_state)[0]
            present = batch.attention_mask[row].bool()
            torch.testing.assert_close(logits[row, present], alone, rtol=0, atol=1e-5)
            assert not logits[row, ~present].any()


def test_a_reader_survives_saving(tmp_path: Path) -> None:
    model = SpanReader.fresh(random_encoder("tiny"), seed=0).eval()
    model.save(tmp_path)
    batch = batch_of(FIRSTS, SECONDS)
    with torch.inference_mode():
        assert torch.equal(SpanReader.load(tmp_path)(batch), model(batch))


def test_the_loss_is_a_sum_over_all_positions() -> None:
    logits, labels = torch.randn(3, 7, 2), torch.tensor([[1, 2], [0, 6], [3, 3]])
    expected = F.cross_entropy(logits[..., 0], labels[:, 0]) + F.cross_entropy(logits[..., 1], labels[:, 1])
    torch.testing.assert_close(span_loss(logits, labels), expected)


# -- Decoding ---------------------------------------------------------------------------------------------------------


def by_hand(logits: Tensor, allowed: Tensor, longest: int) -> tuple[int, int, float]:
    places = [i for i, ok in enumerate(allowed.tolist()) if ok]
    begin, end = (logits[places, side].softmax(0).tolist() for side in (0, 1))
    spans = [
        (begin[a] * end[b], -places[a], -places[b])
        for a in range(len(places))
        for b in range(a, len(places))
        if places[b] - places[a] <= longest
    ]
    product, first, last = max(spans)
    return -first, -last, product


@given(st.integers(0, 10_000), st.integers(0, 4))
def test_the_best_product_within_the_longest_answer_is_found(seed: int, longest: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, 9, 2, generator=generator)
    allowed = torch.zeros(2, 9, dtype=torch.bool)
    allowed[0, 2:8], allowed[1, 4:6] = True, True
    spans = surest_spans(logits, allowed, longest)
    for row in range(2):
        first, last, product = by_hand(logits[row], allowed[row], longest)
        assert (spans.first[row], spans.last[row]) == (first, last)
        assert spans.sureness[row].item() == pytest.approx(product, rel=1e-4)


def test_an_answer_has_at_most_31_pieces() -> None:
    logits = torch.zeros(1, 60, 2)
    logits[0, 5, 0] = logits[0, 36, 1] = 50.0
    allowed = torch.ones(1, 60, dtype=torch.bool)
    spans = surest_spans(logits, allowed)
    assert int(spans.last[0] - spans.first[0]) <= 30
    logits[0, 35, 1] = 60.0
    spans = surest_spans(logits, allowed)
    assert (int(spans.first[0]), int(spans.last[0])) == (5, 35)


def test_a_question_is_answered_out_of_its_surest_window_in_characters() -> None:
    passage = "aa bb cc dd ee ff"
    pieces = TokenisedPassage(tuple(range(6)), tuple((3 * i, 3 * i + 2) for i in range(6)))
    question = Question("q", "which?", passage, (Answer("ee", 12),))
    layout = SegmentLayout(max_seq=8, max_first=1)
    split = TwoSegmentSplit(((101, 5, 102),) * 2, ((1, 2, 3, 102), (4, 5, 6, 102)), torch.zeros(2, 2).long(), 0, layout)
    windows = Windows(split, (Window(0, 0), Window(0, 3)), (pieces,), (question,), 0)

    def model(batch: TwoSegmentBatch) -> Tensor:
        """Sure of the second piece of the window that begins with token 4, unsure of the others.

        Surest of the question and of the last [SEP], where no answer stands.
        """
        logits = torch.zeros(len(batch.rows), 7, 2)
        logits[batch.second.input_ids[:, 0] == 4, 4] = 9.0
        logits[:, 1] = logits[:, 6] = 20.0
        return logits

    answers = read(model, windows, torch.device("cpu"))
    assert answers.texts(windows) == ["ee"]
    assert answers.sureness[0] > 0.9
