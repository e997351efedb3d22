"""Attained and required ranks (D6) of allocations at generic points: exact mod p, or sampled over regions for relu.

The rank of the Jacobian at a random point mod p is never too large, and too small with probability at most degree / p. Closed forms
(ranks/closed_forms.py) bound the ranks and are checked against them. theory/predict.py and match/decide.py
infer from them whether there is a match.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .._checks import no_mask
from ..backend.compiled import cpu
from ..model.allocation import Allocation
from ..model.checks import check_shared
from ..model.layers import has_effect, plain
from ..model.linearized import Linearized, check_model
from ..model.network import Feedforward, Network
from ..ops.rank import rank as float_rank
from .closed_forms import attained_rank_formula, required_rank_bound, required_rank_formula
from .numerical import numerical_rank

_DRAWS = 4  # random points tried before a closed form and a rank mod p are called contradictory
_CHUNK_BYTES = 2**25  # of matrices handed to one elimination call
_REGIONS = 64  # relu: regions sampled
_REGION_BYTES = 2**27


def required_rank(net: Network | Linearized, shared: tuple[str, ...] = ()) -> int:
    """kappa (D6): rank of the Jacobian in all weights that are not shared, at a generic point; what a match needs at least.

    shared: names of the groups that student and teacher have in common.
    Gains do not count: they are 1 in every teacher.
    Linear and tanh: exact up to the error probability of two primes. relu: the largest found in sampled
    regions. Of a model of `from_jacobian`: `numerical_rank`. Errors: ValueError for an unknown group, TypeError for a str as `shared`.
    Source: Schlisselberg & Darshan 2025, and docs/theory.md (T1, T3).

    >>> sl.required_rank(sl.Recurrent(inputs=2, hidden=8, outputs=2, steps=6), shared=("B", "D"))
    10
    """
    shared = check_model(net, shared)
    if isinstance(net, Linearized):
        return numerical_rank(net, shared=shared).rank
    net = plain(net)
    if net.activation == "relu":
        return int(required_in_regions(net, shared).max())
    return required_with_error(net, shared).rank


def attained_ranks(net: Network, masks: np.ndarray, shared: tuple[str, ...] = ()) -> np.ndarray:
    """rho (D6) of many allocations of one network: masks bool [k, size] to int64 [k].

    Linear and tanh: exact up to the error probability of two primes; one Jacobian is kept for every network,
    so only eliminations are paid for each mask. relu: the largest found in sampled regions.
    Errors: TypeError for masks that are not bool, ValueError for a wrong shape or a learnable weight in a
    shared group.
    """
    shared = check_shared(net, shared)
    masks = check_masks(net, masks, shared)
    net = plain(net)
    if net.activation == "relu":
        return region_ranks(net, masks).max(axis=1)
    return attained_with_bounds(net, masks, required_with_error(net, shared).whole)[0]


def check_masks(net: Network, masks: np.ndarray, shared: tuple[str, ...]) -> np.ndarray:
    """masks as bool [k, size] with no learnable weight in a shared group; TypeError and ValueError that name the value received."""
    no_mask("masks", masks)
    masks = np.asarray(masks)
    if masks.dtype != np.bool_:
        raise TypeError(f"masks: expected a bool array [k, {net.size}], got dtype {masks.dtype}")
    if masks.ndim != 2 or masks.shape[1] != net.size:
        raise ValueError(f"masks: expected shape [k, {net.size}] for {net.describe()}, got {masks.shape}")
    clash = [name for name in shared if masks[:, net.slices[name]].any()]
    if clash:
        raise ValueError(f"masks: expected no learnable weight in shared groups, got some in {', '.join(clash)}")
    return masks


def free_weights(net: Network, shared: tuple[str, ...]) -> np.ndarray:
    """bool [size]: the weights of N that the outputs depend on and that differ between teachers. Gains do not."""
    free = has_effect(net)
    for name in (*shared, *net.gain):
        free[net.slices[name]] = False
    return free


def choosable(net: Network, shared: tuple[str, ...]) -> np.ndarray:
    """bool [size]: the weights of N that the outputs depend on, gains included: what an allocation may hold."""
    some = has_effect(net)
    for name in shared:
        some[net.slices[name]] = False
    return some


def whole_rank(net: Network, shared: tuple[str, ...]) -> int:
    """Rank of all weights that are not shared, gains included: what gives a match near every teacher. Linear and tanh.

    It is kappa, unless units have gains whose outgoing weights are shared: other outgoing weights could not do what these gains do, so
    that students reach outputs that no teacher has.
    """
    return required_with_error(plain(net), shared).whole


# Mod p


class Required(NamedTuple):
    """kappa, the probability that it is larger (0.0 if an upper bound proves it), and the rank with gains (`whole_rank`)."""

    rank: int
    error: float
    whole: int


@lru_cache(maxsize=1024)
def required_with_error(net: Network, shared: tuple[str, ...]) -> Required:
    free = free_weights(net, shared)[None]
    bound, formula = required_rank_bound(net, shared), required_rank_formula(net, shared)
    most = bound if formula is None else formula
    rank = 0
    for draw in range(_DRAWS):
        rank = max(rank, int(ranks_at(net, free, draw)[0]))
        if rank >= most or (formula is None and draw == 1):
            break
    if rank > most or (formula is not None and rank < formula):
        said = f"the bound {bound}" if formula is None else f"the closed form (T3) {formula}"
        raise RuntimeError(f"{net.describe()}, shared {shared}: required rank mod p {rank} contradicts {said}")
    whole, every = rank, choosable(net, shared)[None]
    if (every != free).any():
        whole = max(rank, *(int(ranks_at(net, every, draw)[0]) for draw in range(2)))
    return Required(rank, 0.0 if rank == most else miss(net, rank + 1, 2), whole)


def attained_with_bounds(net: Network, masks: np.ndarray, kappa: int) -> tuple[np.ndarray, np.ndarray]:
    """rho int64 [k] of masks bool [k, size], and upper bounds of it (closed forms, kappa not among them)."""
    bounds, exact = attained_rank_formula(net, masks)
    ranks = ranks_at(net, masks, 0)
    for draw in range(1, _DRAWS):
        low = (ranks < np.minimum(bounds, kappa)) & (exact | (draw == 1))
        if not low.any():
            break
        ranks[low] = np.maximum(ranks[low], ranks_at(net, masks[low], draw))
    wrong = (ranks > np.minimum(bounds, kappa)) | (exact & (ranks < bounds))
    if wrong.any():
        k = int(wrong.argmax())
        raise RuntimeError(
            f"{Allocation.from_mask(net, masks[k])!r}: attained rank mod p {ranks[k]} contradicts the closed "
            f"form (T4, T5, T6, T12) {bounds[k]}{'' if exact[k] else ' (an upper bound)'}, "
            f"with required rank {kappa}"
        )
    return ranks, bounds


def miss(net: Network, rank: int, draws: int) -> float:
    """Bound of the probability that a minor of this size, not the zero polynomial, vanishes at every draw."""
    layers = len(net.widths) - 1 if isinstance(net, Feedforward) else net.steps + 1
    degree = layers * (3 if net.activation == "tanh" else 1)  # of an entry of J: a path, slopes 1 - h^2
    return min(1.0, rank * degree / min(cpu.PRIMES)) ** draws


@lru_cache(maxsize=16)
def point(net: Network, draw: int) -> tuple[np.ndarray, int]:
    """J [equations, size + 1] at random point number `draw`, and its prime.

    The last column is zero, for masks of unequal budgets.
    """
    p = cpu.PRIMES[draw % len(cpu.PRIMES)]
    rng = np.random.default_rng([draw, net.size, net.equations])
    theta = rng.integers(0, p, (1, net.shape.size), dtype=np.int64)
    x = rng.integers(0, p, (1, net.shape.inputs_size), dtype=np.int64)
    J = cpu.jacobian_mod(net.shape, theta, x, draw, p)[0]
    J = np.concatenate([J, np.zeros((len(J), 1), dtype=np.int64)], axis=1)
    J.setflags(write=False)
    return J, p


def ranks_at(net: Network, masks: np.ndarray, draw: int) -> np.ndarray:
    """Ranks mod p int64 [k] of the columns chosen by masks bool [k, size]: gathered, then eliminated."""
    J, p = point(net, draw)
    budgets = masks.sum(axis=1)
    ranks = np.zeros(len(masks), dtype=np.int64)
    order = np.argsort(budgets, kind="stable")
    order = order[budgets[order] > 0]
    start = 0
    while start < len(order):
        # Budgets ascend, so masks of similar budgets are padded to the largest of their chunk.
        most = budgets[order[start:]]
        fit = np.arange(1, len(most) + 1) * most * len(J) * 8 <= _CHUNK_BYTES
        stop = start + max(1, int(np.searchsorted(~fit, True)))
        rows = order[start:stop]
        columns = np.full((len(rows), budgets[rows[-1]]), masks.shape[1], dtype=np.int64)
        which, where = np.nonzero(masks[rows])
        first = np.concatenate([[0], np.cumsum(budgets[rows])[:-1]])
        columns[which, np.arange(len(which)) - first[which]] = where
        chosen = np.ascontiguousarray(J[:, columns].transpose(1, 0, 2))
        ranks[rows] = cpu.rank_mod(chosen, p)
        start = stop
    return ranks


# Sampled regions of relu networks (T11)


@lru_cache(maxsize=8)
def _regions(net: Network) -> np.ndarray:
    """Jacobians float64 [regions, equations, size] at the weights and inputs of sampled trials (D3)."""
    rng = np.random.default_rng([net.size, net.equations])
    count = max(4, min(_REGIONS, _REGION_BYTES // (8 * net.size * net.equations)))
    theta = rng.standard_normal((count, net.size))
    for name, where in net.slices.items():
        theta[:, where] /= np.sqrt(net.fan_in[name] or 1)
        if name in net.gain:
            theta[:, where] = 1.0
    x = rng.standard_normal((count, net.shape.inputs_size))
    J = cpu.jacobian(net.shape, theta, x, np.arange(net.size, dtype=np.intc)[None])
    J.setflags(write=False)
    return J


def region_ranks(net: Network, masks: np.ndarray) -> np.ndarray:
    """int64 [k, regions]: ranks of the columns of masks bool [k, size] in every sampled region, in floating point."""
    J = _regions(net)
    ranks = np.zeros((len(masks), len(J)), dtype=np.int64)
    budgets = masks.sum(axis=1)
    for budget in np.unique(budgets[budgets > 0]):
        rows = np.flatnonzero(budgets == budget)
        step = max(1, _CHUNK_BYTES // (8 * int(budget) * J.shape[0] * J.shape[1]))
        for start in range(0, len(rows), step):
            some = rows[start : start + step]
            chosen = J[:, :, np.nonzero(masks[some])[1].reshape(len(some), budget)].transpose(2, 0, 1, 3)
            ranks[some] = float_rank(np.ascontiguousarray(chosen).reshape(-1, J.shape[1], budget)).reshape(len(some), len(J))
    return ranks


@lru_cache(maxsize=256)
def required_in_regions(net: Network, shared: tuple[str, ...]) -> np.ndarray:
    """int64 [regions]: rank of all weights that are not shared, in every sampled region."""
    ranks = region_ranks(net, free_weights(net, shared)[None])[0]
    ranks.setflags(write=False)
    return ranks


@lru_cache(maxsize=256)
def whole_in_regions(net: Network, shared: tuple[str, ...]) -> np.ndarray:
    """int64 [regions]: `whole_rank` in every sampled region."""
    if (choosable(net, shared) == free_weights(net, shared)).all():
        return required_in_regions(net, shared)
    ranks = region_ranks(net, choosable(net, shared)[None])[0]
    ranks.setflags(write=False)
    return ranks
