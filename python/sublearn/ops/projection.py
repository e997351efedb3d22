"""What can the present weights not express, and which frozen ones would? Projections of a wanted change of the outputs on columns of a
Jacobian, for batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from .._checks import LARGEST_INT, positive, whole_number
from ..backend.arrays import to_numpy
from ..backend.dispatch import kernels_for
from ..backend.selection import Backend
from ..model.allocation import Allocation
from ..model.strategy import Strategy
from .arguments import FLOATS, Batched, check_finite, common_batch, float_array, index_rows, thread_count

ColumnRule = Literal["ols", "omp", "pivot"]
RULES = get_args(ColumnRule)


@dataclass(frozen=True, eq=False)
class Bottleneck:
    """What some columns of a Jacobian cannot express of a wanted change g.

    residual [batch]: min_x |g - J_A x|^2 = |(I - P) g|^2, P the projection on the span of the columns A; share [batch]: residual / |g|^2,
    from 0 (all of g can be had, or g = 0) to 1 (none of it); rank int64 [batch]: independent columns; coefficients [batch, k]: a
    minimising x, in the order of `columns` (ascending for masks, 0 behind the end of a short one), 0 for columns that depend on others.

    >>> found = sl.bottleneck(np.eye(3), np.array([3.0, 4.0, 0.0]), [0])
    >>> float(found.residual), float(found.share), int(found.rank), found.coefficients
    (16.0, 0.64, 1, array([3.]))
    """

    residual: np.ndarray
    share: np.ndarray
    rank: np.ndarray
    coefficients: np.ndarray


@dataclass(frozen=True, eq=False)
class ChosenColumns:
    """Columns taken one after the other, the most useful first.

    indices int64 [batch, budget]: their positions in the order taken, -1 where no column was left that adds anything; residuals
    [batch, budget]: |(I - P) g|^2 after each of them.

    >>> J = np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 2.0]])
    >>> found = sl.choose_columns(J, np.array([0.0, 3.0]), 3)
    >>> found.indices, found.residuals
    (array([ 2,  0, -1]), array([0., 0., 0.]))
    """

    indices: np.ndarray
    residuals: np.ndarray


def bottleneck(
    J: np.ndarray,
    g: np.ndarray,
    columns: object = None,
    *,
    rtol: float | None = None,
    threads: int | None = None,
    backend: Backend = "auto",
    stream: object = None,
) -> Bottleneck:
    """How much of a wanted change g of the outputs no small change of some weights gives: |(I - P) g|^2.

    J [batch, equations, p], float32 or float64: Jacobians (`jacobian`, or any others); g [batch, equations], the same dtype: the wanted
    change, such as y - f(theta; x). columns: which columns of J may move: None for all, positions int [k] or [batch, k] (-1: no column),
    a mask bool [p] or [batch, p], or an Allocation among p weights. Any batch axis may be absent.
    Units do not matter: columns are brought to about one length first. A column depends on others where what is left of it beside them is
    below rtol (max(equations, k) eps of the dtype by default) of all of them together. Sums are of float64 for float32 too.
    Arrays of numpy, torch or cupy; the result lives where they live.
    Errors: TypeError for other or mixed dtypes, ValueError for shapes, positions outside of J, nan and inf.

    >>> net = sl.Feedforward(widths=(3, 4, 2), samples=6, activation="tanh")
    >>> trial, every = sl.draw_trials(net, sl.everything(net), 10), sl.everything(net)
    >>> J = sl.jacobian(net, trial.student, trial.x, every)
    >>> g = (trial.y - sl.outputs(net, trial.student, trial.x)).reshape(10, -1)
    >>> few, whole = (sl.bottleneck(J, g, allocation) for allocation in (sl.only(net, "W2"), every))
    >>> few.rank, bool((few.share > whole.share).all()), bool((whole.share < 1e-20).all())
    (array([8, 8, 8, 8, 8, 8, 8, 8, 8, 8]), True, True)
    """
    question = _Question(backend, stream, J, g)
    m, p = question.shape
    picked = _positions("columns", columns, p)
    batch, k = question.batch(columns=picked), picked.rows.shape[1]
    if rtol is None:
        rtol = max(m, k) * float(np.finfo(question.dtype).eps)
    rtol = positive("rtol", rtol, zero=True)
    if 0 in (m, p, k):
        out = question.nothing(batch, coefficients=(k,))
    else:
        out = question.kernels.project(question.J.rows, question.g.rows, picked.rows, rtol, thread_count(threads))
        question.check_finite(out)
    return Bottleneck(*(question.back(out[name], batch) for name in ("residual", "share", "rank", "coefficients")))


def choose_columns(
    J: np.ndarray,
    g: np.ndarray | None,
    budget: int,
    rule: ColumnRule = "ols",
    guard: float = 0.25,
    *,
    given: object = None,
    candidates: object = None,
    threads: int | None = None,
    backend: Backend = "auto",
    stream: object = None,
) -> ChosenColumns:
    """Which `budget` columns of a Jacobian express a wanted change g of the outputs best, chosen one at a time.

    J [batch, equations, p], float32 or float64; g [batch, equations], the same dtype. The next column is, with R what is left of a column
    and of g beside the columns chosen:
        "ols"    the one that leaves the smallest residual: the largest (R . g)^2 / |R|^2 (the bottleneck, greedily)
        "omp"    the one most nearly parallel to what is left of g: the largest (R . g)^2 / |column|^2
        "pivot"  the one of which most is left: the largest |R|^2, g not asked (it may be None): pivoted QR. The others do the same once
                 nothing is left of g
    guard, 0 to 1: only columns with |R|^2 >= guard times the largest are looked at, so that nearly parallel ones are not chosen together: 0
    for the plain rule. Both "pivot" and the guard depend on the units of columns.
    given: columns that count as chosen first, in this order, whatever they add; the budget counts them. candidates: columns that may be
    chosen (all). Both as positions int [k] or [batch, k] (-1: none), a mask bool [p] or [batch, p], or an Allocation among p weights; any
    batch axis may be absent.
    A column of which less than 1e-10 of its length is left is never chosen; ties go to the first. A choice for each matrix, and greedy: the
    best set may be another. Sums are of float64 for float32 too. Arrays of numpy, torch or cupy; the result lives where they live.
    Errors: TypeError for other or mixed dtypes, ValueError for shapes, positions outside of J, nan, inf, and a budget below what is given.

    >>> net = sl.Feedforward(widths=(4, 6, 3), samples=6, activation="tanh", bias=True)
    >>> trial, every = sl.draw_trials(net, sl.everything(net), 100), sl.everything(net)
    >>> J = sl.jacobian(net, trial.student, trial.x, every)
    >>> g = (trial.y - sl.outputs(net, trial.student, trial.x)).reshape(100, -1)
    >>> chosen = sl.choose_columns(J, g, 6)
    >>> left = sl.bottleneck(J, g, chosen.indices)
    >>> bool(np.allclose(chosen.residuals[:, -1], left.residual)), bool(np.median(left.share) < 0.1)
    (True, True)
    """
    if rule not in RULES:
        raise ValueError(f"rule: expected one of {', '.join(RULES)}, got {rule!r}")
    guard = positive("guard", guard, zero=True)
    if guard > 1:
        raise ValueError(f"guard: expected a number from 0 to 1, got {guard}")
    budget = whole_number("budget", budget, 0, most=LARGEST_INT)
    if g is None and rule != "pivot":
        raise ValueError(f'g: expected the wanted change of the outputs for rule "{rule}", got None')
    question = _Question(backend, stream, J, g)
    m, p = question.shape
    first = _positions("given", [] if given is None else given, p)
    most = int((first.rows >= 0).sum(axis=1).max(initial=0))
    if budget < most:
        raise ValueError(f"budget: expected at least the {most} columns given, got {budget}")
    allowed = None if candidates is None else _mask("candidates", candidates, p)
    batch = question.batch(given=first, **({} if allowed is None else {"candidates": allowed}))
    if 0 in (m, p, budget):
        out = question.nothing(batch, residuals=(budget,))
    else:
        rows = None if allowed is None else allowed.rows
        out = question.kernels.choose_columns(
            question.J.rows, question.g.rows, rows, first.rows, budget, RULES.index(rule), guard, thread_count(threads)
        )
        question.check_finite(out)
    return ChosenColumns(*(question.back(out[name], batch) for name in ("indices", "residuals")))


class _Question:
    """J [batch or 1, equations, p] and g [batch or 1, equations] of a call, checked, where they live."""

    def __init__(self, backend: Backend, stream: object, J: Any, g: Any) -> None:
        kernels = kernels_for(backend, stream, J=J, **({} if g is None else {"g": g}))
        matrix = kernels.from_caller("J", J) if kernels.on_device else to_numpy("J", J)
        if matrix.dtype not in FLOATS:
            raise TypeError(f"J: expected float32 or float64, got {matrix.dtype}")
        if len(matrix.shape) not in (2, 3):
            raise ValueError(f"J: expected shape [batch, equations, p] or [equations, p], got {list(matrix.shape)}")
        batch = matrix.shape[0] if len(matrix.shape) == 3 else None
        if batch == 0:
            raise ValueError(f"J: expected at least one matrix, got {list(matrix.shape)}")
        self.kernels, self.shape, self.dtype = kernels, (int(matrix.shape[-2]), int(matrix.shape[-1])), np.dtype(matrix.dtype)
        if isinstance(matrix, np.ndarray):
            matrix = np.ascontiguousarray(matrix)
        self.J = Batched(matrix.reshape((batch or 1, *self.shape)), batch)
        change = np.zeros(self.shape[0], self.dtype) if g is None else kernels.from_caller("g", g)
        self.g = float_array("g", change, (self.shape[0],), search=False)
        if self.g.rows.dtype != self.dtype:
            raise TypeError(f"g: expected {self.dtype} like J, got {self.g.rows.dtype}")

    def batch(self, **more: Batched) -> int | None:
        return common_batch(J=self.J, g=self.g, **more)

    def check_finite(self, out: dict[str, Any]) -> None:
        finite = self.kernels.to_host(out["finite"])
        if not finite.all():
            self._check_g()
            where = f" of matrix {int(np.argmin(finite))}" if self.J.batch is not None else ""
            raise ValueError(f"J: expected finite numbers, got nan or inf in a column{where}")

    def _check_g(self) -> np.ndarray:
        """g [batch or 1, equations] on the CPU."""
        g = self.kernels.to_host(self.g.rows)
        check_finite("g", g if self.g.batch is not None else g[0])
        return g

    def nothing(self, batch: int | None, **shapes: tuple[int, ...]) -> dict[str, Any]:
        """The answers where there is no equation or no column."""
        g = self._check_g()
        residual = np.broadcast_to((g.astype(np.float64) ** 2).sum(axis=1).astype(self.dtype), (batch or 1,))
        out: dict[str, Any] = {"residual": residual.copy(), "share": np.broadcast_to(g.any(axis=1), residual.shape).astype(self.dtype)}
        out["rank"] = np.zeros(len(residual), np.int64)
        if "coefficients" in shapes:
            out["coefficients"] = np.zeros((len(residual), *shapes["coefficients"]), self.dtype)
        else:
            out["residuals"] = np.repeat(residual[:, None], shapes["residuals"][0], axis=1)
            out["indices"] = np.full((len(residual), *shapes["residuals"]), -1)
        return out

    def back(self, array: Any, batch: int | None) -> Any:
        if batch is not None:
            return self.kernels.to_caller(array)
        return self.kernels.to_caller(array[0] if isinstance(array, np.ndarray) else array.reshape(array.shape[1:]))


def _positions(name: str, value: object, p: int) -> Batched:
    """int32 rows [batch or 1, k] of columns, -1 behind the end of a short mask."""
    if value is None:
        return Batched(np.arange(p, dtype=np.intc)[None], None)
    array = _numbers(name, value, p)
    if array.dtype == bool:
        rows = index_rows(np.atleast_2d(array), pad=-1)
    else:
        outside = (array < -1) | (array >= p)
        if outside.any():
            raise ValueError(f"{name}: expected positions below {p}, or -1 for none, got {array[outside].flat[0]}")
        rows = np.ascontiguousarray(np.atleast_2d(array), dtype=np.intc)
    return Batched(rows, array.shape[0] if array.ndim == 2 else None)


def _mask(name: str, value: object, p: int) -> Batched:
    """bool rows [batch or 1, p]."""
    array = _numbers(name, value, p)
    batch = array.shape[0] if array.ndim == 2 else None
    if array.dtype == bool:
        return Batched(np.ascontiguousarray(np.atleast_2d(array)), batch)
    positions = _positions(name, value, p).rows
    mask = np.zeros((len(positions), p + 1), dtype=bool)
    np.put_along_axis(mask, np.where(positions < 0, p, positions), True, axis=1)
    return Batched(np.ascontiguousarray(mask[:, :p]), batch)


def _numbers(name: str, value: object, p: int) -> np.ndarray:
    """Positions or a mask, as an array of one or two axes."""
    if isinstance(value, Strategy):  # one that always gives the same mask is an allocation
        if value.allocation is None:
            raise TypeError(f"{name}: expected an Allocation, got the random strategy {value.name}; its .draw(seed) gives one")
        value = value.allocation
    if isinstance(value, Allocation):
        if value.mask.shape != (p,):
            raise ValueError(f"{name}: expected an Allocation among the {p} columns of J, got one among {len(value.mask)} weights")
        return value.mask
    array = to_numpy(name, value)
    if array.size == 0 and array.dtype == np.float64:  # an empty list
        array = array.astype(np.intc)
    if array.dtype.kind not in "iub":
        raise TypeError(f"{name}: expected positions (int), a mask (bool) or an Allocation, got {array.dtype} ({type(value).__name__})")
    if array.ndim not in (1, 2) or (array.ndim == 2 and array.shape[0] == 0):
        raise ValueError(f"{name}: expected one axis, or [batch, ..] with at least one row, got shape {list(array.shape)}")
    if array.dtype == bool and array.shape[-1] != p:
        raise ValueError(f"{name}: expected a mask of the {p} columns of J, got shape {list(array.shape)}")
    return array
