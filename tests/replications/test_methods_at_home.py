"""Every method at home answers as it was scored, example by example."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from kit.toy_run import small_run, toy_task

from common.compare.exits_in_int8 import ExitsInInt8
from common.compare.names import BASELINE, INT8, ONNX_INT8, TFIDF, in_int8
from common.compare.rivals import every_method
from common.early_exit.runtime import Outcome
from common.errors import UserError
from common.methods import Contender, Method, Setting
from common.serve import load, save
from common.serve.home import find_home, package_of
from common.serve.model import Model, Text
from common.task_run import TaskRun
from common.tasks.task import Example, Task
from replications.bort.settings import SETTINGS

METHODS = every_method()
OVER_INT8 = [in_int8(name) for name in METHODS if in_int8(name) in METHODS]

SCALED_BY_BATCH = (INT8, ONNX_INT8)
"""Alone a text's logits are others."""

# The first two have names of generated tasks: whoever distils on plain text then finds some.
SINGLES = toy_task("mood", ("no", "yes", "maybe"), lambda i: i % 3)
PAIRS = toy_task("reply", ("no", "yes"), lambda i: i % 3 > 0)
VALUES = toy_task("values", (), lambda i: i / 7, "spearman")


def paired(task: Task) -> Task:
    """The same task on pairs: the second text is the first one's words backwards, and more."""

    def both(examples: tuple[Example, ...]) -> tuple[Example, ...]:
        second = [" ".join(reversed(e.text_a.split())) + " film" * (i % 4) for i, e in enumerate(examples)]
        return tuple(Example(e.text_a, b, e.label, e.difficulty) for e, b in zip(examples, second, strict=True))

    splits = (both(split) for split in (task.train, task.dev, task.test, task.tune))
    train, dev, test, tune = splits
    return Task(task.name, task.labels, task.metric, task.source, train, dev, test, tune)


@pytest.fixture(scope="module")
def task_runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TaskRun]:
    run = small_run(tmp_path_factory.mktemp("run"), SINGLES, paired(PAIRS), VALUES)
    return {name: TaskRun.of(run, name, 0) for name in run.task_names}


@pytest.fixture(scope="module", autouse=True)
def hurried() -> Iterator[None]:
    """Bort, which takes longest, pre-trains on less text and is fine-tuned in fewer ways."""
    smoke = SETTINGS["smoke"]
    once = replace(smoke.fine_tuning, epochs=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SETTINGS, "smoke", replace(smoke, words=2_500, fine_tuning=once, thetas=smoke.thetas[:2]))
        yield


def telling(contender: Contender) -> list[Setting]:
    """Of many settings the one at which texts leave at most layers, and the last; of few all."""
    settings = list(contender.settings)
    if len(settings) <= 2:
        return settings
    spread = max(settings, key=lambda s: len(contender.outcome("dev", s).exit_layer.unique()))
    return [spread, settings[-1]]


def texts_of(examples: tuple[Example, ...]) -> list[Text]:
    return [e.text_a if e.text_b is None else (e.text_a, e.text_b) for e in examples]


def check(model: Model, outcome: Outcome, examples: tuple[Example, ...]) -> None:
    """All at once, and the first few alone."""
    answers = model(texts_of(examples))
    assert [a.exit_layer for a in answers] == outcome.exit_layer.tolist()
    if not model.about.labels:
        torch.testing.assert_close(torch.tensor([a.value for a in answers]), outcome.logits[:, 0], rtol=1e-4, atol=1e-5)
        return
    probability, index = outcome.logits.softmax(-1).max(-1)
    assert [a.label for a in answers] == [model.about.labels[i] for i in index.tolist()]
    torch.testing.assert_close(torch.tensor([a.probability for a in answers]), probability, rtol=1e-4, atol=1e-5)
    if model.about.method not in SCALED_BY_BATCH:
        for text, together in zip(texts_of(examples)[:5], answers, strict=False):
            (alone,) = model([text])
            assert (alone.label, alone.exit_layer) == (together.label, together.exit_layer)


def come_home(method: Method, task_run: TaskRun, folder: Path) -> None:
    contender = method.on(task_run)
    for number, setting in enumerate(telling(contender)):
        save(contender, setting, folder / str(number))
        check(load(folder / str(number)), contender.outcome("dev", setting), task_run.task.dev)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in OVER_INT8])
def test_every_method_answers_at_home_as_it_was_scored(
    name: str, task_runs: dict[str, TaskRun], tmp_path: Path
) -> None:
    come_home(METHODS[name], task_runs["mood"], tmp_path)


@pytest.mark.parametrize("name", OVER_INT8)
def test_exits_over_int8_answer_at_home_about_as_they_were_scored(
    name: str, task_runs: dict[str, TaskRun], tmp_path: Path
) -> None:
    """Who has left does not scale any more what the next layer reads; who is scored stays to the end."""
    contender, run = METHODS[name].on(task_runs["mood"]), task_runs["mood"]
    assert isinstance(contender, ExitsInInt8)
    slowest = max(contender.settings, key=lambda s: contender.flops("dev", s).sum())
    save(contender, slowest, tmp_path / "home")
    answers, scored = load(tmp_path / "home")(texts_of(run.task.dev)), contender.outcome("dev", slowest)
    alike = torch.tensor([a.exit_layer for a in answers]) == scored.exit_layer
    assert alike.float().mean() >= 0.9
    found = torch.tensor([a.probability for a in answers])
    near, whole = (logits.softmax(-1).amax(-1) for logits in (scored.logits, contender.original("dev", slowest)))
    torch.testing.assert_close(found[alike], near[alike], atol=0.02, rtol=0)
    if whole.std() > 0.01:  # Temperatures make RightTool equally unsure of every text of the toy.
        assert not torch.allclose(found[alike], whole[alike], atol=1e-6, rtol=0), "it is quantised"


@pytest.mark.parametrize("name", [BASELINE, TFIDF, "DeeBERT", "DAN", "CascadeBERT"])
def test_pairs_too(name: str, task_runs: dict[str, TaskRun], tmp_path: Path) -> None:
    come_home(METHODS[name], task_runs["reply"], tmp_path)


@pytest.mark.parametrize("name", [BASELINE, "PABEE"])
def test_and_values(name: str, task_runs: dict[str, TaskRun], tmp_path: Path) -> None:
    come_home(METHODS[name], task_runs["values"], tmp_path)


def test_every_method_that_a_paper_offers_has_a_home() -> None:
    """The message of `find_home` names whoever has none."""
    for name, method in METHODS.items():
        assert callable(find_home(method.on.__module__.rpartition(".")[0], name))


class Homeless(Contender):
    """Offers no way home."""

    name = "Homeless"


def test_a_method_without_a_way_home_is_named(
    task_runs: dict[str, TaskRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Homeless, "__abstractmethods__", frozenset())
    contender = Homeless(task_runs["mood"])  # type: ignore[abstract]
    monkeypatch.setattr(Homeless, "__module__", "common.compare.elsewhere")
    assert package_of(contender) == "common.compare"
    with pytest.raises(UserError, match="Homeless cannot be taken home: expected HOMES .* common/compare/home.py"):
        save(contender, Setting("", 0.0), tmp_path / "home")
    monkeypatch.setattr(Homeless, "__module__", "common.nowhere.contender")
    with pytest.raises(UserError, match="Homeless cannot be taken home: .* common/nowhere/home.py"):
        save(contender, Setting("", 0.0), tmp_path / "home")
    with pytest.raises(UserError, match="Homeless has no save_parts of its own"):
        contender.save_parts(Setting("", 0.0), tmp_path)
    assert list(tmp_path.iterdir()) == []
