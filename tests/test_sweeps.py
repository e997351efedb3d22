"""One study by many: threads, processes, clusters, shards, and any of these interrupted and continued by another give the same counts."""

import concurrent.futures as cf
import multiprocessing as mp
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from sublearn import study
from sublearn.study import executors, items, loop
from sublearn.study.items import Item
from sublearn.study.measure import measure
from sublearn.study.shards import line_of
from sublearn.study.summary import summaries
from sublearn.study.timing import Left, Rates
from tests import kill_sweeps
from tests.studies import NETWORK

TEXT = (
    """
[study]
name = "sweep"
trials = 150
starts = 2
method = ["newton", "exact"]
chunk = 64

"""
    + NETWORK
    + """
[[strategy]]
kind = "scattered"
within = "W"
budgets = "3..5"

[[strategy]]
kind = "rows"
within = "W"
budgets = [4]
trials = 40
"""
)
SPEC = study.parse_spec(TEXT)
CELLS = study.cells_of(SPEC)


def counts(*folders):
    rows = study.Store(*folders).rows
    return [
        (s.trials, s.matched, s.unmatched, s.undecided, s.screened, s.certified, s.found_after, s.compared.to_dict())
        for s in summaries(CELLS, rows)
    ]


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serial") / "s"
    assert study.run(SPEC, folder).complete
    return counts(folder)


@contextmanager
def dask_cluster():
    pytest.importorskip("distributed", reason="the extra dask")
    with executors.dask_client("local", 2) as client:
        yield client


@contextmanager
def loky_pool():
    loky = pytest.importorskip("loky")
    with loky.ProcessPoolExecutor(2) as pool:
        yield pool


@contextmanager
def submitit_local(folder):
    submitit = pytest.importorskip("submitit")
    executor = submitit.LocalExecutor(folder)
    executor.update_parameters(timeout_min=2)
    yield executor


WAYS = {
    "serial": lambda folder: NOBODY(),
    "threads": lambda folder: cf.ThreadPoolExecutor(3),
    "processes": lambda folder: cf.ProcessPoolExecutor(2, mp_context=mp.get_context("spawn")),
    "dask": lambda folder: dask_cluster(),
    "loky": lambda folder: loky_pool(),
    "submitit": submitit_local,
}


@contextmanager
def NOBODY():
    yield None


class Interrupting:
    """An executor that gets a Ctrl-C after some items, as if somebody had typed it."""

    def __init__(self, executor, items):
        self.executor, self.items = executor or executors._OwnThread(), items

    def __getattr__(self, name):
        return getattr(self.executor, name)

    def submit(self, *arguments):
        self.items -= 1
        if self.items == 0:
            signal.raise_signal(signal.SIGINT)
        return self.executor.submit(*arguments)


@pytest.fixture
def listens():
    """A child of a shell's background job ignores SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("way", WAYS)
def test_every_executor_gives_the_same_counts_and_goes_on_after_another(way, tmp_path, expected, listens):
    with WAYS[way](tmp_path / "jobs") as executor:
        outcome = study.run(SPEC, tmp_path / "whole", executor=executor)
        assert outcome.complete and not outcome.problems
        assert counts(tmp_path / "whole") == expected
        # begun by threads, interrupted, gone on with by this one, interrupted, ended by threads
        with cf.ThreadPoolExecutor(2) as threads:
            first = study.run(SPEC, tmp_path / "mixed", executor=Interrupting(threads, 5))
            second = study.run(SPEC, tmp_path / "mixed", executor=Interrupting(executor, 5))
            assert first.interrupted and second.interrupted and first.left > second.left > 0 and first.rows and second.rows
            assert study.run(SPEC, tmp_path / "mixed", executor=threads).complete
    assert counts(tmp_path / "mixed") == expected
    assert len(list((tmp_path / "mixed" / "rows").iterdir())) == 3


MPI = """
import sys
from mpi4py.futures import MPIPoolExecutor
from sublearn import study

if __name__ == "__main__":
    with MPIPoolExecutor() as executor:
        print(executor.num_workers, study.run(study.read_spec(sys.argv[1]), sys.argv[2], executor=executor))
