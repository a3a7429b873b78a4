"""The tasks that the project knows by name: label names in index order and the headline metric.

The same facts hold whichever source the examples come from, so that a model trained on `files` and one trained
on `hub` agree about what class 1 is. Label order is that of the data sets on the Hub (`nyu-mll/glue` etc.).
Nothing heavy is imported here: listing the tasks must be instant.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from common.errors import UserError

SOURCES = ("builtin", "files", "hub")

TEXTS, WORDS, SPANS = "labelled texts", "labelled words", "questions on passages"
"""Kinds of tasks: read by `common.tasks.load_task`, `common.tasks.tagging_sources` and `common.tasks.spans`."""


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """What is true of a task wherever its examples come from.

    Attributes:
        name: canonical name.
        labels: label names in index order; empty for regression.
        metric: headline metric (`common.tasks.metrics`).
        sources: the sources that offer it.
        kind: what its examples are; the metric of labelled words is of `common.tasks.tag_metrics`, that of questions
            of `common.tasks.spans.scoring`.
        aliases: what else it is called.
    """

    name: str
    labels: tuple[str, ...]
    metric: str
    sources: tuple[str, ...]
    kind: str = TEXTS
    aliases: tuple[str, ...] = ()


_FILES_AND_HUB = ("files", "hub")
_BINARY_SENTIMENT = ("negative", "positive")
_ENTAILMENT = ("entailment", "not_entailment")
_DUPLICATE = ("not_duplicate", "duplicate")


def _bio(*types: str) -> tuple[str, ...]:
    return ("O", *(f"{prefix}-{kind}" for kind in types for prefix in "BI"))


_UPOS = (
    *("ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM"),
    *("PART", "PRON", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X"),
)
_WNUT = _bio("corporation", "creative-work", "group", "location", "person", "product")
_CHUNKS = _bio("ADJP", "ADVP", "CONJP", "INTJ", "LST", "NP", "PP", "PRT", "SBAR", "UCP", "VP")

_FACTS = (
    TaskFacts("sentiment", _BINARY_SENTIMENT, "accuracy", ("builtin",)),
    TaskFacts("entailment", _ENTAILMENT, "accuracy", ("builtin",)),
    TaskFacts("paraphrase", ("not_paraphrase", "paraphrase"), "f1", ("builtin",)),
    TaskFacts("mood", ("sad", "happy"), "accuracy", ("builtin",)),
    TaskFacts("reply", ("denies", "agrees"), "f1", ("builtin",)),
    TaskFacts("sst-2", _BINARY_SENTIMENT, "accuracy", _FILES_AND_HUB),
    TaskFacts("cola", ("unacceptable", "acceptable"), "matthews", _FILES_AND_HUB),
    TaskFacts("mrpc", ("not_equivalent", "equivalent"), "f1", _FILES_AND_HUB),
    TaskFacts("rte", _ENTAILMENT, "accuracy", _FILES_AND_HUB),
    TaskFacts("sts-b", (), "spearman", _FILES_AND_HUB),
    TaskFacts("qnli", _ENTAILMENT, "accuracy", _FILES_AND_HUB),
    TaskFacts("qqp", _DUPLICATE, "f1", _FILES_AND_HUB),
    TaskFacts("qqp-sample", _DUPLICATE, "f1", ("files",)),
    TaskFacts("mnli", ("entailment", "neutral", "contradiction"), "accuracy", _FILES_AND_HUB),
    TaskFacts("trec", ("ABBR", "ENTY", "DESC", "HUM", "LOC", "NUM"), "accuracy", _FILES_AND_HUB),
    TaskFacts("imdb", _BINARY_SENTIMENT, "accuracy", _FILES_AND_HUB),
    TaskFacts("ag-news", ("World", "Sports", "Business", "Sci/Tech"), "accuracy", _FILES_AND_HUB),
    TaskFacts("entities", _bio("LOC", "ORG", "PER"), "span_f1", ("builtin",), WORDS),
    TaskFacts("badges", _bio("LOC", "PER"), "span_f1", ("builtin",), WORDS),
    TaskFacts("wnut-17", _WNUT, "span_f1", _FILES_AND_HUB, WORDS),
    TaskFacts("ud-english-ewt", _UPOS, "token_accuracy", _FILES_AND_HUB, WORDS),
    TaskFacts("conll-2003", _bio("LOC", "MISC", "ORG", "PER"), "span_f1", _FILES_AND_HUB, WORDS),
    TaskFacts("conll-2000", _CHUNKS, "span_f1", _FILES_AND_HUB, WORDS),
    TaskFacts("reading", (), "answer_f1", ("builtin",), SPANS),
    TaskFacts("lookup", (), "answer_f1", ("builtin",), SPANS),
    TaskFacts("squad", (), "answer_f1", _FILES_AND_HUB, SPANS, aliases=("squad-1.1", "squad-v1.1")),
)
SMOKE_TASKS = ("mood", "reply")
"""The generated tasks that an encoder without pretraining learns in seconds; the other three want a pretrained one."""

SMOKE_TAGGING = ("badges",)
"""The same of tagging."""

SMOKE_SPANS = ("lookup",)
"""The same of reading."""


def match_key(name: str) -> str:
    """Return `name` as it is compared: lower case, without `-`, `_` and blanks (`SST-2` -> `sst2`, `c++` -> `c++`)."""
    return re.sub(r"[-_\s]", "", name.casefold()) or name


_BY_KEY = {match_key(name): facts for facts in _FACTS for name in (facts.name, *facts.aliases)}


def find_facts(name: str) -> TaskFacts | None:
    """Return the facts of a catalogued task, or None; spelling is matched as by `match_key`."""
    return _BY_KEY.get(match_key(name))


def canonical_name(name: str) -> str:
    """Return the canonical spelling of a catalogued task (`SST2`, `sst_2` -> `sst-2`).

    Raises:
        UserError: no such task; the message suggests the nearest names.
    """
    facts = find_facts(name)
    if facts is None:
        raise unknown_task(name, [facts.name for facts in _FACTS], "the project")
    return facts.name


def known_tasks(source: str, kind: str = TEXTS) -> tuple[str, ...]:
    """Return the canonical names that `source` offers (for `files`: the published sets, not one's own).

    Args:
        source: `builtin`, `files` or `hub`.
        kind: of tasks; by default those of whole texts.

    Raises:
        UserError: no such source.
    """
    check_source(source)
    return tuple(facts.name for facts in _FACTS if source in facts.sources and facts.kind == kind)


def check_source(source: str) -> None:
    """Raise a UserError unless `source` is `builtin`, `files` or `hub`."""
    if source not in SOURCES:
        hint = _suggestion(source, SOURCES)
        raise UserError(f"unknown data source '{source}'{hint} Known: DATA={', DATA='.join(SOURCES)}.")


def unknown_task(name: str, known: Iterable[str], offered_by: str) -> UserError:
    """Make the error for a task that `offered_by` does not have: the nearest names, then all of them."""
    names = list(known)
    hint = _suggestion(name, names)
    return UserError(f"{offered_by} has no task '{name}'{hint} Known tasks: {', '.join(names)}.")


def _suggestion(name: str, names: Iterable[str]) -> str:
    by_key = {match_key(known): known for known in names}
    close = difflib.get_close_matches(match_key(name), by_key, n=2, cutoff=0.6)
    if not close:
        return "."
    return f": did you mean {' or '.join(by_key[key] for key in close)}?"
