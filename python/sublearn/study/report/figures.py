"""Which figures does a study get as files? How one is drawn is said in plot/.

Each in three files: PDF (letters as Type 42, which journals ask for), SVG and PNG. Those of the page itself are other ones (pictures.py).
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...match.methods import EXACT
from ...model.allocation import Allocation
from .. import plot
from ..cells import Cell
from ..files import write_bytes
from ..limits import Limits
from ..plot.axes import shown
from ..spec import Spec
from ..summary import Summary
from ..tables import dataset
from .digests import FORMATS, Digests, digest
from .heat_squares import value_of
from .pictures import MOST_CURVES, MOST_STARTS, balanced, spread
from .sections import is_share, of_way, pictured, ways_of

MOST_FIGURES = 60  # of a study; more are drawn by sublearn.study.plot, when they are asked for
DPI = 200  # of the PNG
_METADATA: dict[str, dict[str, None]] = {
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
    "svg": {"Date": None},
    "png": {"Software": None},
}


@dataclass(frozen=True)
class Plan:
    """A figure that a study gets: its name, its size in inches, a title, how it is drawn into an ax, and the cells it is drawn from."""

    name: str
    size: tuple[float, float]
    title: str
    draw: Callable[[Any, Any], object]
    cells: Sequence[Summary]
    tight: bool = False


def write_figures(folder: Path, spec: Spec, found: Sequence[Summary], limits: Sequence[Limits | None], digests: Digests) -> int:
    """Draw the figures of all measured cells that are not there yet as they should be; how many beyond MOST_FIGURES are left out.

    Files that earlier reports drew and that the study has no more are taken away.
    """
    plans = list(_plans(spec, [s for s in found if s.trials]))
    told = {s.cell.id: limit for s, limit in zip(found, limits, strict=True)}
    looks = sorted({(s.cell.strategy_label, s.cell.network_label) for s in found})  # colours depend on all of them
    data: Any = None
    names: set[str] = set()
    for plan in plans[:MOST_FIGURES]:
        name = _unique(plan.name, names)
        paths = [folder / f"{name}.{form}" for form in FORMATS]
        made_of = digest(plan.title, plan.size, looks, [(_counts(s), told[s.cell.id]) for s in plan.cells])
        if not digests.keep(name, made_of, paths):
            data = dataset(spec, list(found)) if data is None else data
            _write(plan, data, paths)
    for name in set(digests.known) - set(digests.now):
        for form in FORMATS:
            with suppress(OSError):
                (folder / f"{Path(name).name}.{form}").unlink()
    return len(plans[MOST_FIGURES:])


def _counts(s: Summary) -> tuple[Any, ...]:
    """What a figure shows of a cell."""
    cell = s.cell
    labels = (cell.network_label, cell.strategy_label, cell.control, tuple(cell.parameters.items()))
    return (cell.id, labels, s.quantity_text, s.trials, s.estimate, s.interval, s.found_after, s.required_rank)


def _unique(text: str, names: set[str]) -> str:
    stem = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:80] or "figure"
    name, number = stem, 2
    while name in names:
        name, number = f"{stem}-{number}", number + 1
    names.add(name)
    return name


def _write(plan: Plan, data: Any, paths: Iterable[Path]) -> None:
    """One figure, without pyplot: nothing global, no window, whatever the user's own settings are."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with plot.style(), rc_context({"svg.hashsalt": "sublearn"}):  # the same bytes for the same figure
        figure = Figure(figsize=plan.size, dpi=DPI, layout="constrained")  # letters are as wide as in the PNG, and nearly as in the others
        FigureCanvasAgg(figure)
        ax = figure.add_subplot()
        plan.draw(data, ax)
        if plan.title:
            width = int(11 * (plan.size[0] - 0.9))  # letters that fit
            ax.set_title(shown(plan.title, width, 2), pad=16, usetex=False, parse_math=False)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # the places are found; each file would find them again
        for path in paths:
            form, buffer = path.suffix[1:], io.BytesIO()
            box: Any = {"bbox_inches": "tight", "pad_inches": 0.03} if plan.tight else {}
            figure.savefig(buffer, format=form, dpi=DPI, metadata=_METADATA[form], **box)
            write_bytes(path, buffer.getvalue())


