"""Figures of a study, from the Dataset of `sublearn.study.load`.

Every function draws one question into one `ax` (None: a new one, by pyplot) and returns the ax. A strategy
has the same colour in all figures of a study; measured values are solid with 95 % Clopper-Pearson bands,
limits that theorems give are dashed (at most) and dotted (at least), the required rank is a vertical line.
The axis says which quantity is shown: found and match probabilities are never drawn under one name, and where they meet to be compared
(`existence`) each has a line of its own kind. Not here: files, and the report around the figures.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from .._intervals import clopper_pearson
from ..decide import EXACT

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes

    from ..allocation import Allocation

__all__ = ["colours", "existence", "mask", "probability", "restarts", "split", "style"]

# Okabe and Ito's palette without its yellow, ordered so that neighbours differ in lightness too
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#4D4D4D")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
LEARNABLE, FROZEN, SHARED = "#0B5394", "#DDE1E6", "#F2CF8D"
# name of a limit: its line, and the value with which it says nothing
LIMITS = {"theory_high": ((0, (5, 2)), 1.0), "theory_low": ((0, (1, 1.6)), 0.0)}
FIRST = (0, (1, 1.6))  # found by the first start, where existence and findability meet
INK, FAINT = "#222222", "#8A8F98"
RING = {"marker": "o", "markersize": 9.5, "markerfacecolor": "none", "markeredgewidth": 0.9, "zorder": 6}


@contextmanager
def style():
    """The look of the figures: matplotlib settings for the time of a `with` block."""
    import matplotlib

    with matplotlib.rc_context(
        {
            "figure.dpi": 100,
            "savefig.dpi": 200,
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
            "font.family": "DejaVu Sans",
            "font.size": 9,
            "axes.titlesize": 10,
            "axes.labelsize": 9,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.titlepad": 8,
            "axes.edgecolor": INK,
            "axes.linewidth": 0.8,
            "axes.labelcolor": INK,
            "text.color": INK,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "xtick.color": INK,
            "ytick.color": INK,
            "xtick.labelsize": 8,
            "ytick.labelsize": 8,
            "legend.fontsize": 8,
            "legend.frameon": False,
            "lines.linewidth": 1.6,
            "lines.markersize": 4.5,
            "svg.fonttype": "none",
        }
    ):
        yield


def colours(data: xarray.Dataset) -> dict[str, tuple[str, str]]:
    """Strategy label to (colour, marker): one for all figures of a study.

    Labels that meet in no network may share a colour, so that few colours serve many strategies.
    """
    networks: dict[str, set[str]] = {}
    for label, network in zip(data["strategy"].values[_swept(data)], data["network"].values[_swept(data)]):
        networks.setdefault(str(label), set()).add(str(network))
    chosen: dict[str, int] = {}
    for label, places in networks.items():
        taken = {number for other, number in chosen.items() if networks[other] & places}
        chosen[label] = next(number for number in range(len(networks)) if number not in taken)
    return {label: (PALETTE[k % len(PALETTE)], MARKERS[k % len(MARKERS)]) for label, k in chosen.items()}


def probability(
    data: xarray.Dataset,
    network: str,
    ax: Axes | None = None,
    quantity_text: str | None = None,
    look: Mapping[str, tuple[str, str]] | None = None,
    method: str | None = None,
) -> Axes:
    """Probability against budget, one curve per strategy, for one network, one method and one quantity.

    `quantity_text` and `method` may be None if there is only one. Splits are left out (see `split`), and so are controls
    that belong to no curve.
    Errors: ValueError if the network has no such cells, or more than one quantity.
    """
    ax = _ax(ax)
    data = data.isel(cell=np.flatnonzero(_swept(data)))
    chosen, text = _select(data, network, quantity_text, splits=False, method=method)
    look = look or colours(data)
    parts = _curves(chosen, "strategy", "budget")
    labels = list(parts)
    budgets = chosen["budget"].values
    if len(set(budgets.tolist())) == 1 and len(labels) > 1:
        return _bars(ax, chosen, labels, look, text)
    kappa = int(chosen["required_rank"].values.max())
    alike = _limits_alike(parts.values(), "budget")
    with style():
        for place, (label, part) in enumerate(parts.items()):
            colour, marker = look[label]
            x = part["budget"].values
            _limits(ax, x, part, INK if alike else colour)
            _measured(ax, x + _apart(place, len(labels), budgets), part, colour, marker, label)
        _budget_axis(ax, budgets)
        _required_line(ax, kappa)
        ax.set_xlabel("learnable weights (budget r)")
        _probability_axis(ax, text)
        _legend(ax, chosen)
    return ax


def split(
    data: xarray.Dataset,
    network: str,
    strategy: str,
    ax: Axes | None = None,
    quantity_text: str | None = None,
    method: str | None = None,
) -> Axes:
    """Probability against the learnable weights in the first group of a split, one curve per total budget.

    Errors: ValueError if there are no such cells, or more than one quantity or method.
    """
    ax = _ax(ax)
    chosen, text = _select(data, network, quantity_text, splits=True, strategy=strategy, method=method)
    with style():
        for (label, part), (shade, marker) in _totals(chosen):
            x = part["split_first"].values
            _limits(ax, x, part, shade)
            _measured(ax, x, part, shade, marker, label)
        _split_axis(ax, chosen)
        _probability_axis(ax, text)
        _legend(ax, chosen)
    return ax


def existence(
    data: xarray.Dataset,
    network: str,
    ax: Axes | None = None,
    quantity_text: str | None = None,
    look: Mapping[str, tuple[str, str]] | None = None,
    split: str | None = None,
) -> Axes:
    """Existence against findability for one network: what the exact method proves, and what one search finds of it.

    Solid, filled: match probability, with its interval (undecided trials left open). Dashed, hollow: the found probability named by
    `quantity_text` (None if the network has only one); dotted: the same after the first start.
    One colour per strategy, against the budget; with `split`, the label of a split,
    one per total budget, against the learnable weights in its first group. Only cells that were measured both ways are drawn.
    Errors: ValueError if there are none, or more than one found probability.
    """
    ax = _ax(ax)
    data = data.isel(cell=np.flatnonzero(_swept(data)))
    kind = {"splits": split is not None, "strategy": split}
    exact, proven = _select(data, network, None, method=EXACT, **kind)
    found, text = _select(data.isel(cell=np.flatnonzero(data["method"].values != EXACT)), network, quantity_text, **kind)
    asked = [list(zip(part["strategy"].values.tolist(), part["arguments"].values.tolist())) for part in (exact, found)]
    both = set(asked[0]) & set(asked[1])
    exact, found = (part.isel(cell=[one in both for one in names]) for part, names in zip((exact, found), asked))
    if not exact.sizes["cell"]:
        raise ValueError(f"data: expected cells of {network!r} measured by exact and by a search, got none")
    look = look or colours(data)
    axis = "budget" if split is None else "split_first"
    with style():
        for part, dashes, filled in ((found, (0, (4, 2)), False), (exact, "-", True)):
            curves = _totals(part)
            if split is None:
                curves = [((label, curve), look[label]) for label, curve in _curves(part, "strategy", axis).items()]
            for place, ((label, curve), (colour, marker)) in enumerate(curves):
                x = curve[axis].values + (_apart(place, len(curves), part[axis].values) if split is None else 0.0)
                low, high, y = (curve[name].values for name in ("low", "high", "probability"))
                if filled and len(x) > 1:
                    ax.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0, zorder=2)
                if not filled and (curve["starts"].values > 1).any():
                    first = curve["found_after"].isel(start=0).values / curve["trials"].values
                    ax.plot(x, first, color=colour, linestyle=FIRST, linewidth=1.0, gid="first start", zorder=3.5)
                ax.vlines(x, low, high, color=colour, linewidth=1.0, zorder=3)
                ax.plot(x, y, color=colour, linestyle=dashes, linewidth=1.6 if filled else 1.0, marker=marker, zorder=5 if filled else 4,
                        markerfacecolor=colour if filled else "white", label=label if filled else None)  # fmt: skip
        if split is None:
            _budget_axis(ax, exact["budget"].values)
            _required_line(ax, int(exact["required_rank"].values.max()))
            ax.set_xlabel("learnable weights (budget r)")
        else:
            _split_axis(ax, exact)
        _probability_axis(ax, "probability: of existence, and of being found")
        handles, labels = ax.get_legend_handles_labels()
        handles += [_line("-", marker="o", markerfacecolor=INK), _line((0, (4, 2)), marker="o")]
        labels += [_broken(proven), _broken(text)]
        if any(line.get_gid() == "first start" for line in ax.lines):
            handles.append(_line(FIRST))
            labels.append("the same, first start only")
        ax.legend(handles, labels, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return ax


def restarts(
    data: xarray.Dataset,
    network: str,
    strategy: str,
    ax: Axes | None = None,
    quantity_text: str | None = None,
) -> Axes:
    """Share of trials found within the first s starts, one curve per budget.

    Of a split, the most balanced cell of each total is shown.

    Errors: ValueError if there are no such cells.
    """
    ax = _ax(ax)
    chosen, text = _select(data, network, quantity_text, strategy=strategy, existence=False)
    cells = [chosen.isel(cell=place) for place in np.argsort(-chosen["budget"].values, kind="stable")]
    if int(chosen["split_first"].values.max()) >= 0:
        best: dict[int, Any] = {}
        for cell in cells:
            total = int(cell["budget"])
            balance = abs(2 * int(cell["split_first"]) - total)
            if total not in best or balance < best[total][0]:
                best[total] = (balance, cell)
        cells = [cell for _, cell in best.values()]
    shades = _shades(len(cells))[::-1]
    most = 1
    with style():
        for cell, shade in zip(cells, shades, strict=True):
            after = cell["found_after"].values
            after = after[~np.isnan(after)].astype(np.int64)
            trials, size = int(cell["trials"]), str(cell["arguments"].values)
            size = f"r = {size}" if size.isdigit() else size
            most = max(most, after.size)
            starts = np.arange(1, after.size + 1)
            low, high = np.array([clopper_pearson(int(count), trials) for count in after]).T
            ax.fill_between(starts, low, high, color=shade, alpha=0.18, linewidth=0)
            ax.plot(starts, after / trials, color=shade, marker="o" if after.size < 12 else None, label=size)
        if most > 12:
            ax.set_xscale("log")
            ticks = [tick for tick in (1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 300, 500, 1000) if tick <= most]
            ax.set_xticks(ticks, [str(tick) for tick in ticks])
            ax.minorticks_off()
        else:
            ax.set_xticks(range(1, most + 1))
        ax.set_xlabel("starts tried")
        _probability_axis(ax, re.sub(r"\d+ starts?,", "s starts,", text))
        ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), title="budget", alignment="left")
    return ax


def mask(
    allocation: Allocation, shared: Sequence[str] = (), ax: Axes | None = None, legend: bool = True
) -> Axes:
    """An allocation in three colours: learnable, frozen at random values, shared with the teacher."""
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Patch, Rectangle

    ax = _ax(ax)
    at, tallest = 0.0, max(grid.shape[0] for grid in allocation.by_group.values())
    with style():
        for name, grid in allocation.by_group.items():
            grid = grid.reshape(grid.shape[0], -1)
            height, width = grid.shape
            top = 0.5 * (tallest - height)
            colour = np.empty((height, width, 3))
            colour[...] = to_rgb(SHARED if name in shared else FROZEN)
            colour[grid] = to_rgb(LEARNABLE)
            ax.imshow(colour, extent=(at, at + width, top + height, top), interpolation="nearest", zorder=1)
            if max(height, width) <= 40:  # thin white lines between single weights
                for k in range(1, width):
                    ax.plot([at + k, at + k], [top, top + height], color="white", linewidth=0.8, zorder=2)
                for k in range(1, height):
                    ax.plot([at, at + width], [top + k, top + k], color="white", linewidth=0.8, zorder=2)
            ax.add_patch(
                Rectangle((at, top), width, height, fill=False, edgecolor=INK, linewidth=0.7, zorder=3)
            )
            ax.text(at + width / 2, top - 0.25, name, ha="center", va="bottom", fontsize=9)
            at += width + max(1.0, 0.12 * tallest)
        ax.set_xlim(-0.3, at - max(1.0, 0.12 * tallest) + 0.3)
        ax.set_ylim(tallest + 0.3, -1.1)
        ax.set_aspect("equal")
        ax.axis("off")
        if legend:
            entries = [Patch(color=LEARNABLE, label="learnable"), Patch(color=FROZEN, label="frozen")]
            entries += [Patch(color=SHARED, label="shared with the teacher")] if shared else []
            ax.legend(handles=entries, loc="upper left", bbox_to_anchor=(0, -0.02), ncols=3, handlelength=1)
    return ax


# Parts


def _curves(chosen: xarray.Dataset, name: str, axis: str) -> dict[Any, xarray.Dataset]:
    """The cells of each value of `name`, in the order of their first ones, each sorted along `axis`."""
    curves = {}
    for value in dict.fromkeys(chosen[name].values.tolist()):
        part = chosen.isel(cell=np.flatnonzero(chosen[name].values == value))
        curves[value] = part.isel(cell=np.argsort(part[axis].values, kind="stable"))
    return curves


def _totals(chosen: xarray.Dataset) -> list[tuple[tuple[str, xarray.Dataset], tuple[Any, str]]]:
    """((label, cells), (shade, marker)) for each total budget of a split, the largest first."""
    kappa = int(chosen["required_rank"].values.max())
    curves = sorted(_curves(chosen, "budget", "split_first").items(), reverse=True, key=lambda item: item[0])
    labels = [f"r = {total}{' (required rank)' if total == kappa else ''}" for total, _ in curves]
    looks = zip(_shades(len(curves))[::-1], MARKERS * len(curves))
    return [((label, part), look) for label, (_, part), look in zip(labels, curves, looks)]


def _apart(place: int, count: int, budgets: np.ndarray) -> float:
    """A small step aside, so that the bars of `count` curves do not hide each other."""
    return 0.07 * (place - (count - 1) / 2) * min(1.0, np.diff(np.unique(budgets)).min(initial=2))


def _split_axis(ax: Axes, chosen: xarray.Dataset) -> None:
    group, *others = [entry.split()[0] for entry in str(chosen["arguments"].values[0]).split(" + ")]
    _budget_axis(ax, chosen["split_first"].values)
    ax.set_xlabel(f"learnable weights in {group} (all others of the r in {' and '.join(others)})")


def _ax(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    with style():
        return plt.subplots(figsize=(5.6, 3.6), layout="constrained")[1]


def _select(
    data: xarray.Dataset,
    network: str,
    quantity_text: str | None,
    splits: bool | None = None,
    strategy: str | None = None,
    existence: bool = True,
    method: str | None = None,
) -> tuple[xarray.Dataset, str]:
    """The measured cells asked for, and the one quantity they show.

    Cells whose every verdict is a proof keep company with the found cells of their method; they are marked.
    """
    keep = (data["network"].values == network) & (data["trials"].values > 0)
    if splits is not None:
        keep &= (data["split_first"].values >= 0) == splits
    if strategy is not None:
        keep &= data["strategy"].values == strategy
    texts, exact, methods = (
        data["quantity_text"].values,
        data["quantity"].values == "existence",
        data["method"].values,
    )
    if quantity_text is not None:
        named = texts == quantity_text
        keep &= named | (exact & np.isin(methods, methods[named]))
    if not existence:
        keep &= ~exact
    if method is not None:
        keep &= methods == method
    if not keep.any():
        asked = ", ".join(repr(value) for value in (network, strategy, quantity_text) if value is not None)
        raise ValueError(f"data: expected measured cells of {asked}, got none")
    found = sorted(set(map(str, texts[keep & ~exact])))
    if len(found) > 1:
        raise ValueError(
            f"quantity_text: expected one of {found} (they must not share an axis), got {quantity_text!r}"
        )
    several = sorted(set(map(str, methods[keep])))
    if len(several) > 1:
        raise ValueError(f"method: expected one of {several} (they must not share a curve), got {method!r}")
    return data.isel(cell=np.flatnonzero(keep)), found[0] if found else str(texts[keep][0])


def _swept(data: xarray.Dataset) -> np.ndarray:
    """bool [cell]: cells of strategies that the study asked for, not only added as controls."""
    labels, control = data["strategy"].values, data["control"].values
    return np.isin(labels, labels[~control])


def _measured(ax: Axes, x: np.ndarray, part: xarray.Dataset, colour: str, marker: str, label: str) -> None:
    y, low, high = (part[name].values for name in ("probability", "low", "high"))
    control = part["control"].values
    if len(x) > 1:
        ax.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0, zorder=2)
    ax.vlines(x, low, high, color=colour, linewidth=1.0, zorder=3)
    ax.plot(x, y, color=colour, zorder=4)
    ax.plot(x[~control], y[~control], color=colour, marker=marker, linestyle="none", zorder=5)
    ax.plot(
        x[control],
        y[control],
        color=colour,
        marker=marker,
        markerfacecolor="white",
        linestyle="none",
        zorder=5,
    )
    exact = part["quantity"].values == "existence"
    ax.plot(x[exact], y[exact], color=colour, linestyle="none", **RING)
    ax.plot([], [], color=colour, marker=None if control.all() else marker, label=label)


def _limits_say(part: xarray.Dataset) -> np.ndarray:
    """bool [cell]: theory was asked, and has a word on at least one of the masks."""
    unknown = part["predicted"].sel(kind="unknown").values
    return ~np.isnan(part["theory_high"].values) & (unknown < part["predicted"].sum("kind").values)


def _limits_alike(parts: Iterable[xarray.Dataset], name: str) -> bool:
    """Whether the limits of several curves are the same (to 0.005) wherever two share a place."""
    seen: dict[int, tuple[float, float]] = {}
    for part in parts:
        for x, *pair in zip(
            part[name].values[_limits_say(part)],
            part["theory_low"].values[_limits_say(part)],
            part["theory_high"].values[_limits_say(part)],
        ):
            if np.abs(np.subtract(seen.setdefault(int(x), tuple(pair)), pair)).max() > 0.005:
                return False
    return True


def _limits(ax: Axes, x: np.ndarray, part: xarray.Dataset, colour: str) -> None:
    """Theory's limits as a step around each budget; one that never says anything is left out."""
    says = _limits_say(part)
    at, breaks = x[says].astype(float), np.flatnonzero(np.diff(x[says]) > 1) + 1
    for name, (line, empty) in LIMITS.items():
        y = part[name].values[says]
        if not (y != empty).any():
            continue
        for places in np.split(np.arange(len(at)), breaks):  # neighbouring budgets are joined, others are not
            steps = np.repeat(at[places], 2) + np.tile([-0.5, 0.5], len(places))
            ax.plot(
                steps,
                np.repeat(y[places], 2),
                color=colour,
                linestyle=line,
                linewidth=1.1,
                zorder=1.5,
                gid=name,
                scalex=len(at) < 2,
            )


