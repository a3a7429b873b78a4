"""Tasks from files on disk: the published layouts by name, or a folder of one's own."""

from __future__ import annotations

from pathlib import Path

from common.tasks.catalogue import find_facts
from common.tasks.own_files import own_task
from common.tasks.published_files import PUBLISHED, published_task, read_split
from common.tasks.task import Task

__all__ = ["files_task", "read_split"]


def files_task(name: str, data_dir: Path) -> Task:
    """Read a task from `data_dir`.

    Args:
        name: a published data set (`sst-2`, `trec`, ...) or the name of a folder of one's own.
        data_dir: the folder that holds one folder per data set.

    Raises:
        UserError: something is missing or malformed; the message names the file and the line.
    """
    facts = find_facts(name)
    if facts is not None and facts.name in PUBLISHED:
        return published_task(facts.name, data_dir)
    return own_task(name, data_dir)
