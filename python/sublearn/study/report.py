"""The report of a study: figures/*.png, report.html (self-contained) and the short table for the terminal.

Everything is made from the rows in the folder and the study's spec; nothing is computed anew but predictions
for the pictures. Wording rule: a found probability is never called a match probability, and what is exact is
told apart from what is estimated. Not here: drawing (plot.py) and sums over rows (store.py).
"""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from ..compare import Comparison
from . import plot
from .spec import Reference, Spec
from .store import TABLE, Store, Summary, csv_text, dataset, summaries, write_bytes, write_text
from .task import EXISTENCE, cells_of

__all__ = ["write_report", "references", "summary_table", "ReferenceLine"]

REPORT, FIGURES = "report.html", "figures"
WIDE, RESTARTS, MASK = "wide", "restarts", "mask"  # where a figure stands in the report

KIND_TEXT = {
    "minimal": "no match exists (match probability 0)",
    "maximal": "a match exists almost surely (match probability 1)",
    "intermediate": "matches exist with positive probability; 1 is not excluded",
    "unknown": "no theorem applies",
}


@dataclass(frozen=True)
class ReferenceLine:
    """A measured value beside a reference value; `deviation` is their difference in standard errors."""

    summary: Summary
    reference: Reference
    starts: int
    measured: float
    error: float
    deviation: float

    @property
    def below(self) -> bool:
        """Whether the measured value is below the reference by more than 2 standard errors."""
        return self.deviation < -2


def references(found: Iterable[Summary]) -> list[ReferenceLine]:
    """All reference values of the measured cells. Standard error: of the difference, both counts pooled."""
    lines = []
    for summary in found:
        for entry in summary.cell.reference:
            if not summary.trials:
                continue
            starts = entry.starts or summary.cell.starts
            count = summary.after(starts) if entry.starts else summary.matched
            share, n = count / summary.trials, summary.trials
            if entry.trials is None:
                error = math.sqrt(entry.value * (1 - entry.value) / n)
            else:
                pooled = (count + entry.value * entry.trials) / (n + entry.trials)
                error = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / entry.trials))
            difference = share - entry.value
            deviation = (
                difference / error
                if error
                else 0.0
                if abs(difference) < 1e-12
                else math.copysign(math.inf, difference)
            )
            lines.append(ReferenceLine(summary, entry, starts, share, error, deviation))
    return lines


def write_report(folder: str | Path, spec: Spec | None = None) -> Path:
    """Make figures/, results.csv and report.html anew from a folder's rows; returns the path of report.html.

    `spec`: the study, if it is not the one kept in the folder. Errors: StoreError for a folder that is no
    study.
    """
    store = Store(folder)
    spec = spec or store.spec()
    found = summaries(cells_of(spec), store.rows)
    figures = _figures(spec, found, store.folder / FIGURES)
    write_text(store.folder / TABLE, csv_text(found))
    others = len({row["cell"] for row in store.rows} - {summary.cell.id for summary in found})
    write_text(store.folder / REPORT, _html(spec, found, figures, store, others))
    return store.folder / REPORT


