"""What does descent reach on real data, and how good is that on data for testing? One number for each of many random trials."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..data.real_data import RealData
from ..model.strategy import Strategy
from ..ops.fit import fit
from .methods import Settings

_CHUNK_BYTES = 2**27  # of trials held at a time


class RealQuestion(NamedTuple):
    """Where do trials of (seed, task) by this law end, which learn masks of this strategy by this method ("descent")? All of it is
    checked."""

    law: RealData
    strategy: Strategy
    settings: Settings
    seed: int
    task: int


def reached(question: RealQuestion, quantity: str, first: int, trials: int, threads: int | None = None) -> np.ndarray:
    """float64 [trials], from trial `first` on: "loss", the relative training loss ||f - y||^2 / ||y||^2 (inf where the search ran away), or
    the law's quantity of the data for testing. ValueError for another quantity or method."""
    law, settings = question.law, question.settings
    if quantity not in law.quantities:
        raise ValueError(f"quantity: expected {' or '.join(law.quantities)} with {law.source}, got {quantity!r}")
    if settings.method != "descent":
        raise ValueError(f"method: expected descent with {law.source}, got {settings.method!r}")
    parts = list(_portions(question, quantity, first, trials, threads))
    return np.concatenate(parts) if parts else np.zeros(0)


def _portions(question: RealQuestion, quantity: str, first: int, trials: int, threads: int | None) -> Iterator[np.ndarray]:
    law, strategy, settings, seed, task = question
    options = settings.options
    numbers = 4 * law.net.size + 2 * (math.prod(law.net.x_shape) + law.net.equations) + 64 * 1797
    chunk = max(1, _CHUNK_BYTES // (8 * numbers))
    for begin in range(first, first + trials, chunk):
        drawn = law.draw(strategy, seed, task, begin, min(chunk, first + trials - begin))
        found = fit(
            law.net, drawn.student, drawn.x, drawn.y, drawn.mask, options["steps"], options["optimizer"], options["lr"], settings.tol,
            threads=threads,
        )  # fmt: skip
        if quantity != "loss":
            yield law.tested(found.theta, drawn, threads)
            continue
        with np.errstate(over="ignore", invalid="ignore"):
            loss = found.loss.astype(np.float64) / (drawn.y.astype(np.float64) ** 2).reshape(len(drawn.y), -1).sum(axis=1)
        yield np.where(np.isnan(loss), np.inf, loss)
