"""Is widespread better? Every way to place kappa learnable weights in W of a small recurrent network, decided and searched.

    python examples/orbits_exact.py  # all 1820 allocations, 95 up to renaming of hidden units; about a minute on one core
    python examples/orbits_exact.py --trials 50

Renaming the hidden units does not change the law of trials, so one allocation of each orbit is measured and counts as often as its orbit
is large: no allocation is left to chance. Prints the mean match probability (existence) and found probability, and both by how many
rows and columns of W the learnable weights lie in.
"""

from __future__ import annotations

import argparse
import json
from itertools import combinations, permutations
from pathlib import Path

import numpy as np

import sublearn as sl

NET, SHARED, BUDGET = sl.Recurrent(1, 4, 1, 5), ("B", "D"), 4
STARTS = (1, 16, 64)


def orbits() -> dict[tuple[int, ...], int]:
    """Places in W (flat, ascending) of one allocation of each orbit, and the size of the orbit."""
    n = NET.hidden
    renamed = np.array([[p[a] * n + p[b] for a in range(n) for b in range(n)] for p in permutations(range(n))])
    found: dict[tuple[int, ...], int] = {}
    for places in combinations(range(n * n), BUDGET):
        first = min(map(tuple, np.sort(renamed[:, places], axis=1).tolist()))
        found[first] = found.get(first, 0) + 1
    return found


def main(arguments: list[str] | None = None) -> dict[str, object]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=2000, help="trials of every orbit (default: 2000)")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--out", type=Path, help="file for the counts (JSON)")
    options = parser.parse_args(arguments)
    rows = []
    for task, (places, size) in enumerate(orbits().items()):
        mask = np.zeros(NET.size, dtype=bool)
        mask[NET.slices["W"]][list(places)] = True
        allocation = sl.Allocation.from_mask(NET, mask)
        asked = dict(trials=options.trials, shared=SHARED, seed=5, task=task, threads=options.threads)
        exact = sl.match_probability(NET, allocation, method="exact", **asked)
        newton = sl.match_probability(NET, allocation, starts=max(STARTS), **asked)
        grid = allocation.by_group["W"]
        rows.append({"places": places, "size": size, "rows": int(grid.any(axis=1).sum()), "columns": int(grid.any(axis=0).sum()),
                     "degree": sl.degree(NET, allocation, SHARED), "trials": options.trials, "matched": exact.matched,
                     "undecided": exact.undecided, "found": {str(s): int(newton.found_after[s - 1]) for s in STARTS}})  # fmt: skip

    def means(chosen: list[dict]) -> dict[str, float]:
        weight = sum(row["size"] for row in chosen) * options.trials
        told = {"allocations": sum(row["size"] for row in chosen)}
        told |= {name: round(sum(row["size"] * row[name] for row in chosen) / weight, 4) for name in ("matched", "undecided")}
        return told | {f"found, {s} starts": round(sum(row["size"] * row["found"][str(s)] for row in chosen) / weight, 4) for s in STARTS}

    variances = [(row["size"] / 1820) ** 2 * row["matched"] * (row["trials"] - row["matched"]) / row["trials"] ** 3 for row in rows]
    told = {"all": means(rows), "standard_error": round(float(np.sqrt(sum(variances))), 5)}
    for parity in ("odd", "even"):
        told[f"{parity} degree"] = means([row for row in rows if row["degree"] % 2 == (parity == "odd")])
    for shape in sorted({(row["rows"], row["columns"]) for row in rows}):
        told["{} rows, {} columns".format(*shape)] = means([row for row in rows if (row["rows"], row["columns"]) == shape])
    print(json.dumps(told, indent=1))
    if options.out:
        lines = ",\n".join(map(json.dumps, rows))
        options.out.write_text(f'{{"means": {json.dumps(told)},\n"orbits": [\n{lines}\n]}}\n', encoding="utf-8")
    return told


if __name__ == "__main__":
    main()
