"""Allocations and strategies: planted masks, draws against the twin, uniformity, specs, pictures, errors."""

from __future__ import annotations

import copy
import json
import pickle
import tomllib
from itertools import combinations
from math import comb

import numpy as np
import pytest
from scipy import stats

import sublearn.model.strategies as st
from sublearn.model.allocation import Allocation
from sublearn.model.checks import check_shared
from sublearn.model.network import Feedforward, Recurrent
from sublearn.model.strategies import strategy_from_spec
from sublearn.model.strategy import Strategy, as_strategy, check_allocation
from tests.twins import philox

NET = Recurrent(2, 4, 2, 6)  # B 4x2 at 0, W 4x4 at 8, D 2x4 at 24; size 32
BIASED = Feedforward((3, 5, 2), 3, bias=True)  # W1 5x3 at 0, W2 2x5 at 15, b1 5 at 25, b2 2 at 30; size 32


def grid(strategy, name):
    """One group of a deterministic strategy as lines of # and ."""
    mask = strategy.allocation.by_group[name]
    return ["".join(".#"[int(entry)] for entry in row) for row in mask.reshape(mask.shape[0], -1)]


def bits(net, masks, name):
    """bool [count, rows, columns] of one group."""
    part = masks[:, net.slices[name]]
    return part.reshape(len(masks), net.groups[name][0], -1)


# Allocations


def test_three_ways_to_make_an_allocation_agree():
    mask = np.zeros((4, 4), dtype=bool)
    mask[0, 3] = mask[2, 1] = True
    d = [[False, False, True, False], [False] * 4]
    made = Allocation(NET, {"W": mask, "D": d, "B": np.zeros((4, 2), bool)})
    edges = [("D", 0, 2), ("W", 2, 1), ("W", 0, 3)]
    flat = np.zeros(32, dtype=bool)
    flat[[8 + 3, 8 + 9, 24 + 2]] = True
    assert made == Allocation.from_edges(NET, edges) == Allocation.from_mask(NET, flat)
    assert len({made, Allocation.from_edges(NET, edges), Allocation.from_mask(NET, flat)}) == 1
    assert made.budget == 3 and made.indices.tolist() == [11, 17, 26] and made.indices.dtype == np.int64
    assert made.mask.dtype == bool and np.array_equal(made.mask, flat)
    assert made.edges == [("W", 0, 3), ("W", 2, 1), ("D", 0, 2)]
    assert np.array_equal(made.by_group["W"], mask) and not made.by_group["B"].any()
    assert np.array_equal(made.recipe[0], flat) and made.recipe[1] == []
    assert repr(made) == "<Allocation: 3 of 32 weights (W 2, D 1) of recurrent 2-4-2, T=6, linear>"
    assert Allocation(NET, {}).budget == 0
    assert repr(Allocation(NET, {})) == "<Allocation: 0 of 32 weights of recurrent 2-4-2, T=6, linear>"


def test_edges_of_biases():
    made = Allocation.from_edges(BIASED, [("b1", 4), ("W2", 1, 0), ("b2", 0)])
    assert made.indices.tolist() == [20, 29, 30]
    assert made.edges == [("W2", 1, 0), ("b1", 4), ("b2", 0)]


def test_an_allocation_cannot_be_changed_from_outside():
    w, flat = np.zeros((4, 4), bool), np.zeros(32, bool)
    one, two = Allocation(NET, {"W": w}), Allocation.from_mask(NET, flat)
    w[:], flat[:] = True, True
    assert one.budget == two.budget == 0 and one == two
    for array in (one.mask, one.by_group["W"], one.recipe[0]):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = True
    with pytest.raises(AttributeError):
        one.mask = flat


def test_allocations_differ_by_mask_and_by_network():
    one = Allocation.from_edges(NET, [("W", 0, 0)])
    assert one != Allocation.from_edges(NET, [("W", 0, 1)])
    assert one != Allocation.from_mask(Recurrent(2, 4, 2, 5), one.mask)
    assert one != "W"
    for other in (pickle.loads(pickle.dumps(one)), copy.deepcopy(one)):
        assert other == one and hash(other) == hash(one) and not other.mask.flags.writeable


def test_contains_is_the_order_of_nested_allocations():
    small = Allocation.from_edges(NET, [("W", 0, 0), ("B", 1, 1)])
    large = Allocation.from_edges(NET, [("W", 0, 0), ("B", 1, 1), ("D", 0, 0)])
    aside = Allocation.from_edges(NET, [("W", 0, 1), ("B", 1, 1), ("D", 0, 0)])
    assert large.contains(small) and small.contains(small) and small.contains(Allocation(NET, {}))
    assert not small.contains(large) and not aside.contains(small)
    with pytest.raises(ValueError, match="T=6.*T=5"):
        small.contains(Allocation(Recurrent(2, 4, 2, 5), {}))
    with pytest.raises(TypeError, match="other: expected an Allocation, got ndarray"):
        small.contains(small.mask)


