"""W4: does a solution exist? Batched Levenberg-Marquardt on the students of W3 (linear recurrent 2-8-2, T = 6, 12 learnable entries of W),
float64.

A student is matched when ||y - y*||^2 / ||y*||^2 < 1e-20. Three tables:
  iterations  ours is the compiled search itself, ten starts, which counts its iterations; jax and torch do 40 iterations of plain
              Levenberg-Marquardt on every student at once; scipy solves a few students one after the other, with the exact Jacobian.
  matches     the same peers, and ours with one start, every search from the student's own weights: students matched per second. Here a
              faster iteration does not help who needs more of them.
  existence   `sl.match_probability(..., starts=30, screen=False)`: matched fraction after 1, 3, 10 and 30 starts, and seconds with
              drawing the trials.

FLOP of one iteration, with E = o (T-1) outputs that depend on W and k = min(r, E), two per multiply-add:
  2 (2 (T-1) n (n+o)  two forward passes (the trial point; the bend)  + (T-1) o n^2 + r o T (T-1)/2  the Jacobian
     + k^2 max(r, E)/2 + k^3/6  normal equations and Cholesky  + 2 k^2 + 3 r E  two solves, and products with the Jacobian).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

import sublearn as sl

from . import machine
from .harness import OURS, Candidate, Listing, Options, Peer, Sweep, Table, Timing, build, goal_of, interleave, short, sweep, thread_steps
from .libraries import jax_cpu, torch_cpu
from .w3_fit_recurrent import BUDGET, STUDENTS, Problem, problem_of

TOLERANCE = 1e-20
OUR_STARTS, OUR_ITERATIONS, PEER_ITERATIONS = 10, 200, 40
FIRST_DAMPING, ACCEPT, REJECT = 1e-2, 0.15, 4.0  # of the peers, times a tenth of the trace of J J^T
FLOP_TEXT = "2 (2 (T-1) n (n+o) + (T-1) o n^2 + r o T (T-1)/2 + k^2 max(r,E)/2 + k^3/6 + 2 k^2 + 3 r E), E = o (T-1), k = min(r, E)"


def flop(n: int, o: int, T: int, r: int) -> float:
    E = o * (T - 1)
    k = min(r, E)
    return 2 * (
        2 * (T - 1) * n * (n + o) + (T - 1) * o * n * n + r * o * T * (T - 1) / 2 + k * k * max(r, E) / 2 + k**3 / 6 + 2 * k * k + 3 * r * E
    )


@dataclass(frozen=True)
class Search:
    """The problem as the peers want it."""

    problem: Problem
    rows: np.ndarray  # int64 [batch, r]: row and column in W of every learnable entry
    columns: np.ndarray
    norm: np.ndarray  # [batch] ||y*||^2

    @property
    def start(self) -> np.ndarray:
        """[batch, r]: the student's own values of its learnable entries."""
        return np.take_along_axis(self.problem.W.reshape(len(self.rows), -1), self.rows * self.problem.W.shape[1] + self.columns, 1)

    def matched(self, squares: np.ndarray) -> tuple[int, int]:
        """How many students have ||y - y*||^2 small enough, and of how many."""
        return int((np.asarray(squares) / self.norm < TOLERANCE).sum()), len(self.norm)


