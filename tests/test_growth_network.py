"""Growing networks: planted answers, what a growth may and may not change, batches, stopping, errors, and the page that shows it."""

import contextlib
import io
import re
from pathlib import Path

import numpy as np
import pytest

import sublearn as sl
from sublearn.growth.layer import look
from sublearn.growth.missing import Missing
from sublearn.growth.network import GROWING
from tests.test_examples import like
from tests.twins import growth as twin
from tests.twins import networks

PAGE = (Path(__file__).parent.parent / "docs" / "growth.md").read_text(encoding="utf-8")


def problem(widths=(4, 3, 2), samples=40, activation="tanh", loss="squared", count=2, dtype=np.float64, **units):
    net = sl.Feedforward(widths, samples, activation=activation, **{"bias": True, **units})
    rng = np.random.default_rng(5)
    theta = rng.normal(size=(count, net.size))
    for name in net.gain:
        theta[:, net.slices[name]] = rng.uniform(0.5, 1.5, (count, theta[:, net.slices[name]].shape[1]))
    x = rng.normal(size=(count, *net.x_shape))
    y = np.sin(2 * rng.normal(size=(widths[-1], widths[0])) @ x)
    y = y.argmax(axis=1) if loss == "softmax" else y.astype(dtype)
    return net, theta.astype(dtype), x.astype(dtype), y


def value(net, theta, x, y, loss):
    if loss == "squared":
        return ((sl.outputs(net, theta, x) - y) ** 2).sum(axis=(1, 2))
    f = sl.outputs(net, theta, x)
    return np.array([networks.loss_of(a.T, np.eye(net.widths[-1])[b], loss)[0] for a, b in zip(f, y)])


@pytest.mark.parametrize("form", GROWING)
@pytest.mark.parametrize("loss", ["squared", "softmax"])
@pytest.mark.parametrize("widths, layer, activation", [((4, 3, 2), 1, "tanh"), ((4, 3, 5, 2), 1, "relu"), ((4, 3, 5, 2), 2, "tanh")])
def test_a_growth_lowers_the_loss_and_tells_what_it_is(widths, layer, activation, loss, form):
    net, theta, x, y = problem(widths, activation=activation, loss=loss, gain=True)
    before = value(net, theta, x, y, loss)
    for refit in (None, True) if form == "joint" else (False, True):
        found = sl.grow_network(net, theta, x, y, layer, net.widths[layer] + 2, steps=0, form=form, refit=refit, loss=loss)
        assert found.net.widths[layer] == net.widths[layer] + 2 and found.net.gain == net.gain and found.net.bias == net.bias
        told = found.history
        assert np.allclose(told.loss[:, 0], before) and np.array_equal(told.loss[:, 1:], told.grown)
        assert np.allclose(told.grown[:, -1], value(found.net, found.theta, x, y, loss), rtol=1e-9)
        lower = told.grown[:, 0] < before * (1 - 1e-4)
        assert np.array_equal(lower, told.amplitude[:, 0] > 0) and (told.grown[:, 0] <= before * (1 + 1e-12)).all()
        assert lower.all() or (form == "projected" and not refit)  # which may raise it: then amplitude 0 remains
        old, new = net.unpack(theta), found.net.unpack(found.theta)
        assert (new[f"g{layer}"][:, net.widths[layer] :] == 1).all()
        for name, part in old.items():  # old weights stay, but for those that are refitted
            where = tuple(slice(side) for side in part.shape)
            same = np.array_equal(new[name][where], part)
            assert same or (refit is not False and name in (f"W{layer + 1}", f"b{layer + 1}"))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("form", GROWING)