@pytest.mark.parametrize(
    "error, words, make",
    [
        (TypeError, ["net", "str"], lambda: Allocation("net", {})),
        (TypeError, ["masks", "dict", "ndarray"], lambda: Allocation(NET, np.zeros(32, bool))),
        (ValueError, ["masks", "B, W, D", "'V'"], lambda: Allocation(NET, {"V": np.zeros((4, 4), bool)})),
        (
            ValueError,
            ["masks['W']", "(4, 4)", "(4, 3)"],
            lambda: Allocation(NET, {"W": np.zeros((4, 3), bool)}),
        ),
        (ValueError, ["masks['W']", "(4, 4)", "()"], lambda: Allocation(NET, {"W": True})),
        (
            ValueError,
            ["masks['W']", "(4, 4)", "ragged"],
            lambda: Allocation(NET, {"W": [[True], [True, False]]}),
        ),
        (
            TypeError,
            ["masks['W']", "bool", "int64"],
            lambda: Allocation(NET, {"W": np.ones((4, 4), np.int64)}),
        ),
        (ValueError, ["mask", "(32,)", "(31,)"], lambda: Allocation.from_mask(NET, np.zeros(31, bool))),
        (TypeError, ["mask", "bool", "float64"], lambda: Allocation.from_mask(NET, np.zeros(32))),
        (ValueError, ["edges", "B, W, D", "'b'"], lambda: Allocation.from_edges(NET, [("b", 0)])),
        (
            ValueError,
            ["edges", "(group, row, column)", "('W', 0)"],
            lambda: Allocation.from_edges(NET, [("W", 0)]),
        ),
        (ValueError, ["edges", "(group, unit)"], lambda: Allocation.from_edges(BIASED, [("b1", 0, 0)])),
        (ValueError, ["W", "0 to 3", "4"], lambda: Allocation.from_edges(NET, [("W", 4, 0)])),
        (ValueError, ["W", "0 to 3", "-1"], lambda: Allocation.from_edges(NET, [("W", 0, -1)])),
        (ValueError, ["once", "twice"], lambda: Allocation.from_edges(NET, [("W", 0, 1), ("W", 0, 1)])),
    ],
)
def test_allocation_errors_name_argument_expected_and_got(error, words, make):
    with pytest.raises(error) as caught:
        make()
    assert all(word in str(caught.value) for word in words), str(caught.value)


# Deterministic strategies: every mask planted


@pytest.mark.parametrize(
    "strategy, planted",
    [
        (st.rows(NET, 6, "W"), {"W": ["####", "##..", "....", "...."]}),
        (st.rows(NET, 3, ("W",)), {"W": ["###.", "....", "....", "...."]}),
        (st.rows(NET, 8, ("B", "W")), {"B": ["##", "##", "..", ".."], "W": ["####", "....", "....", "...."]}),
        (st.rows(NET, 8, ("W", "B")), {"W": ["####", "##..", "....", "...."], "B": ["##", "..", "..", ".."]}),
        (st.columns(NET, 6, "W"), {"W": ["##..", "##..", "#...", "#..."]}),
        (st.columns(NET, 5, ("W", "D")), {"W": ["#...", "#...", "#...", "#..."], "D": ["#...", "...."]}),
        (st.columns(NET, 3, "D"), {"D": ["##..", "#..."]}),
        (st.rows(NET, 0, "W"), {}),
        (st.rows(NET, 16, "W"), {"W": ["####"] * 4}),
        (st.columns(NET, 16, "W"), {"W": ["####"] * 4}),
        (st.rows(BIASED, 3, "b1"), {"b1": ["#", "#", "#", ".", "."]}),
        (st.columns(BIASED, 3, "b1"), {"b1": ["#", "#", "#", ".", "."]}),
        (st.block(NET, (2, 3), "W"), {"W": ["###.", "###.", "....", "...."]}),
        (st.block(NET, [4, 1], "B"), {"B": ["#.", "#.", "#.", "#."]}),
        (st.block(BIASED, (2, 1), ("b1",)), {"b1": ["#", "#", ".", ".", "."]}),
        (st.diagonal(NET, 3, "W"), {"W": ["#...", ".#..", "..#.", "...."]}),
        (st.diagonal(NET, 7, "W"), {"W": ["##..", ".##.", "..##", "...#"]}),
        (st.diagonal(NET, 8, "W"), {"W": ["##..", ".##.", "..##", "#..#"]}),
        (st.diagonal(NET, 3, "D"), {"D": ["##..", ".#.."]}),
        (st.diagonal(NET, 8, "D"), {"D": ["####", "####"]}),
        (st.diagonal(NET, 5, "B"), {"B": ["##", ".#", "#.", ".#"]}),
        (st.only(NET, "D"), {"D": ["####"] * 2}),
        (st.only(BIASED, "b2", "b1"), {"b1": ["#"] * 5, "b2": ["#"] * 2}),
        (st.everything(NET), {"B": ["##"] * 4, "W": ["####"] * 4, "D": ["####"] * 2}),
        (st.everything(NET, shared=("D", "B")), {"W": ["####"] * 4}),
        (st.everything(NET, shared=("B", "W", "D")), {}),
        (st.scattered(NET, 0), {}),
        (st.scattered(NET, 16, "W"), {"W": ["####"] * 4}),
        (st.even_rows(NET, 4, "D"), {"D": ["####"] * 2}),
        (st.per_column(NET, columns=2, each=4, within="B"), {"B": ["##"] * 4}),
        (st.split(NET, {"D": 8, "B": 0}), {"D": ["####"] * 2}),
    ],
    ids=lambda value: repr(value) if isinstance(value, Strategy) else "",
)
def test_strategies_with_nothing_left_to_chance(strategy, planted):
    for name in strategy.net.groups:
        rows, columns = (*strategy.net.groups[name], 1)[:2]
        assert grid(strategy, name) == planted.get(name, ["." * columns] * rows), name
    assert strategy.budget == strategy.allocation.budget == sum(row.count("#") for rows in planted.values() for row in rows)
    fixed, pieces = strategy.recipe
    assert pieces == [] and np.array_equal(fixed, strategy.allocation.mask)
    assert np.array_equal(strategy.support, fixed)
    assert strategy.draw(5) == strategy.draw(np.random.default_rng(0)) == strategy.allocation
    assert np.array_equal(strategy.masks(3, 1, 2, 4), np.tile(fixed, (4, 1)))


