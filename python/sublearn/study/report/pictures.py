"""Which curves does the page show, and how are they put together?

Drawn as sublearn.study.plot draws them, as SVG: points with their intervals, joined where budgets are neighbours; theory's limits; the
required rank. Every curve carries the places of its points and the numbers of their cells in the page's data (data.py), for the page's
script; without it the picture stands as it is.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from ...match.methods import EXACT
from ...match.probability import EXISTENCE
from ...numerics.intervals import clopper_pearson
from ..limits import Limits
from ..plot.choice import PROBABILITIES
from ..plot.limit_bars import BAR, told
from ..summary import Summary
from . import svg

MOST_CURVES = 12  # in one figure: more are told apart by nobody
MOST_STARTS = 8  # curves of a figure over starts


@dataclass(frozen=True)
class Entry:
    """A legend's entry: `key` is the curve, or the kind of curves, that it switches; `sign` its line as SVG."""

    key: str
    label: str
    sign: str


@dataclass(frozen=True)
class Picture:
    """A figure of the page: its SVG, what its y axis shows, in words, and its legend."""

    title: str
    quantity: str
    body: str
    width: int
    legend: tuple[Entry, ...]


@dataclass
class Curve:
    """One curve: its key and name, its class of colour or a colour of its own, its marker, and its cells in order of `x`."""

    key: str
    label: str
    colour: str
    shape: int
    cells: Sequence[Summary]
    x: Sequence[float]
    kind: str = ""  # "found" where what exists and what is found share a figure
    size: float = 4.0
    limits: bool = True

    @property
    def style(self) -> str:
        return f"--c:{self.colour}"


