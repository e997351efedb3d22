"""Which frozen weight should be freed next? One at a time by the bottleneck, with a fit between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from .._checks import LARGEST_INT, positive, whole_number
from ..model.checks import check_net
from ..model.network import Network
from ..ops.arguments import common_batch, float_array, learnable
from ..ops.jacobian import jacobian, outputs
from ..ops.projection import bottleneck, choose_columns
from ..ops.rank import rank
from ..ops.search import levenberg_marquardt

FreeingRule = Literal["ols", "omp", "pivot", "gradient"]
FREEING_RULES = get_args(FreeingRule)
_GUARD = 0.25  # where the budget reaches the rank, "auto"


@dataclass(frozen=True, eq=False)
class Growth:
    """Weights freed one after the other.

    indices int64 [batch, budget]: flat positions in the order in which they were freed; masks bool [batch, size]: all of them, as `fit` and
    `levenberg_marquardt` take them; theta [batch, size]: the fitted weights (as given with refit=0); loss [batch, budget]:
    ||f(theta) - y||^2 / ||y||^2 after each was freed and fitted (with refit=0: what the linear model f + J d leaves).

    >>> net = sl.Feedforward(widths=(3, 4, 2), samples=3, activation="tanh")
    >>> trial = sl.draw_trials(net, sl.everything(net), 5)
    >>> grown = sl.grow_allocation(net, trial.student, trial.x, trial.y, 4)
    >>> grown.indices.shape, grown.masks.sum(axis=1), bool((np.diff(grown.loss) <= 0).all())
    ((5, 4), array([4, 4, 4, 4, 4]), True)
    """

    indices: np.ndarray
    masks: np.ndarray
    theta: np.ndarray
    loss: np.ndarray


def grow_allocation(
    net: Network,
    theta: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    budget: int,
    within: object = None,
    guard: float | Literal["auto"] = "auto",
    refit: int = 10,
    *,
    rule: FreeingRule = "ols",
    iterations: int = 150,
    tol: float = 1e-20,
    threads: int | None = None,
) -> Growth:
    """Which `budget` weights should learn, for every student, found one at a time: the one that takes most of what is missing, then a fit.

    theta [batch, size], x [batch, *net.x_shape], y [batch, *net.y_shape], float64; any batch axis may be absent. With J the Jacobian at the
    present weights and g = y - f, the next weight is the column of J that `choose_columns` adds to those of the weights freed before, among
    the weights of `within` (an Allocation or a mask bool [size]; all by default). rule:
        "ols"       the one that leaves the smallest bottleneck |(I - P) g|^2
        "omp"       the one most nearly parallel to (I - P) g
        "pivot"     the one of which most is left beside the others, whatever g is
        "gradient"  the largest derivative |J_k . g|, beside which the others are not asked
    guard: of `choose_columns`; "auto": 1/4 where the budget reaches the rank of J (of most weights, and so of what a match needs), so that
    nearly parallel weights are not freed together, 0 below, where every bit of loss counts. Once the columns of the weights freed span
    all others, a new set is begun beside them.
    refit: Levenberg-Marquardt steps of the freed weights after each; after the last `iterations`, or until the loss is below tol. 0: all
    weights are chosen at theta, in one go, and nothing is fitted.
    Greedy, from one start: other weights may do better, and what is not found may exist. How it compares: docs/free_weights.md.
    numpy on the CPU. Errors: TypeError and ValueError that name the argument.

    >>> net = sl.Feedforward(widths=(4, 6, 3), samples=6, activation="tanh", bias=True)
    >>> trial = sl.draw_trials(net, sl.everything(net), 40)
    >>> grown = sl.grow_allocation(net, trial.student, trial.x, trial.y, 22)
    >>> at_random = sl.scattered(net, 22).masks(seed=1, task=0, first=0, count=40)
    >>> found = sl.levenberg_marquardt(net, trial.student, trial.x, trial.y, at_random)
    >>> bool((grown.loss[:, -1] < 1e-20).mean() > 0.8), bool((found.loss < 1e-20).mean() < 0.6)
    (True, True)
    """
    check_net(net)
    weights = float_array("theta", theta, (net.size,), np.dtype(np.float64))
    inputs = float_array("x", x, net.x_shape, np.dtype(np.float64))
    targets = float_array("y", y, net.y_shape, np.dtype(np.float64))
    open_ = np.ones(net.size, dtype=bool) if within is None else learnable(net, within, "within").rows[0]
    if within is not None and learnable(net, within, "within").batch is not None:
        raise ValueError("within: expected an Allocation or one mask bool [size], got one for each student")
    batch = common_batch(theta=weights, x=inputs, y=targets)
    budget = whole_number("budget", budget, 1, int(open_.sum()), "the weights that may be freed")
    if rule not in FREEING_RULES:
        raise ValueError(f"rule: expected one of {', '.join(FREEING_RULES)}, got {rule!r}")
    refit = whole_number("refit", refit, 0, most=LARGEST_INT)
    iterations = whole_number("iterations", iterations, 1, most=LARGEST_INT)
    if guard != "auto":
        guard = positive("guard", guard, zero=True)
    start = np.array(np.broadcast_to(weights.rows, (1 if batch is None else batch, net.size)))
    question = _Question(net, inputs.rows, targets.rows, np.flatnonzero(open_), (rule, guard, budget, threads), len(start))
    indices, at, loss = question.one_by_one(start, refit, iterations, tol) if refit else question.at_once(start)
    masks = np.zeros(start.shape, dtype=bool)
    np.put_along_axis(masks, indices, True, axis=1)
    found = indices, masks, at, loss
    return Growth(*(found if batch is not None else (part[0] for part in found)))


class _Question:
    """x and y [batch or 1, ..] of a call, the flat positions that may be freed, and how the next one is chosen."""

    def __init__(self, net, x, y, positions, how, students) -> None:
        self.net, self.x, self.y = net, x.reshape(-1, *net.x_shape), y.reshape(-1, *net.y_shape)
        self.positions, (self.rule, self.guard, self.budget, self.threads) = positions, how
        self.mask = np.zeros(net.size, dtype=bool)
        self.mask[positions] = True
        self.begun = np.zeros(students, dtype=np.int64)  # where each student's present set of columns begins

    def linear(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(J [batch, equations, positions], g [batch, equations]) at these weights."""
        x = self.x if len(self.x) > 1 else self.x[0]
        f = outputs(self.net, theta, x, threads=self.threads)
        J = jacobian(self.net, theta, x, self.mask, threads=self.threads)
        if self.guard == "auto":
            reached = self.budget >= int(rank(J, threads=self.threads).max())
            self.guard = _GUARD if reached else 0.0
        return J, (self.y - f).reshape(len(theta), -1)

    def more(self, J: np.ndarray, g: np.ndarray, chosen: np.ndarray, count: int) -> np.ndarray:
        """int64 [batch, count]: the columns chosen [batch, k], and those that come next."""
        k = chosen.shape[1]
        free = np.ones((len(J), J.shape[2]), dtype=bool)
        np.put_along_axis(free, chosen, False, axis=1)
        if self.rule == "gradient":
            worth = np.where(free, np.abs(np.einsum("bek,be->bk", J, g)), -1.0)
            return np.concatenate([chosen, np.argsort(-worth, axis=1, kind="stable")[:, : count - k]], axis=1)
        given = np.where(np.arange(k) < self.begun[:, None], -1, chosen)
        found = self._choose(J, g, count, given=given, candidates=free)
        rows = [[*chosen[b], *found[b, k - begun : count - begun]] for b, begun in enumerate(self.begun)]
        for b, row in enumerate(rows):
            while -1 in row:  # these columns span all others: a new set is begun beside them
                row[:] = row[: row.index(-1)]
                free[b, row] = False
                self.begun[b] = len(row)
                new = self._choose(J[b], g[b], count - len(row), candidates=free[b])
                row += list(new if new[0] >= 0 else np.flatnonzero(free[b])[: count - len(row)])  # the second: columns of zeros
        return np.array(rows)

    def _choose(self, J: np.ndarray, g: np.ndarray, count: int, **more: Any) -> np.ndarray:
        return choose_columns(J, g, count, self.rule, self.guard, threads=self.threads, **more).indices

    def one_by_one(self, theta: np.ndarray, refit: int, iterations: int, tol: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(indices [batch, budget], theta, loss [batch, budget])."""
        x, y = (part if len(part) > 1 else part[0] for part in (self.x, self.y))
        chosen, losses = np.empty((len(theta), 0), dtype=np.int64), np.empty((len(theta), self.budget))
        for k in range(self.budget):
            chosen = self.more(*self.linear(theta), chosen, k + 1)
            learn = np.zeros(theta.shape, dtype=bool)
            np.put_along_axis(learn, self.positions[chosen], True, axis=1)
            last = k + 1 == self.budget
            found = levenberg_marquardt(
                self.net, theta, x, y, learn, iterations=iterations if last else refit, tol=tol, threads=self.threads
            )
            theta, losses[:, k] = found.theta, found.loss
        return self.positions[chosen], theta, losses

    def at_once(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The same, all chosen at theta."""
        J, g = self.linear(theta)
        chosen = self.more(J, g, np.empty((len(theta), 0), dtype=np.int64), self.budget)
        norm2 = (self.y.reshape(len(self.y), -1) ** 2).sum(axis=1)
        left = np.stack([bottleneck(J, g, chosen[:, : k + 1], threads=self.threads).residual for k in range(self.budget)], axis=1)
        return self.positions[chosen], theta, left / norm2[:, None]
