"""Cells, the questions of a study, and tasks, the ranges of trials that answer them.

A *cell* is one (network, shared, strategy at one budget, method) with everything that can change a verdict:
its `id` is a hash of that content alone. Labels, threads, chunk sizes and the number of trials are not part
of it, so a study can be relabelled, extended or moved to another machine and keeps what it has. A *task* is a
range of trials of one cell; tasks of a cell add up. Not here: running them (study/runner.py), keeping them (store.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..match.methods import EXACT, TOLERANCE
from ..model.allocation import Allocation
from ..model.layers import plain
from ..model.network import Network, network_from_spec
from ..model.strategies import strategy_from_spec
from ..model.strategy import Strategy, as_strategy, check_allocation
from .spec import NetworkSpec, Reference, Spec, SpecError, StrategySpec

__all__ = ["CONTENT", "EXISTENCE", "Cell", "Task", "arguments_text", "cells_of", "content_id", "missing_ranges", "tasks_of"]

EXISTENCE = "match probability (existence)"
DRAWS = 1  # version of the law of trials; another law is another question
CONTENT = ("draws", "network", "shared", "gains", "strategy", "method", "options", "tol", "screen", "seed")  # the keys of a cell's content


@dataclass(frozen=True)
class Cell:
    """One question: `content` is everything that the answer depends on.

    content: {"draws", "network", "shared", "gains", "strategy", "method", "options", "tol", "screen",
    "seed"}; options are those of match_probability that the method uses: starts, iterations (newton), steps,
    optimizer, lr (descent), none (exact; tanh and relu as newton). Labels, `trials` and `control` (a cell with r = kappa - 1 that the
    study added by itself, D8) are not in it.
    """

    content: Mapping[str, Any]
    network_label: str
    strategy_label: str
    trials: int
    control: bool = False
    reference: tuple[Reference, ...] = ()
    split_over: tuple[str, ...] = field(default=())

    @cached_property
    def id(self) -> str:
        return content_id(self.content)

    @cached_property
    def task_number(self) -> int:
        """The `task` counter of the draws (D3): the same for all cells of one (network, shared, gains).

        So all strategies, budgets and methods meet the same teachers, students and inputs.
        """
        keys = ("draws", "network", "shared", "gains")
        return int(_digest({key: self.content[key] for key in keys})[:8], 16)

    @cached_property
    def net(self) -> Network:
        return network_from_spec(self.content["network"])

    @cached_property
    def strategy(self) -> Strategy:
        return strategy_from_spec(self.net, self.content["strategy"], self.shared)

    @property
    def shared(self) -> tuple[str, ...]:
        return tuple(self.content["shared"])

    @property
    def gains(self) -> dict[str, float]:
        return dict(self.content["gains"])

    @property
    def method(self) -> str:
        return self.content["method"]

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.content["options"])

    @property
    def starts(self) -> int:
        """Starts of a search; descent has one."""
        return self.content["options"].get("starts", 1)

    @property
    def tol(self) -> float:
        return self.content["tol"]

    @property
    def screen(self) -> bool:
        return self.content["screen"]

    @property
    def seed(self) -> int:
        return self.content["seed"]

    @cached_property
    def budget(self) -> int:
        return self.strategy.budget

    @cached_property
    def arguments(self) -> str:
        """The strategy's size in words: "10", "2 rows x 5", "W1 3 + W2 3"."""
        return arguments_text(self.content["strategy"], self.budget)

    @property
    def name(self) -> str:
        """The strategy's label, with a note if the study added the cell as a control."""
        noted = self.control and not self.strategy_label.startswith("control")
        return f"{self.strategy_label} (control)" if noted else self.strategy_label

    def quantity_text(self, quantity: str) -> str:
        """The name of what was measured, for axes, tables, reports; existence and findability share none."""
        if quantity == "existence":
            return EXISTENCE
        if self.method == EXACT:
            return "share of trials with a known match (exact, undecided trials left open)"
        options = self.options
        how = f"{self.starts} start{'s' if self.starts != 1 else ''}"
        if self.method == "descent":
            how = f"{options['steps']} steps of {options['optimizer']}"
        tol = f"{self.tol:.3g}".replace("e-0", "e-")
        return f"found probability ({self.method}, {how}, relative loss < {tol})"

    def describe(self) -> str:
        return f"{self.network_label} / {self.strategy_label} / {self.arguments} / {self.method}"


