"""Weights freed one at a time: what they reach beside random ones, and the order, sets and limits of the choice."""

import numpy as np
import pytest

import sublearn as sl

NET = sl.Feedforward((4, 6, 3), 6, activation="tanh", bias=True)  # kappa = 18


def trials(net, count, shared=(), seed=0):
    return sl.draw_trials(net, sl.everything(net, shared), count, shared=shared, seed=seed)


def test_far_more_is_found_than_by_random_weights():
    trial = trials(NET, 200, seed=3)
    data = NET, trial.student, trial.x, trial.y
    assert (sl.rank(sl.jacobian(NET, trial.student, trial.x, sl.everything(NET))) == 18).all()
    random = {r: sl.levenberg_marquardt(*data, sl.scattered(NET, r).masks(1, 0, 0, 200), iterations=150).loss for r in (9, 22)}
    grown = {r: sl.grow_allocation(*data, r) for r in (9, 22)}
    assert (grown[22].loss[:, -1] < 1e-20).mean() >= 0.8 and (random[22] < 1e-20).mean() <= 0.5
    assert np.median(np.log10(grown[9].loss[:, -1])) <= -1.6 and -0.8 <= np.median(np.log10(random[9])) <= -0.3


def test_losses_are_those_of_the_weights_and_frozen_weights_stay():
    trial = trials(NET, 9)
    grown = sl.grow_allocation(NET, trial.student, trial.x, trial.y, 7, iterations=20)
    f = sl.outputs(NET, grown.theta, trial.x)
    norm2 = (trial.y**2).sum(axis=(1, 2))
    np.testing.assert_allclose(((f - trial.y) ** 2).sum(axis=(1, 2)) / norm2, grown.loss[:, -1], rtol=1e-9)
    before = ((sl.outputs(NET, trial.student, trial.x) - trial.y) ** 2).sum(axis=(1, 2)) / norm2
    assert (np.diff(grown.loss, axis=1) <= 1e-15).all() and (grown.loss[:, 0] < before).all()
    for b in range(9):
        assert sorted(grown.indices[b]) == np.flatnonzero(grown.masks[b]).tolist() and grown.masks[b].sum() == 7
    assert (grown.theta[~grown.masks] == trial.student[~grown.masks]).all()
    one = sl.grow_allocation(NET, trial.student[4], trial.x[4], trial.y[4], 7, iterations=20)
    np.testing.assert_array_equal(one.indices, grown.indices[4])
    np.testing.assert_array_equal(one.theta, grown.theta[4])
    same = sl.grow_allocation(NET, trial.student, trial.x[4], trial.y[4], 3)  # x and y shared by all students
    np.testing.assert_array_equal(same.indices[4], sl.grow_allocation(NET, trial.student[4], trial.x[4], trial.y[4], 3).indices)


@pytest.mark.parametrize("rule", ["ols", "omp", "pivot"])
@pytest.mark.parametrize("budget, guard", [(9, 0.0), (18, 0.25)])
def test_at_once_the_columns_are_those_of_choose_columns(rule, budget, guard):
    """Without a refit the whole budget is chosen at theta, "auto" guards from the rank on, and the losses are the bottlenecks."""
    trial = trials(NET, 6)
    grown = sl.grow_allocation(NET, trial.student, trial.x, trial.y, budget, refit=0, rule=rule)
    J = sl.jacobian(NET, trial.student, trial.x, sl.everything(NET))
    g = (trial.y - sl.outputs(NET, trial.student, trial.x)).reshape(6, -1)
    chosen = sl.choose_columns(J, g, budget, rule, guard)
    np.testing.assert_array_equal(grown.indices, chosen.indices)
    np.testing.assert_allclose(grown.loss, chosen.residuals / (trial.y**2).sum(axis=(1, 2))[:, None], rtol=1e-8, atol=1e-25)
    assert (grown.theta == trial.student).all()


