"""One recipe for everyone, and every scale has one."""

import pytest
from kit.papers import PAPERS, settings_of
from kit.toy_run import small_run, toy_task

from common.baselines import RECIPES, SMOKE_PLAN, Recipe
from common.methods import find_methods
from common.scales import SCALES
from common.tagging_run import TAGGING_RECIPES
from common.task_run import TaskRun

TOY = toy_task("toy", ("no", "yes"), lambda i: i % 2)


def test_every_scale_has_a_recipe() -> None:
    assert RECIPES.keys() == SCALES.keys()


def test_the_ladder_stands_below_the_whole() -> None:
    recipe = Recipe("x", SMOKE_PLAN, SMOKE_PLAN)
    assert recipe.depths(12) == (2, 4, 6, 8)
    assert recipe.depths(6) == (1, 2, 3, 4)
    assert recipe.depths(2) == (1,)
    assert recipe.depths(1) == ()


def test_a_tasks_epochs_scale_the_shallow_plan_alike() -> None:
    recipe = RECIPES["mini"]
    assert recipe.plan("cola", 3).epochs == 2 * recipe.plan("sst-2", 3).epochs
    assert recipe.shallow_plan("cola", 3).epochs == 2 * recipe.shallow_plan("sst-2", 3).epochs
    assert recipe.plan("cola", 3).seed == recipe.shallow_plan("cola", 3).seed == 3


def test_two_methods_ask_for_the_same_baseline(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Equal terms: what every method is compared with, and what some are built on, is one artifact."""
    run = small_run(tmp_path_factory.mktemp("run"), TOY)
    folders = set()
    for method in find_methods().methods.values():
        contender = method.on(TaskRun.of(run, "toy", 0))
        folders.add((contender.task_run.classifier_folder(), contender.task_run.classifier_folder(2)))
    assert len(folders) == 1


@pytest.mark.parametrize("scale", ["smoke", "mini", "base"])
def test_no_paper_has_a_baseline_of_its_own(scale: str) -> None:
    """At the paper's scale a paper trains as its authors did; elsewhere everyone's baseline is the common one.

    There is one for texts and one for tagged words.
    """
    common = (RECIPES[scale], TAGGING_RECIPES[scale])
    for paper in PAPERS:
        settings = settings_of(paper)[scale]
        own = [value for value in vars(settings).values() if isinstance(value, Recipe)]
        assert all(any(recipe is one for one in common) for recipe in own), paper.slug
