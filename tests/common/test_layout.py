"""The shape of the project: imports point one way, every paper has the same parts, tools are pinned once."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from common.replication import find_replications

ROOT = Path(__file__).resolve().parents[2]
PAPERS = [replication.folder for replication in find_replications()]
COMMON = sorted((ROOT / "common").rglob("*.py"))

HEAVY = {
    "accelerate", "datasets", "evaluate", "matplotlib", "numpy", "pandas", "scipy", "sklearn", "torch", "transformers",
}  # fmt: skip

TRAINS = {"accelerate", "datasets", "evaluate", "torch", "transformers"}

PARTS = {"README.md", "paper.yaml", "method.py", "experiments.py", "__init__.py"}


def imports(tree: ast.AST) -> Iterator[str]:
    """Full names of the modules imported anywhere below `tree`; relative imports as they are written."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def imports_at_the_top(tree: ast.Module) -> set[str]:
    """Names of what is imported when the module is: not in functions, not for the type checker alone."""
    executed = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom | ast.Try | ast.With)]
    return {name for node in executed for name in imports(node)}


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_common_knows_no_paper() -> None:
    found = [(path, name) for path in COMMON for name in imports(parse(path)) if name.startswith("replications")]
    assert found == []


@pytest.mark.parametrize("folder", PAPERS, ids=lambda folder: folder.name)
def test_a_paper_imports_no_other_paper(folder: Path) -> None:
    own = f"replications.{folder.name}"
    for path in folder.rglob("*.py"):
        for name in imports(parse(path)):
            assert not name.startswith("."), f"{path}: a relative import"
            if name.startswith("replications"):
                assert name == own or name.startswith(f"{own}."), f"{path} imports {name}"


@pytest.mark.parametrize("folder", PAPERS, ids=lambda folder: folder.name)
def test_a_paper_has_all_parts(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} >= PARTS
    tree = parse(folder / "experiments.py")
    offered = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    offered |= {a.asname or a.name for node in tree.body if isinstance(node, ast.ImportFrom) for a in node.names}
    assert {"trained_steps", "shape_steps"} <= offered


def test_every_folder_of_a_paper_is_found() -> None:
    folders = {path for path in (ROOT / "replications").iterdir() if path.is_dir() and (path / "method.py").exists()}
    assert folders == set(PAPERS) != set()


def test_what_the_list_needs_imports_nothing_heavy() -> None:
    """Follows the imports at the top of modules, from those of the commands' entry."""
    by_name = {module_name(path): path for path in COMMON}
    queue = ["common.cli", "common.replication", "common.reporting.overview", "common.tasks.catalogue"]
    seen: set[str] = set()
    while queue:
        name = queue.pop()
        if name in by_name and name not in seen:
            seen.add(name)
            names = imports_at_the_top(parse(by_name[name]))
            assert not {n.partition(".")[0] for n in names} & HEAVY, f"{name} imports something heavy"
            queue += [*names, name.rpartition(".")[0]]
    assert "common.records" in seen and "common.paper" in seen, "the walk follows imports"


@pytest.mark.parametrize("folder", PAPERS, ids=lambda folder: folder.name)
def test_claims_are_decided_without_what_trains(folder: Path) -> None:
    """Follows the imports at the top of modules from the paper's claims: verdicts are remade from records alone."""
    by_name = {module_name(path): path for path in (*COMMON, *folder.rglob("*.py"))}
    queue, seen = [f"replications.{folder.name}.claims"], set()
    while queue:
        name = queue.pop()
        if name in by_name and name not in seen:
            seen.add(name)
            names = imports_at_the_top(parse(by_name[name]))
            assert not {n.partition(".")[0] for n in names} & TRAINS, f"{name} imports what trains"
            queue += [*names, name.rpartition(".")[0]]
    assert "common.records.claims" in seen, "the walk follows imports"


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


# -- Tools ------------------------------------------------------------------------------------------------------------


def test_ruff_and_mypy_have_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    development = project["project"]["optional-dependencies"]["dev"]
    constraints = (ROOT / "constraints.txt").read_text().splitlines()
    for tool in ("ruff", "mypy"):
        (pinned,) = [line for line in development if re.split(r"\W", line)[0] == tool]
        assert re.fullmatch(rf"{tool}==[\d.]+", pinned) and pinned in constraints


def test_constraints_lie_within_the_ranges() -> None:
    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {plain(name): version for name, version in (line.split("==") for line in lines)}
    for text in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        wanted = Requirement(text)
        assert wanted.specifier.contains(pinned[plain(wanted.name)]), text


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_hooks_call_what_make_lint_calls() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    (repo,) = config["repos"]
    assert repo["repo"] == "local", "a remote hook would bring a version of its own"
    hooks = {hook["entry"].replace(" --force-exclude", "").replace(".venv/bin/", "") for hook in repo["hooks"]}
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe is not None
    commands = {line.strip().removeprefix("@$(BIN)/").removesuffix(" .") for line in recipe[1].splitlines()}
    assert hooks == commands