@pytest.mark.parametrize("widths, layer", [((4, 3, 2), 1), ((4, 7, 9, 2), 2), ((4, 15, 3, 2), 1)])
def test_preserved_outputs_are_the_same_bit_for_bit(widths, layer, form, dtype, isa):
    net, theta, x, y = problem(widths, dtype=dtype, gain=True)
    by = 5 if form == "pool" else 2
    found = sl.grow_network(net, theta, x, y, layer, widths[layer] + by, by=by, steps=0, form=form, preserve=True)
    assert np.array_equal(sl.outputs(found.net, found.theta, x), sl.outputs(net, theta, x))
    assert found.theta.dtype == dtype and not found.history.amplitude.any()
    z = found.net.unpack(found.theta)[f"W{layer}"][:, widths[layer] :]
    assert np.isfinite(z).all() and z.any(axis=2).all()  # they have something to learn with
    trained = sl.grow_network(net, theta, x, y, layer, widths[layer] + 1, by=1, steps=30, form=form, preserve=True).history
    assert np.array_equal(trained.grown[:, 0], trained.loss[:, 0]) and (trained.loss[:, 1] < trained.loss[:, 0]).all()


def test_a_linear_map_of_rank_three_needs_three_neurons():
    """Planted: the network has none of it, each neuron adds one, and in the order of the singular values."""
    rng = np.random.default_rng(0)
    net = sl.Feedforward((6, 1, 5), samples=50)
    x, parts = rng.normal(size=net.x_shape), [np.outer(rng.normal(size=5), rng.normal(size=6)) for _ in range(3)]
    theta = net.pack({"W1": np.zeros((1, 6)), "W2": np.zeros((5, 1))})
    y = sum(parts) @ x
    for form in GROWING:
        found = sl.grow_network(net, theta, x, y, to=6, tol=1e-20, by=1, steps=0, form=form)
        assert found.history.widths.tolist() == [1, 2, 3, 4]
        values = np.linalg.svd(sum(parts) @ x, compute_uv=False)[:3] ** 2
        assert np.allclose(-np.diff(found.history.loss), values, rtol=1e-6)
        assert np.allclose(sl.outputs(found.net, found.theta, x), y)


@pytest.mark.parametrize("form", ["pool", "joint"])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_without_steps_outgoing_weights_are_optimal(activation, form):
    net, theta, x, y = problem(activation=activation)
    found = sl.grow_network(net, theta, x, y, to=5, steps=0, form=form)
    for k in range(2):
        parts = found.net.unpack(found.theta[k])
        h = networks.PHI[activation](parts["W1"] @ x[k] + parts["b1"][:, None])
        assert np.isclose(found.history.loss[k, 1], twin.left(np.concatenate([h, np.ones((1, 40))]), y[k]), rtol=1e-8)
        assert found.history.amplitude[k, 0] == 0.5  # the wanted change is twice the error
    error = (y - sl.outputs(net, theta, x)).reshape(2, -1)
    jacobians = [sl.jacobian(n, t, x, sl.only(n, "W2", "b2")) for n, t in ((net, theta), (found.net, found.theta))]
    before, after = (sl.bottleneck(J, error).residual for J in jacobians)
    assert np.allclose(after, found.history.loss[:, 1], rtol=1e-8) and (after < before).all()
    for k in range(2):  # what the layer cannot give is the bottleneck of its outgoing weights
        seen = look(net, theta[k], x[k], y[k], 1, "squared")
        target = Missing(seen.wanted, seen.below, seen.sent).target
        assert np.isclose((target**2).sum() / 4, before[k], rtol=1e-9)


def test_large_weights_that_cancel_do_not_mislead_the_line_search():
    """Seven tanh units of one input send nearly dependent signals: the least squares fit has weights of 1e5 and more."""
    rng = np.random.default_rng(29)
    net = sl.Feedforward((1, 7, 3), samples=30, activation="tanh", bias=True)
    theta, x, y = 0.6 * rng.normal(size=net.size), rng.normal(size=net.x_shape), rng.normal(size=net.y_shape)
    found = sl.grow_network(net, theta, x, y, to=9, steps=0, form="joint")
    parts = found.net.unpack(found.theta)
    sent = np.concatenate([np.tanh(parts["W1"] @ x + parts["b1"][:, None]), np.ones((1, 30))])
    fit = np.linalg.lstsq(sent.T, y.T, rcond=1e-9)[0].T
    assert found.history.loss[-1] <= (1 + 1e-6) * ((y - fit @ sent) ** 2).sum() and np.abs(parts["W2"]).max() > 1e4


