"""The students of one call while their verdicts are being found: data in units of their own, residuals, and what counts as met."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..existence.verdicts import Verdicts
from ..model.layers import plain, without_idle_gains
from ..model.network import Network, Recurrent
from ..ops.arguments import index_rows
from ..ops.units import Units, reach, size_of, units

NO_NEAR_MISS = 1e-26  # relative loss below which an uncertified point counts as existing: of 400 000 starts with kappa - 1 weights six came
#   below 1e-20, none below 1e-24
_OWN_SCALE = 1e-12  # .. and every output must be met to so much of what the learnable weights contribute to it
ROUNDING = 1e4  # a residual above this many eps (of the dtype given) of the numbers it was made of is no rounding error
EXACTLY = 64  # within so many eps of them it is one
_NOTHING = 1e-280  # error bounds are never below some 1e-290
_TAUGHT = 1e-8  # targets that miss a teacher's outputs by more, relative to the largest, are not its targets, whatever rounding explains
_SEEN = 1e-10  # of the largest target: a tenth of what linear programmes are solved to
EPS = float(np.finfo(np.float64).eps)


class Fine(NamedTuple):
    """What a search works on, and what brings the weights it found back."""

    theta: np.ndarray
    x: np.ndarray
    y: np.ndarray
    norm: np.ndarray
    back: Callable[[np.ndarray], np.ndarray]


class Data(NamedTuple):
    """The rows of a call, float64: theta [n, size] (the students), x [n, inputs], y [n, outputs], masks bool [n, size], teacher [n, size]
    or None. eps: what the numbers given were rounded to."""

    theta: np.ndarray
    x: np.ndarray
    y: np.ndarray
    masks: np.ndarray
    teacher: np.ndarray | None = None
    eps: float = EPS


def simplest(net: Network, data: Data, gains: np.ndarray | None) -> tuple[Network, Data, np.ndarray | None]:
    """The same question of the network without gains, where these are idle. What is found goes back with ones behind it."""
    bare = without_idle_gains(net, data.masks, data.theta, *([] if data.teacher is None else [data.teacher]))
    if bare is net:
        return net, data, gains
    cut = lambda rows: None if rows is None else rows[:, : bare.size]  # noqa: E731
    data = data._replace(theta=cut(data.theta), masks=cut(data.masks), teacher=cut(data.teacher))
    return bare, data, None if gains is None else gains[: len(bare.groups)]


class Problem:
    """The batch as rows, in units of its own (ops/units.py), and the verdicts while they are being filled in.

    taught bool [count]: a teacher is given, it shares the groups `shared` with the student, and y is what it computes to, up to rounding.
    """

    def __init__(
        self,
        net: Network,
        shared: tuple[str, ...],
        data: Data,
        tol: float,
        threads: int,
        kernels: Any,
        gains: np.ndarray | None = None,
        drawn: bool = False,
    ) -> None:
        self.net, self.shared, self.tol, self.threads, self.kernels = net, shared, tol, threads, kernels
        self.gains, self.drawn = gains, drawn
        students, x, y, self.masks, teacher, self.eps = data
        eps, self.given = self.eps, students
        self.units = units(net, students, x, y, gains if drawn else None)
        self.plain_units = not (self.units.theta.any() or self.units.x.any() or self.units.y.any())
        scaled = lambda rows, by: np.array(rows) if self.plain_units else np.ldexp(rows, -by)  # noqa: E731
        self.theta = scaled(students, self.units.theta)
        self.student = self.theta.copy()
        self.x, self.y = scaled(x, self.units.x[:, None]), scaled(y, self.units.y[:, None])
        self.teacher = None if teacher is None else scaled(teacher, self.units.theta)
        self.before = None
        count = len(self.theta)
        self.verdicts = Verdicts.undecided(np.empty((count, 0)))  # theta and loss stay here while they move
        self.measure()
        self.taught = np.zeros(count, dtype=bool)
        if teacher is not None:
            common = np.zeros(net.size, dtype=bool)
            for name in shared:
                common[net.slices[name]] = True
            gap = np.abs(self.y - self.kernels.outputs(net.shape, self.teacher, self.x, threads))
            near = gap <= EXACTLY * eps * np.abs(self.y)
            rest = np.flatnonzero(~near.all(axis=1))  # few: the rounding of y alone explains most
            if len(rest):
                near[rest] = gap[rest] <= EXACTLY * eps * (np.abs(self.y[rest]) + reach(net, self.teacher[rest], self.x[rest]))
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
        if not (
            isinstance(net, Recurrent)
            and net.activation == "linear"
            and net.inputs == 1
            and not net.bias
            and not net.extended
            and rows.any()
        ):
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
        """float64 [rows, equations]: one eps of the numbers that outputs at theta and targets were made of; widely, for a no: by the
        teacher, too, and at least the step of the smallest numbers there are."""
        made_of = np.abs(self.y[rows]) + reach(self.net, theta, self.x[rows])
        if widely and self.taught[rows].any():
            made_of = made_of + self.taught[rows][:, None] * reach(self.net, self.teacher[rows], self.x[rows])
        return self.eps * (made_of + self._smallest(rows)) if widely else self.eps * made_of

    def coarse(self, rows, by_programmes=False):
        """bool [rows]: are some targets further from what they stand for than a no allows for? They are subnormal, or computed by a teacher
        that cancels, by more than a first derivative tells; by_programmes: or than linear programmes, which know no teacher, can see."""
        y = np.abs(self.y[rows])
        found = ((y > 0) & (y < self._smallest(rows))).any(axis=1)
        taught = np.flatnonzero(self.taught[rows])
        if len(taught):
            at = rows[taught]
            allowed = 16 * EXACTLY * self.rounding(self.teacher[at], at, widely=True)  # enclosures of tanh are wider than its rounding
            if by_programmes:
                allowed = np.minimum(allowed, _SEEN * y[taught].max(axis=1, keepdims=True))
            found[taught] |= ~(self.off_teacher(at) <= np.maximum(allowed, _NOTHING)).all(axis=1)
        return found

    def off_teacher(self, rows):
        """float64 [rows, equations]: what the targets of rows that have a teacher differ by, at most, from its exact outputs."""
        from ..existence.by_substitution import Enclosed, outputs  # here: `import sublearn` should not pay for it

        with np.errstate(all="ignore"):
            gap = outputs(plain(self.net), Enclosed(self.teacher[rows]), self.x[rows], Enclosed(self.y[rows]), self.threads)
            return np.abs(gap.hi) + np.abs(gap.lo) + gap.rad

    def _smallest(self, rows):
        """float64 [rows, 1]: the smallest normal number of the dtype given, in units of y."""
        normal = np.finfo(np.float64 if self.eps == EPS else np.float32).tiny
        with np.errstate(over="ignore", under="ignore"):
            return np.ldexp(float(normal), -self.units.y[rows])[:, None]

    def no_near_miss(self, theta, rows):
        """bool [rows]: are these points, which nothing certifies, solutions as far as numbers can tell?

        The loss is below NO_NEAR_MISS, and every output is met up to rounding and to _OWN_SCALE of what the student's learnable weights
        contribute to it: beside large frozen parts, or with weights on their way to infinity, a loss is small soon. Residuals are taken
        with error bounds, because weights can be large enough to fit the rounding of what they act on.
        """
        from ..existence.by_substitution import Enclosed, outputs  # here: `import sublearn` should not pay for it

        good = self.relative_loss(theta, rows) < NO_NEAR_MISS
        for some in by_budget(self.masks[rows], good):
            at = rows[some]
            own = self.own_scale(at)
            rounding = EXACTLY * np.maximum(self.rounding(theta[some], at), self.rounding(self.student[at], at))
            with np.errstate(all="ignore"):
                gap = outputs(plain(self.net), Enclosed(theta[some]), self.x[at], Enclosed(self.y[at]), self.threads)
                miss = np.abs(gap.hi) + gap.rad
            allowed = np.where(own > 0, np.minimum(_OWN_SCALE * own, rounding), rounding)
            good[some] = (miss <= allowed + _NOTHING).all(axis=1)
        return good

    def judge(self, theta, rows):
        """(theta after two steps of Gauss and Newton, where they help, bool [rows]: no near miss) for points near solutions."""
        theta = theta.copy()
        for some in by_budget(self.masks[rows], np.isfinite(theta).all(axis=1)):
            at, indices = rows[some], index_rows(self.masks[rows[some]]).astype(np.int64)
            if not indices.shape[1]:
                continue
            for _ in range(2):
                J = self.kernels.jacobian(
                    self.net.shape, np.ascontiguousarray(theta[some]), self.x[at], indices.astype(np.int32), self.threads
                )
                good = np.isfinite(J).all(axis=(1, 2))
                J, size = J[good], column_scale(J[good])
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
            return Fine(theta, x, y, self.norm[rows], lambda moved: moved)
        by = Units(*(np.exp2(exponents) for exponents in units(self.net, theta, x, y, whole=False)))
        masks = self.masks[rows]
        return Fine(
            theta / by.theta,
            x / by.x[:, None],
            y / by.y[:, None],
            self.norm[rows] / by.y**2,
            lambda moved: np.where(masks, moved * by.theta, theta),
        )

    def keep_directions(self, rows, directions):
        """The directions [rows, equations] that prove a no (T13)."""
        if not len(rows):
            return
        found = self.verdicts.direction
        if found is None:
            found = np.zeros((len(self.theta), self.net.equations))
            self.verdicts = replace(self.verdicts, direction=found)
        found[rows] = directions

    def solution(self):
        """theta in the units given: frozen weights as they came."""
        moved = self.theta if self.plain_units else np.ldexp(self.theta, self.units.theta)
        return np.where(self.masks, moved, self.given)


def column_scale(J: np.ndarray) -> np.ndarray:
    """Powers of two [b, k] that bring the columns of J [b, e, k] to one size."""
    most = np.abs(J).max(axis=1)
    return np.ldexp(1.0, -np.where(most > 0, np.frexp(most)[1], 0))


def by_budget(masks: np.ndarray, chosen: np.ndarray):
    budgets = masks.sum(axis=1)
    for budget in np.unique(budgets[chosen]):
        yield np.flatnonzero(chosen & (budgets == budget))
