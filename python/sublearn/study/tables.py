"""The summaries as tables: results.csv, and an xarray dataset."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..model.layers import plain
from ..theory.predict import KINDS
from .cells import Cell
from .limits import Limits, limits_of
from .network_entry import parameters_text, value_text
from .rows import COUNTS, LATER_COUNTS
from .spec import Spec
from .store import Store
from .summary import Summary, summaries
from .sweep import cells_of

if TYPE_CHECKING:
    import xarray

SHARES = ("estimate", "probability", "low", "high", "theory_low", "theory_high", "tol")  # numbers without a unit, none of them a count


def _columns(summary: Summary, limits: Limits | None, parameters: Mapping[str, Any]) -> dict[str, Any]:
    cell, known = summary.cell, summary.trials > 0
    low, high = summary.interval if known else (None, None)
    lower, upper, exact_lower, exact_upper, _ = limits or (None,) * 5
    return {
        "cell": cell.id,
        "network": cell.network_label,
        "strategy": cell.strategy_label,
        "arguments": cell.arguments,
        "budget": cell.budget,
        "control": cell.control,
        "required_rank": summary.required_rank,
        "method": cell.method,
        "starts": cell.starts,
        "tol": cell.tol,
        "screen": cell.screen,
        "seed": cell.seed,
        "task": cell.task_number,
        "quantity": summary.quantity_text if known else "",
        "trials": summary.trials,
        "trial_ranges": _ranges_text(summary),
        "matched": summary.matched,
        "unmatched": summary.unmatched,
        "undecided": summary.undecided,
        "screened": summary.screened,
        "solved_affine": summary.solved_affine,
        "certified": summary.certified,
        "by_theorem": summary.by_theorem,
        "probability": summary.probability if known else None,
        "low95": low,
        "high95": high,
        "theory_at_least": lower,
        "theory_at_most": upper,
        "theory_at_least_exact": exact_lower,
        "theory_at_most_exact": exact_upper,
        **{f"predicted_{kind}": summary.compared.trials(kind) for kind in KINDS},
        **{f"predicted_{kind}_matched": summary.compared.matched(kind) for kind in KINDS},
        "seconds": round(summary.seconds, 3),
        "family": cell.family,
        "parameters": parameters_text(cell.parameters),
        "activation": plain(cell.net).activation,
        "kind_of_strategy": cell.content["strategy"]["kind"],
        "split_first": _split_first(cell),
        "measure": _measure(cell),
        "kind_of_quantity": summary.quantity,
        "estimate": summary.estimate if known else None,
        "interval_kind": summary.interval_kind,
        "ended_by": summary.ended_by,
        **_origin(summary),
        **{name: None if value is None else value_text(value) for name, value in parameters.items()},
    }


def _measure(cell: Cell) -> str:
    """What the trials of a cell are asked: how many match, or the mean of a quantity."""
    return cell.content.get("quantity") or "matches"


def _origin(summary: Summary) -> dict[str, str]:
    """Where, by what and when the rows of a cell were made: all hosts, instruction sets and versions, and the last date."""
    found = {key: sorted(summary.origins.get(key, ())) for key in ("host", "date", "isa", "version")}
    return {key: " ".join(values[-1:] if key == "date" else values) for key, values in found.items()}


def _split_first(cell: Cell) -> int | None:
    """Learnable weights in the first group of a split."""
    budgets = cell.content["strategy"].get("budgets")
    return budgets[cell.split_over[0]] if budgets and cell.split_over else None


def _parameters(found: Iterable[Summary]) -> list[dict[str, Any]]:
    """For each cell the keys that some network of the study sweeps, but its activation: its own values, None where it has no such key."""
    cells = [summary.cell for summary in found]
    swept = dict.fromkeys(key for cell in cells for key in cell.parameters if key != "activation")
    return [{key: cell.parameters.get(key, getattr(plain(cell.net), key, None)) for key in swept} for cell in cells]


def _ranges_text(summary: Summary) -> str:
    return " ".join(f"{first}-{first + count - 1}" for first, count in _joined(summary.ranges))


def _joined(ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    start, end = 0, None
    for first, count in sorted(ranges):
        if end == first:
            end = first + count
            continue
        if end is not None:
            yield start, end - start
        start, end = first, first + count
    if end is not None:
        yield start, end - start


def csv_text(found: Iterable[Summary]) -> str:
    """results.csv: one line per cell, additive counts with their trial ranges, probability and interval, theory's limits."""
    out, found = io.StringIO(), list(found)
    lines = [_columns(*parts) for parts in zip(found, limits_of(found), _parameters(found), strict=True)]
    writer = csv.DictWriter(out, fieldnames=list(lines[0]) if lines else ["cell"], lineterminator="\n")
    writer.writeheader()
    for line in lines:
        writer.writerow(
            {
                key: "" if value is None or value != value else f"{value:.10g}" if isinstance(value, float) else value
                for key, value in line.items()
            }
        )
    return out.getvalue()


