"""Match probabilities: counts that add up, ranges that merge, quantities that say what they are, and independence of chunking,
threads and instruction set."""

import numpy as np
import pytest

import sublearn as sl
from sublearn import _cpu
from sublearn.match import decided

NET = sl.Recurrent(2, 8, 2, 6)
SHARED = ("B", "D")


def test_counts_and_quantities():
    none = sl.match_probability(NET, sl.scattered(NET, 9, "W"), 300, SHARED)
    assert (none.matched, none.unmatched, none.undecided, none.screened) == (0, 300, 0, 300)
    assert none.quantity == "existence" and none.probability == 0 and none.interval[0] == 0
    unscreened = sl.match_probability(NET, sl.scattered(NET, 9, "W"), 300, SHARED, screen=False, starts=2)
    assert (unscreened.matched, unscreened.unmatched, unscreened.undecided) == (0, 0, 300)
    assert unscreened.quantity == "found" and unscreened.existence_interval == (0.0, 1.0)
    every = sl.match_probability(NET, sl.only(NET, "D", "B"), 50)
    assert every.probability == 1 and every.existence_interval[1] == 1
    some = sl.match_probability(NET, sl.scattered(NET, 10, "W"), 400, SHARED, starts=4, keep_trials=True)
    assert 0.5 < some.probability < 1 and some.quantity == "found"
    assert some.found_after.shape == (4,) and (np.diff(some.found_after) >= 0).all() and some.found_after[-1] == some.matched
    assert (some.verdicts == 1).sum() == some.matched and (some.masks.sum(1) == 10).all()
    low, high = some.interval
    assert low < some.probability < high
    assert some.existence_interval[0] == low and some.existence_interval[1] > high
    assert "found probability (newton, 4 starts, relative loss < 1e-20)" in str(some)
    assert "match probability (existence)" in str(none)


def test_certified_matches_are_counted():
    ask = lambda first, count: sl.match_probability(NET, sl.per_row(NET, rows=2, each=5, within="W"), count, SHARED, "exact", first=first)  # noqa: E731
    left, right = ask(0, 40), ask(40, 20)
    assert (left.matched, left.certified) == (40, 40) and left.merge(right).certified == 60
    assert "60 of 60 trials (60 certified, 0 undecided)" in str(left.merge(right))
    assert sl.match_probability(NET, sl.scattered(NET, 11, "W"), 40, SHARED, starts=2).certified == 0


def test_affine_is_existence():
    net = sl.Feedforward((3, 4, 2), 3)
    result = sl.match_probability(net, sl.even_rows(net, 3, "W2"), 200)
    assert result.quantity == "existence" and result.probability == 1 and result.solved_affine == 200


def test_chunks_threads_and_isas_do_not_matter(monkeypatch):
    ask = lambda **k: sl.match_probability(NET, sl.scattered(NET, 10, "W"), 200, SHARED, seed=7, task=3, starts=3, keep_trials=True, **k)  # noqa: E731
    whole = ask()
    one = ask(threads=1)
    monkeypatch.setattr(decided, "_CHUNK_TRIALS", 33)
    chunked = ask()
    for other in (one, chunked):
        np.testing.assert_array_equal(whole.verdicts, other.verdicts)
        np.testing.assert_array_equal(whole.masks, other.masks)
        np.testing.assert_array_equal(whole.found_after, other.found_after)
    before = _cpu.isa()
    try:
        for name in _cpu.isas():
            _cpu.set_isa(name)
            other = ask()
            np.testing.assert_array_equal(whole.masks, other.masks)
            # Rounding may send a search elsewhere; rarely.
            assert np.mean(whole.verdicts != other.verdicts) < 0.05
    finally:
        _cpu.set_isa(before)


def test_merge():
    ask = lambda first, count: sl.match_probability(NET, sl.scattered(NET, 10, "W"), count, SHARED, starts=3, first=first, keep_trials=True)  # noqa: E731
    whole, left, right = ask(0, 150), ask(0, 60), ask(60, 90)
    both = right.merge(left)
    assert (both.matched, both.unmatched, both.undecided) == (whole.matched, whole.unmatched, whole.undecided)
    assert both.ranges == ((0, 150),) == whole.ranges
    np.testing.assert_array_equal(both.verdicts, whole.verdicts)
    np.testing.assert_array_equal(both.found_after, whole.found_after)
    with pytest.raises(ValueError, match="other: expected other trials"):
        both.merge(ask(149, 5))
    with pytest.raises(ValueError, match="other: expected the same tol"):
        left.merge(sl.match_probability(NET, sl.scattered(NET, 10, "W"), 5, SHARED, starts=3, first=60, tol=1e-6))
    with pytest.raises(ValueError, match="other: expected the same allocation"):
        left.merge(sl.match_probability(NET, sl.scattered(NET, 11, "W"), 5, SHARED, starts=3, first=60))


def test_gains_and_tasks_change_the_problem():
    s = sl.scattered(NET, 10, "W")
    base = sl.match_probability(NET, s, 200, SHARED, starts=1, keep_trials=True)
    for other in (
        sl.match_probability(NET, s, 200, SHARED, starts=1, keep_trials=True, gains={"W": 0.3}),
        sl.match_probability(NET, s, 200, SHARED, starts=1, keep_trials=True, task=1),
        sl.match_probability(NET, s, 200, SHARED, starts=1, keep_trials=True, seed=1),
    ):
        assert (base.verdicts != other.verdicts).any()


def test_descent_names_its_tolerance():
    net = sl.Feedforward((3, 4, 2), 3)
    result = sl.match_probability(net, sl.split(net, {"W1": 4, "W2": 4}), 100, method="descent", steps=3000)
    assert result.tol == 1e-6 and result.found_after.shape == (1,) and 0.3 < result.probability <= 1
    assert "found probability (descent, relative loss < 1e-06)" in str(result)


def test_bad_input_is_named():
    s = sl.scattered(NET, 10, "W")
    with pytest.raises(ValueError, match="method: expected one of"):
        sl.match_probability(NET, s, method="exact?")
    with pytest.raises(ValueError, match="^trials: expected"):
        sl.match_probability(NET, s, 0, SHARED)
    with pytest.raises(ValueError, match="shared"):
        sl.match_probability(NET, s, 10, ("W",))
    with pytest.raises(TypeError, match="shared"):
        sl.match_probability(NET, s, 10, "B")
    with pytest.raises(TypeError, match="allocation: expected an Allocation or a Strategy"):
        sl.match_probability(NET, s.draw(0).mask, 10)
    with pytest.raises(ValueError, match="gains"):
        sl.match_probability(NET, s, 10, SHARED, gains={"V": 1.0})
    for options in ({"tol": "small"}, {"method": "descent", "lr": "fast"}):
        with pytest.raises(TypeError, match="^(tol|lr): expected .*a finite number above 0, got '"):
            sl.match_probability(NET, s, 10, SHARED, **options)
    t = sl.draw_trials(NET, s, 2, SHARED)
    for call, rest in ((sl.outputs, ()), (sl.jacobian, (t.mask,)), (sl.fit, (t.y, t.mask))):
        with pytest.raises(TypeError, match="net: expected a Recurrent or Feedforward network, got ndarray"):
            call(t.student, t.student, t.x, *rest)
    with pytest.raises(TypeError, match="options: expected names out of iterations, .*got 'colour'"):
        sl.match_probability(NET, s, 10, SHARED, colour="red")
