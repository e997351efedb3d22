"""The report of a study: figures/*.png, report.html (self-contained) and the short table for the terminal.

Everything is made from the rows in the folder and the study's spec; nothing is computed anew but predictions for the pictures.
Here: the order of the page. Its parts: study/report/figures.py, study/report/setting.py (what was asked), study/report/findings.py (what
came out), study/report/html.py (how it looks).
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from ...compare import Comparison
from ...match.methods import EXACT
from ..cells import cells_of
from ..spec import Spec
from ..store import TABLE, Store, write_text
from ..summary import Summary, summaries
from ..tables import csv_text
from . import findings, html, setting
from .figures import Figure, figures
from .references import references

__all__ = ["summary_table", "write_report"]

REPORT, FIGURES = "report.html", "figures"


def write_report(folder: str | Path, spec: Spec | None = None) -> Path:
    """Make figures/, results.csv and report.html anew from a folder's rows; returns the path of report.html.

    `spec`: the study, if it is not the one kept in the folder. Errors: StoreError for a folder that is no
    study.
    """
    store = Store(folder)
    spec = spec or store.spec()
    found = summaries(cells_of(spec), store.rows)
    made = figures(spec, found, store.folder / FIGURES)
    write_text(store.folder / TABLE, csv_text(found))
    others = len({row["cell"] for row in store.rows} - {summary.cell.id for summary in found})
    write_text(store.folder / REPORT, _page(spec, found, made, store, others))
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
                _in_a_line(cell.network_label),
                _in_a_line(cell.name),
                size,
                str(cell.budget),
                str(summary.trials),
                value,
                interval,
                summary.quantity_text,
            )
        )
    widths = [max(len(line[k]) for line in lines) for k in range(len(head))]
    text = "\n".join("  ".join(part.ljust(width) for part, width in zip(line, widths, strict=True)).rstrip() for line in lines)
    return text + (f"\n... {len(found) - most} more cells in {TABLE}" if len(found) > most else "")


def _in_a_line(label: str, most: int = 40) -> str:
    """A label without its line breaks, the end of a long one cut off."""
    label = " ".join(label.split())
    return label if len(label) <= most else label[: most - 2] + " …"


def _page(spec: Spec, found: list[Summary], made: list[Figure], store: Store, others: int) -> str:
    asked = sum(summary.cell.trials for summary in found)
    run = sum(min(summary.trials, summary.cell.trials) for summary in found)
    parts = [
        f"<h1>{escape(spec.title or spec.name)}</h1>",
        f'<p class="sub">A <code>sublearn</code> study of where a network should learn · <code>{escape(spec.name)}</code></p>',
    ]
    parts += [f"<p>{escape(paragraph.strip())}</p>" for paragraph in spec.description.split("\n\n") if paragraph.strip()]
    parts.append(_tiles(found))
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
    parts += [setting.asked(spec, found), setting.reading(spec, found)]
    parts.append("<h2>Results</h2>")
    for network in spec.networks:
        own = [summary for summary in found if summary.cell.network_label == network.label]
        parts.append(findings.network(network.label, own, [figure for figure in made if figure.network == network.label]))
    parts += [findings.existence(found), findings.controls(found), findings.theory(spec, found), findings.against_references(found)]
    parts.append(setting.reproduce(spec, found, store))
    body = "\n".join(part for part in parts if part)
    return html.document(spec.title or spec.name, body)


def _tiles(found: list[Summary]) -> str:
    tiles = [
        (f"{len(found)}", "cells (network × strategy × budget × method)"),
        (html.thousands(sum(summary.trials for summary in found)), "trials run"),
    ]
    methods = list(dict.fromkeys(summary.cell.method for summary in found))
    for method in methods:
        total = sum((summary.compared for summary in found if summary.cell.method == method), Comparison())
        by = f" ({method})" if len(methods) > 1 else ""
        if total.trials("minimal") and method != EXACT:
            tiles.append(
                (
                    f"{html.thousands(total.matched('minimal'))} of {html.thousands(total.trials('minimal'))}",
                    f"found although theory excludes a match{by}",
                )
            )
        if total.trials("maximal"):
            tiles.append(
                (
                    f"{html.thousands(total.matched('maximal'))} of {html.thousands(total.trials('maximal'))}",
                    f"{'matched' if method == EXACT else 'found'} where theory promises a match{by}",
                )
            )
    flagged = [line for line in references(found) if line.below]
    lines = references(found)
    if lines:
        tiles.append((f"{len(lines) - len(flagged)} of {len(lines)}", "reference values reached"))
    return '<div class="tiles">' + "".join(f'<div class="tile"><b>{b}</b><span>{text}</span></div>' for b, text in tiles) + "</div>"
