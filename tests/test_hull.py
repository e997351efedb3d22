"""T13: proofs that units which learn each by themselves cannot match. Planted matches are never excluded, every proof holds by a twin that
knows no linear programme, relu agrees with all patterns."""

from fractions import Fraction

import numpy as np
import pytest
from scipy.optimize import linprog

import sublearn as sl
from sublearn.existence import by_hull
from sublearn.existence.by_hull import Parts, excess
from sublearn.existence.unit_curves import Direction, Reach, ReluLines, TanhLines, TanhPlanes, tops_of_tanh
from sublearn.model.layers import plain
from sublearn.numerics.orthogonal import orthogonal
from sublearn.numerics.separation import RAY, SEGMENT, separate
from tests.twins.hull import margin as true_margin
from tests.twins.hull import most_in_plane

PHI = {"tanh": np.tanh, "relu": lambda z: np.maximum(z, 0.0)}


def network(activation="tanh", widths=(4, 8, 1), samples=4, bias=("b1",)):
    return sl.Feedforward(widths, samples=samples, activation=activation, bias=bias)


def learns(net, how):
    """bool [size]: what learns in the last hidden layer, and all output biases. how: "bias"; "weight", one of each unit, of different
    inputs; "both", a bias of every second unit, else a weight of the first input; "two", its bias and a weight in
    turn with two weights; "all", all weights of a unit; "any", these in turn."""
    last, mask = len(net.widths) - 2, np.zeros(net.size, dtype=bool)
    weights = mask[net.slices[f"W{last}"]].reshape(net.groups[f"W{last}"])
    biases = mask[net.slices[f"b{last}"]] if f"b{last}" in net.groups else np.zeros(len(weights), dtype=bool)
    for unit in range(len(weights)):
        kinds = {"both": ("bias", "first"), "two": ("bias and weight", "two"), "any": ("bias", "weight", "all", "two", "none")}
        kind = kinds.get(how, (how,))
        kind = kind[unit % len(kind)]
        if kind.startswith("bias"):
            biases[unit] = True
        if kind == "two" or kind.endswith("and weight"):
            weights[unit, : 2 if kind == "two" else 1] = True
        elif kind in ("weight", "first"):
            weights[unit, unit % weights.shape[1] if kind == "weight" else 0] = True
        elif kind == "all":
            weights[unit] = True
    if f"b{last + 1}" in net.groups:
        mask[net.slices[f"b{last + 1}"]] = True
    return mask


def planted(net, how, count, seed=0, gains=None):
    """Trials with a match: the teacher is the student but for what learns."""
    drawn = sl.draw_trials(net, sl.everything(net), count, seed=seed, gains=gains)
    mask = learns(net, how)
    teacher = np.where(mask, drawn.teacher, drawn.student)
    y = sl.outputs(net, teacher, drawn.x).reshape(count, -1)
    return drawn.student, drawn.x.reshape(count, -1), y, np.broadcast_to(mask, (count, net.size)), teacher


