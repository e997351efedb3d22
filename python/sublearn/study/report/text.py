"""The short table of a study's results for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from ..plot.choice import PROBABILITIES
from ..store import TABLE
from ..summary import Summary


def summary_table(found: Sequence[Summary], most: int = 60) -> str:
    """A text table for the terminal, one line per cell; beyond `most` it says how many are left out."""
    measured = "probability" if all(summary.quantity in (*PROBABILITIES, "") for summary in found) else "estimate"
    head = ("network", "strategy", "size", "r", "trials", measured, "95 % interval", "quantity")
    lines = [head]
    for summary in found[:most]:
        cell = summary.cell
        low, high = summary.interval if summary.trials else (0.0, 1.0)
        form = ".4f" if summary.quantity in PROBABILITIES else ".4g"
        value = f"{summary.estimate:{form}}" if summary.trials else "-"
        interval = f"{low:{form}} {high:{form}}" if summary.trials else "-"
        size = "" if cell.arguments == str(cell.budget) else cell.arguments
        lines.append(
            (
                _in_a_line(cell.network_label),
                _in_a_line(cell.name),
                size,
                str(cell.budget),
                str(summary.trials),
                value,
                interval,
                summary.quantity_text,
            )
        )
    widths = [max(len(line[k]) for line in lines) for k in range(len(head))]
    text = "\n".join("  ".join(part.ljust(width) for part, width in zip(line, widths, strict=True)).rstrip() for line in lines)
    return text + (f"\n... {len(found) - most} more cells in {TABLE}" if len(found) > most else "")


def _in_a_line(label: str, most: int = 40) -> str:
    """A label without its line breaks, the end of a long one cut off."""
    label = " ".join(label.split())
    return label if len(label) <= most else label[: most - 2] + " …"