class Drawing:
    """Makes the pictures of a study: knows the limits, the place of each cell in the page's data, and each strategy's colour."""

    def __init__(self, places: dict[str, int], limits: Sequence[Limits | None], colours: dict[str, tuple[str, int]]) -> None:
        self.places, self.limits, self.colours = places, limits, colours

    def over_budgets(self, title: str, cells: Sequence[Summary]) -> Picture | None:
        """A quantity of one method against the budget, a curve for each strategy."""
        groups = grouped(cells, lambda s: s.cell.strategy_label)
        if not groups:
            return None
        curves = []
        for place, (label, own) in enumerate(groups.items()):
            colour, shape = self.colours[label]
            own.sort(key=lambda s: s.cell.budget)
            curves.append(
                Curve(str(place), label, colour, shape, own, [s.cell.budget for s in own], size=_size(place, len(groups), len(own)))
            )
        budgets = [s.cell.budget for s in cells]
        return self._picture(title, curves, "learnable weights (budget r)", budgets, required_rank(cells))

    def over_split(self, title: str, cells: Sequence[Summary]) -> Picture | None:
        """A quantity against the weights in a split's first group, a curve for each total."""
        groups = dict(sorted(grouped(cells, lambda s: s.cell.budget).items(), reverse=True))
        if not groups:
            return None
        kappa = required_rank(cells)
        curves = []
        for place, ((total, own), colour) in enumerate(zip(groups.items(), svg.shades(len(groups)), strict=True)):
            own.sort(key=first_share)
            label = f"r = {total}" + (" = κ" if total == kappa else "")
            curves.append(
                Curve(str(place), label, colour, place, own, [first_share(s) for s in own], size=_size(place, len(groups), len(own)))
            )
        first = cells[0].cell.split_over[0]
        shares = [first_share(s) for s in cells]
        return self._picture(title, curves, f"learnable weights in {first} (the others of the r elsewhere)", shares, None)

    def existence(self, title: str, pairs: Sequence[tuple[Summary, Summary]], split: bool) -> Picture | None:
        """What exists (solid) beside what one search finds of it (dashed), of the same questions."""
        if not pairs:
            return None
        groups = grouped(pairs, lambda pair: pair[0].cell.budget if split else pair[0].cell.strategy_label)
        groups = dict(sorted(groups.items(), reverse=True)) if split else groups
        curves, at = [], first_share if split else (lambda s: s.cell.budget)
        for place, (label, own) in enumerate(groups.items()):
            colour, shape = (svg.shades(len(groups))[place], place) if split else self.colours[label]
            own.sort(key=lambda pair: at(pair[0]))
            for kind, which in (("found", 1), ("existence", 0)):
                cells = [pair[which] for pair in own]
                name = f"r = {label}" if split else label
                size = _size(place, len(groups), len(own))
                curves.append(Curve(str(place), name, colour, shape, cells, [at(s) for s in cells], kind, size, limits=False))
        name = f"learnable weights in {pairs[0][0].cell.split_over[0]}" if split else "learnable weights (budget r)"
        kappa = None if split else required_rank([one for one, _ in pairs])
        picture = self._picture(title, curves, name, [at(s) for pair in pairs for s in pair], kappa)
        kinds = (("existence", EXISTENCE, "both"), ("found", pairs[0][1].cell.quantity_text("found"), "both dash"))
        entries = tuple(Entry(key, label, f'<path class="{kind}" d="M1 6H25"/>') for key, label, kind in kinds)
        quantity = "probability: of existence, and of being found"
        return Picture(title, quantity, picture.body, picture.width, picture.legend + entries)

    def over_starts(self, title: str, cells: Sequence[Summary]) -> Picture | None:
        """The share of trials found within the first s starts, for some budgets."""
        cells = [s for s in cells if s.quantity == "found" and s.cell.method != EXACT and s.cell.starts > 1]
        if not any(s.after(1) < s.matched for s in cells):
            return None  # restarts found nothing more, or nothing at all
        cells = spread(balanced(cells), MOST_STARTS)
        most = max(len(s.found_after) for s in cells)
        shown = _starts(most)
        frame = svg.Frame((0.7, most + 0.3), (-0.03, 1.04), width=300, height=200)
        parts, entries = [svg.axes(frame, "starts tried", svg.some(range(1, most + 1), 10), _TENTHS)], []
        for place, (s, colour) in enumerate(zip(cells, svg.shades(len(cells)), strict=True)):
            after = [(k, s.after(k)) for k in shown if k <= len(s.found_after)]
            x = [frame.at_x(k) for k, _ in after]
            ends = [clopper_pearson(count, s.trials) for _, count in after]
            y = [frame.at_y(count / s.trials) for _, count in after]
            band = [*zip(x, (frame.at_y(low) for low, _ in ends)), *reversed(list(zip(x, (frame.at_y(high) for _, high in ends))))]
            tips = "|".join(
                f"after {k} start{'s' if k > 1 else ''}: {count / s.trials:.4f} [{low:.4f}, {high:.4f}]"
                for (k, count), (low, high) in zip(after, ends, strict=True)
            )
            dots = "".join(svg.marker(0, px, py, 2.6) for px, py in zip(x, y)) if most <= 12 else ""
            inside = svg.path("band", svg.line(band)) + svg.path("line", svg.line(list(zip(x, y)))) + svg.path("dot", dots)
            data = _data(str(place), [self.places[s.cell.id]] * len(x), x, y)
            parts.append(f'<g style="--c:{colour}"{data} data-t="{escape(tips)}">{inside}</g>')
            size = s.cell.arguments
            entries.append(Entry(str(place), f"r = {size}" if size.isdigit() else size, _sign(colour, 0)))
        return Picture(title, cells[0].quantity_text, _svg(frame, parts, title), frame.width, tuple(entries))

    def _picture(self, title: str, curves: Sequence[Curve], x_name: str, places: Sequence[int], kappa: int | None) -> Picture:
        cells = [s for curve in curves for s in curve.cells]
        frame = svg.Frame((min(places) - 0.6, max(places) + 0.6), _ends(cells))
        ticks = _TENTHS if _probabilities(cells) else svg.steps(*frame.y, most=5)
        parts = [svg.axes(frame, x_name, svg.some(places), ticks)]
        if kappa:
            parts.append(_rank_line(frame, kappa, cells[0].cell.net.activation == "relu"))
        parts += [self._curve(frame, curve, _mixed(cells)) for curve in curves]
        drawn = dict.fromkeys(curve.key for curve in curves)
        first = {key: next(curve for curve in curves if curve.key == key) for key in drawn}
        entries = [Entry(key, curve.label, _sign(curve.colour, curve.shape)) for key, curve in first.items()]
        found = next((s.quantity_text for s in cells if s.quantity != "existence"), cells[0].quantity_text)
        quantity = f"{found}, or (ringed) {EXISTENCE}" if _mixed(cells) else found
        return Picture(title, quantity, _svg(frame, parts, f"{title}: {quantity}"), frame.width, tuple(entries))

    def _curve(self, frame: svg.Frame, curve: Curve, ringed: bool) -> str:
        x = [frame.at_x(value) for value in curve.x]
        y = [frame.at_y(s.estimate) for s in curve.cells]
        ends = [tuple(map(frame.at_y, s.interval)) for s in curve.cells]
        spans = [(px, *pair) for px, pair in zip(x, ends) if abs(pair[0] - pair[1]) > 0.05]
        bars = "".join(f"M{svg.number(px)} {svg.number(low)}V{svg.number(high)}" for px, low, high in spans)
        runs, guides = joined(curve.x)
        parts = self._limits(frame, curve) if curve.limits else []
        parts.append(svg.path("bar", bars))
        parts.append(svg.path("line", "".join(svg.line([(x[k], y[k]) for k in run]) for run in runs if len(run) > 1)))
        parts.append(svg.path("guide", "".join(svg.line([(x[k - 1], y[k - 1]), (x[k], y[k])]) for k in guides)))
        hollow = [curve.kind == "found" or s.cell.control for s in curve.cells]
        for name, which in (("dot", False), ("hollow", True)):
            places = [k for k in range(len(x)) if hollow[k] == which]
            parts.append(svg.path(name, "".join(svg.marker(curve.shape, x[k], y[k], curve.size) for k in places)))
        if curve.kind == "found" or (ringed and not curve.kind):
            proven = [k for k, s in enumerate(curve.cells) if s.quantity == "existence"]
            parts.append(svg.path("ring", "".join(svg.marker(0, x[k], y[k], curve.size + 2.5) for k in proven)))
        data = _data(f"{curve.key} {curve.kind}".strip(), [self.places[s.cell.id] for s in curve.cells], x, y)
        return f'<g{_of_class(curve.kind)} style="{curve.style}"{data}>{"".join(parts)}</g>'

    def _limits(self, frame: svg.Frame, curve: Curve) -> list[str]:
        """Theory's limits as bars with feet: exact ones, and those estimated from a sample of masks."""
        data = {True: "", False: ""}
        half = BAR * (frame.at_x(1) - frame.at_x(0)) * (0.5 + curve.size / 8.0)
        for s, place in zip(curve.cells, curve.x):
            limits = self.limits[self.places[s.cell.id]]
            for _, value, exact, feet in told(*limits[:4]) if limits and _probabilities([s]) else ():
                left, right, y = (svg.number(v) for v in (frame.at_x(place) - half, frame.at_x(place) + half, frame.at_y(value)))
                foot = svg.number(frame.at_y(value) - 4 * feet)
                data[exact] += f"M{left} {foot}V{y}H{right}V{foot}" if feet else f"M{left} {y}H{right}"
        return [svg.path("limit", data[True]), svg.path("limit some", data[False])]


_TENTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def grouped(items: Iterable[Any], key: Callable[[Any], Any]) -> dict[Any, list[Any]]:
    """Items by key, in the order of their first ones."""
    found: dict[Any, list[Any]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return found


def first_share(s: Summary) -> int:
    """Learnable weights in a split's first group."""
    return int(s.cell.content["strategy"]["budgets"][s.cell.split_over[0]])


def balanced(cells: Iterable[Summary]) -> list[Summary]:
    """The cells, largest budgets first; of a split the most balanced one of each total."""
    found = []
    for total, own in sorted(grouped(cells, lambda s: s.cell.budget).items(), reverse=True):
        splits = [s for s in own if s.cell.split_over]
        found += [s for s in own if not s.cell.split_over]
        found += [min(splits, key=lambda s: abs(2 * first_share(s) - total))] if splits else []
    return found


def required_rank(cells: Iterable[Summary]) -> int | None:
    return max((s.required_rank for s in cells if s.required_rank), default=None)


def joined(x: Sequence[float]) -> tuple[list[list[int]], list[int]]:
    """(runs of places that are neighbouring whole numbers, places k whose neighbour before is further off)."""
    runs: list[list[int]] = []
    for k in range(len(x)):
        if k and x[k] - x[k - 1] == 1:
            runs[-1].append(k)
        else:
            runs.append([k])
    return runs, [run[0] for run in runs[1:] if x[run[0]] - x[run[0] - 1] > 1]


def parts_of(cells: Sequence[Summary], most: int = MOST_CURVES) -> list[list[Summary]]:
    """The cells in parts whose strategies fit into one figure."""
    groups = list(grouped(cells, lambda s: s.cell.strategy_label).values())
    return [list(itertools.chain(*groups[k : k + most])) for k in range(0, len(groups), most)]


def spread(cells: Sequence[Summary], most: int) -> list[Summary]:
    """At most so many of the cells, from the first to the last."""
    if len(cells) <= most:
        return list(cells)
    return [cells[round(k * (len(cells) - 1) / (most - 1))] for k in range(most)]


def _starts(most: int, points: int = 40) -> list[int]:
    """The numbers of starts that are drawn: all, or of many those that stand apart."""
    return sorted({round(most ** (k / (points - 1))) for k in range(points)} if most > points else range(1, most + 1))


def _size(place: int, count: int, points: int) -> float:
    """Each point stands inside those before it, so that points that meet can all be seen; many points of a curve are small ones."""
    return (5.0 - 2.4 * place / max(1, count - 1)) * min(1.0, max(0.45, 22 / points))


def _probabilities(cells: Iterable[Summary]) -> bool:
    return all(s.quantity in PROBABILITIES for s in cells)


def _mixed(cells: Iterable[Summary]) -> bool:
    proven = [s.quantity == "existence" for s in cells]
    return any(proven) and not all(proven)


def _ends(cells: Sequence[Summary]) -> tuple[float, float]:
    if _probabilities(cells):
        return -0.03, 1.04
    values = [value for s in cells for value in (s.estimate, *s.interval)]
    room = 0.06 * (max(values) - min(values)) or 0.1 * abs(max(values)) or 1.0
    return min(values) - room, max(values) + room


def _rank_line(frame: svg.Frame, kappa: int, sampled: bool) -> str:
    if not frame.x[0] <= kappa <= frame.x[1]:
        return ""
    x = frame.at_x(kappa)
    words = f"required rank κ = {kappa}" + (" (sampled: the largest found)" if sampled else "")
    right = x > 0.5 * frame.width
    mark = svg.path("rank", f"M{svg.number(x)} {frame.top - 4}V{frame.height - frame.bottom}")
    return mark + svg.text(x - 4 if right else x + 4, frame.top - 8, words, "end rank" if right else "rank")


def _data(keys: str, cells: Sequence[int], x: Sequence[float], y: Sequence[float]) -> str:
    numbers = (" ".join(map(str, cells)), " ".join(map(svg.number, x)), " ".join(map(svg.number, y)))
    return ' data-k="{}" data-i="{}" data-x="{}" data-y="{}"'.format(keys, *numbers)


def _of_class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def _sign(colour: str, shape: int) -> str:
    return f'<g style="--c:{colour}"><path class="line" d="M1 6H25"/><path class="dot" d="{svg.marker(shape, 13, 6, 4)}"/></g>'


def _svg(frame: svg.Frame, parts: Iterable[str], words: str) -> str:
    size = f'viewBox="0 0 {frame.width} {frame.height}"'
    return f'<svg {size} role="img" aria-label="{escape(words)}">{"".join(parts)}</svg>'
