"""Which frozen weight should be freed next? The table of docs/free_weights.md.

Teacher and student of one architecture, both random; r weights of the student are freed by some rule and fitted by Levenberg-Marquardt from
its own weights. For r below kappa: the median of log10 of the relative loss that is left; from kappa on: the share of trials found
(relative loss < 1e-20).

    python examples/free_weights.py [trials]
"""

import sys

import numpy as np

import sublearn as sl

CASES = {  # network, groups shared with the teacher, groups that may be freed, budgets
    "tanh 4-6-3": (sl.Feedforward((4, 6, 3), 6, activation="tanh", bias=True), (), None, (9, 18, 22)),
    "relu 4-6-3": (sl.Feedforward((4, 6, 3), 6, activation="relu", bias=True), (), None, (22,)),
    "linear 4-6-3": (sl.Feedforward((4, 6, 3), 6, bias=True), (), None, (8, 15)),
    "linear recurrent 2-8-2": (sl.Recurrent(2, 8, 2, 6), ("B", "D"), "W", (6, 10)),
}
RULES = {  # options of grow_allocation; None: a random mask
    "random": None,
    "gradient": {"rule": "gradient", "refit": 0},
    "omp": {"rule": "omp", "guard": 0, "refit": 0},
    "ols": {"guard": 0, "refit": 0},
    "pivot": {"rule": "pivot", "refit": 0},
    "ols, guard 1/4": {"guard": 0.25, "refit": 0},
    "one by one, ols": {"guard": 0},
    "one by one, guard 1/4": {"guard": 0.25},
    "one by one (default)": {},
}


def loss(net, trial, within, r, how):
    """float64 [trials]: relative losses after the fit."""
    start, x, y = trial.student, trial.x, trial.y
    if how is None:
        masks = sl.scattered(net, r, *([within] if within else [])).masks(seed=1, task=0, first=0, count=len(start))
    else:
        grown = sl.grow_allocation(net, start, x, y, r, within and sl.only(net, within), **how)
        if how.get("refit", 1):
            return grown.loss[:, -1]
        masks = grown.masks
    return sl.levenberg_marquardt(net, start, x, y, masks, iterations=150).loss


def main(trials: int = 48) -> None:
    columns = [(case, r) for case, (*_, budgets) in CASES.items() for r in budgets]
    drawn = {}
    for case, (net, shared, within, _) in CASES.items():
        every = sl.only(net, within) if within else sl.everything(net)
        drawn[case] = sl.draw_trials(net, every, trials, shared=shared)
        J = sl.jacobian(net, drawn[case].student, drawn[case].x, every)
        print(f"{case}: {every.budget} weights, kappa {np.bincount(sl.rank(J)).argmax()}")
    print(" " * 24 + "".join(f"{case[:12]:>14s}" for case, _ in columns))
    print(" " * 24 + "".join(f"{'r = ' + str(r):>14s}" for _, r in columns))
    for name, how in RULES.items():
        cells = []
        for case, r in columns:
            net, _, within, budgets = CASES[case]
            left = loss(net, drawn[case], within, r, how)
            below = len(budgets) > 1 and r == budgets[0]
            cells.append(f"{np.median(np.log10(left + 1e-30)) if below else (left < 1e-20).mean():14.2f}")
        print(f"{name:24s}" + "".join(cells), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
