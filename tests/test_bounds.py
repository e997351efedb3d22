"""Bounds of match probabilities: real solutions counted by hand and against exact verdicts, masks counted against closed forms."""

import numpy as np
import pytest

import sublearn as sl
from sublearn.homotopy.real_solutions import degrees_of, odd_parts, real_solutions
from sublearn.theory.certain import bounds_text, certain, of_ends

SHARED = ("B", "D")


def test_real_solutions_of_a_quadratic_are_counted():
    """1-2-1, T = 3, W[0,0] and W[1,1]: the first equation is linear, the second a quadratic in W[0,0] after it."""
    net = sl.Recurrent(1, 2, 1, 3)
    a = sl.Allocation.from_edges(net, [("W", 0, 0), ("W", 1, 1)])
    trials = sl.draw_trials(net, a, 300, shared=SHARED, seed=3)
    found = real_solutions(net, a.mask, SHARED, trials)
    assert found.degree == 2
    for k in range(300):
        g = net.unpack(trials.student[k])
        B, D, W, x = g["B"][:, 0], g["D"][0], g["W"], trials.x[k, :, 0]

        def miss(first):
            # W[1,1] from the equation of y_2, then what is missing in y_3
            V = W.copy()
            V[0, 0], V[1, 1] = first, 0.0
            left = trials.y[k, 1, 0] - D @ (V @ B * x[0] + B * x[1])
            V[1, 1] = left / (D[1] * B[1] * x[0])
            return trials.y[k, 2, 0] - D @ (V @ (V @ B * x[0] + B * x[1]) + B * x[2])

        c = miss(0.0)
        second, first = (miss(1.0) + miss(-1.0)) / 2 - c, (miss(1.0) - miss(-1.0)) / 2
        assert found.count[k] == (2 if first**2 - 4 * second * c > 0 else 0)
    said = sl.parity_bounds(net, a, SHARED, trials=300, seed=3)
    assert (said.degree, said.undecided, said.real.tolist()) == (2, 0, np.bincount(found.count, minlength=3).tolist())
    # degree 2: both bounds estimate MP itself, so they must leave room around the estimate
    assert said.probability == pytest.approx(said.mean / 2)
    assert said.lower <= said.interval[0] < said.probability < said.interval[1] <= said.upper and "delta = 2" in str(said)


def test_parity_bounds_of_trials_that_are_all_alike_are_no_certainty():
    """Twenty trials without a real solution do not prove MP = 0: in the normal approximation their mean has no error at all."""
    none, every = sl.ParityBounds(4, np.array([20, 0, 0, 0, 0]), 0), sl.ParityBounds(4, np.array([0, 0, 0, 0, 20]), 0)
    edge = 1 - 0.025 ** (1 / 20)  # Clopper-Pearson's upper end of none of 20
    assert none.lower == 0 and none.upper >= edge - 1e-12 and none.mean_interval == (0, pytest.approx(4 * edge))
    assert every.upper == 1 and every.lower <= 1 - edge + 1e-12 and every.mean_interval == (pytest.approx(4 * (1 - edge)), 4)
    assert "(ends of 95 % intervals)" in str(none)


@pytest.mark.parametrize(
    "net, budget, within, shared",
    [
        (sl.Recurrent(1, 4, 1, 5), 4, "W", SHARED),
        (sl.Recurrent(2, 4, 2, 3), 4, "W", SHARED),
        (sl.Feedforward((3, 4, 2), 2), 4, None, ()),
        (sl.Recurrent(1, 2, 1, 5), 4, None, ()),  # saturated: the teacher's weights are the data
    ],
    ids=lambda value: getattr(value, "describe", lambda: None)(),
)
def test_real_counts_agree_with_exact_verdicts(net, budget, within, shared):
    seen = set()
    for draw in range(12):
        a = sl.scattered(net, budget, within).draw(draw)
        if within is None and any(a.mask[net.slices[g]].any() for g in shared):
            continue
        said = sl.predict(net, a, shared, degree=True)
        if said.kind == "minimal" or said.reason == "T2" or said.required_rank != budget:
            continue
        bounds = sl.parity_bounds(net, a, shared, trials=60)
        exact = sl.match_probability(net, a, 60, shared, method="exact")
        assert bounds.degree == (said.degree or sl.degree(net, a, shared))
        assert bounds.undecided <= 2 and abs(int(bounds.real[1:].sum()) - exact.matched) <= bounds.undecided + exact.undecided
        assert (bounds.real[1 - bounds.degree % 2 :: 2] == 0).all()  # complex ones come in pairs
        assert bounds.lower <= bounds.probability + 1e-12 and bounds.probability <= bounds.upper + 1e-12
        if bounds.degree % 2:
            assert (bounds.lower, bounds.upper, bounds.probability) == (1, 1, 1)
        low, high = bounds.mean_interval
        assert low <= bounds.mean <= high
        seen.add(bounds.degree % 2)
        if seen == {0, 1} and draw > 5:
            break
    assert seen


