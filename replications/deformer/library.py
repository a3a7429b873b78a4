"""Texts of one's own, encoded beforehand, and questions on them: DeFormer to take home.

A library is a folder with everything that it needs: the reader, its tokenizer, the passages and their states at layer
k. A paragraph of a file is a passage, in windows where it is long. A question is asked of the passages that share most
with it by TF-IDF, and the surest answer counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor

from common.encoders.checkpoints import quiet
from common.errors import UserError
from common.models.span_reader import surest_spans
from common.records.measurements import write_json, write_text
from common.tasks.reading import numbered_lines
from common.training.segments import SegmentLayout, first_segment, padded, second_segment
from common.training.windows import question_pieces, tokenised
from replications.deformer.cache import About, PassageCache, Precision, encode_passages, key_of
from replications.deformer.method import DeFormer
from replications.deformer.online import Online

MODEL, TOKENIZER, LAYOUT, CACHE, PASSAGES = "model", "tokenizer", "layout.json", "cache", "passages.jsonl"

BEST, AT_ONCE = 100, 20
"""Passages that a question is asked of, and how many in a batch."""


@dataclass(frozen=True)
class Passage:
    """A part of a file: its name, the character at which the passage begins, its text, and its key in the cache."""

    file: str
    start: int
    text: str
    key: str


@dataclass(frozen=True)
class Found:
    """An answer: its text, where it stands, how sure the reader is (0..1), and the passage."""

    answer: str
    file: str
    start: int
    score: float
    passage: str


class Library:
    """Indexed passages and their reader."""

    def __init__(self, folder: Path) -> None:
        """Open a library; states are read when they are asked for.

        Raises:
            UserError: there is none, or a part of it is missing, damaged or of another model.
        """
        if not (folder / LAYOUT).is_file():
            raise UserError(f"{folder} is no library: expected {LAYOUT}. Make one with save")
        self.folder = folder
        self.layout = SegmentLayout(**json.loads((folder / LAYOUT).read_text(encoding="utf-8")))
        self.model = DeFormer.load(folder / MODEL)
        with quiet():
            self.tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder / TOKENIZER, local_files_only=True)
        precision = json.loads((folder / CACHE / "about.json").read_text())["precision"]
        self.about = About.of(self.model, self.layout, precision)
        self.cache = PassageCache.open(folder / CACHE, self.about)

    @staticmethod
    def make(
        folder: Path, model: DeFormer, tokenizer: object, layout: SegmentLayout, precision: Precision = "float16"
    ) -> Library:
        """Begin an empty library with this reader.

        Raises:
            UserError: the folder is not empty.
        """
        if folder.exists() and any(folder.iterdir()):
            raise UserError(f"expected a new folder for the library, found {folder}. Name another one, or remove it")
        model.save(folder / MODEL)
        tokenizer.save_pretrained(folder / TOKENIZER)  # type: ignore[attr-defined]
        PassageCache.make(folder / CACHE, About.of(model, layout, precision))
        write_text(folder / PASSAGES, "")
        write_json(folder / LAYOUT, asdict(layout))
        return Library(folder)

    # -- Indexing -----------------------------------------------------------------------------------------------------

    @cached_property
    def passages(self) -> list[Passage]:
        """Everything indexed so far."""
        lines = (self.folder / PASSAGES).read_text(encoding="utf-8").splitlines()
        return [Passage(**json.loads(line)) for line in lines]

    def index(self, texts: Path, advance: Callable[[int, int], object] = lambda done, total: None) -> int:
        """Add every .txt file under a folder; what is there already is kept and not computed again.

        Returns:
            How many passages are new.

        Raises:
            UserError: there is no such folder, no text in it, or a file that is not UTF-8.
        """
        files = sorted(texts.rglob("*.txt")) if texts.is_dir() else []
        if not files:
            raise UserError(f"{texts}: expected a folder with .txt files, found none")
        found = [passage for file in files for passage in self._windows(file.relative_to(texts).as_posix(), file)]
        if not found:
            raise UserError(f"{texts}: the .txt files hold no text: every passage is empty")
        known = {(p.file, p.start, p.key) for p in self.passages}
        new = [(p, tokens) for p, tokens in found if (p.file, p.start, p.key) not in known]
        encode_passages(self.model, [t for _, t in new], self.cache, self.tokenizer.pad_token_id, self.device, advance)
        passages = [*self.passages, *(p for p, _ in new)]
        lines = "".join(json.dumps(asdict(p), ensure_ascii=False) + "\n" for p in passages)
        write_text(self.folder / PASSAGES, lines)
        self.__dict__.pop("passages", None)
        self.__dict__.pop("_retriever", None)
        return len(new)

    @property
    def device(self) -> torch.device:
        """Where the reader is."""
        return next(self.model.parameters()).device

    def _windows(self, name: str, file: Path) -> Iterator[tuple[Passage, tuple[int, ...]]]:
        """The passages of a file, each with its tokens."""
        for start, text in paragraphs(file):
            (found,) = tokenised(self.tokenizer, [text])
            size = self.layout.second_pieces
            for begin in found.windows(size) if found.pieces else ():
                inside = found.characters[begin : begin + size]
                part = text[inside[0][0] : inside[-1][1]]
                tokens = second_segment(self.tokenizer, found.pieces[begin : begin + size])
                yield Passage(name, start + inside[0][0], part, key_of(tokens)), tokens

    # -- Asking -------------------------------------------------------------------------------------------------------

    @cached_property
    def _retriever(self) -> tuple[Any, Any]:
        """TF-IDF over the passages: the vectoriser and (passages, words) weights of unit length."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectoriser = TfidfVectorizer(sublinear_tf=True)
        return vectoriser, vectoriser.fit_transform(passage.text for passage in self.passages)

    def nearest(self, question: str, count: int = BEST) -> list[Passage]:
        """The passages that share most with a question, the nearest first."""
        vectoriser, weights = self._retriever
        scores = np.asarray((weights @ vectoriser.transform([question]).T).todense()).ravel()
        best = np.argsort(-scores, kind="stable")[:count]
        return [self.passages[i] for i in best]

    def ask(self, question: str, count: int = BEST) -> Found:
        """The surest answer over the `count` nearest passages.

        Raises:
            UserError: nothing is indexed, or the question is empty or longer than its slot.
        """
        if not self.passages:
            raise UserError(f"{self.folder} holds no passages yet: index a folder of text files first")
        ((pieces, *_), _) = question_pieces(
            self.tokenizer, [question], ["the question as typed"], self.layout, may_cut=False
        )
        live = padded([first_segment(self.tokenizer, pieces)], self.tokenizer.pad_token_id, 0, self.layout.first_slot)
        online, best = Online(self.model, self.cache), None
        near = self.nearest(question, count)
        for start in range(0, len(near), AT_ONCE):
            part = near[start : start + AT_ONCE]
            asked = online(live, [0] * len(part), [passage.key for passage in part])
            spans = surest_spans(asked.logits, asked.text)
            top = int(spans.sureness.argmax())
            if best is None or float(spans.sureness[top]) > best.score:
                best = self._found(part[top], spans.first[top], spans.last[top], float(spans.sureness[top]))
        assert best is not None
        return best

    def _found(self, passage: Passage, first: Tensor, last: Tensor, score: float) -> Found:
        (tokens,) = tokenised(self.tokenizer, [passage.text])
        slot = self.layout.first_slot
        begin, end = tokens.characters[int(first) - slot][0], tokens.characters[int(last) - slot][1]
        return Found(passage.text[begin:end], passage.file, passage.start + begin, score, passage.text)


def paragraphs(file: Path) -> Iterator[tuple[int, str]]:
    """The paragraphs of a text file (parted by empty lines), each with the character at which it begins.

    Raises:
        UserError: the file cannot be read or is not UTF-8.
    """
    start, at = 0, 0
    lines: list[str] = []
    for _, line in (*numbered_lines(file), (0, "")):
        if line.strip():
            start = start if lines else at
            lines.append(line)
        elif lines:
            yield start, "\n".join(lines)
            lines = []
        at += len(line) + 1
