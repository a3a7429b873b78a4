"""What is learned: one `Task` type, three sources of examples, and the metrics.

`load_task("sst-2", "files", Path("data"))` is the one entrance. The sources are imported only when asked for:
naming the tasks must not cost the import of `datasets`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from common.errors import UserError
from common.tasks.catalogue import (
    SPANS,
    TEXTS,
    TaskFacts,
    canonical_name,
    check_source,
    find_facts,
    known_tasks,
    match_key,
    unknown_task,
)
from common.tasks.task import Example, Task

__all__ = ["Example", "Task", "canonical_name", "canonical_names", "known_tasks", "load_task"]


def load_task(name: str, source: str, data_dir: Path | None = None) -> Task:
    """Load a task from one source; there is no fallback from one source to another.

    Args:
        name: a task's name in any usual spelling (`SST-2`, `sst2`); with `files` also the name of a folder of
            one's own under `data_dir`.
        source: `builtin`, `files` or `hub`.
        data_dir: where `files` looks; not used by the other sources.

    Raises:
        UserError: unknown source or task, a missing folder, malformed data or no network; the message says
            what to type instead.
    """
    check_source(source)
    if source == "files":
        return _load_files(name, data_dir)
    facts = find_facts(name)
    if facts is not None and facts.kind != TEXTS:
        raise _of_another_kind(facts)
    if facts is None or source not in facts.sources:
        raise unknown_task(name, known_tasks(source), f"DATA={source}")
    if source == "builtin":
        from common.tasks.builtin import builtin_task

        return builtin_task(facts.name)
    from common.tasks.hub import hub_task

    return hub_task(facts.name)


def canonical_names(names: Iterable[str], source: str, data_dir: Path | None) -> tuple[str, ...]:
    """The names of tasks in their canonical spelling, each once: of a data set of one's own that of its folder.

    A name that stands for nothing stays as it is; `load_task` says what is wrong with it.
    """
    folders: dict[str, str] = {}
    if source == "files" and data_dir is not None and data_dir.is_dir():
        folders = {match_key(folder.name): folder.name for folder in sorted(data_dir.iterdir()) if folder.is_dir()}

    def canonical(name: str) -> str:
        facts = find_facts(name)
        return facts.name if facts else folders.get(match_key(name), name)

    return tuple(dict.fromkeys(map(canonical, names)))


def checked_folder(data_dir: Path | None) -> Path:
    """The folder of the data sets.

    Raises:
        UserError: none was given, or it is not there.
    """
    # Path("") is what an empty DATA_DIR becomes.
    if data_dir is None or data_dir == Path():
        raise UserError("DATA=files needs the folder that holds the data: add DATA_DIR=path/to/data.")
    if not data_dir.is_dir():
        raise UserError(f"no folder {data_dir}: give the folder that holds the data sets with DATA_DIR=path.")
    return data_dir


def _of_another_kind(facts: TaskFacts) -> UserError:
    if facts.kind == SPANS:
        does, paper = "asks for spans of passages", "answers questions"
    else:
        does, paper = "labels the words of a sentence one by one", "labels words"
    return UserError(
        f"{facts.name} {does}, and whole texts are labelled here: take another task with TASKS=, or a paper that "
        f"{paper}."
    )


def _load_files(name: str, data_dir: Path | None) -> Task:
    from common.tasks.files import files_task

    data_dir = checked_folder(data_dir)
    facts = find_facts(name)
    if facts is not None:
        if facts.kind != TEXTS:
            raise _of_another_kind(facts)
        if "files" not in facts.sources:
            raise unknown_task(name, known_tasks("files"), "DATA=files")
        return files_task(facts.name, data_dir)
    own = sorted(folder.name for folder in data_dir.iterdir() if folder.is_dir())
    if match_key(name) not in map(match_key, own):
        from common.tasks.published_files import refuse_own_folder

        refuse_own_folder(data_dir)
        published = known_tasks("files")
        own = [folder for folder in own if find_facts(folder) is None]
        raise unknown_task(name, (*published, *own), f"DATA=files in {data_dir}")
    return files_task(name, data_dir)
