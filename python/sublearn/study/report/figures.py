"""Which figures a study gets, as PNG files and for the report. How one is drawn is said in plot.py."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...match.methods import EXACT
from ...match.probability import EXISTENCE
from ...model.allocation import Allocation
from .. import plot
from ..cells import Cell
from ..files import write_bytes
from ..plot.axes import shown
from ..spec import NetworkSpec, Spec
from ..summary import Summary
from ..tables import dataset

__all__ = ["Figure", "figures"]


@dataclass(frozen=True)
class Figure:
    """A figure on disk and in the report: its network, file name and picture; what it shows ("existence", "probability", "split",
    "restarts" or "mask"), of which quantity, or of which cell."""

    network: str
    name: str
    png: bytes
    shows: str
    quantity: str = ""
    cell: Cell | None = None

    @property
    def place(self) -> str:
        """Where it stands in the report."""
        return self.shows if self.shows in ("restarts", "mask") else "wide"

    @property
    def base64(self) -> str:
        return base64.b64encode(self.png).decode("ascii")


def figures(spec: Spec, found: list[Summary], folder: Path) -> list[Figure]:
    """The figures of all measured cells, written into `folder`."""
    with plot.style():
        return _figures(spec, found, folder)


def _figures(spec: Spec, found: list[Summary], folder: Path) -> list[Figure]:
    measured = [summary for summary in found if summary.trials]
    if not measured:
        return []
    data, made = dataset(spec, found), _Made(folder)
    look = plot.colours(data)
    for network in spec.networks:
        own = [summary for summary in measured if summary.cell.network_label == network.label]
        ways = _ways(own)
        if any(method == EXACT for method, _ in ways):
            for method, quantity in ways:
                if method != EXACT:
                    _both(made, data, network.label, own, method, quantity, look)
        for method, quantity in ways:
            _one_way(made, data, network.label, own, method, quantity, look)
        _masks(made, network, own)
    return made.figures


class _Made:
    """The figures so far, each on disk under a name of its own."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.figures: list[Figure] = []
        self.names: set[str] = set()

    def keep(self, network: str, name: str, figure: Any, shows: str, quantity: str = "", cell: Cell | None = None) -> None:
        buffer = io.BytesIO()
        with plot.style():
            tight = "tight" if shows == "mask" else None
            figure.savefig(buffer, format="png", dpi=200, metadata={"Software": None}, bbox_inches=tight, pad_inches=0.03)
        stem = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:80] or "figure"
        unique, number = stem, 2
        while unique in self.names:
            unique, number = f"{stem}-{number}", number + 1
        self.names.add(unique)
        write_bytes(self.folder / f"{unique}.png", buffer.getvalue())
        self.figures.append(Figure(network, f"{unique}.png", buffer.getvalue(), shows, quantity, cell))


def _ways(own: Iterable[Summary]) -> list[tuple[str, str]]:
    """(method, quantity) that get figures of their own; cells that a proof decided join the searched ones of their method."""
    ways: dict[str, list[str]] = {}
    for summary in own:
        texts = ways.setdefault(summary.cell.method, [])
        if summary.quantity != "existence" and summary.quantity_text not in texts:
            texts.append(summary.quantity_text)
    return [(method, text) for method, texts in ways.items() for text in texts or [EXISTENCE]]


def _labels(part: Iterable[Summary]) -> list[str]:
    return list(dict.fromkeys(summary.cell.strategy_label for summary in part))


def _both(made: _Made, data: Any, network: str, own: list[Summary], method: str, quantity: str, look: Any) -> None:
    """Existence beside what one search finds: one figure for the budgets, one for every split."""
    questions = [{(s.cell.strategy_label, s.cell.arguments) for s in own if not s.cell.control and
                  (s.cell.method == way and (s.quantity_text == quantity or s.quantity == "existence" or way == EXACT))}
                 for way in (EXACT, method)]  # fmt: skip
    both = [s for s in own if (s.cell.strategy_label, s.cell.arguments) in questions[0] & questions[1]]
    for split in ([None] if any(not s.cell.split_over for s in both) else []) + _labels(s for s in both if s.cell.split_over):
        figure, ax = _new(6.8, 3.7)
        plot.existence(data, network, ax, quantity, look, split)
        _title(ax, f"{network}{'' if split is None else f', {split}'}: existence and findability", 16)
        made.keep(network, f"existence {network} {split or ''} {method}", figure, "existence", quantity)