# Random strategies

RANDOM = [
    st.scattered(NET, 10, "W"),
    st.scattered(NET, 1, "D"),
    st.scattered(NET, 31),
    st.scattered(NET, 7, ("W", "B")),
    st.scattered(BIASED, 1, "b2"),
    *(st.scattered(NET, budget, "W") for budget in (3, 4, 5, 15)),  # words come four to a block
    st.split(NET, {"W": 3, "B": 2}),
    st.split(BIASED, {"b1": 4, "W1": 14, "b2": 2}),
    st.per_row(NET, rows=2, each=3, within="W"),
    st.per_row(NET, rows=4, each=1, within="B"),
    st.per_row(NET, rows=1, each=4, within="W"),
    st.per_row(NET, rows=3, each=5, within=("W", "B")),
    st.per_row(BIASED, rows=2, each=1, within="b1"),
    st.per_column(NET, columns=3, each=2, within="W"),
    st.per_column(NET, columns=2, each=5, within=("W", "D")),
    st.per_column(BIASED, columns=1, each=3, within="b1"),
    st.even_rows(NET, each=2, within="D"),
    st.even_rows(NET, each=3, within=("B", "W")),
]
NAMES = {id(strategy): f"{strategy.name}, {strategy.budget}" for strategy in RANDOM}


@pytest.mark.parametrize("strategy", RANDOM, ids=lambda strategy: NAMES[id(strategy)])
def test_masks_are_those_of_the_twin(strategy):
    for seed, task, first in ((0, 0, 0), (2**64 - 1, 2**32 - 1, 2**32 - 6), (3 * 2**32 + 7, 1, 2**31 - 3)):
        masks = strategy.masks(seed, task, first, 6)
        twin = [philox.mask(seed, task, first + k, strategy.recipe) for k in range(6)]
        assert masks.dtype == bool and np.array_equal(masks, twin)


@pytest.mark.parametrize("strategy", RANDOM, ids=lambda strategy: NAMES[id(strategy)])
def test_every_draw_keeps_budget_and_place_and_draws_differ(strategy):
    masks = strategy.masks(seed=1, task=2, first=0, count=300)
    assert strategy.allocation is None
    assert (masks.sum(axis=1) == strategy.budget).all()
    assert np.array_equal(masks.any(axis=0), strategy.support)  # all of the support, and nothing else
    assert len({mask.tobytes() for mask in masks}) > 1
    assert np.array_equal(masks[3:7], strategy.masks(seed=1, task=2, first=3, count=4))
    for other in (strategy.masks(2, 2, 0, 300), strategy.masks(1, 3, 0, 300), strategy.masks(1, 2, 300, 300)):
        assert not np.array_equal(masks, other)
    assert not strategy.recipe[0].any()


def test_support_is_within():
    assert np.flatnonzero(st.scattered(NET, 7, ("W", "B")).support).tolist() == list(range(24))
    assert np.flatnonzero(st.split(BIASED, {"b1": 4, "W1": 14}).support).tolist() == [
        *range(15),
        *range(25, 30),
    ]
    assert np.flatnonzero(st.even_rows(NET, 1, "D").support).tolist() == list(range(24, 32))
    assert st.scattered(NET, 7).support.all()


