"""Exact existence verdicts (D4) of linear networks: what is left after the rank screen and the affine solve of match/decide.py.

The ladder, for every trial ("Exact verdicts" in docs/theory.md):
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
from typing import Any, NamedTuple

import numpy as np

from ..backend.compiled import cpu
from ..homotopy import forcing_equations
from ..homotopy.loops import SAME
from ..homotopy.monodromy import monodromy
from ..homotopy.system import CAREFUL, CONVERGED, NORMAL, System, system_of
from ..model.network import Network
from ..model.reasons import Reason
from ..ops.arguments import distinct_rows, index_rows
from ..ranks.generic_rank import attained_ranks, free_weights
from .certify import certify, certify_response
from .verdicts import Verdicts

_NEAR_REAL = 1e-6  # largest imaginary part, relative to the size, of an end point that may be real
_CLEARLY_COMPLEX = 1e-3  # the same, of those that rounding of targets cannot bring together
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


class Rows(NamedTuple):
    """Trials of full rank: theta [n, size], x [n, inputs], y [n, equations], masks bool [n, size]; teacher [n, size] or None: y is what it
    computes to, and it shares the groups with theta. eps: what these numbers were rounded to."""

    theta: np.ndarray
    x: np.ndarray
    y: np.ndarray
    masks: np.ndarray
    teacher: np.ndarray | None = None
    eps: float = 0.0

    def some(self, rows: np.ndarray) -> Rows:
        return Rows(*(None if a is None else a[rows] for a in self[:5]), self.eps)


class Asked(NamedTuple):
    """How: judge(theta [m, size], trials int [m]): (theta polished, bool [m]: it is no near miss). generic: teacher and x were drawn from
    the law, so that degrees count (T8). kernels: where paths are followed, as of `System.track`. most: solutions of one allocation."""

    judge: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
    generic: bool
    threads: int = 0
    kernels: Any = None
    most: int = _MOST


def settle(net: Network, shared: tuple[str, ...], rows: Rows, found: np.ndarray, asked: Asked) -> Verdicts:
    """Verdicts of n trials of full rank.

    found bool [n]: theta is already a solution, by Newton's method. Where more equations than kappa depend on the weights, a yes is
    certified only with a teacher, and systems that are called saturated (homotopy/system.py) stay undecided where Newton found nothing.
    Without a teacher a no must outlast the rounding of y.
    """
    system = system_of(net, shared)
    verdicts = Verdicts.undecided(rows.theta, Reason.PATHS)
    if not len(rows.theta):
        return verdicts
    verdicts.match[found] = 1
    verdicts.reason[found] = Reason.NEWTON
    _certify_found(system, verdicts, rows, found, asked.threads)
    doubt = np.flatnonzero(found & ~verdicts.certified)
    verdicts.theta[doubt], good = asked.judge(verdicts.theta[doubt], doubt)
    doubt = doubt[~good]
    verdicts.match[doubt], verdicts.reason[doubt] = -1, Reason.PATHS
    if rows.teacher is not None:
        free = rows.masks[:, free_weights(net, shared)].all(axis=1) & (verdicts.match == -1)
        verdicts.match[free], verdicts.reason[free] = 1, Reason.FREE
    left = np.flatnonzero(verdicts.match == -1)
    if not len(left) or (system.saturated and rows.teacher is None) or not system.kappa:
        verdicts.reason[left] = Reason.NEWTON
        return verdicts
    paths = _Paths(system, rows, asked, verdicts)
    square = rows.masks[left].sum(axis=1) == system.kappa
    paths.follow(left[square], rows.masks[left[square]], final=True)
    surplus = left[~square]
    for number in range(_SUBS):
        if not len(surplus):
            break
        parts = _square_parts(system, rows.masks[surplus], number)
        fit = parts.sum(axis=1) == system.kappa
        paths.follow(surplus[fit], parts[fit], final=False)
        surplus = surplus[verdicts.match[surplus] != 1]
    return verdicts


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


def _certify_found(system: System, verdicts: Verdicts, rows: Rows, chosen: np.ndarray, threads: int) -> None:
    """Krawczyk's test for trials with a numerical solution: r = kappa, or all but kappa well-placed weights held."""
    at = np.flatnonzero(chosen)
    if system.saturated or not len(at):
        return
    parts = rows.masks[at].copy()
    over = np.flatnonzero(parts.sum(axis=1) > system.kappa)
    if len(over):
        parts[over] = _square_parts(system, parts[over], _SUBS)
    good = parts.sum(axis=1) == system.kappa
    at, parts = at[good], parts[good]
    if not len(at):
        return
    points, _, proof = _prove(system, rows.some(at)._replace(theta=verdicts.theta[at]), index_rows(parts), threads)
    verdicts.certified[at[proof]] = True
    verdicts.theta[at[proof]] = points[proof]


