"""Rules that end a cell before all its trials are done: where they are judged, what is counted, what their intervals cover."""

import concurrent.futures as cf
import math

import numpy as np
import pytest
from scipy import stats

from sublearn import study
from sublearn.numerics.intervals import anytime, clopper_pearson
from sublearn.study import enough
from sublearn.study.items import Item, Work, shares
from sublearn.study.measure import measure
from sublearn.study.spec import Stop
from sublearn.study.summary import summaries
from tests.studies import NETWORK

TEXT = (
    """
[study]
name = "stop"
trials = 3000
starts = 1
method = ["newton", "exact"]
control = false
stop = { width = 0.1 }

"""
    + NETWORK
    + """
[[strategy]]
kind = "scattered"
within = "W"
budgets = [3, 4, 5]
"""
)
SPEC = study.parse_spec(TEXT)
CELLS = study.cells_of(SPEC)


def with_stop(stop, budget=4):
    spec = study.parse_spec(TEXT.replace("{ width = 0.1 }", stop))
    return next(cell for cell in study.cells_of(spec) if cell.method == "newton" and cell.budget == budget)


def rows_of(cell, outcomes, blocks, seconds=0.001):
    """Rows of a cell with these outcomes (bool per trial), cut into blocks (first, count)."""
    return [
        {"cell": cell.id, "first": first, "count": count, "matched": int(sum(outcomes[first : first + count])), "undecided": 0}
        | {"seconds": seconds * count}
        for first, count in blocks
    ]


def looks(most):
    found, at = [], 0
    while at < most:
        at += enough.until_next_look(at)
        found.append(at)
    return found


def blocks_between_looks(most):
    return [(first, end - first) for first, end in zip([0, *looks(most)], looks(most), strict=False)]


# The interval


@pytest.mark.parametrize("k, n", [(0, 64), (64, 64), (3, 100), (50, 100), (900, 4096), (4095, 4096)])
@pytest.mark.parametrize("a", [1.0, 25.0, 2000.0])
def test_ends_are_where_the_likelihood_ratio_reaches_its_bound(k, n, a):
    """The mixture of binomials with the law Beta(a p, a (1 - p)) is the beta-binomial law."""
    low, high = anytime(k, n, lambda p: np.full_like(p, a))

    def ratio(p):
        return math.exp(stats.betabinom.logpmf(k, n, a * p, a * (1 - p)) - stats.binom.logpmf(k, n, p))

    assert low == 0 if k == 0 else high == 1 if k == n else 0 <= low < k / n < high <= 1
    for end in (low, high):
        if 0 < end < 1:
            assert ratio(end) == pytest.approx(20, rel=1e-3)
            assert ratio(end + 1e-3 * (k / n - end)) < ratio(end)
    narrow = clopper_pearson(k, n)
    assert k in (0, n) or (low <= narrow[0] and narrow[1] <= high)  # all or nothing: Clopper-Pearson leaves half of its 5 % unused


def test_cancellation_makes_the_interval_wider_only():
    """All of 2^32 trials: M(p) is about exp(n (1 - p)). And the ends of 2^24 trials with a weight of 6e11, found with 60 digits."""
    low, high = anytime(2**32, 2**32)
    assert 1 - low == pytest.approx(math.log(20) / 2**32, rel=1e-2) and high == 1
    low, high = anytime(5592405, 2**24, enough.weight_of(Stop(width=1e-6)))
    assert 0.2810 < low <= 0.28215000884256312 and 0.3936513488915432 <= high < 0.3950


@pytest.mark.parametrize("p", [0.01, 0.3, 0.5, 0.97])
@pytest.mark.parametrize("stop", [Stop(width=0.1), Stop(matches=30), Stop(width=0.05, matches=200)])
def test_the_interval_covers_at_all_looks_together(p, stop):
    """All looks of a study at once, which is more than any rule to stop can ask for. A look in the margin of chance may miss."""
    draws = np.random.default_rng(int(1000 * p)).random((300, 2048)) < p
    weight, missed, at = enough.weight_of(stop), 0, looks(2048)
    counts = draws.cumsum(axis=1)
    inside = {(k, n): anytime(k, n, weight) for n in at for k in {int(c[n - 1]) for c in counts}}
    for own in counts:
        missed += any(not low <= p <= high for low, high in (inside[int(own[n - 1]), n] for n in at))
    assert missed <= stats.binom.ppf(0.9999, 300, 0.05)


def test_stopping_by_an_ordinary_interval_would_not_cover():
    """Why there is another one: stopping when Clopper-Pearson excludes 1/2 excludes it far more often than in 5 %."""
    counts = (np.random.default_rng(1).random((300, 2048)) < 0.5).cumsum(axis=1)
    fooled = sum(any(not low <= 0.5 <= high for low, high in (clopper_pearson(int(own[n - 1]), n) for n in looks(2048))) for own in counts)
    assert fooled > 45


def test_simulated_studies_cover_and_save_trials():
    """Of cells with p drawn anew: at least 95 % of the intervals with which they end hold the truth. 2000 of them in docs/study.md."""
    random, held, spent, cell = np.random.default_rng(7), 0, 0, with_stop("{ width = 0.1 }")
    studies, most = 200, 4096
    chance = random.beta(0.5, 0.5, studies)
    for p in chance:
        counts = (random.random(most) < p).cumsum()
        rows = [
            {"cell": cell.id, "first": first, "count": count, "seconds": 0.0, "undecided": 0}
            | {"matched": int(counts[first + count - 1] - (counts[first - 1] if first else 0))}
            for first, count in blocks_between_looks(most)
        ]
        part = enough.prefix(cell, rows)
        assert part.ended_by == "width"
        low, high = enough.interval(cell, int(counts[part.trials - 1]), 0, part.trials)
        held += low <= p <= high
        spent += part.trials
        assert high - low <= 0.1
    assert held >= 0.95 * studies
    assert spent / studies < 600  # 1024 at p = 1/2


