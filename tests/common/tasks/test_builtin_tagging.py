"""The generated tagging tasks: repeatable, no name in both lexicons, and a word alone must not tell the hard tags."""

from collections import Counter, defaultdict

import numpy as np
import pytest

from common.errors import UserError
from common.tasks.builtin.tagging import HELD_OUT, TRAIN, builtin_tagging
from common.tasks.tagging import TaggingTask


@pytest.fixture(scope="module")
def entities() -> TaggingTask:
    return builtin_tagging("entities")


def test_equal_seeds_give_equal_tasks_and_sentences_are_distinct(entities: TaggingTask) -> None:
    assert builtin_tagging("entities").fingerprint == entities.fingerprint
    assert builtin_tagging("entities", seed=1, train_size=100).fingerprint != entities.fingerprint
    words = [s.words for s in (*entities.train, *entities.dev)]
    assert len(set(words)) == len(words)


def test_dev_has_other_names_than_train() -> None:
    for mine, held in zip((TRAIN.any_kind, TRAIN.given, TRAIN.countries, TRAIN.firms, TRAIN.trades),
                          (HELD_OUT.any_kind, HELD_OUT.given, HELD_OUT.countries, HELD_OUT.firms, HELD_OUT.trades),
                          strict=True):  # fmt: skip
        assert not set(mine) & set(held)


@pytest.mark.parametrize("name", ["entities", "badges"])
def test_tags_are_well_formed_and_every_level_occurs(name: str) -> None:
    task = builtin_tagging(name)
    assert {d for s in task.dev for d in s.difficulty or ()} == {1, 2, 3, 4}
    for sentence in task.train[:500]:
        tags = [task.tags[t] for t in sentence.tags]
        assert sentence.difficulty is not None and len(sentence.difficulty) == len(sentence.words) == len(tags)
        for before, tag in zip(["O", *tags], tags, strict=False):
            assert not tag.startswith("I-") or before[2:] == tag[2:]


def by_word(task: TaggingTask) -> dict[int, float]:
    """Accuracy on train itself, by difficulty, of a word's most frequent tag: the best that a word alone gives."""
    seen: dict[str, Counter[int]] = defaultdict(Counter)
    for s in task.train:
        for word, tag in zip(s.words, s.tags, strict=True):
            seen[word][tag] += 1
    right: dict[int, list[bool]] = defaultdict(list)
    for s in task.train:
        for word, tag, level in zip(s.words, s.tags, s.difficulty or (), strict=True):
            right[level].append(seen[word].most_common(1)[0][0] == tag)
    return {level: float(np.mean(hits)) for level, hits in right.items()}


@pytest.mark.parametrize(("name", "hard"), [("entities", (2, 3, 4)), ("badges", (3, 4))])
def test_the_word_alone_tells_the_easy_tags_and_not_the_hard_ones(name: str, hard: tuple[int, ...]) -> None:
    accuracy = by_word(builtin_tagging(name))
    assert accuracy[1] > 0.99
    assert all(accuracy[level] < 0.7 for level in hard)


def test_what_tells_from_afar_is_not_a_neighbour(entities: TaggingTask) -> None:
    """At levels 3 and 4 neither the word before nor the word after a name goes with one kind."""
    for level in (3, 4):
        seen: dict[tuple[str, str], Counter[int]] = defaultdict(Counter)
        for s in entities.train:
            words = ("^", *s.words, "$")
            for i, tag in enumerate(s.tags):
                if s.difficulty and s.difficulty[i] == level:
                    seen[words[i], words[i + 2]][tag] += 1
        # Only neighbours that are no names themselves, and came often enough to count.
        frequent = [tags for (before, after), tags in seen.items() if sum(tags.values()) >= 60]
        assert frequent
        for tags in frequent:
            assert tags.most_common(1)[0][1] / sum(tags.values()) < 0.6


def test_more_than_there_is_and_unknown_tasks_are_refused() -> None:
    with pytest.raises(UserError, match="cannot generate that many"):
        builtin_tagging("entities", train_size=10, dev_size=10_000)
    with pytest.raises(UserError, match="has no task 'mood'.*entities, badges"):
        builtin_tagging("mood")
