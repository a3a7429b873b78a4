"""`reproduce predict`: a saved model answers texts, line after line."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from common.serve.model import WINDOW, Answer, Model, Text, load
from common.serve.texts import STANDARD_INPUT, Placed, format_of, read_texts

LONG = 10_000
"""Characters from which on a text is said to be long."""


def predict(options: argparse.Namespace) -> None:
    """Print a JSON object a line for every text, in order; what is odd about texts goes to standard error.

    Args:
        options: `folder`, `file`, `format` and `columns`, as typed.

    Raises:
        UserError: no sound folder of a model, or texts that cannot be read.
    """
    path = Path(options.file).expanduser() if options.file else STANDARD_INPUT
    kind = format_of(path, options.format)
    model = load(Path(options.folder).expanduser())
    columns = [name.strip() for name in options.columns.split(",") if name.strip()]
    remarks = Remarks()
    texts = remarks.of(read_texts(path, kind, columns, pair=model.about.pair))
    # Whoever types wants each answer at once.
    typed = not options.file and sys.stdin.isatty()
    for answer in model.stream(texts, 1 if typed else WINDOW):
        print(json.dumps(_shown(answer), ensure_ascii=False), flush=typed)
    for line in remarks.lines(model):
        print(f"reproduce: {line}", file=sys.stderr)


def _shown(answer: Answer) -> dict[str, object]:
    if answer.label is None:
        return {"value": answer.value, "exit_layer": answer.exit_layer}
    return {"label": answer.label, "probability": answer.probability, "exit_layer": answer.exit_layer}


@dataclass
class Remarks:
    """What is odd about texts that went by: how many, and where the first stands."""

    empty: int = 0
    first_empty: str = ""
    long: int = 0
    first_long: str = ""

    def of(self, placed: Iterator[Placed]) -> Iterator[Text]:
        """The texts, looked at in passing."""
        for where, text in placed:
            parts = text if isinstance(text, tuple) else (text,)
            if not any(part.strip() for part in parts):
                self.empty, self.first_empty = self.empty + 1, self.first_empty or where
            if sum(map(len, parts)) >= LONG:
                self.long, self.first_long = self.long + 1, self.first_long or where
            yield text

    def lines(self, model: Model) -> Iterator[str]:
        """A sentence for each kind."""
        if self.empty:
            yield f"{_so_many(self.empty)} empty (the first: {self.first_empty}): the answer says nothing about them"
        if self.long and (reading := model.about.reading) is not None:
            yield (
                f"{_so_many(self.long)} longer than {LONG:,} characters (the first: {self.first_long}): the model "
                f"reads the first {reading.max_length} tokens"
            )


def _so_many(count: int) -> str:
    return f"{count} text{'s' if count > 1 else ''} {'are' if count > 1 else 'is'}"
