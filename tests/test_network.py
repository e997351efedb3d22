"""Networks: flat layout, pack and unpack, specs and errors."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import tomllib

import numpy as np
import pytest

import sublearn as sl
from sublearn.model.network import Feedforward, Network, Recurrent, network_from_spec

# net, groups with shapes in flat order, fan-ins, size, equations, x, y, text
PLANTED = [
    (
        Recurrent(inputs=2, hidden=8, outputs=3, steps=6),
        {"B": (8, 2), "W": (8, 8), "D": (3, 8)},
        [2, 8, 8],
        16 + 64 + 24,
        18,
        (6, 2),
        (6, 3),
        "recurrent 2-8-3, T=6, linear",
    ),
    (
        Recurrent(inputs=1, hidden=5, outputs=2, steps=3, activation="tanh", bias=True),
        {"B": (5, 1), "W": (5, 5), "D": (2, 5), "b": (5,), "c": (2,)},
        [1, 5, 5, None, None],
        5 + 25 + 10 + 5 + 2,
        6,
        (3, 1),
        (3, 2),
        "recurrent 1-5-2, T=3, tanh, bias b+c",
    ),
    (
        Recurrent(3, 1, 1, 1, bias=("c",)),
        {"B": (1, 3), "W": (1, 1), "D": (1, 1), "c": (1,)},
        [3, 1, 1, None],
        6,
        1,
        (1, 3),
        (1, 1),
        "recurrent 3-1-1, T=1, linear, bias c",
    ),
    (
        Feedforward(widths=(3, 4, 2), samples=5, activation="relu"),
        {"W1": (4, 3), "W2": (2, 4)},
        [3, 4],
        20,
        10,
        (3, 5),
        (2, 5),
        "feedforward 3-4-2, m=5, relu",
    ),
    (
        Feedforward((3, 4, 2, 1), 1, bias=("b3", "b1")),
        {"W1": (4, 3), "W2": (2, 4), "W3": (1, 2), "b1": (4,), "b3": (1,)},
        [3, 4, 2, None, None],
        12 + 8 + 2 + 4 + 1,
        1,
        (3, 1),
        (1, 1),
        "feedforward 3-4-2-1, m=1, linear, bias b1+b3",
    ),
    (
        Feedforward((2, 3), 4, bias=True),
        {"W1": (3, 2), "b1": (3,)},
        [2, None],
        9,
        12,
        (2, 4),
        (3, 4),
        "feedforward 2-3, m=4, linear, bias b1",
    ),
]
NETS = [row[0] for row in PLANTED]


@pytest.mark.parametrize("net, groups, fan_in, size, equations, x_shape, y_shape, text", PLANTED)
def test_what_a_network_says_of_itself(net, groups, fan_in, size, equations, x_shape, y_shape, text):
    assert net.groups == groups and list(net.groups) == list(groups)
    assert net.fan_in == dict(zip(groups, fan_in))
    assert (net.size, net.equations, net.x_shape, net.y_shape) == (size, equations, x_shape, y_shape)
    assert net.describe() == text
    assert [name for name in groups if net.is_bias(name)] == [name for name in groups if name[0] in "bc"]
    assert [(part.start, part.stop) for part in net.slices.values()] == [
        (end - int(np.prod(shape)), end) for end, shape in zip(np.cumsum([np.prod(shape) for shape in groups.values()]), groups.values())
    ]


def test_flat_layout_is_c_order_group_after_group():
    net = Recurrent(2, 3, 2, 4, bias=("b", "c"))
    groups = {name: np.zeros(shape) for name, shape in net.groups.items()}
    groups["B"][1, 0], groups["W"][2, 1], groups["D"][1, 2] = 1, 2, 3
    groups["b"][2], groups["c"][0] = 4, 5
    theta = net.pack(groups)
    assert theta.shape == (6 + 9 + 6 + 3 + 2,)
    assert {int(k): theta[k] for k in np.flatnonzero(theta)} == {
        2: 1.0,
        6 + 7: 2.0,
        15 + 5: 3.0,
        21 + 2: 4.0,
        24: 5.0,
    }


@pytest.mark.parametrize("net", NETS, ids=lambda net: net.describe())
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.bool_, np.complex128])
@pytest.mark.parametrize("batch", [(), (1,), (3,), (2, 3), (0,)])
def test_pack_and_unpack_are_inverse_and_keep_dtype_and_batch(net, dtype, batch):
    theta = np.random.default_rng(1).integers(0, 2 if dtype is np.bool_ else 1000, (*batch, net.size)).astype(dtype)
    groups = net.unpack(theta)
    assert list(groups) == list(net.groups)
    assert {name: part.shape for name, part in groups.items()} == {n: (*batch, *s) for n, s in net.groups.items()}
    assert {part.dtype for part in groups.values()} == {np.dtype(dtype)}
    back = net.pack(dict(reversed(groups.items())))
    assert back.dtype == dtype and back.shape == theta.shape
    assert np.array_equal(back, theta)


def test_unpack_gives_views_and_takes_any_strides():
    net = Recurrent(2, 3, 2, 4)
    wide = np.arange(2 * 2 * net.size, dtype=float).reshape(2, 2 * net.size)
    theta = wide[:, ::2]
    groups = net.unpack(theta)
    assert np.array_equal(groups["W"][1], theta[1, 6:15].reshape(3, 3))
    assert np.array_equal(net.pack(groups), theta)
    own = np.zeros(net.size)
    net.unpack(own)["W"][2, 1] = 7
    assert own[13] == 7 and np.count_nonzero(own) == 1


def test_pack_repeats_groups_without_a_batch():
    net = Feedforward((2, 3, 1), 4, bias=("b2",))
    w1 = np.arange(5 * 6.0).reshape(5, 3, 2)
    theta = net.pack({"W1": w1, "W2": [[1.0, 2.0, 3.0]], "b2": np.array([9.0])})
    assert theta.shape == (5, 10)
    assert np.array_equal(theta[:, :6], w1.reshape(5, 6))
    assert np.array_equal(theta[:, 6:], np.tile([1.0, 2.0, 3.0, 9.0], (5, 1)))


SMALL = Feedforward((2, 3, 1), 4)
FINE = {"W1": np.zeros((3, 2)), "W2": np.zeros((1, 3))}


@pytest.mark.parametrize(
    "error, words, groups",
    [
        (TypeError, ["groups", "dict", "list"], [FINE]),
        (ValueError, ["groups", "W1, W2", "got W1"], {"W1": FINE["W1"]}),
        (ValueError, ["groups", "W1, W2", "W3"], FINE | {"W3": np.zeros(2)}),
        (ValueError, ["groups['W1']", "[..., 3, 2]", "(2, 3)"], FINE | {"W1": np.zeros((2, 3))}),
        (ValueError, ["groups['W1']", "[..., 3, 2]", "(6,)"], FINE | {"W1": np.zeros(6)}),
        (ValueError, ["groups['W2']", "[..., 1, 3]", "ragged"], FINE | {"W2": [[1.0, 2.0], [3.0]]}),
        (ValueError, ["batch", "(2,)", "(3,)"], {"W1": np.zeros((2, 3, 2)), "W2": np.zeros((3, 1, 3))}),
        (TypeError, ["dtype", "W1 float64", "W2 float32"], FINE | {"W2": np.zeros((1, 3), np.float32)}),
        (TypeError, ["dtype", "W1 float64", "W2 bool"], FINE | {"W2": np.zeros((1, 3), bool)}),
    ],
)
def test_pack_errors_name_argument_expected_and_got(error, words, groups):
    assert SMALL.pack(FINE).shape == (9,)
    with pytest.raises(error) as caught:
        SMALL.pack(groups)
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize("shape", [(), (8,), (10,), (9, 1)])
def test_unpack_refuses_another_size(shape):
    with pytest.raises(ValueError, match=r"theta: expected shape \[\.\.\., 9\] for feedforward 2-3-1"):
        SMALL.unpack(np.zeros(shape))


@pytest.mark.parametrize(
    "error, words, make",
    [
        (ValueError, ["inputs", ">= 1", "0"], lambda: Recurrent(0, 1, 1, 1)),
        (ValueError, ["steps", "-2"], lambda: Recurrent(1, 1, 1, -2)),
        (TypeError, ["hidden", "2.0", "float"], lambda: Recurrent(1, 2.0, 1, 1)),
        (TypeError, ["outputs", "True"], lambda: Recurrent(1, 2, True, 1)),
        (
            ValueError,
            ["activation", "linear, relu, tanh", "'sigmoid'"],
            lambda: Recurrent(1, 1, 1, 1, "sigmoid"),
        ),
        (ValueError, ["activation", "None"], lambda: Recurrent(1, 1, 1, 1, None)),
        (ValueError, ["bias", "b, c", "'b1'"], lambda: Recurrent(1, 1, 1, 1, bias=("b1",))),
        (TypeError, ["bias", "tuple", "'b'"], lambda: Recurrent(1, 1, 1, 1, bias="b")),
        (ValueError, ["bias", "once"], lambda: Recurrent(1, 1, 1, 1, bias=("b", "b"))),
        (ValueError, ["bias", "b1, b2", "'b3'"], lambda: Feedforward((1, 1, 1), 1, bias=("b3",))),
        (ValueError, ["widths", "at least two", "(3,)"], lambda: Feedforward((3,), 1)),
        (ValueError, ["widths[1]", ">= 1", "0"], lambda: Feedforward((3, 0, 1), 1)),
        (TypeError, ["widths", "3"], lambda: Feedforward(3, 1)),
        (TypeError, ["widths", "'342'"], lambda: Feedforward("342", 1)),
        (TypeError, ["samples", "None"], lambda: Feedforward((3, 1), None)),
        (ValueError, ["at most", "2147483647"], lambda: Recurrent(1, 50_000, 1, 1)),
    ],
)
def test_constructor_errors_name_argument_expected_and_got(error, words, make):
    with pytest.raises(error) as caught:
        make()
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_equal_networks_hash_alike_and_different_ones_differ():
    same = [
        Recurrent(2, 8, 2, 6, bias=True),
        Recurrent(inputs=np.int64(2), hidden=8, outputs=2, steps=6, activation="linear", bias=["c", "b"]),
    ]
    assert same[0] == same[1] and hash(same[0]) == hash(same[1]) and len(set(same)) == 1
    assert Feedforward([3, 4, 2], 3) == Feedforward((3, 4, 2), 3) == Feedforward(np.array([3, 4, 2]), 3)
    others = [
        same[0],
        Recurrent(2, 8, 2, 6),
        Recurrent(2, 8, 2, 6, bias=("b",)),
        Recurrent(2, 8, 2, 7),
        Recurrent(2, 8, 2, 6, "tanh"),
        Feedforward((2, 8, 2), 6),
        Feedforward((2, 8, 2), 6, "relu"),
    ]
    assert len(set(others)) == len(others)


@pytest.mark.parametrize("net", NETS, ids=lambda net: net.describe())
def test_repr_spec_pickle_and_copy_bring_the_network_back(net):
    assert eval(repr(net)) == net
    assert network_from_spec(json.loads(json.dumps(net.to_dict()))) == net
    assert type(net).from_dict(net.to_dict()) == net == Network.from_dict(net.to_dict())
    for other in (pickle.loads(pickle.dumps(net)), copy.deepcopy(net), copy.copy(net)):
        assert other == net and hash(other) == hash(net) and other.groups == net.groups
    with pytest.raises(dataclasses.FrozenInstanceError):
        net.samples = 3


def test_specs_from_toml():
    text = """
    [a]
    kind = "recurrent"
    inputs = 2
    hidden = 8
    outputs = 2
    steps = 6
    activation = "linear"
    bias = false
    [b]
    kind = "feedforward"
    widths = [3, 4, 2]
    samples = 3
    [c]
    kind = "feedforward"
    widths = [3, 4, 2]
    samples = 3
    activation = "tanh"
    bias = ["b2"]
    """
    specs = tomllib.loads(text)
    assert network_from_spec(specs["a"]) == Recurrent(2, 8, 2, 6)
    assert network_from_spec(specs["b"]) == Feedforward((3, 4, 2), 3)
    assert network_from_spec(specs["c"]) == Feedforward((3, 4, 2), 3, "tanh", ("b2",))
    assert specs["b"] == {
        "kind": "feedforward",
        "widths": [3, 4, 2],
        "samples": 3,
    }  # reading leaves the spec alone


@pytest.mark.parametrize(
    "error, words, spec",
    [
        (TypeError, ["spec", "dict", "'recurrent'"], "recurrent"),
        (ValueError, ["kind", "recurrent, feedforward", "'lstm'"], {"kind": "lstm"}),
        (ValueError, ["kind", "None"], {"widths": [1, 1], "samples": 1}),
        (ValueError, ["kind", "[]"], {"kind": []}),
        (
            ValueError,
            ["missing samples", "unknown width"],
            {"kind": "feedforward", "widths": [1, 1], "width": 3},
        ),
        (
            ValueError,
            ["steps", "0"],
            {"kind": "recurrent", "inputs": 1, "hidden": 1, "outputs": 1, "steps": 0},
        ),
    ],
)
def test_spec_errors_name_argument_expected_and_got(error, words, spec):
    with pytest.raises(error) as caught:
        network_from_spec(spec)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_from_dict_of_another_class_and_unknown_groups_are_refused():
    with pytest.raises(ValueError, match="expected a Recurrent network, got kind 'feedforward'"):
        Recurrent.from_dict(SMALL.to_dict())
    with pytest.raises(ValueError, match="expected one of the groups W1, W2, got 'D'"):
        SMALL.is_bias("D")


@pytest.mark.parametrize("net", NETS, ids=lambda net: net.describe())
def test_compiled_shape_agrees(net):
    assert net.shape.size == net.size
    assert net.shape.equations == net.equations
    assert net.shape.inputs_size == int(np.prod(net.x_shape))
    assert net.shape is net.shape  # made once
    assert pickle.loads(pickle.dumps(net)) == net and copy.deepcopy(net) == net  # also after it was made


def test_parameters_hold_any_named_shapes():
    shapes = {"encoder.weight": (6, 3), "encoder.bias": (6,), "kernel": (4, 3, 2, 2)}
    model = sl.Parameters(shapes)
    assert model.groups == shapes and model.size == 18 + 6 + 48 and model.slices["kernel"] == slice(24, 72)
    theta = np.arange(2 * model.size).reshape(2, -1)
    parts = model.unpack(theta)
    assert parts["kernel"].shape == (2, 4, 3, 2, 2)
    np.testing.assert_array_equal(model.pack(parts), theta)
    assert pickle.loads(pickle.dumps(model)) == model and hash(sl.Parameters(shapes)) == hash(model)
    assert model != sl.Parameters(dict(reversed(shapes.items()))) and model != sl.Recurrent(2, 3, 2, 2)
    assert repr(model) == f"Parameters({shapes})" and model.describe() == "3 groups, 72 weights"


def test_allocations_and_strategies_need_no_network():
    model = sl.Parameters({"weight": (6, 3), "bias": (6,), "kernel": (4, 3, 2, 2)})
    some = sl.Allocation(model, {"bias": np.arange(6) < 2})
    assert some.budget == 2 and some.indices.tolist() == [18, 19] and some.edges == [("bias", 0), ("bias", 1)]
    assert sl.Allocation.from_edges(model, [("kernel", 1, 2, 0, 1)]).indices.tolist() == [24 + 12 + 8 + 1]
    for strategy, budget in (
        (sl.scattered(model, 7), 7),
        (sl.rows(model, 13, "kernel"), 13),
        (sl.per_row(model, rows=2, each=5, within="kernel"), 10),
        (sl.columns(model, 5, "weight"), 5),
        (sl.split(model, {"weight": 2, "bias": 3}), 5),
        (sl.only(model, "bias"), 6),
        (sl.everything(model, shared=("kernel",)), 24),
    ):
        drawn = strategy.draw(3)
        assert strategy.budget == drawn.budget == budget and drawn.net == model
        assert pickle.loads(pickle.dumps(strategy)) == strategy and "#" in drawn.picture()
    np.testing.assert_array_equal(sl.rows(model, 13, "kernel").draw().indices, np.arange(24, 37))  # the first row, and one of the second


@pytest.mark.parametrize(
    "shapes, error",
    [
        ([("a", (2,))], "TypeError: shapes: expected a dict of shapes by group, got list"),
        ({}, "ValueError: shapes: expected at least one group, got none"),
        ({3: (2,)}, "TypeError: shapes: expected group names that are strings, got 3"),
        ({"a": ()}, r"TypeError: shapes['a']: expected a shape of at least one axis such as (8, 2), got ()"),
        ({"a": 4}, r"TypeError: shapes['a']: expected a shape of at least one axis such as (8, 2), got 4"),
        ({"a": (2, 0)}, "ValueError: shapes['a']: expected a whole number >= 1, got 0"),
        ({"a": (2**20, 2**12)}, "ValueError: shapes: expected at most 2147483647 weights, got 4294967296"),
    ],
)
def test_shapes_that_are_no_parameters(shapes, error):
    with pytest.raises((TypeError, ValueError)) as raised:
        sl.Parameters(shapes)
    assert f"{type(raised.value).__name__}: {raised.value}".startswith(error)


def test_what_needs_a_network_says_so():
    model = sl.Parameters({"weight": (6, 3)})
    some = sl.scattered(model, 2)
    for call in (sl.predict, sl.match_probability, lambda net, a: sl.draw_trials(net, a, 3), sl.degree, sl.explain, sl.best_allocation):
        with pytest.raises(TypeError, match="net: expected a Recurrent or Feedforward network, got Parameters"):
            call(model, some)
