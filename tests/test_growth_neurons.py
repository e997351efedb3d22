"""New neurons: gains as predicted, planted answers, twins, units, batches, errors."""

import numpy as np
import pytest

import sublearn as sl
from sublearn.growth.candidates import choose
from sublearn.growth.layer import look
from sublearn.growth.missing import Missing
from sublearn.growth.neurons import FORMS
from tests.twins import growth as twin
from tests.twins import networks

ACTIVATIONS = ("linear", "tanh", "relu")


def case(rng, activation, c):
    """(G, H, y - a, K) of a layer with the loss |a - y|^2 / 2; signals have means, and some are multiples of others (S is singular)."""
    k, n, q, m = rng.integers(3, 10), rng.integers(1, 7), rng.integers(1, 5), rng.integers(20, 60)
    G = rng.normal(size=(k, m)) + (rng.normal(size=(k, 1)) if c % 2 else 0)
    if c % 5 == 0:
        G[-1] = 2 * G[0]
    H = networks.PHI[activation](rng.normal(size=(n, k)) @ G / np.sqrt(k))
    return G, H, rng.normal(size=(q, m)) - rng.normal(size=(q, n)) @ H, int(min(k, rng.integers(1, q + 1)))


def gain(V, moved):
    """Per sample, of a loss whose minus derivative in the pre-activations is V and whose second derivative is 1."""
    return float((moved * (V - moved / 2)).sum()) / V.shape[1]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("form", FORMS)
def test_the_loss_falls_as_predicted(form, activation):
    """To first order: eta = 1e-8. Within .1 % in 400 cases, each form: joint with its dW, the others alone."""
    rng, eta, ratios, raised, crosses = np.random.default_rng(0), 1e-8, [], 0, []
    for c in range(400):
        G, H, V, K = case(rng, activation, c)
        new = sl.new_neurons(V, G, H, K, form, activation)
        got = gain(V, twin.moved(new, G, H if form == "joint" else None, activation, eta))
        if (new.values > 0).any() or form == "joint":
            ratios.append(got / eta / new.predicted)
            raised += got < 0
            crosses.append(new.cross / new.predicted)
    assert np.abs(np.array(ratios) - 1).max() < 1e-3
    assert len(ratios) > (250 if (activation, form) == ("linear", "projected") else 390)  # where H spans G nothing is to be gained
    if form == "projected" and activation != "linear":  # the cross term counts, and is of either sign
        assert 20 < raised < 120 and np.abs(crosses).max() > 1
    else:  # a linear layer whose H is made of G has none
        assert raised == 0 and np.abs(crosses).max() < 1e-8


@pytest.mark.parametrize("form", FORMS)
def test_the_cross_term_is_what_the_published_prediction_lacks(form):
    rng = np.random.default_rng(1)
    G, H, V, _ = case(rng, "tanh", 1)
    new = sl.new_neurons(V, G, H, 1, form, "tanh")
    P = twin.projector(H)
    explained = (V @ P * V).sum() / V.shape[1] if form == "joint" else 0  # what dW alone gains
    assert np.isclose(new.predicted, (new.values**2).sum() + explained + new.cross)
    cross = ((V @ P) * (new.outgoing.T @ new.incoming @ G)).sum() / V.shape[1] if form == "projected" else 0
    assert np.isclose(new.cross, cross, atol=1e-14)
    assert (abs(new.cross) > 1e-3) == (form == "projected")


@pytest.mark.parametrize("form", FORMS)
def test_values_are_those_of_reduced_rank_regression(form):
    rng = np.random.default_rng(2)
    for c in range(60):
        G, H, V, _ = case(rng, "tanh", c)
        K = min(len(G), len(V))
        assert np.allclose(sl.new_neurons(V, G, H, K, form).values, twin.values(V, G, H, form)[:K], atol=1e-9)


def test_joint_neurons_leave_what_a_refit_leaves_and_no_more_than_projected_ones():
    rng = np.random.default_rng(3)
    for c in range(60):
        G, H, V, K = case(rng, "tanh", c)
        m = V.shape[1]
        joint, projected = (sl.new_neurons(V, G, H, K, form) for form in ("joint", "projected"))
        after = V - joint.dW @ H - joint.outgoing.T @ joint.incoming @ G
        assert np.isclose((after**2).sum(), (V**2).sum() - m * joint.predicted, rtol=1e-9)
        left = [twin.left(np.concatenate([H, new.incoming @ G]), V) for new in (joint, projected)]
        assert np.isclose((after**2).sum(), left[0], rtol=1e-9) and left[0] <= left[1] * (1 + 1e-9)
        assert np.allclose(projected.dW @ H, V @ twin.projector(H), atol=1e-9)


