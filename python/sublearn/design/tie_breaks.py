"""Among the cheapest allocations (design/problem.py): one that theory proves to match, or that is found most often, or is best conditioned.

A search among exchanges of equal cost. Proofs come from theory/predict.py; found probabilities are measured (match/probability.py), so
they are a heuristic: findability, not existence (D8).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np

from ..data.trials import draw_trials
from ..match.probability import match_probability
from ..model.allocation import Allocation
from ..model.layers import first_output_right, plain
from ..model.network import Recurrent
from ..numerics.matroid import Infeasible
from ..ops.jacobian import jacobian
from ..ranks.affine import affine_families
from ..theory.predict import predict
from .problem import Problem

TRIES = {"probability": 40, "conditioning": 400}  # swaps tried
_SETS = 64  # sets of hidden units tried for an affine allocation; with limits a tenth of them
_MEASURED = 6  # proven candidates whose found probability is measured
_CONDITION_TRIALS = 48


def most_probable(problem: Problem, start: np.ndarray, trials: int, tries: int, seed: int, threads: int | None):
    """A proven candidate if there is one, else the best of a local search by measured matches."""
    net, shared = problem.net, problem.shared
    rng = np.random.default_rng([seed, 1])

    def proven(mask: np.ndarray) -> bool:
        return predict(net, Allocation.from_mask(net, mask), shared).kind == "maximal"

    def matched(mask: np.ndarray) -> int:
        result = match_probability(net, Allocation.from_mask(net, mask), trials, shared, seed=seed, threads=threads)
        return result.matched

    good: dict[bytes, np.ndarray] = {}
    for mask in _candidates(problem, start, rng):
        fits = mask.sum() == problem.kappa and problem.same_price(mask, start) and problem.obeys(mask)
        if fits and mask.tobytes() not in good and proven(mask):
            good[mask.tobytes()] = mask
            if len(good) == _MEASURED:
                break
    if good:
        masks = list(good.values())
        return masks[int(np.argmax([matched(mask) for mask in masks]))] if len(masks) > 1 else masks[0]
    best, most = start, matched(start)
    walk = _Swaps(problem, start)
    for _ in range(tries):
        mask = walk.propose(rng)
        if mask is None:
            break
        if proven(mask):
            return mask
        count = matched(mask)
        if count >= most:
            best, most = mask, count
            walk.accept()
    return best


def best_conditioned(problem: Problem, start: np.ndarray, tries: int, seed: int, threads: int | None) -> np.ndarray:
    """Local search: the larger median of the smallest singular value of J_A at the students of sampled trials wins."""
    net, shared = problem.net, problem.shared
    every = Allocation.from_mask(net, problem.free)
    drawn = draw_trials(net, every, _CONDITION_TRIALS, shared=shared, seed=seed, threads=threads)
    J = np.zeros((len(drawn), net.equations, net.size))
    J[:, :, problem.free] = jacobian(net, drawn.student, drawn.x, every)

    def score(mask: np.ndarray) -> float:
        return float(np.median(np.linalg.svd(J[:, :, mask], compute_uv=False)[:, -1])) if mask.any() else 0.0

    rng = np.random.default_rng([seed, 2])
    best, value = start, score(start)
    walk = _Swaps(problem, start)
    for _ in range(tries):
        mask = walk.propose(rng)
        if mask is None:
            break
        after = score(mask)
        if after > value:
            best, value = mask, after
            walk.accept()
    return best


def structure(problem: Problem) -> np.ndarray | None:
    """A cheapest allocation with match probability 1, where theory knows one without a search: all of an affine part (T2), rows or columns
    that are solved block by block (T7). None where it knows none. Of several the first; ties as in `Problem.ties`."""
    net = problem.net
    cheapest = problem.solve()
    for mask in chain(_affine_candidates(problem), _solvable_candidates(problem, np.random.default_rng(0))):
        if mask.sum() == problem.kappa and problem.same_price(mask, cheapest) and problem.obeys(mask):
            if predict(net, Allocation.from_mask(net, mask), problem.shared).kind == "maximal":
                return mask
    return None


def _affine_candidates(problem: Problem) -> Iterator[np.ndarray]:
    """Cheapest bases of the two ends of each family of affine sets: all units, and none."""
    for family in () if problem.overlap else affine_families(plain(problem.net)):  # an integer programme for each would take seconds
        for allowed in np.unique(family.members(np.repeat([[True], [False]], family.units, axis=1)) & problem.free, axis=0):
            if allowed.sum() >= problem.kappa:
                try:
                    yield problem.solve(allowed)
                except Infeasible:  # this family holds no solution
                    pass


class _Swaps:
    """Random exchanges of one weight for another of the same cost that keep the basis independent and the limits."""

    def __init__(self, problem: Problem, mask: np.ndarray) -> None:
        self.problem, self.mask = problem, mask
        self.tableau = problem.tableau.copy()
        self.tableau.restart(np.flatnonzero(mask))
        self.last: tuple[int, int] | None = None

    def propose(self, rng: np.random.Generator) -> np.ndarray | None:
        """A neighbour bool [size], every one equally likely; None if there is none."""
        problem, tableau = self.problem, self.tableau
        outside = np.flatnonzero(~self.mask & problem.free)
        out, place = np.nonzero(tableau.table[:, outside])
        pairs = np.stack([tableau.held[out], outside[place]], axis=1)
        pairs = pairs[problem.cost[pairs[:, 0]] == problem.cost[pairs[:, 1]]]
        for out, element in rng.permutation(pairs):
            mask = self.mask.copy()
            mask[out], mask[element] = False, True
            if problem.obeys(mask):
                self.last = int(out), int(element)
                return mask
        return None

    def accept(self) -> None:
        out, element = self.last
        self.tableau.exchange(out, element)
        self.mask = self.mask.copy()
        self.mask[out], self.mask[element] = False, True


def _candidates(problem: Problem, start: np.ndarray, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Masks that could have match probability 1: the start, structures of T7, cheapest bases of affine sets (T2)."""
    yield start
    yield from _solvable_candidates(problem, rng)
    model = plain(problem.net)
    most = _SETS if not problem.overlap else _SETS // 10
    for family in affine_families(model):
        if 2**family.units <= most:
            sets = ((np.arange(2**family.units)[:, None] >> np.arange(family.units)) & 1).astype(bool)
        else:
            sets = rng.random((most, family.units)) < rng.random((most, 1))
            sets[0], sets[1] = True, False
        for allowed in np.unique(family.members(sets) & problem.free, axis=0):
            if allowed.sum() >= problem.kappa:
                try:
                    yield problem.solve(allowed)
                except Infeasible:  # this family holds no solution
                    pass


