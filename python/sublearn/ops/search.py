"""Batched Levenberg-Marquardt from several starts, and the law of these starts."""

from __future__ import annotations

import math

import numpy as np

from ..model.network import Network

WIDE = 3.0  # wide starts: standard deviation over that of the student's own law; 3 to 5 find the most per start


def start_scale(net: Network, gains: np.ndarray) -> np.ndarray:
    """Standard deviation of the wide starts, for every weight."""
    scale = np.empty(net.size)
    for (name, where), gain in zip(net.slices.items(), gains):
        fan_in = net.fan_in[name]
        scale[where] = WIDE * gain / math.sqrt(fan_in) if fan_in else WIDE * gain
    return scale
