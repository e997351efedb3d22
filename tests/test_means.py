"""Cells that measure a mean over trials (the loss reached): exact sums, intervals, rows, results."""

import concurrent.futures as cf
import json
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sublearn as sl
from sublearn import study
from sublearn.data.trials import draw_trials
from sublearn.numerics.intervals import student
from sublearn.study.items import Item
from sublearn.study.limits import limits_of
from sublearn.study.measure import measure
from sublearn.study.moments import LARGEST, UNIT, Moments
from sublearn.study.report.sections import sections
from sublearn.study.summary import summaries
from tests.studies import NETWORK

TEXT = (
    """
[study]
name = "near"
trials = 150
starts = 2
method = ["newton", "descent"]
measure = ["matches", "loss"]
descent = { steps = 50 }
chunk = 32

"""
    + NETWORK
    + """
[[strategy]]
kind = "scattered"
within = "W"
budgets = [3, 5]
"""
)
SPEC = study.parse_spec(TEXT)
CELLS = study.cells_of(SPEC)
NEAR = [cell for cell in CELLS if cell.quantity == "loss"]
values = st.lists(st.floats(-(2.0**30), 2.0**30), max_size=40)


@given(values, st.integers(0, 40))
def test_sums_are_exact_and_add_up_however_trials_are_cut(numbers, cut):
    whole = Moments.of(numbers)
    assert Moments.of(numbers[:cut]) + Moments.of(numbers[cut:]) == whole
    rounded = [Fraction(round(value / UNIT)) * Fraction(UNIT) for value in numbers]
    assert whole.total * Fraction(UNIT) == sum(rounded) and whole.squares * Fraction(UNIT) ** 2 == sum(v * v for v in rounded)
    assert whole.possible
    if len(numbers) > 1:
        mean = sum(rounded) / len(numbers)
        variance = sum((v - mean) ** 2 for v in rounded) / (len(numbers) - 1)
        assert whole.mean == pytest.approx(float(mean), rel=1e-14)
        assert whole.spread == pytest.approx(math.sqrt(variance), rel=1e-12)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 2 * LARGEST])
def test_values_without_a_sum_are_refused(value):
    with pytest.raises(ValueError, match="values: expected numbers of at most"):
        Moments.of([1.0, value])


@pytest.mark.parametrize("sums", [(2, 3, 4), (1, 2, 1), (1, 0, -1), (0, 1, 1), (3, 10, 33), (2, 10**400, 10**800), (0, 0, 1)])
def test_sums_that_no_values_have_are_seen(sums):
    assert not Moments(*sums).possible


def test_the_interval_of_a_mean_is_students():
    stats = pytest.importorskip("scipy.stats")
    for count, mean, spread in ((2, 0.0, 1.0), (10, -3.5, 0.2), (5000, 4.0, 7.0)):
        expected = stats.t.interval(0.95, count - 1, loc=mean, scale=spread / math.sqrt(count))
        assert student(count, mean, spread) == pytest.approx(expected, rel=1e-10)
    assert student(1, 0.0, 0.0) == (-math.inf, math.inf)


def test_the_interval_of_a_mean_covers_it():
    draws = np.random.default_rng(5).normal(3.0, 2.0, (2000, 12))
    inside = sum(low <= 3.0 <= high for low, high in (Moments.of(one.tolist()).interval() for one in draws))
    assert 1850 <= inside <= 1945  # 1900 expected, standard deviation 10


def test_the_loss_is_that_of_the_search_and_misses_where_no_match_is_found():
    """The same losses from public calls, and the count of matches of the same cell without a screen."""
    for cell in NEAR:
        drawn = draw_trials(cell.net, cell.strategy, 64, shared=cell.shared, seed=cell.seed, task=cell.task_number)
        options = dict(cell.options, method=cell.method, seed=cell.seed, task=cell.task_number, gains=dict.fromkeys(cell.net.groups, 1.0))
        found = sl.decide(cell.net, drawn.student, drawn.x, drawn.y, drawn.mask, cell.shared, **options)
        expected = Moments.of(np.log10(np.maximum(found.loss, cell.tol)).tolist())
        row = measure(Item(cell, 0, 64))
        assert (row["quantity"], row["count"], row["unit"]) == ("loss", 64, UNIT)
        assert Moments.of_row(row).mean == pytest.approx(expected.mean, rel=1e-6)
        twin = next(other for other in CELLS if other.id != cell.id and other.content.items() <= cell.content.items())
        matched = measure(Item(twin, 0, 64))["matched"]
        assert matched == (found.match == 1).sum()
        assert expected.mean >= math.log10(cell.tol)


