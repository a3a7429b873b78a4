"""The schema of `paper.yaml`: everything that is known about a paper, and how ours is laid beside it.

A `paper.yaml` holds facts, each with its source: the citation, the published tables cell by cell, the
hyper-parameters, the headline claims, errata, and every deviation of the replication. It also says, without
code, how measurements are presented (`metrics` of a table, axes of a figure), because papers differ in what
they print while the reporting is the same for all.

A misspelt key or a wrong type ends with one message that names the file and the field.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from common.errors import UserError, did_you_mean
from common.records.facts import Premise
from common.records.measurements import Quantifier
from common.reporting.looks import parse_look
from common.strict_yaml import UniqueKeys

Provenance = Literal["fulltext", "official-code", "official-readme", "secondary", "memory", "eyeballed", "ours"]
Subject = Literal["efficiency", "quality"]
Op = Literal[">=", ">", "<=", "<", "==", "note"]
GroupBy = Literal["task", "system", "setting", "backbone"]
Scalar = bool | int | float | str | None
HyperValue = Scalar | tuple[Scalar, ...] | dict[str, Scalar | tuple[Scalar, ...]]

UNVERIFIED: frozenset[str] = frozenset({"secondary", "memory", "eyeballed"})
"""Provenances that do not reach back to the paper or its authors' own release: marked wherever printed."""


class Facts(BaseModel):
    """Base of every part of paper.yaml: immutable, no unknown keys, no silent conversion of types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Code(Facts):
    """The authors' own code: repository, licence, and the commit that was read."""

    repo: str
    licence: str | None = None
    commit: str | None = None
    note: str = ""


class Citation(Facts):
    """What to cite."""

    title: str
    authors: tuple[str, ...]
    venue: str
    year: int
    arxiv: str | None = None
    anthology: str | None = None
    doi: str | None = None
    code: Code | None = None


class Published(Facts):
    """One published number, in tidy form.

    Attributes:
        backbone, system, setting, task, metric, value, unit: as in `common.records.measurements.Measurement`.
        at: the operating point as a number (a threshold, a layer).
        basis: `printed` in the source, or `derived` from printed numbers by arithmetic.
        provenance: where it differs from that of the whole table.
        note: anything that a reader of this one number must know.
    """

    backbone: str = ""
    system: str
    setting: str = ""
    task: str = ""
    metric: str
    value: float
    unit: str
    at: float | None = None
    basis: Literal["printed", "derived"] = "printed"
    provenance: Provenance | None = None
    note: str = ""


class PublishedAs(Facts):
    """The paper prints a quantity as another metric: ours = `factor` x theirs (e.g. a change: -1)."""

    metric: str
    factor: float


class Quantity(Facts):
    """A metric as it is shown: the number times `scale` (100 shows a fraction as a percentage)."""

    metric: str
    scale: float = 1.0
    published_as: tuple[PublishedAs, ...] = ()

    def shown(self, cell: Published) -> float | None:
        """Return a published cell's number on this quantity's scale; None if it is another quantity."""
        factors = {self.metric: 1.0} | {p.metric: p.factor for p in self.published_as}
        # A product of -1 and 0 is -0.0, which would print as "-0".
        return cell.value * factors[cell.metric] * self.scale + 0.0 if cell.metric in factors else None


class TableMetric(Quantity):
    """A metric as a table shows it: in a panel (or a row) named `header`, in `unit`, rounded to `decimals`.

    On a terminal, where room is scarce, it is called `short`.
    """

    header: str
    short: str = ""
    unit: str = ""
    decimals: int = Field(default=1, ge=0, le=6)

    @property
    def title(self) -> str:
        """The header as it begins a line, with the unit."""
        title = self.header[:1].upper() + self.header[1:]
        return f"{title} ({self.unit})" if self.unit else title

    @property
    def brief(self) -> str:
        """The name where room is scarce."""
        return self.short or self.header


class Axis(Quantity):
    """A metric, or `at` for the operating point, as an axis; `label` includes the unit, `log` spaces it by powers."""

    label: str
    log: bool = False


class PublishedNumbers(Facts):
    """Published numbers with where they were read: a table's cells, or values printed in a figure."""

    id: str = Field(pattern=r"^[a-z0-9-]+$")
    about: str = ""
    cells: tuple[Published, ...] = ()
    provenance: Provenance | None = None
    source_note: str = ""

    @model_validator(mode="after")
    def _cells_are_sound(self) -> PublishedNumbers:
        if self.provenance is None and any(cell.provenance is None for cell in self.cells):
            raise ValueError("published cells need a provenance, on the table or on each cell")
        seen = set()
        for cell in self.cells:
            key = (cell.backbone, cell.system, cell.setting, cell.task, cell.metric, cell.at)
            if key in seen:
                raise ValueError(f"{self.id}: two cells for {' / '.join(str(k) for k in key if k)}")
            seen.add(key)
        return self

    def provenance_of(self, cell: Published) -> Provenance | None:
        """Return the cell's own provenance, else that of the whole table."""
        return cell.provenance or self.provenance


