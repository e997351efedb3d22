"""Which figures a study gets, as PNG files and for the report. How one is drawn is said in plot.py."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from . import page, plot
from .spec import Spec
from .store import Summary, dataset, write_bytes
from .task import EXISTENCE

__all__ = ["Figure", "figures", "tag", "WIDE", "RESTARTS", "MASK"]

WIDE, RESTARTS, MASK = "wide", "restarts", "mask"  # where a figure stands in the report


@dataclass(frozen=True)
class Figure:
    """A figure on disk and in the report: its network, file name, picture, caption (HTML) and place."""

    network: str
    name: str
    png: bytes
    caption: str
    place: str


def figures(spec: Spec, found: list[Summary], folder: Path) -> list[Figure]:
    measured = [summary for summary in found if summary.trials]
    if not measured:
        return []
    data = dataset(spec, found)
    look = plot.colours(data)
    made: list[Figure] = []
    names: set[str] = set()

    def keep(network: str, name: str, figure: Any, caption: str, place: str) -> None:
        buffer = io.BytesIO()
        with plot.style():
            tight = "tight" if place == MASK else None
            figure.savefig(
                buffer, format="png", dpi=200, metadata={"Software": None}, bbox_inches=tight, pad_inches=0.03
            )
        stem = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:80] or "figure"
        unique, number = stem, 2
        while unique in names:
            unique, number = f"{stem}-{number}", number + 1
        names.add(unique)
        write_bytes(folder / f"{unique}.png", buffer.getvalue())
        made.append(Figure(network, f"{unique}.png", buffer.getvalue(), caption, place))

    for network in spec.networks:
        label = network.label
        own = [summary for summary in measured if summary.cell.network_label == label]
        for quantity in _quantities(own):
            method = next(summary.cell.method for summary in own if summary.quantity_text == quantity)
            part = [
                summary
                for summary in own
                if summary.quantity_text == quantity
                or (summary.quantity == "existence" and summary.cell.method == method)
            ]
            if any(not summary.cell.split_over and not summary.cell.control for summary in part):
                figure, ax = _new(6.4, 3.5)
                plot.probability(data, label, ax, quantity, look)
                _title(ax, label, 16)
                keep(label, f"probability {label} {method}", figure, _probability_caption(quantity), WIDE)
            for strategy in dict.fromkeys(
                summary.cell.strategy_label for summary in part if summary.cell.split_over
            ):
                figure, ax = _new(6.4, 3.5)
                plot.split(data, label, strategy, ax, quantity)
                _title(ax, f"{label}: {strategy}")
                caption = f"{escape(page.first_up(quantity))} against the place of the r learnable weights. "
                keep(label, f"split {label} {strategy} {method}", figure, caption + BANDS, WIDE)
            for strategy in dict.fromkeys(summary.cell.strategy_label for summary in part):
                chosen = [
                    summary
                    for summary in part
                    if summary.cell.strategy_label == strategy
                    and summary.quantity != "existence"
                    and summary.cell.starts > 1
                ]
                if not any(summary.after(1) < summary.matched for summary in chosen):
                    continue  # restarts found nothing more, or nothing at all
                figure, ax = _new(5.4, 3.1)
                plot.restarts(data, label, strategy, ax, quantity)
                _title(ax, f"{label}: {strategy}")
                keep(label, f"restarts {label} {strategy} {method}", figure, "", RESTARTS)
        for summary in _pictured(own):
            allocation = summary.cell.strategy.masks(summary.cell.seed, summary.cell.task_number, 0, 1)[0]
            from ..allocation import Allocation

            allocation = Allocation.from_mask(summary.cell.net, allocation)
            width = sum(
                max(1, grid.reshape(grid.shape[0], -1).shape[1]) for grid in allocation.by_group.values()
            )
            figure, ax = _new(max(2.2, min(7.0, 0.2 * width + 1.2)), 2.0)
            plot.mask(allocation, network.shared, ax, legend=False)
            fresh = (
                "the mask of trial 0; every trial draws its own"
                if summary.cell.strategy.allocation is None
                else "the mask of all trials"
            )
            caption = (
                f"<b>{escape(summary.cell.strategy_label)}</b>, {escape(summary.cell.arguments)}: {fresh}"
            )
            keep(label, f"mask {label} {summary.cell.strategy_label}", figure, caption, MASK)
    return made


def _quantities(own: Iterable[Summary]) -> list[str]:
    """The quantities that get figures of their own; exact cells join the searched ones of their method."""
    found = list(dict.fromkeys(summary.quantity_text for summary in own if summary.quantity != "existence"))
    covered = {summary.cell.method for summary in own if summary.quantity != "existence"}
    alone = any(summary.cell.method not in covered for summary in own)
    return found + ([EXISTENCE] if alone else [])


BANDS = (
    "Bands and bars: 95&nbsp;% Clopper–Pearson intervals. Dashed and dotted lines: limits that theorems "
    "give for the same "
    "masks, computed without fitting anything."
)


def _probability_caption(quantity: str) -> str:
    return f"{escape(page.first_up(quantity))} against the number of learnable weights. {BANDS}"


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
        ax.set_title(text, pad=pad)


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


def tag(figure: Figure) -> str:
    data = base64.b64encode(figure.png).decode("ascii")
    plain = escape(re.sub(r"<[^>]*>", "", figure.caption).replace("&nbsp;", " "), quote=True)
    plain = plain or escape(figure.name.removesuffix(".png").replace("-", " "))
    return (
        f'<figure><img class="{figure.place}" alt="{plain}" src="data:image/png;base64,{data}">'
        + (f"<figcaption>{figure.caption}</figcaption>" if figure.caption else "")
        + "</figure>"
    )
