"""Corpora of the three sources: documents, sentences in order, and what is said where there is no text."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.errors import UserError
from common.tasks import corpora
from common.tasks.corpora import STORY, Corpus, find_corpus, texts_as_corpus, up_to


def words_of(corpus: Corpus) -> int:
    return sum(len(sentence.split()) for document in corpus.documents() for sentence in document)


@pytest.mark.parametrize("smoke", [False, True])
def test_generated_text_is_the_same_in_every_process_and_has_documents_of_several_sentences(smoke: bool) -> None:
    one, two = (find_corpus("builtin", None, 3000, smoke=smoke) for _ in range(2))
    assert one.fingerprint == two.fingerprint
    assert list(one.documents()) == list(two.documents())
    assert 3000 <= words_of(one) < 3100
    assert {len(document) for document in one.documents()} == {2, 4}
    assert find_corpus("builtin", None, 2000, smoke=smoke).fingerprint != one.fingerprint


def test_a_story_tells_the_order_of_its_sentences() -> None:
    stories = [d for d in find_corpus("builtin", None, 3000).documents() if len(d) == 4]
    assert len(stories) > 10
    assert all(s.startswith(f"{word}, ") for d in stories for s, word in zip(d, STORY, strict=True))


def test_generated_text_holds_no_text_of_a_tasks_own(tmp_path: Path) -> None:
    from common.tasks.builtin import builtin_task

    own = {e.text_a for e in builtin_task("entailment").dev} | {e.text_a for e in builtin_task("entailment").test}
    read = {sentence for document in find_corpus("builtin", None, 20_000).documents() for sentence in document}
    assert not own & read


def write(folder: Path, text: str | bytes) -> None:
    folder.mkdir(parents=True)
    (folder / "train.txt").write_bytes(text if isinstance(text, bytes) else text.encode())


def test_a_file_is_read_by_article_and_sentence(tmp_path: Path) -> None:
    write(tmp_path / "wiki-en-2021", "One. Two!\nThree?\n\n\n Four. \n")
    corpus = find_corpus("files", tmp_path, None)
    assert [list(d) for d in corpus.documents()] == [["One.", "Two!", "Three?"], ["Four."]]


def test_ones_own_text_comes_first(tmp_path: Path) -> None:
    write(tmp_path / "wiki_en_2021", "Theirs.")
    wiki = find_corpus("files", tmp_path, None)
    write(tmp_path / "corpus", "Ours.")
    own = find_corpus("files", tmp_path, None)
    assert [list(d) for d in own.documents()] == [["Ours."]]
    assert own.fingerprint != wiki.fingerprint


def test_as_many_documents_are_read_as_hold_the_words_asked_for() -> None:
    documents = [["a b c"], ["d e"], ["f"]]
    assert list(up_to(iter(documents), 4)) == documents[:2]
    assert list(up_to(iter(documents), 3)) == documents[:1]
    assert list(up_to(iter(documents), None)) == documents


def test_where_there_is_no_text_it_is_said_where_to_put_some(tmp_path: Path) -> None:
    (tmp_path / "sst2").mkdir()
    with pytest.raises(UserError, match=r"looked for train\.txt .* in the folders corpus and wiki_en_2021\. Put some"):
        find_corpus("files", tmp_path, None)


def test_text_that_is_not_utf8_is_named_by_file_and_line(tmp_path: Path) -> None:
    write(tmp_path / "corpus", b"fine\nna\xefve\n")
    with pytest.raises(UserError, match=r"train\.txt:2: byte 0xef .* is not UTF-8"):
        list(find_corpus("files", tmp_path, None).documents())


def test_the_hub_is_read_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def rows(*arguments: Any) -> Iterator[dict[str, str]]:
        assert arguments[1:] == (corpora.HUB_REPOSITORY, corpora.HUB_CONFIG, corpora.HUB_REVISION)
        for number in range(1000):
            read.append(number)
            yield {"text": f"Title {number}. It is here.\n\nMore of it."}

    monkeypatch.setattr(corpora, "hub_rows", rows)
    corpus = find_corpus("hub", None, 12)
    assert next(list(d) for d in corpus.documents()) == ["Title 0.", "It is here.", "More of it."]
    assert len(read) <= 3, "no more is read than is wanted"
    assert corpora.HUB_REVISION in corpus.fingerprint


def test_the_hub_without_a_network_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.is_offline_mode", lambda: True)
    with pytest.raises(UserError, match="cannot get 'Wikipedia' from the Hub"):
        next(iter(find_corpus("hub", None, 10).documents()))


def test_texts_at_hand_are_a_corpus() -> None:
    corpus = texts_as_corpus("own texts", ["One. Two.", "", "Three."])
    assert [list(d) for d in corpus.documents()] == [["One.", "Two."], ["Three."]]
    assert corpus.fingerprint != texts_as_corpus("own texts", ["One."]).fingerprint


def test_an_unknown_source_is_refused() -> None:
    with pytest.raises(UserError, match="unknown data source 'web'"):
        find_corpus("web", None, None)
