"""Systems that read token ids, at home: the tokenizer, batches of texts of like length, and the exit runtime.

Nothing here decides anything: who leaves is the rule's to say and `common.early_exit.runtime` runs it, with compaction
and pooling; texts are cut into tokens as `common.training.batches.encode` cuts them, by the same library.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from common.early_exit.rules import ExitRule
from common.early_exit.runtime import MultiExitModel, Outcome, run_early_exit
from common.encoders.opening import OpenEncoder, answering
from common.errors import UserError
from common.serve.home import Load, Parts, Runner
from common.tasks.task import Example
from common.training.batches import Batch, EncodedSplit

if TYPE_CHECKING:
    from tokenizers import Tokenizer

AT_ONCE = 64
"""Texts that a layer is computed for at a time, at most: as many as the evaluation takes."""

POOLED = 256
"""Texts of which those that are left over are put together before each layer."""

POSITIONS = 16_384
"""Tokens, padding included, of which the states are held at a time, at most (unless one text has more)."""

TOKENIZER_FILE = "tokenizer.json"


@dataclass(frozen=True)
class TokenReader:
    """Texts as token ids."""

    tokenizer: Tokenizer
    padding_id: int
    segments: bool

    @staticmethod
    def of(parts: Parts) -> TokenReader:
        """The folder's.

        Raises:
            UserError: the folder has no tokenizer.
        """
        from tokenizers import Tokenizer

        reading, path = parts.about.reading, parts.tokenizer / TOKENIZER_FILE
        if reading is None or not path.is_file():
            raise UserError(f"{parts.root}: {parts.about.method} reads token ids, and there is no {path.name}")
        tokenizer = Tokenizer.from_file(str(path))
        tokenizer.no_padding()
        tokenizer.enable_truncation(reading.max_length)
        return TokenReader(tokenizer, reading.padding_id, reading.segments)

    def __call__(self, examples: Sequence[Example]) -> EncodedSplit:
        """Texts, or pairs, without labels."""
        texts: list[Any] = [e.text_a if e.text_b is None else (e.text_a, e.text_b) for e in examples]
        found = self.tokenizer.encode_batch(texts)
        types = tuple(tuple(text.type_ids) for text in found) if self.segments else None
        ids = tuple(tuple(text.ids) for text in found)
        return EncodedSplit(ids, types, torch.zeros(len(ids), dtype=torch.long), self.padding_id)


@dataclass(frozen=True)
class TokenRunner:
    """Texts to answers: tokenise, batch, run, put back into order.

    Attributes:
        reader: of texts.
        run: a batch to its outcome.
        most: texts of a batch.
    """

    reader: TokenReader
    run: Callable[[Batch], Outcome]
    most: int

    @torch.inference_mode()
    def __call__(self, examples: Sequence[Example]) -> Outcome:
        """As `Runner` says."""
        split = self.reader(examples)
        parts = list(batches_of_like_length(split.lengths, self.most))
        outcomes = [self.run(split.batch(rows)) for rows in parts]
        order = torch.tensor([row for rows in parts for row in rows]).argsort()
        logits = torch.cat([outcome.logits for outcome in outcomes])
        return Outcome(logits[order], torch.cat([outcome.exit_layer for outcome in outcomes])[order])


def batches_of_like_length(lengths: Sequence[int], most: int, positions: int = POSITIONS) -> Iterator[list[int]]:
    """Places of texts, shortest first: at most `most` a batch, and padded at most `positions` tokens of them."""
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: lengths[row]):
        if batch and (len(batch) == most or (len(batch) + 1) * lengths[row] > positions):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


# -- Two ways home that methods share ---------------------------------------------------------------------------------


def whole(model: Callable[[Path, OpenEncoder], Callable[[Batch], Tensor]]) -> Load:
    """The way home of one model for all texts; `model` reads what its `save` wrote, its encoder opened as it is told.

    Of the facts `layers` says how many of the backbone's layers it stands for.
    """

    def load(parts: Parts) -> Runner:
        layers = int(parts.about.facts["layers"])
        made = model(parts.folder, answering)

        def run(batch: Batch) -> Outcome:
            logits = made(batch)
            return Outcome(logits, torch.full((len(logits),), layers))

        return TokenRunner(TokenReader.of(parts), run, AT_ONCE)

    return load


def leaving_early(model: Callable[[Path, OpenEncoder], MultiExitModel], *rules: type[ExitRule]) -> Load:
    """The way home of a model with exits, left by one of these rules; `model` is as in `whole`.

    Of the facts `rule` names the rule and what it was made with. `layers`, if it is there, says how many layers were
    executed for whom the model lets go at its first step, its second, and so on; by default 1, 2, ...
    """
    known = {rule.__name__: rule for rule in rules}

    def load(
        parts: Parts,
        open_encoder: OpenEncoder = answering,
        changed: Callable[[MultiExitModel], MultiExitModel] = lambda model: model,
    ) -> Runner:
        facts = parts.about.facts
        name, values = facts["rule"]["name"], {k: v for k, v in facts["rule"].items() if k != "name"}
        if name not in known:
            raise UserError(f"{parts.root}: expected a rule of {parts.about.method}, {', '.join(known)}; found {name}")
        made, rule = changed(model(parts.folder, open_encoder)), known[name](**values)
        layers = torch.tensor(facts.get("layers", range(1, 1 + made.num_layers)))

        def run(batch: Batch) -> Outcome:
            outcome = run_early_exit(made, batch, rule, at_once=AT_ONCE)
            return Outcome(outcome.logits, layers[outcome.exit_layer - 1])

        return TokenRunner(TokenReader.of(parts), run, POOLED)

    return load
