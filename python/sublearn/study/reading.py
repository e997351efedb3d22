"""Reading a study's file: TOML in, a checked `Spec` out. Its [[network]] tables are read in network_entry.py, its
[[strategy]] tables in strategy_entry.py.

An error names the file, the key, what was expected and what came (`SpecError`).
"""

from __future__ import annotations

import re
import tomllib
from importlib import resources
from pathlib import Path
from typing import NoReturn

from ..match.methods import METHODS as SEARCHES
from ..match.methods import TOLERANCE
from ..ops.fit import LOSSES, OPTIMIZERS
from .network_entry import NETWORK_KEYS, network_specs
from .spec import MEASURES, NetworkSpec, Spec, SpecError, StrategySpec
from .strategy_entry import STRATEGY_KEYS, strategy_spec
from .toml_table import Table, number

STUDY_KEYS = (
    "name",
    "title",
    "description",
    "seed",
    "trials",
    "method",
    "measure",
    "stop",
    "starts",
    "tol",
    "newton",
    "descent",
    "screen",
    "control",
    "compare",
    "chunk",
)


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
    """The built-in study that `sublearn run` runs when it is given no file.

    >>> [network.label for network in study.default_spec().networks]
    ['recurrent', 'deep linear', 'shallow relu']
    """
    text = resources.files(__package__).joinpath("default.toml").read_text(encoding="utf-8")
    return parse_spec(text, source="built-in study")


def parse_spec(text: str, source: str = "<spec>") -> Spec:
    """The study in a TOML text; `source` names it in error messages. A byte order mark, as some editors write, is left out.

    Errors: SpecError as for `read_spec`.

    >>> spec = study.parse_spec('''
    ... study = {name = "last-layer", trials = 100}
    ... network = [{kind = "feedforward", widths = [3, 4, 2], samples = 3}]
    ... strategy = [{kind = "scattered", within = "W2", budgets = ["4..8"]}]
    ... ''')
    >>> spec.name, [cell.content["strategy"]["budget"] for cell in study.cells_of(spec)]
    ('last-layer', [4, 5, 6, 7, 8])
    """
    text = text.removeprefix("\ufeff")
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, a number of thousands of digits, thousands of brackets
        raise SpecError(f"{source}: expected TOML, got: {error}") from None
    top = Table(table, source, "", ("study", "network", "strategy"))
    study = top.table("study", STUDY_KEYS)
    name = study.text("name", expected="a name")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        study.fail("name", "letters, digits, '.', '_' and '-' only, at most 64 (it names the folder)", name)
    newton = study.table("newton", ("iterations",), needed=False)
    descent = study.table("descent", ("steps", "optimizer", "lr", "loss"), needed=False)
    lr = descent.take("lr", number, "a positive number", 1e-2)
    if lr <= 0:
        descent.fail("lr", "a positive number", lr)
    families = [network_specs(entry) for entry in top.tables("network", NETWORK_KEYS, "label")]
    _distinct_networks(top, families)
    networks = tuple(network for family in families for network in family)
    strategies = tuple(strategy_spec(entry, networks) for entry in top.tables("strategy", STRATEGY_KEYS, "label"))
    _distinct_strategies(top, strategies)
    measures = study.some_of("measure", MEASURES, f"one of {', '.join(MEASURES)}, or a list of them", ("matches",))
    if not measures or len(set(measures)) != len(measures):
        study.fail("measure", "each measure once, at least one", list(measures))
    tol, screen = _tolerances(study), study.flag("screen", False)
    loose = [method for method in tol if screen and tol[method] > TOLERANCE[method]]
    if loose:
        study.fail("screen", f"false with tol.{loose[0]} = {tol[loose[0]]:g}: ranks answer for exact matches only", True)
    _measures_fit(study, networks, measures)
    loss = descent.one_of("loss", LOSSES, "squared")
    for network in networks if loss != "squared" else ():
        if network.data is None or loss not in network.data.losses:
            descent.fail("loss", f"squared, which network {network.label!r} needs: it has no classes", loss)
    return Spec(
        name=name,
        networks=networks,
        strategies=strategies,
        title=study.text("title", ""),
        description=study.text("description", "").strip(),
        seed=study.whole("seed", 0, 2**64 - 1, 0, "a whole number from 0 to 2^64 - 1"),
        trials=study.trials() or 1000,
        starts=study.starts() or 30,
        methods=study.methods() or ("newton",),
        measures=measures,
        stop=study.stop(),
        tol=tol,
        iterations=newton.whole("iterations", 1, 10**6, 200, "a whole number from 1 to 10^6"),
        steps=descent.whole("steps", 1, 10**9, 10_000, "a whole number from 1 to 10^9"),
        optimizer=descent.one_of("optimizer", OPTIMIZERS, "adam"),
        lr=float(lr),
        loss=loss,
        screen=screen,
        control=study.flag("control", True),
        compare=study.whole("compare", 0, 10**9, 1024, "a whole number >= 0 (trials per cell)"),
        chunk=study.whole("chunk", 1, 2**20, 2**20, "a whole number from 1 to 1048576 (most trials per row)"),
        text=text,
        source=source,
    )


def _measures_fit(study: Table, networks: tuple[NetworkSpec, ...], measures: tuple[str, ...]) -> None:
    """Each network has something to measure, and each measure a network."""
    for network in networks:
        if not set(network.measures) & set(measures):
            wanted = f"{' or '.join(network.measures)}, all there is to measure of network {network.label!r}"
            study.fail("measure", wanted, list(measures))
    for measure in measures:
        if not any(measure in network.measures for network in networks):
            of = {"accuracy": 'a network with data = "digits"'} | dict.fromkeys(("rmse", "valid_time"), "a network with a system")
            study.fail("measure", f"{of.get(measure, 'a network with teachers')} for {measure}", list(measures))


def _tolerances(study: Table) -> dict[str, float]:
    value = study.values.get("tol", {})
    if not isinstance(value, dict):
        value = dict.fromkeys(SEARCHES, value)
    for method, tol in value.items():
        if method not in SEARCHES:
            study.fail(f"tol.{method}", f"one of the methods {', '.join(SEARCHES)}", method)
        if number(tol) is None or not 0 < tol < 1:
            study.fail("tol", "a relative loss between 0 and 1, or a table such as { newton = 1e-20 }", tol)
    return TOLERANCE | {method: float(tol) for method, tol in value.items()}


def _distinct_networks(top: Table, families: list[list[NetworkSpec]]) -> None:
    """Each network, and each table of several, has a label of its own."""
    seen: dict[str, int] = {}
    for later, family in enumerate(families, 1):
        for label in dict.fromkeys((family[0].family, *(network.label for network in family))):
            if (first := seen.setdefault(label, later)) != later:
                _same_label(top, "network", label, later, first)


def _distinct_strategies(top: Table, strategies: tuple[StrategySpec, ...]) -> None:
    """Each strategy of one network has a label of its own."""
    for later, strategy in enumerate(strategies, 1):
        for first, other in enumerate(strategies[: later - 1], 1):
            if strategy.label == other.label and set(strategy.networks) & set(other.networks):
                _same_label(top, "strategy", strategy.label, later, first)


def _same_label(top: Table, kind: str, label: str, later: int, first: int) -> NoReturn:
    raise SpecError(f"{top.source}: {kind}[{later}].label: expected a label of its own, got {label!r}, which {kind}[{first}] has too")
