"""How much device memory a call may use, and how many rows of a batch fit it at a time.

SUBLEARN_CUDA_MEMORY: bytes of device memory a call may use (default: 80 % of what is free).
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

_VARIABLE = "SUBLEARN_CUDA_MEMORY"
_SHARE = 0.8  # of the free device memory: the rest is for other users and the kernels' workspace, which depends on the network and the
# number of multiprocessors, not on the batch
_SURELY_THERE = 2**26  # bytes that are taken without asking the driver how much is free, which takes longer than a small call


def byte_count(shape: tuple[int, ...], dtype: DTypeLike) -> int:
    """Bytes of an array."""
    return int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize


def memory_limit(module: Any, device: int) -> int:
    """Bytes of device memory a call may use. ValueError where SUBLEARN_CUDA_MEMORY is no positive number."""
    given = os.environ.get(_VARIABLE)
    if given is None:
        return int(_SHARE * module.free_bytes(device))
    if not given.isdigit() or int(given) < 1:
        raise ValueError(f"{_VARIABLE}: expected a number of bytes, got {given!r}")
    return int(given)


def rows_at_once(batch: int, bytes_per_row: int, fixed_bytes: int, limit: int, operation: str) -> int:
    """How many rows of a batch fit `limit` bytes, fixed_bytes of them needed whatever the number. MemoryError if not even one does."""
    room = (limit - fixed_bytes) // max(1, bytes_per_row)
    if room < 1:
        raise MemoryError(
            f"{operation}: one student needs {bytes_per_row} bytes of device memory beside {fixed_bytes} for the call; {limit} are free"
        )
    return min(batch, room)


def rows_of_a_call(module: Any, device: int, batch: int, bytes_per_row: int, fixed_bytes: int, operation: str) -> int:
    """`rows_at_once` within the memory limit; a call so small that it surely fits is not worth a question to the driver."""
    if bytes_per_row * batch + fixed_bytes <= _SURELY_THERE and _VARIABLE not in os.environ:
        return batch
    return rows_at_once(batch, bytes_per_row, fixed_bytes, memory_limit(module, device), operation)
