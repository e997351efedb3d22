"""Matroids against brute force over all subsets: planted ranks, axioms, optima and certificates."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sublearn import _cpu
from sublearn.numerics.matroid import (
    Cap,
    Infeasible,
    Laminar,
    Tableau,
    cheapest_basis,
    cheapest_capped,
    cheapest_common,
    closure,
    crossing,
    rank,
    whole_costs,
)
from tests.twins import ranks as twin

PRIMES = (2, 3, 7, _cpu.PRIMES[0])


def matrix(rng, rows, n, r, p):
    """[rows, n] of rank at most r mod p, with a zero column and two parallel ones now and then."""
    left, right = rng.integers(0, p, (rows, r)), rng.integers(0, p, (r, n))
    right[:, rng.random(n) < 0.1] = 0
    right[:, 1] = np.where(rng.random() < 0.3, right[:, 0] * 2 % p, right[:, 1])
    product = left.astype(object) @ right.astype(object) % p if r else np.zeros((rows, n), dtype=object)
    return product.astype(np.int64)


def subsets(n):
    return ((np.arange(2**n)[:, None] >> np.arange(n)) & 1).astype(bool)


def all_ranks(columns, p):
    """{mask bytes: rank} by the slow twin."""
    return {m.tobytes(): twin.rank_mod(columns[:, m].astype(object), p) if m.any() else 0 for m in subsets(columns.shape[1])}


def laminar_family(rng, n):
    """Caps that are nested or disjoint, by cutting intervals of a shuffled order."""
    order, caps, open_ = rng.permutation(n), [], [(0, n)]
    while open_ and len(caps) < 6:
        a, b = open_.pop(rng.integers(len(open_)))
        if rng.random() < 0.7:
            members = np.zeros(n, dtype=bool)
            members[order[a:b]] = True
            caps.append(Cap(members, int(rng.integers(0, max(2, (b - a + 3) // 2)))))
        if b - a > 1:
            cut = int(rng.integers(a + 1, b))
            open_ += [(a, cut), (cut, b)]
    return caps


def random_caps(rng, n):
    return [Cap(rng.random(n) < rng.uniform(0.2, 0.7), int(rng.integers(0, 4))) for _ in range(rng.integers(2, 6))]


def costs(rng, n):
    kind = rng.integers(3)
    return rng.integers(0, 3, n).astype(float) if kind == 0 else rng.standard_normal(n) * 10.0 ** rng.integers(-3, 6)


def obeys(masks, caps):
    good = np.ones(len(masks), dtype=bool)
    for cap in caps:
        good &= (masks & cap.members).sum(axis=1) <= cap.most
    return good


# The matroid of columns


@pytest.mark.parametrize("p", PRIMES)
def test_axioms_and_ranks_equal_the_twin(p):
    rng = np.random.default_rng(p % 1000)
    for _ in range(8):
        n, r = 6, int(rng.integers(0, 5))
        columns = matrix(rng, 4, n, r, p)
        tableau, truth = Tableau(columns, p), all_ranks(columns, p)
        masks = subsets(n)
        ranks = {m.tobytes(): rank(tableau, m) for m in masks}
        assert ranks == truth
        independent = [m for m in masks if truth[m.tobytes()] == m.sum()]
        assert not independent[0].any()
        kept = {m.tobytes() for m in independent}
        for m in independent:
            for e in np.flatnonzero(m):
                smaller = m.copy()
                smaller[e] = False
                assert smaller.tobytes() in kept
        for a, b in itertools.product(independent, independent):
            if a.sum() < b.sum():
                assert any((a | (np.arange(n) == e)).tobytes() in kept for e in np.flatnonzero(b & ~a))
        for a, b in itertools.product(masks[::5], masks[::3]):
            assert truth[(a | b).tobytes()] + truth[(a & b).tobytes()] <= truth[a.tobytes()] + truth[b.tobytes()]


@given(st.integers(0, 2**32 - 1), st.sampled_from(PRIMES))
@settings(max_examples=80, deadline=None)
def test_tableau_after_random_steps_equals_ranks_of_the_matrix(seed, p):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 9))
    columns = matrix(rng, int(rng.integers(1, 6)), n, int(rng.integers(0, 5)), p)
    tableau = Tableau(columns, p)

    def true_rank(members):
        return twin.rank_mod(columns[:, sorted(members)].astype(object), p) if len(members) else 0

    members = set()
    for _ in range(12):
        e = int(rng.integers(n))
        if e in members and rng.random() < 0.3:
            tableau.release(e)
            members.remove(e)
        else:
            grows = true_rank(members | {e}) > len(members)
            assert tableau.add(e) == grows
            members |= {e} if grows else set()
        assert set(np.flatnonzero(tableau.members)) == members
        addable = tableau.addable()
        for f in range(n):
            assert addable[f] == (true_rank(members | {f}) > len(members))
            if f in members or addable[f]:
                with pytest.raises(ValueError, match="depends on the members"):
                    tableau.circuit(f)
            else:
                circuit = set(tableau.circuit(f).tolist())
                assert circuit == {y for y in members if true_rank(members - {y} | {f}) == len(members)}
                some = sorted(circuit)
                assert tableau.span(np.array(some, dtype=int))[f]
                if some:
                    other = tableau.copy()
                    other.exchange(some[0], f)
                    assert set(np.flatnonzero(other.members)) == members - {some[0]} | {f}
    mask = rng.random(n) < 0.5
    closed = closure(tableau, mask)
    assert [true_rank({*np.flatnonzero(mask), f}) == rank(tableau, mask) for f in range(n)] == closed.tolist()


def test_compress_keeps_everything():
    rng = np.random.default_rng(1)
    columns = matrix(rng, 9, 8, 3, 101)
    tableau = Tableau(columns, 101)
    basis = [e for e in range(8) if tableau.add(e)]
    before = [rank(tableau, m) for m in subsets(8)]
    tableau.compress()
    assert tableau.table.shape == (3, 8) and np.flatnonzero(tableau.members).tolist() == basis
    assert [rank(tableau, m) for m in subsets(8)] == before
    for e in basis:
        assert tableau.table[tableau.row_of[e], e] == 1 and np.count_nonzero(tableau.table[:, e]) == 1


def test_residues_near_the_modulus_do_not_overflow():
    p = _cpu.PRIMES[0]
    columns = np.full((3, 3), p - 1) - np.diag([1, 2, 3])
    assert rank(Tableau(columns, p), np.ones(3, dtype=bool)) == twin.rank_mod(columns.astype(object), p) == 3
    assert rank(Tableau(columns - 5 * p * 1, p), np.ones(3, dtype=bool)) == 3


@pytest.mark.parametrize("p", PRIMES)
@pytest.mark.parametrize("rows, n, r", [(1, 2, 1), (5, 40, 3), (40, 5, 5), (30, 90, 17), (64, 64, 64)])
def test_the_reduced_table_writes_every_column_by_the_members(rows, n, r, p):
    """Column e = sum over the members of its entry times that member's column, in whole numbers; the order decides who is a member."""
    rng = np.random.default_rng(rows + n)
    for entries in (matrix(rng, rows, n, r, p), rng.choice([0, 1, p - 1], (rows, n)), np.zeros((rows, n), dtype=np.int64)):
        columns, order = np.asarray(entries, dtype=np.int64), rng.permutation(n)
        tableau = Tableau(columns, p)
        assert tableau.extend(order) == twin.rank_mod(columns.astype(object), p) == tableau.members.sum()
        assert tableau.extend(order) == 0  # nothing is left to add
        held = tableau.held >= 0
        assert not tableau.table[~held].any() and (tableau.row_of[tableau.held[held]] == np.flatnonzero(held)).all()
        whole = columns.astype(object)
        assert ((whole[:, tableau.held[held]] @ tableau.table[held].astype(object) - whole) % p == 0).all()
        one_by_one = Tableau(columns, p)
        assert [e for e in order if one_by_one.add(int(e))] == [e for e in order if tableau.row_of[e] >= 0]
        assert (one_by_one.table == tableau.table).all()


