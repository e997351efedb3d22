"""Which compiled function runs, and why; can be asked with `backend_of`. No mathematics here."""

from __future__ import annotations

from . import _cpu

BACKENDS = ("auto", "cpu", "cuda")


def choose(backend: str) -> str:
    """"cpu" or "cuda" for the `backend` argument of a call. ValueError where it is unknown or not there."""
    if backend not in BACKENDS:
        raise ValueError(f"backend: expected one of {', '.join(BACKENDS)}, got {backend!r}")
    if backend == "cuda":
        raise ValueError("backend: expected auto or cpu, got 'cuda': this build of sublearn has no CUDA module")
    return "cpu"


def backend_of(operation: str) -> str:
    """In words: what runs the operation ("rank", "fit", "newton", ...) in this process, and why."""
    return f"{operation}: cpu, {_cpu.isa()} (best of {', '.join(_cpu.isas())}), {_cpu.threads_available()} threads"
