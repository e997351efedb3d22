"""Studies of any size with rows that nothing measured: for tests of what is made of results, where fits would take too long.

By hand, to look at a report: `python -m tests.made_up_study FOLDER [CELLS]`.
"""

import dataclasses
import random
import sys
from pathlib import Path

from sublearn import study
from sublearn.study.sweep import cells_of


def family(hidden=(4, 8), steps=(6,), budgets="4..9", name="made-up"):
    """A study of recurrent networks that one table sweeps over hidden units and steps, with scattered weights and whole rows."""
    keys = {"hidden": hidden, "steps": steps}
    swept = [key for key in keys if len(keys[key]) > 1]
    networks = [
        (", ".join(["net"] + [f"{key} {value}" for key, value in (("hidden", h), ("steps", s)) if key in swept]), h, s)
        for h in hidden
        for s in steps
    ]
    text = f'[study]\nname = "{name}"\ntitle = "A study that was made up"\ncontrol = false\ntrials = 1000\nstarts = 4\n'
    for label, h, s in networks:
        text += (
            f'[[network]]\nlabel = "{label}"\nkind = "recurrent"\ninputs = 2\noutputs = 2\nhidden = {h}\nsteps = {s}\nshared = ["B", "D"]\n'
        )
    for kind in ("scattered", "rows"):
        text += f'[[strategy]]\nlabel = "{kind}"\nkind = "{kind}"\nwithin = "W"\nbudgets = "{budgets}"\n'
    spec = study.parse_spec(text, "made_up.toml")
    as_swept = tuple(
        dataclasses.replace(entry, family="net", parameters={k: {"hidden": h, "steps": s}[k] for k in swept})
        for entry, (_, h, s) in zip(spec.networks, networks, strict=True)
    )
    return dataclasses.replace(spec, networks=as_swept)


def large(cells=5000):
    """A family of this many cells, or a few more: 50 networks, two strategies."""
    return family(range(8, 18), (4, 5, 6, 7, 8), f"4..{3 + cells // 100}", "large")


def row(cell, kappa, chance, seed=0):
    """A row of all trials of a cell, of which about this share are found, some of them at the first start."""
    rng = random.Random(f"{cell.id} {seed}")
    n, shares = cell.trials, sorted(rng.random() for _ in range(cell.starts))
    matched = 0 if cell.budget < kappa else min(n, max(0, round(n * min(1, max(0, chance + rng.gauss(0, 0.01))))))
    after = [round(matched * share) for share in shares[:-1]] + [matched]
    kind = "minimal" if cell.budget < kappa else "intermediate"
    return {
        "rules": 2,
        "cell": cell.id,
        "first": 0,
        "count": n,
        "matched": matched,
        "unmatched": 0,
        "undecided": n - matched,
        "screened": 0,
        "solved_affine": 0,
        "certified": 0,
        "by_theorem": 0,
        "found_after": after,
        "quantity": "found",
        "compared": {kind: [n, matched]},
        "required_rank": kappa,
        "seconds": 0.5,
        "seconds_theory": 0.1,
        "threads": 1,
        "isa": "avx2",
        "version": "0.1.0",
    }


def chance(cell, kappa):
    """Rises with the budget beyond the required rank, more slowly in larger networks."""
    return 1 - 0.6 ** ((cell.budget - kappa + 1) * (100 / cell.net.size) ** 2)


def fill(folder, spec, cells=None):
    """Rows of these cells of a study (all of them) in its folder."""
    from sublearn.ranks.generic_rank import required_rank

    ranks = {entry.label: required_rank(entry.net, entry.shared) for entry in spec.networks}
    with study.Store(folder) as store:
        store.open_for_writing()
        store.save_spec(spec)
        for cell in cells_of(spec) if cells is None else cells:
            kappa = ranks[cell.network_label]
            store.append(row(cell, kappa, chance(cell, kappa)), cell)


if __name__ == "__main__":
    spec = large(int(sys.argv[2]) if len(sys.argv) > 2 else 5000)
    fill(Path(sys.argv[1]), spec)
    print(study.write_report(sys.argv[1], spec))
