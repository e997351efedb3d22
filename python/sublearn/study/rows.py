"""What a row of results may hold: additive counts of one task, and where they come from.

Every field that a reader uses is checked; fields that nobody reads ("threads" and what other versions may add) are not. What the counts
mean for theory is in compare.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from ..compare import Comparison
from ..match.methods import RULES
from .cells import CONTENT, content_id
from .files import StoreError

FORMAT = 1
LONGEST_LINE = 1 << 24
MOST_TRIALS = 1 << 32  # trials are numbered in 32 bits
COUNTS = ("count", "matched", "unmatched", "undecided", "screened", "solved_affine")
LATER_COUNTS = ("certified", "by_theorem")  # absent in the rows of earlier versions, which counted no such trials
QUANTITIES = ("found", "existence")
LABELS = ("network", "strategy", "size")
OF_THE_RUN = ("seconds", "seconds_theory", "threads", "isa", "version", "labels")  # what two rows of the same trials may differ in


def checked_row(line: bytes, place: str, contents: dict[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The row in a line, every field that a reader uses checked. `contents`: by cell id those already checked; a new one is added.

    Errors: StoreError that names the place and what is wrong.
    """
    cure = "; remove the line to have its trials run again"
    newer = "; read it with the version of sublearn that wrote it"

    def refuse(expected: str, got: str, then: str = cure) -> NoReturn:
        raise StoreError(f"{place}: expected {expected}, got {got}{then}")

    if len(line) > LONGEST_LINE:
        refuse(f"at most {LONGEST_LINE} bytes", str(len(line)))
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        refuse("a JSON object", repr(line[:60]))
    if type(row.get("format")) is not int or row["format"] != FORMAT:
        refuse(f"format {FORMAT}", f"{row.get('format')!r:.60}", newer)
    row.setdefault("rules", 1)
    for key in LATER_COUNTS:
        row.setdefault(key, 0)
    wrong = [key for key, good in FIELDS.items() if not good(row.get(key))]
    if wrong:
        refuse("a row", f"one with a wrong or missing {', '.join(wrong)}")
    count, matched = row["count"], row["matched"]
    if matched + row["unmatched"] + row["undecided"] != count or count == 0:
        refuse(
            "matched + unmatched + undecided = count > 0",
            f"{matched} + {row['unmatched']} + {row['undecided']} and {count}",
        )
    if row["first"] + count > MOST_TRIALS:
        refuse(f"first + count <= {MOST_TRIALS}", f"{row['first']} + {count}")
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
        raise StoreError(f"{place}: {error}{cure}") from None
    judged, right = compared.trials(), sum(compared.matched(kind) for kind in compared.counts)
    if judged > count or right > matched:
        refuse(
            f"compared with at most {count} trials, {matched} of them matched",
            f"{judged} and {right}",
        )
    known = contents.get(row["cell"])
    if known is not None and known == row["content"]:
        row["content"] = known  # one object for all rows of a cell
    else:
        _check_content(row["cell"], row["content"], refuse)
        contents[row["cell"]] = row["content"]
    method = row["content"]["method"]
    if not 1 <= row["rules"] <= RULES[method]:
        refuse(f"rules 1 to {RULES[method]} of method {method}", str(row["rules"]), newer)
    if len(found_after) > row["content"]["options"].get("starts", 1):
        refuse(f"found_after of at most {row['content']['options'].get('starts', 1)} starts", f"{len(found_after)} numbers")
    return row


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MOST_TRIALS


def _is_time(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < 1e12  # s; neither NaN nor infinite


def _is_name(value: Any) -> bool:
    return type(value) is str and value.isascii() and value.isprintable()  # the report shows it


def _is(kind: type) -> Callable[[Any], bool]:
    return lambda value: type(value) is kind


FIELDS: dict[str, Callable[[Any], bool]] = {  # of a row, beside its format; what is not here nobody reads
    "rules": _is(int),
    "cell": _is(str),
    **dict.fromkeys(("first", *COUNTS, *LATER_COUNTS, "required_rank"), _is_count),
    "quantity": lambda value: value in QUANTITIES,
    "found_after": _is(list),
    "compared": _is(dict),
    "labels": lambda value: type(value) is dict and set(value) == set(LABELS) and all(type(text) is str for text in value.values()),
    "content": lambda value: type(value) is dict and set(value) == set(CONTENT),
    "seconds": _is_time,
    "seconds_theory": _is_time,
    "isa": _is_name,
    "version": _is_name,
}


def _check_content(cell: str, content: Mapping[str, Any], refuse: Callable[..., NoReturn]) -> None:
    try:
        true = content_id(content)
    except (ValueError, RecursionError):  # numbers that are not finite
        true = "one that has no id"
    if true != cell:
        refuse(f"cell to be the id of its content, {true}", f"{cell:.60}")
    method, options = content["method"], content["options"]
    if method not in tuple(RULES) or type(options) is not dict or not _is_count(options.get("starts", 1)):
        refuse(f"content of a method out of {', '.join(RULES)} with its options", f"{method!r:.60}, {options!r:.60}")


def same_counts(one: Mapping[str, Any], two: Mapping[str, Any]) -> bool:
    """Do two rows of the same trials say the same, but for the run that they come from?"""
    return all(one.get(key) == two.get(key) for key in {*one, *two}.difference(OF_THE_RUN))
