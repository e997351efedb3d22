"""What a study's bookkeeping costs, beside others that do the same: python -m bench.study_overhead (peers: sinter, joblib, optuna).

Small cells: N questions, each one `match_probability` of 64 trials of a small linear recurrent network (1 to 5 inputs, 2 to 26 hidden
units, 1 to 10 steps, 1 to 4 learnable weights; newton, 2 starts, one thread), about 4 ms of kernels each. Every candidate asks them all and
keeps each answer on disk as it comes, so that a run that is stopped goes on where it was:
  direct            a loop over `match_probability` that keeps nothing: the kernels, and what a call of them costs
  study.run         rows, results.csv; theory judges nothing (compare = 0), as with the peers
  study.run theory  the same with its defaults: theory judges the masks of all trials, and limits and controls stand in results.csv
  sinter            `collect` with a sampler of its own, one worker, save_resume_filepath
  joblib            `Parallel(n_jobs=1)` over a function in a `Memory` cache
  optuna            ask, set_user_attr and tell on JournalStorage(JournalFileBackend)
Cost per cell: (seconds of the candidate - seconds of `direct` in the same round) / N, wall time and CPU time (children included), medians
of the rounds. Every candidate runs in a process of its own, begun for each round, by turns and every second round in reverse order. It asks
the first 8 cells twice before: the first time imports and fills caches and is not counted, the second (workers that start, files) is
subtracted. `plan`: seconds of `study.plan` for the same cells without timing any.

Large cells: a study of 4 cells of many trials with two workers, against `match_probability` with two threads on the same trials: trials per
CPU second, and per second, of all trials, and beyond a twentieth of them that was run before (so without the start of the workers).

Nothing here compares kernels: they are the same. `--cells`, `--peer-cells` (of those that are slow with many: optuna's journal is read
again and again), `--rounds`, `--large TRIALS`, `--json FILE`.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice, product
from pathlib import Path

import sublearn as sl
from sublearn import study

from . import machine

TRIALS, STARTS, WARM = 64, 2, 8
SHARED = ("B", "D")
TEXT = """
study = {{ name = "small", trials = {trials}, starts = {starts}{more} }}
network = [{{ label = "n", kind = "recurrent", inputs = "1..5", hidden = "2..26", outputs = 1, steps = "1..10", shared = ["B", "D"] }}]
strategy = [
  {{ label = "scattered", kind = "scattered", within = "W", budgets = "1..4" }},
  {{ label = "rows", kind = "rows", within = "W", budgets = "1..4" }},
]
"""
LARGE = """
study = {{ name = "large", trials = {trials}, starts = 10, compare = 0, control = false }}
network = [{{ kind = "recurrent", inputs = 2, hidden = 8, outputs = 2, steps = 6, shared = ["B", "D"] }}]
strategy = [{{ kind = "scattered", within = "W", budgets = [9, 10, 11, 12] }}]
"""
Key = tuple[int, int, int, str, int]  # inputs, hidden, steps, kind, budget
EVERY = list(product(range(1, 6), range(2, 27), range(1, 11), ("scattered", "rows"), range(1, 5)))


def count(key: Key) -> int:
    """The answer of one cell: how many trials matched."""
    inputs, hidden, steps, kind, budget = key
    net = sl.Recurrent(inputs, hidden, 1, steps)
    strategy = (sl.scattered if kind == "scattered" else sl.rows)(net, budget, "W")
    return sl.match_probability(net, strategy, TRIALS, SHARED, starts=STARTS, screen=False, threads=1).matched


def direct(keys: Sequence[Key], folder: Path) -> None:
    for key in keys:
        count(key)


def small_spec(cells: int, more: str) -> study.Spec:
    """A study of the first cells of EVERY, by the networks that have them."""
    spec = study.parse_spec(TEXT.format(trials=TRIALS, starts=STARTS, more=more))
    return replace(spec, networks=spec.networks[: -(-cells // 8)])


def ours(keys: Sequence[Key], folder: Path) -> None:
    study.run(small_spec(len(keys), ", compare = 0, control = false"), folder / "s", threads=1)


def ours_with_theory(keys: Sequence[Key], folder: Path) -> None:
    study.run(small_spec(len(keys), ", control = false"), folder / "s", threads=1)


def plan(keys: Sequence[Key], folder: Path) -> None:
    study.plan(small_spec(len(keys), ""), folder / "s", threads=1, limit=0)


def with_sinter(keys: Sequence[Key], folder: Path) -> None:
    import sinter
    import stim

    circuit = stim.Circuit("R 0\nX_ERROR(0.1) 0\nM 0\nDETECTOR rec[-1]\nOBSERVABLE_INCLUDE(0) rec[-1]")  # sinter wants one; not simulated
    tasks = [sinter.Task(circuit=circuit, decoder="sublearn", json_metadata=list(key)) for key in keys]
    sinter.collect(
        num_workers=1,
        tasks=tasks,
        max_shots=TRIALS,
        custom_decoders={"sublearn": _sampler()},
        save_resume_filepath=folder / "stats.csv",
    )


def _sampler() -> object:
    from .study_sampler import Sampler

    return Sampler()


def with_joblib(keys: Sequence[Key], folder: Path) -> None:
    import joblib

    from bench.study_overhead import count as cached  # by its importable name: joblib keys its cache by module and function

    memory = joblib.Memory(folder / "cache", verbose=0)
    joblib.Parallel(n_jobs=1)(joblib.delayed(memory.cache(cached))(key) for key in keys)


def with_optuna(keys: Sequence[Key], folder: Path) -> None:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    asked = optuna.create_study(storage=JournalStorage(JournalFileBackend(str(folder / "journal.log"))))
    for key in keys:
        trial = asked.ask()
        trial.set_user_attr("cell", key)
        asked.tell(trial, count(key) / TRIALS)


CANDIDATES: dict[str, Callable[[Sequence[Key], Path], None]] = {
    "direct": direct,
    "study.run": ours,
    "study.run theory": ours_with_theory,
    "sinter": with_sinter,
    "joblib": with_joblib,
    "optuna": with_optuna,
    "plan": plan,
}
OWN = ("direct", "study.run", "study.run theory", "plan")
IMPORTS = {"sinter": "sinter", "joblib": "joblib", "optuna": "optuna"}


# One candidate in this process


def spent() -> tuple[float, float]:
    """(wall, CPU) seconds so far, of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return time.perf_counter(), sum(one.ru_utime + one.ru_stime for one in used)


