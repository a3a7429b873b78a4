"""Table 11: what each system takes in memory and on disk.

A model is written as safetensors, loaded in a fresh process that did nothing else, and every weight is read once, so
that all of the file that a model can touch is resident. (A file is mapped, not copied: rows of the table that nobody
asks for need not come into memory at all.) The paper's figures are a GPU's, and hold a driver's context of several
hundred megabytes.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from common.costs.memory import PeakMemory, peak_memory
from common.errors import UserError
from common.records.measurements import Measurement
from common.run.replication import Run
from replications.sparse_distillation.shapes_systems import Drawn, Systems

SPARE = 200_000_000
"""Bytes that must stay free on the disk."""

WORKING_MEMORY = 1_000_000_000
"""Bytes for what the systems compute."""


def footprint_rows(run: Run, drawn: Drawn, names: Sequence[str]) -> list[Measurement]:
    """Memory and disk of the named systems.

    Raises:
        UserError: the disk or the memory lacks room; nothing was written.
    """
    rows = []
    for number, name in enumerate(names, 1):
        with saved(drawn, name, run.scratch) as path:
            # Two copies of the largest would not fit into the memory of a laptop.
            drawn.forget(name)
            rows += _rows(drawn.systems, name, path)
        run.progress(number, len(names))
    return rows


def _rows(systems: Systems, name: str, path: Path) -> list[Measurement]:
    memory, disk = loaded_memory(systems, name, path), path.stat().st_size
    note = "resident with every weight read once, above the bare interpreter; what code the system loads is included"

    def row(metric: str, value: float, unit: str, *, timed: bool = False, note: str = "") -> Measurement:
        return Measurement(
            experiment="table11",
            system=name,
            metric=metric,
            value=float(value),
            unit=unit,
            setting="CPU fp32",
            timed=timed,
            note=note,
        )

    return [
        row("parameters_total", systems.count(name).total, "count"),
        row("memory", memory.increase, "byte", timed=True, note=note),
        row("disk", disk, "byte", note="safetensors, fp32"),
    ]


@contextmanager
def saved(drawn: Drawn, name: str, folder: Path) -> Iterator[Path]:
    """The system's weights as a safetensors file in `folder`, for as long as the block lasts.

    Raises:
        UserError: the disk or the memory lacks room.
    """
    folder.mkdir(parents=True, exist_ok=True)
    check_disk(folder, 4 * drawn.systems.count(name).total, f"the weights of {name}")
    check_memory(drawn, (name,))
    path = folder / "weights.safetensors"
    try:
        save_file({key: tensor.detach().contiguous() for key, tensor in drawn.model(name).state_dict().items()}, path)
        yield path
    finally:
        path.unlink(missing_ok=True)


def loaded_memory(systems: Systems, name: str, path: Path) -> PeakMemory:
    """Memory of a fresh process that loads the system from `path` and reads every weight."""
    return peak_memory(load_and_read, systems, name, path)


def load_and_read(systems: Systems, name: str, path: Path) -> nn.Module:
    """The system with the weights in `path`, mapped into memory, each of them read once."""
    model = systems.build(name, device="meta")
    model.load_state_dict(load_file(path), assign=True)
    with torch.inference_mode():
        for weight in model.state_dict().values():
            weight.sum()
    return model


# -- Room -------------------------------------------------------------------------------------------------------------


def check_disk(folder: Path, needed: int, what: str) -> None:
    """Refuse to begin what would end with a full disk.

    Raises:
        UserError: less than `needed` bytes (and a little more) are free where `folder` is.
    """
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE:
        raise UserError(
            f"{what} take {needed / 1e9:.1f} GB for a moment, but the disk of {folder} has {free / 1e9:.1f} GB free. "
            "Make room there and repeat the command: it goes on where it stopped"
        )


def check_memory(drawn: Drawn, names: Iterable[str]) -> None:
    """Refuse to begin what the system would end for lack of memory.

    Raises:
        UserError: the free memory does not hold those of the named systems that are still to be drawn, and a little
            more.
    """
    missing = [name for name in names if name in drawn.missing]
    needed = 4 * sum(drawn.systems.count(name).total for name in missing) + WORKING_MEMORY
    free = psutil.virtual_memory().available
    if missing and free < needed:
        raise UserError(
            f"{', '.join(missing)} at full size need {needed / 1e9:.1f} GB of memory, but {free / 1e9:.1f} GB are "
            "free. Close other programs, or run this on a larger machine, and repeat the command: it goes on where it "
            "stopped"
        )
