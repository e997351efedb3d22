"""Outputs and Jacobians against numpy, finite differences, complex steps, and each other across batches and instruction sets."""

import numpy as np
import pytest

import sublearn as sl
from sublearn import _cpu
from tests.cases import NETWORKS, masks, names, students
from tests.twins import networks as twin

nets = pytest.mark.parametrize("net", NETWORKS, ids=names)


@nets
def test_outputs_equal_the_twin(net, isa):
    theta, x, _ = students(net, 19)
    y = sl.outputs(net, theta, x)
    expected = np.stack([twin.outputs(net, t, v) for t, v in zip(theta, x)])
    np.testing.assert_allclose(y, expected, rtol=1e-13, atol=1e-13)
    single = sl.outputs(net, theta.astype(np.float32), x.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, rtol=2e-5, atol=2e-5)


@nets
def test_jacobian_equals_finite_differences(net, isa):
    theta, x, _ = students(net, 5)
    J = sl.jacobian(net, theta, x, sl.everything(net))
    assert J.shape == (5, net.equations, net.size)
    h = 1e-6
    for k in range(net.size):
        up, down = theta.copy(), theta.copy()
        up[:, k] += h
        down[:, k] -= h
        slope = (sl.outputs(net, up, x) - sl.outputs(net, down, x)).reshape(5, -1) / (2 * h)
        np.testing.assert_allclose(J[:, :, k], slope, atol=1e-7)


@nets
def test_jacobian_equals_complex_step(net):
    theta, x, _ = students(net, 3)
    J = sl.jacobian(net, theta, x, sl.everything(net))
    for k in range(net.size):
        z = theta.astype(complex)
        z[:, k] += 1e-30j
        y = _cpu.outputs_complex(net.shape, z, x.reshape(3, -1))
        np.testing.assert_allclose(J[:, :, k], y.imag / 1e-30, rtol=1e-12, atol=1e-12)


@nets
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_own_masks_pick_columns_and_neighbours_do_not_matter(net, dtype, isa):
    theta, x, _ = students(net, 21, dtype=dtype)
    mask = masks(net, 21, 5)
    everything = sl.jacobian(net, theta, x, sl.everything(net))
    own = sl.jacobian(net, theta, x, mask)
    for b in range(21):
        # one student alone and the same student in a batch: the same bits
        alone = sl.jacobian(net, theta[b], x[b], mask[b])
        np.testing.assert_array_equal(own[b], alone)
        np.testing.assert_allclose(
            own[b], everything[b][:, mask[b]], rtol=1e-5 if dtype == np.float32 else 1e-13, atol=1e-5 if dtype == np.float32 else 1e-13
        )
    np.testing.assert_array_equal(own, sl.jacobian(net, theta, x, mask, threads=1))


def test_jacobian_mod_equals_integers():
    """Small integer weights: no reduction happens in the float Jacobian, so both must agree mod p exactly."""
    rng = np.random.default_rng(1)
    for net in NETWORKS:
        if net.activation != "linear":
            continue
        theta = rng.integers(-3, 4, (4, net.size))
        x = rng.integers(-3, 4, (4, *net.x_shape))
        exact = sl.jacobian(net, theta.astype(float), x.astype(float), sl.everything(net))
        for p in _cpu.PRIMES:
            found = _cpu.jacobian_mod(net.shape, theta % p, x.reshape(4, -1) % p, 0, p)
            np.testing.assert_array_equal(found, np.rint(exact).astype(np.int64) % p)


@pytest.mark.parametrize("batch", [1, 3, 4, 5, 15, 16, 17, 33])
def test_jacobian_mod_in_lanes_equals_one_student_at_a_time(batch, isa):
    """Up to three students are worked on one by one, more side by side: the same bits, at entries that leave no room in 31 bits too."""
    rng = np.random.default_rng(batch)
    for net in [*NETWORKS, sl.Recurrent(2, 5, 3, 4, bias=True), sl.Feedforward((3, 4, 2, 2), 3, bias=True)]:
        if net.activation == "relu":
            continue
        for p in _cpu.PRIMES:
            theta, x = (rng.integers(0, p, (batch, n)) for n in (net.size, int(np.prod(net.x_shape))))
            theta[0], x[-1] = p - 1, p - 1
            together = _cpu.jacobian_mod(net.shape, theta, x, 5, p)
            assert together.min() >= 0 and together.max() < p
            # tanh draws the activities of student b from stream b, so that only the first one can be worked on alone
            for b in range(batch if net.activation == "linear" else 1):
                np.testing.assert_array_equal(together[b : b + 1], _cpu.jacobian_mod(net.shape, theta[b : b + 1], x[b : b + 1], 5, p))
            np.testing.assert_array_equal(together[:3], _cpu.jacobian_mod(net.shape, theta[:3], x[:3], 5, p))


