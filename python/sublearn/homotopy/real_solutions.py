"""Complex solutions and the real ones among them (T8): an odd degree has a real one, so MP = 1; square parts of an allocation too (T9).

Degrees are counted by monodromy (homotopy/monodromy.py), many masks side by side, and followed to the data of trials; linear networks.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations, islice
from math import comb
from typing import NamedTuple

import numpy as np

from ..data.trials import Trials
from ..model.network import Network
from ..ranks.generic_rank import attained_ranks
from .loops import SAME
from .monodromy import monodromy
from .system import CAREFUL, CONVERGED, NORMAL, system_of

ERROR = 1e-6  # of monodromy's stopping rule
_MOST = 2000  # complex solutions; systems with more stay uncounted
_TOGETHER = 64  # systems whose solutions are counted side by side
_PARTS = 16  # square parts of one mask whose degree is counted
_DRAWN = 256  # parts drawn; those of full rank are kept
_POINTS = 5  # random points at which solutions are counted, until two agree or the trace test passes
_KEPT = 2**16  # degrees of one network
_JOBS = 2**16  # paths followed together
_MIRROR = 1e-5  # relative distance at which an end is another one's conjugate


def degrees_of(net: Network, masks: np.ndarray, shared: tuple[str, ...]) -> np.ndarray:
    """delta (D7) int64 [k] of masks bool [k, size] with r = rho = kappa; -1 where the loops did not settle or found too many.

    A count that passed the trace test, else (saturated systems, many solutions) the largest one, once it was found from two random points:
    of 1812 systems (1-4-1, T = 5) the loops from one point alone missed a solution in 0, 1 or 2, never in the same system as those from
    another point.
    Degrees are kept: the masks of a strategy share their square parts (8008 masks of six weights in a 4 x 4 matrix, 1820 parts of four).
    """
    system, known = system_of(net, shared), _known(net, shared)
    keys = [row.tobytes() for row in np.packbits(masks, axis=1)]
    new = {key: k for k, key in enumerate(keys) if key not in known}
    if len(known) + len(new) > _KEPT:
        known.clear()
        new = {key: k for k, key in enumerate(keys)}
    fresh = masks[list(new.values())]
    degrees, times = np.full(len(fresh), -1, dtype=np.int64), np.zeros(len(fresh), dtype=np.int64)
    for seed in range(_POINTS):
        left = np.flatnonzero((times < 2) & (times >= min(seed, 1)))  # what did not settle at the first point is given up
        for rows in (left[at : at + _TOGETHER] for at in range(0, len(left), _TOGETHER)):
            base = monodromy(system, fresh[rows], seed=seed, error=ERROR, most=_MOST)
            found = np.where(base.complete & (base.found <= _MOST), base.found, -1)
            times[rows] = np.where(found > degrees[rows], 1, times[rows] + ((found == degrees[rows]) & (found > 0)))
            degrees[rows] = np.maximum(degrees[rows], found)
            times[rows[base.traced & (found == degrees[rows])]] = 2
    known.update(zip(new, np.where(times >= 2, degrees, -1).tolist()))
    return np.array([known[key] for key in keys], dtype=np.int64)


@lru_cache(maxsize=8)
def _known(net: Network, shared: tuple[str, ...]) -> dict[bytes, int]:
    """Degrees counted so far, by packed mask."""
    return {}


def odd_parts(net: Network, masks: np.ndarray, shared: tuple[str, ...], kappa: int) -> tuple[np.ndarray, np.ndarray]:
    """(degrees int64 [k], 0 where none was found, parts bool [k, size]): a square part with an odd degree of masks with r > rho = kappa.

    Up to 16 parts of full rank are counted for each mask, all there are if there are fewer, one after the other for those left.
    """
    rng = np.random.default_rng([net.size, kappa])
    pools = [_pool_of_square_parts(net, mask, shared, kappa, rng) for mask in masks]
    odd, parts = np.zeros(len(masks), dtype=np.int64), np.zeros_like(masks)
    for number in range(_PARTS):
        left = np.array([k for k, pool in enumerate(pools) if odd[k] == 0 and len(pool) > number], dtype=np.int64)
        if not len(left):
            break
        some = np.stack([pools[k][number] for k in left])
        degrees = degrees_of(net, some, shared)
        good = (degrees > 0) & (degrees % 2 == 1)
        odd[left[good]], parts[left[good]] = degrees[good], some[good]
    return odd, parts


def _pool_of_square_parts(net: Network, mask: np.ndarray, shared: tuple[str, ...], kappa: int, rng: np.random.Generator) -> np.ndarray:
    """bool [parts, size]: different parts of kappa weights with rank kappa, in random order; at most 16."""
    places = np.flatnonzero(mask)
    if comb(len(places), kappa) <= _DRAWN:
        chosen = rng.permutation(np.array(list(combinations(places, kappa))))
    else:
        chosen = np.argsort(rng.random((_DRAWN, len(places))), axis=1)[:, :kappa]
        chosen = places[np.unique(np.sort(chosen, axis=1), axis=0)]
    parts = np.zeros((len(chosen), mask.size), dtype=bool)
    np.put_along_axis(parts, rng.permutation(chosen), True, axis=1)
    return parts[attained_ranks(net, parts, shared) == kappa][:_PARTS]


class RealCounts(NamedTuple):
    """degree: delta. count int64 [trials]: real solutions of each trial, -1 where paths were lost or ran together."""

    degree: int
    count: np.ndarray


def real_solutions(net: Network, mask: np.ndarray, shared: tuple[str, ...], trials: Trials, threads: int = 0) -> RealCounts:
    """Numbers of real solutions of the trials, for one mask bool [size] with r = rho = kappa: all complex ones are followed to each.

    Paths are followed with normal steps, then small ones, then small ones from a second random point, for the trials left over: those
    where some path was lost, two ends are equal, or the conjugate of an end is no end. RuntimeError if the degree cannot be counted.
    """
    system = system_of(net, shared)
    data = system.data(trials.student, _rows(trials.x), _rows(trials.y), trials.teacher)
    count = np.full(len(trials), -1, dtype=np.int64)
    (degree,) = degrees_of(net, mask[None], shared).tolist()
    points = (monodromy(system, mask[None], seed=seed, error=ERROR, most=_MOST, threads=threads) for seed in range(_POINTS))
    whole = list(islice((base for base in points if base.complete[0] and base.found[0] == degree), 2))
    if not whole:
        raise RuntimeError(f"monodromy did not settle within {_MOST} solutions and {_POINTS} random points")
    for base, steps in ((whole[0], NORMAL), (whole[0], CAREFUL), (whole[-1], CAREFUL)):
        left = np.flatnonzero(count < 0)
        if not len(left):
            break
        start = base.solutions[0]
        step = max(1, _JOBS // len(start))
        for rows in (left[at : at + step] for at in range(0, len(left), step)):
            data_points = np.concatenate([base.point[None], data[rows]])
            trial = np.repeat(np.arange(len(rows)), len(start))
            paths = system.track(data_points, base.indices, base.degrees, 0, 0, 1 + trial, np.tile(start, (len(rows), 1)),
                                 steps=steps, threads=threads)  # fmt: skip
            count[rows] = _count_real(paths.end.reshape(len(rows), *start.shape), (paths.status == CONVERGED).reshape(len(rows), -1))
    return RealCounts(degree, count)


def _rows(array: np.ndarray) -> np.ndarray:
    return array.reshape(len(array), -1)


def _count_real(ends: np.ndarray, good: np.ndarray) -> np.ndarray:
    """int64 [t] from ends complex [t, delta, kappa] that converged where good; -1 where the set is not whole."""
    size = 1 + np.abs(ends).max(axis=2)
    counts = np.full(len(ends), -1, dtype=np.int64)
    for t in np.flatnonzero(good.all(axis=1)):
        apart = np.abs(ends[t, :, None] - ends[t][None]).max(axis=2)
        np.fill_diagonal(apart, np.inf)
        mirrored = np.abs(ends[t, :, None] - ends[t].conj()[None]).max(axis=2)
        real = mirrored.argmin(axis=1) == np.arange(len(mirrored))  # nearest to its own conjugate
        if (apart.min(axis=1) > SAME * size[t]).all() and (mirrored.min(axis=1) < _MIRROR * size[t]).all():
            counts[t] = int(real.sum())
    return counts
