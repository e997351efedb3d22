"""Exact verdicts of relu networks: against integer programmes, a closed case, planted teachers and long searches."""

from types import SimpleNamespace

import numpy as np
import pytest
from relu_oracle import agreement

import sublearn as sl
from sublearn.backend.compiled import cpu
from sublearn.existence import by_patterns
from sublearn.existence.by_patterns import applies
from sublearn.existence.pattern_proofs import prove_last
from tests.relu_oracle import verdicts_of

F = sl.Feedforward


def trials(net, strategy, count, seed=0):
    drawn = sl.draw_trials(net, strategy, count, seed=seed)
    return drawn, (drawn.student, drawn.x.reshape(count, -1), drawn.y.reshape(count, -1), drawn.mask)


@pytest.mark.parametrize(
    "net,strategy,count",
    [
        (F((3, 4, 2), 3, "relu"), lambda n: sl.split(n, {"W1": 7}), 15),
        (F((2, 3, 1), 3, "relu"), lambda n: sl.split(n, {"W1": 3}), 30),
        (F((2, 3, 2), 2, "relu", True), lambda n: sl.split(n, {"W1": 2, "b1": 3}), 25),
        (F((2, 2, 3), 2, "relu"), lambda n: sl.only(n, "W1"), 30),
    ],
    ids=lambda v: str(v) if isinstance(v, F) else "",
)
def test_verdicts_equal_those_of_integer_programmes(net, strategy, count):
    drawn, rows = trials(net, strategy(net), count, seed=3)
    match, theta, _ = verdicts_of(net, *rows)
    assert (match >= 0).all()
    _, answers = agreement(net, 1, drawn, match, theta)
    assert answers == {0, 1}


def test_the_closed_case():
    """relu 1-1-1, m = 1: MP(nothing) = 1/4, MP of the first weight 3/4 (T11)."""
    net, count = F((1, 1, 1), 1, "relu"), 3000
    nothing = sl.match_probability(net, sl.Allocation(net, {}), count, method="exact")
    first = sl.match_probability(net, sl.only(net, "W1"), count, method="exact")
    last = sl.match_probability(net, sl.only(net, "W2"), count, method="exact")
    for result, truth in ((nothing, 0.25), (first, 0.75), (last, 0.75)):
        assert result.undecided == 0 and result.quantity == "existence"
        assert abs(result.probability - truth) < 4 * np.sqrt(truth * (1 - truth) / count)


def test_solutions_are_true_and_a_long_search_contradicts_nothing():
    net = F((3, 4, 2), 3, "relu")
    for budget, floor in ((6, 0.09), (9, 0.40)):
        drawn = sl.draw_trials(net, sl.split(net, {"W1": budget}), 150, seed=1)
        v = sl.decide(net, drawn.student, drawn.x, drawn.y, drawn.mask, method="exact")
        search = sl.decide(net, drawn.student, drawn.x, drawn.y, drawn.mask, method="newton", starts=15)
        assert not ((v.match == 0) & (search.match == 1)).any()
        assert (v.match == 1).sum() > (search.match == 1).sum() and (v.match == 1).mean() > floor
        assert (v.match == -1).mean() < 0.005 and (v.reason[v.match >= 0] == "T11").all()
        assert v.loss[v.match == 1].max() < 1e-16
        assert v.certified[v.match == 1].mean() > 0.97 and not v.certified[v.match != 1].any()
        np.testing.assert_array_equal(v.theta[~drawn.mask], drawn.student[~drawn.mask])


@pytest.mark.parametrize("net", [F((3, 4, 2), 3, "relu"), F((3, 5, 4, 2), 4, "relu", True), F((2, 4, 3), 5, "relu", ("b1",))], ids=str)
def test_planted_teachers_are_always_a_yes(net):
    """The teacher is the student but for some weights (and biases) of the layer before the last one."""
    k = len(net.widths) - 2
    names = [name for name in (f"W{k}", f"b{k}") if name in net.groups]
    drawn = sl.draw_trials(net, sl.split(net, dict.fromkeys(names, 3)), 40, seed=2)
    teacher = np.where(drawn.mask, drawn.teacher, drawn.student)
    y = sl.outputs(net, teacher, drawn.x).reshape(40, -1)
    match, theta, _ = verdicts_of(net, drawn.student, drawn.x.reshape(40, -1), y, drawn.mask)
    assert (match == 1).all()
    miss = np.abs(sl.outputs(net, theta, drawn.x).reshape(40, -1) - y).max(axis=1)
    assert miss[match == 1].max() < 1e-8


