"""T13: proofs that biases cannot match. Planted matches are never excluded, proofs hold by brute force, relu agrees with all patterns."""

from fractions import Fraction

import numpy as np
import pytest
from scipy.optimize import linprog

import sublearn as sl
from sublearn.existence import by_hull
from sublearn.existence.by_hull import Curves, excess
from sublearn.model.layers import plain
from sublearn.numerics.separation import separate

PHI = {"tanh": np.tanh, "relu": lambda z: np.maximum(z, 0.0)}


def network(activation="tanh", widths=(4, 8, 1), samples=4, bias=("b1",)):
    return sl.Feedforward(widths, samples=samples, activation=activation, bias=bias)


def planted(net, count, seed=0, gains=None):
    """Trials with a match: the teacher is the student but for the biases that learn."""
    last = f"b{len(net.widths) - 2}"
    drawn = sl.draw_trials(net, sl.only(net, last), count, seed=seed, gains=gains)
    teacher = drawn.student.copy()
    where = net.slices[last]
    teacher[:, where] = drawn.teacher[:, where]
    x = drawn.x.reshape(count, -1)
    y = sl.outputs(net, teacher, drawn.x).reshape(count, -1)
    return drawn.student, x, y, np.broadcast_to(drawn.mask, (count, net.size)), teacher


def pieces(net, theta, x, y, mask):
    """(target [o, m], pre-activations of the learning units [n, m], their outgoing weights [o, n]) of one trial, by hand."""
    weights = {name: theta[where].reshape(net.groups[name]) for name, where in net.slices.items()}
    last, below = len(net.widths) - 2, x.reshape(net.x_shape)
    for layer in range(1, last):
        below = PHI[net.activation](weights[f"W{layer}"] @ below + weights.get(f"b{layer}", np.zeros(net.widths[layer]))[:, None])
    before = weights[f"W{last}"] @ below
    learning = mask[net.slices[f"b{last}"]]
    fixed = PHI[net.activation](before + weights[f"b{last}"][:, None])[~learning]
    target = y.reshape(net.y_shape) - weights[f"W{last + 1}"][:, ~learning] @ fixed
    if f"b{last + 1}" in weights:
        target = target - weights[f"b{last + 1}"][:, None]
    return target, before[learning], weights[f"W{last + 1}"][:, learning]


def brute_margin(activation, direction, target, before, outgoing):
    """u . t - sum of the largest values on a dense grid: no bound of anything, but what it says no proof may contradict."""
    total = 0.0
    for a, v in zip(before, outgoing.T, strict=True):
        shifts = np.concatenate([np.linspace(-a.max() - 25, -a.min() + 25, 20_001), -a])
        values = np.einsum("ik,i,sk->s", direction, v, PHI[activation](a[None] + shifts[:, None]))
        total += values.max()
    return float((direction * target).sum()) - total


CASES = {
    "tanh": network(),
    "tanh, two outputs, output bias": network(widths=(3, 6, 2), samples=3, bias=("b1", "b2")),
    "tanh, deep": network(widths=(3, 5, 6, 1), samples=3, bias=("b1", "b2")),
    "relu": network("relu"),
    "relu, deep, two outputs": network("relu", widths=(3, 5, 6, 2), samples=3, bias=("b2",)),
}


@pytest.mark.parametrize("name", CASES)
def test_a_planted_match_is_never_excluded(name):
    """The targets are on the boundary of nothing: units sit on their curves. 150 trials of each kind; more in docs/exact.md."""
    net = CASES[name]
    for gains in (None, dict.fromkeys(net.groups, 6.0), dict.fromkeys(net.groups, 0.01)):
        student, x, y, masks, _ = planted(net, 50, seed=5, gains=gains)
        off = 64 * 2.0**-52 * (np.abs(y) + 1e-300)
        no, directions, starts = by_hull.settle(net, student, x, y, masks, off)
        assert not no.any() and not directions.any() and (starts[:, ~masks[0]] == student[:, ~masks[0]]).all()


@pytest.mark.parametrize("name", CASES)
def test_every_proof_holds_by_brute_force(name):
    net = CASES[name]
    last = f"b{len(net.widths) - 2}"
    drawn = sl.draw_trials(net, sl.only(net, last), 60, seed=3)
    masks = np.broadcast_to(drawn.mask, (60, net.size))
    x, y = drawn.x.reshape(60, -1), drawn.y.reshape(60, -1)
    no, directions, _ = by_hull.settle(net, drawn.student, x, y, masks, np.zeros_like(y))
    assert 5 < no.sum()
    for row in np.flatnonzero(no):
        u = directions[row].reshape(net.y_shape)
        assert brute_margin(net.activation, u, *pieces(net, drawn.student[row], x[row], y[row], masks[row])) > 0


