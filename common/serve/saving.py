"""`save`: a trained system into a folder of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from common.records.measurements import write_json, write_text
from common.serve.about import MODEL, README, SETTINGS, TOKENIZER, About, Reading, hashes
from common.serve.folder import new_folder
from common.serve.home import find_home, package_of
from common.serve.readme import Measured, readme

if TYPE_CHECKING:
    from common.methods import Contender, Setting
    from common.task_run import TaskRun


def save(contender: Contender, setting: Setting, folder: Path, measured: Measured | None = None) -> None:
    """Write a system to the new folder `folder`, whole or not at all: what `common.serve.load` needs, and a README.

    What the contender has not trained yet is trained now.

    Args:
        contender: the method on a task run.
        setting: one of its settings.
        folder: is made, with its parents.
        measured: what its README says of score and speed; None says that nothing was measured.

    Raises:
        UserError: there is something at `folder` already, it cannot be written, or the method has no way home.
    """
    from common.environment import library_versions
    from common.methods import EncoderContender

    package, run = package_of(contender), contender.task_run
    find_home(package, contender.name)
    with new_folder(folder) as new:
        (new / MODEL).mkdir()
        facts = contender.save_parts(setting, new / MODEL)
        reading = _tokenizer(run, new / TOKENIZER) if isinstance(contender, EncoderContender) else None
        about = About(
            method=contender.name,
            setting=setting.name,
            at=setting.at,
            offered_by=package,
            facts=dict(facts),
            task=run.task.name,
            labels=run.task.labels,
            metric=run.task.metric,
            pair=run.task.is_pair,
            reading=reading,
            backbone=run.backbone.backbone,
            weights=run.backbone.fingerprint,
            seed=run.seed,
            files=hashes(new),
            versions=library_versions(),
        )
        write_json(new / SETTINGS, about.model_dump(mode="json"))
        write_text(new / README, readme(about, measured))


def _tokenizer(run: TaskRun, folder: Path) -> Reading:
    """Write the backbone's tokenizer; returns how it is used."""
    tokenizer = run.backbone.tokenizer
    tokenizer.save_pretrained(folder)
    segments = "token_type_ids" in tokenizer.model_input_names
    return Reading(max_length=run.plan.max_length, padding_id=tokenizer.pad_token_id, segments=segments)
