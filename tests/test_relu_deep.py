"""Exact verdicts of relu networks that learn in one hidden layer below others: integer programmes, brute force, planted answers."""

import importlib.util
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from relu_oracle import Model, agreement

import sublearn as sl
from sublearn.existence import by_patterns
from sublearn.existence.by_patterns import applies, settle
from tests.relu_oracle import verdicts_of

F = sl.Feedforward


def learning(net, k, biases=True):
    return sl.only(net, *[name for name in (f"W{k}", f"b{k}") if name in net.groups and (biases or name[0] == "W")])


def flat(count, *arrays):
    return [np.ascontiguousarray(a).reshape(count, -1) for a in arrays]


@pytest.mark.parametrize(
    "net,k,budget,count",
    [
        (F((2, 3, 3, 2), 2, "relu"), 1, None, 20),
        (F((2, 3, 3, 2), 3, "relu"), 1, None, 12),
        (F((2, 3, 3, 2), 2, "relu"), 1, {"W1": 4}, 20),
        (F((2, 3, 2, 1), 3, "relu", True), 1, {"W1": 3, "b1": 2}, 20),
        (F((3, 4, 3, 2), 2, "relu"), 1, None, 15),
        (F((2, 3, 3, 2, 2), 2, "relu"), 1, None, 20),
        (F((2, 3, 3, 3, 1), 2, "relu"), 2, None, 20),
        (F((2, 2, 2, 2, 1), 4, "relu", True), 1, None, 10),
    ],
    ids=lambda v: str(v) if isinstance(v, F) else "",
)
def test_verdicts_equal_those_of_integer_programmes(net, k, budget, count):
    drawn = sl.draw_trials(net, learning(net, k) if budget is None else sl.split(net, budget), count, seed=3)
    match, theta, _ = verdicts_of(net, drawn.student, *flat(count, drawn.x, drawn.y), drawn.mask)
    judged, answers = agreement(net, k, drawn, match, theta)
    assert answers == {0, 1} and judged >= 0.9 * count
    assert (match >= 0).all()


@pytest.mark.parametrize("net,k", [(F((2, 2, 1, 2), 2, "relu"), 1), (F((2, 2, 1, 1), 2, "relu", True), 1)], ids=str)
def test_verdicts_equal_brute_force_over_all_patterns(net, k):
    count, both = 6, 0
    drawn = sl.draw_trials(net, learning(net, k), count, seed=8)
    match, *_ = verdicts_of(net, drawn.student, *flat(count, drawn.x, drawn.y), drawn.mask)
    for q in range(count):
        model = Model(net, k, drawn.student[q], drawn.x[q], drawn.y[q], drawn.mask[q], 300.0)
        miss = min(model.solve(np.array(pattern))[0] for pattern in product((0.0, 1.0), repeat=len(model.switches)))
        assert match[q] == (miss < 1e-5), (q, miss)
        both |= 1 << match[q]
    assert both == 3


NETS = [
    (F((2, 3, 3, 2), 3, "relu"), 1),
    (F((3, 4, 3, 2), 3, "relu"), 1),
    (F((2, 3, 3, 2), 2, "relu", True), 1),
    (F((2, 3, 3, 3, 2), 2, "relu"), 1),
    (F((2, 3, 3, 3, 2), 3, "relu"), 2),
]


@pytest.mark.parametrize("net,k", NETS, ids=str)
def test_planted_teachers_are_always_a_yes(net, k):
    """The teacher is the student but for the weights that learn."""
    count = 25
    drawn = sl.draw_trials(net, learning(net, k), count, seed=2)
    y = sl.outputs(net, np.where(drawn.mask, drawn.teacher, drawn.student), drawn.x)
    match, theta, proven = verdicts_of(net, drawn.student, *flat(count, drawn.x, y), drawn.mask)
    assert (match == 1).all()
    assert np.abs(sl.outputs(net, theta, drawn.x) - y).max() < 1e-9
    np.testing.assert_array_equal(theta[~drawn.mask], drawn.student[~drawn.mask])
    assert proven.mean() > 0.15  # the others' equations are dependent: with rounded targets no weights meet all of them


@pytest.mark.parametrize("net,k", NETS, ids=str)
def test_planted_impossibles_are_always_a_no(net, k):
    """Two outputs read a last layer that has one unit for each; the first is off whatever learns, or the second is asked to be negative."""
    count, L = 30, len(net.widths) - 1
    drawn = sl.draw_trials(net, learning(net, k), count, seed=4)
    student = drawn.student.copy()
    g = net.unpack(student)
    g[f"W{L}"][:] = np.abs(g[f"W{L}"]) * np.eye(*net.groups[f"W{L}"])
    off, negative = np.arange(count) % 2 == 0, np.arange(count) % 2 == 1
    g[f"W{L - 1}"][off, 0] = -np.abs(g[f"W{L - 1}"][off, 0])
    if f"b{L - 1}" in g:
        g[f"b{L - 1}"][:] = -np.abs(g[f"b{L - 1}"])
    y = np.full(drawn.y.shape, 1.0) + (g[f"b{L}"][:, :, None] if f"b{L}" in g else 0.0)
    y[negative, 1, 0] -= 1.1
    match, *_ = verdicts_of(net, student, *flat(count, drawn.x, y), drawn.mask)
    assert (match == 0).all()


