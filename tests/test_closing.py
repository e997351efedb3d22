"""Equations that force the others: counts, exact conditions, and verdicts in saturated systems."""

import numpy as np
import pytest

import sublearn as sl
from sublearn.homotopy import forcing_equations
from sublearn.homotopy.system import system_of
from sublearn.ranks.generic_rank import attained_ranks

CASES = [
    (sl.Recurrent(1, 3, 1, 9), ("B", "D")),
    (sl.Recurrent(1, 4, 2, 8), ("B", "D")),
    (sl.Recurrent(1, 3, 2, 9), ("D",)),
    (sl.Recurrent(1, 2, 1, 6), ()),
    (sl.Recurrent(1, 3, 2, 7), ("W",)),
    (sl.Recurrent(2, 3, 1, 11), ("B", "D")),
    (sl.Recurrent(2, 3, 2, 10), ("D",)),
    (sl.Recurrent(3, 4, 3, 14), ()),  # nu = 2, 1, 1: the outputs with fewer equations come first
    (sl.Recurrent(3, 2, 1, 9), ("B", "D")),  # more inputs than units: B x is the input
    (sl.Recurrent(2, 2, 3, 8), ("D",)),  # more outputs than units
    (sl.Recurrent(1, 2, 3, 8), ()),
    (sl.Recurrent(1, 3, 1, 12, bias=("b",)), ("B", "D")),
    (sl.Recurrent(2, 2, 1, 12, bias=True), ("B", "D", "b", "c")),
    (sl.Recurrent(2, 2, 2, 12, bias=True), ("B",)),
    (sl.Recurrent(1, 3, 1, 9, bias=("c",)), ("B", "D", "c")),
    (sl.Recurrent(2, 3, 2, 9, bias=("c",)), ("B", "D")),  # y_1 shows c
    (sl.Recurrent(1, 2, 3, 9, bias=True), ("B", "D", "b")),
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
    drawn = sl.draw_trials(net, sl.only(net, *[g for g in net.groups if g not in shared]), 40, shared=shared, seed=2)
    x = drawn.x.reshape(40, -1)
    assert forcing_equations.forced(net, shared, drawn.teacher, x).all()
    thin = drawn.teacher.copy()
    groups = net.unpack(thin)
    if "W" in shared:
        x = x.copy()
        x[:, 0] = 0  # no impulse
    elif isinstance(net, sl.Recurrent):  # the last unit is never driven
        for name in {"B", "W", "b"} & set(groups):
            groups[name][:, -1] = 0
    else:  # outputs of rank w - 1
        groups["W1"][:, : net.widths[1] - forcing_equations._corner(net)[1] + 1] = 0
    assert not forcing_equations.forced(net, shared, net.pack(groups), x).any()


def test_residues_are_exact():
    rng = np.random.default_rng(0)
    a = np.concatenate([rng.standard_normal(50) * 10.0 ** rng.integers(-300, 300, 50), [0.0, 1.0, -1.0, 0.5, 5e-324, -(2.0**70)]])
    expected = [n * pow(d, -1, forcing_equations.P) % forcing_equations.P for n, d in (float(v).as_integer_ratio() for v in a)]
    assert forcing_equations.residues(a).tolist() == expected


def few_masks(net, shared, within, count):
    """Scattered masks with r = rho = kappa; few, as every one has its own complex solutions to be found."""
    kappa = system_of(net, shared).kappa
    masks = np.array([sl.scattered(net, kappa, within).draw(k).mask for k in range(40)])
    return masks[attained_ranks(net, masks, shared) == kappa][:count]


@pytest.mark.parametrize(
    "net,shared,within",
    [
        (sl.Recurrent(1, 3, 1, 9), ("B", "D"), "W"),
        (sl.Recurrent(1, 2, 1, 6), ("B",), ("W", "D")),
        (sl.Recurrent(1, 2, 1, 9, bias=True), ("D",), ("W", "B", "b", "c")),
        (sl.Feedforward((3, 2, 3), 6), (), None),
    ],
    ids=names,
)
def test_planted_matches_are_certified_and_hold_in_all_equations(net, shared, within):
    mask = few_masks(net, shared, within or tuple(net.groups), 2)[np.arange(16) % 2]
    drawn = sl.draw_trials(net, sl.only(net, *np.atleast_1d(within or tuple(net.groups))), 16, shared=shared, seed=6)
    student, x = drawn.student, drawn.x
    teacher = np.where(mask, drawn.teacher, student)
    y = sl.outputs(net, teacher, x)
    v = sl.decide(net, student, x, y, mask, shared, "exact", starts=1, teacher=teacher)
    assert not (v.match == 0).any() and (v.match == 1).mean() > 0.9
    solved = np.isin(v.reason, ("newton", "paths"))
    assert v.certified[solved & (v.match == 1)].mean() > 0.9
    miss = np.abs(sl.outputs(net, v.theta, x) - y).reshape(len(y), -1).max(axis=1) / np.abs(y).reshape(len(y), -1).max(axis=1)
    assert np.median(miss[v.certified]) < 1e-13 and miss[v.certified].max() < 1e-6
    # without the teacher, or with one that has other outputs, nothing is proven
    for other in (None, drawn.teacher):
        w = sl.decide(net, student, x, y, mask, shared, "exact", starts=1, teacher=other)
        assert not w.certified[solved].any()
        assert not ((w.match == 0) & (v.match == 1)).any()


@pytest.mark.parametrize(
    "net,short,shared,within",
    [
        (sl.Recurrent(1, 2, 1, 8), sl.Recurrent(1, 2, 1, 4), ("B", "D"), "W"),
        (sl.Recurrent(2, 2, 1, 9), sl.Recurrent(2, 2, 1, 6), (), ("W", "B", "D")),
        (sl.Recurrent(1, 2, 1, 9, bias=("b",)), sl.Recurrent(1, 2, 1, 6, bias=("b",)), ("D",), ("W", "B", "b")),
    ],
    ids=names,
)
def test_a_random_teacher_of_a_saturated_network_is_decided(net, short, shared, within):
    """Verdicts equal those of so few steps that no equation follows from others; a match of these is one of all, and proven."""
    kappa, count, steps = system_of(net, shared).kappa, 120, short.steps
    drawn = sl.draw_trials(net, sl.only(net, *np.atleast_1d(within)), count, shared=shared, seed=8)
    mask = few_masks(net, shared, within, 3)[::2][np.arange(count) % 2]
    student, teacher, x = drawn.student, drawn.teacher, drawn.x
    full = sl.outputs(net, teacher, x)
    long = sl.decide(net, student, x, full, mask, shared, "exact", starts=1, teacher=teacher)
    y = sl.outputs(short, teacher, np.ascontiguousarray(x[:, :steps]))
    first = sl.decide(short, student, x[:, :steps], y, mask, shared, "exact", starts=1)
    assert system_of(short, shared).kappa == kappa and not system_of(short, shared).surplus
    decided = (long.match >= 0) & (first.match >= 0)
    assert decided.mean() > 0.98
    np.testing.assert_array_equal(long.match[decided], first.match[decided])
    found = (long.match == 1) & np.isin(long.reason, ("newton", "paths"))
    assert (long.match == 0).any() and found.any() and long.certified[found].mean() > 0.9
    miss = np.abs(sl.outputs(net, long.theta, x) - full).reshape(count, -1).max(axis=1) / np.abs(full).reshape(count, -1).max(axis=1)
    assert miss[long.certified].max() < 1e-6


def test_an_output_bias_is_not_taken_for_a_response():
    """One input and a shared c: planted matches were refused when targets were deconvolved with c in them."""
    net, shared = sl.Recurrent(1, 4, 1, 5, bias=("c",)), ("B", "D", "c")
    mask = np.tile(few_masks(net, shared, "W", 10), (12, 1))
    drawn = sl.draw_trials(net, sl.only(net, "W"), len(mask), shared=shared, seed=3)
    y = sl.outputs(net, np.where(mask, drawn.teacher, drawn.student), drawn.x)
    v = sl.decide(net, drawn.student, drawn.x, y, mask, shared, "exact", starts=1)
    assert not (v.match == 0).any() and (v.match == 1).mean() > 0.97
