"""Ranks of batches of matrices: numerical (`rank`) and exact mod p (`rank_mod`). What a rank means for a network is in
theory/predict.py."""

from __future__ import annotations

import operator

import numpy as np

from .._checks import positive, whole_number
from ..backend.arrays import to_numpy
from ..backend.compiled import cpu
from ..backend.dispatch import kernels_for
from ..backend.selection import Backend
from .arguments import FLOATS, thread_count


def rank(
    a: np.ndarray, rtol: float | None = None, *, threads: int | None = None, backend: Backend = "auto", stream: object = None
) -> np.ndarray:
    """Number of singular values above rtol times the largest: the verdict of numpy.linalg.matrix_rank.

    a: float32 or float64 [batch, m, n] or [m, n]. rtol: max(m, n) eps of the dtype by default. Returns int64 [batch], or one int64.
    A QR decides where it can prove the verdict (||R22|| and ||R11^-1|| against the tolerance); the rest, matrices with a
    singular value near the tolerance, is decided by numpy's SVD itself. An array of numpy, torch or cupy; the result lives where it lives.
    Errors: TypeError for another dtype (integers: convert them, or see `rank_mod`) or rtol, ValueError for nan, inf, more than one batch
    axis, an empty batch or a negative rtol.

    >>> sl.rank(np.array([np.eye(3), np.ones((3, 3))]))
    array([3, 1])
    """
    kernels = kernels_for(backend, stream, a=a)
    array = kernels.from_caller("a", a) if kernels.on_device else to_numpy("a", a)
    if array.dtype not in FLOATS:
        raise TypeError(f"a: expected float32 or float64, got {array.dtype}")
    if array.ndim not in (2, 3):
        raise ValueError(f"a: expected shape [batch, m, n] or [m, n], got {list(array.shape)}")
    batch, m, n = array.shape if array.ndim == 3 else (1, *array.shape)
    stack = array.reshape((batch, m, n)) if kernels.on_device else np.ascontiguousarray(array).reshape(batch, m, n)
    if batch == 0:
        raise ValueError(f"a: expected at least one matrix, got {list(array.shape)}")
    if rtol is None:
        rtol = max(m, n) * float(np.finfo(stack.dtype).eps)
    rtol = positive("rtol", rtol, zero=True, none=True)
    if m == 0 or n == 0:
        ranks = np.zeros(batch, dtype=np.int64)
    elif max(m, n) > kernels.largest_side:  # an SVD decides at once
        stack = kernels.to_host(stack)
        if not np.isfinite(stack).all():
            raise ValueError("a: expected finite numbers, got nan or inf")
        ranks = _by_svd(stack, rtol)
    else:
        ranks, unsure, not_finite = kernels.rank_real(stack, rtol, thread_count(threads))
        if not_finite >= 0:
            raise ValueError(f"a: expected finite numbers, got nan or inf in matrix {not_finite}")
        if len(unsure):
            ranks = kernels.to_host(ranks)
            ranks[unsure] = _by_svd(kernels.gather(stack, unsure), rtol)
    return _without_batch(kernels, ranks, array.ndim)


def _without_batch(kernels, ranks, ndim):
    if kernels.on_device:
        return kernels.to_caller(ranks if ndim == 3 else ranks.reshape(()))
    return kernels.to_caller(ranks) if ndim == 3 else ranks[0]


def _by_svd(stack: np.ndarray, rtol: float) -> np.ndarray:
    values = np.linalg.svd(stack, compute_uv=False)
    tolerance = values.max(axis=-1, keepdims=True, initial=0) * np.asarray(rtol, dtype=values.dtype)
    return np.count_nonzero(values > tolerance, axis=-1).astype(np.int64)


def rank_mod(
    a: np.ndarray, p: int = 2**31 - 1, *, threads: int | None = None, backend: Backend = "auto", stream: object = None
) -> np.ndarray:
    """Exact rank over GF(p) of integer matrices.

    a: integers or bools [batch, m, n] or [m, n], any sign; they are reduced mod p. p: a prime below 2**31 (2 included). Integers beyond 64
    bits come as an object array, and are reduced exactly.
    Returns int64 [batch], or one int64. Never too large for the rank over the rationals. An array of numpy, torch or cupy (on a GPU
    int64 only); the result lives where it lives.
    Errors: TypeError unless all entries are integers, ValueError for an empty batch or a modulus that is not such a prime.

    >>> sl.rank_mod(np.array([[[2, 1], [0, 2]], [[1, 1], [0, 1]]]), p=2)
    array([1, 2])
    """
    kernels = kernels_for(backend, stream, a=a)
    array = kernels.from_caller("a", a) if kernels.on_device else to_numpy("a", a)
    if kernels.on_device and array.dtype != np.int64:
        raise TypeError(f"a: expected int64 on a GPU, got {array.dtype}")
    if array.dtype.kind not in "iubO":
        raise TypeError(f"a: expected an integer dtype, got {array.dtype}")
    if array.ndim not in (2, 3):
        raise ValueError(f"a: expected shape [batch, m, n] or [m, n], got {list(array.shape)}")
    p = whole_number("p", p, 2, 2**31 - 1)
    if not cpu.is_prime(p):
        raise ValueError(f"p: expected a prime below 2**31, got {p}")
    shape = array.shape if array.ndim == 3 else (1, *array.shape)
    if shape[0] == 0:
        raise ValueError(f"a: expected at least one matrix, got {list(array.shape)}")
    stack = array.reshape(shape)
    if stack.dtype == object:
        stack = _reduced(stack, p)
    if 0 in shape:
        return _without_batch(kernels, np.zeros(shape[0], dtype=np.int64), array.ndim)
    if kernels.on_device:
        return _without_batch(kernels, kernels.rank_mod(stack, p), array.ndim)  # the kernel reduces
    if stack.dtype == np.uint64:  # the one integer type that int64 does not hold
        stack = stack % np.uint64(p)
    stack = np.ascontiguousarray(stack, dtype=np.int64)
    try:
        ranks = kernels.rank_mod(stack, p, thread_count(threads))
    except ValueError:  # an entry outside [0, p), which the kernel notices on its way
        ranks = kernels.rank_mod(stack % p, p, thread_count(threads))
    return _without_batch(kernels, ranks, array.ndim)


def _reduced(stack: np.ndarray, p: int) -> np.ndarray:
    """int64: the integers of an object array mod p."""
    out = np.empty(stack.size, dtype=np.int64)
    for place, entry in enumerate(stack.flat):
        try:
            out[place] = operator.index(entry) % p
        except TypeError:
            raise TypeError(f"a: expected integers, got {entry!r} ({type(entry).__name__})") from None
    return out.reshape(stack.shape)
