"""Text picture of a mask: a grid of characters for every group."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .parameters import Parameters

_LEARNABLE, _FROZEN, _SHARED = "#", ".", "="
_PICTURE_WIDTH = 100


def picture(net: Parameters, masks: Mapping[str, np.ndarray], shared: tuple[str, ...]) -> str:
    """Groups side by side, as many as fit into 100 columns; a bias is a column. masks: bool arrays of all groups."""
    budget = sum(int(mask.sum()) for mask in masks.values())
    panels = []
    for name, mask in masks.items():
        grid = mask.reshape(mask.shape[0], -1)
        if name in shared:
            title, lines = f"{name} shared", [_SHARED * grid.shape[1]] * grid.shape[0]
        else:
            title = f"{name} {int(grid.sum())}/{grid.size}"
            lines = ["".join(_LEARNABLE if entry else _FROZEN for entry in row) for row in grid]
        width = max(len(title), grid.shape[1])
        panels.append([line.ljust(width) for line in [title, *lines]])
    bands: list[list[list[str]]] = []
    for panel in panels:
        taken = sum(len(other[0]) + 3 for other in bands[-1]) if bands else 0
        if bands and taken + len(panel[0]) <= _PICTURE_WIDTH:
            bands[-1].append(panel)
        else:
            bands.append([panel])
    legend = f"{_LEARNABLE} learnable, {_FROZEN} frozen" + (f", {_SHARED} shared" if shared else "")
    text = [f"{net.describe()}: {budget} of {net.size} weights learn ({legend})"]
    for band in bands:
        height = max(map(len, band))
        padded = [panel + [" " * len(panel[0])] * (height - len(panel)) for panel in band]
        text += [""] + ["   ".join(parts).rstrip() for parts in zip(*padded)]
    return "\n".join(text)