CASES = {
    "tanh": network(),
    "tanh, two outputs, output bias": network(widths=(3, 6, 2), samples=3, bias=("b1", "b2")),
    "tanh, deep": network(widths=(3, 5, 6, 1), samples=3, bias=("b1", "b2")),
    "relu": network("relu"),
    "relu, deep, two outputs": network("relu", widths=(3, 5, 6, 2), samples=3, bias=("b2",)),
}
HOW = ("bias", "weight", "both", "two", "all", "any")


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", CASES)
def test_a_planted_match_is_never_excluded(name, how):
    """The targets are on the boundary of nothing: units sit on their curves. 30 trials of each kind; more in docs/theory.md."""
    net = CASES[name]
    for gains in (None, dict.fromkeys(net.groups, 6.0), dict.fromkeys(net.groups, 0.01)):
        student, x, y, masks, _ = planted(net, how, 10, seed=5, gains=gains)
        off = 64 * 2.0**-52 * (np.abs(y) + 1e-300)
        no, directions, starts = by_hull.settle(net, student, x, y, masks, off)
        assert not no.any() and not directions.any() and (starts[:, ~masks[0]] == student[:, ~masks[0]]).all()


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_a_target_on_the_boundary_is_never_excluded(activation, how):
    """Every unit is where it is largest in one direction: nothing but rounding decides."""
    net, rng = network(activation, widths=(3, 6, 1), samples=4, bias=("b1",)), np.random.default_rng(3)
    mask = learns(net, how)
    for _ in range(20):
        theta, x = rng.normal(size=(1, net.size)), rng.normal(size=(1, *net.x_shape))
        u = rng.normal(size=4)
        teacher = theta.copy()
        for _ in range(4):  # one learnable after the other, several times where a unit has several
            for place in np.flatnonzero(mask):
                tries = np.repeat(teacher, 400, axis=0)
                tries[:, place] = np.concatenate(
                    [rng.normal(size=200) * 3, teacher[0, place] + rng.normal(size=199) * 0.1, teacher[0, place : place + 1]]
                )
                teacher = tries[[np.argmax(sl.outputs(net, tries, np.repeat(x, 400, axis=0))[:, 0] @ u)]]
        y = sl.outputs(net, teacher, x)
        found = sl.decide(net, theta, x, y, mask, method="exact", teacher=teacher, starts=1, iterations=1)
        assert found.match[0] != 0


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", CASES)
def test_every_proof_holds_by_a_twin(name, how):
    """Of targets that are larger than a teacher's, so that there is something to prove."""
    net = CASES[name]
    drawn = sl.draw_trials(net, sl.everything(net), 24, seed=3)
    masks = np.broadcast_to(learns(net, how), (24, net.size))
    x, y = drawn.x.reshape(24, -1), drawn.y.reshape(24, -1) * (1 if how == "bias" else np.repeat([1.0, 4.0], 12)[:, None])
    no, directions, _ = by_hull.settle(net, drawn.student, x, y, masks, np.zeros_like(y))
    assert no.any() or (net.activation == "relu" and how != "bias")
    for row in np.flatnonzero(no):
        assert true_margin(net, drawn.student[row], x[row], y[row], masks[row], directions[row]) > 0


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_single_weights_are_excluded_too(activation):
    """All units learn what they read of one input: m = 8 of 16 units, most teachers are out of reach; the twin agrees."""
    net = network(activation, widths=(4, 16, 1), samples=8, bias=())
    drawn = sl.draw_trials(net, sl.everything(net), 20, seed=1)
    mask = np.zeros(net.size, dtype=bool)
    mask[net.slices["W1"]].reshape(16, 4)[:, 0] = True
    x, y = drawn.x.reshape(20, -1), drawn.y.reshape(20, -1)
    no, directions, _ = by_hull.settle(net, drawn.student, x, y, np.broadcast_to(mask, (20, net.size)), np.zeros_like(y))
    assert no.sum() >= 8
    for row in np.flatnonzero(no)[:4]:
        assert true_margin(net, drawn.student[row], x[row], y[row], mask, directions[row]) > 0


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("widths", [(4, 8, 1), (3, 4, 7, 2)])
def test_gains_beside_other_units(activation, widths):
    """Two units learn their gain, the others a bias; frozen gains of all layers are no ones."""
    net, rng = sl.Feedforward(widths, samples=6, activation=activation, bias=True, gain=True), np.random.default_rng(5)
    last, proofs = len(widths) - 2, 0
    mask = np.zeros(net.size, dtype=bool)
    mask[net.slices[f"b{last}"]], mask[net.slices[f"g{last}"].start :][:2], mask[net.slices[f"b{last}"]][:2] = True, True, False
    theta, x = rng.normal(size=(40, net.size)), rng.normal(size=(40, *net.x_shape))
    teacher = np.where(mask, rng.normal(size=theta.shape), theta)
    masks, flat = np.broadcast_to(mask, theta.shape), x.reshape(40, -1)
    for y, there in ((sl.outputs(net, teacher, x), True), (4 * rng.normal(size=(40, *net.y_shape)), False)):
        y = y.reshape(40, -1)
        no, directions, _ = by_hull.settle(net, theta, flat, y, masks, 64 * 2.0**-52 * np.abs(y) if there else np.zeros_like(y))
        assert not (there and no.any())
        proofs += no.sum()
        for row in np.flatnonzero(no)[:6]:
            assert true_margin(net, theta[row], flat[row], y[row], mask, directions[row]) > 0
    assert proofs > 10