def test_arguments_of_the_compiled_reduction():
    table, held, row_of = np.ones((2, 3), dtype=np.int64), np.full(2, -1), np.full(3, -1)
    with pytest.raises(ValueError, match="order: outside"):
        _cpu.reduce_mod(table, held, row_of, np.array([3]), 7, 2)
    with pytest.raises(ValueError, match="prime"):
        _cpu.reduce_mod(table, held, row_of, np.array([0]), 8, 2)
    with pytest.raises(ValueError, match="held"):
        _cpu.reduce_mod(table, held[:1], row_of, np.array([0]), 7, 2)
    with pytest.raises(TypeError):  # changed in place: no copy is taken for it
        _cpu.reduce_mod(table.T.copy().T, held, row_of, np.array([0]), 7, 2)
    assert _cpu.reduce_mod(table, held, row_of, np.array([2, 1, 0]), 7, 2) == 1 and row_of.tolist() == [-1, -1, 0]
    for shape in ((3, 0, 4), (3, 4, 0), (3, 0, 0)):  # ranks of matrices without entries
        for p in PRIMES:
            assert _cpu.rank_mod(np.zeros(shape, dtype=np.int64), p).tolist() == [0, 0, 0]


# Optima


def test_greedy_is_cheapest_of_all_bases():
    rng = np.random.default_rng(2)
    for _ in range(150):
        p, n = PRIMES[rng.integers(4)], 7
        columns = matrix(rng, 4, n, int(rng.integers(1, 5)), p)
        tableau, cost, masks = Tableau(columns, p), costs(rng, n), subsets(n)
        allowed = rng.random(n) < 0.8
        ranks = np.array([rank(tableau, m) for m in masks])
        top = ranks[(masks & ~allowed).sum(axis=1) == 0].max()
        bases = masks[(ranks == top) & (masks.sum(axis=1) == top) & ((masks & ~allowed).sum(axis=1) == 0)]
        best = cheapest_basis(tableau, cost, allowed)
        assert any((best == b).all() for b in bases)
        assert cost[best].sum() <= (bases @ cost).min() + 1e-9 * np.abs(cost).max()