def test_relu_neurons_have_the_better_of_their_signs():
    rng, shares = np.random.default_rng(4), []
    for c in range(100):
        G, H, V, K = case(rng, "relu", c)
        new = sl.new_neurons(V, G, None, K, "raw", "relu")
        z = new.incoming @ G
        both = [s * (new.outgoing * (np.maximum(s * z, 0) @ V.T)).sum(axis=1) / V.shape[1] for s in (1, -1)]
        assert np.allclose(both[0] + both[1], new.values**2)  # their difference is linear
        assert (both[0] >= both[1] - 1e-12).all() and np.isclose(new.predicted, both[0].sum())
        shares += list(both[0] / new.values**2)
    assert min(shares) >= 0.5 - 1e-9 and np.mean(shares) > 0.8


def test_incoming_and_outgoing_weights_are_of_one_size_on_the_data():
    G, H, V, K = case(np.random.default_rng(5), "tanh", 1)
    for form in FORMS:
        new = sl.new_neurons(V, G, H, K, form)
        sizes = np.sqrt(((new.incoming @ G) ** 2).mean(axis=1)), np.sqrt((new.outgoing**2).sum(axis=1))
        assert np.allclose(*sizes)
        if form != "joint":
            assert np.allclose(sizes[0] ** 2, new.values)


@pytest.mark.parametrize("form", FORMS)
def test_units_of_signals_do_not_matter(form):
    """A row of G in other units, all of G, or all of V by a power of two."""
    G, H, V, K = case(np.random.default_rng(6), "tanh", 5)
    one = sl.new_neurons(V, G, H, K, form)
    other = sl.new_neurons(V, 2.0**40 * G, 2.0**-30 * H, K, form)
    assert np.allclose(other.values, one.values, rtol=1e-12) and np.isclose(other.predicted, one.predicted)
    small = sl.new_neurons(2.0**-20 * V, G, H, K, form)
    assert np.allclose(small.values, 2.0**-20 * one.values, rtol=1e-12) and np.isclose(small.predicted, 2.0**-40 * one.predicted)


def test_where_nothing_is_to_be_gained_neurons_are_zero():
    """H spans G, or G is zero, or V is: no noise is blown up."""
    rng = np.random.default_rng(7)
    G, V = rng.normal(size=(3, 30)), rng.normal(size=(2, 30))
    H = rng.normal(size=(3, 3)) @ G
    for v, g in ((V, G), (V, np.zeros_like(G)), (np.zeros_like(V), G)):
        new = sl.new_neurons(v, g, H, 2, "joint")
        assert not new.values.any() and not new.incoming.any() and not new.outgoing.any()
        assert np.isclose(new.predicted, (v @ twin.projector(H) * v).sum() / 30)
    assert not sl.new_neurons(V, G, H, 2, "projected").values.any()


def test_a_batch_is_its_members():
    rng = np.random.default_rng(8)
    V, G, H = rng.normal(size=(3, 2, 20)), rng.normal(size=(3, 4, 20)), rng.normal(size=(20, 20))[:5]
    for form in FORMS:
        for batch in ((V, G, H), (V, G[0], H), (V[0], G, H)):
            got = sl.new_neurons(*batch, 2, form, "relu")
            for k in range(3):
                one = sl.new_neurons(*(part[k] if part.ndim == 3 else part for part in batch), 2, form, "relu")
                for name in ("incoming", "outgoing", "values", "predicted", "cross"):
                    assert np.allclose(getattr(got, name)[k], getattr(one, name), atol=1e-12), name
                assert form == "raw" or np.allclose(got.dW[k], one.dW)
            assert got.predicted.shape == (3,) and got.values.shape == (3, 2) and (got.dW is None) == (form == "raw")


def test_float32_is_computed_in_float64():
    G, H, V, K = case(np.random.default_rng(9), "tanh", 1)
    V, G, H = (part.astype(np.float32) for part in (V, G, H))
    new, double = (sl.new_neurons(*(part.astype(dtype) for part in (V, G, H)), K) for dtype in (np.float32, np.float64))
    assert new.incoming.dtype == new.predicted.dtype == new.dW.dtype == np.float32
    assert np.array_equal(new.incoming, double.incoming.astype(np.float32))