def test_a_square_solution_is_proven_and_its_signs_are():
    net, count = F((3, 4, 3, 2), 2, "relu"), 80
    drawn = sl.draw_trials(net, learning(net, 1), count, seed=6)
    alive = (drawn.y != 0).any(axis=1).all(axis=1)
    v = sl.decide(net, drawn.student, drawn.x, drawn.y, drawn.mask, method="exact")
    assert (
        np.isin(v.reason, ("T11", "D4")).all()
        and (v.match >= 0).all()
        and v.certified[v.reason == "T11"][v.match[v.reason == "T11"] == 1].mean() > 0.95
    )
    assert v.loss[v.match == 1].max() < 1e-20 and (v.match == 1)[alive].mean() > 0.2 and not v.certified[v.match == 0].any()
    # The proof refuses other patterns, unless they too hold a solution; then it gives that.
    rows = np.flatnonzero((v.match == 1) & alive)
    layers = [np.maximum(net.unpack(v.theta)["W1"] @ drawn.x, 0)]
    layers.append(net.unpack(v.theta)["W2"] @ layers[0])
    on = np.concatenate([np.swapaxes(part > 0, 1, 2) for part in layers], axis=2)[rows]
    args = net, 1, v.theta[rows], *flat(len(rows), drawn.x[rows], drawn.y[rows]), drawn.mask[rows]
    assert by_patterns.prove(*args, on)[1].mean() > 0.95
    for unit in (0, 4):  # of the layer that learns, of the one above
        wrong = on.copy()
        wrong[:, 0, unit] ^= True
        theta, sure = by_patterns.prove(*args, wrong)
        assert sure.mean() < 0.5
        np.testing.assert_allclose(sl.outputs(net, theta, drawn.x[rows])[sure], drawn.y[rows][sure], rtol=1e-9)


def test_inputs_that_are_silent_and_dead_teachers():
    """A sample of zeros gives zero: asked for anything else it is a no, asked for zero it changes nothing. All zero: every unit off."""
    net, count = F((2, 3, 3, 2), 3, "relu"), 30
    drawn = sl.draw_trials(net, learning(net, 1), count, seed=7)
    x = drawn.x.copy()
    x[:, :, 1] = 0
    match, *_ = verdicts_of(net, drawn.student, *flat(count, x, np.ones_like(drawn.y)), drawn.mask)
    assert (match == 0).all()
    y = drawn.y.copy()
    y[:, :, 1] = 0
    match, _, proven = verdicts_of(net, drawn.student, *flat(count, x, y), drawn.mask)
    two = F((2, 3, 3, 2), 2, "relu")
    np.testing.assert_array_equal(match, settle(two, drawn.student, *flat(count, x[:, :, ::2], y[:, :, ::2]), drawn.mask).match)
    assert 0 < (match == 1).sum() < count and (proven == (match == 1)).mean() > 0.9
    match, theta, proven = verdicts_of(net, drawn.student, *flat(count, drawn.x, np.zeros_like(y)), drawn.mask)
    assert (match == 1).all() and proven.all() and not sl.outputs(net, theta, drawn.x).any()


def test_too_many_programmes_are_undecided(monkeypatch):
    net, count = F((2, 3, 3, 2), 3, "relu"), 30
    drawn = sl.draw_trials(net, learning(net, 1), count, seed=1)
    args = net, drawn.student, *flat(count, drawn.x, drawn.y), drawn.mask
    whole = settle(*args)
    assert (whole.match >= 0).all()
    for most in (1, 3):
        monkeypatch.setattr(by_patterns, "MOST", most)
        few = settle(*args).match
        assert (few == -1).any() and ((few == whole.match) | (few == -1)).all()


def test_masks_may_learn_in_different_layers():
    net, count = F((2, 3, 3, 2), 2, "relu"), 24
    drawn = sl.draw_trials(net, learning(net, 1), count, seed=9)
    masks = np.where(np.arange(count)[:, None] % 2, drawn.mask, learning(net, 2).allocation.mask)
    assert applies(net, masks).all()
    mixed = verdicts_of(net, drawn.student, *flat(count, drawn.x, drawn.y), masks)
    for k in range(2):
        one = verdicts_of(net, drawn.student[k::2], *flat(count // 2, drawn.x[k::2], drawn.y[k::2]), masks[k::2])
        for part, whole in zip(one, mixed):
            np.testing.assert_array_equal(part, whole[k::2])


def test_the_example_tells_existence_from_findability(capsys):
    spec = importlib.util.spec_from_file_location("relu_depth", Path(__file__).parents[1] / "examples" / "relu_depth.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    results = example.main(["--trials", "40"])
    assert len(capsys.readouterr().out.splitlines()) == 2 + len(results) == 8
    for exact, found in results:
        assert exact.quantity == "existence" and exact.undecided == 0 and exact.certified >= 0.95 * exact.matched
        assert found.matched <= exact.matched
    assert sum(exact.matched for exact, _ in results) > 1.2 * sum(found.matched for _, found in results)
