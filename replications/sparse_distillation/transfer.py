"""Table 6: a student of one sentiment domain meets the other (IMDB and SST-2).

The teacher is fine-tuned on the source and labels the source's corpus C; the student learns from that alone (KD), in
the source's vocabulary, and is then fine-tuned on the target's labels, with its own head or with a new one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from common.models.classifier import classifier_logits
from common.records.measurements import Measurement
from common.rows import Rows
from common.run.replication import Step
from common.training.batches import encode
from replications.sparse_distillation.design import Student
from replications.sparse_distillation.distillation import (
    FROM_SCRATCH,
    FT,
    KD_NO_TASK_DATA,
    Distillation,
    bag_split,
    dan_logits,
    gold,
)
from replications.sparse_distillation.findings import Findings, Predictions, score
from replications.sparse_distillation.names import TEACHER
from replications.sparse_distillation.storage import load_student

DOMAINS = {"imdb": "IMDB", "sst-2": "SST-2"}


def transfer_steps(found: Sequence[Findings]) -> list[Step]:
    """Both directions for every seed, where both tasks are in the run."""
    steps = []
    for target in found:
        source = source_of(target, found)
        if source is not None:
            label = f"{source.task_run.task_name} to {target.task_run.label}"
            steps.append(Step(label, 2 * target.students.student_seconds, partial(table6, source, target)))
    return steps


def source_of(target: Findings, found: Sequence[Findings]) -> Findings | None:
    """The task run of the other domain with the target's seed, where there is one."""
    mine = target.task_run
    if mine.task_name not in DOMAINS:
        return None
    others = (f for f in found if f.task_run.task_name in DOMAINS and f.task_run.seed == mine.seed)
    return next((f for f in others if f.task_run.task_name != mine.task_name), None)


def table6(source: Findings, target: Findings) -> list[Measurement]:
    """Score on the target."""
    run = target.task_run
    row = Rows(run.task_name, run.seed, run.backbone.backbone, len(target.labels))
    setting = transfer_setting(source, target)
    return [
        row("table6", system, "score", score(target, predictions), "points", setting=setting)
        for system, predictions in transfer_answers(source, target).items()
    ]


def transfer_setting(source: Findings, target: Findings) -> str:
    """The direction, as the paper writes it."""
    return f"{DOMAINS[source.task_run.task_name]} to {DOMAINS[target.task_run.task_name]}"


def transfer_answers(source: Findings, target: Findings) -> dict[str, Predictions]:
    """(N,) predictions of Table 6's systems on the target's dev."""
    mine, theirs = target.students, source.students
    return {
        "DAN (from scratch, target)": mine.answers((FROM_SCRATCH,)),
        "teacher (source)": _foreign_teacher(theirs, mine),
        "DAN (KD)": _answers(theirs, mine, theirs.folder((KD_NO_TASK_DATA,))),
        "DAN (KD+FT)": _answers(theirs, mine, adapted(theirs, mine, "kept")),
        "DAN (KD+FT, head re-initialised)": _answers(theirs, mine, adapted(theirs, mine, "re-initialised")),
        "teacher (target)": target.predictions[TEACHER],
    }


def adapted(source: Distillation, target: Distillation, head: str) -> Path:
    """The folder of the source's student after stage 3 on the target; its head is `kept` or `re-initialised`."""
    start, plan = source.folder((KD_NO_TASK_DATA,)), target.plan(FT)
    vocabulary = source.vocabulary(source.design.vocabulary_size)

    def fresh() -> Student:
        torch.manual_seed(plan.seed)
        model = load_student(start)
        if head == "re-initialised":
            anew = source.design.build(1, len(target.task.labels), pair=False)
            model.layers.load_state_dict(anew.layers.state_dict())
        return model

    kind = f"sparse-distillation/{source.task.name}-to-{target.task.name}/{head}"
    facts = {"start": start.name, "task": target.task.fingerprint, "max_words": target.settings.max_words}
    return target.taught(kind, facts, fresh, lambda: bag_split(vocabulary, target.train, gold(target.train)), plan)


def _answers(source: Distillation, target: Distillation, folder: Path) -> Predictions:
    vocabulary = source.vocabulary(source.design.vocabulary_size)
    return dan_logits(load_student(folder), bag_split(vocabulary, target.dev, gold(target.dev))).argmax(-1).numpy()


def _foreign_teacher(source: Distillation, target: Distillation) -> Predictions:
    run = source.task_run
    dev = encode(run.backbone.tokenizer, target.task.dev, regression=False, max_length=run.plan.max_length)
    return classifier_logits(run.classifier(), dev, run.device).argmax(-1).numpy()
