"""What is certain of a strategy's match probability MP, whatever masks happen to be drawn, and what a sample of masks allows.

P(a mask is proven to match always) <= MP <= P(a mask can match). Each of the two is exact where all masks are judged or a theorem counts
them; elsewhere only drawn masks are judged, and then the safe end of a 95 % Clopper-Pearson interval stands for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..model.layers import plain
from ..model.network import Network, Recurrent
from ..model.strategy import Strategy
from ..numerics.intervals import clopper_pearson
from ..ranks.affine import affine
from ..ranks.block_structures import structures_in
from ..ranks.closed_forms import line_rule, required_rank_formula, scattered_full_rank_chance
from ..ranks.generic_rank import required_rank
from .predict import predictions


class Certain(NamedTuple):
    """Exact bounds of a strategy's match probability; None where only a sample of its masks can tell."""

    lower: float | None
    upper: float | None


def safe_ends(maximal: int, minimal: int, judged: int) -> tuple[float, float]:
    """(lower, upper) from `judged` drawn masks, of which `maximal` always match and `minimal` never do.

    Ends of 95 % Clopper-Pearson intervals on the safe side: the low one of the share maximal, the high one of the share not minimal.
    """
    return clopper_pearson(maximal, judged)[0], clopper_pearson(judged - minimal, judged)[1]


def bounds_text(lower: float, upper: float, exact_lower: bool, exact_upper: bool, judged: int) -> str:
    """lower <= MP <= upper and how it is known (`known_text`)."""
    known = known_text(lower, upper, exact_lower, exact_upper, judged)
    if known == "exact" and lower == upper and ((0 < float(at_least(lower)) and float(at_most(lower)) < 1) or lower in (0, 1)):
        return f"MP = {lower:.5g} (exact)"
    return f"{at_least(lower)} <= MP <= {at_most(upper)} ({known})"


def known_text(lower: float, upper: float, exact_lower: bool, exact_upper: bool, judged: int) -> str:
    """Which of two bounds are exact, and which are estimated from `judged` drawn masks. Zero and one bound every probability."""
    estimated = [name for name, exact in (("lower", exact_lower or lower == 0), ("upper", exact_upper or upper == 1)) if not exact]
    if not estimated:
        return "exact"
    which = "both bounds" if len(estimated) == 2 else f"the {estimated[0]} bound"
    return f"{which} estimated: 95 %, from {judged} masks drawn"


def at_least(value: float) -> str:
    """A lower bound in five decimals, rounded down."""
    return f"{math.floor(value * 1e5 + 1e-6) / 1e5:.5g}"


def at_most(value: float) -> str:
    """An upper bound in five decimals, rounded up."""
    return f"{math.ceil(value * 1e5 - 1e-6) / 1e5:.5g}"


@lru_cache(maxsize=1 << 16)  # more than a large study has cells
def certain(net: Network, strategy: Strategy, shared: tuple[str, ...], most: int) -> Certain:
    """The bounds that need no sample. A strategy with at most `most` different masks has all of them judged; 0: none are.

    The arguments are checked already. Exact like the verdicts on its masks: ranks mod p (theory/predict.py), never relu's sampled regions.
    """
    known = of_ends(net, [strategy], shared)[0]
    if None not in known:
        return known
    if plain(net).activation == "relu":  # MP = 1 needs all weights, and only their number proves MP = 0 (T11)
        kind = predictions(net, strategy.masks(0, 0, 0, 1), shared).kind[0]
        return Certain(0.0, 0.0 if kind == "minimal" else 1.0)
    lower, upper = _same_in_all_masks(net, strategy, shared)
    if upper is None:
        upper = _scattered_chance(net, strategy, shared)
    if lower is None and affine(net, strategy.support[None])[0]:
        lower = upper  # T2: full rank is all that a match needs
    law = strategy.law(most) if most and (lower is None or upper is None) else None
    if law is None:
        return Certain(lower, upper)
    masks, chances = law
    kind = predictions(net, masks, shared).kind
    # each chance is rounded: a share of all masks must not come out as a little less or more than one
    return Certain(*(1.0 if which.all() else min(1.0, float(chances[which].sum())) for which in (kind == "maximal", kind != "minimal")))