def load(folder: str | Path) -> xarray.Dataset:
    """The results of a study folder as an xarray Dataset with dimension `cell`, the cells of its spec.

    Variables over `cell`: trials, matched, unmatched, undecided, screened, solved_affine, certified (matched, the solution proven),
    by_theorem (matched by T8 or D4, no solution in hand), seconds, estimate of what is measured, low, high (its 95 % interval, of the
    kind interval_kind; of existence with undecided trials left open), probability (the estimate where matches are counted, else NaN),
    theory_low, theory_high (theory_low <= match probability <= theory_high by the theorems; exact where theory_low_exact,
    theory_high_exact are True, else the safe end of a 95 % interval from the masks judged; NaN where none was), predicted and
    predicted_matched (with dimension `kind`; also as predicted_minimal, predicted_minimal_matched, ..); found_after over (`cell`,
    `start`), NaN beyond a cell's last start. Coordinates over `cell`: id, network, family, parameters ("hidden 8, steps 6") and each key
    that a network of the study sweeps, activation, strategy, kind_of_strategy, arguments, budget, required_rank (-1 if not computed;
    relu: the largest found among sampled regions), method, starts, tol, quantity, quantity_text, measure ("matches", or the quantity
    whose mean is measured), interval_kind ("Clopper-Pearson", "anytime", "Student"), ended_by (the rule that ended the cell before all
    its trials, or ""), control, screen, split_first (learnable weights in a split's first group, else -1), task, trial_ranges, host, isa,
    version (of the rows; several are joined by spaces), date (the last one).
    Attribute `note`: what was read and not counted, in sentences. A UserWarning reports rows by older rules whose trials were not run again
    yet. `grid` turns cells into dimensions, `frame` makes a table. Errors: StoreError for
    a folder that is no study or whose rows are damaged.
    """
    store = Store(folder)
    spec = store.spec()
    cells = cells_of(spec)
    if store.aside_left(cell.id for cell in cells):
        warnings.warn(store.note, stacklevel=2)
    return dataset(spec, summaries(cells, store.rows)).assign_attrs(note=store.note)


