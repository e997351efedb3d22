"""Which pictures does a network of a study get on the page, or a family of networks that one table sweeps?"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np

from ...match.methods import EXACT
from ...match.probability import EXISTENCE
from ..cells import Cell
from ..limits import Limits
from ..plot.choice import PROBABILITIES
from ..plot.look import MARKERS, PALETTE, numbered
from ..plot.masks import FROZEN, LEARNABLE, SHARED
from ..spec import Spec
from ..summary import Summary
from .heat_squares import BUDGET, STRATEGY, HeatMap, heat_map, value_of
from .pictures import MOST_CURVES, Drawing, Picture, grouped, parts_of

MOST_MASKS = 60  # pictured in a report


@dataclass(frozen=True)
class Mask:
    """A picture of a cell's mask."""

    cell: Cell
    body: str
    width: int


@dataclass(frozen=True)
class NetworkPart:
    """What is shown of one network: its cells, curves, curves over starts, masks."""

    label: str
    cells: Sequence[Summary]
    pictures: Sequence[Picture]
    starts: Sequence[Picture]
    masks: Sequence[Mask]


@dataclass(frozen=True)
class Section:
    """A network, or a family of several: `lead` is the figure that stands first; `heats` has those of swept things."""

    label: str
    anchor: str
    parts: Sequence[NetworkPart]
    lead: Picture | None = None
    heats: Sequence[HeatMap] = ()
    swept: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    @property
    def cells(self) -> list[Summary]:
        return list(itertools.chain(*(part.cells for part in self.parts)))

    @property
    def measured(self) -> list[Summary]:
        return [s for s in self.cells if s.trials]

    @property
    def is_family(self) -> bool:
        return len(self.parts) > 1


def sections(spec: Spec, found: Sequence[Summary], limits: Sequence[Limits | None]) -> list[Section]:
    """The sections of a report, in the order of the study's file. limits: theory's, of each cell."""
    places = {s.cell.id: k for k, s in enumerate(found)}
    told = [s for s in found if not s.cell.control]
    colours = {
        label: (PALETTE[k % len(PALETTE)], k % len(MARKERS))
        for label, k in numbered((s.cell.strategy_label, s.cell.network_label) for s in told).items()
    }
    drawing = Drawing(places, limits, colours)
    by_network = grouped(found, lambda s: s.cell.network_label)
    made, masks = [], MOST_MASKS
    families = grouped(spec.networks, lambda entry: entry.family or entry.label)
    for number, (family, entries) in enumerate(families.items()):
        keys = dict.fromkeys(key for entry in entries for key in entry.parameters)
        values = {key: list(dict.fromkeys(value_of(entry.parameters, key) for entry in entries)) for key in keys}
        swept = {key: some for key, some in values.items() if len(some) > 1}
        cells = [s for entry in entries for s in by_network.get(entry.label, []) if s.trials and not s.cell.control]
        heats = _heats(f"h{number}", [s for s in cells if not s.cell.split_over], places, list(swept))
        parts, lead = [], None
        for place, entry in enumerate(entries):
            own = by_network.get(entry.label, [])
            pictures, starts = _pictures(drawing, entry.label, own)
            if not heats and len(entries) == 1 and pictures:
                lead, *pictures = pictures
            shown = [_mask(s.cell) for s in pictured(own)[:masks]] if place == 0 else []
            masks -= len(shown)
            parts.append(NetworkPart(entry.label, own, pictures, starts, shown))
        made.append(Section(family, f"n{number}", parts, lead, heats, swept))
    return made


def _heats(name: str, cells: Sequence[Summary], places: Mapping[str, int], swept: list[str]) -> list[HeatMap]:
    """Of a family: two swept parameters at a budget, and each against the budget. Of one network with many strategies: these against it."""
    if not cells:
        return []
    if not swept:
        many = len({s.cell.strategy_label for s in cells}) > MOST_CURVES
        axes = [(STRATEGY, BUDGET)] if many else []
    else:
        most = sorted(swept, key=lambda key: -len({value_of(s.cell.parameters, key) for s in cells}))[:2]
        pair = [key for key in swept if key in most]
        axes = ([(pair[0], pair[1])] if len(pair) == 2 else []) + [(key, BUDGET) for key in pair]
        if len({s.cell.budget for s in cells}) == 1:
            axes = axes[:1] if len(pair) == 2 else [(pair[0], STRATEGY)]
    kinds = grouped(cells, lambda s: "" if s.quantity in PROBABILITIES else s.quantity_text)  # each has colours of its own
    made = [
        heat_map(f"{name}-{number}-{k}" if number else f"{name}-{k}", part, places, *pair)
        for number, part in enumerate(kinds.values())
        for k, pair in enumerate(axes)
    ]
    return [heat for heat in made if heat is not None]


def _pictures(drawing: Drawing, label: str, own: Sequence[Summary]) -> tuple[list[Picture], list[Picture]]:
    """(curves, curves over starts) of one network; what exists beside what is found comes first."""
    asked = {s.cell.strategy_label for s in own if not s.cell.control}
    measured = [s for s in own if s.trials and s.cell.strategy_label in asked]
    ways = ways_of(measured)
    made: list[Picture | None] = []
    for method, quantity in ways if any(method == EXACT for method, _ in ways) else ():
        if method != EXACT and is_share(of_way(measured, method, quantity)):
            pairs = _pairs(measured, method, quantity)
            made += [drawing.existence(label, some, False) for some in _chunks([pair for pair in pairs if not pair[0].cell.split_over])]
            splits = grouped((pair for pair in pairs if pair[0].cell.split_over), lambda pair: pair[0].cell.strategy_label)
            made += [drawing.existence(f"{label}: {strategy}", some, True) for strategy, some in splits.items()]
    starts: list[Picture | None] = []
    for method, quantity in ways:
        part = of_way(measured, method, quantity)
        for some in parts_of([s for s in part if not s.cell.split_over]):
            if any(not s.cell.control for s in some):
                made.append(drawing.over_budgets(label, some))
        for strategy, cells in grouped(part, lambda s: s.cell.strategy_label).items():
            if cells[0].cell.split_over:
                made.append(drawing.over_split(f"{label}: {strategy}", cells))
            starts.append(drawing.over_starts(f"{label}: {strategy}", cells))
    return [one for one in made if one is not None], [one for one in starts if one is not None]