"""


def test_mpi_gives_the_same_counts(tmp_path, expected):
    """One process hands out, two measure, in a program of their own: `mpiexec -n 3 python -m mpi4py.futures script.py`."""
    pytest.importorskip("mpi4py", reason="mpi4py")
    beside = Path(sys.executable).with_name("mpiexec")
    mpiexec = str(beside) if beside.exists() else shutil.which("mpiexec")
    if mpiexec is None:
        pytest.skip("no mpiexec here")
    (tmp_path / "script.py").write_text(MPI, encoding="utf-8")
    (tmp_path / "sweep.toml").write_text(TEXT, encoding="utf-8")
    path = os.pathsep.join(entry for entry in sys.path if entry)
    command = [mpiexec, "-n", "3", sys.executable, "-m", "mpi4py.futures", "script.py", "sweep.toml", "s"]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0 and done.stdout.startswith("2 Outcome("), (done.stdout, done.stderr)
    assert counts(tmp_path / "s") == expected


def test_processes_of_its_own(tmp_path, expected):
    assert study.run(SPEC, tmp_path / "s", workers=3).complete
    assert counts(tmp_path / "s") == expected
    rows = study.Store(tmp_path / "s").rows
    assert {row["threads"] for row in rows} == {max(1, len(os.sched_getaffinity(0)) // 3)}


def test_shards_are_joined_in_any_order(tmp_path, expected):
    folders = [tmp_path / f"shard{place}" for place in range(3)]
    for place in (2, 0, 1):
        outcome = study.run(SPEC, folders[place], shard=(place, 3))
        assert outcome.complete and outcome.left_in_all > 0
    measured = [sum(row["count"] for row in study.Store(folder).rows) for folder in folders]
    assert sum(measured) == sum(cell.trials for cell in CELLS) and min(measured) > 0.7 * max(measured)
    study.run(SPEC, tmp_path / "old", executor=None, shard=(1, 2))  # another division of the same study
    whole = study.merge([*folders[::-1], tmp_path / "old", folders[0]], tmp_path / "whole")
    assert counts(whole) == expected and study.run(SPEC, whole).rows == 0
    before = sorted(path.name for path in (whole / "rows").iterdir())
    study.merge(folders, whole)
    assert sorted(path.name for path in (whole / "rows").iterdir()) == before and counts(whole) == expected
    for place in range(3):  # in one folder, too
        assert study.run(SPEC, tmp_path / "one", shard=(place, 3)).complete
    assert counts(tmp_path / "one") == expected
    with pytest.raises(study.StoreError, match="expected the folder of a study"):
        study.merge([tmp_path / "none"], tmp_path / "whole")


def test_merging_takes_rows_of_format_1_and_leaves_torn_lines(tmp_path, expected):
    study.run(SPEC, tmp_path / "new", shard=(0, 2))
    study.run(SPEC, tmp_path / "other", shard=(1, 2))
    rows = [{"format": 1, **row} for row in study.Store(tmp_path / "other").rows]
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "results.jsonl").write_bytes(b"".join(map(line_of, rows)) + b'{"format":1,"rul')
    whole = study.merge([tmp_path / "new", tmp_path / "old", tmp_path / "old"], tmp_path / "whole")
    assert counts(whole) == expected and not study.Store(whole).note


def test_items_pickle_and_a_row_depends_on_its_item_only():
    cell = CELLS[0]
    assert cell.strategy.budget and cell.net.size  # made, and left out of the pickle
    item = Item(cell, 64, 16, 1024)
    assert len(pickle.dumps(item)) < 2000
    one, two = measure(item, 1), measure(pickle.loads(pickle.dumps(item)), 2)
    for key in ("seconds", "seconds_theory", "threads", "date"):
        one.pop(key), two.pop(key)
    assert one == two


def test_sizes_follow_seconds_and_shrink_towards_the_end():
    cell, exact = CELLS[0], next(cell for cell in CELLS if cell.method == "exact")
    work = items.Work(CELLS, {})
    left = Left(work, Rates(), 0)
    assert (left.most_trials(cell, 0, 1), left.most_trials(exact, 0, 1)) == (items.FIRST, items.FIRST_EXACT) and left.seconds() is None
    row = {"cell": cell.id, "content": cell.content, "count": 10, "seconds": 5.0, "seconds_theory": 0.0, "compared": {}}
    left.rates.add(row)
    assert left.most_trials(cell, 0, 1) == int(items.SECONDS / 0.5)
    assert left.seconds(exact) is None  # exact cells borrow nothing
    left.rates.add({**row, "cell": exact.id, "content": exact.content})
    alone = items.Work([exact], {exact.id: [(0, 146)]})
    assert Left(alone, left.rates, 0).seconds() == 2.0
    assert Left(alone, left.rates, 0).most_trials(exact, 146, 4) == 1


# Faults


def ends_its_worker(item, threads):
    if item.cell.id == CELLS[0].id and item.first == 0:
        os._exit(1)
    return measure(item, threads)


def ends_its_worker_once(item, threads):
    mark = os.environ["SUBLEARN_TEST_MARK"]
    if item.cell.id == CELLS[0].id and not os.path.exists(mark):
        open(mark, "w").close()
        os._exit(1)
    return measure(item, threads)


def test_an_item_that_ends_its_worker_is_recorded_and_the_rest_goes_on(tmp_path, monkeypatch, expected):
    monkeypatch.setattr(loop, "measure", ends_its_worker)
    outcome = study.run(SPEC, tmp_path / "s", workers=2)
    assert outcome.left <= CELLS[0].trials and len(outcome.problems) == 1 and CELLS[0].describe() in outcome.problems[0]
    (failure,) = study.Store(tmp_path / "s").failures
    assert (failure["cell"], failure["first"]) == (CELLS[0].id, 0) and "terminated abruptly" in failure["error"]
    assert counts(tmp_path / "s")[1:] == expected[1:]
    monkeypatch.setattr(loop, "measure", ends_its_worker_once)
    monkeypatch.setenv("SUBLEARN_TEST_MARK", str(tmp_path / "mark"))
    outcome = study.run(SPEC, tmp_path / "s", workers=2)
    assert outcome.complete and not outcome.problems and (tmp_path / "mark").exists()
    assert counts(tmp_path / "s") == expected


def test_a_broken_executor_that_is_not_ours_ends_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "measure", ends_its_worker)
    with cf.ProcessPoolExecutor(1, mp_context=mp.get_context("spawn")) as pool:
        outcome = study.run(SPEC, tmp_path / "s", executor=pool)
    assert outcome.left and "the workers cannot go on: BrokenProcessPool" in outcome.problems[-1]


@pytest.mark.parametrize(
    "wrong, error, fragment",
    [
        ({"executor": 3}, TypeError, "executor: expected something with submit"),
        ({"workers": 0}, ValueError, "workers: expected a whole number >= 1"),
        ({"shard": (3, 3)}, ValueError, "shard: expected"),
        ({"on_error": "stop"}, ValueError, "on_error: expected"),
    ],
)
def test_wrong_arguments_are_named(tmp_path, wrong, error, fragment):
    with pytest.raises(error, match=fragment):
        study.run(SPEC, tmp_path / "s", **wrong)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="workers are found in /proc")
def test_kills_at_random_moments_change_no_count():
    told = kill_sweeps.run(moments=2, seed=time.time_ns())
    assert told.same and told.workers, told


# Cost


def test_many_small_cells_are_planned_and_run_at_little_cost(tmp_path, monkeypatch):
    """All but the measuring itself, which is left out here: a millisecond or so for each cell, with generous bounds."""
    networks = ",".join(f'{{kind="recurrent", inputs=2, hidden=16, outputs=2, steps={steps}, shared=["B","D"]}}' for steps in range(3, 8))
    strategies = ",".join(f'{{kind="{kind}", within="W", budgets=["1..50"]}}' for kind in ("scattered", "rows", "columns", "diagonal"))
    spec = study.parse_spec(f'study = {{name = "many", trials = 4, control = false}}\nnetwork = [{networks}]\nstrategy = [{strategies}]')
    began = time.process_time()
    lines = study.plan(spec, limit=0)
    planned = time.process_time() - began
    known = measure(Item(lines[0].cell, 0, 4), 1)
    monkeypatch.setattr(loop, "measure", lambda item, threads: {**known, "cell": item.cell.id, "first": item.first, "count": item.count})
    began = time.process_time()
    assert study.run(spec, tmp_path / "s").complete
    ran = time.process_time() - began
    assert len(lines) == 1000 and planned < 3.0 and ran < 6.0, (planned, ran)