def test_programmes_with_planted_answers():
    rng = np.random.default_rng(0)
    C = rng.standard_normal((300, 5, 9))
    inside = np.abs(rng.standard_normal((300, 9))) + 0.01
    status, v = cpu.feasible(C, np.einsum("brk,bk->br", C, inside))
    assert (status == 1).mean() > 0.99 and not (status == 0).any() and (v >= 0).all()
    good = status == 1
    np.testing.assert_allclose(np.einsum("brk,bk->br", C, v)[good], np.einsum("brk,bk->br", C, inside)[good], atol=1e-8)
    # Farkas: with a row g of C e-combination non-negative on every column and negative on e there is no solution
    g = rng.standard_normal((300, 5))
    C *= np.sign(np.einsum("br,brk->bk", g, C))[:, None]
    status, _ = cpu.feasible(C, -g)
    assert (status == 0).all()
    # with a margin: at least that much in every entry, or a no
    status, v = cpu.feasible(C, np.einsum("brk,bk->br", C, inside), margin=0.005)
    assert (status == 1).all() and v.min() >= 0.0025
    status, _ = cpu.feasible(C, np.einsum("brk,bk->br", C, inside), margin=100.0)
    assert (status == 0).all()  # g C v grows with v, and is g C inside
    # feasible at a corner only: v = (0, 1) is forced, and one entry has no margin
    status, _ = cpu.feasible(np.array([[[1.0, 0.0], [0.0, 1.0]]]), np.array([[0.0, 1.0]]))
    assert status[0] == -1
    # an equation 0 = 0 does no harm, 0 = 1 does
    status, _ = cpu.feasible(np.array([[[1.0, 1.0], [0.0, 0.0]]] * 2), np.array([[1.0, 0.0], [1.0, 1.0]]))
    np.testing.assert_array_equal(status, [1, 0])


def test_too_many_patterns_are_undecided(monkeypatch):
    net = F((3, 4, 2), 3, "relu")
    _, rows = trials(net, sl.split(net, {"W1": 7}), 60)
    full, *_ = verdicts_of(net, *rows)
    assert (full >= 0).all()
    for most in (1, 4):
        monkeypatch.setattr(by_patterns, "MOST", most)
        few, *_ = verdicts_of(net, *rows)
        assert (few == -1).any() and ((few == full) | (few == -1)).all()


def test_verdicts_depend_on_the_trial_alone():
    net = F((3, 4, 4, 2), 3, "relu", ("b1",))
    _, rows = trials(net, sl.split(net, {"W1": 6, "b1": 2}), 40)
    whole = by_patterns.settle(net, *rows, threads=1)
    shared = by_patterns.settle(net, *rows, threads=3)
    alone = [by_patterns.settle(net, *(part[q : q + 1] for part in rows)) for q in range(40)]
    for name in ("match", "theta", "certified"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(shared, name))
        np.testing.assert_array_equal(getattr(whole, name), np.concatenate([getattr(one, name) for one in alone]))


def make_nasty(kind, net, drawn, rng):
    """The same students with other numbers: answers that lie on corners, ranks that are not generic."""
    theta, x, y = drawn.student.copy(), drawn.x.copy(), drawn.y.copy()
    teacher = np.where(drawn.mask, drawn.teacher, theta)
    L, m = len(net.widths) - 1, net.samples
    if kind == "whole numbers":
        x, theta, teacher = np.round(2 * x) / 2, np.round(2 * theta) / 2, np.round(2 * teacher) / 2
    if kind == "dead unit":
        net.unpack(theta)[f"W{L - 1}"][:, 0] = -1.0
        x = np.abs(x)
        teacher = np.where(drawn.mask, drawn.teacher, theta)
    if kind == "one sign":
        net.unpack(theta)[f"W{L}"][:] = np.abs(net.unpack(theta)[f"W{L}"])
        teacher = np.where(drawn.mask, drawn.teacher, theta)
    if kind == "equal samples":
        x[:, :, 1] = x[:, :, 0]
    if kind == "zero sample":
        x[:, :, 0] = 0
    if kind == "no weights":
        theta = theta * (rng.random(theta.shape) < 0.6)
        teacher = np.where(drawn.mask, drawn.teacher, theta)
    if kind not in ("teacher", "zero targets", "some zero targets") and rng.random() < 0.6:
        y = sl.outputs(net, teacher, x)
    if kind == "zero targets":
        y = 0 * y
    if kind == "some zero targets":
        y = y * (rng.random((len(y), 1, m)) < 0.5)
    if kind == "float32":
        y = y.astype(np.float32).astype(float)
    return SimpleNamespace(student=theta, x=x, y=y, mask=drawn.mask)


