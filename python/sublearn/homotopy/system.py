"""Complex solutions of square linear-network systems, followed while the data move.

A *system* is f(theta_A, frozen; x) = y of a linear network for kappa learnable weights (r = rho = kappa). Its data are the frozen
weights, the inputs and the targets. Where kappa is below the number of equations that depend on the weights at all, kappa of them that
force the others are solved, if such are known (homotopy/forcing_equations.py). Else the system is called *saturated* here: a free y would
leave the reachable outputs, so the teacher's weights are data in its place, and kappa fixed random combinations of the equations are
solved.
Solutions are complex until real data are reached: nothing here says yes or no, see existence/by_paths.py.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..backend.compiled import cpu
from ..backend.dispatch import kernels_for_paths
from ..backend.kernels import Kernels
from ..model.network import Network, Recurrent
from ..ranks.generic_rank import free_weights, required_rank
from . import forcing_equations

CONVERGED, INFINITE, FAILED, SKIPPED = range(4)


class Steps(NamedTuple):
    """Step control of the tracker: wanted relative error of a prediction, least step, most steps."""

    aim: float = 1e-4
    least: float = 1e-10
    most: int = 2000


NORMAL, CAREFUL = Steps(), Steps(1e-6, 1e-13, 20_000)


class Paths(NamedTuple):
    """Ends of paths: end complex [jobs, k], status int8 [jobs], steps int32 [jobs], largest float64 [jobs] (|z| met on the way)."""

    end: np.ndarray
    status: np.ndarray
    steps: np.ndarray
    largest: np.ndarray


class System:
    """The square systems of one network and one tuple of shared groups, for any allocation with r = rho = kappa.

    kappa; moving bool [equations]: the equations that depend on some free weight. rows int32 [kappa] or mix float64 [kappa, equations]:
    the equations solved. surplus: kappa < moving.sum(); then these rows force the others, or, where no such rows are known, `saturated`.
    impulse: the input is taken to be 1, 0, 0, .. (see `data`). A point of data is theta | x | y, or theta | x | teacher.
    """

    def __init__(self, net: Network, shared: tuple[str, ...]):
        if net.activation != "linear" or net.extended:
            raise ValueError(f"net: expected a linear network without gains and leak, of one sequence, got {net.describe()}")
        self.net, self.shared = net, shared
        self.kappa = required_rank(net, shared)
        self.impulse = isinstance(net, Recurrent) and net.inputs == 1 and not net.bias  # an output bias is no response to an input
        rng = np.random.default_rng([net.size, net.equations, 7])
        p = cpu.PRIMES[0]
        theta, x = (rng.integers(0, p, (1, count), dtype=np.int64) for count in (net.size, net.shape.inputs_size))
        jacobian = cpu.jacobian_mod(net.shape, theta, x, 0, p)[0][:, free_weights(net, shared)]
        self.moving = jacobian.any(axis=1)
        self.surplus = self.kappa < int(self.moving.sum())
        self.rows = self.mix = None
        solved = self.moving
        if self.surplus:
            forcing = forcing_equations.rows(net, shared)
            solved = None if forcing is None else forcing & self.moving
            # a part of the equations has full rank: as many as kappa, independent
            if solved is not None and (solved.sum() != self.kappa or cpu.rank_mod(jacobian[solved][None].copy(), p)[0] < self.kappa):
                solved = None
        self.saturated = solved is None
        if self.saturated:
            self.mix = np.ascontiguousarray(np.where(self.moving, rng.standard_normal((self.kappa, net.equations)), 0.0))
        else:
            self.rows = np.flatnonzero(solved).astype(np.int32)
        self.scale = np.concatenate(
            [np.full(where.stop - where.start, (net.fan_in[name] or 1) ** -0.5) for name, where in net.slices.items()]
        )
        self.common = np.zeros(net.size, dtype=bool)
        for name in shared:
            self.common[net.slices[name]] = True

    def degrees(self, masks: np.ndarray) -> np.ndarray:
        """int32 [k, kappa]: upper bounds of the degrees of the equations in the learnable weights of masks bool [k, size]."""
        net = self.net
        groups = {name: part.reshape(len(masks), -1).any(axis=1).astype(np.int32) for name, part in net.unpack(masks).items()}
        if isinstance(net, Recurrent):
            ends = np.maximum(groups["B"], groups.get("b", 0)) + groups["D"]
            of_step = ends[:, None] + groups["W"][:, None] * np.arange(net.steps, dtype=np.int32)
            every = np.repeat(of_step, net.outputs, axis=1)
        else:
            layers = len(net.widths) - 1
            total = sum(np.maximum(groups[f"W{k}"], groups.get(f"b{k}", 0)) for k in range(1, layers + 1))
            every = np.repeat(total[:, None], net.equations, axis=1)
        if self.saturated:
            return np.ascontiguousarray(np.repeat(every.max(axis=1)[:, None], self.kappa, axis=1))
        return np.ascontiguousarray(every[:, self.rows])

    def outputs(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
        """f at complex theta [batch, size] and complex x [batch, inputs]: a linear network is affine in x."""
        f = lambda at: cpu.outputs_complex(self.net.shape, np.ascontiguousarray(theta, dtype=complex), np.ascontiguousarray(at))  # noqa: E731
        if not np.iscomplexobj(x):
            return f(x)
        return f(x.real) + 1j * (f(x.imag) - f(np.zeros(x.shape)))

    def draw(self, rng: np.random.Generator, real: bool = False, sliced: bool = False) -> np.ndarray:
        """A random point complex [width], or a real one; weights of the size of D3, targets of the size that outputs have.

        sliced: a random direction of targets and a random tilt (`slice_of`) come after it.

        Inputs too must be complex: between real ones a line of data passes places such as x_1 = 0, where solutions are at infinity.
        """

        def normals(count):
            return rng.standard_normal(count) if real else (rng.standard_normal(count) + 1j * rng.standard_normal(count)) / np.sqrt(2)

        theta, other = normals(self.net.size) * self.scale, normals(self.net.size) * self.scale
        x = self._unit(1)[0] if self.impulse else normals(self.net.shape.inputs_size)
        if self.saturated:
            return self.point(theta, x, np.where(self.common, theta, other))
        y = self.outputs(other[None], x[None])[0] * (1 if real else np.exp(2j * np.pi * rng.random()))
        point = self.point(theta, x, y)
        return np.concatenate([point, np.abs(y).max() * normals(len(y)), normals(self.kappa)]) if sliced else point

    def point(self, theta: np.ndarray, x: np.ndarray, last: np.ndarray) -> np.ndarray:
        """complex [..., width]: theta | x | y, or theta | x | teacher where the system is saturated."""
        return np.concatenate([theta, x, last], axis=-1).astype(np.complex128)

    def data(self, theta: np.ndarray, x: np.ndarray, y: np.ndarray, teacher: np.ndarray | None) -> np.ndarray:
        """Points complex [batch, width] of real trials: theta, teacher [batch, size], x [batch, inputs], y [batch, equations].

        One input and no biases: the outputs are those to an impulse, convolved with x. So y is deconvolved once (a triangular Toeplitz
        system) and the paths move between impulse responses: the same solutions, on data that are fewer and better conditioned (1-4-1,
        T = 5: a third of the steps' refusals and of the lost paths). Where x_1 = 0 there is no such response: the point is NaN.
        """
        if not self.impulse:
            return self.point(theta, x, teacher if self.saturated else y)
        unit = self._unit(len(theta))
        if self.saturated:
            return self.point(theta, unit, np.where(x[:, :1] == 0, np.nan, teacher))
        steps = x.shape[1]
        response = y.reshape(len(y), steps, -1).astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            for t in range(steps):
                for s in range(t):
                    response[:, t] -= response[:, s] * x[:, t - s, None]
                response[:, t] /= x[:, :1]
        return self.point(theta, unit, np.where(np.isfinite(response), response, np.nan).reshape(len(y), -1))

    def _unit(self, count: int) -> np.ndarray:
        return np.tile(np.eye(1, self.net.shape.inputs_size), (count, 1))

    def track(
        self,
        points: np.ndarray,
        indices: np.ndarray,
        degrees: np.ndarray,
        allocation,
        origin,
        to,
        start: np.ndarray,
        group=None,
        *,
        stop_at_real: bool = False,
        steps: Steps = NORMAL,
        sliced: bool = False,
        threads: int = 0,
        kernels: Kernels | None = None,
    ) -> Paths:
        """Follows `start` complex [jobs, kappa] from points[origin] to points[to]; allocation, origin, to, group int [jobs] or one int.

        points complex [points, width]; indices, degrees int32 [allocations, kappa]. With stop_at_real, jobs of a group are skipped
        once an earlier one has ended at a point that looks real. sliced: points hold a direction v [equations] and a tilt c [kappa] as
        well, and f(z) = y + v (c . z) is solved. kernels: those that follow them (backend/kernels.py); None: the CPU, or a GPU for
        many.
        """
        jobs = len(start)
        as_jobs = lambda a: np.ascontiguousarray(np.broadcast_to(np.asarray(a, dtype=np.int32), jobs))  # noqa: E731
        out = (kernels or kernels_for_paths(jobs)).continuation(
            self.net.shape,
            np.ascontiguousarray(points),
            self.saturated,
            indices,
            degrees,
            self.rows,
            self.mix,
            as_jobs(allocation),
            as_jobs(origin),
            as_jobs(to),
            as_jobs(0 if group is None else group),
            np.ascontiguousarray(start),
            stop_at_real,
            steps.aim,
            steps.least,
            steps.most,
            sliced,
            threads,
        )
        paths = Paths(out["end"], out["status"], out["steps"], out["largest"])
        if self.saturated:  # a path that jumped may end on the mixed equations and off the others
            good = np.flatnonzero(paths.status == CONVERGED)
            target = points[as_jobs(to)[good]]
            off = ~self.holds(target, indices[as_jobs(allocation)[good]], paths.end[good])
            paths.status[good[off]] = FAILED
        return paths

    def holds(self, points: np.ndarray, indices: np.ndarray, z: np.ndarray) -> np.ndarray:
        """bool [batch]: do all equations hold at solutions z [batch, kappa] of the mixed ones? Saturated systems."""
        size = self.net.size
        theta, x, teacher = points[:, :size].copy(), points[:, size:-size], points[:, -size:]
        np.put_along_axis(theta, indices.astype(np.int64), z, axis=1)
        target = self.outputs(teacher, x)
        miss = np.abs(self.outputs(theta, x) - target).max(axis=1)
        return miss < 1e-7 * (np.abs(target).max(axis=1) + np.abs(z).max(axis=1))


@lru_cache(maxsize=64)
def system_of(net: Network, shared: tuple[str, ...]) -> System:
    return System(net, shared)
