"""Studies: sweeps of budget x strategy x network, run, kept in a folder, continued and reported.

`run(read_spec("my.toml"), folder)` runs one, `load(folder)` gives its results as an xarray Dataset,
`write_report(folder)` makes its figures and report.html, and `plot` draws single figures. The command line
(`sublearn run`) does all of this.

spec.py: the study's file; study/cells.py: cells, ids and chunks; store.py: rows on disk; study/runner.py: the loop; plot.py:
figures; study/report/write.py: the report. matplotlib, xarray and rich (the extra `study`) are imported only where they
are used.
"""

from . import plot
from .cells import Cell, cells_of
from .planning import plan
from .report.write import write_report
from .runner import Outcome, run
from .spec import Spec, SpecError, default_spec, parse_spec, read_spec
from .store import Store, StoreError
from .tables import load

__all__ = [
    "Cell",
    "Outcome",
    "Spec",
    "SpecError",
    "Store",
    "StoreError",
    "cells_of",
    "default_spec",
    "load",
    "parse_spec",
    "plan",
    "plot",
    "read_spec",
    "run",
    "write_report",
]
