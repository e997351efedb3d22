"""Study files: TOML in, a checked `Spec` out.

Here: every key a study may hold, its meaning, default and check. An error names the file, the key, what was
expected and what came (`SpecError`). Not here: the cells a study consists of (study/cells.py) and anything that
runs.
"""

from __future__ import annotations

import difflib
import re
import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from ..match.methods import EXACT, TOLERANCE
from ..match.methods import METHODS as SEARCHES
from ..model.network import Network, network_from_spec
from ..ops.fit import OPTIMIZERS

__all__ = [
    "NetworkSpec",
    "Reference",
    "Spec",
    "SpecError",
    "StrategySpec",
    "default_spec",
    "parse_spec",
    "read_spec",
]

METHODS = (*SEARCHES, EXACT)
KINDS = {  # kind of strategy -> the keys of one entry of `budgets`; () = one whole number; None = no budgets
    "scattered": (),
    "rows": (),
    "columns": (),
    "diagonal": (),
    "per_row": ("rows", "each"),
    "per_column": ("columns", "each"),
    "even_rows": ("each",),
    "block": ("shape",),
    "split": None,
    "only": None,
    "everything": None,
    "edges": None,
}
STUDY_KEYS = (
    "name",
    "title",
    "description",
    "seed",
    "trials",
    "method",
    "starts",
    "tol",
    "newton",
    "descent",
    "screen",
    "control",
    "compare",
    "chunk",
)
NETWORK_KEYS = (
    "label",
    "kind",
    "inputs",
    "hidden",
    "outputs",
    "steps",
    "widths",
    "samples",
    "activation",
    "bias",
    "shared",
    "gains",
    "trials",
    "starts",
    "method",
)
STRATEGY_KEYS = (
    "label",
    "kind",
    "within",
    "budgets",
    "totals",
    "edges",
    "networks",
    "trials",
    "starts",
    "method",
    "reference",
)
REFERENCE_KEYS = ("budget", "value", "trials", "starts", "network", "method", "note")
MAX_CELLS_PER_STRATEGY = 10_000


class SpecError(ValueError):
    """A study file that cannot be run; the text names the file, the key, what was expected and what came."""


@dataclass(frozen=True)
class NetworkSpec:
    """One [[network]]: the network, the groups copied from the teacher (D3), and overrides of [study]."""

    label: str
    net: Network
    shared: tuple[str, ...] = ()
    gains: Mapping[str, float] = field(default_factory=dict)
    trials: int | None = None
    starts: int | None = None
    methods: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Reference:
    """A value known from elsewhere for one budget; `trials` None means it is exact."""

    arguments: Mapping[str, Any]
    value: float
    trials: int | None = None
    starts: int | None = None
    network: str | None = None
    method: str | None = None
    note: str = ""


@dataclass(frozen=True)
class StrategySpec:
    """One [[strategy]]: its kind, the groups it may use, and one `arguments` dict per budget."""

    label: str
    kind: str
    within: tuple[str, ...]
    arguments: tuple[Mapping[str, Any], ...]
    networks: tuple[str, ...]
    trials: int | None = None
    starts: int | None = None
    methods: tuple[str, ...] | None = None
    reference: tuple[Reference, ...] = ()
    where: str = ""
    split_totals: tuple[int, ...] = ()


@dataclass(frozen=True)
class Spec:
    """A checked study. `text` is the file as it was read; `source` names it in messages."""

    name: str
    networks: tuple[NetworkSpec, ...]
    strategies: tuple[StrategySpec, ...]
    title: str = ""
    description: str = ""
    seed: int = 0
    trials: int = 1000
    starts: int = 30
    methods: tuple[str, ...] = ("newton",)
    tol: Mapping[str, float] = field(default_factory=lambda: dict(TOLERANCE))
    iterations: int = 200
    steps: int = 10_000
    optimizer: str = "adam"
    lr: float = 1e-2
    screen: bool = False
    control: bool = True
    compare: int = 1024
    chunk: int = 1024
    text: str = ""
    source: str = "<spec>"

    def network(self, label: str) -> NetworkSpec:
        return next(entry for entry in self.networks if entry.label == label)


