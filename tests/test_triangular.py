"""Matches by substitution: every structure of T7 in random allocations is solved, proven, and right to 25 digits; tanh verdicts against
measured references; trials that break a hypothesis are not called proven."""

import numpy as np
import pytest

import sublearn as sl
from sublearn.existence.by_substitution import Enclosed, Plan, more_plans, outputs, plans, solve
from sublearn.homotopy.system import system_of
from sublearn.ranks.generic_rank import attained_ranks

EPS = float(np.finfo(float).eps)
SHARED = ("B", "D")


def every_plan(net, mask, shared):
    return plans(net, mask[None], shared)[0] + more_plans(net, mask[None], shared)[0]


def flat(trials):
    n = len(trials)
    return trials.student, trials.x.reshape(n, -1), trials.y.reshape(n, -1)


def grid(shape, rows, columns=None):
    mask = np.zeros(shape, dtype=bool)
    mask[rows if columns is None else np.ix_(rows, columns)] = True
    return mask


def misses(net, solution, x, y, equations=slice(None)):
    """Relative miss of theta + low, to some 30 digits."""
    gap = outputs(net, Enclosed(solution.theta, solution.low), x, Enclosed(y))
    return np.abs(gap.hi[:, equations]).max(axis=1) / np.abs(y).max(axis=1)


R, F = sl.Recurrent, sl.Feedforward
STRUCTURES = [
    (R(2, 6, 2, 4), {"W": grid((6, 6), [0, 3], [1, 2, 4])}, SHARED, "row"),
    (R(2, 6, 2, 4), {"W": grid((6, 6), [0, 3, 5])}, SHARED, "row"),
    (R(1, 6, 3, 3, bias=True), {"W": grid((6, 6), range(6), [0])}, ("B", "D", "b", "c"), "column"),
    (R(2, 6, 2, 4, bias=True), {"W": grid((6, 6), range(6), [0]), "c": np.ones(2, bool)}, (), "column"),
    (R(2, 6, 2, 4, bias=True), {"W": grid((6, 6), [1, 5], [1, 2, 5]), "c": np.ones(2, bool)}, ("D",), "row"),
    (R(1, 6, 2, 4), {"W": grid((6, 6), [1, 5], [0, 1, 3]), "B": grid((6, 1), [1, 5])}, (), "row, nothing shared"),
    (R(2, 5, 2, 3, bias=("b",)), {"W": grid((5, 5), [0, 4], [2, 3]), "b": np.arange(5) % 4 == 0}, SHARED, "row, nothing shared"),
    (R(1, 4, 2, 3), {"W": grid((4, 4), range(4), [2]), "D": grid((2, 4), [0, 1], [2])}, (), "column, nothing shared"),
    (R(2, 8, 2, 5, bias=("b",)), {"W": grid((8, 8), range(8), [7]), "D": grid((2, 8), [0, 1], [7])}, ("B", "b"), "column, nothing shared"),
    (F((3, 4, 2), 3), {"W1": grid((4, 3), [1]), "W2": grid((2, 4), [0], [0, 1, 3])}, (), "output split"),
    (
        F((2, 4, 3), 3, bias=True),
        {"W1": grid((4, 2), [1]), "b1": np.arange(4) == 1, "W2": grid((3, 4), [0, 2], [0, 1, 3])},
        (),
        "output split",
    ),
    (R(1, 4, 2, 4), {"D": grid((2, 4), [1]), "W": grid((4, 4), [2], [0, 1, 3]), "B": grid((4, 1), [2])}, (), "output split"),
    (F((3, 4, 2), 5), {"W1": grid((4, 3), [0, 1]), "W2": grid((2, 4), [0], [2])}, (), "affine"),
]


