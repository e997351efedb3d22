"""Does each student of a batch match its targets? Verdicts with their reasons, for given weights, inputs and targets.

The order: what the student does already (D4), outputs that nothing can change, what a linear solve decides (T2, T11 in the last layer),
then a search (Newton or descent). A search proves nothing when it fails: such a student is undecided. `decide` judges the numbers it is
given; what holds for generic teachers only (the rank screen T1, T8) belongs to trials drawn from a law (`decide_drawn`, for
match/probability.py).
All work is done in the units of ops/units.py, so verdicts do not depend on the user's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from .._checks import LARGEST_INT, LARGEST_LONG, positive, whole_number
from ..backend import places
from ..backend.compiled import cpu
from ..backend.selection import Backend
from ..data.trials import check_gains
from ..model.allocation import Allocation, check_allocation, check_shared, check_trial_range
from ..model.layers import last_layer, plain
from ..model.network import Network, Recurrent
from ..numerics.doubledouble import Ball
from ..ops.arguments import common_batch, distinct_rows, float_array, index_rows, learnable, shape_back, thread_count
from ..ops.fit import OPTIMIZERS, Optimizer
from ..ops.rank import rank as float_rank
from ..ops.units import Units, constant_outputs, reach, size_of, units
from ..ranks.affine import affine
from ..ranks.generic_rank import attained_ranks, free_weights, required_rank

Method = Literal["newton", "descent", "exact"]
METHODS = ("newton", "descent")
EXACT = "exact"  # what can be solved or enumerated, then (linear) complex solutions followed to the trial, see existence/by_paths.py
TOLERANCE = {"newton": 1e-20, "descent": 1e-6, EXACT: 1e-20}  # of ||y - y*||^2 / ||y*||^2
OPTIONS = {
    "newton": {"starts": 30, "iterations": 200},
    EXACT: {"starts": 30, "iterations": 200},
    "descent": {"starts": 1, "steps": 10_000, "optimizer": "adam", "lr": 1e-2},
}  # what each method takes, with its defaults
MOST_STARTS = 2**24  # counts of matches are kept for each
# Version of the rules by which a method gives verdicts. Raise a method's number with every change that can give any trial another verdict:
# rows of a study by older rules are then set aside and computed anew, never added to newer ones (study/store.py).
RULES = {"newton": 2, "descent": 2, EXACT: 2}
WIDE = 3.0  # wide starts: standard deviation over that of the student's own law; 3 to 5 find the most per start
NO_NEAR_MISS = 1e-26  # relative loss below which an uncertified point counts as existing: of 400 000 starts with kappa - 1 weights six came
#   below 1e-20, none below 1e-24
_OWN_SCALE = 1e-12  # .. and every output must be met to so much of what the learnable weights contribute to it
_ROUNDING = 1e4  # a residual above this many eps (of the dtype given) of the numbers it was made of is no rounding error
_EXACTLY = 64  # within so many eps of them it is one
_NOTHING = 1e-280  # error bounds are never below some 1e-290
_TAUGHT = 1e-8  # targets that miss a teacher's outputs by more, relative to the largest, are not its targets, whatever rounding explains
_EPS = float(np.finfo(np.float64).eps)
_REFINEMENTS = 3
_SCREEN_DRAWS, _SCREEN_BYTES = 3, 2**26
_CLEAR = 1e-9  # singular values above this share of the largest are not zero


@dataclass(frozen=True, eq=False)
class Verdicts:
    """match int8 [batch]: 1 yes, 0 no, -1 undecided. certified bool [batch]: proven (see `reason`), not only computed.
    reason str [batch]: "D4" (the student as it is), "D3", "T1", "T2", "T11", "newton", "descent", and of method "exact" also "paths", "T7",
    "T8", "D4" (everything is free, so the teacher itself is a solution).
    certified, yes: weights next to theta give exactly y, in real arithmetic, in every output that learnable weights reach; the others are y
    up to their rounding. No: no weights give y, or any other numbers that round to it. Where `teacher` was given and y is what it computes
    to, up to rounding, y stands for its exact outputs in both. theta [batch, size]: the solution, or the nearest point found. A certified
    solution lies next to it; where that is badly conditioned (T7), its rounding to float64 may leave a large loss. Where the input lives on
    a GPU, so do all but `reason`.
    loss [batch]: ||f(theta) - y||^2 / ||y||^2, for y = 0 over the student's own ||f||^2. start int [batch]: the first start that matched,
    -1 if none did.
    """

    match: np.ndarray
    certified: np.ndarray
    reason: np.ndarray
    theta: np.ndarray
    loss: np.ndarray
    start: np.ndarray


def decide(
    net: Network,
    theta: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    allocation: object,
    shared: tuple[str, ...] = (),
    method: Method = "newton",
    *,
    screen: bool = False,
    starts: int | None = None,
    tol: float | None = None,
    seed: int = 0,
    task: int = 0,
    first: int = 0,
    gains: dict | None = None,
    iterations: int | None = None,
    steps: int | None = None,
    optimizer: Optimizer | None = None,
    lr: float | None = None,
    teacher: np.ndarray | None = None,
    threads: int | None = None,
    backend: Backend = "auto",
    stream: object = None,
) -> Verdicts:
    """Is there theta_A with f(theta_A, frozen; x) = y (D4), for every student of a batch?

    theta [batch, size] (the students), x [batch, *net.x_shape], y [batch, *net.y_shape], float64 (float32 is computed in float64, but
    where kappa is below the number of equations, targets rounded to float32 lie off the reachable outputs: expect undecided students);
    allocation: an Allocation, or a bool array [size] or [batch, size]. Any batch axis may be absent. Steps, each for those left over:

    0. the student meets its targets as it is, up to rounding: yes ("D4"). An output that no learnable weight reaches (y_1 where only W
       learns) is wrong: no ("D3": no teacher shares what it depends on).
    1. screen=True (T1; linear and tanh): fewer attained than required rank, at the given x and with the given shared groups, for random
       other weights: no. It answers for a generic teacher that shares the groups `shared` with the student, not for the targets given:
       never certified.
    2. outputs affine in the learnable weights (T2, T11): linear least squares. A zero residual is a yes, a clear one a no.
    3. method "newton": Levenberg-Marquardt; start 0 is theta itself, the others N(0, (3 gain)^2 / fan_in), at most `iterations` (200) each,
       `starts` (30) of them; without `gains`, gain is the power of two nearest to that of the student's own weights in the group; or
       "descent": `optimizer` ("adam") from theta, `steps` (10 000) steps of rate `lr` (0.01). Yes when the relative loss ||f - y||^2 /
       ||y||^2 falls below tol (newton 1e-20, descent 1e-6); otherwise undecided.
       method "exact": structures of T7 and affine parts are solved by substitution and certified by an enclosure
       (existence/by_substitution.py; tanh and relu: a row form with no other learnable weight gets its no as well, when an activity would
       have to lie outside the values of phi by more than rounding can explain). Then, linear (existence/by_paths.py): a few Newton starts
       (at most 4 of `starts`), and the complex solutions followed to this trial. A yes is certified where Krawczyk's test proves a
       solution. A point that is not certified counts below a relative loss of 1e-26 only. A no found by paths rests on a complete set of
       complex solutions (estimated error 1e-6), and is not called certified. teacher [batch, size]: needed where kappa is below the number
       of equations that depend on the weights; without it such trials stay undecided where Newton finds nothing, and their yes is not
       certified. relu networks that learn in one hidden layer only, at any depth, with at most 8 samples: all activation patterns (T11,
       existence/by_patterns.py; margins below 1e-9, and searches of more than 20 000 linear programmes, are left to Newton's method).
       tanh and relu: Newton for what is left.

    Verdicts do not depend on units: x over c with the first layer times c, y and the last layer times c, and for linear and relu networks
    x, biases and y times c give the same ones, bit for bit for powers of two.
    seed, task, first: the starts of student k are those of trial first + k (D3), so verdicts do not depend on the batch.
    Arrays of numpy, torch or cupy; on a GPU (or with backend="cuda") outputs, Jacobians, searches and complex paths run there, ranks and
    linear solves on the CPU, which waits for the GPU. Many paths at a time go to a GPU by themselves, unless backend="cpu".
    Errors: TypeError and ValueError that name the argument; an option of another method is a TypeError.

    >>> net = sl.Feedforward(widths=(3, 4, 2), samples=3)
    >>> trial = sl.draw_trials(net, sl.only(net, "W2"), 10, shared=("W1",))
    >>> sl.decide(net, trial.student, trial.x, trial.y, trial.mask, ("W1",)).match
    array([1, 1, 1, 1, 1, 1, 1, 1, 1, 1], dtype=int8)
    """
    options = check_options(method, starts=starts, iterations=iterations, steps=steps, optimizer=optimizer, lr=lr)
    return _decide(
        net,
        theta,
        x,
        y,
        allocation,
        shared,
        method,
        screen,
        tol,
        seed,
        task,
        first,
        gains,
        options,
        teacher,
        threads,
        backend,
        stream,
        drawn=False,
    )


def decide_drawn(
    net: Network,
    theta: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    allocation: object,
    shared: tuple[str, ...],
    method: str,
    *,
    teacher: np.ndarray | None,
    screen: bool,
    tol: float,
    gains: dict,
    options: dict,
    seed: int = 0,
    task: int = 0,
    first: int = 0,
    threads: int | None = None,
    backend: str = "auto",
) -> Verdicts:
    """`decide` for trials that were drawn from their law (D3): teacher and inputs are generic, so the screen is that of generic points
    (T1), and degrees count (T8). options: of `check_options`."""
    return _decide(
        net,
        theta,
        x,
        y,
        allocation,
        shared,
        method,
        screen,
        tol,
        seed,
        task,
        first,
        gains,
        options,
        teacher if method == EXACT else None,
        threads,
        backend,
        None,
        drawn=True,
    )


def _decide(
    net, theta, x, y, allocation, shared, method, screen, tol, seed, task, first, gains, options, teacher, threads, backend, stream, drawn
) -> Verdicts:
    place = places.place(backend, stream, theta=theta, x=x, y=y, allocation=allocation, teacher=teacher)
    shared = check_shared(net, shared)
    given = [
        float_array(name, places.to_numpy(name, value) if place.device else value, shape)
        for name, value, shape in (("theta", theta, (net.size,)), ("x", x, net.x_shape), ("y", y, net.y_shape))
    ]
    eps = max(float(np.finfo(rows.rows.dtype).eps) for rows in given)
    students, inputs, targets = map(_in_double, given)
    masks = learnable(net, allocation)
    check_allocation(net, Allocation.from_mask(net, masks.rows.any(axis=0)), shared)
    batch = common_batch(theta=students, x=inputs, y=targets, allocation=masks)
    count = 1 if batch is None else batch
    seed, task, first, _ = check_trial_range(seed, task, first, count)
    tol = check_tolerance(tol, method)
    law = None if gains is None else check_gains(net, gains)
    if teacher is not None:
        if method != EXACT:
            raise TypeError(f'teacher: expected with method "exact" only, got one with method {method!r}')
        teacher = _in_double(float_array("teacher", places.to_numpy("teacher", teacher), (net.size,))).rows
        teacher = np.broadcast_to(teacher, (count, net.size))
    problem = _Problem(
        net,
        shared,
        *(np.broadcast_to(a.rows, (count, a.rows.shape[1])) for a in (students, inputs, targets, masks)),
        tol=tol,
        threads=thread_count(threads),
        kernels=place.host(),
        eps=eps,
        teacher=teacher,
        gains=law,
        drawn=drawn,
    )
    paths = None if backend == "auto" and isinstance(place, places.HostPlace) else problem.kernels
    open_ = np.ones(count, dtype=bool)
    _own(problem, open_, method)
    if method == EXACT:
        problem.to_responses(open_)
    if not drawn:  # the teacher of a drawn trial shares the groups; what its mask cannot reach is a question of ranks
        _constant(problem, open_)
    if screen and net.activation != "relu":
        (_screen if drawn else _screen_here)(problem, open_)
    _solve_affine(problem, open_, exact=method == EXACT)
    keys = seed, task, first
    if method == EXACT:
        _exact(problem, open_, searched_starts(net, method, options["starts"]), keys, options["iterations"], paths)
    elif method == "newton":
        _newton(problem, open_, options["starts"], keys, options["iterations"], tol)
    else:
        _descend(problem, open_, options["steps"], options["optimizer"], options["lr"])
    back = lambda array, shape=(): place.give(shape_back(array, batch, shape))  # noqa: E731
    return Verdicts(
        back(problem.match),
        back(problem.certified),
        back(problem.reason),
        back(problem.solution(), (net.size,)),
        back(problem.true_loss()),
        back(problem.start),
    )


def check_method(method: str) -> None:
    if method not in (*METHODS, EXACT):
        raise ValueError(f"method: expected one of {', '.join(METHODS)}, {EXACT}, got {method!r}")


def check_options(method: str, **given) -> dict:
    """All options of a method, those not given (None) at their defaults. TypeError for one that the method does not take."""
    check_method(method)
    taken = OPTIONS[method]
    known = {name for options in OPTIONS.values() for name in options}
    for name, value in given.items():
        if name not in known:
            raise TypeError(f"options: expected names out of {', '.join(sorted(known))}, got {name!r}")
        if value is not None and name not in taken:
            raise TypeError(f"{name}: method {method!r} takes {', '.join(taken)}, not {name}; got {value!r}")
    options = {name: default if given.get(name) is None else given[name] for name, default in taken.items()}
    options["starts"] = whole_number("starts", options["starts"], 1, note="each start has a count of its own", most=MOST_STARTS)
    if method == "descent":
        if options["starts"] != 1:
            raise ValueError(f'starts: expected 1 with method "descent", which has one start, got {options["starts"]}')
        options["steps"] = whole_number("steps", options["steps"], 0, most=LARGEST_LONG)
        if options["optimizer"] not in OPTIMIZERS:
            raise ValueError(f"optimizer: expected one of {', '.join(OPTIMIZERS)}, got {options['optimizer']!r}")
        options["lr"] = positive("lr", options["lr"])
    else:
        options["iterations"] = whole_number("iterations", options["iterations"], 1, most=LARGEST_INT)
    return options


def solve_affine(
    net: Network,
    shared: tuple[str, ...],
    theta: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    masks: np.ndarray,
    tol: float,
    gains: np.ndarray,
    threads: int = 0,
) -> np.ndarray:
    """Step 2 of `decide` alone, on the CPU, for rows float64 [count, ..] of drawn trials and masks bool [count, size]: int8 [count], -1
    left open."""
    problem = _Problem(net, shared, theta, x, y, masks, tol=tol, threads=threads, kernels=places.place("cpu"), gains=gains, drawn=True)
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
    tol = positive("tol", tol, none=True)
    if method == EXACT and tol != TOLERANCE[EXACT]:
        raise ValueError(f'tol: expected None with method "exact", which asks for existence and has no tolerance, got {tol}')
    return tol


class _Fine(NamedTuple):
    """What a search works on, and what brings the weights it found back."""

    theta: np.ndarray
    x: np.ndarray
    y: np.ndarray
    norm: np.ndarray
    back: Callable[[np.ndarray], np.ndarray]


class _Problem:
    """The batch as rows, in units of its own (ops/units.py), and the verdicts while they are being filled in.

    taught bool [count]: a teacher is given, it shares the groups `shared` with the student, and y is what it computes to, up to rounding.
    """

    def __init__(self, net, shared, students, x, y, masks, tol, threads, kernels, eps=_EPS, teacher=None, gains=None, drawn=False):
        self.net, self.shared, self.tol, self.threads, self.kernels = net, shared, tol, threads, kernels
        self.eps, self.gains, self.drawn = eps, gains, drawn  # eps: what the numbers given were rounded to
        self.given, self.masks = students, masks
        self.units = units(net, students, x, y, gains if drawn else None)
        self.plain_units = not (self.units.theta.any() or self.units.x.any() or self.units.y.any())
        scaled = lambda rows, by: np.array(rows) if self.plain_units else np.ldexp(rows, -by)  # noqa: E731
        self.theta = scaled(students, self.units.theta)
        self.student = self.theta.copy()
        self.x, self.y = scaled(x, self.units.x[:, None]), scaled(y, self.units.y[:, None])
        self.teacher = None if teacher is None else scaled(teacher, self.units.theta)
        self.before = None
        count = len(self.theta)
        self.match = np.full(count, -1, dtype=np.int8)
        self.certified = np.zeros(count, dtype=bool)
        self.reason = np.full(count, "", dtype="<U8")
        self.start = np.full(count, -1, dtype=np.int32)
        self.measure()
        self.taught = np.zeros(count, dtype=bool)
        if teacher is not None:
            common = np.zeros(net.size, dtype=bool)
            for name in shared:
                common[net.slices[name]] = True
            gap = np.abs(self.y - self.kernels.outputs(net.shape, self.teacher, self.x, threads))
            near = gap <= _EXACTLY * eps * (np.abs(self.y) + reach(net, self.teacher, self.x))
            near &= gap <= _TAUGHT * np.abs(self.y).max(axis=1, keepdims=True)
            self.taught = near.all(axis=1) & (self.teacher[:, common] == self.theta[:, common]).all(axis=1)

    def measure(self):
        """norm and loss of the students."""
        with np.errstate(over="ignore", invalid="ignore"):
            own = self.residual(self.theta, slice(None))
            self.norm = np.sum(self.y**2, axis=1)
            zero = ~self.y.any(axis=1)
            self.norm[zero] = np.sum(own[zero] ** 2, axis=1)  # a target of zero: against what the student does now
            self.loss = np.sum(own**2, axis=1) / np.where(self.norm > 0, self.norm, 1.0)

    def to_responses(self, open_):
        """Linear recurrent networks with one input and no biases, where y is a teacher's: the same question of the responses to an impulse.

        Outputs are the response D W^k B convolved with x, so where x_1 != 0 two networks agree in all outputs if and only if they do in all
        responses. These have one more unit: W by w and the response after k steps by w^k. In outputs small late responses hide under large
        early ones.
        """
        net = self.net
        rows = open_ & self.taught & (self.x[:, 0] != 0)
        if not (isinstance(net, Recurrent) and net.activation == "linear" and net.inputs == 1 and not net.bias and rows.any()):
            return
        where = net.slices["W"]
        if self.drawn:
            by = np.full(len(rows), round(float(np.log2(self.gains[list(net.groups).index("W")]))))
        else:
            by = size_of(self.theta[:, where], net.fan_in["W"])
        by = np.where(rows, by, 0)
        self.before = self.x.copy(), self.y.copy(), self.norm.copy(), by
        for weights in (self.theta, self.student, self.teacher):
            weights[:, where] = np.ldexp(weights[:, where], -by[:, None])
        self.units.theta[:, where] += by[:, None]
        self.plain_units &= not by.any()
        self.x[rows] = np.eye(1, self.x.shape[1])
        self.y[rows] = self.kernels.outputs(net.shape, np.ascontiguousarray(self.teacher[rows]), self.x[rows], self.threads)
        self.measure()

    def true_loss(self):
        """loss, of the outputs where responses took their place."""
        if self.before is not None:
            x, y, norm, by = self.before
            where, theta = self.net.slices["W"], self.theta.copy()
            theta[:, where] = np.ldexp(theta[:, where], by[:, None])
            with np.errstate(over="ignore", invalid="ignore"):
                miss = y - self.kernels.outputs(self.net.shape, theta, x, self.threads)
                self.loss = np.sum(miss**2, axis=1) / np.where(norm > 0, norm, 1.0)
        return self.loss

    def relative_loss(self, theta, rows):
        with np.errstate(over="ignore", invalid="ignore"):
            loss, norm = np.sum(self.residual(theta, rows) ** 2, axis=1), self.norm[rows]
        return loss / np.where(norm > 0, norm, 1.0)

    def residual(self, theta, rows):
        return self.y[rows] - self.kernels.outputs(self.net.shape, np.ascontiguousarray(theta), self.x[rows], self.threads)

    def rounding(self, theta, rows, widely=False):
        """float64 [rows, equations]: one eps of the numbers that outputs at theta and targets were made of; widely: by the teacher, too."""
        made_of = np.abs(self.y[rows]) + reach(self.net, theta, self.x[rows])
        if widely and self.taught[rows].any():
            made_of = made_of + self.taught[rows][:, None] * reach(self.net, self.teacher[rows], self.x[rows])
        return self.eps * made_of

    def no_near_miss(self, theta, rows):
        """bool [rows]: are these points, which nothing certifies, solutions as far as numbers can tell?

        The loss is below NO_NEAR_MISS, and every output is met up to rounding and to _OWN_SCALE of what the student's learnable weights
        contribute to it: beside large frozen parts, or with weights on their way to infinity, a loss is small soon. Residuals are taken
        with error bounds, because weights can be large enough to fit the rounding of what they act on.
        """
        from ..existence.by_substitution import outputs

        good = self.relative_loss(theta, rows) < NO_NEAR_MISS
        for some in _by_budget(self.masks[rows], good):
            at = rows[some]
            own = self.own_scale(at)
            rounding = _EXACTLY * np.maximum(self.rounding(theta[some], at), self.rounding(self.student[at], at))
            with np.errstate(all="ignore"):
                gap = outputs(plain(self.net), Ball(theta[some]), self.x[at]) - self.y[at]
                miss = np.abs(gap.hi) + gap.rad
            allowed = np.where(own > 0, np.minimum(_OWN_SCALE * own, rounding), rounding)
            good[some] = (miss <= allowed + _NOTHING).all(axis=1)
        return good

    def judge(self, theta, rows):
        """(theta after two steps of Gauss and Newton, where they help, bool [rows]: no near miss) for points near solutions."""
        theta = theta.copy()
        for some in _by_budget(self.masks[rows], np.isfinite(theta).all(axis=1)):
            at, indices = rows[some], index_rows(self.masks[rows[some]]).astype(np.int64)
            if not indices.shape[1]:
                continue
            for _ in range(2):
                J = self.kernels.jacobian(
                    self.net.shape, np.ascontiguousarray(theta[some]), self.x[at], indices.astype(np.int32), self.threads
                )
                good = np.isfinite(J).all(axis=(1, 2))
                J, size = J[good], _column_scale(J[good])
                step = np.einsum("bre,be->br", np.linalg.pinv(J * size[:, None], 1e-13), self.residual(theta[some[good]], at[good])) * size
                moved = theta[some[good]]
                np.put_along_axis(moved, indices[good], np.take_along_axis(moved, indices[good], 1) + step, axis=1)
                better = self.relative_loss(moved, at[good]) < self.relative_loss(theta[some[good]], at[good])
                theta[some[good][better]] = moved[better]
        return theta, self.no_near_miss(theta, rows)

    def own_scale(self, rows):
        """float64 [rows, equations]: sum of |J theta| over the learnable weights of the students as they came, of equal budgets."""
        indices = index_rows(self.masks[rows])
        if not indices.shape[1]:
            return np.zeros((len(rows), self.net.equations))
        theta = np.ascontiguousarray(self.student[rows])
        J = self.kernels.jacobian(self.net.shape, theta, self.x[rows], indices, self.threads)
        return (np.abs(J) * np.abs(np.take_along_axis(theta, indices.astype(np.int64), 1))[:, None]).sum(axis=2)

    def finely(self, rows):
        """The rows as a search is to see them: in units that are no powers of two, so that its steps and its starts have the same size
        relative to the problem whatever the user's units. What it finds is judged on the numbers themselves."""
        theta, x, y = self.theta[rows], self.x[rows], self.y[rows]
        if self.drawn:
            return _Fine(theta, x, y, self.norm[rows], lambda moved: moved)
        by = Units(*(np.exp2(exponents) for exponents in units(self.net, theta, x, y, whole=False)))
        masks = self.masks[rows]
        return _Fine(
            theta / by.theta,
            x / by.x[:, None],
            y / by.y[:, None],
            self.norm[rows] / by.y**2,
            lambda moved: np.where(masks, moved * by.theta, theta),
        )

    def settle(self, rows, match, reason, certified=False, start=-1):
        self.match[rows], self.reason[rows], self.certified[rows], self.start[rows] = match, reason, certified, start

    def solution(self):
        """theta in the units given: frozen weights as they came."""
        moved = self.theta if self.plain_units else np.ldexp(self.theta, self.units.theta)
        return np.where(self.masks, moved, self.given)


def _own(problem: _Problem, open_: np.ndarray, method: str) -> None:
    """D4: the student meets its targets as it is: up to rounding, or within the tolerance of a search, whose start 0 it is."""
    rows = np.flatnonzero(open_ & (problem.loss < min(problem.tol, NO_NEAR_MISS)))
    if len(rows):
        miss = np.abs(problem.residual(problem.theta[rows], rows))
        met = (miss <= _EXACTLY * problem.rounding(problem.theta[rows], rows)).all(axis=1)
        problem.settle(rows[met], 1, "D4", start=0)
        open_[rows[met]] = False
    if method != EXACT:
        rows = open_ & (problem.loss < problem.tol)
        problem.settle(rows, 1, method, start=0)
        open_ &= ~rows


def _constant(problem: _Problem, open_: np.ndarray) -> None:
    """An output that no learnable weight reaches is wrong: no."""
    masks, which = distinct_rows(problem.masks)
    still = constant_outputs(problem.net, masks)
    rows = np.flatnonzero(open_ & still.any(axis=1)[which])
    if not len(rows):
        return
    miss = np.abs(problem.residual(problem.theta[rows], rows)) * still[which[rows]]
    miss[miss <= _ROUNDING * problem.eps * np.abs(problem.y[rows])] = 0.0  # most: then how far rounding reaches need not be measured
    rows, miss = rows[miss.any(axis=1)], miss[miss.any(axis=1)]
    if not len(rows):
        return
    wrong = rows[(miss > _ROUNDING * problem.rounding(problem.theta[rows], rows, widely=True)).any(axis=1)]
    problem.settle(wrong, 0, "D3")
    open_[wrong] = False


def _screen(problem: _Problem, open_: np.ndarray) -> None:
    """T1 for generic teachers and inputs. One rank for every distinct mask."""
    masks, which = distinct_rows(problem.masks)
    deficient = attained_ranks(problem.net, masks, problem.shared) < required_rank(problem.net, problem.shared)
    rows = open_ & deficient[which]
    problem.settle(rows, 0, "T1")
    open_ &= ~rows


def _screen_here(problem: _Problem, open_: np.ndarray) -> None:
    """T1 at the given inputs and shared weights, for a generic teacher otherwise. Linear: ranks mod p. Else in floating point, the largest
    of a few draws: attained ones count every singular value above rounding, required ones clear ones only. tanh: at draws that keep units
    out of saturation, where slopes are lost to rounding; where shared weights saturate them, nothing is said."""
    net, free = problem.net, free_weights(problem.net, problem.shared)
    law = np.concatenate([np.full(where.stop - where.start, (net.fan_in[name] or 1) ** -0.5) for name, where in net.slices.items()])
    common = np.zeros(net.size, dtype=bool)
    for name in problem.shared:
        common[net.slices[name]] = True
    draws = np.random.default_rng(2).standard_normal((_SCREEN_DRAWS, net.size)) * law
    every = np.arange(net.size, dtype=np.intc)[None]
    step = max(1, _SCREEN_BYTES // (8 * net.size * net.equations))
    rows = np.flatnonzero(open_)
    for begin in range(0, len(rows), step):
        some = rows[begin : begin + step]
        attained, required = np.zeros((2, len(some)), dtype=np.int64)
        if plain(net).activation == "linear":
            attained, required = _ranks_here(problem, some, common, free)
        sane = np.ones(len(some), dtype=bool)
        for draw in () if plain(net).activation == "linear" else draws:
            theta = np.where(common, problem.theta[some], draw)
            if net.activation == "tanh":
                sane &= _unsaturated(net, theta, problem.x[some], common)
            J = problem.kernels.jacobian(net.shape, theta, problem.x[some], every, problem.threads)
            J = J * _column_scale(J)[:, None]
            attained = np.maximum(attained, float_rank(np.where(problem.masks[some][:, None], J, 0.0)))
            required = np.maximum(required, float_rank(np.where(free, J, 0.0), _CLEAR))
        low = some[sane & (attained < required)]
        problem.settle(low, 0, "T1")
        open_[low] = False


def _ranks_here(problem: _Problem, rows: np.ndarray, common: np.ndarray, free: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(attained, required) int64 [rows] of linear networks, mod p: at the very inputs and shared weights given, the others drawn."""
    from ..homotopy.forcing_equations import P, residues

    net, ranks = plain(problem.net), np.zeros((2, len(rows)), dtype=np.int64)
    for draw in range(2):
        theta = np.random.default_rng([3, draw]).integers(0, P, net.size)
        theta = np.where(common, residues(problem.theta[rows]), theta)
        J = cpu.jacobian_mod(net.shape, theta, residues(problem.x[rows]), 0, P)
        for k, chosen in enumerate((problem.masks[rows], np.broadcast_to(free, (len(rows), net.size)))):
            ranks[k] = np.maximum(ranks[k], cpu.rank_mod(np.ascontiguousarray(np.where(chosen[:, None], J, 0)), P))
    return ranks[0], ranks[1]


def _unsaturated(net: Network, theta: np.ndarray, x: np.ndarray, common: np.ndarray) -> np.ndarray:
    """Shrinks first layers that are not shared (in place) until |W x| <= 1; bool [n]: are all pre-activations below 8 then?"""
    name = next(iter(net.groups))
    first, inputs = theta[:, net.slices[name]].reshape(-1, *net.groups[name]), np.abs(x.reshape(-1, *net.x_shape))
    if isinstance(net, Recurrent):
        inputs = np.swapaxes(inputs, 1, 2)
    most = (np.abs(first) @ inputs).max(axis=(1, 2))
    if not common[net.slices[name]].any():
        theta[:, net.slices[name]] /= np.maximum(most, 1.0)[:, None]
        most = np.minimum(most, 1.0)
    groups = net.unpack(theta)
    largest = most + (np.abs(groups["W"]).sum(axis=2).max(axis=1) if isinstance(net, Recurrent) else 0.0)
    for bias in net.bias:
        if bias != last_layer(net)[1]:
            largest = largest + np.abs(groups[bias]).max(axis=1)
    for k in range(2, len(net.widths) - 1) if not isinstance(net, Recurrent) else ():
        largest = np.maximum(
            largest, np.abs(groups[f"W{k}"]).sum(axis=2).max(axis=1) + (np.abs(groups[f"b{k}"]).max(axis=1) if f"b{k}" in groups else 0.0)
        )
    return largest < 8.0


def _column_scale(J: np.ndarray) -> np.ndarray:
    """Powers of two [b, k] that bring the columns of J [b, e, k] to one size."""
    most = np.abs(J).max(axis=1)
    return np.ldexp(1.0, -np.where(most > 0, np.frexp(most)[1], 0))


def _solve_affine(problem: _Problem, open_: np.ndarray, exact: bool = False) -> None:
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
            good = np.isfinite(J).all(axis=(1, 2))
            rows, theta, scale, indices, J = rows[good], theta[good], scale[good], indices[good], J[good]
            place = np.arange(len(rows))[:, None]
            # As it is, columns that are rounding only stay small; then with columns of one size, where those of small inputs count as well.
            for size in (np.ones(indices.shape), _column_scale(J)):
                # Singular values below the rounding of J itself are zero: saturated systems have them.
                u, s, vt = np.linalg.svd(J * size[:, None], full_matrices=False)
                keep = s > s[:, :1] * max(J.shape[1:]) * 4 * _EPS
                inverse = np.where(keep, 1.0 / np.where(keep, s, 1.0), 0.0)
                for _ in range(_REFINEMENTS):
                    residual = problem.residual(theta, rows)
                    step = size * np.einsum("bkr,bk->br", vt, inverse * np.einsum("bek,be->bk", u, residual))
                    trial = theta.copy()
                    trial[place, indices] += step
                    better = problem.relative_loss(trial, rows) < problem.relative_loss(theta, rows)
                    theta = np.where(better[:, None], trial, theta)
            J = J * size[:, None]
            scale = scale + np.linalg.norm((np.abs(J) * np.abs(theta[place, indices] / size)[:, None]).sum(axis=2), axis=1)
        loss = problem.relative_loss(theta, rows)
        problem.theta[rows], problem.loss[rows] = theta, loss
        yes = problem.no_near_miss(theta, rows) if exact else loss < problem.tol
        maybe = np.flatnonzero(~yes)
        miss = np.sqrt(loss * np.where(problem.norm[rows] > 0, problem.norm[rows], 1.0))
        maybe = maybe[miss[maybe] > _ROUNDING * problem.eps * scale[maybe]]
        if len(maybe):
            at = rows[maybe]
            rounding = np.linalg.norm(problem.rounding(theta[maybe], at, widely=True), axis=1) + np.linalg.norm(
                problem.eps * reach(net, np.where(problem.masks[at], 0.0, theta[maybe]), problem.x[at]), axis=1
            )
            maybe = maybe[miss[maybe] > _ROUNDING * rounding]
        if budget and len(maybe):  # directions that were taken for rounding must be no directions at all
            cut = maybe[~keep[maybe].all(axis=1)]
            cut = cut[_true_rank(problem, rows[cut], indices[cut], J[cut]) > keep[cut].sum(axis=1)]
            maybe = np.setdiff1d(maybe, cut)
        problem.settle(rows[yes], 1, label, start=0)
        problem.settle(rows[maybe], 0, label)
        open_[rows[yes]] = open_[rows[maybe]] = False


def _true_rank(problem: _Problem, rows: np.ndarray, indices: np.ndarray, J: np.ndarray) -> np.ndarray:
    """int64 [rows]: rank, mod p, of the Jacobians in the weights `indices` of outputs that are affine in them: linear networks at the very
    numbers given, others as it was computed. Never too large, but with chance 1e-9 or so too small."""
    from ..homotopy.forcing_equations import P, residues

    net = plain(problem.net)
    if not len(rows):
        return np.zeros(0, dtype=np.int64)
    if net.activation != "linear":
        return cpu.rank_mod(np.ascontiguousarray(residues(J)), P)
    whole = cpu.jacobian_mod(net.shape, residues(problem.theta[rows]), residues(problem.x[rows]), 0, P)
    return cpu.rank_mod(np.ascontiguousarray(np.take_along_axis(whole, indices.astype(np.int64)[:, None], axis=2)), P)


def _by_budget(masks: np.ndarray, chosen: np.ndarray):
    budgets = masks.sum(axis=1)
    for budget in np.unique(budgets[chosen]):
        yield np.flatnonzero(chosen & (budgets == budget))


def _newton(problem, open_, starts, keys, iterations, tol) -> None:
    """The starts of Newton's method. A point counts when its loss, computed afresh, is what the search said, up to rounding."""
    net, (seed, task, first) = problem.net, keys
    scale = start_scale(net, np.ones(len(net.groups)) if problem.gains is None else problem.gains)
    for rows in _by_budget(problem.masks, open_):
        for some, exponents in _like_starts(problem, rows):
            masks = problem.masks[some]
            indices = index_rows(masks[:1] if (masks == masks[0]).all() else masks)
            trials = (np.uint32(first) + some).astype(np.uint32)
            fine = problem.finely(some)
            out = problem.kernels.newton(
                net.shape,
                fine.theta,
                fine.x,
                fine.y,
                indices,
                np.ldexp(scale, -exponents),
                starts,
                iterations,
                tol,
                seed,
                task,
                trials,
                problem.threads,
                norm2=fine.norm,
            )
            found = out["found"]
            finite = np.isfinite(out["loss"])
            problem.theta[some[finite]], problem.loss[some[finite]] = fine.back(out["theta"])[finite], out["loss"][finite]
            claimed = np.flatnonzero(found >= 0)
            if len(claimed):
                true = problem.relative_loss(problem.theta[some[claimed]], some[claimed]) < 4 * tol
                found = found.copy()
                found[claimed[~true]] = -1
            problem.settle(some, np.where(found >= 0, 1, -1), "newton", start=found)


def _like_starts(problem, rows):
    """Rows whose wide starts have one size in their own units, with the exponents int64 [size] of these units.

    Without gains the starts are of ordinary size in every student's own units, so all are alike.
    """
    if problem.gains is None or problem.plain_units:
        yield rows, np.zeros(problem.net.size, dtype=np.int64)
        return
    own, which = np.unique(problem.units.theta[rows], axis=0, return_inverse=True)
    for k, exponents in enumerate(own):
        yield rows[which.reshape(-1) == k], exponents


def _exact(problem, open_, starts, keys, iterations, paths) -> None:
    from ..existence.by_substitution import more_plans, plans

    linear = plain(problem.net).activation == "linear"
    _certify_affine(problem)
    _substitute(problem, open_, plans)
    _enumerate(problem, open_)
    low = np.zeros(len(open_), dtype=bool)
    if linear and open_.any():  # paths are for full ranks; below them a search is all there is
        masks, which = distinct_rows(problem.masks)
        low = (attained_ranks(problem.net, masks, problem.shared) < required_rank(problem.net, problem.shared))[which] & open_
    searched = low if linear else open_.copy()
    if searched.any():
        students = problem.theta.copy()
        _newton(problem, searched, starts, keys, iterations, NO_NEAR_MISS)
        found = np.flatnonzero(searched & (problem.match == 1) & (problem.reason == "newton"))
        problem.theta[found], good = problem.judge(problem.theta[found], found)
        problem.loss[found] = problem.relative_loss(problem.theta[found], found)
        problem.settle(found[~good], -1, "newton")
        _substitute(problem, searched & ~low & (problem.match == -1), more_plans, students)
    open_ &= ~searched
    rows = np.flatnonzero(open_)
    if not len(rows):
        return
    from ..existence.by_paths import settle
    from ..homotopy.system import system_of  # imports the tracker: only where it is asked for

    students = problem.theta.copy()
    net = plain(problem.net)
    polished = not system_of(net, problem.shared).saturated  # points are polished before they are judged, elsewhere they are not
    _newton(problem, open_, starts, keys, iterations, TOLERANCE[EXACT] if polished else NO_NEAR_MISS)
    _substitute(problem, open_ & (problem.match == -1), more_plans, students)  # after Newton's method, which is cheaper than this search
    for taught in (True, False):
        some = rows[(problem.reason[rows] == "newton") & (problem.taught[rows] == taught)]
        if not len(some):
            continue
        own = students[some]
        found, start = problem.match[some] == 1, problem.start[some].copy()
        own[found] = problem.theta[some[found]]
        verdict = settle(
            net,
            problem.shared,
            own,
            problem.x[some],
            problem.y[some],
            problem.masks[some],
            problem.teacher[some] if taught else None,
            found,
            problem.threads,
            kernels=paths,
            generic=problem.drawn,
            eps=problem.eps,
            judge=lambda theta, k, some=some: problem.judge(theta, some[k]),
        )
        better = (verdict.match == 1) & np.isin(verdict.reason, ("newton", "paths"))  # elsewhere the nearest point of Newton's method stays
        problem.theta[some[better]] = verdict.theta[better]
        problem.loss[some] = problem.relative_loss(problem.theta[some], some)
        problem.match[some], problem.certified[some], problem.reason[some], problem.start[some] = (
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
                (np.abs(problem.residual(problem.theta[proven], proven)) > _EXACTLY * problem.rounding(problem.theta[proven], proven))
                & still
            ).any(axis=1)
        ]
        problem.settle(off, -1, "newton")


def _certify_affine(problem: _Problem) -> None:
    """The solutions of affine systems, proven: the square part with the best pivots is solved again, next to the one found."""
    rows = np.flatnonzero((problem.match == 1) & np.isin(problem.reason, ("T2", "T11")) & problem.masks.any(axis=1))
    if not len(rows):
        return
    if problem.net.activation == "relu":
        from ..existence.pattern_proofs import prove_last

        theta, proven = prove_last(problem.net, problem.theta[rows], problem.x[rows], problem.y[rows], problem.masks[rows])
    else:
        from ..existence.by_substitution import Plan, solve

        found = solve(
            problem.net,
            problem.shared,
            problem.theta[rows],
            problem.x[rows],
            problem.y[rows],
            [Plan("affine", mask) for mask in problem.masks[rows]],
            problem.eps,
            *_teachers(problem, rows),
        )
        theta, proven = found.theta, found.proven
    problem.certified[rows] = proven
    loss = problem.relative_loss(theta, rows)
    better = proven & (loss <= problem.loss[rows])
    problem.theta[rows[better]], problem.loss[rows[better]] = theta[better], loss[better]


def _teachers(problem: _Problem, rows: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
    """(teachers or None, which of them y is the rounding of) of some trials."""
    return None if problem.teacher is None else problem.teacher[rows], problem.taught[rows]


def _substitute(problem: _Problem, open_: np.ndarray, search, students: np.ndarray | None = None) -> None:
    """T7, T2: trials whose allocation holds a structure that is solved block by block, as far as its hypotheses are proven for them.

    search: which structures are looked for; students [count, size]: what surplus weights keep, if theta has moved since.
    """
    from ..existence.by_substitution import solve

    masks, which = distinct_rows(problem.masks)
    used = np.unique(which[open_])
    known = dict(zip(used.tolist(), search(problem.net, masks[used], problem.shared))) if len(used) else {}
    for attempt in range(max(map(len, known.values()), default=0)):
        rows = np.array([k for k in np.flatnonzero(open_) if attempt < len(known[which[k]])], dtype=np.int64)
        if not len(rows):
            break
        made = [known[which[k]][attempt] for k in rows]
        students = problem.theta if students is None else students
        found = solve(
            problem.net, problem.shared, students[rows], problem.x[rows], problem.y[rows], made, problem.eps, *_teachers(problem, rows)
        )
        refused = found.refused & np.array([plan.whole for plan in made])
        yes = found.proven.copy()
        near = np.flatnonzero(found.solved & ~found.proven & ~refused)  # solved, but not all that is asked for is part of the proof
        if len(near):
            yes[near] = problem.no_near_miss(found.theta[near], rows[near])
        at = rows[yes]
        problem.theta[at] = found.theta[yes]
        problem.loss[at] = problem.relative_loss(problem.theta[at], at)
        problem.settle(at, 1, np.where([plan.name == "affine" for plan in made], "T2", "T7")[yes], certified=found.proven[yes])
        problem.settle(rows[refused], 0, "T7", certified=True)
        open_[rows[yes | refused]] = False


def _enumerate(problem: _Problem, open_: np.ndarray) -> None:
    """T11: relu networks that learn in one hidden layer only: all activation patterns."""
    from ..existence.by_patterns import applies, settle

    masks, which = distinct_rows(problem.masks)
    rows = np.flatnonzero(open_ & applies(problem.net, masks)[which])
    if not len(rows):
        return
    match, theta, proven = settle(problem.net, problem.theta[rows], problem.x[rows], problem.y[rows], problem.masks[rows], problem.eps)
    doubt = np.flatnonzero((match == 1) & ~proven)
    match[doubt[~problem.no_near_miss(theta[doubt], rows[doubt])]] = -1
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
    fine = problem.finely(rows)
    out = problem.kernels.fit(
        net.shape, fine.theta, fine.x, fine.y, indices, steps, OPTIMIZERS.index(optimizer), lr, problem.tol, problem.threads
    )
    theta = fine.back(out["theta"])
    loss = problem.relative_loss(theta, rows)
    problem.theta[rows], problem.loss[rows] = theta, loss
    yes = loss < problem.tol
    problem.settle(rows, np.where(yes, 1, -1), "descent", start=np.where(yes, 0, -1))


def _in_double(rows):
    rows.rows = rows.rows.astype(np.float64, copy=False)
    return rows
