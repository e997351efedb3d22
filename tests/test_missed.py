"""The estimate of missed matches: planted beta laws, measured curves, and where it says nothing."""

import numpy as np
import pytest

import sublearn as sl
from sublearn.numerics.missed_matches import missed


def curve(rng, trials, share, a, b, starts, first=0.3):
    """found_after of trials of which `share` have a match, found by each wide start with chance Beta(a, b), by start 0 with `first`."""
    exists = rng.random(trials) < share
    p = np.where(exists, rng.beta(a, b, trials), 0.0)
    hit = rng.random((trials, starts)) < p[:, None]
    hit[:, 0] = exists & (rng.random(trials) < first)
    found = np.maximum.accumulate(hit, axis=1).sum(axis=0)
    return found, int(exists.sum() - found[-1]), trials - int(found[-1])


@pytest.mark.parametrize("share,a,b,starts", [(0.95, 2.0, 4.0, 10), (0.6, 1.0, 2.0, 20), (0.3, 2.0, 18.0, 30), (1.0, 0.6, 1.7, 30)])
def test_planted_laws(share, a, b, starts):
    rng = np.random.default_rng(int(10 * share + starts))
    told = []
    for _ in range(25):
        found, truth, undecided = curve(rng, 2000, share, a, b, starts)
        got = missed(found, undecided)
        assert 0 <= got.low <= got.estimate <= got.high <= undecided
        told.append((got.low <= truth <= got.high, got.estimate - truth, got.high - got.low))
    inside, error, width = (np.array(column) for column in zip(*told))
    assert inside.mean() >= 0.8
    assert abs(np.median(error)) < 0.3 * np.median(width)


def test_more_starts_narrow_the_interval():
    rng = np.random.default_rng(1)
    found, truth, _ = curve(rng, 4000, 0.9, 1.5, 4.0, 60)
    widths = []
    for starts in (8, 20, 60):
        got = missed(found[:starts], 4000 - int(found[starts - 1]))
        widths.append(got.high - got.low)
    assert widths[0] > 2 * widths[1] > 4 * widths[2]


def test_measured_curves():
    """F3 (recurrent 2-8-2, T = 6, r = 10 scattered in W): what 10 starts foretell of 30 and 100."""
    net, shared = sl.Recurrent(2, 8, 2, 6), ("B", "D")
    long = sl.match_probability(net, sl.scattered(net, 10, "W"), 1200, shared, starts=60)
    ten = missed(long.found_after[:10], 1200 - long.screened - int(long.found_after[9]))
    later = long.found_after[-1] - long.found_after[9]
    assert ten.low < later <= ten.high + 0.02 * 1200 and ten.low > 0
    assert long.missed is not None and long.missed_interval[0] <= long.missed <= long.missed_interval[1]
    assert long.missed <= long.undecided
    if long.undecided:
        assert str(long).splitlines()[1].startswith(f"estimated further matches not found: {long.missed:.0f} [")


def test_where_nothing_is_said():
    assert missed([0, 0, 0, 0, 0], 50) is None  # nothing found
    assert missed([30, 40], 60) is None  # too few starts
    assert missed([30, 60, 90, 100], 0) == (0.0, 0.0, 0.0)  # nothing left
    net = sl.Feedforward((3, 4, 2), 3)
    descent = sl.match_probability(net, sl.split(net, {"W1": 4, "W2": 4}), 20, method="descent", steps=50)
    exact = sl.match_probability(net, sl.split(net, {"W1": 3, "W2": 3}), 20, method="exact")
    assert descent.missed is None and descent.missed_interval is None and exact.missed is None


def test_merged_counts_are_estimated_together():
    net, shared = sl.Recurrent(1, 4, 1, 5), ("B", "D")
    left, right = (sl.match_probability(net, sl.scattered(net, 4, "W"), 300, shared, starts=8, first=first) for first in (0, 300))
    both = left.merge(right)
    assert both.missed == missed(left.found_after + right.found_after, left.undecided + right.undecided).estimate