def alone(name: str, cells: int) -> dict[str, float]:
    """wall and cpu of a candidate for the cells after the first ones."""
    if name in IMPORTS:
        __import__(IMPORTS[name])
    keys = list(islice(EVERY, cells))
    sl.match_probability(sl.Recurrent(1, 2, 1, 2), sl.scattered(sl.Recurrent(1, 2, 1, 2), 1, "W"), 8, SHARED, threads=1)
    times = []
    for some in (keys[:WARM], keys[:WARM], keys):
        with tempfile.TemporaryDirectory() as folder:
            before = spent()
            CANDIDATES[name](some, Path(folder))
            times.append([after - begun for after, begun in zip(spent(), before, strict=True)])
    (start, _), (wall, cpu), (whole, whole_cpu) = times
    return {"wall": whole - wall, "cpu": whole_cpu - cpu, "start": start, "cells": len(keys)}


def large(how: str, trials: int) -> dict[str, float]:
    """wall and cpu of all trials of a large study: its run with two workers, or the kernels with two threads."""
    few = trials // 20
    few_wall, few_cpu, few_trials = large_run(how, few)
    wall, cpu, all_trials = large_run(how, trials)
    whole = {"wall": wall, "cpu": cpu, "trials": all_trials}
    return whole | {"wall_more": wall - few_wall, "cpu_more": cpu - few_cpu, "trials_more": all_trials - few_trials}


def large_run(how: str, trials: int) -> tuple[float, float, int]:
    spec = study.parse_spec(LARGE.format(trials=trials))
    cells = study.cells_of(spec)
    with tempfile.TemporaryDirectory() as folder:
        before = spent()
        if how == "study.run":
            study.run(spec, Path(folder) / "s", threads=2, workers=2)
        else:
            for cell in cells:
                plain = {"method": cell.method, "seed": cell.seed, "task": cell.task_number, "screen": cell.screen, "tol": cell.tol}
                sl.match_probability(cell.net, cell.strategy, trials, cell.shared, threads=2, **plain, **cell.options)
        wall, cpu = (after - begun for after, begun in zip(spent(), before, strict=True))
    return wall, cpu, trials * len(cells)


# All of them, by turns


def ask(*arguments: object) -> dict[str, float] | str:
    """What a process of its own says; in words why it says nothing."""
    command = [sys.executable, "-m", "bench.study_overhead", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["no word"])[-1][:160]
    return json.loads(done.stdout.splitlines()[-1])


