"""Method "exact": theorems, substitution, enumeration, and the complex solutions followed to the trial."""

from __future__ import annotations

import numpy as np

from ..existence import by_hull, by_paths, by_patterns
from ..existence.by_substitution import Plan, more_plans, plans, solve
from ..existence.pattern_proofs import prove_last
from ..homotopy.system import system_of
from ..model.layers import last_layer, plain
from ..model.reasons import Reason
from ..ops.arguments import distinct_rows
from ..ops.units import constant_outputs, reach
from ..ranks.generic_rank import attained_ranks, required_rank
from .methods import EXACT, TOLERANCE
from .problem import EXACTLY, NO_NEAR_MISS, Problem
from .searches import search_by_newton

_UNSEEN = 1e-12  # of the targets: what is smaller is lost in linear programmes


def decide_exactly(problem, open_, starts, keys, iterations, paths) -> None:
    linear = plain(problem.net).activation == "linear" and not problem.net.extended  # paths are followed in plain networks only
    _certify_affine(problem)
    _substitute(problem, open_, plans)
    _enumerate(problem, open_)
    _separate(problem, open_, keys, iterations)
    low = np.zeros(len(open_), dtype=bool)
    if linear and open_.any():  # paths are for full ranks; below them a search is all there is
        masks, which = distinct_rows(problem.masks)
        low = (attained_ranks(problem.net, masks, problem.shared) < required_rank(problem.net, problem.shared))[which] & open_
    searched = low if linear else open_.copy()
    if searched.any():
        students = problem.theta.copy()
        search_by_newton(problem, searched, starts, keys, iterations, NO_NEAR_MISS)
        found = np.flatnonzero(searched & (problem.verdicts.match == 1) & (problem.verdicts.reason == "newton"))
        problem.theta[found], good = problem.judge(problem.theta[found], found)
        problem.loss[found] = problem.relative_loss(problem.theta[found], found)
        problem.verdicts.settle(found[~good], -1, "newton")
        _substitute(problem, searched & ~low & (problem.verdicts.match == -1), more_plans, students)
    open_ &= ~searched
    rows = np.flatnonzero(open_)
    if not len(rows):
        return
    students = problem.theta.copy()
    net = plain(problem.net)
    polished = not system_of(net, problem.shared).saturated  # points are polished before they are judged, elsewhere they are not
    search_by_newton(problem, open_, starts, keys, iterations, TOLERANCE[EXACT] if polished else NO_NEAR_MISS)
    _substitute(
        problem, open_ & (problem.verdicts.match == -1), more_plans, students
    )  # after Newton's method, which is cheaper than this search
    for taught in (True, False):
        some = rows[(problem.verdicts.reason[rows] == "newton") & (problem.taught[rows] == taught)]
        if not len(some):
            continue
        own = students[some]
        found, start = problem.verdicts.match[some] == 1, problem.verdicts.start[some].copy()
        own[found] = problem.theta[some[found]]
        trials = by_paths.Rows(
            own, problem.x[some], problem.y[some], problem.masks[some], problem.teacher[some] if taught else None, problem.eps
        )
        judge = lambda theta, k, some=some: problem.judge(theta, some[k])  # noqa: E731
        verdict = by_paths.settle(net, problem.shared, trials, found, by_paths.Asked(judge, problem.drawn, problem.threads, paths))
        better = (verdict.match == 1) & np.isin(verdict.reason, ("newton", "paths"))  # elsewhere the nearest point of Newton's method stays
        problem.theta[some[better]] = verdict.theta[better]
        problem.loss[some] = problem.relative_loss(problem.theta[some], some)
        problem.verdicts.match[some], problem.verdicts.certified[some], problem.verdicts.reason[some], problem.verdicts.start[some] = (
            verdict.match,
            verdict.certified,
            verdict.reason,
            np.where(found & (verdict.match == 1), start, -1),
        )
        # What was solved and certified are the equations that some weight can change; the others must hold up to rounding.
        proven = some[verdict.certified]
        still = constant_outputs(net, problem.masks[proven]) | ~system_of(net, problem.shared).moving
        off = proven[
            (
                (np.abs(problem.residual(problem.theta[proven], proven)) > EXACTLY * problem.rounding(problem.theta[proven], proven))
                & still
            ).any(axis=1)
        ]
        problem.verdicts.settle(off, -1, "newton")


def _certify_affine(problem: Problem) -> None:
    """The solutions of affine systems, proven: the square part with the best pivots is solved again, next to the one found."""
    rows = np.flatnonzero((problem.verdicts.match == 1) & np.isin(problem.verdicts.reason, ("T2", "T11")) & problem.masks.any(axis=1))
    if not len(rows):
        return
    if problem.net.activation == "relu":
        theta, proven = prove_last(problem.net, problem.theta[rows], problem.x[rows], problem.y[rows], problem.masks[rows])
    else:
        found = solve(
            problem.net,
            problem.shared,
            problem.theta[rows],
            problem.x[rows],
            problem.y[rows],
            [Plan("affine", mask) for mask in problem.masks[rows]],
            problem.eps,
            *_teachers(problem, rows),
            problem.threads,
        )
        theta, proven = found.theta, found.proven
    problem.verdicts.certified[rows] = proven
    loss = problem.relative_loss(theta, rows)
    better = proven & (loss <= problem.loss[rows])
    problem.theta[rows[better]], problem.loss[rows[better]] = theta[better], loss[better]


