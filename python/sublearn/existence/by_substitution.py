"""Matches by substitution (T7, T9 via T2): structures inside an allocation that are solved block by block, for batches of trials.

row                     outputs fix the activity of o units step by step: h_t[S] = D_S^-1 (y_t - c - D_rest h_t[rest]); then each of
                        their rows of W solves a linear system. tanh, relu: a match needs every solved activity in (-1, 1), above 0
row, nothing shared     the same from t = 1 on, with rows of [W B b]
column                  with a_t the activity of unit k and r_t what the outputs miss while the column is zero,
                        sum_j (a_{t-j} D W_0^{j-1} w + r_{t-j} e_k W_0^{j-1} w) = r_t is affine in the column w
column, nothing shared  the same, affine in w and in the column d of D: + a_t d
affine                  outputs affine in a part of the learnable weights that reaches kappa dimensions (T2)
output split            rows of the last layer meet their outputs themselves, the others are met by one of the above, first

Every number carries a bound of its error (numerics/doubledouble.py), so a solution is an enclosure: the matrices are proven invertible, and
a true real solution lies within `radius` of the weights returned. As for every certificate here the float64 numbers of the trial are
exact. Equations that no learnable weight reaches (y_1 with B, D shared) are checked up to rounding. Others may be left out of what is
solved only where they follow from it (saturated systems): for the exact outputs of a teacher that shares these groups, which then stand for
y.
Learnable weights a structure does not need keep the student's values, and of several choices the best pivots are taken.
A no (tanh, relu) is said only if it holds for all targets that round to the given ones.

Cost: about 70 us per trial on one core at n = 8, o = 2, T = 6 (row form; numpy, in batches).
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ..backend.compiled import cpu
from ..model.layers import first_output_right, last_layer, plain
from ..model.network import Feedforward, Network, Recurrent
from ..numerics.doubledouble import Ball, Inverse, as_ball, dot, join, matmul, matvec, stack, where
from ..ops.arguments import index_rows
from ..ops.units import constant_outputs, reach
from ..ranks.affine import affine, affine_parts
from ..ranks.block_structures import output_splits, structures_in
from ..ranks.closed_forms import target_rank
from ..ranks.generic_rank import attained_ranks, required_rank

EDGE = 1e-12  # tanh, relu: an activity this near to +-1, to 0 (relative to what it is made of), is undecided, whatever its bound says
_ROUNDING = 256  # targets are taken to be right to so many eps of the numbers they were made of
_FOLLOWS = 1e-8  # equations that follow from others may miss by so much, relative to the outputs: more shows that something is wrong
_EPS = float(np.finfo(np.float64).eps)
_CHUNK = 1024  # trials worked on at a time; temporaries of about 1 MB


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
    if not isinstance(net, Recurrent):
        return found
    for name, has, witness in structures_in(replace(net, activation="linear"), masks, shared):
        row = name.startswith("row")
        if (net.activation != "linear" and not row) or (net.steps == 1 and not name.endswith("nothing shared")):
            continue
        for k in np.flatnonzero(has):
            if row:  # any of the rows that are full enough: the best pivots decide
                use, unit = _full_rows(net, masks[k], name), -1
            else:
                use, unit = witness[k].copy(), int(net.unpack(witness[k])["W"].any(axis=0).argmax())
            whole = row and bool((use == masks[k]).all()) and _rows_in(net, use) == net.outputs
            found[k].append(Plan(name, use, unit, whole=whole))
    return found


def more_plans(net: Network, masks: np.ndarray, shared: tuple[str, ...]) -> list[list[Plan]]:
    """Affine parts and output splits inside masks bool [k, size] of rank kappa; the search takes ranks mod p."""
    net = plain(net)
    found: list[list[Plan]] = [[] for _ in masks]
    if net.activation == "relu":
        return found
    straight = affine(net, masks)
    rows = np.flatnonzero(~straight)
    has, parts = affine_parts(net, masks[rows], required_rank(net, shared))
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


def _full_rows(net: Recurrent, mask: np.ndarray, name: str) -> np.ndarray:
    learns = net.unpack(mask)
    T = net.steps
    w, e = learns["W"].sum(axis=1), learns["B"].sum(axis=1) + learns.get("b", 0)
    use = np.zeros(net.size, dtype=bool)
    groups = net.unpack(use)
    if name == "row":
        rows, names = w >= T - 1, ("W",)
        if "c" in learns and learns["c"].all():
            groups["c"][:] = True
    else:
        rows, names = e + np.minimum(w, T - 1) >= T, ("W", "B", "b")
    for group in names:
        if group in groups:
            groups[group][rows] = learns[group][rows]
    return use


def _rows_in(net: Recurrent, mask: np.ndarray) -> int:
    learns = net.unpack(mask)
    return int((learns["W"].any(axis=1) | learns["B"].any(axis=1) | learns.get("b", False)).sum())


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
) -> Solution:
    """Solves n trials, each by its own plan: theta [n, size], x [n, inputs], y [n, equations] float64; made: n plans, equal keys or not.

    eps: what y was rounded to. teacher [n, size], taught bool [n]: where y is what this teacher, which shares the groups, computes to.
    """
    net = plain(net)
    n = len(theta)
    none = np.zeros(n, dtype=bool)
    taught = none if teacher is None else taught
    out = Solution(theta.copy(), np.zeros_like(theta), none.copy(), none.copy(), np.full(n, np.nan), none.copy(), none.copy())
    groups: dict[tuple, list[int]] = {}
    for k, plan in enumerate(made):
        groups.setdefault(plan.key, []).append(k)
    for members in groups.values():
        for at in range(0, len(members), _CHUNK):
            rows = np.array(members[at : at + _CHUNK])
            with np.errstate(all="ignore"):
                trial = _Trials(net, shared, theta[rows], x[rows], y[rows], eps)
                if made[rows[0]].name in ("affine", "output split") and taught[rows].any() and saturated(net, shared):
                    theirs = outputs(net, Ball(teacher[rows]), x[rows]).reshape(trial.y.shape)
                    trial.y = where(taught[rows].reshape(-1, 1, 1), theirs, trial.y)
                _solve_like(trial, [made[k] for k in rows])
            out.theta[rows], out.low[rows] = trial.theta.hi, trial.theta.lo
            out.radius[rows] = (np.abs(trial.theta.lo) + trial.theta.rad).max(axis=1)
            out.refused[rows], out.near[rows] = trial.refused, trial.near
            with np.errstate(invalid="ignore"):
                out.solved[rows] = trial.proven & ~trial.refused & np.isfinite(out.radius[rows])
                sure = ~trial.near & ~(trial.left & ~taught[rows]) & _holds(trial, made[members[at]])
                out.proven[rows] = out.solved[rows] & sure
    bad = ~out.solved
    out.theta[bad], out.low[bad], out.radius[bad] = theta[bad], 0.0, np.nan
    return out


def saturated(net: Network, shared: tuple[str, ...]) -> bool:
    """Are there more equations that depend on the weights than kappa? Then some follow from the others."""
    constant = net.outputs if isinstance(net, Recurrent) and first_output_right(net, shared) else 0
    return required_rank(net, shared) < net.equations - constant


def _holds(trial: _Trials, plan: Plan) -> np.ndarray:
    """bool [n]: do the equations hold that the proof leaves out? Those that no learnable weight reaches up to rounding, which y has; those
    that follow from others roughly."""
    net = trial.net
    n = len(trial.x)
    if not isinstance(net, Recurrent) or plan.name in ("affine", "output split"):
        gap, y = outputs(net, trial.theta, trial.x), trial.y.reshape(n, -1)
        gap = gap - y
        roughly = np.abs(gap.hi).max(axis=1) <= _FOLLOWS * np.abs(y.hi).max(axis=1)
        if not trial.still.any():
            return roughly
        return roughly & (~trial.still | (np.abs(gap.hi) + gap.rad <= trial.rounding.reshape(n, -1) / 4 + 1e-280)).all(axis=1)
    if plan.name.endswith("nothing shared"):
        return np.ones(n, dtype=bool)
    phi, D = _PHI[net.activation][0], trial.group("D")
    h = phi(_drive(trial)[:, 0])
    gap = matvec(D, h) + _bias_out(trial) - trial.y[:, 0]
    return (np.abs(gap.hi) + gap.rad <= trial.rounding[:, 0] / 4 + 1e-280).all(axis=1)


class _Trials:
    """A batch being solved. theta: Ball [n, size]; x [n, T, inputs] or [n, n_0, m]; y: Ball [n, T, o] or [n, n_L, m].

    left bool [n]: equations that learnable weights reach were left out, because they follow from the others for targets of a teacher;
    still bool [n, equations]: those that no learnable weight reaches. rounding, like y: how far the targets may be from what they stand
    for.
    """

    def __init__(self, net, shared, theta, x, y, eps=_EPS):
        self.net, self.shared, self.eps = net, shared, eps
        self.theta = Ball(theta.copy())
        self.x, self.y = x.reshape(-1, *net.x_shape), Ball(y.reshape(-1, *net.y_shape))
        n = len(theta)
        self.proven = np.ones(n, dtype=bool)
        self.refused, self.near, self.left = np.zeros((3, n), dtype=bool)
        self.still = np.zeros((n, net.equations), dtype=bool)

    @cached_property
    def rounding(self) -> np.ndarray:
        by_student = reach(self.net, self.theta.hi, self.x.reshape(len(self.x), -1)).reshape(self.y.shape)
        return _ROUNDING * self.eps * (np.abs(self.y.hi) + by_student)

    def group(self, name: str) -> Ball:
        shape = (len(self.theta.hi), *self.net.groups[name])
        return self.theta[:, self.net.slices[name]].reshape(shape)

    def set(self, name: str, value: Ball) -> None:
        where = self.net.slices[name]
        for mine, new in ((self.theta.hi, value.hi), (self.theta.lo, value.lo), (self.theta.rad, value.rad)):
            mine[:, where] = new.reshape(len(new), -1)

    def solve(self, M: Ball, b: Ball) -> Ball:
        inverse = Inverse(M)
        self.proven &= inverse.proven
        return inverse.solve(b)


def _solve_like(trial: _Trials, made: list[Plan]) -> None:
    use = np.stack([plan.use for plan in made])
    name = made[0].name
    if name.startswith("row"):
        _rows(trial, use, first=1 if name == "row" else 0)
    elif name.startswith("column"):
        _column(trial, use, np.array([plan.column for plan in made]), with_D=name != "column")
    elif name == "affine":
        _affine(trial, use)
    else:
        _split(trial, use, made)


def pick(A: np.ndarray, allowed: np.ndarray, count: int) -> np.ndarray:
    """int [n, count], ascending: columns of A [n, m, k] out of allowed bool [n, k], by greedy pivots (Gram-Schmidt)."""
    batch, _, k = A.shape
    if (allowed.sum(axis=1) == count).all():
        return np.nonzero(allowed)[1].reshape(batch, count)
    A = np.where(allowed[:, None] & np.isfinite(A), A, 0.0)
    left = allowed.copy()
    at = np.arange(batch)
    chosen = np.empty((batch, count), dtype=np.int64)
    for s in range(count):
        size = np.where(left, (A**2).sum(axis=1), -1.0)
        j = chosen[:, s] = size.argmax(axis=1)
        left[at, j] = False
        q = A[at, :, j] / np.sqrt(np.maximum(size[at, j], 1e-300))[:, None]
        A = A - q[:, :, None] * (q[:, :, None] * A).sum(axis=1, keepdims=True)
    return np.sort(chosen, axis=1)


def _without(A: Ball, index: np.ndarray) -> Ball:
    """A [n, ..., k] with the columns `index` [n, c] set to zero."""
    keep = np.ones((len(index), A.shape[-1]))
    np.put_along_axis(keep, index, 0.0, axis=1)
    keep = keep.reshape(len(index), *[1] * (len(A.shape) - 2), -1)
    return Ball(A.hi * keep, A.lo * keep, A.rad * keep)


def solve_picked(A: Ball, right: Ball, values: Ball, allowed: np.ndarray) -> tuple[Ball, np.ndarray]:
    """Solves A [n, m, k] w = right [n, m] for m picked entries of w out of allowed [n, k]; the others keep `values` [n, k].

    (w, proven bool [n]: the picked columns are invertible, so w is enclosed).
    """
    index = pick(A.hi, allowed, A.shape[1])
    right = right - matvec(_without(A, index), values)
    inverse = Inverse(A.take(index[:, None, :]))
    return values.put(index, inverse.solve(right)), inverse.proven


def _square(trial: _Trials, A: Ball, right: Ball, values: Ball, allowed: np.ndarray) -> Ball:
    found, proven = solve_picked(A, right, values, allowed)
    trial.proven &= proven
    return found


# Activities


def _tanh(z: Ball) -> Ball:
    h = np.tanh(z.hi)
    # 4 units of the last place at most: numpy promises no bound, 1 is usual (tests/test_triangular.py measures it)
    return Ball(h, None, z.rad + np.abs(z.lo) + 2.0**-50 * np.abs(h) + 1e-290)


def _atanh(h: Ball) -> Ball:
    """Of activities inside (-1, 1); nan elsewhere."""
    z = np.arctanh(h.hi)
    far = np.minimum(np.abs(h.hi) + np.abs(h.lo) + h.rad, 1.0)
    return Ball(z, None, (np.abs(h.lo) + h.rad) / ((1 - far) * (1 + far)) * (1 + 2.0**-40) + 2.0**-50 * (1 + np.abs(z)))


def relu(z: Ball) -> Ball:
    on = z.hi > 0
    return Ball(np.where(on, z.hi, 0.0), np.where(on, z.lo, 0.0), np.where(z.hi < -np.abs(z.lo) - z.rad, 0.0, z.rad))


def _same(z: Ball) -> Ball:
    return z


def _outside_tanh(s: Ball, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(activities that are outside for sure, those that may be) of s [n, k]."""
    far, slack = np.abs(s.hi), np.abs(s.lo) + s.rad + EDGE
    return far - slack > 1, ~(far + slack < 1)


