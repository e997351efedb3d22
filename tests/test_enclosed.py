"""Compiled double-double enclosures (systems, outputs, row forms) against exact fractions, tanh and atanh against 60 decimal digits."""

from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest

import sublearn as sl
from sublearn.backend.compiled import cpu
from sublearn.existence.by_substitution import Enclosed, outputs


def solve_picked(A, right, values, allowed):
    w, proven = cpu.enclosed_systems(A, right, values, allowed)
    return Enclosed(*w), proven


def solved(M, b):
    """(solutions of square systems, proven)."""
    M, b = (v if isinstance(v, Enclosed) else Enclosed(v) for v in (M, b))
    return solve_picked(M, b, Enclosed(np.zeros(b.hi.shape)), np.ones(b.hi.shape, dtype=bool))


def exactly(M, b):
    """The solution of M w = b in fractions, by Gauss's elimination; None where M is singular."""
    rows = [[Fraction(v) for v in row] + [Fraction(v)] for row, v in zip(M, b)]
    k = len(rows)
    for j in range(k):
        pivot = next((r for r in range(j, k) if rows[r][j]), None)
        if pivot is None:
            return None
        rows[j], rows[pivot] = rows[pivot], rows[j]
        rows[j] = [v / rows[j][j] for v in rows[j]]
        for r in range(k):
            if r != j and rows[r][j]:
                rows[r] = [v - rows[r][j] * w for v, w in zip(rows[r], rows[j])]
    return [row[k] for row in rows]


def inside(ball, values):
    return all(
        abs(Fraction(h) + Fraction(lo) - v) <= Fraction(r)
        for h, lo, r, v in zip(ball.hi.ravel().tolist(), ball.lo.ravel().tolist(), ball.rad.ravel().tolist(), values, strict=True)
    )


