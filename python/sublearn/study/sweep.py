"""Which cells a study has: its networks times its strategies at every budget times its methods, and the controls it adds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Any

from ..match.methods import EXACT, TOLERANCE
from ..model.layers import plain
from ..model.strategies import STRATEGIES, strategy_from_spec
from ..model.strategy import Strategy, check_allocation
from ..model.teacher_student import TARGETS
from .budgets import numbers_in
from .cells import Cell
from .spec import NetworkSpec, Spec, SpecError, Stop, StrategySpec

DESCENT = "descent"  # the search on real data
DRAWS = 1  # version of the law of trials; another law is another question


def cells_of(spec: Spec) -> list[Cell]:
    """All cells of a study: network by network, strategies in turn, then the network's controls.

    Budgets in terms of a network (budgets.py) that do not fit it are left out of it. Errors: SpecError that names the strategy's place in
    the file when a budget that is a number does not fit a network, when none in terms of networks fits any, or when two strategies contain
    the same cell.

    >>> cell = study.cells_of(study.default_spec())[0]
    >>> cell.network_label, cell.content["method"]
    ('recurrent', 'newton')
    """
    made: list[Cell] | None = vars(spec).get("_cells")
    if made is None:
        made = vars(spec)["_cells"] = _cells_of(spec)  # kept: checks, plans, runs and reports ask for them in turn
    return list(made)


def _cells_of(spec: Spec) -> list[Cell]:
    cells: list[Cell] = []
    seen: dict[str, str] = {}
    asked = [(strategy, set(strategy.networks)) for strategy in spec.strategies]
    for network in spec.networks:
        own: list[Cell] = []
        for strategy, networks in asked:
            if network.label in networks:
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
    for strategy, networks in asked:
        _check_sizes(spec, strategy, [network for network in spec.networks if network.label in networks])
    if not cells and "matches" in spec.measures:
        raise SpecError(f"{spec.source}: strategy: expected at least one cell, got none")
    if not cells:
        raise SpecError(f"{spec.source}: measure: expected a method that searches, newton or descent, with loss, got exact only")
    return cells


def _cells(spec: Spec, network: NetworkSpec, strategy: StrategySpec) -> list[Cell]:
    found = []
    methods = strategy.methods or network.methods or spec.methods
    for method in methods:
        if network.data is not None and method != DESCENT:
            raise SpecError(f"{spec.source}: network {network.label!r}: expected method descent only with real data, got {method}")
        for arguments, written in _sizes(network, strategy):
            allocation = _strategy(spec, network, strategy, arguments)
            content = _content(spec, network, allocation, method, strategy.starts or network.starts or spec.starts)
            reference = tuple(
                entry
                for entry in strategy.reference
                if entry.arguments in (arguments, *written)
                and entry.network in (None, network.label, network.family)
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
            cell = Cell(
                content,
                network.label,
                strategy.label,
                strategy.trials or network.trials or spec.trials,
                reference=reference,
                split_over=strategy.within if STRATEGIES[strategy.kind].by_group else (),
                parameters=network.parameters,
                family=network.family or network.label,
                stop=strategy.stop or network.stop or spec.stop,
            )
            vars(cell).update(net=network.net, budget=allocation.budget)  # known here; to make them again took half of the time
            measures = [measure for measure in network.measures if measure in spec.measures]
            if "matches" in measures:
                found.append(cell)
            stop = None if cell.stop is None else _of_a_mean(cell.stop)
            for quantity in (measure for measure in measures if measure != "matches"):
                if method != EXACT:  # which is no search; nor does a rank say how near one comes
                    found.append(replace(cell, content=content | {"quantity": quantity, "screen": False}, reference=(), stop=stop))
    return found


def _of_a_mean(stop: Stop) -> Stop | None:
    """What of a rule to stop holds for a cell that measures a mean: widths and matches are of probabilities."""
    return Stop(seconds=stop.seconds) if stop.seconds is not None else None


def _sizes(network: NetworkSpec, strategy: StrategySpec) -> list[tuple[Mapping[str, Any], list[Mapping[str, Any]]]]:
    """The arguments of each of a strategy's cells in a network, and the arguments in the file that mean these there."""

    def kappa() -> int:
        if network.data is not None:
            raise SpecError(f"{strategy.where}.budgets: expected numbers or percentages in network {network.label!r}, which has no teacher")
        return _required(network)

    if not any(isinstance(arguments.get("budget"), str) for arguments in strategy.arguments):
        return [(arguments, []) for arguments in strategy.arguments]
    groups = strategy.within or tuple(name for name in network.net.groups if name not in network.shared)
    weights = sum(prod(network.net.groups[name]) for name in groups)
    found: dict[int, list[Mapping[str, Any]]] = {}  # several may mean one number
    for arguments in strategy.arguments:
        budget = arguments["budget"]
        numbers = numbers_in(budget, kappa, weights) if isinstance(budget, str) else [budget]
        for number in numbers:
            found.setdefault(number, []).append(arguments)
    return [({"budget": number}, written) for number, written in found.items()]


