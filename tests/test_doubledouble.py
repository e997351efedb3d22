"""Double-double arithmetic with error bounds, against exact fractions."""

from fractions import Fraction

import numpy as np
import pytest

from sublearn.numerics.doubledouble import Ball, Inverse, dot, join, matmul, matvec, split, two_prod, two_sum


def exact(ball):
    return [Fraction(h) + Fraction(lo) for h, lo in zip(ball.hi.ravel().tolist(), ball.lo.ravel().tolist())]


def inside(ball, values):
    """Every true value within its radius."""
    return all(abs(got - want) <= Fraction(r) for got, want, r in zip(exact(ball), values, ball.rad.ravel().tolist()))


def spread(rng, *shape):
    """Numbers of very different sizes."""
    return rng.standard_normal(shape) * 10.0 ** rng.integers(-12, 12, shape)


def fractions(array):
    return [Fraction(v) for v in array.ravel().tolist()]


def test_error_free_transformations():
    rng = np.random.default_rng(0)
    a, b = spread(rng, 4000), spread(rng, 4000)
    for (high, low), op in ((two_sum(a, b), "__add__"), (two_prod(a, b), "__mul__")):
        for p, q, h, e in zip(fractions(a), fractions(b), fractions(high), fractions(low)):
            assert h + e == getattr(p, op)(q)
    high, low = split(a)
    np.testing.assert_array_equal(high + low, a)
    mantissas = np.ldexp(np.frexp(high)[0], 26)
    np.testing.assert_array_equal(mantissas, np.rint(mantissas))  # 26 bits


def test_arithmetic_stays_within_its_radius_and_the_radius_is_small():
    rng = np.random.default_rng(1)
    # sums that cancel, so that the low parts matter
    a = Ball(spread(rng, 3000)) + spread(rng, 3000) * 1e-17
    b = Ball(np.where(rng.random(3000) < 0.5, -a.hi, spread(rng, 3000))) + spread(rng, 3000) * 1e-17
    a, b = Ball(a.hi, a.lo), Ball(b.hi, b.lo)  # exact numbers from here on
    A, B = exact(a), exact(b)
    total, product = a + b, a * b
    assert inside(total, [p + q for p, q in zip(A, B)])
    assert inside(product, [p * q for p, q in zip(A, B)])
    assert inside(a - b, [p - q for p, q in zip(A, B)])
    assert (total.rad <= 2.0**-103 * np.abs(total.hi)).all() and (product.rad <= 2.0**-101 * np.abs(product.hi) + 1e-280).all()
    chain = (a + b) * a - b * (a * b)  # radii are inherited
    assert inside(chain, [(p + q) * p - q * (p * q) for p, q in zip(A, B)])


@pytest.mark.parametrize("k", [1, 2, 7, 20])
def test_dot_products(k):
    rng = np.random.default_rng(k)
    a, b = spread(rng, 200, k), spread(rng, 200, k)
    if k > 2:
        a[:, -1], b[:, -1] = -a[:, 0] * (1 + 1e-13), b[:, 0]  # cancels to 1e-13
    fuzzy = Ball(a, a * 1e-17 * rng.random(a.shape), np.abs(a) * 1e-25)
    got = dot(fuzzy, b)
    want = [sum(x * y for x, y in zip(exact(fuzzy[r]), fractions(b[r]))) for r in range(200)]
    assert inside(got, want)
    exactly = dot(a, b)
    assert inside(exactly, [sum(x * y for x, y in zip(fractions(a[r]), fractions(b[r]))) for r in range(200)])
    assert (exactly.rad < 1e-28 * np.abs(a * b).sum(1) + 1e-270).all()


def test_matrix_products():
    rng = np.random.default_rng(3)
    A, B = rng.standard_normal((5, 3, 4)), rng.standard_normal((5, 4, 2))
    want = [[[sum(Fraction(A[g, i, k]) * Fraction(B[g, k, j]) for k in range(4)) for j in range(2)] for i in range(3)] for g in range(5)]
    assert inside(matmul(A, B), [v for g in want for row in g for v in row])
    assert inside(matvec(A, B[:, :, 0]), [row[0] for g in want for row in g])


def hilbert(n):
    """Hilbert's matrix times its common denominator, in whole numbers: condition 1e5 (4), 1e13 (10), 2e17 (13), 1e22 (16)."""
    lcm = int(np.lcm.reduce(np.arange(1, 2 * n, dtype=object)))
    return [[lcm // (i + j + 1) for j in range(n)] for i in range(n)]


@pytest.mark.parametrize("n", [1, 4, 8, 10, 13, 16])
def test_solve_encloses_planted_solutions(n):
    """b is the exact image of a planted solution; whole numbers up to 2^106 fit into hi + lo."""
    rng = np.random.default_rng(n)
    M = hilbert(n)
    planted = [[Fraction(int(v)) for v in rng.integers(-9, 10, n)] for _ in range(6)]
    right = [[sum(m * w for m, w in zip(row, p)) for row in M] for p in planted]
    hi = np.array([[float(v) for v in r] for r in right])
    lo = np.array([[float(v - Fraction(float(v))) for v in r] for r in right])
    high = np.array([[float(v) for v in row] for row in M])
    low = np.array([[float(v - int(float(v))) for v in row] for row in M])
    inverse = Inverse(Ball(np.repeat(high[None], 6, axis=0), np.repeat(low[None], 6, axis=0)))
    assert inverse.proven.all()
    w = inverse.solve(Ball(hi, lo))
    assert inside(w, [v for p in planted for v in p])
    assert (w.rad <= 1e-6 * np.abs(w.hi).max()).all()
    if n <= 10:
        assert (w.rad < 1e-15).all()


def test_a_singular_matrix_is_never_proven_and_does_not_disturb_its_neighbours():
    rng = np.random.default_rng(5)
    M = rng.standard_normal((6, 4, 4))
    M[1, :, 3] = 2 * M[1, :, 0] - M[1, :, 0]  # equal columns
    M[2] = 0
    M[3, 0, 0] = np.nan
    M[4] = 1.0
    b = rng.standard_normal((6, 4))
    inverse = Inverse(M)
    np.testing.assert_array_equal(inverse.proven, [True, False, False, False, False, True])
    w = inverse.solve(b)
    assert np.isnan(w.rad[1:5]).all()
    np.testing.assert_array_equal(w.hi[[0, 5]], Inverse(M[[0, 5]]).solve(b[[0, 5]]).hi)
    np.testing.assert_allclose(w.hi[0], np.linalg.solve(M[0], b[0]), rtol=1e-12)


def test_a_matrix_known_too_roughly_is_not_proven():
    M = np.array([[[1.0, 1.0], [1.0, 1.0 + 1e-8]]])
    assert Inverse(Ball(M, rad=np.full(M.shape, 1e-10))).proven.all()
    assert not Inverse(Ball(M, rad=np.full(M.shape, 1e-8))).proven.any()


def test_join():
    a = join([Ball(np.ones((2, 1)), rad=np.full((2, 1), 0.5)), np.zeros((2, 3))])
    assert a.shape == (2, 4) and (a.rad[:, 0] == 0.5).all() and (a.rad[:, 1:] == 0).all()
