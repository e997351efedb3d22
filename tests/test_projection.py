"""Projections on columns of Jacobians against LAPACK, and columns chosen one at a time against a slow twin, on random and nasty inputs."""

import itertools

import numpy as np
import pytest

import sublearn as sl
from tests.twins import projection as twin

DEPENDENT = {"duplicated", "low rank", "zero columns", "all zero", "sums"}


def nasty(rng, kind, m, p):
    """A matrix [m, p]."""
    a = rng.standard_normal((m, p))
    if kind == "duplicated":
        a[:, p // 2 :] = a[:, : p - p // 2] * rng.choice([1, -2, 3], p - p // 2)
    elif kind == "low rank":
        r = max(1, min(m, p) // 2)
        a = rng.standard_normal((m, r)) @ rng.standard_normal((r, p))
    elif kind == "zero columns":
        a[:, rng.random(p) < 0.4] = 0
    elif kind == "all zero":
        a[:] = 0
    elif kind == "sums" and p > 1:
        a[:, -1] = a[:, :-1].sum(axis=1)
    elif kind == "units":
        a *= 10.0 ** rng.uniform(-8, 8, p)
    elif kind == "far units":
        a *= 10.0 ** rng.uniform(-140, 140, p)
    elif kind == "sparse":
        a *= rng.random((m, p)) < 0.3
    elif kind == "one row":
        a[1:] = 0
    return a


KINDS = ["random", *sorted(DEPENDENT), "units", "far units", "sparse", "one row"]
SIZES = [(1, 1), (2, 3), (5, 4), (8, 8), (9, 17), (16, 7), (18, 51), (40, 33), (60, 20), (140, 12)]


def by_lapack(a, g):
    """(|(I - P) g|^2, rank) from numpy's least squares; columns at one length, on which no projection depends."""
    lengths = np.abs(a).max(axis=0, initial=0)
    a = a[:, lengths > 0] / lengths[lengths > 0]
    a = a / np.sqrt((a**2).sum(axis=0))
    if not a.size:
        return (g**2).sum(), 0
    x, _, rank, _ = np.linalg.lstsq(a, g, rcond=None)
    return ((g - a @ x) ** 2).sum(), rank


@pytest.mark.parametrize("kind", KINDS)
def test_bottlenecks_are_lapacks(kind, isa):
    """Over 1000 cases for each instruction set: random, rank-deficient and empty, own columns for each matrix and shared ones."""
    rng = np.random.default_rng(KINDS.index(kind))
    for m, p in SIZES:
        batch = 11
        J = np.stack([nasty(rng, kind, m, p) for _ in range(batch)])
        g = rng.standard_normal((batch, m)) * 10.0 ** rng.integers(-5, 5, (batch, 1))
        g[3] = 0
        k = int(rng.integers(0, p + 1))
        own = np.stack([rng.permutation(p)[:k] for _ in range(batch)])
        own[rng.random(own.shape) < 0.1] = -1
        for columns in (own, own[0], None):
            found = sl.bottleneck(J, g, columns)
            picked = np.broadcast_to(np.arange(p) if columns is None else columns, (batch, p if columns is None else k))
            for b in range(batch):
                a = J[b][:, picked[b][picked[b] >= 0]]
                residual, rank = by_lapack(a, g[b])
                norm2 = (g[b] ** 2).sum()
                assert abs(found.residual[b] - residual) <= 1e-10 * norm2, (m, p, b)
                assert found.share[b] == pytest.approx(residual / norm2 if norm2 else 0, abs=1e-10)
                assert found.rank[b] == rank
                x = found.coefficients[b][picked[b] >= 0]
                with np.errstate(over="ignore", under="ignore"):
                    assert ((g[b] - a @ x) ** 2).sum() == pytest.approx(found.residual[b], rel=1e-6, abs=1e-10 * norm2)
                assert np.count_nonzero(found.coefficients[b]) <= rank


def test_a_thousand_cases(isa):
    """Jacobian-like sizes with planted ranks: LAPACK's residual to 1e-10 of |g|^2, and nothing left where nothing should be."""
    rng = np.random.default_rng(5)
    count = inside = 0
    for m, p in itertools.product((6, 12, 18, 30), (5, 20, 51)):
        rank = rng.integers(0, min(m, p) + 1, 90)
        J = np.stack([rng.standard_normal((m, r)) @ rng.standard_normal((r, p)) for r in rank])
        g = rng.standard_normal((90, m))
        g[::7] = np.einsum("bmp,bp->bm", J, rng.standard_normal((90, p)))[::7]
        mask = rng.random((90, p)) < rng.random((90, 1))
        found = sl.bottleneck(J, g, mask)
        for b in range(90):
            residual, r = by_lapack(J[b][:, mask[b]], g[b])
            norm2 = (g[b] ** 2).sum()
            assert abs(found.residual[b] - residual) <= 1e-10 * norm2 and found.rank[b] == r == min(rank[b], mask[b].sum())
            if b % 7 == 0 and r == rank[b]:
                assert found.residual[b] <= 1e-24 * norm2
                inside += 1
            count += 1
    assert count > 1000 and inside > 50


def test_a_result_depends_on_its_own_matrix_alone(isa):
    rng = np.random.default_rng(1)
    J = np.stack([nasty(rng, KINDS[b % len(KINDS)], 12, 9) for b in range(37)])
    g = rng.standard_normal((37, 12))
    whole, chosen = sl.bottleneck(J, g, threads=2), sl.choose_columns(J, g, 5, threads=2)
    for b in range(37):
        one, few = sl.bottleneck(J[b], g[b], threads=1), sl.choose_columns(J[b], g[b], 5)
        for name in ("residual", "share", "rank", "coefficients"):
            np.testing.assert_array_equal(getattr(one, name), getattr(whole, name)[b])
        np.testing.assert_array_equal(few.indices, chosen.indices[b])
        np.testing.assert_array_equal(few.residuals, chosen.residuals[b])


def follow(found, b, greedy, rule, guard, allowed, given=(), near=1e-7):
    """The twin takes the columns chosen: each must have had the largest score, up to a share `near`."""
    norm2 = (greedy.g**2).sum()
    for step, j in enumerate(found.indices[b]):
        if step < len(given):
            assert j == given[step]
        else:
            scores = greedy.scores(rule, guard * (1 - 1e-9), allowed)
            best = scores.max()
            if j < 0:
                assert best < 0, (b, step)
            else:
                assert scores[j] >= 0 and best - scores[j] <= near * best + 1e-26 * norm2, (b, step, j)
        if j >= 0:
            greedy.take(j)
        assert abs(found.residuals[b, step] - greedy.residual) <= 1e-12 * norm2


@pytest.mark.parametrize("rule, guard", [("ols", 0.0), ("ols", 0.25), ("omp", 0.0), ("omp", 0.5), ("pivot", 0.0)])
@pytest.mark.parametrize("kind", KINDS)
def test_choices_are_the_best_at_every_step(kind, rule, guard, isa):
    """The twin follows the choices: each has the largest score but for rounding, and -1 comes only where none is left."""
    rng = np.random.default_rng(10 * KINDS.index(kind))
    for m, p in SIZES[:7]:
        batch, budget = 2, min(p, m + 2, 8)
        J = np.stack([nasty(rng, kind, m, p) for _ in range(batch)])
        g = rng.standard_normal((batch, m))
        g[1] = 0 if m > 4 else g[1]
        candidates = rng.random((batch, p)) < 0.8 if m % 2 else None
        given = [int(rng.integers(0, p))] if m % 3 else []
        found = sl.choose_columns(J, g, budget, rule, guard, given=given, candidates=candidates)
        for b in range(batch):
            allowed = np.ones(p, bool) if candidates is None else candidates[b]
            follow(found, b, twin.Greedy(J[b], g[b]), rule, guard, allowed, given)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rule", ["ols", "omp", "pivot"])
def test_random_choices_are_the_twins(rule, dtype, isa):
    rng = np.random.default_rng(3)
    J, g = rng.standard_normal((5, 18, 51)).astype(dtype), rng.standard_normal((5, 18)).astype(dtype)
    found = sl.choose_columns(J, g, 12, rule, 0.1, given=[7, 3])
    assert found.residuals.dtype == dtype and found.indices.dtype == np.int64
    for b in range(5):
        indices, residuals = twin.choose(J[b], g[b], 12, rule, 0.1, given=(7, 3))
        assert found.indices[b].tolist() == indices
        np.testing.assert_allclose(found.residuals[b], np.array(residuals, float), rtol=1e-9 if dtype is np.float64 else 1e-6)


def test_choices_do_not_lose_digits_where_almost_nothing_is_left():
    """Columns that agree in their first digits: what is left of them is 1e-5 to 1e-9 of their length, and must be measured anew."""
    rng = np.random.default_rng(8)
    base = rng.standard_normal((20, 4))
    J = np.concatenate(
        [base, base @ rng.standard_normal((4, 30)) + 10.0 ** rng.uniform(-9, -5, 30) * rng.standard_normal((20, 30))], axis=1
    )
    g = base @ rng.standard_normal(4) + 1e-7 * rng.standard_normal(20)
    found = sl.choose_columns(J[None], g, 18, "ols", 0.0)
    greedy = twin.Greedy(J, g)
    follow(found, 0, greedy, "ols", 0.0, np.ones(34, bool), near=1e-5)
    assert greedy.residual < 1e-15 * (g**2).sum() and found.residuals[0, -1] == pytest.approx(float(greedy.residual), rel=1e-4)


def test_the_first_of_equal_columns_is_taken_and_none_twice():
    a = np.tile(np.eye(3), (1, 3))
    found = sl.choose_columns(a, np.array([1.0, 2.0, 3.0]), 5)
    assert found.indices.tolist() == [2, 1, 0, -1, -1]
    np.testing.assert_array_equal(found.residuals, [5, 1, 0, 0, 0])
    only = sl.choose_columns(a, np.array([1.0, 2.0, 3.0]), 3, candidates=[5, 4])
    assert only.indices.tolist() == [5, 4, -1]


@pytest.mark.parametrize("far", [-600, -290, 290, 500])
def test_units_whose_squares_leave_the_range_of_numbers(far, isa):
    """Powers of two change no digit: where one column, all, or J and g are so scaled, ranks, shares and choices stay."""
    rng = np.random.default_rng(9)
    J, g = rng.standard_normal((9, 12, 6)), rng.standard_normal((9, 12))
    J[:, :, 4] = J[:, :, 1]
    wanted, chosen = sl.bottleneck(J, g), sl.choose_columns(J, g, 6, "ols", 0.0)
    assert (wanted.rank == 5).all()
    one = np.where(np.arange(6) == 3, far, 0)
    for of_columns, of_g in ((one, 0), (far, 0), (far, far), (far // 2, far)):
        scaled, change = np.ldexp(J, of_columns), np.ldexp(g, of_g)
        found = sl.bottleneck(scaled, change)
        np.testing.assert_array_equal(found.rank, 5)
        np.testing.assert_allclose(found.share, wanted.share, rtol=1e-10)
        for rule in ("ols", "omp"):
            few = sl.choose_columns(scaled, change, 6, rule, 0.0)
            np.testing.assert_array_equal(few.indices, chosen.indices if rule == "ols" else sl.choose_columns(J, g, 6, rule, 0.0).indices)
    with np.errstate(under="ignore"):
        assert sl.bottleneck(J, np.ldexp(g, far), []).share.tolist() == [1] * 9
    independent = J[:, :, :4]
    far_g = sl.bottleneck(independent, np.ldexp(g, far))
    np.testing.assert_allclose(far_g.share, sl.bottleneck(independent, g).share, rtol=1e-10)
    np.testing.assert_allclose(np.ldexp(far_g.coefficients, -far), sl.bottleneck(independent, g).coefficients, rtol=1e-9)


def test_pivots_are_lapacks():
    from scipy.linalg import qr

    rng = np.random.default_rng(4)
    J = rng.standard_normal((4, 15, 40))
    found = sl.choose_columns(J, None, 15, "pivot")
    np.testing.assert_array_equal(found.indices, [qr(a, pivoting=True, mode="r")[1][:15] for a in J])
    assert (found.residuals == 0).all()


def test_every_form_of_columns():
    net = sl.Feedforward((3, 4, 2), 3)
    rng = np.random.default_rng(0)
    J, g = rng.standard_normal((4, net.equations, net.size)), rng.standard_normal(net.equations)
    learn = sl.only(net, "W2").draw(0)
    want = sl.bottleneck(J, g, learn.mask)
    for columns in (
        sl.only(net, "W2"),
        learn,
        learn.indices,
        np.tile(learn.mask, (4, 1)),
        learn.indices.tolist(),
        np.tile(learn.indices, (4, 1)),
    ):
        np.testing.assert_array_equal(sl.bottleneck(J, g, columns).residual, want.residual)
    assert sl.bottleneck(J[0], g).residual.shape == () and sl.bottleneck(J[0], g, [[0], [1]]).residual.shape == (2,)
    masks = np.zeros((4, net.size), bool)
    masks[1, :3], masks[2, 5] = True, True
    found = sl.bottleneck(J, g, masks)
    assert found.coefficients.shape == (4, 3) and (np.count_nonzero(found.coefficients, axis=1) == [0, 3, 1, 0]).all()
    np.testing.assert_allclose(found.residual[[0, 3]], (g**2).sum(), rtol=1e-14)
    few = sl.choose_columns(J, g, 3, candidates=learn)
    assert np.isin(few.indices, learn.indices).all()
    np.testing.assert_array_equal(few.indices, sl.choose_columns(J, g, 3, candidates=learn.indices).indices)
    for empty in (np.zeros((2, 0, 5)), np.zeros((2, 3, 0))):
        ones = np.ones(empty.shape[1])
        assert (sl.bottleneck(empty, ones, []).residual == len(ones)).all()
        assert (sl.choose_columns(empty, ones, 2).indices == -1).all()


def test_errors_name_the_argument():
    J, g = np.ones((2, 3, 4)), np.ones(3)
    holed = J.copy()
    holed[1, 2, 3] = np.nan
    for call, error, text in (
        (lambda: sl.bottleneck(J.astype(int), g), TypeError, "J: expected float32 or float64, got int64"),
        (lambda: sl.bottleneck(J[0, 0], g), ValueError, r"J: expected shape \[batch, equations, p\]"),
        (lambda: sl.bottleneck(J, g.astype(np.float32)), TypeError, "g: expected float64 like J"),
        (lambda: sl.bottleneck(J, np.ones(4)), ValueError, r"g: expected shape \[3\]"),
        (lambda: sl.bottleneck(J, g * np.nan), ValueError, "g: expected finite numbers"),
        (lambda: sl.bottleneck(holed, g), ValueError, "J: expected finite numbers, got nan or inf in a column of matrix 1"),
        (lambda: sl.choose_columns(holed, g, 2), ValueError, "J: expected finite numbers"),
        (lambda: sl.bottleneck(J, g, [4]), ValueError, "columns: expected positions below 4, or -1 for none, got 4"),
        (lambda: sl.bottleneck(J, g, [0.5]), TypeError, "columns: expected positions"),
        (lambda: sl.bottleneck(J, g, [True]), ValueError, "columns: expected a mask of the 4 columns"),
        (
            lambda: sl.bottleneck(J, g, sl.scattered(sl.Feedforward((1, 2, 1), 3), 2)),
            TypeError,
            "columns: expected an Allocation, got the random",
        ),
        (lambda: sl.bottleneck(J, g, np.zeros((3, 2), int)), ValueError, "batch: expected one batch size"),
        (lambda: sl.bottleneck(J, g, rtol=-1), ValueError, "rtol: expected"),
        (lambda: sl.choose_columns(J, g, -1), ValueError, "budget: expected"),
        (lambda: sl.choose_columns(J, g, 1, given=[0, 1]), ValueError, "budget: expected at least the 2 columns given, got 1"),
        (lambda: sl.choose_columns(J, g, 1, "best"), ValueError, "rule: expected one of ols, omp, pivot"),
        (lambda: sl.choose_columns(J, g, 1, guard=2), ValueError, "guard: expected a number from 0 to 1"),
        (lambda: sl.choose_columns(J, None, 1), ValueError, 'g: expected the wanted change of the outputs for rule "ols"'),
    ):
        with pytest.raises(error, match=text):
            call()
    assert sl.bottleneck(holed, g, [0, 1]).residual.shape == (2,)  # what is not looked at may be anything