def small_cells(options: argparse.Namespace) -> dict[str, dict]:
    sizes = {name: options.cells if name in OWN else options.peer_cells for name in CANDIDATES}
    asked = [*CANDIDATES.items(), ("direct of peers", direct)] if options.peer_cells != options.cells else list(CANDIDATES.items())
    names = [name for name, _ in asked]
    sizes["direct of peers"] = options.peer_cells
    found: dict[str, list] = {name: [] for name in names}
    why: dict[str, str] = {}
    for number in range(options.rounds):
        for name in names if number % 2 == 0 else reversed(names):
            if name in why:
                continue
            told = ask("--one", "direct" if name == "direct of peers" else name, "--cells", sizes[name])
            print(f"round {number + 1}: {name}: {told}", file=sys.stderr, flush=True)
            if isinstance(told, str):
                why[name] = told
            else:
                found[name].append(told)
    table: dict[str, dict] = {}
    for name in CANDIDATES:
        base = found["direct" if sizes[name] == options.cells else "direct of peers"]
        if name in why:
            table[name] = {"absent": why[name]}
            continue
        own = found[name]
        table[name] = {"cells": sizes[name], "start": statistics.median(one["start"] for one in own), "rounds": own}
        for clock in ("wall", "cpu"):
            table[name][f"{clock}_seconds"] = statistics.median(one[clock] for one in own)
            if name not in ("direct", "plan"):
                more = [(one[clock] - other[clock]) / sizes[name] for one, other in zip(own, base, strict=True)]
                table[name][f"{clock}_per_cell"] = statistics.median(more)
                table[name][f"{clock}_range"] = [min(more), max(more)]
    return table


def as_text(table: dict[str, dict]) -> str:
    lines = [f"{'':18}{'cells':>7}{'CPU s':>9}{'wall s':>9}{'CPU ms/cell more':>18}{'wall ms/cell more':>19}  range of CPU"]
    for name, row in table.items():
        if "absent" in row:
            lines.append(f"{name:18}not measured: {row['absent']}")
            continue
        text = f"{name:18}{row['cells']:>7}{row['cpu_seconds']:>9.2f}{row['wall_seconds']:>9.2f}"
        if "cpu_per_cell" in row:
            low, high = row["cpu_range"]
            text += f"{1e3 * row['cpu_per_cell']:>18.2f}{1e3 * row['wall_per_cell']:>19.2f}  {1e3 * low:.2f} to {1e3 * high:.2f}"
        lines.append(text)
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.study_overhead", description="What a study's bookkeeping costs, beside others.")
    parser.add_argument("--cells", type=int, default=10_000, metavar="N", help="small cells of ours (default and most: 10000)")
    parser.add_argument("--peer-cells", type=int, default=1000, metavar="N", help="small cells of the peers (default: 1000)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--large", type=int, default=400_000, metavar="N", help="trials of each large cell; 0: no large cells")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--one", choices=tuple(CANDIDATES), help=argparse.SUPPRESS)
    parser.add_argument("--how", choices=("direct", "study.run"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one or options.how:
        print(json.dumps(alone(options.one, options.cells) if options.one else large(options.how, options.large)))
        return 0
    head = machine.header(1) | {"peers": {name: machine.version(name) for name in IMPORTS}}
    print(
        machine.as_text(head) + "\npeers: " + ", ".join(f"{name} {number or '(not installed)'}" for name, number in head["peers"].items())
    )
    if warning := machine.busy(head):
        print(f"warning: {warning}")
    result: dict = {"format": 1, "machine": head, "small": small_cells(options) if options.cells else {}}
    if options.cells:
        print("\nsmall cells\n" + as_text(result["small"]), flush=True)
    if options.large:
        rounds: dict[str, list] = {"direct": [], "study.run": []}
        for number in range(options.rounds):
            for how in rounds if number % 2 == 0 else reversed(rounds):
                told = ask("--how", how, "--large", options.large)
                print(f"round {number + 1}: {how}: {told}", file=sys.stderr, flush=True)
                rounds[how].append(told)
        result["large"] = rounds
        for clock, of in product(("cpu", "wall"), ("", "_more")):
            rate = {how: statistics.median(one[f"trials{of}"] / one[clock + of] for one in rounds[how]) for how in rounds}
            share = statistics.median(b[clock + of] / a[clock + of] for a, b in zip(rounds["study.run"], rounds["direct"], strict=True))
            what = f"large cells, trials per {clock} second{' beyond the start' if of else ''}"
            print(f"{what}: direct {rate['direct']:.0f}, two workers {rate['study.run']:.0f}, {share:.1%}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
