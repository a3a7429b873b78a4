"""Both readings of Bort's size against modules and the card's counts; the clocked part on small encoders."""

import pytest
import torch
from kit.toy_evidence import decided, record_of, values
from kit.toy_run import picked, shapes_run

from common.costs.parameters import encoder_parameters
from common.encoders.shapes import Shape, find_shape, random_encoder
from common.records.claims import Check
from common.records.measurements import Measurement
from common.records.predictions import Evidence
from common.training.pretraining.language_model import LanguageHead
from replications.bort import shapes
from replications.bort.claims import DECIDERS
from replications.bort.method import AS_COUNTED, BORT, Architecture
from replications.bort.names import AS_COUNTED as COUNTED
from replications.bort.names import RELEASED
from replications.bort.shapes import Workload, masked_head_parameters, sizes, without_types


def counted(metric: str, setting: str = "") -> float:
    (row,) = picked(sizes(), experiment="readme-architecture", metric=metric, setting=setting)
    return row.value


# -- The contradiction -------------------------------------------------------------------------------------------------


def test_the_printed_56m_are_those_of_768_1024_and_the_released_weights_have_75m() -> None:
    """The card's derived counts, in millions: embeddings of words, layers, in all, with heads."""
    for setting, printed in ((RELEASED, (23.11, 75.11, 77.26)), (COUNTED, (15.76, 54.76, 55.99))):
        found = [counted(m, setting) for m in ("encoder_parameters", "total_parameters", "parameters_with_heads")]
        assert tuple(round(value / 1e6, 2) for value in found) == printed
    assert round(counted("embedding_parameters", COUNTED) / 1e6) == 39
    assert round(100 * counted("share_beyond_embedding", COUNTED), 1) == 30.3
    assert round(counted("embedding_parameters", RELEASED) / 1e6) == 52


def test_bert_large_is_as_printed() -> None:
    assert round(counted("embedding_parameters") / 1e6, 1) == 31.8
    assert counted("share_beyond_embedding") == pytest.approx(0.906, abs=0.001)
    assert counted("effective_size") == counted("net_size") == 1.0


@pytest.mark.parametrize("architecture", [BORT, AS_COUNTED], ids=lambda a: a.name)
def test_closed_forms_are_those_of_the_modules(architecture: Architecture) -> None:
    shape = without_types(architecture)
    encoder = random_encoder(architecture.shape(), device="meta")
    one_token_type = architecture.hidden
    assert encoder_parameters(shape) == sum(p.numel() for p in encoder.parameters()) - one_token_type
    with torch.device("meta"):
        head = LanguageHead(shape.hidden, shape.hidden, shape.vocabulary)
    assert masked_head_parameters(shape) == sum(p.numel() for p in head.parameters())


def test_claims_on_size_hold_for_the_counted_shape_and_not_for_the_released() -> None:
    record = record_of(measurements=sizes())
    for claim, share in (("bort-effective-5-5", 0.0521), ("bort-net-16", 0.1634)):
        check = DECIDERS[claim](record)
        assert isinstance(check, Check) and check.holds and check.value == pytest.approx(share, abs=1e-4)
    for claim, share in (("bort-effective-5-5-released", 0.0764), ("bort-net-16-released", 0.2241)):
        (cell,) = decided(DECIDERS[claim](record)).cells
        assert cell.effect.value == pytest.approx(share, abs=1e-4) and cell.effect.error == 0


def test_multiply_adds_are_the_cards() -> None:
    rows = list(shapes.multiply_add_ratios())
    found = {
        m.setting: round(m.value, 2)
        for m in picked(rows, system="Bort 1024/768 over BERT-large", backbone="bert-large")
    }
    assert found == {"32 tokens": 13.01, "128 tokens": 12.78, "512 tokens": 12.0}
    (base,) = picked(rows, system="Bort 768/1024 over BERT-base", setting="128 tokens")
    assert round(base.value, 2) == 5.29


# -- The clock ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> tuple[list[Measurement], list[Evidence]]:
    """Every step, on small encoders and one short workload."""
    tiny = find_shape("tiny")
    small: dict[str, Shape | str] = {name: tiny for name in (*shapes.RIVALS, *shapes.ARMS.values())}
    monkeypatch.setattr(shapes, "systems", lambda: small)
    monkeypatch.setattr(shapes, "WORKLOADS", (Workload(8, 1, 3), Workload(8, 2, 2)))
    kept: list[Evidence] = []
    return [m for step in shapes.shape_steps(shapes_run(kept.append)) for m in step.measure()], kept


def test_every_rival_is_timed_against_both_readings_and_the_claims_read_it(
    measured: tuple[list[Measurement], list[Evidence]],
) -> None:
    rows, kept = measured
    timed = [m for m in rows if m.timed]
    assert {m.backbone for m in timed} == set(shapes.BACKBONES)
    assert {m.setting for m in timed} == {"8 tokens, batch 1", "8 tokens, batch 2"}
    assert picked(timed, system="A/A control", unit="ratio")
    for claim, rival in (("bort-cpu-7-9x", "BERT-large"), ("bort-cpu-20x-roberta-large", "RoBERTa-large")):
        decision = decided(DECIDERS[claim](record_of(*kept, measurements=rows)))
        assert decision.timed and len(decision.cells) == 4
        for name, value in values(decision.cells).items():
            arm, _, load = name.partition(", ")
            (row,) = picked(timed, system=f"{arm} over {rival}", setting=load)
            assert value == pytest.approx(row.value, rel=1e-5)


def test_the_search_is_repeated_exactly(measured: tuple[list[Measurement], list[Evidence]]) -> None:
    rows, _ = measured
    assert {m.system for m in picked(rows, experiment="search-exact", metric="rank", value=1.0)} == {"2-4-512-256"}


def test_texts_are_random_alike_for_all_and_as_asked_for() -> None:
    load = Workload(7, 3, 2)
    batches = shapes.random_texts(50, load)
    assert [b.input_ids.shape for b in batches] == [(3, 7), (3, 7)]
    assert not torch.equal(batches[0].input_ids, batches[1].input_ids)
    assert torch.equal(shapes.random_texts(50, load)[1].input_ids, batches[1].input_ids)
