"""Exact existence verdicts (D4) of linear networks: what is left after the rank screen and the affine solve of match/decide.py.

The ladder, for every trial (section 3 of the theory):
1. A few starts of Newton's method find most solutions, and cost least. A point that cannot be certified counts only if it is no near miss
   (`decide._Problem.no_near_miss`): searches where no match exists come below 1e-20 in some 1e-3 of trials, and none of 27 400 came below
   1e-24.
2. An allocation with everything free that is not shared matches the teacher, if there is one (D4). Structures of T7 were solved before
   (existence/by_substitution.py).
3. r = kappa: the found solutions of the complex system at a random point (monodromy, once for every allocation) are followed to the
   trial's data, until one real end point is certified. None real: all paths again with small steps, then from a second random point.
   An odd degree settles the trial even if no path did (T8), where targets are generic: those of a teacher drawn from the law.
4. r > kappa: square sub-allocations (surplus weights keep the student's values), tried one after the other; a yes of one is a yes (T9).
A no needs as many distinct converged ends as there are solutions, closed under conjugation, none of them near real: it rests on the
degree, which must be the same from two random points, where the trace test (homotopy/trace_test.py) has found none missing if targets are
free. That is numerics, not a proof, and is not called certified. So does a yes by T8.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..backend.compiled import cpu
from ..homotopy import forcing_equations
from ..homotopy.loops import SAME
from ..homotopy.monodromy import monodromy
from ..homotopy.system import CAREFUL, CONVERGED, NORMAL, System, system_of
from ..model.network import Network
from ..ops.arguments import index_rows
from ..ranks.generic_rank import attained_ranks, free_weights
from .certify import certify, certify_response

_CLEARLY_COMPLEX = 1e-3  # the same, of those that rounding of targets cannot bring together
_NEAR_REAL = 1e-6  # largest imaginary part, relative to the size, of an end point that may be real
_SUBS = 6  # square sub-allocations tried where r > kappa
_MOST = 600  # solutions of one allocation that are followed
_KEPT = 4096  # allocations whose solutions are remembered between calls


class Cache:
    """Solutions of allocations of one System at random points, by mask: found quickly, or as completely as can be told."""

    def __init__(self, system: System, most: int, threads: int):
        self.system, self.most, self.threads = system, most, threads
        self.known: dict[tuple, dict[bytes, Entry]] = {}

    def of(self, masks: np.ndarray, which: int, thorough: bool, kernels=None) -> list[Entry]:
        """Entries for masks bool [m, size] with r = rho = kappa, from random point number `which`."""
        known = self.known.setdefault((which, thorough), {})
        keys = [np.packbits(mask).tobytes() for mask in masks]
        new = {key: k for k, key in enumerate(keys) if key not in known}
        if new:
            base = monodromy(
                self.system, masks[list(new.values())], seed=which, most=self.most, thorough=thorough, threads=self.threads, kernels=kernels
            )
            known.update(zip(new, (Entry(base.point, z, bool(c)) for z, c in zip(base.solutions, base.complete))))
        answer = [known[key] for key in keys]
        for key in list(known)[: max(0, len(known) - _KEPT)]:  # the oldest
            del known[key]
        return answer

    def confirmed(self, masks: np.ndarray, used: list[Entry], kernels=None) -> list[bool]:
        """Were the solutions used all there are, as far as can be told? As many as the complete set at one random point, and at another
        one."""
        first, second = self.of(masks, 0, True, kernels), self.of(masks, 1, False, kernels)
        short = [m for m in range(len(masks)) if len(second[m].solutions) != len(first[m].solutions)]
        if short:  # the quick set may be a part
            for m, entry in zip(short, self.of(masks[short], 1, True, kernels)):
                second[m] = entry
        return [a.complete and len(a.solutions) == len(b.solutions) == len(entry.solutions) for a, b, entry in zip(first, second, used)]


class Entry(NamedTuple):
    """point complex [width], solutions complex [found, kappa]; complete: the loops or the trace test say that none is missing."""

    point: np.ndarray
    solutions: np.ndarray
    complete: bool


class Verdict:
    """match int8 [n] (1, 0, -1), certified bool [n], reason str [n], theta [n, size]; clear [n]: every solution must have at least so large
    an imaginary part, relative to its size, for a no."""

    def __init__(self, theta: np.ndarray):
        count = len(theta)
        self.match = np.full(count, -1, dtype=np.int8)
        self.certified = np.zeros(count, dtype=bool)
        self.reason = np.full(count, "paths", dtype="<U8")
        self.theta = theta.copy()
        self.clear = np.full(count, _NEAR_REAL)


def settle(
    net: Network,
    shared: tuple[str, ...],
    theta: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    masks: np.ndarray,
    teacher: np.ndarray | None,
    found: np.ndarray,
    threads: int = 0,
    most: int = _MOST,
    kernels=None,
    *,
    generic: bool,
    eps: float,
    judge: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
) -> Verdict:
    """Verdicts of n trials of full rank: theta, teacher [n, size], x [n, inputs], y [n, equations], masks bool [n, size].

    found bool [n]: theta is already a solution, by Newton's method. teacher: y is what it computes to, and it shares the groups `shared`
    with theta. Where more equations than kappa depend on the weights, a yes is certified only with it, and systems that are called
    saturated (homotopy/system.py) stay undecided where Newton found nothing. generic: teacher and x were drawn from the law, so that
    degrees count (T8).
    eps: what the numbers given were rounded to; without a teacher a no must outlast it.
    judge(theta [m, size], trials int [m]): (theta polished, bool [m]: it is no near miss). kernels: where paths are followed, as of
    `System.track`.
    """
    system = system_of(net, shared)
    verdict = Verdict(theta)
    if not len(theta):
        return verdict
    if teacher is None and not generic:
        verdict.clear = np.where(_steady(system, theta, x, y, eps), _CLEARLY_COMPLEX, np.inf)
    verdict.match[found] = 1
    verdict.reason[found] = "newton"
    _certify_found(system, verdict, x, y, masks, teacher, found, threads, judge)
    doubt = np.flatnonzero(found & ~verdict.certified)
    verdict.theta[doubt], good = judge(verdict.theta[doubt], doubt)
    doubt = doubt[~good]
    verdict.match[doubt], verdict.reason[doubt] = -1, "paths"
    if teacher is not None:
        rows = masks[:, free_weights(net, shared)].all(axis=1) & (verdict.match == -1)
        verdict.match[rows], verdict.reason[rows] = 1, "D4"
    left = np.flatnonzero(verdict.match == -1)
    if not len(left) or (system.saturated and teacher is None) or not system.kappa:
        verdict.reason[left] = "newton"
        return verdict
    cache = _cache(system, most, threads)
    square = masks[left].sum(axis=1) == system.kappa
    _follow(system, cache, verdict, theta, x, y, masks, teacher, left[square], threads, True, kernels, generic, judge)
    surplus = left[~square]
    for number in range(_SUBS):
        if not len(surplus):
            break
        subs = masks.copy()
        subs[surplus] = _square_parts(system, masks[surplus], number)
        fit = surplus[subs[surplus].sum(axis=1) == system.kappa]
        _follow(system, cache, verdict, theta, x, y, subs, teacher, fit, threads, False, kernels, generic, judge)
        surplus = surplus[verdict.match[surplus] != 1]
    return verdict


_CACHES: dict[int, Cache] = {}


def _steady(system: System, theta: np.ndarray, x: np.ndarray, y: np.ndarray, eps: float) -> np.ndarray:
    """bool [n]: does the rounding of y, eps of it, change the data that are solved for by little? Dividing by a small x_1 makes it
    large."""
    if eps > 1e-12:
        return np.zeros(len(theta), dtype=bool)
    if not system.impulse or system.saturated:
        return np.ones(len(theta), dtype=bool)
    base, met = system.data(theta, x, y, None), np.ones(len(theta), dtype=bool)
    for pattern in np.random.default_rng(5).choice([-eps, eps], (2, y.shape[1])):
        with np.errstate(invalid="ignore"):
            met &= (np.abs(system.data(theta, x, y * (1 + pattern), None) - base) <= 1e-9 * np.abs(base)).all(axis=1)
    return met


def _cache(system: System, most: int, threads: int) -> Cache:
    cache = _CACHES.get(id(system))
    if cache is None or cache.system is not system or cache.most != most:
        if len(_CACHES) > 16:
            _CACHES.clear()
        cache = _CACHES[id(system)] = Cache(system, most, threads)
    return cache


def _certify_found(system, verdict, x, y, masks, teacher, chosen, threads, judge) -> None:
    """Krawczyk's test for trials with a numerical solution: r = kappa, or all but kappa well-placed weights held."""
    rows = np.flatnonzero(chosen)
    if system.saturated or not len(rows):
        return
    parts = masks[rows].copy()
    over = np.flatnonzero(parts.sum(axis=1) > system.kappa)
    if len(over):
        parts[over] = _square_parts(system, parts[over], _SUBS)
    good = parts.sum(axis=1) == system.kappa
    rows, parts = rows[good], parts[good]
    if not len(rows):
        return
    points, _, proof = _prove(
        system, verdict.theta[rows], x[rows], y[rows], index_rows(parts), None if teacher is None else teacher[rows], threads
    )
    verdict.certified[rows[proof]] = True
    verdict.theta[rows[proof]] = points[proof]