def ways_of(own: Sequence[Summary]) -> list[tuple[str, str]]:
    """(method, quantity) that get figures of their own; cells that a proof decided join the searched ones of their method."""
    ways: dict[str, list[str]] = {}
    for s in own:
        texts = ways.setdefault(s.cell.method, [])
        if s.quantity != "existence" and s.quantity_text not in texts:
            texts.append(s.quantity_text)
    return [(method, text) for method, texts in ways.items() for text in texts or [EXISTENCE]]


def is_share(cells: Sequence[Summary]) -> bool:
    """Do these cells measure a probability, none of them a mean?"""
    return all(s.quantity in PROBABILITIES for s in cells)


def of_way(own: Sequence[Summary], method: str, quantity: str) -> list[Summary]:
    """The cells of a (method, quantity): with those that are found go those of the same method that are decided in every trial."""
    named = [s for s in own if s.cell.method == method and s.quantity_text == quantity]
    if any(s.quantity not in PROBABILITIES for s in named):
        return named
    return [s for s in own if s.cell.method == method and (s.quantity_text == quantity or s.quantity == "existence")]


def _pairs(own: Sequence[Summary], method: str, quantity: str) -> list[tuple[Summary, Summary]]:
    """(decided, searched) cells of the same question."""
    decided = [s for s in own if s.cell.method == EXACT and not s.cell.control and s.quantity in PROBABILITIES]
    by_question = {(s.cell.strategy_label, s.cell.arguments): s for s in decided}
    searched = [s for s in of_way(own, method, quantity) if not s.cell.control and s.quantity in PROBABILITIES]
    keys = [(s.cell.strategy_label, s.cell.arguments) for s in searched]
    return [(by_question[key], s) for key, s in zip(keys, searched, strict=True) if key in by_question]


def _chunks(pairs: Sequence[tuple[Summary, Summary]]) -> list[list[tuple[Summary, Summary]]]:
    groups = list(grouped(pairs, lambda pair: pair[0].cell.strategy_label).values())
    return [list(itertools.chain(*groups[k : k + MOST_CURVES])) for k in range(0, len(groups), MOST_CURVES)]


def pictured(own: Sequence[Summary]) -> list[Summary]:
    """For each strategy the cell whose budget is nearest to the required rank (splits: the balanced one)."""
    best: dict[str, tuple[tuple[float, float], Summary]] = {}
    for s in own:
        if s.cell.control or not s.trials or s.cell.net.size > 4096:
            continue
        parts = list(s.cell.content["strategy"].get("budgets", {}).values())
        rank = (abs(s.cell.budget - (s.required_rank or 0)), max(parts) - min(parts) if parts else 0)
        if s.cell.strategy_label not in best or rank < best[s.cell.strategy_label][0]:
            best[s.cell.strategy_label] = (rank, s)
    return [s for _, s in best.values()]


def _mask(cell: Cell) -> Mask:
    """Groups side by side: learnable, frozen, shared with the teacher."""
    mask = cell.strategy.masks(cell.seed, cell.task_number, 0, 1)[0]
    grids = {name: part.reshape(part.shape[0], -1) for name, part in cell.net.unpack(mask).items()}
    tallest = max(grid.shape[0] for grid in grids.values())
    widest = sum(grid.shape[1] + 1.5 for grid in grids.values())
    side = max(2.0, min(11.0, 340 / widest, 170 / tallest))
    parts, at = [], 0.0
    for name, grid in grids.items():
        height, width = grid.shape
        top = 18 + 0.5 * side * (tallest - height)
        ground = SHARED if name in cell.shared else FROZEN
        parts.append(f'<rect x="{at:.1f}" y="{top:.1f}" width="{width * side:.1f}" height="{height * side:.1f}" fill="{ground}"/>')
        corners = [(at + c * side, top + r * side) for r, c in zip(*np.nonzero(grid))]
        squares = "".join(f"M{x:.1f} {y:.1f}h{side:.1f}v{side:.1f}h-{side:.1f}z" for x, y in corners)
        parts.append(f'<path style="fill:{LEARNABLE}" d="{squares}"/>')
        if side >= 5:
            lines = "".join(f"M{at + c * side:.1f} {top:.1f}v{height * side:.1f}" for c in range(1, width))
            lines += "".join(f"M{at:.1f} {top + r * side:.1f}h{width * side:.1f}" for r in range(1, height))
            parts.append(f'<path class="thin" d="{lines}"/>')
        parts.append(f'<text x="{at + width * side / 2:.1f}" y="{top - 5:.1f}" class="x">{escape(name)}</text>')
        at += width * side + max(1.5 * side, 14)
    size = round(at), round(20 + tallest * side)
    words = escape(f"mask of {cell.strategy_label}, {cell.arguments}")
    start = f'<svg viewBox="-8 0 {size[0]} {size[1]}" style="width:min(100%,{size[0]}px)" role="img" aria-label="{words}">'
    return Mask(cell, f"{start}{''.join(parts)}</svg>", size[0])
