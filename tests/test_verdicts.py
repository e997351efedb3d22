"""`decide` judges the numbers it is given: the user's targets, inputs of any kind, any units. Each test holds a verdict that was once
wrong."""

import numpy as np
import pytest

import sublearn as sl
from sublearn.match.decide import decide_drawn
from sublearn.match.methods import check_settings

F, R = sl.Feedforward, sl.Recurrent
SHARED = ("B", "D")
METHODS = ("newton", "descent", "exact")


def rescaled(net, theta, x, y, by, kind):
    """The same problem in other units. "x": against the first layer; "y": with the last layer; "xy": inputs, biases and outputs."""
    last = ("D", "c") if isinstance(net, R) else (f"W{len(net.widths) - 1}", f"b{len(net.widths) - 1}")
    factors = {"x": {next(iter(net.groups)): 1 / by}, "y": dict.fromkeys(last, by), "xy": dict.fromkeys(net.bias, by)}[kind]
    theta = theta.copy()
    for name, factor in factors.items():
        if name in net.groups:
            theta[:, net.slices[name]] *= factor
    return theta, x * by if "x" in kind else x, y * by if "y" in kind else y


# The student itself comes first


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("screen", [False, True])
def test_a_student_that_meets_its_targets_is_a_yes(method, screen):
    for net, shared, mask in ((R(2, 4, 2, 3), SHARED, "W"), (F((3, 4, 2), 3, "tanh"), (), "W2"), (F((3, 4, 2), 3, "relu"), (), "W1")):
        t = sl.draw_trials(net, sl.scattered(net, 2, mask), 20, shared=shared)  # 2 is far below kappa
        y = sl.outputs(net, t.student, t.x)
        v = sl.decide(net, t.student, t.x, y, t.mask, shared, method, screen=screen)
        assert (v.match == 1).all() and (v.reason == "D4").all() and (v.start == 0).all() and (v.loss == 0).all()
        np.testing.assert_array_equal(v.theta, t.student)


