"""The command `compare`: every method on some tasks, as a user's own run or as the committed record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from common.compare.names import in_int8
from common.compare.report import report_comparison
from common.records.runs import LOCAL, RunRecord, read_run
from common.reporting.made import Made
from common.run.artifacts import default_root
from common.run.command import Part, carry_out, shown
from common.run.replication import RESULTS, ROOT, TABLES, Experiments, Replication, find_replications

if TYPE_CHECKING:
    from common.paper import Paper

FOLDER = ROOT / "common" / "compare"


@dataclass(frozen=True)
class Comparison(Replication):
    """What is run like a paper: its steps are those of every method that was asked for, its tables its own."""

    methods: tuple[str, ...] = ()

    @property
    def paper(self) -> Paper:
        """Its layout, with the looks that the papers give their methods, and those of the same over int8 layers."""
        from common.paper import load_paper

        own = load_paper(FOLDER / "comparison.yaml")
        looks = {name: look for paper in find_replications() for name, look in paper.paper.systems.items()}
        over_int8 = {in_int8(name): f"{look.partition('-')[0]}-plus" for name, look in looks.items() if "-" in look}
        return own.model_copy(update={"systems": {**over_int8, **looks, **own.systems}})

    def experiments(self) -> Experiments:
        """Those of the comparison, for its methods."""
        from common.compare import experiments

        steps = lambda run: experiments.trained_steps(run, self.methods)  # noqa: E731
        return cast(Experiments, SimpleNamespace(trained_steps=steps, shape_steps=experiments.shape_steps))

    def deciders(self) -> dict:
        """It makes no claim."""
        return {}

    def sources_fingerprint(self) -> str:
        """Of all papers: whoever changes one changes the comparison."""
        import hashlib

        digest = hashlib.sha256(repr(self.methods).encode())
        for replication in find_replications():
            digest.update(replication.sources_fingerprint().encode())
        return digest.hexdigest()


def comparison(methods: Sequence[str] = ()) -> Comparison:
    """Of these methods; of all by default."""
    return Comparison("compare", FOLDER, tuple(methods))


def compare(part: Part, results: Path = RESULTS) -> None:
    """Carry out a user's own comparison and say which method wins where."""
    for folder in carry_out(part, lambda name: results / "compare" / f"{name}{LOCAL}"):
        run = read_run(folder)
        write_run_report(part.replication, run, folder)
        print(f"\n{verdict_text(run)}\nfigure and numbers: {shown(folder)}")


def record_comparison(part: Part, results: Path = RESULTS, tables: Path = TABLES) -> None:
    """Carry out a comparison, write it to the committed record, then its tables and figures."""
    for folder in carry_out(part, lambda name: results / "compare" / name):
        print(verdict_text(read_run(folder)))
    report_comparison(results, tables, Made.under(default_root()))


def write_run_report(chosen: Replication, run: RunRecord, folder: Path) -> list[Path]:
    """The figures of one run."""
    from common.reporting.figures import write_figures

    return write_figures(chosen.paper, run, folder / "figures")


def verdict_text(run: RunRecord) -> str:
    """Which method wins where, task by task."""
    from common.compare.experiments import Entrants
    from common.compare.judgement import verdict_markdown

    everyone = Entrants.asked((), lambda line: None)
    return verdict_markdown(run, [method.name for method in everyone.methods])