def _one_way(made: _Made, data: Any, network: str, own: list[Summary], method: str, quantity: str, look: Any) -> None:
    """One quantity of one method: against budget, against the place in a split, and by restarts."""
    part = [s for s in own if s.cell.method == method and (s.quantity_text == quantity or s.quantity == "existence")]
    if any(not summary.cell.split_over and not summary.cell.control for summary in part):
        figure, ax = _new(6.4, 3.5)
        plot.probability(data, network, ax, quantity, look, method)
        _title(ax, network, 16)
        made.keep(network, f"probability {network} {method}", figure, "probability", quantity)
    for strategy in _labels(summary for summary in part if summary.cell.split_over):
        figure, ax = _new(6.4, 3.5)
        plot.split(data, network, strategy, ax, quantity, method)
        _title(ax, f"{network}: {strategy}")
        made.keep(network, f"split {network} {strategy} {method}", figure, "split", quantity)
    for strategy in _labels(part):
        chosen = [
            summary
            for summary in part
            if summary.cell.strategy_label == strategy and summary.quantity != "existence" and summary.cell.starts > 1
        ]
        if not any(summary.after(1) < summary.matched for summary in chosen):
            continue  # restarts found nothing more, or nothing at all
        figure, ax = _new(5.4, 3.1)
        plot.restarts(data, network, strategy, ax, quantity)
        _title(ax, f"{network}: {strategy}")
        made.keep(network, f"restarts {network} {strategy} {method}", figure, "restarts")


def _masks(made: _Made, network: NetworkSpec, own: list[Summary]) -> None:
    """A picture of each strategy's allocation."""
    for summary in _pictured(own):
        mask = summary.cell.strategy.masks(summary.cell.seed, summary.cell.task_number, 0, 1)[0]
        allocation = Allocation.from_mask(summary.cell.net, mask)
        width = sum(max(1, grid.reshape(grid.shape[0], -1).shape[1]) for grid in allocation.by_group.values())
        figure, ax = _new(max(2.2, min(7.0, 0.2 * width + 1.2)), 2.0)
        plot.mask(allocation, network.shared, ax, legend=False)
        made.keep(network.label, f"mask {network.label} {summary.cell.strategy_label}", figure, "mask", cell=summary.cell)


def _new(width: float, height: float) -> tuple[Any, Any]:
    """A figure without pyplot: nothing global, no window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as MatplotlibFigure

    with plot.style():
        figure = MatplotlibFigure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        return figure, figure.add_subplot()


def _title(ax: Any, text: str, pad: float = 8) -> None:
    with plot.style():
        width = int(11 * (ax.figure.get_figwidth() - 0.9))  # letters that fit
        ax.set_title(shown(text, width, 2), pad=pad, usetex=False, parse_math=False)


def _pictured(own: list[Summary]) -> list[Summary]:
    """For each strategy the cell whose budget is nearest to the required rank (splits: the balanced one)."""
    best: dict[str, tuple[tuple[float, float], Summary]] = {}
    for summary in own:
        cell = summary.cell
        if cell.control or cell.net.size > 4096:
            continue
        parts = list(cell.content["strategy"].get("budgets", {}).values())
        rank = (abs(cell.budget - (summary.required_rank or 0)), max(parts) - min(parts) if parts else 0)
        if cell.strategy_label not in best or rank < best[cell.strategy_label][0]:
            best[cell.strategy_label] = (rank, summary)
    return [summary for _, summary in best.values()]
