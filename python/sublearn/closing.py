"""Saturated linear systems (kappa below the number of equations): kappa equations that force the others, and when they do.

Outputs that networks can have at all lie on a variety V of dimension kappa. Where V is the graph of a rational map over kappa of its
coordinates, those equations can be solved as a square system, and the others hold by themselves, as long as a denominator is not zero:

- *recurrent, one input, no biases* (partial realisation; the outputs to an impulse are g_j(t) = D_j W^(t-1) B, and outputs to x with
  x_1 != 0 are a triangular transform of them): two networks of n units whose g_j(t) agree for t <= n + nu_j, nu_j = floor((n + o - j) / o),
  agree for all t if the n x n matrix H = [g_j(r + c)], r = 1 .. nu_j for every output j, c = 0 .. n - 1, is regular. For then both
  infinite Hankel matrices have rank n, and both sequences obey g(t + n) = sum_c a_c g(t + c) with H a = [g_j(r + n)].
  If they share W, its characteristic polynomial is a, and t <= n is enough, without any condition.
- *feedforward* with outputs P X (+ b, the same for every column): matrices P of rank at most w = min(n_1 .. n_L, m') that agree in w rows
  and in w columns of Y agree in m' columns if the w x w corner of Y is regular: Y_22 = Y_21 Y_11^-1 Y_12; the other columns are
  combinations of these, if m' columns of X span the rest. With biases all this is said of differences to the first column.

`rows` picks such equations; `forced` proves the condition for a teacher, exactly: the float64 numbers are taken mod p = 2^31 - 1, and a
determinant that is not zero mod p is not zero. It is never wrong when it says yes, and says no for regular matrices with chance ~ 1e-9.
"""

from __future__ import annotations

import numpy as np

from . import _cpu
from .network import Network, Recurrent

P = 2**31 - 1


def rows(net: Network, shared: tuple[str, ...]) -> np.ndarray | None:
    """bool [equations]: the equations that force the others (among them constant ones); None where none of the two cases applies."""
    if isinstance(net, Recurrent):
        if net.inputs != 1 or "b" in net.groups:
            return None
        n, o = net.hidden, net.outputs
        last = n if "W" in shared else n + (n + o - 1 - np.arange(o)) // o
        return (np.arange(1, net.steps + 1)[:, None] <= np.broadcast_to(last, o)).ravel()
    shift, w, spanned = _corner(net)
    chosen = np.zeros((net.widths[-1], net.samples), dtype=bool)
    chosen[:, : shift + w] = True
    chosen[:w, : shift + spanned] = True
    return chosen.ravel()


def forced(net: Network, shared: tuple[str, ...], teacher: np.ndarray, x: np.ndarray) -> np.ndarray:
    """bool [batch]: is it proven that the equations `rows` force the others, for outputs of teacher [batch, size] at x [batch, inputs]?"""
    weights = net.unpack(residues(teacher))
    x = x.reshape(len(x), *net.x_shape)
    if isinstance(net, Recurrent):
        met = x[:, 0, 0] != 0
        if "W" in shared:
            return met
        n, o = net.hidden, net.outputs
        h, g = weights["B"][:, :, 0], []
        counts = (n + o - 1 - np.arange(o)) // o
        for _ in range(int(counts[0]) + n - 1):
            g.append(_product(weights["D"], h[:, :, None])[:, :, 0])
            h = _product(weights["W"], h[:, :, None])[:, :, 0]
        g = np.stack(g, axis=2)  # [batch, o, steps]
        hankel = np.stack([g[:, j, r : r + n] for j in range(o) for r in range(counts[j])], axis=1)
        return met & regular(hankel)
    shift, w, spanned = _corner(net)
    columns = residues(x)
    y = columns
    for layer in range(1, len(net.widths)):
        y = _product(weights[f"W{layer}"], y)
        if f"b{layer}" in weights:
            y = (y + weights[f"b{layer}"][:, :, None]) % P
    if shift:
        columns, y = ((a[:, :, 1:] - a[:, :, :1]) % P for a in (columns, y))
    met = regular(y[:, :w, :w])
    return met if columns.shape[2] <= spanned else met & regular(columns[:, :, :spanned])


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


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a[:, :, :, None] * b[:, None, :, :] % P).sum(axis=2) % P


def regular(a: np.ndarray) -> np.ndarray:
    """bool [batch]: square matrices mod P of full rank."""
    if not a.shape[1]:
        return np.ones(len(a), dtype=bool)
    return _cpu.rank_mod(np.ascontiguousarray(a), P, 1) == a.shape[1]
