"""Which files does a report write? report.html (self-contained), results.csv, and figures/ as PDF, SVG and PNG.

Everything is made from the rows in the folder and the study's spec; nothing is computed anew but theory's limits and the masks of pictures.
What is as it was is left alone (digests.py). Its parts: setting.py (what was asked), findings.py (what came out), sections.py and
pictures.py, heat_squares.py, svg.py (what is drawn in the page), data.py (what its script knows), figures.py (the files), page.py and
templates/ (how it is said and how it looks).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..files import write_text
from ..limits import Limits, limits_of
from ..shards import row_files
from ..spec import Spec
from ..store import TABLE, Store
from ..summary import Summary, summaries
from ..sweep import cells_of
from ..tables import csv_text
from . import findings, setting, svg
from .data import island
from .digests import Digests, digest
from .figures import write_figures
from .page import render
from .references import references
from .sections import sections

__all__ = ["write_report"]

REPORT, FIGURES = "report.html", "figures"
FIRST_CARDS = 24  # findings of more networks are unfolded by who wants them


def write_report(folder: str | Path, spec: Spec | None = None) -> Path:
    """Make figures/, results.csv and report.html from a folder's rows, as far as they are not there yet; returns the path of report.html.

    `spec`: the study, if it is not the one kept in the folder. Errors: StoreError for a folder that is no
    study.
    """
    store = Store(folder)
    spec = spec or store.spec()
    digests = Digests(store.folder / FIGURES)
    files = [store.folder / REPORT, store.folder / TABLE]
    if digests.keep(REPORT, _made_of(store, spec), files) and digests.whole(store.folder / FIGURES):
        return store.folder / REPORT
    found = summaries(cells_of(spec), store.rows)
    limits = limits_of(found)
    without = write_figures(store.folder / FIGURES, spec, found, limits, digests)
    write_text(store.folder / TABLE, csv_text(found))
    write_text(store.folder / REPORT, _page(spec, found, limits, store, without))
    digests.save()
    return store.folder / REPORT


def _made_of(store: Store, spec: Spec) -> str:
    """A digest of all that a report is made of: the study, and every row that was read."""
    rows = [path.read_bytes() for path in (store.path, *row_files(store.folder)) if path.is_file()]
    return digest(replace(spec, source=""), store.note, *rows)


def _page(spec: Spec, found: list[Summary], limits: Sequence[Limits | None], store: Store, without: int) -> str:
    """report.html; `without`: how many figures are not among the files."""
    told, texts = sections(spec, found, limits), findings.texts_of(limits)
    by_cell = {summary.cell.id: text for summary, text in zip(found, texts, strict=True)}
    return render(
        "report.html",
        spec=spec,
        title=spec.title or spec.name,
        paragraphs=[paragraph.strip() for paragraph in spec.description.split("\n\n") if paragraph.strip()],
        tiles=findings.tiles(found),
        asked=sum(summary.asked for summary in found),
        run=sum(min(summary.trials, summary.asked) for summary in found),
        note=store.note,
        others=len({row["cell"] for row in store.rows} - {summary.cell.id for summary in found}),
        limits=any(limits),
        ramp=svg.MAP,
        first_cards=FIRST_CARDS,
        setting=setting.asked(spec, found),
        reading=setting.reading(spec, found),
        sections=[findings.section(section, by_cell) for section in told],
        existence=findings.existence(found),
        controls=findings.controls(found),
        theory=findings.theory(found),
        references=references(found),
        made=setting.made(found, store) | {"without": without},
        island=island(found, texts, [heat for section in told for heat in section.heats]),
    )