def _teachers(problem: Problem, rows: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
    """(teachers or None, which of them y is the rounding of) of some trials."""
    return None if problem.teacher is None else problem.teacher[rows], problem.taught[rows]


def _substitute(problem: Problem, open_: np.ndarray, search, students: np.ndarray | None = None) -> None:
    """T7, T2: trials whose allocation holds a structure that is solved block by block, as far as its hypotheses are proven for them.

    search: which structures are looked for; students [count, size]: what surplus weights keep, if theta has moved since.
    """
    masks, which = distinct_rows(problem.masks)
    used = np.unique(which[open_])
    known = search(problem.net, masks[used], problem.shared) if len(used) else []
    place, count = np.zeros(len(masks), dtype=np.int64), np.zeros(len(masks), dtype=np.int64)
    place[used], count[used] = np.arange(len(used)), [len(some) for some in known]
    for attempt in range(count.max(initial=0)):
        rows = np.flatnonzero(open_ & (count[which] > attempt))
        if not len(rows):
            break
        made = [known[k][attempt] for k in place[which[rows]].tolist()]
        students = problem.theta if students is None else students
        found = solve(
            problem.net,
            problem.shared,
            students[rows],
            problem.x[rows],
            problem.y[rows],
            made,
            problem.eps,
            *_teachers(problem, rows),
            problem.threads,
        )
        refused = found.refused & np.array([plan.whole for plan in made])
        refused[refused] = ~problem.coarse(rows[refused])
        yes = found.proven.copy()
        near = np.flatnonzero(found.solved & ~found.proven & ~refused)  # solved, but not all that is asked for is part of the proof
        if len(near):
            yes[near] = problem.no_near_miss(found.theta[near], rows[near])
        at = rows[yes]
        problem.theta[at] = found.theta[yes]
        problem.loss[at] = problem.relative_loss(problem.theta[at], at)
        problem.verdicts.settle(at, 1, np.where([plan.name == "affine" for plan in made], "T2", "T7")[yes], certified=found.proven[yes])
        problem.verdicts.settle(rows[refused], 0, "T7", certified=True)
        open_[rows[yes | refused]] = False


def _enumerate(problem: Problem, open_: np.ndarray) -> None:
    """T11: relu networks that learn in one hidden layer only: all activation patterns."""
    masks, which = distinct_rows(problem.masks)
    rows = np.flatnonzero(open_ & by_patterns.applies(problem.net, masks)[which])
    if not len(rows):
        return
    found = by_patterns.settle(
        problem.net, problem.theta[rows], problem.x[rows], problem.y[rows], problem.masks[rows], problem.eps, problem.threads
    )
    match, theta, proven = found.match, found.theta, found.certified
    doubt = np.flatnonzero((match == 1) & ~proven)
    match[doubt[~problem.no_near_miss(theta[doubt], rows[doubt])]] = -1
    no = np.flatnonzero(match == 0)
    weights, bias = problem.theta[rows[no]], last_layer(problem.net)[1]
    if bias is not None:
        weights[:, problem.net.slices[bias]] = 0.0
    with np.errstate(all="ignore"):  # beside such targets the programmes do not see what the student's own units do
        own, asked = reach(problem.net, weights, problem.x[rows[no]]).max(axis=1), np.abs(problem.y[rows[no]]).max(axis=1)
    match[no[problem.coarse(rows[no], by_programmes=True) | ((own > 0) & (asked * _UNSEEN > own))]] = -1
    yes, told = match == 1, match >= 0
    problem.theta[rows[yes]] = theta[yes]
    problem.loss[rows[yes]] = problem.relative_loss(theta[yes], rows[yes])
    problem.verdicts.settle(rows[told], match[told], "T11", certified=proven[told])
    open_[rows[told]] = False


def _separate(problem: Problem, open_: np.ndarray, keys: tuple[int, int, int], iterations: int) -> None:
    """T13: only units of the last hidden layer learn, each its bias or incoming weights (tanh; relu where there are too many patterns):
    proofs that there is no match. Where there is none, Newton's method starts at what the linear programme found: start 1, before all
    others."""
    masks, which = distinct_rows(problem.masks)
    rows = np.flatnonzero(open_ & by_hull.applies(problem.net, masks)[which])
    if not len(rows):
        return
    off = EXACTLY * problem.rounding(problem.student[rows], rows, widely=True)
    taught = np.flatnonzero(problem.taught[rows])
    if len(taught):  # y stands for the exact outputs of its teacher, which may be further off than a first derivative tells
        off[taught] = np.maximum(off[taught], problem.off_teacher(rows[taught]))
    no, directions, starts = by_hull.settle(
        problem.net, problem.theta[rows], problem.x[rows], problem.y[rows], problem.masks[rows], off, problem.threads
    )
    at = rows[no]
    problem.verdicts.settle(at, 0, Reason.HULL, certified=True)
    problem.keep_directions(at, directions[no])
    open_[at] = False
    rest, students = rows[~no], problem.theta[rows[~no]]
    losses = problem.loss[rest]
    problem.theta[rest] = starts[~no]
    near = np.zeros(len(open_), dtype=bool)
    near[rest] = True
    search_by_newton(problem, near, 1, keys, iterations, NO_NEAR_MISS)
    found = problem.verdicts.match[rest] == 1
    good = np.zeros(len(rest), dtype=bool)
    if found.any():
        problem.theta[rest[found]], good[found] = problem.judge(problem.theta[rest[found]], rest[found])
    problem.loss[rest[good]] = problem.relative_loss(problem.theta[rest[good]], rest[good])
    problem.theta[rest[~good]], problem.loss[rest[~good]] = students[~good], losses[~good]
    problem.verdicts.settle(rest[~good], -1, "newton")
    problem.verdicts.settle(rest[good], 1, "newton", start=1)
    open_[rest[good]] = False
