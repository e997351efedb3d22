"""What theory says of networks with gains, leaks and several sequences, against brute force: ranks, searches and planted traps."""

from dataclasses import replace

import numpy as np
import pytest
from twins import networks as twin

import sublearn as sl
from sublearn.ranks.affine import affine
from sublearn.ranks.generic_rank import choosable, free_weights, whole_rank

NETS = [
    sl.Feedforward((3, 4, 2), 3, "tanh", True, gain=True),
    sl.Feedforward((2, 3, 3, 2), 3, "tanh", gain=True),
    sl.Feedforward((3, 3, 3, 2), 4, "linear", ("b1",), gain=True),
    sl.Recurrent(2, 4, 2, 3, "linear", gain=True),
    sl.Recurrent(2, 4, 2, 1, "tanh", True, gain=True),
    sl.Recurrent(1, 4, 2, 3, "linear", leak=0.5),
    sl.Recurrent(1, 4, 1, 4, "tanh", gain=True, leak=0.5),
    sl.Recurrent(1, 3, 2, 3, "linear", samples=2),
    sl.Recurrent(2, 4, 1, 2, "tanh", True, samples=2),
]
names = lambda net: net.describe()  # noqa: E731


def masks_of(net, shared, count, seed=0):
    """Masks of all budgets in the weights that are not shared; half of them inside one group or two."""
    rng = np.random.default_rng(seed)
    open_ = choosable(net, shared)
    masks = np.zeros((count, net.size), dtype=bool)
    for mask in masks:
        some = open_.copy()
        if rng.random() < 0.6:
            for name in net.groups:
                some[net.slices[name]] &= rng.random() < 0.4
        places = np.flatnonzero(some)
        mask[rng.permutation(places)[: rng.integers(0, len(places) + 1)]] = True
    return masks


@pytest.mark.parametrize("net", NETS, ids=names)
def test_the_path_rule_is_second_differences(net):
    """T2: outputs are affine in the learnable weights if and only if second differences vanish along random lines."""
    rng = np.random.default_rng(1)
    masks = masks_of(net, (), 120)
    for mask, said in zip(masks, affine(net, masks)):
        theta, x = rng.normal(size=net.size), rng.normal(size=net.x_shape)
        step = np.where(mask, rng.normal(size=net.size), 0.0)
        low, middle, high = (twin.outputs(net, theta + t * step, x) for t in (-1, 0, 1))
        bent = np.abs(low - 2 * middle + high).max() > 1e-9 * np.abs([low, middle, high]).max()
        assert bent != said, mask


@pytest.mark.parametrize("net", NETS, ids=names)
def test_required_ranks_count_what_teachers_differ_in(net):
    rng = np.random.default_rng(2)
    for shared in [(), tuple(net.groups)[:1], (sl.readout(net).name.split("(")[1].split(",")[0].rstrip(")"),)]:
        theta, x = rng.normal(size=net.size), rng.normal(size=net.x_shape)
        for name in net.gain:
            theta[net.slices[name]] = 1
        J = twin.jacobian(net, theta, x)
        assert sl.required_rank(net, shared) == np.linalg.matrix_rank(J[:, free_weights(net, shared)], tol=1e-9)
        assert whole_rank(net, shared) == np.linalg.matrix_rank(J[:, choosable(net, shared)], tol=1e-9)


@pytest.mark.parametrize("net", NETS, ids=names)
@pytest.mark.parametrize("part", ["nothing", "first", "last"])
def test_predictions_hold_in_trials(net, part):
    """minimal: no trial has a match. maximal: every one has, and a search finds it in nearly all."""
    groups = list(net.groups)
    shared = {"nothing": (), "first": (groups[0],), "last": ("D",) if "D" in groups else (f"W{len(net.widths) - 1}",)}[part]
    masks = masks_of(net, shared, 60, seed=3)
    told = sl.predictions(net, masks, shared)
    seen = dict.fromkeys(("minimal", "maximal"), 0)
    for kind in seen:
        rows = np.flatnonzero(told.kind == kind)[:10]
        for row in rows:
            trial = sl.draw_trials(net, sl.Allocation.from_mask(net, masks[row]), 6, shared=shared, task=int(row))
            found = sl.levenberg_marquardt(net, trial.student, trial.x, trial.y, masks[row], starts=20, task=int(row))
            matched = (found.start >= 0) | (np.abs(sl.outputs(net, trial.student, trial.x) - trial.y).reshape(6, -1).max(axis=1) == 0)
            seen[kind] += 1
            if kind == "minimal":
                assert not matched.any(), masks[row]
            else:
                assert matched.mean() >= 0.5, (masks[row], told[row].explanation)
    assert seen["minimal"] > 2