def _solvable_candidates(problem: Problem, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Cheapest row and column structures of T7; ties are drawn."""
    net = problem.net
    if not isinstance(net, Recurrent) or net.extended or net.activation != "linear" or net.steps == 1:
        return
    n, o, T = net.hidden, net.outputs, net.steps
    place = {name: part.reshape(part.shape[0], -1) for name, part in net.unpack(np.arange(net.size)).items()}
    allowed = problem.free
    into = np.concatenate([place[name] for name in ("B", "b") if name in place], axis=1)

    def cheapest(line: np.ndarray, count: int) -> np.ndarray:
        line = rng.permutation(line[allowed[line]])
        return line[np.argsort(problem.cost[line], kind="stable")[:count]]

    def mask_of(parts: Sequence[np.ndarray]) -> np.ndarray:
        mask = np.zeros(net.size, dtype=bool)
        mask[np.concatenate([*parts, np.empty(0, dtype=np.int64)]).astype(np.int64)] = True
        return mask

    def best_rows(rows: list[np.ndarray], each: int) -> np.ndarray:
        order = sorted((math.fsum(problem.cost[row]), rng.random(), k) for k, row in enumerate(rows) if len(row) == each)
        return mask_of([rows[k] for *_, k in order[:o]])

    c_first = [place["c"].reshape(-1)] if "c" in place and allowed[place["c"]].all() else []
    for _ in range(4):
        if first_output_right(net, problem.shared) or c_first:
            yield best_rows([cheapest(row, T - 1) for row in place["W"]], T - 1) | mask_of(c_first)
        rows = []
        for k in range(n):
            first = cheapest(into[k], 1)
            rest = np.concatenate([np.setdiff1d(into[k], first), cheapest(place["W"][k], T - 1)])
            rows.append(np.concatenate([first, cheapest(rest, T - 1)]) if len(first) else first)
        yield best_rows(rows, T)
    for k in range(n):
        column = cheapest(place["W"][:, k], o * (T - 1))
        if first_output_right(net, problem.shared) or c_first:
            yield mask_of([column, *c_first])
        yield mask_of([column, place["D"][:, k]]) & allowed