@dataclass(frozen=True)
class Task:
    """Trials first .. first + count - 1 of a cell: one call of match_probability, one row of results."""

    cell: Cell
    first: int
    count: int


def cells_of(spec: Spec) -> list[Cell]:
    """All cells of a study: network by network, strategies in turn, then the network's controls.

    Errors: SpecError that names the strategy's place in the file when a budget does not fit its network, or
    when two strategies ask the same question.
    """
    cells: list[Cell] = []
    seen: dict[str, str] = {}
    for network in spec.networks:
        own: list[Cell] = []
        for strategy in spec.strategies:
            if network.label in strategy.networks:
                own.extend(_cells(spec, network, strategy))
        for cell in own:
            if cell.id in seen:
                raise SpecError(
                    f"{spec.source}: strategy {cell.strategy_label!r}: expected a question of its own, got "
                    f"{cell.describe()}, which {seen[cell.id]!r} asks too"
                )
            seen[cell.id] = cell.strategy_label
        if spec.control:
            own += [cell for cell in _controls(network, own) if cell.id not in seen]
            seen.update({cell.id: cell.strategy_label for cell in own})
        cells += own
    if not cells:
        raise SpecError(f"{spec.source}: strategy: expected at least one cell, got none")
    return cells


def _cells(spec: Spec, network: NetworkSpec, strategy: StrategySpec) -> list[Cell]:
    found = []
    methods = strategy.methods or network.methods or spec.methods
    for method in methods:
        for arguments in strategy.arguments:
            allocation = _strategy(spec, network, strategy, arguments)
            content = _content(spec, network, allocation, method, strategy.starts or network.starts or spec.starts)
            reference = tuple(
                entry
                for entry in strategy.reference
                if entry.arguments == arguments
                and entry.network in (None, network.label)
                and (entry.method == method or (entry.method is None and (method != EXACT or methods == (EXACT,))))
            )
            for entry in reference:
                starts = content["options"].get("starts", 1)
                if entry.starts is not None and entry.starts > starts:
                    raise SpecError(
                        f"{spec.source}: {strategy.where}.reference: expected starts <= {starts}, the "
                        "starts of "
                        f"the {method} cell, got {entry.starts}"
                    )
            trials = strategy.trials or network.trials or spec.trials
            over = strategy.within if strategy.kind == "split" else ()
            found.append(Cell(content, network.label, strategy.label, trials, reference=reference, split_over=over))
    return found


def _strategy(spec: Spec, network: NetworkSpec, entry: StrategySpec, arguments: Mapping[str, Any]) -> Strategy:
    plain: dict[str, Any] = {"kind": entry.kind}
    try:
        if entry.kind == "edges":
            strategy = as_strategy(Allocation.from_edges(network.net, [tuple(edge) for edge in arguments["edges"]]))
        else:
            if entry.kind == "split":
                plain["budgets"] = dict(arguments)
            elif entry.kind == "only":
                plain["groups"] = list(entry.within)
            else:
                plain |= arguments
                if entry.within:
                    plain["within"] = entry.within[0] if len(entry.within) == 1 else list(entry.within)
            strategy = strategy_from_spec(network.net, plain, network.shared)
        check_allocation(network.net, strategy, network.shared)
    except (ValueError, TypeError) as error:
        key = "edges" if entry.kind == "edges" else "budgets" if arguments else "within"
        key = "totals" if entry.split_totals else key
        raise SpecError(f"{spec.source}: {entry.where}.{key}: in network {network.label!r}: {error}") from None
    if strategy.budget == 0:
        raise SpecError(f"{spec.source}: {entry.where}.budgets: expected at least one learnable weight, got 0")
    return strategy


def _content(spec: Spec, network: NetworkSpec, strategy: Strategy, method: str, starts: int) -> dict[str, Any]:
    newton = {"starts": starts, "iterations": spec.iterations}
    options = {
        "newton": newton,
        "descent": {"steps": spec.steps, "optimizer": spec.optimizer, "lr": spec.lr},
        EXACT: {} if plain(network.net).activation == "linear" else newton,  # tanh and relu: a search for what no proof settles
    }[method]
    return {
        "draws": DRAWS,
        "network": network.net.to_dict(),
        "shared": list(network.shared),
        "gains": {group: network.gains[group] for group in network.net.groups if group in network.gains},
        "strategy": _canonical_strategy(strategy, network.shared),
        "method": method,
        "options": options,
        "tol": TOLERANCE[EXACT] if method == EXACT else spec.tol[method],
        "screen": spec.screen or method == EXACT,  # a rank is the first of the exact method's proofs
        "seed": spec.seed,
    }