def _outside_relu(s: Ball, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    slack = np.abs(s.lo) + s.rad + EDGE * size
    return s.hi < -slack, ~(s.hi > slack)


_PHI = {"linear": (_same, _same, None), "tanh": (_tanh, _atanh, _outside_tanh), "relu": (relu, _same, _outside_relu)}


def _drive(trial: _Trials) -> Ball:
    """B x_t + b, [n, T, hidden]."""
    P, X = trial.group("B"), trial.x
    if "b" in trial.net.groups:
        P = join([P, trial.group("b")[:, :, None]])
        X = np.concatenate([X, np.ones((*X.shape[:2], 1))], axis=2)
    return dot(P[:, None], X[:, :, None, :])


def _bias_out(trial: _Trials) -> Ball:
    n = len(trial.x)
    return trial.group("c") if "c" in trial.net.groups else Ball(np.zeros((n, trial.net.outputs)))


def _c_first(trial: _Trials, use: np.ndarray, h: Ball) -> None:
    """c from y_1, for trials where all of it may be solved for."""
    if "c" not in trial.net.groups:
        return
    old, learns = trial.group("c"), use[:, trial.net.slices["c"]]
    trial.set("c", where(learns, trial.y[:, 0] - matvec(trial.group("D"), h), old))


# The forms


def _rows(trial: _Trials, use: np.ndarray, first: int) -> None:
    net = trial.net
    n, o, T, batch = net.hidden, net.outputs, net.steps, len(use)
    learns = net.unpack(use)
    phi, inverse, _ = _PHI[net.activation]
    has_b = "b" in learns
    table = np.concatenate([learns["W"], learns["B"], *([learns["b"][:, :, None]] if has_b else [])], axis=2)
    W, D, drive = trial.group("W"), trial.group("D"), _drive(trial)
    S = pick(D.hi, table.any(axis=2), o)
    D_S = Inverse(D.take(S[:, None, :]))
    trial.proven &= D_S.proven
    rest = _without(D, S)
    silent = None
    if net.activation != "linear":
        silent = _outside(trial, use, S, D_S, rest, first)
        trial.refused &= D_S.proven  # one activity outside is enough, whatever the others are
        trial.near &= ~trial.refused
    h = Ball(np.zeros((batch, n)))
    before, pre = [], []
    for t in range(T):
        z = drive[:, t] + (matvec(W, h) if t else 0.0)
        before.append(h)
        h = phi(z)
        if t == 0 and first:
            _c_first(trial, use, h)
        if t >= first:
            s = D_S.solve(trial.y[:, t] - _bias_out(trial) - matvec(rest, h))
            if silent is not None and net.activation == "relu":
                trial.proven &= (silent[t] | (s.hi > np.abs(s.lo) + s.rad)).all(axis=1)
                s = where(silent[t], Ball(np.zeros_like(s.hi)), s)
                pre.append(where(silent[t], Ball(-(1 + np.abs(z.hi).max(axis=1, keepdims=True)) * np.ones_like(s.hi)), s))
            else:
                pre.append(inverse(s))
            h = h.put(S, s)
    F = join([stack(before[first:]), trial.x[:, first:], *([np.ones((batch, T - first, 1))] if has_b else [])], axis=2)
    values = join([W, trial.group("B"), *([trial.group("b")[:, :, None]] if has_b else [])], axis=2)
    pre = stack(pre)
    for k in range(o):
        a = S[:, k]
        mine = np.arange(batch), a
        row = _square(trial, F, pre[:, :, k], values[mine], table[mine])
        values = values.put(a[:, None, None], row[:, None, :], axis=1)
    trial.set("W", values[:, :, :n])
    trial.set("B", values[:, :, n : n + net.inputs])
    if has_b:
        trial.set("b", values[:, :, -1])


def _outside(trial: _Trials, use: np.ndarray, S: np.ndarray, D_S: Inverse, rest: Ball, first: int) -> list[np.ndarray]:
    """Runs through the steps of the row form with targets as uncertain as rounding makes them. Marks trials with an activity outside the
    values of phi (refused), or at their edge (near); per step the activities at the edge, bool [n, o]."""
    net = trial.net
    phi, _, outside = _PHI[net.activation]
    W, D, drive = trial.group("W"), trial.group("D"), _drive(trial)
    h, edges, bias = Ball(np.zeros((len(S), net.hidden))), [], _bias_out(trial)
    for t in range(net.steps):
        size = np.abs(drive[:, t].hi) + (np.abs(W.hi) * np.abs(h.hi)[:, None]).sum(axis=2)
        h = phi(drive[:, t] + (matvec(W, h) if t else 0.0))
        made_of = (np.abs(D.hi) * size[:, None]).sum(axis=2) + np.abs(bias.hi)
        y = Ball(trial.y.hi[:, t], None, trial.rounding[:, t] + _ROUNDING * trial.eps * made_of)
        if t < first:
            edges.append(np.zeros(S.shape, dtype=bool))
            if "c" in net.groups:  # where it learns, y_1 says what it must be
                bias = where(use[:, net.slices["c"]], y - matvec(D, h), bias)
            continue
        s = D_S.solve(y - bias - matvec(rest, h))
        refused, near = outside(s, np.maximum(size.max(axis=1), np.abs(s.hi).max(axis=1))[:, None])
        trial.refused |= refused.any(axis=1)
        trial.near |= near.any(axis=1)
        edges.append(near & ~refused)
        if net.activation == "relu":
            s = where(near, Ball(np.zeros_like(s.hi), None, np.where(near, np.abs(s.hi) + np.abs(s.lo) + s.rad, 0.0)), s)
        h = h.put(S, s)
    return edges


def _column(trial: _Trials, use: np.ndarray, unit: np.ndarray, with_D: bool) -> None:
    net = trial.net
    n, o, T, batch = net.hidden, net.outputs, net.steps, len(use)
    learns = net.unpack(use)
    drive = _drive(trial)
    if not with_D:
        _c_first(trial, use, drive[:, 0])
    W, D = trial.group("W"), trial.group("D")
    at = np.arange(batch)
    allowed = learns["W"][at, :, unit]
    start = W[at, :, unit]
    keep = Ball(np.where(allowed, 0.0, start.hi))
    W0 = W.put(unit[:, None, None], keep[:, :, None], axis=2)
    D0 = _without(D, unit[:, None]) if with_D else D
    h, a, r = Ball(np.zeros((batch, n))), [], []
    for t in range(T):
        h = drive[:, t] + (matvec(W0, h) if t else 0.0)
        a.append(h[at, unit])
        r.append(trial.y[:, t] - _bias_out(trial) - matvec(D0, h))
    if not with_D:
        r[0] = Ball(np.zeros((batch, o)))  # y_1 is right: what is left of it is rounding
    unit_row = np.zeros((batch, 1, n))
    unit_row[at, 0, unit] = 1.0
    powers = [join([D0, unit_row], axis=1)]  # [D_0; e_k] W_0^(j-1)
    for _ in range(T - 2):
        powers.append(matmul(powers[-1], W0))
    blocks, right = [], []
    for t in range(0 if with_D else 1, T):
        block = Ball(np.zeros((batch, o, n)))
        for j in range(1, t + 1):
            v, g = powers[j - 1][:, :o], powers[j - 1][:, o]
            block = block + a[t - j][:, None, None] * v + r[t - j][:, :, None] * g[:, None, :]
        if with_D:
            block = join([block, a[t][:, None, None] * np.eye(o)], axis=2)
        blocks.append(block)
        right.append(r[t])
    values = Ball(np.where(allowed, start.hi, 0.0))  # the frozen entries act through W_0
    if with_D:
        values = join([values, D[at, :, unit]])
        allowed = np.concatenate([allowed, np.ones((batch, o), dtype=bool)], axis=1)
    w = _square(trial, join(blocks, axis=1), join(right), values, allowed)
    trial.set("W", W.put(unit[:, None, None], (w[:, :n] + keep)[:, :, None], axis=2))
    if with_D:
        trial.set("D", D.put(unit[:, None, None], w[:, n:, None], axis=2))


def _affine(trial: _Trials, use: np.ndarray) -> None:
    """kappa equations and kappa weights with good pivots; the equations from differences of outputs, exact but for rounding."""
    net = trial.net
    theta = trial.theta
    kappa = required_rank(net, trial.shared)
    if kappa == 0 or (use.sum(axis=1) < kappa).all():
        trial.proven[:] = False
        return
    indices = index_rows(use) if len(set(use.sum(axis=1).tolist())) == 1 else None
    if indices is None:  # unequal budgets: each on its own
        indices = index_rows(use, pad=-1)
    batch, budget = indices.shape
    real = indices >= 0
    J = np.zeros((batch, net.equations, budget))
    for width in np.unique(real.sum(axis=1)):
        mine = real.sum(axis=1) == width
        flat = np.ascontiguousarray(trial.x[mine].reshape(int(mine.sum()), -1))
        at = np.ascontiguousarray(indices[mine, :width])
        J[mine, :, :width] = cpu.jacobian(net.shape, np.ascontiguousarray(theta.hi[mine]), flat, at, 1)
    columns = pick(J, real, kappa)
    place = np.take_along_axis(indices, columns, axis=1).astype(np.int64)
    moving = ~constant_outputs(net, use)
    trial.still, trial.left = ~moving, moving.sum(axis=1) > kappa
    moving[moving.sum(axis=1) < kappa] = True
    rows = pick(np.swapaxes(np.take_along_axis(J, columns[:, None, :], axis=2), 1, 2), moving, kappa)
    zero = theta.put(place, Ball(np.zeros(place.shape)))
    base = outputs(net, zero, trial.x).take(rows)
    matrix = []
    for k in range(kappa):
        one = zero.put(place[:, k : k + 1], Ball(np.ones((batch, 1))))
        matrix.append(outputs(net, one, trial.x).take(rows) - base)
    right = trial.y.reshape(batch, -1).take(rows) - base
    trial.theta = theta.put(place, trial.solve(stack(matrix, axis=2), right))


def _split(trial: _Trials, use: np.ndarray, made: list[Plan]) -> None:
    net, first = trial.net, made[0]
    held = np.array(first.held)
    batch = len(use)
    place = first.place
    kept = trial.y[:, :, ~held] if isinstance(net, Recurrent) else trial.y[:, ~held]
    inner = _Trials(
        first.rest_net, trial.shared, trial.theta.hi[:, place], trial.x.reshape(batch, -1), kept.hi.reshape(batch, -1), trial.eps
    )
    inner.y = kept
    _solve_like(inner, [plan.rest for plan in made])
    trial.proven &= inner.proven & _holds(inner, made[0].rest)
    trial.left |= inner.left
    trial.theta = trial.theta.put(np.repeat(place[None], batch, axis=0), inner.theta)
    matrix, bias = last_layer(net)
    F = features(net, trial.theta, trial.x)  # [n, T or m, units]
    learns = net.unpack(use)
    values, allowed = trial.group(matrix), learns[matrix]
    if bias is not None:
        F = join([F, np.ones((*F.shape[:2], 1))], axis=2)
        values, allowed = join([values, trial.group(bias)[:, :, None]], axis=2), np.concatenate([allowed, learns[bias][:, :, None]], axis=2)
    target = trial.y if isinstance(net, Recurrent) else trial.y.swap()
    # Where all targets lie in a smaller space (more samples than inputs), so many samples with good pivots settle the others.
    count = target_rank(net, trial.shared)
    samples = pick(np.swapaxes(F.hi, 1, 2), np.ones(F.shape[:2], dtype=bool), min(count, F.shape[1]))
    trial.left |= count < F.shape[1]
    F = F.take(samples[:, :, None], axis=1)
    for q in np.flatnonzero(held):
        right = target[:, :, q].take(samples)
        row = _square(trial, F, right, values[:, q], allowed[:, q])
        values = values.put(np.full((batch, 1, 1), q), row[:, None, :], axis=1)
    units = net.groups[matrix][1]
    trial.set(matrix, values[:, :, :units])
    if bias is not None:
        trial.set(bias, values[:, :, -1])


# Outputs with error bounds


def features(net: Network, theta: Ball, x: np.ndarray) -> Ball:
    """What the last layer reads, [n, T or samples, units], for theta Ball [n, size] and x [n, *x_shape]; linear or tanh."""
    trial = _Trials(net, (), theta.hi, x, np.zeros((len(x), net.equations)))
    trial.theta = theta
    phi = _PHI[net.activation][0]
    if isinstance(net, Recurrent):
        W, drive, h = trial.group("W"), _drive(trial), []
        for t in range(net.steps):
            h.append(phi(drive[:, t] + (matvec(W, h[-1]) if t else 0.0)))
        return stack(h)
    assert isinstance(net, Feedforward)
    signal = as_ball(np.swapaxes(trial.x, 1, 2))
    for k in range(1, len(net.widths) - 1):
        signal = phi(_layer(trial, f"W{k}", f"b{k}", signal))
    return signal


def _layer(trial: _Trials, matrix: str, bias: str | None, signal: Ball) -> Ball:
    out = dot(signal[:, :, None, :], trial.group(matrix)[:, None])
    return out + trial.group(bias)[:, None] if bias in trial.net.groups else out


def outputs(net: Network, theta: Ball, x: np.ndarray) -> Ball:
    """f(theta; x) as [n, equations] in C order, for a linear or tanh network."""
    trial = _Trials(net, (), theta.hi, x, np.zeros((len(x), net.equations)))
    trial.theta = theta
    y = _layer(trial, *last_layer(net), features(net, theta, x))
    if isinstance(net, Feedforward):
        y = y.swap()
    return y.reshape(len(x), -1)