def test_a_gain_that_is_frozen_beside_one_that_learns_both_ways():
    """One unit with gain and bias can give anything in R^m where its weight is not 0, so nothing is excluded."""
    net = sl.Feedforward((2, 3, 1), samples=3, activation="tanh", bias=True, gain=True)
    mask = np.zeros(net.size, dtype=bool)
    mask[net.slices["g1"]], mask[net.slices["b1"]] = (True, False, False), True
    rng = np.random.default_rng(0)
    theta, x, y = rng.normal(size=(5, net.size)), rng.normal(size=(5, 6)), 100 * rng.normal(size=(5, 3))
    assert by_hull.applies(net, mask[None])[0]
    assert not by_hull.settle(net, theta, x, y, np.broadcast_to(mask, theta.shape), np.zeros_like(y))[0].any()
    theta[:, net.slices["W2"].start] = 0.0  # it is not there
    assert by_hull.settle(net, theta, x, y, np.broadcast_to(mask, theta.shape), np.zeros_like(y))[0].all()


@pytest.mark.parametrize("how", HOW)
def test_relu_agrees_with_all_activation_patterns(how):
    """The exact search is another method: a proof of no is a no there, and each of its matches is left alone here."""
    for samples in (2, 3, 4):
        net = network("relu", samples=samples)
        drawn = sl.draw_trials(net, sl.everything(net), 60, seed=samples)
        mask = learns(net, how)
        y = drawn.y * np.repeat([1.0, 5.0], 30)[:, None, None]
        exact = sl.decide(net, drawn.student, drawn.x, y, mask, method="exact")
        masks = np.broadcast_to(mask, (60, net.size))
        no, _, _ = by_hull.settle(net, drawn.student, drawn.x.reshape(60, -1), y.reshape(60, -1), masks, np.zeros((60, samples)))
        other = exact.reason[no] != "T13"  # what T11 left open says nothing
        assert (
            (exact.match[no] == 0).all()
            and other.sum() >= 0.9 * no.sum()
            and (how != "bias" or no.sum() > 0.7 * (exact.match == 0).sum() > 0)
        )


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
    for groups, expected in (
        (("b1",), True),
        (("b1", "b2"), True),
        (("b2",), False),
        (("b1", "W2"), False),
        (("W1",), True),
        (("W2",), False),
    ):
        assert by_hull.applies(net, sl.only(net, *groups).draw(0).mask[None])[0] == expected
    assert not by_hull.applies(sl.Recurrent(2, 4, 1, 3, activation="tanh", bias=True), np.ones((1, 44), bool)).any()
    assert not by_hull.applies(plain(sl.Feedforward((3, 4, 1), samples=2, bias=True)), np.zeros((1, 21), bool)).any()
    some = np.zeros(net.size, dtype=bool)
    some[net.slices["b1"].start + 3] = True
    assert by_hull.applies(net, some[None])[0]


# The check


def of_units(kind, a, outgoing, target, free=False, x=1.0, a_error=0.0):
    """The parts of a trial with one kind of units: a, x [n, m], outgoing [o, n], target [o, m]."""
    a, outgoing, target = (np.array(part, dtype=float) for part in (a, outgoing, target))
    x = np.broadcast_to(np.array(x, dtype=float), a.shape)
    reach = Reach(a, np.full_like(a, a_error), x, np.zeros_like(a), np.arange(len(a)))
    return Parts(target, np.zeros_like(target), np.full(len(target), free), (kind(outgoing, reach),), (None,))


