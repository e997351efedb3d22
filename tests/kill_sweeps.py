"""SIGKILL at random moments of a study with three workers, its workers and its main process in turn; then it goes on.

`python -m tests.kill_sweeps --moments 50` prints whether the counts are those of an unbroken run; test_sweeps.py runs a slice.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sublearn import study
from sublearn.study.summary import summaries
from tests.studies import LISTENS, child, rows_in

TEXT = """
[study]
name = "killed"
trials = 4000
starts = 10
chunk = 512

[[network]]
kind = "recurrent"
inputs = 2
hidden = 8
outputs = 2
steps = 6
shared = ["B", "D"]

[[strategy]]
kind = "scattered"
within = "W"
budgets = "9..14"
"""


@dataclass
class Told:
    """What a series of kills led to; workers + mains may be fewer than `moments` where the study ended before."""

    moments: int
    workers: int  # kills of workers
    mains: int
    torn: int  # last lines
    failures: int  # items written down as failed, and measured later
    same: bool
    seed: int
    seconds: float


def children(process):
    """Ids of the workers of a process: what it spawned, but for the tracker of resources."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == process and b"spawn_main" in (place / "cmdline").read_bytes():
                found.append(int(place.name))
    return found


def run(moments, seed):
    draw, began = random.Random(seed), time.monotonic()
    spec = study.parse_spec(TEXT.replace("trials = 4000", f"trials = {4000 * moments}"))
    cells = study.cells_of(spec)
    told = Told(moments, 0, 0, 0, 0, False, seed, 0.0)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "killed.toml").write_text(spec.text)
        code = f"{LISTENS}import sys\nfrom sublearn.cli.main import main\n"
        code += "if __name__ == '__main__': sys.exit(main(['run', 'killed.toml', '--workers', '3', '--quiet']))"
        made = folder / "sublearn-killed"
        while told.workers + told.mains < moments:
            with child(code, cwd=folder) as process:
                before, end = len(rows_in(made)), time.monotonic() + 60
                while len(rows_in(made)) == before and process.poll() is None and time.monotonic() < end:
                    time.sleep(0.05)
                while process.poll() is None and told.workers + told.mains < moments:
                    time.sleep(draw.expovariate(4.0))
                    workers = children(process.pid)
                    main_next = told.workers > told.mains
                    if main_next or not workers:
                        process.kill()
                        process.wait()
                        told.mains += 1
                    else:
                        os.kill(draw.choice(workers), signal.SIGKILL)
                        told.workers += 1
                if process.poll() == 0:
                    break  # a fast machine: fewer kills than asked for
                process.kill()
            opened = study.Store(made)
            told.torn += "torn last line" in opened.note
            told.failures += len(opened.failures)
        with child(code, cwd=folder) as process:
            process.communicate()
        outcome = study.run(spec, made)
        whole = study.run(spec, folder / "whole")
        found, expected = (
            [(s.trials, s.matched, s.undecided, s.found_after, s.compared) for s in summaries(cells, study.Store(path).rows)]
            for path in (made, whole.folder)
        )
        told.same = outcome.complete and found == expected
    told.seconds = round(time.monotonic() - began, 1)
    return told


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moments", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    result = run(given.moments, given.seed)
    print(result)
    sys.exit(not result.same)
