"""Reading tasks: questions on passages, answered by a span of the passage; three sources as for labelled texts.

`load_span_task("squad", "files", Path("data"))` is the one entrance.
"""

from __future__ import annotations

from pathlib import Path

from common.tasks import checked_folder
from common.tasks.catalogue import SPANS, check_source, find_facts, known_tasks, unknown_task
from common.tasks.spans.task import Answer, Question, SpanTask

__all__ = ["Answer", "Question", "SpanTask", "is_span_task", "load_span_task"]


def is_span_task(name: str, source: str, data_dir: Path | None) -> bool:
    """Whether `name` is a reading task: a catalogued one, or a folder of one's own in SQuAD's layout.

    Raises:
        UserError: no such source.
    """
    check_source(source)
    facts = find_facts(name)
    if facts is not None:
        return facts.kind == SPANS
    if source != "files" or data_dir is None or not data_dir.is_dir():
        return False
    from common.tasks.spans.squad import find_span_folder, holds_spans

    folder = find_span_folder(name, data_dir)
    return folder is not None and holds_spans(folder)


def load_span_task(name: str, source: str, data_dir: Path | None = None) -> SpanTask:
    """Load a reading task from one source; there is no fallback from one source to another.

    Args:
        name: a reading task's name in any usual spelling; with `files` also a folder of one's own under `data_dir`.
        source: `builtin`, `files` or `hub`.
        data_dir: where `files` looks; not used by the other sources.

    Raises:
        UserError: unknown source or task, a missing folder, malformed data or no network; the message says what to
            type instead.
    """
    check_source(source)
    facts = find_facts(name)
    known = facts is not None and facts.kind == SPANS and source in facts.sources
    if not known and (source != "files" or facts is not None):
        raise unknown_task(name, known_tasks(source, SPANS), f"DATA={source}")
    if source == "files":
        from common.tasks.spans.squad import squad_task

        return squad_task(name, checked_folder(data_dir))
    assert facts is not None
    if source == "builtin":
        from common.tasks.builtin.reading import reading_task

        return reading_task(facts.name)
    from common.tasks.spans.hub import hub_span_task

    return hub_span_task(facts.name)