@pytest.mark.parametrize("reading", ["ones", "inputs", "small and large", "zeros", "not known"])
@pytest.mark.parametrize("seed", range(6))
def test_bounds_of_suprema_are_above_brute_force_and_close(seed, reading):
    random = np.random.default_rng(seed)
    scale = [1.0, 30.0, 1e-3, 1.0, 300.0, 1.0][seed]
    p, a = random.normal(size=(5, 4)), scale * random.normal(size=(5, 4))
    x = {"ones": np.ones((5, 4)), "small and large": random.normal(size=(5, 4)) * [1, 100, 0.01, 1]}.get(
        reading, random.normal(size=(5, 4))
    )
    if reading == "zeros":
        x[:, 1:3] = 0.0
    if seed == 3:
        p[:, 0] = -p[:, 1:].sum(axis=1)  # limits of 0
    if seed == 5:
        a[:, :] = a[:, :1]  # one sample four times
    error = np.full((5, 4), 0.1 if reading == "not known" else 0.0)
    reach = Reach(a, np.zeros_like(a), x, error, np.arange(5))
    kind = TanhLines(np.ones((1, 5)), reach)
    most = np.zeros(5)
    for row in range(5):
        near = x[row] + error[row] * random.uniform(-1, 1, size=4)
        shifts = np.concatenate([np.linspace(-30, 30, 100_001) / max(abs(v), 1e-3) - a[row, k] / (v or 1.0) for k, v in enumerate(near)])
        most[row] = (p[row] * np.tanh(a[row] + shifts[:, None] * near)).sum(axis=1).max()
    for enough in (-np.inf, most.sum() - 1e-3, most.sum() + 1e-3, np.inf):
        tops, at = tops_of_tanh(p, np.zeros_like(p), reach, kind.starts, enough)
        assert (tops >= most - 1e-13).all()
        assert ((p * np.tanh(a + at[:, None] * x)).sum(axis=1) <= tops + 1e-13).all()
    close, _ = tops_of_tanh(p, np.zeros_like(p), reach, kind.starts, most.sum() + 1e-3)
    assert scale > 30 or reading in ("small and large", "not known") or close.sum() < most.sum() + 1e-3


@pytest.mark.parametrize("reading", ["inputs", "a bias", "zeros", "small and large", "alike", "not known"])
@pytest.mark.parametrize("seed", range(3))
def test_bounds_of_suprema_in_planes_are_above_what_a_search_finds_and_close(seed, reading):
    random = np.random.default_rng(seed)
    p, a, x, w = random.normal(size=(4, 3, 5))
    a = a * [1.0, 5.0, 0.1][seed]
    if reading == "a bias":
        w[:] = 1.0
    elif reading == "zeros":
        x[:, :2] = w[:, 1:3] = 0.0
    elif reading == "small and large":
        x, w = x * 1e-3, w * 100
    elif reading == "alike":
        w[:] = -2 * x
    error = np.full_like(a, 0.05 if reading == "not known" else 0.0)
    zero, units = np.zeros_like(a), np.arange(3)
    kind = TanhPlanes(np.ones((1, 3)), *(Reach(a, zero, part, error, units) for part in (x, w)))
    near = [part + error * random.uniform(-1, 1, size=part.shape) for part in (x, w)]
    for row in range(3):
        own = TanhPlanes(np.ones((1, 1)), *(Reach(*(part[row : row + 1] for part in reach)) for reach in (kind.one, kind.two)))
        most = most_in_plane(p[row], a[row], near[0][row], near[1][row])
        direction = Direction(p[row : row + 1], zero[:1])
        for more in (-1.0, 0.0, 1e-2, 0.3, np.inf):
            bound = own.most(direction, np.zeros(0), most + more)[0]
            assert bound >= most - 1e-12
            assert more != 0.3 or reading in ("not known", "alike") or bound < most + 0.3
        moved = Direction(p[row : row + 1] + 0.01, np.full((1, 5), 0.01))
        assert own.most(moved, np.zeros(0), np.inf)[0] >= most - 1e-12