def _required_line(ax: Axes, kappa: int) -> None:
    if kappa > 0:
        ax.axvline(kappa, color=FAINT, linewidth=1.0, zorder=0)
        right = kappa > 0.5 * sum(ax.get_xlim())
        ax.annotate(
            f"required rank κ = {kappa}",
            (kappa, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(-3 if right else 3, 2),
            textcoords="offset points",
            fontsize=7.5,
            color=FAINT,
            ha="right" if right else "left",
            va="bottom",
        )


def _budget_axis(ax: Axes, budgets: np.ndarray) -> None:
    from matplotlib.ticker import MaxNLocator

    unique = sorted(set(budgets.tolist()))
    if len(unique) <= 16 and max(unique) - min(unique) <= 40:
        ax.set_xticks(unique)
    else:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.margins(x=0.04)


def _probability_axis(ax: Axes, text: str) -> None:
    ax.set_ylim(-0.03, 1.04)
    ax.set_yticks(np.linspace(0, 1, 6))
    ax.grid(axis="y", color="#E6E8EB", linewidth=0.7)
    ax.set_axisbelow(True)
    ax.set_ylabel(_broken(text))


def _broken(text: str) -> str:
    """The name of a quantity in lines that fit beside an axis."""
    text = text.replace(" (", "\n(", 1)
    return text.replace(", relative", ",\nrelative") if len(text) > 62 else text


def _legend(ax: Axes, chosen: xarray.Dataset) -> None:
    handles, labels = ax.get_legend_handles_labels()
    drawn = {line.get_gid() for line in ax.lines}
    for name, text in (("theory_high", "theory: at most"), ("theory_low", "theory: at least")):
        if name in drawn:
            handles.append(_line(LIMITS[name][0]))
            labels.append(text)
    if chosen["control"].values.any():
        handles.append(_line("none", marker="o"))
        labels.append("control, r = κ − 1")
    exact = chosen["quantity"].values == "existence"
    if exact.any() and not exact.all():
        handles.append(_line("none", **{key: value for key, value in RING.items() if key != "zorder"}))
        labels.append("match probability (existence)")
    ax.legend(handles, labels, loc="center left", bbox_to_anchor=(1.01, 0.5))


def _line(dashes: Any, **look: Any) -> Any:
    from matplotlib.lines import Line2D

    return Line2D(
        [], [], **({"color": INK, "linestyle": dashes, "linewidth": 1.1, "markerfacecolor": "white"} | look)
    )


def _shades(count: int) -> list[Any]:
    """`count` colours of rising lightness from one sequential map, without its pale end."""
    import matplotlib

    places = [0.45] if count == 1 else np.linspace(0.05, 0.82, count)
    return [matplotlib.colormaps["viridis"](place) for place in places]


def _bars(
    ax: Axes, chosen: xarray.Dataset, labels: list[str], look: Mapping[str, tuple[str, str]], text: str
) -> Axes:
    """One budget for all strategies: points beside each other, each over its name."""
    with style():
        for place, label in enumerate(labels):
            part = chosen.isel(cell=np.flatnonzero(chosen["strategy"].values == label))
            colour, marker = look[label]
            x = (
                place + np.linspace(-0.15, 0.15, part.sizes["cell"])
                if part.sizes["cell"] > 1
                else np.array([float(place)])
            )
            ax.vlines(x, part["low"].values, part["high"].values, color=colour, linewidth=1.6)
            ax.plot(x, part["probability"].values, color=colour, marker=marker, linestyle="none")
            for name, (line, _) in LIMITS.items():
                ax.hlines(part[name].values, x - 0.28, x + 0.28, color=colour, linestyle=line, linewidth=1.1)
        ax.set_xticks(range(len(labels)), labels)
        ax.set_xlim(-0.6, len(labels) - 0.4)
        ax.set_xlabel(f"strategy, all with r = {int(chosen['budget'].values[0])}")
        _probability_axis(ax, text)
    return ax
