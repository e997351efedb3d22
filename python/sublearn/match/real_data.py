"""What does descent reach on real data, and how good is that on data for testing? One number for each of many random trials."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..data.real_data import RealData
from ..model.strategy import Strategy
from ..ops.fit import Loss, fit
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
    loss: Loss = "squared"


def reached(question: RealQuestion, quantity: str, first: int, trials: int, threads: int | None = None) -> np.ndarray:
    """float64 [trials], from trial `first` on: "loss", the relative training loss ||f - y||^2 / ||y||^2, with softmax the cross-entropy
    over that of equal chances (inf where the search ran away), or the law's quantity of the data for testing. ValueError for another
    quantity, method or loss."""
    law, settings = question.law, question.settings
    if quantity not in law.quantities:
        raise ValueError(f"quantity: expected {' or '.join(law.quantities)} with {law.source}, got {quantity!r}")
    if settings.method != "descent":
        raise ValueError(f"method: expected descent with {law.source}, got {settings.method!r}")
    if question.loss not in law.losses:
        raise ValueError(f"loss: expected {' or '.join(law.losses)} with {law.source}, got {question.loss!r}")
    parts = list(_portions(question, quantity, first, trials, threads))
    return np.concatenate(parts) if parts else np.zeros(0)


def _portions(question: RealQuestion, quantity: str, first: int, trials: int, threads: int | None) -> Iterator[np.ndarray]:
    law, strategy, settings, seed, task, loss = question
    options = settings.options
    numbers = 4 * law.net.size + 2 * (math.prod(law.net.x_shape) + law.net.equations) + 64 * 1797
    chunk = max(1, _CHUNK_BYTES // (8 * numbers))
    for begin in range(first, first + trials, chunk):
        drawn = law.draw(strategy, seed, task, begin, min(chunk, first + trials - begin))
        how: dict[str, Any] = {name: options[name] for name in ("steps", "optimizer", "lr")}
        y = drawn.y if loss == "squared" else drawn.y.argmax(axis=1)
        how |= {"tol": settings.tol, "loss": loss, "washout": law.washout, "threads": threads}
        found = fit(law.net, drawn.student, drawn.x, y, drawn.mask, **how)
        if quantity != "loss":
            yield law.tested(found.theta, drawn, quantity, threads)
            continue
        with np.errstate(over="ignore", invalid="ignore"):
            if loss == "squared":
                counted = drawn.y[..., law.washout :, :] if law.washout else drawn.y
                size = (counted.astype(np.float64) ** 2).reshape(len(drawn.y), -1).sum(axis=1)
            else:
                size = np.full(len(drawn.y), drawn.y.shape[2] * math.log(drawn.y.shape[1]))
            reached_ = found.loss.astype(np.float64) / size
        yield np.where(np.isnan(reached_), np.inf, reached_)
