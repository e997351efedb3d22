"""The path tracker and the generic degree, against roots that numpy knows and counts by elimination."""

import numpy as np
import pytest

import sublearn as sl
from sublearn import _cpu
from sublearn.homotopy.degree import solution_count
from sublearn.homotopy.monodromy import monodromy
from sublearn.homotopy.system import CONVERGED, system_of
from sublearn.homotopy.trace_test import bend_of, trace_test
from sublearn.ranks.generic_rank import attained_ranks

SHARED = ("B", "D")


def outputs(net, theta, x):
    """f over complex numbers: affine in x, so real inputs suffice (complex inputs by parts)."""
    f = lambda at: _cpu.outputs_complex(net.shape, np.ascontiguousarray(theta), np.ascontiguousarray(at))  # noqa: E731
    return f(x.real) + 1j * (f(x.imag) - f(np.zeros(x.shape)))


def polynomial_roots(net, point, place, row, degree):
    """Roots of w -> f(theta with w at place; x)[row] - y[row], from values at roots of unity."""
    theta, x, y = np.split(point, [net.size, net.size + net.shape.inputs_size])
    w = np.exp(2j * np.pi * np.arange(degree + 1) / (degree + 1))
    many = np.repeat(theta[None], degree + 1, axis=0)
    many[:, place] = w
    values = outputs(net, many, np.repeat(x[None], degree + 1, axis=0))[:, row] - y[row]
    coefficients = np.fft.fft(values) / (degree + 1)  # of w^0, w^1, ..
    return np.roots(coefficients[::-1])


@pytest.mark.parametrize("steps", [3, 5, 7])
def test_one_learnable_weight_follows_the_roots_of_a_polynomial(steps, isa):
    """One weight of W and the last equation: a polynomial of degree T - 1, whose roots at both ends numpy finds."""
    net = sl.Recurrent(1, 3, 1, steps)
    rng = np.random.default_rng(steps)
    width, degree, place = net.size + 2 * steps, steps - 1, net.slices["W"].start + 4  # W[1, 1]
    points = rng.standard_normal((9, width)) + 1j * rng.standard_normal((9, width))
    roots = [polynomial_roots(net, q, place, steps - 1, degree) for q in points]
    start = np.tile(roots[0], 8)[:, None].copy()
    to = np.repeat(np.arange(1, 9), degree).astype(np.int32)
    zero = np.zeros(len(to), np.int32)
    row = np.array([steps - 1], np.int32)
    out = _cpu.continuation(
        net.shape, points, False, np.array([[place]], np.int32), np.array([[degree]], np.int32), row, None, zero, zero, to, zero, start
    )
    assert (out["status"] == CONVERGED).all()
    for k in range(8):
        ends = out["end"][to == k + 1, 0]
        assert np.abs(np.sort_complex(ends) - np.sort_complex(roots[k + 1])).max() < 1e-9 * (1 + np.abs(ends).max())


P = 2**31 - 1


def interpolated(at, values):
    """Coefficients mod P, ascending, of the polynomial with these values: Lagrange's formula."""
    out = [0] * len(at)
    for i, x in enumerate(at):
        basis, scale = [1], 1
        for j, other in enumerate(at):
            if j != i:
                basis = [(a - other * b) % P for a, b in zip([0, *basis], [*basis, 0])]
                scale = scale * (x - other) % P
        factor = values[i] * pow(scale, -1, P)
        out = [(a + factor * b) % P for a, b in zip(out, basis)]
    return out


def trimmed(coefficients):
    while coefficients and coefficients[-1] == 0:
        coefficients = coefficients[:-1]
    return coefficients


def determinant(rows):
    rows, out = [list(row) for row in rows], 1
    for c in range(len(rows)):
        pivot = next((r for r in range(c, len(rows)) if rows[r][c]), None)
        if pivot is None:
            return 0
        if pivot != c:
            rows[c], rows[pivot], out = rows[pivot], rows[c], -out
        out = out * rows[c][c] % P
        inverse = pow(rows[c][c], -1, P)
        for r in range(c + 1, len(rows)):
            f = rows[r][c] * inverse % P
            rows[r] = [(x - f * y) % P for x, y in zip(rows[r], rows[c])]
    return out % P


