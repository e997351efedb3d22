"""Best allocations against every allocation of small networks;
explanations by adding the weights; capacities by hand."""

import itertools
import math
import sys

import numpy as np
import pytest

import sublearn as sl
from sublearn._column_matroid import prices
from sublearn.generic import attained_ranks, free_weights, required_rank
from tests.test_matroid import laminar_family, obeys, random_caps, subsets

SMALL = [
    (sl.Feedforward((2, 3, 2), 2), ()),
    (sl.Recurrent(1, 3, 2, 3), ("B", "D")),
    (sl.Recurrent(1, 2, 1, 4, bias=("b",)), ()),
    (sl.Feedforward((2, 2, 2), 3, activation="tanh", bias=("b2",)), ()),
    (sl.Recurrent(2, 2, 1, 4), ("W",)),
]
IDS = [net.describe().replace(" ", "_") for net, _ in SMALL]


def every(net, shared):
    """All masks of kappa free weights and whether each has full rank, by ranks of another random point."""
    free, kappa = free_weights(net, shared), required_rank(net, shared)
    places = np.flatnonzero(free)
    masks = np.zeros((math.comb(len(places), kappa), net.size), dtype=bool)
    for row, chosen in zip(masks, itertools.combinations(places, kappa)):
        row[list(chosen)] = True
    return masks, attained_ranks(net, masks, shared) == kappa


def random_cost(rng, net, shared):
    if rng.random() < 0.15:
        return None
    draw = (lambda s: rng.integers(0, 4, s)) if rng.random() < 0.5 else (lambda s: rng.normal(size=s) * 100)
    return {g: draw(s) for g, s in net.groups.items() if g not in shared and rng.random() < 0.9}


@pytest.mark.parametrize("kind", ["free", "laminar", "overlapping"])
@pytest.mark.parametrize(("net", "shared"), SMALL, ids=IDS)
def test_best_of_all_allocations_or_proven_impossible(net, shared, kind):
    masks, full = every(net, shared)
    kappa, free = required_rank(net, shared), free_weights(net, shared)
    rng = np.random.default_rng(net.size)
    for _ in range({"free": 20, "laminar": 60, "overlapping": 30}[kind]):
        cost = random_cost(rng, net, shared)
        flat = prices(net, cost)
        make = {"free": lambda *_: [], "laminar": laminar_family, "overlapping": random_caps}[kind]
        caps = make(rng, net.size)
        good = masks[full & obeys(masks, caps)]
        try:
            best = sl.best_allocation(net, cost, [(c.members, c.most) for c in caps], shared)
        except sl.Impossible as proof:
            assert not len(good) and proof.required_rank == kappa
            used = [caps[k] for k in proof.limits]
            for part, bound in proof.ranks:
                assert attained_ranks(net, part.mask[None], shared)[0] <= bound
            if proof.reachable is not None:
                inside = np.flatnonzero(free & ~proof.tight.mask)
                outside = np.zeros((2 ** len(inside), net.size), dtype=bool)
                outside[:, inside] = subsets(len(inside))
                most = outside[obeys(outside, used)].sum(axis=1).max()
                r = attained_ranks(net, proof.tight.mask[None], shared)[0]
                assert r + most == proof.reachable < kappa
            else:
                left = masks[obeys(masks, used)]
                for part, bound in proof.ranks:
                    left = left[(left & part.mask).sum(axis=1) <= bound]
                assert not len(left)
            continue
        assert any((best.mask == m).all() for m in good)
        assert flat[best.mask].sum() <= (good @ flat).min() + 1e-6 * np.abs(flat).max()