def test_rows_and_columns_hold_what_they_promise():
    rows = bits(NET, st.per_row(NET, rows=2, each=3, within="W").masks(0, 0, 0, 200), "W").sum(axis=2)
    assert (np.sort(rows, axis=1) == [0, 0, 3, 3]).all()
    columns = bits(NET, st.per_column(NET, columns=3, each=2, within="W").masks(0, 0, 0, 200), "W").sum(axis=1)
    assert (np.sort(columns, axis=1) == [0, 2, 2, 2]).all()
    even = bits(NET, st.even_rows(NET, each=2, within="W").masks(0, 0, 0, 200), "W").sum(axis=2)
    assert (even == 2).all()
    both = st.per_row(NET, rows=3, each=5, within=("W", "B")).masks(0, 0, 0, 200)
    rows = bits(NET, both, "W").sum(axis=2) + bits(NET, both, "B").sum(axis=2)
    assert (np.sort(rows, axis=1) == [0, 5, 5, 5]).all()
    both = st.per_column(NET, columns=2, each=5, within=("W", "D")).masks(0, 0, 0, 200)
    columns = bits(NET, both, "W").sum(axis=1) + bits(NET, both, "D").sum(axis=1)
    assert (np.sort(columns, axis=1) == [0, 0, 5, 5]).all()
    parts = st.split(BIASED, {"W1": 4, "b1": 2}).masks(0, 0, 0, 200)
    assert (bits(BIASED, parts, "W1").sum(axis=(1, 2)) == 4).all()
    assert (bits(BIASED, parts, "b1").sum(axis=(1, 2)) == 2).all()


def test_rejected_words_are_replaced():
    """Lemire's rejection is rare in short lists: a long one meets it, and every later word shifts."""
    from sublearn import _cpu

    size, each, seed, task, trial = 1_000_000, 60_000, 11, 2, 3
    recipe = (np.zeros(size, bool), [(np.arange(size), np.array([0, size]), 1, each)])
    words = philox.Words(seed, philox.MASK, trial, task)
    twin = philox.mask(seed, task, trial, recipe, words)
    assert words.rejected > 0 and twin.sum() == each
    assert np.array_equal(_cpu.draw_masks(size, seed, task, trial, 1, recipe)[0], twin)


# Uniformity


def subset_p_value(masks, positions, pick):
    """p-value of: the chosen subsets of `positions` are uniform among all of size `pick` (chi square)."""
    number = {subset: k for k, subset in enumerate(combinations(range(len(positions)), pick))}
    counts = np.zeros(comb(len(positions), pick))
    for mask in masks[:, positions]:
        counts[number[tuple(np.flatnonzero(mask).tolist())]] += 1
    expected = len(masks) / len(counts)
    assert expected >= 20
    return stats.chi2.sf(((counts - expected) ** 2 / expected).sum(), len(counts) - 1)


def marginal_p_value(masks, positions, pick):
    """p-value of: every one of `positions` is chosen equally often (counts of draws without replacement)."""
    n, share = len(positions), pick / len(positions)
    counts = masks[:, positions].sum(axis=0)
    variance = len(masks) * share * (1 - share) * n / (n - 1)
    return stats.chi2.sf(((counts - len(masks) * share) ** 2 / variance).sum(), n - 1)


@pytest.mark.parametrize("pick", [1, 2, 3, 5, 7])
def test_scattered_is_uniform_over_subsets(pick):
    net = Recurrent(2, 4, 2, 2)
    masks = st.scattered(net, pick, "D").masks(seed=2026, task=0, first=0, count=20_000)
    p = subset_p_value(masks, np.arange(24, 32), pick)
    assert 1e-3 < p < 1 - 1e-6, p


def test_scattered_is_uniform_over_entries_of_larger_groups():
    net = Recurrent(3, 9, 2, 2)  # 27 + 81 + 18 weights
    masks = st.scattered(net, 37).masks(seed=7, task=1, first=0, count=20_000)
    p = marginal_p_value(masks, np.arange(net.size), 37)
    assert 1e-3 < p < 1 - 1e-6, p


def test_per_row_is_uniform_over_rows_and_within_rows():
    masks = bits(NET, st.per_row(NET, rows=2, each=2, within="W").masks(seed=5, task=0, first=0, count=20_000), "W")
    chosen = masks.any(axis=2)
    assert 1e-3 < subset_p_value(chosen, np.arange(4), 2) < 1 - 1e-6
    for row in range(4):
        inside = masks[chosen[:, row], row]
        assert len(inside) > 9000 and 1e-3 < subset_p_value(inside, np.arange(4), 2) < 1 - 1e-6


def test_the_uniformity_tests_see_small_bias():
    """Controls: first entries favoured by a tenth, and subsets uneven while every entry is even."""
    rng = np.random.default_rng(0)
    scores = rng.random((20_000, 8))
    scores[:, 0] *= 0.9
    tilted = np.zeros((20_000, 8), bool)
    np.put_along_axis(tilted, np.argsort(scores, axis=1)[:, :3], True, axis=1)
    assert subset_p_value(tilted, np.arange(8), 3) < 1e-3 and marginal_p_value(tilted, np.arange(8), 3) < 1e-3
    start = rng.integers(0, 8, 20_000)
    runs = np.zeros((20_000, 8), bool)
    for shift in range(3):
        runs[np.arange(20_000), (start + shift) % 8] = True
    assert subset_p_value(runs, np.arange(8), 3) < 1e-9 and marginal_p_value(runs, np.arange(8), 3) > 1e-3


# Drawing


def test_draw_takes_a_seed_or_a_generator():
    strategy = st.scattered(NET, 10, "W")
    assert strategy.draw(9) == strategy.draw(np.int64(9)) == Allocation.from_mask(NET, strategy.masks(9, 0, 0, 1)[0])
    assert strategy.draw() == strategy.draw(0) != strategy.draw(1)
    rng, again = np.random.default_rng(3), np.random.default_rng(3)
    first, second = strategy.draw(rng), strategy.draw(rng)
    assert first != second and [strategy.draw(again), strategy.draw(again)] == [first, second]


