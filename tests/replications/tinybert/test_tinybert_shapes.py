"""Sizes at full size against the modules and the printed figures; the clocked part on small encoders."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from kit.toy_run import shapes_run
from torch.utils.flop_counter import FlopCounterMode

from common.costs.memory import PeakMemory
from common.encoders.shapes import find_shape, random_encoder
from common.paper import load_paper
from common.records.predictions import Evidence
from common.run.replication import choose
from common.timing.paired import CONTROL
from replications.tinybert import shapes
from replications.tinybert.claims import DECIDERS
from replications.tinybert.names import BERT_BASE, FOUR_LAYERS, TINYBERT, TINYBERT_4, TINYBERT_6

PRINTED = {
    BERT_BASE: (109e6, 22.5e9),
    "bert-small": (29.2e6, 3.4e9),
    FOUR_LAYERS: (52.2e6, 7.6e9),
    TINYBERT_4: (14.5e6, 1.2e9),
    TINYBERT_6: (67.0e6, 11.3e9),
}


@pytest.mark.parametrize("name", shapes.ARCHITECTURES)
def test_parameters_and_flops_are_those_of_transformers_modules_and_near_the_printed(name: str) -> None:
    with torch.device("meta"):
        encoder = random_encoder(shapes.ARCHITECTURES[name], device="meta")
        encoder.set_attention("eager")
        ids = torch.zeros(1, shapes.TOKENS, dtype=torch.long)
        with FlopCounterMode(display=False) as counter:
            encoder(ids, None)
    rows = {m.metric: m.value for m in shapes.sizes() if m.experiment == "sizes" and m.system == name}
    assert rows["encoder_parameters"] == sum(p.numel() for p in encoder.parameters())
    assert rows["flops"] == counter.get_total_flops()
    parameters, flops = PRINTED[name]
    assert rows["encoder_parameters"] == pytest.approx(parameters, rel=0.015)
    assert rows["flops"] == pytest.approx(flops, rel=0.045)


def test_the_derived_counts_are_exact() -> None:
    rows = {(m.system, m.metric): m.value for m in shapes.sizes() if m.experiment == "sizes"}
    assert rows[TINYBERT_4, "encoder_parameters"] == 14_350_248
    assert rows[TINYBERT_4, "projection_parameters"] == 240_384
    assert rows[TINYBERT_6, "encoder_parameters"] == 66_955_008
    assert rows[BERT_BASE, "encoder_parameters"] == 109_482_240
    for name, billions in ((BERT_BASE, 22.35), (TINYBERT_4, 1.25), (TINYBERT_6, 11.17), (FOUR_LAYERS, 7.45)):
        assert rows[name, "flops"] / 1e9 == pytest.approx(billions, abs=0.006)


def test_every_printed_row_but_mobileberts_has_an_architecture() -> None:
    (replication,) = choose("tinybert")
    paper = load_paper(replication.folder / "paper.yaml")
    (table,) = [t for t in paper.tables if t.id == "table1-efficiency"]
    assert {(c.system, c.setting) for c in table.cells} - set(shapes.ROWS) == {("MobileBERT-tiny", "")}
    for cell in table.cells:
        if (cell.system, cell.setting) in shapes.ROWS and cell.metric == "parameters":
            assert cell.value == PRINTED[shapes.ROWS[cell.system, cell.setting]][0]


def test_a_timed_model_has_a_pooler_in_its_head_alone() -> None:
    model = shapes.TinyClassifier.fresh(
        random_encoder(replace(find_shape("tiny"), has_pooler=False)), shapes.CLASSES, seed=0
    )
    whole = sum(p.numel() for p in model.parameters())
    assert whole == sum(p.numel() for p in random_encoder("tiny").parameters()) + 64 * 2 + 2


def test_the_steps_measure_every_row_and_keep_what_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = replace(find_shape("tiny"), layers=2)
    monkeypatch.setattr(
        shapes, "ARCHITECTURES", {n: replace(tiny, layers=s.layers) for n, s in shapes.ARCHITECTURES.items()}
    )
    monkeypatch.setattr(shapes, "TOKENS", 8)
    monkeypatch.setattr(shapes, "TEXTS", 4)
    monkeypatch.setattr(shapes, "PASSES", 2)
    monkeypatch.setattr(shapes, "peak_memory", lambda function, name: PeakMemory(1, 1 + len(name)))
    kept: list[Evidence] = []
    rows = [m for step in shapes.shape_steps(shapes_run(kept.append)) for m in step.measure()]
    for metric in ("parameters", "flops", "time_speedup", "throughput_ratio", "peak_memory"):
        found = {(m.system, m.setting) for m in rows if m.experiment == "table1-efficiency" and m.metric == metric}
        assert found - {(CONTROL, "")} == set(shapes.ROWS)
    (evidence,) = kept
    assert len(evidence.seconds(TINYBERT_4)) == 4
    assert (evidence.seconds(BERT_BASE) > 0).all()
    assert np.isfinite(evidence.seconds(CONTROL)).all()
    assert {"tinybert4-faster", "tinybert4-31-time"} <= set(DECIDERS)
    assert TINYBERT in {m.system for m in rows}
