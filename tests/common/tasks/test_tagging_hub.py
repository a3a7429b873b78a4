"""Tagging tasks from the Hub: rows as `datasets` gives them, tags matched by name."""

from typing import Any

import pytest
from datasets import ClassLabel, Dataset, Features, Sequence, Value

from common.errors import UserError
from common.tasks import tagging_hub
from common.tasks.catalogue import WORDS, find_facts, known_tasks
from common.tasks.hub import HubSet
from common.tasks.tagging_files import PUBLISHED_TAGGING
from common.tasks.tagging_hub import HUB_TAGGING
from common.tasks.tagging_sources import load_tagging


def rows(names: list[str], column: str, *sentences: tuple[list[str], list[str]]) -> Dataset:
    features = Features({"tokens": Sequence(Value("string")), column: Sequence(ClassLabel(names=names))})
    content = {"tokens": [words for words, _ in sentences], column: [tags for _, tags in sentences]}
    return Dataset.from_dict(content, features=features)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None, str]]:
    """What is asked of the Hub; each split has one sentence, its tags numbered in an order of the Hub's own."""
    found: list[tuple[str, str | None, str]] = []

    def answer(name: str, hub_set: HubSet, split: str) -> Any:
        found.append((hub_set.repository, hub_set.config, split))
        if hub_set.label == "upos":
            return rows(["_", "VERB", "PRON", "PART"], "upos", (["don't", "do", "n't"], ["_", "VERB", "PART"]))
        return rows(["I-person", "O", "B-person", "B-odd"], "ner_tags", (["Ann", split], ["B-person", "O"]))

    monkeypatch.setattr(tagging_hub, "load_split", answer)
    return found


def test_tags_are_matched_by_name_and_test_is_reported_on(asked: list[tuple[str, str | None, str]]) -> None:
    task = load_tagging("WNUT17", "hub")
    assert [split for _, _, split in asked] == ["train", "validation", "test"]
    assert (task.train[0].words, task.tune[0].words, task.dev[0].words) == (
        ("Ann", "train"),
        ("Ann", "validation"),
        ("Ann", "test"),
    )
    assert [task.tags[t] for t in task.dev[0].tags] == ["B-person", "O"]


def test_multiword_tokens_are_passed_over(asked: list[tuple[str, str | None, str]]) -> None:
    task = load_tagging("ud-english-ewt", "hub")
    assert task.dev[0].words == ("do", "n't")
    assert [task.tags[t] for t in task.dev[0].tags] == ["VERB", "PART"]


def test_an_unknown_tag_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = rows(["O", "B-odd"], "ner_tags", (["Ann"], ["B-odd"]))
    monkeypatch.setattr(tagging_hub, "load_split", lambda name, hub_set, split: odd)
    with pytest.raises(UserError, match="row 1: unknown tag 'B-odd'; known: O, B-corporation"):
        load_tagging("wnut-17", "hub")


def test_missing_columns_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    other = Dataset.from_dict({"words": [["a"]]})
    monkeypatch.setattr(tagging_hub, "load_split", lambda name, hub_set, split: other)
    with pytest.raises(UserError, match="no column 'tokens'; columns found: words"):
        load_tagging("wnut-17", "hub")


@pytest.mark.parametrize(("source", "known"), [("hub", HUB_TAGGING), ("files", PUBLISHED_TAGGING)])
def test_the_catalogue_offers_what_the_source_has(source: str, known: dict[str, object]) -> None:
    assert set(known_tasks(source, WORDS)) == set(known)
    assert all((facts := find_facts(name)) is not None and facts.kind == WORDS for name in known)
    assert not set(known) & set(known_tasks(source))
