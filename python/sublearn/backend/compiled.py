"""The compiled modules: `cpu`, which is always there, and the CUDA module where this build, machine and process have one.

SUBLEARN_CUDA_MODULE chooses the latter: "cuda" (default), "emulated" (the kernels run on the CPU, for tests), "off".
"""

from __future__ import annotations

import importlib
import os
from functools import cache
from typing import Any

from .. import _cpu as cpu

__all__ = ["cpu", "cuda_module"]

_forked = False  # from a process that had started CUDA


@cache
def cuda_module() -> tuple[Any, str]:
    """(the CUDA module, "") or (None, why there is none). Never raises: a missing driver or module is an answer."""
    name = os.environ.get("SUBLEARN_CUDA_MODULE", "cuda")
    if name == "off":
        return None, "switched off by SUBLEARN_CUDA_MODULE=off"
    if name not in ("cuda", "emulated"):
        return None, f"SUBLEARN_CUDA_MODULE: expected cuda, emulated or off, got {name!r}"
    if _forked:
        return None, (
            "this process was forked from one that had started CUDA, which does not survive a fork; start it with "
            'multiprocessing.get_context("spawn")'
        )
    try:
        module = importlib.import_module({"cuda": "sublearn._cuda", "emulated": "sublearn._cuda_emulated"}[name])
    except ModuleNotFoundError:
        return None, "this build of sublearn has no CUDA module (docs/gpu.md: Build)"
    except ImportError as error:
        return None, f"the CUDA module cannot be imported: {error}"
    if module.device_count() == 0:
        return None, f"no GPU: {module.why_no_device()}"
    return module, ""


def _after_fork() -> None:
    """To a forked child the driver of its parent answers every call with an error."""
    global _forked
    if cuda_module.cache_info().currsize and (module := cuda_module()[0]) is not None and not module.EMULATED:
        _forked = True
        cuda_module.cache_clear()


os.register_at_fork(after_in_child=_after_fork)
