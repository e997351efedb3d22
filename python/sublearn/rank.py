"""Ranks of batches of matrices: numerical (`rank`) and exact mod p (`rank_mod`). What a rank means for a network is in theory.py."""

from __future__ import annotations

import numpy as np

from . import _cpu, _dispatch
from ._arrays import FLOATS, thread_count
from ._errors import whole_number

LARGEST_SIDE = 128  # larger matrices go to LAPACK at once; one matrix per SIMD lane no longer fits the cache


def rank(a: np.ndarray, rtol: float | None = None, *, threads: int | None = None, backend: str = "auto") -> np.ndarray:
    """Number of singular values above rtol times the largest: the verdict of numpy.linalg.matrix_rank.

    a: float32 or float64 [batch, m, n] or [m, n]. rtol: max(m, n) eps of the dtype by default. Returns int64 [batch], or one int64.
    A pivoted QR decides where it can prove the verdict (||R22|| and ||R11^-1|| against the tolerance); the rest, matrices with a
    singular value near the tolerance, is decided by numpy's SVD itself.
    Errors: TypeError for another dtype, ValueError for nan, inf, an empty batch or a negative rtol.
    """
    _dispatch.choose(backend)
    array = np.asarray(a)
    if array.dtype not in FLOATS:
        raise TypeError(f"a: expected float32 or float64, got {array.dtype}")
    if array.ndim not in (2, 3):
        raise ValueError(f"a: expected shape [batch, m, n] or [m, n], got {list(array.shape)}")
    stack = np.ascontiguousarray(array if array.ndim == 3 else array[None])
    batch, m, n = stack.shape
    if batch == 0:
        raise ValueError(f"a: expected at least one matrix, got {list(array.shape)}")
    if rtol is None:
        rtol = max(m, n) * float(np.finfo(stack.dtype).eps)
    rtol = float(rtol)
    if not 0 <= rtol < np.inf:
        raise ValueError(f"rtol: expected a finite number >= 0, got {rtol}")
    if m == 0 or n == 0:
        ranks = np.zeros(batch, dtype=np.int64)
    elif max(m, n) > LARGEST_SIDE:
        if not np.isfinite(stack).all():
            raise ValueError("a: expected finite numbers, got nan or inf")
        ranks = _by_svd(stack, rtol)
    else:
        ranks, certified, finite = _cpu.rank_real(stack, rtol, thread_count(threads))
        if not finite.all():
            raise ValueError(f"a: expected finite numbers, got nan or inf in matrix {int(np.argmin(finite))}")
        unsure = np.flatnonzero(certified == 0)
        if len(unsure):
            ranks[unsure] = _by_svd(stack[unsure], rtol)
    return ranks if array.ndim == 3 else ranks[0]


def _by_svd(stack: np.ndarray, rtol: float) -> np.ndarray:
    values = np.linalg.svd(stack, compute_uv=False)
    tolerance = values.max(axis=-1, keepdims=True, initial=0) * np.asarray(rtol, dtype=values.dtype)
    return np.count_nonzero(values > tolerance, axis=-1).astype(np.int64)


def rank_mod(a: np.ndarray, p: int = 2**31 - 1, *, threads: int | None = None, backend: str = "auto") -> np.ndarray:
    """Exact rank over GF(p) of integer matrices.

    a: integers [batch, m, n] or [m, n], any sign; they are reduced mod p. p: a prime below 2**31 (2 included).
    Returns int64 [batch], or one int64. Never too large for the rank over the rationals.
    Errors: TypeError unless the dtype is an integer one, ValueError for an empty batch or a modulus that is not such a prime.
    """
    _dispatch.choose(backend)
    array = np.asarray(a)
    if array.dtype.kind not in "iu":
        raise TypeError(f"a: expected an integer dtype, got {array.dtype}")
    if array.ndim not in (2, 3):
        raise ValueError(f"a: expected shape [batch, m, n] or [m, n], got {list(array.shape)}")
    p = whole_number("p", p, 2, 2**31 - 1)
    if not _cpu.is_prime(p):
        raise ValueError(f"p: expected a prime below 2**31, got {p}")
    stack = array if array.ndim == 3 else array[None]
    if len(stack) == 0:
        raise ValueError(f"a: expected at least one matrix, got {list(array.shape)}")
    if stack.size and stack.min() >= 0 and stack.max() < p:
        reduced = stack.astype(np.int64, copy=False)
    elif np.iinfo(stack.dtype).max >= p:
        reduced = (stack % stack.dtype.type(p)).astype(np.int64, copy=False)
    else:
        reduced = stack.astype(np.int64, copy=False) % p
    if 0 in stack.shape:
        ranks = np.zeros(len(stack), dtype=np.int64)
    else:
        ranks = _cpu.rank_mod(np.ascontiguousarray(reduced), p, thread_count(threads))
    return ranks if array.ndim == 3 else ranks[0]
