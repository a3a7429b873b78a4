"""The error surrogate on small models: steps, clipping, held-out error, and what is read off it."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from common.errors import UserError
from common.training.pretraining.batches import MaskedBatch
from common.training.pretraining.language_model import MaskedLanguageModel
from replications.bort import surrogate
from replications.bort.distillation import fresh_model
from replications.bort.method import BORT, Architecture
from replications.bort.names import STEPS, by_row_name, errors_name, tried_name
from replications.bort.search import Point, Searched
from replications.bort.settings import Sweep
from replications.bort.surrogate import ORDERED, Answered, Surrogate, cross_entropy, errors_after

VOCABULARY = 61
SMALL = Architecture(2, 2, 16, 8)


def batch(seed: int, rows: int = 4) -> MaskedBatch:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, VOCABULARY, (rows, 6), generator=generator)
    places = torch.tensor([0, 2, 7, 13, 14, 23])[: 6 if rows == 4 else 2]
    return MaskedBatch(ids, None, None, None, places, ids.flatten()[places])


@pytest.fixture(scope="module")
def teacher() -> MaskedLanguageModel:
    """Decisive enough that there is something to learn."""
    model = fresh_model(Architecture(1, 2, 32, 8), VOCABULARY, 0, seed=9, counts=torch.arange(VOCABULARY) ** 3)
    return model.eval()


@pytest.fixture(scope="module")
def train(teacher: MaskedLanguageModel) -> Answered:
    return Answered.by(teacher, iter([batch(seed) for seed in range(5)]))


@pytest.fixture(scope="module")
def held(teacher: MaskedLanguageModel) -> Answered:
    return Answered.by(teacher, iter([batch(100), batch(101)]))


def candidate(seed: int = 0) -> MaskedLanguageModel:
    return fresh_model(SMALL, VOCABULARY, 0, seed)


def test_the_error_is_the_cross_entropy_against_the_maximum_point_not_against_the_labels() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, teacher = torch.randn(3, 7, generator=generator), torch.randn(3, 7, generator=generator)
    found = cross_entropy(logits, F.log_softmax(teacher, -1))
    expected = F.cross_entropy(logits, F.softmax(teacher, -1), reduction="none")
    torch.testing.assert_close(found, expected)


def test_the_error_falls_with_steps_and_is_taken_on_rows_that_were_held_back(train: Answered, held: Answered) -> None:
    found = errors_after(candidate(), (1, 3, 5), 1.0, train, held)
    assert sorted(found) == [1, 3, 5]
    assert all(values.shape == (8,) for values in found.values())
    totals = [found[n].sum() for n in (1, 3, 5)]
    assert totals[0] > totals[1] > totals[2]
    model = candidate().eval()
    for n, answers in zip((0, 2), held.answers, strict=False):
        logits = model(held.batches[n // 2])
        assert torch.isfinite(cross_entropy(logits, answers)).all()
    assert held.masks.tolist() == [2, 1, 2, 1] * 2


def test_errors_of_n_steps_are_those_of_a_training_that_ends_there(train: Answered, held: Answered) -> None:
    def alone(n: int) -> np.ndarray:
        torch.manual_seed(0)
        return errors_after(candidate(), (n,), 0.5, train, held)[n]

    torch.manual_seed(0)
    together = errors_after(candidate(), (1, 3), 0.5, train, held)
    assert np.array_equal(together[1], alone(1))
    assert np.array_equal(together[3], alone(3))


def test_it_is_plain_sgd_with_clipped_weights(train: Answered, held: Answered, monkeypatch: pytest.MonkeyPatch) -> None:
    model, twin = candidate(), candidate()
    twin.train()
    torch.manual_seed(0)
    errors_after(model, (1,), 0.5, train, held)
    torch.manual_seed(0)
    cross_entropy(twin(train.batches[0]), train.answers[0]).mean().backward()
    for ours, plain in zip(model.parameters(), twin.parameters(), strict=True):
        grad = torch.zeros_like(plain) if plain.grad is None else plain.grad
        torch.testing.assert_close(ours, (plain - 0.5 * grad).clamp(-1, 1))
    monkeypatch.setattr(surrogate, "CLIP", 0.01)
    errors_after(model, (1,), 0.5, train, held)
    assert max(p.abs().max().item() for p in model.parameters()) <= 0.01


@pytest.mark.parametrize("steps", [(), (0,), (6,)])
def test_steps_that_there_are_no_batches_for_are_refused(
    steps: tuple[int, ...], train: Answered, held: Answered
) -> None:
    with pytest.raises(UserError, match="expected 1 to 5 steps of the error surrogate"):
        errors_after(candidate(), steps, 0.5, train, held)


def test_a_sweep_has_every_so_many_th_candidate_and_bort() -> None:
    assert Surrogate.places(Sweep(1, (1,))) == list(range(300))
    tenth = Surrogate.places(Sweep(10, (1,)))
    assert ORDERED.index(BORT) in tenth and set(range(0, 300, 10)) <= set(tenth) and len(tenth) in (30, 31)


# -- What is read off it -----------------------------------------------------------------------------------------------


@pytest.fixture
def searched() -> Searched:
    """Everyone at 8 nats but Bort, which is much better after 10 steps and not after 3."""
    place, masks = ORDERED.index(BORT), np.array([2, 3])

    def errors(bort: float, every: int) -> dict[float, dict[int, np.ndarray]]:
        places = Surrogate.places(Sweep(every, (1,)))
        one = {p: masks * (bort if p == place else 8.0) for p in places}
        return {0.1: {p: 2 * values for p, values in one.items()}, 1.0: one}

    return Searched(4, masks, {STEPS: errors(8.0, 1), 10: errors(1.0, 10)}, {STEPS: 1, 10: 10})


def test_the_winner_hangs_on_n_and_bort_is_named_with_its_rank(searched: Searched) -> None:
    assert searched.found(Point()).winner.architecture.name == "2-4-512-256"
    assert searched.found(Point(10, 10, beside=True)).winner.architecture == BORT
    assert searched.found(Point()).winner.theta == 1.0
    assert searched.error(STEPS, 1.0, ORDERED[5]) == pytest.approx(8.0)
    from common.rows import Rows

    rows = list(searched.rows(Rows("", 4, "tiny", searched.tokens)))
    ranks = {(m.setting, m.system): m.value for m in rows if m.metric == "rank"}
    assert ranks["n=10, eps=10 and Bort, T: RoBERTa-large", "Bort, 4-8-1024-768"] == 1
    assert ranks["n=3, eps=1, T: RoBERTa-large", "2-4-512-256"] == 1
    assert ranks["n=3, eps=1, T: RoBERTa-large", "Bort, 4-8-1024-768"] > 50
    assert ranks["n=3, eps=1, T: largest candidate", "2-4-512-256"] == 1
    assert {m.n for m in rows} == {5}


def test_every_candidate_has_its_point_in_the_figure(searched: Searched) -> None:
    from common.rows import Rows

    rows = list(searched.candidate_rows(Rows("", 4, "tiny", searched.tokens)))
    assert len(rows) == len({(m.setting, m.at) for m in rows}) == 300


def test_points_change_one_thing_at_a_time(searched: Searched) -> None:
    """Where another n has fewer candidates, the paper's n on the same ones is what it is to be compared with."""
    base, *others = searched.points
    assert base == Point(STEPS, 1, "T: RoBERTa-large")
    for point in others:
        assert any(changes(point, other) == 1 for other in searched.points), point.name
    assert {(p.n, p.eps, p.beside) for p in others if p.maximum == base.maximum} == {
        (10, 10, True),
        (STEPS, 10, True),
        (STEPS, 2, False),
        (STEPS, 5, False),
        (STEPS, 10, False),
    }


def changes(point: Point, other: Point) -> int:
    here, there = ((p.n, (p.eps, p.beside), p.maximum) for p in (point, other))
    return sum(a != b for a, b in zip(here, there, strict=True))


def test_a_setting_names_the_interval_of_what_was_tried(searched: Searched) -> None:
    """Of n = 10 every tenth candidate was trained: that is no search at eps = 1."""
    for point in searched.points:
        tried = {ORDERED.index(one.architecture) for one in searched.found(point).tried}
        own = {ORDERED.index(BORT)} if point.beside else set()
        assert tried == {*range(0, 300, point.eps)} | own, point.name
        assert f"eps={point.eps}" in point.name and ("and Bort" in point.name) == point.beside


def test_what_a_record_keeps_is_row_by_row_after_the_papers_n(searched: Searched) -> None:
    kept = searched.evidence()
    assert kept[by_row_name("rate 1", STEPS)].shape == (300, 2)
    assert kept[errors_name("rate 1", STEPS)] == pytest.approx(kept[by_row_name("rate 1", STEPS)].sum(axis=1) / 5)
    assert by_row_name("rate 1", 10) not in kept
    assert list(kept[tried_name(10)]) == searched.places(10)