def read_spec(path: str | Path) -> Spec:
    """The study in a TOML file. Errors: SpecError for anything wrong with it, a missing file included."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpecError(f"{path}: expected a study file, got no such file") from None
    except IsADirectoryError:
        raise SpecError(f"{path}: expected a study file, got a folder") from None
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: expected UTF-8 text, got byte {error.object[error.start]:#04x} at {error.start}") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        raise SpecError(f"{path}: expected a readable study file, got: {error}") from None
    return parse_spec(text, source=str(path))


def default_spec() -> Spec:
    """The built-in study that `sublearn run` runs when it is given no file."""
    text = resources.files(__package__).joinpath("default.toml").read_text(encoding="utf-8")
    return parse_spec(text, source="built-in study")


def parse_spec(text: str, source: str = "<spec>") -> Spec:
    """The study in a TOML text; `source` names it in error messages. A byte order mark, as some editors write, is left out."""
    text = text.removeprefix("\ufeff")
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, a number of thousands of digits, thousands of brackets
        raise SpecError(f"{source}: expected TOML, got: {error}") from None
    top = _Table(table, source, "", ("study", "network", "strategy"))
    study = top.table("study", STUDY_KEYS)
    name = study.take("name", _text, "a name")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        study.fail("name", "letters, digits, '.', '_' and '-' only, at most 64 (it names the folder)", name)
    newton = study.table("newton", ("iterations",), needed=False)
    descent = study.table("descent", ("steps", "optimizer", "lr"), needed=False)
    optimizer = descent.take("optimizer", _text, f"one of {', '.join(OPTIMIZERS)}", "adam")
    if optimizer not in OPTIMIZERS:
        descent.fail("optimizer", f"one of {', '.join(OPTIMIZERS)}", optimizer, _close(optimizer, OPTIMIZERS))
    lr = descent.take("lr", _number, "a positive number", 1e-2)
    if lr <= 0:
        descent.fail("lr", "a positive number", lr)
    networks = tuple(_network(entry) for entry in top.tables("network", NETWORK_KEYS, "label"))
    _distinct(top, "network", [(entry.label, ()) for entry in networks])
    strategies = tuple(_strategy(entry, networks) for entry in top.tables("strategy", STRATEGY_KEYS, "label"))
    _distinct(top, "strategy", [(entry.label, entry.networks) for entry in strategies])
    tol, screen = _tolerances(study), study.take("screen", _flag, "true or false", False)
    loose = [method for method in tol if screen and tol[method] > TOLERANCE[method]]
    if loose:
        study.fail("screen", f"false with tol.{loose[0]} = {tol[loose[0]]:g}: ranks answer for exact matches only", True)
    return Spec(
        name=name,
        networks=networks,
        strategies=strategies,
        title=study.take("title", _text, "text", ""),
        description=study.take("description", _text, "text", "").strip(),
        seed=study.take("seed", _between(0, 2**64 - 1), "a whole number from 0 to 2^64 - 1", 0),
        trials=study.trials() or 1000,
        starts=study.starts() or 30,
        methods=study.methods() or ("newton",),
        tol=tol,
        iterations=newton.take("iterations", _between(1, 10**6), "a whole number from 1 to 10^6", 200),
        steps=descent.take("steps", _between(1, 10**9), "a whole number from 1 to 10^9", 10_000),
        optimizer=optimizer,
        lr=float(lr),
        screen=screen,
        control=study.take("control", _flag, "true or false", True),
        compare=study.take("compare", _between(0, 10**9), "a whole number >= 0 (trials per cell)", 1024),
        chunk=study.take("chunk", _between(1, 2**20), "a whole number from 1 to 1048576 (trials per row)", 1024),
        text=text,
        source=source,
    )


# One [[network]], one [[strategy]]


def _network(table: _Table) -> NetworkSpec:
    described = {
        key: table.values[key]
        for key in ("kind", "inputs", "hidden", "outputs", "steps", "widths", "samples", "activation", "bias")
        if key in table.values
    }
    try:
        net = network_from_spec(described)
    except (ValueError, TypeError) as error:
        table.raise_from(error)
    groups = tuple(net.groups)
    shared = table.take("shared", _names, f"a list of groups out of {', '.join(groups)}", ())
    for name in shared:
        if name not in groups:
            table.fail("shared", f"groups out of {', '.join(groups)}", name)
    if len(set(shared)) != len(shared):
        table.fail("shared", "each group once", list(shared))
    if len(shared) == len(groups):
        table.fail("shared", "at least one group that is not shared (else the student is the teacher)", list(shared))
    gains = table.take("gains", _mapping, "a table such as { W = 1.5 }", {})
    for group, gain in gains.items():
        if group not in groups:
            table.fail(f"gains.{group}", f"one of the groups {', '.join(groups)}", group)
        if _number(gain) is None or gain <= 0:
            table.fail(f"gains.{group}", "a positive number", gain)
    return NetworkSpec(
        label=table.take("label", _text, "text", net.describe()),
        net=net,
        shared=tuple(name for name in groups if name in shared),
        gains={group: float(gain) for group, gain in gains.items() if gain != 1},
        trials=table.trials(),
        starts=table.starts(),
        methods=table.methods(),
    )


def _strategy(table: _Table, networks: tuple[NetworkSpec, ...]) -> StrategySpec:
    kind = table.take("kind", _text, f"one of {', '.join(KINDS)}")
    if kind not in KINDS:
        table.fail("kind", f"one of {', '.join(KINDS)}", kind, _close(kind, KINDS))
    labels = [entry.label for entry in networks]
    chosen = table.take("networks", _names, f"a list of network labels out of {', '.join(map(repr, labels))}", labels)
    for label in chosen:
        if label not in labels:
            table.fail("networks", f"labels out of {', '.join(map(repr, labels))}", label, _close(label, labels))
    if not chosen:
        table.fail("networks", "at least one network label", [])
    within = table.take("within", _names, 'a group such as "W" or a list of groups', None)
    if kind == "everything":
        table.refuse("within", kind)
    elif kind == "edges":
        table.refuse("within", kind)
    elif within is None and kind == "scattered":
        pass  # all groups that are not shared
    elif not within:
        table.fail("within", f'a group such as "W" or a list of groups ({kind} needs it)', "nothing")
    elif len(set(within)) != len(within):
        table.fail("within", "each group once", list(within))
    for label in chosen:
        entry = next(entry for entry in networks if entry.label == label)
        for group in within or ():
            hint = "; restrict the strategy with networks = [...]" if len(networks) > 1 and "networks" not in table.values else ""
            if group not in entry.net.groups:
                known = ", ".join(entry.net.groups)
                table.fail("within", f"groups of network {label!r} ({known}){hint}", group)
            if group in entry.shared:
                table.fail("within", f"groups that network {label!r} does not share with its teacher{hint}", group)
    arguments, totals = _arguments(table, kind, tuple(within or ()), [e for e in networks if e.label in chosen])
    fallback = " + ".join(within) if within else ""
    strategy = StrategySpec(
        label=table.take("label", _text, "text", f"{kind} in {fallback}" if fallback else kind),
        kind=kind,
        within=tuple(within or ()),
        arguments=tuple(arguments),
        networks=tuple(chosen),
        trials=table.trials(),
        starts=table.starts(),
        methods=table.methods(),
        where=table.where,
        split_totals=totals,
        reference=tuple(
            _reference(entry, kind, tuple(within or ()), arguments, chosen)
            for entry in table.tables("reference", REFERENCE_KEYS, "note", needed=False)
        ),
    )
    return strategy


def _arguments(
    table: _Table, kind: str, within: tuple[str, ...], networks: list[NetworkSpec]
) -> tuple[list[dict[str, Any]], tuple[int, ...]]:
    """One dict of arguments per budget of the strategy, and the totals of a split given by `totals`."""
    if kind != "split":
        table.refuse("totals", kind)
    if kind != "edges":
        table.refuse("edges", kind)
    if kind in ("only", "everything", "edges"):
        table.refuse("budgets", kind)
        if kind == "edges":
            return [{"edges": table.take("edges", _edges, 'a list such as [["W", 0, 1], ["b", 2]]')}], ()
        return [{}], ()
    if kind == "split" and "totals" in table.values:
        table.refuse("budgets", "split with totals")
        totals = table.take("totals", lambda value: _whole_numbers(value), 'a list of totals such as [5, 6] or "5..7"')
        ways = 1
        for group in within:
            ways *= 1 + min(max(totals), max(prod(entry.net.groups[group]) for entry in networks))
        if ways > MAX_CELLS_PER_STRATEGY:
            table.fail("totals", f"at most {MAX_CELLS_PER_STRATEGY} ways to split (list them in budgets)", ways)
        largest = [min(prod(entry.net.groups[group]) for entry in networks) for group in within]
        found = [
            dict(zip(within, parts, strict=True))
            for total in totals
            for parts in product(*(range(most + 1) for most in largest))
            if sum(parts) == total
        ]
        if not found:
            table.fail("totals", f"totals that fit into {', '.join(within)} (at most {sum(largest)})", totals)
        return found, tuple(totals)
    keys = KINDS[kind] or ()
    form = _entry_form(kind, keys, within)
    if "budgets" not in table.values:
        table.fail("budgets", f"{form} ({kind} needs it)", "nothing")
    value = table.values["budgets"]
    if not keys and kind != "split":
        numbers = table.take("budgets", _whole_numbers, form)
        return [{"budget": number} for number in numbers], ()
    if not isinstance(value, list) or not value:
        table.fail("budgets", form, value)
    found = []
    for entry in value:
        arguments = _entry(entry, kind, within)
        if arguments is None:
            table.fail("budgets", form, entry)
        found.append(arguments)
    return found, ()


def _entry_form(kind: str, keys: tuple[str, ...], within: tuple[str, ...]) -> str:
    if kind == "split":
        groups = ", ".join(f"{group} = 3" for group in within)
        return f"a list such as [{{ {groups} }}] or [{[3] * len(within)}]"
    if not keys:
        return 'whole numbers such as 10, [8, 9, 10], "8..14" or "8..20 step 4"'
    shown = ", ".join(f"{key} = [2, 5]" if key == "shape" else f"{key} = 2" for key in keys)
    return f"a list such as [{{ {shown} }}]"


def _entry(value: Any, kind: str, within: tuple[str, ...]) -> dict[str, Any] | None:
    """One entry of `budgets` in its canonical form; None if it has another form."""
    keys = KINDS[kind]
    if kind == "split":
        if isinstance(value, list) and len(value) == len(within) and all(map(_is_count, value)):
            return dict(zip(within, value, strict=True))
        if isinstance(value, dict) and value and set(value) <= set(within) and all(map(_is_count, value.values())):
            return {group: value.get(group, 0) for group in within}
        return None
    if keys == ():
        return {"budget": value} if _is_count(value) else None
    if keys == ("shape",) and isinstance(value, list):
        value = {"shape": value}
    if not isinstance(value, dict) or set(value) != set(keys or ()):
        return None
    if "shape" in value:
        shape = value["shape"]
        good = isinstance(shape, list) and len(shape) == 2 and all(map(_is_count, shape))
        return {"shape": list(shape)} if good else None
    return {key: value[key] for key in keys} if all(map(_is_count, value.values())) else None


def _reference(
    table: _Table,
    kind: str,
    within: tuple[str, ...],
    arguments: list[dict[str, Any]],
    networks: tuple[str, ...],
) -> Reference:
    form = _entry_form(kind, KINDS[kind] or (), within)
    if kind in ("only", "everything", "edges"):
        table.refuse("budget", kind)
        chosen = arguments[0]
    else:
        if "budget" not in table.values:
            table.fail("budget", f"one of the strategy's budgets, {form}", "nothing")
        chosen = _entry(table.values["budget"], kind, within)
        if chosen is None or chosen not in arguments:
            table.fail("budget", "one of the strategy's budgets, written as there", table.values["budget"])
    network = table.take("network", _text, "a network label", None)
    if network is not None and network not in networks:
        table.fail("network", f"one of the strategy's networks {', '.join(map(repr, networks))}", network)
    method = table.take("method", _text, f"one of {', '.join(METHODS)}", None)
    if method is not None and method not in METHODS:
        table.fail("method", f"one of {', '.join(METHODS)}", method)
    value = table.take("value", _number, "a probability from 0 to 1")
    if not 0 <= value <= 1:
        table.fail("value", "a probability from 0 to 1", value)
    return Reference(
        arguments=chosen,
        value=float(value),
        network=network,
        method=method,
        trials=table.trials(),
        starts=table.starts(),
        note=table.take("note", _text, "text", ""),
    )


def _tolerances(study: _Table) -> dict[str, float]:
    value = study.values.get("tol", {})
    if not isinstance(value, dict):
        value = dict.fromkeys(SEARCHES, value)
    for method, tol in value.items():
        if method not in SEARCHES:
            study.fail(f"tol.{method}", f"one of the methods {', '.join(SEARCHES)}", method)
        if _number(tol) is None or not 0 < tol < 1:
            study.fail("tol", "a relative loss between 0 and 1, or a table such as { newton = 1e-20 }", tol)
    return TOLERANCE | {method: float(tol) for method, tol in value.items()}


def _distinct(top: _Table, kind: str, labels: list[tuple[str, tuple[str, ...]]]) -> None:
    """Each network, and each strategy of one network, has a label of its own."""
    for number, (label, networks) in enumerate(labels):
        for first, (other, others) in enumerate(labels[:number]):
            if label == other and (kind == "network" or set(networks) & set(others)):
                raise SpecError(
                    f"{top.source}: {kind}[{number + 1}].label: expected a label of its own, "
                    f"got {label!r}, which {kind}[{first + 1}] has too"
                )


# Reading tables


class _Table:
    """A TOML table with its place in the file; every check that fails raises SpecError with that place."""

    def __init__(self, values: Mapping[str, Any], source: str, where: str, keys: tuple[str, ...]):
        self.values, self.source, self.where, self.keys = values, source, where, keys
        for key in values:
            if key not in keys:
                self.fail(key, f"one of the keys {', '.join(keys)}", key, _close(key, keys), got="unknown key")

    def fail(self, key: str, expected: str, value: Any, hint: str = "", got: str = "") -> None:
        place = f"{self.where}.{key}" if self.where else key
        try:
            shown = repr(value)
        except ValueError:  # a hexadecimal number of thousands of digits
            shown = "a number of thousands of digits"
        came = f"{got} {shown}" if got else value if value == "nothing" else shown
        raise SpecError(f"{self.source}: {place}: expected {expected}, got {came}{hint}")

    def raise_from(self, error: Exception) -> None:
        raise SpecError(f"{self.source}: {self.where}: {error}") from None

    def refuse(self, key: str, kind: str) -> None:
        if key in self.values:
            self.fail(key, f"no such key for {kind}", self.values[key])

    def take(self, key: str, check: Callable[[Any], Any], expected: str, default: Any = ...) -> Any:
        """values[key] after `check`, which returns None for what it does not take."""
        if key not in self.values:
            if default is ...:
                self.fail(key, expected, "nothing")
            return default
        value = check(self.values[key])
        if value is None:
            self.fail(key, expected, self.values[key])
        return value

    def table(self, key: str, keys: tuple[str, ...], needed: bool = True) -> _Table:
        place = f"{self.where}.{key}" if self.where else key
        value = self.values.get(key, "nothing" if needed else {})
        if not isinstance(value, dict):
            self.fail(key, f"a table [{place}]", value)
        return _Table(value, self.source, place, keys)

    def tables(self, key: str, keys: tuple[str, ...], label: str, needed: bool = True) -> list[_Table]:
        value = self.values.get(key, [])
        place = f"{self.where}.{key}" if self.where else key
        if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value) or (needed and not value):
            form = f"at least one table [[{key}]]" if not self.where else f"a list of tables such as [{{ {keys[0]} = ... }}]"
            self.fail(key, form, value or "nothing")
        found = []
        for number, entry in enumerate(value, 1):
            name = entry.get(label)
            shown = f" ({name!r})" if isinstance(name, str) and name else ""
            found.append(_Table(entry, self.source, f"{place}[{number}]{shown}", keys))
        return found

    def trials(self) -> int | None:
        return self.take("trials", _between(1, 2**32), "a whole number from 1 to 2^32", None)

    def starts(self) -> int | None:
        return self.take("starts", _between(1, 100_000), "a whole number from 1 to 100000", None)

    def methods(self) -> tuple[str, ...] | None:
        found = self.take("method", _names, f"one of {', '.join(METHODS)}, or a list of them", None)
        for method in found or ():
            if method not in METHODS:
                self.fail(
                    "method",
                    f"one of {', '.join(METHODS)}, or a list of them",
                    method,
                    _close(method, METHODS),
                )
        if found is not None and (not found or len(set(found)) != len(found)):
            self.fail("method", "each method once, at least one", list(found))
        return found


def _close(word: Any, known: Any) -> str:
    near = difflib.get_close_matches(str(word), list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _number(value: Any) -> float | None:
    """A number that is a finite float too."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    return value if good else None