@pytest.mark.parametrize(
    "error, words, call",
    [
        (TypeError, ["rng", "Generator", "RandomState"], lambda s: s.draw(np.random.RandomState(0))),
        (TypeError, ["rng", "None"], lambda s: s.draw(None)),
        (ValueError, ["rng", "-1"], lambda s: s.draw(-1)),
        (ValueError, ["seed", "18446744073709551616"], lambda s: s.masks(2**64, 0, 0, 1)),
        (ValueError, ["task", "4294967296"], lambda s: s.masks(0, 2**32, 0, 1)),
        (ValueError, ["first", "-1"], lambda s: s.masks(0, 0, -1, 1)),
        (ValueError, ["count", "from 1", "0"], lambda s: s.masks(0, 0, 0, 0)),
        (ValueError, ["count", "from 1 to 2", "3"], lambda s: s.masks(0, 0, 2**32 - 2, 3)),
        (TypeError, ["seed", "1.5"], lambda s: s.masks(1.5, 0, 0, 1)),
    ],
)
@pytest.mark.parametrize("strategy", [st.scattered(NET, 10, "W"), st.rows(NET, 10, "W")])
def test_draw_errors_name_argument_expected_and_got(error, words, call, strategy):
    with pytest.raises(error) as caught:
        call(strategy)
    assert all(word in str(caught.value) for word in words), str(caught.value)


# Errors of the strategies


@pytest.mark.parametrize(
    "error, words, make",
    [
        (ValueError, ["budget", "0 to 16", "the weights of W", "17"], lambda: st.scattered(NET, 17, "W")),
        (ValueError, ["budget", "0 to 24", "B, W", "25"], lambda: st.scattered(NET, 25, ("W", "B"))),
        (ValueError, ["budget", "0 to 32", "33"], lambda: st.scattered(NET, 33)),
        (ValueError, ["budget", "-1"], lambda: st.scattered(NET, -1)),
        (TypeError, ["budget", "2.5", "float"], lambda: st.scattered(NET, 2.5)),
        (TypeError, ["budget", "True", "bool"], lambda: st.scattered(NET, True)),
        (ValueError, ["within", "B, W, D", "'b'"], lambda: st.scattered(NET, 1, "b")),
        (ValueError, ["within", "'X'"], lambda: st.scattered(NET, 1, ("W", "X"))),
        (ValueError, ["within", "once"], lambda: st.scattered(NET, 1, ("W", "W"))),
        (ValueError, ["within", "at least one", "none"], lambda: st.scattered(NET, 1, ())),
        (TypeError, ["within", "{'W'}"], lambda: st.scattered(NET, 1, {"W"})),
        (TypeError, ["net", "dict"], lambda: st.scattered({}, 1)),
        (ValueError, ["budget", "0 to 16", "17"], lambda: st.rows(NET, 17, "W")),
        (ValueError, ["budget", "0 to 24", "W, D", "25"], lambda: st.columns(NET, 25, ("W", "D"))),
        (ValueError, ["within", "same number of rows", "D with 2"], lambda: st.rows(NET, 3, ("W", "D"))),
        (
            ValueError,
            ["within", "same number of columns", "B with 2"],
            lambda: st.columns(NET, 3, ("W", "B")),
        ),
        (TypeError, ["within", "None"], lambda: st.rows(NET, 3, None)),
        (ValueError, ["rows", "0 to 4", "the rows of W", "5"], lambda: st.per_row(NET, 5, 1, "W")),
        (ValueError, ["each", "0 to 4", "a row of W", "5"], lambda: st.per_row(NET, 1, 5, "W")),
        (ValueError, ["columns", "0 to 2", "3"], lambda: st.per_column(NET, 3, 1, "B")),
        (ValueError, ["each", "0 to 4", "a column of B", "5"], lambda: st.per_column(NET, 1, 5, "B")),
        (ValueError, ["each", "0 to 2", "3"], lambda: st.even_rows(NET, 3, "B")),
        (ValueError, ["shape[0]", "1 to 4", "5"], lambda: st.block(NET, (5, 1), "W")),
        (ValueError, ["shape[1]", "1 to 2", "0"], lambda: st.block(NET, (1, 0), "B")),
        (TypeError, ["shape", "pair", "(1, 2, 3)"], lambda: st.block(NET, (1, 2, 3), "B")),
        (ValueError, ["within", "one group", "W, D"], lambda: st.block(NET, (1, 1), ("W", "D"))),
        (ValueError, ["within", "one group"], lambda: st.diagonal(NET, 1, ("W", "D"))),
        (ValueError, ["budget", "0 to 8", "9"], lambda: st.diagonal(NET, 9, "D")),
        (ValueError, ["budgets['B']", "0 to 8", "9"], lambda: st.split(NET, {"B": 9})),
        (ValueError, ["budgets", "'V'"], lambda: st.split(NET, {"V": 1})),
        (ValueError, ["budgets", "none"], lambda: st.split(NET, {})),
        (TypeError, ["budgets", "int"], lambda: st.split(NET, 3)),
        (ValueError, ["groups", "none"], lambda: st.only(NET)),
        (ValueError, ["groups", "B, W, D", "'b1'"], lambda: st.only(NET, "b1")),
        (TypeError, ["groups", "('B', 'W')"], lambda: st.only(NET, ("B", "W"))),
        (TypeError, ["shared", "'B'", "write ('B',)"], lambda: st.everything(NET, shared="B")),
        (ValueError, ["pieces[1]", "twice"], lambda: twice()),
        (ValueError, ["pieces[0]", "distinct"], lambda: one_piece(([3, 3], [0, 2], 1, 1))),
        (ValueError, ["pieces[0]", "0 to 31"], lambda: one_piece(([3, 32], [0, 2], 1, 1))),
        (ValueError, ["pieces[0]", "offsets"], lambda: one_piece(([3, 4], [0, 3], 1, 1))),
        (ValueError, ["pieces[0] each", "shortest"], lambda: one_piece(([3, 4, 5], [0, 2, 3], 1, 2))),
    ],
)
def test_strategy_errors_name_argument_expected_and_got(error, words, make):
    with pytest.raises(error) as caught:
        make()
    assert all(word in str(caught.value) for word in words), str(caught.value)


