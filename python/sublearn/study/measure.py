"""One item, one row: counts of verdicts and what theory predicts of the masks, or the sums of a quantity."""

from __future__ import annotations

import math
import socket
import time
from typing import Any

from .._version import installed_version
from ..compare import Comparison, kinds_of_masks, tally
from ..match.methods import EXACT, RULES, check_settings
from .cells import Cell
from .items import Item
from .moments import UNIT, Moments

WORST_LOSS = 1e6  # a larger relative loss, of a search that ran away, counts as this


def measure(item: Item, threads: int | None = None) -> dict[str, Any]:
    """The row of one item. Runs anywhere: items and rows pickle.

    Everything in the row but the seconds, "threads", "isa", "backend", "version", "host" and "date" depends on the item only, and counts
    and sums of blocks add up to those of the blocks' union.
    """
    from ..backend.compiled import cpu

    cell = item.cell
    numbers = (_matches if cell.quantity is None else _losses if cell.data is None else _on_real_data)(item, threads)
    return {
        "rules": RULES[cell.method],
        "cell": cell.id,
        "first": item.first,
        "count": item.count,
        **numbers,
        "threads": threads,
        "isa": cpu.isa(),
        "version": installed_version(),
        "host": socket.gethostname().encode("ascii", "replace").decode(),
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _matches(item: Item, threads: int | None) -> dict[str, Any]:
    """Counts of verdicts, and theory's kinds of the masks that the item judges."""
    from ..match.probability import match_probability

    cell = item.cell
    judged = item.judged if cell.taught else 0
    begin = time.perf_counter()
    result = match_probability(
        cell.net,
        cell.strategy,
        trials=item.count,
        shared=cell.shared,
        method=cell.method,
        seed=cell.seed,
        task=cell.task_number,
        screen=cell.screen,
        tol=cell.tol,
        threads=threads,
        gains=cell.gains or None,
        first=item.first,
        targets=cell.targets,
        keep_trials=judged > 0,
        **cell.options,
    )
    fitted = time.perf_counter()
    compared = Comparison()
    if judged:
        assert result.masks is not None and result.verdicts is not None  # kept
        kinds = kinds_of_masks(cell.net, result.masks[:judged], cell.shared, most=judged)
        compared = tally(kinds, result.verdicts[:judged])
    return {
        "matched": int(result.matched),
        "unmatched": int(result.unmatched),
        "undecided": int(result.undecided),
        "screened": int(result.screened),
        "solved_affine": int(result.solved_affine),
        "certified": int(result.certified),
        "by_theorem": int(result.by_theorem),
        # what the exact method finds on its way is no found probability of anything
        "found_after": [] if cell.method == EXACT else [int(count) for count in result.found_after],
        "quantity": str(result.quantity),
        "compared": compared.to_dict(),
        "required_rank": _required(cell),
        "seconds": round(fitted - begin, 6),
        "seconds_theory": round(time.perf_counter() - fitted, 6),
        **({} if result.backend == "cpu" else {"backend": result.backend}),
    }


def _losses(item: Item, threads: int | None) -> dict[str, Any]:
    """Sums of log10 of the relative loss reached, not below the tolerance, where searches stop."""
    from ..match.losses import reached_losses
    from ..match.question import asked

    cell = item.cell
    begin = time.perf_counter()
    how = check_settings(cell.method, cell.tol, False, **cell.options)
    trials = (cell.seed, cell.task_number, item.first, item.count)
    question = asked(cell.net, cell.strategy, cell.shared, cell.gains or None, how, trials, cell.targets)
    losses, backend = reached_losses(*question, threads)
    found = Moments.of(math.log10(min(max(loss, cell.tol), WORST_LOSS)) for loss in losses.tolist())
    seconds = round(time.perf_counter() - begin, 6)
    return {
        "quantity": "loss",
        "sum": found.total,
        "squares": found.squares,
        "unit": UNIT,
        "required_rank": _required(cell),
        "seconds": seconds,
        **({} if backend == "cpu" else {"backend": backend}),
    }


def _required(cell: Cell) -> int:
    """kappa; all equations where targets are random."""
    from ..ranks.generic_rank import required_rank

    return int(required_rank(cell.net, cell.shared)) if cell.taught else cell.net.equations


def _on_real_data(item: Item, threads: int | None) -> dict[str, Any]:
    """Sums of what descent reaches: log10 of the relative loss as above, or the quantity on data for testing. No rank is required."""
    from ..match.real_data import RealQuestion, reached

    cell = item.cell
    assert cell.data is not None and cell.quantity is not None
    begin = time.perf_counter()
    options = cell.options
    loss = options.pop("loss", "squared")
    how = check_settings(cell.method, cell.tol, False, **options)
    question = RealQuestion(cell.data, cell.strategy, how, cell.seed, cell.task_number, loss)
    values = reached(question, cell.quantity, item.first, item.count, threads).tolist()
    if cell.quantity == "loss":
        values = [math.log10(min(max(loss, cell.tol), WORST_LOSS)) for loss in values]
    found = Moments.of(values)
    return {
        "quantity": cell.quantity,
        "sum": found.total,
        "squares": found.squares,
        "unit": UNIT,
        "required_rank": 0,
        "seconds": round(time.perf_counter() - begin, 6),
    }