def _plans(spec: Spec, measured: Sequence[Summary]) -> Iterator[Plan]:
    """The figures in the order of their weight: of families and networks first, then of single strategies, then masks. A family that has
    heat maps gets no figures of its networks, which may be hundreds."""
    own = {entry.label: [s for s in measured if s.cell.network_label == entry.label] for entry in spec.networks}
    for family, cells in _by_family(measured).items():
        heats = list(_of_family(family, cells))
        yield from heats
        for network in {s.cell.network_label for s in cells} if heats else ():
            own.pop(network, None)
    for network, cells in own.items():
        ways = ways_of(cells)
        if any(method == EXACT for method, _ in ways):
            for method, quantity in ways:
                if method != EXACT and is_share(of_way(cells, method, quantity)):
                    yield from _both(network, cells, method, quantity)
        for method, quantity in ways:
            yield from _one_way(network, cells, method, quantity)
    for network, cells in own.items():
        for method, quantity in ways_of(cells):
            yield from _over_starts(network, cells, method, quantity)
    for cells in own.values():
        yield from _masks(cells)


def _by_family(measured: Iterable[Summary]) -> dict[str, list[Summary]]:
    """The cells of families that sweep something."""
    found: dict[str, list[Summary]] = {}
    for s in measured:
        if s.cell.parameters and s.cell.family and not s.cell.control:
            found.setdefault(s.cell.family, []).append(s)
    return {family: cells for family, cells in found.items() if len({s.cell.network_label for s in cells}) > 1}


def _of_family(family: str, cells: Sequence[Summary]) -> Iterator[Plan]:
    """A heat map for each strategy and quantity: swept parameter x budget; two parameters at the required rank."""
    keys = list(dict.fromkeys(key for s in cells for key in s.cell.parameters))
    keys = [key for key in keys if len({value_of(s.cell.parameters, key) for s in cells}) > 1]
    if not 0 < len(keys) < 3:
        return
    columns = keys[1] if len(keys) == 2 else "budget"
    for method, quantity in ways_of(cells):
        for strategy in _labels(cells):
            some = [s for s in of_way(cells, method, quantity) if s.cell.strategy_label == strategy and not s.cell.split_over]
            if len(keys) == 2:
                some = [s for s in some if s.cell.budget == s.required_rank]
            some = [s for s in some if all(key in s.cell.parameters for key in keys)]
            squares = [(value_of(s.cell.parameters, keys[0]), value_of(s.cell.parameters, columns) or s.cell.budget) for s in some]
            if not some or len(set(squares)) < len(some) or min(len(set(side)) for side in zip(*squares)) < 2:
                continue
            title = f"{family}: {strategy}" + (", r = κ" if len(keys) == 2 else "")
            yield Plan(f"heat map {family} {strategy} {method}", (6.4, 3.7), title, _Heat(some, keys[0], columns), some)


@dataclass(frozen=True)
class _Heat:
    """Draws a heat map of some cells; parameters become coordinates of the data."""

    cells: Sequence[Summary]
    rows: str
    columns: str

    def __call__(self, data: Any, ax: Any) -> None:
        chosen = _only(data, self.cells)
        for key in {self.rows, self.columns} - {"budget"}:
            chosen = chosen.assign_coords({key: ("cell", np.array([value_of(s.cell.parameters, key) for s in self.cells]))})
        plot.heat_map(chosen, self.rows, self.columns, ax)


def _only(data: Any, cells: Iterable[Summary]) -> Any:
    """The data of these cells, in their order."""
    place = {name: k for k, name in enumerate(data["id"].values.tolist())}
    return data.isel(cell=[place[s.cell.id] for s in cells])


def _labels(part: Iterable[Summary]) -> list[str]:
    return list(dict.fromkeys(s.cell.strategy_label for s in part))


