"""Numerical ranks against planted ranks and numpy's verdict, over sizes, scales and adversarial families; exact ranks mod p against
planted ranks and a slow elimination."""

import numpy as np
import pytest

import sublearn as sl
from sublearn import _cpu
from tests import adversarial_rank

SIZES = [
    (1, 1),
    (1, 9),
    (9, 1),
    (2, 2),
    (3, 5),
    (4, 4),
    (7, 8),
    (8, 8),
    (9, 8),
    (12, 10),
    (15, 16),
    (17, 17),
    (16, 33),
    (48, 31),
    (32, 32),
    (5, 130),
    (131, 140),
]


def planted(rng, batch, m, n, ranks, dtype=np.float64):
    """Matrices of the given exact ranks: integer factors with small entries, so the product is exact."""
    out = np.zeros((batch, m, n), dtype=dtype)
    for b, r in enumerate(ranks):
        out[b] = rng.integers(-4, 5, (m, r)) @ rng.integers(-4, 5, (r, n)) if r else 0
    return out


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("m,n", SIZES)
def test_equals_numpy_on_planted_ranks(m, n, dtype, isa):
    rng = np.random.default_rng(m * 100 + n)
    batch = 61
    a = planted(rng, batch, m, n, rng.integers(0, min(m, n) + 1, batch), dtype)
    got = sl.rank(a)
    assert got.dtype == np.int64
    np.testing.assert_array_equal(got, np.linalg.matrix_rank(a))
    np.testing.assert_array_equal(got, sl.rank(a, threads=1))
    for b in (0, 33, 60):
        assert sl.rank(a[b]) == got[b]
    np.testing.assert_array_equal(sl.rank(np.swapaxes(a, 1, 2)), got)