def _mapping(value: Any) -> dict | None:
    return value if isinstance(value, dict) else None


def _between(low: int, high: int) -> Callable[[Any], int | None]:
    return lambda value: value if _is_count(value) and low <= value <= high else None


def _names(value: Any) -> tuple[str, ...] | None:
    if isinstance(value, str):
        return (value,)
    good = isinstance(value, (list, tuple)) and all(isinstance(entry, str) for entry in value)
    return tuple(value) if good else None


def _whole_numbers(value: Any) -> list[int] | None:
    """10, [8, 9], "8..14", "8..20 step 4", or a list of numbers and ranges; each number once, in order."""
    entries = value if isinstance(value, list) else [value]
    found: list[int] = []
    for entry in entries:
        if _is_count(entry):
            found.append(entry)
        elif isinstance(entry, str):
            match = re.fullmatch(r"\s*(\d{1,9})\s*\.\.\s*(\d{1,9})(?:\s+step\s+(\d{1,9}))?\s*", entry)
            if not match or int(match[3] or 1) == 0:
                return None
            numbers = range(int(match[1]), int(match[2]) + 1, int(match[3] or 1))
            if not 0 < len(numbers) <= MAX_CELLS_PER_STRATEGY:
                return None
            found.extend(numbers)
        else:
            return None
    found = list(dict.fromkeys(found))
    return found or None


def _edges(value: Any) -> list[list[Any]] | None:
    if not isinstance(value, list) or not value:
        return None
    for edge in value:
        if not (isinstance(edge, list) and len(edge) in (2, 3) and isinstance(edge[0], str) and all(map(_is_count, edge[1:]))):
            return None
    return [list(edge) for edge in value]
