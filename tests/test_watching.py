"""Watching a study: plans that are bounded in time, progress with rates for people and programs, cancelling, status --watch."""

import io
import json
import sys
import threading
import time
import types

import pytest

from sublearn import study
from sublearn.cli.main import main
from sublearn.study import planning, progress
from sublearn.study.measure import measure
from tests.studies import start
from tests.test_study import SMALL, parse


def test_a_slow_trial_does_not_hold_up_a_plan(monkeypatch):
    slow = threading.Event()

    def measured(item, threads=None):
        if item.cell.method == "exact":
            slow.wait(20)
        return measure(item, threads)

    monkeypatch.setattr(planning, "measure", measured)
    spec = parse(starts='3\nmethod = "exact"')
    began = time.monotonic()
    lines = study.plan(spec, limit=0.5)
    assert time.monotonic() - began < 5
    slow.set()
    exact = [line for line in lines if line.cell.method == "exact"]
    assert exact and all(line.seconds is None and line.left == line.cell.trials for line in exact)


def test_a_plan_is_for_workers_and_as_json(tmp_path, capsys):
    path = tmp_path / "s.toml"
    path.write_text(SMALL, encoding="utf-8")
    assert main(["plan", str(path), "--out", str(tmp_path), "--workers", "4", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    cells = study.cells_of(parse())
    assert told["workers"] == 4 and told["trials"] == told["left"] == sum(cell.trials for cell in cells)
    assert [entry["cell"] for entry in told["cells"]] == [cell.id for cell in cells]
    assert told["seconds"] == pytest.approx(sum(entry["seconds"] for entry in told["cells"]) / 4, abs=2e-3)
    assert main(["plan", str(path), "--out", str(tmp_path), "--workers", "4"]) == 0
    assert " with 4 workers; folder" in capsys.readouterr().out


def test_a_function_is_told_where_a_run_stands(tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "CALL_EVERY", 0.0)
    told = []
    study.run(parse(), tmp_path, progress=told.append)
    total = sum(cell.trials for cell in study.cells_of(parse()))
    assert told[-1].done == told[-1].total == total and told[-1].rate > 0 and told[-1].seconds_left == 0
    assert [stands.done for stands in told] == sorted(stands.done for stands in told) and told[0].done < total
    assert any(stands.cell.startswith("rec / ") for stands in told)


def test_a_function_may_cancel_a_run_and_another_goes_on(tmp_path):
    cancel = threading.Event()
    outcome = study.run(parse(), tmp_path, progress=lambda stands: stands.done and cancel.set(), cancel=cancel)
    assert outcome.interrupted and 0 < outcome.rows and outcome.left > 0
    assert study.run(parse(), tmp_path).complete


def test_cancelling_before_the_start_measures_nothing(tmp_path):
    cancel = threading.Event()
    cancel.set()
    assert study.run(parse(), tmp_path, cancel=cancel).rows == 0


def test_a_notebook_gets_a_bar(tmp_path, monkeypatch):
    shell = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    assert progress._in_notebook()
    shown = []
    monkeypatch.setattr(progress, "_rich_bar", lambda stream: shown.append(stream) or _NoBar())
    study.run(parse(), tmp_path, stream=io.StringIO())
    assert len(shown) == 1


class _NoBar:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def add_task(self, *_, **__):
        return 0

    def update(self, *_, **__):
        return None


@pytest.mark.parametrize("rate, text", [(0.123456, "0.123"), (99.96, "100"), (850.4, "850"), (1234.0, "1.23 k"), (5.6e6, "5.6 M")])
def test_rates_in_few_letters(rate, text):
    assert progress._short(rate) == text


def test_a_run_that_finds_nothing_to_do_writes_nothing(tmp_path):
    study.run(parse(), tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert study.run(parse(), tmp_path).rows == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before
    study.run(parse(SMALL.replace('name = "small"', 'name = "small"\ntitle = "other"')), tmp_path)
    assert (tmp_path / "results.csv").stat().st_mtime_ns > before[tmp_path / "results.csv"]


def test_watching_ends_when_another_run_has_done_all(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with start(tmp_path, SMALL.replace("trials = 60", "trials = 300"), "small") as (process, folder):
        assert main(["status", str(folder), "--watch", "1"]) == 0
        process.wait(30)
    lines = capsys.readouterr().out.splitlines()
    assert (lines[-1].endswith("complete") and any(" trials (" in line for line in lines[:-1])) or len(lines) == 1
