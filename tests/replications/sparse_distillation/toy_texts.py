"""Data and settings so small that a teacher and its students train in a second or two."""

from __future__ import annotations

import gzip
import json
import random
from dataclasses import replace
from pathlib import Path

from common.run.replication import Run
from common.scales import Scale
from common.task_run import TaskRun
from replications.sparse_distillation.design import Design
from replications.sparse_distillation.distillation import Distillation
from replications.sparse_distillation.settings import SETTINGS, Settings

TOY_SCALE = Scale("toy", 48, 8, 24, 8, 1, shapes=False, quality_verdicts=True, spares=True)
WORDS = "film plot actor scene story music light camera ending voice crowd river garden winter table".split()  # noqa: SIM905
GOOD, BAD = "superb lovely", "dreadful boring"


def review(rng: random.Random, label: int, *, markup: bool) -> str:
    words = [rng.choice(WORDS) for _ in range(rng.randint(4, 9))]
    words.insert(rng.randrange(len(words)), (GOOD if label else BAD).split()[rng.randrange(2)])
    if markup:
        words.insert(len(words) // 2, "went on.<br /><br />Then")
    return " ".join(words)


def write_reviews(folder: Path, header: str, names: tuple[str, str], *, markup: bool, seed: int) -> None:
    """A published layout of one text column and a binary label; train is compressed."""
    folder.mkdir(parents=True)
    rng = random.Random(seed)
    for name, count in zip(names, (90, 40), strict=True):
        labels = [i % 2 for i in range(count)]
        lines = [header, *(f"{review(rng, label, markup=markup)}\t{label}" for label in labels)]
        text = "\n".join(lines) + "\n"
        if name == "train.tsv":
            (folder / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
        else:
            (folder / name).write_text(text)


def write_squad(folder: Path, questions: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    asked = [{"question": question, "answers": []} for question in questions]
    half = len(asked) // 2
    data = [{"paragraphs": [{"qas": asked[:half]}]}, {"paragraphs": [{"qas": []}, {"qas": asked[half:]}]}]
    (folder / "train-v1.1.json").write_text(json.dumps({"data": data, "version": "1.1"}))


def toy_settings() -> Settings:
    """The smoke settings with next to nothing left of them."""
    smoke = SETTINGS["smoke"]
    return replace(
        smoke,
        teacher=replace(smoke.teacher, whole=replace(smoke.teacher.whole, epochs=1, max_length=24)),
        corpus_words=300,
        design=Design(400, 8, deviation=0.1),
        distil=replace(smoke.distil, epochs=2),
        from_scratch=replace(smoke.from_scratch, epochs=2),
        finetune=replace(smoke.finetune, epochs=1),
        grid={"small": ((100, 8), (200, 4)), "unfilled": ((50_000, 2),)},
    )


def students_of(run: Run, task: str, seed: int = 0) -> Distillation:
    """The students of a task run whose teacher is the toy's."""
    return Distillation(TaskRun.of(run, task, seed, SETTINGS["toy"].teacher))
