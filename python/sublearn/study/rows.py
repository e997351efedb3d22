"""What a line of results may hold: additive counts or sums of one item, what its cell is, or why an item failed.

In format 2 a file begins with {"format": 2}; {"cell", "content", "labels"} describes a cell before its first row, and rows name it by id.
In format 1 every row has all of it.

Every field that a reader uses is checked; fields that nobody reads ("threads" and what other versions may add) are not. What the counts
mean for theory is in compare.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from ..compare import Comparison
from ..data.pictures import VARIANTS
from ..data.real_data import DIGITS
from ..data.systems import NAMES
from ..match.methods import RULES
from ..model.teacher_student import TARGETS
from .cells import CONTENT, LATER_CONTENT, content_id
from .files import StoreError
from .moments import UNIT, Moments

FORMAT = 2
NEWER = "; read it with the version of sublearn that wrote it"
LONGEST_LINE = 1 << 24
MOST_TRIALS = 1 << 32  # trials are numbered in 32 bits
COUNTS = ("count", "matched", "unmatched", "undecided", "screened", "solved_affine")
LATER_COUNTS = ("certified", "by_theorem")  # absent in the rows of earlier versions, which counted no such trials
MATCHES = ("found", "existence")  # quantities of rows that count verdicts
MEANS = ("loss", "accuracy", "rmse", "valid_time")  # of rows that hold the sum and the sum of squares of a number per trial (moments.py)
QUANTITIES = (*MATCHES, *MEANS)
LABELS = ("network", "strategy", "size")
# what two rows of the same trials may differ in
OF_THE_RUN = ("format", "seconds", "seconds_theory", "threads", "isa", "backend", "version", "host", "date", "labels")


@dataclass
class Known:
    """What the lines before said of cells: by id their content and their labels (network, strategy, size), as one object for all rows."""

    contents: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    labels: dict[str, Mapping[str, str]] = field(default_factory=dict)


def read_line(line: bytes, place: str, known: Known) -> dict[str, Any] | None:
    """The row in a line, every field that a reader uses checked, its cell's content and labels put in; an item that failed has "error".

    None for a line that says something of a cell, which goes into `known`, or of the file. Errors: StoreError that names the place and
    what is wrong.
    """
    refuse = _Refusal(place)
    if len(line) > LONGEST_LINE:
        refuse(f"at most {LONGEST_LINE} bytes", str(len(line)))
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        refuse("a JSON object", repr(line[:60]))
    form = row.get("format", FORMAT)
    if type(form) is not int or form not in (1, FORMAT):
        refuse(f"format 1 or {FORMAT}", f"{row.get('format')!r:.60}", NEWER)
    if set(row) == {"format"}:
        return None
    if form == 1:
        return _checked_row(row, refuse, known)
    if "content" in row:
        wrong = [key for key in ("cell", "content", "labels") if not OF_ANY[key](row.get(key))]
        if wrong:
            refuse("a cell", f"one with a wrong or missing {', '.join(wrong)}")
        _learn(row, refuse, known)
        return None
    if type(row.get("cell")) is not str or row["cell"] not in known.contents:
        refuse("a row of a cell that a line before describes", f"{row.get('cell')!r:.60}")
    row["content"], row["labels"] = known.contents[row["cell"]], known.labels[row["cell"]]
    return _checked_failure(row, refuse) if "error" in row else _checked_row(row, refuse, known)


class _Refusal:
    """Raises the StoreError of a line."""

    def __init__(self, place: str):
        self.place = place

    def __call__(self, expected: str, got: str, then: str = "; remove the line to have its trials run again") -> NoReturn:
        raise StoreError(f"{self.place}: expected {expected}, got {got}{then}")


def _checked_failure(row: dict[str, Any], refuse: _Refusal) -> dict[str, Any]:
    wrong = [key for key in ("first", "count") if not _is_count(row.get(key))] + ["error"] * (type(row["error"]) is not str)
    if wrong:
        refuse("an item that failed", f"one with a wrong or missing {', '.join(wrong)}")
    return row


def _checked_row(row: dict[str, Any], refuse: _Refusal, known: Known) -> dict[str, Any]:
    row.setdefault("rules", 1)
    if type(row.get("quantity")) is str and row["quantity"] not in QUANTITIES:
        refuse(f"a quantity out of {', '.join(QUANTITIES)}", f"{row['quantity']!r:.60}", NEWER)
    mean = row.get("quantity") in MEANS
    if not mean:
        for key in LATER_COUNTS:
            row.setdefault(key, 0)
    wrong = [key for key, good in (OF_A_MEAN if mean else OF_MATCHES).items() if not good(row.get(key))]
    if wrong:
        refuse("a row", f"one with a wrong or missing {', '.join(wrong)}")
    if row["first"] + row["count"] > MOST_TRIALS:
        refuse(f"first + count <= {MOST_TRIALS}", f"{row['first']} + {row['count']}")
    (_check_mean if mean else _check_matches)(row, refuse)
    if row["content"] is not known.contents.get(row["cell"]):
        _learn(row, refuse, known)
        row["content"] = known.contents[row["cell"]]
    content = row["content"]
    method = content["method"]
    if not 1 <= row["rules"] <= RULES[method]:
        refuse(f"rules 1 to {RULES[method]} of method {method}", str(row["rules"]), NEWER)
    if (content.get("quantity"), mean) not in ((None, False), (row["quantity"], True)):
        refuse(f"the quantity of its cell, {content.get('quantity', MATCHES[0])}", row["quantity"])
    if not mean and len(row["found_after"]) > content["options"].get("starts", 1):
        refuse(f"found_after of at most {content['options'].get('starts', 1)} starts", f"{len(row['found_after'])} numbers")
    return row


def _check_mean(row: Mapping[str, Any], refuse: _Refusal) -> None:
    if row["count"] == 0:
        refuse("count > 0", "0")
    if row["unit"] != UNIT:
        refuse(f"unit {UNIT}", repr(row["unit"]), NEWER)
    if not Moments.of_row(row).possible:
        refuse("sums that values can have, |sum| <= squares and sum^2 <= count * squares", f"{row['sum']} and {row['squares']}")


def _check_matches(row: Mapping[str, Any], refuse: _Refusal) -> None:
    count, matched = row["count"], row["matched"]
    if matched + row["unmatched"] + row["undecided"] != count or count == 0:
        refuse(
            "matched + unmatched + undecided = count > 0",
            f"{matched} + {row['unmatched']} + {row['undecided']} and {count}",
        )
    for one, two, most in (("certified", "by_theorem", "matched"), ("screened", "solved_affine", "count")):
        if row[one] + row[two] > row[most]:
            refuse(f"{one} + {two} <= {most}", f"{row[one]} + {row[two]} and {row[most]}")
    found_after = row["found_after"]
    if not all(type(value) is int for value in found_after) or any(
        two < one for one, two in zip([0, *found_after], [*found_after, matched])
    ):
        refuse(f"found_after that rises from 0 or more to matched = {matched} or less", f"{found_after!r:.60}")
    try:
        compared = Comparison.from_dict(row["compared"])
    except ValueError as error:
        raise StoreError(f"{refuse.place}: {error}; remove the line to have its trials run again") from None
    judged, right = compared.trials(), sum(compared.matched(kind) for kind in compared.counts)
    if judged > count or right > matched:
        refuse(
            f"compared with at most {count} trials, {matched} of them matched",
            f"{judged} and {right}",
        )


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MOST_TRIALS


def _is_time(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < 1e12  # s; neither NaN nor infinite


def _is_name(value: Any) -> bool:
    return type(value) is str and value.isascii() and value.isprintable()  # the report shows it


def _is(kind: type) -> Callable[[Any], bool]:
    return lambda value: type(value) is kind


def _is_content(value: Any) -> bool:
    return (
        type(value) is dict
        and set(CONTENT) <= set(value) <= {*CONTENT, *LATER_CONTENT}
        and value.get("quantity") in (None, *MEANS)
        and _is_data(value.get("data"))
        and value.get("targets", TARGETS[0]) in TARGETS
    )


def _is_data(value: Any) -> bool:
    if value is None:
        return True
    return (
        type(value) is dict
        and value.get("source") in (DIGITS, *NAMES)
        and set(value) <= {"source", "dt", "driven", "variant"}
        and _is_rate(value.get("dt"))
        and type(value.get("driven", True)) is bool
        and value.get("variant", VARIANTS[0]) in VARIANTS
    )


def _is_rate(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and 0 < value < 1e12)


OF_ANY: dict[str, Callable[[Any], bool]] = {  # fields of a row, beside its format; what is not here nobody reads
    "rules": _is(int),
    "cell": _is(str),
    **dict.fromkeys(("first", "count", "required_rank"), _is_count),
    "quantity": lambda value: value in QUANTITIES,
    "labels": lambda value: type(value) is dict and set(value) == set(LABELS) and all(type(text) is str for text in value.values()),
    "content": _is_content,
    "seconds": _is_time,
    "isa": _is_name,
    "version": _is_name,
    "host": lambda value: value is None or _is_name(value),  # absent in the rows of earlier versions, as is the date
    "date": lambda value: value is None or _is_name(value),
}
OF_MATCHES = OF_ANY | {
    **dict.fromkeys((*COUNTS, *LATER_COUNTS), _is_count),
    "found_after": _is(list),
    "compared": _is(dict),
    "seconds_theory": _is_time,
}
OF_A_MEAN = OF_ANY | {"sum": _is(int), "squares": _is(int), "unit": _is(float)}


def _learn(row: Mapping[str, Any], refuse: _Refusal, known: Known) -> None:
    """Keep what a line says of its cell; a content that is known already is not hashed again."""
    cell, content = row["cell"], row["content"]
    if known.contents.get(cell) == content:
        return
    try:
        true = content_id(content)
    except (ValueError, RecursionError):  # numbers that are not finite
        true = "one that has no id"
    if true != cell:
        refuse(f"cell to be the id of its content, {true}", f"{cell:.60}")
    method, options = content["method"], content["options"]
    if method not in tuple(RULES) or type(options) is not dict or not _is_count(options.get("starts", 1)):
        refuse(f"content of a method out of {', '.join(RULES)} with its options", f"{method!r:.60}, {options!r:.60}")
    known.contents[cell], known.labels[cell] = content, row["labels"]


def same_counts(one: Mapping[str, Any], two: Mapping[str, Any]) -> bool:
    """Do two rows of the same trials say the same, but for the run that they come from?"""
    return all(one.get(key) == two.get(key) for key in {*one, *two}.difference(OF_THE_RUN))
