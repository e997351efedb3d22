"""How are theory's limits drawn?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .choice import PROBABILITIES
from .look import ink, pen

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes

BAR, FOOT = 0.42, 0.022  # half the length of a limit's bar between neighbouring budgets, and its feet, in probability
ESTIMATED = (0, (3, 1.5))
SEEN = 1e-4  # what can be told from 0 or 1 in a figure
LIMIT_TEXTS = {
    "theory_exactly": "theory: exactly",
    "theory_high": "theory: at most",
    "theory_high_estimated": "theory: at most (estimated, 95 %)",
    "theory_low": "theory: at least",
    "theory_low_estimated": "theory: at least (estimated, 95 %)",
}


def limits(ax: Axes, x: np.ndarray, part: xarray.Dataset, colour: str, length: float) -> None:
    """Theory's limits, a bar around each place; of those of several curves at one height the later ones are shorter and on top."""
    half, shares = length * BAR, np.isin(part["quantity"].values, PROBABILITIES)
    low, high, exact_low, exact_high = (
        part[name].values for name in ("theory_low", "theory_high", "theory_low_exact", "theory_high_exact")
    )
    for k in np.flatnonzero(shares):  # theorems bound probabilities, and no other quantity
        for name, value, exact, feet in told(low[k], high[k], exact_low[k], exact_high[k]):
            bar_x, bar_y = _bar(float(x[k]), half, value, feet * FOOT)
            gid = name if exact else f"{name}_estimated"
            ax.plot(bar_x, bar_y, color=colour, gid=gid, zorder=2, solid_joinstyle="miter", scalex=False, **_look(gid))


def told(low: float, high: float, exact_low: bool, exact_high: bool) -> list[tuple[str, float, bool, int]]:
    """(name, value, is it exact?, direction of its feet) of a cell's limits; one that every probability has says nothing, nan neither."""
    if low == high and exact_low and exact_high:
        return [("theory_exactly", float(high), True, 0)]
    found = []
    if high < 1 - SEEN:
        found.append(("theory_high", float(high), bool(exact_high), -1))
    if low > SEEN:
        found.append(("theory_low", float(low), bool(exact_low), 1))
    return found


def _bar(x: float, half: float, y: float, foot: float) -> tuple[list[float], list[float]]:
    return [x - half, x - half, x + half, x + half], [y + foot, y, y, y + foot]


def _look(gid: str) -> dict[str, Any]:
    return {"linestyle": ESTIMATED if gid.endswith("_estimated") else "-", "linewidth": pen(1.1 if gid.endswith("_estimated") else 1.8)}


class LimitEntry:
    """A bar for the legend, by its name in LIMIT_TEXTS."""

    def __init__(self, gid: str) -> None:
        self.gid = gid


class LimitHandler:
    """Draws a `LimitEntry`."""

    def legend_artist(self, legend: Any, entry: LimitEntry, fontsize: float, handlebox: Any) -> Any:
        from matplotlib.lines import Line2D

        feet = -1 if "high" in entry.gid else 1 if "low" in entry.gid else 0
        half, height = 0.5 * handlebox.width, handlebox.height
        x, y = _bar(half - handlebox.xdescent, half, 0.4 * height - handlebox.ydescent, feet * 0.4 * height)
        line = Line2D(x, y, color=ink(), **_look(entry.gid))
        line.set_transform(handlebox.get_transform())
        handlebox.add_artist(line)
        return line
