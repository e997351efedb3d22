"""Searches for a match: starts of Newton's method, or one descent. What they do not find stays undecided."""

from __future__ import annotations

import numpy as np

from ..ops.arguments import index_rows
from ..ops.fit import OPTIMIZERS
from ..ops.search import start_scale
from .problem import by_budget


def search_by_newton(problem, open_, starts, keys, iterations, tol) -> None:
    """The starts of Newton's method. A point counts when its loss, computed afresh, is what the search said, up to rounding."""
    net, (seed, task, first) = problem.net, keys
    scale = start_scale(net, np.ones(len(net.groups)) if problem.gains is None else problem.gains)
    for rows in by_budget(problem.masks, open_):
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
            problem.verdicts.settle(some, np.where(found >= 0, 1, -1), "newton", start=found)


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


def search_by_descent(problem, open_, steps, optimizer, lr) -> None:
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
    problem.verdicts.settle(rows, np.where(yes, 1, -1), "descent", start=np.where(yes, 0, -1))
