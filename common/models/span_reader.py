"""A pretrained encoder that reads: where in a passage the answer to a question begins and ends.

`SpanReader` is every paper's baseline on reading tasks: question and passage as one text, fine-tuned plainly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from common.encoders.layered import LayeredEncoder
from common.models.classifier import load_with_metadata
from common.training.segments import TwoSegmentBatch
from common.training.windows import Windows, surest

LONGEST_ANSWER = 30
"""An answer's last piece lies at most so many after its first."""

READ_AT_ONCE = 32


class SpanHead(nn.Linear):
    """One linear map from each position's state to the logits of begin and end: (B, L, H) -> (B, L, 2)."""

    def __init__(self, hidden_size: int, deviation: float | None = None) -> None:
        super().__init__(hidden_size, 2)
        if deviation is not None:
            nn.init.normal_(self.weight, std=deviation)
            nn.init.zeros_(self.bias)


class SpanReader(nn.Module):
    """Question and passage as one text, [CLS] q [SEP] p [SEP], positions running on; a `SpanHead` at the end."""

    def __init__(self, encoder: LayeredEncoder, head: SpanHead) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    @staticmethod
    def fresh(encoder: LayeredEncoder, seed: int) -> SpanReader:
        """A head drawn from N(0, initializer_range) on `encoder`, which is not copied."""
        torch.manual_seed(seed)
        return SpanReader(encoder, SpanHead(encoder.hidden_size, encoder.config.initializer_range))

    def forward(self, batch: TwoSegmentBatch) -> Tensor:
        """(B, L, 2) logits at the L positions of both segments together; those of padding are zero."""
        mask = batch.attention_mask
        # Tokens move to the front, padding to the end, each in its order.
        order = torch.argsort(1 - mask, dim=1, stable=True)[:, : int(mask.sum(1).max())]
        ids = torch.cat([batch.first.input_ids, batch.second.input_ids], dim=1).gather(1, order)
        types = torch.cat([batch.first.token_type_ids, batch.second.token_type_ids], dim=1).gather(1, order)
        logits = self.head(self.encoder(ids, mask.gather(1, order), types))
        spread = logits.new_zeros(*mask.shape, 2)
        spread.scatter_(1, order[..., None].expand(-1, -1, 2), logits)
        known: Tensor = spread * mask[..., None]
        return known

    def save(self, folder: Path) -> None:
        """Write encoder and head to `folder` (safetensors and JSON)."""
        self.encoder.save(folder / "encoder")
        save_file({k: v.contiguous() for k, v in self.head.state_dict().items()}, folder / "head.safetensors")

    @staticmethod
    def load(folder: Path) -> SpanReader:
        """Read what `save` wrote, in evaluation mode."""
        encoder = LayeredEncoder.load(folder / "encoder")
        head = SpanHead(encoder.hidden_size)
        head.load_state_dict(load_with_metadata(folder / "head.safetensors")[0])
        return SpanReader(encoder, head).eval()


def span_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """CE of begin + CE of end (a sum, as in BERT's and DeFormer's plain readers), over all positions of both segments.

    Args:
        logits: (B, L, 2).
        labels: (B, 2) first and last position of the answer.
    """
    begin, end = (F.cross_entropy(logits[..., side].float(), labels[:, side]) for side in (0, 1))
    return begin + end


def reader_loss(model: Callable[[TwoSegmentBatch], Tensor], batch: TwoSegmentBatch) -> Tensor:
    """The plain loss of a reader on one batch."""
    return span_loss(model(batch), batch.labels)


@dataclass(frozen=True)
class Spans:
    """The surest span of each of B rows.

    Attributes:
        first, last: (B,) positions.
        sureness: (B,) probability of the first times that of the last.
    """

    first: Tensor
    last: Tensor
    sureness: Tensor


def surest_spans(logits: Tensor, allowed: Tensor, longest: int = LONGEST_ANSWER) -> Spans:
    """Decode logits (B, L, 2): softmax over the `allowed` (B, L) positions alone, then the best product.

    A span has 0 <= last - first <= `longest`. Of equal products the earliest first, then the earliest last.
    """
    masked = logits.float().masked_fill(~allowed[..., None], -torch.inf)
    begin, end = masked.softmax(1).unbind(-1)
    products = begin[:, :, None] * end[:, None, :]
    in_order = torch.ones_like(products[0], dtype=torch.bool).triu().tril(longest)
    best = products.masked_fill(~in_order, -1.0).flatten(1).max(1)
    length = logits.shape[1]
    return Spans(best.indices // length, best.indices % length, best.values)


@dataclass(frozen=True)
class Answers:
    """What a reader answers to N questions: characters [begin, end) of the passage, and how sure it is.

    Attributes:
        begin, end: (N,) whole numbers.
        sureness: (N,) product of two probabilities.
    """

    begin: Tensor
    end: Tensor
    sureness: Tensor

    def texts(self, windows: Windows) -> list[str]:
        """As they stand in the passages."""
        spans = zip(windows.questions, self.begin.tolist(), self.end.tolist(), strict=True)
        return [question.passage[int(begin) : int(end)] for question, begin, end in spans]

    def tensors(self) -> dict[str, Tensor]:
        """For keeping."""
        return {"begin": self.begin, "end": self.end, "sureness": self.sureness}


@torch.inference_mode()
def read(
    model: Callable[[TwoSegmentBatch], Tensor],
    windows: Windows,
    device: torch.device,
    advance: Callable[[int], object] = lambda done: None,
) -> Answers:
    """Answer every question of `windows`; `advance` is told how many windows are done."""
    count = len(windows)
    first, last = torch.zeros(count, dtype=torch.long), torch.zeros(count, dtype=torch.long)
    sureness, done = torch.zeros(count), 0
    for batch in windows.split.by_length(READ_AT_ONCE):
        moved = batch.to(device)
        spans = surest_spans(model(moved), moved.second_text)
        first[batch.rows], last[batch.rows] = spans.first.cpu(), spans.last.cpu()
        sureness[batch.rows] = spans.sureness.cpu()
        done += len(batch.rows)
        advance(done)
    rows = surest(windows.places, sureness, len(windows.questions))
    characters = [windows.characters(row, int(first[row]), int(last[row])) for row in rows]
    return Answers(
        torch.tensor([begin for begin, _ in characters]),
        torch.tensor([end for _, end in characters]),
        sureness[torch.tensor(rows)],
    )
