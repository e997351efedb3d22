"""How is what exists drawn beside what a search finds?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...match.methods import EXACT
from .axes import Entries, Texts, line, name_x, required_line, value_axis, whole_numbers, without_order
from .choice import curves, select, swept, totals
from .curves import joined, split_axis
from .look import MARKERS, colours, ink, marker_size, new_ax, own_style, paper, pen, ring, shades

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes

FIRST = (0, (1, 1.6))  # found by the first start
SOLID, DASHED = "-", (0, (4, 2))  # proven, searched


def existence(
    data: xarray.Dataset,
    network: str,
    ax: Axes | None = None,
    quantity_text: str | None = None,
    look: Mapping[str, tuple[str, str]] | None = None,
    split: str | None = None,
    legend: Any = True,
    labels: Mapping[str, str] | None = None,
) -> Axes:
    """Existence against findability for one network: what the exact method proves, and what one search finds of it.

    Solid, filled: match probability, with its interval (undecided trials left open). Dashed, hollow: the found probability named by
    `quantity_text` (None if the network has only one); dotted: the same after the first start.
    One colour per strategy, against the budget; with `split`, the label of a split,
    one per total budget, against the learnable weights in its first group. Only cells that were measured both ways are drawn.
    look: strategy label to (colour, marker). legend, labels: see the module.
    Errors: ValueError if there are none, or more than one found probability.
    """
    ax, texts = new_ax(ax), Texts(labels)
    data = data.isel(cell=np.flatnonzero(swept(data)))
    exact, proven, found, text = _pair(data, network, quantity_text, split)
    look = look or colours(data)
    with own_style():
        entries = Entries(texts)
        for part, filled in ((found, False), (exact, True)):
            for place, (label, curve, colour_marker, count) in enumerate(_looks(part, split, look)):
                handle = _curve(ax, curve, "budget" if split is None else "split_first", colour_marker, marker_size(place, count), filled)
                if filled:
                    entries.add(handle, texts(label))
        if split is None:
            whole_numbers(ax, exact["budget"].values)
            required_line(ax, exact)
            name_x(ax, "learnable weights (budget r)", texts)
        else:
            split_axis(ax, exact, texts)
        value_axis(ax, exact, "probability: of existence, and of being found", texts)
        entries.add(line(SOLID, marker="o", markerfacecolor=ink()), texts.name(proven))
        entries.add(line(DASHED, marker="o"), texts.name(text))
        if any(one.get_gid() == "first start" for one in ax.lines):
            entries.add(line(FIRST), "the same, first start only")
        if (found["quantity"].values == "existence").any():
            entries.add(line("none", **without_order(ring())), "ringed: decided in every trial,\nnothing was left to search")
        entries.add_guide(ax)
        entries.show(ax, legend)
    return ax


def _pair(data: xarray.Dataset, network: str, quantity_text: str | None, split: str | None) -> tuple[Any, str, Any, str]:
    """(decided cells, their quantity, searched cells, theirs), of the questions that were asked both ways."""
    kind: dict[str, Any] = {"splits": split is not None, "strategy": split}
    exact, proven = select(data, network, None, method=EXACT, **kind)
    found, text = select(data.isel(cell=np.flatnonzero(data["method"].values != EXACT)), network, quantity_text, **kind)
    asked = [list(zip(part["strategy"].values.tolist(), part["arguments"].values.tolist())) for part in (exact, found)]
    both = set(asked[0]) & set(asked[1])
    exact, found = (part.isel(cell=[one in both for one in names]) for part, names in zip((exact, found), asked))
    if not exact.sizes["cell"]:
        raise ValueError(f"data: expected cells of {network!r} measured by exact and by a search, got none")
    return exact, proven, found, text


def _looks(part: xarray.Dataset, split: str | None, look: Mapping[str, tuple[str, str]]) -> list[tuple[str, Any, tuple[Any, str], int]]:
    """(label, cells, (colour, marker), number of curves) of each curve."""
    if split is None:
        return [
            (label, curve, look[label], len(curves(part, "strategy", "budget")))
            for label, curve in curves(part, "strategy", "budget").items()
        ]
    parts = totals(part)
    return [
        (label, curve, (shade, marker), len(parts))
        for (label, curve), shade, marker in zip(parts, shades(len(parts))[::-1], MARKERS * len(parts))
    ]


def _curve(ax: Axes, curve: xarray.Dataset, axis: str, look: tuple[Any, str], size: float, filled: bool) -> Any:
    """One curve, decided (filled) or searched; returns its entry for the legend."""
    x, (colour, marker) = curve[axis].values, look
    low, high, y = (curve[name].values for name in ("low", "high", "probability"))
    if not filled and (curve["starts"].values > 1).any():
        first = curve["found_after"].isel(start=0).values / curve["trials"].values
        joined(ax, x, first, False, color=colour, linestyle=FIRST, linewidth=pen(1.0), gid="first start", zorder=3.5)
    ax.vlines(x, low, high, color=colour, linewidth=pen(1.0), zorder=3)
    drawn: dict[str, Any] = {"linewidth": pen(1.6 if filled else 1.0), "zorder": 5 if filled else 4}
    point: dict[str, Any] = {"marker": marker, "markersize": size, "markerfacecolor": colour if filled else paper()}
    joined(ax, x, y, color=colour, linestyle=SOLID if filled else DASHED, **drawn, **point)
    if not filled:
        proof = curve["quantity"].values == "existence"
        ax.plot(x[proof], y[proof], color=colour, linestyle="none", **ring())
    return line(SOLID, color=colour, **drawn, **point)
