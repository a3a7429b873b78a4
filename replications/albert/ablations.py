"""Which models stand in which table, under which names: the grid of the paper's ablations at a scale."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from replications.albert.method import Shape, grouped, sharing
from replications.albert.names import (
    ADAMW,
    ALBERT,
    ALL,
    DROPOUT,
    GROUPS,
    LAMB,
    NO_DROPOUT,
    NONE,
    OBJECTIVES,
    STRATEGIES,
    depth_setting,
    embedding_setting,
    groups_setting,
    width_setting,
)
from replications.albert.pretraining import Model
from replications.albert.settings import Settings

OBJECTIVE_TABLES = ("table5-intrinsic", "table5-downstream")


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        experiments: the tables that it stands in.
        system, setting, at: its names, and the number that varies.
        model: what was pre-trained.
        main: whether every seed trains it, also where a scale spares.
    """

    experiments: tuple[str, ...]
    system: str
    setting: str
    at: float | None
    model: Model
    main: bool = False


def rows_of(settings: Settings) -> list[Row]:
    """Every row of every table of trained models."""
    found = [*_embeddings(settings), *_strategies(settings), *_objectives(settings)]
    found += [*_dropout(settings), *_depths(settings), *_widths(settings)]
    return [*found, *_groups(settings), *_optimisers(settings)]


def models_of(rows: list[Row]) -> list[Model]:
    """The models behind rows, each once."""
    return list(dict.fromkeys(row.model for row in rows))


def _with_embedding(shape: Shape, embedding: int, strategy: str) -> Model:
    return Model(sharing(replace(shape, embedding=embedding), strategy))


def _row(experiment: str, strategy: str, base: Shape, embedding: int) -> Row:
    model, setting = _with_embedding(base, embedding, strategy), embedding_setting(embedding, base.hidden)
    return Row((experiment,), strategy, setting, embedding, model, main=True)


def _embeddings(settings: Settings) -> Iterator[Row]:
    """Table 3: E, with everything shared and with nothing."""
    for strategy in (NONE, ALL):
        for embedding in settings.embeddings:
            yield _row("table3", strategy, settings.base, embedding)


def _strategies(settings: Settings) -> Iterator[Row]:
    """Table 4: what is shared, at E = H and at E = H/6."""
    for embedding in settings.strategies_at:
        for strategy in STRATEGIES:
            yield _row("table4", strategy, settings.base, embedding)


def _objectives(settings: Settings) -> Iterator[Row]:
    """Table 5: what is asked of two segments."""
    for objective in OBJECTIVES:
        yield Row(OBJECTIVE_TABLES, objective, "", None, Model(settings.base, objective))


def _dropout(settings: Settings) -> Iterator[Row]:
    """Table 8."""
    for rate in settings.dropouts:
        yield Row(("table8",), DROPOUT, "", None, Model(replace(settings.base, dropout=rate)))
        yield Row(("table8",), NO_DROPOUT, "", None, Model(settings.base))


def _depths(settings: Settings) -> Iterator[Row]:
    """Table 11."""
    for shape in settings.depths:
        yield Row(("table11",), ALBERT, depth_setting(shape.layers), shape.layers, Model(shape))


def _widths(settings: Settings) -> Iterator[Row]:
    """Table 12."""
    for shape in settings.widths:
        yield Row(("table12",), ALBERT, width_setting(shape.hidden), shape.hidden, Model(shape))


def _optimisers(settings: Settings) -> Iterator[Row]:
    """Ours: LAMB, the paper's, and AdamW."""
    for optimiser in (LAMB, ADAMW):
        own = None if optimiser == settings.optimiser else optimiser
        yield Row(("optimisers",), optimiser, "", None, Model(settings.base, optimiser=own))


def _groups(settings: Settings) -> Iterator[Row]:
    """Ours: between everything shared and nothing."""
    for groups in settings.groups:
        model = Model(grouped(settings.base, groups))
        yield Row(("groups",), GROUPS, groups_setting(groups), groups, model)
