"""Exact verdicts: planted solutions must be found, theorems must hold, and a no must never be contradicted."""

import numpy as np
import pytest

import sublearn as sl
from sublearn.existence.certify import certify
from sublearn.homotopy.system import system_of
from sublearn.ranks.generic_rank import attained_ranks, required_rank

SHARED = ("B", "D")
CASES = [
    (sl.Recurrent(1, 4, 1, 5), "W", 4, SHARED),
    (sl.Recurrent(2, 5, 2, 3), "W", 4, SHARED),
    (sl.Recurrent(1, 4, 1, 5), "W", 5, SHARED),
    (sl.Feedforward((3, 4, 2), 3), None, 6, ()),
    (sl.Recurrent(1, 2, 1, 6), "W", 3, SHARED),
]


@pytest.mark.parametrize("net,within,budget,shared", CASES, ids=lambda v: str(v).replace(" ", ""))
def test_planted_teachers_are_always_a_yes(net, within, budget, shared):
    """The teacher is the student with other learnable weights, often far away: a match exists in every trial of full rank."""
    drawn = sl.draw_trials(net, sl.scattered(net, budget, within) if within else sl.scattered(net, budget), 150, shared=shared, seed=4)
    full = attained_ranks(net, drawn.mask, shared) == required_rank(net, shared)
    teacher = np.where(drawn.mask, drawn.teacher * 2, drawn.student)
    y = sl.outputs(net, teacher, drawn.x)
    v = sl.decide(net, drawn.student[full], drawn.x[full], y[full], drawn.mask[full], shared, "exact", starts=1, teacher=teacher[full])
    assert not (v.match == 0).any()
    assert (v.match == 1).mean() > 0.97
    solved = (v.match == 1) & np.isin(v.reason, ("newton", "paths", "T2"))
    relative = ((sl.outputs(net, v.theta, drawn.x[full]) - y[full]) ** 2).sum((1, 2)) / (y[full] ** 2).sum((1, 2))
    # a proven solution may be so ill-conditioned that the outputs at its rounding are off
    assert np.median(relative[solved]) < 1e-24 and relative[solved & ~v.certified].max(initial=0) < 1e-20 and relative[solved].max() < 1e-12
    np.testing.assert_array_equal(v.theta[~drawn.mask[full]], drawn.student[full][~drawn.mask[full]])


def test_no_verdict_of_no_is_contradicted_by_a_long_search():
    net = sl.Recurrent(1, 4, 1, 5)
    drawn = sl.draw_trials(net, sl.scattered(net, 4, "W"), 800, shared=SHARED, seed=9)
    v = sl.decide(net, drawn.student, drawn.x, drawn.y, drawn.mask, SHARED, "exact")
    search = sl.decide(net, drawn.student, drawn.x, drawn.y, drawn.mask, SHARED, "newton", starts=100)
    assert not ((v.match == 0) & (search.match == 1)).any()
    assert ((v.match == 1) & (search.match == -1)).any()
    assert (v.match == -1).mean() < 0.01


def test_match_probability_of_f7():
    net = sl.Recurrent(1, 4, 1, 5)
    r = sl.match_probability(net, sl.scattered(net, 4, "W"), 1000, SHARED, "exact")
    assert r.quantity == "existence" and r.undecided <= 10
    full = 1 - r.screened / r.trials
    assert 0.96 < r.probability / full < 1
    low, high = r.existence_interval
    assert low < r.probability <= (r.matched + r.undecided) / r.trials < high


def test_one_more_weight_than_kappa_nearly_always_matches():
    net = sl.Recurrent(1, 4, 1, 5)
    r = sl.match_probability(net, sl.scattered(net, 5, "W"), 500, SHARED, "exact")
    assert r.matched + r.screened >= 0.98 * r.trials


def test_row_form_of_f2_matches_in_every_trial():
    """T7: o rows of T - 1 learnable weights."""
    net = sl.Recurrent(2, 8, 2, 6)
    r = sl.match_probability(net, sl.per_row(net, rows=2, each=5, within="W"), 300, SHARED, "exact")
    assert r.matched == r.trials


def test_parity_odd_degrees_always_match():
    """T8, by paths alone: every trial of an allocation of odd degree gets a certified solution or the theorem."""
    net = sl.Recurrent(1, 4, 1, 5)
    masks = sl.scattered(net, 4, "W").masks(2, 0, 0, 30)
    masks = [m for m in masks[attained_ranks(net, masks, SHARED) == 4] if sl.degree(net, m, SHARED) % 2]
    assert len(masks) >= 3
    for mask in masks[:3]:
        r = sl.match_probability(net, sl.Allocation.from_mask(net, mask), 100, SHARED, "exact", starts=1)
        assert r.matched == r.trials


