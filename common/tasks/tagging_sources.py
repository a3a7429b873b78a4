"""Where tagging tasks come from: `load_tagging("wnut-17", "files", Path("data"))` is the one entrance."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from common.tasks import checked_folder
from common.tasks.catalogue import WORDS, check_source, find_facts, known_tasks, match_key, unknown_task
from common.tasks.tagging import TaggingTask


def load_tagging(name: str, source: str, data_dir: Path | None = None) -> TaggingTask:
    """Load a tagging task from one source; there is no fallback from one source to another.

    Args:
        name: a task's name in any usual spelling (`WNUT17`); with `files` also the name of a folder of one's own under
            `data_dir`.
        source: `builtin`, `files` or `hub`.
        data_dir: where `files` looks.

    Raises:
        UserError: unknown source or task, a task that labels whole texts, no such folder, malformed data or no network.
    """
    check_source(source)
    facts = find_facts(name)
    if facts is not None and facts.kind != WORDS:
        known = ", ".join(known_tasks(source, WORDS))
        raise UserError(f"{facts.name} labels whole texts, and words are labelled here. Tasks of tagging: {known}.")
    if source == "files":
        return _from_files(name, checked_folder(data_dir))
    if facts is None or source not in facts.sources:
        raise unknown_task(name, known_tasks(source, WORDS), f"DATA={source}")
    if source == "builtin":
        from common.tasks.builtin.tagging import builtin_tagging

        return builtin_tagging(facts.name)
    from common.tasks.tagging_hub import hub_tagging

    return hub_tagging(facts)


def _from_files(name: str, data_dir: Path) -> TaggingTask:
    from common.tasks.published_files import refuse_own_folder
    from common.tasks.tagging_files import own_tagging, published_tagging

    facts, known = find_facts(name), known_tasks("files", WORDS)
    if facts is not None:
        if "files" not in facts.sources:
            raise unknown_task(name, known, "DATA=files")
        return published_tagging(facts, data_dir)
    own = sorted(folder.name for folder in data_dir.iterdir() if folder.is_dir())
    if match_key(name) not in map(match_key, own):
        refuse_own_folder(data_dir)
        raise unknown_task(name, (*known, *(f for f in own if find_facts(f) is None)), f"DATA=files in {data_dir}")
    return own_tagging(name, data_dir)


# -- What was read, in plain words ------------------------------------------------------------------------------------

MANY_TAGS = 100
FEW_DEV_SENTENCES = 30


@dataclass(frozen=True, slots=True)
class TaggingSummary:
    """The data of one task in one run: the task as read and as used, and what would have cut it."""

    read: TaggingTask
    used: TaggingTask
    cut_by: str

    def lines(self) -> list[str]:
        """As text, the first line with the task's name."""
        read, used = self.read, self.used
        counts = Counter(tag for s in read.train for tag in s.tags)
        words = sum(counts.values())
        common = ", ".join(f"{read.tags[tag]} {count / words:.0%}" for tag, count in counts.most_common(3))
        is_cut = len(used.train) + len(used.tune) < len(read.train) + len(read.tune) or len(used.dev) < len(read.dev)
        lines = [
            f"{read.name}: {len(read.train):,} sentences to train on and {len(read.dev):,} to score by were read, "
            f"{words:,} words in train; {len(read.tags)} tags, most often {common}",
            f"  used: {len(used.train):,} to train on, {len(used.tune):,} for choosing thresholds, {len(used.dev):,} "
            f"to score by ({f'cut by {self.cut_by}' if is_cut else 'all'}); metric {read.metric}",
        ]
        return [*lines, *(f"  warning: {warning}" for warning in self._warnings())]

    def _warnings(self) -> list[str]:
        read, used = self.read, self.used
        found = []
        if len(used.dev) < FEW_DEV_SENTENCES:
            found.append(f"{len(used.dev)} sentences to score by are few: intervals will be wide")
        if len(read.tags) >= MANY_TAGS:
            found.append(f"{len(read.tags)} tags: is the last column the tag?")
        known = {s.words for s in (*used.train, *used.tune)}
        leaked = sum(s.words in known for s in used.dev)
        if leaked:
            found.append(f"{leaked:,} of {len(used.dev):,} sentences to score by stand in train too")
        return found