def test_laminar_rank_equals_the_largest_subset_within_the_caps():
    rng = np.random.default_rng(3)
    for _ in range(60):
        n = 7
        caps, masks = laminar_family(rng, n), subsets(n)
        laminar, good = Laminar(n, caps), obeys(masks, caps)
        for m in masks[rng.integers(0, len(masks), 20)]:
            inside = good & ((masks & ~m).sum(axis=1) == 0)
            most = masks[inside].sum(axis=1).max()
            value, used = laminar.rank_and_caps(m)
            assert value == laminar.rank(m) == most
            covered = np.any([caps[k].members for k in used] or [np.zeros(n, dtype=bool)], axis=0)
            assert sum(caps[k].most for k in used) + (m & ~covered).sum() == most
            assert laminar.independent(m) == obeys(m[None], caps)[0]


@pytest.mark.parametrize("method", ["intersection", "programme"])
def test_cheapest_within_caps_is_the_best_of_all_subsets_or_proven_impossible(method):
    rng = np.random.default_rng(4 if method == "intersection" else 5)
    solved = impossible = 0
    for case in range(300 if method == "intersection" else 120):
        p, n = PRIMES[rng.integers(4)], 8
        columns = matrix(rng, 5, n, int(rng.integers(1, 6)), p)
        tableau, cost, masks = Tableau(columns, p), costs(rng, n), subsets(n)
        size = rank(tableau, np.ones(n, dtype=bool)) - int(rng.random() < 0.2)
        if size <= 0:
            continue
        laminar = method == "intersection" or case % 3 == 0
        caps = laminar_family(rng, n) if laminar else random_caps(rng, n)
        ranks = _cpu.rank_mod(np.where(masks[:, None], columns, 0), p)
        fits = (masks.sum(axis=1) == size) & (ranks == size)
        feasible = masks[fits & obeys(masks, caps)]
        try:
            if method == "intersection":
                best = cheapest_common(tableau, Laminar(n, caps), cost, size)
            else:
                best = cheapest_capped(tableau, caps, cost, size)
        except Infeasible as proof:
            impossible += 1
            assert not len(feasible)
            if method == "intersection":
                ((S, r),) = proof.ranks
                assert r == twin.rank_mod(columns[:, S].astype(object), p) if S.any() else r == 0
                outside = masks[obeys(masks, [caps[k] for k in proof.caps]) & ((masks & S).sum(axis=1) == 0)]
                assert r + outside.sum(axis=1).max() == proof.reachable < size
                assert ((ranks == masks.sum(axis=1)) & obeys(masks, caps)).any()
                reach = masks[(ranks == masks.sum(axis=1)) & obeys(masks, caps)].sum(axis=1).max()
                assert reach == proof.reachable
            else:
                left = masks[(masks.sum(axis=1) == size) & obeys(masks, [caps[k] for k in proof.caps])]
                for S, r in proof.ranks:
                    assert ranks[np.flatnonzero((masks == S).all(axis=1))[0]] <= r
                    left = left[(left & S).sum(axis=1) <= r]
                assert not len(left)
            continue
        solved += 1
        assert any((best == m).all() for m in feasible)
        assert cost[best].sum() <= (feasible @ cost).min() + 1e-6 * np.abs(cost).max()
    assert solved > 30 and impossible > 30


