"""Which hidden layer of a relu network should learn? Existence by a search over all activation patterns, and what Newton's method finds.

    python examples/relu_depth.py                     # six allocations, 2000 trials each: five seconds on one core
    python examples/relu_depth.py --trials 100

Prints, for every allocation, the match probability with its 95 % interval, the undecided and the certified trials, the time of a verdict,
and the found probability after 1 and after 30 starts.
"""

from __future__ import annotations

import argparse
import time

import sublearn as sl

NET = sl.Feedforward((3, 4, 4, 2), 3, "relu")
BUDGETS = ({"W1": 12}, {"W2": 16}, {"W1": 8}, {"W2": 8}, {"W1": 6}, {"W2": 6})


def main(arguments: list[str] | None = None) -> list[tuple[sl.MatchResult, sl.MatchResult]]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=2000, help="trials of every allocation (default: 2000)")
    parser.add_argument("--threads", type=int, default=None)
    args = parser.parse_args(arguments)
    print(f"{NET}\nlearn        MP      interval         undecided  certified  us per verdict   FP: 1 start  30 starts")
    results = []
    for budget in BUDGETS:
        strategy = sl.split(NET, budget)
        begin = time.process_time()
        exact = sl.match_probability(NET, strategy, args.trials, method="exact", starts=1, threads=args.threads)
        each = (time.process_time() - begin) / args.trials
        found = sl.match_probability(NET, strategy, args.trials, method="newton", starts=30, threads=args.threads)
        low, high = exact.existence_interval
        name = ", ".join(f"{count} in {group}" for group, count in budget.items())
        print(
            f"{name:<12} {exact.probability:.4f}  [{low:.4f}, {high:.4f}] {exact.undecided:>9} {exact.certified:>10} {1e6 * each:>15.0f}"
            f" {found.found_after[0] / args.trials:>13.4f} {found.probability:>10.4f}",
            flush=True,
        )
        results.append((exact, found))
    return results


if __name__ == "__main__":
    main()