@pytest.mark.parametrize("net,masks,shared,name", STRUCTURES, ids=lambda v: str(v).replace(" ", "") if isinstance(v, str) else "")
def test_named_structures_are_solved(net, masks, shared, name):
    allocation = sl.Allocation(net, masks)
    trials = sl.draw_trials(net, allocation, 60, shared=shared, seed=1)
    theta, x, y = flat(trials)
    made = every_plan(net, allocation.mask, shared)
    plan = next(plan for plan in made if plan.name == name)
    found = solve(net, shared, theta, x, y, [plan] * 60, EPS, trials.teacher, np.ones(60, dtype=bool))
    assert found.proven.mean() > 0.98
    ok = found.proven
    system = system_of(net, shared)
    miss = misses(net, found, x, y, system.moving)[ok]
    # y was rounded: where kappa is below the number of equations no solution meets all of them better than 1e-16 or so
    assert np.median(miss) < 1e-13 if system.kappa < system.moving.sum() else miss.max() < 1e-19
    np.testing.assert_array_equal(found.theta[:, ~allocation.mask], theta[:, ~allocation.mask])
    moved = (found.theta != theta) & allocation.mask
    assert moved.any(axis=1)[ok].all()


@pytest.mark.parametrize(
    "net,shared",
    [
        (R(1, 7, 1, 4), SHARED),
        (R(2, 7, 2, 3), SHARED),
        (R(1, 7, 2, 3, bias=True), ("B", "D", "b")),
        (R(2, 6, 2, 3), ()),
        (R(1, 6, 1, 4, bias=("b",)), ()),
        (R(2, 6, 3, 2, bias=("c",)), ("B",)),
    ],
    ids=str,
)
def test_all_forms_in_random_parts(net, shared):
    """Structures with frozen weights beside them and surplus ones inside: every form of every mask, against 30 digits."""
    rng = np.random.default_rng(8)
    free = [group for group in net.groups if group not in shared]
    met = set()
    for share in (0.55, 0.7, 0.85, 1.0):
        drawn = sl.draw_trials(net, sl.only(net, *free), 40, shared=shared, seed=int(100 * share))
        masks = drawn.mask & (rng.random(drawn.mask.shape) < share)
        for group in ("D", "c"):
            if group in free:  # whole columns of D, all of c
                part = net.unpack(masks)[group]
                part[:] = (rng.random((40, 1, part.shape[2])) < 0.5) if group == "D" else (rng.random((40, 1)) < 0.5)
        theta, x, y = flat(drawn)
        moving = system_of(net, shared).moving
        for attempt in range(4):
            made = [(k, some[attempt]) for k, some in enumerate(plans(net, masks, shared)) if len(some) > attempt]
            if not made:
                continue
            rows = np.array([k for k, _ in made])
            found = solve(net, shared, theta[rows], x[rows], y[rows], [plan for _, plan in made])
            met |= {plan.name for _, plan in made}
            assert found.proven.mean() > 0.95
            assert misses(net, found, x[rows], y[rows], moving)[found.proven].max() < 1e-14
            assert (found.theta == theta[rows])[~masks[rows]].all()
    assert len(met) >= 2, met


@pytest.mark.parametrize(
    "net,shared",
    [
        (R(1, 4, 1, 4), SHARED),
        (R(2, 4, 2, 3), SHARED),
        (R(1, 4, 1, 4, bias=True), ("B", "D", "b")),
        (R(2, 4, 2, 3, bias=("c",)), ()),
        (R(2, 3, 2, 2, bias=True), ()),
        (F((2, 3, 2), 3), ()),
        (F((2, 3, 2), 4, bias=True), ()),
        (F((3, 2, 3, 2), 3), ("W1",)),
    ],
    ids=str,
)
def test_every_structure_that_prediction_knows_is_solved(net, shared):
    """Random allocations that predict calls maximal by T2 or T7 (parts too): solved, trial by trial with another mask."""
    rng = np.random.default_rng(4)
    free = np.ones(net.size, dtype=bool)
    for group in shared:
        free[net.slices[group]] = False
    masks = []
    while len(masks) < 60:
        mask = free & (rng.random(net.size) < rng.uniform(0.3, 0.95))
        said = sl.predict(net, sl.Allocation.from_mask(net, mask), shared)
        if said.kind == "maximal" and said.reason != "D4":
            masks.append(mask)
    masks = np.array(masks)
    drawn = sl.draw_trials(net, sl.only(net, *[g for g in net.groups if g not in shared]), 60, shared=shared, seed=2)
    theta, x, y = flat(drawn)
    made = [every_plan(net, mask, shared) for mask in masks]
    assert all(made)
    pairs = [(k, plan) for k, some in enumerate(made) for plan in some]
    rows = np.array([k for k, _ in pairs])
    taught = np.ones(len(rows), dtype=bool)
    found = solve(net, shared, theta[rows], x[rows], y[rows], [plan for _, plan in pairs], EPS, drawn.teacher[rows], taught)
    assert found.proven.mean() >= 0.95
    system = system_of(net, shared)
    miss = misses(net, found, x[rows], y[rows], system.moving)[found.proven]
    # y is rounded, so where some equations follow from others the last ones miss by its rounding times their conditioning
    assert np.quantile(miss, 0.9) < 1e-12 if system.kappa < system.moving.sum() else miss.max() < 1e-14
    assert (found.theta == theta[rows])[~masks[rows]].all()


