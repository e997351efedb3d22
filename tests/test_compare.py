"""compare.py: counting by hand, agreement of the real theory with the real fit on small networks."""

import math

import numpy as np
import pytest
import sublearn as sl
from sublearn import compare
from sublearn.compare import KINDS, Comparison, compare_with_theory, kinds_of_masks, tally

NET = sl.Recurrent(inputs=2, hidden=4, outputs=2, steps=6)
SHARED = ("B", "D")


def test_counts_by_hand():
    kinds = np.array([0, 0, 0, 1, 1, 2, 3, -1], dtype=np.int8)
    verdicts = np.array([0, -1, 1, 1, -1, 1, -1, 1], dtype=np.int8)
    found = tally(kinds, verdicts)
    assert found.counts == {"minimal": (3, 1), "maximal": (2, 1), "intermediate": (1, 1), "unknown": (1, 0)}
    assert found.right("minimal") == 2 and found.right("maximal") == 1 and found.right("unknown") is None
    assert found.accuracy("minimal") == pytest.approx(2 / 3)
    assert found.accuracy() == pytest.approx(3 / 5)
    assert found.coverage == pytest.approx(5 / 7)
    assert found.limits == pytest.approx((2 / 7, 4 / 7))
    assert math.isnan(found.accuracy("intermediate"))
    low, high = found.accuracy_interval()
    assert low < 3 / 5 < high
    with pytest.raises(ValueError, match="verdicts: expected 8"):
        tally(kinds, verdicts[:3])


def test_comparisons_add_up_and_survive_json():
    a = Comparison({"minimal": (3, 1), "unknown": (2, 0)})
    b = Comparison({"minimal": (4, 0), "maximal": (1, 1)})
    both = a + b
    assert both.counts == {"minimal": (7, 1), "maximal": (1, 1), "unknown": (2, 0)}
    assert Comparison.from_dict(both.to_dict()) == both
    assert a + Comparison() == a
    empty = Comparison()
    assert empty.limits == (None, None) and math.isnan(empty.coverage) and math.isnan(empty.accuracy())


@pytest.mark.parametrize(
    "plain",
    [
        {"good": [1, 0]},
        {"minimal": [1, 2]},
        {"minimal": [1.0, 0]},
        {"minimal": 3},
        {"minimal": [True, 0]},
        {"minimal": [-1, -1]},
    ],
)
def test_damaged_counts_are_refused(plain):
    with pytest.raises(ValueError, match="compared: expected"):
        Comparison.from_dict(plain)


@pytest.mark.parametrize(
    "strategy",
    [
        sl.scattered(NET, 9, within="W"),
        sl.scattered(NET, 10, within="W"),
        sl.rows(NET, 12, within="W"),
        sl.everything(NET, SHARED),
    ],
)
def test_kinds_are_those_of_predict(strategy):
    masks = strategy.masks(5, 0, 0, 40)
    kinds = kinds_of_masks(NET, masks, SHARED)
    assert [KINDS[kind] for kind in kinds] == [
        sl.predict(NET, sl.Allocation.from_mask(NET, mask), SHARED).kind for mask in masks
    ]


def test_equal_masks_are_judged_once_and_the_cap_is_said(monkeypatch):
    asked = []
    real = compare._judge
    monkeypatch.setattr(
        compare, "_judge", lambda net, masks, shared: asked.append(len(masks)) or real(net, masks, shared)
    )
    masks = sl.scattered(NET, 10, within="W").masks(0, 0, 0, 6)
    repeated = masks[[3, 0, 3, 1, 0, 2, 4]]
    kinds = kinds_of_masks(NET, repeated, SHARED, most=3)
    assert asked == [3]
    assert (kinds[:5] >= 0).all()  # the first three distinct ones: 3, 0, 1
    assert (kinds[5:] == -1).all()
    with pytest.raises(ValueError, match=r"masks: expected bool \[k, 32\]"):
        kinds_of_masks(NET, repeated[:, :3], SHARED)


def test_theory_and_fit_agree_below_the_required_rank():
    found = compare_with_theory(NET, sl.scattered(NET, 9, within="W"), 200, shared=SHARED, starts=5)
    assert found.counts == {"minimal": (200, 0)}
    assert found.accuracy() == 1 and found.coverage == 1


def test_last_layer_is_decided_both_ways():
    net = sl.Feedforward((3, 4, 2), samples=3)
    found = compare_with_theory(net, sl.scattered(net, 6, within="W2"), 600, starts=3, seed=1)
    assert set(found.counts) == {"minimal", "maximal"}  # 4/7 of the masks hold enough in every row (T4)
    assert found.accuracy() > 0.99
    assert found.trials("maximal") / 600 == pytest.approx(4 / 7, abs=0.08)


def test_the_comparison_can_fail(monkeypatch):
    """A theory that calls everything minimal is caught: nothing of it reaches the fit."""
    monkeypatch.setattr(compare, "_judge", lambda net, masks, shared: np.zeros(len(masks), np.int8))
    found = compare_with_theory(NET, sl.everything(NET, SHARED), 100, shared=SHARED, starts=10)
    assert found.accuracy("minimal") < 0.1


def test_screening_is_refused():
    for name in ("screen", "keep_trials"):
        with pytest.raises(TypeError, match=name):
            compare_with_theory(NET, sl.rows(NET, 9, within="W"), 4, shared=SHARED, **{name: True})
