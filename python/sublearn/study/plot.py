"""Figures of a study, from the Dataset of `sublearn.study.load`.

Every function draws one question into one `ax` (None: a new one, by pyplot) and returns the ax. A strategy has the same colour in all
figures of a study. Points stand at their budgets, with 95 % Clopper-Pearson bars; where points meet, later ones are smaller and on top. A
line joins the points of neighbouring budgets; over budgets that were not measured it is a thin dotted guide. Limits that theorems give are
bars with feet down (at most), up (at least) or without (exactly), broken where they are estimated from a sample of masks. The required
rank is a vertical line.
The axis says which quantity is shown: found and match probabilities are never drawn under one name. Where proven cells stand beside
searched ones they are ringed, and where the two meet to be compared (`existence`) each has a line of its own kind.
Labels are shown as they are, never read as formulas. Not here: files, and the report around the figures.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from ..match.methods import EXACT
from ..match.probability import EXISTENCE
from ..numerics.intervals import clopper_pearson

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes

    from ..model.allocation import Allocation

__all__ = ["colours", "existence", "mask", "probability", "restarts", "split", "style"]

# Okabe and Ito's palette without its yellow, ordered so that neighbours differ in lightness too
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#4D4D4D")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
LEARNABLE, FROZEN, SHARED = "#0B5394", "#DDE1E6", "#F2CF8D"
BAR, FOOT = 0.42, 0.022  # half the length of a limit's bar between neighbouring budgets, and its feet, in probability
ESTIMATED = (0, (3, 1.5))
_SEEN = 1e-4  # what can be told from 0 or 1 in a figure
FIRST = (0, (1, 1.6))  # found by the first start, where existence and findability meet
GUIDE: dict[str, Any] = {"linestyle": (0, (1, 3)), "linewidth": 0.9, "alpha": 0.7}  # over budgets that were not measured
INK, FAINT = "#222222", "#8A8F98"
RING: dict[str, Any] = {"marker": "o", "markersize": 12, "markerfacecolor": "none", "markeredgewidth": 0.9, "zorder": 6}
LARGEST, SMALLEST = 8.0, 4.0  # markers of the first and the last curve


@contextmanager
def style():
    """The look of the figures: matplotlib settings for the time of a `with` block, whatever the user's own are."""
    import matplotlib.style

    look = {
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
    with matplotlib.style.context(["default", look]):
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
    with style():
        handles = []
        for place, (label, part) in enumerate(parts.items()):
            colour, marker = look[label]
            size = _size(place, len(labels))
            _limits(ax, part["budget"].values, part, colour, 1 - 0.55 * place / len(labels))
            handles.append(_measured(ax, part["budget"].values, part, colour, marker, size, _mixed(chosen)))
        _budget_axis(ax, budgets)
        _required_line(ax, chosen)
        _label_axes(ax, "learnable weights (budget r)")
        _probability_axis(ax, _name(chosen, text))
        _legend(ax, chosen, handles, map(shown, labels))
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
        handles, labels, totals = [], [], _totals(chosen)
        for place, ((label, part), (shade, marker)) in enumerate(totals):
            _limits(ax, part["split_first"].values, part, shade, 1 - 0.55 * place / len(totals))
            size = _size(place, len(totals))
            handles.append(_measured(ax, part["split_first"].values, part, shade, marker, size, _mixed(chosen)))
            labels.append(label)
        _split_axis(ax, chosen)
        _probability_axis(ax, _name(chosen, text))
        _legend(ax, chosen, handles, labels)
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
    kind: dict[str, Any] = {"splits": split is not None, "strategy": split}
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
        handles, labels = [], []
        for part, dashes, filled in ((found, (0, (4, 2)), False), (exact, "-", True)):
            curves = _totals(part)
            if split is None:
                curves = [((label, curve), look[label]) for label, curve in _curves(part, "strategy", axis).items()]
            for place, ((label, curve), (colour, marker)) in enumerate(curves):
                x, size = curve[axis].values, _size(place, len(curves))
                low, high, y = (curve[name].values for name in ("low", "high", "probability"))
                if not filled and (curve["starts"].values > 1).any():
                    first = curve["found_after"].isel(start=0).values / curve["trials"].values
                    _joined(ax, x, first, False, color=colour, linestyle=FIRST, linewidth=1.0, gid="first start", zorder=3.5)
                ax.vlines(x, low, high, color=colour, linewidth=1.0, zorder=3)
                style_of: dict[str, Any] = {"linewidth": 1.6 if filled else 1.0, "zorder": 5 if filled else 4}
                point: dict[str, Any] = {"marker": marker, "markersize": size, "markerfacecolor": colour if filled else "white"}
                _joined(ax, x, y, color=colour, linestyle=dashes, **style_of, **point)
                if filled:
                    handles.append(_line(dashes, color=colour, **style_of, **point))
                    labels.append(shown(label))
                else:
                    proof = curve["quantity"].values == "existence"
                    ax.plot(x[proof], y[proof], color=colour, linestyle="none", **RING)
        if split is None:
            _budget_axis(ax, exact["budget"].values)
            _required_line(ax, exact)
            _label_axes(ax, "learnable weights (budget r)")
        else:
            _split_axis(ax, exact)
        _probability_axis(ax, "probability: of existence, and of being found")
        handles += [_line("-", marker="o", markerfacecolor=INK), _line((0, (4, 2)), marker="o")]
        labels += [_broken(proven), _broken(text)]
        drawn = {line.get_gid() for line in ax.lines}
        if "first start" in drawn:
            handles.append(_line(FIRST))
            labels.append("the same, first start only")
        if (found["quantity"].values == "existence").any():
            handles.append(_line("none", **_without_order(RING)))
            labels.append("ringed: decided in every trial,\nnothing was left to search")
        _guide_entry(drawn, handles, labels)
        _show_legend(ax, handles, labels)
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
        handles, labels = [], []
        for cell, shade in zip(cells, shades, strict=True):
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
            handles.append(_line("-", color=shade, marker=marker, markerfacecolor=shade))
            labels.append(size)
        if most > 12:
            ax.set_xscale("log")
            ticks = [tick for tick in (1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 300, 500, 1000) if tick <= most]
            ax.set_xticks(ticks, [str(tick) for tick in ticks])
            ax.minorticks_off()
        else:
            ax.set_xticks(range(1, most + 1))
        _label_axes(ax, "starts tried")
        _probability_axis(ax, re.sub(r"\d+ starts?,", "s starts,", text))
        _show_legend(ax, handles, labels, title="budget", alignment="left")
    return ax


def mask(allocation: Allocation, shared: Sequence[str] = (), ax: Axes | None = None, legend: bool = True) -> Axes:
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
            ax.add_patch(Rectangle((at, top), width, height, fill=False, edgecolor=INK, linewidth=0.7, zorder=3))
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
    name = "largest required rank found" if _sampled_rank(chosen) else "required rank"
    curves = sorted(_curves(chosen, "budget", "split_first").items(), reverse=True, key=lambda item: item[0])
    labels = [f"r = {total}{f' ({name})' if total == kappa else ''}" for total, _ in curves]
    looks = zip(_shades(len(curves))[::-1], MARKERS * len(curves))
    return [((label, part), look) for label, (_, part), look in zip(labels, curves, looks)]


def _size(place: int, count: int) -> float:
    """Marker size of curve number `place`: each stands inside those before it, so that points that meet can all be seen."""
    return LARGEST - (LARGEST - SMALLEST) * place / max(1, count - 1)


def _split_axis(ax: Axes, chosen: xarray.Dataset) -> None:
    group, *others = [entry.split()[0] for entry in str(chosen["arguments"].values[0]).split(" + ")]
    _budget_axis(ax, chosen["split_first"].values)
    _label_axes(ax, f"learnable weights in {group} (all others of the r in {' and '.join(others)})")


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
        raise ValueError(f"quantity_text: expected one of {found} (they must not share an axis), got {quantity_text!r}")
    several = sorted(set(map(str, methods[keep])))
    if len(several) > 1:
        raise ValueError(f"method: expected one of {several} (they must not share a curve), got {method!r}")
    return data.isel(cell=np.flatnonzero(keep)), found[0] if found else str(texts[keep][0])


def _swept(data: xarray.Dataset) -> np.ndarray:
    """bool [cell]: cells of strategies that the study asked for, not only added as controls."""
    labels, control = data["strategy"].values, data["control"].values
    return np.isin(labels, labels[~control])


def _mixed(chosen: xarray.Dataset) -> bool:
    """Whether proven cells (existence) and searched ones (found) share the axis."""
    proven = chosen["quantity"].values == "existence"
    return bool(proven.any() and not proven.all())


def _name(chosen: xarray.Dataset, text: str) -> str:
    """What the axis shows: the quantity, and the other one that ringed cells have."""
    return f"{text},\nor (ringed) {EXISTENCE}" if _mixed(chosen) else text


def _measured(ax: Axes, x: np.ndarray, part: xarray.Dataset, colour: str, marker: str, size: float, ringed: bool) -> Any:
    """Points with their intervals and what joins them; returns the curve's entry for the legend."""
    y, low, high = (part[name].values for name in ("probability", "low", "high"))
    control = part["control"].values
    point: dict[str, Any] = {"color": colour, "marker": marker, "linestyle": "none", "markersize": size, "zorder": 5}
    edge: dict[str, Any] = {"markeredgecolor": "white", "markeredgewidth": 0.6}  # keeps points apart that lie on each other
    ax.vlines(x, low, high, color=colour, linewidth=0.32 * size, zorder=4)
    _joined(ax, x, y, color=colour, linestyle="-", linewidth=1.2, zorder=3)
    ax.plot(x[~control], y[~control], **point, **edge)
    ax.plot(x[control], y[control], **point, markerfacecolor="white")
    if ringed:
        exact = part["quantity"].values == "existence"
        ax.plot(x[exact], y[exact], color=colour, linestyle="none", **(RING | {"markersize": size + 4.5}))
    face = "white" if control.all() else colour
    return _line("-", color=colour, linewidth=1.2, marker=marker, markersize=size, markerfacecolor=face)


def _joined(ax: Axes, x: np.ndarray, y: np.ndarray, guided: bool = True, **look: Any) -> None:
    """Points joined where their places are neighbouring whole numbers; over a gap only by a guide, for nothing was measured there."""
    breaks = np.flatnonzero(np.diff(x) != 1) + 1  # cells of one budget (2 rows x 3, 3 rows x 2) are not joined either
    for run in np.split(np.arange(len(x)), breaks):
        ax.plot(x[run], y[run], **look)
    for k in np.flatnonzero(np.diff(x) > 1) + 1 if guided else ():
        ax.plot(x[k - 1 : k + 1], y[k - 1 : k + 1], color=look["color"], gid="guide", zorder=2.5, **GUIDE)


def _limits(ax: Axes, x: np.ndarray, part: xarray.Dataset, colour: str, length: float) -> None:
    """Theory's limits, a bar around each place; of those of several curves at one height the later ones are shorter and on top."""
    half = length * BAR
    low, high, exact_low, exact_high = (
        part[name].values for name in ("theory_low", "theory_high", "theory_low_exact", "theory_high_exact")
    )
    same = (low == high) & exact_low & exact_high
    bars = [(same, "theory_exactly", high, np.ones(len(x), bool), 0)]
    bars += [(~same & (high < 1 - _SEEN), "theory_high", high, exact_high, -1)]
    bars += [(~same & (low > _SEEN), "theory_low", low, exact_low, 1)]
    for told, name, value, exact, feet in bars:  # a limit that every probability has is not drawn; nan neither
        for k in np.flatnonzero(told):
            bar_x, bar_y = _bar(float(x[k]), half, float(value[k]), feet * FOOT)
            gid = name if exact[k] else f"{name}_estimated"
            ax.plot(bar_x, bar_y, color=colour, gid=gid, zorder=2, solid_joinstyle="miter", scalex=False, **_limit_look(gid))


def _bar(x: float, half: float, y: float, foot: float) -> tuple[list[float], list[float]]:
    return [x - half, x - half, x + half, x + half], [y + foot, y, y, y + foot]


def _limit_look(gid: str) -> dict[str, Any]:
    return {"linestyle": ESTIMATED if gid.endswith("_estimated") else "-", "linewidth": 1.1 if gid.endswith("_estimated") else 1.8}


def _sampled_rank(chosen: xarray.Dataset) -> bool:
    """Whether the required rank is only the largest one found among sampled regions (relu)."""
    return "relu" in chosen["activation"].values


def _required_line(ax: Axes, chosen: xarray.Dataset) -> None:
    kappa = int(chosen["required_rank"].values.max())
    if kappa > 0:
        ax.axvline(kappa, color=FAINT, linewidth=1.0, zorder=0)
        right = kappa > 0.5 * sum(ax.get_xlim())
        ax.annotate(
            f"required rank κ = {kappa}" + (" (sampled: the largest found)" if _sampled_rank(chosen) else ""),
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
    ax.set_xlim(min(unique) - 0.6, max(unique) + 0.6)  # room for the bars of limits
    if len(unique) <= 16 and max(unique) - min(unique) <= 40:
        ax.set_xticks(unique)
    else:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def _probability_axis(ax: Axes, text: str) -> None:
    ax.set_ylim(-0.03, 1.04)
    ax.set_yticks(np.linspace(0, 1, 6))
    ax.grid(axis="y", color="#E6E8EB", linewidth=0.7)
    ax.set_axisbelow(True)
    ax.set_ylabel(_broken(text), usetex=False, parse_math=False)
    _as_they_are(ax.get_xticklabels() + ax.get_yticklabels())


def _label_axes(ax: Axes, text: str) -> None:
    ax.set_xlabel(text, usetex=False, parse_math=False)


def _as_they_are(texts: Iterable[Any]) -> None:
    """No text is read as a formula or handed to LaTeX, also when it is drawn later under other settings."""
    for text in texts:
        text.set_usetex(False)
        text.set_parse_math(False)


def shown(label: str, width: int = 34, lines: int = 3) -> str:
    """A label in lines that leave room for the figure; the end of a long one is cut off."""
    return "\n".join(textwrap.wrap(label, width, max_lines=lines, placeholder=" …")) or label


def _broken(text: str) -> str:
    """The name of a quantity in lines that fit beside an axis."""
    text = text.replace(" (", "\n(", 1)
    return text.replace(", relative", ",\nrelative") if max(map(len, text.split("\n"))) > 50 else text


LIMIT_TEXTS = {
    "theory_exactly": "theory: exactly",
    "theory_high": "theory: at most",
    "theory_high_estimated": "theory: at most (estimated, 95 %)",
    "theory_low": "theory: at least",
    "theory_low_estimated": "theory: at least (estimated, 95 %)",
}


def _legend(ax: Axes, chosen: xarray.Dataset, handles: Iterable[Any], labels: Iterable[str]) -> None:
    handles, labels = list(handles), list(labels)
    drawn = {line.get_gid() for line in ax.lines}
    for gid, text in LIMIT_TEXTS.items():
        if gid in drawn:
            handles.append(_LimitEntry(gid))
            labels.append(text)
    if chosen["control"].values.any():
        handles.append(_line("none", marker="o"))
        labels.append("control, r = κ − 1")
    if _mixed(chosen):
        handles.append(_line("none", **_without_order(RING)))
        labels.append(EXISTENCE)
    _guide_entry(drawn, handles, labels)
    _show_legend(ax, handles, labels)


def _guide_entry(drawn: set[Any], handles: list[Any], labels: list[str]) -> None:
    if "guide" in drawn:
        handles.append(_line(GUIDE["linestyle"], linewidth=GUIDE["linewidth"], alpha=GUIDE["alpha"]))
        labels.append("guide: not measured between")


def _show_legend(ax: Axes, handles: list[Any], labels: list[str], **options: Any) -> None:
    """A legend beside the axes. The texts are set afterwards: matplotlib leaves out labels that begin with an underscore."""
    told = ax.legend(
        handles, ["."] * len(handles), loc="center left", bbox_to_anchor=(1.01, 0.5), handler_map={_LimitEntry: _LimitHandler()}, **options
    )
    for text, label in zip(told.get_texts(), labels, strict=True):
        text.set_text(label)
    _as_they_are([*told.get_texts(), told.get_title()])


class _LimitEntry:
    """A bar for the legend, by its name in LIMIT_TEXTS."""

    def __init__(self, gid: str) -> None:
        self.gid = gid


class _LimitHandler:
    """Draws a `_LimitEntry`."""

    def legend_artist(self, legend: Any, entry: _LimitEntry, fontsize: float, handlebox: Any) -> Any:
        feet = -1 if "high" in entry.gid else 1 if "low" in entry.gid else 0
        half, height = 0.5 * handlebox.width, handlebox.height
        x, y = _bar(half - handlebox.xdescent, half, 0.4 * height - handlebox.ydescent, feet * 0.4 * height)
        line = _line("-", **_limit_look(entry.gid))
        line.set_data(x, y)
        line.set_transform(handlebox.get_transform())
        handlebox.add_artist(line)
        return line


def _without_order(look: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in look.items() if key != "zorder"}


def _line(dashes: Any, **look: Any) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], **({"color": INK, "linestyle": dashes, "linewidth": 1.1, "markerfacecolor": "white"} | look))


