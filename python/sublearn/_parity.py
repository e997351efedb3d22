"""Complex solutions and the real ones among them (T8): an odd degree has a real one, so MP = 1; square parts of an allocation too (T9).

Degrees are counted by monodromy (continuation.py), many masks side by side, and followed to the data of trials; linear networks.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations
from math import comb
from typing import NamedTuple

import numpy as np

from .continuation import CAREFUL, CONVERGED, NORMAL, system_of
from .generic import attained_ranks
from .loops import SAME
from .monodromy import Base, monodromy
from .network import Network
from .trial import Trials

ERROR = 1e-6  # of monodromy's stopping rule
_MOST = 2000  # complex solutions; systems with more stay uncounted
_TOGETHER = 64  # systems whose solutions are counted side by side
_PARTS = 16  # square parts of one mask whose degree is counted
_DRAWN = 256  # parts drawn; those of full rank are kept
_KEPT = 2**16  # degrees of one network
_JOBS = 2**16  # paths followed together
_MIRROR = 1e-5  # relative distance at which an end is another one's conjugate


def degrees_of(net: Network, masks: np.ndarray, shared: tuple[str, ...]) -> np.ndarray:
    """delta (D7) int64 [k] of masks bool [k, size] with r = rho = kappa; -1 where the loops did not settle or found too many.

    Degrees are kept: the masks of a strategy share their square parts (8008 masks of six weights in a 4 x 4 matrix, 1820 parts of four).
    """
    system, known = system_of(net, shared), _known(net, shared)
    keys = [row.tobytes() for row in np.packbits(masks, axis=1)]
    new = {key: k for k, key in enumerate(keys) if key not in known}
    if len(known) + len(new) > _KEPT:
        known.clear()
        new = {key: k for k, key in enumerate(keys)}
    fresh = masks[list(new.values())]
    for start in range(0, len(fresh), _TOGETHER):
        base = monodromy(system, fresh[start : start + _TOGETHER], error=ERROR, most=_MOST)
        degrees = np.where(base.complete & (base.found <= _MOST), base.found, -1)
        known.update(zip(list(new)[start : start + _TOGETHER], degrees.tolist()))
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
    pools = [_square_parts(net, mask, shared, kappa, rng) for mask in masks]
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


def _square_parts(net: Network, mask: np.ndarray, shared: tuple[str, ...], kappa: int, rng: np.random.Generator) -> np.ndarray:
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
    bases: dict[int, Base] = {}
    for which, steps in ((0, NORMAL), (0, CAREFUL), (1, CAREFUL)):
        left = np.flatnonzero(count < 0)
        if not len(left):
            break
        if which not in bases:
            bases[which] = monodromy(system, mask[None], seed=which, error=ERROR, most=_MOST, threads=threads)
            if not bases[which].complete[0] or bases[which].found[0] != bases[0].found[0]:
                raise RuntimeError(f"monodromy did not settle: {bases[which].found[0]} solutions")
        start = bases[which].solutions[0]
        step = max(1, _JOBS // len(start))
        for rows in (left[at : at + step] for at in range(0, len(left), step)):
            points = np.concatenate([bases[which].point[None], data[rows]])
            trial = np.repeat(np.arange(len(rows)), len(start))
            paths = system.track(points, bases[which].indices, bases[which].degrees, 0, 0, 1 + trial, np.tile(start, (len(rows), 1)),
                                 steps=steps, threads=threads)  # fmt: skip
            count[rows] = _count_real(paths.end.reshape(len(rows), *start.shape), (paths.status == CONVERGED).reshape(len(rows), -1))
    return RealCounts(len(bases[0].solutions[0]), count)


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