def test_outputs_that_no_weight_reaches_are_checked():
    """y_1 with B and D shared, or a target off the reachable outputs: no proof, and no yes."""
    net = R(2, 6, 2, 4)
    allocation = sl.Allocation(net, {"W": grid((6, 6), [0, 3], [1, 2, 4])})
    drawn = sl.draw_trials(net, allocation, 20, shared=SHARED)
    y = drawn.y.copy()
    y[::2, 0, 1] += 1e-3
    found = solve(net, SHARED, drawn.student, drawn.x.reshape(20, -1), y.reshape(20, -1), every_plan(net, allocation.mask, SHARED)[:1] * 20)
    np.testing.assert_array_equal(found.proven, np.arange(20) % 2 == 1)
    for method in ("exact", "newton"):
        v = sl.decide(net, drawn.student, drawn.x, y, allocation, SHARED, method)
        assert (v.match[::2] == 0).all() and (v.reason[::2] == "D3").all() and not v.certified[::2].any() and (v.match[1::2] == 1).any()
    net = F((3, 4, 2), 5)  # more samples than inputs
    allocation = sl.Allocation(net, {"W1": grid((4, 3), [0, 1]), "W2": grid((2, 4), [0], [2])})
    drawn = sl.draw_trials(net, allocation, 20)
    y = drawn.y + np.where(np.arange(20) % 2, 0.0, 1e-3)[:, None, None] * np.random.default_rng(0).standard_normal((20, 2, 5))
    told = net, (), drawn.student, drawn.x.reshape(20, -1), y.reshape(20, -1), every_plan(net, allocation.mask, ())[:1] * 20
    assert not solve(*told).proven.any() and solve(*told).solved.all()  # equations are left out, and no teacher says that they follow
    found = solve(*told, EPS, drawn.teacher, np.arange(20) % 2 == 1)
    np.testing.assert_array_equal(found.proven, np.arange(20) % 2 == 1)


def test_a_trial_does_not_depend_on_the_others():
    net = R(2, 8, 2, 6)
    theta, x, y = flat(trials := sl.draw_trials(net, sl.per_row(net, rows=2, each=5, within="W"), 40, shared=SHARED, seed=5))
    made = [some[0] for some in plans(net, trials.mask, SHARED)]
    together = solve(net, SHARED, theta, x, y, made)
    for k in (0, 17, 39):
        alone = solve(net, SHARED, theta[k : k + 1], x[k : k + 1], y[k : k + 1], made[k : k + 1])
        np.testing.assert_array_equal(alone.theta[0], together.theta[k])
        np.testing.assert_array_equal(alone.low[0], together.low[k])


def test_broken_hypotheses_are_not_proven():
    """D singular on the chosen units; a column unit that is never active."""
    net = R(1, 4, 2, 3)
    rows = sl.Allocation(net, {"W": grid((4, 4), [0, 1], [0, 2])})
    theta, x, y = flat(sl.draw_trials(net, rows, 4, shared=SHARED))
    D = net.unpack(theta)["D"]
    D[1, :, 1] = 2 * D[1, :, 0]
    plan = every_plan(net, rows.mask, SHARED)[0]
    found = solve(net, SHARED, theta, x, y, [plan] * 4)
    np.testing.assert_array_equal(found.proven, [True, False, True, True])
    np.testing.assert_array_equal(found.theta[1], theta[1])
    column = sl.Allocation(net, {"W": grid((4, 4), range(4), [3])})
    theta, x, y = flat(sl.draw_trials(net, column, 4, shared=SHARED))
    groups = net.unpack(theta)
    groups["B"][2, 3], groups["W"][2, 3, :3] = 0, 0
    y[2] += 1.0  # the unit stays silent, so the outputs cannot be met
    found = solve(net, SHARED, theta, x, y, [every_plan(net, column.mask, SHARED)[0]] * 4)
    np.testing.assert_array_equal(found.proven, [True, True, False, True])