def test_a_dead_relu_layer_is_revived():
    net, theta, x, y = problem(activation="relu")
    theta[:, net.slices["b1"]] = -100
    found = sl.grow_network(net, theta, x, y, to=5, steps=0)
    assert (found.history.loss[:, 1] < 0.9 * found.history.loss[:, 0]).all()


@pytest.mark.parametrize("loss, form", [("squared", "pool"), ("squared", "joint"), ("softmax", None)])
def test_a_network_does_not_depend_on_its_batch(loss, form):
    """Candidates of network k are those of number k, so the first alone is the first of a batch, bit for bit."""
    net, theta, x, y = problem(loss=loss, count=3)
    how = dict(to=7, by=2, steps=3, form=form, loss=loss)
    many, one = sl.grow_network(net, theta, x, y, **how), sl.grow_network(net, theta[0], x[0], y[0], **how)
    assert many.theta.shape == (3, many.net.size) and one.theta.shape == (one.net.size,)
    assert np.array_equal(one.theta, many.theta[0]) and np.array_equal(one.history.loss, many.history.loss[0])
    assert many.history.loss.shape == (3, 3) and one.history.loss.shape == (3,) and one.history.grown.shape == (2,)
    shared = sl.grow_network(net, theta, x[0], y[0], **how)
    assert np.array_equal(shared.theta[0], one.theta)
    if form == "pool":
        other = sl.grow_network(net, theta[0], x[0], y[0], seed=1, **how)
        assert not np.array_equal(other.theta, one.theta)


def test_growing_ends_at_the_width_or_the_tolerance():
    net, theta, x, y = problem()
    assert np.array_equal(sl.grow_network(net, theta, x, y, to=3).theta, theta)  # it is that wide
    assert sl.grow_network(net, theta, x, y, to=8, by=4).history.widths.tolist() == [3, 7, 8]
    sums = (y**2).sum(axis=(1, 2))
    full = sl.grow_network(net, theta, x, y, to=20, by=1, steps=0)
    tol = float((full.history.loss[:, 5] / sums).max()) * (1 + 1e-12)
    found = sl.grow_network(net, theta, x, y, tol=tol, by=1, steps=0)
    met = (full.history.loss <= tol * sums[:, None]).all(axis=0)
    assert found.net.widths[1] == full.history.widths[met.argmax()] and not met[: met.argmax()].any()
    assert np.array_equal(found.history.loss, full.history.loss[:, : met.argmax() + 1])
    every = sl.grow_network(net, theta, x, y, tol=0.0, by=20, steps=0)  # one more neuron per sample at most
    assert every.net.widths[1] == 3 + 40 and (every.history.loss[:, -1] < 1e-12 * sums).all()
    nats = sl.grow_network(*problem(loss="softmax"), tol=0.2, steps=20, loss="softmax", lr=0.05)
    assert (nats.history.loss[:, -1] <= 0.2 * 40).all() and (nats.history.loss[:, -2] > 0.2 * 40).any()


def test_more_neurons_than_are_worth_anything():
    """Singular vectors are used up, or candidates all lie in the span: random ones fill up, and no number is lost."""
    net, theta, x, y = problem((2, 3, 2), samples=6, activation="linear")
    for form, by in (("joint", 2), ("raw", 2), ("pool", 9)):
        found = sl.grow_network(net, theta, x, y, to=12, by=by, steps=2, form=form)
        assert np.isfinite(found.theta).all() and found.net.widths == (2, 12, 2)
        assert found.net.unpack(found.theta)["W1"].any(axis=2).all()


