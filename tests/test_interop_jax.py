"""Functions of trees of jax arrays: Jacobians against formulas, and optax optimizers that leave frozen entries bit-identical."""

import re
from pathlib import Path

import numpy as np
import pytest

import sublearn as sl

jax = pytest.importorskip("jax", reason="jax is in an environment of its own: the step of models in .ci/run")
import jax.numpy as jnp  # noqa: E402

interop = sl.interop.jax


@pytest.fixture
def params():
    rng = np.random.default_rng(0)
    layers = {"first": {"kernel": rng.normal(size=(3, 4)), "bias": rng.normal(size=4)}, "last": [rng.normal(size=(4, 2)), np.float32(1.5)]}
    return jax.tree_util.tree_map(lambda leaf: jnp.asarray(leaf, jnp.float32), layers)


def apply(params, x):
    return params["last"][1] * (jnp.tanh(x @ params["first"]["kernel"] + params["first"]["bias"]) @ params["last"][0])


def by_formula(params, x):
    """J [samples, outputs, size] in double precision, groups in the order of jax: first/bias, first/kernel, last/0, last/1."""
    b, K, D, s = (np.float64(leaf) for leaf in (params["first"]["bias"], params["first"]["kernel"], *params["last"]))
    x, h = np.float64(x), np.tanh(np.float64(x) @ K + b)
    slope = s * np.einsum("no,mn->mon", D, 1 - h**2)
    kernel = np.einsum("mon,mi->moin", slope, x)
    last = s * np.einsum("op,mn->monp", np.eye(2), h)
    return np.concatenate([slope, kernel.reshape(*slope.shape[:2], -1), last.reshape(*slope.shape[:2], -1), (h @ D)[..., None]], axis=2)


