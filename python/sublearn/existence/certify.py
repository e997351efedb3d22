"""Certified solutions: is there a true real solution next to a numerical one? Krawczyk's test in ball arithmetic.

The proof is about the float64 numbers given (theta, x and the targets taken as exact) and about the equations `rows`; it covers rounding
errors. Equations that no learnable weight reaches are not part of it. Where more equations than kappa depend on the weights, a rounded
target lies off the reachable outputs and no weights give it exactly: then the targets are those of a given teacher, in exact arithmetic,
at kappa equations that force the others (homotopy/forcing_equations.py).
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from ..backend.compiled import cpu
from ..model.network import Network, Recurrent


def certify(
    net: Network,
    theta: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    indices: np.ndarray,
    rows: np.ndarray,
    threads: int = 0,
    *,
    y_radius: np.ndarray | None = None,
    teacher: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """(theta [batch, size] polished at indices, radius [batch]) for theta [batch, size] near solutions of f(theta; x) = y at `rows`.

    x [batch, inputs], y [batch, equations] float64; indices int32 [batch, k], rows int32 [k]. radius >= 0: exactly one
    solution lies within radius of every learnable weight of the returned theta, and it is real. radius -1: the test failed, which
    proves nothing. A linear network. With y_radius [batch, equations] this is proven for every target within y_radius of y; with teacher
    [batch, size] for f(teacher; x), without rounding, in the place of y.
    """
    theirs = None if teacher is None else np.ascontiguousarray(teacher)
    polished, radius = cpu.certify(
        net.shape,
        np.ascontiguousarray(theta),
        np.ascontiguousarray(x),
        np.ascontiguousarray(y),
        np.ascontiguousarray(indices),
        rows,
        y_radius,
        theirs,
        threads,
    )
    out = theta.copy()
    proven = radius >= 0
    places = indices.astype(np.int64)
    np.put_along_axis(out, places, np.where(proven[:, None], polished, np.take_along_axis(theta, places, 1)), axis=1)
    return out, radius


def certify_response(
    net: Recurrent,
    theta: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    indices: np.ndarray,
    rows: np.ndarray,
    threads: int = 0,
    *,
    teacher: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """`certify` for one input, x_1 != 0, no biases, with the equations of the impulse response: the same solutions, better conditioned.

    Outputs are the response convolved with x, so the response is a rational function of x and y. It is computed in fractions and enclosed
    in one rounding error. Equations not among `rows` hold the response of theta itself at t = 1, and are not used at t > 1.
    """
    unit = np.tile(np.eye(1, x.shape[1]), (len(x), 1))
    if teacher is not None:
        return certify(net, theta, unit, y, indices, rows, threads, teacher=teacher)
    asked = np.zeros(net.equations, dtype=bool)
    asked[rows] = True
    asked = asked.reshape(net.steps, net.outputs)
    middle = np.zeros((len(x), net.steps, net.outputs))
    for b in range(len(x)):
        inputs = [Fraction(v) for v in x[b]]
        groups = net.unpack(theta[b])
        for j in range(net.outputs):
            response: list[Fraction] = []
            for t in range(net.steps):
                if asked[t, j]:
                    value = Fraction(y[b, t * net.outputs + j]) - sum(response[s] * inputs[t - s] for s in range(t))
                    response.append(value / inputs[0])
                elif t == 0:
                    response.append(sum(Fraction(d) * Fraction(v) for d, v in zip(groups["D"][j], groups["B"][:, 0])))
                else:
                    break
            middle[b, : len(response), j] = [float(v) for v in response]
    middle = middle.reshape(len(x), -1)
    return certify(net, theta, unit, middle, indices, rows, threads, y_radius=np.spacing(np.abs(middle)))
