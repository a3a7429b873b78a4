"""The project's modules as text: what they import, and the names written in them."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMMON = sorted((ROOT / "common").rglob("*.py"))


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


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


def reached_from(entries: Iterable[str], files: Iterable[Path]) -> dict[str, set[str]]:
    """The modules among `files` that importing `entries` executes, each with the packages that it names at its top."""
    by_name = {module_name(path): path for path in files}
    queue, seen = list(entries), {}
    while queue:
        name = queue.pop()
        if name in by_name and name not in seen:
            names = imports_at_the_top(parse(by_name[name]))
            seen[name] = {n.partition(".")[0] for n in names}
            queue += [*names, name.rpartition(".")[0]]
    return seen


def texts_in(files: Iterable[Path]) -> set[str]:
    """Every string that is written out in these modules."""
    nodes = (node for path in files for node in ast.walk(parse(path)))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
