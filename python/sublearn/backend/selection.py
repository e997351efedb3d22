"""The `backend` argument of a call: cpu or cuda, chosen here or by the caller; `backend_of` reports the choice."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, get_args

from .._version import installed_version
from .compiled import cpu, cuda_module

Backend = Literal["auto", "cpu", "cuda"]
BACKENDS = get_args(Backend)
CUDA_OPERATIONS = (
    *("outputs", "jacobian", "rank", "rank_mod", "bottleneck", "choose_columns", "fit", "draw_trials", "decide", "match_probability"),
    *("continuation", "degree"),
)
# match_probability and studies go to a GPU from this many (trials x starts x weights) on. Measured on an H200 against 16 cores: from 2^18
# on it is ahead, once it is warm; four times that, since the first call of a process also starts CUDA.
CUDA_LEAST_WORK = 2**20
# Complex paths go there from this many at a time on: the last of them take an H200 some 25 ms, 16 cores three times that.
CUDA_LEAST_PATHS = 2**14


def choose(backend: str, work: float = 0, least: float | None = None) -> str:
    """ "cpu" or "cuda" for the `backend` argument of a call. ValueError where it is unknown or not there.

    work: for calls without input arrays, trials x starts x weights; auto takes a GPU, where there is one, if that is at least `least`
    (CUDA_LEAST_WORK).
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend: expected one of {', '.join(BACKENDS)}, got {backend!r}")
    if backend == "cpu" or (backend == "auto" and work < (CUDA_LEAST_WORK if least is None else least)):
        return "cpu"
    module, why = cuda_module()
    if backend == "cuda" and module is None:
        raise ValueError(f"backend: expected auto or cpu, got 'cuda': {why}")
    return "cuda" if module is not None and (backend == "cuda" or not module.EMULATED) else "cpu"


def backend_of(operation: str) -> str:
    """What runs an operation ("rank", "fit", "newton", ...) in this process, and why, in a sentence.

    >>> sl.backend_of("rank").split(",")[0]
    'rank: cpu'
    """
    return f"{operation}: cpu, {cpu.isa()} (best of {', '.join(cpu.isas())}), {cpu.threads_available()} threads; {_on_cuda(operation)}"


def _on_cuda(operation: str) -> str:
    module, why = cuda_module()
    if module is None:
        return f"no cuda: {why}"
    if operation not in CUDA_OPERATIONS:
        return "no cuda: this operation has no CUDA kernel"
    where = f"cuda, {cuda_device()}"
    by_itself = lambda least: "never by itself: an emulation" if module.EMULATED else f"by itself from {least} on"  # noqa: E731
    if operation in ("continuation", "degree"):
        return f"{where}: complex paths, {by_itself(f'{CUDA_LEAST_PATHS} paths at a time')}"
    if operation in ("draw_trials", "match_probability"):
        auto = by_itself(f"{CUDA_LEAST_WORK} trials x starts x weights")
        return f'{where}: with backend="cuda", {auto}'
    return f'{where}: for arrays that live there, or with backend="cuda"'


def cuda_device() -> str:
    """The GPU that backend="cuda" uses, in words; or why there is none."""
    module, why = cuda_module()
    if module is None:
        return f"none: {why}"
    about = module.device_info(0)
    major, minor = about["capability"]
    more = f", the first of {module.device_count()}" if module.device_count() > 1 else ""
    memory = f"{about['free_bytes'] / 1e9:.1f} of {about['total_bytes'] / 1e9:.1f} GB free"
    return f"{about['name']} (sm_{major}{minor}, {about['multiprocessors']} multiprocessors, {memory}){more}"


def _compiler() -> str:
    """What the compiler wrote into the module's comment section."""
    try:
        found = set(re.findall(rb"(GCC: \([^)\0]*\) [\d.]+|clang version [\d.]+)", Path(cpu.__file__).read_bytes()))
    except OSError:
        found = set()
    return " and ".join(sorted(text.decode() for text in found)) or "unknown"


def machine(peak: bool = False, threads: int | None = None) -> dict[str, Any]:
    """What this process computes with, for a benchmark or a bug report.

    version: of sublearn; compiler: of its kernels; isa, isas: the instruction set that runs, and those that are compiled and possible here;
    threads: used by default; gpu: a sentence. peak=True (some 0.1 s): also peak_float32, peak_float64 in GFLOP/s, of independent
    multiply-adds on `threads`.

    >>> sorted(sl.machine())
    ['compiler', 'gpu', 'isa', 'isas', 'threads', 'version']
    """
    about: dict[str, Any] = {"version": installed_version(), "compiler": _compiler(), "isa": cpu.isa(), "isas": cpu.isas()}
    about |= {"threads": cpu.threads_available(), "gpu": cuda_device()}
    if peak:
        about |= {f"peak_float{bits}": cpu.fma_peak(bits, 0 if threads is None else threads) for bits in (32, 64)}
    return about
