"""The harness measures what it says: planted durations, order of the rounds, medians and ratios; and it hides nothing: a peer that is
missing, fails, or computes something else stands in the table with its reason. One quick workload runs end to end."""

import json
import time

import numpy as np
import pytest

import bench
from bench import (
    harness,
    w1_rank,
    w2_rank_mod,
    w3_fit_recurrent,
    w4_newton,
    w5_fit_relu,
    w6_exact,
    w7_fit_biases_recurrent,
    w8_fit_biases_relu,
    w9_bottleneck,
    w10_choose_columns,
)
from bench.harness import OURS, Candidate, Options, Peer, Table, Timing, interleave, measure

QUICK = Options(peers=True, quick=True, threads=1)


def planted(name, seconds, work=1):
    return Candidate(name, name, lambda: time.sleep(seconds), work)


def table(per_unit, goal=None, **columns):
    """A table of ours with these seconds per unit, and peers given as name = seconds or reason."""
    peers = [
        Timing(name, name, absent=column) if isinstance(column, str) else Timing(name, name, per_unit=column)
        for name, column in columns.items()
    ]
    return Table("W0", "case", "float64", "units", "a test", [Timing(OURS, OURS, per_unit=per_unit), *peers], goal=goal)


def test_planted_durations_come_out_right():
    timings = interleave([planted("slow", 0.03), planted("fast", 0.01, work=2)], QUICK)
    assert 0.03 <= timings[0].median < 0.06
    assert 0.005 <= timings[1].median < 0.015
    assert timings[0].rate == 1 / timings[0].median
    assert len(timings[0].per_unit) == len(timings[1].per_unit) == QUICK.rounds


def test_candidates_take_turns_in_order_and_in_reverse_order():
    now, calls = [0.0], []

    def tick(name, seconds):
        calls.append(name)
        now[0] += seconds

    candidates = [Candidate(name, name, lambda n=name, s=seconds: tick(n, s), 1) for name, seconds in (("a", 1.0), ("b", 3.0))]
    timings = interleave(candidates, QUICK, clock=lambda: now[0])
    # warm-up: `a` is asked twice, `b` is too slow for that; 4 seconds in all are over after the least number of rounds
    assert calls == ["a", "a", "b", "a", "b", "b", "a"]
    assert [t.per_unit for t in timings] == [[1.0, 1.0], [3.0, 3.0]]


def test_a_short_call_is_repeated_until_the_clock_can_see_it():
    now, calls = [0.0], [0]

    def call():
        calls[0] += 1
        now[0] += 1e-4

    timing = interleave([Candidate("short", "short", call, 5)], QUICK, clock=lambda: now[0])[0]
    warm_up, rounds = 2, 3
    assert (calls[0] - warm_up) / rounds == pytest.approx(QUICK.call_seconds / 1e-4, abs=1.5)
    assert timing.median == pytest.approx(2e-5)


def test_medians_spread_and_ratios_by_round():
    t = table([1.0, 2.0, 4.0], a=[10.0, 20.0, 12.0], b=[30.0, 30.0, 30.0])
    assert t.ours.median == 2.0 and t.ours.spread == 1.5
    assert t.ratios(t.peers[0]) == [10.0, 10.0, 3.0]
    assert t.ratio(t.peers[0]) == 10.0  # the median of the ratios, not the ratio 12 / 2 of the medians
    assert t.best_peer.name == "a"


def test_goals_are_met_not_met_or_not_measured():
    goal = {"must": 5, "goal": 20, "against": "best"}
    must, wish = table([1.0], goal, slow=[30.0], fast=[10.0], gone="No module named 'gone'").verdicts()
    assert must["met"] is True and wish["met"] is False and must["reached"] == 10.0
    assert "x10.0 fast" in must["text"] and "not measured: gone" in must["text"]
    for verdict in table([1.0], goal, gone="No module named 'gone'").verdicts():
        assert verdict["met"] is None and "not measured" in verdict["text"] and "No module named 'gone'" in verdict["text"]
    only = table([1.0], {"must": 20, "against": "slow"}, slow=[30.0], fast=[10.0]).verdicts()[0]
    assert only["met"] is True and only["reached"] == 30.0
    share = table([1e-6], {"must": 1, "goal_peak": 0.6, "against": "best"}, fast=[1e-5])
    assert share.verdicts()[1]["met"] is None
    share.flop, share.peak = 500.0, 1.0
    assert share.verdicts()[1]["met"] is False and share.verdicts()[1]["reached"] == pytest.approx(0.5)


