"""W2: exact ranks over GF(p), p = 2^31 - 1, one core. Half the matrices of full rank, half of a lower rank (uniform).

Ours is `sl.rank_mod(a, p, threads=1)` on int64 numpy: checks and reduction mod p are included. FLINT gets its matrices built before the
timing and runs on one thread. Ranks must agree one by one, and with the planted ones.

Work of one matrix of rank k: sum_{s<k} (m-s-1)(n-s-1) multiply-subtracts mod p, averaged over the batch; integer work, so it has no share
of the multiply-add peak.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

import sublearn as sl

from .harness import OURS, Candidate, Options, Peer, Sweep, Table, goal_of, measure, short, sweep, thread_steps

P = 2**31 - 1
SIZES = ((8, 65536), (16, 32768), (32, 8192), (64, 1024), (512, 1), (1024, 1))
FLINT_MATRICES = 2048  # of the batch; its time per matrix does not depend on how many there are


def planted(batch: int, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(int64 [batch, n, n] in [0, P), ranks [batch]): products of uniform factors, whose ranks are k but for a chance below n / P."""
    rng = np.random.default_rng(seed)
    ranks = rng.integers(0, n + 1, batch)
    ranks[::2] = n
    a = np.zeros((batch, n, n), dtype=np.int64)
    for k in np.unique(ranks):
        at = np.flatnonzero(ranks == k)
        if k == n:
            a[at] = rng.integers(0, P, (len(at), n, n))
            continue
        left, right = rng.integers(0, P, (len(at), n, k)), rng.integers(0, P, (len(at), k, n))
        for s in range(k):  # one outer product at a time: a sum of two reduced products stays below 2^63
            a[at] = (a[at] + left[:, :, s, None] * right[:, None, s, :]) % P
    return a, ranks


def updates(n: int, ranks: np.ndarray) -> float:
    """Multiply-subtracts mod p, mean over the batch."""
    steps = np.cumsum([0] + [(n - s - 1) ** 2 for s in range(n)])
    return float(np.mean(steps[ranks]))


def wrong_ranks(found, ranks: np.ndarray) -> str | None:
    """None, or how many of the first ranks differ from the planted ones."""
    wrong = int((np.asarray(found) != ranks[: len(found)]).sum())
    return f"{wrong} of {len(found)} ranks are wrong" if wrong else None


def _flint(problem: np.ndarray, options: Options) -> Candidate:
    from flint import nmod_mat

    a, n = problem, problem.shape[1]
    matrices = [nmod_mat(n, n, b.ravel().tolist(), P) for b in a[:FLINT_MATRICES]]

    def call():
        return [matrix.rank() for matrix in matrices]

    return Candidate("python-flint nmod_mat", "flint", call, len(matrices), answer=call)


PEERS = (Peer("python-flint nmod_mat", "flint", _flint),)


def run(options: Options) -> Iterator[Table | Sweep]:
    for n, batch in SIZES:
        if options.quick:
            batch = max(1, batch // 16)
        a, ranks = planted(batch, n)
        differs = wrong_ranks(sl.rank_mod(a, P, threads=1), ranks)
        if differs:
            raise AssertionError(f"sl.rank_mod, {n}x{n}: {differs}")
        ours = Candidate(OURS, OURS, lambda a=a: sl.rank_mod(a, P, threads=1), batch)
        case = f"{n}x{n}"
        timings = measure(ours, PEERS, a, options, lambda peer: wrong_ranks(peer.answer(), ranks))
        table = Table(
            "W2", case, "int64", "matrices", f"ranks mod 2^31 - 1, batch {batch}, one thread", timings, goal=goal_of("W2", "int64", case)
        )
        if table.ours.measured:
            count = updates(n, ranks)
            table.notes.append(
                f"{short(table.ours.rate * count / 1e9)} G multiply-subtracts mod p per second; "
                f"{short(count)} per matrix = mean of sum_(s<k) (n-s-1)^2 over the planted ranks k"
            )
        yield table
    yield from sweeps(options)


def sweeps(options: Options) -> Iterator[Sweep]:
    """How our cost grows, from one base case."""
    what = "p = 2^31 - 1, 16x16, batch 4096, one thread"

    def point(n=16, batch=4096, threads=1):
        a = planted(batch, n)[0]
        return lambda: sl.rank_mod(a, P, threads=threads), batch

    yield sweep("W2", "n", what, "matrix", (4, 8, 16, 32, 64, 128, 256), lambda n: point(n=n, batch=max(8, 2**20 // n**3)), options)
    yield sweep("W2", "batch", what, "matrix", (1, 16, 256, 4096, 32768), lambda batch: point(batch=batch), options)
    yield sweep("W2", "threads", what, "matrix", thread_steps(options), lambda threads: point(threads=threads), options)
