"""Outputs that are affine in the learnable weights (T2; relu T11): a linear least squares problem, whose residual is the verdict."""

from __future__ import annotations

import numpy as np

from ..backend.compiled import cpu
from ..backend.dispatch import kernels_for
from ..homotopy.forcing_equations import P, residues
from ..model.layers import plain
from ..model.teacher_student import TeacherStudent
from ..ops.arguments import distinct_rows, index_rows
from ..ops.units import reach
from ..ranks.affine import affine
from .problem import EPS, ROUNDING, Data, Problem, by_budget, column_scale

_REFINEMENTS = 3


def solve_affine(law: TeacherStudent, data: Data, tol: float, threads: int = 0) -> np.ndarray:
    """The linear solve alone, on the CPU, for drawn trials: int8 [n], -1 left open."""
    problem = Problem(law.net, law.shared, data, tol, threads, kernels_for("cpu"), gains=np.array(law.gains), drawn=True)
    solve_linear(problem, np.ones(len(data.theta), dtype=bool))
    return problem.verdicts.match


def solve_linear(problem: Problem, open_: np.ndarray, exact: bool = False) -> None:
    """y is affine in the learnable weights: least squares, refined by the residual at the new point."""
    net = problem.net
    masks, which = distinct_rows(problem.masks)
    straight = affine(net, masks)[which] & open_
    if not straight.any():
        return
    label = "T11" if net.activation == "relu" else "T2"
    for rows in by_budget(problem.masks, straight):
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
            for size in (np.ones(indices.shape), column_scale(J)):
                # Singular values below the rounding of J itself are zero: saturated systems have them.
                u, s, vt = np.linalg.svd(J * size[:, None], full_matrices=False)
                keep = s > s[:, :1] * max(J.shape[1:]) * 4 * EPS
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
        maybe = maybe[miss[maybe] > ROUNDING * problem.eps * scale[maybe]]
        if len(maybe):
            at = rows[maybe]
            rounding = np.linalg.norm(problem.rounding(theta[maybe], at, widely=True), axis=1) + np.linalg.norm(
                problem.eps * reach(net, np.where(problem.masks[at], 0.0, theta[maybe]), problem.x[at]), axis=1
            )
            maybe = maybe[miss[maybe] > ROUNDING * rounding]
        if budget and len(maybe):  # directions that were taken for rounding must be no directions at all
            cut = maybe[~keep[maybe].all(axis=1)]
            cut = cut[_true_rank(problem, rows[cut], indices[cut], J[cut]) > keep[cut].sum(axis=1)]
            maybe = np.setdiff1d(maybe, cut)
        problem.verdicts.settle(rows[yes], 1, label, start=0)
        problem.verdicts.settle(rows[maybe], 0, label)
        open_[rows[yes]] = open_[rows[maybe]] = False


def _true_rank(problem: Problem, rows: np.ndarray, indices: np.ndarray, J: np.ndarray) -> np.ndarray:
    """int64 [rows]: rank, mod p, of the Jacobians in the weights `indices` of outputs that are affine in them: linear networks at the very
    numbers given, others as it was computed. Never too large, but with chance 1e-9 or so too small."""
    net = plain(problem.net)
    if not len(rows):
        return np.zeros(0, dtype=np.int64)
    if net.activation != "linear":
        return cpu.rank_mod(np.ascontiguousarray(residues(J)), P)
    whole = cpu.jacobian_mod(net.shape, residues(problem.theta[rows]), residues(problem.x[rows]), 0, P)
    return cpu.rank_mod(np.ascontiguousarray(np.take_along_axis(whole, indices.astype(np.int64)[:, None], axis=2)), P)