def eliminated_count(places, rng, n=4, steps=4):
    """Solutions mod P of the equations t = 2, 3, 4 (degrees 1, 2, 3) in three entries of W: a plane, then the degree of a resultant.

    A 1-n-1 network with random weights, inputs and targets. Solutions are counted with multiplicity, at infinity not at all.
    """
    draw = lambda count: [int(v) for v in rng.integers(1, P, count)]  # noqa: E731
    B, D, x, y, W = draw(n), draw(n), draw(steps), draw(steps), draw(n * n)

    def residual(z):
        w = list(W)
        for place, value in zip(places, z):
            w[place] = value
        h, out = [0] * n, []
        for t in range(steps):
            h = [(sum(w[a * n + b] * h[b] for b in range(n)) + B[a] * x[t]) % P for a in range(n)]
            out.append((sum(d * v for d, v in zip(D, h)) - y[t]) % P)
        return out

    zero = residual((0, 0, 0))[1]
    slope = [(residual(unit)[1] - zero) % P for unit in ((1, 0, 0), (0, 1, 0), (0, 0, 1))]
    lead = next(k for k in range(3) if slope[k])
    turn = [draw(2), draw(2)]

    def on_plane(u, v):
        z = [0, 0, 0]
        free = [k for k in range(3) if k != lead]
        for k, row in zip(free, turn):
            z[k] = (row[0] * u + row[1] * v) % P
        z[lead] = -(zero + sum(slope[k] * z[k] for k in free)) * pow(slope[lead], -1, P) % P
        return residual(z)

    def resultant(u):
        values = [on_plane(u, v) for v in range(4)]
        p, q = (trimmed(interpolated(range(4), [row[e] for row in values]))[::-1] for e in (2, 3))
        m, k = len(p) - 1, len(q) - 1
        rows = [[0] * i + p + [0] * (k - 1 - i) for i in range(k)] + [[0] * i + q + [0] * (m - 1 - i) for i in range(m)]
        return determinant(rows)

    at = list(range(1, 9))
    return len(trimmed(interpolated(at, [resultant(u) for u in at]))) - 1


def test_degrees_equal_a_count_by_elimination():
    net = sl.Recurrent(1, 4, 1, 4)
    masks = sl.scattered(net, 3, "W").masks(0, 0, 0, 40)
    masks = masks[attained_ranks(net, masks, SHARED) == 3]
    rng = np.random.default_rng(0)
    expected = [eliminated_count(np.flatnonzero(mask[net.slices["W"]]), rng) for mask in masks]
    found = monodromy(system_of(net, SHARED), masks).found
    assert len(masks) > 20 and len(set(expected)) >= 4
    assert found.tolist() == expected


def test_degree_of_known_cases():
    net = sl.Recurrent(1, 4, 1, 5)
    with pytest.raises(ValueError, match="square system, budget 4 = kappa, got budget 5"):
        sl.degree(net, sl.rows(net, 5, "W"), SHARED)
    assert sl.degree(net, sl.rows(net, 4, "W"), SHARED) == 1  # T7, row
    assert sl.degree(net, sl.columns(net, 4, "W"), SHARED) == 1  # T7, column
    low = sl.Feedforward((3, 4, 2), 3)
    assert sl.degree(low, sl.even_rows(low, 3, "W2").draw(0)) == 1  # T2
    assert sl.degree(low, sl.rows(low, 6, "W2")) == 0  # rank-deficient: one row cannot hold more than 3
    with pytest.raises(ValueError, match="linear"):
        sl.degree(sl.Recurrent(1, 4, 1, 5, activation="tanh"), sl.rows(net, 4, "W"), SHARED)


def test_degrees_do_not_depend_on_the_random_point(isa):
    net = sl.Recurrent(1, 4, 1, 5)
    masks = sl.scattered(net, 4, "W").masks(0, 0, 0, 12)
    masks = masks[attained_ranks(net, masks, SHARED) == 4]
    first, second = (monodromy(system_of(net, SHARED), masks, seed=seed) for seed in (0, 1))
    assert first.complete.all() and first.found.tolist() == second.found.tolist()
    alone = monodromy(system_of(net, SHARED), masks[3:4], seed=5)
    assert alone.found[0] == first.found[3]


WIDE = sl.Recurrent(2, 2, 2, 9), ("W",)


def wide_mask():
    """Two solutions: three entries of B and of D."""
    return WIDE[0].pack({"B": [[0, 1], [1, 1]], "W": np.zeros((2, 2), int), "D": [[0, 1], [1, 1]]}).astype(bool)