def test_relu_agrees_with_all_activation_patterns():
    """The exact search is another method: a proof of no is a no there, and each of its matches is left alone here."""
    for samples in (2, 3, 4):
        net = network("relu", samples=samples)
        drawn = sl.draw_trials(net, sl.only(net, "b1"), 100, seed=samples)
        exact = sl.decide(net, drawn.student, drawn.x, drawn.y, drawn.mask, method="exact", teacher=drawn.teacher)
        masks = np.broadcast_to(drawn.mask, (100, net.size))
        no, _, _ = by_hull.settle(net, drawn.student, drawn.x.reshape(100, -1), drawn.y.reshape(100, -1), masks, np.zeros((100, samples)))
        assert (exact.match[no] == 0).all() and no.sum() > 0.7 * (exact.match == 0).sum() > 0


def test_decide_and_match_probability_tell_of_it():
    """The measured shares of tanh 4-16-1: found and proven none."""
    net = network(widths=(4, 16, 1), samples=4)
    drawn = sl.draw_trials(net, sl.only(net, "b1"), 100)
    found = sl.decide(net, drawn.student, drawn.x, drawn.y, drawn.mask, method="exact", teacher=drawn.teacher, starts=20)
    no = found.match == 0
    assert (found.reason[no] == "T13").all() and found.certified[no].all() and no.mean() + (found.match == 1).mean() >= 0.93
    assert 0.46 <= (found.match == 1).mean() <= 0.68
    assert found.direction.shape == (100, 4) and (found.direction.any(axis=1) == no).all()
    assert "T13" in str(found) and "separates" in str(found)
    counted = sl.match_probability(net, sl.only(net, "b1"), 100, method="exact", starts=20)
    assert (counted.matched, counted.unmatched) == ((found.match == 1).sum(), no.sum())
    newton = sl.decide(net, drawn.student, drawn.x, drawn.y, drawn.mask, method="newton", starts=20)
    assert newton.direction is None and not ((newton.match == 1) & no).any()


def test_units_of_the_data_change_nothing():
    net = network(widths=(4, 16, 1), samples=6)
    drawn = sl.draw_trials(net, sl.only(net, "b1"), 40, seed=2)
    plain_ = sl.decide(net, drawn.student, drawn.x, drawn.y, drawn.mask, method="exact", starts=2)
    theta = drawn.student.copy()
    theta[:, net.slices["W1"]] *= 2.0**-20
    theta[:, net.slices["W2"]] *= 2.0**30
    scaled = sl.decide(net, theta, drawn.x * 2.0**20, drawn.y * 2.0**30, drawn.mask, method="exact", starts=2)
    assert ((plain_.reason == "T13") == (scaled.reason == "T13")).all() and (plain_.reason == "T13").any()


def test_where_it_applies():
    net = network(bias=("b1", "b2"))
    for groups, expected in ((("b1",), True), (("b1", "b2"), True), (("b2",), False), (("b1", "W2"), False), (("W1",), False)):
        assert by_hull.applies(net, sl.only(net, *groups).draw(0).mask[None])[0] == expected
    assert not by_hull.applies(sl.Recurrent(2, 4, 1, 3, activation="tanh", bias=True), np.ones((1, 44), bool)).any()
    assert not by_hull.applies(plain(sl.Feedforward((3, 4, 1), samples=2, bias=True)), np.zeros((1, 21), bool)).any()
    some = np.zeros(net.size, dtype=bool)
    some[net.slices["b1"].start + 3] = True
    assert by_hull.applies(net, some[None])[0]


# The check


@pytest.mark.parametrize("seed", range(6))
def test_bounds_of_suprema_are_above_brute_force_and_close(seed):
    random = np.random.default_rng(seed)
    scale = [1.0, 30.0, 1e-3, 1.0, 300.0, 1.0][seed]
    p, a = random.normal(size=(5, 4)), scale * random.normal(size=(5, 4))
    if seed == 3:
        p[:, 0] = -p[:, 1:].sum(axis=1)  # limits of 0
    if seed == 5:
        a[:, :] = a[:, :1]  # one sample four times
    most = np.zeros(5)
    for row in range(5):
        shifts = np.linspace(-a[row].max() - 30, -a[row].min() + 30, 400_001)
        most[row] = (p[row] * np.tanh(a[row] + shifts[:, None])).sum(axis=1).max()
    for enough in (-np.inf, most.sum() - 1e-3, most.sum() + 1e-3, np.inf):
        tops, at = by_hull._tops_of_tanh(p, a, enough)
        assert (tops >= most - 1e-13).all()
        assert ((p * np.tanh(a + at[:, None])).sum(axis=1) <= tops + 1e-13).all()
    close, _ = by_hull._tops_of_tanh(p, a, most.sum() + 1e-3)
    assert scale > 30 or close.sum() < most.sum() + 1e-3


