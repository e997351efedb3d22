"""What a report finds: each network's numbers, controls, theory against measurement.

Wording rule of the templates: a found probability is never called a match probability, and what is exact is told apart from what is
estimated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...compare import Comparison
from ...match.methods import EXACT
from ...theory.certain import at_least, at_most
from ..limits import Limits
from ..plot.choice import PROBABILITIES
from ..plot.masks import FROZEN, LEARNABLE, SHARED
from ..summary import Summary
from .heat_squares import value_of
from .references import references
from .sections import NetworkPart, Section


def tiles(found: list[Summary]) -> dict[str, Any]:
    """The largest numbers: cells, trials, and (matched, trials) of each method where theory is definite."""
    methods = []
    for method in dict.fromkeys(summary.cell.method for summary in found):
        total = sum((summary.compared for summary in found if summary.cell.method == method), Comparison())
        excluded = () if method == EXACT else _of_kind(total, "minimal")
        methods.append({"name": method, "exact": method == EXACT, "excluded": excluded, "promised": _of_kind(total, "maximal")})
    lines = references(found)
    return {
        "cells": len(found),
        "trials": sum(summary.trials for summary in found),
        "methods": methods,
        "references": (sum(not line.below for line in lines), len(lines)) if lines else (),
    }


def _of_kind(counts: Comparison, kind: str) -> tuple[int, ...]:
    """(matched, trials) of one kind of prediction; () where there was none."""
    return (counts.matched(kind), counts.trials(kind)) if counts.trials(kind) else ()


def section(told: Section, texts: Mapping[str, str]) -> dict[str, Any]:
    """A section with its finding, and with the numbers of its parts. texts: theory's limits of a cell, by its id."""
    facts = {name: getattr(told, name) for name in ("label", "anchor", "lead", "heats", "swept", "is_family")}
    return facts | {"cell_count": len(told.cells), "finding": _lead(told), "parts": [_part(part, texts) for part in told.parts]}


def _part(part: NetworkPart, texts: Mapping[str, str]) -> dict[str, Any]:
    measured = [summary for summary in part.cells if summary.trials]
    quantities = dict.fromkeys(summary.quantity_text for summary in measured)
    found = [_finding(text, [summary for summary in measured if summary.quantity_text == text]) for text in quantities]
    colours = {"learnable": LEARNABLE, "frozen": FROZEN}
    if any(summary.cell.shared for summary in part.cells):
        colours["shared with the teacher"] = SHARED
    lines = [(summary, texts[summary.cell.id]) for summary in part.cells]
    return {
        "label": part.label,
        "measured": bool(measured),
        "findings": [finding for finding in found if finding],
        "pictures": part.pictures,
        "starts": part.starts,
        "masks": part.masks,
        "colours": colours,
        "cells": part.cells,
        "lines": lines,
        "quantity": next(iter(quantities)) if len(quantities) == 1 and len(measured) == len(part.cells) else "",
        "estimated": any("~" in text for _, text in lines),
    }


def _lead(told: Section) -> dict[str, Any] | None:
    """The finding of a section: what the first method measured best and worst, of the cells that have as many weights as a match requires,
    if there are such. The exact method comes before the searches."""
    measured = [s for s in told.measured if not s.cell.control]
    if not measured:
        return None
    methods = list(dict.fromkeys(s.cell.method for s in measured))
    method = EXACT if EXACT in methods else methods[0]
    of_method = [s for s in measured if s.cell.method == method]
    quantity = of_method[0].quantity_text
    own = [s for s in of_method if s.quantity_text == quantity or {s.quantity, of_method[0].quantity} <= set(PROBABILITIES)]
    at = [s for s in own if s.required_rank is not None and s.cell.budget == s.required_rank]
    worst, best = (choose(at or own, key=lambda s: s.estimate) for choose in (min, max))
    ranks = {s.required_rank for s in at}
    return {
        "quantity": quantity,
        "is_share": {s.quantity for s in own} <= set(PROBABILITIES),
        "exists": method == EXACT and best.quantity == "existence",
        "exact": method == EXACT,
        "at_rank": bool(at),
        "kappa": ranks.pop() if len(ranks) == 1 else None,
        "relu": best.cell.net.activation == "relu",
        "count": len(at),
        "same": worst.estimate == best.estimate,
        "best": best,
        "worst": worst,
        "best_where": _where(best, told),
        "worst_where": _where(worst, told),
    }


def _where(summary: Summary, told: Section) -> str:
    """A strategy with its size where that is more than a number, and the network in a family."""
    cell = summary.cell
    size = [] if cell.arguments == str(cell.budget) else [cell.arguments]
    swept = [f"{key} {value_of(cell.parameters, key)}" for key in told.swept if key in cell.parameters]
    return ", ".join([f"“{cell.strategy_label}”", *size, *swept])


