"""Which colours, sizes and settings of matplotlib do figures have?"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from .choice import swept

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes

# Okabe and Ito's palette without its yellow, ordered so that neighbours differ in lightness too
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#4D4D4D")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
INK, FAINT, GRID = "#222222", "#8A8F98", "#E6E8EB"
LARGEST, SMALLEST = 8.0, 4.0  # markers of the first and the last curve, where lines.markersize is MARK
PEN, MARK = 1.6, 4.5
LOOK = {
    "figure.figsize": (5.6, 3.6),
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": "large",
    "axes.labelsize": "medium",
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.8,
    "axes.labelcolor": INK,
    "text.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": "small",
    "ytick.labelsize": "small",
    "legend.fontsize": "small",
    "legend.frameon": False,
    "lines.linewidth": PEN,
    "lines.markersize": MARK,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
}


@contextmanager
def style():
    """The look of the report's figures: matplotlib settings for the time of a `with` block, whatever the user's own are."""
    import matplotlib.style

    with matplotlib.style.context(["default", LOOK]):
        yield


@contextmanager
def own_style():
    """The user's settings, and the report's look where they are matplotlib's own. No text is handed to LaTeX."""
    import matplotlib

    given: Any = matplotlib.rcParams
    plain: Any = matplotlib.rcParamsDefault
    look: Any = {key: value for key, value in LOOK.items() if given[key] == plain[key]}
    with matplotlib.rc_context(look | {"text.usetex": False}):
        yield


def new_ax(ax: Axes | None) -> Axes:
    """`ax`, or that of a new figure by pyplot."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    with own_style():
        return plt.subplots(layout="constrained")[1]


def pen(width: float) -> float:
    """A width of a line, given for the report, by the width that lines have here."""
    import matplotlib

    return width * matplotlib.rcParams["lines.linewidth"] / PEN


def points(size: float) -> float:
    """A size of a marker, given for the report, by the size that markers have here."""
    import matplotlib

    return size * matplotlib.rcParams["lines.markersize"] / MARK


def ink() -> Any:
    """The colour of texts."""
    import matplotlib

    return matplotlib.rcParams["text.color"]


def paper() -> Any:
    """The colour of the ground that figures are drawn on."""
    import matplotlib

    return matplotlib.rcParams["axes.facecolor"]


def marker_size(place: int, count: int) -> float:
    """Of curve number `place`: each stands inside those before it, so that points that meet can all be seen."""
    return points(LARGEST - (LARGEST - SMALLEST) * place / max(1, count - 1))


def ring(size: float = 12.0) -> dict[str, Any]:
    """The look of a ring around a point."""
    return {"marker": "o", "markersize": size, "markerfacecolor": "none", "markeredgewidth": pen(0.9), "zorder": 6}


def colours(data: xarray.Dataset) -> dict[str, tuple[str, str]]:
    """Strategy label to (colour, marker): one for all figures of a study. Colours are those of your own `axes.prop_cycle` if you set one.

    Labels that meet in no network may share a colour, so that few colours serve many strategies.
    """
    labels, places = (data[name].values[swept(data)].tolist() for name in ("strategy", "network"))
    palette = _palette()
    return {label: (palette[k % len(palette)], MARKERS[k % len(MARKERS)]) for label, k in numbered(zip(labels, places)).items()}


def numbered(meetings: Any) -> dict[str, int]:
    """Labels to small numbers, from (label, network) pairs: labels that meet in a network have different ones."""
    networks: dict[str, set[str]] = {}
    for label, network in meetings:
        networks.setdefault(str(label), set()).add(str(network))
    chosen: dict[str, int] = {}
    for label, places in networks.items():
        taken = {number for other, number in chosen.items() if networks[other] & places}
        chosen[label] = next(number for number in range(len(networks)) if number not in taken)
    return chosen


def _palette() -> tuple[str, ...]:
    import matplotlib

    cycle, plain = (params["axes.prop_cycle"] for params in (matplotlib.rcParams, matplotlib.rcParamsDefault))
    return tuple(cycle.by_key()["color"]) if cycle != plain and "color" in cycle.by_key() else PALETTE


def shades(count: int) -> list[Any]:
    """`count` colours of rising lightness from one sequential map, without its pale end."""
    import matplotlib

    places = [0.45] if count == 1 else np.linspace(0.05, 0.82, count)
    return [matplotlib.colormaps["viridis"](place) for place in places]