def test_the_first_weight_freed_between_fits_is_the_best_of_all():
    """Refit after refit: each next weight leaves the smallest residual beside those before, by least squares over every candidate."""
    trial = trials(NET, 3)
    grown = [sl.grow_allocation(NET, trial.student, trial.x, trial.y, r, guard=0, iterations=10) for r in (1, 2, 3)]
    for b in range(3):
        theta, taken = trial.student[b], []
        for step in range(3):
            J = sl.jacobian(NET, theta, trial.x[b], sl.everything(NET))
            g = (trial.y[b] - sl.outputs(NET, theta, trial.x[b])).ravel()
            left = []
            for k in range(NET.size):
                A = J[:, [*taken, k]]
                left.append(np.inf if k in taken else ((g - A @ np.linalg.lstsq(A, g, rcond=None)[0]) ** 2).sum())
            assert grown[2].indices[b, step] == np.argmin(left)
            taken.append(int(np.argmin(left)))
            theta = grown[step].theta[b]


def test_gradients_are_the_largest_derivatives():
    trial = trials(NET, 5)
    grown = sl.grow_allocation(NET, trial.student, trial.x, trial.y, 6, refit=0, rule="gradient")
    J = sl.jacobian(NET, trial.student, trial.x, sl.everything(NET))
    g = (trial.y - sl.outputs(NET, trial.student, trial.x)).reshape(5, -1)
    np.testing.assert_array_equal(grown.indices, np.argsort(-np.abs(np.einsum("bek,be->bk", J, g)), axis=1)[:, :6])


@pytest.mark.parametrize("refit", [0, 2])
def test_beyond_the_rank_a_new_set_is_begun(refit):
    """kappa = 6 of 20 weights: every six in the order chosen are independent, and 20 of them are all."""
    net = sl.Feedforward((3, 4, 2), 3)
    trial = trials(net, 4)
    grown = sl.grow_allocation(net, trial.student, trial.x, trial.y, net.size, refit=refit, iterations=1)
    assert (np.sort(grown.indices, axis=1) == np.arange(net.size)).all()
    if refit == 0:
        J = sl.jacobian(net, trial.student, trial.x, sl.everything(net))
        for b in range(4):
            assert [int(sl.rank(J[b][:, grown.indices[b, k : k + 6]])) for k in (0, 6)] == [6, 6]


def test_within_and_relu():
    net = sl.Recurrent(2, 5, 2, 4, activation="relu")
    trial = trials(net, 6, shared=("B", "D"))
    grown = sl.grow_allocation(net, trial.student, trial.x, trial.y, 5, sl.only(net, "W"))
    assert net.unpack(grown.masks)["W"].reshape(6, -1).sum(axis=1).tolist() == [5] * 6
    few = np.zeros(net.size, dtype=bool)
    few[[11, 12, 17]] = True
    assert (sl.grow_allocation(net, trial.student, trial.x, trial.y, 3, few, refit=0).masks == few).all()


def test_errors_name_the_argument():
    trial = trials(NET, 2)
    data = NET, trial.student, trial.x, trial.y
    for call, error, text in (
        (
            lambda: sl.grow_allocation(*data, 0),
            ValueError,
            r"budget: expected a whole number from 1 to 51 \(the weights",
        ),
        (lambda: sl.grow_allocation(*data, 19, sl.only(NET, "b1", "b2")), ValueError, "budget: expected a whole number from 1 to 9"),
        (lambda: sl.grow_allocation(*data, 3, np.ones((2, 51), bool)), ValueError, "within: expected an Allocation or one mask"),
        (lambda: sl.grow_allocation(*data, 3, rule="best"), ValueError, "rule: expected one of ols, omp, pivot, gradient, got 'best'"),
        (lambda: sl.grow_allocation(*data, 3, guard=-1), ValueError, "guard: expected"),
        (lambda: sl.grow_allocation(*data, 3, refit=-1), ValueError, "refit: expected"),
        (lambda: sl.grow_allocation(NET, trial.student.astype("f4"), *data[2:], 3), TypeError, "theta: expected float64"),
    ):
        with pytest.raises(error, match=text):
            call()
