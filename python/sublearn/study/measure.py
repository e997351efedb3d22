"""One item, one row: what `match_probability` counts and what theory predicts of the masks."""

from __future__ import annotations

import time
from typing import Any

from .._version import installed_version
from ..compare import Comparison, kinds_of_masks, tally
from ..match.methods import EXACT, RULES
from .items import Item


def measure(item: Item, threads: int | None = None) -> dict[str, Any]:
    """The row of one item: counts of verdicts, and theory's kinds of the masks that it judges. Runs anywhere: items and rows pickle.

    Everything in the row but the seconds, "threads", "isa" and "version" depends on the item only, and counts of blocks add up to those
    of the blocks' union.
    """
    from ..backend.compiled import cpu
    from ..match.probability import match_probability
    from ..ranks.generic_rank import required_rank

    cell = item.cell
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
        keep_trials=item.judged > 0,
        **cell.options,
    )
    fitted = time.perf_counter()
    compared = Comparison()
    if item.judged:
        assert result.masks is not None and result.verdicts is not None  # kept
        kinds = kinds_of_masks(cell.net, result.masks[: item.judged], cell.shared, most=item.judged)
        compared = tally(kinds, result.verdicts[: item.judged])
    return {
        "rules": RULES[cell.method],
        "cell": cell.id,
        "first": item.first,
        "count": item.count,
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
        "required_rank": int(required_rank(cell.net, cell.shared)),
        "seconds": round(fitted - begin, 6),
        "seconds_theory": round(time.perf_counter() - fitted, 6),
        "threads": threads,
        "isa": cpu.isa(),
        "version": installed_version(),
    }
