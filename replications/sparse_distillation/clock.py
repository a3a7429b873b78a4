"""The clock of the trained systems: whole passes in batches of 32, as in the paper, interleaved with the teacher.

Tokenisation and n-gram extraction are off the clock, which is the paper's protocol; `tokenisation_times` measures them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from tokenizers import ByteLevelBPETokenizer
from torch import nn

from common.early_exit.clock import BATCH_SIZE
from common.records.statistics import Interval
from common.timing.paired import PairedThroughput, paired_throughput
from common.timing.threads import pinned_threads
from replications.sparse_distillation.distillation import FT, KD
from replications.sparse_distillation.findings import Findings
from replications.sparse_distillation.method import example_flops
from replications.sparse_distillation.names import SMALL, STUDENT, TEACHER


def speeds(f: Findings) -> tuple[PairedThroughput, dict[str, float]]:
    """Throughput of the trained systems on a random part of dev, and FLOPs per example of teacher and student."""
    run, dev = f.task_run, f.task_run.encoded.dev
    by_length = sorted(run.clock.rows.tolist(), key=lambda row: len(dev.input_ids[row]))
    chunks = [by_length[i : i + BATCH_SIZE] for i in range(0, len(by_length), BATCH_SIZE)]
    device = run.timing_device
    tokens = [dev.batch(chunk).to(device) for chunk in chunks]
    bags = [f.split.batch(chunk).to(device) for chunk in chunks]
    student = f.students.model((KD, FT)).to(device)
    arms: dict[str, Callable[[], int]] = {
        TEACHER: partial(run_all, run.classifier().to(device), tokens),
        SMALL: partial(run_all, run.classifier(run.half).to(device), tokens),
        STUDENT: partial(run_all, student, bags),
    }
    for name, model in f.token_students.items():
        arms[name] = partial(run_all, model.to(device), tokens)
    with pinned_threads():
        timings = paired_throughput(arms, baseline=TEACHER, rounds=1 + 2 * run.run.scale.timing_rounds)
    ngrams = np.array([sum(batch.tokens for batch in bags) / len(by_length)])
    teacher_flops = float(run.baseline_flops("dev")[by_length].mean())
    return timings, {TEACHER: teacher_flops, STUDENT: float(example_flops(student, ngrams)[0])}


def run_all(model: nn.Module, batches: Sequence[object]) -> int:
    """One pass; returns how many examples it answered."""
    return sum(len(model(batch)) for batch in batches)


def tokenisation_times(f: Findings) -> dict[str, Interval]:
    """Seconds to turn dev texts into ids, relative to byte-level BPE (Table 9)."""
    texts, wordpiece = [e.text_a for e in f.students.dev], f.task_run.backbone.tokenizer.backend_tokenizer
    bpe = train_bpe([e.text_a for e in f.students.train])
    arms: dict[str, Callable[[], int]] = {
        "BPE": lambda: len([bpe.encode(text) for text in texts]),
        "WordPiece": lambda: len([wordpiece.encode(text) for text in texts]),
        "n-gram": lambda: len(f.vocabulary.bags(texts)),
    }
    timings = paired_throughput(arms, baseline="BPE", rounds=5)
    return {name: timings.ratio(name) for name in timings.arms}


def train_bpe(texts: Sequence[str]) -> ByteLevelBPETokenizer:
    """A byte-level BPE as RoBERTa's: its own merges are not at hand without a hub, and it is the speed that counts."""
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(texts, vocab_size=50_265, show_progress=False)
    return tokenizer