def test_too_few_learnable_weights_are_no_proof():
    """Beside a mask that has kappa of them: the last weight, which is frozen, had been moved in their place."""
    net = R(1, 1, 1, 1, bias=("c",))
    theta, x, y = flat(sl.draw_trials(net, sl.only(net, "c"), 10))
    masks = np.zeros((10, net.size), dtype=bool)
    masks[::2, net.slices["c"]] = True
    found = solve(net, ("B", "D"), theta, x, y, [Plan("affine", mask) for mask in masks])
    np.testing.assert_array_equal(found.proven, masks.any(axis=1))
    np.testing.assert_array_equal(found.theta[~masks], theta[~masks])
    assert (found.theta[::2] != theta[::2]).any(axis=1).all()


def test_wider_choice_gives_better_conditioning():
    """All of W may learn: rows and columns are picked by pivots, and every solution keeps at least 12 digits in float64."""
    net = R(2, 8, 2, 4)
    theta, x, y = flat(sl.draw_trials(net, sl.only(net, "W"), 200, shared=SHARED, seed=3))
    every = next(plan for plan in every_plan(net, sl.only(net, "W").allocation.mask, SHARED) if plan.name == "row")
    found = solve(net, SHARED, theta, x, y, [every] * 200)
    assert found.proven.all() and np.quantile(found.radius, 0.99) < 1e-14
    assert attained_ranks(net, sl.only(net, "W").allocation.mask[None], SHARED)[0] == 6


@pytest.mark.parametrize("steps,trials,reference,width", [(3, 8000, 0.0920, 0.0004), (6, 8000, 0.0111, 0.0002)])
def test_tanh_rows_against_measured_references(steps, trials, reference, width):
    """MP of (i, n, o, T) = (2, 8, 2, 3) and (2, 8, 2, 6); found solutions must be true ones."""
    net = R(2, 8, 2, steps, "tanh")
    allocation = sl.Allocation(net, {"W": grid((8, 8), [1, 4], range(1, steps))})
    drawn = sl.draw_trials(net, allocation, trials, shared=SHARED, seed=11)
    theta, x, y = flat(drawn)
    (plan,) = every_plan(net, allocation.mask, SHARED)
    assert plan.whole and plan.name == "row"
    found = solve(net, SHARED, theta, x, y, [plan] * trials)
    inside = ~found.refused & ~found.near
    assert found.near.sum() <= trials * 1e-3
    sigma = np.sqrt(reference * (1 - reference) / trials)
    assert abs(inside.mean() - reference) < 3.5 * sigma + 2 * width
    assert (found.proven <= inside).all() and found.proven.sum() >= 0.9 * inside.sum()
    solved = sl.outputs(net, found.theta, drawn.x)
    miss = np.abs(solved - drawn.y).max(axis=(1, 2)) / np.abs(drawn.y).max(axis=(1, 2))
    assert np.median(miss[found.proven]) < 1e-9