@pytest.mark.parametrize("method", METHODS)
def test_zeros_everywhere(method):
    net = R(2, 4, 2, 3)
    t = sl.draw_trials(net, sl.scattered(net, 4, "W"), 5, shared=SHARED)
    v = sl.decide(net, 0 * t.teacher, 0 * t.x, 0 * t.y, t.mask, SHARED, method)
    assert (v.match == 1).all() and (v.loss == 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_nothing_learns_and_nothing_is_asked(method):
    """An empty allocation is right or wrong as it is; with kappa = 0 every student matches."""
    net = R(2, 4, 2, 3)
    t = sl.draw_trials(net, sl.scattered(net, 2, "W"), 8, shared=SHARED)
    theta = np.where(np.arange(8)[:, None] % 2, t.student, t.teacher)
    v = sl.decide(net, theta, t.x, t.y, np.zeros(net.size, bool), SHARED, method)
    np.testing.assert_array_equal(v.match, 1 - np.arange(8) % 2)
    for activation in ("linear", "tanh", "relu"):
        once = R(1, 3, 1, 1, activation)
        m = sl.match_probability(once, sl.scattered(once, 2, "W"), 20, SHARED, method)
        assert (m.matched, m.quantity) == (20, "existence")


def test_targets_of_zero_are_judged_by_what_the_student_does():
    """Switching off by the last layer: a yes at any scale of the problem; a student that cannot get near zero: none."""
    net = R(2, 4, 2, 3, bias=("b",))
    t = sl.draw_trials(net, sl.only(net, "D"), 12)
    for by in (1.0, 2.0**-200, 2.0**200):
        theta = t.student.copy()
        theta[:, net.slices["D"]] *= by
        for method in ("newton", "exact"):
            v = sl.decide(net, theta, t.x, 0 * t.y, sl.only(net, "D"), (), method)
            assert (v.match == 1).all()
            v = sl.decide(net, theta, t.x, 0 * t.y, sl.rows(net, 1, "D"), (), method)
            assert (v.match != 1).all()


# No theorem about generic teachers for the targets of a user


@pytest.mark.parametrize(
    "net, x, budget",
    [
        (F((3, 4, 2), 4), np.repeat(np.random.default_rng(0).standard_normal((3, 1)), 4, axis=1), 2),
        (F((3, 4, 2), 4), np.eye(3)[:, [0, 1, 0, 1]], 4),
        (F((3, 4, 2), 4), np.eye(3)[:, [0, 1, 2, 0]] * [[1.0], [1.0], [0.0]], 4),  # a dead feature, and a padded sample
    ],
    ids=["equal samples", "one-hot", "padded"],
)
def test_the_screen_takes_ranks_at_the_given_inputs(net, x, budget):
    masks = sl.split(net, {"W1": 0, "W2": budget}).masks(0, 0, 0, 50)
    t = sl.draw_trials(net, sl.everything(net), 50)
    x = np.broadcast_to(x, (50, 3, 4)).copy()
    y = sl.outputs(net, t.teacher, x)
    solved = sl.decide(net, t.student, x, y, masks)
    screened = sl.decide(net, t.student, x, y, masks, screen=True)
    assert (solved.match == 1).any() and not solved.certified.any()
    np.testing.assert_array_equal(screened.match, solved.match)  # all are linear systems: a rank is enough or not
    assert np.isin(screened.reason, ("T1", "D3")).any() and not screened.certified.any()


def test_everything_free_matches_a_teacher_and_not_any_target():
    """D4 needs a teacher. Outputs through one hidden unit have rank 1."""
    net = F((2, 1, 2), 3)
    t = sl.draw_trials(net, sl.everything(net), 20)
    y = np.random.default_rng(0).standard_normal(t.y.shape)
    for teacher in (None, t.teacher):  # the teacher given is not the teacher of these targets
        v = sl.decide(net, t.student, t.x, y, np.ones(net.size, bool), (), "exact", teacher=teacher)
        assert (v.match != 1).all() and not v.certified.any()
    v = sl.decide(net, t.student, t.x, t.y, np.ones(net.size, bool), (), "exact", teacher=t.teacher)
    assert (v.match == 1).all()


def test_a_certificate_leaves_nothing_out():
    """More samples than inputs: targets of a teacher are certified with it; the same targets a little off are not, with or without."""
    net = F((3, 4, 2), 5)
    t = sl.draw_trials(net, sl.only(net, "W2"), 20, shared=("W1",))
    ask = lambda y, **k: sl.decide(net, t.student, t.x, y, t.mask, ("W1",), "exact", **k)  # noqa: E731
    assert ask(t.y, teacher=t.teacher).certified.all()
    plain = ask(t.y)
    assert (plain.match == 1).all() and not plain.certified.any()
    off = np.random.default_rng(1).standard_normal(t.y.shape)
    for by in (1e-7, 1e-10):
        v = ask(t.y + by * off, teacher=t.teacher)
        assert (v.match != 1).all() and not v.certified.any()


def test_a_teacher_that_shares_other_weights_certifies_nothing():
    net = F((3, 4, 2), 5)
    t = sl.draw_trials(net, sl.only(net, "W2"), 20, shared=("W1",))
    other = t.student.copy()
    other[:, net.slices["W1"]] += 1e-3
    v = sl.decide(net, other, t.x, t.y, t.mask, ("W1",), "exact", teacher=t.teacher)
    assert not v.certified.any()


# relu: silent units of the teacher


def test_silent_units_of_a_relu_teacher_are_no_contradiction():
    """Everything that is not shared may learn, so the teacher is a solution of every trial."""
    net, shared = R(2, 2, 2, 2, "relu"), ("W", "D")
    every = sl.everything(net, shared)
    t = sl.draw_trials(net, every, 1000, shared=shared)
    v = sl.decide(net, t.student, t.x, t.y, every.draw(0), shared, "exact", teacher=t.teacher)
    assert (v.match != 0).all() and (v.match == 1).mean() > 0.99
    silent = (np.maximum(net.unpack(t.teacher)["B"] @ t.x[:, 0, :, None], 0)[:, :, 0] == 0).any(axis=1)
    assert silent.mean() > 0.3 and not v.certified[silent & (v.reason == "T7")].any()  # an activity of exactly 0 has no margin
    low = t.y - 10 * np.abs(t.y).max(axis=(1, 2), keepdims=True) * np.sign(net.unpack(t.student)["D"]).sum(axis=2)[:, None]
    assert (sl.decide(net, t.student, t.x, low, every.draw(0), shared, "exact").match == 0).any()


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_badly_conditioned_rows_are_never_refused_for_rounding(activation):
    """Two nearly equal rows of D: an activity solved from rounded outputs is uncertain by far more than its own rounding."""
    net = R(2, 6, 2, 3, activation)
    mask = sl.per_row(net, rows=2, each=2, within="W").draw(3).mask
    t = sl.draw_trials(net, sl.Allocation.from_mask(net, mask), 400, shared=SHARED, gains={"B": 3.0})
    theta = t.student.copy()
    D = net.unpack(theta)["D"]
    D[:, 1] = D[:, 0] * (1 + 1e-11 * np.random.default_rng(0).standard_normal(D[:, 0].shape))
    teacher = theta.copy()
    teacher[:, mask] += np.random.default_rng(1).standard_normal((400, int(mask.sum())))
    v = sl.decide(net, theta, t.x, sl.outputs(net, teacher, t.x), mask, SHARED, "exact", starts=2)
    assert (v.match != 0).all()


# Near misses


def test_near_misses_are_no_existence():
    """One weight too few (T1): a search comes below 1e-20 in some trials, and no solution exists."""
    net = R(1, 2, 1, 4)
    m = sl.match_probability(net, sl.scattered(net, 3), 3000, (), "exact", screen=False, seed=1)
    assert m.matched == 0 and m.quantity == "existence"
    assert sl.match_probability(net, sl.scattered(net, 3), 3000, (), "newton", screen=False, seed=1).matched > 0


def test_gains_of_one_input_networks_do_not_change_what_exists():
    net = R(1, 4, 1, 5)

    def ask(budget, gain):
        return sl.match_probability(
            net, sl.scattered(net, budget, "W"), 200, SHARED, "exact", screen=False, gains={"W": gain}, keep_trials=True
        )

    for budget, matched in ((3, 0), (4, 150)):
        base = ask(budget, 1.0)
        assert base.matched >= matched and (base.matched == 0) == (matched == 0)
        for gain in (2.0**-20, 2.0**-6, 2.0**12):
            other = ask(budget, gain)
            np.testing.assert_array_equal(other.verdicts, base.verdicts)
            assert other.certified == base.certified
        for gain in (1e-3, 1e5):
            assert np.mean(ask(budget, gain).verdicts != base.verdicts) < 0.03


# Units


CASES = [
    (R(2, 4, 2, 4), SHARED, 6, "W"),
    (R(1, 4, 1, 4), (), 6, None),
    (R(2, 3, 2, 3, "tanh", bias=True), (), 9, None),
    (R(2, 3, 2, 3, "relu", bias=True), (), 9, None),
    (F((3, 4, 2), 3), (), 8, None),
    (F((3, 4, 2), 5, bias=True), (), 14, None),
    (F((3, 4, 2), 3, "tanh", bias=True), (), 8, None),
    (F((3, 4, 2), 3, "relu"), (), 8, "W1"),
    (F((3, 4, 3, 2), 3, "relu", bias=True), (), 8, "W2"),
]


@pytest.mark.parametrize("method, options", [("newton", {"starts": 4}), ("descent", {"steps": 100}), ("exact", {"starts": 2})])
@pytest.mark.parametrize("net, shared, budget, within", CASES, ids=lambda v: v.describe() if hasattr(v, "describe") else "")
def test_verdicts_do_not_depend_on_units(net, shared, budget, within, method, options):
    """Bit for bit for powers of two, however far. For other factors numbers are rounded anew: searches take the same way but for rounding,
    no decided verdict turns into its opposite, and at most one in 24 is lost or won."""
    t = sl.draw_trials(net, sl.scattered(net, budget, within or [g for g in net.groups if g not in shared]), 24, shared=shared, seed=5)
    mask = t.mask[0]
    base = sl.decide(net, t.student, t.x, t.y, mask, shared, method, **options)
    for kind in ("x", "y") if net.activation == "tanh" else ("x", "y", "xy"):
        for by in (2.0**-40, 2.0, 2.0**300):
            v = sl.decide(net, *rescaled(net, t.student, t.x, t.y, by, kind), mask, shared, method, **options)
            for name in ("match", "certified", "reason", "start", "loss"):
                np.testing.assert_array_equal(getattr(v, name), getattr(base, name), err_msg=f"{name}, {kind} by {by}")
        for by in (1e-8, 0.7, 3.0, 1e8):
            v = sl.decide(net, *rescaled(net, t.student, t.x, t.y, by, kind), mask, shared, method, **options)
            differ = v.match != base.match
            assert not (differ & (v.match >= 0) & (base.match >= 0)).any()
            assert differ.sum() <= 1, f"{differ.sum()} differ, {kind} by {by}"


def test_squares_neither_underflow_nor_overflow():
    net = R(1, 3, 1, 4)
    t = sl.draw_trials(net, sl.scattered(net, 3, "W"), 40, shared=SHARED)
    seen = [sl.decide(net, t.student, t.x * s, t.y * s, t.mask, SHARED) for s in (1.0, 1e-170, 1e160, 2.0**-500)]
    assert 20 < (seen[0].match == 1).sum() < 40
    for v in seen[1:]:
        assert (v.match == 1).sum() == (seen[0].match == 1).sum() and np.isfinite(v.loss).all()
    with pytest.raises(ValueError, match="^gains: expected outputs of the teacher within float64"):
        sl.match_probability(net, sl.scattered(net, 3, "W"), 5, SHARED, gains={"W": 1e200})


# Options


def test_options_are_heard_or_refused():
    net = R(2, 4, 2, 3)
    s, t = sl.scattered(net, 4, "W"), sl.draw_trials(net, sl.scattered(net, 4, "W"), 3, shared=SHARED)
    for method, option in (
        ("newton", {"lr": 0.1}),
        ("newton", {"steps": 5}),
        ("descent", {"iterations": 5}),
        ("exact", {"optimizer": "adam"}),
    ):
        name = next(iter(option))
        with pytest.raises(TypeError, match=f"^{name}: method '{method}' takes"):
            sl.match_probability(net, s, 3, SHARED, method, **option)
        with pytest.raises(TypeError, match=f"^{name}: method '{method}' takes"):
            sl.decide(net, t.student, t.x, t.y, t.mask, SHARED, method, **option)
    with pytest.raises(ValueError, match="^starts: expected 1"):
        sl.match_probability(net, s, 3, SHARED, "descent", starts=5)
    with pytest.raises(TypeError, match="^teacher: expected with method"):
        sl.decide(net, t.student, t.x, t.y, t.mask, SHARED, teacher=t.teacher)
    with pytest.raises(ValueError, match="^tol: expected None with method"):
        sl.match_probability(net, s, 3, SHARED, "exact", tol=1e-2)


def test_defaults_may_be_spelled_out():
    net = R(2, 4, 2, 3)
    s = sl.scattered(net, 4, "W")
    for method, options in (
        ("newton", {"iterations": 200, "starts": 30, "tol": 1e-20}),
        ("exact", {"tol": 1e-20, "iterations": 200}),
        ("descent", {"optimizer": "adam", "lr": 0.01, "steps": 10_000, "starts": 1, "tol": 1e-6}),
    ):
        short = sl.match_probability(net, s, 4, SHARED, method)
        long = sl.match_probability(net, s, 4, SHARED, method, first=4, screen=True, gains={"B": 1.0}, **options)
        assert short.merge(long).trials == 8


def test_a_tolerance_is_heard():
    """Ten per cent of loss can be reached with too few weights: ranks say nothing of that."""
    net = R(2, 8, 2, 6)
    ask = lambda **k: sl.match_probability(net, sl.rows(net, 9, "W"), 60, SHARED, "descent", tol=0.1, steps=2000, **k)  # noqa: E731
    heard = ask()
    assert not heard.screen and heard.matched > 5 and heard.quantity == "found"
    with pytest.raises(ValueError, match="^screen: expected False with tol = 0.1"):
        ask(screen=True)


def test_odd_degrees_count_for_drawn_trials_only():
    """T8 speaks of generic targets: `decide` does not use it, `match_probability` does."""
    net = R(1, 4, 1, 5)
    mask = next(m for m in sl.scattered(net, 4, "W").masks(0, 0, 0, 50) if sl.degree(net, sl.Allocation.from_mask(net, m), SHARED) % 2)
    t = sl.draw_trials(net, sl.Allocation.from_mask(net, mask), 300, shared=SHARED)
    v = sl.decide(net, t.student, t.x, t.y, mask, SHARED, "exact", starts=1, iterations=1)
    assert not (v.reason == "T8").any()
    drawn = decide_drawn(t, check_settings("exact", starts=1, iterations=1), mask)
    assert (drawn.match == 1).all() and (v.match != 0).all()


# What an independent review found


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_row_forms_with_an_output_bias_that_learns(activation):
    """c is what y_1 says, not what the student has: with W and c of one unit free, 1 = relu(W) + c and so on can be read off."""
    net = R(1, 1, 1, 2, activation, bias=("c",))
    mask = np.array([0, 1, 0, 1], bool)
    x, h = np.array([[1.0], [0.0]]), float(np.tanh(1.0)) if activation == "tanh" else 1.0
    for c in (3.5, 0.0, -3.0):
        theta = np.array([1.0, 0.5, 1.0, c])  # B, W, D, c
        ask = lambda second: sl.decide(net, theta, x, np.array([[1 + h], [second]]), mask, SHARED, "exact")  # noqa: E731
        assert (ask(1 + h / 2).match, ask(1 + h / 2).certified) == (1, True)
        assert (ask(-0.5).match, ask(-0.5).certified) == (0, True)
    if activation == "tanh":
        assert sl.match_probability(net, sl.Allocation.from_mask(net, mask), 200, SHARED, "exact").certified == 200


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("sizes", [(2, 3, 2, 3), (1, 4, 2, 2), (3, 4, 1, 2)])
def test_planted_rows_with_c(activation, sizes):
    i, n, o, T = sizes
    net = R(i, n, o, T, activation, bias=("c",))
    rng = np.random.default_rng(2)
    for seed in range(4):
        mask = sl.per_row(net, rows=o, each=T - 1, within="W").draw(seed).mask | net.pack(
            {g: np.full(s, g == "c") for g, s in net.groups.items()}
        )
        t = sl.draw_trials(net, sl.Allocation.from_mask(net, mask), 60, shared=SHARED, seed=seed)
        teacher = np.where(mask, t.student + rng.standard_normal(t.student.shape), t.student)
        v = sl.decide(net, t.student, t.x, sl.outputs(net, teacher, t.x), mask, SHARED, "exact", starts=2)
        assert (v.match != 0).all()
        v = sl.decide(net, t.student, t.x, rng.standard_normal(t.y.shape), mask, SHARED, "exact", starts=2)
        assert v.loss[v.certified & (v.match == 1)].max(initial=0) < 1e-12


def test_targets_a_little_off_the_reachable_ones():
    """The rows of y must be multiples of (1, 2), to the last digits."""
    net = F((1, 1, 2), 2)
    theta, x, mask = np.array([1.0, 0.5, 0.25]), np.array([[1.0, 2.0]]), np.array([0, 1, 1], bool)
    for off in (1e-9, 2e-11, 1e-12, 1e-13):
        for teacher in (None, np.array([1.0, 1.0, 3.0])):
            assert sl.decide(net, theta, x, np.array([[1.0, 2 * (1 + off)], [3.0, 6.0]]), mask, (), "exact", teacher=teacher).match != 1
    assert sl.decide(net, theta, x, np.array([[1.0, 2.0], [3.0, 6.0]]), mask, (), "exact").match == 1
    assert (
        sl.decide(
            F((1, 1, 1), 1, "tanh"), np.array([0.5, 1.0]), np.ones((1, 1)), np.array([[1 + 1e-13]]), np.array([1, 0], bool), (), "exact"
        ).match
        != 1
    )


def test_constant_outputs_are_part_of_what_is_certified():
    net = R(1, 2, 1, 3)
    theta, mask = np.array([1, 0.5, 0.3, 0.2, 0.1, 0.4, 1, -0.7]), np.isin(np.arange(8), (2, 5))
    x, teacher = np.array([[1.0], [0.5], [0.3]]), np.where(mask, [0, 0, 0.9, 0, 0, -0.6, 0, 0], theta)
    y = sl.outputs(net, teacher, x)
    for off in (3e-12, 1e-11, 1e-9):
        wrong = y * np.array([[1 + off], [1.0], [1.0]])
        v = sl.decide(net, theta, x, wrong, mask, SHARED, "exact")
        assert v.match != 1 and not v.certified
    assert sl.decide(net, theta, x, y, mask, SHARED, "exact").certified


def test_screens_do_not_judge_saturated_units():
    """tanh 1-1-1, W1 learns: a match exists if and only if |y| < |W2|."""
    net = F((1, 1, 1), 1, "tanh")
    t = sl.draw_trials(net, sl.only(net, "W1"), 300)
    for size in (1e3, 1e5, 1e7):
        y = sl.outputs(net, t.teacher, t.x * size)
        exists = np.abs(y[:, 0, 0]) < np.abs(t.student[:, 1])
        v = sl.decide(net, t.student, t.x * size, y, sl.only(net, "W1"), screen=True)
        assert (v.match[exists] != 0).all() and 100 < exists.sum() < 200


def test_small_and_nearly_equal_numbers_are_no_zeros():
    """Large weights make up for small output weights, and tell apart samples that are nearly equal."""
    net, mask = F((1, 2, 1), 1, "relu"), np.array([0, 1, 0, 0], bool)
    for small in (1e-8, 1e-9, 1e-12):
        v = sl.decide(net, np.array([-1.0, 1.0, 1.0, small]), np.ones((1, 1)), np.ones((1, 1)), mask, (), "exact")
        assert v.match == 1
    net, mask = F((2, 1, 1), 2, "relu"), np.array([1, 1, 0], bool)
    for bits in (20, 30, 38, 50):
        x = np.array([[1.0, 1.0], [1.0, 1 + 2.0**-bits]])
        assert sl.decide(net, np.array([0.3, 0.4, 1.0]), x, np.array([[1.0, 2.0]]), mask, (), "exact").match != 0
    x, y = np.array([[1.0, 1.0], [1.0, 1 + 2.0**-52]]), np.array([[0.0, 2.0**-12]])  # w = (-2^40, 2^40)
    for method in METHODS:
        assert sl.decide(F((2, 1), 2), np.array([0.3, 0.4]), x, y, np.ones(2, bool), (), method).match != 0


def test_a_sum_that_rounds_to_zero_is_no_zero():
    a, c = 1 + 2.0**-30, 1 + 2.0**-29  # a a - c = 2^-60: no weight switches the unit off in the first sample and not against the others
    net, x = F((3, 1, 1), 3, "relu"), np.array([[a, 0, 0], [1, 0, 0], [1, 1, -1.0]])
    v = sl.decide(net, np.array([a, -c, 0.5, 1.0]), x, np.zeros((1, 3)), np.array([0, 0, 1, 0], bool), (), "exact")
    assert not v.certified


def test_features_that_differ_by_rounding_only_fit_nothing():
    """Two features equal in real numbers: (a + b + c) x in another order, of terms around 1e13 that cancel."""
    rng, net = np.random.default_rng(0), F((3, 2, 1), 2)
    wrong = 0
    for _ in range(40):
        a, b = rng.standard_normal(2) * 1e13
        w = np.array([a, b, -a - b + rng.standard_normal()])
        theta = np.concatenate([w, w[[2, 0, 1]], rng.standard_normal(2)])
        x = np.repeat(rng.standard_normal((1, 2)), 3, axis=0)
        mask = np.arange(8) >= 6
        wrong += sl.decide(net, theta, x, rng.standard_normal((1, 2)), mask, (), "exact").match == 1
    assert wrong == 0


@pytest.mark.parametrize(
    "net", [R(1, 3, 1, 1, bias=("b",)), F((2, 3, 2), 2, bias=True), F((2, 3, 2), 2, "relu", bias=True)], ids=lambda n: n.describe()
)
def test_units_where_a_group_is_zero(net):
    t = sl.draw_trials(net, sl.scattered(net, net.size // 2), 20, seed=4)
    for zero in (None, *net.groups):
        theta, x = t.student.copy(), t.x.copy()
        if zero is None:
            x[:] = 0
        else:
            theta[:, net.slices[zero]] = 0
        y = sl.outputs(net, np.where(t.mask, t.teacher, theta), x)
        for method in ("newton", "exact"):
            base = sl.decide(net, theta, x, y, t.mask[0], (), method, starts=2)
            for kind in ("x", "y", "xy"):
                v = sl.decide(net, *rescaled(net, theta, x, y, 2.0**40, kind), t.mask[0], (), method, starts=2)
                np.testing.assert_array_equal(v.match, base.match, err_msg=f"{zero} {method} {kind}")
                np.testing.assert_array_equal(v.certified, base.certified)


# What a second review found


def test_numbers_in_float32_are_never_a_no_by_rounding():
    """Margins of linear programmes, and distances of complex solutions from the real ones, are below what float32 rounds away."""
    rng, f = np.random.default_rng(0), np.float32
    for net, mask in (
        (F((1, 1, 1), 3, "relu"), "W1"),
        (F((2, 3, 2), 4, "relu", bias=True), "W1"),
        (F((2, 2, 2, 1), 2, "relu"), "W2"),
        (R(1, 3, 1, 4), "W"),
    ):
        shared = SHARED if isinstance(net, R) else ()
        t = sl.draw_trials(net, sl.scattered(net, 1 if mask == "W1" and net.size < 5 else 3, mask), 60, shared=shared, dtype=f)
        teacher = np.where(t.mask, t.student + rng.standard_normal(t.student.shape), t.student)
        y = sl.outputs(net, teacher, t.x.astype(float)).astype(f)
        v = sl.decide(net, t.student, t.x, y, t.mask, shared, "exact", starts=1)
        assert (v.match != 0).all()


def test_small_first_inputs_do_not_make_a_no():
    """One input: dividing by a small x_1 makes rounding large, so complex solutions close to real ones prove nothing."""
    net, rng = R(1, 3, 1, 4), np.random.default_rng(1)
    mask = sl.scattered(net, 3, "W").draw(4).mask
    t = sl.draw_trials(net, sl.Allocation.from_mask(net, mask), 200, shared=SHARED)
    teacher = np.where(mask, t.student + 0.5 * rng.standard_normal(t.student.shape), t.student)
    for small in (1e-3, 1e-5, 1e-7):
        x = t.x.copy()
        x[:, 0] *= small
        v = sl.decide(net, t.student, x, sl.outputs(net, teacher, x), mask, SHARED, "exact")
        assert (v.match != 0).all()


def test_small_activities_have_small_error_bounds():
    net, mask = R(1, 1, 1, 2, "tanh"), np.array([0, 1, 0], bool)
    theta, teacher = np.array([0.7, 0.3, 1.0]), np.array([0.7, -0.8, 1.0])
    for size in (1.0, 1e-4, 1e-8):
        x = np.array([[size], [0.5]])
        y = sl.outputs(net, teacher, x)
        y[0] *= 1 + 2e-12
        v = sl.decide(net, theta, x, y, mask, SHARED, "exact")
        assert v.match != 1 and not v.certified
    y = np.array([[-2.1e-16, np.tanh(0.35)]])  # of two signs, which one weight cannot give
    assert (
        sl.decide(F((1, 1, 1), 2, "tanh"), np.array([0.3, 1.0]), np.array([[1e-16, 0.5]]), y, np.array([1, 0], bool), (), "exact").match
        != 1
    )


@pytest.mark.parametrize("count", [2, 3])
def test_relu_samples_of_different_sizes(count):
    net, rng = F((1, 1, 1), count, "relu"), np.random.default_rng(2)
    for ratio in 10.0 ** np.arange(3, 17):
        for _ in range(4):
            x = np.abs(rng.standard_normal((1, count)))
            x[0, 1] *= -ratio
            v = sl.decide(net, np.array([0.5, 1.0]), x, np.maximum(1.3 * x, 0), np.array([1, 0], bool), (), "exact")
            assert v.match != 0


def test_terms_that_cancel_are_seen_whatever_the_signs():
    """A student that computes its targets up to the rounding of terms a million times larger."""
    for count in (4, 6):
        net = F((count // 2, 3), 1)
        for k in range(3 * (count // 2) - 1):
            theta = np.zeros(net.size)
            theta[k], theta[k + 1] = 3.3, -3.3
            x = np.full((net.widths[0], 1), 1.1)
            x[1:] *= 1 - 1e-6
            y = theta.reshape(3, -1) @ x * (1 + 1e-12)
            mask = np.zeros(net.size, bool)
            mask[-1 if k < net.size // 2 else 0] = True
            assert sl.decide(net, theta, x, y, mask, (), "exact").match != 0


def test_a_student_that_meets_its_targets_is_a_yes_with_a_teacher_too():
    """Numbers that round to the same outputs: the student computes them as the teacher does."""
    net, theta = R(1, 2, 1, 2), np.array([1, 0, 1, 0, 0, 0.3, 1, 0.0])
    teacher = theta.copy()
    teacher[2] = 5.0
    x = np.array([[1e-17], [1.0]])
    y = sl.outputs(net, teacher, x)
    for given in (None, teacher):
        assert sl.decide(net, theta, x, y, np.arange(8) == 5, (), "exact", teacher=given).match == 1


def test_a_slope_that_rounds_to_zero_is_no_zero():
    a, c = 1 + 2.0**-30, 1 + 2.0**-29
    net = R(2, 1, 1, 2)
    v = sl.decide(
        net, np.array([a, 1, -c, 0.5]), np.array([[0, 1.0], [a, 0]]), np.array([[1.0], [0]]), np.arange(4) == 3, ("B", "W"), "exact"
    )
    assert not v.certified


def test_screens_take_exact_ranks_of_linear_networks():
    for bits in (20, 40, 50, 52):
        x = np.array([[1, 1], [1, 1 + 2.0**-bits], [0.3, -1.2]])
        v = sl.decide(
            F((3, 1), 2), np.array([0.1, 0.2, 0.3]), x, np.array([[1.0, 2.0]]), np.array([1, 1, 0], bool), (), "exact", screen=True
        )
        assert v.match != 0


def test_numpys_tanh_and_its_inverse_are_as_accurate_as_the_enclosures_assume():
    """Against fractions of powers: four units of the last place, near 0 as well."""
    from decimal import Decimal, getcontext

    getcontext().prec = 60
    rng = np.random.default_rng(0)
    for z in np.concatenate([rng.standard_normal(300), rng.standard_normal(300) * 10.0 ** rng.uniform(-12, 1, 300)]):
        e = (2 * Decimal(float(z))).exp()
        true = (e - 1) / (e + 1)
        assert abs(Decimal(float(np.tanh(z))) - true) <= abs(true) * Decimal(2.0**-50)
        h = float(np.tanh(z))
        if abs(h) < 1:
            back = ((1 + Decimal(h)) / (1 - Decimal(h))).ln() / 2
            assert abs(Decimal(float(np.arctanh(h))) - back) <= (1 + abs(back)) * Decimal(2.0**-50)


def test_nothing_depends_on_the_weights_and_the_targets_are_wrong():
    """kappa = 0 beside targets that no weights give."""
    for net, shared in ((R(1, 2, 1, 1), SHARED), (R(2, 3, 2, 1), SHARED)):
        t = sl.draw_trials(net, sl.only(net, "W"), 6, shared=shared)
        for method in METHODS:
            assert (sl.decide(net, t.student, t.x, t.y + 1.0, t.mask, shared, method).match == 0).all()
            off = t.y * (1 + 1e-13)  # neither right nor clearly wrong
            assert (sl.decide(net, t.student, t.x, off, t.mask, shared, method).match >= -1).all()


# What the attack found


def test_columns_that_are_rounding_do_not_hide_others():
    """Products that cancel leave columns of 1e-18 in the Jacobian: they fit nothing, and the other columns fit the targets."""
    net = F((2, 2, 2, 2), 1)
    rng = np.random.default_rng(0)
    for _ in range(50):
        a, b, x = rng.standard_normal() * 1e8, rng.standard_normal() / 400, rng.standard_normal((2, 1))
        theta = np.concatenate([rng.standard_normal(4), [a, a, a, a / 2], [b, -b, -b, b]])
        teacher = np.concatenate([rng.standard_normal(4), theta[4:]])
        v = sl.decide(net, theta, x, sl.outputs(net, teacher, x), np.arange(12) < 4)
        assert v.match == 1


def test_output_biases_that_cancel_targets_leave_their_rounding():
    """relu 3-1-2: targets less the bias are 1e-8 of either, so the two outputs ask for slightly different activities."""
    net, rng = F((3, 1, 2), 1, "relu", bias=("b2",)), np.random.default_rng(1)
    mask = np.arange(net.size) < 3
    for _ in range(60):
        theta = np.concatenate([rng.standard_normal(3), rng.standard_normal(2) * 1e-8, [0.0, rng.standard_normal()]])
        teacher = np.where(mask, np.abs(rng.standard_normal(7)), theta)
        x = np.abs(rng.standard_normal((3, 1)))
        assert sl.decide(net, theta, x, sl.outputs(net, teacher, x), mask, (), "exact", starts=1).match != 0
