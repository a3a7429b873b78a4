"""What is timed, against what, and the FLOPs beside it; no test depends on how fast anything is."""

from typing import Any

import numpy as np
import pytest
import torch
from toy_texts import students_of

from common.costs.flops import classifier_flops
from common.run.replication import Run
from common.timing.paired import CONTROL
from replications.sparse_distillation import clock
from replications.sparse_distillation.clock import BATCH_SIZE, run_all, speeds, tokenisation_times
from replications.sparse_distillation.engine.bags import BagBatch
from replications.sparse_distillation.findings import Findings
from replications.sparse_distillation.names import CNN_STUDENT, LSTM_STUDENT, SMALL, STUDENT, TEACHER


@pytest.fixture
def findings(toy_run: Run) -> Findings:
    return Findings(students_of(toy_run, "sst-2"))


def test_every_arm_answers_the_same_examples_in_batches_of_32(
    findings: Findings, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: dict[str, Any] = {}
    original = clock.paired_throughput

    def spy(arms: Any, *, baseline: str, rounds: int) -> Any:
        kept.update(arms)
        return original(arms, baseline=baseline, rounds=rounds)

    monkeypatch.setattr(clock, "paired_throughput", spy)
    timings, flops = speeds(findings)
    assert set(timings.arms) == {TEACHER, SMALL, LSTM_STUDENT, CNN_STUDENT, STUDENT, CONTROL}
    assert timings.baseline == TEACHER
    asked = findings.task_run.run.scale.timing_examples
    rows = {name: [row for batch in arm.args[1] for row in batch.rows.tolist()] for name, arm in kept.items()}
    assert all(found == rows[TEACHER] for found in rows.values())
    assert len(set(rows[TEACHER])) == asked
    assert BATCH_SIZE == 32
    for name, arm in kept.items():
        assert arm() == asked, name
        assert not arm.args[0].training, name
    # FLOPs by hand: the teacher's closed form for each example; the student's sums and its two layers.
    run = findings.task_run
    teacher = np.mean([classifier_flops(run.shape, len(run.encoded.dev.input_ids[row]), 2) for row in rows[TEACHER]])
    assert flops[TEACHER] == pytest.approx(teacher)
    ngrams = np.mean([findings.split.first.lengths[row] for row in rows[TEACHER]])
    width = findings.students.design.dimension
    assert flops[STUDENT] == pytest.approx(ngrams * width + 2 * width * width + 2 * width * 2)
    assert set(flops) == {TEACHER, STUDENT}


def test_a_pass_answers_every_batch(findings: Findings) -> None:
    batches = list(findings.split.in_order(5))
    seen: list[BagBatch] = []

    def model(batch: BagBatch) -> torch.Tensor:
        seen.append(batch)
        return torch.zeros(len(batch.rows), 2)

    assert run_all(model, batches) == len(findings.labels)  # type: ignore[arg-type]
    assert seen == batches


def test_tokenisation_is_compared_with_bpe(findings: Findings) -> None:
    found = tokenisation_times(findings)
    assert {"BPE", "WordPiece", "n-gram"} <= set(found)
    assert found["BPE"].value == pytest.approx(1.0)
    assert all(interval.value > 0 for interval in found.values())


def test_the_bpe_is_byte_level_and_loses_nothing() -> None:
    tokenizer = clock.train_bpe(["an unusual naïve text", "text after text"] * 5)
    assert tokenizer.decode(tokenizer.encode("naïve texts, unseen!").ids) == "naïve texts, unseen!"
    assert len(tokenizer.encode("text").ids) == 1, "it has learned to merge"
