"""Studies: sweeps of budget x strategy x network, run, kept in a folder, continued and reported.

`run(read_spec("my.toml"), folder)` runs one, `load(folder)` gives its results as an xarray Dataset (`grid`: with
what was swept as dimensions, `frame`: as a table), `write_report(folder)` makes its figures and report.html, and
`plot` draws single figures. The command line (`sublearn run`) does all of this.

reading.py: a study's file (spec.py: its values); sweep.py: its cells (cells.py), in blocks of trials (items.py); runner.py and loop.py: how
they run; executors.py: who measures; store.py: rows (rows.py) on disk; summary.py: rows added up; tables.py (frames.py, grids.py),
plot/ and report/: what is made of them.
matplotlib, xarray, rich and jinja2 (the extra `study`) are imported only where they are used.
"""

from . import plot
from .cells import Cell
from .exporting import export
from .files import DiskError, StoreError
from .frames import frame
from .grids import grid
from .merge import merge
from .planning import plan
from .reading import default_spec, parse_spec, read_spec
from .report.write import write_report
from .runner import Outcome, run
from .spec import Spec, SpecError
from .store import Store
from .sweep import cells_of
from .tables import load
from .verifying import Difference, Verification, verify

__all__ = [
    "Cell",
    "Difference",
    "DiskError",
    "Outcome",
    "Spec",
    "SpecError",
    "Store",
    "StoreError",
    "Verification",
    "cells_of",
    "default_spec",
    "export",
    "frame",
    "grid",
    "load",
    "merge",
    "parse_spec",
    "plan",
    "plot",
    "read_spec",
    "run",
    "verify",
    "write_report",
]
