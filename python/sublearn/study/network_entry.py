"""One [[network]] of a study's file: its network, or all that it sweeps, one for each combination of the values of its keys."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from math import prod
from typing import Any

from ..data.pictures import VARIANTS
from ..data.real_data import DIGITS, RealData
from ..data.systems import NAMES
from ..model.network import Network, network_from_spec
from ..model.teacher_student import TARGETS
from .spec import NetworkSpec, SpecError
from .toml_table import MOST_CELLS, Table, names, number, whole_numbers

SHAPE_KEYS = ("kind", "inputs", "hidden", "outputs", "steps", "widths", "samples", "activation", "bias", "gain", "leak")  # of a network
NETWORK_KEYS = (
    "label",
    *SHAPE_KEYS,
    "data",
    "variant",
    "system",
    "dt",
    "driven",
    "targets",
    "shared",
    "gains",
    "trials",
    "stop",
    "starts",
    "method",
)
COUNTS = ("inputs", "hidden", "outputs", "steps", "samples")  # keys that are one whole number, or several


def network_specs(table: Table) -> list[NetworkSpec]:
    """The networks of one table: one, or the product of the values of the keys that have several, the last key's values changing first."""
    swept = _swept(table)
    if not swept:
        return [_network(table, {}, "")]
    ways = prod(map(len, swept.values()))
    if ways > MOST_CELLS:
        table.fail(next(iter(swept)), f"at most {MOST_CELLS} networks of one table", ways)
    family = table.text("label", None) or str(table.values.get("kind"))
    found = []
    for values in product(*swept.values()):
        parameters = dict(zip(swept, values, strict=True))
        text = parameters_text(parameters)
        whole = Table(_at(table.values, parameters, f"{family}, {text}"), table.source, f"{table.where} at {text}", table.keys)
        found.append(_network(whole, parameters, family))
    return found


def _at(values: Mapping[str, Any], parameters: Mapping[str, Any], label: str) -> dict[str, Any]:
    """The keys of a table at one combination of what it sweeps."""
    found = {**values, "label": label} | {key: value for key, value in parameters.items() if "." not in key}
    if nested := {key.partition(".")[2]: value for key, value in parameters.items() if "." in key}:
        found["gains"] = {**values["gains"], **nested}
    return found


def value_text(value: Any) -> str:
    """The value of a swept key in words: "8", "relu", "3-4-2"."""
    return "-".join(map(str, value)) if isinstance(value, tuple) else str(value)


def parameters_text(parameters: Mapping[str, Any]) -> str:
    """ "hidden 8, steps 6"."""
    return ", ".join(f"{key} {value_text(value)}" for key, value in parameters.items())


def _swept(table: Table) -> dict[str, list[Any]]:
    """The keys of a table that have several values, and these, each once, in order."""
    found: dict[str, list[Any]] = {}
    for key, value in table.values.items():
        if key in COUNTS and isinstance(value, (list, str)):
            found[key] = table.take(key, whole_numbers, 'a whole number, or several such as [4, 8], "4..8" or "4..16 step 4"')
        elif key == "activation" and isinstance(value, list):
            found[key] = list(dict.fromkeys(table.take(key, names, 'an activation, or several such as ["tanh", "relu"]')))
        elif key == "variant" and isinstance(value, list):
            found[key] = list(dict.fromkeys(table.take(key, names, 'a variant, or several such as ["plain", "turned"]')))
        elif key == "gains" and isinstance(value, dict):
            for group, several in value.items():
                if isinstance(several, list):
                    found[f"gains.{group}"] = list(dict.fromkeys(_numbers(several) or table.fail(f"gains.{group}", "numbers", several)))
        elif key == "leak" and isinstance(value, list):
            found[key] = list(dict.fromkeys(table.take(key, _numbers, "a number, or several such as [0.1, 1.0]")))
        elif key == "widths" and isinstance(value, list) and value and all(isinstance(entry, list) for entry in value):
            table.take(key, _lists_of_counts, "widths such as [3, 4, 2], or several such as [[3, 4, 2], [3, 8, 2]]")
            found[key] = list(dict.fromkeys(map(tuple, value)))
        if key in found and not found[key]:
            table.fail(key, "at least one value", value)
    return found


def _numbers(value: list[Any]) -> list[float] | None:
    return [float(one) for one in value] if all(number(one) is not None for one in value) else None


def _lists_of_counts(value: list[list[Any]]) -> list[list[Any]] | None:
    return value if all(type(width) is int for widths in value for width in widths) else None


def _network(table: Table, parameters: Mapping[str, Any], family: str) -> NetworkSpec:
    described = {key: table.values[key] for key in SHAPE_KEYS if key in table.values}
    try:
        net = network_from_spec(described)
    except (ValueError, TypeError) as error:
        raise SpecError(f"{table.source}: {table.where}: {error}") from None
    groups = tuple(net.groups)
    shared = table.some_of("shared", groups, f"a list of groups out of {', '.join(groups)}", ())
    if len(set(shared)) != len(shared):
        table.fail("shared", "each group once", list(shared))
    if len(shared) == len(groups):
        table.fail("shared", "at least one group that is not shared (else the student is the teacher)", list(shared))
    gains = table.take("gains", lambda value: value if isinstance(value, dict) else None, "a table such as { W = 1.5 }", {})
    drawn = [group for group in groups if group not in net.gain]
    real = "data" in table.values or "system" in table.values
    for group, gain in gains.items():
        if group not in drawn:
            table.fail(f"gains.{group}", f"one of the groups {', '.join(drawn)}", group)
        if number(gain) is None or gain < 0 or (gain == 0 and not (real and group in net.bias)):
            table.fail(f"gains.{group}", "a positive number, or 0 for biases beside real data", gain)
    label = table.text("label", net.describe())
    return NetworkSpec(
        label=label,
        net=net,
        shared=tuple(name for name in groups if name in shared),
        gains={group: float(gain) for group, gain in gains.items() if gain != 1},
        trials=table.trials(),
        starts=table.starts(),
        methods=table.methods(),
        stop=table.stop(),
        parameters=parameters,
        family=family or label,
        data=_real_data(table, net, gains) if real else None,
        targets=_targets(table, shared, real),
    )


def _targets(table: Table, shared: tuple[str, ...], real: bool) -> Any:
    targets = table.one_of("targets", TARGETS, TARGETS[0])
    if "targets" in table.values and real:
        table.fail("targets", "no targets beside data or a system", targets)
    if targets != TARGETS[0] and shared:
        table.fail("shared", f"nothing shared with targets = {targets!r}, where there is no teacher", list(shared))
    for key in ("variant", "dt", "driven"):
        if key in table.values and not real:
            table.fail(key, "none without data or a system", table.values[key])
    return targets


def _real_data(table: Table, net: Network, gains: Mapping[str, float]) -> RealData:
    """The law of real data that a table names."""
    key = "data" if "data" in table.values else "system"
    if key == "data" and "system" in table.values:
        table.fail("system", "no system beside data", table.values["system"])
    if table.values.get("shared"):
        table.fail("shared", f"nothing shared with {key}, where there is no teacher", table.values["shared"])
    source = table.one_of("data", (DIGITS,)) if key == "data" else table.one_of("system", NAMES)
    try:
        options = {"dt": table.take("dt", number, "a positive number", None), "driven": table.flag("driven", True)}
        return RealData.checked(net, source, gains, **options, variant=table.one_of("variant", VARIANTS, VARIANTS[0]))
    except (ValueError, TypeError) as error:
        raise SpecError(f"{table.source}: {table.where}: {error}") from None
