"""Sentences of random pieces and generated toy tagging tasks, for the tests of models that tag."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from common.run.artifacts import ArtifactStore
from common.run.replication import Run
from common.scales import SCALES
from common.tasks.tagging import Sentence, TaggingTask
from common.training.word_pieces import TaggedSplit

TAGS = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")


def tagged_split(pieces_of_words: Sequence[Sequence[int]], *, tags: int = 5, seed: int = 0) -> TaggedSplit:
    """One sentence for each list of numbers: how many pieces its words have; pieces and tags are random."""
    generator = torch.Generator().manual_seed(seed)
    ids, starts, labels = [], [], []
    for counts in pieces_of_words:
        total = sum(counts)
        ids.append((101, *torch.randint(1000, 2000, (total,), generator=generator).tolist(), 102))
        starts.append(tuple(1 + sum(counts[:word]) for word in range(len(counts))))
        labels.append(tuple(torch.randint(tags, (len(counts),), generator=generator).tolist()))
    return TaggedSplit(tuple(ids), tuple(starts), tuple(labels), 0)


def toy_tagging(name: str = "toy", metric: str = "span_f1") -> TaggingTask:
    """A few short sentences: `anna` and `mary smith` are persons, `paris` a place, all else is outside."""
    rng = random.Random(0)
    parts = {split: tuple(_sentence(rng) for _ in range(count)) for split, count in SIZES.items()}
    return TaggingTask(name, TAGS, metric, "builtin", parts["train"], parts["dev"], parts["tune"])


SIZES = {"train": 48, "dev": 24, "tune": 16}


def _sentence(rng: random.Random) -> Sentence:
    parts = [[("anna", 3)], [("mary", 3), ("smith", 4)], [("paris", 1)], [("and", 0)], [("saw", 0)], [("the", 0)]]
    words = [word for _ in range(rng.randint(2, 5)) for word in rng.choice(parts)]
    return Sentence(tuple(w for w, _ in words), tuple(t for _, t in words), tuple(1 + t % 2 for _, t in words))


def tagging_run(folder: Path, *tasks: TaggingTask, seeds: tuple[int, ...] = (0,)) -> Run:
    """A run of these tasks at the smoke scale, which keeps what it trains in `folder`."""
    scale = replace(SCALES["smoke"], timing_examples=4)
    names = tuple(task.name for task in tasks)
    run = Run(
        "r", scale, "builtin", None, names, seeds, ArtifactStore(folder), folder, lambda *_: None, lambda line: None
    )
    run._tagging.update({task.name: task for task in tasks})
    return run
