"""Reading tasks from the Hugging Face Hub, at pinned revisions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from common.errors import UserError
from common.tasks.catalogue import SPANS, find_facts, known_tasks, unknown_task
from common.tasks.hub import HubSet, load_split
from common.tasks.spans.task import Answer, Question, SpanTask, check_ids, check_question

HUB_SPANS: Mapping[str, HubSet] = MappingProxyType(
    {
        # The commit that wrote the Parquet files.
        "squad": HubSet(
            "rajpurkar/squad",
            None,
            "7b6d24c440a36b6815f21b70d25016731768db1f",
            "validation",
            "question",
            "context",
            label="answers",
        )
    }
)


def hub_span_task(name: str) -> SpanTask:
    """Download a reading task, or take it from the cache of an earlier download.

    Raises:
        UserError: no such task, no network, or data of another shape than expected.
    """
    facts = find_facts(name)
    if facts is None or facts.name not in HUB_SPANS:
        raise unknown_task(name, known_tasks("hub", SPANS), "DATA=hub")
    hub_set = HUB_SPANS[facts.name]
    train, dev = (tuple(_questions(facts.name, hub_set, split)) for split in ("train", hub_set.dev))
    return SpanTask(facts.name, "hub", train, dev)


def _questions(name: str, hub_set: HubSet, split: str) -> Iterator[Question]:
    where = f"{hub_set.repository}@{hub_set.revision} ({split})"
    rows = load_split(name, hub_set, split)
    missing = [column for column in ("id", "question", "context", "answers") if column not in rows.column_names]
    if missing:
        raise UserError(
            f"{where}: no column '{missing[0]}'; columns found: {', '.join(rows.column_names)}. Empty the cache of "
            "`datasets` and try again, or use DATA=files."
        )
    seen = []
    for id_, text, passage, answers in zip(rows["id"], rows["question"], rows["context"], rows["answers"], strict=True):
        spans = tuple(Answer(t, int(s)) for t, s in zip(answers["text"], answers["answer_start"], strict=True))
        question = Question(id_, text, passage, spans)
        check_question(question, where)
        seen.append(question)
    check_ids(seen, where)
    yield from seen