def test_shared_readers_of_learnable_gains():
    """Trap: where W2 is shared, gains reach outputs that no teacher has: a rank of kappa is no reason for a match."""
    net = sl.Feedforward((3, 6, 2), 4, "tanh", gain=True)
    shared = ("W1", "W2")
    assert (sl.required_rank(net, shared), whole_rank(net, shared)) == (0, 6)
    few = sl.scattered(net, 3, "g1").draw(0)
    found = sl.predict(net, few, shared)  # everything in which teachers differ is shared: the student is the teacher
    assert (found.kind, found.reason) == ("maximal", "D4")
    assert sl.match_probability(net, few, 20, shared=shared).matched == 20
    recurrent = sl.Recurrent(2, 6, 2, 4, "linear", gain=True)
    assert sl.required_rank(recurrent, ("B", "D")) == 6  # y_1 is the teacher's
    assert whole_rank(recurrent, ("B", "D")) == 8  # but not where gains learn
    unknown = sl.predictions(recurrent, masks_of(recurrent, ("B", "D"), 200), ("B", "D"))
    rows = unknown.kind == "unknown"
    assert rows.any()
    assert ((unknown.attained_rank >= 6) == (unknown.kind != "minimal")).all()
    assert (unknown.attained_rank[rows] < 8).all()