def test_saturated_systems_move_the_teacher():
    """kappa below the number of equations, and no kappa equations known that force the others: W shared, two inputs."""
    net, shared = WIDE
    system = system_of(net, shared)
    assert system.saturated and system.kappa == 6 < system.moving.sum()
    mask = wide_mask()
    base = monodromy(system, mask[None])
    assert base.complete[0] and base.found[0] >= 1
    assert sl.degree(net, mask, shared, seed=3) == base.found[0] == 2


NETS = [(sl.Recurrent(1, 4, 1, 5), 4, "W"), (sl.Recurrent(2, 6, 2, 3), 4, "W"), (sl.Recurrent(1, 2, 1, 6), 3, "W")]


@pytest.mark.parametrize("net,kappa,within", NETS, ids=["one input", "two inputs", "forcing rows"])
def test_the_trace_test_knows_complete_sets_from_others(net, kappa, within):
    """All solutions pass; with one of them taken away, the test brings back that very one."""
    system = system_of(net, SHARED)
    masks = sl.scattered(net, kappa, within).masks(5, 0, 0, 4)
    masks = masks[attained_ranks(net, masks, SHARED) == kappa]
    base = monodromy(system, masks)
    at = system, base.point, base.indices, base.degrees
    full = trace_test(*at, base.solutions)
    assert base.traced.all()  # by one of three tests; one alone may not settle
    assert [t.verdict for t in full].count(1) >= len(masks) - 2 and not any(len(t.missing) for t in full)
    assert all(t.curve >= d for t, d in zip(full, base.found))
    less = trace_test(*at, [z[1:] for z in base.solutions])
    assert (base.found > 1).sum() >= 2
    for m in np.flatnonzero(base.found > 1):
        assert less[m].verdict == 0 and len(less[m].missing) == 1 and less[m].curve == full[m].curve
        np.testing.assert_allclose(less[m].missing[0], base.solutions[m][0], rtol=1e-8)
    (alone,) = trace_test(system, base.point, base.indices[1:2], base.degrees[1:2], base.solutions[1:2])
    assert alone[:3] == full[1][:3]


def test_a_part_of_a_curve_has_a_bent_trace():
    """The points of z^3 - 2 z = s + 1 on s = tau + c z: the sum of all three is affine in tau, that of two is not."""
    c, rng = 0.3 + 0.8j, np.random.default_rng(0)
    slices = [np.sort_complex(np.roots([1, 0, -2 - c, -1 - tau]))[:, None] for tau in (0, 0.1, -0.1)]
    functional = rng.standard_normal(1)
    assert bend_of(*slices, functional) < 1e-12
    assert bend_of(*(s[:2] for s in slices), functional) > 1e-5


def test_solution_counts_say_how_sure_they_are():
    net = sl.Recurrent(1, 4, 1, 5)
    mask = sl.scattered(net, 4, "W").draw(3)
    count = solution_count(net, mask, SHARED)
    assert count.degree == sl.degree(net, mask, SHARED) > 1
    assert count.trace == "complete" and count.points == 2 and count.error == 0
    loops = solution_count(net, mask, SHARED, trace_most=1)
    assert loops.trace == "not run" and loops.degree == count.degree and 0 < loops.error <= 1e-6
    assert solution_count(WIDE[0], wide_mask(), WIDE[1]).trace == "not run"  # saturated: no free targets


def test_the_impulse_form_has_the_same_solutions():
    """One input: outputs to x are those to an impulse, convolved with x."""
    net = sl.Recurrent(1, 4, 2, 4)
    system = system_of(net, SHARED)
    assert system.impulse and not system_of(sl.Recurrent(2, 4, 2, 4), SHARED).impulse
    rng = np.random.default_rng(1)
    theta, x = rng.standard_normal((5, net.size)), rng.standard_normal((5, 4))
    x[4, 0] = 0
    y = _cpu.outputs(net.shape, theta, x)
    points = system.data(theta, x, y, None)
    response = _cpu.outputs(net.shape, theta, np.tile([1.0, 0, 0, 0], (5, 1)))
    np.testing.assert_allclose(points[:4, -8:].real, response[:4], rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(points[:, net.size : net.size + 4], np.tile([1, 0, 0, 0], (5, 1)))
    assert np.isnan(points[4]).any()


def test_bad_arguments_are_named():
    net = sl.Recurrent(1, 4, 1, 5)
    with pytest.raises(ValueError, match="error: expected"):
        sl.degree(net, sl.rows(net, 4, "W"), SHARED, error=0.0)
    with pytest.raises(TypeError, match="shared"):
        sl.degree(net, sl.rows(net, 4, "W"), "B")
