"""Premises: what a claim presupposes against what a run had."""

from __future__ import annotations

import pytest

from common.records.facts import Backbone, Premise, RunFacts, TaskUse, run_facts

FACTS = RunFacts(
    backbones=(Backbone(name="small", layers=6, width=384, pretrained=True),),
    tasks={
        "sst-2": TaskUse(train=2500, train_whole=67349, dev=872),
        "rte": TaskUse(train=2490, train_whole=2490, dev=277),
    },
)


def unmet(premise: Premise, *, tasks: tuple[str, ...] = ("sst-2", "rte"), seeds: int = 3) -> list[str]:
    return premise.unmet(FACTS, tasks, seeds, {"bert-base"})


def test_nothing_presupposed_is_met() -> None:
    assert unmet(Premise()) == []


@pytest.mark.parametrize(
    ("premise", "missing"),
    [
        (Premise(layers=12), "the paper's encoder has 12 layers, this one 6"),
        (Premise(width=768), "the paper's encoder is 768 wide, this one 384"),
        (Premise(train_share=1.0), "not all of the training data was used (sst-2 4%)"),
        (Premise(seeds=5), "3 seeds, wanted 5"),
        (Premise(tasks=("rte", "mnli")), "without the paper's mnli"),
        (Premise(some_tasks=6), "2 tasks, wanted 6"),
        (Premise(architectures=("bert-base", "roberta-large")), "roberta-large not measured"),
        (Premise(accelerator=True), "the paper measured on a GPU"),
        (Premise(other="text from C4"), "text from C4"),
    ],
)
def test_each_part_is_checked(premise: Premise, missing: str) -> None:
    assert unmet(premise) == [missing]


@pytest.mark.parametrize(
    "premise",
    [
        Premise(layers=6, width=384, pretrained=True),
        Premise(seeds=3, tasks=("rte",), some_tasks=2),
        Premise(architectures=("bert-base",)),
    ],
)
def test_what_is_there_is_met(premise: Premise) -> None:
    assert unmet(premise) == []


def test_data_that_was_not_cut_is_whole() -> None:
    assert unmet(Premise(train_share=1.0), tasks=("rte",)) == []


def test_random_weights_are_not_pretrained() -> None:
    random = RunFacts(backbones=(Backbone(name="r", layers=12, width=768, pretrained=False),))
    assert Premise(pretrained=True).unmet(random, (), 0, ()) == ["no pretrained encoder"]


def test_the_papers_own_small_encoder_may_be_asked_for() -> None:
    premise = Premise(encoders=("small",))
    assert unmet(premise) == []
    assert unmet(Premise(encoders=("other",))) == ["without the paper's other"]
    drawn = RunFacts(backbones=(Backbone(name="small", layers=2, width=768, pretrained=False),))
    assert premise.unmet(drawn, (), 0, ()) == ["without the paper's small"]


def test_facts_are_read_from_a_runs_environment() -> None:
    environment = {
        "facts": FACTS.model_dump(include={"backbones", "tasks"}),
        "timing": {"others_load_max": 0.2},
        "machine": {"accelerators": ["a GPU"]},
    }
    found = run_facts(environment)
    assert (found.backbones, found.tasks, found.others) == (FACTS.backbones, FACTS.tasks, 0.2)
    assert found.accelerators == ("a GPU",)
    assert run_facts({}) == RunFacts()
