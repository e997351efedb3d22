"""W9: what the columns of a 60 x k Jacobian cannot express of a wanted change g: |(I - P) g|^2; and k chosen columns of a 60 x 200 one, own
columns for each matrix.

Ours is `sl.bottleneck` on C-ordered arrays: ranks, coefficients and the proof that no column depends on others are included. The peers pick
their columns inside the timing too; they compute the residual alone, by QR (Q^T g), or by the normal equations (Cholesky, or numpy's solve)
without a refinement, which fail where columns depend on others. Seconds are those of the CPU, of all threads together: what one core would
take. Of 60 x 200 a core reads most of 96 KB per matrix, which bounds every candidate.

FLOP of one matrix, the normal equations refined once: m k (k + 1) + k^3 / 3 + 10 m k. (A Householder QR: 2 m k^2 - 2 k^3 / 3.)
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from time import process_time

import numpy as np

import sublearn as sl

from . import machine
from .harness import OURS, Candidate, Options, Peer, Sweep, Table, goal_of, measure, sweep
from .libraries import jax_cpu, torch_cpu

EQUATIONS, BATCH = 60, 1000
CASES = ((20, None), (40, None), (20, 200), (40, 200))  # columns of which g is expressed, out of
FLOP_TEXT = "m k (k + 1) + k^3/3 + 10 m k"


def flop(m: int, k: int) -> float:
    return m * k * (k + 1) + k**3 / 3 + 10 * m * k


def name_of(k: int, of: int | None) -> str:
    return f"{EQUATIONS}x{k}" + (f" of {of}" if of else "")


def problem_of(k: int, of: int | None, batch: int = BATCH, m: int = EQUATIONS, seed: int = 0):
    """(J [batch, m, of or k], g [batch, m], columns [batch, k] or None: all)."""
    rng = np.random.default_rng(seed)
    J, g = rng.standard_normal((batch, m, of or k)), rng.standard_normal((batch, m))
    return J, g, np.stack([rng.permutation(of)[:k] for _ in range(batch)]) if of else None


def bottleneck(problem, threads: int) -> np.ndarray:
    return sl.bottleneck(*problem, threads=threads).residual


def _numpy(problem, options: Options, normal: bool = False) -> Candidate:
    J, g, columns = problem

    def run():
        A = J if columns is None else np.take_along_axis(J, columns[:, None, :], axis=2)
        if normal:
            At = A.transpose(0, 2, 1)
            x = np.linalg.solve(At @ A, At @ g[:, :, None])
            return ((g - (A @ x)[:, :, 0]) ** 2).sum(axis=1)
        Q = np.linalg.qr(A)[0]
        return ((g - (Q @ (Q.transpose(0, 2, 1) @ g[:, :, None]))[:, :, 0]) ** 2).sum(axis=1)

    return Candidate("numpy normal equations" if normal else "numpy QR", "numpy", run, len(J), answer=run)


def _torch(problem, options: Options, normal: bool = False) -> Candidate:
    torch = torch_cpu(options)
    J, g = (torch.from_numpy(array) for array in problem[:2])
    index = None if problem[2] is None else torch.from_numpy(problem[2])[:, None].expand(-1, J.shape[1], -1)

    def run():
        A = J if index is None else J.gather(2, index)
        At = A.transpose(1, 2)
        if normal:
            x = torch.cholesky_solve(At @ g[:, :, None], torch.linalg.cholesky(At @ A))
            return ((g - (A @ x)[:, :, 0]) ** 2).sum(1)
        Q = torch.linalg.qr(A)[0]
        return ((g - (Q @ (Q.transpose(1, 2) @ g[:, :, None]))[:, :, 0]) ** 2).sum(1)

    return Candidate("torch Cholesky" if normal else "torch QR", "torch", run, len(J), answer=lambda: run().numpy())


def _jax(problem, options: Options, normal: bool = False) -> Candidate:
    jax, jnp = jax_cpu()
    given = tuple(jnp.asarray(array) for array in problem if array is not None)

    def one(J, g, columns=None):
        A = J if columns is None else J[:, columns]
        if normal:
            r = g - A @ jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(A.T @ A), A.T @ g)
        else:
            Q = jnp.linalg.qr(A)[0]
            r = g - Q @ (Q.T @ g)
        return r @ r

    run = jax.jit(jax.vmap(one))
    name = "jax vmap Cholesky" if normal else "jax vmap QR"
    return Candidate(name, "jax", lambda: run(*given).block_until_ready(), len(problem[0]), answer=lambda: np.asarray(run(*given)))


PEERS = (
    *(Peer("numpy " + way, "numpy", partial(_numpy, normal=normal)) for way, normal in (("QR", False), ("normal equations", True))),
    *(Peer("torch " + way, "torch", partial(_torch, normal=normal)) for way, normal in (("QR", False), ("Cholesky", True))),
    *(Peer("jax vmap " + way, "jax", partial(_jax, normal=normal)) for way, normal in (("QR", False), ("Cholesky", True))),
)


def run(options: Options) -> Iterator[Table | Sweep]:
    for k, of in CASES:
        problem = problem_of(k, of, 100 if options.quick else BATCH)
        wanted, batch = bottleneck(problem, 1), len(problem[0])

        def check(peer: Candidate, wanted=wanted) -> str | None:
            worst = float(np.abs(peer.answer() / wanted - 1).max())
            return None if worst < 1e-9 else f"residuals differ by {worst:.0e}"

        case, ours = name_of(k, of), Candidate(OURS, OURS, lambda p=problem: bottleneck(p, options.threads), batch)
        yield Table(
            "W9",
            case,
            "float64",
            "matrices",
            f"residual of g beside the columns, batch {batch}" + (", own columns for each" if of else "") + f", {options.threads} threads",
            measure(ours, PEERS, problem, options, check, process_time),
            flop(EQUATIONS, k),
            FLOP_TEXT,
            machine.peak(64, options.threads),
            goal_of("W9", "float64", case),
        )

    def point(k=20, batch=BATCH):
        problem = problem_of(k, None, batch)
        return lambda: bottleneck(problem, options.threads), batch

    what = "float64, 60 x 20, batch 1000, all threads"
    yield sweep("W9", "k", what, "matrix", (5, 10, 20, 40, 60), lambda k: point(k=k), options)
    yield sweep("W9", "batch", what, "matrix", (1, 16, 256, 4096), lambda batch: point(batch=batch), options)