def search_of(students: int) -> Search:
    problem = problem_of(np.float64, students, seed=3)
    n = problem.W.shape[1]
    flat = np.nonzero(problem.mask.reshape(students, -1))[1].reshape(students, -1)
    return Search(problem, flat // n, flat % n, (problem.trials.y**2).sum(axis=(1, 2)))


def newton(problem: Problem, starts: int, threads: int) -> sl.SearchResult:
    """The compiled search: .start (the first start that matched, -1 if none), .iterations (of all students together), .."""
    t = problem.trials
    how = {"starts": starts, "iterations": OUR_ITERATIONS, "tol": TOLERANCE, "seed": t.seed, "task": t.task, "threads": threads}
    return sl.levenberg_marquardt(problem.net, t.student, t.x, t.y, t.mask, **how)


def _jax(search: Search, options: Options) -> Candidate:
    jax, jnp = jax_cpu()
    p = search.problem
    W0, b, D, Y, rows, columns = (jnp.asarray(a) for a in (p.W, p.drive, p.D, p.trials.y, search.rows, search.columns))

    def residual(theta, W0, b, D, Y, i, j):
        W, h, out = W0.at[i, j].set(theta), b[0], []
        for t in range(1, len(b)):
            h = W @ h + b[t]
            out.append(D @ h - Y[t])
        return jnp.concatenate(out)

    def step(theta, damping, squares, *student):
        f, J = residual(theta, *student), jax.jacrev(residual)(theta, *student)
        A = J @ J.T
        A = A + damping * jnp.trace(A) * 0.1 * jnp.eye(len(f))
        tried = theta - J.T @ jnp.linalg.solve(A, f)
        now = residual(tried, *student)
        better = now @ now < squares
        return jnp.where(better, tried, theta), damping * jnp.where(better, ACCEPT, REJECT), jnp.where(better, now @ now, squares)

    every = jax.vmap(step)
    batch = len(p.W)
    run = jax.jit(lambda *state: jax.lax.fori_loop(0, PEER_ITERATIONS, lambda _, state: every(*state, W0, b, D, Y, rows, columns), state))
    state = (jnp.asarray(search.start), jnp.full(batch, FIRST_DAMPING), jnp.full(batch, 1e300))
    return Candidate(
        "jax vmap LM",
        "jax",
        lambda: jax.block_until_ready(run(*state)),
        batch * PEER_ITERATIONS,
        answer=lambda: search.matched(run(*state)[2]),
    )


def _torch(search: Search, options: Options) -> Candidate:
    torch = torch_cpu(options)
    p = search.problem
    W0, b, D, Y, i, j = (torch.from_numpy(a) for a in (p.W, p.drive, p.D, p.trials.y, search.rows, search.columns))
    batch, (T, o, r) = len(W0), (b.shape[1], D.shape[1], i.shape[1])
    every, E = torch.arange(batch)[:, None], o * (T - 1)
    identity = torch.eye(E, dtype=W0.dtype)

    def residual(theta):
        W = W0.clone()
        W[every, i, j] = theta
        hs, out = [b[:, 0]], []
        for t in range(1, T):
            hs.append(torch.bmm(W, hs[-1][:, :, None])[:, :, 0] + b[:, t])
            out.append(torch.bmm(D, hs[-1][:, :, None])[:, :, 0] - Y[:, t])
        return torch.cat(out, 1), W, hs

    def step(theta, damping, squares):
        f, W, hs = residual(theta)
        chains = [D]  # D W^q
        for _ in range(T - 2):
            chains.append(torch.bmm(chains[-1], W))
        left = [torch.gather(chain, 2, i[:, None, :].expand(batch, o, r)) for chain in chains]
        right = [torch.gather(h, 1, j)[:, None, :] for h in hs[:-1]]
        J = torch.cat([sum(left[t - u] * right[u] for u in range(t + 1)) for t in range(T - 1)], 1)
        A = J @ J.transpose(1, 2)
        A = A + (damping * A.diagonal(dim1=1, dim2=2).sum(1) * 0.1)[:, None, None] * identity
        tried = theta - (J.transpose(1, 2) @ torch.linalg.solve(A, f[:, :, None]))[:, :, 0]
        now = (residual(tried)[0] ** 2).sum(1)
        better = now < squares
        return (
            torch.where(better[:, None], tried, theta),
            torch.where(better, damping * ACCEPT, damping * REJECT),
            torch.where(better, now, squares),
        )

    def run(iterations: int = PEER_ITERATIONS):
        state = (
            torch.tensor(search.start),
            torch.full((batch,), FIRST_DAMPING, dtype=W0.dtype),
            torch.full((batch,), 1e300, dtype=W0.dtype),
        )
        for _ in range(iterations):
            state = step(*state)
        return state[2]

    return Candidate("torch batched LM", "torch", run, batch * PEER_ITERATIONS, answer=lambda: search.matched(run().numpy()))


def _scipy(search: Search, options: Options) -> Candidate:
    from scipy.optimize import least_squares

    p = search.problem
    T, count = p.drive.shape[1], 16 if options.quick else 64

    def solve(s: int):
        W, b, D, Y, i, j = p.W[s].copy(), p.drive[s], p.D[s], p.trials.y[s], search.rows[s], search.columns[s]

        def activities(theta):
            W[i, j] = theta
            hs = [b[0]]
            for t in range(1, T):
                hs.append(W @ hs[-1] + b[t])
            return hs

        def residual(theta):
            return np.concatenate([D @ h - Y[t + 1] for t, h in enumerate(activities(theta)[1:])])

        def jacobian(theta):
            hs, chains = activities(theta), [D]
            for _ in range(T - 2):
                chains.append(chains[-1] @ W)
            return np.concatenate([sum(chains[t - u][:, i] * hs[u][j] for u in range(t + 1)) for t in range(T - 1)])

        return least_squares(residual, search.start[s], jac=jacobian, method="trf", xtol=1e-15, ftol=1e-15, gtol=1e-15, max_nfev=200)

    solved = [solve(s) for s in range(count)]
    matched = sum(2 * result.cost / search.norm[s] < TOLERANCE for s, result in enumerate(solved))
    iterations = sum(result.nfev for result in solved)
    return Candidate(
        "scipy least_squares",
        "scipy",
        lambda: [solve(s) for s in range(count)],
        iterations,
        f"{count} students, one by one",
        lambda: (int(matched), count),
    )


PEERS = (Peer("jax vmap LM", "jax", _jax), Peer("torch batched LM", "torch", _torch), Peer("scipy least_squares", "scipy", _scipy))


def run(options: Options) -> Iterator[Table | Listing | Sweep]:
    yield from races(options)
    yield existence(options)
    yield from sweeps(options)


def races(options: Options) -> Iterator[Table]:
    """Iterations per second, then matches per second, from the same timings."""
    threads = options.threads
    search = search_of(256 if options.quick else STUDENTS)
    problem, batch = search.problem, len(search.rows)
    many, single = newton(problem, OUR_STARTS, threads), newton(problem, 1, threads)
    ours = [
        Candidate(OURS, OURS, lambda: newton(problem, OUR_STARTS, threads), many.iterations, f"{OUR_STARTS} starts"),
        Candidate(OURS, OURS, lambda: newton(problem, 1, threads), single.iterations, "one start"),
    ]
    found: dict[str, tuple[float, int, int]] = {}  # iterations, students matched, students

    def note_matches(peer: Candidate) -> None:
        found[peer.name] = (peer.work, *peer.answer())

    ready, absent = build(PEERS, search, options, note_matches)
    timed = interleave([*ours, *ready], options)
    by_name = {timing.name: timing for timing in timed[2:] + absent}
    peers = [by_name[peer.name] for peer in PEERS]
    n, o, T = 8, 2, problem.net.steps
    where = f"{batch} students 2-8-2, T = {T}, r = {BUDGET}, {threads} threads"
    yield Table(
        "W4",
        "8 hidden",
        "float64",
        "iterations",
        f"Levenberg-Marquardt of {where}",
        [timed[0], *peers],
        flop(n, o, T, BUDGET),
        FLOP_TEXT,
        machine.peak(64, threads),
        goal_of("W4", "float64", "8 hidden"),
    )
    yield Table(
        "W4",
        "matches",
        "float64",
        "matches",
        f"students matched from their own weights, one start each, of {where}",
        [
            per_match(timed[1], single.iterations, int((single.start >= 0).sum()), batch),
            *(per_match(peer, *found[peer.name]) if peer.name in found else peer for peer in peers),
        ],
    )


def per_match(timing: Timing, iterations: float, matches: int, students: int) -> Timing:
    """Seconds per match out of seconds per iteration."""
    note = f"matched {matches} of {students} in {short(iterations / students)} iterations each"
    if timing.absent or not matches:
        return Timing(timing.name, timing.library, note, absent=timing.absent or "matched none")
    return Timing(timing.name, timing.library, note, [seconds * iterations / matches for seconds in timing.per_unit])


def existence(options: Options) -> Listing:
    """How many of the students have a solution that so many starts find, and how long that takes."""
    net, students = sl.Recurrent(2, 8, 2, 6), 512 if options.quick else STUDENTS
    rows, after = [], (1, 3, 10, 30)
    for budget in (8, 12, 20) if options.quick else range(8, 21):
        began = time.perf_counter()
        result = sl.match_probability(
            net, sl.scattered(net, budget, "W"), trials=students, shared=("B", "D"), starts=after[-1], screen=False, threads=options.threads
        )
        seconds = time.perf_counter() - began
        rows.append([budget, *(int(result.found_after[starts - 1]) / students for starts in after), seconds])
    return Listing(
        "W4",
        f"existence: matched fraction of {students} students 2-8-2, T = 6, r scattered entries of W, without the rank screen",
        ["r", *(f"{starts} start{'s' * (starts > 1)}" for starts in after), "seconds"],
        rows,
    )


def sweeps(options: Options) -> Iterator[Sweep]:
    """How our cost per iteration grows, from one base case."""
    what = "n = 8, r = 12, T = 6, batch 2048, all threads, two starts"

    def point(threads=options.threads, students=2048, **sizes):
        problem = problem_of(np.float64, students, **sizes)
        return lambda: newton(problem, 2, threads), newton(problem, 2, threads).iterations

    yield sweep("W4", "n", what, "iteration", (4, 6, 8, 12, 16, 24), lambda n: point(n=n, students=512 if n > 12 else 2048), options)
    yield sweep("W4", "r", what, "iteration", (4, 8, 10, 12, 16, 20, 32), lambda r: point(budget=r), options)
    yield sweep("W4", "T", what, "iteration", (3, 4, 6, 8, 12), lambda T: point(steps=T), options)
    yield sweep("W4", "batch", what, "iteration", (1, 16, 256, 4096), lambda batch: point(students=batch), options)
    yield sweep("W4", "threads", what, "iteration", thread_steps(options), lambda threads: point(threads=threads), options)
