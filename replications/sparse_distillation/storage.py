"""A student on disk: its weights (safetensors) and its design (JSON).

Loading maps the weights into memory: of a table of a billion numbers only the rows that a text asks for are read.
Nothing here needs the teacher or its libraries, so that a student taken home answers at once.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from common.errors import UserError
from replications.sparse_distillation.design import DESIGN, WEIGHTS, Design, Student


def load_student(folder: Path) -> Student:
    """Read what `Student.save` wrote, in evaluation mode; the table is mapped from the file, not copied.

    Raises:
        UserError: a file is missing, cut short or something else, or the two do not belong together.
    """
    design, state = read_design(folder / DESIGN), _weights(folder / WEIGHTS)
    try:
        return _assembled(design, state).eval()
    except (KeyError, RuntimeError, ValueError) as error:
        reason = f"nothing is called {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise UserError(
            f"{folder / WEIGHTS}: expected the weights of the student in {DESIGN}, found others: {reason}"
        ) from error


def read_design(path: Path) -> Design:
    """Read the design of a student.

    Raises:
        UserError: the file is missing, or does not hold a design.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        design = TypeAdapter(Design).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(f"{path}: expected the design of a student: {where}: {first['msg']}") from error
    except OSError as error:
        raise UserError(f"{path}: expected the design of a student, found no such file: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path}: expected the design of a student, found no JSON: {error}") from error
    unknown = sorted(set(values) - set(design.recipe()))
    if unknown:
        raise UserError(f"{path}: expected the design of a student, found what no design has: {', '.join(unknown)}")
    return design


def _assembled(design: Design, state: dict[str, Tensor]) -> Student:
    """The student of this design with these weights.

    Raises:
        KeyError: a weight is missing, or the design names what there is not.
        RuntimeError, ValueError: the weights have other shapes.
    """
    table, first, last = (state[name] for name in ("table", "layers.0.weight", _last_layer(design)))
    if table.shape[1:] != (design.dimension,):
        raise ValueError(f"a table of shape {tuple(table.shape)} where rows have {design.dimension} numbers")
    pair = first.shape[1:] == (4 * design.dimension,)
    # With one row, which the mapped table replaces: to draw on `meta` would take a second to import what it needs.
    with torch.random.fork_rng(devices=[]):
        model = design.build(1, len(last), pair=pair)
    model.table = nn.Parameter(table)
    model.load_state_dict(state, assign=True)
    return model


def _last_layer(design: Design) -> str:
    return f"layers.{max(1, len(design.hidden))}.weight"


def _weights(path: Path) -> dict[str, Tensor]:
    expected = f"{path}: expected the weights of an n-gram student"
    try:
        state: dict[str, Tensor] = load_file(path)
    except FileNotFoundError as error:
        raise UserError(f"{expected}, found no such file") from error
    except (OSError, SafetensorError) as error:
        raise UserError(f"{expected}, found another or a cut file: {error}") from error
    return state
