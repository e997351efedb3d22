"""The report of a study: figures/*.png, results.csv and report.html (self-contained).

Everything is made from the rows in the folder and the study's spec; nothing is computed anew but predictions for the pictures.
Its parts: figures.py, setting.py (what was asked), findings.py (what came out), page.py and templates/ (how it is said and how it looks).
"""

from __future__ import annotations

from pathlib import Path

from ..files import write_text
from ..spec import Spec
from ..store import TABLE, Store
from ..summary import Summary, summaries
from ..sweep import cells_of
from ..tables import csv_text
from . import findings, setting
from .figures import Figure, figures
from .page import render
from .references import references

__all__ = ["write_report"]

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


def _page(spec: Spec, found: list[Summary], made: list[Figure], store: Store, others: int) -> str:
    """report.html; `others` counts the cells whose rows the study does not ask for."""
    networks = []
    for network in spec.networks:
        own = [summary for summary in found if summary.cell.network_label == network.label]
        networks.append(findings.network(network.label, own, [figure for figure in made if figure.network == network.label]))
    return render(
        "report.html",
        spec=spec,
        title=spec.title or spec.name,
        paragraphs=[paragraph.strip() for paragraph in spec.description.split("\n\n") if paragraph.strip()],
        tiles=findings.tiles(found),
        asked=sum(summary.asked for summary in found),
        run=sum(min(summary.trials, summary.asked) for summary in found),
        note=store.note,
        others=others,
        setting=setting.asked(spec, found),
        reading=setting.reading(spec, found),
        networks=networks,
        existence=findings.existence(found),
        controls=findings.controls(found),
        theory=findings.theory(found),
        references=references(found),
        made=setting.made(found, store),
    )
