"""The clock of the trained systems: whole passes in batches of 32, as in the paper, interleaved with the teacher.

Tokenisation and n-gram extraction are off the clock, which is the paper's protocol; `tokenisation_times` measures them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from tokenizers import ByteLevelBPETokenizer
from torch import nn

from common.records.statistics import Interval
from common.timing.flops import EncoderShape, encoder_flops
from common.timing.paired import PairedThroughput, paired_throughput
from common.timing.threads import pinned_threads
from replications.sparse_distillation.findings import Findings
from replications.sparse_distillation.method import DAN
from replications.sparse_distillation.names import SMALL, STUDENT, TEACHER
from replications.sparse_distillation.trial import FT, KD

BATCH_SIZE = 32


def speeds(f: Findings) -> tuple[PairedThroughput, dict[str, float]]:
    """Throughput of the trained systems on a random part of dev, and FLOPs per example of teacher and student."""
    lesson, dev = f.trial.lesson, f.trial.lesson.encoded.dev
    rows: list[int] = np.random.default_rng(0).permutation(len(dev))[: lesson.run.scale.timing_examples].tolist()
    by_length = sorted(rows, key=lambda row: len(dev.input_ids[row]))
    chunks = [by_length[i : i + BATCH_SIZE] for i in range(0, len(by_length), BATCH_SIZE)]
    tokens, bags = [dev.batch(chunk) for chunk in chunks], [f.split.batch(chunk) for chunk in chunks]
    device = lesson.device
    student = f.trial.model((KD, FT)).to(device)
    arms: dict[str, Callable[[], int]] = {
        TEACHER: partial(run_all, lesson.teacher(), [b.to(device) for b in tokens]),
        SMALL: partial(run_all, lesson.classifier(lesson.small_layers), [b.to(device) for b in tokens]),
        STUDENT: partial(run_all, student, [b.to(device) for b in bags]),
    }
    for name, model in f.token_students.items():
        arms[name] = partial(run_all, model.to(device), [b.to(device) for b in tokens])
    with pinned_threads():
        timings = paired_throughput(arms, baseline=TEACHER, rounds=1 + 2 * lesson.run.scale.timing_rounds)
    shape = EncoderShape.from_config(lesson.source.encoder.config)
    teacher_flops = float(np.mean([encoder_flops(shape, len(dev.input_ids[row])) for row in by_length]))
    ngrams = sum(batch.tokens for batch in bags) / len(by_length)
    return timings, {TEACHER: teacher_flops, STUDENT: student_flops(student, ngrams)}


def student_flops(student: DAN, ngrams: float) -> float:
    """FLOPs of one example: one addition per n-gram and dimension, and the linear layers."""
    weights = [p.numel() for name, p in student.layers.named_parameters() if name.endswith("weight")]
    return ngrams * student.table.shape[1] + 2 * sum(weights)


def run_all(model: nn.Module, batches: Sequence[object]) -> int:
    """One pass; returns how many examples it answered."""
    return sum(len(model(batch)) for batch in batches)


def tokenisation_times(f: Findings) -> dict[str, Interval]:
    """Seconds to turn dev texts into ids, relative to byte-level BPE (Table 9)."""
    lesson = f.trial.lesson
    texts = [e.text_a for e in lesson.task.dev]
    bpe = train_bpe([e.text_a for e in lesson.task.train])
    arms: dict[str, Callable[[], int]] = {
        "BPE": lambda: len([bpe.encode(text) for text in texts]),
        "WordPiece": lambda: len([lesson.source.tokenizer.backend_tokenizer.encode(text) for text in texts]),
        "n-gram": lambda: len(f.vocabulary.bags(texts)),
    }
    timings = paired_throughput(arms, baseline="BPE", rounds=5)
    return {name: timings.ratio(name) for name in timings.arms}


def train_bpe(texts: Sequence[str]) -> ByteLevelBPETokenizer:
    """A byte-level BPE as RoBERTa's: its own merges are not at hand without a hub, and it is the speed that counts."""
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(texts, vocab_size=50_265, show_progress=False)
    return tokenizer
