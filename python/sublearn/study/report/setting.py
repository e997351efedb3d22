"""What a report says of the study itself: what was asked, by which methods, and what it takes to run it again."""

from __future__ import annotations

from typing import Any

from ...model.strategies import STRATEGIES
from ..plot.choice import PROBABILITIES
from ..spec import Spec, StrategySpec
from ..store import Store
from ..summary import Summary


def asked(spec: Spec, found: list[Summary]) -> dict[str, Any]:
    networks = []
    for entry in spec.networks:
        kappa = [s.required_rank for s in found if s.cell.network_label == entry.label and s.required_rank]
        shapes = ", ".join(f"{name}\u00a0{'×'.join(map(str, shape))}" for name, shape in entry.net.groups.items())
        networks.append(
            {"label": entry.label, "net": entry.net, "shared": entry.shared, "shapes": shapes, "kappa": kappa[0] if kappa else None}
        )
    strategies = []
    for strategy in spec.strategies:
        own = [s.cell for s in found if s.cell.strategy_label == strategy.label and not s.cell.control]
        sizes = list(dict.fromkeys(cell.arguments for cell in own if cell.network_label in strategy.networks))
        strategies.append({"label": strategy.label, "sentence": sentence_of(strategy), "sizes": sizes, "networks": _names(strategy, spec)})
    shares = (*PROBABILITIES, "")
    quantities = list(dict.fromkeys(s.cell.quantity_text("found") if s.quantity in shares else s.quantity_text for s in found))
    families = len({entry.family or entry.label for entry in spec.networks})
    return {"networks": networks, "families": families, "strategies": strategies, "quantities": quantities}


def _names(strategy: StrategySpec, spec: Spec) -> list[str]:
    """The networks of a strategy, whole families by their name."""
    families: dict[str, list[str]] = {}
    for entry in spec.networks:
        families.setdefault(entry.family or entry.label, []).append(entry.label)
    own, names = set(strategy.networks), []
    for family, labels in families.items():
        names += [family] if own.issuperset(labels) else [label for label in labels if label in own]
    return names


def sentence_of(strategy: StrategySpec) -> str:
    """Which weights learn."""
    groups = " and ".join(strategy.within) or "all groups that are not shared"
    return STRATEGIES[strategy.kind].sentence.format(groups=groups)


def reading(spec: Spec, found: list[Summary]) -> dict[str, Any]:
    """What decides which explanations a reader needs."""
    return {
        "methods": list(dict.fromkeys(summary.cell.method for summary in found)),
        "decided": any(summary.quantity == "existence" for summary in found),
        "activations": {entry.net.activation for entry in spec.networks},
    }


def made(found: list[Summary], store: Store) -> dict[str, Any]:
    """By what the rows were made, and in how many seconds of fitting."""
    return {
        "versions": sorted({version for summary in found for version in summary.versions}),
        "isas": sorted({str(row.get("isa")) for row in store.rows}),
        "seconds": sum(summary.seconds for summary in found),
    }