def one_piece(*pieces):
    return Strategy(NET, "own", np.zeros(32, bool), pieces, {"kind": "own"})


def twice():
    return one_piece(([3, 4], [0, 2], 1, 1), ([4, 5], [0, 2], 1, 1))


def test_an_own_strategy_may_mix_fixed_and_random_weights():
    fixed = np.zeros(32, bool)
    fixed[[0, 31]] = True
    own = Strategy(NET, "own", fixed, [([8, 9, 10, 11], [0, 2, 4], 1, 1)], {"kind": "own"})
    masks = own.masks(0, 0, 0, 50)
    assert own.budget == 3 and own.allocation is None
    assert masks[:, [0, 31]].all() and (masks[:, 8:12].sum(axis=1) == 1).all() and masks[:, 8:12].any(axis=0).all()
    assert np.array_equal(masks, [philox.mask(0, 0, k, own.recipe) for k in range(50)])


# Names, specs, equality

PLANTED_SPECS = [
    (st.scattered(NET, 10, "W"), "scattered(W)", {"kind": "scattered", "budget": 10, "within": "W"}),
    (st.scattered(NET, 10), "scattered", {"kind": "scattered", "budget": 10}),
    (
        st.scattered(NET, 5, ("D", "W")),
        "scattered(W, D)",
        {"kind": "scattered", "budget": 5, "within": ["D", "W"]},
    ),
    (st.rows(NET, 10, "W"), "rows(W)", {"kind": "rows", "budget": 10, "within": "W"}),
    (st.rows(NET, 9, ("W", "B")), "rows(W, B)", {"kind": "rows", "budget": 9, "within": ["W", "B"]}),
    (st.columns(NET, 10, "W"), "columns(W)", {"kind": "columns", "budget": 10, "within": "W"}),
    (st.per_row(NET, 2, 3, "W"), "per_row(W, 2x3)", {"kind": "per_row", "rows": 2, "each": 3, "within": "W"}),
    (
        st.per_column(NET, 2, 3, "W"),
        "per_column(W, 2x3)",
        {"kind": "per_column", "columns": 2, "each": 3, "within": "W"},
    ),
    (st.even_rows(NET, 3, "D"), "even_rows(D)", {"kind": "even_rows", "each": 3, "within": "D"}),
    (st.block(NET, (2, 3), "W"), "block(W, 2x3)", {"kind": "block", "shape": [2, 3], "within": "W"}),
    (st.diagonal(NET, 5, "W"), "diagonal(W)", {"kind": "diagonal", "budget": 5, "within": "W"}),
    (st.split(NET, {"D": 2, "B": 3}), "split(B 3, D 2)", {"kind": "split", "budgets": {"B": 3, "D": 2}}),
    (st.only(NET, "D", "B"), "only(B, D)", {"kind": "only", "groups": ["B", "D"]}),
    (st.everything(NET), "everything", {"kind": "everything"}),
    (st.everything(NET, ("B",)), "everything", {"kind": "everything", "shared": ["B"]}),
    (as_strategy(Allocation.from_edges(NET, [("B", 1, 1)])), "given", {"kind": "given", "indices": [3]}),
]


@pytest.mark.parametrize("strategy, name, spec", PLANTED_SPECS, ids=[name for _, name, _ in PLANTED_SPECS])
def test_names_and_specs(strategy, name, spec):
    assert strategy.name == name and strategy.spec() == spec
    back = strategy_from_spec(NET, json.loads(json.dumps(strategy.spec())))
    assert back == strategy and hash(back) == hash(strategy) and back.spec() == spec
    assert pickle.loads(pickle.dumps(strategy)) == strategy
    assert f"{name}: " in repr(strategy) and f"{strategy.budget} of 32" in repr(strategy)
    changed = strategy.spec()
    for value in changed.values():
        if isinstance(value, (list, dict)):
            value.clear()
    assert strategy.spec() == spec  # the caller gets a copy