def test_parity_bounds_without_paths_and_errors():
    net = sl.Feedforward((3, 4, 2), 3)
    low = sl.parity_bounds(net, sl.Allocation.from_edges(net, [("W1", 0, c) for c in range(3)] + [("W1", 1, c) for c in range(3)]))
    assert (low.degree, low.lower, low.upper) == (1, 1, 1)  # affine: two full rows of W1
    short = sl.Allocation.from_edges(net, [("W1", r, c) for r in range(4) for c in range(2)][:6])
    none = sl.parity_bounds(net, short, trials=5)
    assert (none.degree, none.lower, none.upper, none.probability) == (0, 0, 0, 0)
    with pytest.raises(ValueError, match="expected a square system, budget 6 = kappa, got budget 7"):
        sl.parity_bounds(net, sl.scattered(net, 7).draw(0))
    with pytest.raises(ValueError, match="net: expected a linear network"):
        sl.parity_bounds(sl.Feedforward((3, 4, 2), 3, "tanh"), sl.Allocation(sl.Feedforward((3, 4, 2), 3, "tanh"), {}))
    with pytest.raises(TypeError, match="random strategy"):
        sl.parity_bounds(net, sl.scattered(net, 6))


def test_match_bounds_are_the_counted_match_probabilities():
    """F6: inside one layer the outputs are affine, so both bounds are the match probability."""
    net = sl.Feedforward((3, 4, 2), 3)
    for group, budget, expected in [("W2", 6, 4 / 7), ("W2", 7, 1.0), ("W1", 6, 0.234), ("W1", 7, 0.545)]:
        said = sl.match_bounds(net, sl.scattered(net, budget, group))
        assert said.exact and said.lower == said.upper == said.interval[0] and abs(said.lower - expected) < 5e-4
    one = sl.match_bounds(net, sl.only(net, "W2"))
    assert (one.lower, one.upper, one.masks) == (1.0, 1.0, 1) and "all 1 masks" in str(one)


def test_match_bounds_count_where_theorems_do_and_draw_elsewhere():
    small, large = sl.Recurrent(2, 4, 2, 3), sl.Recurrent(2, 8, 2, 6)
    counted = sl.match_bounds(small, sl.scattered(small, 4, "W"), SHARED)
    drawn = sl.match_bounds(small, sl.scattered(small, 4, "W"), SHARED, most=100, draws=400)
    assert counted.masks == 1820 and round(counted.upper, 3) == 0.892 and drawn.upper == pytest.approx(counted.upper)
    assert drawn.upper_interval == (drawn.upper, drawn.upper)  # T12 counts it
    assert drawn.lower == drawn.lower_interval[0] <= counted.lower <= drawn.lower_interval[1] and not drawn.exact
    assert str(drawn).endswith("(the lower bound estimated: 95 %, from 400 masks drawn)") and drawn.upper == drawn.interval[1]
    far = sl.match_bounds(large, sl.scattered(large, 10, "W"), SHARED, draws=50)
    assert round(far.upper, 5) == 0.99945
    rows = sl.match_bounds(large, sl.per_row(large, 2, 5, "W"), SHARED, draws=50)  # T7
    assert (rows.lower, rows.upper) == (1.0, 1.0) and rows.lower_interval == (1.0, 1.0) and str(rows) == "MP = 1 (exact)"
    wide = sl.Feedforward((4, 9, 3), 4)
    layer = sl.match_bounds(wide, sl.scattered(wide, 16, "W2"), draws=100, most=10)  # affine (T2), counted by T4
    assert layer.lower == layer.upper == layer.interval[0] and 0 < layer.upper < 1