def _shades(count: int) -> list[Any]:
    """`count` colours of rising lightness from one sequential map, without its pale end."""
    import matplotlib

    places = [0.45] if count == 1 else np.linspace(0.05, 0.82, count)
    return [matplotlib.colormaps["viridis"](place) for place in places]


def _bars(ax: Axes, chosen: xarray.Dataset, labels: list[str], look: Mapping[str, tuple[str, str]], text: str) -> Axes:
    """One budget for all strategies: points beside each other, each over its name."""
    with style():
        for place, label in enumerate(labels):
            part = chosen.isel(cell=np.flatnonzero(chosen["strategy"].values == label))
            colour, marker = look[label]
            x = place + np.linspace(-0.15, 0.15, part.sizes["cell"]) if part.sizes["cell"] > 1 else np.array([float(place)])
            ax.vlines(x, part["low"].values, part["high"].values, color=colour, linewidth=1.6)
            ax.plot(x, part["probability"].values, color=colour, marker=marker, linestyle="none")
            if _mixed(chosen):
                exact = part["quantity"].values == "existence"
                ax.plot(x[exact], part["probability"].values[exact], color=colour, linestyle="none", **RING)
            _limits(ax, x, part, colour, 0.7 / part.sizes["cell"])
        ax.set_xticks(range(len(labels)), [shown(label, 16) for label in labels])
        ax.set_xlim(-0.6, len(labels) - 0.4)
        _label_axes(ax, f"strategy, all with r = {int(chosen['budget'].values[0])}")
        _probability_axis(ax, _name(chosen, text))
        if any(line.get_gid() in LIMIT_TEXTS for line in ax.lines) or _mixed(chosen):
            _legend(ax, chosen, [], [])
    return ax
