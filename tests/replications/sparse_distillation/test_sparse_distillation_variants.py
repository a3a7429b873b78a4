"""Table 5's variants: each group holds the main design once, and each variant changes one thing."""

from dataclasses import asdict
from pathlib import Path

import pytest

from common.paper import load_paper
from replications.sparse_distillation import design as variants
from replications.sparse_distillation.design import VARIANTS, Design
from replications.sparse_distillation.settings import SETTINGS

MAIN = SETTINGS["mini"].design
CHANGED = {
    "pooling": {"pooling"},
    "dense layers": {"hidden"},
    "activation": {"activation"},
    "embedding initialisation": {"initialisation"},
    "size": {"dimension"},
}


def differences(design: Design) -> set[str]:
    mine, main = asdict(design), asdict(MAIN)
    return {name for name in mine if mine[name] != main[name]}


@pytest.mark.parametrize("group", VARIANTS)
def test_a_variant_changes_what_its_group_is_about_and_nothing_else(group: str) -> None:
    changed = [differences(change(MAIN)) for change in VARIANTS[group].values()]
    assert changed[0] == set(), "the first is the main design"
    assert all(found == CHANGED[group] for found in changed[1:])


def test_the_groups_are_the_paper_s_and_the_activation() -> None:
    paper = load_paper(Path(variants.__file__).with_name("paper.yaml"))
    (table5,) = (table for table in paper.tables if table.id == "table5")
    assert set(VARIANTS) == {cell.system for cell in table5.cells} | {"activation"}
    for group in ("pooling", "dense layers"):
        assert set(VARIANTS[group]) == {cell.setting for cell in table5.cells if cell.system == group}


def test_the_deeper_heads_are_the_paper_s_at_the_paper_s_width() -> None:
    paper = SETTINGS["paper"].design
    built = {name: change(paper) for name, change in VARIANTS["dense layers"].items()}
    for name, design in built.items():
        model = Design(**{**asdict(design), "vocabulary_size": 1}).build(1, 2, pair=False)
        widths = [model.layers[0].in_features, *(layer.out_features for layer in model.layers)]
        assert "-".join(map(str, widths)) == name
    assert VARIANTS["size"]["2 tables (d_e doubled)"](paper).dimension == 2000


def test_tanh_is_a_variant_and_relu_the_default() -> None:
    chosen = {name: change(MAIN).activation for name, change in VARIANTS["activation"].items()}
    assert chosen == {"ReLU (paper)": "relu", "tanh (official code)": "tanh"}
