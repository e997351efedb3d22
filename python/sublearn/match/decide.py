"""Does each student of a batch match its targets? Verdicts with their reasons, for given weights, inputs and targets.

The order: what the student does already (D4), outputs that nothing can change, what a linear solve decides (T2, T11 in the last layer),
then a search (Newton or descent). A search proves nothing when it fails: such a student is undecided. `decide` judges the numbers it is
given; what holds for generic teachers only (the rank screen T1, T8) belongs to trials drawn from a law (`decide_drawn`, for
match/probability.py).
All work is done in the units of ops/units.py, so verdicts do not depend on the user's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..backend.arrays import to_numpy
from ..backend.dispatch import kernels_for
from ..backend.host import HostKernels
from ..backend.selection import Backend
from ..data.trials import Trials
from ..existence.verdicts import Verdicts
from ..model.allocation import Allocation
from ..model.checks import check_shared, check_trial_range
from ..model.network import Network
from ..model.strategy import check_allocation
from ..model.teacher_student import check_gains
from ..ops.arguments import common_batch, float_array, learnable, shape_back, thread_count
from ..ops.fit import Optimizer
from .linear_solve import solve_linear
from .methods import EXACT, Method, Settings, check_options, check_tolerance, searched_starts
from .problem import Data, Problem, simplest
from .screens import Screen, constant_but_wrong, meets_as_it_is, screen_dimension, screen_generic, screen_here
from .searches import search_by_descent, search_by_newton


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
       existence/by_patterns.py; margins below 1e-9, and searches of more than 100 000 linear programmes, are left to Newton's method).
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
    kernels = kernels_for(backend, stream, theta=theta, x=x, y=y, allocation=allocation, teacher=teacher)
    shared = check_shared(net, shared)
    given = [
        float_array(name, to_numpy(name, value) if kernels.on_device else value, shape)
        for name, value, shape in (("theta", theta, (net.size,)), ("x", x, net.x_shape), ("y", y, net.y_shape))
    ]
    masks = learnable(net, allocation)
    check_allocation(net, Allocation.from_mask(net, masks.rows.any(axis=0)), shared)
    batch = common_batch(**dict(zip(("theta", "x", "y"), given)), allocation=masks)
    count = 1 if batch is None else batch
    keys = check_trial_range(seed, task, first, count)[:3]
    settings = Settings(method, options, check_tolerance(tol, method), bool(screen))
    law = None if gains is None else check_gains(net, gains)
    if teacher is not None:
        if method != EXACT:
            raise TypeError(f'teacher: expected with method "exact" only, got one with method {method!r}')
        teacher = _rows(float_array("teacher", to_numpy("teacher", teacher), (net.size,)).rows, count)
    eps = max(float(np.finfo(one.rows.dtype).eps) for one in given)
    data = Data(*(_rows(one.rows, count) for one in given), np.broadcast_to(masks.rows, (count, net.size)), teacher, eps)
    bare, data, law = simplest(net, data, law)
    own = tuple(name for name in shared if name in bare.groups)
    problem = Problem(bare, own, data, settings.tol, thread_count(threads), kernels.for_numpy(), gains=law)
    paths = None if backend == "auto" and isinstance(kernels, HostKernels) else problem.kernels
    found = _with_gains(net, _decide(problem, settings, keys, paths, screen_here))
    back = lambda array, shape=(): kernels.to_caller(shape_back(array, batch, shape))  # noqa: E731
    shapes = {"theta": (net.size,), "direction": (net.equations,)}
    values = {name: getattr(found, name) for name in Verdicts.__dataclass_fields__}
    return Verdicts(**{name: None if value is None else back(value, shapes.get(name, ())) for name, value in values.items()})


def decide_drawn(
    drawn: Trials, settings: Settings, mask: np.ndarray | None = None, threads: int | None = None, backend: Backend = "auto"
) -> Verdicts:
    """`decide` for trials that were drawn from their law (D3): teacher and inputs are generic, so the screen is that of generic points
    (T1), and degrees count (T8); targets that no teacher gives are taken as they are. mask: bool [size], where one is the same for all
    trials."""
    kernels, net, count = kernels_for(backend), drawn.net, len(drawn)
    masks = np.broadcast_to(drawn.mask if mask is None else mask, (count, net.size))
    taught = drawn.law.taught
    teacher = _rows(drawn.teacher, count) if settings.method == EXACT and taught else None
    eps = float(np.finfo(drawn.teacher.dtype).eps)
    data = Data(_rows(drawn.student, count), _rows(drawn.x, count), _rows(drawn.y, count), masks, teacher, eps)
    bare, data, law = simplest(net, data, np.array(drawn.law.gains))
    own = tuple(name for name in drawn.shared if name in bare.groups)
    problem = Problem(bare, own, data, settings.tol, thread_count(threads), kernels.for_numpy(), gains=law, drawn=taught)
    screen = screen_generic if taught else screen_dimension
    found = _decide(problem, settings, (drawn.seed, drawn.task, drawn.first), None if backend == "auto" else problem.kernels, screen)
    return _with_gains(net, found)


def _with_gains(net: Network, found: Verdicts) -> Verdicts:
    """theta of `simplest` with its ones."""
    missing = net.size - found.theta.shape[1]
    return found if not missing else replace(found, theta=np.concatenate([found.theta, np.ones((len(found.theta), missing))], axis=1))


def _rows(array: np.ndarray, count: int) -> np.ndarray:
    """float64 [count, numbers]."""
    array = np.ascontiguousarray(array, dtype=np.float64)
    return np.broadcast_to(array.reshape(len(array), -1), (count, array.size // max(1, len(array))))


def _decide(problem: Problem, settings: Settings, keys: tuple[int, int, int], paths: Any, screen: Screen) -> Verdicts:
    """The ladder: each step for the students that the steps before it left open. keys: seed, task and number of the first trial."""
    method, options = settings.method, settings.options
    open_ = np.ones(len(problem.theta), dtype=bool)
    meets_as_it_is(problem, open_, method)
    if method == EXACT:
        problem.to_responses(open_)
    if not problem.drawn:  # the teacher of a drawn trial shares the groups; what its mask cannot reach is a question of ranks
        constant_but_wrong(problem, open_)
    if settings.screen:
        screen(problem, open_)
    solve_linear(problem, open_, exact=method == EXACT)
    if method == EXACT:
        from .exact import decide_exactly  # here: `import sublearn` should not pay for it

        decide_exactly(problem, open_, searched_starts(problem.net, method, options["starts"]), keys, options["iterations"], paths)
    elif method == "newton":
        search_by_newton(problem, open_, options["starts"], keys, options["iterations"], settings.tol)
    else:
        search_by_descent(problem, open_, options["steps"], options["optimizer"], options["lr"])
    return replace(problem.verdicts, theta=problem.solution(), loss=problem.true_loss())
