"""The generated tasks: sizes, balance, determinism, held-out words, and that a bag of words must fail."""

import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from common.errors import UserError
from common.tasks import known_tasks
from common.tasks.builtin import builtin_task
from common.tasks.builtin.entailment import entailment
from common.tasks.builtin.generation import Draw, generate, level_sizes
from common.tasks.builtin.lexicon import HELD_OUT, TRAIN, VERB_SYNONYMS, with_article
from common.tasks.builtin.sentiment import sentiment
from common.tasks.catalogue import SMOKE_TASKS
from common.tasks.task import Example, Task

NAMES = tuple(name for name in known_tasks("builtin") if name not in SMOKE_TASKS)


@cache
def full(name: str) -> Task:
    return builtin_task(name)


def words(text: str | None) -> list[str]:
    return re.findall(r"[a-z]+", (text or "").lower())


@pytest.mark.parametrize("name", NAMES)
def test_enough_distinct_balanced_examples(name: str) -> None:
    task = full(name)
    assert (len(task.train), len(task.dev), len(task.test)) == (24_000, 1_200, 1_200)
    everything = [(e.text_a, e.text_b) for e in task.train + task.dev + task.test]
    assert len(set(everything)) == len(everything)
    assert task.is_pair == (name != "sentiment")
    for split in (task.train, task.dev, task.test):
        levels = Counter(e.difficulty for e in split)
        assert [levels[level] / len(split) for level in (1, 2, 3, 4)] == pytest.approx([0.4, 0.3, 0.2, 0.1])
        for level in levels:
            labels = Counter(e.label for e in split if e.difficulty == level)
            assert labels[0.0] == labels[1.0]


@pytest.mark.parametrize("name", NAMES)
def test_dev_and_test_hold_words_that_train_does_not(name: str) -> None:
    task = full(name)
    trained = {word for e in task.train for word in words(e.text_a) + words(e.text_b)}
    trained_sentences = {text for e in task.train for text in (e.text_a, e.text_b) if text}
    for e in task.dev + task.test:
        for text in filter(None, (e.text_a, e.text_b)):
            assert text not in trained_sentences
            assert set(words(text)) - trained, f"no new word in: {text}"


def test_lexicons_share_no_noun_and_no_name() -> None:
    for field in ("people", "names", "places", "days", "things", "subjects", "noun_synonyms"):
        assert not set(getattr(TRAIN, field)) & set(getattr(HELD_OUT, field)), field
    kinds = {kind: set(members) for kind, members in TRAIN.kinds}
    assert all(not kinds[kind] & set(members) for kind, members in HELD_OUT.kinds)
    for polarity in ("positive", "negative"):
        held, seen = set(getattr(HELD_OUT, polarity)), set(getattr(TRAIN, polarity))
        assert 0.2 <= len(held - seen) / len(held) <= 0.4
    assert not set(TRAIN.positive + HELD_OUT.positive) & set(TRAIN.negative + HELD_OUT.negative)


@pytest.mark.parametrize("name", NAMES)
def test_sentences_are_short_and_well_formed(name: str) -> None:
    for e in full(name).train[:3000]:
        total = len(words(e.text_a)) + len(words(e.text_b))
        assert total <= 24 and len(words(e.text_a)) >= 3
        for text in filter(None, (e.text_a, e.text_b)):
            assert re.fullmatch(r"[A-Z][A-Za-z, ]+\.", text), text
            assert "  " not in text and not re.search(r"\ba [aeiou]", text)