def test_a_learning_output_bias_asks_for_rows_that_add_up_to_nothing():
    curves = Curves(np.array([[5.0, 0.0]]), np.zeros((1, 2)), np.zeros((1, 2)), np.zeros((1, 2)), np.ones((1, 1)), np.array([True]))
    assert excess(np.array([[1.0, 0.0]]), "tanh", curves)[0] == -np.inf
    margin, _ = excess(np.array([[1.0, -1.0]]), "tanh", curves)  # both samples alike: the curve gives 0, the targets differ by 5
    assert 4.5 < margin <= 5.0


def test_a_ray_that_rises_proves_nothing():
    curves = Curves(np.array([[100.0]]), np.zeros((1, 1)), np.zeros((1, 1)), np.zeros((1, 1)), np.ones((1, 1)), np.array([False]))
    assert excess(np.array([[1.0]]), "relu", curves)[0] == -np.inf
    assert 99 < excess(np.array([[-1.0]]), "relu", curves._replace(target=np.array([[-100.0]])))[0] <= 100


def test_errors_are_taken_from_the_margin():
    curves = Curves(np.array([[3.0]]), np.zeros((1, 1)), np.zeros((1, 1)), np.zeros((1, 1)), 2 * np.ones((1, 1)), np.array([False]))
    u = np.array([[1.0]])
    assert 0.9 < excess(u, "tanh", curves)[0] <= 1.0
    assert 0.4 < excess(u, "tanh", curves._replace(target_error=np.array([[0.5]])))[0] <= 0.5
    assert excess(u, "tanh", curves._replace(target_error=np.array([[1.0]])))[0] <= 0
    assert 0.7 < excess(u, "tanh", curves._replace(before_error=np.array([[0.1]])))[0] <= 0.8
    for bad in (np.nan, np.inf):
        assert not excess(u, "tanh", curves._replace(target=np.array([[bad]]), target_error=np.array([[np.inf]])))[0] > 0


def test_separating_directions_are_those_of_the_dual_programme():
    random = np.random.default_rng(1)
    for _ in range(20):
        points, owner, target = random.normal(size=(3, 12)), np.repeat([0, 1, 2], 4), 3 * random.normal(size=3)
        found = separate(points, owner, target)
        # the dual, written down by hand: max u . t - sum h_j, h_j >= u . point, |u| <= 1
        rows = np.zeros((12, 6))
        rows[:, :3] = points.T
        rows[np.arange(12), 3 + owner] = -1
        dual = linprog(np.concatenate([-target, np.ones(3)]), A_ub=rows, b_ub=np.zeros(12), bounds=[(-1, 1)] * 3 + [(None, None)] * 3)
        if found.direction is None:
            assert -dual.fun < 1e-8
        else:
            tops = [(found.direction @ points[:, owner == k]).max() for k in range(3)]
            assert found.direction @ target - sum(tops) == pytest.approx(-dual.fun, rel=1e-7)


# Rounding


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("scale", [2.0**-1066, 2.0**-1040])
def test_subnormal_targets_that_match_are_never_excluded(activation, scale):
    """Their rounding is no small part of them: the targets next to a match are what the match rounds to."""
    net = network(activation, widths=(2, 3, 2), samples=2)
    for seed in range(12):
        student, x, y, masks, _ = planted(net, 1, seed=seed)
        student[:, net.slices["W2"]] = np.rint(student[:, net.slices["W2"]] * 16)  # scaled without rounding
        teacher = student.copy()
        teacher[:, net.slices["b1"]] += 1.0
        y = sl.outputs(net, teacher, x.reshape(1, *net.x_shape)).reshape(1, -1) * scale
        student[:, net.slices["W2"]] *= scale
        theta, at, targets = student[0], x.reshape(net.x_shape), y.reshape(net.y_shape)
        found = sl.decide(net, theta, at, targets, masks[0], method="exact", starts=1, iterations=5)
        assert found.match != 0


