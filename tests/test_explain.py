"""What allocations lack: explanations checked by adding the weights they name, and in real numbers."""

import itertools
import math

import numpy as np
import pytest

import sublearn as sl
from sublearn.ranks.column_matroid import prices
from sublearn.ranks.generic_rank import attained_ranks, free_weights, required_rank
from tests.test_best import IDS, SMALL, random_cost


@pytest.mark.parametrize("net, shared", SMALL, ids=IDS)
def test_explanations_hold_when_the_weights_are_added(net, shared):
    rng = np.random.default_rng(3)
    free, kappa = free_weights(net, shared), required_rank(net, shared)
    deficient = 0
    for _ in range(25):
        mask = free & (rng.random(net.size) < rng.uniform(0, 0.6))
        a = sl.Allocation.from_mask(net, mask)
        cost = random_cost(rng, net, shared)
        told = sl.explain(net, a, shared, cost)
        rho = attained_ranks(net, mask[None], shared)[0]
        assert (told.attained_rank, told.required_rank, told.missing) == (rho, kappa, kappa - rho)
        assert len(told.unmet) == told.missing == told.completion.budget and str(told)
        unlocking = sl.Allocation.from_edges(net, [u.edge for u in told.unlocks]).mask
        for e in np.flatnonzero(free & ~mask):
            more = mask | (np.arange(net.size) == e)
            gain = attained_ranks(net, more[None], shared)[0] - rho
            assert gain == unlocking[e] == (not told.useless.mask[e])
        assert attained_ranks(net, told.completed.mask[None], shared)[0] == kappa
        assert attained_ranks(net, (mask & ~told.surplus.mask)[None], shared)[0] == rho
        assert told.surplus.budget == mask.sum() - rho
        for line in told.lines:
            assert attained_ranks(net, (mask | line.weights.mask)[None], shared)[0] - rho == line.ranks
        if not told.missing:
            continue
        deficient += 1
        price, others = prices(net, cost), np.flatnonzero(unlocking)
        sets = np.zeros((math.comb(len(others), told.missing), net.size), dtype=bool)
        for row, chosen in zip(sets, itertools.combinations(others, told.missing)):
            row[list(chosen)] = True
        sets = sets[attained_ranks(net, sets | mask, shared) == kappa]
        assert told.completion_cost <= (sets @ price).min() + 1e-9 * np.abs(price).max()
        _unmet_combinations_hold_in_real_numbers(net, shared, told, mask, free)
    assert deficient > 5


def _unmet_combinations_hold_in_real_numbers(net, shared, told, mask, free):
    whole = sl.Allocation.from_mask(net, np.ones(net.size, dtype=bool))
    trial = sl.draw_trials(net, sl.everything(net), 1, seed=5)
    J = sl.jacobian(net, trial.student, trial.x, whole)[0] * free
    row = lambda e: e[1] * net.y_shape[1] + e[0] if isinstance(net, sl.Recurrent) else e[0] * net.y_shape[1] + e[1]  # noqa: E731
    for unmet in told.unmet:
        here, tied = J[row(unmet.equation)], J[[row(e) for e in unmet.tied_to]]
        factors = np.linalg.lstsq(tied[:, mask].T, here[mask], rcond=None)[0] if len(tied) else np.zeros(0)
        left = here - factors @ tied
        assert np.abs(left[mask]).max(initial=0) < 1e-8 < 1e-6 < np.abs(left).max()


def test_explanation_names_the_rule_and_the_row():
    net = sl.Recurrent(2, 8, 2, 6)
    told = sl.explain(net, sl.rows(net, 10, "W"), ("B", "D"))
    assert (told.attained_rank, told.missing, told.surplus.budget) == (7, 3, 3)
    assert any("T12" in rule and "row 0 has 8" in rule for rule in told.rules)
    assert "cheapest completion: 3 weights" in str(told)
    assert told.unmet[0].text.endswith("5 others are met, output 0 at step 1 to output 0 at step 3")
    layer = sl.Feedforward((3, 4, 2), 3)
    told = sl.explain(layer, sl.rows(layer, 5, "W2"))
    assert all(unmet.text.endswith((" is met", " are met")) for unmet in told.unmet)
    assert told.attained_rank == 4 and any("row 1 has 1 (T4)" in rule for rule in told.rules)
    silent = sl.explain(layer, sl.rows(layer, 3, "W2"))
    assert all("no learnable weight acts on it" in unmet.text for unmet in silent.unmet)