def test_strategies_at_equal_budget_are_told_apart():
    made = [strategy for strategy, _, _ in PLANTED_SPECS] + [
        st.scattered(NET, 9, "W"),
        st.per_row(NET, 3, 2, "W"),
        st.scattered(Recurrent(2, 4, 2, 5), 10, "W"),
    ]
    assert len(set(made)) == len(made)
    assert st.scattered(NET, 5, ("B", "W")) == st.scattered(NET, 5, ("W", "B"))
    assert st.rows(NET, 5, ("B", "W")) != st.rows(NET, 5, ("W", "B"))


def test_specs_from_toml_and_with_shared_groups():
    specs = tomllib.loads(
        """
        [[strategy]]
        kind = "split"
        budgets = { W = 3, D = 1 }
        [[strategy]]
        kind = "block"
        shape = [2, 3]
        within = "W"
        [[strategy]]
        kind = "only"
        groups = "W"
        """
    )["strategy"]
    assert [strategy_from_spec(NET, spec) for spec in specs] == [
        st.split(NET, {"W": 3, "D": 1}),
        st.block(NET, (2, 3), "W"),
        st.only(NET, "W"),
    ]
    shared = ("B", "D")
    assert strategy_from_spec(NET, {"kind": "scattered", "budget": 4}, shared) == st.scattered(NET, 4, ("W",))
    assert strategy_from_spec(NET, {"kind": "everything"}, shared) == st.everything(NET, shared)
    assert strategy_from_spec(NET, {"kind": "scattered", "budget": 4, "within": "B"}, shared).support[:8].all()


@pytest.mark.parametrize(
    "error, words, spec",
    [
        (TypeError, ["spec", "dict", "'rows'"], "rows"),
        (ValueError, ["kind", "scattered", "diagonal", "'random'"], {"kind": "random"}),
        (ValueError, ["kind", "['rows']"], {"kind": ["rows"]}),
        (ValueError, ["missing budget", "unknown size"], {"kind": "scattered", "size": 3}),
        (ValueError, ["missing within", "unknown none"], {"kind": "rows", "budget": 3}),
        (ValueError, ["budget", "17"], {"kind": "rows", "budget": 17, "within": "W"}),
        (ValueError, ["indices", "0 to 31", "32"], {"kind": "given", "indices": [32]}),
        (ValueError, ["indices", "twice"], {"kind": "given", "indices": [3, 3]}),
        (TypeError, ["indices", "3"], {"kind": "given", "indices": 3}),
    ],
)
def test_spec_errors_name_argument_expected_and_got(error, words, spec):
    with pytest.raises(error) as caught:
        strategy_from_spec(NET, spec)
    assert all(word in str(caught.value) for word in words), str(caught.value)


# Shared groups


def test_check_shared():
    assert check_shared(NET, ()) == () and check_shared(NET, ["D", "B"]) == ("B", "D")
    for error, shared, words in (
        (TypeError, "B", ["shared", "tuple", "write ('B',)"]),
        (TypeError, {"B"}, ["shared", "set"]),
        (TypeError, None, ["shared", "None"]),
        (TypeError, (1,), ["shared", "1", "int"]),
        (ValueError, ("V",), ["shared", "B, W, D", "'V'"]),
        (ValueError, ("B", "B"), ["shared", "once"]),
    ):
        with pytest.raises(error) as caught:
            check_shared(NET, shared)
        assert all(word in str(caught.value) for word in words), str(caught.value)


def test_nothing_learns_in_a_shared_group():
    for fine in (
        st.scattered(NET, 5, "W"),
        st.rows(NET, 5, "W"),
        Allocation(NET, {}),
        st.everything(NET, ("B", "D")),
    ):
        assert check_allocation(NET, fine, ("D", "B")) is fine
    one = Allocation.from_edges(NET, [("B", 0, 0), ("W", 0, 0)])
    for bad, text in (
        (one, r"B \(1\)"),
        (st.scattered(NET, 1), r"B \(8\), D \(8\)"),  # one weight, anywhere: it could
        (st.split(NET, {"W": 2, "D": 1}), r"D \(8\)"),
        (st.only(NET, "D"), r"D \(8\)"),
    ):
        assert check_allocation(NET, bad) is bad
        with pytest.raises(ValueError, match="shared groups B, D, got weights that can learn in " + text):
            check_allocation(NET, bad, ("B", "D"))
    with pytest.raises(ValueError, match="expected one of recurrent 2-4-2, T=5.*got one of recurrent 2-4-2, T=6"):
        check_allocation(Recurrent(2, 4, 2, 5), one)
    with pytest.raises(TypeError, match="expected an Allocation or a Strategy, got ndarray"):
        check_allocation(NET, one.mask)
    with pytest.raises(TypeError, match="expected an Allocation or a Strategy, got ndarray"):
        as_strategy(one.mask)