def test_tanh_of_the_kernels():
    """A 1-1-1 net is tanh itself: a few units in the last place, over the whole range, in both precisions."""
    net = sl.Feedforward((1, 1, 1), 1, activation="tanh")
    z = np.concatenate([np.linspace(-25, 25, 20001), 10.0 ** np.linspace(-300, 1, 2000), -(10.0 ** np.linspace(-20, 1, 500))])
    theta = np.stack([z, np.ones_like(z)], axis=1)
    got = sl.outputs(net, theta, np.ones((1, 1))).ravel()
    assert np.max(np.abs(got - np.tanh(z)) / np.spacing(np.abs(np.tanh(z)))) <= 4
    theta32 = theta[np.abs(z) > 1e-30].astype(np.float32)
    got = sl.outputs(net, theta32, np.ones((1, 1), np.float32)).ravel()
    expected = np.tanh(theta32[:, 0].astype(np.float64))
    assert np.max(np.abs(got - expected) / np.spacing(np.abs(expected).astype(np.float32))) <= 4


def test_batch_axes_broadcast():
    net = sl.Recurrent(2, 4, 1, 3)
    theta, x, _ = students(net, 6)
    a = sl.scattered(net, 4, "W").draw(1)
    assert sl.jacobian(net, theta[0], x[0], a).shape == (3, 4)
    np.testing.assert_array_equal(sl.jacobian(net, theta, x[0], a), sl.jacobian(net, theta, np.repeat(x[:1], 6, 0), a))
    np.testing.assert_array_equal(sl.outputs(net, theta[0], x), sl.outputs(net, np.repeat(theta[:1], 6, 0), x))
    np.testing.assert_array_equal(sl.outputs(net, theta[:, ::1][::-1], x[::-1]), sl.outputs(net, theta, x)[::-1])
    wide = np.zeros((6, 2 * net.size))
    wide[:, ::2] = theta
    np.testing.assert_array_equal(sl.outputs(net, wide[:, ::2], x), sl.outputs(net, theta, x))  # any strides


def test_bad_input_is_named():
    net = sl.Recurrent(2, 4, 1, 3)
    theta, x, _ = students(net, 6)
    a = sl.only(net, "W")
    with pytest.raises(TypeError, match="theta: expected float32 or float64, got int64"):
        sl.outputs(net, theta.astype(int), x)
    with pytest.raises(TypeError, match="x: expected float64 like theta, got float32"):
        sl.outputs(net, theta, x.astype(np.float32))
    with pytest.raises(ValueError, match=r"theta: expected shape \[28\] or \[batch, 28\], got \[6, 5\]"):
        sl.outputs(net, theta[:, :5], x)
    with pytest.raises(ValueError, match="theta: expected at least one student"):
        sl.outputs(net, theta[:0], x[:0])
    with pytest.raises(ValueError, match="batch: expected one batch size"):
        sl.outputs(net, theta[:4], x)
    bad = theta.copy()
    bad[3, 7] = np.nan
    with pytest.raises(ValueError, match=r"theta: expected finite numbers, got nan at \[3, 7\]"):
        sl.jacobian(net, bad, x, a)
    with pytest.raises(ValueError, match="allocation: expected the same budget"):
        sl.jacobian(net, theta, x, np.eye(6, net.size, dtype=bool) | (np.arange(6)[:, None] > 3))
    with pytest.raises(TypeError, match="allocation: expected an Allocation or a bool array"):
        sl.jacobian(net, theta, x, np.ones(net.size))
    with pytest.raises(TypeError, match="draws a new one each time"):
        sl.jacobian(net, theta, x, sl.scattered(net, 4))
    with pytest.raises(ValueError, match="backend: expected one of"):
        sl.outputs(net, theta, x, backend="tpu")
    with pytest.raises(ValueError, match="threads"):
        sl.outputs(net, theta, x, threads=0)
