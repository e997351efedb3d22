"""One [[strategy]] of a study's file: its kind, the groups it may use, its budgets in the form of its kind, and its reference values."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

from ..model.strategies import STRATEGIES
from .budgets import budgets_in
from .spec import METHODS, NetworkSpec, Reference, StrategySpec
from .toml_table import MOST_CELLS, Table, is_count, names, number, whole_numbers

FILE_KINDS = {name: kind for name, kind in STRATEGIES.items() if name != "given"}  # positions in a flat vector are no words for a file
STRATEGY_KEYS = ("label", "kind", "within", "budgets", "totals", "edges", "networks", "trials", "stop", "starts", "method", "reference")
REFERENCE_KEYS = ("budget", "value", "trials", "starts", "network", "method", "note")


def strategy_spec(table: Table, networks: tuple[NetworkSpec, ...]) -> StrategySpec:
    kind = table.one_of("kind", FILE_KINDS)
    about = FILE_KINDS[kind]
    grouped = about.within is not None or about.by_group
    chosen = _networks(table, networks)
    if not chosen:
        table.fail("networks", "at least one network label", [])
    within = table.take("within", names, 'a group such as "W" or a list of groups', None)
    if not grouped:
        table.refuse("within", kind)
    elif within is None and about.within in about.optional:
        pass  # all groups that are not shared
    elif not within:
        table.fail("within", f'a group such as "W" or a list of groups ({kind} needs it)', "nothing")
    elif len(set(within)) != len(within):
        table.fail("within", "each group once", list(within))
    for entry in chosen:
        for group in within or ():
            hint = "; restrict the strategy with networks = [...]" if len(networks) > 1 and "networks" not in table.values else ""
            if group not in entry.net.groups:
                known = ", ".join(entry.net.groups)
                table.fail("within", f"groups of network {entry.label!r} ({known}){hint}", group)
            if group in entry.shared:
                table.fail("within", f"groups that network {entry.label!r} does not share with its teacher{hint}", group)
    arguments, totals = _arguments(table, kind, tuple(within or ()), chosen)
    fallback = " + ".join(within) if within else ""
    return StrategySpec(
        label=table.text("label", f"{kind} in {fallback}" if fallback else kind),
        kind=kind,
        within=tuple(within or ()),
        arguments=tuple(arguments),
        networks=tuple(entry.label for entry in chosen),
        trials=table.trials(),
        starts=table.starts(),
        methods=table.methods(),
        stop=table.stop(),
        where=table.where,
        split_totals=totals,
        reference=tuple(
            _reference(entry, kind, tuple(within or ()), arguments, chosen)
            for entry in table.tables("reference", REFERENCE_KEYS, "note", needed=False)
        ),
    )


def _networks(table: Table, networks: tuple[NetworkSpec, ...]) -> list[NetworkSpec]:
    """The networks that a strategy names by their labels, or by the label of a table that sweeps several; all of them by default."""
    families = list(dict.fromkeys(entry.family or entry.label for entry in networks))
    known = dict.fromkeys((*families, *(entry.label for entry in networks)))
    asked = table.some_of("networks", known, f"a list of network labels out of {', '.join(map(repr, families))}", None)
    return [entry for entry in networks if asked is None or entry.label in asked or entry.family in asked]


def _arguments(
    table: Table, kind: str, within: tuple[str, ...], networks: list[NetworkSpec]
) -> tuple[list[dict[str, Any]], tuple[int, ...]]:
    """One dict of arguments per budget of the strategy, and the totals of a split given by `totals`."""
    about = FILE_KINDS[kind]
    if not about.by_group:
        table.refuse("totals", kind)
    if "edges" not in about.needed:
        table.refuse("edges", kind)
    if not about.size:
        table.refuse("budgets", kind)
        if "edges" in about.needed:
            return [{"edges": table.take("edges", _edges, 'a list such as [["W", 0, 1], ["b", 2]]')}], ()
        return [{}], ()
    if about.by_group and "totals" in table.values:
        table.refuse("budgets", f"{kind} with totals")
        totals = table.take("totals", whole_numbers, 'a list of totals such as [5, 6] or "5..7"')
        ways = 1
        for group in within:
            ways *= 1 + min(max(totals), max(prod(entry.net.groups[group]) for entry in networks))
        if ways > MOST_CELLS:
            table.fail("totals", f"at most {MOST_CELLS} ways to split (list them in budgets)", ways)
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
    form = _entry_form(kind, within)
    if "budgets" not in table.values:
        table.fail("budgets", f"{form} ({kind} needs it)", "nothing")
    value = table.values["budgets"]
    if about.size == ("budget",):
        numbers = table.take("budgets", budgets_in, form)
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


def _entry_form(kind: str, within: tuple[str, ...]) -> str:
    about = FILE_KINDS[kind]
    if about.by_group:
        groups = ", ".join(f"{group} = 3" for group in within)
        return f"a list such as [{{ {groups} }}] or [{[3] * len(within)}]"
    if about.size == ("budget",):
        return 'whole numbers such as 10, [8, 9, 10], "8..14" or "8..20 step 4", or "kappa", "kappa - 2 .. kappa + 4", "50%"'
    shown = ", ".join(f"{key} = [2, 5]" if key == "shape" else f"{key} = 2" for key in about.size)
    return f"a list such as [{{ {shown} }}]"


def _entry(value: Any, kind: str, within: tuple[str, ...]) -> dict[str, Any] | None:
    """One entry of `budgets` in its canonical form; None if it has another form."""
    keys = FILE_KINDS[kind].size
    if keys == ("budgets",):
        if isinstance(value, list) and len(value) == len(within) and all(map(is_count, value)):
            return dict(zip(within, value, strict=True))
        if isinstance(value, dict) and value and set(value) <= set(within) and all(map(is_count, value.values())):
            return {group: value.get(group, 0) for group in within}
        return None
    if keys == ("budget",):
        numbers = budgets_in(value)
        return {"budget": numbers[0]} if numbers and len(numbers) == 1 and not isinstance(value, list) else None
    if keys == ("shape",) and isinstance(value, list):
        value = {"shape": value}
    if not isinstance(value, dict) or set(value) != set(keys):
        return None
    if "shape" in value:
        shape = value["shape"]
        good = isinstance(shape, list) and len(shape) == 2 and all(map(is_count, shape))
        return {"shape": list(shape)} if good else None
    return {key: value[key] for key in keys} if all(map(is_count, value.values())) else None


def _reference(
    table: Table,
    kind: str,
    within: tuple[str, ...],
    arguments: list[dict[str, Any]],
    networks: list[NetworkSpec],
) -> Reference:
    form = _entry_form(kind, within)
    if not FILE_KINDS[kind].size:
        table.refuse("budget", kind)
        chosen = arguments[0]
    else:
        if "budget" not in table.values:
            table.fail("budget", f"one of the strategy's budgets, {form}", "nothing")
        entry = _entry(table.values["budget"], kind, within)
        relative = any(isinstance(other.get("budget"), str) for other in arguments)  # these may have any number
        if entry is None or (entry not in arguments and not (relative and is_count(entry["budget"]))):
            table.fail("budget", "one of the strategy's budgets, written as there", table.values["budget"])
        chosen = entry
    network = table.text("network", None, "a network label")
    if network is not None and not any(network in (entry.label, entry.family) for entry in networks):
        known = dict.fromkeys(entry.family or entry.label for entry in networks)
        table.fail("network", f"one of the strategy's networks {', '.join(map(repr, known))}", network)
    method = table.one_of("method", METHODS, None)
    value = table.take("value", number, "a probability from 0 to 1")
    if not 0 <= value <= 1:
        table.fail("value", "a probability from 0 to 1", value)
    return Reference(
        arguments=chosen,
        value=float(value),
        network=network,
        method=method,
        trials=table.trials(),
        starts=table.starts(),
        note=table.text("note", ""),
    )


def _edges(value: Any) -> list[list[Any]] | None:
    if not isinstance(value, list) or not value:
        return None
    for edge in value:
        if not (isinstance(edge, list) and len(edge) in (2, 3) and isinstance(edge[0], str) and all(map(is_count, edge[1:]))):
            return None
    return [list(edge) for edge in value]