def test_a_rising_ray_counts_however_small_its_weight_is():
    """V = 2^-1074 and u = 2^-30: the slope is positive, though its product underflows."""
    curves = Curves(*(np.array([[value, 0.0]]) for value in (1.0, 0.0)), *np.zeros((2, 1, 2)), np.array([[2.0**-1074]]), np.zeros(1, bool))
    margin, _ = excess(np.array([[1.0, -1.0 + 2.0**-30]]), "relu", curves)
    assert margin == -np.inf
    curves = curves._replace(outgoing=np.zeros((1, 1)))
    assert excess(np.array([[1.0, -1.0 + 2.0**-30]]), "relu", curves)[0] > 0.9  # no unit at all: nothing reaches 1


def test_numbers_beyond_float64_prove_nothing_and_raise_nothing():
    net = network("relu", widths=(2, 2, 2, 1), samples=2, bias=("b2",))
    theta = np.ones((1, net.size))
    theta[:, net.slices["W1"]], theta[:, net.slices["W2"]], theta[:, net.slices["W3"]] = 1e200, 1e300, 1e308
    mask = sl.only(net, "b2").draw(0).mask[None]
    no, directions, starts = by_hull.settle(net, theta, np.ones((1, 4)), np.ones((1, 2)), mask, np.zeros((1, 2)))
    assert not no.any() and not directions.any() and (starts == theta).all()
    nothing = separate(np.array([[np.inf, 1.0]]), np.array([0, 0]), np.ones(1))
    assert nothing.direction is None and not nothing.shares.any()


def test_targets_stand_for_the_exact_outputs_of_a_teacher_that_computes_them_badly():
    """Both samples have the same exact outputs, and the unit of the student the same values; computed, the teacher's differ: 2^53 a + w b +
    2^53 c in two orders."""
    net = network(widths=(3, 1, 1), samples=2)
    a, b, c, w = 0.9034701816518086, -0.7434992493538084, 0.09401229776087457, 1.2084105603323426e16
    x = np.array([[a, c], [b, b], [c, a]])
    theta, teacher = np.array([1.0, 0.3, 1.0, 0.5, 1.0]), np.array([2.0**53, w, 2.0**53, 0.1, 1.0])
    if net.slices["b1"].start != 3:
        theta, teacher = theta[[0, 1, 2, 4, 3]], teacher[[0, 1, 2, 4, 3]]
    y = sl.outputs(net, teacher, x)
    found = sl.decide(net, theta, x, y, sl.only(net, "b1"), ("W2",), method="exact", teacher=teacher, starts=1, iterations=5)
    assert found.match != 0


def test_other_verdicts_of_no_ask_what_a_teacher_computes_exactly():
    """The relu twin of the test before (T11): the teacher's exact outputs are equal, the computed ones are not."""
    net = network("relu", widths=(3, 1, 1), samples=2)
    a, b, c, w = 0.9034701816518086, -0.7434992493538084, 0.09401229776087457, 1.2084105603323426e16
    x = np.array([[a, c], [b, b], [c, a]])
    theta, teacher = np.zeros(net.size), np.zeros(net.size)
    theta[net.slices["W1"]], teacher[net.slices["W1"]] = (1.0, 0.3, 1.0), (2.0**53, w, 2.0**53)
    theta[net.slices["W2"]] = teacher[net.slices["W2"]] = 1.0
    teacher[net.slices["b1"]] = 1e3
    y = sl.outputs(net, teacher, x)
    exact = [2**53 * Fraction(p) + Fraction(w) * Fraction(b) + 2**53 * Fraction(q) + 1000 for p, q in ((a, c), (c, a))]
    assert exact[0] == exact[1] and y[0, 0] != y[0, 1]  # one bias gives both exact outputs, none the computed ones
    found = sl.decide(net, theta, x, y, sl.only(net, "b1"), ("W2",), method="exact", teacher=teacher, starts=1, iterations=5)
    assert found.match != 0


def test_intervals_are_as_wide_as_their_rounded_ends():
    """Past 2^52 the points of every grid are whole numbers, and the largest value lies half-way between two of them."""
    p, a = np.array([[1.0, -1.0]]), 2.0**52 + np.array([[1.0, 0.0]])
    tops, _ = by_hull._tops_of_tanh(p, a, -np.inf)
    assert tops[0] >= 2 * np.tanh(0.5)
    assert by_hull._tops_of_tanh(p, a - 2.0**52, np.inf)[0][0] >= 2 * np.tanh(0.5)
