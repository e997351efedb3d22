"""compare.py: counting by hand, agreement of the real theory with the real fit on small networks."""

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest

import sublearn as sl
from sublearn import compare
from sublearn.compare import Comparison, ExactComparison, compare_with_exact, compare_with_theory, kinds_of_masks, tally
from sublearn.numerics.intervals import clopper_pearson
from sublearn.theory.predict import KINDS

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
    assert found.limits == (clopper_pearson(2, 7)[0], clopper_pearson(4, 7)[1])  # seven masks are a sample
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
    assert [KINDS[kind] for kind in kinds] == [sl.predict(NET, sl.Allocation.from_mask(NET, mask), SHARED).kind for mask in masks]


def test_equal_masks_are_judged_once_and_the_cap_is_said(monkeypatch):
    asked = []
    real = compare._judge
    monkeypatch.setattr(compare, "_judge", lambda net, masks, shared: asked.append(len(masks)) or real(net, masks, shared))
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


# Against exact verdicts

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def example(name):
    """The script examples/<name>.py as a module."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def exact_counts(**other):
    return ExactComparison(**{**dict(kind="maximal", reason="T7 row", budget=4, attained_rank=4, required_rank=4, trials=10, matched=9,
                                     refuted=0, undecided=1, certified=7, by_theorem=2, found=8, found_first=5), **other})  # fmt: skip


def test_exact_counts_by_hand():
    assert exact_counts().contradictions == 0 and exact_counts().right == 9
    assert exact_counts(matched=8, refuted=1).contradictions == 1
    none = exact_counts(kind="minimal", reason="T1", budget=3, attained_rank=3, matched=0, refuted=10, undecided=0, found=0)
    assert none.contradictions == 0 and none.right == 10
    assert exact_counts(kind="minimal", matched=0, refuted=10, found=3).contradictions == 3
    assert exact_counts(kind="intermediate", matched=4, refuted=6).contradictions == 0


def test_predictions_against_exact_verdicts():
    net = sl.Recurrent(1, 4, 1, 5)
    few, row, spread = (compare_with_exact(net, make.draw(0), 60, SHARED, degree=True, starts=4) for make in (
        sl.scattered(net, 3, "W"), sl.rows(net, 4, "W"), sl.diagonal(net, 4, "W")))  # fmt: skip
    assert (few.kind, few.refuted, few.found) == ("minimal", 60, 0)
    assert (row.kind, row.matched, row.certified) == ("maximal", 60, 60) and row.found_first <= row.found < 60
    assert spread.kind == "intermediate" and 0 < spread.refuted < 60
    assert spread.refuted + spread.matched + spread.undecided == 60 and spread.found <= spread.matched + spread.undecided


def test_exact_verdicts_catch_a_wrong_theory(monkeypatch):
    from dataclasses import replace

    from sublearn.theory import predict

    real = predict.predict
    net = sl.Recurrent(1, 4, 1, 5)
    monkeypatch.setattr(compare, "predict", lambda *a, **k: replace(real(*a, **k), kind="maximal"))
    assert compare_with_exact(net, sl.diagonal(net, 4, "W"), 60, SHARED).contradictions > 5
    monkeypatch.setattr(compare, "predict", lambda *a, **k: replace(real(*a, **k), kind="minimal"))
    assert compare_with_exact(net, sl.rows(net, 4, "W"), 60, SHARED).contradictions == 60


def test_a_part_of_the_grid_is_never_contradicted(tmp_path, capsys):
    grid = example("grid_exact")
    assert len(grid.pairs()) >= 200
    told = grid.main(["--trials", "40", "--every", "11", "--out", str(tmp_path / "grid.json")])
    assert "CONTRADICTION" not in capsys.readouterr().out
    assert told["contradictions"] == 0 and told["kind_accuracy"] == 1 and told["undecided_share"] < 0.01
    assert told["pairs"] >= 30 and min(told["kinds"].values()) >= 1
    rule = told["rank_rule"]["all"]
    assert rule["against_existence"] > 0.98 and rule["against_existence"] > rule["against_found_1_start"]
    assert (tmp_path / "grid.json").read_text(encoding="utf-8").count("indices") == told["pairs"]


def test_orbits_hold_every_allocation():
    orbits = example("orbits_exact").orbits()
    assert sum(orbits.values()) == math.comb(16, 4) and len(orbits) == 95


@pytest.mark.parametrize("activation", ["linear", "tanh", "relu"])
def test_kinds_of_masks_are_those_of_predictions(activation):
    """Masks of every number of weights, below kappa without a look at their ranks."""
    net, shared = sl.Recurrent(1, 4, 2, 3, activation=activation, bias=["b"]), ("D",)
    rng = np.random.default_rng(5)
    masks = np.concatenate([rng.random((40, net.size)) < share for share in (0.05, 0.15, 0.3, 0.6, 1.0)])
    masks[:, net.slices["D"]] = False
    said = sl.predictions(net, masks, shared)
    kinds = kinds_of_masks(net, masks, shared)
    assert [KINDS[kind] for kind in kinds] == said.kind.tolist()
    assert activation == "relu" or ({"minimal", "maximal"} <= set(said.kind) and (masks.sum(axis=1) < said.required_rank).sum() > 20)
    masks[0, net.slices["D"]] = True
    with pytest.raises(ValueError, match="no learnable weight in shared groups"):
        kinds_of_masks(net, masks, shared)
