"""How is an allocation drawn?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .axes import Texts
from .look import ink, new_ax, own_style, paper, pen

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ...model.allocation import Allocation

LEARNABLE, FROZEN, SHARED = "#0B5394", "#DDE1E6", "#F2CF8D"


def mask(
    allocation: Allocation,
    shared: Sequence[str] = (),
    ax: Axes | None = None,
    legend: Any = True,
    labels: Mapping[str, str] | None = None,
) -> Axes:
    """An allocation in three colours: learnable, frozen at random values, shared with the teacher.

    legend: True below the axes, else as in the module. labels: texts for the names of groups and of the three colours.
    """
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Rectangle

    ax, texts = new_ax(ax), Texts(labels)
    at, tallest = 0.0, max(grid.shape[0] for grid in allocation.by_group.values())
    with own_style():
        for name, grid in allocation.by_group.items():
            grid = grid.reshape(grid.shape[0], -1)
            height, width = grid.shape
            top = 0.5 * (tallest - height)
            colour = np.empty((height, width, 3))
            colour[...] = to_rgb(SHARED if name in shared else FROZEN)
            colour[grid] = to_rgb(LEARNABLE)
            ax.imshow(colour, extent=(at, at + width, top + height, top), interpolation="nearest", zorder=1)
            if max(height, width) <= 40:  # thin lines between single weights
                for k in range(1, width):
                    ax.plot([at + k, at + k], [top, top + height], color=paper(), linewidth=pen(0.8), zorder=2)
                for k in range(1, height):
                    ax.plot([at, at + width], [top + k, top + k], color=paper(), linewidth=pen(0.8), zorder=2)
            ax.add_patch(Rectangle((at, top), width, height, fill=False, edgecolor=ink(), linewidth=pen(0.7), zorder=3))
            texts.draw([ax.text(at + width / 2, top - 0.25, texts(name), ha="center", va="bottom")])
            at += width + max(1.0, 0.12 * tallest)
        ax.set_xlim(-0.3, at - max(1.0, 0.12 * tallest) + 0.3)
        ax.set_ylim(tallest + 0.3, -1.1)
        ax.set_aspect("equal")
        ax.axis("off")
        _legend(ax, legend, bool(shared), texts)
    return ax


def _legend(ax: Axes, legend: Any, shared: bool, texts: Texts) -> None:
    from matplotlib.patches import Patch

    from .axes import Entries

    entries = Entries(texts)
    for colour, text in ((LEARNABLE, "learnable"), (FROZEN, "frozen"), (SHARED, "shared with the teacher"))[: 3 if shared else 2]:
        entries.add(Patch(color=colour), texts(text))
    entries.show(ax, {"loc": "upper left", "bbox_to_anchor": (0, -0.02), "ncols": 3, "handlelength": 1} if legend is True else legend)