def _both(network: str, own: Sequence[Summary], method: str, quantity: str) -> Iterator[Plan]:
    """Existence beside what one search finds: one figure for the budgets, one for every split."""
    questions = [{(s.cell.strategy_label, s.cell.arguments) for s in own if not s.cell.control and
                  (s.cell.method == way and (s.quantity_text == quantity or s.quantity == "existence" or way == EXACT))}
                 for way in (EXACT, method)]  # fmt: skip
    both = [s for s in own if (s.cell.strategy_label, s.cell.arguments) in questions[0] & questions[1]]
    for split in ([None] if any(not s.cell.split_over for s in both) else []) + _labels(s for s in both if s.cell.split_over):
        name = f"existence {network} {split or ''} {method}"
        title = f"{network}{'' if split is None else f', {split}'}: existence and findability"
        draw = _Draw(plot.existence, {"network": network, "quantity_text": quantity, "split": split}, look=True)
        yield Plan(name, (6.8, 3.7), title, draw, [s for s in both if s.cell.method in (EXACT, method)])


def _one_way(network: str, own: Sequence[Summary], method: str, quantity: str) -> Iterator[Plan]:
    """One quantity of one method: against budget, and against the place in a split."""
    part = of_way(own, method, quantity)
    asked = set(_labels(s for s in part if not s.cell.control))
    budgets = [s for s in part if not s.cell.split_over and s.cell.strategy_label in asked]
    chosen = {"network": network, "quantity_text": quantity, "method": method}
    if any(not s.cell.control for s in budgets):
        many = len(_labels(budgets)) > MOST_CURVES
        draw: Any = _Strategies(budgets) if many else _Draw(plot.probability, chosen, look=True)
        yield Plan(f"probability {network} {method}", (6.4, 3.5), network, draw, budgets)
    for strategy in _labels(s for s in part if s.cell.split_over):
        cells = [s for s in part if s.cell.strategy_label == strategy]
        draw = _Draw(plot.split, chosen | {"strategy": strategy})
        yield Plan(f"split {network} {strategy} {method}", (6.4, 3.5), f"{network}: {strategy}", draw, cells)


def _over_starts(network: str, own: Sequence[Summary], method: str, quantity: str) -> Iterator[Plan]:
    part = [s for s in own if s.cell.method == method and s.quantity_text == quantity and s.quantity == "found" and s.cell.starts > 1]
    for strategy in _labels(part):
        cells = [s for s in part if s.cell.strategy_label == strategy]
        if any(s.after(1) < s.matched for s in cells):  # else restarts found nothing more, or nothing at all
            shown = spread(balanced(cells), MOST_STARTS)
            draw = _Draw(plot.restarts, {"network": network, "strategy": strategy, "quantity_text": quantity}, only=shown)
            yield Plan(f"restarts {network} {strategy} {method}", (5.4, 3.1), f"{network}: {strategy}", draw, shown)


@dataclass(frozen=True)
class _Draw:
    """Draws by a function of plot, all cells that it chooses or `only` some."""

    function: Callable[..., object]
    chosen: dict[str, Any]
    look: bool = False
    only: Sequence[Summary] = ()

    def __call__(self, data: Any, ax: Any) -> None:
        self.function(
            _only(data, self.only) if self.only else data, ax=ax, **self.chosen, **({"look": plot.colours(data)} if self.look else {})
        )


@dataclass(frozen=True)
class _Strategies:
    """Draws more strategies than curves can tell apart as a heat map."""

    cells: Sequence[Summary]

    def __call__(self, data: Any, ax: Any) -> None:
        first = {(s.cell.strategy_label, s.cell.budget): s for s in reversed(self.cells) if not s.cell.control}
        plot.heat_map(_only(data, list(first.values())[::-1]), "strategy", "budget", ax)


def _masks(own: Sequence[Summary]) -> Iterator[Plan]:
    """A picture of each strategy's allocation."""
    for s in pictured(own):
        width = sum(int(np.prod(shape[1:])) for shape in s.cell.net.groups.values())
        size = (max(2.2, min(7.0, 0.2 * width + 1.2)), 2.0)
        yield Plan(f"mask {s.cell.network_label} {s.cell.strategy_label}", size, "", _Mask(s.cell), [s], tight=True)


@dataclass(frozen=True)
class _Mask:
    """Draws the mask of a cell's first trial."""

    cell: Cell

    def __call__(self, data: Any, ax: Any) -> None:
        mask = self.cell.strategy.masks(self.cell.seed, self.cell.task_number, 0, 1)[0]
        plot.mask(Allocation.from_mask(self.cell.net, mask), self.cell.shared, ax, legend=False)
