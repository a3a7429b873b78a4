"""The n-gram student at home: what reads the folder of a trained system (`common.serve.home`).

    student.safetensors      the weights        design.json   how they are put together
    vocabulary.safetensors   the n-grams

Both large files are mapped into memory and nothing is rebuilt: of the table only the rows that texts ask for are kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from common.early_exit.runtime import Outcome
from common.errors import UserError
from common.serve.home import Parts, Runner
from common.tasks.task import Example
from replications.sparse_distillation.corpus import cut
from replications.sparse_distillation.engine.bags import bag_batch
from replications.sparse_distillation.engine.extraction import Vocabulary
from replications.sparse_distillation.names import CONTENDER
from replications.sparse_distillation.storage import load_student

AT_ONCE = 256
"""Texts whose n-grams are looked up together."""


def ngrams(parts: Parts) -> Runner:
    """The student at work. A text without any n-gram that it knows has h = 0: all such texts get the same answer.

    Raises:
        UserError: its parts do not belong together.
    """
    model, vocabulary = load_student(parts.folder), Vocabulary.load(parts.folder)
    max_words = int(parts.about.facts["max_words"])
    rows, outputs = len(model.table), model.layers[-1].out_features
    if rows != len(vocabulary):
        raise UserError(
            f"{parts.folder}: expected a row of the table for each of the vocabulary's {len(vocabulary)} n-grams, "
            f"found {rows} rows: the vocabulary belongs to another student. Save the student again"
        )
    if outputs != parts.outputs:
        raise UserError(
            f"{parts.folder}: expected a label for each of the student's {outputs} outputs, found {parts.outputs} "
            f"({', '.join(parts.about.labels)}). Save the student again"
        )

    def logits(examples: Sequence[Example]) -> torch.Tensor:
        read = cut(examples, max_words)
        second = [e.text_b or "" for e in read] if parts.about.pair else None
        found: torch.Tensor = model(bag_batch(vocabulary, [e.text_a for e in read], second))
        return found

    @torch.inference_mode()
    def run(examples: Sequence[Example]) -> Outcome:
        starts = range(0, len(examples), AT_ONCE)
        found = torch.cat([logits(examples[start : start + AT_ONCE]) for start in starts])
        return Outcome(found, torch.zeros(len(examples), dtype=torch.long))

    return run


HOMES = {CONTENDER: ngrams}