def texts_of(limits: Iterable[Limits | None]) -> list[str]:
    """Theory's limits of each cell as they stand in tables."""
    return ["–" if limit is None else _limits_text(limit) for limit in limits]


def _limits_text(limits: Limits) -> str:
    """Limits in a table, rounded outwards; what is estimated has a tilde."""
    text = str(limits)
    if text.startswith("MP = "):
        return text.removeprefix("MP ").removesuffix(" (exact)")
    if limits.upper == 1 and limits.lower == 0:
        return "no limit"
    low = at_least(limits.lower) if limits.exact_lower or limits.lower == 0 else f"~{at_least(limits.lower)}"
    high = at_most(limits.upper) if limits.exact_upper or limits.upper == 1 else f"~{at_most(limits.upper)}"
    return f"{low} to {high}"


def _finding(quantity: str, part: list[Summary]) -> dict[str, Any] | None:
    """The cells of one quantity below, at and above the required rank: (matched, trials), the worst and the best, the best."""
    kappa = part[0].required_rank
    if kappa is None or part[0].quantity not in PROBABILITIES:
        return None
    below = [summary for summary in part if summary.cell.budget < kappa]
    at = [summary for summary in part if summary.cell.budget == kappa]
    above = [summary for summary in part if summary.cell.budget > kappa]
    return {
        "quantity": quantity,
        "kappa": kappa,
        "relu": part[0].cell.net.activation == "relu",
        "existence": part[0].quantity == "existence",
        "below": (sum(s.matched for s in below), sum(s.trials for s in below)) if below else (),
        "worst": min(at, key=lambda s: s.estimate, default=None),
        "best": max(at, key=lambda s: s.estimate, default=None),
        "top": max(above, key=lambda s: (s.estimate, -s.cell.budget), default=None),
    }


def existence(found: list[Summary]) -> list[tuple[Summary, Summary]]:
    """(decided, searched) cells of the same question, where both were measured and matches exist."""
    exact = {(s.cell.network_label, s.cell.strategy_label, s.cell.arguments): s for s in found if s.cell.method == EXACT and s.matched}
    pairs = []
    for summary in found:
        true = exact.get((summary.cell.network_label, summary.cell.strategy_label, summary.cell.arguments))
        if true is not None and summary.cell.method != EXACT and summary.trials and summary.quantity in PROBABILITIES:
            pairs.append((true, summary))
    return pairs


def controls(found: list[Summary]) -> list[Summary]:
    """The searched cells with one weight too few."""
    return [
        summary
        for summary in found
        if summary.trials and summary.required_rank is not None and summary.cell.budget == summary.required_rank - 1
        if summary.quantity == "found" and summary.cell.method != EXACT
    ]


def theory(found: list[Summary]) -> dict[str, Any]:
    """Predictions and verdicts: of searches by network and quantity, of proofs by network."""
    judged = [summary for summary in found if summary.compared.trials() and summary.cell.method != EXACT]
    groups: dict[tuple[str, str], Comparison] = {}
    for summary in judged:
        key = (summary.cell.network_label, summary.quantity_text)
        groups[key] = groups.get(key, Comparison()) + summary.compared
    excluded = {}
    for quantity in dict.fromkeys(quantity for _, quantity in groups):
        counts = sum((part for (_, other), part in groups.items() if other == quantity), Comparison())
        if pair := _of_kind(counts, "minimal"):
            excluded[quantity] = pair
    return {
        "groups": [{"network": label, "quantity": quantity, "counts": counts} for (label, quantity), counts in groups.items()],
        "judged": sum(summary.compared.trials() for summary in judged),
        "asked": sum(summary.trials for summary in found if not summary.cell.screen),  # exact cells are screened
        "excluded": list(excluded.items()),
        "proofs": _against_proofs(found),
    }


def _against_proofs(found: list[Summary]) -> list[dict[str, Any]]:
    """Cells of the exact method, where a minimal prediction is no test: the rank is the proof as well."""
    groups: dict[str, list[Summary]] = {}
    for summary in found:
        if summary.cell.method == EXACT and summary.compared.trials():
            groups.setdefault(summary.cell.network_label, []).append(summary)
    proofs = []
    for label, own in groups.items():
        counts = sum((summary.compared for summary in own), Comparison())
        pairs = {kind: (counts.matched(kind), counts.trials(kind)) for kind in ("maximal", "intermediate")}
        totals = {name: sum(getattr(summary, name) for summary in own) for name in ("undecided", "by_theorem")}
        proofs.append({"network": label, "minimal": counts.trials("minimal"), **pairs, **totals})
    return proofs
