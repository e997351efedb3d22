"""Capacities known by theorems, and the saturation behind the infinite ones: ranks over growing data, matches on data never fitted."""

import math
from dataclasses import replace

import numpy as np
import pytest

import sublearn as sl
from sublearn.design.capacity import _saturation
from sublearn.ranks.generic_rank import attained_ranks, required_rank


def grown(net, m):
    return replace(net, **{"steps" if isinstance(net, sl.Recurrent) else "samples": m})


@pytest.mark.parametrize(
    "net, shared",
    [
        (sl.Feedforward((3, 5, 2), 1), ()),
        (sl.Feedforward((3, 2, 4, 2), 1, bias=("b2",)), ("W1",)),
        (sl.Feedforward((2, 3, 2), 1, bias=True), ()),
        (sl.Recurrent(1, 2, 1, 1), ()),
        (sl.Recurrent(2, 3, 1, 1), ("B", "D")),
        (sl.Recurrent(1, 3, 2, 1, bias=True), ("D",)),
        (sl.Recurrent(2, 2, 2, 1, bias=("c",)), ("B",)),
    ],
    ids=lambda value: getattr(value, "describe", lambda: None)(),
)
def test_ranks_do_not_change_after_saturation(net, shared):
    rng = np.random.default_rng(0)
    free = np.ones(net.size, dtype=bool)
    for name in shared:
        free[net.slices[name]] = False
    masks = free & (rng.random((60, net.size)) < rng.uniform(0.1, 1, (60, 1)))
    last = max(_saturation(net, int(mask.sum())) for mask in masks)
    kappas = [required_rank(grown(net, m), shared) for m in range(1, last + 6)]
    ranks = np.array([attained_ranks(grown(net, m), masks, shared) for m in range(1, last + 6)])
    assert kappas[0] < kappas[last - 1] and (np.diff(kappas) >= 0).all() and (np.diff(ranks, axis=0) >= 0).all()
    can = set()
    for k, mask in enumerate(masks):
        m = _saturation(net, int(mask.sum()))
        # Above it a rank that is too small stays so, and a full one stays full: nothing is left to be decided.
        full = ranks[m - 1 :, k] == kappas[m - 1 :]
        assert full.all() or not full.any()
        can.add(bool(full[0]))
        if full[0]:
            assert len(set(kappas[m - 1 :])) == 1
    assert True in can