def test_an_allocation_is_a_strategy_that_always_draws_it():
    one = Allocation.from_edges(NET, [("B", 0, 0), ("W", 0, 0)])
    assert as_strategy(one).allocation == one == as_strategy(one).draw(3)
    same = st.rows(NET, 3, "W")
    assert as_strategy(same) is same


# Pictures


def test_picture_of_a_recurrent_network_with_shared_groups():
    net = Recurrent(2, 4, 2, 6, bias=("c",))
    assert st.rows(net, 6, "W").picture(shared=("B", "D")) == "\n".join(
        [
            "recurrent 2-4-2, T=6, linear, bias c: 6 of 34 weights learn (# learnable, . frozen, = shared)",
            "",
            "B shared   W 6/16   D shared   c 0/2",
            "==         ####     ====       .",
            "==         ##..     ====       .",
            "==         ....",
            "==         ....",
        ]
    )


def test_picture_without_shared_groups_has_two_symbols():
    picture = st.diagonal(BIASED, 3, "W1").picture()
    assert picture.splitlines()[0].endswith("3 of 32 weights learn (# learnable, . frozen)")
    assert picture.splitlines()[2:] == [
        "W1 3/15   W2 0/10   b1 0/5   b2 0/2",
        "#..       .....     .        .",
        ".#.       .....     .        .",
        "..#                 .",
        "...                 .",
        "...                 .",
    ]


def test_wide_pictures_continue_below_and_random_ones_show_a_draw():
    net = Recurrent(2, 60, 1, 2)
    strategy = st.scattered(net, 5, "W")
    lines = strategy.picture(3).splitlines()
    assert max(map(len, lines[1:])) <= 100 and [line.split()[0] for line in lines if "/" in line] == [
        "B",
        "D",
    ]
    assert "".join(lines[1:]).count("#") == 5
    assert strategy.picture(3) == strategy.draw(3).picture() != strategy.picture(4)
    with pytest.raises(ValueError, match="shared groups W, got weights that can learn in W"):
        strategy.picture(3, shared=("W",))
    with pytest.raises(ValueError, match="shared groups W, got weights that can learn in W"):
        strategy.draw(3).picture(shared=("W",))


def test_per_column_by_keywords_and_the_name_of_per_row():
    columns = st.per_column(NET, columns=2, each=3, within="W")
    assert st.per_column(NET, rows=2, each=3, within="W") == columns == st.per_column(NET, 2, 3, "W")
    assert "rows" not in columns.spec() and columns.spec()["columns"] == 2
    with pytest.raises(TypeError, match="columns: expected columns or rows, its other name, got both: 2 and 1"):
        st.per_column(NET, 2, 3, "W", rows=1)
    with pytest.raises(TypeError, match="columns: expected a whole number .* got None"):
        st.per_column(NET, each=3, within="W")
    with pytest.raises(TypeError, match="each: expected a whole number"):
        st.per_column(NET, 2, within="W")
    with pytest.raises(TypeError, match="within: expected a group name"):
        st.per_column(NET, 2, 3)


@pytest.mark.parametrize(
    "strategy",
    [
        st.scattered(NET, 3, "B"),
        st.split(NET, {"B": 2, "D": 1}),
        st.per_row(NET, 2, 2, "B"),
        st.per_column(NET, columns=1, each=3, within=("W", "D")),
        st.even_rows(NET, 1, "B"),
        st.rows(NET, 5, "W"),
        Strategy(NET, "uneven", np.zeros(NET.size, dtype=bool), [(np.arange(5), np.array([0, 2, 5]), 1, 2)], {"kind": "test"}),
    ],
    ids=lambda strategy: strategy.name,
)
def test_the_law_of_a_strategy_is_what_is_drawn(strategy):
    masks, chances = strategy.law()
    assert chances.sum() == pytest.approx(1) and (masks.sum(axis=1) == strategy.budget).all()
    keys = {mask.tobytes(): k for k, mask in enumerate(masks)}
    assert len(keys) == len(masks) and strategy.law(most=len(masks)) is not None
    assert len(masks) == 1 or strategy.law(most=len(masks) - 1) is None
    drawn = np.bincount([keys[mask.tobytes()] for mask in strategy.masks(3, 0, 0, 4000)], minlength=len(masks))
    assert stats.chisquare(drawn, 4000 * chances).pvalue > 1e-4 if len(masks) > 1 else drawn.tolist() == [4000]


def test_allocations_from_flat_positions():
    net = Feedforward((3, 4, 2), 3)
    allocation = st.scattered(net, 6).draw(1)
    assert Allocation.from_indices(net, allocation.indices[::-1]) == allocation
    assert Allocation.from_indices(net, [-1, 3, -1, 0]).indices.tolist() == [0, 3] and Allocation.from_indices(net, []).budget == 0
    for wrong, error, message in (
        ([20], ValueError, "indices: expected positions below 20, or -1 for none, got 20"),
        ([-2], ValueError, "got -2"),
        ([1, 1], ValueError, "indices: expected each weight once, got one twice"),
        ([[1]], TypeError, "indices: expected whole numbers"),
        ([1.0], TypeError, "got float64"),
    ):
        with pytest.raises(error, match=message):
            Allocation.from_indices(net, wrong)