def test_certificates():
    """A true solution is proven, with a radius that holds it; a point that solves nothing is not."""
    net = sl.Recurrent(1, 4, 1, 5)
    drawn = sl.draw_trials(net, sl.scattered(net, 4, "W"), 200, shared=SHARED, seed=1)
    full = attained_ranks(net, drawn.mask, SHARED) == 4
    mask, teacher = drawn.mask[full], np.where(drawn.mask, drawn.teacher, drawn.student)[full]
    x = drawn.x[full]
    y = sl.outputs(net, teacher, x)
    indices = np.nonzero(mask)[1].reshape(-1, 4).astype(np.int32)
    rng = np.random.default_rng(0)
    near = teacher + mask * rng.standard_normal(teacher.shape) * 1e-7
    flat = (np.ascontiguousarray(a.reshape(len(a), -1)) for a in (x, y))
    x_rows, y_rows = flat
    rows = system_of(net, SHARED).rows
    polished, radius = certify(net, near, x_rows, y_rows, indices, rows)
    proven = radius >= 0
    assert proven.mean() > 0.95
    # y was rounded, so the teacher itself is only next to the proven solution
    assert np.median(np.abs(polished - teacher).max(axis=1)[proven]) < 1e-12
    np.testing.assert_array_equal(polished[~mask], near[~mask])
    # no real solution of w^2 = -1-like systems: a trial decided as no has no certificate anywhere near
    v = sl.decide(net, drawn.student, drawn.x, drawn.y, drawn.mask, SHARED, "exact")
    no = np.flatnonzero((v.match == 0) & (v.reason == "paths"))
    assert len(no)
    index = np.nonzero(drawn.mask[no])[1].reshape(-1, 4).astype(np.int32)
    for _ in range(20):
        start = drawn.student[no] + drawn.mask[no] * rng.standard_normal((len(no), net.size)) * 3
        _, radius = certify(net, start, drawn.x[no].reshape(len(no), -1), drawn.y[no].reshape(len(no), -1), index, rows)
        assert (radius < 0).all()


def test_verdicts_do_not_depend_on_threads():
    net = sl.Recurrent(1, 4, 1, 5)
    drawn = sl.draw_trials(net, sl.scattered(net, 4, "W"), 100, shared=SHARED, seed=2)
    one, two = (sl.decide(net, drawn.student, drawn.x, drawn.y, drawn.mask, SHARED, "exact", threads=k) for k in (1, 2))
    np.testing.assert_array_equal(one.match, two.match)


@pytest.mark.parametrize(
    "net,budget",
    [(sl.Recurrent(1, 4, 1, 5), 4), (sl.Recurrent(1, 4, 1, 5), 6), (sl.Recurrent(2, 5, 2, 3), 5)],
    ids=["square", "surplus", "two inputs"],
)
def test_a_verdict_does_not_depend_on_the_batch(net, budget):
    """Bit by bit: the parts tried, the random points and the first real end point are those of the trial alone."""
    drawn = sl.draw_trials(net, sl.scattered(net, budget, "W"), 60, shared=SHARED, seed=3)
    data = drawn.student, drawn.x, drawn.y, drawn.mask
    whole = sl.decide(net, *data, SHARED, "exact", starts=1)
    assert (whole.reason == "paths").any()
    for rows in (slice(7, 8), slice(11, 30), slice(59, 60)):
        part = sl.decide(net, *(a[rows] for a in data), SHARED, "exact", starts=1, first=rows.start, threads=1)
        np.testing.assert_array_equal(part.match, whole.match[rows])
        np.testing.assert_array_equal(part.reason, whole.reason[rows])
        np.testing.assert_array_equal(part.certified, whole.certified[rows])
        np.testing.assert_array_equal(part.theta, whole.theta[rows])


def test_prediction_with_the_degree():
    """T8 in predict, where asked for: odd degrees are maximal, even ones stay intermediate and tell their degree."""
    net = sl.Recurrent(1, 4, 1, 5)
    kinds = set()
    for draw in range(12):
        allocation = sl.scattered(net, 4, "W").draw(draw)
        plain, counted = sl.predict(net, allocation, SHARED), sl.predict(net, allocation, SHARED, degree=True)
        if plain.kind != "intermediate":
            assert counted == plain
            continue
        assert counted.degree == sl.degree(net, allocation, SHARED)
        assert (counted.kind, counted.reason) == (("maximal", "T8") if counted.degree % 2 else ("intermediate", "T1"))
        kinds.add(counted.kind)
    assert kinds == {"maximal", "intermediate"}
    bigger = [sl.predict(net, sl.scattered(net, 5, "W").draw(draw), SHARED, degree=True) for draw in range(6)]
    through = [p for p in bigger if p.reason == "T9 via T8"]
    assert through and all(sl.degree(net, p.witness, SHARED) % 2 for p in through)
