"""What paper.yaml says against the code, and the measurements at full size."""

import pytest
import torch
from kit.papers import paper_of
from kit.toy_run import shapes_run

from common.costs.flops import EncoderShape
from common.encoders.shapes import find_shape, random_encoder
from common.models.tagger import EncoderTagger
from common.run.replication import choose
from replications.token_early_exit import shapes
from replications.token_early_exit.contender import OFFICIAL, SETTINGS
from replications.token_early_exit.method import DROPOUT, TokenExits
from replications.token_early_exit.names import SPEEDS, WINDOWS
from replications.token_early_exit.shapes import Bench, active_pieces, imposed_layers

PAPER = paper_of(choose("token-early-exit")[0])
FACTS = {fact.name: fact.value for fact in PAPER.hyperparameters}


def test_hyper_parameters_are_those_of_paper_yaml() -> None:
    assert FACTS["classifier dropout"] == DROPOUT
    assert (FACTS["sampled windows"], FACTS["sampled thresholds"]) == (OFFICIAL.windows, OFFICIAL.thresholds)
    official = FACTS["inference"]
    assert isinstance(official, dict)
    assert {f"{s}x": WINDOWS[s] for s in SPEEDS} == {k: int(str(v).split(",")[0][2:]) for k, v in official.items()}
    stages = SETTINGS["paper"]
    assert stages.stage_one is not None
    assert (stages.stage_one.frozen_epochs, stages.stage_two.frozen_epochs) == (2, 2)


def test_both_stages_warm_up_for_about_the_official_steps() -> None:
    """A share of the steps stands for 3000 of them; of CoNLL-2003's 14,041 sentences it is near that."""
    steps = int(str(FACTS["warm-up"]).split()[0])
    stages = SETTINGS["paper"]
    assert stages.stage_one is not None
    for plan in (stages.stage_one.plan, stages.stage_two.plan):
        rising = plan.warmup * plan.epochs * 14_041 / plan.batch_size
        assert 0.75 < rising / steps < 4 / 3


def test_the_published_table_is_whole() -> None:
    (table,) = (t for t in PAPER.tables if t.id == "main-results")
    cells = {(c.system, c.setting, c.task, c.metric): c.value for c in table.cells}
    assert len({task for _, _, task, _ in cells}) == 10
    deltas = {
        s: [v for (name, at, _, m), v in cells.items() if (name, at, m) == ("TOKEE", s, "score_delta")]
        for s in ("2x", "3x", "4x")
    }
    assert {s: round(sum(v) / 10, 2) for s, v in deltas.items()} == {"2x": -0.14, "3x": -0.70, "4x": -2.26}
    assert cells["SENTEE", "4x", "Ontonotes 4.0", "score_delta"] == -14.4
    assert table.provenance == "secondary"


# -- Full size --------------------------------------------------------------------------------------------------------


def test_the_plain_taggers_size_is_that_of_its_modules() -> None:
    rows = {m.metric: m.value for m in shapes.sizes()}
    with torch.device("meta"):
        plain = EncoderTagger.fresh(random_encoder("bert-base", device="meta"), shapes.TAGS, 0)
        exits = TokenExits.fresh(random_encoder("bert-base", device="meta"), shapes.TAGS, 0)
    pooler = plain.encoder.pooler_dense
    assert pooler is not None
    unused = sum(p.numel() for p in pooler.parameters())
    assert rows["tagger_parameters"] == sum(p.numel() for p in plain.parameters()) - unused
    assert rows["exit_parameters"] == sum(p.numel() for p in exits.heads[1:].parameters()) == 11 * 769 * 9
    assert rows["idle_layer_share"] == pytest.approx(2 / 12)


def test_active_pieces_fall_linearly_and_words_leave_so_that_they_do() -> None:
    active = active_pieces(12, 128, 0.1)
    assert (active[0], active[-1], len(active)) == (128, 13, 12)
    assert active == sorted(active, reverse=True)
    layers = imposed_layers(active)
    for i, pieces in enumerate(active, 1):
        assert int((layers >= i).sum()) == pieces - 2
    assert active_pieces(4, 128, 1.0) == [128] * 4


def test_the_steps_measure_what_is_imposed(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = random_encoder("tiny")
    shape = EncoderShape.from_config(find_shape("tiny").config())
    bench = Bench(EncoderTagger.fresh(encoder, 9, 0).eval(), TokenExits.fresh(encoder, 9, 0).eval(), shape)
    monkeypatch.setattr(Bench, "of", staticmethod(lambda name: bench))
    monkeypatch.setattr(shapes, "TOKENS", 16)
    monkeypatch.setattr(shapes, "SAMPLES", {1: 2, 32: 2})
    rows = [m for step in shapes.shape_steps(shapes_run()) for m in step.measure()]
    speeds = {m.setting: m.value for m in rows if m.metric == "flops_speedup"}
    assert set(speeds) == {"all stay, batch 1", "to a half, batch 1", "to a tenth, batch 1", "to a tenth, batch 32"}
    assert speeds["all stay, batch 1"] < 1 < speeds["to a half, batch 1"] < speeds["to a tenth, batch 1"]
    assert {m.setting for m in rows if m.metric == "share_of_flops_speedup"} == set(speeds)
