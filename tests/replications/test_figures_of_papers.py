"""What the figures of all papers have in common: a method looks the same wherever it is drawn."""

from collections import defaultdict

from kit.papers import PAPERS, each_paper, paper_of

from common.paper import Paper
from common.records.runs import find_runs
from common.reporting.figures import figure_content
from common.reporting.looks import Look, declared_look
from common.reporting.series import Series
from common.run.replication import RESULTS, Replication

FACTS = [paper_of(replication) for replication in PAPERS]


def drawn(paper: Paper) -> dict[tuple[str, str], list[Series]]:
    """The lines of each figure of each recorded run."""
    return {
        (run.name, figure.id): list(figure_content(paper, figure, run).series)
        for run in find_runs(RESULTS, paper.slug)
        for figure in paper.figures
    }


def test_a_method_has_one_look_in_the_whole_project() -> None:
    declared: dict[str, set[str]] = defaultdict(set)
    for paper in FACTS:
        for system, look in paper.systems.items():
            declared[system].add(look)
    assert {system: found for system, found in declared.items() if len(found) > 1} == {}
    assert {"DeeBERT", "PABEE"} <= {system for p in FACTS if p.slug == "cascadebert" for system in p.systems}


@each_paper
def test_every_drawn_system_has_a_look_of_its_own(replication: Replication) -> None:
    paper = paper_of(replication)
    for figure, series in drawn(paper).items():
        measured: dict[str, Look] = {}
        published: dict[str, Look] = {}
        for one in series:
            look = declared_look(one.system, paper.systems)
            assert look is not None, f"{figure}: give {one.system!r} a look under `systems` of paper.yaml"
            (published if one.published else measured)[one.system] = look
        for of_origin in (measured, published):
            assert len(set(of_origin.values())) == len(of_origin), f"{figure}: two systems look the same: {of_origin}"
        colours = {look.colour for look in measured.values()}
        assert len(colours) == len(measured), f"{figure}: two measured systems share a colour: {measured}"
