"""`python -m tests.adversarial_rank`: numerical ranks of adversarial matrices against LAPACK's SVD, on every instruction set.

Counts, per size and instruction set: matrices; certified (proven by the kernel, no SVD asked); certified and wrong; different from the SVD
where no singular value lies within a factor of 10 of the tolerance. The last two must be 0 (exit code 1 otherwise). Singular values are
those of the matrix scaled by a power of two, so entries from 1e-300 to 1e300 are judged by their own singular values.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator

import numpy as np

from sublearn import _cpu

SIZES = (4, 8, 12, 16, 24, 32, 48)  # both layouts in lanes, and what they leave to the third


def families(rng: np.random.Generator, n: int, batch: int) -> Iterator[tuple[str, np.ndarray]]:
    """(name, matrices [batch, n, n] float64)."""
    normal = rng.standard_normal

    def orthogonal():
        return np.linalg.qr(normal((batch, n, n)))[0]

    def spectrum(s):
        return (orthogonal() * s[:, None, :]) @ orthogonal()

    ranks = rng.integers(0, n + 1, batch)
    planted = (normal((batch, n, n)) * (np.arange(n) < ranks[:, None])[:, None, :]) @ normal((batch, n, n))
    yield "planted rank", planted
    yield (
        "integers of planted rank",
        (rng.integers(-4, 5, (batch, n, n)) * (np.arange(n) < ranks[:, None])[:, None, :]) @ rng.integers(-4, 5, (batch, n, n)) * 1.0,
    )
    s = np.where(np.arange(n) < np.maximum(ranks, 1)[:, None], 10.0 ** -(rng.uniform(0, 13, (batch, 1)) * np.arange(n) / n), 0.0)
    yield "graded, planted rank", spectrum(s)
    yield "graded without a gap", spectrum(10.0 ** -(rng.uniform(10, 25, (batch, 1)) * np.arange(n) / n))
    s = np.ones((batch, n))
    s[:, -1] = 10.0 ** rng.uniform(-18, -10, batch)
    yield "one small singular value", spectrum(s)
    angle = rng.uniform(0.2, 1.4, (batch, 1, 1))
    kahan = np.sin(angle) ** np.arange(n)[:, None] * (np.triu(-np.cos(angle) * np.ones((n, n)), 1) + np.eye(n))
    yield "Kahan", kahan * (1 + 1e-14 * normal((batch, n, n)))
    grid = np.arange(n)
    yield "Hilbert", 1.0 / (grid[:, None] + grid + 1.0 + rng.integers(0, 50, batch)[:, None, None])
    scale = 10.0 ** rng.uniform(-8, 8, (batch, n))
    yield "rows scaled", normal((batch, n, n)) * scale[:, :, None]
    yield "columns scaled", normal((batch, n, n)) * scale[:, None, :]
    yield "planted rank, rows scaled", planted * scale[:, :, None]
    source = rng.integers(0, np.maximum(np.arange(n), 1), (batch, n))
    repeated = normal((batch, n, n))
    for j in range(1, n):  # a quarter of the rows copies of earlier ones, and some zero, each matrix at its own places
        copied = rng.random(batch) < 0.25
        repeated[copied, j] = repeated[copied, source[copied, j]]
    repeated[rng.random((batch, n)) < 0.1] = 0.0
    yield "rows repeated or zero", repeated
    # rows repeat the rounding errors of a small last pivot; what is beside them lies around the tolerance
    r = max(1, n // 2)
    basis, weights = normal((batch, r, n)), normal((batch, n, r))
    basis[:, -1] = 10.0 ** rng.uniform(-6, 0, (batch, 1)) * basis[:, -1] + (basis[:, :-1].sum(1) if r > 1 else 0.0)
    beside = 10.0 ** rng.uniform(-18, -12, (batch, 1, 1)) * normal((batch, n, n))
    yield "small last pivot", weights @ basis + beside * (np.arange(n) >= r)[:, None]
    yield "sparse", rng.integers(-1, 2, (batch, n, n)) * (rng.random((batch, n, n)) < 2.0 / n).astype(float)
    yield "entries from 1e-300 to 1e300", np.sign(normal((batch, n, n))) * 10.0 ** rng.uniform(-300, 300, (batch, n, n))
    largest = np.abs(planted).max((1, 2), keepdims=True)
    unit = planted / np.where(largest > 0, largest, 1.0)
    yield "planted rank, scaled to 1e-300 .. 1e300", unit * 10.0 ** rng.uniform(-300, 300, (batch, 1, 1))


def verdicts(a: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """(ranks by LAPACK's SVD, whether no singular value lies within a factor of 10 of the tolerance), both [batch]; `tolerance` is
    relative to the largest singular value."""
    exponent = np.frexp(np.abs(a).max((1, 2)))[1]
    values = np.linalg.svd(np.ldexp(a, -exponent[:, None, None]), compute_uv=False)
    limit = values[:, :1] * tolerance
    return (values > limit).sum(1), ~((values > limit / 10) & (values < limit * 10)).any(1)


def count(per_family: int, seed: int = 0, sizes: tuple[int, ...] = SIZES) -> dict[str, dict[str, int]]:
    """{"avx2, 8 x 8": counts, ...} over all families. What the kernel does not certify goes to the SVD itself, so only certified verdicts
    can differ from it."""
    found, before = {}, _cpu.isa()
    try:
        for n in sizes:
            tolerance = n * float(np.finfo(float).eps)
            for name, a in families(np.random.default_rng([seed, n]), n, per_family):
                a = np.ascontiguousarray(a)
                expected, clear = verdicts(a, tolerance)
                for isa in _cpu.isas():
                    _cpu.set_isa(isa)
                    ranks, certified, finite = _cpu.rank_real(a, tolerance, 0)
                    if not finite.all():
                        raise AssertionError(f"{name}: finite matrices called not finite on {isa}")
                    sure = certified == 1
                    wrong = sure & (ranks != expected)
                    total = found.setdefault(f"{isa}, {n} x {n}", {})
                    for key, which in (
                        ("matrices", clear | True),
                        ("certified", sure),
                        ("certified and wrong", wrong),
                        ("clear", clear),
                        ("different where clear", wrong & clear),
                    ):
                        total[key] = total.get(key, 0) + int(which.sum())
    finally:
        _cpu.set_isa(before)
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.adversarial_rank", description=__doc__.split("\n")[0])
    parser.add_argument("--per-family", type=int, default=1200, help="matrices per family and size (default 1200: 109 200 in all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", metavar="PATH", help="write the counts to this file too")
    options = parser.parse_args(arguments)
    found = count(options.per_family, options.seed)
    for name, counts in found.items():
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in counts.items()))
    totals = {key: sum(counts[key] for counts in found.values()) for key in next(iter(found.values()))}
    print("all: " + ", ".join(f"{key} {value}" for key, value in totals.items()))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(found | {"all": totals}, file, indent=1)
            file.write("\n")
    return 1 if totals["certified and wrong"] or totals["different where clear"] else 0


if __name__ == "__main__":
    sys.exit(main())
