"""Verdicts with planted answers: solutions that exist by construction, rank-deficient allocations, linear solves, and lanes that
must not see each other."""

import numpy as np
import pytest

import sublearn as sl
from sublearn.model.reasons import Reason
from tests.cases import NETWORKS, names, students

SHARED = ("B", "D")


def trials(net, strategy, count, shared=(), seed=0):
    t = sl.draw_trials(net, strategy, count, shared=shared, seed=seed)
    return t.student, t.x, t.y, t.mask


@pytest.mark.parametrize("net", [n for n in NETWORKS if n.equations > 1], ids=names)
def test_newton_finds_planted_solutions(net, isa):
    """The teacher differs from the student in few learnable weights, slightly: start 0 must walk back."""
    rng = np.random.default_rng(3)
    theta, x, _ = students(net, 23, seed=8)
    mask = sl.scattered(net, min(net.size, 3)).masks(1, 0, 0, 23)
    teacher = theta + mask * rng.standard_normal(theta.shape) * 1e-3
    y = sl.outputs(net, teacher, x)
    v = sl.decide(net, theta, x, y, mask, method="newton", screen=False)
    found = v.match == 1
    assert found.mean() > 0.9
    size = lambda part: (part.reshape(len(part), -1) ** 2).sum(1)  # noqa: E731
    relative = size(sl.outputs(net, v.theta, x) - y) / np.maximum(size(y), 1e-300)
    assert (relative[found] < 1.001e-20).all()
    np.testing.assert_array_equal(v.theta[~mask], theta[~mask])  # frozen: bit-identical
    assert (v.start[found] >= 0).all() and (v.start[~found] == -1).all()


def test_theta_itself_is_start_zero():
    net = sl.Recurrent(2, 5, 2, 4)
    theta, x, _ = students(net, 4)
    y = sl.outputs(net, theta, x)
    v = sl.decide(net, theta, x, y, sl.scattered(net, 7, "W").draw(2), screen=False)
    assert (v.match == 1).all() and (v.start == 0).all()
    np.testing.assert_array_equal(v.theta, theta)


def test_a_verdict_does_not_depend_on_batch_or_threads(isa):
    net = sl.Recurrent(2, 8, 2, 6)
    student, x, y, mask = trials(net, sl.scattered(net, 10, "W"), 150, SHARED)
    together = sl.decide(net, student, x, y, mask, SHARED, starts=5)
    assert 0.5 < (together.match == 1).mean() < 1
    one_thread = sl.decide(net, student, x, y, mask, SHARED, starts=5, threads=1)
    for name in ("match", "start", "theta", "loss", "reason"):
        np.testing.assert_array_equal(getattr(together, name), getattr(one_thread, name), err_msg=name)
    for b in (0, 71, 149):
        alone = sl.decide(net, student[b], x[b], y[b], mask[b], SHARED, starts=5, first=b)
        assert alone.match == together.match[b] and alone.start == together.start[b]
        np.testing.assert_array_equal(alone.theta, together.theta[b])


def test_rank_screen_is_t1():
    net = sl.Recurrent(2, 8, 2, 6)
    student, x, y, mask = trials(net, sl.scattered(net, 9, "W"), 50, SHARED)
    v = sl.decide(net, student, x, y, mask, SHARED, screen=True)
    assert (v.match == 0).all() and (v.reason == "T1").all()
    assert not v.certified.any()  # it speaks of generic teachers, not of these targets
    v = sl.decide(net, student, x, y, mask, SHARED, starts=3)
    assert (v.match == -1).all() and (v.reason == "newton").all() and not v.certified.any()
    assert (v.loss > 1e-20).all() and np.isfinite(v.loss).all()


@pytest.mark.parametrize(
    "net,strategy,shared",
    [
        (sl.Recurrent(2, 8, 2, 6), lambda n: sl.only(n, "D"), ()),
        (sl.Recurrent(2, 8, 2, 3), lambda n: sl.only(n, "B"), ("W",)),
        (sl.Recurrent(1, 6, 1, 2), lambda n: sl.rows(n, 6, "W"), ("B", "D")),
        (sl.Feedforward((3, 4, 2), 3), lambda n: sl.even_rows(n, 4, "W2"), ()),
        (sl.Feedforward((3, 7, 2), 5), lambda n: sl.only(n, "W2"), ()),
        (sl.Feedforward((3, 9, 2), 5, activation="tanh"), lambda n: sl.only(n, "W2"), ()),
    ],
)
def test_affine_allocations_of_full_rank_always_match(net, strategy, shared):
    """T2: the linear solve must settle every trial, with a solution that is checked here."""
    s = strategy(net)
    student, x, y, mask = trials(net, s, 400, shared)
    kind = sl.predict(net, s, shared)
    v = sl.decide(net, student, x, y, mask, shared, screen=False)
    if kind.kind != "maximal":
        pytest.fail(f"the case should be maximal: {kind}")
    assert (v.reason == "T2").all() and (v.match == 1).all()
    relative = ((sl.outputs(net, v.theta, x) - y) ** 2).sum((1, 2)) / (y**2).sum((1, 2))
    assert relative.max() < 1e-20


