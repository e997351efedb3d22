"""What do axes, legends and their texts say, and in which words?"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...match.probability import EXISTENCE
from .choice import PROBABILITIES, mixed, sampled_rank
from .limit_bars import LIMIT_TEXTS, LimitEntry, LimitHandler
from .look import FAINT, ink, paper, pen, ring

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes

GUIDE: dict[str, Any] = {"linestyle": (0, (1, 3)), "alpha": 0.7}  # over budgets that were not measured


class Texts:
    """What stands for the labels of a study: the user's own texts, which may hold formulas; else the labels as they are."""

    def __init__(self, own: Mapping[str, str] | None) -> None:
        self.own = dict(own or {})

    def __call__(self, label: str, width: int = 34, lines: int = 3) -> str:
        return self.own.get(label) or shown(label, width, lines)

    def name(self, quantity: str) -> str:
        """The name of a quantity in lines that fit beside an axis."""
        return self.own.get(quantity) or broken(quantity)

    def draw(self, artists: Iterable[Any]) -> None:
        """No text of a study is read as a formula, and none is handed to LaTeX, also when it is drawn later under other settings."""
        own = set(self.own.values())
        for artist in artists:
            artist.set_usetex(False)
            artist.set_parse_math(any(text in artist.get_text() for text in own))


def shown(label: str, width: int = 34, lines: int = 3) -> str:
    """A label in lines that leave room for the figure; the end of a long one is cut off."""
    return "\n".join(textwrap.wrap(label, width, max_lines=lines, placeholder=" …")) or label


def broken(text: str) -> str:
    """The name of a quantity in lines that fit beside an axis."""
    text = text.replace(" (", "\n(", 1)
    return text.replace(", relative", ",\nrelative") if max(map(len, text.split("\n"))) > 50 else text


