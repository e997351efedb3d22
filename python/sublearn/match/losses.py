"""How near do searches come to a match? The relative loss that each of many random trials ends with."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import selection
from ..backend.selection import Backend
from .decided import decided
from .methods import METHODS
from .question import Question


def reached_losses(
    question: Question, first: int, trials: int, threads: int | None = None, backend: Backend = "auto"
) -> tuple[np.ndarray, str]:
    """The relative loss ||f - y||^2 / ||y||^2, float64 [trials], that the question's search ends with, in trials from `first` on: the least
    of its starts, in the trials and from the starts that `match_probability` counts; and where they were searched, "cpu" or "cuda".

    A search stops below its tolerance, so losses below it say no more than that. inf where the search ran away. ValueError for a question
    whose method is no search, or that looks at ranks first: then nothing was searched.
    """
    method, options, _, screen = question.settings
    if method not in METHODS or screen:
        raise ValueError(f"question: expected a search ({', '.join(METHODS)}) without screen, got {method!r} with screen {screen}")
    where: Any = selection.choose(backend, trials * options["starts"] * question.law.net.size)
    parts = [verdicts.loss for verdicts, _ in decided(question, first, trials, False, threads, where)]
    losses = np.concatenate([np.asarray(part, dtype=np.float64) for part in parts]) if parts else np.zeros(0)
    return np.where(np.isnan(losses), np.inf, losses), where
