"""ALBERT at full size: sizes, memory on meta tensors, and the clock, tried on small encoders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from kit.toy_evidence import record_of
from kit.toy_run import picked, shapes_run

from common.costs.memory import PeakMemory
from common.costs.parameters import encoder_parameters
from common.errors import UserError
from common.records.claims import Decision
from common.records.predictions import Evidence
from common.timing.paired import CONTROL
from replications.albert import shapes, throughput
from replications.albert.claims import DECIDERS
from replications.albert.full_size import (
    MEMORY,
    MODELS,
    ROOM,
    activation_bytes,
    bert,
    fits,
    random_model,
    training_bytes,
)
from replications.albert.method import Shape, sharing
from replications.albert.names import NONE
from replications.albert.throughput import BASELINE, GROUPS, LARGE, SMALL, Bench, TrainingArm, inference, training

TINY = Shape(layers=2, hidden=16, heads=2, embedding=4, vocabulary=50, positions=16)
SMALL_MODELS = {
    BASELINE: bert(replace(TINY, layers=4)),
    "BERT-base": bert(TINY),
    "ALBERT-base": TINY,
    "ALBERT-large": replace(TINY, layers=4),
    "ALBERT-xlarge": replace(TINY, layers=4, hidden=32),
    "ALBERT-xxlarge": replace(TINY, hidden=64),
}


def bench() -> Bench:
    return Bench(SMALL_MODELS, tokens=8, rows=2)


def test_table_1_and_its_flops() -> None:
    rows = shapes.sizes()
    parameters = {m.system: m.value for m in picked(rows, experiment="table1", metric="parameters")}
    assert parameters == {name: encoder_parameters(shape.costs) for name, shape in MODELS.items()}
    assert parameters["BERT-xlarge"] == 24 * (12 * 2048**2 + 13 * 2048) + 30_514 * 2048 + 2 * 2048 + 2048 * 2049
    speedups = {m.system: m.value for m in picked(rows, metric="flops_speedup")}
    assert speedups["BERT-large"] == 1.0
    assert speedups["ALBERT-large"] == pytest.approx(1.0, abs=1e-3), "sharing saves no computation"
    assert speedups["ALBERT-xlarge"] < 0.27 < 0.15 * 2 and speedups["ALBERT-xxlarge"] < 0.14


def test_sizes_of_the_ablations_stand_beside_the_printed_ones() -> None:
    rows = {(m.system, m.setting): m.value for m in picked(shapes.sizes(), experiment="table4", metric="parameters")}
    assert rows == {
        ("all-shared", "E = H"): 31_114_752,
        ("shared-attention", "E = H"): 83_078_400,
        ("shared-FFN", "E = H"): 57_117_696,
        ("not-shared", "E = H"): 109_081_344,
        ("all-shared", "E = H/6"): 11_683_584,
        ("shared-attention", "E = H/6"): 63_647_232,
        ("shared-FFN", "E = H/6"): 37_686_528,
        ("not-shared", "E = H/6"): 89_650_176,
    }
    third = picked(shapes.sizes(), experiment="table3", metric="parameters")
    assert {m.system for m in third} == {"all-shared", "not-shared"} and len(third) == 8


# -- Memory -----------------------------------------------------------------------------------------------------------


def test_what_backwards_needs_is_what_autograd_keeps() -> None:
    """The same count on tensors that are there, without weights."""
    encoder = random_model(TINY).encoder.train()
    weights = {p.untyped_storage().data_ptr() for p in encoder.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = encoder(torch.zeros(2, 8, dtype=torch.long))
    assert out.requires_grad
    found = activation_bytes(TINY, 2, 8)
    assert 0.8 * sum(kept.values()) <= found <= 1.25 * sum(kept.values())


def test_sharing_saves_the_memory_of_weights_and_none_of_what_backwards_needs() -> None:
    apart = sharing(TINY, NONE)
    assert activation_bytes(TINY, 2, 8) == activation_bytes(apart, 2, 8)
    saved = training_bytes(apart, 2, 8) - training_bytes(TINY, 2, 8)
    assert saved == 16 * (encoder_parameters(apart.costs) - encoder_parameters(TINY.costs))


def test_what_does_not_fit_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        shapes, "MODELS", {name: MODELS[name] for name in ("BERT-large", "BERT-xlarge", "ALBERT-xlarge")}
    )
    rows = shapes.training_memory()
    fitting = {(m.system, m.setting): m.value for m in picked(rows, metric="fits")}
    assert fitting["BERT-large", "1 row"] == fitting["ALBERT-xlarge", "1 row"] == 1
    assert fitting["ALBERT-xlarge", "8 rows"] == 1 and fitting["BERT-xlarge", "8 rows"] == 0
    note = picked(rows, system="BERT-xlarge", metric="training_bytes", setting="8 rows")[0].note
    assert "counted on meta tensors; does not fit into 24 GiB" in note
    assert fits(MEMORY - ROOM) and not fits(MEMORY - ROOM + 1)
    kept = {(m.system, m.setting): m.value for m in picked(rows, metric="activation_bytes")}
    assert kept["BERT-xlarge", "1 row"] == pytest.approx(kept["ALBERT-xlarge", "1 row"], rel=0.01)


def test_a_machine_without_room_is_told_so_before_anything_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput.psutil, "virtual_memory", lambda: SimpleNamespace(available=2**29))
    for measure in (training, inference):
        with pytest.raises(UserError, match="need 1.1 GB of memory, but 0.5 GB are free.*it goes on where it stopped"):
            measure(shapes_run(), bench(), LARGE)


# -- The clock --------------------------------------------------------------------------------------------------------


def test_a_training_step_trains() -> None:
    """Also in inference mode, in which everything is timed."""
    arm = TrainingArm.of(TINY, bench())
    with torch.inference_mode():
        assert arm.step() == arm.step() == 2
    assert len(arm.seconds) == 2 and 0 < arm.optimiser_share < 1
    model = random_model(TINY).train()
    assert all(bool(p.isfinite().all()) for p in model.parameters())


def test_speed_up_is_of_training_and_answering_stands_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trap: Table 2's column is not inference. Each is measured under a name of its own."""
    monkeypatch.setattr(throughput, "ROUNDS", dict.fromkeys(GROUPS, 2))
    kept: list[Evidence] = []
    run = shapes_run(kept.append)
    rows = [m for group in (SMALL, LARGE) for m in (*training(run, bench(), group), *inference(run, bench(), group))]
    for metric in ("training_speedup", "time_speedup"):
        found = picked(rows, metric=metric)
        assert {m.system for m in found} == {*SMALL, *LARGE, CONTROL}
        assert all(m.timed and m.value > 0 for m in found)
    assert all("LAMB included" in m.note for m in picked(rows, metric="training_speedup"))
    assert all("not in the paper" in m.note for m in picked(rows, metric="time_speedup"))
    assert {m.system for m in picked(rows, metric="optimiser_share")} == set(SMALL_MODELS)
    keys = [(m.experiment, m.system, m.setting, m.metric) for m in rows]
    assert len(keys) == len(set(keys))
    for claim in ("albert-large-1-7x-training", "albert-xxlarge-slower"):
        decision = DECIDERS[claim](record_of(*kept, measurements=rows))
        assert isinstance(decision, Decision) and decision.timed


def test_the_steps_measure_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [step.name for step in shapes.shape_steps(shapes_run())]
    assert len(names) == 7 and sum("training throughput" in name for name in names) == 2
    monkeypatch.setattr(shapes, "MODELS", {"ALBERT-base": TINY})
    monkeypatch.setattr(shapes, "PAPER_ROW", 16)
    monkeypatch.setattr(shapes, "peak_memory", measured_here)
    (row,) = shapes.forward_memory(shapes_run())
    assert (row.metric, row.value) == ("forward_peak", 7.0)


def measured_here(answer: Callable[..., object], *arguments: object) -> PeakMemory:
    """In this process, which takes less time than another one."""
    answer(*arguments)
    return PeakMemory(before=0, peak=7)
