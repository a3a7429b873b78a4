"""A new paper's folder: laid down in a copy of the tree it runs, and passes what every paper must pass."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from common import cli
from common.errors import UserError
from common.new.command import TEMPLATES, free_look, lay_down, slug_of
from common.paper import load_paper
from common.records.measurements import read_measurements
from common.run.replication import find_replications

ROOT = Path(__file__).resolve().parents[3]
NAME, SLUG = "Fast-Tagger 2", "fast_tagger_2"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree without records, with a new paper in it."""
    root = tmp_path_factory.mktemp("tree")
    unwanted = shutil.ignore_patterns("__pycache__", "*.npz")
    for name in ("common", "replications", "tests"):
        shutil.copytree(ROOT / name, root / name, ignore=unwanted)
    for name in ("pyproject.toml", "constraints.txt", "README.md", "Makefile"):
        shutil.copy(ROOT / name, root / name)
    done = call(root, "-m", "common.cli", "new", NAME)
    assert done.returncode == 0, done.stderr
    assert f"make reproduce PAPER={SLUG} SCALE=smoke" in done.stdout
    return root


def call(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python in the copy, whose modules come first there."""
    return subprocess.run(
        [sys.executable, *arguments], cwd=root, env=environment(root), capture_output=True, text=True, check=False
    )


def environment(root: Path) -> dict[str, str]:
    return {**os.environ, "REPRODUCE_CACHE": str(root / "cache"), "PYTHONPATH": str(root)}


def test_it_runs_at_once(copy: Path) -> None:
    """At the smoke scale, on rows of one's own: so few that the training takes no time."""
    data = copy / "data" / "mine"
    data.mkdir(parents=True)
    for split, count in (("train", 48), ("dev", 16)):
        rows = [f"{'good' if i % 2 else 'dull'} film number {i},{i % 2}" for i in range(count)]
        (data / f"{split}.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    mine = ["--scale", "smoke", "--data", "files", "--data-dir", str(data.parent), "--tasks", "mine"]
    done = call(copy, "-m", "common.cli", "run", "fasttagger2", *mine)
    assert done.returncode == 0, done.stderr[-2000:]
    own = copy / "results" / SLUG / "smoke-files@local"
    assert (own / "measurements.jsonl").exists() and (own / "predictions.npz").exists()
    systems = {m.system for m in read_measurements(own / "measurements.jsonl")}
    assert {NAME, "baseline", "constant answer"} <= systems


def test_it_passes_its_own_tests_and_those_of_every_paper(copy: Path) -> None:
    papers = "tests/replications"
    at_home = f"{papers}/test_methods_at_home.py::test_every_method_answers_at_home_as_it_was_scored[{NAME}]"
    tests = [f"{papers}/test_every_paper.py", f"{papers}/test_figures_of_papers.py", f"{papers}/{SLUG}", at_home]
    chosen = f"{SLUG} or has_one_look or at_home"
    done = call(copy, "-m", "pytest", "-p", "no:cacheprovider", "-x", "-k", chosen, *tests)
    assert done.returncode == 0, done.stdout[-3000:]
    passed = int(done.stdout.rpartition(" passed")[0].split()[-1])
    assert passed >= 20, done.stdout[-500:]


def test_it_is_written_as_the_linter_wants_it(copy: Path) -> None:
    for command in (["check"], ["format", "--check"]):
        folders = [f"replications/{SLUG}", f"tests/replications/{SLUG}"]
        done = call(copy, "-m", "ruff", *command, "--no-cache", *folders)
        assert done.returncode == 0, done.stdout


def test_no_number_of_any_paper_is_in_it(copy: Path) -> None:
    paper = load_paper(copy / "replications" / SLUG / "paper.yaml")
    assert [cell for table in paper.tables for cell in table.cells] == []
    assert list(paper.claims) == list(paper.figure_values) == []
    assert {fact.provenance for fact in paper.hyperparameters} == {"ours"}
    assert paper.name == NAME and "TODO" in paper.citation.title


def test_what_its_author_writes_is_marked_in_every_part(copy: Path) -> None:
    folder = copy / "replications" / SLUG
    parts = ("method.py", "contender.py", "experiments.py", "shapes.py", "claims.py", "paper.yaml", "README.md")
    assert [name for name in parts if "TODO" not in (folder / name).read_text()] == []


def test_it_looks_like_no_other_system(copy: Path) -> None:
    looks = [look for r in find_replications(copy / "replications") for look in set(r.paper.systems.values())]
    own = load_paper(copy / "replications" / SLUG / "paper.yaml").systems[NAME]
    assert looks.count(own) == 1


def test_every_template_is_laid_down(copy: Path) -> None:
    for kind, folder in (("paper", copy / "replications" / SLUG), ("tests", copy / "tests/replications" / SLUG)):
        expected = {path.name.removesuffix(".tmpl") for path in (TEMPLATES / kind).iterdir()}
        made = {path.name.removeprefix(f"test_{SLUG}_") for path in folder.iterdir() if path.is_file()}
        assert made == expected != set()


# -- Names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["PoWER-BERT", "power bert", " Power_BERT "])
def test_a_name_becomes_a_package(name: str) -> None:
    assert slug_of(name) == "power_bert"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "Type make new PAPER="),
        ("  ", "Type make new PAPER="),
        ("2fast", "becomes a Python package"),
        ("fast/../er", "becomes a Python package"),
        ("schnell-für-alle", "becomes a Python package"),
        ("class", "becomes a Python package"),
        ("f" * 40, "becomes a Python package"),
        ("Dee-BERT", "there is a paper deebert already"),
        ("righttool", "there is a paper right_tool already"),
        ("all", "means something else"),
        ("compare", "means something else"),
        ("every", "is there already"),
    ],
)
def test_a_name_that_will_not_do_is_refused(name: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["new", name]) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1


def test_the_name_of_a_system_is_refused(copy: Path) -> None:
    """`baseline` would be two systems in one table; so would a rival that has no folder of its own."""
    for name in ("baseline", "Shallow-Deep"):
        with pytest.raises(UserError, match="is a system of this project already"):
            lay_down(name, copy)
        assert not (copy / "replications" / slug_of(name, copy)).exists()


def test_what_is_there_is_left_alone(copy: Path) -> None:
    before = {path: path.read_bytes() for path in (copy / "replications" / SLUG).glob("*") if path.is_file()}
    with pytest.raises(UserError, match="already"):
        lay_down(NAME, copy)
    assert before == {path: path.read_bytes() for path in before}
    assert list((copy / "build").iterdir()) == []


def test_a_free_look_is_no_other_systems() -> None:
    papers = [replication.paper for replication in find_replications()]
    assert free_look(papers) not in {look for paper in papers for look in paper.systems.values()}
