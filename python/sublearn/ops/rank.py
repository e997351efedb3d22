"""Ranks of batches of matrices: numerical (`rank`) and exact mod p (`rank_mod`). What a rank means for a network is in
theory/predict.py."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from .._checks import positive, whole_number
from ..backend.arrays import to_numpy
from ..backend.compiled import cpu
from ..backend.dispatch import kernels_for
from ..backend.kernels import Kernels
from ..backend.selection import Backend
from .arguments import FLOATS, thread_count

_FLOATS_AND_HALF = (*FLOATS, np.dtype(np.float16), *(np.dtype(kind).newbyteorder() for kind in (np.float16, np.float32, np.float64)))


def rank(
    a: np.ndarray,
    rtol: float | None = None,
    *,
    tol: float | np.ndarray | None = None,
    threads: int | None = None,
    backend: Backend = "auto",
    stream: object = None,
) -> np.ndarray:
    """Number of singular values above rtol times the largest: the verdict of numpy.linalg.matrix_rank.

    a: [.., m, n], any number of batch axes, of any length; float32 or float64, or float16 (computed in float32), integers or bools
    (computed in float64), of either byte order. rtol: max(m, n) eps by default, of the dtype given. tol: in its place, the singular values
    themselves must be above it: a number, or an array over the batch axes; then numpy's SVD decides. Returns int64 [..].
    A QR decides where it can prove the verdict (||R22|| and ||R11^-1|| against the tolerance); the rest, matrices with a
    singular value near the tolerance, is decided by numpy's SVD itself. An array of numpy, torch or cupy (on a GPU float32 or float64); the
    result lives where it lives.
    Errors: TypeError for another dtype (complex, objects), rtol or tol; ValueError for nan, inf, fewer than two axes, a negative rtol or
    tol, or both.

    >>> sl.rank(np.array([np.eye(3), np.ones((3, 3))]))
    array([3, 1])
    """
    kernels = kernels_for(backend, stream, a=a)
    array = kernels.from_caller("a", a) if kernels.on_device else to_numpy("a", a)
    eps = float(np.finfo(array.dtype if array.dtype in _FLOATS_AND_HALF else np.float64).eps)
    if not kernels.on_device:
        array = _as_float(array)
    if array.dtype not in FLOATS:
        taken = "float32 or float64" if kernels.on_device else "floats of at most 64 bits, integers or bools"
        raise TypeError(f"a: expected {taken}, got {array.dtype}")
    if array.ndim < 2:
        raise ValueError(f"a: expected shape [.., m, n], got {list(array.shape)}")
    *axes, m, n = array.shape
    batch = math.prod(axes)
    stack = array.reshape((batch, m, n)) if kernels.on_device else np.ascontiguousarray(array).reshape(batch, m, n)
    if tol is not None:
        if rtol is not None:
            raise ValueError("tol: expected None beside rtol")
        ranks = _above(kernels.to_host(stack), _checked_tol(tol, tuple(axes)))
        return _shaped(kernels, ranks, axes)
    if rtol is None:
        rtol = max(m, n) * eps
    rtol = positive("rtol", rtol, zero=True, none=True)
    if batch == 0 or m == 0 or n == 0:
        ranks = np.zeros(batch, dtype=np.int64)
    elif max(m, n) > kernels.largest_side:  # an SVD decides at once
        stack = kernels.to_host(stack)
        _check_finite(stack)
        ranks = _by_svd(stack, rtol)
    else:
        ranks, unsure, not_finite = kernels.rank_real(stack, rtol, thread_count(threads))
        if not_finite >= 0:
            raise ValueError(f"a: expected finite numbers, got nan or inf in matrix {not_finite}")
        if len(unsure):
            ranks = kernels.to_host(ranks)
            ranks[unsure] = _by_svd(kernels.gather(stack, unsure), rtol)
    return _shaped(kernels, ranks, axes)


def _as_float(array: np.ndarray) -> np.ndarray:
    """float32 or float64 in this machine's byte order, where the numbers are real; else the array as it is."""
    if array.dtype.kind in "iub":
        return array.astype(np.float64)
    if array.dtype.kind == "f" and array.dtype.itemsize <= 8:
        return array.astype(np.float64 if array.dtype.itemsize == 8 else np.float32, copy=False)
    return array


def _check_finite(stack: np.ndarray) -> None:
    if not np.isfinite(stack).all():
        raise ValueError("a: expected finite numbers, got nan or inf")