def required_line(ax: Axes, chosen: xarray.Dataset) -> None:
    """A vertical line at the required rank, with its name above the axes."""
    kappa = int(chosen["required_rank"].values.max())
    if kappa > 0:
        ax.axvline(kappa, color=FAINT, linewidth=pen(1.0), zorder=0)
        between = " " if ax.get_window_extent().width / ax.figure.dpi > 2.6 else "\n"
        right = kappa > 0.5 * sum(ax.get_xlim())
        ax.annotate(
            f"required rank κ = {kappa}" + (f"{between}(sampled: the largest found)" if sampled_rank(chosen) else ""),
            (kappa, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(-3 if right else 3, 2),
            textcoords="offset points",
            fontsize="small",
            color=FAINT,
            ha="right" if right else "left",
            va="bottom",
        )


def whole_numbers(ax: Axes, numbers: np.ndarray) -> None:
    """Ticks of the x axis at the numbers that were measured, or at some of many."""
    from matplotlib.ticker import MaxNLocator

    unique = sorted(set(numbers.tolist()))
    ax.set_xlim(min(unique) - 0.6, max(unique) + 0.6)  # room for the bars of limits
    most = 3.4 * ax.get_window_extent().width / ax.figure.dpi  # numbers of two digits that stand apart
    if len(unique) <= 16 and max(unique) - min(unique) <= max(1.0, 2.5 * most) and len(unique) <= most:
        ax.set_xticks(unique)
    else:
        ax.xaxis.set_major_locator(MaxNLocator(nbins=max(2, min(9, int(most))), integer=True))


def value_axis(ax: Axes, chosen: xarray.Dataset, name: str, texts: Texts) -> None:
    """The y axis: from 0 to 1 for probabilities, else around what was measured."""
    if set(chosen["quantity"].values.tolist()) <= set(PROBABILITIES):
        ax.set_ylim(-0.03, 1.04)
        ax.set_yticks(np.linspace(0, 1, 6))
    else:
        ax.margins(y=0.08)
    from matplotlib import rcParams

    ax.grid(axis="y", color=rcParams["grid.color"], linewidth=rcParams["grid.linewidth"])
    ax.set_axisbelow(True)
    ax.set_ylabel(name, usetex=False, parse_math=False, fontsize=rcParams["axes.labelsize"])
    inches = ax.get_window_extent().height / ax.figure.dpi
    beside = (1.15 if inches > 2.2 else 0.75) * inches  # labels below and above take their part of a small figure
    letters = max(12, int(beside * 72 / (0.52 * float(ax.yaxis.label.get_fontsize()))))
    own = texts.own.values()  # may hold formulas, and is not cut
    ax.set_ylabel("\n".join(part if any(one in part for one in own) else _lines(part, letters) for part in name.split("\n")))
    texts.draw([ax.yaxis.label])
    plain_ticks(ax)


def _lines(text: str, letters: int) -> str:
    """In lines of so many letters; what is smaller than what stays in one."""
    return textwrap.fill(text.replace(" < ", "\u00a0<\u00a0"), letters).replace("\u00a0", " ")


def plain_ticks(ax: Axes) -> None:
    """Numbers beside the axes are no formulas either."""
    from matplotlib import rcParams

    ax.tick_params(axis="x", labelsize=rcParams["xtick.labelsize"])
    ax.tick_params(axis="y", labelsize=rcParams["ytick.labelsize"])
    for text in ax.get_xticklabels() + ax.get_yticklabels():
        text.set_usetex(False)
        text.set_parse_math(False)


def quantity_name(chosen: xarray.Dataset, text: str, texts: Texts) -> str:
    """What the axis shows: the quantity, and the other one that ringed cells have."""
    return texts.name(text) + (f",\nor (ringed) {texts.own.get(EXISTENCE, EXISTENCE)}" if mixed(chosen) else "")


def name_x(ax: Axes, text: str, texts: Texts) -> None:
    from matplotlib import rcParams

    ax.set_xlabel(text, usetex=False, parse_math=False, fontsize=rcParams["axes.labelsize"])
    texts.draw([ax.xaxis.label])


def line(dashes: Any, **look: Any) -> Any:
    """A line without data, for the legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], **({"color": ink(), "linestyle": dashes, "linewidth": pen(1.1), "markerfacecolor": paper()} | look))


class Entries:
    """The entries of a legend, collected while curves are drawn."""

    def __init__(self, texts: Texts) -> None:
        self.texts = texts
        self.handles: list[Any] = []
        self.labels: list[str] = []

    def add(self, handle: Any, label: str) -> None:
        self.handles.append(handle)
        self.labels.append(label)

    def add_limits(self, ax: Axes) -> None:
        drawn = {one.get_gid() for one in ax.lines}
        for gid, text in LIMIT_TEXTS.items():
            if gid in drawn:
                self.add(LimitEntry(gid), text)

    def add_marks(self, ax: Axes, chosen: xarray.Dataset) -> None:
        """What limits, hollow points, rings and guides mean, where there are such."""
        self.add_limits(ax)
        if chosen["control"].values.any():
            self.add(line("none", marker="o"), "control, r = κ − 1")
        if mixed(chosen):
            self.add(line("none", **without_order(ring())), self.texts(EXISTENCE))
        self.add_guide(ax)

    def add_guide(self, ax: Axes) -> None:
        if any(one.get_gid() == "guide" for one in ax.lines):
            self.add(line(GUIDE["linestyle"], linewidth=pen(0.9), alpha=GUIDE["alpha"]), "guide: not measured between")

    def show(self, ax: Axes, legend: Any, **options: Any) -> None:
        """The legend, where it is asked for. Texts are set afterwards: matplotlib leaves out labels that begin with an underscore."""
        from matplotlib import rcParams
        from matplotlib.figure import FigureBase
        from matplotlib.font_manager import FontProperties

        if legend is False or not self.handles:
            return
        owner: Any = ax
        if legend is True:
            options |= {"loc": "center left", "bbox_to_anchor": (1.01, 0.5)}
        elif isinstance(legend, str):
            options |= {"loc": legend}
        elif isinstance(legend, FigureBase):
            owner = legend
            size = FontProperties(size=rcParams["legend.fontsize"]).get_size_in_points()
            longest = max(len(part) for label in self.labels for part in label.split("\n"))
            across = owner.get_window_extent().width / owner.dpi * 72 / ((0.52 * longest + 5) * size)
            options |= {"loc": "outside lower center", "ncols": max(1, min(len(self.handles), int(across)))}
        elif isinstance(legend, Mapping):
            options |= dict(legend)
        else:
            raise TypeError(f"legend: expected True, False, a place, a dict or a Figure, got {legend!r}")
        told = owner.legend(self.handles, ["."] * len(self.handles), handler_map={LimitEntry: LimitHandler()}, **options)
        for text, label in zip(told.get_texts(), self.labels, strict=True):
            text.set_text(label)
        self.texts.draw([*told.get_texts(), told.get_title()])


def without_order(look: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in look.items() if key != "zorder"}
