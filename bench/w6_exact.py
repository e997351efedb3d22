"""W6: exact verdicts of linear recurrent networks (B and D shared, r = kappa scattered entries of W), float64, one thread.

Three cases (i-n-o, T, r), each with 24 random allocations of full rank and 30 fresh trials for each of them. Tables, two for each case:
  paths   every complex solution followed from the random base point to the data of the trials: `System.track`. Finding the solutions
          at the base point (monodromy, once for every allocation) is not in the timing, nor is drawing the trials.
  trials  method "exact" with 4 starts, as in `match_probability`: rank screen, Newton starts, paths, certificates. Solutions at the base
          points are remembered from the warm-up, as they are in a study of one allocation.
Then degrees and costs as r = kappa grows with T, and what monodromy and the trace test take. There is no peer: no other library decides
this; against a Groebner basis see tests/groebner_study.py. The goals are rates.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

import sublearn as sl
from sublearn.backend.dispatch import kernels_for
from sublearn.homotopy.monodromy import Base, monodromy
from sublearn.homotopy.system import CONVERGED, System, system_of
from sublearn.homotopy.trace_test import trace_test
from sublearn.match.decide import decide_drawn
from sublearn.match.methods import EXACT, check_settings
from sublearn.ranks.generic_rank import attained_ranks

from .harness import OURS, Candidate, Listing, Options, Table, goal_of, interleave

SHARED = ("B", "D")
CASES = {  # case: (i, n, o, T)
    "1-4-1, T = 5": (1, 4, 1, 5),
    "2-8-2, T = 4": (2, 8, 2, 4),
    "1-8-1, T = 6": (1, 8, 1, 6),
}
ALLOCATIONS, TRIALS, STARTS = 24, 30, 4


@dataclass(frozen=True)
class Problem:
    """trials of every allocation of a base; jobs: one path for every solution of every trial."""

    net: sl.Recurrent
    system: System
    base: Base
    trials: object
    masks: np.ndarray  # bool [trials, size]
    owner: np.ndarray  # int [trials], number of the allocation
    points: np.ndarray
    trial_of: np.ndarray  # int [jobs]
    start: np.ndarray  # complex [jobs, kappa]

    def track(self, jobs=slice(None), kernels=None, threads=1):
        of = self.trial_of[jobs]
        return self.system.track(
            self.points,
            self.base.indices,
            self.base.degrees,
            self.owner[of],
            0,
            1 + of,
            self.start[jobs],
            threads=threads,
            kernels=kernels or kernels_for("cpu"),
        )

    def decide(self, trials=slice(None), backend="cpu", threads=1):
        t = self.trials
        some = replace(t, student=t.student[trials], x=t.x[trials], y=t.y[trials], mask=self.masks[trials], teacher=t.teacher[trials])
        return decide_drawn(some, check_settings(EXACT, starts=STARTS), threads=threads, backend=backend)


def problem_of(inputs: int, hidden: int, outputs: int, steps: int, allocations: int = ALLOCATIONS, trials: int = TRIALS) -> Problem:
    net = sl.Recurrent(inputs, hidden, outputs, steps)
    system = system_of(net, SHARED)
    strategy = sl.scattered(net, system.kappa, "W")
    masks = strategy.masks(1, 0, 0, 4 * allocations)
    masks = masks[attained_ranks(net, masks, SHARED) == system.kappa][:allocations]
    base = monodromy(system, masks, threads=1)
    owner = np.repeat(np.arange(len(masks)), trials)
    drawn = sl.draw_trials(net, strategy, len(owner), shared=SHARED, seed=5)
    rows = (a.reshape(len(owner), -1) for a in (drawn.student, drawn.x, drawn.y))
    points = np.concatenate([base.point[None], system.data(*rows, drawn.teacher)])
    trial_of = np.repeat(np.arange(len(owner)), base.found[owner])
    start = np.concatenate([base.solutions[m] for m in owner])
    return Problem(net, system, base, drawn, masks[owner], owner, points, trial_of, start)


def run(options: Options) -> Iterator[Table | Listing]:
    for case, sizes in CASES.items():
        problem = problem_of(*sizes, allocations=6 if options.quick else ALLOCATIONS, trials=10 if options.quick else TRIALS)
        degree = int(np.median(problem.base.found))
        lost = int((problem.track().status != CONVERGED).sum())
        match = problem.decide().match
        counts = f"{(match == 1).sum()} yes, {(match == 0).sum()} no, {(match == -1).sum()} undecided"
        paths, trials = interleave(
            [
                Candidate(OURS, OURS, problem.track, len(problem.start), f"{lost} of {len(problem.start)} did not end"),
                Candidate(OURS, OURS, problem.decide, len(match), counts),
            ],
            options,
        )
        where = f"r = kappa = {problem.system.kappa}, median degree {degree}, one thread"
        yield Table("W6", f"{case}, paths", "float64", "paths", where, [paths], goal=goal_of("W6", "float64", f"{case}, paths"))
        yield Table("W6", f"{case}, trials", "float64", "trials", where, [trials], goal=goal_of("W6", "float64", f"{case}, trials"))
    yield growth(options)


def growth(options: Options) -> Listing:
    """One more step, one more weight: how degrees and costs grow. 1-5-1."""
    rows = []
    for steps in (4, 5, 6) if options.quick else (4, 5, 6, 7):
        began = time.process_time()
        problem = problem_of(1, 5, 1, steps, allocations=8, trials=4)
        base = problem.base
        spent = time.process_time() - began
        began = time.process_time()
        traces = trace_test(problem.system, base.point, base.indices, base.degrees, base.solutions, threads=1)
        traced = time.process_time() - began
        began = time.process_time()
        out = problem.track()
        took = time.process_time() - began
        rows.append(
            [
                problem.system.kappa,
                float(np.median(base.found)),
                int(base.found.max()),
                len(out.status) / took,
                float(out.steps.mean()),
                spent / len(base.solutions),
                traced / len(traces),
                sum(t.verdict == 1 for t in traces),
            ]
        )
    return Listing(
        "W6",
        "1-5-1, T = r + 1, 8 scattered allocations, one thread; seconds for each allocation",
        ["r", "median degree", "largest", "paths/s", "steps", "monodromy s", "trace test s", "complete"],
        rows,
    )
