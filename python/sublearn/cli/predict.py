"""The verb `predict`: what theory says of a study's cells, or of one network and strategy. Needs numpy only."""

from __future__ import annotations

import argparse
from typing import Any

from .common import OK, Refused, checked, network_in, print_json, print_table, read_study, strategy_in


def predictions(options: argparse.Namespace) -> int:
    """Print them; the exit code."""
    if options.study is not None:
        for name in ("network", "strategy", "shared"):
            if getattr(options, name):
                raise Refused(f"predict: expected a study file or --{name}, got both")
        return _predict_study(options)
    for name in ("network", "strategy"):
        if getattr(options, name) is None:
            raise Refused(f"predict: expected a study file, or --network and --strategy, got no --{name}")
    from ..model.checks import check_shared
    from ..model.strategy import check_allocation

    net = network_in(options.network)
    try:
        shared = check_shared(net, tuple(part.strip() for part in options.shared.split(",") if part.strip()))
        strategy = strategy_in(net, options.strategy, shared)
        check_allocation(net, strategy, shared)
        known = strategy.allocation is not None
        if options.json:
            about = {"network": net.describe(), "strategy": options.strategy, "shared": list(shared), "budget": strategy.budget}
            found = _mask_entry(net, strategy, shared) if known else _strategy_entry(net, strategy, shared, options.draws, options.seed)
            print_json(about | found)
            return OK
        lines = _of_mask(net, strategy, shared) if known else _of_strategy(net, strategy, shared, options.draws, options.seed)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise Refused(f"predict: {error}") from None
    print(strategy.picture(options.seed, shared))
    print()
    print("\n".join(lines))
    return OK


def _mask_entry(net: Any, strategy: Any, shared: tuple[str, ...]) -> dict[str, Any]:
    from ..theory.predict import predict

    found = predict(net, strategy, shared)
    names = ("kind", "reason", "attained_rank", "required_rank", "sure", "explanation")
    return {name: getattr(found, name) for name in names}


def _strategy_entry(net: Any, strategy: Any, shared: tuple[str, ...], draws: int, seed: int) -> dict[str, Any]:
    from ..theory.bounds import predict_strategy

    return _bounds_entry(predict_strategy(net, strategy, shared, draws=draws, seed=seed))


def _bounds_entry(found: Any) -> dict[str, Any]:
    """Bounds of the match probability, and whether each is exact or estimated from the masks drawn."""
    exact = {f"exact_{name}": getattr(found, f"exact_{name}") is not None for name in ("lower", "upper")}
    about = {name: getattr(found, name) for name in ("lower", "upper", "required_rank", "full_rank", "draws")}
    return about | exact | {"kinds": {kind: count for kind, count in found.kinds.items() if count}}


def _of_mask(net: Any, strategy: Any, shared: tuple[str, ...]) -> list[str]:
    from ..theory.predict import predict

    found = predict(net, strategy, shared)
    return [
        f"prediction        {found.kind} ({found.reason})",
        f"attained rank     {found.attained_rank}{_sampled(net)}",
        f"required rank     {found.required_rank}{_sampled(net)}",
        f"certainty         {found.sure}",
        f"because           {found.explanation}",
    ]


def _of_strategy(net: Any, strategy: Any, shared: tuple[str, ...], draws: int, seed: int) -> list[str]:
    from ..theory.bounds import predict_strategy
    from ..theory.certain import at_least, at_most

    found = predict_strategy(net, strategy, shared, draws=draws, seed=seed)
    drawn = f"reached by {100 * found.full_rank:.4g} % of {found.draws} masks drawn"
    return [
        f"match probability at least {at_least(found.lower)}, at most {at_most(found.upper)} ({_known(found)})",
        f"required rank     {found.required_rank}{_sampled(net)}; {drawn}",
        f"{'masks predicted':<18}" + ", ".join(f"{count} {kind}" for kind, count in found.kinds.items() if count),
    ]


def _sampled(net: Any) -> str:
    from ..model.layers import plain

    return " (the largest found among sampled regions)" if plain(net).activation == "relu" else ""


def _predict_study(options: argparse.Namespace) -> int:
    from ..model.layers import plain
    from ..study.sweep import cells_of
    from ..theory.bounds import predict_strategy
    from ..theory.certain import at_least, at_most

    rows, entries, seen = [], [], set()
    for cell in checked(cells_of, read_study(options.study)):
        key = (cell.network_label, cell.strategy_label, cell.arguments)
        if cell.control or key in seen or not cell.taught:
            continue  # theory does not depend on the method, and says nothing where there is no teacher
        seen.add(key)
        try:
            found = predict_strategy(cell.net, cell.strategy, cell.shared, draws=options.draws, seed=options.seed)
        except (ValueError, TypeError, ArithmeticError) as error:
            raise Refused(f"predict: {cell.describe()}: {error}") from None
        names = dict(zip(("network", "strategy", "arguments"), key, strict=True))
        entries.append({**names, "budget": cell.budget, **_bounds_entry(found)})
        kinds = ", ".join(f"{count} {kind}" if found.draws > 1 else kind for kind, count in found.kinds.items() if count)
        rows.append(
            (
                *key,
                cell.budget,
                f"{found.required_rank}{' (sampled)' if plain(cell.net).activation == 'relu' else ''}",
                at_least(found.lower),
                at_most(found.upper),
                _known(found),
                f"{found.full_rank:.4g}",
                kinds,
            )
        )
    if options.json:
        print_json(entries)
        return OK
    print_table(("network", "strategy", "size", "r", "kappa", "at least", "at most", "bounds", "full rank, drawn", "masks drawn"), rows)
    return OK


def _known(found: Any) -> str:
    """Whether the bounds of a StrategyPrediction are exact or estimated."""
    from ..theory.certain import known_text

    return known_text(found.lower, found.upper, found.exact_lower is not None, found.exact_upper is not None, found.draws)