CASES = [
    (sl.Recurrent(2, 4, 2, 3), SHARED, lambda net: [
        *(sl.scattered(net, r, "W") for r in (2, 3, 4, 5, 14)), sl.per_row(net, 2, 2, "W"), sl.per_row(net, 2, 1, "W"),
        sl.per_row(net, 3, 2, "W"), sl.per_column(net, 1, 4, "W"), sl.per_column(net, 2, 2, "W"), sl.even_rows(net, 1, "W")]),
    (sl.Recurrent(1, 3, 1, 3, bias=("b",)), ("D",), lambda net: [
        sl.per_row(net, 1, 2, ("B", "b")),
        sl.even_rows(net, 1, ("B", "b")), sl.per_row(net, 2, 3, ("W", "B", "b")), sl.scattered(net, 3, ("W", "B"))]),
    (sl.Feedforward((3, 4, 4, 2), 3), (), lambda net: [
        *(sl.scattered(net, r, g) for g, r in (("W1", 5), ("W1", 6), ("W1", 9), ("W3", 6), ("W3", 7), ("W2", 5))),
        sl.even_rows(net, 3, "W3"), sl.even_rows(net, 2, "W3"), sl.per_column(net, 2, 3, "W1"), sl.per_column(net, 3, 2, "W1"),
        sl.per_row(net, 2, 3, "W1"), sl.per_row(net, 3, 2, "W1"), sl.split(net, {"W1": 1, "W3": 6})]),
    (sl.Feedforward((3, 4, 2), 3, "tanh", bias=True), ("b1",), lambda net: [
        sl.even_rows(net, 3, ("W2", "b2")), sl.scattered(net, 8, ("W2", "b2")), sl.scattered(net, 2, "W1")]),
    (sl.Feedforward((2, 3, 2), 3, "relu", bias=True), (), lambda net: [sl.scattered(net, r) for r in (1, 2, 5)]),
]  # fmt: skip


@pytest.mark.parametrize("net, shared, strategies", CASES, ids=lambda value: getattr(value, "describe", lambda: "")())
def test_what_is_certain_without_a_sample_is_what_all_masks_say(net, shared, strategies):
    told = []
    for strategy in strategies(net):
        every, known = sl.match_bounds(net, strategy, shared), certain(net, strategy, shared, 0)
        assert every.exact
        for one, counted in zip(known, every.interval):
            assert one is None or one == pytest.approx(counted, abs=1e-12), strategy.name
        told += [one is not None for one in known]
        said = sl.predict_strategy(net, strategy, shared, draws=30)
        assert said.lower <= every.lower + 1e-12 and said.upper >= every.upper - 1e-12, strategy.name
    assert sum(told) >= len(told) / 3


def test_a_sample_is_never_given_as_a_bound():
    """Bounds from drawn masks hold in 95 of 100 samples and more; shares would fail in about half of them."""
    net = sl.Feedforward((3, 4, 4, 2), 3)
    strategy = sl.scattered(net, 7, "W2")  # affine, so that one number is both bounds
    every = sl.match_bounds(net, strategy, most=20_000)
    assert 0.7 < every.lower == every.upper < 0.8 and every.masks == 11_440
    wrong = {"share": 0, "lower": 0, "upper": 0}
    for seed in range(60):
        said, drawn = sl.predict_strategy(net, strategy, draws=100, seed=seed), sl.match_bounds(net, strategy, draws=100, seed=seed)
        assert (said.exact_lower, said.exact_upper) == (None, None) and (said.lower, said.upper) == drawn.interval and not drawn.exact
        wrong["share"] += said.full_rank < every.upper
        wrong["lower"] += said.lower > every.lower
        wrong["upper"] += said.upper < every.upper
    assert wrong["share"] > 15 and wrong["lower"] <= 4 and wrong["upper"] <= 4
    assert sl.predict_strategy(net, strategy, draws=1200).lower == pytest.approx(every.lower)  # few enough masks to judge all


