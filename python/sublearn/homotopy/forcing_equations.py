"""Saturated linear systems (kappa below the number of equations): kappa equations that force the others, and when they do.

Outputs that networks can have at all lie on a variety V of dimension kappa. Where V is the graph of a rational map over kappa of its
coordinates, those equations can be solved as a square system, and the others hold by themselves, as long as a denominator is not zero:

- *recurrent* (a regression of every output on the past; W not shared, or one input without biases). Output j counts
  nu_j = floor((n + o - j) / o) rows of the observability matrix, D_k W^l, l < nu_k. If these n rows are a basis, D_j W^nu_j is a
  combination of them, and so for all t, with h and x zero before t = 1,
      y_j(t) = sum_{k, l < nu_k} a_kl y_k(t - nu_j + l) + sum_{1 <= l <= nu_j} c_l x(t - nu_j + l).
  Inputs are those of [B b]: x, or B x if B is shared and has more columns than rows, and a step for b. Where D and a group of inputs
  are shared, c_l with l = nu_j is D_j B - sum_k a_k,nu_j D_k B: no unknown, D_k B x(t) is taken off y_k(t) instead. A shared c is
  taken off, as is a free one that y_1 shows (all else in y_1 shared); else a free c adds a step at lag l = 0, if b is free too, and is no
  linear regression otherwise. With U_j unknowns, the equations of
  the first U_j times (the first that is not constant) are the square system Phi_j (a, c) = y_j, whose entries are inputs and outputs. If
  all Phi_j are regular, two networks that agree in these equations agree in all: dependent rows D_k W^l would make columns of Phi_j
  dependent, so both networks have the regression, and its coefficients are the same; the outputs with the smaller nu come first
  (Phi_j then reads equations of the list only), and with their later values the others.
  With D shared and o > n, the outputs after the n-th are combinations of the first n if those rows of D are regular.
  One input, no biases, W shared: its characteristic polynomial is known, and t <= n is enough if x_1 != 0.
- *feedforward* with outputs P X (+ b, the same for every column): matrices P of rank at most w = min(n_1 .. n_L, m') that agree in w rows
  and in w columns of Y agree in m' columns if the w x w corner of Y is regular: Y_22 = Y_21 Y_11^-1 Y_12; the other columns are
  combinations of these, if m' columns of X span the rest. With biases all this is said of differences to the first column.

`rows` picks such equations; `forced` proves the condition for a teacher, exactly: the float64 numbers are taken mod p = 2^31 - 1, and a
determinant that is not zero mod p is not zero. It is never wrong when it says yes, and says no for regular matrices with chance ~ 1e-9.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..backend.compiled import cpu
from ..model.network import Network, Recurrent

P = 2**31 - 1


class _Regression(NamedTuple):
    """known: per kind of input (x, B x, step, B x + b), of width `widths`, whether its last coefficient is. count int [o]: unknowns U_j;
    last int [o]: the last time of the equations of output j. free_c: c is an unknown."""

    kinds: tuple[str, ...]
    known: tuple[bool, ...]
    nu: np.ndarray
    count: np.ndarray
    last: np.ndarray
    free_c: bool


def _regression(net: Recurrent, shared: tuple[str, ...]) -> _Regression | None:
    n, i, o = net.hidden, net.inputs, net.outputs
    b, B, D = "b" in net.groups, "B" in shared, "D" in shared
    kinds = [("Bx" if B and i > n else "x", min(i, n) if B else i, B and D)]
    if b:
        kinds.append(("step", 1, "b" in shared and D))
        if B and "b" in shared and i + 1 > n:
            kinds = [("Bx+b", n, D)]
    all_known = all(known for *_, known in kinds)  # the outputs at t = 1 are constant but for c
    learns_c = "c" in net.groups and "c" not in shared
    free_c = learns_c and not all_known
    if "W" in shared or (free_c and (not b or "b" in shared)):
        return None
    nu = (n + o - 1 - np.arange(o)) // o
    count = n + int(free_c) + sum(width * (nu - int(known)) for _, width, known in kinds)
    last = count + int(all_known)
    if D:
        last[n:] = int(learns_c)
    return _Regression(tuple(kind for kind, *_ in kinds), tuple(known for *_, known in kinds), nu, count, last, free_c)


def rows(net: Network, shared: tuple[str, ...]) -> np.ndarray | None:
    """bool [equations]: the equations that force the others (among them constant ones); None where none of these cases applies."""
    if isinstance(net, Recurrent):
        if "W" in shared:
            last = None if net.inputs != 1 or net.bias else np.full(net.outputs, net.hidden)
        else:
            regression = _regression(net, shared)
            last = None if regression is None else regression.last
        return None if last is None else (np.arange(1, net.steps + 1)[:, None] <= last).ravel()
    shift, w, spanned = _corner(net)
    chosen = np.zeros((net.widths[-1], net.samples), dtype=bool)
    chosen[:, : shift + w] = True
    chosen[:w, : shift + spanned] = True
    return chosen.ravel()


def forced(net: Network, shared: tuple[str, ...], teacher: np.ndarray, x: np.ndarray) -> np.ndarray:
    """bool [batch]: is it proven that the equations `rows` force the others, for outputs of teacher [batch, size] at x [batch, inputs]?"""
    x = x.reshape(len(x), *net.x_shape)
    if isinstance(net, Recurrent):
        return x[:, 0, 0] != 0 if "W" in shared else _regular_regression(net, shared, residues(teacher), residues(x))
    shift, w, spanned = _corner(net)
    columns = residues(x)
    y = _outputs(net, residues(teacher), columns)
    if shift:
        columns, y = ((a[:, :, 1:] - a[:, :, :1]) % P for a in (columns, y))
    met = regular(y[:, :w, :w])
    return met if columns.shape[2] <= spanned else met & regular(columns[:, :, :spanned])


def _regular_regression(net: Recurrent, shared: tuple[str, ...], teacher: np.ndarray, x: np.ndarray) -> np.ndarray:
    """bool [batch]: are all Phi_j regular, at residues of the teacher's weights [batch, size] and of x [batch, T, inputs]?"""
    form = _regression(net, shared)
    batch, T, n = len(x), net.steps, net.hidden
    drive = {"x": x, "step": np.ones((batch, T, 1), dtype=np.int64)}
    if not set(form.kinds) <= set(drive):  # what units read is what they show without W, each by itself
        seen = replace(net, outputs=n)
        own = {"W": 0, "D": np.eye(n, dtype=np.int64).ravel(), "c": 0}
        drive["Bx"] = _outputs(seen, _with(net, seen, teacher, own | {"b": 0}), x)
        drive["Bx+b"] = _outputs(seen, _with(net, seen, teacher, own), x)
    y = _outputs(net, teacher if form.free_c else _with(net, net, teacher, {"c": 0}), x)
    known = np.zeros_like(y)
    if "D" in shared:
        known = _outputs(net, _with(net, net, teacher, {"W": 0, "c": 0} | {name: 0 for name in ("B", "b") if name not in shared}), x)

    def at(signal, times):
        return np.where((times >= 1)[:, None], signal[:, np.maximum(times, 1) - 1], 0)

    met = np.ones(batch, dtype=bool)
    if "D" in shared and net.outputs > n:
        met &= regular(net.unpack(teacher)["D"][:, :n])
    for j in range(min(n, net.outputs) if "D" in shared else net.outputs):
        nu, count = int(form.nu[j]), int(form.count[j])
        if form.last[j] >= T:
            continue  # all its equations are in the list
        times = np.arange(form.last[j] - count + 1, form.last[j] + 1)
        columns = []
        for k in range(net.outputs):
            for lag in range(form.nu[k]):
                columns.append(at((y - known)[:, :, k : k + 1] if lag == nu else y[:, :, k : k + 1], times - nu + lag))
        for kind, given in zip(form.kinds, form.known):
            columns += [at(drive[kind], times - nu + lag) for lag in range(1, nu + 1 - int(given))]
        if form.free_c:
            columns.append(at(drive["step"], times - nu))
        met &= regular(np.concatenate(columns, axis=2) % P)
    return met