def summary_table(found: Sequence[Summary], most: int = 60) -> str:
    """A text table for the terminal, one line per cell; beyond `most` it says how many are left out."""
    head = ("network", "strategy", "size", "r", "trials", "probability", "95 % interval", "quantity")
    lines = [head]
    for summary in found[:most]:
        cell = summary.cell
        low, high = summary.interval if summary.trials else (0.0, 1.0)
        value = f"{summary.probability:.4f}" if summary.trials else "-"
        interval = f"{low:.4f} {high:.4f}" if summary.trials else "-"
        size = "" if cell.arguments == str(cell.budget) else cell.arguments
        lines.append(
            (
                cell.network_label,
                cell.name,
                size,
                str(cell.budget),
                str(summary.trials),
                value,
                interval,
                summary.quantity_text,
            )
        )
    widths = [max(len(line[k]) for line in lines) for k in range(len(head))]
    text = "\n".join(
        "  ".join(part.ljust(width) for part, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
    return text + (f"\n... {len(found) - most} more cells in {TABLE}" if len(found) > most else "")


# Figures


@dataclass(frozen=True)
class Figure:
    """A figure on disk and in the report: its network, file name, picture, caption (HTML) and place."""

    network: str
    name: str
    png: bytes
    caption: str
    place: str


def _figures(spec: Spec, found: list[Summary], folder: Path) -> list[Figure]:
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
                caption = f"{escape(_first_up(quantity))} against the place of the r learnable weights. "
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
    return f"{escape(_first_up(quantity))} against the number of learnable weights. {BANDS}"


def _first_up(text: str) -> str:
    return text[:1].upper() + text[1:]


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


# The page


CSS = """
:root { color-scheme: light; }
body { font: 15.5px/1.55 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; color: #222;
  background: #fff;
       margin: 0 auto; max-width: 1000px; padding: 28px 22px 60px; }
h1 { font-size: 1.75rem; line-height: 1.25; margin: 0 0 .3rem; }
h2 { font-size: 1.28rem; margin: 2.6rem 0 .6rem; padding-top: .5rem; border-top: 1px solid #dde1e6; }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .4rem; }
p, li { max-width: 72ch; } .sub { color: #5a6069; margin: 0 0 1.2rem; }
table { border-collapse: collapse; margin: .7rem 0 1.1rem; font-size: .88rem; }
th { text-align: left; font-weight: 600; border-bottom: 1.5px solid #222; padding: .25rem .8rem .25rem 0;
  vertical-align: bottom; }
td { border-bottom: 1px solid #eceef1; padding: .22rem .8rem .22rem 0; vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tr.control td { color: #6b717a; } .wide { overflow-x: auto; }
.tiles { display: flex; flex-wrap: wrap; gap: 12px; margin: 1.1rem 0; }
.tile { background: #f5f7f9; border-radius: 6px; padding: .6rem .9rem; min-width: 120px; }
.tile b { display: block; font-size: 1.25rem; } .tile span { font-size: .82rem; color: #5a6069; }
figure { margin: 1.1rem 0 1.4rem; } figure img { max-width: 100%; height: auto; display: block; }
img.wide { width: 760px; } img.mask { max-height: 190px; }
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(440px, 1fr)); gap: 4px 18px; }
.pairs figure { margin: .2rem 0; }
td.q { font-size: .8rem; color: #5a6069; }
.caption, figcaption { font-size: .85rem; color: #4a5058; max-width: 76ch; margin-top: .35rem; }
.masks { display: flex; flex-wrap: wrap; gap: 6px 34px; } .masks figure { margin: .4rem 0; max-width: 420px; }
.note { background: #f5f7f9; border-left: 3px solid #0072B2; padding: .5rem .9rem; margin: 1rem 0; }
.bad { background: #fdf3ec; border-left: 3px solid #D55E00; padding: .5rem .9rem; margin: 1rem 0; }
.flag { color: #b34700; font-weight: 600; }
code, pre { font-family: ui-monospace, Consolas, "DejaVu Sans Mono", monospace; font-size: .86em; }
pre { background: #f5f7f9; padding: .8rem 1rem; overflow-x: auto; border-radius: 6px; }
summary { cursor: pointer; }
.key i { display: inline-block; width: .8em; height: .8em; margin: 0 .35em 0 1em; border-radius: 2px;
  vertical-align: -.05em; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.1rem; } dt { font-weight: 600; }
dd { margin: 0; max-width: 68ch; }
@media print { body { max-width: none; padding: 0; } h2 { break-after: avoid; }
figure, table { break-inside: avoid; } }
"""


def _html(spec: Spec, found: list[Summary], figures: list[Figure], store: Store, others: int) -> str:
    asked = sum(summary.cell.trials for summary in found)
    run = sum(min(summary.trials, summary.cell.trials) for summary in found)
    parts = [
        f"<h1>{escape(spec.title or spec.name)}</h1>",
        '<p class="sub">A <code>sublearn</code> study of where a network should learn · '
        f"<code>{escape(spec.name)}</code></p>",
    ]
    parts += [
        f"<p>{escape(paragraph.strip())}</p>"
        for paragraph in spec.description.split("\n\n")
        if paragraph.strip()
    ]
    parts.append(_tiles(found, run))
    if run < asked:
        parts.append(
            f'<p class="bad"><b>This study is not finished:</b> {run} of {asked} trials are in. '
            "Run the same command again to continue; what is shown is valid for the trials that are in.</p>"
        )
    if store.note:
        parts.append(f'<p class="note">{escape(store.note)}</p>')
    if others:
        parts.append(
            f'<p class="note">The folder also holds rows of {others} cells that the study no longer asks '
            "for; "
            "they are kept and left out here.</p>"
        )
    parts += [_asked(spec, found), _reading(spec, found)]
    parts.append("<h2>Results</h2>")
    for network in spec.networks:
        own = [summary for summary in found if summary.cell.network_label == network.label]
        parts.append(
            _network_section(
                network.label, own, [figure for figure in figures if figure.network == network.label]
            )
        )
    parts += [_controls(found), _theory(spec, found), _references(found), _reproduce(spec, found, store)]
    body = "\n".join(part for part in parts if part)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta name="viewport" '
        f'content="width=device-width, initial-scale=1">\n<title>{escape(spec.title or spec.name)}</title>\n'
        f"<style>{CSS}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _tiles(found: list[Summary], run: int) -> str:
    tiles = [
        (f"{len(found)}", "cells (network × strategy × budget × method)"),
        (_thousands(run), "trials run"),
    ]
    methods = list(dict.fromkeys(summary.cell.method for summary in found))
    for method in methods:
        total = sum((summary.compared for summary in found if summary.cell.method == method), Comparison())
        by = f" ({method})" if len(methods) > 1 else ""
        if total.trials("minimal"):
            tiles.append(
                (
                    f"{_thousands(total.matched('minimal'))} of {_thousands(total.trials('minimal'))}",
                    f"found although theory excludes a match{by}",
                )
            )
        if total.trials("maximal"):
            tiles.append(
                (
                    f"{_thousands(total.matched('maximal'))} of {_thousands(total.trials('maximal'))}",
                    f"found where theory promises a match{by}",
                )
            )
    flagged = [line for line in references(found) if line.below]
    lines = references(found)
    if lines:
        tiles.append((f"{len(lines) - len(flagged)} of {len(lines)}", "reference values reached"))
    return (
        '<div class="tiles">'
        + "".join(f'<div class="tile"><b>{b}</b><span>{text}</span></div>' for b, text in tiles)
        + "</div>"
    )


def _asked(spec: Spec, found: list[Summary]) -> str:
    networks = []
    for entry in spec.networks:
        kappa = [s.required_rank for s in found if s.cell.network_label == entry.label and s.required_rank]
        numbers = (entry.net.size, entry.net.equations, kappa[0] if kappa else "–")
        shared = escape(", ".join(entry.shared)) or "none"
        networks.append(
            (escape(entry.label), entry.net.describe(), shared, _shapes(entry.net), *map(str, numbers))
        )
    strategies = []
    for entry in spec.strategies:
        own = [s.cell for s in found if s.cell.strategy_label == entry.label and not s.cell.control]
        sizes = list(dict.fromkeys(cell.arguments for cell in own if cell.network_label in entry.networks))
        shown = ", ".join(sizes if len(sizes) <= 14 else [*sizes[:6], f"… ({len(sizes)})"])
        scope = "all" if len(entry.networks) == len(spec.networks) else ", ".join(entry.networks)
        what = _strategy_text(entry.kind, entry.within)
        strategies.append((escape(entry.label), what, escape(shown), escape(scope)))
    methods = dict.fromkeys(summary.cell.quantity_text("found") for summary in found)
    head = (
        "network",
        "shape",
        "shared with the teacher",
        "groups",
        "weights",
        "outputs per trial",
        "required rank κ",
    )
    return f"""<h2>What was asked</h2>
<p>A <b>teacher</b> network with random weights answers random inputs. A <b>student</b> of the same shape
starts from other random weights, and only a chosen few of its weights may learn: the <b>allocation</b>;
their number is the <b>budget</b> r. All other weights stay <b>frozen</b> at their random values (they still
act). Can the student give exactly the teacher's outputs? Each such question with freshly drawn weights and
inputs is one <b>trial</b>. Groups listed as shared are the same in teacher and student.</p>
{_table(head, networks, (4, 5, 6))}
{_table(("strategy", "which weights learn", "sizes", "networks"), strategies)}
<p>Measured: {escape("; ".join(methods))}.</p>"""


def _shapes(net: Any) -> str:
    shapes = {name: "×".join(map(str, shape)) for name, shape in net.groups.items()}
    return ", ".join(f"{name}&nbsp;{shape}" for name, shape in shapes.items())


def _strategy_text(kind: str, within: Sequence[str]) -> str:
    groups = escape(" and ".join(within)) or "all groups that are not shared"
    return {
        "scattered": f"r weights drawn at random in {groups}, anew for every trial",
        "rows": f"the first r weights of {groups}, row by row",
        "columns": f"the first r weights of {groups}, column by column",
        "diagonal": f"the first r weights of {groups} along its diagonals",
        "per_row": f"random rows of {groups}, random weights in each, anew for every trial",
        "per_column": f"random columns of {groups}, random weights in each, anew for every trial",
        "even_rows": f"equally many random weights in every row of {groups}, anew for every trial",
        "block": f"the leading block of {groups}",
        "split": f"so many weights in each of {groups}, drawn at random, anew for every trial",
        "only": f"all weights of {groups}",
        "everything": "all weights that are not shared",
        "edges": "the weights listed in the study",
    }[kind]


METHOD_TEXT = {
    "newton": """<i>newton</i> is a damped Newton search (Levenberg–Marquardt) that starts at the student's
own weights and then at wide random points""",
    "descent": "<i>descent</i> is gradient descent from the student's own weights",
}


def _reading(spec: Spec, found: list[Summary]) -> str:
    methods = dict.fromkeys(summary.cell.method for summary in found)
    means = "; ".join(METHOD_TEXT[method] for method in methods)
    existence = """Not measured in this study: the found probability is a lower estimate of it."""
    if any(summary.quantity == "existence" for summary in found):
        existence = """Measured as such only where a rank or a linear solve decides every trial; elsewhere
the found probability is a lower estimate of it."""
    relu = ""
    if any(entry.net.activation == "relu" for entry in spec.networks):
        relu = """<p>For relu networks a rank holds in one linear region only; theorems say less, and the
required rank shown is the largest among sampled regions. A budget below it can still match where the teacher
needs fewer dimensions.</p>"""
    return f"""<h2>What is exact and what is estimated</h2>
<dl>
<dt>Required rank κ</dt><dd>Exact. The dimension of the set of outputs that the network can reach with all
weights that are not shared. No allocation with fewer than κ weights can ever match (linear and tanh
networks).</dd>
<dt>Theory's limits</dt><dd>Exact for each mask, by ranks in integer arithmetic modulo a prime and by the
structure of the mask: it predicts <i>minimal</i> (no match), <i>maximal</i> (always a match),
<i>intermediate</i> or <i>unknown</i>. For strategies that draw masks at random, the limits are shares among
the masks drawn.</dd>
<dt>Match probability</dt><dd>The probability that matching weights <i>exist</i>. {existence}</dd>
<dt>Found probability</dt><dd>Estimated. The share of trials in which a stated method reaches a stated
relative loss ‖y − y*‖² / ‖y*‖²; {means}. Not finding a match is no proof that there is none.</dd>
<dt>Intervals</dt><dd>95&nbsp;% Clopper–Pearson, for the number of trials shown.</dd>
</dl>
{relu}"""


RESTARTS_TEXT = """<p class="caption">Share of trials found within the first s starts. A curve that still
rises at its
end says that more starts would find more: what is missing there is search, not existence.</p>"""


def _network_section(label: str, own: list[Summary], figures: list[Figure]) -> str:
    parts = [f"<h3>{escape(label)}</h3>", _findings(own)]
    placed = {
        place: [_figure(figure) for figure in figures if figure.place == place]
        for place in (WIDE, RESTARTS, MASK)
    }
    parts += placed[WIDE]
    if placed[RESTARTS]:
        parts.append(f'<div class="pairs">{"".join(placed[RESTARTS])}</div>{RESTARTS_TEXT}')
    if placed[MASK]:
        colours = {"learnable": plot.LEARNABLE, "frozen": plot.FROZEN}
        if any(summary.cell.shared for summary in own):
            colours["shared with the teacher"] = plot.SHARED
        key = "".join(f'<i style="background:{colour}"></i>{text}' for text, colour in colours.items())
        parts.append(f'<p class="key">Masks:{key}</p><div class="masks">{"".join(placed[MASK])}</div>')
    rows, classes = [], []
    for summary in own:
        cell = summary.cell
        low, high = summary.compared.limits
        theory = "–" if low is None else _limits_text(low, high, cell.strategy.allocation is None)
        size = "" if cell.arguments == str(cell.budget) else f" ({escape(cell.arguments)})"
        quantity = escape(summary.quantity_text) if summary.trials else "not run yet"
        numbers = (f"{cell.budget}{size}", _thousands(summary.trials), _value(summary), theory)
        rows.append((escape(cell.strategy_label), *numbers, quantity))
        classes.append("control" if cell.control else "")
    head = ("strategy", "budget r", "trials", "measured [95 % interval]", "theory", "quantity")
    table = _table(head, rows, (1, 2, 3, 4), classes)
    opened = " open" if len(rows) <= 40 else ""
    parts.append(f"<details{opened}><summary>All {len(rows)} numbers</summary>{table}</details>")
    return "\n".join(parts)


def _limits_text(low: float, high: float, sampled: bool) -> str:
    if low == high:
        return f"{'≈' if sampled and 0 < low < 1 else '='} {low:.4g}"
    if high == 1 and low == 0:
        return "no limit"
    return f"{low:.3f} to {high:.3f}"


def _findings(own: list[Summary]) -> str:
    """A few sentences with the numbers that matter, made from the counts."""
    measured = [summary for summary in own if summary.trials]
    if not measured:
        return "<p>Nothing was run yet.</p>"
    items = []
    for quantity in dict.fromkeys(summary.quantity_text for summary in measured):
        lines = _finding([summary for summary in measured if summary.quantity_text == quantity])
        if lines:
            items.append(f"<li><b>{escape(_first_up(quantity))}:</b> {'; '.join(lines)}.</li>")
    return f"<ul>{''.join(items)}</ul>" if items else ""


def _finding(part: list[Summary]) -> list[str]:
    """Half sentences on the cells of one quantity: below, at and above the required rank."""
    kappa, lines = part[0].required_rank, []
    if kappa is None:
        return lines
    below = [summary for summary in part if summary.cell.budget < kappa]
    if below:
        matched, trials = sum(s.matched for s in below), sum(s.trials for s in below)
        word = "matched" if part[0].quantity == "existence" else "found"
        why = (
            ", as it must be"
            if not matched
            else ": near misses within the tolerance, for no match exists there"
        )
        if part[0].cell.net.activation == "relu":
            why = ""
        share = f"{_thousands(matched)} of {_thousands(trials)} trials {word}{why}"
        lines.append(f"below the required rank (r &lt; κ = {kappa}) {share}")
    at = [summary for summary in part if summary.cell.budget == kappa]
    if at:
        worst, best = (choose(at, key=lambda s: s.probability) for choose in (min, max))
        span = f"from {_value(worst)} ({_where(worst)}) to {_value(best)} ({_where(best)})"
        lines.append(f"at r = κ = {kappa} {_value(best) if worst.probability == best.probability else span}")
    above = [summary for summary in part if summary.cell.budget > kappa]
    if above:
        top = max(above, key=lambda s: (s.probability, -s.cell.budget))
        lines.append(f"largest beyond κ {_value(top)} ({_where(top)}, r = {top.cell.budget})")
    return lines


def _where(summary: Summary) -> str:
    cell = summary.cell
    size = "" if cell.arguments == str(cell.budget) else f", {cell.arguments}"
    return escape(cell.strategy_label + size)


def _controls(found: list[Summary]) -> str:
    rows, relu = [], False
    for summary in found:
        cell, kappa = summary.cell, summary.required_rank
        if not summary.trials or kappa is None or cell.budget != kappa - 1 or summary.quantity == "existence":
            continue
        relu |= cell.net.activation == "relu"
        names = (cell.network_label, cell.strategy_label, cell.arguments)
        share = f"{summary.matched} of {_thousands(summary.trials)}"
        rows.append((*map(escape, names), share, f"{summary.interval[1]:.2g}", escape(summary.quantity_text)))
    if not rows:
        return ""
    note = """For relu networks this is no strict control: a teacher in a region that needs fewer dimensions
can be
matched.""" if relu else ""  # fmt: skip
    head = ("network", "strategy", "size (r = κ − 1)", "found", "95 % upper limit", "quantity")
    return f"""<h2>Control: one weight too few</h2>
<p>At a finite tolerance an allocation that cannot match may still come close. With r = κ − 1 learnable
weights no match exists, so whatever is found there is a false alarm of the tolerance, and the found
probabilities above are trustworthy up to that share. {note}</p>
{_table(head, rows, (2, 3, 4))}"""


def _theory(spec: Spec, found: list[Summary]) -> str:
    title = "<h2>Theory against measurement</h2>"
    judged = [summary for summary in found if summary.compared.trials()]
    if not judged:
        why = "yet"
        if spec.screen:
            why = "because <code>screen = true</code> lets theory answer for the fit"
        elif not spec.compare:
            why = "because <code>compare = 0</code>"
        return f"{title}<p>Nothing was compared {why}.</p>"
    groups: dict[tuple[str, str], Comparison] = {}
    for summary in judged:
        key = (summary.cell.network_label, summary.quantity_text)
        groups[key] = groups.get(key, Comparison()) + summary.compared
    rows = []
    for (network, quantity), counts in groups.items():
        for kind, meaning in KIND_TEXT.items():
            if counts.trials(kind):
                numbers = (
                    _thousands(counts.trials(kind)),
                    _thousands(counts.matched(kind)),
                    _accuracy(counts, kind),
                )
                rows.append((escape(network), kind, meaning, *numbers, escape(quantity)))
        definite = ("minimal", "maximal")
        trials, matched = (sum(map(count, definite)) for count in (counts.trials, counts.matched))
        names = (f"<b>{escape(network)}</b>", "<b>minimal + maximal</b>")
        covered = f"cover {_percent(counts.coverage)} of the cases"
        numbers = (_thousands(trials), _thousands(matched), f"<b>{_accuracy(counts)}</b>")
        rows.append((*names, covered, *numbers, escape(quantity)))
    total = sum((summary.compared for summary in judged), Comparison()).trials()
    asked = sum(summary.trials for summary in found if not summary.cell.screen)
    capped = ""
    if total < asked:
        capped = f"""Masks of {_thousands(total)} of {_thousands(asked)} trials were judged (the study's key
<code>compare</code> = {spec.compare} trials per cell)."""
    head = ("network", "predicted", "meaning", "trials", "found", "accuracy [95 % interval]", "quantity")
    return f"""{title}
<p>Each trial's own mask is judged by theory, and its verdict comes from a fit that is told no prediction and
screens nothing out, so the comparison can fail (outputs that are affine in the learnable weights are solved
by linear least squares, and the residual decides). {capped} Accuracy is stated over the definite
predictions, <i>minimal</i> (right if not found) and <i>maximal</i> (right if found), together with the share
of cases they cover; <i>intermediate</i> and <i>unknown</i> say nothing about a single trial. A
<i>maximal</i> trial that was not found is a failure of the search, not of the theorem; it counts against the
accuracy all the same.</p>
<ul>{"".join(_contradictions(groups))}</ul>
{_table(head, rows, (3, 4, 5))}"""


def _accuracy(counts: Comparison, kind: str | None = None) -> str:
    if math.isnan(counts.accuracy(kind)):
        return "–"
    low, high = map(_percent, counts.accuracy_interval(kind))
    return f"{_percent(counts.accuracy(kind))} [{low}, {high}]"


def _contradictions(groups: Mapping[tuple[str, str], Comparison]) -> list[str]:
    """For each quantity, whether trials were matched that theory says cannot be."""
    lines = []
    for quantity in dict.fromkeys(quantity for _, quantity in groups):
        counts = sum((part for (_, other), part in groups.items() if other == quantity), Comparison())
        matched, trials = counts.matched("minimal"), counts.trials("minimal")
        name, share = escape(_first_up(quantity)), f"{_thousands(matched)} of {_thousands(trials)} trials"
        if trials and not matched:
            text = "no contradiction, none of the trials predicted to have no match was matched"
            lines.append(f"<li>{name}: {text} ({share}).</li>")
        elif matched:
            flag = f'<span class="flag">{share} were matched although theory excludes a match.</span>'
            doubt = "A loose tolerance lets near misses pass (see the control); else something is wrong."
            lines.append(f"<li>{name}: {flag} {doubt}</li>")
    return lines


def _references(found: list[Summary]) -> str:
    lines = references(found)
    if not lines:
        return ""
    rows = []
    for line in lines:
        cell, entry = line.summary.cell, line.reference
        names = (cell.network_label, cell.strategy_label, cell.arguments)
        starts = f" after {line.starts} start{'s' if line.starts != 1 else ''}" if entry.starts else ""
        known = "exact" if entry.trials is None else f"{_thousands(entry.trials)} trials"
        flag = "above by more than 2" if line.deviation > 2 else ""
        if line.below:
            flag = '<span class="flag">below by more than 2 standard errors</span>'
        deviation = "∞" if math.isinf(line.deviation) else f"{line.deviation:+.1f}"
        values = (f"{line.measured:.4f}", f"{entry.value:.4g} ({known})")
        numbers = (*values, f"{line.measured - entry.value:+.4f}", f"{line.error:.4f}", deviation)
        remark = "; ".join(filter(None, (flag, escape(entry.note))))
        rows.append((*map(escape, names), cell.method + starts, *numbers, remark))
    below, expected = sum(line.below for line in lines), 0.0228 * len(lines)
    head = ("network", "strategy", "size", "method", "measured", "reference", "difference", "std. error",
            "in std. errors", "")  # fmt: skip
    return f"""<h2>Reference values</h2>
<p>Measured values beside values known from elsewhere. The standard error is that of their difference.
{below} of {len(lines)} values are below by more than 2 standard errors; by chance alone about {expected:.1f}
would be.</p>
{_table(head, rows, (4, 5, 6, 7, 8))}"""


def _reproduce(spec: Spec, found: list[Summary], store: Store) -> str:
    versions = sorted({version for summary in found for version in summary.versions})
    isas = sorted({str(row.get("isa")) for row in store.rows})
    seconds = sum(summary.seconds for summary in found)
    mixed = (
        '<p class="note">Rows come from more than one version of sublearn.</p>' if len(versions) > 1 else ""
    )
    return f"""<h2>Run it again</h2>
<p>The folder keeps the study as <code>spec.toml</code>; <code>sublearn run spec.toml</code> poses the same
problems on any machine: every trial is a function of the seed ({spec.seed}), the network's task number and
the trial's number only. Made by sublearn {escape(", ".join(versions) or "?")} (instruction sets:
{escape(", ".join(isas) or "–")}); {seconds:.0f} s of fitting. The numbers are in <code>results.csv</code>
(one line per cell), <code>results.jsonl</code> (one line per range of trials) and, in Python,
<code>sublearn.study.load(folder)</code>.</p>
{mixed}
<details><summary>The study's file</summary><pre>{escape(spec.text)}</pre></details>"""


def _figure(figure: Figure) -> str:
    data = base64.b64encode(figure.png).decode("ascii")
    plain = escape(re.sub(r"<[^>]*>", "", figure.caption).replace("&nbsp;", " "), quote=True)
    plain = plain or escape(figure.name.removesuffix(".png").replace("-", " "))
    return (
        f'<figure><img class="{figure.place}" alt="{plain}" src="data:image/png;base64,{data}">'
        + (f"<figcaption>{figure.caption}</figcaption>" if figure.caption else "")
        + "</figure>"
    )


def _table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    numbers: Sequence[int] = (),
    classes: Sequence[str] = (),
) -> str:
    quantity = head.index("quantity") if "quantity" in head else -1

    def cells(tag: str, values: Sequence[str]) -> str:
        kinds = [
            ' class="n"' if k in numbers else ' class="q"' if k == quantity else ""
            for k in range(len(values))
        ]
        return "".join(f"<{tag}{kind}>{value}</{tag}>" for kind, value in zip(kinds, values, strict=True))

    classes = list(classes)
    lines = [f"<tr>{cells('th', head)}</tr>"]
    for k, row in enumerate(rows):
        kind = f' class="{classes[k]}"' if k < len(classes) and classes[k] else ""
        lines.append(f"<tr{kind}>{cells('td', row)}</tr>")
    return '<div class="wide"><table>' + "\n".join(lines) + "</table></div>"


def _value(summary: Summary) -> str:
    if not summary.trials:
        return "–"
    low, high = summary.interval
    return f"{summary.probability:.4f} [{low:.4f}, {high:.4f}]"


def _percent(share: float) -> str:
    if math.isnan(share):
        return "–"
    text = f"{100 * share:.2f}".rstrip("0").rstrip(".")
    if text == "100" and share < 1:
        text = "&gt; 99.99"
    return f"{text}&nbsp;%"


def _thousands(count: int) -> str:
    return f"{count:,}".replace(",", "\u202f")