@pytest.mark.parametrize(
    "change, error, words",
    [
        (dict(V=[[1.0]]), TypeError, "V: expected a numpy array"),
        (dict(V=np.ones(5)), ValueError, r"V: expected shape \[rows, samples\]"),
        (dict(V=np.ones((2, 5), int)), TypeError, "V: expected float32 or float64, got int64"),
        (dict(G=np.ones((3, 4))), ValueError, r"G: expected shape \[rows, 5\] or \[batch, rows, 5\], got \[3, 4\]"),
        (dict(G=np.ones((3, 5), np.float32)), TypeError, "G: expected float64 like V, got float32"),
        (dict(G=np.full((3, 5), np.nan)), ValueError, "G: expected finite numbers"),
        (dict(H=None), ValueError, "H: expected what the layer sends now, which the joint form needs"),
        (dict(K=3), ValueError, "K: expected a whole number from 1 to 2"),
        (dict(K=0), ValueError, "K: expected a whole number from 1"),
        (dict(form="tiny"), ValueError, "form: expected one of joint, projected, raw, got 'tiny'"),
        (dict(activation="selu"), ValueError, "activation: expected one of linear, relu, tanh"),
        (dict(G=np.full((3, 5), 1e200)), ValueError, "V, G: expected signals of ordinary size"),
        (dict(V=np.full((2, 5), 1e200)), ValueError, "V, G: expected signals of ordinary size"),
        (dict(cut=0.0), ValueError, "cut: expected a finite number above 0"),
        (dict(G=np.ones((2, 3, 5)), H=np.ones((3, 1, 5))), ValueError, "batch: expected one batch size, got G 2, H 3"),
    ],
)
def test_errors_name_the_argument(change, error, words):
    with pytest.raises(error, match=words):
        sl.new_neurons(**{"V": np.ones((2, 5)), "G": np.ones((3, 5)), "H": np.ones((1, 5)), **change})


# What a network wants of a layer


@pytest.mark.parametrize("loss", ["squared", "softmax"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("layer", [1, 2, 3])
def test_what_is_wanted_is_minus_the_derivative_of_the_summed_loss(layer, activation, loss):
    """By differences: pre-activations of one sample at a time move, by the weights and biases of the next layer. Samples: fewer than units,
    so that no error hides."""
    net = sl.Feedforward((3, 5, 4, 6, 2), samples=4, activation=activation, bias=True, gain=True)
    rng = np.random.default_rng(layer)
    theta, x, y = rng.normal(size=net.size), rng.normal(size=net.x_shape), rng.normal(size=net.y_shape)
    y = np.abs(y) / np.abs(y).sum(axis=0) if loss == "softmax" else y
    seen = look(net, theta, x, y, layer, loss)
    value = lambda t: networks.loss_of(networks.outputs(net, t, x).T, y.T, loss)[0]  # noqa: E731
    assert np.isclose(seen.loss, value(theta)) and seen.below.shape[0] == net.widths[layer - 1] + 1
    above = [net.slices[f"{letter}{layer + 1}"] for letter in "Wb"]
    slope = []
    for place in [*range(above[0].start, above[0].stop), *range(above[1].start, above[1].stop)]:
        step = 1e-6 * np.eye(net.size)[place]
        slope.append((value(theta + step) - value(theta - step)) / 2e-6)
    q = net.widths[layer + 1]
    wanted = np.concatenate([np.reshape(slope[:-q], (q, -1)), np.reshape(slope[-q:], (q, 1))], axis=1)
    assert np.allclose(-seen.wanted @ seen.sent.T, wanted, rtol=1e-6, atol=1e-7)
    assert np.linalg.matrix_rank(seen.sent) == 4 or activation == "relu"  # then the products say all of V


# Choosing


@pytest.mark.parametrize("dtype, seed", [(np.float64, 0), (np.float64, 1), (np.float32, 2)])
def test_candidates_are_chosen_as_by_one_fit_for_each(dtype, seed):
    rng = np.random.default_rng(seed)
    H, V, A = rng.normal(size=(3, 40)), rng.normal(size=(2, 40)), rng.normal(size=(12, 40)).astype(dtype)
    missing = Missing(V, A, H)
    assert choose(A, missing.Q, missing.target, 5) == twin.chosen(A.astype(float), H, V, 5)


def test_candidates_in_the_span_are_left_out():
    """Of ten, four lie in the span of H, two are equal, one is zero: four are worth something."""
    rng = np.random.default_rng(3)
    H, V = rng.normal(size=(3, 40)), rng.normal(size=(2, 40))
    A = np.concatenate([rng.normal(size=(3, 3)) @ H, H[:1], np.zeros((1, 40)), rng.normal(size=(4, 40))])
    A = np.concatenate([A, A[-1:]])
    missing = Missing(V, A, H)
    found = choose(A, missing.Q, missing.target, 10)
    assert len(found) == 4 and set(found) <= {5, 6, 7, 8, 9} and not {8, 9} <= set(found)