def test_no_peer_is_hidden():
    """Missing, failing when built, failing in a later round, another answer: each is told, and takes no part in the ratio."""
    calls = [0]

    def missing(problem, options):
        import a_module_that_is_not_there  # noqa: F401

    def breaks(problem, options):
        def call():
            calls[0] += 1
            if calls[0] == 5:  # two in the warm-up, one in each round
                raise MemoryError("out of room")
            time.sleep(0.03)

        return Candidate("breaks", "breaks", call, 1)

    peers = [
        Peer("missing", "missing", missing),
        Peer("broken", "broken", lambda problem, options: 1 / 0),
        Peer("breaks", "breaks", breaks),
        Peer("wrong", "wrong", lambda problem, options: planted("wrong", 0.0)),
        Peer("fine", "fine", lambda problem, options: planted("fine", 0.004)),
    ]
    timings = measure(planted(OURS, 0.002), peers, None, QUICK, lambda c: "13 instead of 12" if c.name == "wrong" else None)
    assert [t.name for t in timings] == [OURS, "missing", "broken", "breaks", "wrong", "fine"]
    assert [t.measured for t in timings] == [True, False, False, False, False, True]
    result = Table("W0", "case", "float64", "units", "a test", timings, goal={"must": 0.1, "goal": 999, "against": "best"})
    assert result.best_peer.name == "fine"
    text = result.as_text()
    for line in (
        "missing   not measured: No module named 'a_module_that_is_not_there'",
        "broken    not measured: ZeroDivisionError",
        "breaks    not measured: failed in round 3 of 3: MemoryError: out of room",
        "wrong     not measured: another answer: 13 instead of 12",
        "must x0.1 the best peer: met",
        "goal x999 the best peer: not met",
    ):
        assert line in text, text
    told = {t["name"]: t for t in json.loads(json.dumps(result.as_json()))["timings"]}
    assert told["breaks"]["not_measured"].endswith("out of room") and len(told["breaks"]["seconds_per_unit"]) == 2  # kept, not used
    assert told["missing"]["median"] is None and told["fine"]["times_ours"] > 0.5


def test_our_own_failure_is_told(monkeypatch, capsys):
    def broken(options):
        yield Table(
            "W1",
            "case",
            "float64",
            "units",
            "a test",
            interleave([Candidate(OURS, OURS, lambda: 1 / 0, 1)], QUICK),
            goal={"must": 1, "against": "best"},
        )
        raise RuntimeError("the rest is gone")

    monkeypatch.setattr(w1_rank, "run", broken)
    assert bench.main(["W1", "--quick"]) == 1
    out = capsys.readouterr().out
    assert "sublearn  not measured: failed in the warm-up: ZeroDivisionError" in out
    assert "W1 failed: RuntimeError: the rest is gone" in out and "not measured (our own run failed)" in out


def test_quick_w1_writes_json(tmp_path, monkeypatch, capsys):
    """End to end, with numpy as the only peer that is there."""

    def gone(problem, options):
        raise ImportError("No module named 'jax'")

    monkeypatch.setattr(w1_rank, "SIZES", w1_rank.SIZES[:2])
    monkeypatch.setattr(w1_rank, "PEERS", (w1_rank.PEERS[0], Peer("jax vmap", "jax", gone)))
    path = tmp_path / "w1.json"
    assert bench.main(["w1", "--quick", "--peers", "--json", str(path)]) == 0
    out = capsys.readouterr().out
    assert "W1 float64 8x8" in out and "jax vmap  not measured: No module named 'jax'" in out
    result = json.loads(path.read_text())
    assert result["format"] == 1 and result["quick"] and not result["failures"]
    for key in ("date", "cpu", "isa", "compiler", "threads", "versions", "load"):
        assert result["machine"][key], key
    assert [(t["dtype"], t["case"]) for t in result["tables"]] == [(d, c) for d in ("float64", "float32") for c in ("8x8", "16x16")]
    first = result["tables"][0]
    assert first["timings"][0]["name"] == OURS and first["times_best_peer"] > 1 and first["best_peer"] == "numpy"
    assert [v["met"] is not None for v in first["verdicts"]] == [True, True]
    assert {s["axis"] for s in result["sweeps"]} == {"n", "batch", "threads"}


def test_without_peers_they_are_listed_as_left_out():
    ready, absent = harness.build(w1_rank.PEERS, None, Options(peers=False, quick=True))
    assert not ready and [t.absent for t in absent] == ["left out without --peers"] * len(w1_rank.PEERS)


def test_bad_arguments(tmp_path, capsys):
    assert bench.main(["W11"]) == 2 and "W7, W8, W9, W10, got W11" in capsys.readouterr().err
    assert bench.main(["W1", "--threads", "0"]) == 2 and "expected a whole number >= 1" in capsys.readouterr().err
    assert bench.main(["W1", "--json", str(tmp_path / "no" / "such.json")]) == 2 and "--json" in capsys.readouterr().err


