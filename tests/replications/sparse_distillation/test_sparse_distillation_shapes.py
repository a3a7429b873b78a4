"""The shapes run: sizes against the modules, the clocked parts on small systems."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from torch import nn

from common.encoders.shapes import find_shape
from common.errors import UserError
from common.records.measurements import Measurement
from common.records.predictions import Evidence
from common.timing.paired import CONTROL, PairedThroughput
from replications.sparse_distillation import shapes, shapes_memory, shapes_roofline, shapes_speed, shapes_text
from replications.sparse_distillation.shapes_roofline import Ceiling, bytes_per_example, dense_weights
from replications.sparse_distillation.shapes_speed import (
    ENOUGH_ROUNDS,
    IMDB,
    SHORTER,
    Arm,
    Workload,
    random_bags,
    random_tokens,
    timed_passes,
)
from replications.sparse_distillation.shapes_systems import PAPER, STUDENT, TEACHER, Drawn, Systems

SMALL = Systems(
    encoders={TEACHER: "tiny-roberta", "DistilBERT": "tiny"},
    recurrent={"LSTM (2l-64d)": 3},
    convolutional={"CNN (1l-256d)": 5},
    ngrams=2_000,
    dimension=16,
)
WORKLOAD = Workload(("imdb",), tokens=9, ngrams=12, with_students=True)


@pytest.fixture
def run(tmp_path: Path) -> Any:
    seen: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        seen.append((done, total))

    kept: list[Evidence] = []
    return SimpleNamespace(
        progress=progress, seen=seen, scratch=tmp_path / "s", seeds=(0,), keep=kept.append, kept=kept
    )


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    return Drawn(SMALL)


@pytest.fixture(autouse=True)
def few_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes_speed, "STUDENT_PASS", 2)
    monkeypatch.setattr(shapes_text, "CORPUS", 30)


# -- Sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("systems", [PAPER, SMALL], ids=["paper", "small"])
def test_counts_are_those_of_the_modules(systems: Systems) -> None:
    for name in systems.names:
        module = systems.build(name, device="meta")
        # BERT's module, which stands in for DistilBERT's, needs a table with one segment.
        extra = find_shape(systems.encoders[name]).hidden * segments(module) if name == "DistilBERT" else 0
        assert systems.count(name).total == sum(p.numel() for p in module.parameters()) - extra, name
        assert systems.count(name).sparse == largest_table(module), name


def segments(module: nn.Module) -> int:
    return module.get_parameter("encoder.model.embeddings.token_type_embeddings.weight").shape[0]


def largest_table(module: nn.Module) -> int:
    tables = [m.weight for m in module.modules() if isinstance(m, nn.Embedding)]
    tables += [p for name, p in module.named_parameters() if name == "table"]
    return max(table.numel() for table in tables)


def test_sizes_beside_table_4() -> None:
    rows = {(m.system, m.metric): round(m.value / 1e6) for m in shapes.sizes()}
    assert [rows[TEACHER, f"parameters_{part}"] for part in ("total", "sparse", "dense")] == [355, 51, 304]
    assert [rows[STUDENT, f"parameters_{part}"] for part in ("total", "sparse", "dense")] == [1001, 1000, 1]
    # Table 4 has 66 and 43: without the layer before the classifier, 0.6M, that this one counts.
    assert rows["DistilBERT", "parameters_sparse"] == 23
    assert PAPER.count("DistilBERT").total - 768 * 769 - 2 * 769 == 66_362_880
    assert rows["CNN (1l-256d)", "parameters_dense"] == 2
    assert {m.system for m in shapes.sizes()} == set(PAPER.names)


# -- Inputs -----------------------------------------------------------------------------------------------------------


def test_random_inputs_have_the_asked_sizes_and_differ() -> None:
    batch = random_tokens(4, 7, 100, seed=0)
    assert batch.input_ids.shape == (4, 7)
    assert bool(batch.attention_mask.all())
    assert not batch.input_ids.equal(random_tokens(4, 7, 100, seed=1).input_ids)
    bags = random_bags(4, 7, 100, seed=0)
    assert bags.second is None
    assert bags.first.lengths.tolist() == [7] * 4
    assert bool((bags.first.ids.view(4, 7).diff(dim=1) >= 0).all())
    pair = random_bags(4, 7, 100, seed=0, texts=2)
    assert pair.second is not None
    assert not pair.first.ids.equal(pair.second.ids)


def test_pair_student_shares_the_table_and_computes_a_pair(drawn: Drawn) -> None:
    pair = drawn.pair_student()
    assert pair.table.data_ptr() == drawn.student().table.data_ptr()
    with torch.inference_mode():
        logits = pair(random_bags(4, 7, SMALL.ngrams, seed=0, texts=2))
    assert logits.shape == (4, 2)
    assert bool(logits.isfinite().all())
    dense = sum(p.numel() for name, p in pair.named_parameters() if name != "table")
    assert dense == dense_weights(SMALL, replace(WORKLOAD, texts=2))
    assert SMALL.count(STUDENT).dense == dense_weights(SMALL, WORKLOAD)


# -- The clock --------------------------------------------------------------------------------------------------------


def test_a_pass_takes_its_inputs_in_turn_and_is_divided_by_them() -> None:
    calls: dict[str, list[int]] = {"a": [], "b": []}
    arms = {
        "a": Arm(calls["a"].append, [0, 1, 2, 3, 4, 5, 6, 7], 2, -1),
        "b": Arm(calls["b"].append, [0], 1, -1),
    }
    timings = timed_passes(arms, "a", rounds=2)
    assert calls == {"a": [-1, 0, 1, 2, 3, 4, 5, 6, 7], "b": [-1, 0, 0]}
    assert timings.arms == ("a", "b", CONTROL)
    assert timings.seconds.shape == (3, 2)


def test_a_pass_of_more_inputs_is_not_a_slower_system() -> None:
    rate = np.random.default_rng(0)

    def work(_: int) -> None:
        rate.standard_normal(200_000)

    timings = timed_passes({"one": Arm(work, [0], 1, 0), "five": Arm(work, [0], 5, 0)}, "one", rounds=6)
    assert 0.4 < timings.ratio("five").value < 2.5


def known_timings(names: tuple[str, ...], seconds: list[list[float]]) -> PairedThroughput:
    return PairedThroughput(STUDENT, (*names, CONTROL), np.array([*seconds, seconds[names.index(STUDENT)]]), 32)


def test_rows_are_rates_and_ratios_to_the_teacher() -> None:
    names = WORKLOAD.systems(SMALL)
    seconds = [[10.0 * 2**-i, 12.0 * 2**-i] for i in range(len(names))]
    timings = known_timings(names, seconds)
    rows = {(m.experiment, m.system, m.metric): m for m in shapes_speed.workload_rows(WORKLOAD, timings, SMALL)}
    assert rows["table3", "DistilBERT", "speedup"].value == pytest.approx(2)
    assert rows["table4", "CNN (1l-256d)", "speedup"].value == pytest.approx(8)
    assert rows["table12", STUDENT, "speedup"].value == pytest.approx(16)
    assert rows["table4", STUDENT, "samples_per_second"].value == pytest.approx(np.median([32 * 1.6, 32 * 16 / 12]))
    assert ("table3", "CNN (1l-256d)", "speedup") not in rows
    assert rows["control", CONTROL, "time_ratio"].value == 1, "under the name by which verdicts find it"
    assert {m.task for m in rows.values()} == {"imdb"}
    assert {m.setting for m in rows.values() if m.experiment == "table12"} == {"CPU fp32"}


def test_imdb_measures_every_system_with_and_without_reading(run: Any, drawn: Drawn) -> None:
    rows = shapes.imdb(run, drawn, WORKLOAD)
    assert no_cell_twice(rows)
    end_to_end = {(m.system, m.metric): m.value for m in rows if m.experiment == "end-to-end"}
    model_alone = {(m.system, m.metric): m.value for m in rows if m.experiment == "table4"}
    for name in SMALL.names:
        assert 0 < end_to_end[name, "samples_per_second"] < model_alone[name, "samples_per_second"]
        assert 0 < end_to_end[name, "reading_share"] < 1
    assert end_to_end[TEACHER, "speedup"] == model_alone[TEACHER, "speedup"] == 1
    (kept,) = run.kept
    ratios = kept.seconds(STUDENT) / kept.seconds(TEACHER)
    assert (kept.task, len(ratios)) == ("imdb", WORKLOAD.rounds)
    assert 1 / np.median(ratios) == pytest.approx(model_alone[STUDENT, "speedup"])
    assert run.seen == [(1, 2), (2, 2)]


def test_reading_is_added_to_the_model_of_the_same_system() -> None:
    names = (*SMALL.names, shapes_text.NGRAMS, shapes_text.BPE, shapes_text.WORDPIECE)
    seconds = [[8.0, 8.0], [4.0, 4.0], [2.0, 2.0], [2.0, 2.0], [1.0, 1.0], [3.0, 3.0], [0.5, 0.5], [0.25, 0.25]]
    reading = shapes_text.Reading(dict.fromkeys(names[-3:], len), ngrams=7)
    rows = shapes_text.end_to_end_rows(known_timings(names, seconds), SMALL, reading)
    found = {(m.system, m.metric): m.value for m in rows}
    assert found[STUDENT, "speedup"] == pytest.approx(8.5 / 4)
    assert found["DistilBERT", "speedup"] == pytest.approx(8.5 / 4.25)
    assert found["LSTM (2l-64d)", "speedup"] == pytest.approx(8.5 / 2.5)
    assert found[STUDENT, "reading_share"] == pytest.approx(3 / 4)
    assert found[TEACHER, "samples_per_second"] == pytest.approx(32 / 8.5)
    assert found[shapes_text.WORDPIECE, "samples_per_second"] == pytest.approx(32 / 0.25)


def test_other_lengths_are_reported_for_each_of_their_tasks(run: Any, drawn: Drawn) -> None:
    workloads = (
        Workload(("sst-2", "trec"), tokens=4, ngrams=5, with_students=True),
        Workload(("qqp",), tokens=6, ngrams=5, texts=2),
    )
    rows = shapes.other_lengths(run, drawn, workloads)
    assert no_cell_twice(rows)
    assert {m.task for m in rows if m.experiment == "table3"} == {"sst-2", "trec", "qqp"}
    assert {m.task for m in rows if m.experiment == "table12"} == {"sst-2"}
    speed = {(m.task, m.system, m.metric): m.value for m in rows if m.experiment == "table3"}
    assert speed["sst-2", STUDENT, "speedup"] == speed["trec", STUDENT, "speedup"]
    assert run.seen[-1] == (4, 4)
    assert [e.task for e in run.kept] == ["sst-2", "trec", "qqp"]


def test_a_run_of_more_seeds_has_more_rounds(run: Any) -> None:
    assert IMDB.for_seeds((0,)).rounds == IMDB.rounds
    assert IMDB.for_seeds((0, 1, 2)).rounds >= ENOUGH_ROUNDS, "three seeds, as a record has, give intervals"
    one, three = (shapes.shape_steps(SimpleNamespace(**{**vars(run), "seeds": s})) for s in ((0,), (0, 1, 2)))
    timed = [(a.seconds, b.seconds) for a, b in zip(one, three, strict=True) if "length" in a.name]
    assert [b / a for a, b in timed] == [pytest.approx(3, rel=0.4)] * 2
    assert [step.measure.args[-1] for step in three if "IMDB" in step.name] == [IMDB.for_seeds((0, 1, 2))]


def no_cell_twice(rows: list[Measurement]) -> bool:
    keys = [(m.experiment, m.system, m.setting, m.task, m.metric) for m in rows]
    return len(set(keys)) == len(keys)


def test_the_paper_s_workloads_are_its_tables() -> None:
    found = {task: (w.tokens, w.ngrams) for w in (IMDB, *SHORTER) for task in w.tasks}
    assert found["imdb"] == (300, 496)
    assert found["sst-2"] == (11, 16)
    assert found["wikitoxic"] == (92, 144)
    assert found["qqp"] == (2 * 13, 17)
    assert len(found) == 7


# -- The ceiling ------------------------------------------------------------------------------------------------------


def test_bytes_of_an_example() -> None:
    # 496 rows of 1000 floats; two dense layers, read once for 32 examples.
    assert bytes_per_example(PAPER, IMDB) == 496 * 4000 + 4 * (1001 * 1000 + 1001 * 2) / 32
    pair = bytes_per_example(PAPER, SHORTER[-1])
    assert pair == 34 * 4000 + 4 * (4001 * 1000 + 1001 * 2) / 32


def test_ceiling_is_bytes_over_bandwidth() -> None:
    ceiling = Ceiling(np.full(6, 1e10), np.full(6, 0.02), bytes_per_batch=1e8)
    assert ceiling.samples_per_second().value == pytest.approx(32 * 100)
    assert ceiling.share().value == pytest.approx(0.5)
    assert ceiling.bandwidth_interval().value == 1e10


def test_bandwidth_rows_hold_together(run: Any, drawn: Drawn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes_roofline, "ROUNDS", 2)
    rows = shapes.bandwidth(run, drawn, [WORKLOAD, Workload(("a", "b"), tokens=3, ngrams=4)])
    assert no_cell_twice(rows)
    assert {m.task for m in rows} == {"imdb", "a", "b"}
    found = {m.metric: m for m in rows if m.task == "imdb"}
    assert set(found) == {"bytes_per_example", "bandwidth", "ceiling_samples_per_second", "share_of_ceiling"}
    assert not found["bytes_per_example"].timed
    expected = found["bandwidth"].value / found["bytes_per_example"].value
    assert found["ceiling_samples_per_second"].value == pytest.approx(expected)
    assert found["share_of_ceiling"].value > 0


# -- Text -------------------------------------------------------------------------------------------------------------


def test_reviews_are_english_words_in_sentences() -> None:
    texts = shapes_text.reviews(3, seed=0)
    known = set(shapes_text.lexicon_words())
    assert len(known) > 300
    for text in texts:
        words = text.split()
        assert len(words) == shapes_text.WORDS
        assert {word.rstrip(".") for word in words} <= known
        assert text.count(".") == shapes_text.WORDS // shapes_text.SENTENCE
    assert texts == shapes_text.reviews(3, seed=0)
    assert texts != shapes_text.reviews(3, seed=1)


def test_readers_give_what_the_models_take(run: Any) -> None:
    reading = shapes_text.prepare_reading(run, ngrams=500)
    assert reading.ngrams == 500
    texts = shapes_text.reviews(4, seed=2)
    bag: Any = reading.readers[shapes_text.NGRAMS](texts)
    assert len(bag) == 4
    assert bag.lengths.min() > 0
    assert bag.ids.max() < 500
    for name in (shapes_text.BPE, shapes_text.WORDPIECE):
        tokens: Any = reading.readers[name]([*texts, "short one."])
        ids, mask = tokens
        assert ids.shape == mask.shape
        assert mask[:4].sum() >= 4 * shapes_text.WORDS
        assert mask[4].sum() < 12


# -- Memory and disk --------------------------------------------------------------------------------------------------


def test_footprint_is_the_weights(run: Any) -> None:
    large = replace(SMALL, ngrams=110_000, dimension=1_000)
    drawn = Drawn(large)
    found = {m.metric: m for m in shapes_memory.footprint_rows(run, drawn, (STUDENT,))}
    weights = 4 * large.count(STUDENT).total
    assert found["parameters_total"].value == large.count(STUDENT).total
    assert weights < found["disk"].value < weights + 1_000
    assert found["memory"].timed
    assert not list(run.scratch.iterdir()), "the file is deleted"
    assert STUDENT in drawn.missing, "nothing is kept in memory"
    # Against a small table: what loading costs whatever is loaded cancels.
    small = replace(large, ngrams=10_000)
    with shapes_memory.saved(Drawn(small), STUDENT, run.scratch) as path:
        bare = shapes_memory.loaded_memory(small, STUDENT, path).increase
    table = 4 * 100_000 * 1_000
    assert 0.95 * table <= found["memory"].value - bare <= 1.1 * table


@pytest.mark.parametrize("name", SMALL.names)
def test_what_is_loaded_is_what_was_drawn(run: Any, name: str) -> None:
    drawn = Drawn(SMALL)
    with shapes_memory.saved(drawn, name, run.scratch) as path:
        loaded = shapes_memory.load_and_read(SMALL, name, path)
    expected = drawn.model(name).state_dict()
    assert loaded.state_dict().keys() == expected.keys()
    assert all(weight.equal(expected[key]) for key, weight in loaded.state_dict().items())


def test_a_full_disk_is_told_before_anything_is_written(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = SimpleNamespace(total=10**12, used=0, free=10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with (
        pytest.raises(UserError, match=r"DAN take 4\.0 GB .* has 1\.0 GB free"),
        shapes_memory.saved(Drawn(PAPER), STUDENT, run.scratch),
    ):
        pass
    assert not list(run.scratch.iterdir())


def test_too_little_memory_is_told_before_anything_is_drawn(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=10**9))
    big = Drawn(PAPER)
    steps: list[Callable[[], object]] = [
        lambda: shapes.imdb(run, big),
        lambda: shapes.other_lengths(run, big),
        lambda: shapes.bandwidth(run, big),
        lambda: shapes_memory.footprint_rows(run, big, (STUDENT,)),
    ]
    for step in steps:
        with pytest.raises(UserError, match="GB of memory, but 1.0 GB are free"):
            step()
    assert big.missing == PAPER.names


def test_steps_cover_the_tables_within_five_minutes(run: Any) -> None:
    steps = shapes.shape_steps(run)
    assert len({step.name for step in steps}) == len(steps) == 5
    assert sum(step.seconds for step in steps) < 300
    assert not run.scratch.exists()