@pytest.mark.parametrize("form", GROWING)
@pytest.mark.parametrize("activation", ["linear", "tanh", "relu"])
def test_what_rounding_leaves_gets_no_weights(activation, form):
    """Inputs that are all equal or 0, weights that are 0, more growths than there are independent signals: no huge weights, no higher
    loss. What is left of signals in the span of others, of centred ones that do not vary, and of sums that cancel is 1e-16 and not 0."""
    for seed in range(6):
        net, theta, x, y = problem((2, 2, 3), 33, activation)
        theta[seed % 2 :] = 0
        x[:] = x[..., :1] if seed % 3 == 0 else 0 if seed % 3 == 1 else x
        for gentle in (1.0, 20.0):
            told = sl.grow_network(net, gentle * theta, x, y, to=7, by=2, steps=0, form=form, candidates=5, seed=seed)
            scale = np.abs(gentle * theta).max() + 1
            assert np.abs(told.theta).max() < 1e4 * scale
            assert (told.history.grown <= told.history.loss[:, :-1] * (1 + 1e-7)).all()


def test_layers_without_biases():
    for bias in (False, ("b1",), ("b2",)):
        net, theta, x, y = problem(bias=bias)
        found = sl.grow_network(net, theta, x, y, to=7, steps=0)
        assert found.net.bias == net.bias and (np.diff(found.history.loss) < 0).all()


@pytest.mark.parametrize(
    "change, error, words",
    [
        (dict(net=sl.Recurrent(2, 3, 2, 4)), TypeError, "net: expected a feedforward network with a hidden layer, got recurrent"),
        (dict(net=sl.Feedforward((4, 2), 40)), TypeError, "net: expected a feedforward network with a hidden layer, got feedforward 4-2"),
        (dict(theta=np.ones(5)), ValueError, "theta: expected shape"),
        (dict(layer=2), ValueError, "layer: expected a whole number from 1 to 1"),
        (dict(to=None), ValueError, "to: expected a width, or None and a tolerance in tol"),
        (dict(to=2), ValueError, "to: expected a whole number >= 3"),
        (dict(tol=-1.0), ValueError, "tol: expected None or a finite number >= 0"),
        (dict(by=0), ValueError, "by: expected a whole number >= 1"),
        (dict(by=3, form="joint"), ValueError, "by: expected a whole number from 1 to 2"),
        (dict(steps=-1), ValueError, "steps: expected a whole number >= 0"),
        (dict(form="tiny"), ValueError, "form: expected None or one of pool, joint, projected, raw, got 'tiny'"),
        (dict(candidates=0), ValueError, "candidates: expected a whole number >= 1"),
        (dict(refit=1), TypeError, "refit: expected True or False, got 1"),
        (dict(refit=False, form="joint"), ValueError, "refit: expected None or True with form 'joint'"),
        (dict(preserve="no"), TypeError, "preserve: expected True or False, got 'no'"),
        (dict(loss="hinge"), ValueError, "loss: expected one of squared, softmax"),
        (dict(seed=-1), ValueError, "seed: expected a whole number from 0"),
        (dict(lr=0.0, steps=1), ValueError, "lr: expected a finite number above 0"),
        (dict(optimizer="lion"), ValueError, "optimizer: expected one of sgd, momentum, adam"),
        (dict(theta=np.full((2, 23), 1e200)), ValueError, "theta: expected a finite loss"),
    ],
)
def test_errors_name_the_argument(change, error, words):
    net, theta, x, y = problem()
    with pytest.raises(error, match=words):
        sl.grow_network(**{"net": net, "theta": theta, "x": x, "y": y, "to": 5, **change})


def test_the_page_shows_what_comes_out():
    """Each block of Python, run by a reader from the top, prints the block of text behind it; those with pictures where scikit-learn is."""
    names: dict = {}
    blocks = re.findall(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", PAGE, re.DOTALL)
    assert len(blocks) >= 3
    for code, shown in blocks:
        if "pictures" in code:
            try:
                import sklearn  # noqa: F401
            except ImportError:
                continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, names)
        assert like(shown, printed.getvalue())
