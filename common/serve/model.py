"""`load`, and the model that it gives: texts to labels, probabilities and exit layers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from torch import Tensor

from common.errors import UserError
from common.serve.about import SETTINGS, About, read_about
from common.serve.home import Parts, Runner, find_home
from common.tasks.task import Example

Text = str | tuple[str, str]
"""What is answered: a text, or of a task on pairs two."""

SINGLE, PAIR = "a single text", "a pair of texts"

WINDOW = 1024
"""Texts that are sorted by length together, at most."""

CHARACTERS = 1 << 22
"""About how many characters are held together, at most: what long inputs need does not grow with them."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model says of one text.

    Attributes:
        label: the most probable one; None of a regression.
        probability: of that label, 0-1; None of a regression.
        exit_layer: layers of the backbone that were executed for it; 0 for a model without any.
        value: of a regression; None of classes.
    """

    label: str | None
    probability: float | None
    exit_layer: int
    value: float | None = None


@dataclass(frozen=True)
class Model:
    """A system that was taken home.

    Attributes:
        about: what it is and where it comes from.
        runner: texts to logits.
    """

    about: About
    runner: Runner

    def __call__(self, texts: Sequence[Text]) -> list[Answer]:
        """An answer for each text; each is what the text would get alone.

        Args:
            texts: texts, or tuples of two for a task on pairs.

        Raises:
            UserError: single texts where pairs are answered, or the other way round, or no list.
        """
        if isinstance(texts, str):
            raise UserError("expected a list of texts, found a text. Type model([text])")
        return list(self.stream(texts))

    def stream(self, texts: Iterable[Text], window: int = WINDOW) -> Iterator[Answer]:
        """The same for texts that come one after the other and need not fit into memory, in their order.

        Args:
            texts: read as answers are taken, `window` of them ahead.
            window: texts that are answered together: more are faster, fewer are answered sooner.

        Raises:
            UserError: a text is of the wrong kind; its number is given.
        """
        examples = (self._example(number, text) for number, text in enumerate(texts, 1))
        for some in windows(examples, window):
            yield from self._answers(some)

    def _example(self, number: int, text: object) -> Example:
        expected = PAIR if self.about.pair else SINGLE
        if (found := _kind(text)) != expected:
            raise UserError(f"text {number}: expected {expected} for a model of {self.about.task}, found {found}")
        first, second = text if isinstance(text, tuple) else (str(text), None)
        return Example(first, second, 0.0)

    def _answers(self, examples: Sequence[Example]) -> Iterator[Answer]:
        outcome = self.runner(examples)
        layers = outcome.exit_layer.tolist()
        if not self.about.labels:
            values = outcome.logits.squeeze(-1).tolist()
            return (Answer(None, None, layer, value) for value, layer in zip(values, layers, strict=True))
        labels, chosen = self.about.labels, _surest(outcome.logits)
        return (Answer(labels[i], p, layer) for (i, p), layer in zip(chosen, layers, strict=True))


def load(folder: Path | str) -> Model:
    """The model in a folder that `common.serve.save` wrote, on the CPU; its files are looked at first.

    Raises:
        UserError: it is no such folder, was written by a newer version, a file was changed, or its parts do not fit.
    """
    root = Path(folder)
    about = read_about(root)
    try:
        return Model(about, find_home(about.offered_by, about.method)(Parts(root, about)))
    except (KeyError, TypeError, ValueError, RuntimeError, OSError, SafetensorError) as error:
        raise UserError(
            f"{root}: expected the files and the facts ({SETTINGS}) of {about.method}, found others: "
            f"{type(error).__name__}: {' '.join(str(error).split())}. Save the model again"
        ) from error


def windows(examples: Iterable[Example], most: int) -> Iterator[list[Example]]:
    """Examples in runs of at most `most` that end as soon as they have `CHARACTERS`; none is empty."""
    run: list[Example] = []
    characters = 0
    for example in examples:
        run.append(example)
        characters += len(example.text_a) + len(example.text_b or "")
        if len(run) == most or characters >= CHARACTERS:
            yield run
            run, characters = [], 0
    if run:
        yield run


def _surest(logits: Tensor) -> Iterator[tuple[int, float]]:
    """Class and probability of each text, from (N, C) logits; of equal ones the first class, as everywhere."""
    index = logits.argmax(-1)
    probability = logits.softmax(-1).gather(1, index[:, None])[:, 0]
    return zip(index.tolist(), probability.tolist(), strict=True)


def _kind(text: object) -> str:
    if isinstance(text, str):
        return SINGLE
    if isinstance(text, tuple) and [type(part) for part in text] == [str, str]:
        return PAIR
    return f"a {type(text).__name__}"