@pytest.mark.parametrize(
    "net, groups, shared",
    [
        (sl.Recurrent(1, 2, 1, 1), ("B", "W"), ()),
        (sl.Recurrent(1, 3, 1, 1), ("W", "D"), ()),
        (sl.Recurrent(1, 2, 2, 1, bias=("b",)), ("B", "W", "b"), ()),
        (sl.Feedforward((3, 4, 2), 1), ("W2",), ()),
        (sl.Feedforward((2, 3, 2), 1, bias=True), ("W2", "b2"), ()),
    ],
    ids=lambda value: getattr(value, "describe", lambda: None)(),
)
def test_a_match_at_saturation_is_the_same_function(net, groups, shared):
    """Solutions found with _saturation samples (steps) give the teacher's outputs on inputs they never met; fewer are not enough."""
    a = sl.only(net, *groups)
    enough = _saturation(net, a.budget)
    assert math.isinf(sl.capacity(net, a, shared=shared, trials=60).m)
    largest = {}
    for m in (max(1, required_rank(grown(net, enough), shared) // net.y_shape[-1 if isinstance(net, sl.Recurrent) else 0] - 1), enough):
        here, there = grown(net, m), grown(net, m + 9)
        mask = a.allocation.mask
        trials = sl.draw_trials(here, sl.Allocation.from_mask(here, mask), 40, shared=shared, seed=2)
        found = sl.decide(here, trials.student, trials.x, trials.y, mask, shared, starts=30)
        x = sl.draw_trials(there, sl.Allocation.from_mask(there, mask), 40, seed=5).x
        mine, wanted = (sl.outputs(there, theta, x)[found.match == 1] for theta in (found.theta, trials.teacher))
        assert len(mine) >= 36
        largest[m] = np.median(np.abs(mine - wanted).max(axis=(1, 2)) / np.abs(wanted).max(axis=(1, 2)))
    few, most = largest.values()
    assert most < 1e-6 < 1e-2 < few


def test_tanh_capacities_are_bounded_by_the_weights():
    """tanh, not everything learnable: kappa = m n_L outgrows the r learnable weights; biases alone learn at most sum n_k / n_L samples."""
    rng = np.random.default_rng(1)
    for widths in ((3, 6, 2), (2, 4, 5, 3), (4, 3, 1)):
        net = sl.Feedforward(widths, 1, "tanh", bias=True)
        biases = sl.only(net, *(name for name in net.groups if net.is_bias(name)))
        most = sum(widths[1:]) // widths[-1]
        assert biases.budget == sum(widths[1:])
        assert sl.predict(grown(net, most + 1), sl.Allocation.from_mask(grown(net, most + 1), biases.support)).kind == "minimal"
        found = sl.capacity(net, biases, trials=20, starts=4)
        assert found.m <= found.at_most <= most and found.saturated_at == biases.budget + 1
        for _ in range(10):  # any allocation that leaves something frozen is excluded by its rank where MP is constant
            mask = rng.random(net.size) < rng.random()
            here = grown(net, _saturation(net, int(mask.sum())))
            assert mask.all() or sl.predict(here, sl.Allocation.from_mask(here, mask)).kind == "minimal"


def test_capacities_that_are_known():
    tanh = sl.Feedforward((3, 4, 1), 9, activation="tanh")
    found = sl.capacity(tanh, sl.only(tanh, "W2"), trials=50)
    assert (found.m, found.at_least, found.at_most, found.quantity) == (
        4,
        4,
        4,
        "existence",
    )  # T4: f = min(4, m)
    net = sl.Recurrent(2, 8, 2, 3)
    found = sl.capacity(net, sl.per_row(net, 2, 5, "W").draw(0), shared=("B", "D"), trials=50)
    assert (found.m, found.at_least, found.at_most, found.axis) == (6, 6, 6, "steps")  # T7: T - 1 = 5
    linear = sl.Feedforward((3, 4, 2), 1)
    found = sl.capacity(linear, sl.only(linear, "W2"), trials=50)
    assert math.isinf(found.m) and found.saturated_at == 3 and "unlimited" in str(found)
    whole = sl.Feedforward((3, 4, 2), 1, activation="relu")
    assert math.isinf(sl.capacity(whole, sl.everything(whole)).m)
    assert sl.capacity(linear, sl.scattered(linear, 0)).m == 0
    relu = sl.capacity(whole, sl.only(whole, "W2"), trials=40, most=3, starts=2)
    assert (relu.m <= 3 and relu.saturated_at is None and relu.at_most <= 3) or relu.at_most == math.inf
    measured = sl.capacity(net, sl.scattered(net, 14, "W"), shared=("B", "D"), trials=100)
    assert measured.quantity == "found" and 6 <= measured.m <= measured.at_most == 8
    assert measured.evidence[measured.m].probability >= 0.95


def test_what_drawn_masks_say_is_no_proof():
    """The share of full rank among 100 masks is no bound of the chance of full rank: said to be estimated, exact where it is counted."""
    net = sl.Recurrent(2, 8, 2, 4)
    found = sl.capacity(net, sl.scattered(net, 10, "W"), shared=("B", "D"), trials=100, most=10)
    assert found.evidence[3].startswith("estimated: P(MP = 1) >= ") and found.evidence[3].endswith("(95 %, from 100 masks drawn)")
    assert found.evidence[7] == "proven: P(rho = kappa = 12) <= 0"  # T - 1 = 6 steps want 12 weights
    assert "existence between" in str(found) and "(95 % each where not proven)" in str(found)
    layer = sl.Feedforward((3, 4, 2), 1)
    proven = sl.capacity(layer, sl.only(layer, "W2"), trials=50)
    assert "not proven" not in str(proven) and set(proven.evidence.values()) == {"proven: MP = 1"}