def test_limits_in_every_form_and_a_planted_impossibility():
    net = sl.Recurrent(2, 8, 2, 6)
    shared, place = ("B", "D"), np.arange(64).reshape(8, 8)
    rows = [({"W": place // 8 == k}, 1) for k in range(8)]
    with pytest.raises(sl.Impossible, match="8 < kappa = 10") as caught:
        sl.best_allocation(net, limits=rows, shared=shared)
    assert caught.value.limits == tuple(range(8)) and caught.value.reachable == 8
    assert caught.value.tight.budget == 0 and isinstance(caught.value, ValueError)
    two = [(m, 2) for m, _ in rows]
    first = sl.best_allocation(net, limits=two, shared=shared)
    forms = [(sl.Allocation(net, two[0][0]), 2), (sl.Allocation(net, two[1][0]).mask, 2), *two[2:]]
    assert sl.best_allocation(net, limits=forms, shared=shared) == first
    assert first.by_group["W"].sum(axis=1).max() == 2 and first.budget == 10
    both = two + [({"W": place % 8 == k}, 2) for k in range(8)]
    grid = sl.best_allocation(net, limits=both, shared=shared).by_group["W"]
    assert grid.sum(axis=0).max() <= 2 and grid.sum(axis=1).max() <= 2
    nothing = sl.best_allocation(net, shared=("B", "W", "D"), prefer="probability")
    assert nothing.budget == 0


def test_preferences_keep_the_cost_and_improve():
    net, shared = sl.Recurrent(2, 8, 2, 6), ("B", "D")
    best = sl.best_allocation(net, shared=shared, prefer="probability", trials=50)
    assert sl.predict(net, best, shared).kind == "maximal"
    assert best == sl.best_allocation(net, shared=shared, prefer="probability", trials=50)
    small = sl.Recurrent(2, 4, 2, 3)
    cost = {"W": np.arange(16).reshape(4, 4) % 2}
    plain = sl.best_allocation(small, cost, shared=shared)
    good = sl.best_allocation(small, cost, shared=shared, prefer="conditioning", tries=60, seed=1)
    price = prices(small, cost)
    assert price[plain.mask].sum() == price[good.mask].sum() and good.budget == plain.budget
    assert sl.predict(small, good, shared).attained_rank == 4
    trials = sl.draw_trials(small, good, 48, shared=shared, seed=1)
    least = [
        np.median(np.linalg.svd(sl.jacobian(small, trials.student, trials.x, a), compute_uv=False)[:, -1])
        for a in (plain, good)
    ]
    assert least[1] > least[0]
    one = sl.Feedforward((2, 3, 2), 2)
    limits = [({"W1": np.ones((3, 2), bool)}, 3), ({"W2": np.ones((2, 3), bool)}, 2)]
    a = sl.best_allocation(one, limits=limits, prefer="probability", trials=40, tries=5)
    assert a.by_group["W2"].sum() <= 2 and sl.predict(one, a).attained_rank == 4


@pytest.mark.parametrize(("net", "shared"), SMALL, ids=IDS)
def test_explanations_hold_when_the_weights_are_added(net, shared):
    rng = np.random.default_rng(3)
    free, kappa = free_weights(net, shared), required_rank(net, shared)
    deficient = 0
    for _ in range(25):
        mask = free & (rng.random(net.size) < rng.uniform(0, 0.6))
        a = sl.Allocation.from_mask(net, mask)
        cost = random_cost(rng, net, shared)
        told = sl.explain(net, a, shared, cost)
        rho = attained_ranks(net, mask[None], shared)[0]
        assert (told.attained_rank, told.required_rank, told.missing) == (rho, kappa, kappa - rho)
        assert len(told.unmet) == told.missing == told.completion.budget and str(told)
        unlocking = sl.Allocation.from_edges(net, [u.edge for u in told.unlocks]).mask
        for e in np.flatnonzero(free & ~mask):
            more = mask | (np.arange(net.size) == e)
            gain = attained_ranks(net, more[None], shared)[0] - rho
            assert gain == unlocking[e] == (not told.useless.mask[e])
        assert attained_ranks(net, told.completed.mask[None], shared)[0] == kappa
        assert attained_ranks(net, (mask & ~told.surplus.mask)[None], shared)[0] == rho
        assert told.surplus.budget == mask.sum() - rho
        for line in told.lines:
            assert attained_ranks(net, (mask | line.weights.mask)[None], shared)[0] - rho == line.ranks
        if not told.missing:
            continue
        deficient += 1
        price, others = prices(net, cost), np.flatnonzero(unlocking)
        sets = np.zeros((math.comb(len(others), told.missing), net.size), dtype=bool)
        for row, chosen in zip(sets, itertools.combinations(others, told.missing)):
            row[list(chosen)] = True
        sets = sets[attained_ranks(net, sets | mask, shared) == kappa]
        assert told.completion_cost <= (sets @ price).min() + 1e-9 * np.abs(price).max()
        _unmet_combinations_hold_in_real_numbers(net, shared, told, mask, free)
    assert deficient > 5


def _unmet_combinations_hold_in_real_numbers(net, shared, told, mask, free):
    whole = sl.Allocation.from_mask(net, np.ones(net.size, dtype=bool))
    trial = sl.draw_trials(net, sl.everything(net), 1, seed=5)
    J = sl.jacobian(net, trial.student, trial.x, whole)[0] * free
    row = lambda e: (
        e[1] * net.y_shape[1] + e[0] if isinstance(net, sl.Recurrent) else e[0] * net.y_shape[1] + e[1]
    )  # noqa: E731
    for unmet in told.unmet:
        here, tied = J[row(unmet.equation)], J[[row(e) for e in unmet.tied_to]]
        factors = np.linalg.lstsq(tied[:, mask].T, here[mask], rcond=None)[0] if len(tied) else np.zeros(0)
        left = here - factors @ tied
        assert np.abs(left[mask]).max(initial=0) < 1e-8 < 1e-6 < np.abs(left).max()


def test_explanation_names_the_rule_and_the_row():
    net = sl.Recurrent(2, 8, 2, 6)
    told = sl.explain(net, sl.rows(net, 10, "W"), ("B", "D"))
    assert (told.attained_rank, told.missing, told.surplus.budget) == (7, 3, 3)
    assert any("T12" in rule and "row 0 has 8" in rule for rule in told.rules)
    assert "cheapest completion: 3 weights" in str(told)
    assert told.unmet[0].text.endswith("5 others are met, output 0 at step 1 to output 0 at step 3")
    layer = sl.Feedforward((3, 4, 2), 3)
    told = sl.explain(layer, sl.rows(layer, 5, "W2"))
    assert all(unmet.text.endswith((" is met", " are met")) for unmet in told.unmet)
    assert told.attained_rank == 4 and any("row 1 has 1 (T4)" in rule for rule in told.rules)
    silent = sl.explain(layer, sl.rows(layer, 3, "W2"))
    assert all("no learnable weight acts on it" in unmet.text for unmet in silent.unmet)


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
    assert relu.m <= 3 and relu.saturated_at is None and relu.at_most <= 3 or relu.at_most == math.inf
    measured = sl.capacity(net, sl.scattered(net, 14, "W"), shared=("B", "D"), trials=100)
    assert measured.quantity == "found" and 6 <= measured.m <= measured.at_most == 8
    assert measured.evidence[measured.m].probability >= 0.95


def test_errors_are_named(monkeypatch):
    net = sl.Feedforward((2, 3, 2), 2)
    relu = sl.Feedforward((2, 3, 2), 2, activation="relu")
    for call in (lambda: sl.best_allocation(relu), lambda: sl.explain(relu, sl.everything(relu))):
        with pytest.raises(ValueError, match="net: expected a linear or tanh network, got relu"):
            call()
    for cost, error, text in (
        ([1], TypeError, "cost: expected a dict"),
        ({"W9": 1}, ValueError, "cost: expected groups out of W1, W2"),
        ({"W1": np.ones(3)}, ValueError, r"cost\['W1'\]: expected shape"),
        ({"W1": math.inf}, ValueError, "expected finite"),
        ({"W1": "a"}, TypeError, "expected real numbers"),
    ):
        with pytest.raises(error, match=text):
            sl.best_allocation(net, cost)
    for limits, error, text in (
        ({}, TypeError, "limits: expected a list"),
        ([3], TypeError, r"limits\[0\]: expected a pair"),
        ([(np.ones(3, bool), 1)], ValueError, r"limits\[0\]: mask: expected shape"),
        ([({"W1": np.ones((3, 2), bool)}, -1)], ValueError, r"limits\[0\] most"),
        ([(sl.scattered(net, 2), 1)], TypeError, "random strategy"),
    ):
        with pytest.raises(error, match=text):
            sl.best_allocation(net, limits=limits)
    with pytest.raises(ValueError, match="prefer: expected"):
        sl.best_allocation(net, prefer="luck")
    with pytest.raises(TypeError, match="random strategy"):
        sl.explain(net, sl.scattered(net, 2))
    with pytest.raises(ValueError, match="eps: expected"):
        sl.capacity(net, sl.everything(net), eps=1.0)
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    place = np.arange(6).reshape(3, 2)
    overlap = [({"W1": place < 3}, 1), ({"W1": place % 2 == 0}, 1)]
    with pytest.raises(ModuleNotFoundError, match=r"sublearn\[study\]"):
        sl.best_allocation(net, limits=overlap)
