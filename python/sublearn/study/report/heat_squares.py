"""How are results over two things that a study sweeps shown as coloured squares?

The page shows one choice of all else that is swept (strategy, quantity, a third parameter); its script shows another by the numbers of the
cells that the page's data (data.py) hold for each choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from ...match.methods import EXACT
from ...match.probability import EXISTENCE
from ..network_entry import value_text
from ..plot.choice import PROBABILITIES
from ..summary import Summary
from . import svg

BUDGET, STRATEGY, QUANTITY = "budget r", "strategy", "quantity"
REQUIRED = "κ, the required rank"
LETTERS = 26  # of a row's name
EMPTY = "#f1f3f5"


@dataclass(frozen=True)
class HeatMap:
    """A heat map: its name in the page, its SVG for the choice `start`; what else may be chosen, name to texts; for each
    choice (numbers joined by commas) the cells of all squares, row by row, -1 for none; the two ends of its colours; whether some squares
    are proven and others searched."""

    name: str
    body: str
    width: int
    choices: Mapping[str, Sequence[str]]
    start: str
    squares: Mapping[str, Sequence[int]]
    ends: tuple[float, float]
    quantity: str
    mixed: bool
    columns: int
    empty: str = EMPTY

    def is_first(self, place: int, k: int) -> bool:
        """Whether choice number k of the select at this place is that of the start."""
        return self.start.split(",")[place] == str(k)


def heat_map(name: str, cells: Sequence[Summary], places: Mapping[str, int], rows: str, columns: str) -> HeatMap | None:
    """Squares over two of: the name of a swept parameter, BUDGET, STRATEGY. None where they have not two values each."""
    names = _names(cells)
    owns = [{**_values(s), STRATEGY: s.cell.strategy_label, BUDGET: s.cell.budget, QUANTITY: names[s.cell.method]} for s in cells]
    values = {key: _ordered([own[key] for own in owns if key in own]) for key in dict.fromkeys(key for own in owns for key in own)}
    if not {rows, columns} <= set(values) or len(values[rows]) < 2 or len(values[columns]) < 2:
        return None
    if EXACT in names:
        values[QUANTITY].sort(key=lambda text: text != names[EXACT])  # what exists comes before what is found, as in the finding
    others = [key for key in dict.fromkeys((STRATEGY, QUANTITY, *values)) if key not in (rows, columns) and len(values[key]) > 1]
    if BUDGET in others:
        values[BUDGET] = [REQUIRED, *values[BUDGET]]
    at = {key: {value: k for k, value in enumerate(some)} for key, some in values.items()}
    squares: dict[str, list[int]] = {}
    for s, own in zip(cells, owns, strict=True):
        if not all(key in own for key in (rows, columns, *others)):
            continue
        square = at[rows][own[rows]] * len(values[columns]) + at[columns][own[columns]]
        for budget in (own[BUDGET], REQUIRED)[: 2 if BUDGET in others and s.cell.budget == s.required_rank else 1]:
            key = ",".join(str(at[other][budget if other == BUDGET else own[other]]) for other in others)
            grid = squares.setdefault(key, [-1] * (len(values[rows]) * len(values[columns])))
            if grid[square] < 0:  # sizes of one budget (2 rows x 3, 3 rows x 2): the first is shown, all are in the table
                grid[square] = places[s.cell.id]
    if not squares:
        return None
    start = min(squares, key=lambda key: tuple(map(int, key.split(","))) if key else ())
    by_place = {places[s.cell.id]: s for s in cells}
    ends = _ends(cells)
    body, width = _draw([by_place.get(place) for place in squares[start]], ends, (rows, values[rows]), (columns, values[columns]))
    choices = {other: [str(value) for value in values[other]] for other in others}
    mixed, quantity = len({s.quantity for s in cells}) > 1, next(iter(names.values()))
    return HeatMap(name, body, width, choices, start, squares, ends, quantity, mixed, len(values[columns]))


def value_of(parameters: Mapping[str, Any], key: str) -> Any:
    """The value of a swept key, None for none: a number, or its text ("3-4-2" for widths)."""
    value = parameters.get(key)
    if value is None or isinstance(value, (int, float, str)):
        return value
    return value_text(tuple(value) if isinstance(value, list) else value)


def _values(s: Summary) -> dict[str, Any]:
    return {key: value_of(s.cell.parameters, key) for key in s.cell.parameters}


def _names(cells: Sequence[Summary]) -> dict[str, str]:
    """The quantity of each method; proven cells among searched ones are told apart by their squares."""
    names: dict[str, str] = {}
    for s in cells:
        if s.cell.method not in names or names[s.cell.method] == EXISTENCE:
            names[s.cell.method] = s.quantity_text
    return names


def _ordered(values: Sequence[Any]) -> list[Any]:
    unique = list(dict.fromkeys(values))
    return sorted(unique) if all(isinstance(value, (int, float)) for value in unique) else unique


def _ends(cells: Sequence[Summary]) -> tuple[float, float]:
    if all(s.quantity in PROBABILITIES for s in cells):
        return 0.0, 1.0
    values = [s.estimate for s in cells]
    return min(values), max(max(values), min(values) + 1e-12)


def _draw(
    shown: Sequence[Summary | None], ends: tuple[float, float], rows: tuple[str, Sequence[Any]], columns: tuple[str, Sequence[Any]]
) -> tuple[str, int]:
    """The SVG and its width. The first row is on top."""
    texts = [_cut(str(value)) for value in rows[1]]
    left = 12 + round(6.3 * max(map(len, (*texts, rows[0]))))
    wide = min(42.0, max(9.0, (700 - left) / len(columns[1])))
    tall = 22 if len(rows[1]) <= 30 else 14
    top, width = 18, round(left + wide * len(columns[1]) + 12)
    height = top + tall * len(rows[1]) + 36
    marks, words = [], []
    framed = frames(shown)
    for k, s in enumerate(shown):
        row, column = divmod(k, len(columns[1]))
        x, y = left + wide * column, top + tall * row
        place = f'x="{svg.number(x)}" y="{y}" width="{svg.number(wide - 1)}" height="{tall - 1}"'
        share = None if s is None else (s.estimate - ends[0]) / (ends[1] - ends[0])
        look = f'fill="{EMPTY}"' if share is None else f'fill="{svg.colour(share)}"'
        if s is not None:
            look += f' rx="{7 if s.quantity == "existence" else 0}"' + (' class="at"' if k in framed else "")
        marks.append(f"<rect {place} {look}/>")
        if wide >= 30:
            kind = "pale" if share is not None and share < 0.55 else ""
            words.append(svg.text(x + wide / 2, y + tall / 2 + 3.5, "" if s is None else short(s.estimate, ends), kind))
    labels = [svg.text(left - 6, top + tall * (k + 0.5) + 3.5, text, "y") for k, text in enumerate(texts)]
    every = 1 if wide >= 24 else -(-24 // round(wide))
    bottom = top + tall * len(rows[1])
    labels += [svg.text(left + wide * (k + 0.5), bottom + 13, _cut(str(v), 7), "x") for k, v in enumerate(columns[1]) if k % every == 0]
    labels += [svg.text(left - 6, top - 6, _cut(rows[0]), "y name"), svg.text((left + width) / 2, height - 5, columns[0], "x name")]
    body = f'<g class="ax">{"".join(labels)}</g><g class="sq">{"".join(marks)}</g><g class="num">{"".join(words)}</g>'
    words_of = f"heat map of {rows[0]} and {columns[0]}"
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(words_of)}">{body}</svg>', width


def frames(shown: Sequence[Summary | None]) -> set[int]:
    """The squares whose budget is the required rank, where not all of them are such."""
    at = {k for k, s in enumerate(shown) if s is not None and s.cell.budget == s.required_rank}
    return at if len(at) < sum(s is not None for s in shown) else set()


def short(value: float, ends: tuple[float, float]) -> str:
    """A value inside its square; 1 and 0 only where they are exact."""
    if ends != (0.0, 1.0):
        return f"{value:.3g}"
    text = f"{value:.2f}"
    return "0" if value == 0 else "1" if value == 1 else "<1" if text == "1.00" else ">0" if text == "0.00" else text.lstrip("0")


def _cut(text: str, most: int = LETTERS) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
