"""What is decided before anything is solved or searched: the student as it is (D4), outputs that nothing reaches (D3), ranks (T1)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..backend.compiled import cpu
from ..homotopy.forcing_equations import P, residues
from ..model.layers import last_layer, plain
from ..model.network import Network, Recurrent
from ..ops.arguments import distinct_rows
from ..ops.rank import rank
from ..ops.units import constant_outputs
from ..ranks.generic_rank import attained_ranks, free_weights, required_rank
from .methods import EXACT
from .problem import EXACTLY, NO_NEAR_MISS, ROUNDING, Problem, column_scale

_SCREEN_DRAWS, _SCREEN_BYTES = 3, 2**26

_CLEAR = 1e-9  # singular values above this share of the largest are not zero
_ORDINARY = 30.0  # gains within this factor of 1 leave tanh neither saturated nor linear


def meets_as_it_is(problem: Problem, open_: np.ndarray, method: str) -> None:
    """D4: the student meets its targets as it is: up to rounding, or within the tolerance of a search, whose start 0 it is."""
    rows = np.flatnonzero(open_ & (problem.loss < min(problem.tol, NO_NEAR_MISS)))
    if len(rows):
        miss = np.abs(problem.residual(problem.theta[rows], rows))
        met = (miss <= EXACTLY * problem.rounding(problem.theta[rows], rows)).all(axis=1)
        problem.verdicts.settle(rows[met], 1, "D4", start=0)
        open_[rows[met]] = False
    if method != EXACT:
        rows = open_ & (problem.loss < problem.tol)
        problem.verdicts.settle(rows, 1, method, start=0)
        open_ &= ~rows


def constant_but_wrong(problem: Problem, open_: np.ndarray) -> None:
    """An output that no learnable weight reaches is wrong: no."""
    masks, which = distinct_rows(problem.masks)
    still = constant_outputs(problem.net, masks)
    rows = np.flatnonzero(open_ & still.any(axis=1)[which])
    if not len(rows):
        return
    miss = np.abs(problem.residual(problem.theta[rows], rows)) * still[which[rows]]
    miss[miss <= ROUNDING * problem.eps * np.abs(problem.y[rows])] = 0.0  # most: then how far rounding reaches need not be measured
    rows, miss = rows[miss.any(axis=1)], miss[miss.any(axis=1)]
    if not len(rows):
        return
    wrong = rows[(miss > ROUNDING * problem.rounding(problem.theta[rows], rows, widely=True)).any(axis=1)]
    problem.verdicts.settle(wrong, 0, "D3")
    open_[wrong] = False


Screen = Callable[[Problem, np.ndarray], None]


def screen_generic(problem: Problem, open_: np.ndarray) -> None:
    """T1 for generic teachers and inputs. One rank for every distinct mask. relu: ranks differ from region to region, nothing is said."""
    if problem.net.activation == "relu":
        return
    masks, which = distinct_rows(problem.masks)
    deficient = attained_ranks(problem.net, masks, problem.shared) < required_rank(problem.net, problem.shared)
    rows = open_ & deficient[which]
    problem.verdicts.settle(rows, 0, "T1")
    open_ &= ~rows


def screen_dimension(problem: Problem, open_: np.ndarray) -> None:
    """T1 for targets with a density: what a student reaches has dimension rho (relu: in every region at most as many as it has learnable
    weights), so below the number of equations it contains them with probability 0. Targets that are all 0, as those of a dead
    relu teacher, have none."""
    masks, which = distinct_rows(problem.masks)
    most = masks.sum(axis=1) if problem.net.activation == "relu" else attained_ranks(problem.net, masks, problem.shared)
    rows = open_ & (most < problem.net.equations)[which] & problem.y.any(axis=1)
    problem.verdicts.settle(rows, 0, "T1")
    open_ &= ~rows


def screen_here(problem: Problem, open_: np.ndarray) -> None:
    """T1 at the given inputs and shared weights, for a generic teacher otherwise. Linear: ranks mod p. Else in floating point, the largest
    of a few draws: attained ones count every singular value above rounding, required ones clear ones only. tanh: at draws that keep units
    out of saturation, where slopes are lost to rounding; where shared weights saturate them, nothing is said; nor for relu."""
    if problem.net.activation == "relu":
        return
    net, free = problem.net, free_weights(problem.net, problem.shared)
    law = np.concatenate([np.full(where.stop - where.start, (net.fan_in[name] or 1) ** -0.5) for name, where in net.slices.items()])
    common = np.zeros(net.size, dtype=bool)
    for name in problem.shared:
        common[net.slices[name]] = True
    draws = np.random.default_rng(2).standard_normal((_SCREEN_DRAWS, net.size)) * law
    for name in net.gain:  # those of a teacher
        draws[:, net.slices[name]] = 1.0
    every = np.arange(net.size, dtype=np.intc)[None]
    step = max(1, _SCREEN_BYTES // (8 * net.size * net.equations))
    rows = np.flatnonzero(open_)
    for begin in range(0, len(rows), step):
        some = rows[begin : begin + step]
        attained, required = np.zeros((2, len(some)), dtype=np.int64)
        if plain(net).activation == "linear":
            attained, required = _ranks_here(problem, some, common, free)
        sane = np.ones(len(some), dtype=bool)
        for draw in () if plain(net).activation == "linear" else draws:
            theta = np.where(common, problem.theta[some], draw)
            if net.activation == "tanh":
                sane &= _unsaturated(net, theta, problem.x[some], common)
            jacobian = lambda at, some=some: problem.kernels.jacobian(net.shape, at, problem.x[some], every, problem.threads)  # noqa: E731
            J = jacobian(theta)
            own = J
            if net.gain:
                at, fine = _own_gains(net, problem.masks[some], problem.theta[some], theta, common)
                sane &= fine & _unsaturated(net, at, problem.x[some], common)
                own = jacobian(at)
            J, own = (part * column_scale(part)[:, None] for part in (J, own))
            attained = np.maximum(attained, rank(np.where(problem.masks[some][:, None], own, 0.0)))
            required = np.maximum(required, rank(np.where(free, J, 0.0), _CLEAR))
        low = some[sane & (attained < required)]
        problem.verdicts.settle(low, 0, "T1")
        open_[low] = False


def _own_gains(
    net: Network, masks: np.ndarray, students: np.ndarray, theta: np.ndarray, common: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(theta [n, size] at gains that the students can have, bool [n]: does floating point show its rank?).

    Gains that learn are drawn. Those that do not are the student's: 0 takes a unit out, and any other is made up for where what reads the
    unit is drawn, as weights / gain are as generic as weights; where it is given, gains far from 1 saturate it, or make it linear.
    """
    theta, fine = theta.copy(), np.ones(len(theta), dtype=bool)
    random = np.random.default_rng(4).uniform(0.5, 2.0, net.size)
    for name in net.gain:
        where, learns = net.slices[name], masks[:, net.slices[name]]
        gain = np.where(learns, random[where], students[:, where])
        theta[:, where] = gain
        frozen = np.where(learns | (gain == 0), 1.0, gain)
        for reader in _readers(net, name):
            if common[net.slices[reader]].any():
                fine &= ((np.abs(frozen) >= 1 / _ORDINARY) & (np.abs(frozen) <= _ORDINARY)).all(axis=1)
            else:
                net.unpack(theta)[reader][:] /= frozen[:, None, :]
    return theta, fine