def test_printed_bounds_are_rounded_outwards():
    net = sl.Recurrent(2, 8, 2, 6)
    said = sl.predict_strategy(net, sl.scattered(net, 10, "W"), SHARED, draws=200)
    assert said.upper == pytest.approx(0.9994450546) and "0 <= MP <= 0.99945 (exact)" in str(said)
    assert sl.predict_strategy(net, sl.scattered(net, 12, "W"), SHARED, draws=200).upper < 1
    assert bounds_text(0.123456, 0.123454, False, False, 9) == "0.12345 <= MP <= 0.12346 (both bounds estimated: 95 %, from 9 masks drawn)"
    assert bounds_text(0.9999999, 0.9999999, True, True, 9) == "0.99999 <= MP <= 1 (exact)"
    assert bounds_text(0.0, 0.5, False, True, 9) == "0 <= MP <= 0.5 (exact)"  # zero bounds every probability


def test_odd_degrees_raise_the_lower_bound():
    """2-4-2, T = 3, four weights in W: with the odd degrees 544 of all 1820 masks match always; and T9 through square parts."""
    net = sl.Recurrent(2, 4, 2, 3)
    plain, counted = (sl.match_bounds(net, sl.scattered(net, 4, "W"), SHARED, degree=d, most=10, draws=120) for d in (False, True))
    assert plain.lower < counted.lower < counted.upper == plain.upper
    masks = sl.scattered(net, 6, "W").masks(0, 0, 0, 12)
    odd, parts = odd_parts(net, masks, SHARED, 4)
    assert (odd > 0).any()
    for mask, delta, part in zip(masks, odd, parts):
        if delta:
            assert not (part & ~mask).any() and delta % 2
            assert delta == sl.degree(net, part, SHARED, seed=9)  # counted again from another point
    found = sl.predictions(net, masks, SHARED, degree=True)
    for said in found:
        if said.reason == "T9 via T8":
            assert said.kind == "maximal" and sl.degree(net, said.witness, SHARED) % 2 == 1 and said.error >= 1e-6
    assert "T9 via T8" in found.reason


def test_degrees_that_loops_from_one_point_missed():
    """1-4-1, T = 5: loops alone, until quiet to 1e-6, stopped at 2 and 5 solutions from some random points; an odd 5 would prove MP = 1."""
    net = sl.Recurrent(1, 4, 1, 5)
    masks = np.zeros((2, net.size), dtype=bool)
    for mask, places in zip(masks, ([0, 1, 2, 12], [7, 11, 13, 14])):
        mask[net.slices["W"].start + np.array(places)] = True
    assert degrees_of(net, masks, SHARED).tolist() == [3, 6]
    found = sl.predictions(net, masks, SHARED, degree=True)
    assert found.reason.tolist() == ["T8", "T1"] and found.degree.tolist() == [3, 6]
    assert sl.match_probability(net, sl.Allocation.from_mask(net, masks[1]), 600, SHARED, method="exact").unmatched > 0


@pytest.mark.parametrize("activation", ["linear", "relu"])
def test_what_the_ends_tell_does_not_depend_on_the_others(activation):
    net, shared = sl.Recurrent(1, 4, 1, 4, activation=activation), ("B", "D")
    some = [sl.scattered(net, r, "W") for r in (1, 4, 9, 16)] + [sl.rows(net, r, "W") for r in (2, 8, 16)] + [sl.per_row(net, 2, 2, "W")]
    together = of_ends(net, some, shared)
    assert together == [of_ends(net, [strategy], shared)[0] for strategy in some]
    assert {None in known for known in together} == {True, False}
    for strategy, known in zip(some, together, strict=True):
        assert None in known or known == certain(net, strategy, shared, 10_000)