def test_every_goal_belongs_to_a_table():
    """A misspelt case would read as "no goal is stated"."""
    goals = harness.goals()
    assert goals.pop("source")["date"]
    tables = {
        "W1": {("float64", f"{m}x{n}") for m, n, _ in w1_rank.SIZES},
        "W2": {("int64", f"{n}x{n}") for n, _ in w2_rank_mod.SIZES},
        "W3": {(d, "8 hidden") for d in ("float32", "float64")},
        "W4": {("float64", "8 hidden")},
        "W5": {(d, f"m = {m}") for d in ("float32", "float64") for m in (16, 64)},
        "W7": {("float32", "3-64-3, T = 100")},
        "W8": {("float32", "64-512-10, m = 1000")},
        "W9": {("float64", w9_bottleneck.name_of(k, None)) for k, of in w9_bottleneck.CASES if of is None},
        "W10": {("float64", w10_choose_columns.CASE)},
        "W6": {("float64", f"{case}, {unit}") for case in w6_exact.CASES for unit in ("paths", "trials")},
    }
    stated = {name: {(d, c) for d, cases in goals[name].items() if d != "against" for c in cases} for name in goals}
    assert stated == tables


def test_planted_matrices_have_their_ranks():
    a, ranks = w1_rank.planted(200, 6, 9, np.float64)
    np.testing.assert_array_equal(np.linalg.matrix_rank(a), ranks)
    assert (ranks[::2] == 6).all() and len(np.unique(ranks)) == 7
    assert w1_rank.flop(8, 8, np.array([8])) == pytest.approx(4 * 8**3 / 3)
    a, ranks = w2_rank_mod.planted(40, 5)
    assert a.min() >= 0 and a.max() < w2_rank_mod.P
    assert w2_rank_mod.updates(4, np.array([4])) == 9 + 4 + 1 + 0
    assert w2_rank_mod.updates(4, np.array([0, 1])) == 4.5


@pytest.mark.parametrize("module", [w3_fit_recurrent, w5_fit_relu])
def test_the_loss_peers_are_held_to_is_ours(module):
    problem = module.problem_of(np.float64, students=7)
    fitted = module.fit(problem, 13, 1)
    weights = fitted.theta if module is w5_fit_relu else problem.net.unpack(fitted.theta)["W"]
    np.testing.assert_allclose(module.loss(problem, weights), fitted.loss, rtol=1e-12)
    before = fitted.loss * 1.01
    assert w3_fit_recurrent.same_loss(fitted.loss, before, fitted.loss, "float64") is None
    assert "differs" in w3_fit_recurrent.same_loss(fitted.loss, before, fitted.loss * 1.001, "float64")
    assert "differs" in w3_fit_recurrent.same_loss(fitted.loss, before, fitted.loss * np.nan, "float64")


@pytest.mark.parametrize(
    "module, sizes", [(w7_fit_biases_recurrent, {"n": 9, "steps": 7}), (w8_fit_biases_relu, {"hidden": 20, "samples": 40})]
)
def test_the_loss_of_biases_is_ours(module, sizes):
    problem = module.problem_of(np.float64, students=3, **sizes)
    fitted = module.fit(problem, 13, 1)
    np.testing.assert_allclose(module.loss(problem, fitted.theta), fitted.loss, rtol=1e-12)
    assert (fitted.loss < module.fit(problem, 0, 1).loss).all()


def test_searches_count_what_they_match():
    search = w4_newton.search_of(16)
    out = w4_newton.newton(search.problem, 4, 1)
    assert out.iterations > 16 and (out.start >= 0).sum() > 8
    np.testing.assert_array_equal(search.start, search.problem.trials.student[search.problem.trials.mask].reshape(16, -1))
    timing = w4_newton.per_match(Timing("a", "a", per_unit=[0.5, 1.0]), 40, 4, 8)
    assert timing.per_unit == [5.0, 10.0] and timing.note == "matched 4 of 8 in 5.00 iterations each"
    assert w4_newton.per_match(Timing("a", "a", per_unit=[0.5]), 40, 0, 8).absent == "matched none"


def test_paths_of_w6_end_at_solutions():
    problem = w6_exact.problem_of(1, 4, 1, 5, allocations=3, trials=5)
    out = problem.track()
    assert len(out.status) == problem.base.found[problem.owner].sum() and (out.status == 0).mean() > 0.95
    theta = problem.points[1 + problem.trial_of, : problem.net.size].copy()
    np.put_along_axis(theta, problem.base.indices[problem.owner[problem.trial_of]].astype(np.int64), out.end, axis=1)
    x, y = problem.points[1 + problem.trial_of, -10:-5], problem.points[1 + problem.trial_of, -5:]
    miss = np.abs(problem.system.outputs(theta, x.real) - y).max(axis=1)[out.status == 0]
    assert np.median(miss) < 1e-10
    assert (problem.decide().match >= 0).mean() > 0.9


def test_rates_are_held_to_their_goals():
    table = Table("W6", "a", "float64", "paths", "", [Timing(OURS, OURS, per_unit=[0.01])], goal={"must_rate": 90, "goal_rate": 110})
    assert [v["met"] for v in table.verdicts()] == [True, False] and "must 90 paths/s: met, 100" in table.as_text()
    table.timings[0].absent = "broken"
    assert [v["met"] for v in table.verdicts()] == [None, None]