class SameRow(Facts):
    """A published row and the measured one that belongs beside it, though its setting has another name.

    Patience 6 of 12 layers and 3 of 6, say, or a published GPU and our CPU. The row shows both names.
    """

    system: str
    setting: str = ""
    ours: str

    @property
    def label(self) -> str:
        """The setting as the row shows it."""
        return f"{self.setting}, ours {self.ours}" if self.setting else self.ours


class Table(PublishedNumbers):
    """A table: published cells (none for a table that is ours alone) and how both sides are shown.

    Attributes:
        label, caption: as printed above the table.
        metrics: what it shows, a panel each, in order.
        experiment: whose measurements fill it; the table's id unless given.
        tasks: measurements of these tasks alone; of all unless given.
        same_rows: which settings stand in one row although paper and run name them differently.
    """

    label: str
    caption: str
    metrics: tuple[TableMetric, ...] = Field(min_length=1)
    experiment: str = ""
    tasks: tuple[str, ...] = ()
    same_rows: tuple[SameRow, ...] = ()

    @model_validator(mode="after")
    def _same_rows_are_published(self) -> Table:
        printed = {(cell.system, cell.setting) for cell in self.cells}
        for row in self.same_rows:
            if (row.system, row.setting) not in printed:
                raise ValueError(f"same_rows: no published row {row.system!r} with setting {row.setting!r}")
        return self

    @property
    def source(self) -> str:
        """Name of the experiment that fills the table."""
        return self.experiment or self.id

    def shows(self, task: str) -> bool:
        """Whether measurements of `task` belong to the table, however it is spelled."""
        return not self.tasks or task.casefold() in {name.casefold() for name in self.tasks}


class Figure(Facts):
    """A figure: which measurements, on which axes.

    Attributes:
        experiment: whose measurements it shows; the figure's id unless given.
        kind: `line` joins points in the order of x, `bar` groups bars at each x, `scatter` only marks points.
        settings: measurements of these settings alone; of all unless given.
        x, y: the axes; the metric `at` is the operating point itself.
        panel_by: one panel for each value of this field.
        line_by: one line (colour) for each combination of these fields.
        diagonal: draw x = y.
        published: ids of tables or `figure_values` whose numbers are drawn as hollow markers.
        twins: labels of lines that may be one and the same curve (entropy and confidence order the examples of a
            task with two classes alike): drawn once, under all their names, in the panels in which they coincide.
    """

    id: str = Field(pattern=r"^[a-z0-9-]+$")
    label: str
    caption: str
    experiment: str = ""
    kind: Literal["line", "bar", "scatter"] = "line"
    settings: tuple[str, ...] = ()
    x: Axis
    y: Axis
    panel_by: GroupBy = "task"
    line_by: tuple[GroupBy, ...] = ("system",)
    diagonal: bool = False
    published: tuple[str, ...] = ()
    twins: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """Name of the experiment that fills the figure."""
        return self.experiment or self.id


class Hyperparameter(Facts):
    """A setting of the paper, with the place that states it (paper section, code file, or `ours`)."""

    name: str
    value: HyperValue
    source: str
    provenance: Provenance

    @model_validator(mode="after")
    def _no_number_in_disguise(self) -> Hyperparameter:
        # YAML 1.1 reads 2e-5 as text: only 2.0e-5 is a number.
        if isinstance(self.value, str) and _is_number(self.value):
            raise ValueError(f"{self.value!r} is text in YAML; write it with a point, like 2.0e-5")
        return self


class Claim(Facts):
    """A headline claim in a form that a measurement can decide: `metric op value`, over the cells as `over` says.

    Attributes:
        type: `by-construction` follows from the rule or a closed form; `empirical` is judged on three questions.
        subject: what it is about.
        metric: the quantity, in words; op, value, unit: what was printed of it.
        no_effect: the quantity's value where the method does nothing (0 for a gain, 1 for a ratio); null where the
            claim is a bound, whose direction is the bound itself.
        over: the quantifier over cells: `one` cell, `all`, `any`, or the `mean`.
        premise: what it presupposes, checked against the run.
        scope: where the paper shows it.
        not_run: why no run here can decide it, where none can.

    `op` is `note` (and `value` null) where only a reader can judge.
    """

    id: str = Field(pattern=r"^[a-z0-9-]+$")
    statement: str
    type: Literal["by-construction", "empirical"]
    subject: Subject
    metric: str
    op: Op
    value: float | None
    no_effect: float | None = None
    over: Quantifier = "one"
    unit: str = ""
    premise: Premise = Premise()
    scope: str
    not_run: str = ""
    provenance: Provenance

    @model_validator(mode="after")
    def _is_decidable(self) -> Claim:
        if (self.op == "note") != (self.value is None):
            raise ValueError("a claim needs a value, unless its op is 'note': then the value is null")
        if self.op == "==" and self.type != "by-construction":
            raise ValueError("an empirical effect is never equal to a number: op == is for what holds by construction")
        return self


