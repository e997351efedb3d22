"""Gains, leaks and sequences: networks beyond the plain ones, in every scalar and kernel, against a twin that reads like the formula."""

import csv
import pickle
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from twins import networks as twin

import sublearn as sl
from sublearn import study
from sublearn.backend.compiled import cpu
from sublearn.cli.common import network_in

NETS = [
    sl.Feedforward((3, 5, 2), 4, "tanh", True, gain=True),
    sl.Feedforward((3, 4, 5, 2), 3, "relu", True, gain=("g1",)),
    sl.Feedforward((2, 3, 3, 4, 2), 5, "tanh", ("b2",), gain=("g1", "g3")),
    sl.Feedforward((3, 4, 2), 3, "linear", gain=True),
    sl.Recurrent(2, 5, 2, 4, "tanh", True, gain=True),
    sl.Recurrent(2, 8, 3, 3, "tanh", gain=True),
    sl.Recurrent(1, 4, 1, 6, "linear", True, gain=True),
    sl.Recurrent(2, 4, 2, 5, "relu", True, leak=0.3),
    sl.Recurrent(2, 3, 2, 1, "tanh", True, gain=True, leak=0.75),
    sl.Recurrent(2, 8, 1, 5, "linear", True, gain=True, leak=0.1),
    sl.Recurrent(2, 6, 2, 4, "tanh", True, samples=3),
    sl.Recurrent(2, 4, 2, 3, "relu", ("c",), gain=True, samples=2, leak=0.5),
    sl.Recurrent(1, 8, 2, 4, "linear", samples=3),
    sl.Recurrent(3, 8, 1, 1, "tanh", ("b",), samples=4),
]
SMOOTH = [net for net in NETS if net.activation != "relu"]
names = lambda net: net.describe()  # noqa: E731


def drawn(net, count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, net.size)) / 2, rng.normal(size=(count, *net.x_shape))


def masks_of(net, budget, count):
    return np.stack([sl.scattered(net, budget).draw(k).mask for k in range(count)])