def dataset(spec: Spec, found: list[Summary]) -> xarray.Dataset:
    """The Dataset of `load` for summaries at hand."""
    import numpy as np
    import xarray

    nan = float("nan")
    starts = max((len(summary.found_after) for summary in found), default=0)
    after = np.full((len(found), starts), nan)
    for place, summary in enumerate(found):
        after[place, : len(summary.found_after)] = summary.found_after
    bounds = np.array([summary.interval if summary.trials else (nan, nan) for summary in found], float).reshape(-1, 2)
    limits = [limit or Limits(nan, nan, False, False, 0) for limit in limits_of(found)]

    def over_cells(values: Iterable[Any], dtype: Any) -> tuple[str, np.ndarray]:
        return "cell", np.array(list(values), dtype=dtype)

    def text(values: Iterable[str]) -> tuple[str, np.ndarray]:
        return "cell", np.array(list(values), dtype=str)

    parameters = _parameters(found)

    def swept(name: str) -> tuple[str, np.ndarray]:
        values = [own[name] for own in parameters]
        if all(isinstance(value, int) for value in values):
            return over_cells(values, np.int64)
        if any(isinstance(value, (tuple, str)) for value in values):
            return text("" if value is None else value_text(value) for value in values)
        return over_cells((nan if value is None else value for value in values), float)

    data = xarray.Dataset(
        {
            "trials": over_cells((s.trials for s in found), np.int64),
            **{name: over_cells((getattr(s, name) for s in found), np.int64) for name in (*COUNTS[1:], *LATER_COUNTS)},
            "seconds": over_cells((s.seconds for s in found), float),
            "estimate": over_cells((s.estimate for s in found), float),
            "probability": over_cells((s.probability for s in found), float),
            "low": ("cell", bounds[:, 0]),
            "high": ("cell", bounds[:, 1]),
            "theory_low": over_cells((limit.lower for limit in limits), float),
            "theory_high": over_cells((limit.upper for limit in limits), float),
            "theory_low_exact": over_cells((limit.exact_lower for limit in limits), bool),
            "theory_high_exact": over_cells((limit.exact_upper for limit in limits), bool),
            "predicted": (
                ("cell", "kind"),
                np.array([[s.compared.trials(k) for k in KINDS] for s in found], np.int64).reshape(-1, len(KINDS)),
            ),
            "predicted_matched": (
                ("cell", "kind"),
                np.array([[s.compared.matched(k) for k in KINDS] for s in found], np.int64).reshape(-1, len(KINDS)),
            ),
            **{f"predicted_{kind}": over_cells((s.compared.trials(kind) for s in found), np.int64) for kind in KINDS},
            **{f"predicted_{kind}_matched": over_cells((s.compared.matched(kind) for s in found), np.int64) for kind in KINDS},
            "found_after": (("cell", "start"), after),
        },
        coords={
            "id": text(s.cell.id for s in found),
            "network": text(s.cell.network_label for s in found),
            "family": text(s.cell.family for s in found),
            "parameters": text(parameters_text(s.cell.parameters) for s in found),
            **{name: swept(name) for name in (parameters[0] if found else ())},
            "activation": text(plain(s.cell.net).activation for s in found),
            "strategy": text(s.cell.strategy_label for s in found),
            "kind_of_strategy": text(s.cell.content["strategy"]["kind"] for s in found),
            "arguments": text(s.cell.arguments for s in found),
            "budget": over_cells((s.cell.budget for s in found), np.int64),
            "required_rank": over_cells((-1 if s.required_rank is None else s.required_rank for s in found), np.int64),
            "method": text(s.cell.method for s in found),
            "starts": over_cells((s.cell.starts for s in found), np.int64),
            "tol": over_cells((s.cell.tol for s in found), float),
            "quantity": text(s.quantity for s in found),
            "quantity_text": text(s.quantity_text for s in found),
            "measure": text(_measure(s.cell) for s in found),
            "interval_kind": text(s.interval_kind for s in found),
            "ended_by": text(s.ended_by for s in found),
            "control": over_cells((s.cell.control for s in found), bool),
            "screen": over_cells((s.cell.screen for s in found), bool),
            "split_first": over_cells((-1 if (first := _split_first(s.cell)) is None else first for s in found), np.int64),
            "task": over_cells((s.cell.task_number for s in found), np.int64),
            "trial_ranges": text(map(_ranges_text, found)),
            **{key: text(_origin(s)[key] for s in found) for key in ("host", "date", "isa", "version")},
            "start": np.arange(1, starts + 1),
            "kind": list(KINDS),
        },
        attrs={
            "study": spec.name,
            "title": spec.title,
            "seed": str(spec.seed),
            "interval": "95 %: Clopper-Pearson, of cells with a rule to stop anytime-valid, of means Student's",
        },
    )
    data["seconds"].attrs["units"] = "s"
    for name in SHARES:
        data[name].attrs["units"] = "1"
    return data
