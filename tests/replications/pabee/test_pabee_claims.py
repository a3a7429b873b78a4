"""The statistics behind PABEE's verdicts, on invented trials whose answer is known."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from common.early_exit.clock import BASELINE, Clocked
from common.early_exit.runtime import Outcome
from common.replication import Run
from common.scales import SCALES
from common.timing.paired import CONTROL, PairedTimings
from replications.pabee import claims
from replications.pabee.findings import BRANCHYNET, PRINTED_SPEEDUPS, SHALLOW_DEEP

N, LAYERS, TIMED = 400, 6, 60


@dataclass(frozen=True)
class Setting:
    """An operating point that stands for itself: the invented trial looks its numbers up by name."""

    system: str
    setting: str
    at: float = 0.0

    @property
    def rule(self) -> tuple[str, str]:
        return (self.system, self.setting)

    @property
    def arm(self) -> str:
        return f"{self.system} {self.setting}"


@dataclass
class Invented:
    """A trial whose every number is set by hand; `lost` counts wrong examples of N by (system, setting)."""

    name: str = "sst-2"
    seed: int = 0
    plain_lost: int = 40
    lost: dict[tuple[str, str], int] = field(default_factory=dict)
    test_gain: int | None = None
    wall: float = 1.4
    layers: dict[int, float] = field(default_factory=dict)
    rival_layers: float | None = None
    exit_errors: tuple[int, ...] = (200, 150, 100, 60, 40, 50)
    regression: bool = False
    unlearned: bool = False
    earliest: int = 0

    labels = np.arange(N) % 2
    constant = np.zeros(N, dtype=np.int64)
    patiences = range(1, LAYERS)

    @property
    def trial(self) -> Any:
        return SimpleNamespace(
            task_name=self.name,
            seed=self.seed,
            num_layers=LAYERS,
            half_patience=3,
            task=SimpleNamespace(
                metric="accuracy", labels=() if self.regression else ("a", "b"), is_regression=self.regression
            ),
            predict=lambda logits: logits.argmax(-1).numpy(),
        )

    def wrong_on(self, count: int) -> np.ndarray:
        return np.where(np.arange(N) < count, 1 - self.labels, self.labels)

    @property
    def full(self) -> np.ndarray:
        return self.constant if self.unlearned else self.wrong_on(self.plain_lost)

    def predictions(self, rule: tuple[str, str]) -> np.ndarray:
        return self.wrong_on(self.lost.get(rule, self.plain_lost))

    main = Setting("PABEE", "t=3", 3)

    def patience(self, patience: int) -> Setting:
        return Setting("PABEE", f"t={patience}", patience)

    def rule(self, patience: int) -> int:
        return patience

    @property
    def confidence_points(self) -> list[Setting]:
        if self.regression:
            return []
        return [Setting(s, setting) for s, speed in PRINTED_SPEEDUPS.items() for setting in (f"{speed:g}x", "equal")]

    def matched(self, system: str, point: Setting, setting: str) -> Setting:
        return Setting(system, f"as {point.setting}", point.at)

    def layer_speedup(self, point: Setting) -> float:
        mine = self.layers.get(int(point.at), LAYERS / (point.at + 1.5))
        return self.rival_layers if point.system != "PABEE" and self.rival_layers is not None else mine

    def outcome(self, patience: int) -> Outcome:
        return Outcome(torch.zeros(N, 2), torch.full((N,), patience + 1 - self.earliest))

    @property
    def clocked(self) -> Clocked:
        base = 1 + np.random.default_rng(self.seed).random(TIMED)
        seconds = np.stack([base, base / self.wall, base])[:, None, :]
        return Clocked(np.arange(TIMED), PairedTimings(BASELINE, (BASELINE, "PABEE t=3", CONTROL), seconds))

    @property
    def dev(self) -> Any:
        answers = np.stack([self.wrong_on(count) for count in self.exit_errors], axis=1)
        return SimpleNamespace(exits=torch.nn.functional.one_hot(torch.tensor(answers), 2).float(), labels=self.labels)

    @property
    def test(self) -> Any:
        if self.test_gain is None:
            return None
        truth = torch.nn.functional.one_hot(torch.tensor(self.wrong_on(40 - self.test_gain)), 2).float()
        plain = torch.nn.functional.one_hot(torch.tensor(self.wrong_on(40)), 2).float()
        return SimpleNamespace(exits=truth[:, None].expand(-1, LAYERS, -1), plain=plain, labels=self.labels)


def by_task(*trials: Invented) -> Any:
    grouped: dict[str, list[Invented]] = {}
    for trial in trials:
        grouped.setdefault(trial.name, []).append(trial)
    return grouped


def losing(count: int, *, setting: str = "t=3", system: str = "PABEE", **more: Any) -> Invented:
    return Invented(lost={(system, setting): count}, **more)


def test_the_gain_is_the_mean_over_tasks_of_the_mean_over_seeds() -> None:
    trials = [losing(36), losing(32, seed=1), losing(44, name="mrpc")]
    decision = claims.better_than_plain(by_task(*trials))
    assert decision.interval.value == pytest.approx(((1 + 2) / 2 + -1) / 2)
    assert decision.interval.low < decision.interval.value < decision.interval.high
    assert "sst-2 +1.5, mrpc -1.0" in decision.note


def test_the_test_gain_wants_every_seed_to_have_a_labelled_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "simulate", lambda exits, rule: Outcome(exits[:, 0], torch.ones(N)))
    decision = claims.better_on_test(by_task(Invented(test_gain=8), Invented("mrpc")))
    assert decision is not None
    assert decision.interval.value == pytest.approx(2.0)
    assert "mrpc" not in decision.note
    assert claims.better_on_test(by_task(Invented())) is None


def test_the_speedup_is_a_share_of_its_ceiling() -> None:
    decision = claims.speedup(by_task(Invented(wall=1.5), Invented("mrpc", wall=1.2)))
    assert decision.interval.value == pytest.approx((1.0 + 0.8) / 2)
    assert decision.timed
    assert "1.35x of at most 1.50x on the clock" in decision.note


def test_beating_the_confidence_exits_takes_the_better_rival_and_the_worst_task() -> None:
    strong = Invented(lost={("PABEE", "t=3"): 20, (BRANCHYNET, "1.88x"): 40, (SHALLOW_DEEP, "1.95x"): 28})
    weak = Invented("mrpc", lost={("PABEE", "t=3"): 20, (BRANCHYNET, "1.88x"): 24, (SHALLOW_DEEP, "1.95x"): 80})
    decision = claims.beats_confidence_exits(by_task(strong, weak))
    assert decision is not None
    assert decision.interval.value == pytest.approx(1.0)
    assert decision.note.endswith("smallest at mrpc")


def test_a_regression_has_no_confidence_exits_to_beat() -> None:
    assert claims.beats_confidence_exits(by_task(Invented("sts-b", regression=True))) is None
    assert claims.beats_at_equal_speed(by_task(Invented("sts-b", regression=True))) is None
    assert claims.overthinking(by_task(Invented("sts-b", regression=True))) is None


def test_at_equal_speed_only_points_in_the_figures_range_and_rivals_as_fast_count() -> None:
    outside = dict.fromkeys([1, 2, 4, 5], 3.0)
    lost = {("PABEE", "t=3"): 20, (BRANCHYNET, "as t=3"): 32, (SHALLOW_DEEP, "as t=3"): 26, ("PABEE", "t=1"): 200}
    decision = claims.beats_at_equal_speed(by_task(Invented(lost=lost, layers=outside)))
    assert decision is not None
    assert decision.interval.value == pytest.approx(1.5)
    assert decision.interval.n == 2
    assert claims.beats_at_equal_speed(by_task(Invented(lost=lost, layers=outside, rival_layers=2.3))) is None


def test_the_drop_is_the_largest_over_table_2s_tasks() -> None:
    decision = claims.small_drop(by_task(losing(44), losing(48, name="sts-b"), losing(200, name="mrpc")))
    assert decision is not None
    assert decision.interval.value == pytest.approx(2.0)
    assert claims.small_drop(by_task(losing(44, name="mrpc"))) is None


def test_the_window_counts_patience_values_from_a_quarter_of_the_depth() -> None:
    """Of 2, 3, 4, 5 two gain, one ties and one loses; 1 does not count."""
    lost = {("PABEE", "t=1"): 0, ("PABEE", "t=2"): 60, ("PABEE", "t=3"): 20, ("PABEE", "t=4"): 20}
    decision = claims.patience_window(by_task(Invented(lost=lost)))
    assert decision.interval.value == pytest.approx(0.5)
    assert decision.interval.n == 4


def test_overthinking_names_the_best_layer_in_twelfths() -> None:
    decision = claims.overthinking(by_task(Invented()))
    assert decision is not None
    assert decision.interval.value == 10.0
    last = claims.overthinking(by_task(Invented(exit_errors=(200, 150, 100, 90, 80, 10))))
    assert last is not None
    assert (last.interval.value, last.interval.low) == (12.0, 12.0)


def test_the_minimum_of_layers_is_that_of_the_earliest_sample() -> None:
    assert claims.min_layers([Invented()]).interval.value == 0.0  # type: ignore[list-item]
    assert claims.min_layers([Invented(), Invented(earliest=1)]).interval.value == -1.0  # type: ignore[list-item]


def _run(scale: str) -> Run:
    return Run("x", SCALES[scale], "builtin", None, (), (0, 1), Any, Any, lambda *_: None, print)  # type: ignore[arg-type]


def test_every_claim_that_can_be_decided_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "simulate", lambda exits, rule: Outcome(exits[:, 0], torch.ones(N)))
    trials = [Invented(test_gain=4), Invented(seed=1, test_gain=4), Invented("mrpc", test_gain=0)]
    measured = {m.system: m for m in claims.claim_measurements(_run("mini"), trials)}  # type: ignore[arg-type]
    assert set(measured) == {"pabee-min-layers", *claims.LEARNED_CLAIMS}
    assert all(m.ci_low is not None and m.ci_high is not None for m in measured.values())
    assert [m.system for m in measured.values() if m.timed] == ["pabee-albert-speedup"]


def test_an_untrained_scale_decides_what_follows_from_the_rule() -> None:
    systems = {m.system for m in claims.claim_measurements(_run("smoke"), [Invented()])}  # type: ignore[list-item]
    assert systems == {"pabee-min-layers"}


def test_a_task_that_was_not_learned_decides_nothing() -> None:
    assert claims.is_learned([Invented()])  # type: ignore[list-item]
    assert not claims.is_learned([Invented(unlearned=True)])  # type: ignore[list-item]
    trials = [Invented("rte", unlearned=True)]
    systems = {m.system for m in claims.claim_measurements(_run("mini"), trials)}  # type: ignore[arg-type]
    assert systems == {"pabee-min-layers"}