def test_tanh_rows_of_planted_teachers_always_match():
    """The teacher differs from the student in the learnable rows only, so the solved activities are the teacher's own."""
    net = R(2, 6, 2, 4, "tanh")
    allocation = sl.Allocation(net, {"W": grid((6, 6), [0, 3], [1, 2, 4])})
    drawn = sl.draw_trials(net, allocation, 300, shared=SHARED, seed=2)
    teacher = np.where(allocation.mask, drawn.teacher, drawn.student)
    y = sl.outputs(net, teacher, drawn.x).reshape(300, -1)
    found = solve(net, SHARED, drawn.student, drawn.x.reshape(300, -1), y, [every_plan(net, allocation.mask, SHARED)[0]] * 300)
    assert not found.refused.any() and found.near.mean() < 0.01
    close = np.abs(found.theta - teacher).max(axis=1) <= found.radius + 1e-9
    assert close[found.proven].mean() > 0.95 and found.proven.mean() > 0.98


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_no_search_finds_what_was_refused(activation):
    net = R(2, 5, 2, 3, activation)
    allocation = sl.Allocation(net, {"W": grid((5, 5), [0, 3], [1, 4])})
    theta, x, y = flat(drawn := sl.draw_trials(net, allocation, 500, shared=SHARED, seed=7))
    (plan,) = every_plan(net, allocation.mask, SHARED)
    found = solve(net, SHARED, theta, x, y, [plan] * 500)
    search = sl.decide(net, theta, drawn.x, drawn.y, allocation, SHARED, "newton", starts=60, screen=False)
    assert found.refused.sum() > 100 and not (search.match[found.refused] == 1).any()
    assert found.proven.sum() > 15 and (search.match[found.proven] == 1).mean() > 0.5
    loss = ((sl.outputs(net, found.theta, drawn.x) - drawn.y) ** 2).sum((1, 2)) / (drawn.y**2).sum((1, 2))
    assert np.median(loss[found.proven]) < 1e-20
    np.testing.assert_array_equal(found.theta[:, ~allocation.mask], theta[:, ~allocation.mask])


def test_no_plan_where_there_is_no_structure():
    net = R(2, 8, 2, 6, "relu")
    assert every_plan(net, sl.columns(net, 10, "W").allocation.mask, SHARED) == []
    assert every_plan(R(2, 8, 2, 6), sl.rows(R(2, 8, 2, 6), 9, "W").allocation.mask, SHARED) == []


def test_the_exact_method_solves_rows_without_search():
    """F2: MP = 1 by T7, every trial certified; nothing is tracked and no start is used."""
    net = R(2, 8, 2, 6)
    drawn = sl.draw_trials(net, sl.per_row(net, rows=2, each=5, within="W"), 200, shared=SHARED)
    v = sl.decide(net, drawn.student, drawn.x, drawn.y, drawn.mask, SHARED, "exact")
    assert (v.match == 1).all() and (v.reason == "T7").all() and v.certified.all() and (v.start == -1).all()
    assert np.median(v.loss) < 1e-24
    result = sl.match_probability(net, sl.per_row(net, rows=2, each=5, within="W"), 200, SHARED, "exact")
    assert result.probability == 1 and result.quantity == "existence"


def test_the_exact_method_certifies_affine_solutions():
    for net, strategy, shared in [
        (F((3, 4, 2), 3), sl.even_rows(F((3, 4, 2), 3), 3, "W2"), ()),
        (F((3, 9, 2), 5, "tanh"), sl.only(F((3, 9, 2), 5, "tanh"), "W2"), ()),
        (R(1, 6, 1, 2), sl.rows(R(1, 6, 1, 2), 6, "W"), SHARED),
    ]:
        drawn = sl.draw_trials(net, strategy, 200, shared=shared)
        v = sl.decide(net, drawn.student, drawn.x, drawn.y, drawn.mask, shared, "exact")
        assert (v.reason == "T2").all() and (v.match == 1).all() and v.certified.mean() > 0.99
        assert v.loss.max() < 1e-20


def test_the_exact_method_for_tanh_rows():
    net = R(2, 8, 2, 3, "tanh")
    allocation = sl.Allocation(net, {"W": grid((8, 8), [0, 5], [2, 3])})
    result = sl.match_probability(net, allocation, 3000, SHARED, "exact", starts=1)
    assert result.quantity == "existence" and result.undecided <= 3
    assert abs(result.probability - 0.092) < 4 * np.sqrt(0.092 * 0.908 / 3000)
    assert result.unmatched > 2500 and result.screened == 0
    # with one more learnable row a refusal proves nothing: the search goes on
    wider = sl.Allocation(net, {"W": grid((8, 8), [0, 5, 6], [2, 3])})
    drawn = sl.draw_trials(net, wider, 100, shared=SHARED)
    v = sl.decide(net, drawn.student, drawn.x, drawn.y, wider, SHARED, "exact", starts=10)
    assert not (v.match == 0).any() and set(v.reason) == {"T7", "newton"} and (v.match == 1).mean() > 0.2
