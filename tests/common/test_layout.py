"""The shape of the shared layer and of the tools: imports point one way, tools are pinned once."""

from __future__ import annotations

import re
import tomllib

import yaml
from kit.sources import COMMON, ROOT, imports, parse, reached_from

HEAVY = {
    "accelerate", "datasets", "evaluate", "matplotlib", "numpy", "pandas", "scipy", "sklearn", "torch", "transformers",
}  # fmt: skip


def test_common_knows_no_paper() -> None:
    found = [(path, name) for path in COMMON for name in imports(parse(path)) if name.startswith("replications")]
    assert found == []


def test_what_the_list_needs_imports_nothing_heavy() -> None:
    """Follows the imports at the top of modules, from those of the commands' entry."""
    entries = ["common.cli", "common.run.replication", "common.reporting.overview", "common.tasks.catalogue"]
    reached = reached_from(entries, COMMON)
    assert {name: used & HEAVY for name, used in reached.items() if used & HEAVY} == {}
    assert "common.records" in reached and "common.paper" in reached, "the walk follows imports"


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