def test_equal_in_every_process_and_different_for_another_seed() -> None:
    code = (
        "from common.tasks.builtin import builtin_task\n"
        "for name in ('sentiment', 'entailment', 'paraphrase'):\n"
        "    print(builtin_task(name, 3, 400, 40, 40).fingerprint)"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    here = "".join(f"{builtin_task(name, 3, 400, 40, 40).fingerprint}\n" for name in NAMES)
    assert runs == {here}
    assert builtin_task("sentiment", 4, 400, 40, 40).fingerprint not in here


def features(example: Example) -> list[str]:
    """All words; of a pair also which sentence holds each, and how many are shared."""
    first, second = words(example.text_a), words(example.text_b)
    if not second:
        return first
    both, only_a, only_b = set(first) & set(second), set(first) - set(second), set(second) - set(first)
    marked = [f"a:{w}" for w in first] + [f"b:{w}" for w in second] + [f"both:{w}" for w in both]
    marked += [f"only a:{w}" for w in only_a] + [f"only b:{w}" for w in only_b]
    return marked + ["both"] * len(both) + ["only a"] * len(only_a) + ["only b"] * len(only_b)


@pytest.mark.parametrize("name", NAMES)
def test_a_bag_of_words_does_well_on_the_easy_level_alone(name: str) -> None:
    task = builtin_task(name, seed=1, train_size=4_000, dev_size=4_000, test_size=4)
    vectors = CountVectorizer(analyzer=features)
    model = LogisticRegression(max_iter=300).fit(vectors.fit_transform(task.train), [e.label for e in task.train])
    accuracy = {}
    for level in (1, 2, 3, 4):
        dev = [e for e in task.dev if e.difficulty == level]
        accuracy[level] = model.score(vectors.transform(dev), [e.label for e in dev])
    assert accuracy[1] >= 0.8
    assert all(0.4 <= accuracy[level] <= 0.6 for level in (2, 3, 4)), accuracy


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("level", [2, 3, 4])
def test_polarity_and_words_say_nothing_even_when_only_the_hard_level_is_learnt(name: str, level: int) -> None:
    task = builtin_task(name, seed=2, train_size=8_000, dev_size=4_000, test_size=4)
    train = [e for e in task.train if e.difficulty == level]
    dev = [e for e in task.dev if e.difficulty == level]
    vectors = CountVectorizer(analyzer=features)
    model = LogisticRegression(max_iter=300).fit(vectors.fit_transform(train), [e.label for e in train])
    assert 0.4 <= model.score(vectors.transform(dev), [e.label for e in dev]) <= 0.6


def negations(clause: str) -> int:
    return len(re.findall(r"\b(not|never|nobody|hardly|no)\b", clause.lower()))


def test_sentiment_labels_by_an_independent_reading() -> None:
    """Levels 1 and 3 and the clauses of level 4, read again: main clause or clause after `but`, then parity."""
    polarity = dict.fromkeys(TRAIN.positive, 1) | dict.fromkeys(TRAIN.negative, 0)
    checked: Counter[int] = Counter()
    for e in full("sentiment").train:
        text = e.text_a.rstrip(".").lower()
        if e.difficulty == 2 or (e.difficulty == 4 and not re.search(r"but|though", text)):
            continue
        if text.startswith("although"):
            decisive = text.partition(",")[2]
        elif " but " in text:
            decisive = text.partition(" but ")[2]
        else:
            decisive = re.split(r", (?:although|even though) ", text)[0]
        (verdict,) = [polarity[w] for w in words(decisive) if w in polarity]
        assert e.label == (verdict + negations(decisive)) % 2, e.text_a
        checked[e.difficulty or 0] += 1
    assert min(checked[1], checked[3], checked[4]) > 1000


def who_did_what(text: str) -> tuple[str, str, str]:
    """Read `A thanked B ...` or `B was thanked by A ...` as (agent, patient, verb)."""
    person = r"(?:the )?[a-z]+"
    text = text.rstrip(".").lower()
    passive = re.match(rf"({person}) was ([a-z]+) by ({person})\b", text)
    if passive:
        return passive[3], passive[1], passive[2]
    active = re.match(rf"({person}) ([a-z]+) ({person})\b", text)
    assert active, text
    return active[1], active[3], active[2]


def test_role_labels_by_an_independent_reading() -> None:
    synonym = {verb.past: pair[0].past for pair in VERB_SYNONYMS for verb in pair}
    checked: Counter[str] = Counter()
    for name, holds in (("entailment", 0.0), ("paraphrase", 1.0)):
        for e in full(name).train:
            texts = e.text_a, e.text_b or ""
            simple = not re.search(r"\b(who|never|not)\b", " ".join(texts))
            if e.difficulty != 4 or not simple or not re.search(r" was [a-z]+ by ", texts[1]):
                continue
            first, second = (who_did_what(text) for text in texts)
            assert first[:2] == second[:2] or first[:2] == second[:2][::-1]
            assert synonym.get(first[2], first[2]) == synonym.get(second[2], second[2])
            assert (e.label == holds) == (first[:2] == second[:2]), e
            checked[name] += 1
    assert min(checked["entailment"], checked["paraphrase"]) > 200


def test_antonym_labels_by_an_independent_reading() -> None:
    checked = 0
    for e in full("paraphrase").train:
        if e.difficulty != 4 or e.text_b is None or not re.search(r"\bsaid\b", e.text_a + e.text_b):
            continue
        first, second = words(e.text_a), words(e.text_b)
        steps = (first[-1] != second[-1]) + ("not" in first) + ("not" in second)
        assert e.label == (1.0 if steps % 2 == 0 else 0.0), e
        checked += 1
    assert checked > 200


def test_denials_by_an_independent_reading() -> None:
    """Levels 3 and 4 of `paraphrase`: synonyms with agreeing negation, or the same one of two things."""
    noun = {form: pair[0] for pair in TRAIN.noun_synonyms for form in pair}
    synonym = {form: pair[0].base for pair in VERB_SYNONYMS for verb in pair for form in (verb.base, verb.past)}
    checked: Counter[str] = Counter()
    for e in full("paraphrase").train:
        first, second = words(e.text_a), words(e.text_b)
        if e.difficulty in (3, 4) and "but" in first:
            refused = second[second.index("but") - 1]
            same = refused == first[-1] if e.difficulty == 3 else noun[refused] == noun[first[-1]]
            checked[f"one of two, level {e.difficulty}"] += 1
        elif e.difficulty != 3:
            continue
        else:
            (verb,), (other,) = ({synonym[w] for w in text if w in synonym} for text in (first, second))
            same = verb == other and ("never" in first) == ("not" in second)
            checked["denial"] += 1
        assert (e.label == 1.0) == same, e
    assert len(checked) == 3 and min(checked.values()) > 1000


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 4), st.integers(0, 1), st.randoms(use_true_random=False))
def test_hypothesis_differs_from_premise(level: int, label: int, rng: object) -> None:
    first, second = entailment(Draw(rng, TRAIN), level, label)  # type: ignore[arg-type]
    assert first != second and second is not None