def _readers(net: Network, gain: str) -> tuple[str, ...]:
    """Names of the matrices that read units with these gains."""
    return ("W", "D") if isinstance(net, Recurrent) else (f"W{int(gain[1:]) + 1}",)


def _ranks_here(problem: Problem, rows: np.ndarray, common: np.ndarray, free: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(attained, required) int64 [rows] of linear networks, mod p: at the very inputs and shared weights given, the others drawn."""
    net, ranks = plain(problem.net), np.zeros((2, len(rows)), dtype=np.int64)
    for draw in range(2):
        theta = np.random.default_rng([3, draw]).integers(0, P, net.size)
        theta = np.where(common, residues(problem.theta[rows]), theta)
        own = theta
        if net.gain:  # the student's where they do not learn, 1 in the teacher where they are not shared
            gains = np.zeros(net.size, dtype=bool)
            for name in net.gain:
                gains[net.slices[name]] = True
            own = np.where(gains & ~problem.masks[rows], residues(problem.theta[rows]), theta)
            theta = np.where(gains & ~common, 1, theta)
        x = residues(problem.x[rows])
        J = cpu.jacobian_mod(net.shape, theta, x, 0, P)
        pairs = ((J if own is theta else cpu.jacobian_mod(net.shape, own, x, 0, P), problem.masks[rows]), (J, free[None]))
        for k, (J, chosen) in enumerate(pairs):
            ranks[k] = np.maximum(ranks[k], cpu.rank_mod(np.ascontiguousarray(np.where(chosen[:, None], J, 0)), P))
    return ranks[0], ranks[1]


def _unsaturated(net: Network, theta: np.ndarray, x: np.ndarray, common: np.ndarray) -> np.ndarray:
    """Shrinks first layers that are not shared (in place) until |W x| <= 1; bool [n]: are all pre-activations below 8 then?"""
    name = next(iter(net.groups))
    first, inputs = theta[:, net.slices[name]].reshape(-1, *net.groups[name]), np.abs(x.reshape(-1, *net.x_shape))
    if isinstance(net, Recurrent):
        inputs = np.swapaxes(inputs.reshape(len(inputs), -1, net.inputs), 1, 2)
    most = (np.abs(first) @ inputs).max(axis=(1, 2))
    if not common[net.slices[name]].any():
        theta[:, net.slices[name]] /= np.maximum(most, 1.0)[:, None]
        most = np.minimum(most, 1.0)
    groups = {name: np.abs(part) for name, part in net.unpack(theta).items()}
    for name in net.gain:  # of what a matrix reads
        for reader in _readers(net, name):
            groups[reader] = groups[reader] * groups[name][:, None, :]
    largest = most + (np.abs(groups["W"]).sum(axis=2).max(axis=1) if isinstance(net, Recurrent) else 0.0)
    for bias in net.bias:
        if bias != last_layer(net)[1]:
            largest = largest + np.abs(groups[bias]).max(axis=1)
    for k in range(2, len(net.widths) - 1) if not isinstance(net, Recurrent) else ():
        largest = np.maximum(
            largest, np.abs(groups[f"W{k}"]).sum(axis=2).max(axis=1) + (np.abs(groups[f"b{k}"]).max(axis=1) if f"b{k}" in groups else 0.0)
        )
    return largest < 8.0