def families(rng, n, batch):
    """Adversarial matrices: name, stack."""

    def orth():
        return np.linalg.qr(rng.standard_normal((batch, n, n)))[0]

    def spectrum(s):
        return (orth() * s[:, None, :]) @ orth()

    for low in (1e-6, 1e-10, 1e-13):
        s = np.zeros((batch, n))
        s[:, : n // 2] = np.logspace(0, np.log10(low), n // 2)
        yield f"graded to {low:g}, rank n/2", spectrum(s)
    yield "graded to 1e-20, no gap", spectrum(np.logspace(0, -20, n)[None] * np.ones((batch, 1)))
    s = np.ones((batch, n))
    s[:, -1] = 10.0 ** rng.uniform(-17, -11, batch)
    yield "one singular value anywhere", spectrum(s)
    s = s.copy()
    s[:, -1] = n * 2.2e-16 * 10.0 ** rng.uniform(-0.5, 0.5, batch)
    yield "one singular value at the tolerance", spectrum(s)
    for angle in (1.2, 0.9, 0.6, 0.3):
        c, sn = np.cos(angle), np.sin(angle)
        kahan = np.diag(sn ** np.arange(n)) @ (np.triu(-c * np.ones((n, n)), 1) + np.eye(n))
        yield f"Kahan {angle}", kahan * (1 + 1e-14 * rng.standard_normal((batch, n, n)))
    scale = 10.0 ** rng.uniform(-8, 8, (batch, n))
    normal = rng.standard_normal((batch, n, n))
    yield "columns scaled", normal * scale[:, None, :]
    yield "rows scaled", normal * scale[:, :, None]
    low_rank = rng.standard_normal((batch, n, n // 2)) @ rng.standard_normal((batch, n // 2, n))
    yield "low rank, rows scaled", low_rank * scale[:, :, None]
    yield "entries -1, 0, 1", rng.integers(-1, 2, (batch, n, n)).astype(float)
    yield "sparse", rng.integers(0, 2, (batch, n, n)) * (rng.random((batch, n, n)) < 2.0 / n).astype(float)
    grid = np.arange(n)
    yield "Hilbert", np.repeat((1.0 / (grid[:, None] + grid + 1.0))[None], 4, 0)
    yield (
        "two columns nearly equal",
        np.concatenate([normal[:, :, 1:], normal[:, :, 1:2] * (1 + 1e-9 * rng.standard_normal((batch, n, 1)))], 2),
    )
    for size in (1e-300, 1e-160, 1e150, 1e300):
        yield f"scaled by {size:g}", low_rank / np.abs(low_rank).max((1, 2), keepdims=True) * size


@pytest.mark.parametrize("n", [4, 8, 16, 24])
def test_certified_is_never_wrong_and_verdicts_are_numpys(n, isa):
    rng = np.random.default_rng(n)
    certified_total = count = 0
    for name, a in families(rng, n, 512):
        a = np.ascontiguousarray(a)
        ranks, certified, finite = _cpu.rank_real(a, n * np.finfo(float).eps, 0)
        expected = np.linalg.matrix_rank(a)
        assert finite.all()
        wrong = (certified == 1) & (ranks != expected)
        assert not wrong.any(), f"{name}: {wrong.sum()} certified and wrong"
        np.testing.assert_array_equal(sl.rank(a), expected, err_msg=name)
        certified_total += certified.sum()
        count += len(a)
    assert certified_total > 0.5 * count  # the certificate decides most of even this collection


def test_adversarial_families_without_a_disagreement():
    """A small run of `python -m tests.adversarial_rank`, all instruction sets."""
    found = adversarial_rank.count(12, seed=1, sizes=(4, 8, 12, 16, 24, 32))
    assert len(found) == 6 * len(_cpu.isas())
    for name, counts in found.items():
        assert counts["matrices"] == 12 * 15 and counts["certified"] > 0.4 * counts["matrices"], name
        assert counts["certified and wrong"] == counts["different where clear"] == 0, name


def test_verdict_does_not_depend_on_neighbours(isa):
    """Matrices that run out of rank in other steps than their neighbours in the pack: the same verdict and proof alone."""
    rng = np.random.default_rng(8)
    for n in (3, 8, 13, 16):
        a = np.concatenate([stack[:9] for _, stack in adversarial_rank.families(rng, n, 9)])
        a = np.ascontiguousarray(a[rng.permutation(len(a))])
        together = _cpu.rank_real(a, n * np.finfo(float).eps, 1)
        alone = [_cpu.rank_real(a[b : b + 1], n * np.finfo(float).eps, 1) for b in range(len(a))]
        for k in range(3):
            np.testing.assert_array_equal(together[k], np.concatenate([one[k] for one in alone]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_verdict_does_not_depend_on_the_lane(dtype, isa):
    """The same matrices in another order, so with other neighbours and at other places of their packs: the same verdicts and proofs."""
    rng = np.random.default_rng(9)
    for m, n in ((6, 6), (11, 13), (20, 20), (33, 24)):
        size = max(m, n)
        a = np.concatenate([stack[:8, :m, :n] for _, stack in adversarial_rank.families(rng, size, 8)])
        a = np.ascontiguousarray(np.clip(a, -1e37, 1e37)[: len(a) // 16 * 16].astype(dtype))
        first = _cpu.rank_real(a, size * np.finfo(dtype).eps, 1)
        for _ in range(3):
            order = rng.permutation(len(a))
            other = _cpu.rank_real(a[order], size * np.finfo(dtype).eps, 2)
            for k in range(3):
                np.testing.assert_array_equal(first[k][order], other[k])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [17, 20, 34])
def test_proofs_at_their_limit_do_not_depend_on_neighbours(n, dtype, isa):
    """Regular matrices with 1 / ||A^-1|| around what the proof asks for, beside matrices that skip rows anywhere: the same verdicts and
    proofs in any order."""
    rng = np.random.default_rng(n)
    batch, tolerance = 192, n * float(np.finfo(dtype).eps)
    left, right = (np.linalg.qr(rng.standard_normal((batch, n, n)))[0] for _ in range(2))
    values = np.ones((batch, n))
    values[:, -1] = 2 * tolerance * np.sqrt(n) * 10.0 ** rng.uniform(-0.3, 0.6, batch)
    a = (left * values[:, None, :]) @ np.swapaxes(right, 1, 2)
    a[::4] *= rng.random((batch // 4, n, 1)) < 0.5
    a = np.ascontiguousarray(a.astype(dtype))
    first = _cpu.rank_real(a, tolerance, 1)
    assert 0.3 < first[1].mean() < 0.97
    for _ in range(6):
        order = rng.permutation(batch)
        other = _cpu.rank_real(a[order], tolerance, 1)
        for k in range(3):
            np.testing.assert_array_equal(first[k][order], other[k])


@pytest.mark.parametrize("n", [6, 15, 24, 40])
def test_rows_that_lanes_skip_at_different_places(n, isa):
    """Copies of earlier rows and zero rows anywhere: planted ranks, all of them proven."""
    rng = np.random.default_rng(n)
    a = rng.standard_normal((96, n, n + 3))
    ranks = np.full(96, n)
    for b in range(96):
        for j in rng.choice(np.arange(1, n), rng.integers(0, n // 2), replace=False):
            a[b, j] = a[b, rng.integers(0, j)] * rng.integers(0, 3)
        ranks[b] = len(
            {row.tobytes() for row in np.abs(a[b]) / np.maximum(np.abs(a[b]).max(1, keepdims=True), 1e-9)} - {bytes(8 * (n + 3))}
        )
    got, certified, _ = _cpu.rank_real(a, (n + 3) * np.finfo(float).eps, 0)
    np.testing.assert_array_equal(got, ranks)
    assert certified.mean() > 0.95


@pytest.mark.parametrize("m,n", [(3, 4), (8, 8), (9, 17), (33, 40), (64, 64), (127, 127), (50, 128), (129, 60)])
def test_certified_float32_is_the_verdict_of_a_double_svd(m, n, isa):
    """Ranks of every size in one batch, the next singular value from nothing to 30 times the tolerance, rows zero or repeated: what is
    certified has the rank that the float32 matrix itself has, unless a singular value lies within 10 % of the tolerance."""
    rng = np.random.default_rng([m, n])
    batch, full, tolerance = 24, min(m, n), max(m, n) * float(np.finfo(np.float32).eps)
    left, right = (np.linalg.qr(rng.standard_normal((batch, k, full)))[0] for k in (m, n))
    ranks = rng.integers(1, full + 1, batch)
    values = np.where(np.arange(full) < ranks[:, None], 10.0 ** -rng.uniform(0, 1, (batch, full)), 0.0)
    beside = np.arange(full) == ranks[:, None]
    values = np.where(beside, tolerance * values.max(1, keepdims=True) * 10.0 ** rng.uniform(-2, 1.5, (batch, 1)), values)
    a = (left * values[:, None, :]) @ np.swapaxes(right, 1, 2)
    a[::4] *= rng.random((len(a[::4]), m, 1)) < 0.7
    a[1::4, rng.permutation(m)[: m // 3]] = 2 * a[1::4, rng.permutation(m)[: m // 3]]
    a = np.ascontiguousarray(a.astype(np.float32))
    s = np.linalg.svd(a.astype(float), compute_uv=False)
    ratio = s / (tolerance * np.maximum(s[:, :1], 1e-30))
    got, certified, _ = _cpu.rank_real(a, tolerance, 0)
    wrong = (certified == 1) & (got != (ratio > 1).sum(1)) & ~(np.abs(ratio - 1) < 0.1).any(1)
    assert not wrong.any(), (got[wrong], (ratio > 1).sum(1)[wrong])
    assert certified.mean() > 0.4
    np.testing.assert_array_equal(_cpu.rank_real(a, tolerance, 1)[1], certified)


@pytest.mark.parametrize("n", [8, 16, 32, 64, 128])
def test_rows_of_equal_numbers_are_not_certified_one_rank_short(n, isa):
    """c_j (1, .., 1) plus a second singular value 2 to 10 % above the tolerance: sums of equal float32 numbers drift, the proof must
    not."""
    rng = np.random.default_rng(n)
    batch, tolerance = 4096, n * float(np.finfo(np.float32).eps)
    level, c = rng.uniform(0.5, 1, (batch, 1, 1)), rng.uniform(0.2, 2, (batch, 3, 1))
    across = np.full(n, -1.0 / n)
    across[0] += 1
    along = c * rng.choice([-1, 1], (batch, 1, 1)) * [[0], [1], [1]]
    length = np.linalg.norm(c, axis=1, keepdims=True)
    beside = along - (along * c).sum(1, keepdims=True) / length**2 * c
    second = (1 + rng.uniform(0.02, 0.1, (batch, 1, 1))) * tolerance * length * level * np.sqrt(n)
    a = c * level + second * along / np.linalg.norm(beside, axis=1, keepdims=True) * across / np.linalg.norm(across)
    a = np.ascontiguousarray(a.astype(np.float32))
    s = np.linalg.svd(a.astype(float), compute_uv=False)
    ranks, certified, _ = _cpu.rank_real(a, tolerance, 0)
    above = s[:, 1] > 1.015 * tolerance * s[:, 0]
    assert above.mean() > 0.6
    assert not (above & (certified == 1) & (ranks < 2)).any()


def test_certificate_covers_ordinary_data(isa):
    rng = np.random.default_rng(5)
    for m, n in ((8, 8), (16, 16), (32, 32), (12, 10), (64, 40)):
        a = np.concatenate([rng.standard_normal((2000, m, n)), rng.standard_normal((2000, m, 3)) @ rng.standard_normal((2000, 3, n))])
        ranks, certified, _ = _cpu.rank_real(np.ascontiguousarray(a), max(m, n) * np.finfo(float).eps, 0)
        assert certified.mean() > 0.99
        np.testing.assert_array_equal(ranks[:2000][certified[:2000] == 1], min(m, n))
        np.testing.assert_array_equal(ranks[2000:][certified[2000:] == 1], 3)


def test_rtol_large_sizes_and_edges():
    rng = np.random.default_rng(6)
    a = np.diag([1.0, 0.5, 1e-3, 1e-9])
    assert [int(sl.rank(a, rtol=t)) for t in (0.9, 1e-2, 1e-6, 1e-12, 0.0)] == [1, 2, 3, 4, 4]
    for m, n in ((200, 150), (600, 90)):  # the kernel, and LAPACK's SVD
        np.testing.assert_array_equal(sl.rank(rng.standard_normal((3, m, 7)) @ rng.standard_normal((3, 7, n))), 7)
    np.testing.assert_array_equal(sl.rank(np.zeros((5, 3, 4))), 0)
    assert sl.rank(np.zeros((2, 0, 4))).tolist() == [0, 0]
    np.testing.assert_array_equal(sl.rank(np.array([[[5e-324]], [[0.0]]])), [1, 0])
    for bad in (np.nan, np.inf, -np.inf):
        for n in (4, 200, 600):
            a = np.ones((3, n, n))
            a[2, 1, 1] = bad
            with pytest.raises(ValueError, match="a: expected finite numbers"):
                sl.rank(a)
    for dtype in (np.complex128, object, "M8[s]", np.longdouble):
        with pytest.raises(TypeError, match="a: expected floats of at most 64 bits, integers or bools"):
            sl.rank(np.ones((2, 2)).astype(dtype))
    with pytest.raises(ValueError, match="a: expected shape"):
        sl.rank(np.ones(3))
    with pytest.raises(ValueError, match="rtol"):
        sl.rank(np.ones((2, 2)), rtol=-1.0)
    for rtol in ("small", [1e-3, 1e-2]):
        with pytest.raises(TypeError, match="rtol: expected None or a finite number >= 0"):
            sl.rank(np.ones((2, 2)), rtol=rtol)


@pytest.mark.parametrize("axes", [(), (3,), (2, 0), (0,), (2, 3, 2)])
def test_any_batch_axes_and_types(axes):
    rng = np.random.default_rng(7)
    a = rng.integers(-2, 3, (*axes, 6, 5))
    for dtype in (np.int8, np.int64, np.uint8, bool, np.float16, np.float32, ">f4", ">f8", ">i2", np.float64):
        b = a.astype(dtype)
        found = sl.rank(b)
        expected = np.linalg.matrix_rank(b.astype(float)) if b.size else np.zeros(axes, dtype=np.int64)
        assert np.shape(found) == axes and (found == expected).all() and found.dtype == np.int64, dtype
    assert np.shape(sl.rank_mod(a)) == axes and (sl.rank_mod(a) == sl.rank(a)).all()  # minors are far below p
    assert (sl.rank(np.swapaxes(a, -1, -2)) == sl.rank(a)).all() and np.shape(sl.rank(np.zeros((*axes, 0, 4)))) == axes


def test_the_precision_of_half_floats_counts():
    a = np.array([[1, 1], [1, 1 + 2.0**-10]], dtype=np.float16)  # full rank in the numbers given, and not beyond their rounding
    assert sl.rank(a) == 1 and sl.rank(a.astype(np.float32)) == 2 and sl.rank(a, rtol=1e-5) == 2


def test_an_absolute_tolerance():
    rng = np.random.default_rng(8)
    a = rng.standard_normal((4, 3, 7, 5)) * 10.0 ** rng.integers(-3, 3, (4, 3, 1, 5))
    for tol in (0, 0.1, 1.0, np.full((4, 3), 0.5), np.linspace(0, 2, 12).reshape(4, 3), np.array([0.1, 1, 10])):
        assert (sl.rank(a, tol=tol) == np.linalg.matrix_rank(a, tol=np.broadcast_to(tol, (4, 3)))).all()
    assert sl.rank(a[0, 0].astype(np.float32), tol=1) == np.linalg.matrix_rank(a[0, 0].astype(np.float32), tol=1)
    for bad, kind, text in (
        (-1, ValueError, "tol: expected finite numbers of at least 0"), (np.ones(4), ValueError, r"an array of shape \[4, 3\], got \[4\]"),
        ("small", TypeError, "tol: expected a number"), (np.nan, ValueError, "tol"),
    ):  # fmt: skip
        with pytest.raises(kind, match=text):
            sl.rank(a, tol=bad)
    with pytest.raises(ValueError, match="tol: expected None beside rtol"):
        sl.rank(a, 0.1, tol=0.1)
    with pytest.raises(ValueError, match="a: expected finite numbers"):
        sl.rank(np.full((2, 2), np.inf), tol=1)


PRIMES = [2, 3, 5, 251, 65537, 2147483629, 2147483647]


def slow_rank_mod(a, p):
    a = [[int(v) % p for v in row] for row in a]
    rank = 0
    for c in range(len(a[0])):
        pivot = next((i for i in range(rank, len(a)) if a[i][c]), None)
        if pivot is None:
            continue
        a[rank], a[pivot] = a[pivot], a[rank]
        inverse = pow(a[rank][c], p - 2, p) if p > 2 else 1
        for i in range(rank + 1, len(a)):
            f = a[i][c] * inverse % p
            a[i] = [(x - f * y) % p for x, y in zip(a[i], a[rank])]
        rank += 1
        if rank == len(a):
            break
    return rank


@pytest.mark.parametrize("p", PRIMES)
@pytest.mark.parametrize("m,n", SIZES[:11])
def test_rank_mod_equals_slow_elimination(m, n, p, isa):
    rng = np.random.default_rng(m * n + p % 1000)
    batch = 7
    left = [rng.integers(0, p, (m, r)) for r in rng.integers(0, min(m, n) + 1, batch)]
    a = np.array(
        [
            [[sum(int(x) * int(y) for x, y in zip(row, col)) % p for col in rng.integers(0, p, (q.shape[1], n)).T] for row in q]
            if q.shape[1]
            else np.zeros((m, n), int).tolist()
            for q in left
        ],
        dtype=np.int64,
    )
    expected = [slow_rank_mod(one.tolist(), p) for one in a]
    np.testing.assert_array_equal(sl.rank_mod(a, p), expected)
    np.testing.assert_array_equal(sl.rank_mod(a, p, threads=1), expected)
    np.testing.assert_array_equal(sl.rank_mod(a - p, p), expected)  # negatives are reduced


def test_rank_mod_planted_and_large(isa):
    """[[U, U B], [A U, A U B]] with U upper triangular and a non-zero diagonal has the rank of U exactly, mod every prime."""
    rng = np.random.default_rng(9)
    for size, r in ((40, 17), (130, 64), (300, 211)):
        for p in (2147483647, 2, 65537):
            u = np.triu(rng.integers(0, p, (r, r)))
            np.fill_diagonal(u, rng.integers(1, p, r))
            mix = rng.integers(0, 2, (size - r, r))
            tall = np.concatenate([u, mix @ u % p])
            a = np.concatenate([tall, tall @ rng.integers(0, 2, (r, size - r)) % p], axis=1)
            assert sl.rank_mod(a[rng.permutation(size)][:, rng.permutation(size)], p) == r


def test_rank_mod_depends_on_p_and_rejects_bad_moduli():
    a = np.array([[6, 0], [0, 35]])
    assert [int(sl.rank_mod(a, p)) for p in (2, 3, 5, 7, 11)] == [1, 1, 1, 1, 2]
    assert sl.rank_mod(np.array([[-(2**63)]]), 3) == 1
    assert sl.rank_mod(np.array([[255]], dtype=np.uint8), 257) == 1
    assert sl.rank_mod(np.array([[2**64 - 1]], dtype=np.uint64), 5) == 0  # 2**64 - 1 = 15 * ...
    for p in (1, 0, -7, 2**31, 2**31 + 11):
        with pytest.raises(ValueError, match="p: expected a whole number from 2"):
            sl.rank_mod(a, p)
    for p in (4, 2**31 - 3, 1_000_001):
        with pytest.raises(ValueError, match="p: expected a prime below"):
            sl.rank_mod(a, p)
    with pytest.raises(TypeError, match="a: expected an integer dtype"):
        sl.rank_mod(a.astype(float))
    with pytest.raises(ValueError, match="a: expected shape"):
        sl.rank_mod(np.zeros(2, int))


def plant_mod(rng, m, n, r, p):
    """[[U, U B], [A U, A U B]] mod p, U r x r upper triangular with a non-zero diagonal: rank r exactly. Rows and columns shuffled."""
    if r == 0:
        return np.zeros((m, n), dtype=np.int64)
    u = np.triu(rng.integers(0, p, (r, r)))
    np.fill_diagonal(u, rng.integers(1, p, r))

    def times(a, b):
        out = np.zeros((len(a), b.shape[1]), dtype=np.int64)
        for k in range(a.shape[1]):
            out = (out + a[:, k, None] * b[None, k] % p) % p
        return out

    tall = np.concatenate([u, times(rng.integers(0, p, (m - r, r)), u)])
    whole = np.concatenate([tall, times(tall, rng.integers(0, p, (r, n - r)))], axis=1)
    return np.ascontiguousarray(whole[rng.permutation(m)][:, rng.permutation(n)])


# Around the lanes (4, 8, 16), three pivots at a time, blocks of 48 columns, tiles of 3 and 4 rows, the padded row length (32, 64), and
# the largest matrix that still goes into lanes.
MOD_SIZES = [
    (1, 1),
    (1, 40),
    (40, 1),
    (2, 3),
    (3, 3),
    (4, 4),
    (5, 4),
    (15, 17),
    (16, 16),
    (31, 33),
    (32, 32),
    (33, 32),
    (48, 49),
    (64, 64),
    (12, 100),
    (100, 12),
    (49, 97),
    (100, 101),
    (145, 144),
    (7, 400),
    (400, 7),
]


@pytest.mark.parametrize("p", [2, 3, 65537, 2147483647])
@pytest.mark.parametrize("m,n", MOD_SIZES)
def test_rank_mod_planted_in_every_layout(m, n, p, isa):
    rng = np.random.default_rng([m, n, p])
    full = min(m, n)
    batch = 19 if full > 64 else 37  # more than a pack and less than two, or a little over a pack: lanes and blocks in one call
    ranks = rng.integers(0, full + 1, batch)
    ranks[:4] = full, 0, full, full - 1
    a = np.stack([plant_mod(rng, m, n, r, p) for r in ranks])
    np.testing.assert_array_equal(sl.rank_mod(a, p), ranks)
    np.testing.assert_array_equal(sl.rank_mod(a, p, threads=1), ranks)
    assert sl.rank_mod(a[5], p) == ranks[5]  # a matrix alone takes another path than a pack
    np.testing.assert_array_equal(sl.rank_mod(a[:16], p), ranks[:16])


@pytest.mark.parametrize("size", [(129, 129), (200, 310), (310, 200), (384, 385)])
@pytest.mark.parametrize("p", [2, 3, 65537, 2147483647])
def test_rank_mod_blocks_on_several_threads(size, p, isa):
    rng = np.random.default_rng([*size, p])
    for r in (0, 1, 47, 48, 49, 97, min(size)):
        a = plant_mod(rng, *size, r, p)
        assert [int(sl.rank_mod(a, p, threads=t)) for t in (1, 2, 5)] == [r] * 3


@pytest.mark.parametrize("p", [2, 3, 2147483647])
@pytest.mark.parametrize("n", [3, 8, 17, 40, 70, 150])
def test_rank_mod_where_pivots_differ_by_matrix(n, p, isa):
    """Neighbours in a pack whose pivots lie in different places, and matrices whose leading minors all vanish."""
    rng = np.random.default_rng([n, p])
    eye, cases = np.eye(n, dtype=np.int64), []
    cases.append((eye, n))
    cases.append((eye[::-1], n))  # zero on the diagonal everywhere
    cases.append((np.roll(eye, 1, axis=1), n))
    cases.append((np.full((n, n), p - 1), 1))  # largest entries
    cases.append((np.tril(np.full((n, n), p - 1)), n))
    cases.append((np.triu(np.full((n, n), p - 1), 1), n - 1))  # nilpotent: first column zero
    cases.append((np.tril(np.full((n, n), 1), -1)[::-1], n - 1))
    cases.append((np.zeros((n, n), dtype=np.int64), 0))
    last = np.zeros((n, n), dtype=np.int64)
    last[-1, -1] = 1
    cases.append((last, 1))  # the only pivot is the last entry
    halves = np.zeros((n, n), dtype=np.int64)
    halves[:, n // 2 :] = plant_mod(rng, n, n - n // 2, (n - n // 2) // 2, p)
    cases.append((halves, (n - n // 2) // 2))  # the first columns have no pivot
    twice = plant_mod(rng, n, n, n // 2, p)
    twice[1::2] = twice[::2][: n // 2]
    cases.append((twice, slow_rank_mod(twice.tolist(), p)))
    for keep in (1, n // 3, n - 1):
        some = eye[rng.permutation(n)].copy()
        some[rng.permutation(n)[: n - keep]] = 0
        cases.append((some, keep))
    order = rng.permutation(3 * len(cases)) % len(cases)
    a = np.stack([cases[k][0] for k in order])
    expected = [cases[k][1] for k in order]
    np.testing.assert_array_equal(sl.rank_mod(a, p), expected)
    np.testing.assert_array_equal([sl.rank_mod(one, p) for one in a], expected)


def test_rank_mod_does_not_depend_on_neighbours_or_order(isa):
    rng = np.random.default_rng(4)
    a = np.stack([plant_mod(rng, 20, 24, r, 65537) for r in rng.integers(0, 21, 50)])
    ranks = sl.rank_mod(a, 65537)
    order = rng.permutation(50)
    np.testing.assert_array_equal(sl.rank_mod(a[order], 65537), ranks[order])
    np.testing.assert_array_equal([sl.rank_mod(one, 65537) for one in a], ranks)
    np.testing.assert_array_equal(sl.rank_mod(a.transpose(0, 2, 1), 65537), ranks)


def test_rank_mod_of_bools_long_integers_and_np_matrix():
    ring = np.eye(4, dtype=bool) ^ np.roll(np.eye(4, dtype=bool), 1, axis=1)
    assert sl.rank_mod(ring, 2) == sl.rank_mod(ring.astype(int), 2) == 3
    assert sl.rank_mod(np.stack([ring, np.eye(4, dtype=bool)]), 2).tolist() == [3, 4]
    assert sl.rank_mod(ring.astype(int).view(np.matrix), 2) == 3 and sl.rank(np.eye(3).view(np.matrix)) == 3
    for p in (2, 7, 2**31 - 1):
        long = np.array([[2**70 * p + 1, -(10**40)], [2 * p, p**9]], dtype=object)
        small = np.array([[int(entry) % p for entry in row] for row in long])
        assert sl.rank_mod(long, p) == sl.rank_mod(small, p)
        assert sl.rank_mod(np.array([[p**5, 3 * p**7], [-(p**6), 0]], dtype=object), p) == 0
    assert sl.rank_mod([[2**70, 1], [1, 0]], 7) == 2
    mixed = np.array([[np.int8(5), np.uint64(2**64 - 1)], [True, -(2**80)]], dtype=object)
    assert sl.rank_mod(mixed, 2**31 - 1) == sl.rank_mod(np.array([[5, (2**64 - 1) % (2**31 - 1)], [1, -(2**80) % (2**31 - 1)]]))
    with pytest.raises(TypeError, match=r"^a: expected integers, got 0\.5 \(float\)"):
        sl.rank_mod(np.array([[1, 0.5]], dtype=object), 7)
    with pytest.raises(ValueError, match="^a: expected an array, got a ragged list"):
        sl.rank_mod([[1, 2], [3]], 7)
