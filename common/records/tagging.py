"""Stored predictions of sequence labelling: tags of words, scored sentence by sentence.

Beside `labels` and every system's answers, (W,) over all words of dev, the evidence of such a task holds how many words
each sentence has and what its tags mark; nothing else is needed to score any answer anew, by either convention.
"""

from __future__ import annotations

from common.records.predictions import LABELS, Array, Evidence
from common.tasks.tag_metrics import Counts, tag_counts

WORDS = "sentences/words"
"""(S,) words of each sentence of dev, in the order of the labels."""

TAG_PARTS = "tags/parts"
"""(C, 2) what each tag marks (`common.tasks.tag_metrics.tag_parts`)."""


def labels_words(evidence: Evidence) -> bool:
    """Whether the evidence is of sequence labelling."""
    return WORDS in evidence


def sentence_counts(evidence: Evidence, answers: Array, *, strict: bool = False) -> Counts:
    """What answers (W,) got right, of each sentence, by the task's metric."""
    words, parts = evidence[WORDS].astype(int), evidence[TAG_PARTS].astype(int)
    labels = evidence[LABELS].astype(int)
    return tag_counts(evidence.metric, answers.astype(int), labels, words, parts, strict=strict)


def flops_name(system: str, setting: str = "") -> str:
    """Name of a system's FLOPs on each sentence of dev."""
    return f"{system}@{setting}/flops" if setting else f"{system}/flops"
