"""Tagging tasks from the Hugging Face Hub, at pinned revisions; what is reported on is the test split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from common.errors import UserError
from common.tasks.catalogue import TaskFacts
from common.tasks.hub import HubSet, load_split
from common.tasks.tagging import Sentence, TaggingTask

# These sets had loading scripts, which `datasets` no longer runs; the Hub's own Parquet conversion is a branch, pinned
# by name alone.
_PARQUET_BRANCH = "refs/convert/parquet"


@dataclass(frozen=True, slots=True)
class HubTagging:
    """Where a task lives on the Hub; `tags` is the column of its tags, and `tune` its development split, if any."""

    repository: str
    config: str | None
    tags: str
    tune: str | None = "validation"
    words: str = "tokens"


HUB_TAGGING: Mapping[str, HubTagging] = MappingProxyType(
    {
        "wnut-17": HubTagging("leondz/wnut_17", None, "ner_tags"),
        "ud-english-ewt": HubTagging("universal-dependencies/universal_dependencies", "en_ewt", "upos"),
        "conll-2003": HubTagging("eriktks/conll2003", None, "ner_tags"),
        "conll-2000": HubTagging("eriktks/conll2000", None, "chunk_tags", tune=None),
    }
)


def hub_tagging(facts: TaskFacts) -> TaggingTask:
    """Download a task, or take it from the cache of an earlier download.

    Raises:
        UserError: no network, or data of another shape than expected.
    """
    tagging = HUB_TAGGING[facts.name]
    splits = {split: tuple(_sentences(facts, tagging, split)) for split in ("train", tagging.tune, "test") if split}
    tune = splits[tagging.tune] if tagging.tune else ()
    return TaggingTask(facts.name, facts.labels, facts.metric, "hub", splits["train"], splits["test"], tune)


def _sentences(facts: TaskFacts, tagging: HubTagging, split: str) -> Iterator[Sentence]:
    """The sentences of a split; tags are matched by name, whatever their order on the Hub."""
    hub_set = HubSet(tagging.repository, tagging.config, _PARQUET_BRANCH, split, tagging.words, label=tagging.tags)
    rows = load_split(facts.name, hub_set, split)
    where = f"{tagging.repository}@{_PARQUET_BRANCH} ({split})"
    missing = [column for column in (tagging.words, tagging.tags) if column not in rows.column_names]
    if missing:
        raise UserError(f"{where}: no column '{missing[0]}'; columns found: {', '.join(rows.column_names)}.")
    names = rows.features[tagging.tags].feature.names
    places = {tag: place for place, tag in enumerate(facts.labels)}
    for number, (words, tags) in enumerate(zip(rows[tagging.words], rows[tagging.tags], strict=True), 1):
        # UD's rows keep multiword tokens, tagged `_`, before the words that they consist of.
        pairs = [(word, names[tag]) for word, tag in zip(words, tags, strict=True) if names[tag] != "_"]
        unknown = next((tag for _, tag in pairs if tag not in places), None)
        if unknown is not None:
            raise UserError(f"{where}, row {number}: unknown tag '{unknown}'; known: {', '.join(facts.labels)}.")
        if pairs:
            found = tuple(word for word, _ in pairs), tuple(places[tag] for _, tag in pairs)
            yield Sentence(*found, where=f"{where}, row {number}")