def _required(network: NetworkSpec) -> int:
    """kappa; all equations where targets are random."""
    from ..ranks.generic_rank import required_rank

    return required_rank(network.net, network.shared) if network.taught else network.net.equations


def _check_sizes(spec: Spec, strategy: StrategySpec, networks: list[NetworkSpec]) -> None:
    """SpecError if no budget in terms of networks fits any, or a reference is to a number that none of them is."""
    texts = [arguments["budget"] for arguments in strategy.arguments if isinstance(arguments.get("budget"), str)]
    if not texts:
        return
    place = f"{spec.source}: {strategy.where}"
    if not any(_sizes(network, strategy) for network in networks):
        raise SpecError(f"{place}.budgets: expected a budget that fits a network, from 1 to all of its weights, got {', '.join(texts)}")
    for entry in strategy.reference:
        own = [network for network in networks if entry.network in (None, network.label, network.family)]
        if not any(entry.arguments in (arguments, *written) for network in own for arguments, written in _sizes(network, strategy)):
            raise SpecError(f"{place}.reference: expected a budget that a network has, got {entry.arguments['budget']!r}")


def _strategy(spec: Spec, network: NetworkSpec, entry: StrategySpec, arguments: Mapping[str, Any]) -> Strategy:
    kind = STRATEGIES[entry.kind]
    plain: dict[str, Any] = {"kind": entry.kind} | ({"budgets": dict(arguments)} if kind.by_group else dict(arguments))
    if kind.within and entry.within:
        plain[kind.within] = entry.within[0] if len(entry.within) == 1 else list(entry.within)
    try:
        strategy = strategy_from_spec(network.net, plain, network.shared)
        check_allocation(network.net, strategy, network.shared)
    except (ValueError, TypeError) as error:
        key = "edges" if "edges" in kind.needed else "budgets" if arguments else "within"
        key = "totals" if entry.split_totals else key
        hint = '; budgets such as "kappa", "50%" or "4 .. 100%" leave out what does not fit a network' if "budget" in arguments else ""
        raise SpecError(f"{spec.source}: {entry.where}.{key}: in network {network.label!r}: {error}{hint}") from None
    if strategy.budget == 0:
        raise SpecError(f"{spec.source}: {entry.where}.budgets: expected at least one learnable weight, got 0")
    return strategy


def _content(spec: Spec, network: NetworkSpec, strategy: Strategy, method: str, starts: int) -> dict[str, Any]:
    newton = {"starts": starts, "iterations": spec.iterations}
    options = {
        "newton": newton,
        "descent": {"steps": spec.steps, "optimizer": spec.optimizer, "lr": spec.lr}
        | ({} if spec.loss == "squared" else {"loss": spec.loss}),
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
        **({} if network.data is None else {"data": {"source": network.data.source, **network.data.options}}),
        **({} if network.targets == TARGETS[0] else {"targets": network.targets}),
    }


def _canonical_strategy(strategy: Strategy, shared: tuple[str, ...]) -> dict[str, Any]:
    plain = strategy.spec()
    optional = STRATEGIES[plain["kind"]].optional
    if "within" in optional and "within" not in plain:
        plain["within"] = [name for name in strategy.net.groups if name not in shared]
    if "shared" in optional and shared:
        plain["shared"] = list(shared)
    return plain


def _controls(network: NetworkSpec, cells: list[Cell]) -> list[Cell]:
    """Cells with r = kappa - 1 for the ones that may be called found without being matched (D8).

    One for every strategy given by a plain budget; strategies of other forms get one scattered control over
    the same groups. None where no cell reaches kappa (all of them are rank deficient already), or where the
    sweep has it.
    """
    cells = [cell for cell in cells if cell.quantity is None]
    if not cells:  # of means alone: kappa of a large network takes long, and is of no use
        return []
    kappa = _required(network)
    found: dict[str, Cell] = {}
    there = {(cell.strategy_label, cell.method) for cell in cells if cell.budget == kappa - 1}
    tried = set()
    for cell in cells:
        plain = dict(cell.content["strategy"])
        if kappa < 2 or cell.budget < kappa or cell.screen or (cell.strategy_label, cell.method) in there:
            continue
        label = cell.strategy_label
        if "budget" in plain:
            plain["budget"] = kappa - 1
        else:
            groups = [name for name, where in cell.net.slices.items() if cell.strategy.support[where].any()]
            within = groups[0] if len(groups) == 1 else groups
            plain = {"kind": "scattered", "budget": kappa - 1, "within": within}
            label = f"control: scattered in {' + '.join(groups)}"
        if (asked := (label, repr(plain), cell.method, repr(cell.options))) in tried:
            continue
        tried.add(asked)
        strategy = strategy_from_spec(cell.net, plain, cell.shared)
        content = dict(cell.content) | {"strategy": _canonical_strategy(strategy, cell.shared)}
        control = Cell(
            content, cell.network_label, label, cell.trials, control=True, parameters=cell.parameters, family=cell.family, stop=cell.stop
        )
        found.setdefault(control.id, control)
    return list(found.values())
