"""The student of a task, trained or found, ready to be taken home: what `predictor save` does before it writes."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from common.errors import UserError
from common.run.artifacts import ArtifactStore, default_root
from common.run.progress import RunProgress
from common.run.replication import Run, Step
from common.run.runner import Relay, Request
from common.task_run import TaskRun
from replications.sparse_distillation.corpus import check_unlabelled
from replications.sparse_distillation.distillation import FT, KD, Distillation
from replications.sparse_distillation.home import Labels, Predictor, fingerprint
from replications.sparse_distillation.settings import settings_of

MOST_DIGITS = 9


def trained(options: argparse.Namespace, say: Callable[[str], None]) -> Predictor:
    """The DAN (KD+FT) of a task. What `reproduce run` trained with the same options is taken.

    Args:
        options: `task`, `scale`, `data`, `data_dir` and `seed`, as typed.
        say: prints a line.

    Raises:
        UserError: an unknown task, scale or source, a regression, missing data or unlabelled text, or a seed that is
            no number.
    """
    relay = Relay()
    task_run = _assignment(options, relay, say)
    check_unlabelled(task_run.run, task_run.task_name)
    students = Distillation(task_run)
    steps = [
        *task_run.static_steps(()),
        Step.making("the teacher's answers", students.labelling_seconds, lambda: students.teacher_logits),
        Step.making("the vocabulary and the student", students.student_seconds, lambda: students.folder((KD, FT))),
    ]
    relay.target = RunProgress([step.name for step in steps], [step.seconds for step in steps], say)
    for number, step in enumerate(steps):
        relay.target.start(number)
        step.measure()
        relay.target.finish()
    vocabulary = students.vocabulary(students.design.vocabulary_size)
    about = Labels(
        task=students.task.name,
        labels=students.task.labels,
        teacher=task_run.backbone.backbone,
        vocabulary=fingerprint(vocabulary),
    )
    return Predictor(students.model((KD, FT)), vocabulary, about)


def _assignment(options: argparse.Namespace, relay: Relay, say: Callable[[str], None]) -> TaskRun:
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
    return TaskRun.of(run, request.tasks[0], seed, settings_of(run.scale.name, run.data).teacher)
