"""How is a quantity drawn over two things that a study sweeps?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .axes import Texts, name_x
from .choice import PROBABILITIES, estimates, one_quantity
from .look import ink, new_ax, own_style, paper, pen

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes

LOWEST, HIGHEST = 0.06, 0.98  # of the colour map: its ends are close to the paper and to black
MAP = "viridis"


def heat_map(
    data: xarray.Dataset,
    rows: str,
    columns: str = "budget",
    ax: Axes | None = None,
    quantity_text: str | None = None,
    method: str | None = None,
    legend: Any = True,
    labels: Mapping[str, str] | None = None,
) -> Axes:
    """A quantity as colours over two coordinates of the data, one cell of the study in each square.

    rows, columns: names of coordinates over `cell`, such as "strategy", "budget" or a swept key of a network. Of all else that the data
    sweep choose one before: `data.isel(cell=np.flatnonzero(data["strategy"].values == "rows"))`. A square stays empty where nothing was
    measured; one whose budget is the required rank has a frame. legend: True a bar of colours, False none. labels: see the module.
    Errors: ValueError for an unknown coordinate, for no cells, and where several cells have one square or the quantities differ.
    """
    ax, texts = new_ax(ax), Texts(labels)
    for name, coordinate in (("rows", rows), ("columns", columns)):
        if coordinate not in data.coords or data[coordinate].dims != ("cell",):
            known = sorted(str(key) for key, value in data.coords.items() if value.dims == ("cell",))
            raise ValueError(f"{name}: expected one of {known}, got {coordinate!r}")
    keep = data["trials"].values > 0
    for coordinate, wanted in (("quantity_text", quantity_text), ("method", method)):
        keep &= True if wanted is None else data[coordinate].values == wanted
    if not keep.any():
        raise ValueError(f"data: expected measured cells of {quantity_text or 'one quantity'!r}, got none")
    text = one_quantity(data, keep, quantity_text, method)
    chosen = data.isel(cell=np.flatnonzero(keep))
    grid, at_rank, ticks = _grid(chosen, rows, columns)
    with own_style():
        _draw(ax, grid, at_rank, set(chosen["quantity"].values.tolist()) <= set(PROBABILITIES))
        for axis, values, name in ((ax.yaxis, ticks[0], rows), (ax.xaxis, ticks[1], columns)):
            places = _some(len(values), 40 if name == rows else 24)
            axis.set_ticks(places, [texts(str(values[k]), 22) for k in places])
            texts.draw(axis.get_ticklabels())
        if any(isinstance(value, str) for value in ticks[0]):
            ax.invert_yaxis()  # names are read from the top
        name_x(ax, _coordinate(columns, texts), texts)
        ax.set_ylabel(_coordinate(rows, texts), usetex=False, parse_math=False)
        texts.draw([ax.yaxis.label])
        if legend is not False:
            bar = ax.figure.colorbar(ax.images[0], ax=ax, label=texts.name(text))
            bar.outline.set_visible(False)
            texts.draw([bar.ax.yaxis.label, *bar.ax.get_yticklabels()])
    return ax


def _coordinate(name: str, texts: Texts) -> str:
    return texts("learnable weights (budget r)" if name == "budget" and name not in texts.own else name, 60)


def _grid(chosen: xarray.Dataset, rows: str, columns: str) -> tuple[np.ndarray, np.ndarray, tuple[list[Any], list[Any]]]:
    """(values [row, column], nan where nothing was measured; is the budget the required rank? bool; the values of the two coordinates)."""
    ticks, places = [], []
    for name in (rows, columns):
        values = chosen[name].values
        numbers = values.dtype.kind in "iuf"
        order = sorted(set(values.tolist())) if numbers else list(dict.fromkeys(values.tolist()))
        ticks.append(order)
        places.append(np.array([order.index(value) for value in values.tolist()]))
    grid = np.full((len(ticks[0]), len(ticks[1])), np.nan)
    if len(set(zip(*(place.tolist() for place in places)))) < chosen.sizes["cell"]:
        raise ValueError(f"data: expected one cell for each ({rows}, {columns}), got several; choose a strategy, a network or a budget")
    at_rank = np.zeros(grid.shape, bool)
    grid[tuple(places)] = estimates(chosen)
    at_rank[tuple(places)] = chosen["budget"].values == chosen["required_rank"].values
    return grid, at_rank, (ticks[0], ticks[1])


def _draw(ax: Axes, grid: np.ndarray, at_rank: np.ndarray, probabilities: bool) -> None:
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Rectangle

    ends = (0.0, 1.0) if probabilities else (float(np.nanmin(grid)), float(np.nanmax(grid)))
    colours = ListedColormap(colormaps[MAP](np.linspace(LOWEST, HIGHEST, 256))).with_extremes(bad=paper())
    ax.imshow(np.ma.masked_invalid(grid), cmap=colours, vmin=ends[0], vmax=ends[1], aspect="auto", origin="lower", interpolation="nearest")
    for row, column in zip(*np.nonzero(at_rank & ~at_rank.all())):
        ax.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="white", linewidth=pen(2.2), zorder=2))
        ax.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=ink(), linewidth=pen(1.0), zorder=3))
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.tick_params(length=0)


def _some(count: int, most: int) -> range:
    """Places of at most about `most` of so many ticks."""
    return range(0, count, max(1, -(-count // most)))
