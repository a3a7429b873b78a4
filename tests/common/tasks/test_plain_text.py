"""Text without labels, from tiny files of each layout, whole and broken."""

import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UserError
from common.tasks.plain_text import paragraphs, sentences, squad_questions, texts_of, without_markup

LINES = "\n First article, line one. \n\n\nSecond article: ünïcode\n   \nend"


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz"])
def test_paragraphs_are_the_lines_that_say_something(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "wiki-en 2021").mkdir()
    pack = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}[suffix]
    (tmp_path / "wiki-en 2021" / f"train.txt{suffix}").write_bytes(pack(LINES.encode()))
    wanted = ["First article, line one.", "Second article: ünïcode", "end"]
    assert list(paragraphs("wiki_en_2021", tmp_path)) == wanted


def test_a_missing_folder_or_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folder 'wiki_en_2021'"):
        list(paragraphs("wiki_en_2021", tmp_path))
    (tmp_path / "wiki_en_2021").mkdir()
    with pytest.raises(UserError, match=r"wiki_en_2021: looked for train\.txt, train\.txt\.gz, train\.txt\.xz"):
        list(paragraphs("wiki_en_2021", tmp_path))


def test_bytes_that_are_no_text_are_named_by_line(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "train.txt").write_bytes(b"fine\nna\xefve\n")
    with pytest.raises(UserError, match="train.txt:2: byte 0xef"):
        list(paragraphs("own", tmp_path))


def write_squad(folder: Path, content: Any) -> None:
    (folder / "squad1.1").mkdir(exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content, indent=1)
    (folder / "squad1.1" / "train-v1.1.json").write_text(text)


def test_questions_come_in_their_order(tmp_path: Path) -> None:
    def paragraph(*questions: str) -> Any:
        return {"context": "c", "qas": [{"id": "1", "question": q} for q in questions]}

    articles = [{"paragraphs": [paragraph(" Who? ", "When?"), paragraph()]}, {"paragraphs": [paragraph("Why?")]}]
    write_squad(tmp_path, {"version": "1.1", "data": articles})
    assert list(squad_questions(tmp_path)) == ["Who?", "When?", "Why?"]


@pytest.mark.parametrize(
    "broken",
    [
        "",
        '{"data": [',
        "[]",
        "7",
        "null",
        {"articles": []},
        {"data": 3},
        {"data": ["text"]},
        {"data": [{"paragraphs": [{"context": "c"}]}]},
        {"data": [{"paragraphs": [{"qas": [{"id": "1"}]}]}]},
        {"data": [{"paragraphs": [{"qas": [{"question": None}]}]}]},
        {"data": [{"paragraphs": [{"qas": [{"question": 5}]}]}]},
        {"data": [{"paragraphs": [{"qas": ["Who?"]}]}]},
    ],
)
def test_what_is_not_squad_is_one_clear_message(tmp_path: Path, broken: Any) -> None:
    write_squad(tmp_path, broken)
    with pytest.raises(UserError, match=r"train-v1\.1\.json: expected SQuAD's JSON"):
        list(squad_questions(tmp_path))


def test_the_missing_squad_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no folder 'squad1\.1'"):
        list(squad_questions(tmp_path))
    (tmp_path / "squad1.1").mkdir()
    with pytest.raises(UserError, match=r"looked for train-v1\.1\.json"):
        list(squad_questions(tmp_path))


def test_texts_of_a_data_set_lose_their_markup_and_their_labels(tmp_path: Path) -> None:
    (tmp_path / "imdb").mkdir()
    rows = ["text\tlabel", "one<br /><br />two\t1", "three<br>four<br/>five\t0", "2 < 3 and <b>bold</b>\t1"]
    (tmp_path / "imdb" / "train.tsv").write_text("\n".join(rows) + "\n")
    assert list(texts_of("imdb", tmp_path)) == ["one  two", "three four five", "2 < 3 and <b>bold</b>"]


@given(st.text(max_size=60), st.text(max_size=20))
def test_markup_is_gone_and_the_rest_stays(before: str, after: str) -> None:
    found = without_markup(f"{before}<br />{after}")
    assert "<br />" not in found
    assert without_markup(found) == found or "<br" in before + after
    if "<" not in before + after:
        assert found == f"{before} {after}"


def test_sentences_end_at_stops_before_white_space() -> None:
    text = 'Is it 3.5 stars? Yes!  "No." he said.\nEnd without a stop'
    assert sentences(text) == ["Is it 3.5 stars?", "Yes!", '"No." he said.', "End without a stop"]
    assert sentences("One.") == ["One."]
    assert sentences("Stop. ") == ["Stop."]
    assert sentences("") == []


@given(st.text(alphabet="ab .!?\n", max_size=60))
def test_sentences_keep_every_word(text: str) -> None:
    found = sentences(text)
    assert " ".join(found).split() == text.split()
    assert all(found)
