"""Equations that force the others: counts, exact conditions, and verdicts in saturated systems."""

import numpy as np
import pytest

import sublearn as sl
from sublearn import closing
from sublearn.continuation import system_of
from sublearn.generic import attained_ranks

CASES = [
    (sl.Recurrent(1, 3, 1, 9), ("B", "D")),
    (sl.Recurrent(1, 4, 2, 8), ("B", "D")),
    (sl.Recurrent(1, 3, 2, 9), ("D",)),
    (sl.Recurrent(1, 2, 1, 6), ()),
    (sl.Recurrent(1, 3, 2, 7), ("W",)),
    (sl.Feedforward((3, 4, 2), 6), ()),
    (sl.Feedforward((4, 2, 4), 4), ()),
    (sl.Feedforward((3, 2, 3, 4), 6), ()),
    (sl.Feedforward((3, 2, 4), 7, bias=True), ()),
]
names = lambda v: str(v).replace(" ", "")  # noqa: E731


@pytest.mark.parametrize("net,shared", CASES, ids=names)
def test_the_equations_are_kappa_independent_ones(net, shared):
    system = system_of(net, shared)
    assert system.surplus and not system.saturated
    assert len(system.rows) == system.kappa < system.moving.sum()


@pytest.mark.parametrize("net,shared", CASES, ids=names)
def test_the_condition_holds_for_random_teachers_and_not_for_thin_ones(net, shared):
    drawn = sl.draw_trials(net, sl.only(net, *[g for g in net.groups if g not in shared]), 40,
                           shared=shared, seed=2)
    x = drawn.x.reshape(40, -1)
    assert closing.forced(net, shared, drawn.teacher, x).all()
    thin = drawn.teacher.copy()
    groups = net.unpack(thin)
    if "W" in shared:
        x = x.copy()
        x[:, 0] = 0  # no impulse
    elif isinstance(net, sl.Recurrent):  # the last unit is never driven
        groups["B"][:, -1], groups["W"][:, -1] = 0, 0
    else:  # outputs of rank w - 1
        groups["W1"][:, : net.widths[1] - closing._corner(net)[1] + 1] = 0
    assert not closing.forced(net, shared, net.pack(groups), x).any()


def test_residues_are_exact():
    rng = np.random.default_rng(0)
    a = np.concatenate([rng.standard_normal(50) * 10.0 ** rng.integers(-300, 300, 50), [0.0, 1.0, -1.0, 0.5, 5e-324, -(2.0**70)]])
    expected = [n * pow(d, -1, closing.P) % closing.P for n, d in (float(v).as_integer_ratio() for v in a)]
    assert closing.residues(a).tolist() == expected


@pytest.mark.parametrize("net,shared,within", [
    (sl.Recurrent(1, 3, 1, 9), ("B", "D"), "W"),
    (sl.Recurrent(1, 2, 1, 6), ("B",), ("W", "D")),
    (sl.Feedforward((3, 2, 3), 6), (), None),
], ids=names)
def test_planted_matches_are_certified_and_hold_in_all_equations(net, shared, within):
    system = system_of(net, shared)
    free = within or tuple(net.groups)
    drawn = sl.draw_trials(net, sl.scattered(net, system.kappa, free), 20, shared=shared, seed=6)
    full = attained_ranks(net, drawn.mask, shared) == system.kappa
    mask, student, x = drawn.mask[full], drawn.student[full], drawn.x[full]
    teacher = np.where(mask, drawn.teacher[full], student)
    y = sl.outputs(net, teacher, x)
    v = sl.decide(net, student, x, y, mask, shared, "exact", starts=1, teacher=teacher)
    assert len(mask) >= 8 and not (v.match == 0).any() and (v.match == 1).mean() > 0.9
    solved = np.isin(v.reason, ("newton", "paths"))
    assert v.certified[solved & (v.match == 1)].mean() > 0.9
    miss = np.abs(sl.outputs(net, v.theta, x) - y).reshape(len(y), -1).max(axis=1) / np.abs(y).reshape(len(y), -1).max(axis=1)
    assert np.median(miss[v.certified]) < 1e-13 and miss[v.certified].max() < 1e-6
    # without the teacher, or with one that has other outputs, nothing is proven
    for other in (None, drawn.teacher[full]):
        w = sl.decide(net, student, x, y, mask, shared, "exact", starts=1, teacher=other)
        assert not w.certified[solved].any()
        assert not ((w.match == 0) & (v.match == 1)).any()


def test_a_random_teacher_of_a_saturated_network_is_decided():
    """Verdicts at T = 8 equal those at T = 4: with 2 units and one input the first 4 outputs force the others."""
    net, short = sl.Recurrent(1, 2, 1, 8), sl.Recurrent(1, 2, 1, 4)
    shared = ("B", "D")
    drawn = sl.draw_trials(net, sl.scattered(net, 3, "W"), 300, shared=shared, seed=8)
    student, teacher, x, mask = drawn.student, drawn.teacher, drawn.x, drawn.mask
    long = sl.decide(net, student, x, sl.outputs(net, teacher, x), mask, shared, "exact", starts=1, teacher=teacher)
    y = sl.outputs(short, teacher, np.ascontiguousarray(x[:, :4]))
    first = sl.decide(short, student, x[:, :4], y, mask, shared, "exact", starts=1)
    assert system_of(short, shared).kappa == 3 and not system_of(short, shared).surplus
    decided = (long.match >= 0) & (first.match >= 0)
    assert decided.mean() > 0.98
    np.testing.assert_array_equal(long.match[decided], first.match[decided])
    found = (long.match == 1) & (long.reason == "paths")
    assert (long.match == 0).any() and found.any() and long.certified[found].mean() > 0.9
