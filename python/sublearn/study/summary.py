"""All rows of a cell added up: counts, probabilities, intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..compare import Comparison
from ..match.methods import EXACT
from ..model.layers import plain
from ..numerics.intervals import clopper_pearson
from .cells import Cell
from .enough import interval, prefix
from .moments import Moments
from .rows import COUNTS, LATER_COUNTS


@dataclass
class Summary:
    """All rows of one cell added up: counts of verdicts, or of a cell that measures a mean its `moments` (then the counts are 0)."""

    cell: Cell
    trials: int = 0
    matched: int = 0
    unmatched: int = 0
    undecided: int = 0
    screened: int = 0
    solved_affine: int = 0
    certified: int = 0
    by_theorem: int = 0
    seconds: float = 0.0
    required_rank: int | None = None
    found_after: list[int] = field(default_factory=list)
    compared: Comparison = field(default_factory=Comparison)
    moments: Moments = field(default_factory=Moments)
    ranges: list[tuple[int, int]] = field(default_factory=list)
    versions: set[str] = field(default_factory=set)
    ended_by: str = ""  # the rule that ended the cell before all its trials were done: "width", "matches", "seconds"
    origins: dict[str, set[str]] = field(default_factory=dict)  # host, date, isa, version: those of the rows

    def add(self, row: Mapping[str, Any]) -> None:
        self.trials += row["count"]
        self.seconds += float(row.get("seconds") or 0)
        if isinstance(row.get("required_rank"), int) and self.cell.data is None:
            self.required_rank = row["required_rank"]
        self.ranges.append((row["first"], row["count"]))
        self.versions.add(str(row.get("version", "?")))
        for key in ("host", "date", "isa", "version"):
            self.origins.setdefault(key, set()).update([str(row[key])] if row.get(key) else [])
        if self.cell.quantity is not None:
            self.moments = self.moments + Moments.of_row(row)
            return
        for name in (*COUNTS[1:], *LATER_COUNTS):
            setattr(self, name, getattr(self, name) + row.get(name, 0))
        length = max(len(self.found_after), len(row["found_after"]))
        self.found_after = [sum(pair) for pair in zip(_longer(self.found_after, length), _longer(row["found_after"], length), strict=True)]
        self.compared = self.compared + Comparison.from_dict(row["compared"])

    @property
    def quantity(self) -> str:
        """What the sum is of, "existence" or "found": by the rule of `MatchResult.quantity`, of the sum; or what the mean is of."""
        if not self.trials:
            return ""
        if self.cell.quantity is not None:
            return self.cell.quantity
        if self.cell.method == EXACT:
            settled = plain(self.cell.net).activation == "linear" or self.undecided <= 0.01 * self.trials
        else:
            settled = self.screened + self.solved_affine == self.trials
        return "existence" if settled else "found"

    @property
    def asked(self) -> int:
        """How many trials the cell needs: those of the study, or those that it has, where its rule ended it."""
        return self.trials if self.ended_by else self.cell.trials

    @property
    def probability(self) -> float:
        """The share of matched trials; NaN without trials, and where a mean is measured."""
        return self.matched / self.trials if self.trials and self.cell.quantity is None else float("nan")

    @property
    def estimate(self) -> float:
        """What the rows say of the quantity: the share of matched trials, or the mean."""
        return self.probability if self.cell.quantity is None else self.moments.mean

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the quantity measured: Clopper-Pearson; for a cell with a rule to stop one that holds whenever one stops
        (enough.py); of a mean Student's. Of existence it leaves undecided trials open: its lower end takes them all for no match, its
        upper end for matches."""
        if self.cell.quantity is not None:
            return self.moments.interval()
        if self.cell.stop is not None:
            return interval(self.cell, self.matched, self.undecided, self.trials)
        if self.quantity == "existence" or self.cell.method == EXACT:
            return (
                clopper_pearson(self.matched, self.trials)[0],
                clopper_pearson(self.matched + self.undecided, self.trials)[1],
            )
        return clopper_pearson(self.matched, self.trials)

    @property
    def interval_kind(self) -> str:
        """ "Clopper-Pearson", "anytime" (holds whenever one stops) or "Student" (of a mean)."""
        if self.cell.quantity is not None:
            return "Student"
        return "Clopper-Pearson" if self.cell.stop is None else "anytime"

    @property
    def quantity_text(self) -> str:
        return self.cell.quantity_text(self.quantity or self.cell.quantity or "found")

    def after(self, starts: int) -> int:
        """Trials found within the first `starts` starts."""
        return self.found_after[min(starts, len(self.found_after)) - 1] if self.found_after else self.matched


def _longer(counts: list[int], length: int) -> list[int]:
    """Cumulative counts: after the last start nothing more is found."""
    return list(counts) + [counts[-1] if counts else 0] * (length - len(counts))


def summaries(cells: Iterable[Cell], rows: Iterable[Mapping[str, Any]]) -> list[Summary]:
    """One Summary per cell, in the order of the cells; rows of other cells are left out, as is, in a cell with a rule to stop, what lies
    beyond its end or a gap in its trials."""
    found = {cell.id: Summary(cell) for cell in cells}
    with_a_rule: dict[str, list[Mapping[str, Any]]] = {name: [] for name, summary in found.items() if summary.cell.stop is not None}
    for row in rows:
        if row["cell"] in with_a_rule:
            with_a_rule[row["cell"]].append(row)
        elif row["cell"] in found:
            found[row["cell"]].add(row)
    for name, own in with_a_rule.items():
        counted = prefix(found[name].cell, own)
        found[name].ended_by = counted.ended_by
        for row in counted.rows:
            found[name].add(row)
    return list(found.values())
