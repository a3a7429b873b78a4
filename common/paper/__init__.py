"""The schema of `paper.yaml`: everything that is known about a paper, and how ours is laid beside it.

A `paper.yaml` holds facts, each with its source: the citation, the published tables cell by cell, the
hyper-parameters, the headline claims, errata, and every deviation of the replication. It also says, without
code, how measurements are presented (`metrics` of a table, axes of a figure), because papers differ in what
they print while the reporting is the same for all.
"""

from common.paper.claims import Claim
from common.paper.facts import UNVERIFIED
from common.paper.figures import Axis, Figure
from common.paper.published import Published, PublishedAs, PublishedNumbers, Quantity
from common.paper.reading import load_paper
from common.paper.schema import Paper
from common.paper.tables import SameRow, Table, TableMetric

__all__ = [
    "UNVERIFIED",
    "Axis",
    "Claim",
    "Figure",
    "Paper",
    "Published",
    "PublishedAs",
    "PublishedNumbers",
    "Quantity",
    "SameRow",
    "Table",
    "TableMetric",
    "load_paper",
]