def _corner(net) -> tuple[int, int, int]:
    """(1 with biases, w, m')."""
    shift = int("b1" in net.groups)
    spanned = min(net.samples - shift, net.widths[0])
    return shift, min(*net.widths[1:], spanned), spanned


def residues(a: np.ndarray) -> np.ndarray:
    """float64 numbers (dyadic fractions m 2^e) mod P, where 2 has order 31: int64, exact."""
    mantissa, exponent = np.frexp(a)
    whole = np.ldexp(mantissa, 53).astype(np.int64) % P
    return whole * (np.int64(1) << ((exponent.astype(np.int64) - 53) % 31)) % P


def _outputs(net: Network, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Outputs mod P [batch, *y_shape] at residues theta [batch, size], x [batch, *x_shape] of a linear network."""
    return cpu.outputs_mod(net.shape, theta, x.reshape(len(x), -1), 1).reshape(len(x), *net.y_shape)


def _with(net: Network, other: Network, theta: np.ndarray, groups: dict[str, int | np.ndarray]) -> np.ndarray:
    """theta [batch, size] of `net` for `other`, with the given groups in the place of its own."""
    out = np.empty((len(theta), other.size), dtype=np.int64)
    for name, at in other.slices.items():
        out[:, at] = groups[name] if name in groups else theta[:, net.slices[name]]
    return out


def regular(a: np.ndarray) -> np.ndarray:
    """bool [batch]: square matrices mod P of full rank."""
    if not a.shape[1]:
        return np.ones(len(a), dtype=bool)
    return cpu.rank_mod(np.ascontiguousarray(a), P, 1) == a.shape[1]
