"""Which module may know which: the engine knows nothing of the paper, and nobody imports in a circle."""

from graphlib import TopologicalSorter
from pathlib import Path

from kit.sources import imports, parse

from replications import sparse_distillation

FOLDER = Path(sparse_distillation.__file__).parent
PACKAGE = "replications.sparse_distillation"


def modules() -> dict[str, set[str]]:
    """By module of the folder what it imports of it, imports inside functions included."""
    found = {}
    for path in FOLDER.rglob("*.py"):
        name = ".".join((PACKAGE, *path.relative_to(FOLDER).with_suffix("").parts)).removesuffix(".__init__")
        found[name] = {i for i in imports(parse(path)) if i.startswith(f"{PACKAGE}.")}
    return found


def test_nobody_imports_in_a_circle() -> None:
    order = list(TopologicalSorter(modules()).static_order())
    assert f"{PACKAGE}.experiments" in order


def test_the_engine_knows_nothing_of_the_paper() -> None:
    engine = f"{PACKAGE}.engine."
    for name, used in modules().items():
        if name.startswith(engine):
            assert all(other.startswith(engine) for other in used), f"{name} imports {used}"
