"""The machine and the versions a result belongs to, its multiply-add peak, and the limit on its cores. Nothing is timed here but the
peak."""

from __future__ import annotations

import datetime
import functools
import os
import platform
import time
from importlib import metadata
from pathlib import Path

import numpy as np

import sublearn as sl

PACKAGES = ("sublearn", "numpy", "scipy", "torch", "jax", "jaxlib", "python-flint")


def header(threads: int) -> dict:
    """What a reader needs to know to compare two results."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "threads": threads,
        "isa": sl.machine()["isa"],
        "isas": sl.machine()["isas"],
        "compiler": sl.machine()["compiler"],
        "system": platform.platform(),
        "python": platform.python_version(),
        "blas": blas(),
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "versions": {name: version(name) for name in PACKAGES},
    }


def as_text(machine: dict) -> str:
    versions = ", ".join(f"{name} {number or '(not installed)'}" for name, number in machine["versions"].items())
    load = "unknown" if machine["load"] is None else f"{machine['load'][0]:.2f}"
    return "\n".join(
        [
            f"{machine['date']}  {machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads used, load {load}",
            f"{machine['isa']} of {', '.join(machine['isas'])}; compiled by {machine['compiler']}; {machine['system']}",
            f"python {machine['python']}, {versions}; BLAS of numpy: {machine['blas']}",
        ]
    )


def cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine() or "unknown"


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def blas() -> str:
    try:
        found = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return f"{found['name']} {found['version']}"
    except (KeyError, TypeError):
        return "unknown"


@functools.cache
def peak(bits: int, threads: int) -> float:
    """GFLOP/s of independent multiply-adds on `threads` threads, the best of several."""
    best = 0.0
    for _ in range(5):  # spread over half a second: a neighbour on the machine comes and goes
        best = max(best, sl.machine(peak=True, threads=threads)[f"peak_float{bits}"])
        time.sleep(0.05)
    return best


def busy(machine: dict) -> str | None:
    """In words, if other work ran on the cores when the benchmark began."""
    if machine["load"] is None or machine["load"][0] < 0.5 + 0.1 * machine["cores"]:
        return None
    return (
        f"load {machine['load'][0]:.1f} on {machine['cores']} cores at the start: other work runs here. Peers whose threads wait for "
        "each other (torch) suffer the most, up to 50 times: do not quote this run"
    )


def limit_cores(count: int) -> str | None:
    """Keeps every thread of this process, those of the peers included, on `count` cores. In words why not, if it cannot."""
    if not hasattr(os, "sched_setaffinity"):
        return "this system cannot pin a process: the peers may use more threads"
    allowed = sorted(os.sched_getaffinity(0))
    if count > len(allowed):
        return f"{count} threads on {len(allowed)} cores"
    for task in Path("/proc/self/task").iterdir():
        try:
            os.sched_setaffinity(int(task.name), allowed[:count])
        except OSError:  # a thread that has just ended
            pass
    return None
