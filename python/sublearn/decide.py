"""Does each student of a batch match its targets? Verdicts with their reasons, for given weights and inputs.

The order: what ranks prove (T1), what a linear solve decides (T2, T11 in the last layer), then a search (Newton or descent).
A search proves nothing when it fails: such a student is undecided. Trials are drawn in trial.py and counted in match.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from . import _devices
from ._arrays import common_batch, distinct_rows, float_array, index_rows, learnable, shape_back, thread_count
from ._closed_forms import first_output_right, plain
from ._errors import positive, whole_number
from ._structures import affine
from .allocation import Allocation, check_allocation, check_shared, check_trial_range
from .fit import OPTIMIZERS
from .generic import attained_ranks, required_rank
from .network import Network, Recurrent
from .trial import check_gains

METHODS = ("newton", "descent")
EXACT = "exact"  # what can be solved or enumerated, then (linear) complex solutions followed to the trial, see exact.py
TOLERANCE = {"newton": 1e-20, "descent": 1e-6, EXACT: 1e-20}  # of ||y - y*||^2 / ||y*||^2
WIDE = 3.0  # wide starts: standard deviation over that of the student's own law; 3 to 5 find the most per start
_ROUNDING = 1e4  # a residual above this many eps (of the dtype given) of the numbers it was made of is no rounding error
_EPS = float(np.finfo(np.float64).eps)
_REFINEMENTS = 3


@dataclass(frozen=True)
class Verdicts:
    """match int8 [batch]: 1 yes, 0 no, -1 undecided. certified bool [batch]: proven (see `reason`), not only computed.
    reason str [batch]: "D3", "T1", "T2", "T11", "newton", "descent", and of method "exact" also "paths", "T7", "T8", "D4".
    theta [batch, size]: the solution, or the nearest point found. A certified solution lies next to it; where that is badly conditioned
    (T7), its rounding to float64 may leave a large loss. Where the input lives on a GPU, so do all but `reason`.
    loss [batch]: ||f(theta) - y||^2 / ||y||^2. start int [batch]: the first start that matched, -1 if none did.
    """

    match: np.ndarray
    certified: np.ndarray
    reason: np.ndarray
    theta: np.ndarray
    loss: np.ndarray
    start: np.ndarray


def decide(net: Network, theta: np.ndarray, x: np.ndarray, y: np.ndarray, allocation: object, shared: tuple[str, ...] = (),
           method: str = "newton", *, screen: bool = True, starts: int = 30, tol: float | None = None, seed: int = 0,
           task: int = 0, first: int = 0, gains: dict | None = None, iterations: int = 200, steps: int = 10_000,
           optimizer: str = "adam", lr: float = 1e-2, teacher: np.ndarray | None = None, threads: int | None = None, backend: str = "auto",
           stream: object = None) -> Verdicts:
    """Is there theta_A with f(theta_A, frozen; x) = y (D4), for every student of a batch?

    theta [batch, size] (the students), x [batch, *net.x_shape], y [batch, *net.y_shape], float64 (float32 is computed in float64, but
    where kappa is below the number of equations, targets rounded to float32 lie off the reachable outputs: expect undecided students);
    allocation: an Allocation, or a bool array [size] or [batch, size]. Any batch axis may be absent. Steps, each for those left over:

    0. an output that no free weight reaches (y_1 where all groups but W are shared) is wrong: no ("D3": no teacher shares these groups).
    1. screen (T1; linear and tanh): fewer attained than required rank: no. This assumes a generic teacher that shares the groups
       `shared` with the student; it is proven up to the error of a rank mod two primes (below 1e-12 here). `screen=False` leaves it out.
    2. outputs affine in the learnable weights (T2, T11): linear least squares. A zero residual is a yes, a clear one a no.
    3. method "newton": Levenberg-Marquardt; start 0 is theta itself, the others N(0, (3 gain)^2 / fan_in), at most `iterations` each; or
       "descent": `optimizer` from theta, `steps` steps of rate `lr`. Yes when the relative loss ||f - y||^2 / ||y||^2 falls
       below tol (newton 1e-20, descent 1e-6); otherwise undecided.
       method "exact": structures of T7 and affine parts are solved by substitution and certified by an enclosure (triangular.py; tanh
       and relu: a row form with no other learnable weight gets its no as well, when an activity would have to lie outside the values
       of phi by more than 1e-12 and the error bound). Then, linear (exact.py): a few Newton starts (at most 4 of `starts`), and the
       complex solutions followed to this trial. A yes is certified where Krawczyk's test proves a solution; "T8" is a yes by theorem,
       with theta only the nearest point found. A no found by paths rests on a complete set of complex solutions (estimated error
       1e-6), and is not called certified. teacher [batch, size]: needed where kappa is below the number of equations that depend on
       the weights; without it such trials stay undecided where Newton finds nothing. relu networks that learn in one hidden layer
       only, at any depth, with at most 8 samples: all activation patterns (T11, relu_exact.py; margins below 1e-9, and searches of more
       than 20 000 linear programmes, are left to Newton's method).
       tanh and relu: Newton for what is left.

    seed, task, first: the starts of student k are those of trial first + k (D3), so verdicts do not depend on the batch.
    Arrays of numpy, torch or cupy; on a GPU (or with backend="cuda") outputs, Jacobians, searches and complex paths run there, ranks and
    linear solves on the CPU, which waits for the GPU. Many paths at a time go to a GPU by themselves, unless backend="cpu".
    Errors: TypeError and ValueError that name the argument.
    """
    place = _devices.place(backend, stream, theta=theta, x=x, y=y, allocation=allocation, teacher=teacher)
    check_method(net, method)
    shared = check_shared(net, shared)
    given = [float_array(name, _devices.to_numpy(name, value) if place.device else value, shape) for name, value, shape in
             (("theta", theta, (net.size,)), ("x", x, net.x_shape), ("y", y, net.y_shape))]
    eps = max(float(np.finfo(rows.rows.dtype).eps) for rows in given)
    students, inputs, targets = map(_in_double, given)
    masks = learnable(net, allocation)
    check_allocation(net, Allocation.from_mask(net, masks.rows.any(axis=0)), shared)
    batch = common_batch(theta=students, x=inputs, y=targets, allocation=masks)
    count = 1 if batch is None else batch
    seed, task, first, _ = check_trial_range(seed, task, first, count)
    starts = whole_number("starts", starts, 1)
    tol = check_tolerance(tol, method)
    problem = _Problem(net, shared, *(np.broadcast_to(a.rows, (count, a.rows.shape[1])) for a in (students, inputs, targets, masks)),
                       tol=tol, threads=thread_count(threads), kernels=place.host(), eps=eps)
    paths = None if backend == "auto" and isinstance(place, _devices.HostPlace) else problem.kernels
    open_ = np.ones(count, dtype=bool)
    _constant(problem, open_)
    if screen and net.activation != "relu":
        _screen(problem, open_)
    _solve_affine(problem, open_)
    if method == EXACT:
        answers = None
        if teacher is not None:
            answers = _in_double(float_array("teacher", _devices.to_numpy("teacher", teacher), (net.size,))).rows
            answers = np.broadcast_to(answers, (count, net.size))
        _exact(problem, open_, screen, answers, searched_starts(net, method, starts), seed, task, first, check_gains(net, gains),
               whole_number("iterations", iterations, 1), paths)
    elif method == "newton":
        _newton(problem, open_, starts, seed, task, first, check_gains(net, gains), whole_number("iterations", iterations, 1))
    else:
        check_search(method, iterations, steps, optimizer, lr)
        _descend(problem, open_, steps, optimizer, lr)
    back = lambda array, shape=(): place.give(shape_back(array, batch, shape))  # noqa: E731
    return Verdicts(back(problem.match), back(problem.certified), back(problem.reason), back(problem.theta, (net.size,)),
                    back(problem.loss), back(problem.start))


def check_method(net: Network, method: str) -> None:
    if method not in (*METHODS, EXACT):
        raise ValueError(f"method: expected one of {', '.join(METHODS)}, {EXACT}, got {method!r}")


def check_search(method: str, iterations: int = 200, steps: int = 10_000, optimizer: str = "adam", lr: float = 1e-2) -> dict:
    """The options of a search by newton or descent, as far as the method uses them."""
    if method == "newton":
        return {"iterations": whole_number("iterations", iterations, 1)}
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer: expected one of {', '.join(OPTIMIZERS)}, got {optimizer!r}")
    positive("lr", lr)
    return {"steps": whole_number("steps", steps, 0), "optimizer": optimizer, "lr": lr}


def solve_affine(net: Network, shared: tuple[str, ...], theta: np.ndarray, x: np.ndarray, y: np.ndarray, masks: np.ndarray, tol: float,
                 threads: int = 0) -> np.ndarray:
    """Step 2 of `decide` alone, on the CPU, for rows float64 [count, ..] and masks bool [count, size]: int8 [count], -1 left open."""
    problem = _Problem(net, shared, theta, x, y, masks, tol=tol, threads=threads, kernels=_devices.place("cpu"))
    _solve_affine(problem, np.ones(len(theta), dtype=bool))
    return problem.match


def searched_starts(net: Network, method: str, starts: int) -> int:
    """How many of `starts` a method uses: 1 for descent; at most 4 before the paths of a linear network are followed."""
    if method == EXACT and plain(net).activation == "linear":
        return min(starts, 4)
    return 1 if method == "descent" else starts


def check_tolerance(tol: float | None, method: str) -> float:
    if tol is None:
        return TOLERANCE[method]
    return positive("tol", tol, none=True)


class _Problem:
    """The batch as rows, and the verdicts while they are being filled in."""

    def __init__(self, net, shared, students, x, y, masks, tol, threads, kernels, eps=_EPS):
        self.net, self.shared, self.tol, self.threads, self.kernels = net, shared, tol, threads, kernels
        self.eps = eps  # what the numbers given were rounded to
        self.x, self.y = np.ascontiguousarray(x), np.ascontiguousarray(y)
        self.masks = masks
        self.theta = np.array(students)
        count = len(self.theta)
        self.match = np.full(count, -1, dtype=np.int8)
        self.certified = np.zeros(count, dtype=bool)
        self.reason = np.full(count, "", dtype="<U8")
        self.start = np.full(count, -1, dtype=np.int32)
        self.norm = np.sum(self.y**2, axis=1)
        self.loss = self.relative_loss(self.theta, slice(None))

    def relative_loss(self, theta, rows):
        residual = self.residual(theta, rows)
        loss, norm = np.sum(residual**2, axis=1), self.norm[rows]
        return loss / np.where(norm > 0, norm, 1.0)

    def residual(self, theta, rows):
        return self.y[rows] - self.kernels.outputs(self.net.shape, np.ascontiguousarray(theta), self.x[rows], self.threads)

    def settle(self, rows, match, reason, certified=False, start=-1):
        self.match[rows], self.reason[rows], self.certified[rows], self.start[rows] = match, reason, certified, start


def _constant(problem: _Problem, open_: np.ndarray) -> None:
    """Recurrent, everything but W shared: y_1 is the same for all W, so a student that misses it has no match."""
    net = problem.net
    if not isinstance(net, Recurrent) or not first_output_right(net, problem.shared):
        return
    groups = net.unpack(problem.theta)
    miss = np.abs(problem.residual(problem.theta, slice(None))[:, : net.outputs])
    x = problem.x[:, : net.inputs]
    into = (np.abs(groups["B"]) * np.abs(x)[:, None]).sum(axis=2) + (np.abs(groups["b"]) if "b" in groups else 0.0)
    size = (np.abs(groups["D"]) * into[:, None]).sum(axis=2) + (np.abs(groups["c"]) if "c" in groups else 0.0)
    rows = open_ & (miss > _ROUNDING * problem.eps * (size + np.abs(problem.y[:, : net.outputs]))).any(axis=1)
    problem.settle(rows, 0, "D3")
    open_ &= ~rows


def _screen(problem: _Problem, open_: np.ndarray) -> None:
    """T1: rank below the required one proves that there is no match. One rank for every distinct mask."""
    masks, which = distinct_rows(problem.masks)
    deficient = attained_ranks(problem.net, masks, problem.shared) < required_rank(problem.net, problem.shared)
    rows = open_ & deficient[which]
    problem.settle(rows, 0, "T1", certified=True)
    open_ &= ~rows


def _solve_affine(problem: _Problem, open_: np.ndarray) -> None:
    """y is affine in the learnable weights: least squares, refined by the residual at the new point."""
    net = problem.net
    masks, which = distinct_rows(problem.masks)
    straight = affine(net, masks)[which] & open_
    if not straight.any():
        return
    label = "T11" if net.activation == "relu" else "T2"
    for rows in _by_budget(problem.masks, straight):
        budget = int(problem.masks[rows[0]].sum())
        theta = problem.theta[rows]
        scale = np.sqrt(problem.norm[rows])  # of the numbers that cancel in a residual
        if budget:
            indices = index_rows(problem.masks[rows])
            J = problem.kernels.jacobian(net.shape, theta, problem.x[rows], indices, problem.threads)
            # Singular values below the rounding of J itself are zero: saturated systems have them.
            u, s, vt = np.linalg.svd(J, full_matrices=False)
            keep = s > s[:, :1] * max(J.shape[1:]) * 4 * _EPS
            inverse = np.where(keep, 1.0 / np.where(keep, s, 1.0), 0.0)
            place = np.arange(len(rows))[:, None]
            for _ in range(_REFINEMENTS):
                residual = problem.residual(theta, rows)
                step = np.einsum("bkr,bk->br", vt, inverse * np.einsum("bek,be->bk", u, residual))
                trial = theta.copy()
                trial[place, indices] += step
                better = problem.relative_loss(trial, rows) < problem.relative_loss(theta, rows)
                theta = np.where(better[:, None], trial, theta)
            scale = scale + s[:, 0] * np.linalg.norm(theta[place, indices], axis=1)
        loss = problem.relative_loss(theta, rows)
        problem.theta[rows], problem.loss[rows] = theta, loss
        yes = loss < problem.tol
        miss = np.sqrt(loss * np.where(problem.norm[rows] > 0, problem.norm[rows], 1.0))
        no = ~yes & (miss > _ROUNDING * problem.eps * scale)
        problem.settle(rows[yes], 1, label, start=0)
        problem.settle(rows[no], 0, label)
        open_[rows[yes | no]] = False


def _by_budget(masks: np.ndarray, chosen: np.ndarray):
    budgets = masks.sum(axis=1)
    for budget in np.unique(budgets[chosen]):
        yield np.flatnonzero(chosen & (budgets == budget))


def _newton(problem, open_, starts, seed, task, first, gains, iterations) -> None:
    net = problem.net
    scale = start_scale(net, gains)
    for rows in _by_budget(problem.masks, open_):
        masks = problem.masks[rows]
        indices = index_rows(masks[:1] if (masks == masks[0]).all() else masks)
        trials = (np.uint32(first) + rows).astype(np.uint32)
        out = problem.kernels.newton(net.shape, problem.theta[rows], problem.x[rows], problem.y[rows], indices, scale, starts, iterations,
                          problem.tol, seed, task, trials, problem.threads)
        found = out["found"]
        finite = np.isfinite(out["loss"])
        problem.theta[rows[finite]], problem.loss[rows[finite]] = out["theta"][finite], out["loss"][finite]
        problem.settle(rows, np.where(found >= 0, 1, -1), "newton", start=found)


def _exact(problem, open_, screen, teacher, starts, seed, task, first, gains, iterations, paths) -> None:
    from .triangular import more_plans, plans

    _certify_affine(problem)
    _substitute(problem, open_, plans)
    _enumerate(problem, open_)
    if plain(problem.net).activation != "linear":
        students = problem.theta.copy()
        _newton(problem, open_, starts, seed, task, first, gains, iterations)
        _substitute(problem, open_ & (problem.match == -1), more_plans, students)
        return
    from .exact import settle  # imports the tracker: only where it is asked for

    if not screen and open_.any():  # paths are for full ranks; below them a search is all there is
        masks, which = distinct_rows(problem.masks)
        low = attained_ranks(problem.net, masks, problem.shared) < required_rank(problem.net, problem.shared)
        _newton(problem, open_ & low[which], starts, seed, task, first, gains, iterations)
        open_ = open_ & ~low[which]
    rows = np.flatnonzero(open_)
    if not len(rows):
        return
    students = problem.theta.copy()
    _newton(problem, open_, starts, seed, task, first, gains, iterations)
    _substitute(problem, open_ & (problem.match == -1), more_plans, students)  # after Newton's method, which is cheaper than this search
    rows = rows[problem.reason[rows] == "newton"]
    if not len(rows):
        return
    students = students[rows]
    found, start = problem.match[rows] == 1, problem.start[rows].copy()
    students[found] = problem.theta[rows[found]]
    verdict = settle(problem.net, problem.shared, students, problem.x[rows], problem.y[rows], problem.masks[rows],
                     None if teacher is None else teacher[rows], found, problem.threads, kernels=paths)
    better = (verdict.match == 1) & np.isin(verdict.reason, ("newton", "paths"))  # elsewhere the nearest point of Newton's method stays
    problem.theta[rows[better]] = verdict.theta[better]
    problem.loss[rows] = problem.relative_loss(problem.theta, slice(None))[rows]
    problem.match[rows], problem.certified[rows], problem.reason[rows], problem.start[rows] = (
        verdict.match, verdict.certified, verdict.reason, np.where(found, start, -1))


def _certify_affine(problem: _Problem) -> None:
    """The solutions of affine systems, proven: the square part with the best pivots is solved again, next to the one found."""
    rows = np.flatnonzero((problem.match == 1) & np.isin(problem.reason, ("T2", "T11")))
    if not len(rows):
        return
    trials = problem.net, problem.theta[rows], problem.x[rows], problem.y[rows]
    if problem.net.activation == "relu":
        from ._relu_proofs import prove_last

        theta, proven = prove_last(*trials, problem.masks[rows])
    else:
        from .triangular import Plan, solve

        theta, _, proven, *_ = solve(problem.net, problem.shared, *trials[1:], [Plan("affine", mask) for mask in problem.masks[rows]])
    problem.certified[rows] = proven
    loss = problem.relative_loss(theta, rows)
    better = proven & (loss <= problem.loss[rows])
    problem.theta[rows[better]], problem.loss[rows[better]] = theta[better], loss[better]


def _substitute(problem: _Problem, open_: np.ndarray, search, students: np.ndarray | None = None) -> None:
    """T7, T2: trials whose allocation holds a structure that is solved block by block, as far as its hypotheses are proven for them.

    search: which structures are looked for; students [count, size]: what surplus weights keep, if theta has moved since.
    """
    from .triangular import solve

    masks, which = distinct_rows(problem.masks)
    used = np.unique(which[open_])
    known = dict(zip(used.tolist(), search(problem.net, masks[used], problem.shared))) if len(used) else {}
    for attempt in range(max(map(len, known.values()), default=0)):
        rows = np.array([k for k in np.flatnonzero(open_) if attempt < len(known[which[k]])], dtype=np.int64)
        if not len(rows):
            break
        made = [known[which[k]][attempt] for k in rows]
        students = problem.theta if students is None else students
        found = solve(problem.net, problem.shared, students[rows], problem.x[rows], problem.y[rows], made)
        refused = found.refused & np.array([plan.whole for plan in made])
        yes = rows[found.proven]
        problem.theta[yes] = found.theta[found.proven]
        problem.loss[yes] = problem.relative_loss(problem.theta[yes], yes)
        problem.settle(yes, 1, np.where([plan.name == "affine" for plan in made], "T2", "T7")[found.proven], certified=True)
        problem.settle(rows[refused], 0, "T7", certified=True)
        open_[rows[found.proven | refused]] = False


def _enumerate(problem: _Problem, open_: np.ndarray) -> None:
    """T11: relu networks that learn in one hidden layer only: all activation patterns."""
    from .relu_exact import applies, settle

    masks, which = distinct_rows(problem.masks)
    rows = np.flatnonzero(open_ & applies(problem.net, masks)[which])
    if not len(rows):
        return
    match, theta, proven = settle(problem.net, problem.theta[rows], problem.x[rows], problem.y[rows], problem.masks[rows])
    yes, told = match == 1, match >= 0
    problem.theta[rows[yes]] = theta[yes]
    problem.loss[rows[yes]] = problem.relative_loss(theta[yes], rows[yes])
    problem.settle(rows[told], match[told], "T11", certified=proven[told])
    open_[rows[told]] = False


def start_scale(net: Network, gains: np.ndarray) -> np.ndarray:
    """Standard deviation of the wide starts, for every weight."""
    scale = np.empty(net.size)
    for (name, where), gain in zip(net.slices.items(), gains):
        fan_in = net.fan_in[name]
        scale[where] = WIDE * gain / math.sqrt(fan_in) if fan_in else WIDE * gain
    return scale


def _descend(problem, open_, steps, optimizer, lr) -> None:
    net = problem.net
    rows = np.flatnonzero(open_)
    if not len(rows):
        return
    masks = problem.masks[rows]
    indices = index_rows(masks[:1] if (masks == masks[0]).all() else masks, pad=net.size)
    out = problem.kernels.fit(net.shape, problem.theta[rows], problem.x[rows], problem.y[rows], indices, steps, OPTIMIZERS.index(optimizer),
                   lr, problem.tol, problem.threads)
    theta = out["theta"]
    loss = problem.relative_loss(theta, rows)
    problem.theta[rows], problem.loss[rows] = theta, loss
    yes = loss < problem.tol
    problem.settle(rows, np.where(yes, 1, -1), "descent", start=np.where(yes, 0, -1))


def _in_double(rows):
    rows.rows = rows.rows.astype(np.float64, copy=False)
    return rows
