"""Trials of a question, drawn and decided in portions that fit into memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..backend.selection import Backend
from ..data.trials import draw_trials
from ..existence.verdicts import Verdicts
from .decide import decide_drawn
from .question import Question

_CHUNK_BYTES = 2**27  # of trials held at a time
_CHUNK_TRIALS = 2**14
_CUDA_CHUNK_BYTES, _CUDA_CHUNK_TRIALS = 2**30, 2**18  # a GPU needs tens of thousands of students at a time to be busy


def decided(
    question: Question, first: int, trials: int, keep_masks: bool, threads: int | None, backend: Backend
) -> Iterator[tuple[Verdicts, np.ndarray | None]]:
    """(Verdicts, masks) of trials held on the CPU, as many at a time as fit; on a GPU each step carries them there and back."""
    law, strategy = question.law, question.strategy
    net, gains = law.net, law.gains_by_group
    most_trials, most_bytes = (_CUDA_CHUNK_TRIALS, _CUDA_CHUNK_BYTES) if backend == "cuda" else (_CHUNK_TRIALS, _CHUNK_BYTES)
    numbers = 6 * net.size + net.shape.inputs_size + (2 + strategy.budget) * net.equations
    chunk = max(1, min(most_trials, most_bytes // (8 * numbers)))
    where: Any = {
        "seed": question.seed,
        "task": question.task,
        "gains": gains,
        "targets": law.targets,
        "threads": threads,
        "backend": backend,
    }
    for begin in range(first, first + trials, chunk):
        drawn = draw_trials(net, strategy, min(chunk, first + trials - begin), shared=law.shared, first=begin, **where)
        if not np.isfinite(drawn.y).all():
            number = begin + int(np.flatnonzero(~np.isfinite(drawn.y.reshape(len(drawn.y), -1)).all(axis=1))[0])
            raise ValueError(f"gains: expected outputs of the teacher within float64, got some beyond it (trial {number}, gains {gains})")
        mask = drawn.mask[0] if strategy.allocation is not None else None
        yield decide_drawn(drawn, question.settings, mask, threads, backend), drawn.mask if keep_masks else None
