"""DeFormer to take home: a folder of texts indexed, a question answered, everything refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from common.encoders.sources import load_encoder
from common.errors import UserError
from common.models.span_reader import surest_spans
from common.tasks.spans import Question
from common.training.segments import SegmentLayout
from common.training.windows import encode_questions
from replications.deformer.answer import main
from replications.deformer.library import Library, paragraphs
from replications.deformer.method import DeFormer

LAYOUT = SegmentLayout(max_seq=32, max_first=8)
TEXTS = {
    "lamps.txt": "The lamp was red.\nIt stood in the garden.\n\n\nAnna bought it on Monday.\n",
    "deep/rivers.txt": "Rivers flow to the sea, they say, but " + "water returns as rain " * 12 + "to the hills.\n",
    "empty.txt": "\n\n",
}


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    for name, text in TEXTS.items():
        path = tmp_path / "texts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "texts"


@pytest.fixture(params=[False, True], ids=["anew", "running on"])
def layout(request: pytest.FixtureRequest) -> SegmentLayout:
    return SegmentLayout(max_seq=32, max_first=8, runs_on=request.param)


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return library_of(tmp_path, LAYOUT)


def library_of(tmp_path: Path, layout: SegmentLayout) -> Library:
    source = load_encoder("random:tiny")
    model = DeFormer.reader(source.encoder, 2, seed=0).eval()
    return Library.make(tmp_path / "library", model, source.tokenizer, layout, "float32")


def test_paragraphs_know_where_they_begin(texts: Path) -> None:
    for start, text in paragraphs(texts / "lamps.txt"):
        assert TEXTS["lamps.txt"][start : start + len(text)] == text
    assert [text for _, text in paragraphs(texts / "lamps.txt")][1] == "Anna bought it on Monday."
    assert list(paragraphs(texts / "empty.txt")) == []


def test_passages_are_windows_of_files_and_indexing_again_adds_nothing(library: Library, texts: Path) -> None:
    count = library.index(texts)
    assert count == len(library.passages) == len(library.cache) > 4, "a long paragraph has several windows"
    for passage in library.passages:
        assert TEXTS[passage.file][passage.start : passage.start + len(passage.text)] == passage.text
    assert library.index(texts) == 0
    (texts / "new.txt").write_text("A new passage on lamps.")
    assert library.index(texts) == 1 and len(Library(library.folder).passages) == count + 1


def test_the_answer_is_the_surest_of_the_model_itself(layout: SegmentLayout, texts: Path, tmp_path: Path) -> None:
    """The same as with nothing cached, passage by passage, wherever the layout lets positions begin."""
    library = library_of(tmp_path, layout)
    library.index(texts)
    question = "where did the lamp stand?"
    found = library.ask(question)
    best = (0.0, "")
    for passage in library.passages:
        asked = [Question("q", question, passage.text, ())]
        windows = encode_questions(library.tokenizer, asked, layout, training=False)
        batch = windows.split.batch([0])
        with torch.inference_mode():
            span = surest_spans(library.model(batch), batch.second_text)
        begin, end = windows.characters(0, int(span.first[0]), int(span.last[0]))
        best = max(best, (float(span.sureness[0]), passage.text[begin:end]))
    assert found.answer == best[1] and found.score == pytest.approx(best[0], rel=1e-4)
    assert TEXTS[found.file][found.start : found.start + len(found.answer)] == found.answer


def test_the_nearest_passages_share_words_with_the_question(library: Library, texts: Path) -> None:
    library.index(texts)
    assert library.nearest("Who bought something on Monday?", 1)[0].text == "Anna bought it on Monday."
    assert library.ask("who bought it on Monday?", 1).passage == "Anna bought it on Monday."


def test_what_cannot_be_asked_or_indexed_is_refused(library: Library, texts: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no passages yet"):
        library.ask("who?")
    with pytest.raises(UserError, match="expected a folder with .txt files"):
        library.index(tmp_path / "absent")
    (tmp_path / "blank").mkdir()
    (tmp_path / "blank" / "a.txt").write_text(" \n")
    with pytest.raises(UserError, match="every passage is empty"):
        library.index(tmp_path / "blank")
    library.index(texts)
    with pytest.raises(UserError, match="has 11 word pieces and its slot holds 8"):
        library.ask("one two three four five six seven eight nine ten?")
    with pytest.raises(UserError, match="the question is empty"):
        library.ask(" ")
    (texts / "latin.txt").write_bytes("Straße".encode("latin1"))
    with pytest.raises(UserError, match="latin.txt:1: byte 0xdf"):
        library.index(texts)
    with pytest.raises(UserError, match="expected a new folder"):
        Library.make(library.folder, library.model, library.tokenizer, LAYOUT)
    with pytest.raises(UserError, match="is no library"):
        Library(texts)


def test_the_command_answers(library: Library, texts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(library.folder)
    assert main(["index", folder, str(texts)]) == 0
    assert "new passages" in capsys.readouterr().out
    assert main(["ask", folder, "who bought it on Monday?", "--passages", "1"]) == 0
    answer, score, file, start = capsys.readouterr().out.rstrip("\n").split("\t")
    assert file == "lamps.txt" and 0 < float(score) <= 1
    assert TEXTS[file][int(start) : int(start) + len(answer)] == answer
    assert main(["ask", folder, "who?", "--passages", "0"]) == 2
    assert main(["save", folder, "--task", "mood", "--data", "builtin"]) == 2
    assert "--task is one reading task" in capsys.readouterr().err