def _prove(system: System, near: Rows, indices: np.ndarray, threads: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(theta polished, is a match, is a proven match) for points near solutions, in the learnable weights `indices` int [m, kappa].

    Square systems: Krawczyk's test at y; where it fails and there is one input, at the exact impulse response, which is better
    conditioned. Equations that force the others (homotopy/forcing_equations.py): the test at the teacher's own outputs, as far as it is
    proven that they are forced; otherwise, or without a teacher, all equations must hold to 1e-10, and this is no proof. Saturated systems:
    only that.
    """
    net, (theta, x, y, _, teacher, _) = system.net, near
    if system.saturated:
        proven = np.zeros(len(theta), dtype=bool)
        return theta, _near(net, theta, x, y, threads), proven
    exact = teacher if system.surplus else None
    points, radius = certify(net, theta, x, y, indices, system.rows, threads, teacher=exact)
    if system.impulse:
        again = np.flatnonzero((radius < 0) & (x[:, 0] != 0))
        if len(again):
            points[again], radius[again] = certify_response(
                net, theta[again], x[again], y[again], indices[again], system.rows, threads, teacher=None if exact is None else exact[again]
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
    unique, which = distinct_rows(masks)
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
    return parts[which]


class _Paths:
    """The trials of one call whose complex solutions are followed, and their verdicts as they come in."""

    def __init__(self, system: System, rows: Rows, asked: Asked, verdicts: Verdicts) -> None:
        self.system, self.rows, self.asked, self.verdicts = system, rows, asked, verdicts
        self.cache = _cache(system, asked.most, asked.threads)
        # Every solution must have at least so large an imaginary part, relative to its size, for a no.
        self.clear = np.full(len(rows.theta), _NEAR_REAL)
        if rows.teacher is None and not asked.generic:
            self.clear = np.where(_steady(system, rows.theta, rows.x, rows.y, rows.eps), _CLEARLY_COMPLEX, np.inf)

    def follow(self, at: np.ndarray, masks: np.ndarray, final: bool) -> None:
        """Step 3 for the trials `at` int [m], each with a square mask bool [m, size]; a no is given only where `final`."""
        if not len(at):
            return
        some = self.rows.some(at)
        data = self.system.data(some.theta, some.x, some.y, some.teacher)
        finite = np.isfinite(data).all(axis=1)
        at, masks, data = at[finite], masks[finite], data[finite]
        for attempt, (which, steps) in enumerate(((0, NORMAL), (0, CAREFUL), (1, CAREFUL))):
            left = self.verdicts.match[at] == -1
            at, masks, data = at[left], masks[left], data[left]
            if not len(at):
                return
            self._attempt(at, masks, data, attempt, which, steps, final)
            if not final:
                return

    def _attempt(self, at: np.ndarray, masks: np.ndarray, data: np.ndarray, attempt: int, which: int, steps: Any, final: bool) -> None:
        system, threads, kernels = self.system, self.asked.threads, self.asked.kernels
        unique, of = distinct_rows(masks)
        # Most trials have a real end: they need not know of all solutions.
        bases = self.cache.of(unique, which, thorough=attempt > 0, kernels=kernels)
        indices, degrees = index_rows(unique), system.degrees(unique)
        points = np.concatenate([[base.point for base in bases], data])
        counts = np.array([len(base.solutions) for base in bases])[of]
        trial = np.repeat(np.arange(len(at)), counts)
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
        to, once = len(bases) + trial, attempt == 0
        out = system.track(
            points, indices, degrees, by_mask, by_mask, to, start, trial, stop_at_real=once, steps=steps, threads=threads, kernels=kernels
        )
        imaginary = np.abs(out.end.imag).max(axis=1) / (1 + np.abs(out.end).max(axis=1))
        self._certify_ends(at[trial], indices[by_mask], out.end, (out.status == CONVERGED) & (imaginary < _NEAR_REAL))
        by_trial = np.argsort(trial, kind="stable")
        begin = np.searchsorted(trial[by_trial], np.arange(len(at) + 1))
        settled: dict[int, int] = {}  # what the count of solutions settles, if it is right
        for t in np.flatnonzero(self.verdicts.match[at] == -1):
            jobs = by_trial[begin[t] : begin[t + 1]]
            if len(jobs) % 2:  # T8; of a part of the allocation (T9): the next one may have a certified solution, but this is enough
                if self.asked.generic and (not final or attempt == 2):
                    settled[t] = 1
            elif final and (out.status[jobs] == CONVERGED).all() and (imaginary[jobs] >= self.clear[at[t]]).all():
                if _all_different(out.end[jobs]) and _closed(out.end[jobs]):
                    settled[t] = 0
        if not settled:
            return
        which_mask = np.unique(of[list(settled)])
        sure = dict(zip(which_mask, self.cache.confirmed(unique[which_mask], [bases[m] for m in which_mask], kernels)))
        for t, match in settled.items():
            if sure[of[t]]:
                self.verdicts.match[at[t]] = match
                self.verdicts.reason[at[t]] = Reason.ODD if match else Reason.PATHS

    def _certify_ends(self, at: np.ndarray, indices: np.ndarray, ends: np.ndarray, near: np.ndarray) -> None:
        """Settles trials with a real end point; of every job: its trial, the learnable weights, the end, and whether that may be real."""
        jobs = np.flatnonzero(near)
        if not len(jobs):
            return
        at, indices = at[jobs], indices[jobs]
        points = self.verdicts.theta[at].copy()
        np.put_along_axis(points, indices.astype(np.int64), ends[jobs].real, axis=1)
        points, good, proof = _prove(self.system, self.rows.some(at)._replace(theta=points), indices, self.asked.threads)
        doubt = np.flatnonzero(good & ~proof)
        points[doubt], good[doubt] = self.asked.judge(points[doubt], at[doubt])
        for k in np.flatnonzero(good)[::-1]:  # the first in number is written last
            self.verdicts.match[at[k]], self.verdicts.certified[at[k]] = 1, proof[k]
            self.verdicts.theta[at[k]] = points[k]


def _all_different(ends: np.ndarray) -> bool:
    apart = np.abs(ends[:, None] - ends[None]).max(axis=2)
    np.fill_diagonal(apart, np.inf)
    return bool((apart.min(axis=1) > SAME * (1 + np.abs(ends).max(axis=1))).all())


def _closed(ends: np.ndarray) -> bool:
    """Is the conjugate of every end point an end point?"""
    apart = np.abs(ends[:, None] - ends.conj()[None]).max(axis=2).min(axis=1)
    return bool((apart < 1e-5 * (1 + np.abs(ends).max(axis=1))).all())