def test_jacobians(params, monkeypatch):
    x = jnp.asarray(np.random.default_rng(1).normal(size=(7, 3)), jnp.float32)
    model, J = interop.linearize(apply, params, x), by_formula(params, x).reshape(14, -1)
    assert model.groups == {"first/bias": (4,), "first/kernel": (3, 4), "last/0": (4, 2), "last/1": (1,)}
    assert model.layout == interop.parameters(params) and model.y_shape == (7, 2) and model.J.dtype == np.float64
    np.testing.assert_allclose(model.J, J, atol=1e-14)
    assert not jax.config.jax_enable_x64 and jnp.ones(1).dtype == jnp.float32
    monkeypatch.setattr(interop, "_CHUNK_BYTES", 3 * J.nbytes // 7)
    np.testing.assert_allclose(interop.linearize(apply, params, x).J, J, atol=1e-14)
    single = interop.linearize(apply, params, x, dtype="float32")
    assert single.J.dtype == np.float32 and np.allclose(single.J, J, atol=1e-5)
    sketched = interop.linearize(apply, params, x, sketch=5, seed=3)
    np.testing.assert_allclose(sketched.J, np.random.default_rng(3).standard_normal((5, 14)) / np.sqrt(5) @ J, atol=1e-13)
    few = interop.linearize(apply, params, x, within=("last/1", "first/bias"))
    np.testing.assert_array_equal(few.J, model.J[:, [0, 1, 2, 3, 24]])


def test_inputs_may_be_a_tree(params):
    rng = np.random.default_rng(1)
    x = {"x": jnp.asarray(rng.normal(size=(5, 3))), "mask": jnp.asarray([1, 0, 1, 1, 0])}
    model = interop.linearize(lambda params, x: apply(params, x["x"]) * x["mask"][:, None], params, x)
    whole = interop.linearize(apply, params, x["x"])
    np.testing.assert_allclose(model.J, whole.J * np.repeat([1, 0, 1, 1, 0], 2)[:, None], atol=1e-14)
    assert sl.required_rank(model) == 6


def bits(tree):
    return [np.asarray(leaf).view(np.int32) for leaf in jax.tree_util.tree_leaves(tree)]


@pytest.mark.parametrize("name", ["adamw", "sgd", "clip", "lion"])
def test_frozen_entries_stay_bit_identical(params, name):
    optax = pytest.importorskip("optax", reason="optax is in an environment of its own: the step of models in .ci/run")
    base = {
        "adamw": optax.adamw(1e-2, weight_decay=0.1),
        "sgd": optax.chain(optax.add_decayed_weights(0.1), optax.sgd(1e-2, momentum=0.9, nesterov=True)),
        "clip": optax.chain(optax.clip_by_global_norm(1e-3), optax.adamw(1e-2, weight_decay=0.1)),
        "lion": optax.lion(1e-2, weight_decay=0.1),
    }[name]
    params["first"]["kernel"] = params["first"]["kernel"].at[0].set(-0.0)
    x = jnp.asarray(np.random.default_rng(1).normal(size=(7, 3)), jnp.float32)
    allocation = sl.scattered(interop.parameters(params), 8, within=("first/kernel", "last/0")).draw(0)
    optimizer = optax.chain(interop.train_only(base, allocation))  # it stands in a chain as well
    state, before, masks = optimizer.init(params), bits(params), jax.tree_util.tree_leaves(interop.masks(params, allocation))

    @jax.jit
    def step(params, state):
        gradients = jax.grad(lambda params: (apply(params, x) ** 2).sum())(params)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    for _ in range(4):
        params, state = step(params, state)
    assert sum(mask.sum() for mask in masks) == 8
    for old, new, mask in zip(before, bits(params), masks):
        np.testing.assert_array_equal(new[~mask], old[~mask])
        assert (new[mask] != old[mask]).all()


def test_optimizers_see_zeros_in_the_place_of_frozen_gradients(params):
    """And infinite ones there do no harm: frozen entries are selected, not multiplied."""
    seen = []
    optimizer = interop.Transformation(lambda params: 0, lambda gradients, state, params=None: (seen.append(gradients) or gradients, state))
    allocation = sl.only(interop.parameters(params), "last/0").allocation
    masked = interop.train_only(optimizer, allocation)
    assert masked.init(params) == 0
    updates, _ = masked.update(jax.tree_util.tree_map(lambda leaf: jnp.full_like(leaf, jnp.inf), params), 0, params)
    assert [np.asarray(leaf).max() for leaf in jax.tree_util.tree_leaves(seen)] == [0, 0, np.inf, 0]
    frozen = np.asarray(updates["first"]["bias"])
    assert (frozen == 0).all() and np.signbit(frozen).all()  # -0.0 added to -0.0 leaves its sign


X = jnp.ones((2, 3))


@pytest.mark.parametrize(
    "ask, error, message",
    [
        (lambda p: interop.parameters({}), ValueError, "params: expected a tree with at least one array, got none"),
        (lambda p: interop.parameters({"n": jnp.arange(3)}), TypeError, "params: expected real arrays, got int32 in 'n'; see within="),
        (lambda p: interop.parameters({"n": 1.0}), TypeError, "params: expected real arrays, got float in 'n'"),
        (lambda p: interop.parameters({"a": {"b": jnp.ones(1)}, "a/b": jnp.ones(1)}), ValueError, "got 2 with 1 names"),
        (lambda p: interop.parameters(p, ("last",)), ValueError, "within: expected names out of first/bias, first/kernel, last/0, last/1"),
        (lambda p: interop.linearize(apply, p, X, dtype="float16"), ValueError, "dtype: expected 'float64' or 'float32'"),
        (
            lambda p: interop.linearize(apply, p, (X, jnp.ones(3))),
            ValueError,
            r"x: expected arrays of one number of samples",
        ),
        (
            lambda p: interop.linearize(lambda p, x: apply(p, x).sum(), p, X),
            ValueError,
            r"function: expected outputs \[samples",
        ),
        (lambda p: interop.masks(p, sl.everything(sl.Parameters({"x": (1,)}))), ValueError, "expected groups that are leaves, .*, got 'x'"),
        (
            lambda p: interop.masks(p, sl.everything(sl.Parameters({"last/0": (2,)}))),
            ValueError,
            r"'last/0' of shape \(4, 2\) as in the tree",
        ),
        (
            lambda p: interop.train_only(None, sl.scattered(interop.parameters(p), 2)),
            TypeError,
            "a strategy that always draws",
        ),
    ],
)
def test_refused(params, ask, error, message):
    with pytest.raises(error, match=message):
        ask(params)


def test_the_page_works():
    """The block of docs/own_model.md, and a step of its optimizer."""
    optax = pytest.importorskip("optax", reason="optax and flax are in an environment of their own: the step of models in .ci/run")
    page, names = (Path(__file__).parents[1] / "docs" / "own_model.md").read_text(), {}
    exec(re.search(r"```python\n(.*?)```", page[page.index("## jax") :], re.DOTALL)[1], names)
    params, optimizer = names["params"], names["optimizer"]
    assert names["model"].describe() == "60 equations of 4 groups, 195 weights" and "params/layers_0/kernel" in names["model"].groups
    gradients = jax.grad(lambda params: (names["module"].apply(params, names["x"]) ** 2).sum())(params)
    after = optax.apply_updates(params, optimizer.update(gradients, names["state"], params)[0])
    for old, new, mask in zip(bits(params), bits(after), jax.tree_util.tree_leaves(interop.masks(params, names["allocation"]))):
        assert ((old != new) == mask).all()