def _checked_tol(tol: object, axes: tuple[int, ...]) -> np.ndarray:
    """float64 [batch]."""
    value = to_numpy("tol", tol)
    if value.dtype.kind not in "fiu":
        raise TypeError(f"tol: expected a number, or an array over the batch axes, got {tol!r}")
    if not (np.isfinite(value) & (value >= 0)).all():
        raise ValueError(f"tol: expected finite numbers of at least 0, got {tol!r}")
    try:
        return np.broadcast_to(value, axes).reshape(-1).astype(np.float64)
    except ValueError:
        raise ValueError(f"tol: expected a number, or an array of shape {list(axes)}, got {list(value.shape)}") from None


def _above(stack: np.ndarray, tol: np.ndarray) -> np.ndarray:
    _check_finite(stack)
    if 0 in stack.shape:
        return np.zeros(len(stack), dtype=np.int64)
    return np.count_nonzero(np.linalg.svd(stack, compute_uv=False) > tol[:, None], axis=-1).astype(np.int64)


def _shaped(kernels: Kernels, ranks: Any, axes: list[int]) -> Any:
    """[batch] as the caller's batch axes; one number where there are none."""
    if kernels.on_device:
        return kernels.to_caller(ranks.reshape(tuple(axes)))
    return kernels.to_caller(ranks.reshape(axes)) if axes else ranks[0]


def _by_svd(stack: np.ndarray, rtol: float) -> np.ndarray:
    values = np.linalg.svd(stack, compute_uv=False)
    tolerance = values.max(axis=-1, keepdims=True, initial=0) * np.asarray(rtol, dtype=values.dtype)
    return np.count_nonzero(values > tolerance, axis=-1).astype(np.int64)


def rank_mod(
    a: np.ndarray, p: int = 2**31 - 1, *, threads: int | None = None, backend: Backend = "auto", stream: object = None
) -> np.ndarray:
    """Exact rank over GF(p) of integer matrices.

    a: integers or bools [.., m, n], any number of batch axes and any sign; they are reduced mod p. p: a prime below 2**31
    (2 included). Integers beyond 64 bits come as an object array, and are reduced exactly.
    Returns int64 [..]. Never too large for the rank over the rationals. An array of numpy, torch or cupy (on a GPU
    int64 only); the result lives where it lives.
    Errors: TypeError unless all entries are integers, ValueError for fewer than two axes or a modulus that is not such a prime.

    >>> sl.rank_mod(np.array([[[2, 1], [0, 2]], [[1, 1], [0, 1]]]), p=2)
    array([1, 2])
    """
    kernels = kernels_for(backend, stream, a=a)
    array = kernels.from_caller("a", a) if kernels.on_device else to_numpy("a", a)
    if kernels.on_device and array.dtype != np.int64:
        raise TypeError(f"a: expected int64 on a GPU, got {array.dtype}")
    if array.dtype.kind not in "iubO":
        raise TypeError(f"a: expected an integer dtype, got {array.dtype}")
    if array.ndim < 2:
        raise ValueError(f"a: expected shape [.., m, n], got {list(array.shape)}")
    p = whole_number("p", p, 2, 2**31 - 1)
    if not cpu.is_prime(p):
        raise ValueError(f"p: expected a prime below 2**31, got {p}")
    *axes, m, n = array.shape
    shape = (math.prod(axes), m, n)
    stack = array.reshape(shape)
    if stack.dtype == object:
        stack = _reduced(stack, p)
    if 0 in shape:
        return _shaped(kernels, np.zeros(shape[0], dtype=np.int64), axes)
    if kernels.on_device:
        return _shaped(kernels, kernels.rank_mod(stack, p), axes)  # the kernel reduces
    if stack.dtype == np.uint64:  # the one integer type that int64 does not hold
        stack = stack % np.uint64(p)
    stack = np.ascontiguousarray(stack, dtype=np.int64)
    try:
        ranks = kernels.rank_mod(stack, p, thread_count(threads))
    except ValueError:  # an entry outside [0, p), which the kernel notices on its way
        ranks = kernels.rank_mod(stack % p, p, thread_count(threads))
    return _shaped(kernels, ranks, axes)


def _reduced(stack: np.ndarray, p: int) -> np.ndarray:
    """int64: the integers of an object array mod p."""
    out = np.empty(stack.size, dtype=np.int64)
    for place, entry in enumerate(stack.flat):
        try:
            out[place] = operator.index(entry) % p
        except TypeError:
            raise TypeError(f"a: expected integers, got {entry!r} ({type(entry).__name__})") from None
    return out.reshape(stack.shape)
