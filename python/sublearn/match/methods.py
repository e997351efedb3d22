"""The methods of `decide` and `match_probability`: their options, tolerances and the version of their rules."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from .._checks import LARGEST_INT, LARGEST_LONG, positive, whole_number
from ..model.layers import plain
from ..model.network import Network
from ..ops.fit import OPTIMIZERS

Method = Literal["newton", "descent", "exact"]

METHODS = ("newton", "descent")

EXACT = "exact"  # what can be solved or enumerated, then (linear) complex solutions followed to the trial, see existence/by_paths.py

TOLERANCE = {"newton": 1e-20, "descent": 1e-6, EXACT: 1e-20}  # of ||y - y*||^2 / ||y*||^2

OPTIONS = {
    "newton": {"starts": 30, "iterations": 200},
    EXACT: {"starts": 30, "iterations": 200},
    "descent": {"starts": 1, "steps": 10_000, "optimizer": "adam", "lr": 1e-2},
}  # what each method takes, with its defaults

MOST_STARTS = 2**24  # counts of matches are kept for each

# Version of the rules by which a method gives verdicts. Raise a method's number with every change that can give any trial another verdict:
# rows of a study by older rules are then set aside and computed anew, never added to newer ones (study/store.py).
RULES = {"newton": 2, "descent": 2, EXACT: 5}


class Settings(NamedTuple):
    """How a question is answered: a method, all its options, its tolerance, and whether ranks are looked at first (T1)."""

    method: str
    options: dict[str, Any]
    tol: float
    screen: bool


def check_settings(method: str, tol: float | None = None, screen: bool | None = None, **options: Any) -> Settings:
    """For trials drawn from their law. screen: None is True, unless tol is above the method's own: a rank says nothing of matches up to a
    tolerance. Errors: TypeError and ValueError that name the argument."""
    options = check_options(method, **options)
    tol = check_tolerance(tol, method)
    if screen and tol > TOLERANCE[method]:
        raise ValueError(
            f"screen: expected False with tol = {tol:g}: the rank screen answers for exact matches, the tolerance of method "
            f"{method!r} is {TOLERANCE[method]:g}"
        )
    return Settings(method, options, tol, tol <= TOLERANCE[method] if screen is None else bool(screen))


def check_method(method: str) -> None:
    if method not in (*METHODS, EXACT):
        raise ValueError(f"method: expected one of {', '.join(METHODS)}, {EXACT}, got {method!r}")


def check_options(method: str, **given) -> dict:
    """All options of a method, those not given (None) at their defaults. TypeError for one that the method does not take."""
    check_method(method)
    taken = OPTIONS[method]
    known = {name for options in OPTIONS.values() for name in options}
    for name, value in given.items():
        if name not in known:
            raise TypeError(f"options: expected names out of {', '.join(sorted(known))}, got {name!r}")
        if value is not None and name not in taken:
            raise TypeError(f"{name}: method {method!r} takes {', '.join(taken)}, not {name}; got {value!r}")
    options = {name: default if given.get(name) is None else given[name] for name, default in taken.items()}
    options["starts"] = whole_number("starts", options["starts"], 1, note="each start has a count of its own", most=MOST_STARTS)
    if method == "descent":
        if options["starts"] != 1:
            raise ValueError(f'starts: expected 1 with method "descent", which has one start, got {options["starts"]}')
        options["steps"] = whole_number("steps", options["steps"], 0, most=LARGEST_LONG)
        if options["optimizer"] not in OPTIMIZERS:
            raise ValueError(f"optimizer: expected one of {', '.join(OPTIMIZERS)}, got {options['optimizer']!r}")
        options["lr"] = positive("lr", options["lr"])
    else:
        options["iterations"] = whole_number("iterations", options["iterations"], 1, most=LARGEST_INT)
    return options


def searched_starts(net: Network, method: str, starts: int) -> int:
    """How many of `starts` a method uses: 1 for descent; at most 4 before the paths of a linear network are followed."""
    if method == EXACT and plain(net).activation == "linear":
        return min(starts, 4)
    return 1 if method == "descent" else starts


def check_tolerance(tol: float | None, method: str) -> float:
    if tol is None:
        return TOLERANCE[method]
    tol = positive("tol", tol, none=True)
    if method == EXACT and tol != TOLERANCE[EXACT]:
        raise ValueError(f'tol: expected None with method "exact", which asks for existence and has no tolerance, got {tol}')
    return tol