def test_whole_costs_are_exact_for_whole_numbers_and_never_overflow():
    cost = np.array([3.0, -5.0, 2.0**30, 0.0])
    scaled = whole_costs(cost, 1000)
    assert (scaled / scaled[0] * 3 == cost).all()
    for size in (1, 10, 1000):
        largest = int(whole_costs(np.array([0.999999, -1.0]), size)[1])
        assert abs(largest) * (2 * size + 1) * 2 * (2 * size + 4) < 2**62
    assert (whole_costs(np.zeros(3), 5) == 0).all()
    fine = np.array([1.0, 1.0 + 2.0**-44])
    assert np.diff(whole_costs(fine, 100)) > 0


# Errors


def test_errors_are_named():
    tableau = Tableau(np.array([[1, 0, 1], [0, 1, 1]]), 7)
    assert tableau.add(0) and not tableau.add(0)
    with pytest.raises(ValueError, match="expected a member, got 1"):
        tableau.release(1)
    with pytest.raises(ValueError, match="expected a member and an element that is none, got 1, 2"):
        tableau.exchange(1, 2)
    assert tableau.add(1)
    with pytest.raises(ValueError, match="depends on the members, got 0"):
        tableau.circuit(0)
    zero = Tableau(np.array([[1, 0]]), 7)
    zero.add(0)
    with pytest.raises(ValueError, match="expected one whose circuit holds 0, got 1"):
        zero.exchange(0, 1)
    assert zero.members.tolist() == [True, False]
    with pytest.raises(TypeError, match="expected integers"):
        Tableau(np.ones((2, 2)), 7)
    a, b = Cap(np.array([1, 1, 0], dtype=bool), 1), Cap(np.array([0, 1, 1], dtype=bool), 1)
    assert crossing([a, b]) == (0, 1) and crossing([a, a]) is None
    with pytest.raises(ValueError, match="laminar family, got 0 and 1"):
        Laminar(3, [a, b])
