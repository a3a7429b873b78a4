"""A student at home: one folder, and what labels texts with it.

    student.safetensors      the weights            design.json   how they are put together
    vocabulary.safetensors   the n-grams            labels.json   what the answers are called

`Predictor.load` maps the two large files into memory and rebuilds nothing. The first text is answered at once, and of
the table only the rows that texts ask for are read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from common.errors import UserError
from common.records.measurements import write_json
from replications.sparse_distillation.design import Student
from replications.sparse_distillation.engine.bags import bag_batch
from replications.sparse_distillation.engine.extraction import Vocabulary
from replications.sparse_distillation.storage import load_student, new_folder

PROGRAM = ".venv/bin/python -m replications.sparse_distillation.predictor"
LABELS = "labels.json"

Text = str | tuple[str, str]
"""What is to be labelled: a text, or for the student of a pair task two."""

SINGLE, PAIR = "a single text", "a pair of texts"

BATCH = 256
"""Most texts that are looked at together."""

CHARACTERS = 1 << 20
"""About how many characters are looked at together: what long texts need does not grow with their number."""


class Labels(BaseModel):
    """What the answers of a student mean, and where it comes from.

    Attributes:
        task: the task that it was trained for.
        labels: names of the classes, in the order of the student's outputs.
        teacher: the encoder whose answers it learned from.
        vocabulary: `fingerprint` of the n-grams that its table has rows for.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    task: str
    labels: tuple[str, ...]
    teacher: str
    vocabulary: str


@dataclass(frozen=True)
class Prediction:
    """The most probable label of a text, and its probability (0-1)."""

    label: str
    probability: float


@dataclass(frozen=True)
class Predictor:
    """A trained student, ready to label texts.

    Raises:
        UserError: its parts do not belong together.
    """

    model: Student
    vocabulary: Vocabulary
    about: Labels

    def __post_init__(self) -> None:
        rows, outputs = len(self.model.table), self.model.layers[-1].out_features
        if rows != len(self.vocabulary):
            raise UserError(
                f"expected a row of the table for each of the vocabulary's {len(self.vocabulary)} n-grams, found "
                f"{rows} rows: the vocabulary belongs to another student. Save the student again"
            )
        if fingerprint(self.vocabulary) != self.about.vocabulary:
            raise UserError(
                f"expected the vocabulary that {LABELS} names, found one of as many n-grams from another corpus: it "
                "belongs to another student. Save the student again"
            )
        if outputs != len(self.about.labels):
            raise UserError(
                f"expected a label for each of the student's {outputs} outputs, found {len(self.about.labels)} "
                f"({', '.join(self.about.labels)}): {LABELS} belongs to another student. Save the student again"
            )

    @property
    def is_pair(self) -> bool:
        """Whether it labels pairs of texts."""
        return bool(self.model.layers[0].in_features != self.model.table.shape[1])

    @classmethod
    def load(cls, folder: Path) -> Predictor:
        """Map a student that was saved to `folder`.

        Raises:
            UserError: the folder is missing or is not a student's, or its files do not belong together.
        """
        about = _read_labels(folder)
        model, vocabulary = load_student(folder), Vocabulary.load(folder)
        try:
            return cls(model, vocabulary, about)
        except UserError as error:
            raise UserError(f"{folder}: {error}") from error

    def save(self, folder: Path) -> None:
        """Write everything to the new folder `folder`, whole or not at all; its parents are made.

        Raises:
            UserError: there is something at `folder` already, or it cannot be written.
        """
        with new_folder(folder) as new:
            self.model.save(new)
            self.vocabulary.save(new)
            write_json(new / LABELS, self.about.model_dump(mode="json"))

    def predict(self, texts: Sequence[Text]) -> list[Prediction]:
        """Label each text.

        A text without any n-gram of the vocabulary, as an empty one, has h = 0: all of them get the same answer.

        Args:
            texts: texts, or for a pair student tuples of two.

        Raises:
            UserError: single texts for a pair student, pairs for one of single texts, or no list.
        """
        if isinstance(texts, str):
            raise UserError("expected a list of texts, found a text. Type predict([text])")
        expected = PAIR if self.is_pair else SINGLE
        for number, text in enumerate(texts, 1):
            if (found := _kind(text)) != expected:
                raise UserError(
                    f"text {number}: expected {expected} for the student of {self.about.task}, found {found}"
                )
        return [prediction for batch in batches(texts) for prediction in self._predict(batch)]

    def _predict(self, texts: Sequence[Text]) -> list[Prediction]:
        probability, index = self._probabilities(texts).max(dim=-1)
        answers = zip(index.tolist(), probability.tolist(), strict=True)
        return [Prediction(self.about.labels[label], p) for label, p in answers]

    @torch.inference_mode()
    def _probabilities(self, texts: Sequence[Text]) -> Tensor:
        """(N, C) for the texts of one batch."""
        pairs = [text if isinstance(text, tuple) else (text, "") for text in texts]
        second = [b for _, b in pairs] if self.is_pair else None
        logits: Tensor = self.model(bag_batch(self.vocabulary, [a for a, _ in pairs], second))
        return logits.softmax(dim=-1)


def fingerprint(vocabulary: Vocabulary) -> str:
    """SHA-256 over how often each n-gram occurs in the corpus: two corpora do not agree in that."""
    return hashlib.sha256(vocabulary.counts.astype("<i8").tobytes()).hexdigest()


def _read_labels(folder: Path) -> Labels:
    again = f"Make one: {PROGRAM} save path/to/student --task sst-2 --data files --data-dir path/to/data"
    try:
        return Labels.model_validate_json((folder / LABELS).read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(f"{folder / LABELS}: expected the labels of a student: {where}: {first['msg']}") from error
    except OSError as error:
        found = f"no {LABELS} there" if folder.is_dir() else "no such folder"
        raise UserError(f"{folder}: expected the folder of a student, found {found}. {again}") from error


def _kind(text: object) -> str:
    if isinstance(text, str):
        return SINGLE
    if isinstance(text, tuple) and [type(part) for part in text] == [str, str]:
        return PAIR
    return f"a {type(text).__name__}"


def batches(texts: Iterable[Text], most: int = BATCH) -> Iterator[list[Text]]:
    """`texts` in runs of at most `most` that end as soon as they have `CHARACTERS`; none is empty."""
    run: list[Text] = []
    characters = 0
    for text in texts:
        run.append(text)
        characters += sum(map(len, text)) if isinstance(text, tuple) else len(text)
        if len(run) == most or characters >= CHARACTERS:
            yield run
            run, characters = [], 0
    if run:
        yield run
