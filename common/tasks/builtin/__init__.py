"""Generated tasks: real English words, known difficulty, nothing to download.

Three tasks (`sentiment`, `entailment`, `paraphrase`) with the true number of compositional steps behind each
label. Dev and test are built from nouns and names that never occur in train. Two more (`mood`, `reply`) are for the
smoke scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from common.tasks.builtin.entailment import entailment
from common.tasks.builtin.generation import Grammar, Texts, generate
from common.tasks.builtin.lexicon import HELD_OUT, TRAIN
from common.tasks.builtin.paraphrase import paraphrase
from common.tasks.builtin.sentiment import sentiment
from common.tasks.builtin.smoke import mood, reply
from common.tasks.catalogue import SMOKE_TASKS, find_facts, known_tasks, unknown_task
from common.tasks.task import Task

__all__ = ["builtin_task"]

_GRAMMARS: Mapping[str, Grammar] = MappingProxyType(
    {"sentiment": sentiment, "entailment": entailment, "paraphrase": paraphrase, "mood": mood, "reply": reply}
)

TRAIN_SIZE, SMOKE_TRAIN_SIZE = 24_000, 2_400


def builtin_task(
    name: str, seed: int = 0, train_size: int | None = None, dev_size: int = 1_200, test_size: int = 1_200
) -> Task:
    """Generate a task.

    Args:
        name: `sentiment`, `entailment`, `paraphrase`, `mood` or `reply`.
        seed: equal seeds give equal tasks, in every process.
        train_size: number of train examples; all are distinct, labels are balanced. None: as many as there are by
            default, a tenth for the smoke scale's tasks.
        dev_size: likewise for dev.
        test_size: likewise for test.

    Returns:
        The task; each example knows its `difficulty`, 1 to 4 in the shares 40, 30, 20 and 10 %.

    Raises:
        UserError: no such task, or more examples than the grammar holds.
    """
    facts = find_facts(name)
    if facts is None or "builtin" not in facts.sources:
        raise unknown_task(name, known_tasks("builtin"), "DATA=builtin")
    grammar, labels = _GRAMMARS[facts.name], len(facts.labels)
    train_size = train_size or (SMOKE_TRAIN_SIZE if facts.name in SMOKE_TASKS else TRAIN_SIZE)
    used: set[Texts] = set()
    train = generate(grammar, TRAIN, train_size, labels, f"{facts.name} train {seed}", used)
    dev = generate(grammar, HELD_OUT, dev_size, labels, f"{facts.name} dev {seed}", used)
    test = generate(grammar, HELD_OUT, test_size, labels, f"{facts.name} test {seed}", used)
    return Task(facts.name, facts.labels, facts.metric, "builtin", train, dev, test)
