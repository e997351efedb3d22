"""How is what a search finds drawn against its starts?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...numerics.intervals import clopper_pearson
from .axes import Entries, Texts, line, name_x, value_axis
from .choice import select
from .look import new_ax, own_style, shades

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes


def restarts(
    data: xarray.Dataset,
    network: str,
    strategy: str,
    ax: Axes | None = None,
    quantity_text: str | None = None,
    legend: Any = True,
    labels: Mapping[str, str] | None = None,
) -> Axes:
    """Share of trials found within the first s starts, one curve per budget.

    Of a split, the most balanced cell of each total is shown. legend, labels: see the module.

    Errors: ValueError if there are no such cells.
    """
    ax, texts = new_ax(ax), Texts(labels)
    chosen, text = select(data, network, quantity_text, strategy=strategy, existence=False)
    cells = _cells(chosen)
    most = 1
    with own_style():
        entries = Entries(texts)
        for cell, shade in zip(cells, shades(len(cells))[::-1], strict=True):
            after = cell["found_after"].values
            after = after[~np.isnan(after)].astype(np.int64)
            trials, size = int(cell["trials"]), str(cell["arguments"].values)
            size = f"r = {size}" if size.isdigit() else size
            most = max(most, after.size)
            starts = np.arange(1, after.size + 1)
            low, high = np.array([clopper_pearson(int(count), trials) for count in after]).T
            ax.fill_between(starts, low, high, color=shade, alpha=0.18, linewidth=0)
            marker = "o" if after.size < 12 else None
            ax.plot(starts, after / trials, color=shade, marker=marker)
            entries.add(line("-", color=shade, marker=marker, markerfacecolor=shade), size)
        _starts_axis(ax, most)
        name_x(ax, "starts tried", texts)
        value_axis(ax, chosen, texts.own.get(text) or texts.name(re.sub(r"\d+ starts?,", "s starts,", text)), texts)
        entries.show(ax, legend, title="budget", alignment="left")
    return ax


def _cells(chosen: xarray.Dataset) -> list[Any]:
    """The cells, largest budgets first; of a split the most balanced one of each total."""
    cells = [chosen.isel(cell=place) for place in np.argsort(-chosen["budget"].values, kind="stable")]
    if int(chosen["split_first"].values.max()) < 0:
        return cells
    best: dict[int, Any] = {}
    for cell in cells:
        total = int(cell["budget"])
        balance = abs(2 * int(cell["split_first"]) - total)
        if total not in best or balance < best[total][0]:
            best[total] = (balance, cell)
    return [cell for _, cell in best.values()]


def _starts_axis(ax: Axes, most: int) -> None:
    if most > 12:
        ax.set_xscale("log")
        ticks = [tick for tick in (1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 300, 500, 1000) if tick <= most]
        ax.set_xticks(ticks, [str(tick) for tick in ticks])
        ax.minorticks_off()
    else:
        ax.set_xticks(range(1, most + 1))
