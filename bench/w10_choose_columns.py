"""W10: 20 of the 200 columns of a 60 x 200 Jacobian, chosen one at a time by orthogonal least squares for a wanted change g.

Ours is `sl.choose_columns(J, g, 20, guard=0)` on C-ordered arrays. Every peer does it in the two ways one would write: "R updated" keeps
what is left of all columns and takes the new direction from it; "downdated" keeps lengths and products only, as ours does, and
orthogonalises the column taken against those before. All must choose the same columns. Seconds are those of the CPU, of all threads
together: what one core would take.

FLOP of one matrix, downdated: per column taken one product with all columns, two orthogonalisations: steps (2 m p + 4 m (steps - 1)).
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
from .w9_bottleneck import problem_of

STEPS, CASE = 20, "20 of 200, 60 rows"
FLOP_TEXT = "steps (2 m p + 4 m (steps - 1))"


def flop(m: int, p: int, steps: int) -> float:
    return steps * (2 * m * p + 4 * m * (steps - 1))


def choose(problem, threads: int, steps: int = STEPS) -> np.ndarray:
    return sl.choose_columns(*problem, steps, guard=0, threads=threads).indices


def _numpy(problem, options: Options, downdated: bool = False) -> Candidate:
    J, g = problem
    every, m = np.arange(len(J)), J.shape[1]

    def run():
        R, y, chosen, Q = J.copy(), g.copy(), [], np.zeros((len(J), STEPS, m))
        q = (R * R).sum(1)
        c, q0 = np.einsum("bmp,bm->bp", R, y), q.copy()
        for t in range(STEPS):
            if not downdated and t:
                q, c = (R * R).sum(1), np.einsum("bmp,bm->bp", R, y)
            k = np.where(q > 1e-20 * q0, c * c / np.where(q > 0, q, 1), -1).argmax(1)
            u = R[every, :, k]
            for _ in range(2 * downdated):
                u = u - ((Q[:, :t] @ u[:, :, None]).transpose(0, 2, 1) @ Q[:, :t])[:, 0]
            u = u / np.sqrt((u * u).sum(1, keepdims=True))
            along, w = (u * y).sum(1, keepdims=True), (u[:, None] @ R)[:, 0]
            y = y - along * u
            Q[:, t] = u
            if downdated:
                q, c = q - w * w, c - along * w
                q[every, k] = 0
            else:
                R = R - u[:, :, None] * w[:, None]
            chosen.append(k)
        return np.stack(chosen, 1)

    return Candidate(f"numpy {_way(downdated)}", "numpy", run, len(J), answer=run)


def _torch(problem, options: Options, downdated: bool = False) -> Candidate:
    torch = torch_cpu(options)
    J, g = (torch.from_numpy(array) for array in problem)
    m = J.shape[1]

    def run():
        R, y, chosen, Q = J if downdated else J.clone(), g.clone(), [], torch.zeros((len(J), STEPS, m), dtype=J.dtype)
        q = (R * R).sum(1)
        c, q0 = torch.einsum("bmp,bm->bp", R, y), q.clone()
        for t in range(STEPS):
            if not downdated and t:
                q, c = (R * R).sum(1), torch.einsum("bmp,bm->bp", R, y)
            k = torch.where(q > 1e-20 * q0, c * c / q, torch.full_like(q, -1)).argmax(1)
            u = R.gather(2, k[:, None, None].expand(-1, m, 1))[:, :, 0]
            for _ in range(2 * downdated):
                u = u - (torch.bmm(Q[:, :t], u[:, :, None]).transpose(1, 2) @ Q[:, :t])[:, 0]
            u = u / u.norm(dim=1, keepdim=True)
            along, w = (u * y).sum(1, keepdim=True), torch.bmm(u[:, None], R)[:, 0]
            y = y - along * u
            Q[:, t] = u
            if downdated:
                q, c = (q - w * w).scatter(1, k[:, None], 0.0), c - along * w
            else:
                R = R - u[:, :, None] * w[:, None]
            chosen.append(k)
        return torch.stack(chosen, 1)

    return Candidate(f"torch {_way(downdated)}", "torch", run, len(J), answer=lambda: run().numpy())


def _jax(problem, options: Options, downdated: bool = False) -> Candidate:
    jax, jnp = jax_cpu()
    given = tuple(jnp.asarray(array) for array in problem)

    def one(J, g):
        q0 = (J * J).sum(0)

        def updated(state, _):
            R, y = state
            q = (R * R).sum(0)
            k = jnp.where(q > 1e-20 * q0, (R.T @ y) ** 2 / q, -1.0).argmax()
            u = R[:, k] / jnp.sqrt(q[k])
            return (R - jnp.outer(u, u @ R), y - u * (u @ y)), k

        def lengths_only(state, t):
            q, c, y, Q = state
            k = jnp.where(q > 1e-20 * q0, c * c / q, -1.0).argmax()
            u = J[:, k]
            for _ in range(2):
                u = u - (Q @ u) @ Q
            u = u / jnp.sqrt(u @ u)
            along, w = u @ y, u @ J
            return ((q - w * w).at[k].set(0.0), c - along * w, y - along * u, Q.at[t].set(u)), k

        if downdated:
            start = q0, g @ J, g, jnp.zeros((STEPS, len(g)))
            return jax.lax.scan(lengths_only, start, jnp.arange(STEPS))[1]
        return jax.lax.scan(updated, (J, g), None, length=STEPS)[1]

    run = jax.jit(jax.vmap(one))
    name = f"jax vmap {_way(downdated)}"
    return Candidate(name, "jax", lambda: run(*given).block_until_ready(), len(problem[0]), answer=lambda: np.asarray(run(*given)))


def _way(downdated: bool) -> str:
    return "downdated" if downdated else "R updated"


PEERS = tuple(
    Peer(f"{name} {_way(downdated)}", library, partial(build, downdated=downdated))
    for name, library, build in (("numpy", "numpy", _numpy), ("torch", "torch", _torch), ("jax vmap", "jax", _jax))
    for downdated in (False, True)
)


def run(options: Options) -> Iterator[Table | Sweep]:
    problem = problem_of(0, 200, 100 if options.quick else 1000)[:2]
    wanted, (batch, m, p) = choose(problem, 1), problem[0].shape

    def check(peer: Candidate) -> str | None:
        wrong = int((peer.answer() != wanted).any(axis=1).sum())
        return f"other columns in {wrong} of {batch} matrices" if wrong else None

    yield Table(
        "W10",
        CASE,
        "float64",
        "matrices",
        f"{STEPS} of {p} columns by orthogonal least squares, {batch} matrices of {m} rows, {options.threads} threads",
        measure(Candidate(OURS, OURS, lambda: choose(problem, options.threads), batch), PEERS, problem, options, check, process_time),
        flop(m, p, STEPS),
        FLOP_TEXT,
        machine.peak(64, options.threads),
        goal_of("W10", "float64", CASE),
    )

    def point(steps=STEPS, p=200, batch=500):
        data = problem_of(0, p, batch)[:2]
        return lambda: choose(data, options.threads, steps), batch

    what = "float64, 20 of 200 columns, 60 rows, batch 500, all threads"
    yield sweep("W10", "columns taken", what, "matrix", (1, 5, 20, 60), lambda steps: point(steps=steps), options)
    yield sweep("W10", "p", what, "matrix", (50, 200, 800), lambda p: point(p=p), options)