KINDS = ("planted", "zero targets", "some zero targets", "whole numbers", "dead unit", "one sign", "equal samples", "zero sample",
         "no weights", "float32")  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_nasty_trials_agree_with_integer_programmes(kind):
    rng, told = np.random.default_rng(KINDS.index(kind)), 0
    for net, k in ((F((2, 3, 2), 2, "relu"), 1), (F((2, 3, 1), 3, "relu", True), 1), (F((2, 2, 2, 1), 2, "relu", ("b1",)), 2)):
        names = [name for name in (f"W{k}", f"b{k}") if name in net.groups]
        for budget in (2, 3):
            drawn = sl.draw_trials(net, sl.split(net, {names[-1]: min(budget, net.widths[k]), names[0]: budget}), 5, seed=budget)
            nasty = make_nasty(kind, net, drawn, rng)
            eps = float(np.finfo(np.float32 if kind == "float32" else np.float64).eps)
            match, theta, _ = verdicts_of(net, nasty.student, nasty.x.reshape(5, -1), nasty.y.reshape(5, -1), nasty.mask, eps)
            assert not (kind == "float32" and (match == 0).any())  # the targets of some teacher, rounded: any no may be wrong
            told += agreement(net, k, nasty, match, theta)[0]
    assert told >= (5 if kind == "float32" else 24)


def test_where_it_applies():
    net = F((3, 4, 2), 3, "relu")
    masks = np.stack([sl.only(net, "W1").allocation.mask, sl.only(net, "W2").allocation.mask])
    np.testing.assert_array_equal(applies(net, masks), [True, False])
    deep = F((3, 4, 4, 2), 3, "relu")
    np.testing.assert_array_equal(
        [applies(deep, sl.only(deep, name).allocation.mask[None])[0] for name in ("W1", "W2", "W3")], [True, True, False]
    )
    both = sl.split(deep, {"W1": 1, "W2": 1}).draw(0).mask
    assert not applies(deep, both[None])[0]
    assert not applies(F((3, 4, 2), 3), masks).any() and not applies(F((3, 4, 2), 9, "relu"), masks).any()


def test_a_silent_teacher_is_no_reason_to_be_undecided():
    """y = 0, and a student whose frozen last-layer weights act: a clear no; with all of them learnable: a yes."""
    net = F((3, 4, 2), 3, "relu")
    drawn = sl.draw_trials(net, sl.only(net, "W2"), 50, seed=1)
    zero = np.zeros_like(drawn.y)
    alive = (sl.outputs(net, drawn.student, drawn.x) != 0).any(axis=(1, 2))
    some = sl.split(net, {"W2": 1}).draw(0)
    assert (sl.decide(net, drawn.student, drawn.x, zero, some).match[alive] == 0).mean() > 0.9
    assert (sl.decide(net, drawn.student, drawn.x, zero, sl.only(net, "W2")).match == 1).all()


