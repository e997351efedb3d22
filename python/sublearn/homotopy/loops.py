"""Monodromy: loops in the space of data permute the solutions of a square system, and so find new ones from known ones.

A loop that moved every found solution to a found one is *quiet*. If loops permuted solutions at random, a quiet one would have a chance
of about 1 / (found + 1) were one solution missing, so the loops stop when (found + 1)^-(quiet loops) is below a wanted error. Real groups
are less random: of 400 allocations of 1-4-1, T = 5, one stopped a solution short at an error of 1e-6. homotopy/trace_test.py tests without
a model.
Half of the loops pass real data and conjugate there, which checks that the found set is closed under conjugation as well.
"""

from __future__ import annotations

import numpy as np

from ..backend.kernels import Kernels
from .system import CONVERGED, System

SAME = 1e-6  # relative distance below which two solutions are one
_JOBS = 2**17  # paths handed to the kernel at a time


def new_ones(candidates: np.ndarray, known: np.ndarray, tolerance: float = SAME) -> np.ndarray:
    """The candidates [c, k] that are neither in known [d, k] nor equal to an earlier candidate, relative to their size."""
    if not len(candidates):
        return candidates
    size = tolerance * (1 + np.abs(candidates).max(axis=1))
    if len(known):
        fresh = np.abs(candidates[:, None] - known[None]).max(axis=2).min(axis=1) > size
        candidates, size = candidates[fresh], size[fresh]
    kept: list[int] = []
    for c in range(len(candidates)):
        if all(np.abs(candidates[c] - candidates[q]).max() > size[c] for q in kept):
            kept.append(c)
    return candidates[kept]


def extend(
    system: System,
    base: np.ndarray,
    indices: np.ndarray,
    degrees: np.ndarray,
    solutions: list[np.ndarray],
    rng: np.random.Generator,
    error: float,
    most: int,
    loops: int,
    *,
    least: int = 0,
    sliced: bool = False,
    threads: int = 0,
    kernels: Kernels | None = None,
):
    """Loops from and to the point base [width]: (solutions with those that came, quiet loops int [allocations], paths).

    At least `least` quiet ones, at most `loops` loops; an allocation with more than `most` solutions is left. Empty sets stay empty.
    """
    solutions, paths = list(solutions), 0
    quiet = np.zeros(len(solutions), dtype=np.int64)
    found = np.array([len(s) for s in solutions])
    open_ = (found > 0) & (found <= most)
    legs: tuple[tuple[int, int], ...]
    for loop in range(loops):
        which = np.flatnonzero(open_)
        if not len(which):
            break
        conjugate = bool(loop % 2)
        if conjugate:
            points = np.stack([base, system.draw(rng, True, sliced)])
            legs = ((0, 1), (1, 0))
        else:
            points = np.stack([base, system.draw(rng, sliced=sliced), system.draw(rng, sliced=sliced)])
            legs = ((0, 1), (1, 2), (2, 0))
        owner = np.repeat(which, found[which])
        z = np.concatenate([solutions[m] for m in which])
        for origin, to in legs:
            parts = [
                system.track(
                    points,
                    indices,
                    degrees,
                    owner[at : at + _JOBS],
                    origin,
                    to,
                    z[at : at + _JOBS],
                    sliced=sliced,
                    threads=threads,
                    kernels=kernels,
                )
                for at in range(0, len(z), _JOBS)
            ]
            paths += len(z)
            if not parts:
                break
            alive = np.concatenate([part.status for part in parts]) == CONVERGED
            z, owner = np.concatenate([part.end for part in parts])[alive], owner[alive]
            if conjugate and to == 1:
                z = z.conj()
        bounds = np.searchsorted(owner, np.concatenate([which, [len(solutions)]]))
        for m, begin, end in zip(which, bounds, bounds[1:]):
            fresh = new_ones(z[begin:end], solutions[m])
            # A loop in which most paths were lost has seen too little to be quiet.
            quiet[m] = 0 if len(fresh) else quiet[m] + (end - begin > found[m] // 2)
            if len(fresh):
                solutions[m] = np.concatenate([solutions[m], fresh])
                found[m] = len(solutions[m])
            open_[m] = ((found[m] + 1.0) ** -float(quiet[m]) > error or quiet[m] < least) and found[m] <= most
    return solutions, quiet, paths