def hilbert(n):
    """Hilbert's matrix times its common denominator, in whole numbers: condition 1e5 (4), 1e13 (10), 2e17 (13), 1e22 (16)."""
    lcm = int(np.lcm.reduce(np.arange(1, 2 * n, dtype=object)))
    return [[lcm // (i + j + 1) for j in range(n)] for i in range(n)]


@pytest.mark.parametrize("n", [1, 4, 8, 10, 13, 16])
def test_solve_encloses_planted_solutions(n):
    """b is the exact image of a planted solution; whole numbers up to 2^106 fit into hi + lo. From n = 13 on float64 proves nothing."""
    rng = np.random.default_rng(n)
    M = hilbert(n)
    planted = [[Fraction(int(v)) for v in rng.integers(-9, 10, n)] for _ in range(6)]
    right = [[sum(m * w for m, w in zip(row, p)) for row in M] for p in planted]
    hi = np.array([[float(v) for v in r] for r in right])
    lo = np.array([[float(v - Fraction(float(v))) for v in r] for r in right])
    high = np.array([[float(v) for v in row] for row in M])
    low = np.array([[float(v - int(float(v))) for v in row] for row in M])
    w, proven = solved(Enclosed(np.repeat(high[None], 6, axis=0), np.repeat(low[None], 6, axis=0), np.zeros((6, n, n))), Enclosed(hi, lo))
    assert proven.all()
    assert inside(w, [v for p in planted for v in p])
    assert (w.rad <= 1e-6 * np.abs(w.hi).max()).all()
    if n <= 10:
        assert (w.rad < 1e-15).all()


@pytest.mark.parametrize("size", [1.0, 1e-150, 1e150])
@pytest.mark.parametrize("nearly", [0.0, 1e-9, 1e-15])
def test_true_solutions_lie_inside(size, nearly):
    """Random and nearly singular matrices of any size, with rows of sizes of their own."""
    rng = np.random.default_rng(int(-np.log10(nearly or 1)))
    for k in (1, 2, 3, 5, 7):
        M = rng.standard_normal((20, k, k)) * 10.0 ** rng.integers(-3, 4, (20, k, 1))
        if nearly and k > 1:
            M[:, :, -1] = M[:, :, 0] * (1 + nearly * rng.standard_normal((20, k)))
        M, b = M * size, rng.standard_normal((20, k))
        w, proven = solved(M, b)
        truth = [exactly(M[g], b[g]) for g in range(20)]
        assert proven.mean() > 0.9
        for g in np.flatnonzero(proven):
            assert truth[g] is not None and inside(Enclosed(w.hi[g], w.lo[g], w.rad[g]), truth[g])
            assert w.rad[g].max() <= (2.0**-20 if nearly == 1e-15 else 2.0**-40) * np.abs(w.hi[g]).max()


def test_a_singular_matrix_is_never_proven_and_does_not_disturb_its_neighbours():
    rng = np.random.default_rng(5)
    M = rng.standard_normal((6, 4, 4))
    M[1, :, 3] = 2 * M[1, :, 0] - M[1, :, 0]  # equal columns
    M[2] = 0
    M[3, 0, 0] = np.nan
    M[4] = 1.0
    b = rng.standard_normal((6, 4))
    w, proven = solved(M, b)
    np.testing.assert_array_equal(proven, [True, False, False, False, False, True])
    assert np.isnan(w.rad[1:5]).all()
    np.testing.assert_array_equal(w.hi[[0, 5]], solved(M[[0, 5]], b[[0, 5]])[0].hi)
    np.testing.assert_allclose(w.hi[0], np.linalg.solve(M[0], b[0]), rtol=1e-12)
    huge, proven = solved(np.full((1, 2, 2), 1e308) * np.eye(2), np.full((1, 2), 1e308))
    assert not proven.any() or inside(huge, [Fraction(1), Fraction(1)])


def test_a_matrix_known_too_roughly_is_not_proven():
    M = np.array([[[1.0, 1.0], [1.0, 1.0 + 1e-8]]])
    assert solved(Enclosed(M, rad=np.full(M.shape, 1e-10)), np.ones((1, 2)))[1].all()
    assert not solved(Enclosed(M, rad=np.full(M.shape, 1e-8)), np.ones((1, 2)))[1].any()


def test_every_system_within_the_radii_is_enclosed():
    """Corners of the box of M and b: their solutions lie in the enclosure."""
    rng = np.random.default_rng(9)
    M, b = rng.standard_normal((30, 3, 3)), rng.standard_normal((30, 3))
    w, proven = solved(Enclosed(M, rad=np.full(M.shape, 2.0**-20)), Enclosed(b, rad=np.full(b.shape, 2.0**-20)))
    assert proven.mean() > 0.9
    for g in np.flatnonzero(proven):
        for _ in range(5):
            corner = exactly(M[g] + rng.choice([-1, 1], (3, 3)) * 2.0**-20, b[g] + rng.choice([-1, 1], 3) * 2.0**-20)
            assert inside(Enclosed(w.hi[g], w.lo[g], w.rad[g] * (1 + 1e-9)), corner)


def test_picked_columns_are_allowed_ones_and_too_few_are_no_proof():
    rng = np.random.default_rng(3)
    A, right, values = rng.standard_normal((50, 3, 7)), rng.standard_normal((50, 3)), rng.standard_normal((50, 7))
    allowed = rng.random((50, 7)) < 0.6
    w, proven = solve_picked(Enclosed(A), Enclosed(right), Enclosed(values), allowed)
    np.testing.assert_array_equal(proven, allowed.sum(axis=1) >= 3)
    changed = (w.hi != values) | (w.rad != 0)
    assert not (changed & ~allowed)[proven].any() and (changed.sum(axis=1) == 3)[proven].all()
    for g in np.flatnonzero(proven):
        at = np.flatnonzero(changed[g])
        rest = [
            Fraction(v) - sum(Fraction(A[g, r, c]) * Fraction(values[g, c]) for c in range(7) if c not in at)
            for r, v in enumerate(right[g])
        ]
        assert inside(Enclosed(w.hi[g, at], w.lo[g, at], w.rad[g, at]), exactly(A[g][:, at], rest))
    chosen = cpu.pick_columns(A, allowed, 3)
    assert (np.diff(chosen[proven], axis=1) > 0).all() and np.take_along_axis(allowed[proven], chosen[proven].astype(int), 1).all()
    assert (chosen[~proven] == -1).all()
    longest = A.copy()
    longest[:, :, [2, 4]] *= 1e6  # the longest columns come first
    assert {tuple(c) for c in cpu.pick_columns(longest, np.ones((50, 7), dtype=bool), 2)} == {(2, 4)}


@pytest.mark.parametrize(
    "net",
    [
        sl.Recurrent(2, 3, 2, 4, bias=True),
        sl.Recurrent(1, 9, 1, 3, "relu"),
        sl.Feedforward((2, 4, 3, 2), 3, bias=True),
        sl.Feedforward((3, 2), 2),
    ],
    ids=str,
)
def test_outputs_enclose_exact_fractions(net):
    drawn = sl.draw_trials(net, sl.only(net, *net.groups), 10, seed=3)
    theta, x, y = drawn.student, drawn.x, drawn.y.reshape(10, -1)
    off = Enclosed(theta, theta * 1e-17, np.zeros_like(theta))
    got, less = outputs(net, off, x), outputs(net, off, x, Enclosed(y))
    whole = np.vectorize(Fraction, otypes=[object])
    relu = np.vectorize(lambda v: max(v, Fraction(0)) if net.activation == "relu" else v, otypes=[object])
    for g in range(10):
        w = net.unpack(whole(off.hi[g]) + whole(off.lo[g]))
        if isinstance(net, sl.Recurrent):
            h, want = whole(np.zeros(net.hidden)), []
            for row in whole(x[g]):
                h = relu(w["B"] @ row + w["W"] @ h + w.get("b", 0))
                want += (w["D"] @ h + w.get("c", 0)).tolist()
        else:
            signal, last = whole(x[g]), len(net.widths) - 1
            for k in range(1, last + 1):
                signal = w[f"W{k}"] @ signal + (w[f"b{k}"][:, None] if f"b{k}" in w else 0)
                signal = relu(signal) if k < last else signal
            want = signal.ravel().tolist()
        assert inside(Enclosed(got.hi[g], got.lo[g], got.rad[g]), want)
        assert inside(Enclosed(less.hi[g], less.lo[g], less.rad[g]), [v - Fraction(t) for v, t in zip(want, y[g].tolist())])
    assert (got.rad <= 1e-27 * (1 + np.abs(got.hi))).all()


def near_the_worst(rng):
    """Numbers of all sizes, and those around odd multiples of ln(2)/4, where the argument of tanh is reduced to the largest remainder."""
    steps = (2 * np.arange(1, 40) - 1) * np.log(2) / 4
    return np.concatenate([10.0 ** rng.uniform(-300, 1.4, 300), steps, np.nextafter(steps, 0), rng.uniform(0, 3, 400), [0.0, 20.0, 1e300]])


def test_tanh_is_enclosed():
    rng = np.random.default_rng(1)
    z = near_the_worst(rng) * rng.choice([-1, 1], 781)
    net = sl.Feedforward((1, 1, 1), 1, "tanh")
    got = outputs(net, Enclosed(np.stack([z, np.ones_like(z)], axis=1)), np.ones((len(z), 1)))
    with localcontext() as context:
        context.prec = 400
        for value, h, rad in zip(z.tolist(), got.hi[:, 0].tolist(), got.rad[:, 0].tolist()):
            e = (2 * Decimal(max(-1000.0, min(1000.0, value)))).exp()
            miss = abs((e - 1) / (e + 1) - Decimal(h))
            assert miss <= Decimal(rad) and miss <= Decimal(6 * 2.0**-53 * abs(h)) + Decimal("1e-290")
    usual = np.abs(z) < 100
    assert (got.rad <= 1.01 * 2.0**-50 * np.abs(got.hi) + 1e-280)[usual].all()


def test_atanh_is_enclosed():
    """One unit, one step: B x = atanh(y) for x = D = 1."""
    rng = np.random.default_rng(2)
    h = np.concatenate([np.tanh(rng.uniform(-8, 8, 400)), 10.0 ** rng.uniform(-30, 0, 200), rng.uniform(-1, 1, 300), [0.0, 1 - 1e-9]])
    h = h[np.abs(h) < 1 - 1e-10]
    net = sl.Recurrent(1, 1, 1, 1, "tanh")
    theta, one = np.zeros((len(h), 3)), np.ones((len(h), 1))
    theta[:, net.slices["D"]] = 1
    use = np.zeros(theta.shape, dtype=bool)
    use[:, net.slices["B"]] = True
    (hi, lo, rad), proven, refused, near, _ = cpu.substitute_rows(
        net.shape, (theta, None, None), one, (h[:, None].copy(), None, None), use, False, np.zeros((len(h), 1)), 0.0
    )
    assert proven.all() and not refused.any() and not near.any()
    at = net.slices["B"].start
    with localcontext() as context:
        context.prec = 60
        for value, got, low, r in zip(h.tolist(), hi[:, at].tolist(), lo[:, at].tolist(), rad[:, at].tolist()):
            want = ((1 + Decimal(value)) / (1 - Decimal(value))).ln() / 2
            assert abs(want - Decimal(got) - Decimal(low)) <= Decimal(r)


@pytest.mark.parametrize("bias,shared", [(False, True), (("b",), True), (("c",), True), (True, False)], ids=str)
def test_rows_against_the_same_in_fractions(bias, shared):
    """The row form step by step in fractions, for the units and weights that were picked: its solution lies inside."""
    n, o, i, T = 5, 2, 1, 4
    net = sl.Recurrent(i, n, o, T, bias=bias)
    names = ("B", "D", "b", "c") if shared else ()
    drawn = sl.draw_trials(
        net, sl.only(net, *(["W"] if shared else ["W", "B", "D"])), 25, shared=[g for g in names if g in net.groups], seed=6
    )
    x, y = drawn.x.reshape(25, -1), drawn.y.reshape(25, -1)
    use = np.zeros((25, net.size), dtype=bool)
    learns = net.unpack(use)
    learns["W"][:, [0, 2, 3]] = np.random.default_rng(0).random((25, 3, n)) < 0.8
    learns["W"][:, [0, 2, 3], :3] = True
    if not shared:
        learns["B"][:, [0, 2, 3]] = True
    (hi, lo, rad), proven, *_, gap = cpu.substitute_rows(net.shape, (drawn.student, None, None), x, (y, None, None), use, shared)
    assert proven.mean() > 0.9
    whole = np.vectorize(Fraction, otypes=[object])
    first = int(shared)
    for g in np.flatnonzero(proven):
        moved = rad[g] > 0
        assert not (moved & ~use[g]).any() and (hi[g] == drawn.student[g])[~moved].all()
        w, places = net.unpack(whole(drawn.student[g])), net.unpack(np.arange(net.size))
        units = np.flatnonzero(net.unpack(moved)["W"].any(axis=1))
        others = np.setdiff1d(np.arange(n), units)
        h, table, activities = whole(np.zeros(n)), [], []
        for t in range(T):
            row = np.concatenate([h, whole(x[g, t * i : (t + 1) * i])])
            h = w["W"] @ h + w["B"] @ row[n:] + w.get("b", 0)
            if t >= first:
                right = whole(y[g, t * o : (t + 1) * o]) - w.get("c", 0) - w["D"][:, others] @ h[others]
                h[units] = exactly(w["D"][:, units], right)
                table.append(row)
                activities.append(h[units])
        for k, a in enumerate(units):
            flat = np.concatenate([places["W"][a], places["B"][a]])
            values, free = np.concatenate([w["W"][a], w["B"][a]]), moved[flat]
            b = w["b"][a] if "b" in w else 0
            rest = [s[k] - b - row[~free] @ values[~free] for s, row in zip(activities, table)]
            at = flat[free]
            assert inside(Enclosed(hi[g, at], lo[g, at], rad[g, at]), exactly([row[free] for row in table], rest))
    assert (gap[proven] < 1e-14).all()


def test_systems_against_arb():
    flint = pytest.importorskip("flint", reason="python-flint is an extra: fractions above say the same")
    rng = np.random.default_rng(4)
    M, b = rng.standard_normal((40, 6, 6)), rng.standard_normal((40, 6))
    w, proven = solved(M, b)
    assert proven.all()
    flint.ctx.prec = 200
    for g in range(40):
        truth = flint.arb_mat(M[g].tolist()).solve(flint.arb_mat([[v] for v in b[g].tolist()]))
        for j in range(6):
            assert abs(truth[j, 0] - flint.arb(w.hi[g, j]) - flint.arb(w.lo[g, j])) < flint.arb(w.rad[g, j])


def test_instruction_sets_and_threads_agree_bit_for_bit():
    """One product is rounded once or split in halves: the error is the same number."""
    net = sl.Recurrent(2, 9, 2, 5, "tanh", bias=True)
    drawn = sl.draw_trials(net, sl.only(net, "W", "c"), 70, shared=("B", "D", "b"), seed=2)
    flat = [part.reshape(70, -1) for part in (drawn.student, drawn.x, drawn.y)]
    planted = np.where(drawn.mask, flat[0] + 1e-3, flat[0])
    y = sl.outputs(net, planted, drawn.x).reshape(70, -1)
    first, now = None, cpu.isa()
    for isa in cpu.isas():
        for threads in (1, 3):
            cpu.set_isa(isa)
            got = cpu.substitute_rows(
                net.shape, (flat[0], None, None), flat[1], (y, None, None), drawn.mask, True, np.full(y.shape, 1e-13), 1e-13, threads
            )
            cpu.set_isa(now)
            assert got[1].mean() > 0.5
            first = got if first is None else first
            for one, other in zip((*first[0], *first[1:]), (*got[0], *got[1:])):
                np.testing.assert_array_equal(one, other)


def test_arguments_that_do_not_fit_are_errors():
    net = sl.Recurrent(1, 3, 2, 3)
    theta, x, y = np.zeros((4, net.size)), np.zeros((4, 3)), np.zeros((4, 6))
    use = np.ones((4, net.size), dtype=bool)
    for bad in [(theta[:, 1:], x, y, use), (theta, x[:3], y, use), (theta, x, y[:, 1:], use), (theta, x, y, use[:2])]:
        with pytest.raises(ValueError, match="wrong shape"):
            cpu.substitute_rows(net.shape, (bad[0], None, None), bad[1], (bad[2], None, None), bad[3], True)
    with pytest.raises(ValueError, match="rounding: wrong shape"):
        cpu.substitute_rows(sl.Recurrent(1, 3, 2, 3, "tanh").shape, (theta, None, None), x, (y, None, None), use, True)
    bad_place = np.full((4, 1), net.size, dtype=np.int32)
    with pytest.raises(ValueError, match="outside the network"):
        cpu.substitute_affine(net.shape, (theta, None, None), x, (y, None, None), bad_place, 0 * bad_place)
    with pytest.raises(ValueError, match="feedforward relu networks only"):
        cpu.pattern_proof(net.shape, 1, theta, x, y, use)
    with pytest.raises(ValueError, match="linear networks only"):
        cpu.outputs_mod(sl.Recurrent(1, 3, 2, 3, "relu").shape, theta.astype(int), x.astype(int))