def _prove(system, theta, x, y, places, teacher, threads) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(theta polished, is a match, is a proven match) for theta [m, size] near solutions; teacher [m, size] or None.

    Square systems: Krawczyk's test at y; where it fails and there is one input, at the exact impulse response, which is better
    conditioned. Equations that force the others (homotopy/forcing_equations.py): the test at the teacher's own outputs, as far as it is
    proven that they are forced; otherwise, or without a teacher, all equations must hold to 1e-10, and this is no proof. Saturated systems:
    only that.
    """
    net = system.net
    if system.saturated:
        proven = np.zeros(len(theta), dtype=bool)
        return theta, _near(net, theta, x, y, threads), proven
    exact = teacher if system.surplus else None
    points, radius = certify(net, theta, x, y, places, system.rows, threads, teacher=exact)
    if system.impulse:
        again = np.flatnonzero((radius < 0) & (x[:, 0] != 0))
        if len(again):
            points[again], radius[again] = certify_response(
                net, theta[again], x[again], y[again], places[again], system.rows, threads, teacher=None if exact is None else exact[again]
            )
    proven = radius >= 0
    if not system.surplus:
        return points, proven, proven
    met = proven & _near(net, points, x, y, threads)
    if teacher is None:
        return points, met, np.zeros(len(theta), dtype=bool)
    sure = proven & forcing_equations.forced(net, system.shared, teacher, x)
    return points, met | sure, sure


def _near(net, theta, x, y, threads, loss: float = 1e-20) -> np.ndarray:
    miss = ((cpu.outputs(net.shape, np.ascontiguousarray(theta), np.ascontiguousarray(x), threads) - y) ** 2).sum(axis=1)
    return miss < loss * (y**2).sum(axis=1)


def _square_parts(system: System, masks: np.ndarray, number: int) -> np.ndarray:
    """The random part number `number` with r = rho = kappa of every mask bool [m, size] of full rank (the mask where none was found).

    The draws are keyed by the mask itself, so a trial has the same parts in every batch.
    """
    unique, which = np.unique(masks, axis=0, return_inverse=True)
    parts = unique.copy()
    draws = [np.random.default_rng([number, *np.packbits(mask).tolist()]) for mask in unique]
    open_ = np.arange(len(unique))
    for _ in range(40):
        if not len(open_):
            break
        order = np.argsort(np.where(unique[open_], [draws[k].random(unique.shape[1]) for k in open_], 2.0), axis=1)[:, : system.kappa]
        trial = np.zeros((len(open_), unique.shape[1]), dtype=bool)
        np.put_along_axis(trial, order, True, axis=1)
        good = attained_ranks(system.net, trial, system.shared) == system.kappa
        parts[open_[good]] = trial[good]
        open_ = open_[~good]
    return parts[which.reshape(-1)]


def _follow(system, cache, verdict, theta, x, y, masks, teacher, rows, threads, final, kernels, generic, judge) -> None:
    """Step 3 for the trials `rows`, each with a square mask; a no is given only where `final`."""
    if not len(rows):
        return
    data = system.data(theta[rows], x[rows], y[rows], None if teacher is None else teacher[rows])
    finite = np.isfinite(data).all(axis=1)
    rows, data = rows[finite], data[finite]
    for attempt, (which, steps) in enumerate(((0, NORMAL), (0, CAREFUL), (1, CAREFUL))):
        left = verdict.match[rows] == -1
        rows, data = rows[left], data[left]
        if not len(rows):
            return
        _attempt(system, cache, verdict, data, x, y, masks, teacher, rows, which, steps, threads, final, attempt, kernels, generic, judge)
        if not final:
            return


def _attempt(
    system, cache, verdict, data, x, y, masks, teacher, rows, which, steps, threads, final, attempt, kernels, generic, judge
) -> None:
    unique, of = np.unique(masks[rows], axis=0, return_inverse=True)
    of = of.reshape(-1)
    # Most trials have a real end: they need not know of all solutions.
    bases = cache.of(unique, which, thorough=attempt > 0, kernels=kernels)
    indices, degrees = index_rows(unique), system.degrees(unique)
    points = np.concatenate([[base.point for base in bases], data])
    counts = np.array([len(base.solutions) for base in bases])[of]
    trial = np.repeat(np.arange(len(rows)), counts)
    if not len(trial):
        return
    number = np.arange(len(trial)) - np.repeat(np.cumsum(counts) - counts, counts)
    order = np.lexsort((trial, number))  # start 0 of all trials, then start 1 of the unfinished ones
    trial, number = trial[order], number[order]
    start = np.empty((len(trial), system.kappa), dtype=np.complex128)
    by_mask = of[trial]
    for m in range(len(unique)):
        mine = by_mask == m
        start[mine] = bases[m].solutions[number[mine]]
    out = system.track(
        points,
        indices,
        degrees,
        by_mask,
        by_mask,
        len(bases) + trial,
        start,
        trial,
        stop_at_real=attempt == 0,
        steps=steps,
        threads=threads,
        kernels=kernels,
    )
    imaginary = np.abs(out.end.imag).max(axis=1) / (1 + np.abs(out.end).max(axis=1))
    near = (out.status == CONVERGED) & (imaginary < _NEAR_REAL)
    _certify_ends(system, verdict, x, y, indices[of], out.end, near, trial, rows, teacher, threads, judge)
    by_trial = np.argsort(trial, kind="stable")
    begin = np.searchsorted(trial[by_trial], np.arange(len(rows) + 1))
    settled: dict[int, int] = {}  # what the count of solutions settles, if it is right
    for t in np.flatnonzero(verdict.match[rows] == -1):
        jobs = by_trial[begin[t] : begin[t + 1]]
        if len(jobs) % 2:  # T8; of a part of the allocation (T9): the next one may have a certified solution, but this is enough
            if generic and (not final or attempt == 2):
                settled[t] = 1
        elif final and (out.status[jobs] == CONVERGED).all() and (imaginary[jobs] >= verdict.clear[rows[t]]).all():
            if _all_different(out.end[jobs]) and _closed(out.end[jobs]):
                settled[t] = 0
    if not settled:
        return
    which_mask = np.unique(of[list(settled)])
    sure = dict(zip(which_mask, cache.confirmed(unique[which_mask], [bases[m] for m in which_mask], kernels)))
    for t, match in settled.items():
        if sure[of[t]]:
            verdict.match[rows[t]] = match
            verdict.reason[rows[t]] = "T8" if match else "paths"


def _all_different(ends: np.ndarray) -> bool:
    apart = np.abs(ends[:, None] - ends[None]).max(axis=2)
    np.fill_diagonal(apart, np.inf)
    return bool((apart.min(axis=1) > SAME * (1 + np.abs(ends).max(axis=1))).all())


def _closed(ends: np.ndarray) -> bool:
    """Is the conjugate of every end point an end point?"""
    apart = np.abs(ends[:, None] - ends.conj()[None]).max(axis=2).min(axis=1)
    return bool((apart < 1e-5 * (1 + np.abs(ends).max(axis=1))).all())


def _certify_ends(system, verdict, x, y, indices, ends, near, trial, rows, teacher, threads, judge) -> None:
    """Settles the trials with a real end point."""
    jobs = np.flatnonzero(near)
    if not len(jobs):
        return
    at = rows[trial[jobs]]
    places = indices[trial[jobs]]
    points = verdict.theta[at].copy()
    np.put_along_axis(points, places.astype(np.int64), ends[jobs].real, axis=1)
    points, good, proof = _prove(system, points, x[at], y[at], places, None if teacher is None else teacher[at], threads)
    doubt = np.flatnonzero(good & ~proof)
    points[doubt], good[doubt] = judge(points[doubt], at[doubt])
    for k in np.flatnonzero(good)[::-1]:  # the first in number is written last
        verdict.match[at[k]], verdict.certified[at[k]] = 1, proof[k]
        verdict.theta[at[k]] = points[k]
