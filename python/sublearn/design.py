"""The best allocation (T10), what an allocation lacks, and how many samples it can learn.

`best_allocation` chooses the cheapest weights that reach the required rank, `explain` says what a set of
weights cannot
reach and which others would unlock it, `capacity` finds the largest number of samples or steps at which an
allocation
still matches. The combinatorics are in _matroid.py; here the columns are those of J_N at a random point mod
p (D6).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np

from . import _cpu
from ._closed_forms import feature_rank, first_output_right, last_layer, plain, signals
from ._errors import whole_number
from ._matroid import (
    Cap,
    Infeasible,
    Laminar,
    Tableau,
    cheapest_basis,
    cheapest_capped,
    cheapest_common,
    crossing,
    rank,
)
from ._structures import affine_families
from .allocation import (
    Allocation,
    Strategy,
    as_strategy,
    check_allocation,
    check_shared,
)
from .generic import attained_ranks, free_weights, required_rank
from .jacobian import jacobian
from .match import MatchResult, match_probability
from .network import Feedforward, Network, Recurrent
from .theory import predict, predict_strategy
from .trial import draw_trials

__all__ = ["Capacity", "Explanation", "Impossible", "best_allocation", "capacity", "explain"]

_DRAWS = 4  # random points tried until one has the required rank
_PREFER = (None, "probability", "conditioning")
_SETS = 64  # sets of hidden units tried for an affine allocation; with limits a tenth of them
_MEASURED = 6  # proven candidates whose found probability is measured
_TRIES = {"probability": 40, "conditioning": 400}  # swaps tried
_CONDITION_TRIALS = 48
_SAME = 1e-12  # relative difference of total costs that counts as rounding


class Impossible(ValueError):
    """No allocation inside the limits reaches the required rank: with each of them the match probability is
    0 (T1).

    tight: Allocation, the set S of weights that proves it. One laminar family of limits: rank(S) plus what
    the limits
    in `limits` allow outside S is below kappa. Overlapping limits: S is the union of the sets in `ranks`,
    and the
    limits in `limits` together with "at most so many independent weights in this set" for the sets in `ranks`
    leave no choice of kappa weights.
    limits: positions in the argument `limits`. ranks: tuple of (Allocation, its rank). required_rank: kappa.
    reachable: the largest rank within the limits, None where it was not computed (overlapping limits).
    """

    def __init__(
        self,
        message: str,
        tight: Allocation,
        limits: tuple[int, ...],
        ranks: tuple,
        required_rank: int,
        reachable: int | None,
    ) -> None:
        super().__init__(message)
        self.tight, self.limits, self.ranks = tight, limits, ranks
        self.required_rank, self.reachable = required_rank, reachable


def best_allocation(
    net: Network,
    cost: Mapping[str, Any] | None = None,
    limits: Sequence[tuple[Any, int]] | None = None,
    shared: tuple[str, ...] = (),
    *,
    prefer: str | None = None,
    trials: int = 200,
    tries: int | None = None,
    seed: int = 0,
    threads: int | None = None,
) -> Allocation:
    """The cheapest allocation that can match at all: kappa weights, rho = kappa, so MP > 0 (T1, T10).

    cost: {group: array of the group's shape, or one number}, finite; a group that is missing costs 1 per
    weight.
    limits: [(mask, most), ..]: at most `most` learnable weights in the mask, which is a dict of bool arrays
    by group, a
    flat bool array [size] or an Allocation. shared: groups copied from the teacher; nothing in them is
    chosen.

    No limits: greedy. Limits that are nested or disjoint: weighted matroid intersection. Limits that overlap
    (rows and
    columns; what enters and what leaves a neuron): an integer programme, which needs scipy (the study
    extra). The
    result is the cheapest up to rounding of costs (2^-39 of the largest; overlapping limits 1e-6, exact for
    whole
    numbers below 1e5), and up to the error probability of a rank mod p (below 1e-5 for each rank; that the
    result
    itself has rho = kappa is certain where kappa is known by a closed form).

    prefer, among allocations of the same total cost:
        None           the first that is found
        "probability"  one that matches with probability 1 where theory knows one (T2, T7; of several the one
        found most
                       often), else a local search by swaps of equal cost, by the number of `trials` trials
                       that
                       `match_probability` matches: a found probability (D8), so a heuristic
        "conditioning" local search for the largest median, over sampled trials, of the smallest singular
        value of J_A
    tries: swaps tried (40 for probability, 400 for conditioning). The same seed gives the same allocation.
    Errors: `Impossible` if no allocation obeys the limits; ValueError for relu (ranks differ from region to
    region, so
    there is no matroid), for costs that are not finite and wrong shapes; TypeError for other types;
    ModuleNotFoundError if overlapping limits need scipy and it is missing.
    """
    shared = check_shared(net, shared)
    if prefer not in _PREFER:
        raise ValueError(f"prefer: expected None, 'probability' or 'conditioning', got {prefer!r}")
    trials = whole_number("trials", trials, 1)
    tries = _TRIES.get(prefer, 0) if tries is None else whole_number("tries", tries, 0)
    seed = whole_number("seed", seed, 0)
    problem = _Problem(net, _costs(net, cost), _limits(net, limits), shared)
    try:
        mask = problem.solve()
    except Infeasible as proof:
        raise problem.impossible(proof) from None
    if not mask.any():
        return Allocation.from_mask(net, mask)
    if prefer == "probability":
        mask = _most_probable(problem, mask, trials, tries, seed, threads)
    elif prefer == "conditioning":
        mask = _best_conditioned(problem, mask, tries, seed, threads)
    return Allocation.from_mask(net, mask)


class _Problem:
    """Ground set, costs and limits of one question, and the cheapest basis of it."""

    def __init__(self, net: Network, cost: np.ndarray, limits: list[Cap], shared: tuple[str, ...]) -> None:
        self.net, self.cost, self.shared, self.limits = net, cost, shared, limits
        self.tableau, self.kappa = _matroid_of(net, shared)
        self.free = free_weights(plain(net), shared)
        # A limit that no independent set can break does not count (so it overlaps with none).
        caps = [(k, Cap(members & self.free, most)) for k, (members, most) in enumerate(limits)]
        caps = [(k, cap) for k, cap in caps if cap.most < min(int(cap.members.sum()), self.kappa)]
        caps = [(k, cap) for k, cap in caps if cap.most < rank(self.tableau, cap.members)]
        self.numbers = [k for k, _ in caps]
        self.caps = [cap for _, cap in caps]
        self.overlap = crossing(self.caps) is not None

    def solve(self, allowed: np.ndarray | None = None) -> np.ndarray:
        """bool [size]: cheapest allocation inside `allowed`. Raises Infeasible."""
        allowed = self.free if allowed is None else allowed & self.free
        if not self.caps:
            mask = cheapest_basis(self.tableau, self.cost, allowed)
            if mask.sum() < self.kappa:
                raise Infeasible([], [], int(mask.sum()))
            return mask
        if self.overlap:
            return cheapest_capped(self.tableau, self.caps, self.cost, self.kappa, allowed)
        return cheapest_common(
            self.tableau, Laminar(self.net.size, self.caps), self.cost, self.kappa, allowed
        )

    def price(self, mask: np.ndarray) -> float:
        return math.fsum(self.cost[mask])

    def obeys(self, mask: np.ndarray) -> bool:
        return all(int((cap.members & mask).sum()) <= cap.most for cap in self.caps)

    def same_price(self, first: float, second: float) -> bool:
        return abs(first - second) <= _SAME * self.kappa * float(np.abs(self.cost).max(initial=0.0))

    def impossible(self, proof: Infeasible) -> Impossible:
        net, kappa = self.net, self.kappa
        used = tuple(self.numbers[k] for k in proof.caps)
        sets = [(members & self.free, bound) for members, bound in proof.ranks]
        tight = np.zeros(net.size, dtype=bool)
        for members, _ in sets:
            tight |= members
        named = ", ".join(map(str, used)) or "(none)"
        if proof.reachable is not None:
            most, bound = proof.reachable, sets[0][1]
            text = (
                f"limits: the {int(tight.sum())} weights of the tight set have rank "
                f"{bound}, limits {named} leave at "
                f"most {most - bound} others: {most} < kappa = {kappa}, so no "
                "allocation within the limits can match"
            )
        else:
            text = (
                f"limits: {named} and {len(sets)} sets of weights with a rank too small leave no choice of "
                f"kappa = {kappa} independent weights, so no allocation within the limits can match"
            )
        ranks = tuple((Allocation.from_mask(net, members), bound) for members, bound in sets)
        return Impossible(text, Allocation.from_mask(net, tight), used, ranks, kappa, proof.reachable)


# The matroid of a network


@lru_cache(maxsize=32)
def _columns(net: Network, draw: int) -> tuple[np.ndarray, int]:
    """J [equations, size] at random point number `draw` mod the prime p, and p."""
    p = _cpu.PRIMES[draw % len(_cpu.PRIMES)]
    rng = np.random.default_rng([net.size, net.equations, draw, 10])
    theta = rng.integers(0, p, (1, net.shape.size), dtype=np.int64)
    x = rng.integers(0, p, (1, net.shape.inputs_size), dtype=np.int64)
    J = _cpu.jacobian_mod(net.shape, theta, x, draw, p)[0]
    J.setflags(write=False)
    return J, p


@lru_cache(maxsize=8)
def _reduced(net: Network, shared: tuple[str, ...]) -> tuple[Tableau, int]:
    kappa = required_rank(net, shared)
    free = free_weights(net, shared)
    for draw in range(_DRAWS):
        J, p = _columns(net, draw)
        tableau = Tableau(np.where(free, J, 0), p)
        for element in np.flatnonzero(free):
            tableau.add(int(element))
        if tableau.members.sum() == kappa:
            tableau.compress()
            return tableau, kappa
    raise RuntimeError(f"{net.describe()}, shared {shared}: no random point mod p of rank {kappa} was drawn")


def _matroid_of(net: Network, shared: tuple[str, ...]) -> tuple[Tableau, int]:
    """The columns of J_N mod p, those not in N zero, reduced to kappa rows; and kappa."""
    net = plain(net)
    if net.activation == "relu":
        raise ValueError(
            "net: expected a linear or tanh network, got relu: its ranks change "
            "from region to region, so the "
            "allocations that can match are no matroid (T10)"
        )
    tableau, kappa = _reduced(net, shared)
    return tableau.copy(), kappa


def _costs(net: Network, cost: Mapping[str, Any] | None, name: str = "cost") -> np.ndarray:
    """float [size]."""
    flat = np.ones(net.size)
    if cost is None:
        return flat
    if not isinstance(cost, Mapping):
        raise TypeError(f"{name}: expected a dict of arrays by group, got {type(cost).__name__}")
    for group, values in cost.items():
        if group not in net.groups:
            raise ValueError(f"{name}: expected groups out of {', '.join(net.groups)}, got {group!r}")
        try:
            values = np.asarray(values)
        except ValueError:
            raise ValueError(
                f"{name}[{group!r}]: expected shape {net.groups[group]}, got a ragged list"
            ) from None
        if values.dtype.kind not in "iuf":
            raise TypeError(f"{name}[{group!r}]: expected real numbers, got dtype {values.dtype}")
        if values.shape not in ((), net.groups[group]):
            raise ValueError(
                f"{name}[{group!r}]: expected shape {net.groups[group]} or one number, got {values.shape}"
            )
        if not np.isfinite(values).all():
            raise ValueError(
                f"{name}[{group!r}]: expected finite numbers; forbid weights by a limit (mask, 0)"
            )
        flat[net.slices[group]] = np.broadcast_to(values, net.groups[group]).reshape(-1)
    return flat


def _limits(net: Network, limits: Sequence[tuple[Any, int]] | None) -> list[Cap]:
    if limits is None:
        return []
    if not isinstance(limits, (list, tuple)):
        raise TypeError(f"limits: expected a list of (mask, most), got {type(limits).__name__}")
    caps = []
    for number, pair in enumerate(limits):
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise TypeError(f"limits[{number}]: expected a pair (mask, most), got {pair!r}")
        mask, most = pair
        try:
            if isinstance(mask, Mapping):
                mask = Allocation(net, mask)
            elif isinstance(mask, Strategy):
                mask = mask.allocation or mask
            elif not isinstance(mask, Allocation):
                mask = Allocation.from_mask(net, mask)
            if not isinstance(mask, Allocation):
                raise TypeError(f"mask: expected a fixed mask, got the random strategy {mask.name}")
            check_allocation(net, mask)
        except (TypeError, ValueError) as error:
            raise type(error)(f"limits[{number}]: {error}") from None
        caps.append(Cap(mask.mask, whole_number(f"limits[{number}] most", most, 0)))
    return caps


# Among the cheapest


def _most_probable(
    problem: _Problem, start: np.ndarray, trials: int, tries: int, seed: int, threads: int | None
):
    """A proven candidate if there is one, else the best of a local search by measured matches."""
    net, shared, price = problem.net, problem.shared, problem.price(start)
    rng = np.random.default_rng([seed, 1])

    def proven(mask: np.ndarray) -> bool:
        return predict(net, Allocation.from_mask(net, mask), shared).kind == "maximal"

    def matched(mask: np.ndarray) -> int:
        result = match_probability(
            net, Allocation.from_mask(net, mask), trials, shared, seed=seed, threads=threads
        )
        return result.matched

    good: dict[bytes, np.ndarray] = {}
    for mask in _candidates(problem, start, rng):
        fits = (
            mask.sum() == problem.kappa
            and problem.same_price(problem.price(mask), price)
            and problem.obeys(mask)
        )
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


def _best_conditioned(
    problem: _Problem, start: np.ndarray, tries: int, seed: int, threads: int | None
) -> np.ndarray:
    """Local search: the larger median of the smallest singular value of J_A at the students of sampled
    trials wins."""
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


class _Swaps:
    """Random exchanges of one weight for another of the same cost that keep the basis independent and the
    limits."""

    def __init__(self, problem: _Problem, mask: np.ndarray) -> None:
        self.problem, self.mask = problem, mask
        self.tableau = problem.tableau.copy()
        self.tableau.held[:], self.tableau.row_of[:] = -1, -1
        for element in np.flatnonzero(mask):
            self.tableau.add(int(element))
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


def _candidates(problem: _Problem, start: np.ndarray, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Masks that could have match probability 1: the start, structures of T7, cheapest bases of affine sets
    (T2)."""
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
                except Infeasible:
                    pass


def _solvable_candidates(problem: _Problem, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Cheapest row and column structures of T7; ties are drawn."""
    net = problem.net
    if not isinstance(net, Recurrent) or net.activation != "linear" or net.steps == 1:
        return
    n, o, T = net.hidden, net.outputs, net.steps
    place = {name: part.reshape(part.shape[0], -1) for name, part in net.unpack(np.arange(net.size)).items()}
    allowed = problem.free & ~np.any(
        [c.members for c in problem.caps if c.most == 0] or [np.zeros(net.size, bool)], 0
    )
    into = np.concatenate([place[name] for name in ("B", "b") if name in place], axis=1)

    def cheapest(line: np.ndarray, count: int) -> np.ndarray:
        line = rng.permutation(line[allowed[line]])
        return line[np.argsort(problem.cost[line], kind="stable")[:count]]

    def mask_of(parts: Sequence[np.ndarray]) -> np.ndarray:
        mask = np.zeros(net.size, dtype=bool)
        mask[np.concatenate([*parts, np.empty(0, dtype=np.int64)]).astype(np.int64)] = True
        return mask

    def best_rows(rows: list[np.ndarray], each: int) -> np.ndarray:
        order = sorted(
            (math.fsum(problem.cost[row]), rng.random(), k) for k, row in enumerate(rows) if len(row) == each
        )
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


# What an allocation lacks


@dataclass(frozen=True)
class Unmet:
    """One combination of equations that the learnable weights cannot move, although all weights could.

    equation: (output, step or sample) counted from 0; tied_to: the other equations in the combination, met
    first.
    text: the same in words.
    """

    equation: tuple[int, int]
    tied_to: tuple[tuple[int, int], ...]
    text: str


@dataclass(frozen=True)
class Unlock:
    """A frozen weight that adds a missing dimension. edge: as in `Allocation.edges`; moves: number of unmet
    combinations it acts on; cost."""

    edge: tuple
    moves: int
    cost: float


@dataclass(frozen=True)
class Line:
    """A row or column of a group, or a whole group: freeing its frozen weights restores `ranks` missing
    dimensions."""

    text: str
    ranks: int
    weights: Allocation


@dataclass(frozen=True)
class Explanation:
    """What an allocation lacks; see `explain`. `str()` tells it in words."""

    allocation: Allocation
    shared: tuple[str, ...]
    required_rank: int
    attained_rank: int
    unmet: tuple[Unmet, ...]
    unlocks: tuple[Unlock, ...]
    lines: tuple[Line, ...]
    useless: Allocation
    surplus: Allocation
    completion: Allocation
    completion_cost: float
    rules: tuple[str, ...] = field(default=())

    @property
    def missing(self) -> int:
        """kappa - rho: dimensions that a match needs and the learnable weights do not reach."""
        return self.required_rank - self.attained_rank

    @property
    def completed(self) -> Allocation:
        """The allocation with the completion added: rho = kappa, so MP > 0."""
        return Allocation.from_mask(self.allocation.net, self.allocation.mask | self.completion.mask)

    def __str__(self) -> str:
        a, net = self.allocation, self.allocation.net
        lines = [
            f"{net.describe()}: {a.budget} learnable weights reach rank {self.attained_rank} of the "
            f"{self.required_rank} required (rho, kappa; all places are counted from 0)"
        ]
        if self.surplus.budget:
            lines.append(
                f"{self.surplus.budget} of them add no dimension, for instance {_edges(self.surplus)}"
            )
        if not self.missing:
            lines.append("nothing is missing: a match exists with probability above 0 (T1)")
            return "\n".join(lines + [f"rule: {rule}" for rule in self.rules])
        lines.append(
            f"{self.missing} missing, so a match exists with probability 0 (T1). "
            "Equations that cannot be met:"
        )
        lines += [f"  {unmet.text}" for unmet in self.unmet[:8]]
        if len(self.unmet) > 8:
            lines.append(f"  and {len(self.unmet) - 8} more")
        lines += [f"rule: {rule}" for rule in self.rules]
        lines.append(f"frozen weights that unlock one dimension each: {len(self.unlocks)}")
        lines += [f"  {_edge(u.edge)} acts on {u.moves} of the unmet equations" for u in self.unlocks[:5]]
        if len(self.unlocks) > 5:
            lines.append(
                f"  and {len(self.unlocks) - 5} more; {self.useless.budget} frozen weights unlock nothing"
            )
        lines.append(
            "whole lines: " + "; ".join(f"{line.text} unlocks {line.ranks}" for line in self.lines[:6])
        )
        lines.append(
            f"cheapest completion: {self.completion.budget} weights, cost {self.completion_cost:g}: "
            f"{_edges(self.completion, 12)}"
        )
        return "\n".join(lines)


def explain(
    net: Network,
    allocation: Allocation | Strategy,
    shared: tuple[str, ...] = (),
    cost: Mapping[str, Any] | None = None,
) -> Explanation:
    """Which equations an allocation cannot meet, and which further weights would let it (T1, T10).

    allocation: an Allocation, or a strategy that always draws the same one. cost: of the weights that could
    be added,
    as in `best_allocation`.
    Fields: required_rank (kappa), attained_rank (rho), missing; unmet: a basis of the combinations of
    equations that
    only frozen weights can move, as many as are missing; unlocks: every frozen weight that adds a dimension,
    those that
    act on most unmet combinations first, then the cheaper; lines: groups, rows and columns whose frozen
    weights together
    unlock most; useless: frozen weights that add none; completion: the cheapest set that makes rho = kappa,
    one weight
    per missing dimension (matroid greedy in the contraction), completed: with it; surplus: learnable weights
    that could
    be frozen without losing a dimension; rules: what T4, T5, T6 and T12 say in counts.
    Shared groups cannot be unlocked. Ranks hold up to the error probability of a rank mod p.
    Errors: ValueError for relu, another network's allocation or learnable weights in a shared group;
    TypeError for a
    random strategy.
    """
    shared = check_shared(net, shared)
    check_allocation(net, allocation, shared)
    if isinstance(allocation, Strategy):
        if allocation.allocation is None:
            raise TypeError(
                "allocation: expected an Allocation or a strategy that always draws the same one, "
                f"got the random strategy {allocation.name}"
            )
        allocation = allocation.allocation
    price = _costs(net, cost)
    tableau, kappa = _matroid_of(net, shared)
    free = free_weights(plain(net), shared)
    mask = allocation.mask
    tableau.held[:], tableau.row_of[:] = -1, -1
    for element in np.flatnonzero(mask):
        tableau.add(int(element))
    rho = int(tableau.members.sum())
    surplus = mask & ~tableau.members
    frozen = free & ~mask
    unmet, moves = _unmet(net, shared, mask, frozen)
    if len(unmet) != kappa - rho:
        raise RuntimeError(f"{allocation!r}: {len(unmet)} unmet combinations, but rank {rho} of {kappa}")
    contracted = np.where(frozen, tableau.table[tableau.held < 0], 0)  # rows: the missing dimensions
    useful = (contracted != 0).any(axis=0)
    contraction = Tableau(contracted, tableau.p)
    completion = cheapest_basis(contraction, price)
    order = sorted(np.flatnonzero(useful).tolist(), key=lambda e: (-moves[e], price[e], e))
    edges = {int(k): edge for k, edge in zip(np.flatnonzero(useful), Allocation.from_mask(net, useful).edges)}
    found = attained_ranks(net, np.stack([mask, mask | completion]), shared)
    if found.tolist() != [rho, kappa]:
        raise RuntimeError(
            f"{allocation!r}: ranks {found.tolist()} at other points contradict {[rho, kappa]}"
        )
    return Explanation(
        allocation=allocation,
        shared=shared,
        required_rank=kappa,
        attained_rank=rho,
        unmet=tuple(unmet),
        unlocks=tuple(Unlock(edges[e], int(moves[e]), float(price[e])) for e in order),
        lines=_lines(net, contraction, useful),
        useless=Allocation.from_mask(net, frozen & ~useful),
        surplus=Allocation.from_mask(net, surplus),
        completion=Allocation.from_mask(net, completion),
        completion_cost=math.fsum(price[completion]),
        rules=tuple(_rules(net, mask, shared, rho, kappa)),
    )


def _unmet(
    net: Network, shared: tuple[str, ...], mask: np.ndarray, frozen: np.ndarray
) -> tuple[list[Unmet], np.ndarray]:
    """A basis of the unmet combinations, and int64 [size]: on how many of them each frozen weight acts.

    Rows of J are equations. Rows that are independent on A come first, in order; they are extended to a
    basis of the
    rows on N. Each row of the extension minus its combination of the first ones is zero on A and not on N.
    """
    model = plain(net)
    kappa = required_rank(model, shared)
    free = free_weights(model, shared)
    for draw in range(_DRAWS):
        J, p = _columns(model, draw)
        on_all = Tableau(J.T * free[:, None], p)
        on_few = Tableau(J[:, mask].T, p)
        for row in range(model.equations):
            if on_few.add(row):
                on_all.add(row)
        later = [row for row in range(model.equations) if on_few.row_of[row] < 0 and on_all.add(row)]
        if on_all.members.sum() == kappa:
            break
    unmet, moves = [], np.zeros(net.size, dtype=np.int64)
    for row in later:
        tied = on_few.circuit(row)
        factors = on_few.table[on_few.row_of[tied], row]
        # row - sum of factors * tied, on the frozen weights
        left = J[row].copy()
        for factor, other in zip(factors.tolist(), tied.tolist()):
            left = (left - factor * J[other]) % p
        moves += (left % p != 0) & frozen
        unmet.append(_in_words(net, row, tied))
    return unmet, moves


def _equation(net: Network, row: int) -> tuple[int, int]:
    """(output, step or sample) of an equation, counted from 0."""
    first, second = divmod(int(row), net.y_shape[1])
    return (second, first) if isinstance(net, Recurrent) else (first, second)


def _in_words(net: Network, row: int, tied: np.ndarray) -> Unmet:
    word = "step" if isinstance(net, Recurrent) else "sample"
    name = lambda e: f"output {e[0]} at {word} {e[1]}"  # noqa: E731
    equation, others = _equation(net, row), tuple(_equation(net, other) for other in tied)
    if not others:
        text = f"{name(equation)}: no learnable weight acts on it"
    elif len(others) <= 4:
        verb = "is" if len(others) == 1 else "are"
        text = f"{name(equation)}: fixed once {', '.join(map(name, others))} {verb} met"
    else:
        ends = f"{name(others[0])} to {name(others[-1])}"
        text = f"{name(equation)}: fixed once {len(others)} others are met, {ends}"
    return Unmet(equation, others, text)


def _lines(net: Network, contraction: Tableau, useful: np.ndarray) -> tuple[Line, ...]:
    """Groups, rows and columns by the number of missing dimensions that their weights restore together."""
    found = []
    for name, place in net.unpack(np.arange(net.size)).items():
        lines = [(f"all of {name}", place.reshape(-1))]
        if not net.is_bias(name):
            lines += [(f"row {k} of {name}", row) for k, row in enumerate(place)]
            lines += [(f"column {k} of {name}", column) for k, column in enumerate(place.T)]
        for text, line in lines:
            members = np.zeros(net.size, dtype=bool)
            members[line] = useful[line]
            if members.any():
                found.append(Line(text, rank(contraction, members), Allocation.from_mask(net, members)))
    return tuple(sorted(found, key=lambda line: (-line.ranks, line.weights.budget)))


def _rules(net: Network, mask: np.ndarray, shared: tuple[str, ...], rho: int, kappa: int) -> Iterator[str]:
    """What the counting theorems say of this allocation, in words."""
    model, groups = plain(net), net.unpack(mask)
    used = {name for name, part in groups.items() if part.any()}
    matrix, bias = last_layer(model)
    counts = {name: part.reshape(part.shape[0], -1).sum(axis=1) for name, part in groups.items()}
    if used and used <= {matrix, bias}:
        f = feature_rank(model)
        have = counts[matrix] + (counts[bias] if bias else 0)
        short = [f"{k} has {c}" for k, c in enumerate(have) if c < f]
        over = [f"{k} has {c}" for k, c in enumerate(have) if c > f]
        whose = matrix if bias is None else f"[{matrix} {bias}]"
        if short:
            yield (
                f"every row of {whose} needs {f} learnable weights, the rank of its "
                f"inputs; row {', '.join(short)} (T4)"
            )
        if over:
            yield f"more than {f} in a row of {whose} add nothing; row {', '.join(over)} (T4)"
        if len(have) * f < kappa:
            yield f"{whose} alone reaches at most {len(have) * f} of {kappa} dimensions (T4)"
        return
    if model.activation != "linear" or not used:
        return
    if isinstance(model, Recurrent):
        n, o, T = model.hidden, model.outputs, model.steps
        e = counts["B"] + counts.get("b", 0)
        if used <= {"B", "b"}:
            total = int(np.minimum(e, T).sum())
            exact = "" if o * (T - 1) <= n else "at most "
            if total < kappa:
                yield (
                    f"rows of B and b count up to T = {T} each: {exact}{total} of {kappa} "
                    "dimensions; a row with more "
                    f"than {T} gains nothing (T5)"
                )
            elif o * (T - 1) <= n:
                yield f"rows of B and b count up to T = {T} each, {total} in all; where in a row is free (T5)"
        elif used <= {"W", "B", "b"}:
            w = counts["W"]
            by_rows = np.minimum(T, e + np.minimum(T - 1, w))
            total = int(by_rows.sum())
            over = [f"{k} has {c}" for k, c in enumerate(w) if c > T - 1]
            if total < kappa:
                yield (
                    f"a row of W counts up to T - 1 = {T - 1} learnable weights (with B and "
                    f"b up to {T}): {total} of "
                    f"{kappa} dimensions; only rows matter, never columns (T12)"
                )
            if over:
                yield f"more than {T - 1} in a row of W add nothing; row {', '.join(over)} (T12)"
            if (e > 0).sum() < o and not first_output_right(model, shared) and kappa == o * T:
                yield (
                    f"y_1 needs learnable weights of B or b in {o} different rows, there "
                    f"are {int((e > 0).sum())} (T12)"
                )
        return
    if len(used) == 1 and not model.is_bias(next(iter(used))):
        name = next(iter(used))
        k = int(name[1:])
        d1, d2 = min(model.widths[k:]), signals(model)[k - 1][0]
        part = groups[name]
        rows = [f"{a} has {c}" for a, c in enumerate(part.sum(axis=1)) if c < d2]
        columns = [f"{b} has {c}" for b, c in enumerate(part.sum(axis=0)) if c < d1]
        if d1 * d2 < kappa:
            yield f"{name} alone reaches at most {d1} x {d2} = {d1 * d2} of {kappa} dimensions (T6)"
        if d1 == model.widths[k] and rows:
            yield f"every row of {name} needs {d2} learnable weights; row {', '.join(rows)} (T6)"
        elif d2 == model.widths[k - 1] and columns:
            yield f"every column of {name} needs {d1} learnable weights; column {', '.join(columns)} (T6)"


def _edge(edge: tuple) -> str:
    return f"{edge[0]}[{', '.join(map(str, edge[1:]))}]"


def _edges(allocation: Allocation, most: int = 4) -> str:
    edges = allocation.edges
    more = f" and {len(edges) - most} more" if len(edges) > most else ""
    return ", ".join(map(_edge, edges[:most])) + more


# How many samples or steps


@dataclass(frozen=True)
class Capacity:
    """The largest number m of samples or steps at which an allocation matches with probability >= 1 - eps.

    m: int, or math.inf where the probability stays that large for every m; 0 if m = 1 is too many already.
    axis: "samples" or "steps". quantity: of what m speaks: "existence" if every step of the search was
    decided by
    theory, rank or linear solve, "found" if a search by fitting had a part in it: then m is usually too
    small, since
    what was not found may exist. at_least, at_most: bounds of the capacity of existence from theory and 95 %
    intervals
    (each one 95 %), at_most inf where nothing bounds it. saturated_at: number from which on the match
    probability is
    constant (proved), None where no theorem gives one. evidence: {m tried: MatchResult, or the theory's
    reason (str)},
    in the order of m. reached_most: the search ended at `most` and m may be larger.
    """

    m: int | float
    axis: str
    eps: float
    quantity: str
    at_least: int | float
    at_most: int | float
    saturated_at: int | None
    evidence: dict[int, MatchResult | str]
    reached_most: bool

    def __str__(self) -> str:
        m = (
            "unlimited"
            if math.isinf(self.m)
            else f"{self.m} {self.axis}" + (" or more" if self.reached_most else "")
        )
        what = "match probability (existence)" if self.quantity == "existence" else "found probability"
        lines = [
            f"capacity {m}: {what} >= {1 - self.eps:g}; existence between {self.at_least} and {self.at_most}"
        ]
        lines += [f"  {self.axis} {k}: {seen}" for k, seen in self.evidence.items()]
        return "\n".join(lines)


def capacity(
    net: Network,
    allocation: Allocation | Strategy,
    eps: float = 0.05,
    shared: tuple[str, ...] = (),
    *,
    trials: int = 400,
    most: int = 256,
    seed: int = 0,
    **options: Any,
) -> Capacity:
    """How many samples (Feedforward) or steps (Recurrent) an allocation can learn: the largest m with MP >=
    1 - eps.

    The network's own number of samples or steps does not matter. MP does not grow with m, since the trials
    of m + 1 hold
    those of m. Ranks bound m from above (T1: rho < kappa for one m excludes every larger one), what theory
    proves (T2,
    T7, D4) needs no trial, and in between a bisection measures `trials` trials for about log2(most) values
    of m.
    `options` go to `match_probability` (method, starts, tol, gains, threads, ..). The estimate probability =
    matched /
    trials is compared with 1 - eps; `at_least` and `at_most` say what the intervals allow.

    MP is constant from some m on, so one value decides whether the capacity is infinite: linear feedforward,
    m = n_0
    (+ 1 with biases), where the samples determine the linear map; tanh feedforward, m = r + 1, and linear
    recurrent,
    2 n + r + 2 steps (r learnable weights): there a generic input tells apart all the students of an
    r-dimensional
    family from the teacher. relu and tanh recurrent networks have no such bound here: the search stops at
    `most`.
    For a random strategy the theory's part is counted over `trials` masks.
    Errors: ValueError and TypeError that name the argument.
    """
    shared = check_shared(net, shared)
    strategy = as_strategy(check_allocation(net, allocation, shared))
    if not isinstance(eps, (int, float)) or isinstance(eps, bool) or not 0 < eps < 1:
        raise ValueError(f"eps: expected a number above 0 and below 1, got {eps!r}")
    trials, most = whole_number("trials", trials, 1), whole_number("most", most, 1)
    search = _CapacitySearch(net, strategy, float(eps), shared, trials, seed, options)
    return search.run(most)


class _CapacitySearch:
    def __init__(self, net, strategy, eps, shared, trials, seed, options):
        self.net, self.strategy, self.eps, self.shared = net, strategy, eps, shared
        self.trials, self.seed, self.options = trials, seed, options
        self.axis = "steps" if isinstance(net, Recurrent) else "samples"
        self.evidence: dict[int, MatchResult | str] = {}
        self.at_least, self.at_most = 0, math.inf
        self.counted: dict[int, Any] = {}

    def at(self, m: int) -> tuple[Network, Allocation | Strategy]:
        net = replace(self.net, **{self.axis: m})
        fixed = self.strategy.allocation
        if fixed is not None:
            return net, Allocation.from_mask(net, fixed.mask)
        fixed_mask, pieces = self.strategy.recipe
        return net, Strategy(net, self.strategy.name, fixed_mask, pieces, self.strategy.spec())

    def theory(self, m: int):
        if m not in self.counted:
            self.counted[m] = predict_strategy(*self.at(m), self.shared, draws=self.trials, seed=self.seed)
        return self.counted[m]

    def excluded(self, m: int) -> bool:
        """By theory alone: ranks, or P(rank is full) of a strategy, are too small."""
        return self.theory(m).upper < 1 - self.eps

    def good(self, m: int) -> bool:
        theory = self.theory(m)
        if self.strategy.allocation is not None:
            counted = ""
        else:
            counted = f" of {theory.draws} masks"
        if theory.lower >= 1 - self.eps:
            self.evidence[m] = (
                f"proven: MP = 1 for a share {theory.lower:.4g}{counted}" if counted else "proven: MP = 1"
            )
            self.at_least = max(self.at_least, m)
            return True
        if self.excluded(m):
            share = f"rho = kappa = {theory.required_rank} for a share {theory.upper:.4g}{counted}"
            self.evidence[m] = (
                f"proven: {share}" if counted else f"proven: rho < kappa = {theory.required_rank}, MP = 0"
            )
            self.at_most = min(self.at_most, m - 1)
            return False
        net, allocation = self.at(m)
        seen = match_probability(net, allocation, self.trials, self.shared, seed=self.seed, **self.options)
        self.evidence[m] = seen
        low, high = seen.existence_interval
        if low >= 1 - self.eps:
            self.at_least = max(self.at_least, m)
        if high < 1 - self.eps:
            self.at_most = min(self.at_most, m - 1)
        return seen.probability >= 1 - self.eps

    def run(self, most: int) -> Capacity:
        every = bool(
            self.strategy.allocation
            and self.strategy.allocation.mask[free_weights(plain(self.net), self.shared)].all()
        )
        if every:  # for every m, by D4
            self.evidence[1] = (
                "proven: every weight that is not shared may learn (D4), MP = 1 for every number"
            )
            return self.result(math.inf, None, False)
        saturated = _saturation(self.net, self.strategy.budget)
        end = most if saturated is None else min(most, saturated)
        bound = self.largest_not_excluded(end)
        low, high = 0, bound + 1  # good at low, not at high
        if bound < end:
            self.good(bound + 1)  # the proof, into the evidence
        elif self.good(end):
            # Constant from the saturation on.
            if saturated is not None and end == saturated:
                return self.result(math.inf, saturated, False)
            return self.result(end, saturated, True)
        else:
            high = end
        while high - low > 1:
            middle = (low + high) // 2
            if self.good(middle):
                low = middle
            else:
                high = middle
        return self.result(low, saturated, False)

    def largest_not_excluded(self, end: int) -> int:
        """By bisection: what theory excludes stays excluded (T1 and D5)."""
        if not self.excluded(end):
            return end
        low, high = 0, 1
        while not self.excluded(high):
            low, high = high, min(2 * high, end)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.excluded(middle) else (middle, high)
        return low

    def result(self, m: int | float, saturated: int | None, reached: bool) -> Capacity:
        measured = [seen for seen in self.evidence.values() if isinstance(seen, MatchResult)]
        existence = all(seen.quantity == "existence" for seen in measured)
        if (
            not reached
            and saturated is not None
            and self.at_least >= saturated
            or m == math.inf
            and not measured
        ):
            self.at_least = math.inf
        return Capacity(
            m=m,
            axis=self.axis,
            eps=self.eps,
            quantity="existence" if existence else "found",
            at_least=self.at_least,
            at_most=self.at_most,
            saturated_at=saturated,
            evidence=dict(sorted(self.evidence.items())),
            reached_most=reached,
        )


def _saturation(net: Network, budget: int) -> int | None:
    """Number of samples or steps from which on MP is constant, None where no theorem says so.

    Linear feedforward: n_0 generic samples (n_0 + 1 with biases) determine the affine map, so a match on
    them is a match
    on all. Otherwise count dimensions: a student that is not the teacher as a function misses a generic
    input by at
    least one equation per sample (step), so the inputs on which some student of the r-dimensional family
    matches
    m samples without being the teacher have codimension >= m - r. Recurrent: after the first lag k <= 2 n at
    which
    teacher and student differ every step is one equation; without such a lag the biases alone differ, and an
    affine
    sequence of order <= 2 n + 1 that is zero so long stays zero.
    """
    net = plain(net)
    if isinstance(net, Feedforward):
        if net.activation == "linear":
            return net.widths[0] + bool(net.bias)
        return budget + 1 if net.activation == "tanh" else None
    return 2 * net.hidden + budget + 2 if net.activation == "linear" else None