def of_ends(net: Network, strategies: Sequence[Strategy], shared: tuple[str, ...]) -> list[Certain]:
    """What the masks of the weights that always learn and of those that ever learn tell of each strategy of one network.

    Both ends for a strategy that has one mask only; (None, None) where they tell nothing. Many at once, which costs little more than one.
    """
    least = 0 if plain(net).activation == "relu" else required_rank(net, shared)
    told = {strategy: Certain(0.0, 0.0) for strategy in strategies if strategy.budget < least}  # T1
    rest = [strategy for strategy in strategies if strategy not in told]
    ends = np.array([mask for strategy in rest for mask in (strategy.recipe[0], strategy.support)], bool).reshape(-1, net.size)
    kinds = predictions(net, ends, shared).kind if rest else ends
    for strategy, always, ever in zip(rest, kinds[::2], kinds[1::2], strict=True):
        if ever == "minimal":
            told[strategy] = Certain(0.0, 0.0)  # no part of what cannot match can match
        elif always == "maximal":
            told[strategy] = Certain(1.0, 1.0)  # T9
        else:
            told[strategy] = Certain(None, None) if strategy.allocation is None else Certain(0.0, 1.0)
    return [told[strategy] for strategy in strategies]


def _scattered_chance(net: Network, strategy: Strategy, shared: tuple[str, ...]) -> float | None:
    """P(rho = kappa) of weights scattered in whole groups, None where it cannot be counted."""
    fixed, pieces = strategy.recipe
    groups = tuple(name for name, part in net.unpack(strategy.support).items() if part.any())
    whole = all(net.unpack(strategy.support)[name].all() for name in groups)
    if fixed.any() or len(pieces) != 1 or len(pieces[0].offsets) != 2 or not whole:
        return None
    chance = scattered_full_rank_chance(net, strategy.budget, groups, shared)
    return None if chance is None else float(chance)


def _same_in_all_masks(net: Network, strategy: Strategy, shared: tuple[str, ...]) -> Certain:
    """Bounds of a strategy whose masks all have equally full lines, so that what theorems say of the lines of one holds for all."""
    groups = frozenset(name for name, part in net.unpack(strategy.support).items() if part.any())
    mask = strategy.masks(0, 0, 0, 1)
    for axis, name in enumerate(("row", "column")):
        if not _one_list_per_line(net, strategy, axis):
            continue
        if isinstance(net, Recurrent) and groups == {"W"}:
            if any(has[0] for found, has, _ in structures_in(net, mask, shared) if found == name):
                return Certain(1.0, 1.0)  # T7
        rule, kappa = line_rule(net, groups), required_rank_formula(net, shared)
        if rule is not None and rule.axis == axis and kappa is not None:  # T4, T5, T6, T12
            (piece,) = strategy.recipe[1]
            rank = min(rule.whole, piece.pick * min(piece.each, rule.most))
            return Certain(None if rank >= kappa else 0.0, float(rank >= kappa))
    return Certain(None, None)


def _one_list_per_line(net: Network, strategy: Strategy, axis: int) -> bool:
    """Whether the masks take equally many weights from lines of their groups, rows (axis 0) or columns (1), each line a list of its own."""
    fixed, pieces = strategy.recipe
    if fixed.any() or len(pieces) != 1:
        return False
    line = np.full(net.size, -1, dtype=np.int64)
    for name, shape in net.groups.items():
        place = np.indices(shape)
        # a bias is one column beside its matrix: it lies in rows, and in no column of the matrix
        line[net.slices[name]] = place[axis].reshape(-1) if axis < len(place) else -2
    lists = np.split(line[pieces[0].members], pieces[0].offsets[1:-1])
    lines = [int(part[0]) for part in lists if (part == part[0]).all() and part[0] >= 0]
    return len(lines) == len(lists) == len(set(lines))
