"""The student of a task, trained or found, ready to be taken home: what `predictor save` does before it writes."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from common.artifacts import ArtifactStore, default_root
from common.errors import UserError
from common.progress import RunProgress
from common.replication import Run
from common.runner import Relay, Request
from replications.sparse_distillation.corpus import check_unlabelled
from replications.sparse_distillation.lesson import Lesson
from replications.sparse_distillation.predictor import Labels, Predictor, fingerprint
from replications.sparse_distillation.settings import Design
from replications.sparse_distillation.trial import FT, KD, Trial

MOST_DIGITS = 9


def trained(options: argparse.Namespace, say: Callable[[str], None]) -> tuple[Predictor, Design]:
    """The DAN (KD+FT) of a task, and its design. What `reproduce run` trained with the same options is taken.

    Args:
        options: `task`, `scale`, `data`, `data_dir` and `seed`, as typed.
        say: prints a line.

    Raises:
        UserError: an unknown task, scale or source, a regression, missing data or unlabelled text, or a seed that is
            no number.
    """
    relay = Relay()
    trial = Trial(*_assignment(options, relay, say))
    lesson, design = trial.lesson, trial.design
    check_unlabelled(lesson.run, lesson.task_name)
    layers = lesson.source.encoder.num_layers
    steps: list[tuple[str, float, Callable[[], object]]] = [
        ("the teacher", lesson.teacher_seconds, lambda: lesson.classifier_folder(layers)),
        ("the teacher's answers", lesson.labelling_seconds, lambda: lesson.teacher_logits),
        ("the vocabulary and the student", lesson.student_seconds, lambda: trial.folder((KD, FT))),
    ]
    relay.target = RunProgress([name for name, _, _ in steps], [seconds for _, seconds, _ in steps], say)
    for number, (_, _, make) in enumerate(steps):
        relay.target.start(number)
        make()
        relay.target.finish()
    vocabulary = trial.vocabulary(design)
    about = Labels(
        task=lesson.task.name,
        labels=lesson.task.labels,
        teacher=lesson.source.backbone,
        vocabulary=fingerprint(vocabulary),
    )
    return Predictor(trial.model((KD, FT)), vocabulary, about), design


def _assignment(options: argparse.Namespace, relay: Relay, say: Callable[[str], None]) -> tuple[Lesson, int]:
    """What is to be learned, with which seed."""
    text = options.seed
    if not text.isdecimal() or len(text) > MOST_DIGITS:
        raise UserError(f"--seed is a training seed, a whole number from 0; got {text[:20]!r}. Type --seed 0")
    asked = {"scale": options.scale, "data": options.data, "data_dir": options.data_dir, "tasks": options.task}
    request = Request.parse(argparse.Namespace(**asked, seeds="1", encoder="", timing_device="auto"))
    if len(request.tasks) != 1:
        raise UserError(f"--task is one task; got {options.task!r}. Type --task sst-2")
    cache, seed = default_root(), int(text)
    run = Run(
        name=request.run_name,
        scale=request.scale,
        data=request.data,
        data_dir=request.data_dir,
        task_names=request.tasks,
        seeds=(seed,),
        store=ArtifactStore(cache),
        scratch=cache / "predictor",
        progress=relay,
        say=say,
    )
    return Lesson(run, request.tasks[0]), seed
