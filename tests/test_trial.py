"""Trials: Random123's vectors, compiled draws against the twin, laws, and what may not change a trial."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

import sublearn.model.strategies as al
from sublearn.data.trials import draw_trials
from sublearn.model.allocation import Allocation
from sublearn.model.network import Feedforward, Recurrent
from sublearn.model.teacher_student import check_gains
from tests.twins import philox

# Compiled and twin differ in logarithm, sine and cosine only: a few units in the last place, numbers below 9.
CLOSE = dict(rtol=1e-14, atol=2e-14)

# Philox 4x32-10 vectors published with Random123 (kat_vectors).
GOLDEN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text):
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize("counter, key, answer", GOLDEN)
def test_twin_gives_the_published_vectors(counter, key, answer):
    assert philox.philox4x32(words(counter), words(key)).tolist() == words(answer)


def test_twin_blocks_take_counter_and_key_in_the_stated_order():
    index, stream, trial, task = 2, 3, 0x13198A2E, 0x03707344
    expected = philox.philox4x32([index, stream, trial, task], [0xA4093822, 0x299F31D0])
    got = philox.blocks(3, seed=0x299F31D0A4093822, stream=stream, trial=trial, task=task)
    assert got.shape == (3, 4) and got[2].tolist() == expected.tolist()


def test_first_normals_by_hand_from_a_published_vector():
    """Counter 0, key 0 is block 0 of the teacher of trial 0, task 0, seed 0."""
    a, b, c, d = words(GOLDEN[0][2])
    u1 = ((((a << 32) | b) >> 12) + 0.5) * 2.0**-52
    u2 = ((((c << 32) | d) >> 12) + 0.5) * 2.0**-52
    pair = [math.sqrt(-2 * math.log(u1)) * trig(2 * math.pi * u2) for trig in (math.cos, math.sin)]
    assert np.allclose(philox.normals(2, 0, philox.TEACHER, 0, 0), pair, **CLOSE)
    net = Recurrent(4, 2, 1, 1)
    teacher = draw_trials(net, Allocation(net, {}), 1).teacher[0]
    assert np.allclose(teacher[:2], np.array(pair) / 2, **CLOSE)  # first two weights of B, fan-in 4


def test_twin_whole_numbers_follow_multiply_and_reject():
    """n = 2^31 + 1 throws nearly half of the words away; the sequence is checked word by word."""
    source = dict(seed=5, stream=philox.MASK, trial=1, task=2)
    raw = philox.blocks(64, **source).reshape(-1).tolist()
    n = 2**31 + 1
    kept = [word * n >> 32 for word in raw if word * n % 2**32 >= 2**32 % n]
    twin = philox.Words(**source)
    got = [twin.bounded(n) for _ in range(100)]
    assert got == kept[:100] and twin.rejected > 60 and max(got) < n
    twin = philox.Words(**source)
    assert [twin.bounded(1), twin.bounded(2**16)] == [0, raw[0] >> 16]  # n = 1 takes no word


NETS = [
    Recurrent(2, 4, 2, 6),
    Recurrent(1, 1, 1, 1),
    Recurrent(3, 5, 2, 3, "tanh", bias=True),  # odd sizes: normals come in pairs
    Recurrent(2, 9, 1, 2, "relu", bias=("b",)),
    Feedforward((3, 4, 2), 3),
    Feedforward((3, 5, 3, 2), 1, "tanh", bias=("b1", "b3")),
    Feedforward((7, 1), 5, "relu", bias=True),
]


def trials_of(net, **more):
    last = list(net.groups)[-1]
    return draw_trials(net, al.scattered(net, 1, last), **more)


@pytest.mark.parametrize("net", NETS, ids=lambda net: net.describe())
@pytest.mark.parametrize("seed, task, first", [(0, 0, 0), (2**64 - 1, 2**32 - 1, 2**32 - 4), (2**40 + 3, 17, 2**31 - 2)])
def test_trials_are_those_of_the_twin(net, seed, task, first):
    names = list(net.groups)
    gains = {names[0]: 2.5, names[-1]: 0.3} if task else None
    shared = tuple(names[:-1]) if seed else ()
    strategy = al.scattered(net, (net.slices[names[-1]].stop - net.slices[names[-1]].start) // 2, names[-1])
    got = draw_trials(net, strategy, 4, shared=shared, seed=seed, task=task, first=first, gains=gains)
    assert len(got) == 4 and (got.seed, got.task, got.first, got.shared) == (seed, task, first, shared)
    for k in range(4):
        teacher, student, x, mask = philox.trial(net, shared, seed, task, first + k, strategy.recipe, gains)
        for ours, twin in ((got.teacher[k], teacher), (got.student[k], student), (got.x[k], x)):
            assert ours.shape == twin.shape and np.allclose(ours, twin, **CLOSE)
        assert np.array_equal(got.mask[k], mask)
    for name, where in net.slices.items():
        assert np.array_equal(got.teacher[:, where], got.student[:, where]) == (name in shared)


def forward(net, theta, x):
    """D1 in words, one trial."""
    phi = {"linear": lambda z: z, "tanh": np.tanh, "relu": lambda z: np.maximum(z, 0)}[net.activation]
    g = net.unpack(theta)
    if isinstance(net, Recurrent):
        h, y = np.zeros(net.hidden), []
        for x_t in x:
            h = phi(g["W"] @ h + g["B"] @ x_t + g.get("b", 0))
            y.append(g["D"] @ h + g.get("c", 0))
        return np.array(y)
    layers = len(net.widths) - 1
    for k in range(1, layers + 1):
        bias = g[f"b{k}"][:, None] if f"b{k}" in g else 0
        x = g[f"W{k}"] @ x + bias
        x = phi(x) if k < layers else x
    return x


@pytest.mark.parametrize("net", NETS, ids=lambda net: net.describe())
@pytest.mark.parametrize("dtype, bound", [(np.float64, 1e-13), (np.float32, 1e-5)])
def test_y_is_what_the_teacher_answers(net, dtype, bound):
    got = trials_of(net, count=17, seed=4, dtype=dtype)
    exact = np.array([forward(net, theta.astype(float), x.astype(float)) for theta, x in zip(got.teacher, got.x)])
    assert got.y.shape == (17, *net.y_shape) and got.x.shape == (17, *net.x_shape)
    assert got.teacher.dtype == got.student.dtype == got.x.dtype == got.y.dtype == dtype
    assert np.abs(exact).max() > 0.1 and np.abs(got.y - exact).max() <= bound * max(1, np.abs(exact).max())


def test_float32_trials_are_the_float64_ones_rounded():
    double, single = trials_of(NETS[2], count=9, seed=4), trials_of(NETS[2], count=9, seed=4, dtype="float32")
    for name in ("teacher", "student", "x"):
        assert np.array_equal(getattr(double, name).astype(np.float32), getattr(single, name))
    assert np.array_equal(double.mask, single.mask)


# What may not change a trial


def same(one, two, names=("teacher", "student", "x", "y", "mask"), rows=slice(None)):
    return all(np.array_equal(getattr(one, name)[rows], getattr(two, name)) for name in names)


def test_a_trial_is_the_same_in_every_batch_and_thread_count():
    net, strategy = NETS[0], al.scattered(NETS[0], 5, "W")
    many = draw_trials(net, strategy, 70, seed=3, task=2)
    assert same(many, draw_trials(net, strategy, 5, seed=3, task=2, first=33), rows=slice(33, 38))
    assert same(many, draw_trials(net, strategy, 1, seed=3, task=2, first=69), rows=slice(69, 70))
    for threads in (1, 2, 3):
        assert same(many, draw_trials(net, strategy, 70, seed=3, task=2, threads=threads))


def test_strategies_meet_the_same_teachers_and_shared_groups_change_nothing_else():
    net = NETS[0]
    one = draw_trials(net, al.scattered(net, 5, "W"), 8, seed=3)
    two = draw_trials(net, al.rows(net, 11, "W").allocation, 8, shared=("D", "B"), seed=3)
    assert same(one, two, ("teacher", "x", "y")) and not np.array_equal(one.mask, two.mask)
    assert np.array_equal(one.student[:, net.slices["W"]], two.student[:, net.slices["W"]])
    assert two.shared == ("B", "D") and two.mask.sum() == 8 * 11
    for name in ("B", "D"):
        assert np.array_equal(two.student[:, net.slices[name]], two.teacher[:, net.slices[name]])
        assert not np.isclose(one.student[:, net.slices[name]], one.teacher[:, net.slices[name]]).any()


@pytest.mark.parametrize("other", [dict(seed=1), dict(seed=2**32), dict(task=1), dict(first=1), dict(first=2**16)])
def test_other_counters_are_other_trials(other):
    base, moved = trials_of(NETS[0], count=1), trials_of(NETS[0], count=1, **other)
    for name in ("teacher", "student", "x"):
        assert not np.isclose(getattr(base, name), getattr(moved, name)).any()


def test_gains_scale_their_group_only():
    net = NETS[2]
    base, scaled = trials_of(net, count=6), trials_of(net, count=6, gains={"W": 4, "b": 0.5})
    assert base.gains == dict.fromkeys(net.groups, 1.0)
    assert scaled.gains == {"B": 1.0, "W": 4.0, "D": 1.0, "b": 0.5, "c": 1.0}
    for name, where in net.slices.items():
        for part in ("teacher", "student"):
            assert np.array_equal(getattr(scaled, part)[:, where], getattr(base, part)[:, where] * scaled.gains[name])
    assert np.array_equal(base.x, scaled.x)


# Laws


def test_laws_of_weights_biases_and_inputs():
    net = Recurrent(3, 5, 2, 4, bias=True)
    gains = {"B": 1.0, "W": 1.5, "D": 1.0, "b": 0.7, "c": 2.0}
    got = draw_trials(net, al.rows(net, 1, "W"), 3000, seed=12, gains=gains)
    spread = {"B": 3**-0.5, "W": 1.5 * 5**-0.5, "D": 5**-0.5, "b": 0.7, "c": 2.0}
    samples = [(got.x.ravel(), 1.0)]
    for part in (got.teacher, got.student):
        samples += [(part[:, net.slices[name]].ravel(), scale) for name, scale in spread.items()]
    for values, scale in samples:
        assert values.size >= 6000 and stats.kstest(values, "norm", args=(0, scale)).pvalue > 1e-3
        assert stats.kstest(values, "norm", args=(0, scale * 1.15)).pvalue < 1e-4  # the test would see 15 %
    table = np.concatenate([got.teacher, got.student, got.x.reshape(3000, -1)], axis=1)
    correlation = np.corrcoef(table.T) - np.eye(table.shape[1])
    assert np.abs(correlation).max() < 5.5 / math.sqrt(3000)  # more than 6000 pairs: 5.5 sigma
    neighbours = [np.corrcoef(column[:-1], column[1:])[0, 1] for column in table.T]
    assert np.abs(neighbours).max() < 5 / math.sqrt(3000)


# Errors


@pytest.mark.parametrize(
    "error, words, more",
    [
        (ValueError, ["count", "from 1", "0"], dict(count=0)),
        (TypeError, ["count", "2.0"], dict(count=2.0)),
        (ValueError, ["seed", "-1"], dict(seed=-1)),
        (ValueError, ["seed", "18446744073709551616"], dict(seed=2**64)),
        (ValueError, ["task", "4294967296"], dict(task=2**32)),
        (ValueError, ["count", "from 1 to 1", "2"], dict(count=2, first=2**32 - 1)),
        (TypeError, ["shared", "write ('B',)"], dict(shared="B")),
        (ValueError, ["shared", "B, W, D", "'b'"], dict(shared=("b",))),
        (ValueError, ["allocation", "shared groups W", "W (16)"], dict(shared=("W",))),
        (TypeError, ["dtype", "float32 or float64", "float16"], dict(dtype="float16")),
        (TypeError, ["dtype", "int"], dict(dtype=int)),
        (TypeError, ["dtype", "'quick'"], dict(dtype="quick")),
        (TypeError, ["dtype", "None"], dict(dtype=None)),
        (ValueError, ["threads", "0"], dict(threads=0)),
        (ValueError, ["gains", "B, W, D", "'b'"], dict(gains={"b": 1.0})),
        (ValueError, ["gains['W']", "above 0", "0"], dict(gains={"W": 0})),
        (ValueError, ["gains['W']", "finite", "nan"], dict(gains={"W": math.nan})),
        (ValueError, ["gains['W']", "finite", "inf"], dict(gains={"W": math.inf})),
        (TypeError, ["gains['W']", "number", "'2'"], dict(gains={"W": "2"})),
        (TypeError, ["gains['W']", "number", "True"], dict(gains={"W": True})),
        (TypeError, ["gains", "dict", "float"], dict(gains=2.0)),
    ],
)
def test_errors_name_argument_expected_and_got(error, words, more):
    net = NETS[0]
    with pytest.raises(error) as caught:
        draw_trials(net, al.scattered(net, 5, "W"), **(dict(count=2) | more))
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_another_networks_allocation_is_refused():
    with pytest.raises(ValueError, match="expected one of recurrent 2-4-2, T=6"):
        draw_trials(NETS[0], al.rows(NETS[1], 1, "W"), 2)
    with pytest.raises(TypeError, match="expected an Allocation or a Strategy, got ndarray"):
        draw_trials(NETS[0], np.zeros(32, bool), 2)


def test_repr_and_gains_of_numpy_numbers():
    got = draw_trials(NETS[0], al.rows(NETS[0], 1, "W"), 3, shared=("B",), seed=5, task=6, first=7)
    assert repr(got) == "<Trials 7..9 of recurrent 2-4-2, T=6, linear, shared B, seed 5, task 6, float64>"
    assert check_gains(NETS[0], {"D": np.float32(0.5), "B": np.int64(3)}).tolist() == [3.0, 1.0, 0.5]


def test_trials_are_bit_equal_on_every_instruction_set():
    """Draws are compiled once and masks are integers; only y passes through the kernels, to rounding."""
    from sublearn import _cpu

    net = Recurrent(2, 8, 2, 6)
    before = _cpu.isa()
    drawn = {}
    try:
        for name in _cpu.isas():
            _cpu.set_isa(name)
            drawn[name] = draw_trials(net, al.scattered(net, 10, "W"), 1000, shared=("B", "D"), seed=11, task=2)
    finally:
        _cpu.set_isa(before)
    base = drawn["base"]
    one = draw_trials(net, al.scattered(net, 10, "W"), 1, shared=("B", "D"), seed=11, task=2, first=777, threads=1)
    for trials in drawn.values():
        for field in ("teacher", "student", "x", "mask"):
            np.testing.assert_array_equal(getattr(trials, field), getattr(base, field))
            np.testing.assert_array_equal(getattr(trials, field)[777], getattr(one, field)[0])
        np.testing.assert_allclose(trials.y, base.y, rtol=1e-12, atol=1e-13)