# Where rules are judged


def test_looks_are_quarters_of_powers_of_two_and_blocks_end_there():
    assert looks(400) == [64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448]
    for first, count in blocks_between_looks(10**6):
        assert count & (count - 1) == 0 and first % count == 0  # dyadic


def test_the_end_does_not_depend_on_the_order_or_on_what_lies_beyond():
    cell = with_stop("{ matches = 100 }")
    outcomes = np.random.default_rng(3).random(2048) < 0.5
    rows = rows_of(cell, outcomes, blocks_between_looks(2048))
    whole = enough.prefix(cell, rows)
    first = next(n for n in looks(2048) if outcomes[:n].sum() >= 100)
    assert (whole.trials, whole.ended_by) == (first, "matches")
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(rows))
        assert enough.prefix(cell, [rows[place] for place in order]).trials == first
    short = [row for row in rows if row["first"] < first]
    assert enough.prefix(cell, short).trials == first
    gap = [row for row in rows if row["first"] != 64]
    assert (enough.prefix(cell, gap).trials, enough.prefix(cell, gap).ended_by) == (64, "")


def test_seconds_end_a_cell_after_the_block_that_used_them_up():
    cell = with_stop("{ seconds = 0.1 }")
    rows = rows_of(cell, np.zeros(512, bool), blocks_between_looks(512))
    assert enough.prefix(cell, rows).trials == 112 and enough.prefix(cell, rows).ended_by == "seconds"


def test_undecided_trials_stay_open():
    cell = next(cell for cell in CELLS if cell.method == "exact")
    low, high = enough.interval(cell, 30, 20, 100)
    weight = enough.weight_of(cell.stop)
    assert (low, high) == (anytime(30, 100, weight)[0], anytime(50, 100, weight)[1])


# Studies


def ends(folder, cells=CELLS):
    return [(s.trials, s.ended_by, s.matched, s.undecided, s.interval) for s in summaries(cells, study.Store(folder).rows)]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stop") / "serial"
    outcome = study.run(SPEC, folder)
    assert outcome.complete and outcome.left_in_all == 0
    return folder, ends(folder)


def test_a_study_ends_its_cells_and_says_by_what(stopped):
    folder, found = stopped
    assert all(rule == "width" and trials < 3000 and high - low <= 0.1 for trials, rule, _, _, (low, high) in found)
    assert study.run(SPEC, folder).rows == 0  # nothing is left


def test_the_same_end_however_it_is_run(stopped, tmp_path):
    _, expected = stopped
    with cf.ThreadPoolExecutor(4) as executor:
        study.run(SPEC, tmp_path / "threads", executor=executor)
    assert ends(tmp_path / "threads") == expected
    for place in range(2):
        study.run(SPEC, tmp_path / f"shard{place}", shard=(place, 2))
    study.merge([tmp_path / "shard0", tmp_path / "shard1"], tmp_path / "both")
    assert ends(tmp_path / "both") == expected


def test_rows_measured_without_a_rule_beyond_its_end_are_not_counted(tmp_path):
    cell = with_stop("{ width = 0.1 }")
    with study.Store(tmp_path) as store:
        store.open_for_writing()
        for first, count in blocks_between_looks(2048):
            store.append(measure(Item(cell, first, count)), cell)
        (summary,) = summaries([cell], store.rows)
        assert summary.ended_by == "width" and summary.trials == summary.asked < 1500
        assert not Work([cell], {}, None, enough.needed([cell], store.rows)).missing[cell.id][0][1] > summary.trials


def test_a_shard_has_whole_cells_where_a_rule_may_end_them():
    parts = [shares(CELLS, (place, 4)) for place in range(4)]
    for cell in CELLS:
        assert [part[cell.id] for part in parts if part[cell.id]] == [[(0, 3000)]]


def test_a_rule_of_a_strategy_wins_over_its_network_and_the_study():
    text = TEXT.replace("budgets = [3, 4, 5]", "budgets = [3]\nstop = { matches = 7 }")
    assert {cell.stop for cell in study.cells_of(study.parse_spec(text))} == {Stop(matches=7)}
    text = TEXT.replace('shared = ["B", "D"]', 'shared = ["B", "D"]\nstop = { seconds = 2 }')
    assert {cell.stop for cell in study.cells_of(study.parse_spec(text))} == {Stop(seconds=2.0)}
    assert CELLS[0].id == study.cells_of(study.parse_spec(TEXT.replace("stop = { width = 0.1 }", "")))[0].id


@pytest.mark.parametrize(
    "stop, fragment",
    [
        ("{ }", "stop: expected at least one of width, matches, seconds"),
        ("{ width = 1.5 }", "stop.width: expected a width between 0 and 1"),
        ("{ width = 0 }", "stop.width"),
        ("{ matches = 0 }", "stop.matches: expected a whole number >= 1"),
        ("{ seconds = -1 }", "stop.seconds: expected a positive number"),
        ("{ widht = 0.1 }", "did you mean 'width'"),
        ("0.1", "expected a table"),
    ],
)
def test_wrong_rules_are_named(stop, fragment):
    with pytest.raises(study.SpecError, match="stop") as error:
        study.parse_spec(TEXT.replace("{ width = 0.1 }", stop))
    assert fragment in str(error.value)