@pytest.mark.parametrize("outputs", [1, 2])
def test_gains_of_the_last_hidden_layer_match_to_n_over_o(outputs):
    """T2 for gains: y is affine in them for every activation, so capacity is floor(n / o), certified trial by trial."""
    for m in (8 // outputs, 8 // outputs + 1):
        net = sl.Feedforward((4, 8, outputs), m, "tanh", True, gain=True)
        strategy = sl.gains(net)
        said = sl.predict(net, strategy)
        found = sl.match_probability(net, strategy, 60, method="exact")
        if m * outputs <= 8:
            assert (said.kind, said.reason) == ("maximal", "T2")
            assert (found.matched, found.certified) == (60, 60)
        else:
            assert said.kind == "minimal"
            assert found.matched == 0
    assert sl.capacity(sl.Feedforward((4, 8, outputs), 2, "tanh", True, gain=True), sl.gains(net.at(2)), trials=40).m == 8 // outputs


@pytest.mark.parametrize("method", ["newton", "exact"])
def test_verdicts_of_idle_gains_are_those_without_gains(method):
    """Gains that are 1 and do not learn are no gains: the same verdicts, certificates, reasons and points."""
    for net in (
        sl.Feedforward((4, 8, 1), 3, "tanh", True, gain=True),
        sl.Feedforward((3, 4, 1), 3, "relu", True, gain=True),
        sl.Recurrent(1, 4, 1, 5, "linear", gain=True),
    ):
        bare = replace(net, gain=False)
        group, shared = ("b1", ()) if net.bias else ("W", ("B", "D"))
        results = []
        for one in (net, bare):
            trial = sl.draw_trials(one, sl.scattered(one, 4, group), 40, shared=shared)
            y = sl.draw_trials(bare, sl.scattered(bare, 4, group), 40, shared=shared).y  # to the bit
            results.append(sl.decide(one, trial.student, trial.x, y, trial.mask, shared, method=method, starts=4))
        with_gains, without = results
        for name in ("match", "certified", "reason", "start", "loss"):
            np.testing.assert_array_equal(getattr(with_gains, name), getattr(without, name))
        np.testing.assert_array_equal(with_gains.theta[:, : bare.size], without.theta)
        assert (with_gains.theta[:, bare.size :] == 1).all()


@pytest.mark.parametrize("net", NETS, ids=names)
@pytest.mark.parametrize("method", ["newton", "exact"])
def test_a_planted_answer_is_never_a_no(net, method):
    """The teacher is the student with other learnable weights (gains far from 1 too): every no would be false."""
    rng = np.random.default_rng(5)
    masks = masks_of(net, (), 60, seed=6)
    masks = masks[masks.any(axis=1)]
    theta = rng.normal(size=masks.shape)
    x = rng.normal(size=(len(masks), *net.x_shape))
    planted = np.where(masks, rng.normal(size=masks.shape) * rng.choice([0.0, 0.1, 1.0, 5.0], (len(masks), 1)), theta)
    y = sl.outputs(net, planted, x)
    found = sl.decide(net, theta, x, y, masks, method=method, starts=2, screen=False)
    assert (found.match != 0).all(), masks[found.match == 0]
    assert (found.match == 1).mean() > 0.4


def _screened(net, student, teacher, mask, shared=(), edit=None):
    """Screened verdicts of 6 students whose gains are `student`; the targets are those of a teacher with gains `teacher`."""
    rng = np.random.default_rng(7)
    theta, other, x = rng.normal(size=(6, net.size)), rng.normal(size=(6, net.size)), rng.normal(size=(6, *net.x_shape))
    for name in net.gain:
        theta[:, net.slices[name]], other[:, net.slices[name]] = student[name], teacher[name]
    if edit:
        edit(net.unpack(theta))
    for name in shared:
        other[:, net.slices[name]] = theta[:, net.slices[name]]
    return sl.decide(net, theta, x, sl.outputs(net, other, x), mask, shared, "newton", screen=True, starts=20)


def test_screens_ask_for_no_more_than_shared_gains_let_through():
    """Linear, gains 1, 0, 0 in teacher and student: all that differs may learn, so there is a match."""
    net = sl.Feedforward((3, 3, 3), 4, gain=True)
    found = _screened(net, {"g1": [1, 0, 0]}, {"g1": [1, 0, 0]}, sl.only(net, "W1", "W2").draw(0).mask, ("g1",))
    assert (found.match == 1).all()


@pytest.mark.parametrize("gain", [1e6, 1e-8, -1e3])
def test_screens_see_through_frozen_gains_far_from_one(gain):
    """Readers with weights / gain are the teacher's network, so there is a match where all of them learn, and few weights stay few."""
    for net in (sl.Feedforward((2, 3, 3, 1), 12, "tanh", gain=True), sl.Recurrent(2, 3, 1, 8, "tanh", gain=True)):
        student, teacher = {net.gain[0]: gain} | dict.fromkeys(net.gain[1:], 1.0), dict.fromkeys(net.gain, 1.0)
        groups = [name for name in net.groups if name not in net.gain]
        assert (_screened(net, student, teacher, sl.only(net, *groups).draw(0).mask).reason != "T1").all()
        assert (_screened(net, student, teacher, sl.only(net, groups[0]).draw(0).mask).reason == "T1").all()


def test_gains_that_learn_are_screened_away_from_one():
    """Two units that cancel at gains of 1, and read only what learns: another gain lets through what the teacher never sends."""
    net = sl.Feedforward((2, 2, 3, 1), 2, "tanh", gain=True)
    mask = np.zeros(net.size, dtype=bool)
    mask[net.slices["W1"]].reshape(2, 2)[1], mask[net.slices["g2"].start] = True, True

    def cancel(groups):
        groups["W2"][:], groups["W3"][:] = [[0, 1], [0, 1], [1, 0]], [1, -1, 1]

    ones = {"g1": 1.0, "g2": 1.0}
    assert (_screened(net, ones, ones, mask, ("W2", "W3"), cancel).match == 1).all()


def test_explanations_and_best_allocations_know_gains_and_sequences():
    net = sl.Recurrent(2, 4, 2, 3, "linear", gain=True, samples=2)
    mask = sl.gains(net).draw(0)
    told = sl.explain(net, mask)
    assert told.attained_rank == sl.attained_rank(net, mask)
    assert told.completed.budget == told.required_rank == sl.required_rank(net)
    assert all(len(unmet.equation) == 3 for unmet in told.unmet)
    assert "of sequence 1" in str(told)
    best = sl.best_allocation(net, cost={name: 1.0 if name == "g" else 2.0 for name in net.groups})
    assert best.budget == sl.required_rank(net)
    assert sl.attained_rank(net, best) == sl.required_rank(net)
    assert best.mask[net.slices["g"]].any()


def test_theorems_of_plain_networks_say_nothing_elsewhere():
    for net in (sl.Recurrent(1, 4, 1, 5, "linear", leak=0.5), sl.Recurrent(1, 4, 1, 5, samples=2), sl.Recurrent(1, 4, 1, 5, gain=True)):
        plain = replace(net, gain=False, leak=1.0, samples=1)
        assert sl.predict(plain, sl.per_row(plain, 1, 4, "W").draw(0), ("B", "D")).reason.startswith("T7")
        rows = sl.per_row(net, 1, 4, "W").draw(0)
        assert not sl.predict(net, rows, ("B", "D")).reason.startswith("T7")
        with pytest.raises(ValueError, match="without gains and leak"):
            sl.degree(net, sl.block(net, (2, 2), "W").draw(0), ("B", "D"))
