"""Best allocations and proofs of impossibility against every allocation of small networks."""

import functools
import itertools
import math
import pickle

import numpy as np
import pytest

import sublearn as sl
from sublearn.design.problem import Problem, read_limits
from sublearn.ranks.column_matroid import prices
from sublearn.ranks.generic_rank import attained_ranks, free_weights, required_rank
from tests.test_matroid import laminar_family, obeys, random_caps, subsets
from tests.twins import ranks as twin

SMALL = [
    (sl.Feedforward((2, 3, 2), 2), ()),
    (sl.Recurrent(1, 3, 2, 3), ("B", "D")),
    (sl.Recurrent(1, 2, 1, 4, bias=("b",)), ()),
    (sl.Feedforward((2, 2, 2), 3, activation="tanh", bias=("b2",)), ()),
    (sl.Recurrent(2, 2, 1, 4), ("W",)),
    (sl.Feedforward((2, 2, 2), 2, bias=True), ("b1",)),
    (sl.Recurrent(1, 2, 1, 3, bias=True), ("D", "c")),
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
@pytest.mark.parametrize("net, shared", SMALL, ids=IDS)
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


# Impossibility, verified without enumeration: ranks of explicit real Jacobians, and arithmetic with the caps that the proof names.

LARGER = [
    (sl.Feedforward((3, 4, 3), 4, bias=True), ()),
    (sl.Feedforward((4, 3, 3, 2), 3, bias=("b2",)), ("W1",)),
    (sl.Feedforward((3, 4, 2), 3), ()),
    (sl.Recurrent(2, 5, 2, 4), ("B", "D")),
    (sl.Recurrent(1, 4, 2, 5, bias=True), ("D",)),
]


def lines_of(net, shared, rng, overlap):
    """Caps on rows (or columns) of groups and on whole groups; with overlap on rows, columns and what enters and leaves a unit."""
    found = []
    for name, place in net.unpack(np.arange(net.size)).items():
        if name in shared:
            continue
        grid = place.reshape(place.shape[0], -1)
        lines = [*grid, *grid.T] if overlap else list(grid if rng.random() < 0.5 else grid.T)
        most = int(rng.integers(0, 3))
        found += [(line, int(rng.integers(most, most + 2))) for line in lines if rng.random() < 0.9]
        found.append((grid.reshape(-1), int(rng.integers(1, grid.size + 1))))
    caps = []
    for members, most in found:
        mask = np.zeros(net.size, dtype=bool)
        mask[members] = True
        caps.append((mask, most))
    return caps


@functools.cache
def real_points(net):
    rng = np.random.default_rng(8)
    points = [twin.jacobian(net, rng.standard_normal(net.size) / 2, rng.standard_normal(net.x_shape)) for _ in range(2)]
    return np.stack(points).astype(float)


def real_rank(net, masks):
    return twin.real_ranks(real_points(net), masks)


def largest_within(members, caps):
    """Size of the largest part of a set that obeys laminar caps: from the smallest on each drops what is too much in it."""
    left = members.copy()
    for mask, most in sorted(caps, key=lambda cap: cap[0].sum()):
        inside = np.flatnonzero(left & mask)
        left[inside[most:]] = False
    return int(left.sum())


def test_impossibility_is_proven_by_rank_and_arithmetic():
    rng = np.random.default_rng(11)
    proofs = 0
    for net, shared in LARGER:
        free, kappa = free_weights(net, shared), required_rank(net, shared)
        assert real_rank(net, free[None])[0] == kappa
        for number in range(120):
            limits = lines_of(net, shared, rng, overlap=False)
            try:
                best = sl.best_allocation(net, None, limits, shared)
                assert all((best.mask & mask).sum() <= most for mask, most in limits) and real_rank(net, best.mask[None])[0] == kappa
            except sl.Impossible as proof:
                proofs += 1
                inside = int(real_rank(net, proof.tight.mask[None])[0])
                outside = largest_within(free & ~proof.tight.mask, [limits[k] for k in proof.limits])
                assert inside + outside == proof.reachable < kappa == proof.required_rank
                if number % 8:
                    continue  # and nothing within the limits has a larger rank, seen by growing one
                grown = np.zeros(net.size, dtype=bool)
                for weight in rng.permutation(np.flatnonzero(free)):
                    grown[weight] = True
                    if any((grown & mask).sum() > most for mask, most in limits) or real_rank(net, grown[None])[0] < grown.sum():
                        grown[weight] = False
                assert grown.sum() <= proof.reachable
    assert proofs >= 200, proofs


def test_impossibility_by_integer_programme_is_proven_by_its_constraints():
    """Overlapping limits: the ranks named are true, and they and the limits named leave no choice, says an integer programme."""
    from scipy import optimize as scipy

    rng = np.random.default_rng(12)
    proofs = overlapping = 0
    for net, shared in LARGER[:1] + LARGER[3:]:
        free, kappa = free_weights(net, shared), required_rank(net, shared)
        for _ in range(14):
            limits = lines_of(net, shared, rng, overlap=True)
            cost = {g: rng.integers(1, 9, s) for g, s in net.groups.items() if g not in shared}
            try:
                best = sl.best_allocation(net, cost, limits, shared)
                assert all((best.mask & mask).sum() <= most for mask, most in limits) and real_rank(net, best.mask[None])[0] == kappa
            except sl.Impossible as proof:
                proofs += 1
                overlapping += proof.reachable is None
                parts = [(part.mask, bound) for part, bound in proof.ranks]
                if parts:
                    assert (real_rank(net, np.stack([mask for mask, _ in parts])) == [bound for _, bound in parts]).all()
                rows = [(free, None), *(limits[k] for k in proof.limits), *parts]
                matrix = np.array([mask for mask, _ in rows], dtype=float)
                upper = np.array([np.inf] + [most for _, most in rows[1:]])
                lower = np.array([kappa] + [-np.inf] * (len(rows) - 1))
                out = scipy.milp(
                    np.zeros(net.size), integrality=np.ones(net.size), bounds=scipy.Bounds(0, free.astype(float)),
                    constraints=scipy.LinearConstraint(matrix, lower, upper),
                )  # fmt: skip
                assert out.status == 2
    assert proofs >= 12 and overlapping >= 6, (proofs, overlapping)


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
    least = [np.median(np.linalg.svd(sl.jacobian(small, trials.student, trials.x, a), compute_uv=False)[:, -1]) for a in (plain, good)]
    assert least[1] > least[0]
    one = sl.Feedforward((2, 3, 2), 2)
    limits = [({"W1": np.ones((3, 2), bool)}, 3), ({"W2": np.ones((2, 3), bool)}, 2)]
    a = sl.best_allocation(one, limits=limits, prefer="probability", trials=40, tries=5)
    assert a.by_group["W2"].sum() <= 2 and sl.predict(one, a).attained_rank == 4


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
    with pytest.raises(TypeError, match=r"random strategy scattered; its \.draw\(seed\) gives one"):
        sl.explain(net, sl.scattered(net, 2))
    with pytest.raises(sl.Impossible, match="limits: limits 0 allow at most 1 weights: 1 < kappa"):
        sl.best_allocation(net, limits=[(np.ones(net.size, bool), 1)])
    with pytest.raises(ValueError, match="eps: expected"):
        sl.capacity(net, sl.everything(net), eps=1.0)


def lines_limited(net):
    """Limits that overlap: at most one weight of W in a row, at most two in a column."""
    n = net.hidden
    rows = [np.broadcast_to(np.arange(n)[:, None] == k, (n, n)) for k in range(n)]
    return [({"W": row}, 1) for row in rows] + [({"W": row.T}, 2) for row in rows]


@pytest.mark.parametrize("limits", ["none", "laminar", "overlapping"])
def test_the_unit_of_costs_does_not_matter(limits):
    """Shared groups cost 1 per weight by default, which says nothing of the costs of those that can be chosen."""
    net, shared = sl.Recurrent(2, 4, 2, 3), ("B", "D")
    limits = {"none": [], "laminar": lines_limited(net)[:4], "overlapping": lines_limited(net)}[limits]
    for seed in range(5):
        cost = np.random.default_rng(seed).random((4, 4))
        best = sl.best_allocation(net, {"W": cost}, limits, shared)
        for unit in (1e12, 1e-12, 1e-200, 1e200):
            assert sl.best_allocation(net, {"W": cost * unit}, limits, shared) == best
        for offset in (1e4, -1e4):
            assert sl.best_allocation(net, {"W": cost + offset}, limits, shared) == best


@pytest.mark.parametrize("overlap", [False, True])
def test_prices_out_of_reach_do_not_blur_the_others(overlap):
    """Weights that nobody would buy: the solvers round by a share of the largest cost, which must be one that matters."""
    net, shared = sl.Recurrent(2, 4, 2, 3), ("B", "D")
    limits = lines_limited(net)[: None if overlap else 4]
    for seed in range(5):
        rng = np.random.default_rng(seed)
        cost, dear = rng.random((4, 4)), rng.random((4, 4)) < 0.4
        dear[np.arange(4), np.arange(4)[::-1]] = False
        by_limit = sl.best_allocation(net, {"W": cost}, [*limits, ({"W": dear}, 0)], shared)
        for price in (1e3, 1e9, 1e15, 1e100):
            assert sl.best_allocation(net, {"W": np.where(dear, price, cost)}, limits, shared) == by_limit


def test_equal_prices_are_judged_beside_themselves():
    """A dear weight elsewhere does not make different totals equal ones."""
    net, shared = sl.Recurrent(2, 4, 2, 3), ("B", "D")
    cost = np.random.default_rng(0).random((4, 4))
    cost[0, 0] = 1e14
    cheapest = sl.best_allocation(net, {"W": cost}, shared=shared)
    assert sl.best_allocation(net, {"W": cost}, shared=shared, prefer="probability", trials=20, tries=5) == cheapest


def test_limits_of_0_take_weights_out_before_anything_else(monkeypatch):
    """Forbidden weights need no solver: the greedy choice of prices out of reach, whatever other limits they cross."""
    net, shared = sl.Recurrent(2, 6, 2, 4), ("B", "D")
    rng = np.random.default_rng(5)
    cost, forbidden = rng.random((6, 6)), rng.random((6, 6)) < 0.4
    by_price = sl.best_allocation(net, {"W": np.where(forbidden, 1e6, cost)}, shared=shared)
    rows = lines_limited(net)[:6]
    with_rows = sl.best_allocation(net, {"W": np.where(forbidden, 1e6, cost)}, [(m, 2) for m, _ in rows], shared)
    monkeypatch.setattr("sublearn.design.problem.cheapest_capped", lambda *_: pytest.fail("an integer programme"))
    assert sl.best_allocation(net, {"W": cost}, [({"W": forbidden}, 0), *((m, 2) for m, _ in rows)], shared) == with_rows
    monkeypatch.setattr("sublearn.design.problem.cheapest_common", lambda *_: pytest.fail("a matroid intersection"))
    assert sl.best_allocation(net, {"W": cost}, [({"W": forbidden}, 0)], shared) == by_price
    halves = [({"W": forbidden & (np.indices((6, 6)).sum(0) % 2 == k)}, 0) for k in (0, 1)]
    assert sl.best_allocation(net, {"W": cost}, [*halves, ({"W": forbidden}, 0)], shared) == by_price
    for prefer in ("probability", "conditioning"):
        chosen = sl.best_allocation(net, None, [({"W": forbidden}, 0)], shared, prefer=prefer, trials=20, tries=5)
        assert not (chosen.by_group["W"] & forbidden).any() and chosen.budget == required_rank(net, shared)


def test_forbidden_weights_in_proofs_of_impossibility():
    """rank(S), and what the named limits allow outside S, with nothing of the limits of 0 among them."""
    net, shared = sl.Recurrent(2, 6, 2, 4), ("B", "D")
    free, kappa = free_weights(net, shared), required_rank(net, shared)
    rng = np.random.default_rng(6)
    proofs = 0
    for _ in range(60):
        limits = [(({"W": rng.random((6, 6)) < rng.choice([0.5, 0.9])}), 0) for _ in range(2)]
        limits += [(m, 1) for m, _ in lines_limited(net)[:6] if rng.random() < 0.4]
        order = rng.permutation(len(limits))
        limits = [limits[k] for k in order]
        try:
            best = sl.best_allocation(net, None, limits, shared).by_group["W"]
            assert all((best & m["W"]).sum() <= most for m, most in limits)
        except sl.Impossible as proof:
            proofs += 1
            used = [(sl.Allocation(net, limits[k][0]).mask, limits[k][1]) for k in proof.limits]
            outside = free & ~proof.tight.mask
            for mask, _ in used:
                outside &= ~mask
            rank = int(real_rank(net, proof.tight.mask[None])[0])
            assert rank + outside.sum() + sum(most for _, most in used) == proof.reachable < kappa
            assert str(proof).startswith("limits: ")
    assert proofs >= 20
    with pytest.raises(sl.Impossible, match="limits: limits 1 allow at most 0 weights: 0 < kappa"):
        sl.best_allocation(net, limits=[({"W": np.eye(6, dtype=bool)}, 3), (np.ones(net.size, bool), 0)], shared=shared)


# Equal costs, and other budgets


@pytest.mark.parametrize("net, shared", SMALL, ids=IDS)
def test_every_budget_is_the_cheapest_of_all_allocations_and_ties_are_counted(net, shared):
    """Against every set of so many weights with the largest rank there can be."""
    free, kappa = free_weights(net, shared), required_rank(net, shared)
    places = np.flatnonzero(free)
    rng = np.random.default_rng(net.size)
    for budget in sorted({1, kappa - 1, kappa, min(kappa + 1, len(places)), min(kappa + 3, len(places))} - {0}):
        if math.comb(len(places), budget) > 20000:
            continue
        masks = np.zeros((math.comb(len(places), budget), net.size), dtype=bool)
        for row, chosen in zip(masks, itertools.combinations(places, budget)):
            row[list(chosen)] = True
        masks = masks[attained_ranks(net, masks, shared) == min(budget, kappa)]
        for number in range(4):
            cost = None if number == 0 else {g: rng.integers(0, 3, s) for g, s in net.groups.items() if g not in shared}
            flat = prices(net, cost)
            best = sl.best_allocation(net, cost, shared=shared, budget=budget)
            costs = masks @ flat
            assert best.budget == budget and flat[best.mask].sum() == costs.min()
            assert any((best.mask == mask).all() for mask in masks)
            wanted = int((costs == costs.min()).sum())
            assert best.ties == wanted or (wanted > 500 and abs(best.ties / wanted - 1) < 0.15)


def test_distinct_costs_leave_nothing_to_choose():
    """The greedy basis by cost and then by position, as without any preference among equals."""
    net, shared = sl.Recurrent(2, 8, 2, 6), ("B", "D")
    for seed in range(5):
        cost = {"W": np.random.default_rng(seed).permutation(64).reshape(8, 8)}
        best = sl.best_allocation(net, cost, shared=shared)
        assert (best.mask == Problem(net, prices(net, cost), [], shared).solve()).all() and best.ties == 1
    assert isinstance(best, sl.Allocation) and best == sl.Allocation.from_mask(net, best.mask) and best == pickle.loads(pickle.dumps(best))


TIED = [
    (sl.Feedforward((10, 20, 5), 8, activation="tanh", bias=True), (), 0.9),  # the lowest positions are 40 weights of 4 units
    (sl.Recurrent(2, 8, 2, 6), ("B", "D"), 0.25),  # T7: two rows, solved one after the other
    (sl.Feedforward((4, 6, 3), 6, activation="tanh", bias=True), (), 0.9),
]


@pytest.mark.parametrize("net, shared, least", TIED, ids=[net.describe().split(",")[0] for net, *_ in TIED])
def test_of_equal_costs_one_is_taken_that_is_found(net, shared, least):
    best = sl.best_allocation(net, shared=shared)
    assert best.ties > 1e9 and best == sl.best_allocation(net, shared=shared)
    assert sl.predict(net, best, shared).kind == "maximal"
    lowest = sl.Allocation.from_mask(net, Problem(net, prices(net, None), [], shared).solve())
    found = [sl.match_probability(net, a, 60, shared, method="newton", starts=1).probability for a in (best, lowest)]
    assert found[0] >= max(least, found[1] - 0.1)


def test_where_theory_knows_none_columns_are_far_from_parallel():
    """tanh recurrent, and limits with equal costs: the smallest singular value in many trials is far larger than that of low positions."""
    net, shared = sl.Recurrent(2, 8, 2, 6, activation="tanh"), ("B", "D")
    every = sl.everything(net, shared)
    trial = sl.draw_trials(net, every, 50, shared=shared, seed=5)
    J = np.zeros((50, net.equations, net.size))
    J[:, :, every.allocation.mask] = sl.jacobian(net, trial.student, trial.x, every)
    least = lambda mask: np.median(np.linalg.svd(J[:, :, mask], compute_uv=False)[:, -1])  # noqa: E731
    place = np.arange(64).reshape(8, 8)
    rows = [({"W": place // 8 == k}, 3) for k in range(8)]
    overlapping = [(mask, 2 * most) for mask, most in lines_limited(net)]  # which leave few nearly parallel columns to choose
    for limits, times in ((), 5), (rows, 2), (overlapping, 1):
        lowest = Problem(net, prices(net, None), read_limits(net, list(limits)), shared).solve()
        best = sl.best_allocation(net, limits=limits, shared=shared)
        assert least(best.mask) > times * least(lowest) and all((best.by_group["W"] & mask["W"]).sum() <= most for mask, most in limits)
        assert (best.ties is None) == bool(limits)
    far = sl.best_allocation(net, shared=shared, budget=14)
    assert far.contains(sl.best_allocation(net, shared=shared)) and far.budget == 14


def test_budgets_within_limits_and_their_errors():
    net, shared, place = sl.Recurrent(2, 8, 2, 6), ("B", "D"), np.arange(64).reshape(8, 8)
    rows = [({"W": place // 8 == k}, 1) for k in range(8)]
    few = sl.best_allocation(net, limits=rows, shared=shared, budget=7)
    assert few.by_group["W"].sum(axis=1).max() == 1 and sl.predict(net, few, shared).attained_rank == 7
    two = [(mask, 2) for mask, _ in rows]
    more = sl.best_allocation(net, limits=two, shared=shared, budget=13)
    assert more.budget == 13 and more.by_group["W"].sum(axis=1).max() == 2 and sl.predict(net, more, shared).attained_rank == 10
    for budget, limits, error, text in (
        (65, None, ValueError, "budget: expected at most the 64 weights that may be chosen, got 65"),
        (17, two, ValueError, "budget: expected at most 16, which the limits allow"),
        (-1, None, ValueError, "budget: expected a whole number >= 0"),
        (9, rows, sl.Impossible, "allow at most 8 weights: 8 < the budget 9, so there are not as many independent weights"),
    ):
        with pytest.raises(error, match=text):
            sl.best_allocation(net, limits=limits, shared=shared, budget=budget)
    with pytest.raises(ValueError, match="prefer: expected None or 'conditioning', for a budget of 6 < kappa = 10"):
        sl.best_allocation(net, shared=shared, budget=6, prefer="probability")
    assert sl.best_allocation(net, shared=shared, budget=0).budget == 0
    assert sl.best_allocation(net, shared=shared, budget=6, prefer="conditioning", tries=5).budget == 6
