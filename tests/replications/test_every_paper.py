"""What every paper folder must pass; a new folder is covered by being there."""

from __future__ import annotations

import ast
import importlib
import re

import pytest
from kit.papers import (
    PAPERS,
    agrees,
    baseline_size,
    deviations_in_the_readme,
    each_paper,
    paper_of,
    parts_of,
    plans_of,
    published_stages,
    settings_of,
)
from kit.sources import COMMON, ROOT, imports, parse, reached_from, texts_in

from common.baselines import SMOKE_ENCODER, SMOKE_PLAN
from common.run.replication import Replication
from common.scales import SCALES

PARTS = {"README.md", "paper.yaml", "method.py", "experiments.py", "claims.py", "__init__.py"}

README_FORM = {
    "The folder": True,
    "To take home": False,
    "What the measurements mean": True,
    "Deviations": True,
    "Errata: where paper and code are at odds": False,
    "Claims": True,
    "Why a verdict is what it is": False,
}
"""The headings of a paper's README, in order, and whether it must have them."""

TRAINS = {"accelerate", "datasets", "evaluate", "torch", "transformers"}

NOT_MEASURED = "not measured here"
"""What the caption of a published table says that no step fills."""


# -- The folder -------------------------------------------------------------------------------------------------------


def test_every_folder_of_a_paper_is_found() -> None:
    folders = {path for path in (ROOT / "replications").iterdir() if path.is_dir() and (path / "method.py").exists()}
    assert folders == {replication.folder for replication in PAPERS} != set()


@each_paper
def test_a_paper_has_all_parts(replication: Replication) -> None:
    assert {path.name for path in replication.folder.iterdir()} >= PARTS
    tree = parse(replication.folder / "experiments.py")
    offered = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    offered |= {a.asname or a.name for node in tree.body if isinstance(node, ast.ImportFrom) for a in node.names}
    assert {"trained_steps", "shape_steps"} <= offered


@each_paper
def test_the_readme_has_the_form_of_all(replication: Replication) -> None:
    """The same headings in the same order; what a paper has none of is left out."""
    text = (replication.folder / "README.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {paper_of(replication).name}\n")
    before, after = text.index("make reproduce PAPER="), text.index("\n## ")
    assert before < after, "what to type stands above the first heading"
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings == [heading for heading in README_FORM if heading in headings]
    needed = {heading for heading, always in README_FORM.items() if always}
    # A paper that was just laid down claims nothing yet.
    assert needed - (set() if paper_of(replication).claims else {"Claims"}) <= set(headings)


@each_paper
def test_a_paper_imports_no_other_paper(replication: Replication) -> None:
    own = f"replications.{replication.slug}"
    for path in replication.folder.rglob("*.py"):
        for name in imports(parse(path)):
            assert not name.startswith("."), f"{path}: a relative import"
            if name.startswith("replications"):
                assert name == own or name.startswith(f"{own}."), f"{path} imports {name}"


@each_paper
def test_claims_are_decided_without_what_trains(replication: Replication) -> None:
    """Follows the imports at the top of modules from the paper's claims: verdicts are remade from records alone."""
    files = (*COMMON, *replication.folder.rglob("*.py"))
    reached = reached_from([f"replications.{replication.slug}.claims"], files)
    assert {name: used & TRAINS for name, used in reached.items() if used & TRAINS} == {}
    assert "common.records.claims" in reached, "the walk follows imports"


# -- paper.yaml and the code ------------------------------------------------------------------------------------------


@each_paper
def test_deviations_are_numbered_from_one_without_gaps(replication: Replication) -> None:
    numbers = [deviation.id for deviation in paper_of(replication).deviations]
    assert numbers == list(range(1, len(numbers) + 1)) != []
    assert deviations_in_the_readme(replication) == numbers


@each_paper
def test_every_claim_is_decided_or_says_why_not(replication: Replication) -> None:
    """Of a `note` only a reader can judge, and then nothing has to be said."""
    claims, decided = paper_of(replication).claims, set(replication.deciders())
    assert decided <= {claim.id for claim in claims}, "deciders of claims that paper.yaml does not have"
    assert {c.id for c in claims if c.not_run and c.id in decided} == set(), "decided, and said not to be"
    assert {c.id for c in claims if not c.not_run and c.op != "note" and c.id not in decided} == set()


@each_paper
def test_every_table_and_figure_is_measured(replication: Replication) -> None:
    """The code names each experiment; a table that stands for orientation alone says so in its caption."""
    paper = paper_of(replication)
    named = texts_in([*replication.folder.glob("*.py"), *(ROOT / "common" / "early_exit").glob("*.py")])
    missing = [figure.id for figure in paper.figures if figure.source not in named]
    for table in paper.tables:
        orientation = bool(table.cells) and NOT_MEASURED in table.caption
        if (table.source in named) == orientation:
            missing.append(table.id)
    assert missing == [], f"measured by no step, or measured though the caption says {NOT_MEASURED!r}"


# -- Settings ---------------------------------------------------------------------------------------------------------


@each_paper
def test_every_scale_has_settings(replication: Replication) -> None:
    assert set(settings_of(replication)) >= set(SCALES)


@each_paper
def test_at_the_papers_scale_each_stage_is_trained_as_published(replication: Replication) -> None:
    plans = plans_of(settings_of(replication)["paper"])
    for stage, published in published_stages(paper_of(replication)).items():
        assert published, "paper.yaml names no hyper-parameter of training by a name that is known (kit.papers.FIELDS)"
        assert any(agrees(plan, published) for plan in plans), f"{stage or 'training'}: {published}, but {plans}"


@each_paper
def test_at_the_smoke_scale_every_paper_has_the_same_baseline(replication: Replication) -> None:
    parts = list(parts_of(settings_of(replication)["smoke"]))
    assert SMOKE_ENCODER in parts
    assert SMOKE_PLAN in parts


# -- Full size --------------------------------------------------------------------------------------------------------


@each_paper
def test_the_baselines_size_is_that_of_its_modules(replication: Replication) -> None:
    """`parameters` of each backbone, in closed form, against transformers' own modules on the meta device."""
    shapes = importlib.import_module(f"replications.{replication.slug}.shapes")
    rows = [m for m in shapes.sizes() if m.experiment == "sizes" and m.metric == "parameters"]
    if not hasattr(shapes, "BACKBONES"):
        assert not rows
        pytest.skip("measures no encoder with a classifier on it")
    assert {m.backbone for m in rows} == set(shapes.BACKBONES)
    for row in rows:
        assert row.value == baseline_size(row.backbone, shapes.CLASSES)
