"""The shapes run: sizes against transformers' own modules, the clocked parts on a small cascade."""

from dataclasses import replace

import pytest
import torch
from kit.papers import classifier_size
from kit.toy_run import shapes_run

from common.costs.flops import EncoderShape
from common.early_exit.imposed import plain_classifier, random_batch
from common.encoders.shapes import find_shape, random_encoder
from common.models.classifier import EncoderClassifier, PooledClassifier
from replications.cascadebert import shapes
from replications.cascadebert.method import Cascade

RUN = shapes_run()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything of the tiny shape with 1 and 4 layers, whichever backbone is asked for."""
    encoder = random_encoder(replace(find_shape("tiny"), layers=1), seed=1)
    first = EncoderClassifier(encoder, PooledClassifier(encoder.hidden_size, shapes.CLASSES)).eval()
    big = plain_classifier("tiny", shapes.CLASSES)
    both = [EncoderShape.from_config(m.encoder.config) for m in (first, big)]
    bench = shapes.Bench(Cascade([first, big]).eval(), *both)
    monkeypatch.setattr(shapes.Bench, "of", staticmethod(lambda name: bench))


def test_sizes_are_those_of_the_modules() -> None:
    rows = {(m.backbone, m.metric): m.value for m in shapes.sizes()}
    for name in shapes.BACKBONES:
        encoder = random_encoder(replace(find_shape(name), layers=2), device="meta")
        assert rows[name, "small_parameters"] == classifier_size(encoder, 3)
        assert rows[name, "small_bytes"] == 4 * rows[name, "small_parameters"]


def test_two_layers_cost_a_sixth_but_more_parameters_than_that() -> None:
    """The embedding tables come twice; a 2-layer ALBERT is as large as the whole one."""
    rows = {(m.backbone, m.metric): m.value for m in shapes.sizes()}
    assert rows["bert-base", "small_flops_share"] == pytest.approx(1 / 6, abs=0.002)
    assert rows["bert-base", "small_parameter_share"] > 0.35
    assert rows["albert-base", "small_parameter_share"] == 1.0


@pytest.mark.parametrize(("setting", "speedup"), [("2x", 2.0), ("3x", 3.0), ("4x", 4.0)])
def test_the_imposed_shares_are_the_closed_forms(setting: str, speedup: float) -> None:
    plan = shapes.settled_by(shapes.SINGLES, round(shapes.PASSED_ON[setting] * shapes.SINGLES))
    assert 12 / (2 + 12 * (plan == 2).double().mean().item()) == pytest.approx(speedup)


def test_a_pool_is_whole_batches_of_which_a_sixth_is_passed_on() -> None:
    pool = random_batch(shapes.POOL, 100, seed=0)
    cut = shapes.parts(pool)
    assert [len(part.input_ids) for part in cut] == [shapes.BATCH] * 2
    assert torch.equal(torch.cat([part.input_ids for part in cut]), pool.input_ids)
    assert torch.equal(torch.cat([part.rows for part in cut]), pool.rows)
    counts = [shapes.passed_on_of(pool) for pool in range(6)]
    assert set(counts) == {10, 11}
    assert sum(counts[:3]) * 6 == sum(counts[3:]) * 6 == 3 * shapes.POOL
    assert (shapes.settled_by(shapes.POOL, 11, seed=1) == 2).sum() == 11
    assert not torch.equal(shapes.settled_by(64, 11, seed=1), shapes.settled_by(64, 11, seed=2))


def test_a_speedup_comes_out_in_three_currencies_and_costs_are_split(small: None) -> None:
    rows = shapes.singles("bert-base")
    for setting, share in shapes.PASSED_ON.items():
        mine = {m.metric: m for m in rows if m.setting == setting}
        assert set(mine) == {"layer_speedup", "flops_speedup", "time_speedup"}
        assert mine["layer_speedup"].value == pytest.approx(4 / (1 + 4 * share))
        assert mine["flops_speedup"].value == pytest.approx(mine["layer_speedup"].value, rel=0.05)
        assert [m.timed for m in mine.values()] == [False, False, True]
    shares = {m.metric: m.value for m in rows if m.experiment == "costs"}
    assert sum(shares.values()) == pytest.approx(1)
    assert set(shares) == {"small_share", "big_share", "selection_share"}


def test_batches_are_compared_with_the_closed_form_and_with_running_both(small: None) -> None:
    rows = {(m.system, m.metric): m for m in shapes.batches(RUN)}
    for system in (shapes.POOLED, shapes.UNPOOLED):
        speedup, share = rows[system, "throughput_ratio"], rows[system, "share_of_closed_form"]
        assert share.value == pytest.approx(speedup.value / (4 / (1 + 4 / 6)))
        assert share.ci_low is not None and share.ci_low <= share.value
    both = rows["both for everyone", "throughput_ratio"].value
    over_both = rows[shapes.POOLED, "speedup_over_both"].value
    assert over_both == pytest.approx(rows[shapes.POOLED, "throughput_ratio"].value / both, rel=1e-6)


def test_what_two_batches_pass_on_reaches_the_big_model_in_one(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    cascade = shapes.Bench.of("bert-base").cascade
    sizes: list[int] = []
    big = cascade.models[1]
    assert isinstance(big, EncoderClassifier)
    encode = big.encoder.encode
    monkeypatch.setattr(big.encoder, "encode", lambda ids, *rest: sizes.append(len(ids)) or encode(ids, *rest))
    shapes.batches(RUN, pools=2)
    part_of_a_batch = sorted(size for size in sizes if size < shapes.BATCH)
    assert part_of_a_batch[-2:] == [10, 11], "the pooled cascade"
    assert sum(part_of_a_batch[:-2]) == 21, "the cascade batch by batch"
    assert len(part_of_a_batch) == 6


def test_the_steps_measure_every_backbone(small: None) -> None:
    rows = [m for step in shapes.shape_steps(RUN) for m in step.measure()]
    assert {m.backbone for m in rows if m.timed and m.backbone} == set(shapes.BACKBONES)
    assert {m.backbone for m in rows if not m.timed} >= set(shapes.BACKBONES)
