"""What does the page carry for its script?

One JSON object: every cell once, in columns; the heat maps' squares by number of the cell. Nothing in it can end the script that holds it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from ..summary import Summary
from . import svg
from .heat_squares import HeatMap


class _Names:
    """Texts that many cells share, each once."""

    def __init__(self) -> None:
        self.number: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        return self.number.setdefault(text, len(self.number))


def island(found: Sequence[Summary], limits: Sequence[str], heats: Iterable[HeatMap]) -> str:
    """The JSON, safe inside a script element. limits: theory's, in words, of each cell.

    Columns over cells: cell (its id); network, strategy, quantity, theory (numbers of `names`); size, trials, undecided; estimate, low,
    high (95 % interval); proven (0 or 1), rank (0 or 1: is the budget the required rank?).
    """
    names = _Names()
    known = [s if s.trials else None for s in found]
    columns: dict[str, list[Any]] = {
        "cell": [s.cell.id for s in found],
        "network": [names(s.cell.network_label) for s in found],
        "strategy": [names(s.cell.name) for s in found],
        "quantity": [names(s.quantity_text) for s in found],
        "theory": [names(text) for text in limits],
        "size": [s.cell.arguments if s.cell.arguments != str(s.cell.budget) else s.cell.budget for s in found],
        "trials": [s.trials for s in found],
        "undecided": [s.undecided for s in found],
        "estimate": [None if s is None else _rounded(s.estimate) for s in known],
        "low": [None if s is None else _rounded(s.interval[0]) for s in known],
        "high": [None if s is None else _rounded(s.interval[1]) for s in known],
        "proven": [int(s.quantity == "existence") for s in found],
        "rank": [int(s.cell.budget == s.required_rank) for s in found],
    }
    told = {heat.name: {"squares": heat.squares, "ends": heat.ends} for heat in heats}
    return safe({"names": list(names.number), "cells": columns, "heat": told, "map": svg.MAP})


def _rounded(value: float) -> float | None:
    """Six digits; none for what JSON has no number for."""
    return float(f"{value:.6g}") if abs(value) < float("inf") else None


def safe(value: Any) -> str:
    """JSON that HTML cannot misread inside a script element: no tag and no comment begins in it."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
