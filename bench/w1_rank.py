"""W1: ranks of a batch of float matrices, half of full rank, half of a lower rank (uniform), as products of Gaussian factors.

Ours is `sl.rank(a)` on a C-ordered numpy array: conversion of the layout and the SVD of matrices it cannot certify are included.
The peers get their own arrays, prepared outside the timing. Every verdict is compared with the planted rank.

FLOP of one matrix m x n of rank k, k steps of Householder elimination: sum_{s<k} 4 (m-s)(n-s) = 4 (m n k - (m+n) k^2 / 2 + k^3 / 3),
averaged over the batch. (Column norms and the certificate are not counted.)
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

import sublearn as sl

from . import machine
from .harness import OURS, Candidate, Options, Peer, Sweep, Table, goal_of, measure, sweep, thread_steps
from .libraries import jax_cpu, torch_cpu

SIZES = ((8, 8, 65536), (16, 16, 32768), (32, 32, 8192), (64, 64, 1024), (48, 96, 1024))
FLOP_TEXT = "mean of 4 (m n k - (m+n) k^2/2 + k^3/3) over the planted ranks k"


def planted(batch: int, m: int, n: int, dtype: type, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(matrices [batch, m, n], their ranks [batch])."""
    rng = np.random.default_rng(seed)
    ranks = rng.integers(0, min(m, n) + 1, batch)
    ranks[::2] = min(m, n)
    a = np.zeros((batch, m, n))
    for k in np.unique(ranks):
        at = np.flatnonzero(ranks == k)
        if k == min(m, n):
            a[at] = rng.standard_normal((len(at), m, n))
        else:
            a[at] = rng.standard_normal((len(at), m, k)) @ rng.standard_normal((len(at), k, n))
    return a.astype(dtype), ranks


def flop(m: int, n: int, ranks: np.ndarray) -> float:
    k = ranks.astype(float)
    return float(np.mean(4 * (m * n * k - (m + n) * k**2 / 2 + k**3 / 3)))


def _differing(found: np.ndarray, ranks: np.ndarray) -> str:
    wrong = int((np.asarray(found) != ranks).sum())
    return f"{wrong} of {len(ranks)} differ from the planted rank" if wrong else ""


def _numpy(problem, options: Options) -> Candidate:
    a, ranks = problem
    return Candidate("numpy", "numpy", lambda: np.linalg.matrix_rank(a), len(a), _differing(np.linalg.matrix_rank(a), ranks))


def _torch(problem, options: Options) -> Candidate:
    torch = torch_cpu(options)
    a, ranks = torch.from_numpy(problem[0]), problem[1]
    return Candidate("torch", "torch", lambda: torch.linalg.matrix_rank(a), len(a), _differing(torch.linalg.matrix_rank(a).numpy(), ranks))


def _jax(problem, options: Options) -> Candidate:
    jax, jnp = jax_cpu()
    a, ranks = jnp.asarray(problem[0]), problem[1]
    rank = jax.jit(jax.vmap(jnp.linalg.matrix_rank))
    return Candidate("jax vmap", "jax", lambda: rank(a).block_until_ready(), len(a), _differing(rank(a), ranks))


PEERS = (Peer("numpy", "numpy", _numpy), Peer("torch", "torch", _torch), Peer("jax vmap", "jax", _jax))


def run(options: Options) -> Iterator[Table | Sweep]:
    threads = options.threads
    for dtype in (np.float64, np.float32):
        name = np.dtype(dtype).name
        for m, n, batch in SIZES:
            batch = batch // 8 if options.quick else batch
            problem = a, ranks = planted(batch, m, n, dtype)
            note = _differing(sl.rank(a, threads=threads), ranks)
            ours = Candidate(OURS, OURS, lambda a=a: sl.rank(a, threads=threads), batch, note)
            case = f"{m}x{n}"
            yield Table(
                "W1",
                case,
                name,
                "matrices",
                f"ranks, batch {batch}, half full rank, half lower, {threads} threads",
                measure(ours, PEERS, problem, options),
                flop(m, n, ranks),
                FLOP_TEXT,
                machine.peak(np.dtype(dtype).itemsize * 8, threads),
                goal_of("W1", name, case),
            )
    yield from sweeps(options)


def sweeps(options: Options) -> Iterator[Sweep]:
    """How our cost grows, from one base case."""
    what = "float64, 16x16, batch 8192, all threads"

    def point(n=16, batch=8192, threads=options.threads):
        a = planted(batch, n, n, np.float64)[0]
        return lambda: sl.rank(a, threads=threads), batch

    yield sweep("W1", "n", what, "matrix", (4, 8, 16, 24, 32, 48, 64, 96), lambda n: point(n=n, batch=max(256, 2**21 // n**3)), options)
    yield sweep("W1", "batch", what, "matrix", (1, 16, 256, 4096, 65536), lambda batch: point(batch=batch), options)
    yield sweep("W1", "threads", what, "matrix", thread_steps(options), lambda threads: point(threads=threads), options)