def test_level_sizes_add_up() -> None:
    for size in (1, 7, 100, 1_201):
        assert sum(level_sizes(size)) == size


def test_articles() -> None:
    assert [with_article(noun) for noun in ("apple", "insect", "rose")] == ["an apple", "an insect", "a rose"]


def test_errors() -> None:
    with pytest.raises(UserError, match="DATA=builtin has no task 'sst-2'"):
        builtin_task("sst-2")
    single = replace(TRAIN, names=("Anna",), subjects=("film", "plot"), positive=("good",), negative=("bad",))
    with pytest.raises(UserError, match="that many distinct examples of difficulty 3"):
        generate(sentiment, single, 200, 2, "seed", set())


def test_kind_labels_by_an_independent_reading() -> None:
    """A member implies its kind; the absence of a kind implies the absence of each member; nothing else."""
    kind_of = {member: kind.split()[-1] for kind, members in TRAIN.kinds for member in members}
    things = set(kind_of) | set(kind_of.values())
    checked: Counter[float] = Counter()
    for e in full("entailment").train:
        first, second = words(e.text_a), words(e.text_b)
        if e.difficulty != 3:
            continue
        if "but" in first:
            # `got X but not Y`, or `did not get Y but got X`.
            one, other = (w for w in first if w in things)
            got = one if first[first.index("but") + 1] == "not" else other
            (kind,) = [w for w in second if w in things]
            assert (e.label == 0.0) == (kind_of[got] == kind), e
            continue
        (given,), (inferred,) = ([w for w in text if w in things] for text in (first, second))
        denied, denies = "never" in first, "not" in second
        follows = kind_of.get(inferred) == given if denied else kind_of.get(given) == inferred
        assert (e.label == 0.0) == (follows and denied == denies), e
        checked[e.label] += 1
    assert min(checked.values()) > 800
