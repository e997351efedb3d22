"""Matches by substitution (T7, T9 via T2): structures inside an allocation that are solved block by block, for batches of trials.

row                     outputs fix the activity of o units step by step: h_t[S] = D_S^-1 (y_t - c - D_rest h_t[rest]); then each of
                        their rows of W solves a linear system. tanh, relu: a match needs every solved activity in (-1, 1), above 0
row, nothing shared     the same from t = 1 on, with rows of [W B b]
column                  with a_t the activity of unit k and r_t what the outputs miss while the column is zero,
                        sum_j (a_{t-j} D W_0^{j-1} w + r_{t-j} e_k W_0^{j-1} w) = r_t is affine in the column w
column, nothing shared  the same, affine in w and in the column d of D: + a_t d
affine                  outputs affine in a part of the learnable weights that reaches kappa dimensions (T2)
output split            rows of the last layer meet their outputs themselves, the others are met by one of the above, first

What is left here is which structure to use: the forms themselves are compiled (csrc/method/substitution.h). Every number carries a bound of
its error (double-double balls, csrc/scalar/double_double_ball.h), so a solution is an enclosure: the matrices are proven invertible, and
a true real solution lies within `radius` of the weights returned. As for every certificate here the float64 numbers of the trial are
exact. Equations that no learnable weight reaches (y_1 with B, D shared) are checked up to rounding. Others may be left out of what is
solved only where they follow from it (saturated systems): for the exact outputs of a teacher that shares these groups, which then stand for
y.
Learnable weights a structure does not need keep the student's values, and of several choices the best pivots are taken.
A no (tanh, relu) is said only if it holds for all targets that round to the given ones.

Cost: 8 us per trial on one core at n = 8, o = 2, T = 6 (row form), 5 of them compiled, and 4 us for a plan of its own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..backend.compiled import cpu
from ..model.layers import first_output_right, last_layer, plain
from ..model.network import Network, Recurrent
from ..ops.arguments import index_rows
from ..ops.units import constant_outputs, reach
from ..ranks.affine import affine, affine_parts
from ..ranks.block_structures import output_splits, structures_in
from ..ranks.closed_forms import target_rank
from ..ranks.generic_rank import attained_ranks, required_rank, whole_rank

_ROUNDING = 256  # targets are taken to be right to so many eps of the numbers they were made of
_FOLLOWS = 1e-8  # equations that follow from others may miss by so much, relative to the outputs: more shows that something is wrong
_EPS = float(np.finfo(np.float64).eps)
_CHUNK = 512  # trials worked on at a time, in memory that stays in the cache


class Plan(NamedTuple):
    """How to solve an allocation. name: see the top of the file; use bool [size]: learnable weights that may be solved for.

    column: its unit, for the column forms. held bool [outputs], rest, place: an output split, see `_structures.Split`. whole: no
    learnable weight lies outside the structure.
    """

    name: str
    use: np.ndarray
    column: int = -1
    held: tuple[bool, ...] = ()
    rest_net: Network | None = None
    rest: Plan | None = None
    place: np.ndarray | None = None
    whole: bool = False

    @property
    def key(self) -> tuple:
        """Trials with equal keys are solved side by side."""
        return (self.name, self.held, self.rest and self.rest.key)


class Enclosed(NamedTuple):
    """Numbers within rad of hi + lo, three float64 arrays of one shape; None: zeros."""

    hi: np.ndarray
    lo: np.ndarray | None = None
    rad: np.ndarray | None = None


class Solution(NamedTuple):
    """theta [n, size]; proven bool [n]: a true solution lies within radius float64 [n] of it, in every learnable weight. solved bool [n]:
    a solution of the equations that were solved, which need not be all (no teacher to fill in what follows), or not exactly (a silent
    unit).

    low [n, size]: theta + low is the solution to some 30 digits. Badly conditioned solutions need them: theta itself, the solution
    rounded to float64, may then miss the outputs by far (row form, n = 8, o = 2, T = 6: by more than 1e-8 in 5 % of trials).
    Row forms with tanh and relu: refused bool [n]: an activity that the outputs ask for lies outside the values of phi, so these
    rows cannot match, and nothing can where the structure is `whole`; near bool [n]: one is too near to the edge to tell (relu: it is taken
    to be 0, which every pre-activation below 0 gives).
    """

    theta: np.ndarray
    low: np.ndarray
    solved: np.ndarray
    proven: np.ndarray
    radius: np.ndarray
    refused: np.ndarray
    near: np.ndarray


def plans(net: Network, masks: np.ndarray, shared: tuple[str, ...]) -> list[list[Plan]]:
    """The row and column forms inside masks bool [k, size]: MP = 1 (linear), or a verdict for every trial (tanh and relu: row forms)."""
    found: list[list[Plan]] = [[] for _ in masks]
    if not isinstance(net, Recurrent) or net.extended:
        return found
    for name, has, witness in structures_in(replace(net, activation="linear"), masks, shared):
        row = name.startswith("row")
        if (net.activation != "linear" and not row) or (net.steps == 1 and not name.endswith("nothing shared")) or not has.any():
            continue
        which = np.flatnonzero(has)
        if row:  # any of the rows that are full enough: the best pivots decide
            use, unit = _full_rows(net, masks[which], name), np.full(len(which), -1)
            whole = (use == masks[which]).all(axis=1) & (_rows_in(net, use) == net.outputs)
        else:
            use, whole = witness[which], np.zeros(len(which), dtype=bool)
            unit = net.unpack(use)["W"].any(axis=1).argmax(axis=1)
        for k, mine, column, all_of_it in zip(which.tolist(), use, unit.tolist(), whole.tolist()):
            found[k].append(Plan(name, mine, column, whole=all_of_it))
    return found


def more_plans(net: Network, masks: np.ndarray, shared: tuple[str, ...]) -> list[list[Plan]]:
    """Affine parts and output splits inside masks bool [k, size] of rank kappa; the search takes ranks mod p."""
    net = plain(net)
    found: list[list[Plan]] = [[] for _ in masks]
    if net.activation == "relu":
        return found
    straight = affine(net, masks)
    rows = np.flatnonzero(~straight)
    has, parts = affine_parts(net, masks[rows], whole_rank(net, shared))
    for k in np.flatnonzero(straight):
        found[k].append(Plan("affine", masks[k]))
    for k, part in zip(rows[has], parts[has]):
        found[k].append(Plan("affine", part))
    rows = rows[~has]
    matrix = last_layer(net)[0]
    for split in output_splits(net, masks[rows], shared):
        full = attained_ranks(split.rest, split.masks, shared) == required_rank(split.rest, shared)
        which, inner = rows[split.which[full]], split.masks[full]
        held = tuple((~np.isin(net.unpack(np.arange(net.size))[matrix][:, 0], split.place)).tolist())
        for k, some, more in zip(which, plans(split.rest, inner, shared), more_plans(split.rest, inner, shared)):
            found[k] += [Plan("output split", masks[k], -1, held, split.rest, one, split.place) for one in some + more]
    return found


def _full_rows(net: Recurrent, masks: np.ndarray, name: str) -> np.ndarray:
    """bool [k, size]: the rows of masks [k, size] that are full enough for the row form `name`, and c where all of it learns."""
    learns = net.unpack(masks)
    T = net.steps
    w, e = learns["W"].sum(axis=2), learns["B"].sum(axis=2) + learns.get("b", 0)
    use = np.zeros(masks.shape, dtype=bool)
    groups = net.unpack(use)
    if name == "row":
        rows, names = w >= T - 1, ("W",)
        if "c" in learns:
            groups["c"][learns["c"].all(axis=1)] = True
    else:
        rows, names = e + np.minimum(w, T - 1) >= T, ("W", "B", "b")
    for group in names:
        if group in groups:
            groups[group][rows] = learns[group][rows]
    return use


def _rows_in(net: Recurrent, masks: np.ndarray) -> np.ndarray:
    """int [k]: rows of [W B b] in which masks [k, size] learn."""
    learns = net.unpack(masks)
    return (learns["W"].any(axis=2) | learns["B"].any(axis=2) | learns.get("b", False)).sum(axis=1)


def solve(
    net: Network,
    shared: tuple[str, ...],
    theta: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    made: list[Plan],
    eps: float = _EPS,
    teacher: np.ndarray | None = None,
    taught: np.ndarray | None = None,
    threads: int = 1,
) -> Solution:
    """Solves n trials, each by its own plan: theta [n, size], x [n, inputs], y [n, equations] float64; made: n plans, equal keys or not.

    eps: what y was rounded to. teacher [n, size], taught bool [n]: where y is what this teacher, which shares the groups, computes to.
    """
    net = plain(net)
    n = len(theta)
    none = np.zeros(n, dtype=bool)
    taught = none if teacher is None else taught
    out = Solution(theta.copy(), np.zeros_like(theta), none.copy(), none.copy(), np.full(n, np.nan), none.copy(), none.copy())
    groups: dict[str | tuple, list[int]] = {}
    for k, plan in enumerate(made):
        groups.setdefault(plan.name if plan.rest is None else plan.key, []).append(k)
    for members in groups.values():
        for at in range(0, len(members), _CHUNK):
            some = members[at : at + _CHUNK]
            rows = slice(some[0], some[-1] + 1) if some[-1] - some[0] == len(some) - 1 else np.array(some)
            with np.errstate(all="ignore"):
                trial = _Trials(net, shared, theta[rows], x[rows], y[rows], eps, threads)
                if made[some[0]].name in ("affine", "output split") and taught[rows].any() and saturated(net, shared):
                    theirs = outputs(net, Enclosed(teacher[rows]), x[rows], threads=threads)
                    trial.y = Enclosed(*(np.where(taught[rows, None], *both) for both in zip(theirs, (y[rows], 0.0, 0.0))))
                _solve_like(trial, [made[k] for k in some])
                radius = (np.abs(trial.theta.lo) + trial.theta.rad).max(axis=1)
                solved = trial.proven & ~trial.refused & np.isfinite(radius)
                out.proven[rows] = solved & ~trial.near & ~(trial.left & ~taught[rows]) & trial.holds()
            if not solved.all():
                trial.theta.hi[~solved], trial.theta.lo[~solved], radius[~solved] = theta[rows][~solved], 0.0, np.nan
            out.theta[rows], out.low[rows], out.radius[rows] = trial.theta.hi, trial.theta.lo, radius
            out.solved[rows], out.refused[rows], out.near[rows] = solved, trial.refused, trial.near
    return out


def saturated(net: Network, shared: tuple[str, ...]) -> bool:
    """Are there more equations that depend on the weights than kappa? Then some follow from the others."""
    constant = net.outputs * net.samples if isinstance(net, Recurrent) and first_output_right(net, shared) else 0
    return whole_rank(net, shared) < net.equations - constant


class _Trials:
    """A batch being solved. theta: Enclosed [n, size]; x [n, inputs]; y: Enclosed [n, equations].

    left bool [n]: equations that learnable weights reach were left out, because they follow from the others for targets of a teacher;
    still bool [n, equations]: those that no learnable weight reaches. first_gap [n, outputs] or None: by how much y_1 may be missed where a
    form takes it as given.
    """

    def __init__(self, net, shared, theta, x, y, eps=_EPS, threads=1):
        self.net, self.shared, self.eps, self.threads = net, shared, eps, threads
        self.theta, self.x, self.y = Enclosed(theta, *np.zeros((2, *theta.shape))), np.ascontiguousarray(x), Enclosed(y)
        n = len(theta)
        self.proven, self.refused, self.near, self.left = np.ones(n, dtype=bool), *np.zeros((3, n), dtype=bool)
        self.still = np.zeros((n, net.equations), dtype=bool)
        self.first_gap, self.complete = None, False

    def rounding(self) -> np.ndarray:
        """float64 [n, equations]: how far the targets may be from what they stand for, beside what theta computes to."""
        return _ROUNDING * self.eps * (np.abs(self.y.hi) + reach(self.net, self.theta.hi, self.x))

    def holds(self) -> np.ndarray:
        """bool [n]: do the equations hold that the proof leaves out? Those that no learnable weight reaches up to rounding, which y has;
        those that follow from others roughly."""
        if self.complete:
            return np.ones(len(self.x), dtype=bool)
        if self.first_gap is not None:
            eps, first = _ROUNDING * self.eps / 4, np.abs(self.y.hi[:, : self.net.outputs])
            held = (self.first_gap <= eps * first).all(axis=1)  # the rounding of y is enough for most
            far = np.flatnonzero(~held)
            if len(far):
                made_of = reach(replace(self.net, steps=1), self.theta.hi[far], np.ascontiguousarray(self.x[far, : self.net.inputs]))
                held[far] = (self.first_gap[far] <= eps * (first[far] + made_of) + 1e-280).all(axis=1)
            return held
        gap = outputs(self.net, self.theta, self.x, self.y, self.threads)
        roughly = np.abs(gap.hi).max(axis=1) <= _FOLLOWS * np.abs(self.y.hi).max(axis=1)
        if not self.still.any():
            return roughly
        return roughly & (~self.still | (np.abs(gap.hi) + gap.rad <= self.rounding() / 4 + 1e-280)).all(axis=1)


def _solve_like(trial: _Trials, made: list[Plan]) -> None:
    use = np.concatenate([plan.use for plan in made]).reshape(len(made), -1)
    name = made[0].name
    given = not name.endswith("nothing shared")  # y_1
    if name.startswith("row"):
        rounding = None if trial.net.activation == "linear" else trial.rounding()
        parts, trial.proven, trial.refused, trial.near, gap = cpu.substitute_rows(
            trial.net.shape, trial.theta, trial.x, trial.y, use, given, rounding, _ROUNDING * trial.eps, trial.threads
        )
        trial.theta, trial.complete = Enclosed(*parts), not given
        trial.first_gap = gap if given else None
    elif name.startswith("column"):
        unit = np.array([plan.column for plan in made], dtype=np.int32)
        parts, trial.proven, gap = cpu.substitute_column(trial.net.shape, trial.theta, trial.x, trial.y, use, unit, given, trial.threads)
        trial.theta, trial.complete = Enclosed(*parts), not given
        trial.first_gap = gap if given else None
    elif name == "affine":
        _affine(trial, use)
    else:
        _split(trial, use, made)


def _affine(trial: _Trials, use: np.ndarray) -> None:
    """kappa equations and kappa weights with good pivots; the equations from differences of outputs, exact but for rounding."""
    net, kappa = trial.net, whole_rank(trial.net, trial.shared)
    enough = use.sum(axis=1) >= kappa
    if kappa == 0 or not enough.any():
        trial.proven[:] = False
        return
    indices = index_rows(use) if len(set(use.sum(axis=1).tolist())) == 1 else index_rows(use, pad=-1)
    batch, budget = indices.shape
    real = indices >= 0
    J = np.zeros((batch, net.equations, budget))
    for width in np.unique(real.sum(axis=1)):
        mine = real.sum(axis=1) == width
        at = np.ascontiguousarray(indices[mine, :width])
        J[mine, :, :width] = cpu.jacobian(net.shape, np.ascontiguousarray(trial.theta.hi[mine]), trial.x[mine], at, trial.threads)
    columns = np.maximum(cpu.pick_columns(J, real, kappa, trial.threads), 0)
    place = np.maximum(np.take_along_axis(indices, columns.astype(np.int64), axis=1), 0)
    moving = ~constant_outputs(net, use)
    trial.still, trial.left = ~moving, moving.sum(axis=1) > kappa
    moving[moving.sum(axis=1) < kappa] = True
    used = np.ascontiguousarray(np.swapaxes(np.take_along_axis(J, columns[:, None, :].astype(np.int64), axis=2), 1, 2))
    rows = cpu.pick_columns(used, moving, kappa, trial.threads)
    parts, trial.proven = cpu.substitute_affine(net.shape, trial.theta, trial.x, trial.y, place.astype(np.int32), rows, trial.threads)
    trial.theta = Enclosed(*parts)
    trial.proven &= enough


def _split(trial: _Trials, use: np.ndarray, made: list[Plan]) -> None:
    net, first = trial.net, made[0]
    held, place = np.array(first.held), first.place
    keep = np.tile(~held, net.steps) if isinstance(net, Recurrent) else np.repeat(~held, net.samples)
    kept = Enclosed(*(part if part is None else part[:, keep] for part in trial.y))
    inner = _Trials(first.rest_net, trial.shared, trial.theta.hi[:, place], trial.x, kept.hi, trial.eps, trial.threads)
    inner.y = kept
    _solve_like(inner, [plan.rest for plan in made])
    solved = inner.proven & inner.holds()
    trial.theta = Enclosed(*(part.copy() for part in trial.theta))
    for mine, found in zip(trial.theta, inner.theta):
        mine[:, place] = found
    # Where all targets lie in a smaller space (more samples than inputs), so many samples with good pivots settle the others.
    samples = net.steps if isinstance(net, Recurrent) else net.samples
    count = target_rank(net, trial.shared)
    trial.left |= inner.left | (count < samples)
    parts, proven = cpu.substitute_last_rows(net.shape, trial.theta, trial.x, trial.y, use, held, min(count, samples), trial.threads)
    trial.theta, trial.proven = Enclosed(*parts), solved & proven


def outputs(net: Network, theta: Enclosed, x: np.ndarray, y: Enclosed | None = None, threads: int = 1) -> Enclosed:
    """f(theta; x) as [n, equations] in C order, less y where given; theta [n, size], x [n, *x_shape] or flat, y [n, equations]."""
    flat = np.ascontiguousarray(x.reshape(len(x), -1))
    return Enclosed(*cpu.enclosed_outputs(net.shape, theta, flat, None if y is None else y, threads))