@pytest.mark.parametrize("net", NETS, ids=names)
def test_outputs_and_jacobian_are_the_formula(net):
    theta, x = drawn(net, 19)
    expected = np.stack([twin.outputs(net, *pair) for pair in zip(theta, x)])
    np.testing.assert_allclose(sl.outputs(net, theta, x), expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(sl.outputs(net, theta.astype(np.float32), x.astype(np.float32)), expected, rtol=2e-4, atol=2e-4)
    columns = np.stack([twin.jacobian(net, *pair) for pair in zip(theta, x)])
    found = sl.jacobian(net, theta, x, sl.everything(net))
    np.testing.assert_allclose(found, columns, rtol=1e-11, atol=1e-11)
    masks = masks_of(net, net.size // 2, 19)  # own columns in every lane
    for mask, own, whole in zip(masks, sl.jacobian(net, theta, x, masks), columns):
        np.testing.assert_allclose(own, whole[:, mask], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("net", NETS, ids=names)
def test_descent_follows_the_gradient(net, optimizer):
    theta, x = drawn(net, 5)
    y = np.random.default_rng(1).normal(size=(5, *net.y_shape))
    for masks in (sl.everything(net).draw(0).mask, masks_of(net, net.size // 2, 5), *gains_alone(net)):
        found = sl.fit(net, theta, x, y, masks, steps=3, optimizer=optimizer, lr=1e-3)
        for k, mask in enumerate(np.resize(masks, (5, net.size))):
            expected, loss = twin.fit(net, theta[k], x[k], y[k], mask, 3, optimizer, 1e-3)
            np.testing.assert_allclose(found.theta[k], expected, rtol=1e-9, atol=1e-9)
            assert np.isclose(found.loss[k], loss)


def gains_alone(net):
    return [sl.gains(net).draw(0).mask] if net.gain else []


@pytest.mark.parametrize(
    "net", [net for net in NETS if hasattr(net, "steps")] + [sl.Recurrent(2, 8, 2, 4), sl.Recurrent(1, 5, 2, 3, "tanh")], ids=names
)
def test_states_before_the_first_step(net):
    theta, x = drawn(net, 11)
    h0 = np.random.default_rng(7).normal(size=(11, *net.h0_shape))
    y = np.stack([twin.outputs(net, *three) for three in zip(theta, x, h0)])
    np.testing.assert_allclose(sl.outputs(net, theta, x, h0=h0), y, rtol=1e-12, atol=1e-12)
    J = np.stack([twin.jacobian(net, *three) for three in zip(theta, x, h0)])
    np.testing.assert_allclose(sl.jacobian(net, theta, x, sl.everything(net), h0=h0), J, rtol=1e-11, atol=1e-11)
    groups = [sl.only(net, name).draw(0).mask for name in net.groups]
    for mask in (sl.everything(net).draw(0).mask, masks_of(net, net.size // 2, 11), *groups):
        found = sl.fit(net, theta, x, y + 1, mask, steps=1, optimizer="sgd", lr=1e-3, h0=h0)
        change = 2e-3 * np.einsum("bek,be->bk", J, np.ones((11, net.equations)))
        np.testing.assert_allclose(found.theta, theta + np.where(mask, change, 0), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(sl.outputs(net, theta, x, h0=np.zeros(net.h0_shape)), sl.outputs(net, theta, x), rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match="h0: expected shape"):
        sl.outputs(net, theta, x, h0=h0[..., 1:])


def test_states_are_for_recurrent_networks():
    net = sl.Feedforward((2, 3, 1), 2)
    with pytest.raises(ValueError, match="h0: expected None"):
        sl.outputs(net, np.zeros(net.size), np.zeros(net.x_shape), h0=np.zeros(3))


@pytest.mark.parametrize("net", [net for net in NETS if net.activation == "linear"], ids=names)
def test_outputs_mod_p_are_exact(net):
    """A linear network with whole weights has rational outputs; the leak is its float64, a whole number over a power of two."""
    p = cpu.PRIMES[0]
    rng = np.random.default_rng(2)
    theta, x = rng.integers(-9, 10, (4, net.size)), rng.integers(-9, 10, (4, *net.x_shape))
    found = cpu.outputs_mod(net.shape, theta % p, x.reshape(4, -1) % p)
    for k in range(4):
        exact = outputs_in_fractions(net, theta[k], x[k])
        assert [value.numerator * pow(value.denominator, -1, p) % p for value in exact] == found[k].tolist()


def outputs_in_fractions(net, theta, x):
    exact = np.vectorize(Fraction, otypes=[object])
    return list(
        twin.outputs(
            exact_leak(net), exact(theta), exact(x), exact(np.zeros((getattr(net, "samples", 1), getattr(net, "hidden", 1))))
        ).ravel()
    )


class exact_leak:  # the network with its leak as a fraction
    def __init__(self, net):
        self.net, self.leak = net, Fraction(getattr(net, "leak", 1))

    def __getattr__(self, name):
        return getattr(self.net, name)


@pytest.mark.parametrize("net", SMOOTH, ids=names)  # relu has no Jacobian over GF(p)
def test_ranks_mod_p_are_ranks_at_random_points(net):
    """The rank over GF(p) is that of the real Jacobian at a random point (numpy's svd), for every kind of mask."""
    rng = np.random.default_rng(4)
    theta, x = rng.normal(size=net.size) / 2, rng.normal(size=net.x_shape)
    whole = twin.jacobian(net, theta, x)
    for mask in masks_of(net, min(net.size, net.equations), 8):
        columns = whole[:, mask] / np.linalg.norm(whole[:, mask], axis=0).clip(1e-300)
        assert sl.attained_rank(net, sl.Allocation.from_mask(net, mask)) == np.linalg.matrix_rank(columns, tol=1e-9)


@pytest.mark.parametrize("net", [net for net in NETS if net.gain], ids=names)
def test_draws_are_those_without_gains(net):
    """Gains come after all biases, so that nothing else moves; they are 1 in teacher and student."""
    bare = replace(net, gain=False)
    shared = ("W1",) if hasattr(net, "widths") else ("B",)
    trial, without = (sl.draw_trials(n, sl.scattered(n, 3, "W2" if shared == ("W1",) else "W"), 6, shared=shared) for n in (net, bare))
    for name in ("teacher", "student"):
        assert np.array_equal(getattr(trial, name)[:, : bare.size], getattr(without, name))
        assert (getattr(trial, name)[:, bare.size :] == 1).all()
    assert np.array_equal(trial.x, without.x)
    np.testing.assert_allclose(trial.y, without.y, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("net", [net for net in NETS if net.gain], ids=names)
def test_outgoing_weights_absorb_gains(net):
    theta, x = drawn(net, 3)
    groups = {name: part.copy() for name, part in net.unpack(theta).items()}
    for name in net.gain:
        for reader in ("W", "D") if name == "g" else (f"W{int(name[1:]) + 1}",):
            groups[reader] = groups[reader] * groups[name][:, None, :]
        groups[name] = np.ones_like(groups[name])
    np.testing.assert_allclose(sl.outputs(net, net.pack(groups), x), sl.outputs(net, theta, x), rtol=1e-11, atol=1e-11)


def test_a_gain_of_zero_takes_its_unit_out():
    net = sl.Recurrent(2, 5, 2, 4, "tanh", True, gain=True)
    theta, x = drawn(net, 2)
    groups = {name: part.copy() for name, part in net.unpack(theta).items()}
    groups["g"][:, 2] = 0
    silent = {name: part.copy() for name, part in groups.items()}
    silent["W"][:, :, 2] = silent["D"][:, :, 2] = 0
    assert np.array_equal(sl.outputs(net, net.pack(groups), x), sl.outputs(net, net.pack(silent), x))


@pytest.mark.parametrize("net", NETS, ids=names)
def test_levenberg_marquardt_finds_planted_answers(net):
    learnable = masks_of(net, max(1, min(net.size, net.equations) // 2), 20)
    theta, x = drawn(net, 20)
    planted = np.where(learnable, theta + 0.05 * np.random.default_rng(3).normal(size=theta.shape), theta)
    found = sl.levenberg_marquardt(net, theta, x, sl.outputs(net, planted, x), learnable, starts=5)
    assert (found.start >= 0).mean() >= (0.5 if net.activation == "relu" else 0.8)  # at kinks a search may stall
    assert np.array_equal(found.theta[~learnable], theta[~learnable])


def test_wide_starts_of_gains_lie_around_one():
    """N(1, 3^2) for gains: with targets of zero nothing moves far from where it starts."""
    net = sl.Feedforward((2, 400, 1), 1, "tanh", gain=True)
    theta, x = drawn(net, 1)
    ends = [
        sl.levenberg_marquardt(
            net, theta, x, np.full((1, *net.y_shape), 7.0), sl.gains(net), starts=2, iterations=1, tol=1e-300, seed=seed
        ).theta
        for seed in range(20)
    ]
    moved = np.array(
        [end[0, net.slices["g1"]] for end in ends if not np.allclose(end[0, net.slices["g1"]], theta[0, net.slices["g1"]], atol=0.9)]
    )
    assert len(moved) > 3
    assert abs(moved.mean() - 1) < 0.15 and abs(moved.std() - 3) < 0.15


def test_names_of_what_learns():
    net = sl.Feedforward((3, 4, 4, 2), 5, "relu", ("b1", "b3"), gain=True)
    assert sl.biases(net) == sl.only(net, "b1", "b3")
    assert sl.gains(net) == sl.only(net, "g1", "g2")
    assert sl.readout(net) == sl.only(net, "W3", "b3")
    assert sl.biases(net, shared=("b1",)) == sl.only(net, "b3")
    assert sl.readout(sl.Recurrent(2, 4, 2, 3)) == sl.only(sl.Recurrent(2, 4, 2, 3), "D")
    with pytest.raises(ValueError, match="with gains"):
        sl.gains(sl.Recurrent(2, 4, 2, 3))
    with pytest.raises(ValueError, match="with biases"):
        sl.biases(sl.Recurrent(2, 4, 2, 3))


@pytest.mark.parametrize("bad", [0.0, -0.5, 1.5, float("nan"), True, "a"])
def test_leaks_lie_between_zero_and_one(bad):
    with pytest.raises((TypeError, ValueError), match="leak"):
        sl.Recurrent(2, 4, 2, 3, leak=bad)


def test_gains_of_the_law_are_not_gains_of_units():
    net = sl.Feedforward((3, 4, 2), 5, "relu", gain=True)
    with pytest.raises(ValueError, match="g1"):
        sl.draw_trials(net, sl.everything(net), 2, gains={"g1": 2.0})


STUDY = """
[study]
name = "gains"
trials = 64
method = "newton"
control = false

[[network]]
label = "ff"
kind = "feedforward"
widths = [4, 8, 2]
samples = [4, 5]
activation = "tanh"
bias = true
gain = true

[[network]]
label = "rec"
kind = "recurrent"
inputs = 1
hidden = 4
outputs = 1
steps = 3
gain = true
samples = 2
leak = [0.5, 1.0]
shared = ["B", "D"]

[[strategy]]
label = "gains"
kind = "gains"
networks = ["ff"]

[[strategy]]
label = "gains and W"
kind = "scattered"
within = ["W", "g"]
budgets = [8]
networks = ["rec"]
"""


def test_studies_ask_for_gains_leaks_and_sequences(tmp_path):
    """Gains alone match up to n / o samples (T2), and what is not said in the file is not part of a cell's content."""
    spec = study.parse_spec(STUDY, "gains.toml")
    cells = study.cells_of(spec)
    assert [(cell.net.samples, getattr(cell.net, "leak", None)) for cell in cells] == [(4, None), (5, None), (2, 0.5), (2, 1.0)]
    assert "gain" not in sl.Recurrent(1, 4, 1, 3).to_dict()
    study.run(spec, tmp_path / "out")
    rows = [
        (int(row["trials"]), int(row["matched"]))
        for row in csv.DictReader((tmp_path / "out" / "results.csv").read_text(encoding="utf-8").splitlines())
    ]
    assert rows[:2] == [(64, 64), (64, 0)]
    assert rows[2][0] == rows[3][0] == 64


@pytest.mark.parametrize("net", NETS, ids=names)
def test_descriptions_and_dicts_lead_back(net):
    assert network_in(net.describe()) == net
    assert sl.Recurrent.from_dict(net.to_dict()) == net if hasattr(net, "steps") else sl.Feedforward.from_dict(net.to_dict()) == net
    assert eval(repr(net), {"Recurrent": sl.Recurrent, "Feedforward": sl.Feedforward}) == net
    assert pickle.loads(pickle.dumps(net)) == net
    assert net.at(2).equations == 2 * net.equations // (net.steps if hasattr(net, "steps") else net.samples)


@pytest.mark.parametrize("groups", [("g1",), ("g1", "b2"), ("g1", "W2"), ("W2", "b2")], ids="+".join)
@pytest.mark.parametrize("activation", ["tanh", "relu", "linear"])
def test_descent_of_gains_behind_frozen_weights(activation, groups):
    """Samples in the lanes, where W1 and b1 are frozen: one sample and many, few outputs and many, tasks that share all but targets."""
    for outputs, samples in ((1, 3), (2, 150), (5, 40)):
        net = sl.Feedforward((5, 12, outputs), samples, activation, True, gain=True)
        theta, x = drawn(net, 3)
        y = np.random.default_rng(1).normal(size=(3, *net.y_shape))
        for mask in (sl.only(net, *groups).draw(0).mask, sl.scattered(net, 7, groups if len(groups) > 1 else None).draw(0).mask):
            found = sl.fit(net, theta, x, y, mask, 4, "adam", 1e-2)
            tasks = sl.fit(net, theta[0], x[0], y, mask, 4, "adam", 1e-2)
            for k in range(3):
                expected, loss = twin.fit(net, theta[k], x[k], y[k], mask, 4, "adam", 1e-2)
                np.testing.assert_allclose(found.theta[k], expected, rtol=1e-8, atol=1e-9)
                assert np.isclose(found.loss[k], loss)
            assert np.array_equal(tasks.theta[0], found.theta[0])
            assert np.allclose(tasks.theta[2], twin.fit(net, theta[0], x[0], y[2], mask, 4, "adam", 1e-2)[0], rtol=1e-8, atol=1e-9)