class Erratum(Facts):
    """A place where the paper, or its code, contradicts itself."""

    where: str
    what: str


class Deviation(Facts):
    """A numbered difference between the replication and the paper, with its reason."""

    id: int
    what: str
    why: str


class Paper(Facts):
    """The whole of a paper.yaml.

    Attributes:
        slug: the folder's name; name: as written in prose.
        headline: id of the table shown in the project's summary.
        figure_values: numbers printed inside figures.
        systems: the look of each of its systems in every figure (`blue-circle`, or a role such as `ladder`).
        reference: the system that shows whether a task was learned at all, where it beats the constant answer.
    """

    slug: str
    name: str
    citation: Citation
    hardware: str = ""
    headline: str | None = None
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    figure_values: tuple[PublishedNumbers, ...] = ()
    systems: dict[str, str] = Field(default_factory=dict)
    reference: str = "baseline"
    hyperparameters: tuple[Hyperparameter, ...] = ()
    claims: tuple[Claim, ...] = ()
    errata: tuple[Erratum, ...] = ()
    deviations: tuple[Deviation, ...] = ()

    @model_validator(mode="after")
    def _references_resolve(self) -> Paper:
        _refuse_repeats("tables and figures", [*(t.id for t in self.tables), *(f.id for f in self.figures)])
        _refuse_repeats("claims", [c.id for c in self.claims])
        _refuse_repeats("deviations", [str(d.id) for d in self.deviations])
        numbers = self.numbers
        for figure in self.figures:
            for name in figure.published:
                if name not in numbers:
                    raise ValueError(f"figure {figure.id} draws published {name!r}: no such table or values")
        for look in self.systems.values():
            parse_look(look)
        if self.headline is not None and self.headline not in {t.id for t in self.tables}:
            raise ValueError(f"headline {self.headline!r} is not the id of a table")
        return self

    @property
    def numbers(self) -> dict[str, PublishedNumbers]:
        """Every set of published numbers by its id."""
        return {n.id: n for n in (*self.tables, *self.figure_values)}


def load_paper(path: Path) -> Paper:
    """Read and check a paper.yaml.

    Raises:
        UserError: the file cannot be read, is not YAML, has an unknown or missing key or a value of the wrong
            type (the message names the field, e.g. `tables.0.cells.3.value`), or its slug is not the name of
            its folder.
    """
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=UniqueKeys)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {_one_line(error)}") from error
    if not isinstance(data, dict):
        raise UserError(f"{path}: expected keys such as 'slug' and 'citation', found {type(data).__name__}")
    try:
        paper = Paper.model_validate_json(json.dumps(data, default=str))
    except ValidationError as error:
        raise UserError(f"{path}: {_first_problem(error)}") from error
    if paper.slug != path.resolve().parent.name:
        raise UserError(
            f"{path}: slug: expected {path.resolve().parent.name!r} (the folder's name), found {paper.slug!r}"
        )
    return paper


def _first_problem(error: ValidationError) -> str:
    """Say in one line which field is wrong and, for a misspelt key, what was probably meant."""
    details = error.errors()
    # A misspelt key also leaves the key that was meant missing: the misspelling says more.
    first = next((d for d in details if d["type"] == "extra_forbidden"), details[0])
    where = ".".join(map(str, first["loc"])) or "file"
    if first["type"] == "extra_forbidden":
        key = str(first["loc"][-1])
        known = sorted(_known_keys(first["loc"][:-1]))
        return f"{where}: unknown key {key!r}" + (did_you_mean(key, known) or f"; known: {', '.join(known)}")
    found = "" if first["type"] == "missing" else f" (found {_short(first['input'])})"
    return f"{where}: {first['msg'].removeprefix('Value error, ')}{found}"


def _known_keys(location: tuple[int | str, ...]) -> set[str]:
    """Return the keys allowed at a place in the file, by walking down the schema."""
    model: type[BaseModel] = Paper
    for part in location:
        if isinstance(part, str) and part in model.model_fields:
            model = _model_inside(model.model_fields[part].annotation) or model
    return set(model.model_fields)


def _model_inside(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for a in get_args(annotation) if (found := _model_inside(a))), None)


def _refuse_repeats(what: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{what}: the id {name!r} is used twice")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _short(value: object, limit: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]} ..."