def test_a_learning_output_bias_asks_for_rows_that_add_up_to_nothing():
    parts = of_units(TanhLines, np.zeros((1, 2)), np.ones((1, 1)), [[5.0, 0.0]], free=True)
    for u in ([[1.0, -1.0]], [[1.0, -0.99]]):  # both samples alike: the curve gives 0, the targets differ by 5
        margin, v = excess(np.array(u), parts)
        assert 4.5 < margin <= 5.0 and abs(v.sum()) < 1e-15
    assert not excess(np.array([[1.0, 1.0]]), parts)[0] > 0


@pytest.mark.parametrize("x", [1.0, -1.0])
def test_a_ray_that_rises_proves_nothing(x):
    parts = of_units(ReluLines, np.zeros((1, 1)), np.ones((1, 1)), [[100.0]], x=x)
    assert not excess(np.array([[1.0]]), parts)[0] > 0
    assert 99 < excess(np.array([[-1.0]]), parts._replace(target=np.array([[-100.0]])))[0] <= 100


def test_errors_are_taken_from_the_margin():
    parts = of_units(TanhLines, np.zeros((1, 1)), 2 * np.ones((1, 1)), [[3.0]])
    u = np.array([[1.0]])
    assert 0.8 < excess(u, parts)[0] <= 1.0
    assert 0.3 < excess(u, parts._replace(target_error=np.array([[0.5]])))[0] <= 0.5
    assert excess(u, parts._replace(target_error=np.array([[1.0]])))[0] <= 0
    for bad in (np.nan, np.inf):
        with np.errstate(invalid="ignore"):
            assert not excess(u, parts._replace(target=np.array([[bad]]), target_error=np.array([[np.inf]])))[0] > 0
    exact, loose = (excess(np.array([[1.0, -1.0]]), of_units(TanhLines, [[1.0, 0.0]], np.ones((1, 1)), [[3.0, 0.0]], a_error=error))[0]
                    for error in (0.0, 0.3))  # fmt: skip
    assert exact == pytest.approx(3 - 2 * np.tanh(0.5), abs=0.1) and exact - 1.2 < loose < exact - 0.2


@pytest.mark.parametrize("seed", range(20))
def test_vectors_are_proven_orthogonal_where_they_are(seed):
    """Against exact fractions: rows of whole numbers with errors of 0 and a vector that solves them within the stated error."""
    rng = np.random.default_rng(seed)
    rows, u = rng.integers(-9, 10, size=(3, 7)).astype(float), rng.normal(size=7)
    v, error = orthogonal(u, rows, np.zeros_like(rows))
    assert np.abs(v - u).max() < 10 and 0 < error.max() < 1e-12 and (error > 0).sum() == 3
    exact, left = np.vectorize(Fraction, otypes=[object]), np.flatnonzero(error)
    right = -(exact(rows) @ exact(v))
    moved = [row[3] for row in _reduced([[*exact(rows[k, left]), right[k]] for k in range(3)])]
    assert all(abs(move) <= Fraction(own) for move, own in zip(moved, error[left], strict=True))
    assert orthogonal(u, np.concatenate([rows, rows[:1] * 3]), np.zeros((4, 7))) is None  # they depend on each other
    assert orthogonal(u, rows[:2], np.full((2, 7), 10.0)) is None  # nothing is known of them


def _reduced(rows):
    for k in range(len(rows)):
        pivot = max(range(k, len(rows)), key=lambda r: abs(rows[r][k]))
        rows[k], rows[pivot] = rows[pivot], rows[k]
        rows[k] = [value / rows[k][k] for value in rows[k]]
        rows = [row if r == k else [a - row[k] * b for a, b in zip(row, rows[k], strict=True)] for r, row in enumerate(rows)]
    return rows


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_products_of_intervals_need_no_programme(activation, monkeypatch):
    """One output, all weights of each unit learn: no match if and only if one target is out of reach (what is read spans R^m)."""
    monkeypatch.setattr(by_hull, "separate", None)
    net, rng = network(activation, widths=(4, 3, 1), samples=4, bias=()), np.random.default_rng(0)
    theta, x, y = np.abs(rng.normal(size=(60, net.size))), rng.normal(size=(60, 16)), rng.normal(size=(60, 4)) * 2
    mask = np.zeros(net.size, dtype=bool)
    mask[net.slices["W1"]] = True
    no, directions, _ = by_hull.settle(net, theta, x, y, np.broadcast_to(mask, theta.shape), np.zeros_like(y))
    reach = theta[:, net.slices["W2"]].sum(axis=1)
    out = np.abs(y).max(axis=1) > reach if activation == "tanh" else y.min(axis=1) < 0
    assert (no == out).all() and 0 < no.sum() < 60
    for row in np.flatnonzero(no):
        assert true_margin(net, theta[row], x[row], y[row], mask, directions[row]) > 0


