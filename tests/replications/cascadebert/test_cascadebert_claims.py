"""The statistics behind CascadeBERT's verdicts, on invented trials whose answer is known."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from common.early_exit.runtime import Outcome
from common.replication import Run
from common.scales import SCALES
from replications.cascadebert import claims
from replications.cascadebert.difficulty import inversion_score, log_odds
from replications.cascadebert.findings import CASCADE, COMPLETE, DEEBERT, PABEE, TRUNCATED

N = 400


@dataclass
class Invented:
    """A trial whose every number is set by hand; `lost` counts wrong examples of N by (system, speed-up)."""

    name: str = "sst-2"
    seed: int = 0
    full_lost: int = 40
    lost: dict[tuple[str, float], int] = field(default_factory=dict)
    slow: frozenset[tuple[str, float]] = frozenset()
    flipped: dict[str, int] = field(default_factory=dict)
    emitted_count: int = 100
    exit_wrong: int = 60
    complete_wrong: int = 20
    complete_depths: tuple[int, ...] = (1,)
    unlearned: bool = False

    labels = np.arange(N) % 2
    constant = np.zeros(N, dtype=np.int64)
    cascade, deebert, pabee = CASCADE, DEEBERT, PABEE

    @property
    def trial(self) -> Any:
        return SimpleNamespace(
            task_name=self.name,
            seed=self.seed,
            first=1,
            layers_at=lambda speedup: speedup,
            settings=SimpleNamespace(shallow=(1, 2)),
            task=SimpleNamespace(metric="accuracy"),
        )

    def wrong_on(self, count: int) -> np.ndarray:
        return np.where(np.arange(N) < count, 1 - self.labels, self.labels)

    @property
    def full(self) -> np.ndarray:
        return self.constant if self.unlearned else self.wrong_on(self.full_lost)

    def truncated(self, speedup: float) -> np.ndarray:
        return self.wrong_on(self.lost.get((TRUNCATED, speedup), 200))

    def at_speed(self, system: str, speedup: float) -> Any:
        if (system, speedup) in self.slow:
            return None
        return SimpleNamespace(predictions=self.wrong_on(self.lost.get((system, speedup), 200)))

    def shallow(self, depth: int) -> dict[str, torch.Tensor]:
        """Wrong on the first examples; the flipped ones of them are surer than everything that is right."""
        return {
            DEEBERT: self.logits(self.exit_wrong, self.flipped.get(DEEBERT, 0)),
            **(
                {COMPLETE: self.logits(self.complete_wrong, self.flipped.get(COMPLETE, 0))}
                if depth in self.complete_depths
                else {}
            ),
        }

    def logits(self, wrong: int, flipped: int) -> torch.Tensor:
        answers = torch.tensor(self.wrong_on(wrong))
        sure = torch.where(torch.arange(N) < wrong, 1.0, 2.0) + 0.001 * torch.arange(N) / N
        sure[:flipped] += 5
        return torch.nn.functional.one_hot(answers, 2) * sure[:, None]

    def knows(self, logits: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        return log_odds(logits), logits.argmax(-1).numpy() != self.labels

    @property
    def emitted(self) -> Outcome:
        return Outcome(torch.zeros(N, 2), torch.where(torch.arange(N) < self.emitted_count, 1, 2))


def by_task(*trials: Invented) -> Any:
    grouped: dict[str, list[Invented]] = {}
    for trial in trials:
        grouped.setdefault(trial.name, []).append(trial)
    return grouped


def at(speedup: float, **lost: int) -> dict[tuple[str, float], int]:
    names = {"mine": CASCADE, "truncated": TRUNCATED, "deebert": DEEBERT, "pabee": PABEE}
    return {(names[key], speedup): count for key, count in lost.items()}


def test_the_best_average_is_that_of_the_strongest_rival_over_tasks() -> None:
    """Averages first, then the strongest: 87.5 against 85 (PABEE), though BERT-kL is the best on one task."""
    first = Invented(lost=at(3.0, mine=40, truncated=44, deebert=100, pabee=60))
    second = Invented("mrpc", lost=at(3.0, mine=60, truncated=160, deebert=100, pabee=60))
    decision = claims.best_average(3.0, by_task(first, second))
    assert decision is not None
    assert decision.interval.value == pytest.approx(2.5)
    assert decision.interval.low < 2.5 < decision.interval.high
    assert "CascadeBERT 87.5, BERT-kL 74.5, DeeBERT 75.0, PABEE 85.0" in decision.note


def test_a_rival_that_is_too_slow_on_one_task_has_no_average() -> None:
    slow = frozenset({(PABEE, 4.0)})
    first = Invented(lost=at(4.0, mine=40, truncated=60, deebert=80, pabee=0), slow=slow)
    second = Invented("mrpc", lost=at(4.0, mine=40, truncated=60, deebert=80, pabee=0))
    decision = claims.best_average(4.0, by_task(first, second))
    assert decision is not None
    assert decision.interval.value == pytest.approx(5.0)
    assert decision.note.endswith("not as fast on every task: PABEE")


def test_seeds_are_averaged() -> None:
    trials = [Invented(lost=at(2.0, mine=40, truncated=60)), Invented(seed=1, lost=at(2.0, mine=20, truncated=60))]
    decision = claims.best_average(2.0, by_task(*trials))
    assert decision is not None
    assert decision.interval.value == pytest.approx(7.5)


def test_the_gain_over_deebert_is_relative() -> None:
    decision = claims.relative_to_deebert(by_task(Invented(lost=at(4.0, mine=40, deebert=80))))
    assert decision is not None
    assert decision.interval.value == pytest.approx(90 / 80 - 1)
    assert claims.relative_to_deebert(by_task(Invented(slow=frozenset({(CASCADE, 4.0)})))) is None


def test_retention_is_a_share_of_the_big_models_average() -> None:
    trials = Invented(full_lost=0, lost=at(2.0, mine=20)), Invented("mrpc", full_lost=40, lost=at(2.0, mine=40))
    decision = claims.kept(by_task(*trials))
    assert decision is not None
    assert decision.interval.value == pytest.approx((95 + 90) / (100 + 90))


def test_the_inversion_gap_is_the_smallest_over_tasks_where_both_are_known() -> None:
    near, far = Invented(flipped={DEEBERT: 30}), Invented("mrpc", flipped={DEEBERT: 60})
    decision = claims.knows_difficulty(by_task(near, far))
    assert decision is not None
    hard = np.arange(N) < 60
    expected = 100 - inversion_score(log_odds(near.shallow(1)[DEEBERT]), hard)
    assert decision.interval.value == pytest.approx(expected) == pytest.approx(50.0)
    assert decision.interval.n == 2, "depth 2 has no complete model"
    assert "sst-2 1L 100.0 vs 50.0" in decision.note


def test_a_depth_is_judged_on_the_seeds_that_have_a_complete_model_there() -> None:
    decision = claims.knows_difficulty(by_task(Invented(complete_depths=(1, 2)), Invented(seed=1)))
    assert decision is not None
    assert "sst-2 1L" in decision.note and "sst-2 2L" in decision.note


def test_a_cell_with_few_mistakes_is_no_comparison() -> None:
    assert claims.knows_difficulty(by_task(Invented(complete_wrong=19))) is None
    assert claims.knows_difficulty(by_task(Invented(complete_wrong=20))) is not None


def test_shallow_layers_are_judged_on_what_deebert_emitted_on_entailment() -> None:
    decision = claims.shallow_layers_know_little(by_task(Invented("entailment"), Invented("sst-2", exit_wrong=100)))
    assert decision is not None
    assert decision.interval.value == pytest.approx(100 * (60 - 20) / 100)
    assert "sst-2" not in decision.note
    assert claims.shallow_layers_know_little(by_task(Invented("sst-2"))) is None
    assert claims.shallow_layers_know_little(by_task(Invented("rte", emitted_count=19))) is None


def _run(scale: str) -> Run:
    return Run("x", SCALES[scale], "builtin", None, (), (0, 1), Any, Any, lambda *_: None, print)  # type: ignore[arg-type]


def test_every_claim_is_decided() -> None:
    trials = [Invented("entailment"), Invented("entailment", seed=1), Invented("mrpc")]
    measured = {m.system: m for m in claims.claim_measurements(_run("mini"), trials)}  # type: ignore[arg-type]
    assert set(measured) == set(claims.CLAIMS)
    assert all(m.ci_low is not None and m.ci_high is not None and not m.timed for m in measured.values())


def test_an_untrained_scale_and_an_unlearned_task_decide_nothing() -> None:
    assert claims.claim_measurements(_run("smoke"), [Invented()]) == []  # type: ignore[list-item]
    assert claims.is_learned([Invented()])  # type: ignore[list-item]
    assert not claims.is_learned([Invented(unlearned=True)])  # type: ignore[list-item]
    assert claims.claim_measurements(_run("mini"), [Invented("rte", unlearned=True)]) == []  # type: ignore[list-item]
