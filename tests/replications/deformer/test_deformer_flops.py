"""The closed form against the paper's printed speed-ups, against a counter, and the memory that is counted."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from common.costs.memory import requested_bytes
from common.early_exit.imposed import shape_of
from common.encoders.shapes import find_shape, random_encoder
from common.paper import load_paper
from common.run.replication import choose
from common.training.segments import Segment, TwoSegmentBatch
from replications.deformer.flops import (
    PAPER_K,
    PAPER_LENGTHS,
    cached_flops,
    flops_speedup,
    full_flops,
    speedup_at,
)
from replications.deformer.method import DeFormer
from replications.deformer.shapes import CACHED_TOKENS, memory, sizes

(DEFORMER,) = choose("deformer")
PAPER = load_paper(DEFORMER.folder / "paper.yaml")


def printed(table: str, metric: str) -> dict[tuple[str, str, str], float]:
    """By backbone, setting and task."""
    cells = PAPER.numbers[table].cells
    return {(c.backbone.lower(), c.setting, c.task): c.value for c in cells if c.metric == metric and c.setting}


@pytest.mark.parametrize("backbone", ["bert-base", "bert-large"])
def test_every_printed_speedup_of_figure_4_is_met_to_rounding(backbone: str) -> None:
    labels = {k: v for k, v in printed("figure4-labels", "flops_speedup").items() if k[0] == backbone}
    assert len(labels) == 11
    for (_, setting, _), value in labels.items():
        found = flops_speedup(shape_of(backbone), int(setting.removeprefix("k=")), 27, 320)
        assert round(found, 1) == value


def test_printed_speedups_of_the_tasks_are_met_to_rounding_but_qqps() -> None:
    table = printed("table1", "flops_speedup") | printed("table2", "flops_speedup")
    for task, lengths in PAPER_LENGTHS.items():
        found = round(speedup_at(shape_of("bert-base"), 9, lengths), 1)
        assert (found == table["bert-base", "k=9", task]) == (task != "qqp")
    assert round(speedup_at(shape_of("bert-base"), 9, PAPER_LENGTHS["qqp"]), 1) == 1.8
    assert [PAPER_LENGTHS[task].live for task in ("squad", "race", "boolq", "mnli", "qqp")] == [27, 32, 17, 33, 42]


def test_table_3_is_met_within_half_a_percent() -> None:
    whole = {
        c.backbone.lower(): c.value for c in PAPER.numbers["table3"].cells if c.metric == "flops" and not c.setting
    }
    for backbone, value in whole.items():
        assert full_flops(shape_of(backbone), 320) == pytest.approx(value, rel=5e-3)
    large = cached_flops(shape_of("bert-large"), PAPER_K["bert-large"], 27, 320)
    assert large == pytest.approx(printed("table3", "flops")["bert-large", "k=20", "squad"], rel=5e-3)


def test_the_closed_form_is_what_a_counter_sees() -> None:
    """On the online path itself: the live segment below k, both above."""
    encoder = random_encoder("tiny")
    encoder.set_attention("eager")
    model, shape = DeFormer.reader(encoder, 3, seed=0).eval(), shape_of("tiny")
    live, kept = 7, 20
    question = Segment(torch.full((1, live), 9), torch.ones(1, live, dtype=torch.long), 0)
    cached = torch.zeros(1, kept, encoder.hidden_size)
    mask = torch.ones(1, live + kept, dtype=torch.long)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model.upper(model.lower(question), cached, mask)
    head = 2 * 2 * encoder.hidden_size * (live + kept)
    assert counter.get_total_flops() == cached_flops(shape, 3, live, live + kept) + head
    whole = DeFormer(encoder, 0, model.head).eval()
    passage = Segment(torch.full((1, kept), 9), torch.ones(1, kept, dtype=torch.long), 1)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        whole(TwoSegmentBatch(question, passage, torch.zeros(1), torch.zeros(1)))
    assert counter.get_total_flops() == full_flops(shape, live + kept) + head


def test_requested_bytes_are_those_of_every_new_tensor() -> None:
    a, b = torch.ones(10, 10), torch.ones(10, 10)
    assert requested_bytes(lambda: a @ b) == 400
    assert requested_bytes(lambda: (a @ b).relu()) == 800
    assert requested_bytes(lambda: a.view(100)[:3]) == 0
    assert requested_bytes(lambda: a.add_(1)) == 0
    meta = torch.ones(1000, 1000, device="meta")
    assert requested_bytes(lambda: meta @ meta) == 4_000_000


def test_memory_is_saved_about_as_much_as_printed() -> None:
    """Another profiler, the same quantity: within four points of every printed reduction."""
    table = printed("table1", "memory_reduction") | printed("table2", "memory_reduction")
    rows = {m.task: m.value for m in memory() if m.metric == "memory_reduction" and m.backbone == "bert-base"}
    assert set(rows) == set(PAPER_LENGTHS)
    for task, value in rows.items():
        assert value == pytest.approx(table["bert-base", "k=9", task], abs=0.04)


def test_a_passage_of_150_tokens_takes_what_the_appendix_says() -> None:
    rows = {(m.backbone, m.setting): m.value for m in sizes() if m.metric == "passage_bytes"}
    assert rows["bert-base", "bfloat16"] == CACHED_TOKENS * 768 * 2
    assert round(rows["bert-base", "bfloat16"] / 1024) in (225, 226)
    assert rows["bert-large", "float32"] == CACHED_TOKENS * find_shape("bert-large").hidden * 4