def test_affine_allocations_without_full_rank_are_a_clear_no():
    net = sl.Feedforward((3, 4, 2), 3)
    student, x, y, mask = trials(net, sl.rows(net, 5, "W2"), 200)
    v = sl.decide(net, student, x, y, mask, screen=False)
    assert (v.match == 0).all() and (v.reason == "T2").all() and not v.certified.any()


@pytest.mark.parametrize(
    "net, strategy, shared",
    [
        (sl.Recurrent(2, 4, 2, 4), sl.scattered(sl.Recurrent(2, 4, 2, 4), 6, "W"), SHARED),  # y_1 is given
        (sl.Feedforward((3, 4, 2), 6), sl.only(sl.Feedforward((3, 4, 2), 6), "W2"), ("W1",)),  # 6 samples of 3 inputs: saturated
    ],
    ids=["first output", "saturated"],
)
def test_targets_rounded_to_float32_are_no_proof_against_a_match(net, strategy, shared):
    t = sl.draw_trials(net, strategy, 24, shared=shared)
    assert (sl.decide(net, t.student, t.x, t.y, t.mask, shared).match == 1).sum() > 16
    given = [a.astype(np.float32) for a in (t.student, t.x, t.y)]
    v = sl.decide(net, *given, t.mask, shared)
    assert not np.isin(v.reason, ("D3", "T2")).any() and (v.match[v.reason != "T1"] != 0).all()
    missed = given[2] + np.float32(1.0)
    v = sl.decide(net, *given[:2], missed, t.mask, shared)
    assert (v.match == 0).all()  # far off stays a no


def test_relu_last_layer_is_decided_by_consistency():
    """T11: with only the last layer learnable the answer is a linear solve; a dead teacher is matched by switching off."""
    net = sl.Feedforward((3, 4, 2), 3, activation="relu")
    student, x, y, mask = trials(net, sl.only(net, "W2"), 500)
    v = sl.decide(net, student, x, y, mask)
    assert (v.reason == "T11").all() and set(v.match) == {0, 1}
    features = np.maximum(student[:, :12].reshape(-1, 4, 3) @ x, 0)  # 4 features, 3 samples
    full = np.linalg.matrix_rank(features) == 3
    assert (v.match[full] == 1).all() and 0 < full.mean() < 1


def test_unequal_budgets_and_descent():
    net = sl.Feedforward((3, 4, 2), 3, activation="tanh")
    student, x, y, _ = trials(net, sl.everything(net), 60)
    mask = np.zeros((60, net.size), bool)
    for b in range(60):
        mask[b, : 8 + b % 5] = True
    newton = sl.decide(net, student, x, y, mask, screen=False)
    assert 0.3 < (newton.match == 1).mean() < 0.9
    descent = sl.decide(net, student, x, y, mask, screen=False, method="descent", steps=3000)
    assert (descent.reason == "descent").all() and (descent.start[descent.match == 1] == 0).all()
    assert (descent.loss[descent.match == 1] < 1e-6).all()
    b = 17
    alone = sl.decide(net, student[b], x[b], y[b], mask[b], screen=False, first=b)
    np.testing.assert_array_equal(alone.theta, newton.theta[b])


def test_bad_input_is_named():
    net = sl.Recurrent(2, 4, 2, 3)
    student, x, y, mask = trials(net, sl.scattered(net, 4, "W"), 5, SHARED)
    with pytest.raises(ValueError, match="method: expected one of newton, descent, exact, got 'lbfgs'"):
        sl.decide(net, student, x, y, mask, SHARED, method="lbfgs")
    with pytest.raises(TypeError, match="shared"):
        sl.decide(net, student, x, y, mask, "B")
    with pytest.raises(ValueError, match="shared"):
        sl.decide(net, student, x, y, mask, ("W",))
    with pytest.raises(ValueError, match="tol: expected"):
        sl.decide(net, student, x, y, mask, SHARED, tol=0.0)
    with pytest.raises(ValueError, match="starts: expected"):
        sl.decide(net, student, x, y, mask, SHARED, starts=0)


def test_verdicts_print_their_reasons():
    net = sl.Recurrent(2, 4, 2, 6)
    trial = sl.draw_trials(net, sl.scattered(net, 3, "W"), 40, shared=("B", "D"))
    text = str(sl.decide(net, trial.student, trial.x, trial.y, trial.mask, ("B", "D"), screen=True))
    assert text == (
        "40 students: 0 yes, 40 no, 0 undecided\n"
        "  40 no (T1): rho < kappa: the learnable weights reach fewer dimensions than a match with a generic teacher needs. "
        "More learnable weights, or other ones: sl.explain names the sets that limit the rank may help"
    )
    one = sl.decide(net, trial.teacher[0], trial.x[0], trial.y[0], trial.mask[0], ("B", "D"))
    assert str(one).startswith("1 student: 1 yes, 0 no, 0 undecided\n  1 yes (D4): the student meets its targets")


def test_every_reason_that_is_given_is_known():
    """Reasons are one list: labels are different, and all have a sentence."""
    labels = [reason.value for reason in Reason]
    assert len(set(labels)) == len(labels) and all(len(label) <= 8 for label in labels)
    assert all(reason.sentence for reason in Reason)
    assert np.full(2, Reason.BLOCKS, "<U8").tolist() == ["T7", "T7"] and f"{Reason.BLOCKS}" == "T7"
