"""The pages of a report: templates filled in. What they say is in templates/, what they say it of in setting.py and findings.py."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

from ...compare import Comparison
from ...match.methods import EXACT
from ...match.probability import EXISTENCE
from ..plot.choice import PROBABILITIES
from ..summary import Summary

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["first_up", "render", "value"]


def render(template: str, **facts: Any) -> str:
    """A template with its facts. What comes from a study's file is escaped; a fact that a template lacks is an error."""
    return _environment().get_template(template).render(facts)


@functools.cache
def _environment() -> Environment:
    import jinja2

    def load(name: str) -> tuple[str, str, None]:
        file = resources.files(__package__).joinpath("templates", name)
        return file.read_text(encoding="utf-8"), str(file), None

    found = jinja2.Environment(
        loader=jinja2.FunctionLoader(load),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.globals |= {"EXISTENCE": EXISTENCE, "infinity": math.inf}
    found.filters |= {
        "accuracy": accuracy,
        "axis": lambda number: f"{number:.4g}",
        "first_low": lambda text: text[:1].lower() + text[1:],
        "first_up": first_up,
        "list_of": list_of,
        "share": share,
        "of": lambda pair: f"{thousands(pair[0])} of {thousands(pair[1])}",
        "percent": percent,
        "thousands": thousands,
        "value": value,
        "where": where,
    }
    return found


def value(summary: Summary) -> str:
    if not summary.trials:
        return "–"
    low, high = summary.interval
    proven = summary.quantity == "existence" or summary.cell.method == EXACT
    open_ = f", {thousands(summary.undecided)} undecided" if summary.undecided and proven else ""
    if summary.quantity not in PROBABILITIES:
        return f"{summary.estimate:.4g} [{low:.4g}, {high:.4g}]"
    return f"{summary.estimate:.4f} [{low:.4f}, {high:.4f}]{open_}"


def share(summary: Summary) -> str:
    """A probability in percent with its interval, rounded outwards so far that 0 and 100 are said only of what is exactly that."""
    low, high = summary.interval
    if summary.quantity not in PROBABILITIES:
        return value(summary)
    ends = f"{math.floor(1000 * low) / 10:.4g}, {math.ceil(1000 * high) / 10:.4g}"
    text = f"{100 * summary.estimate:.1f}"
    text = "> 99.9" if text == "100.0" and summary.estimate < 1 else "< 0.1" if text == "0.0" and summary.estimate > 0 else text
    return f"{text.removesuffix('.0')}\u00a0% [{ends}]"


def list_of(values: Sequence[Any]) -> str:
    """Numbers as a list or a range."""
    texts = list(map(str, values))
    return ", ".join(texts) if len(texts) <= 3 else f"{texts[0]} to {texts[-1]}"


def where(summary: Summary) -> str:
    """A strategy and its size."""
    cell = summary.cell
    return cell.strategy_label if cell.arguments == str(cell.budget) else f"{cell.strategy_label}, {cell.arguments}"


def accuracy(counts: Comparison, kind: str | None = None) -> str:
    if math.isnan(counts.accuracy(kind)):
        return "–"
    low, high = map(percent, counts.accuracy_interval(kind))
    return f"{percent(counts.accuracy(kind))} [{low}, {high}]"


def percent(share: float) -> str:
    if math.isnan(share):
        return "–"
    text = f"{100 * share:.2f}".rstrip("0").rstrip(".")
    if text == "100" and share < 1:
        text = "> 99.99"
    return f"{text}\u00a0%"


def thousands(count: int) -> str:
    return f"{count:,}".replace(",", "\u202f")


def first_up(text: str) -> str:
    return text[:1].upper() + text[1:]
