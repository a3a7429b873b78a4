"""Table 6: a student of one sentiment domain meets the other (IMDB and SST-2).

The teacher is fine-tuned on the source and labels the source's corpus C; the student learns from that alone (KD), in
the source's vocabulary, and is then fine-tuned on the target's labels, with its own head or with a new one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from common.records.measurements import Measurement
from common.replication import Step
from common.rows import Rows
from common.training.batches import encode
from common.training.classifier import classifier_logits
from replications.sparse_distillation.findings import Findings, Predictions, score
from replications.sparse_distillation.names import TEACHER
from replications.sparse_distillation.storage import load_dan, save_dan
from replications.sparse_distillation.trial import (
    FROM_SCRATCH,
    FT,
    KD_NO_TASK_DATA,
    Trial,
    bag_split,
    dan_logits,
    gold,
    label_loss,
)

DOMAINS = {"imdb": "IMDB", "sst-2": "SST-2"}


def transfer_steps(found: Sequence[Findings]) -> list[Step]:
    """Both directions for every seed, where both tasks are in the run."""
    steps = []
    for target in found:
        source = source_of(target, found)
        if source is not None:
            seconds = target.trial.lesson.student_seconds
            label = f"{source.trial.lesson.task_name} to {target.trial.lesson.task_name}, seed {target.trial.seed}"
            steps.append(Step(label, 2 * seconds, partial(table6, source, target)))
    return steps


def source_of(target: Findings, found: Sequence[Findings]) -> Findings | None:
    """The trial of the other domain with the target's seed, where there is one."""
    if target.trial.lesson.task_name not in DOMAINS:
        return None
    others = (f for f in found if f.trial.lesson.task_name in DOMAINS and f.trial.seed == target.trial.seed)
    return next((f for f in others if f.trial.lesson.task_name != target.trial.lesson.task_name), None)


def table6(source: Findings, target: Findings) -> list[Measurement]:
    """Score on the target."""
    lesson = target.trial.lesson
    row = Rows(lesson.task_name, target.trial.seed, lesson.source.backbone, len(target.labels))
    setting = transfer_setting(source, target)
    return [
        row("table6", system, "score", score(target, predictions), "points", setting=setting)
        for system, predictions in transfer_answers(source, target).items()
    ]


def transfer_setting(source: Findings, target: Findings) -> str:
    """The direction, as the paper writes it."""
    return f"{DOMAINS[source.trial.lesson.task_name]} to {DOMAINS[target.trial.lesson.task_name]}"


def transfer_answers(source: Findings, target: Findings) -> dict[str, Predictions]:
    """(N,) predictions of Table 6's systems on the target's dev."""
    return {
        "DAN (from scratch, target)": target.trial.answers((FROM_SCRATCH,)),
        "teacher (source)": _foreign_teacher(source.trial, target.trial),
        "DAN (KD)": _answers(source.trial, target.trial, source.trial.folder((KD_NO_TASK_DATA,))),
        "DAN (KD+FT)": _answers(source.trial, target.trial, adapted(source.trial, target.trial, "kept")),
        "DAN (KD+FT, head re-initialised)": _answers(
            source.trial, target.trial, adapted(source.trial, target.trial, "re-initialised")
        ),
        "teacher (target)": target.predictions[TEACHER],
    }


def adapted(source: Trial, target: Trial, head: str) -> Path:
    """The folder of the source's student after stage 3 on the target; its head is `kept` or `re-initialised`."""
    start, plan = source.folder((KD_NO_TASK_DATA,)), target.plan(FT)
    vocabulary = source.vocabulary(source.design)

    def make(folder: Path) -> None:
        torch.manual_seed(target.seed)
        model = load_dan(start)
        if head == "re-initialised":
            fresh = source.design.build(1, len(target.lesson.task.labels), pair=False)
            model.layers.load_state_dict(fresh.layers.state_dict())
        train = target.lesson.task.train
        target.train(model, bag_split(vocabulary, train, gold(train)), label_loss, plan, folder)
        save_dan(model, source.design, folder)

    recipe = {
        "kind": "adapted-dan",
        "start": start.name,
        "head": head,
        "task": target.lesson.task.fingerprint,
        "ngram_dropout": target.lesson.settings.ngram_dropout,
        "threads": torch.get_num_threads(),
        **plan.recipe(),
    }
    name = f"sparse-distillation/{source.lesson.task_name}-to-{target.lesson.task_name}/{head}/seed{target.seed}"
    return target.lesson.run.store.get(name, recipe, make, target.lesson.run.say)


def _answers(source: Trial, target: Trial, folder: Path) -> Predictions:
    dev = target.lesson.task.dev
    split = bag_split(source.vocabulary(source.design), dev, gold(dev))
    return dan_logits(load_dan(folder), split).argmax(-1).numpy()


def _foreign_teacher(source: Trial, target: Trial) -> Predictions:
    lesson = source.lesson
    dev = encode(
        lesson.source.tokenizer, target.lesson.task.dev, regression=False, max_length=lesson.teacher_plan.max_length
    )
    return classifier_logits(lesson.teacher(), dev, lesson.device).argmax(-1).numpy()
