"""The hyper-parameters: what the paper and its script say at the paper's scale, and what holds at every scale."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from common.baselines import RECIPES
from common.paper import load_paper
from common.scales import SCALES
from replications.sparse_distillation import settings
from replications.sparse_distillation.design import VARIANTS, Design
from replications.sparse_distillation.method import AttentivePooling, MaxPooling, MeanPooling, SumPooling
from replications.sparse_distillation.settings import SETTINGS, settings_of

PAPER = load_paper(Path(settings.__file__).with_name("paper.yaml"))


def test_generated_tasks_get_a_smaller_lesson_and_the_same_student() -> None:
    builtin, files = settings_of("mini", "builtin"), settings_of("mini", "files")
    assert files == SETTINGS["mini"]
    assert builtin.corpus_words < files.corpus_words
    assert builtin.teacher == files.teacher
    assert (builtin.design, builtin.distil, builtin.grid) == (files.design, files.distil, files.grid)
    assert settings_of("smoke", "builtin") == SETTINGS["smoke"]


@pytest.mark.parametrize("scale", SCALES)
def test_what_the_paper_and_its_script_hold_fixed_is_fixed_at_every_scale(scale: str) -> None:
    s = SETTINGS[scale]
    assert (s.design.activation, s.design.pooling, s.design.hidden) == ("relu", "mean", ())
    assert s.design.initialisation == "random"
    assert (s.design.dropout, s.ngram_dropout) == (0.1, 0.1)
    for plan in (s.distil, s.from_scratch, s.finetune):
        assert plan.max_gradient_norm is None, "the official script does not clip"
        assert plan.weight_decay == 0.01
        assert plan.warmup == 0.06
    for plan in (s.distil, s.from_scratch, s.finetune, s.token_students):
        assert plan.precision == "float32", "an LSTM and sums of rows gain nothing from bfloat16"
    assert s.distil.batch_size >= s.finetune.batch_size


def test_the_paper_s_scale_is_the_paper_s() -> None:
    s = SETTINGS["paper"]
    assert s.teacher.backbone.endswith("roberta-large")
    assert s.teacher.whole.max_length == 512
    assert (s.design.vocabulary_size, s.design.dimension, s.design.deviation) == (1_000_000, 1000, 1.0)


@pytest.mark.parametrize("scale", ["smoke", "mini", "base"])
def test_the_teacher_is_the_common_baseline(scale: str) -> None:
    assert SETTINGS[scale].teacher is RECIPES[scale]


TREC = 5452
"""Training examples of the smallest task."""


@pytest.mark.parametrize(("scale", "fewest"), [("mini", 750), ("base", 1500), ("paper", 1500)])
def test_the_student_without_a_teacher_has_updates_enough_to_learn(scale: str, fewest: int) -> None:
    """A rival that is cut short flatters distillation: 30 updates on TREC leave 66 %, 1,500 over 80 %."""
    plan = SETTINGS[scale].from_scratch
    held_back = min(SCALES[scale].tune_examples, TREC // 8)
    examples = min(TREC - held_back, SCALES[scale].train_examples or TREC)
    assert plan.epochs * -(-examples // plan.batch_size) >= fewest


@pytest.mark.parametrize("scale", SCALES)
def test_a_budget_is_the_size_of_its_tables(scale: str) -> None:
    """Along a budget |V| grows and d_e shrinks, and |V| d_e stays what the label says."""
    unit = {"K": 1e3, "M": 1e6, "B": 1e9}
    for label, cells in SETTINGS[scale].grid.items():
        assert len(cells) > 1
        assert {size * dimension for size, dimension in cells} == {float(label[:-1]) * unit[label[-1]]}
        assert [size for size, _ in cells] == sorted({size for size, _ in cells})


def test_the_paper_s_grid_is_a_part_of_table_8() -> None:
    (table8,) = (table for table in PAPER.tables if table.id == "table8")
    published = {(c.system, c.at, c.value) for c in table8.cells if c.metric == "dimension"}
    for label, cells in SETTINGS["paper"].grid.items():
        for size, dimension in cells:
            assert (f"DAN ({label})", size, dimension) in published


@pytest.mark.parametrize("outputs", [2, 6])
@pytest.mark.parametrize("pair", [False, True])
def test_a_design_builds_for_the_task_s_classes_and_the_vocabulary_found(outputs: int, pair: bool) -> None:
    model = Design(1000, 8).build(37, outputs, pair=pair)
    assert tuple(model.table.shape) == (37, 8)
    assert [tuple(layer.weight.shape) for layer in model.layers] == [(8, 32 if pair else 8), (outputs, 8)]
    assert model.activation is F.relu
    assert isinstance(model.pooling, MeanPooling)
    assert model.dropout == 0.1


def test_every_choice_of_a_design_reaches_the_model() -> None:
    for name, kind in {"sum": SumPooling, "max": MaxPooling, "attentive": AttentivePooling}.items():
        assert isinstance(Design(10, 4, pooling=name).build(10, 2, pair=False).pooling, kind)
    torch.manual_seed(0)
    model = Design(10, 4, hidden=(4, 2), activation="tanh", dropout=0.3, deviation=0.01).build(500, 2, pair=False)
    assert [layer.out_features for layer in model.layers] == [4, 2, 2]
    assert model.activation is torch.tanh
    assert model.dropout == 0.3
    assert model.table.std().item() == pytest.approx(0.01, rel=0.1)


def test_a_recipe_tells_every_two_variants_apart() -> None:
    design = SETTINGS["mini"].design
    recipes = [str(change(design).recipe()) for group in VARIANTS.values() for change in group.values()]
    assert len(set(recipes)) == len(recipes) - (len(VARIANTS) - 1), "the main design is in every group, and only it"
    assert Design(**{**design.recipe(), "hidden": tuple(design.recipe()["hidden"])}) == design  # type: ignore[arg-type]