def test_a_proof_needs_the_signs_and_the_rank():
    net = F((2, 3, 1), 2, "relu")
    drawn, rows = trials(net, sl.only(net, "W1"), 60, seed=5)
    theta, x, y, masks = rows
    match, found, proven = verdicts_of(*(net, *rows))
    alive = (y != 0).all(axis=1)
    assert (proven == (match == 1))[alive].mean() > 0.95
    patterns = np.einsum("bjk,bkm->bmj", net.unpack(found)["W1"], drawn.x) > 0
    k = np.flatnonzero(proven & alive)
    again, sure = by_patterns.prove(net, 1, found[k], x[k], y[k], masks[k], patterns[k])
    assert sure.all()
    np.testing.assert_allclose(again, found[k], rtol=1e-9, atol=1e-12)
    wrong = patterns[k].copy()
    wrong[:, 0, 0] ^= True  # another region: mostly its solution does not have these signs; where it does, it is a match as well
    other, sure = by_patterns.prove(net, 1, found[k], x[k], y[k], masks[k], wrong)
    assert sure.mean() < 0.3
    np.testing.assert_allclose(sl.outputs(net, other, drawn.x[k])[sure], drawn.y[k][sure], rtol=1e-9)
    few = masks[k].copy()
    few[:, 1:] = False  # one weight, two equations
    assert not by_patterns.prove(net, 1, found[k], x[k], y[k], few, patterns[k])[1].any()


def test_last_layers_are_proven_where_features_have_full_rank():
    net = F((3, 4, 2), 3, "relu", True)
    drawn = sl.draw_trials(net, sl.only(net, "W2", "b2"), 200, seed=1)
    v = sl.decide(net, drawn.student, drawn.x, drawn.y, drawn.mask, method="exact")
    features = np.maximum(net.unpack(drawn.student)["W1"] @ drawn.x + net.unpack(drawn.student)["b1"][:, :, None], 0)
    features = np.concatenate([features, np.ones((200, 1, 3))], axis=1)
    full = np.linalg.matrix_rank(features) == 3
    assert v.certified[full].all() and 20 < full.sum() and not v.certified[v.match == 0].any()
    loss = ((sl.outputs(net, v.theta, drawn.x) - drawn.y) ** 2).sum((1, 2))
    assert loss[v.certified].max() < 1e-20


def test_nearly_dependent_inputs_are_no_reason_for_a_no():
    """Features x and x + e d, and weights that make u = a x + b d of them: all numbers are exact, and so is the match."""
    rng = np.random.default_rng(6)
    for bits in range(18, 31, 2):
        net, e = F((2, 2, 2), 4, "relu"), 2.0**-bits
        base, away = rng.integers(-8, 9, (2, 200, 4)).astype(float)
        x = np.stack([base, base + e * away], axis=1)
        theta = rng.integers(-8, 9, (200, net.size)) / 8
        teacher = theta.copy()
        a, b = rng.integers(-8, 9, (2, 200, 2)) / 8
        net.unpack(teacher)["W1"][:] = np.stack([a - b / e, b / e], axis=2)
        y = sl.outputs(net, teacher, x)
        activity = np.maximum(a[:, :, None] * base[:, None] + b[:, :, None] * away[:, None], 0)
        np.testing.assert_array_equal(y, net.unpack(theta)["W2"] @ activity)
        masks = np.tile(sl.only(net, "W1").allocation.mask, (200, 1))
        match, *_ = verdicts_of(net, theta, x.reshape(200, -1), y.reshape(200, -1), masks)
        assert not (match == 0).any() and ((match == 1).mean() > 0.8 or bits > 26)


@pytest.mark.parametrize("small", [1e-20, 1e-155, 1e-200, 5e-324])
def test_small_samples_are_no_reason_for_a_no(small):
    net, mask = F((1, 1, 1), 3, "relu"), np.array([[True, False]])
    for x in ([1.0, small, -2.0], [small, 1.0, 4.0], [small, -small, small], [1.0, small, small]):
        for y in (np.maximum(x, 0.0), np.maximum(-np.array(x), 0.0)):
            match, *_ = verdicts_of(net, np.array([[3.0, 1.0]]), np.array([x]), y[None], mask)
            assert match[0] != 0
            assert sl.decide(net, np.array([[3.0, 1.0]]), np.array([[x]]), y[None, None], mask[0], method="exact").match[0] != 0