def test_rays_and_segments_are_what_they_say():
    points, owner = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([RAY, SEGMENT])
    assert separate(points, owner, np.array([5.0, -1.0])).direction is None  # on the ray, at the far end of the segment
    assert separate(points, owner, np.array([5.0, 1.0])).direction is None
    for outside in ([-1.0, 0.0], [5.0, 1.5], [5.0, -1.5]):
        u = separate(points, owner, np.array(outside)).direction
        assert u @ outside > abs(u[1]) + 1e-6 and u[0] <= 1e-9


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
        student, x, y, masks, _ = planted(net, "bias", 1, seed=seed)
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
    kind = ReluLines(np.array([[2.0**-1074]]), of_units(ReluLines, np.zeros((1, 2)), np.ones((1, 1)), [[1.0, 0.0]]).kinds[0].reach)
    u = np.array([[1.0, -1.0 + 2.0**-30]])
    never = np.zeros((2, 1), dtype=bool)
    assert kind.most(Direction(u, np.zeros_like(u)), never, 0.0)[0] == np.inf
    kind.outgoing = np.zeros((1, 1))  # no unit at all
    assert kind.most(Direction(u, np.zeros_like(u)), never, 0.0)[0] == 0.0


def test_numbers_beyond_float64_prove_nothing_and_raise_nothing():
    net = network("relu", widths=(2, 2, 2, 1), samples=2, bias=("b2",))
    theta = np.ones((1, net.size))
    theta[:, net.slices["W1"]], theta[:, net.slices["W2"]], theta[:, net.slices["W3"]] = 1e200, 1e300, 1e308
    mask = sl.only(net, "b2").draw(0).mask[None]
    no, directions, starts = by_hull.settle(net, theta, np.ones((1, 4)), np.ones((1, 2)), mask, np.zeros((1, 2)))
    assert not no.any() and not directions.any() and (starts == theta).all()
    nothing = separate(np.array([[np.inf, 1.0]]), np.array([0, 0]), np.ones(1))
    assert nothing.direction is None and not nothing.shares.any()


def test_outgoing_weights_below_the_normal_range_are_no_walls():
    """A row that u is to be orthogonal to cannot be scaled to an ordinary size: nothing is proven, and nothing raised."""
    net, rng = network("relu", widths=(2, 3, 2), samples=9), np.random.default_rng(0)
    theta, x = rng.normal(size=(60, net.size)), rng.normal(size=(60, *net.x_shape))
    net.unpack(theta)["W2"][:, :, 1] *= 2.0**-1060
    found = sl.decide(net, theta, x, 5 * rng.normal(size=(60, *net.y_shape)), sl.only(net, "b1"), method="exact", starts=1, iterations=1)
    assert (found.match == 0).any() and (found.match == -1).any()
    rows = np.array([[2.0**-1070, 0.0, 2.0**-1070]])
    assert orthogonal(np.ones(3), rows, np.zeros_like(rows)) is None


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
    for below, enough in ((0.0, -np.inf), (2.0**52, np.inf)):
        kind = of_units(TanhLines, a - below, np.ones((1, 1)), [[0.0, 0.0]]).kinds[0]
        assert tops_of_tanh(p, np.zeros_like(p), kind.reach, kind.starts, enough)[0][0] >= 2 * np.tanh(0.5)