def _canonical_strategy(strategy: Strategy, shared: tuple[str, ...]) -> dict[str, Any]:
    plain = strategy.spec()
    if plain["kind"] == "scattered" and "within" not in plain:
        plain["within"] = [name for name in strategy.net.groups if name not in shared]
    if plain["kind"] == "everything" and shared:
        plain["shared"] = list(shared)
    return plain


def _controls(network: NetworkSpec, cells: list[Cell]) -> list[Cell]:
    """Cells with r = kappa - 1 for the ones that may be called found without being matched (D8).

    One for every strategy given by a plain budget; strategies of other forms get one scattered control over
    the same groups. None where no cell reaches kappa (all of them are rank deficient already), or where the
    sweep has it.
    """
    from ..ranks.generic_rank import required_rank

    kappa = required_rank(network.net, network.shared)
    found: dict[str, Cell] = {}
    for cell in cells:
        plain = dict(cell.content["strategy"])
        if kappa < 2 or cell.budget < kappa or cell.screen:
            continue
        same = [other for other in cells if other.strategy_label == cell.strategy_label and other.method == cell.method]
        if any(other.budget == kappa - 1 for other in same):
            continue
        label = cell.strategy_label
        if "budget" in plain:
            plain["budget"] = kappa - 1
        else:
            groups = [name for name, where in cell.net.slices.items() if cell.strategy.support[where].any()]
            within = groups[0] if len(groups) == 1 else groups
            plain = {"kind": "scattered", "budget": kappa - 1, "within": within}
            label = f"control: scattered in {' + '.join(groups)}"
        strategy = strategy_from_spec(cell.net, plain, cell.shared)
        content = dict(cell.content) | {"strategy": _canonical_strategy(strategy, cell.shared)}
        control = Cell(content, cell.network_label, label, cell.trials, control=True)
        found.setdefault(control.id, control)
    return list(found.values())


def missing_ranges(done: Iterable[tuple[int, int]], trials: int) -> list[tuple[int, int]]:
    """The (first, count) ranges of 0 .. trials - 1 that no (first, count) of `done` covers, ascending."""
    missing, at = [], 0
    for first, count in sorted(done):
        if first > at:
            missing.append((at, min(first, trials) - at))
        at = max(at, first + count)
        if at >= trials:
            break
    if at < trials:
        missing.append((at, trials - at))
    return missing


def tasks_of(cells: Iterable[Cell], done: Mapping[str, Iterable[tuple[int, int]]], chunk: int) -> list[Task]:
    """What is left to do, in chunks of at most `chunk` trials that end at multiples of it.

    All cells' first chunks come before any second one, so an interrupted study has something to say on every
    cell.
    """
    found = []
    for order, cell in enumerate(cells):
        for first, count in missing_ranges(done.get(cell.id, ()), cell.trials):
            end = first + count
            while first < end:
                stop = min(end, (first // chunk + 1) * chunk)
                found.append((first // chunk, order, Task(cell, first, stop - first)))
                first = stop
    return [task for _, _, task in sorted(found, key=lambda entry: entry[:2])]


def arguments_text(strategy: Mapping[str, Any], budget: int) -> str:
    """A strategy's size in words."""
    kind = strategy["kind"]
    if kind in ("per_row", "per_column"):
        word = "rows" if kind == "per_row" else "columns"
        return f"{strategy[word]} {word} x {strategy['each']}"
    if kind == "even_rows":
        return f"{strategy['each']} per row"
    if kind == "block":
        return "{}x{} block".format(*strategy["shape"])
    if kind == "split":
        return " + ".join(f"{group} {count}" for group, count in strategy["budgets"].items())
    return str(budget)


def content_id(content: Mapping[str, Any]) -> str:
    """The id of a cell: 16 hexadecimal digits, a hash of its canonical content only."""
    return _digest(content)[:16]


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