def test_rounding_in_the_layers_below_is_no_reason_for_a_no():
    """1 + 2^58 is rounded in the first layer, and all that is left of it in the second one is lost."""
    net = F((2, 2, 2, 1, 3), 2, "relu", ("b1", "b3"))
    parts = {
        "W1": [[1.0, 1.0], [1.5, 0.5]],
        "W2": [[-1.0, 2.0], [-1.5, 1.5]],
        "W3": [[1.0, -1.5]],
        "W4": [[0.5], [0.0], [-1.5]],
        "b1": [-1.5, 2.0],
        "b3": [1.5],
    }
    theta = net.pack({name: np.array(part, dtype=float) for name, part in parts.items()})[None]
    x = np.array([[[1.0, -0.25], [2.0**58, -(2.0**58)]]])
    y = np.array([[[0.0, 0.75], [0.0, 0.0], [0.0, -2.25]]])  # of W3 = (-1, 2): its unit reads 7.5 in the first sample
    match, *_ = verdicts_of(net, theta, x.reshape(1, -1), y.reshape(1, -1), sl.only(net, "W3").allocation.mask[None])
    assert match[0] != 0


def test_small_weights_in_several_layers_are_decided():
    """Whole layers, and single units, of any size: the same verdicts as at order one, where scaling is exact."""
    net, count = F((2, 3, 3, 2), 2, "relu"), 60
    drawn = sl.draw_trials(net, sl.split(net, {"W1": 5}), count, seed=9)
    rows = [part.reshape(count, -1) for part in (drawn.student, drawn.x, drawn.y)]
    plain, *_ = verdicts_of(net, *rows, drawn.mask)
    assert set(plain) == {0, 1}
    layers, units = drawn.student.copy(), drawn.student.copy()
    for name in ("W2", "W3"):
        net.unpack(layers)[name][:] *= 2.0**-20
    net.unpack(units)["W3"][:, :, 1] *= 2.0**-30
    net.unpack(units)["W2"][:, 1] *= 2.0**30
    for theta, gain in ((layers, 2.0**-40), (units, 1.0)):
        match, found, proven = verdicts_of(net, theta, rows[1], rows[2] * gain, drawn.mask)
        np.testing.assert_array_equal(match, plain)
        assert proven[match == 1].mean() > 0.9


def test_numbers_too_large_to_be_split_prove_nothing_wrong(isa):
    """Without fused multiply-adds the halves of a weight above 1e300 overflow: no enclosure may come of that."""
    x, y = np.array([[1e-301]]), np.array([[0.75]])
    first = [1e301, 0.75e300]  # of what the units of the first layer are: 1 and 0.075
    deep, mask = F((1, 2, 1, 1), 1, "relu"), np.array([[False, False, False, True, False]])
    theta, proven = by_patterns.prove(deep, 2, np.array([[*first, 1.0, 1.0, 1.0]]), x, y, mask, np.ones((1, 1, 1), dtype=bool))
    assert not proven[0] or abs(theta[0, 3] - -10 / 3) < 1e-9
    theta, proven = prove_last(F((1, 2, 1), 1, "relu"), np.array([[*first, -1.0, 1.0]]), x, y, mask[:, :4])
    assert not proven[0] or abs(theta[0, 3] - 70 / 3) < 1e-9


def test_targets_far_beyond_the_weights_are_not_refused():
    """All weights are some 1e-138, the targets those of biases near 1, rounded: patterns say nothing of numbers so far apart."""
    net = sl.Feedforward((2, 3, 1), samples=3, activation="relu", bias=("b1", "b2"))
    theta = np.zeros(net.size)
    theta[net.slices["W1"]] = 1e-138 * np.array([8.6, -4.0, -1.1, -10.5, -1.1, -3.9])
    theta[net.slices["W2"]] = 1e-138 * np.array([13.798359130771963, 5.9, -18.2])
    theta[net.slices["b1"]], theta[net.slices["b2"]] = 1e-138 * np.array([-9.8, -12.8, 0.2]), 6.067813250009893e-138
    mask = np.zeros(net.size, dtype=bool)
    mask[net.slices["b1"].start : net.slices["b1"].start + 2] = True
    y = np.full((1, 3), 13.798359130771963e-138 * 0.4046019725919622 + 6.067813250009893e-138)
    x = np.random.default_rng(0).normal(size=(2, 3))
    assert sl.decide(net, theta, x, y, mask, method="exact", starts=1, iterations=3).match != 0