def test_means_are_the_same_however_a_study_is_run(tmp_path):
    study.run(SPEC, tmp_path / "one")
    with cf.ThreadPoolExecutor(3) as executor:
        study.run(study.parse_spec(TEXT.replace("chunk = 32", "chunk = 128")), tmp_path / "two", executor=executor)
    for place in range(3):
        study.run(SPEC, tmp_path / f"shard{place}", shard=(place, 3))
    study.merge([tmp_path / f"shard{place}" for place in range(3)], tmp_path / "three")
    sums = [
        [(s.trials, s.moments, s.matched) for s in summaries(CELLS, study.Store(tmp_path / name).rows)] for name in ("one", "two", "three")
    ]
    assert sums[0] == sums[1] == sums[2]
    assert all(s[0] == 150 for s in sums[0]) and sum(s[1].count for s in sums[0]) == 150 * len(NEAR)


def test_results_keep_a_mean_apart_from_a_probability(tmp_path):
    study.run(SPEC, tmp_path)
    data = study.load(tmp_path)
    near = data.quantity.values == "loss"
    assert near.sum() == len(NEAR) and np.isnan(data.probability.values[near]).all() and not np.isnan(data.probability.values[~near]).any()
    assert (data.low.values <= data.high.values).all() and (data.high.values[near] < 0).all()
    assert all("mean log10 of the relative loss" in text for text in data.quantity_text.values[near])
    study.write_report(tmp_path)
    assert "mean log10 of the relative loss" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_report_draws_no_mean_among_probabilities(tmp_path):
    """Existence stands beside what is found, and never beside a mean; heat maps of means have ends of their own."""
    text = TEXT.replace('["newton", "descent"]', '["newton", "exact"]').replace("trials = 150", "trials = 20")
    study.run(study.parse_spec(text), tmp_path / "one")
    study.write_report(tmp_path / "one")
    names = sorted(path.stem for path in (tmp_path / "one" / "figures").glob("*.png"))
    assert sum(name.startswith("existence-rec") for name in names) == 1
    assert sum(name.startswith("probability-rec-newton") for name in names) == 2  # what is found, and the loss
    spec = study.parse_spec(text.replace("hidden = 4", "hidden = [4, 5]"))
    study.run(spec, tmp_path)
    found = summaries(study.cells_of(spec), study.Store(tmp_path).rows)
    heats = {heat.quantity: heat.ends for section in sections(spec, found, limits_of(found)) for heat in section.heats}
    assert next(ends for text, ends in heats.items() if "mean log10" in text)[0] < -1
    assert [ends for text, ends in heats.items() if "mean log10" not in text] == [(0.0, 1.0)]


def test_cells_of_matches_keep_their_ids_and_exact_cells_have_no_loss():
    plain = study.cells_of(study.parse_spec(TEXT.replace('measure = ["matches", "loss"]', "")))
    assert [cell.id for cell in plain] == [cell.id for cell in CELLS if cell.quantity is None]
    both = study.cells_of(study.parse_spec(TEXT.replace('["newton", "descent"]', '["newton", "exact"]')))
    assert {cell.method for cell in both if cell.quantity == "loss"} == {"newton"}
    with pytest.raises(study.SpecError, match="measure: expected a method that searches"):
        study.cells_of(study.parse_spec(TEXT.replace('["newton", "descent"]', '"exact"').replace('["matches", "loss"]', '"loss"')))
    with pytest.raises(study.SpecError, match="measure: expected one of matches, loss"):
        study.parse_spec(TEXT.replace('["matches", "loss"]', '"losses"'))
    with pytest.raises(study.SpecError, match="measure: expected each measure once"):
        study.parse_spec(TEXT.replace('["matches", "loss"]', '["loss", "loss"]'))


@pytest.mark.parametrize(
    "change, fragment",
    [
        ({"sum": 0.5}, "wrong or missing sum"),
        ({"squares": None}, "wrong or missing squares"),
        ({"unit": 0.5}, "expected unit"),
        ({"squares": -1}, "sums that values can have"),
        ({"count": 0}, "count > 0"),
        ({"quantity": "sharpness"}, "a quantity out of"),
        ({"quantity": "found"}, "wrong or missing"),
    ],
)
def test_damaged_rows_of_a_mean_name_the_line(tmp_path, change, fragment):
    cell = NEAR[0]
    with study.Store(tmp_path) as store:
        store.open_for_writing()
        store.append(measure(Item(cell, 0, 8)), cell)
    (path,) = (tmp_path / "rows").glob("*.jsonl")
    head, content, row = path.read_text(encoding="ascii").splitlines()
    path.write_text("\n".join([head, content, json.dumps(json.loads(row) | change)]) + "\n", encoding="ascii")
    with pytest.raises(study.StoreError, match="line 3") as error:
        study.Store(tmp_path)
    assert fragment in str(error.value)


def test_a_row_of_matches_is_no_row_of_a_cell_that_measures_a_mean(tmp_path):
    near, cell = NEAR[0], CELLS[0]
    row = measure(Item(cell, 0, 8)) | {"cell": near.id}
    with study.Store(tmp_path) as store:
        store.open_for_writing()
        with pytest.raises(study.StoreError, match="the quantity of its cell, loss"):
            store.append(row, near)
