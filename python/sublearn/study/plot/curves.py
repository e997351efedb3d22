"""How is a quantity drawn against the budget, or against the place in a split?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .axes import GUIDE, Entries, Texts, line, name_x, quantity_name, required_line, value_axis, whole_numbers
from .choice import curves, estimates, mixed, select, swept, totals
from .limit_bars import LIMIT_TEXTS, limits
from .look import MARKERS, colours, marker_size, new_ax, own_style, paper, pen, points, ring, shades

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes


def probability(
    data: xarray.Dataset,
    network: str,
    ax: Axes | None = None,
    quantity_text: str | None = None,
    look: Mapping[str, tuple[str, str]] | None = None,
    method: str | None = None,
    legend: Any = True,
    labels: Mapping[str, str] | None = None,
) -> Axes:
    """A probability (or another quantity) against budget, one curve per strategy, for one network, one method and one quantity.

    `quantity_text` and `method` may be None if there is only one. Splits are left out (see `split`), and so are controls
    that belong to no curve. look: strategy label to (colour, marker). legend, labels: see the module.
    Errors: ValueError if the network has no such cells, or more than one quantity.
    """
    ax, texts = new_ax(ax), Texts(labels)
    data = data.isel(cell=np.flatnonzero(swept(data)))
    chosen, text = select(data, network, quantity_text, splits=False, method=method)
    look = look or colours(data)
    parts = curves(chosen, "strategy", "budget")
    with own_style():
        entries = Entries(texts)
        if len(set(chosen["budget"].values.tolist())) == 1 and len(parts) > 1:
            _side_by_side(ax, chosen, look, texts)
        else:
            for place, (label, part) in enumerate(parts.items()):
                x, (colour, marker) = part["budget"].values, look[label]
                limits(ax, x, part, colour, 1 - 0.55 * place / len(parts))
                entries.add(_measured(ax, x, part, (colour, marker), marker_size(place, len(parts)), mixed(chosen)), texts(label))
            whole_numbers(ax, chosen["budget"].values)
            required_line(ax, chosen)
            name_x(ax, "learnable weights (budget r)", texts)
        value_axis(ax, chosen, quantity_name(chosen, text, texts), texts)
        if entries.handles or any(one.get_gid() in LIMIT_TEXTS for one in ax.lines) or mixed(chosen):
            entries.add_marks(ax, chosen)
        entries.show(ax, legend)
    return ax


def split(
    data: xarray.Dataset,
    network: str,
    strategy: str,
    ax: Axes | None = None,
    quantity_text: str | None = None,
    method: str | None = None,
    legend: Any = True,
    labels: Mapping[str, str] | None = None,
) -> Axes:
    """A quantity against the learnable weights in the first group of a split, one curve per total budget.

    legend, labels: see the module. Errors: ValueError if there are no such cells, or more than one quantity or method.
    """
    ax, texts = new_ax(ax), Texts(labels)
    chosen, text = select(data, network, quantity_text, splits=True, strategy=strategy, method=method)
    with own_style():
        entries, parts = Entries(texts), totals(chosen)
        for place, ((label, part), shade, marker) in enumerate(zip(parts, shades(len(parts))[::-1], MARKERS * len(parts))):
            x = part["split_first"].values
            limits(ax, x, part, shade, 1 - 0.55 * place / len(parts))
            entries.add(_measured(ax, x, part, (shade, marker), marker_size(place, len(parts)), mixed(chosen)), texts(label))
        split_axis(ax, chosen, texts)
        value_axis(ax, chosen, quantity_name(chosen, text, texts), texts)
        entries.add_marks(ax, chosen)
        entries.show(ax, legend)
    return ax


def split_axis(ax: Axes, chosen: xarray.Dataset, texts: Texts) -> None:
    group, *others = [texts(entry.split()[0]) for entry in str(chosen["arguments"].values[0]).split(" + ")]
    whole_numbers(ax, chosen["split_first"].values)
    name_x(ax, f"learnable weights in {group} (all others of the r in {' and '.join(others)})", texts)


def joined(ax: Axes, x: np.ndarray, y: np.ndarray, guided: bool = True, **look: Any) -> None:
    """Points joined where their places are neighbouring whole numbers; over a gap only by a guide, for nothing was measured there."""
    breaks = np.flatnonzero(np.diff(x) != 1) + 1  # cells of one budget (2 rows x 3, 3 rows x 2) are not joined either
    for run in np.split(np.arange(len(x)), breaks):
        ax.plot(x[run], y[run], **look)
    for k in np.flatnonzero(np.diff(x) > 1) + 1 if guided else ():
        ax.plot(x[k - 1 : k + 1], y[k - 1 : k + 1], color=look["color"], gid="guide", linewidth=pen(0.9), zorder=2.5, **GUIDE)


def _measured(ax: Axes, x: np.ndarray, part: xarray.Dataset, look: tuple[Any, str], size: float, ringed: bool) -> Any:
    """Points with their intervals and what joins them; returns the curve's entry for the legend."""
    y, low, high = estimates(part), part["low"].values, part["high"].values
    control, (colour, marker) = part["control"].values, look
    point: dict[str, Any] = {"color": colour, "marker": marker, "linestyle": "none", "markersize": size, "zorder": 5}
    edge: dict[str, Any] = {"markeredgecolor": paper(), "markeredgewidth": pen(0.6)}  # keeps points apart that lie on each other
    ax.vlines(x, low, high, color=colour, linewidth=0.32 * size, zorder=4)
    joined(ax, x, y, color=colour, linestyle="-", linewidth=pen(1.2), zorder=3)
    ax.plot(x[~control], y[~control], **point, **edge)
    ax.plot(x[control], y[control], **point, markerfacecolor=paper())
    if ringed:
        exact = part["quantity"].values == "existence"
        ax.plot(x[exact], y[exact], color=colour, linestyle="none", **ring(size + points(4.5)))
    face = paper() if control.all() else colour
    return line("-", color=colour, linewidth=pen(1.2), marker=marker, markersize=size, markerfacecolor=face)


def _side_by_side(ax: Axes, chosen: xarray.Dataset, look: Mapping[str, tuple[str, str]], texts: Texts) -> None:
    """One budget for all strategies: points beside each other, each over its name."""
    labels = list(dict.fromkeys(chosen["strategy"].values.tolist()))
    for place, label in enumerate(labels):
        part = chosen.isel(cell=np.flatnonzero(chosen["strategy"].values == label))
        (colour, marker), y = look[label], estimates(part)
        x = place + np.linspace(-0.15, 0.15, part.sizes["cell"]) if part.sizes["cell"] > 1 else np.array([float(place)])
        ax.vlines(x, part["low"].values, part["high"].values, color=colour, linewidth=pen(1.6))
        ax.plot(x, y, color=colour, marker=marker, linestyle="none")
        if mixed(chosen):
            exact = part["quantity"].values == "existence"
            ax.plot(x[exact], y[exact], color=colour, linestyle="none", **ring())
        limits(ax, x, part, colour, 0.7 / part.sizes["cell"])
    ax.set_xticks(range(len(labels)), [texts(label, 16) for label in labels])
    texts.draw(ax.get_xticklabels())
    ax.set_xlim(-0.6, len(labels) - 0.4)
    name_x(ax, f"strategy, all with r = {int(chosen['budget'].values[0])}", texts)
