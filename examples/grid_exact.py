"""Predictions against proofs: a grid of small linear networks and allocations, every trial decided exactly.

    python examples/grid_exact.py                    # the whole grid: about two minutes on one core
    python examples/grid_exact.py --trials 20 --every 20

For every pair of a network and an allocation: the kind that `predict` gives, and existence (D5) in each of some trials by method
"exact". A minimal prediction (no match) is contradicted by a match, also by one that a search finds which is told nothing of ranks; a
maximal one (a match in almost every trial) by a trial proven to have none. Prints what was counted and writes it as JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np

import sublearn as sl

NETWORKS = [  # (network, groups shared with the teacher)
    (sl.Recurrent(1, 4, 1, 5), ("B", "D")),
    (sl.Recurrent(1, 5, 1, 5), ("B", "D")),
    (sl.Recurrent(2, 8, 2, 4), ("B", "D")),
    (sl.Recurrent(2, 5, 2, 3), ("B", "D")),
    (sl.Recurrent(1, 4, 1, 4), ("D",)),
    (sl.Recurrent(2, 4, 1, 4), ("B",)),
    (sl.Recurrent(1, 3, 1, 4), ()),
    (sl.Recurrent(2, 3, 1, 3), ("W",)),
    (sl.Recurrent(1, 3, 1, 8), ("B", "D")),  # saturated: fewer dimensions than equations
    (sl.Recurrent(1, 4, 1, 4, bias=("b",)), ("B", "D", "b")),
    (sl.Feedforward((3, 4, 2), 3), ()),
    (sl.Feedforward((2, 3, 2), 2), ()),
    (sl.Feedforward((3, 3, 3), 2), ()),
    (sl.Feedforward((2, 3, 3, 2), 2), ()),
    (sl.Feedforward((3, 4, 4, 2), 3), ("W1",)),
    (sl.Feedforward((3, 2, 3), 4), ()),  # a bottleneck: saturated
    (sl.Feedforward((3, 4, 2), 3, bias=("b1",)), ()),
]
TRIALS = 200


def allocations(net: sl.Recurrent | sl.Feedforward, shared: tuple[str, ...]) -> Iterator[tuple[str, sl.Allocation]]:
    """(name, allocation): budgets kappa - 1 .. kappa + 3, scattered (two draws), row by row, column by column, and in single groups."""
    kappa = sl.required_rank(net, shared)
    free = tuple(name for name in net.groups if name not in shared)
    size = sum(int(np.prod(net.groups[name])) for name in free)
    within = "W" if "W" in free else free
    seen: set[sl.Allocation] = set()
    for budget in range(max(1, kappa - 1), min(size, kappa + 3) + 1):
        made = [("scattered", sl.scattered(net, budget, free)), ("scattered, another", sl.scattered(net, budget, free))]
        for name, make in (("row by row", sl.rows), ("column by column", sl.columns)):
            for group in free if isinstance(within, tuple) else (within,):
                if int(np.prod(net.groups[group])) >= budget:
                    made.append((f"{name} in {group}", make(net, budget, group)))
        for draw, (name, strategy) in enumerate(made):
            allocation = strategy.draw(100 * budget + draw)
            if allocation not in seen:
                seen.add(allocation)
                yield name, allocation


def pairs() -> list[tuple[sl.Recurrent | sl.Feedforward, tuple[str, ...], str, sl.Allocation]]:
    """(network, shared, name, allocation) of the whole grid."""
    return [(net, shared, name, allocation) for net, shared in NETWORKS for name, allocation in allocations(net, shared)]


def summary(found: list[sl.ExactComparison]) -> dict[str, object]:
    """What the counts say. Undecided trials count as wrong in every accuracy.

    kind_accuracy: share of the allocations predicted minimal or maximal that no trial contradicts. rank_rule: how often "a match if and
    only if rho = kappa" is right in a trial, judged by existence, and judged by what a search finds.
    """
    trials = sum(one.trials for one in found)
    definite = [one for one in found if one.kind in ("minimal", "maximal")]
    rule = {}
    for name, chosen in (
        ("all", found),
        ("r < kappa", [one for one in found if one.budget < one.required_rank]),
        ("r = kappa", [one for one in found if one.budget == one.required_rank]),
        ("r > kappa", [one for one in found if one.budget > one.required_rank]),
    ):
        count = sum(one.trials for one in chosen)
        full = [one.attained_rank == one.required_rank for one in chosen]
        if count:
            rule[name] = {
                "trials": count,
                "against_existence": sum(one.right for one in chosen) / count,
                "against_found_16_starts": sum(one.found if f else one.trials - one.found for one, f in zip(chosen, full)) / count,
                "against_found_1_start": sum(one.found_first if f else one.trials - one.found_first for one, f in zip(chosen, full))
                / count,
            }
    return {
        "pairs": len(found),
        "trials": trials,
        "kinds": {kind: sum(one.kind == kind for one in found) for kind in ("minimal", "intermediate", "maximal")},
        "contradictions": sum(one.contradictions for one in found),
        "undecided": sum(one.undecided for one in found),
        "undecided_share": sum(one.undecided for one in found) / trials,
        "matched_by_theorem_alone": sum(one.by_theorem for one in found),
        "kind_accuracy": sum(one.contradictions == 0 for one in definite) / len(definite) if definite else None,
        "kind_trials_accuracy": sum(one.matched if one.kind == "maximal" else one.refuted for one in definite)
        / sum(one.trials for one in definite) if definite else None,
        "rank_rule": rule,
    }  # fmt: skip


def main(arguments: list[str] | None = None) -> dict[str, object]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=TRIALS, help=f"trials of every pair (default: {TRIALS})")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every N-th pair")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--out", type=Path, help="file for the counts (JSON)")
    options = parser.parse_args(arguments)
    began, rows, found = time.perf_counter(), [], []
    for task, (net, shared, name, allocation) in list(enumerate(pairs()))[:: options.every]:
        one = sl.compare_with_exact(net, allocation, options.trials, shared, degree=True, seed=1, task=task, threads=options.threads)
        found.append(one)
        rows.append({"network": net.describe(), "shared": list(shared), "allocation": name, "indices": allocation.indices.tolist()}
                    | asdict(one) | {"contradictions": one.contradictions})  # fmt: skip
        if one.contradictions:
            print(f"CONTRADICTION: {net.describe()}, shared {shared}, task {task}, {allocation.indices.tolist()}: {one}")
    told = summary(found) | {"seconds": round(time.perf_counter() - began, 1), "version": sl.__version__}
    print(json.dumps(told, indent=1))
    if options.out:
        lines = ",\n".join(map(json.dumps, rows))
        options.out.write_text(f'{{"summary": {json.dumps(told)},\n"rows": [\n{lines}\n]}}\n', encoding="utf-8")
    return told


if __name__ == "__main__":
    main()
