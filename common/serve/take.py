"""`reproduce take`: a method is trained on a task, or found trained, and saved to a folder."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from common.errors import UserError, did_you_mean
from common.run.progress import RunProgress
from common.run.runner import Relay, Request, bare_run
from common.serve.folder import check_free
from common.serve.readme import Measured
from common.serve.saving import save

if TYPE_CHECKING:
    from common.methods import Contender, Setting
    from common.run.replication import Step
    from common.task_run import TaskRun


def take(options: argparse.Namespace) -> None:
    """Train a method on a task, or take what was trained with the same options before, and save it.

    Args:
        options: `method`, `folder`, `setting`, `speed` and those of a run, as typed.

    Raises:
        UserError: an unknown method, setting or task, data that cannot be read, or a folder that cannot be made.
    """
    folder = Path(options.folder).expanduser()
    check_free(folder)  # First of all: the imports take seconds, the training hours.
    speed = _speed(options.speed)
    contender = _contender(options)
    setting = _setting(contender, options.setting, speed)
    save(contender, setting, folder, _measured(contender, setting))
    print(f"{folder}: saved. Type: reproduce predict {folder} < texts.txt")


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = math.nan
    if not (math.isfinite(speed) and speed > 0):
        raise UserError(f"--speed is how many times fewer FLOPs than the baseline's, a number above 0; got {text!r}")
    return speed


def _contender(options: argparse.Namespace) -> Contender:
    """The method on the task, with all that it needs trained."""
    from common.compare.rivals import every_method
    from common.task_run import TaskRun

    known = {name.lower(): method for name, method in every_method().items()}
    wanted = options.method.lower()
    if wanted not in known:
        names = ", ".join(method.name for method in known.values())
        raise UserError(f"unknown method {options.method!r}{did_you_mean(wanted, known) or '.'} Methods: {names}")
    request = Request.parse(options)
    if len(request.tasks) != 1:
        raise UserError(f"--tasks is one task here; got {options.tasks!r}. Type --tasks sst-2")
    run = TaskRun.of(bare_run(request), request.tasks[0], 0)
    if run.task.is_regression and not known[wanted].regression:
        raise UserError(f"{run.task_name} is a regression, and {known[wanted].name} needs classes. Take another method")
    contender = known[wanted].on(run)
    _carry_out(run, [*run.static_steps(()), *contender.training_steps()])
    return contender


def _carry_out(run: TaskRun, steps: Sequence[Step]) -> None:
    progress = RunProgress.on_stderr([step.name for step in steps], [step.seconds for step in steps])
    if isinstance(run.run.progress, Relay):
        run.run.progress.target = progress
    for number, step in enumerate(steps):
        progress.start(number)
        step.measure()
        progress.finish()


def _setting(contender: Contender, name: str, speed: float) -> Setting:
    """The setting of that name; without one that with the nearest speed on tune."""
    settings = {setting.name: setting for setting in contender.settings}
    if name and name not in settings:
        hint = did_you_mean(name, settings) or "."
        some = ", ".join(list(settings)[:20]) or "only one, without a name"
        raise UserError(f"{contender.name} has no setting {name!r}{hint} Settings: {some}")
    if name:
        return settings[name]
    full = contender.task_run.baseline_flops("tune").sum()

    def distance(setting: Setting) -> float:
        return abs(math.log(full / contender.flops("tune", setting).sum() / speed))

    return min(settings.values(), key=distance)


def _measured(contender: Contender, setting: Setting) -> Measured:
    """Its score on dev; nothing is timed for it."""
    from common.early_exit.systems import Scored, answers_of

    run = contender.task_run
    scored = Scored(run)
    answers = answers_of(contender.outcome("dev", setting).logits, run)
    ratio = run.baseline_flops("dev").sum() / contender.flops("dev", setting).sum()
    return Measured(
        score=scored.score(answers),
        gained=scored.gain(answers),
        on=f"the dev texts of {run.task_name} ({len(answers)}), one seed",
        notes=(f"It spends {ratio:.3g} times fewer FLOPs on them than the plain backbone. Nothing was timed.",),
    )
