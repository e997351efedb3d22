"""The record of a verdict, and the reasons there are for one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Verdicts:
    """match int8 [batch]: 1 yes, 0 no, -1 undecided. certified bool [batch]: proven (see `reason`), not only computed.
    reason str [batch]: "D4" (the student as it is), "D3", "T1", "T2", "T11", "newton", "descent", and of method "exact" also "paths", "T7",
    "T8", "D4" (everything is free, so the teacher itself is a solution).
    certified, yes: weights next to theta give exactly y, in real arithmetic, in every output that learnable weights reach; the others are y
    up to their rounding. No: no weights give y, or any other numbers that round to it. Where `teacher` was given and y is what it computes
    to, up to rounding, y stands for its exact outputs in both. theta [batch, size]: the solution, or the nearest point found. A certified
    solution lies next to it; where that is badly conditioned (T7), its rounding to float64 may leave a large loss. Where the input lives on
    a GPU, so do all but `reason`.
    loss [batch]: ||f(theta) - y||^2 / ||y||^2, for y = 0 over the student's own ||f||^2. start int [batch]: the first start that matched,
    -1 if none did.
    """

    match: np.ndarray
    certified: np.ndarray
    reason: np.ndarray
    theta: np.ndarray
    loss: np.ndarray
    start: np.ndarray
