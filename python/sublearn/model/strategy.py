"""Strategies: laws of masks of one budget, given by a recipe that the compiled draws follow (D3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain, combinations
from math import comb, prod
from typing import Any

import numpy as np

from .._checks import whole_number
from ..backend.compiled import cpu
from .allocation import Allocation
from .checks import LARGEST_SEED, bool_array, check_frozen, check_parameters, check_trial_range, shared_groups
from .parameters import Parameters
from .recipe import Piece, checked_piece


class Strategy:
    """A law of masks of one budget, made by the functions of model/strategies.py (scattered, rows, only, ...).

    .net .budget .name (short) .spec() .recipe; .support is the bool mask [size] of all weights that could
    learn; .allocation is the one allocation a deterministic strategy always draws, None for a random one.
    Immutable and hashable; equal when network, name and recipe are.

    >>> net = sl.Feedforward(widths=(3, 4, 2), samples=3)
    >>> strategy = sl.scattered(net, 5)
    >>> strategy.draw(0).budget, strategy.name
    (5, 'scattered')
    """

    __slots__ = ("_fixed", "_net", "_pieces", "_spec", "_support", "name")

    def __init__(self, net: Parameters, name: str, fixed: Any, pieces: Sequence[tuple], spec: Mapping[str, Any]) -> None:
        """Start from the mask `fixed` [size], then apply every piece in order; see `Piece`.

        Errors: ValueError if a weight occurs twice, or if a piece requires more weights than it has.
        """
        check_parameters(net)
        fixed = bool_array("fixed", fixed, (net.size,)).copy()
        support, kept = fixed.copy(), []
        for number, piece in enumerate(pieces):
            piece = checked_piece(f"pieces[{number}]", Piece(*piece), net.size)
            if piece.pick == 0 or piece.each == 0:
                continue  # can make nothing learnable; draws no number that a later piece would miss
            if support[piece.members].any():
                raise ValueError(f"pieces[{number}]: expected weights in no other piece, got one twice")
            support[piece.members] = True
            kept.append(piece)
        budget = int(fixed.sum()) + sum(piece.pick * piece.each for piece in kept)
        if budget == int(support.sum()):  # nothing left to chance
            fixed, kept = support, []
        fixed.setflags(write=False)
        support.setflags(write=False)
        self._net, self._fixed, self._pieces, self._support = net.layout, fixed, kept, support
        self._spec, self.name = dict(spec), name

    @property
    def net(self) -> Parameters:
        return self._net

    @property
    def budget(self) -> int:
        """Number of learnable weights of every mask drawn, r."""
        return int(self._fixed.sum()) + sum(piece.pick * piece.each for piece in self._pieces)

    @property
    def support(self) -> np.ndarray:
        """bool [size], read-only: the weights that could learn in some draw."""
        return self._support

    @property
    def recipe(self) -> tuple[np.ndarray, list[Piece]]:
        """(fixed bool [size], pieces): what the compiled draws follow (D3)."""
        return self._fixed, list(self._pieces)

    @property
    def allocation(self) -> Allocation | None:
        """The allocation that is always drawn, if there is only one."""
        return None if self._pieces else Allocation.from_mask(self._net, self._fixed)

    def draw(self, rng: np.random.Generator | int = 0) -> Allocation:
        """One allocation. An int is the seed of `masks` (task 0, trial 0); a Generator gives such a seed."""
        if isinstance(rng, np.random.Generator):
            seed = int(rng.integers(0, LARGEST_SEED, dtype=np.uint64, endpoint=True))
        else:
            try:
                seed = whole_number("rng", rng, 0, LARGEST_SEED)
            except TypeError:
                came = f"{rng!r} ({type(rng).__name__})"
                raise TypeError(f"rng: expected a numpy.random.Generator or an int seed, got {came}") from None
        return Allocation.from_mask(self._net, self.masks(seed, 0, 0, 1)[0])

    def masks(self, seed: int, task: int, first: int, count: int) -> np.ndarray:
        """bool [count, size]: masks of trials first .. first + count - 1, as match_probability meets them."""
        seed, task, first, count = check_trial_range(seed, task, first, count)
        if not self._pieces:
            return np.repeat(self._fixed[None], count, axis=0)
        return cpu.draw_masks(self._net.size, seed, task, first, count, self.recipe)

    def law(self, most: int = 10_000) -> tuple[np.ndarray, np.ndarray] | None:
        """All masks bool [k, size] that can be drawn and their probabilities float64 [k]; None if there are more than `most`."""
        count = 1
        for piece in self._pieces:
            lengths = np.sort(np.diff(piece.offsets))
            count *= comb(len(lengths), piece.pick) * comb(int(lengths[0]), piece.each) ** piece.pick  # at least so many
            if count > most:
                return None
        masks, chances = self._fixed[None], np.ones(1)
        for piece in self._pieces:
            lists = [piece.members[a:b] for a, b in zip(piece.offsets, piece.offsets[1:])]
            chosen: list[np.ndarray] = []
            chance: list[np.ndarray] = []
            for picked in combinations(lists, piece.pick):
                ways = [comb(len(line), piece.each) for line in picked]
                if (sum(map(len, chosen)) + prod(ways)) * len(masks) > most:
                    return None
                parts = [line[_choices(len(line), piece.each)] for line in picked]
                chosen.append(np.concatenate([part[which] for part, which in zip(parts, np.indices(ways).reshape(len(ways), -1))], axis=1))
                chance.append(np.full(prod(ways), 1 / (comb(len(lists), piece.pick) * prod(ways))))
            places = np.concatenate(chosen)
            some = np.zeros((len(places), self._net.size), dtype=bool)
            np.put_along_axis(some, places, True, axis=1)
            masks = (masks[:, None] | some).reshape(-1, self._net.size)
            chances = np.multiply.outer(chances, np.concatenate(chance)).reshape(-1)
        return masks, chances

    def spec(self) -> dict[str, Any]:
        """Plain dict for TOML or JSON, such as {"kind": "scattered", "budget": 10, "within": "W"}."""
        return {key: _plain_copy(value) for key, value in self._spec.items()}

    def picture(self, rng: np.random.Generator | int = 0, shared: tuple[str, ...] = ()) -> str:
        """Text picture of one draw; see `Allocation.picture`."""
        shared = shared_groups(self._net, shared)
        check_frozen(self._net, self._support, shared)
        return self.draw(rng).picture(shared)

    def _key(self) -> tuple:
        pieces = tuple((p.members.tobytes(), p.offsets.tobytes(), p.pick, p.each) for p in self._pieces)
        return self._net, self.name, self._fixed.tobytes(), pieces

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, Strategy) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def __reduce__(self) -> tuple:
        return Strategy, (self._net, self.name, self._fixed, [tuple(p) for p in self._pieces], self._spec)

    def __repr__(self) -> str:
        kind = "random" if self._pieces else "fixed"
        net = self._net
        return f"<Strategy {self.name}: {kind}, {self.budget} of {net.size} weights of {net.describe()}>"


@lru_cache(maxsize=32)
def _choices(many: int, each: int) -> np.ndarray:
    """int64 [binomial(many, each), each]: all ways to choose `each` of `many` places, in order."""
    numbers = chain.from_iterable(combinations(range(many), each))
    return np.fromiter(numbers, np.int64, comb(many, each) * each).reshape(comb(many, each), each)


def as_strategy(allocation: Allocation | Strategy) -> Strategy:
    """A strategy as it is; an allocation as the strategy "given" that always draws it."""
    if isinstance(allocation, Strategy):
        return allocation
    if isinstance(allocation, Allocation):
        return Strategy(allocation.net, allocation.name, allocation.mask, [], allocation.spec())
    raise TypeError(f"allocation: expected an Allocation or a Strategy, got {type(allocation).__name__}")


def check_allocation(net: Parameters, allocation: Allocation | Strategy, shared: tuple[str, ...] = ()) -> Allocation | Strategy:
    """`allocation` itself, if it belongs to `net` and can make no weight of a shared group learnable (D3)."""
    shared = shared_groups(net, shared)
    if not isinstance(allocation, (Allocation, Strategy)):
        raise TypeError(f"allocation: expected an Allocation or a Strategy, got {type(allocation).__name__}")
    if allocation.net != net.layout:
        raise ValueError(f"allocation: expected one of {net.layout.describe()}, got one of {allocation.net.describe()}")
    check_frozen(net, allocation.support, shared)
    return allocation


def fixed_allocation(
    net: Parameters,
    allocation: Allocation | Strategy,
    shared: tuple[str, ...] = (),
    name: str = "allocation",
    hint: str = "; its .draw(seed) gives one of them",
) -> Allocation:
    """The one allocation that `allocation` of `net` always is: itself, or what a fixed strategy draws. TypeError for a random one."""
    check_allocation(net, allocation, shared)
    if isinstance(allocation, Allocation):
        return allocation
    fixed = allocation.allocation
    if fixed is None:
        raise TypeError(
            f"{name}: expected an Allocation or a strategy that always draws the same one, got the random strategy {allocation.name}{hint}"
        )
    return fixed


def always(allocation: Allocation | Strategy) -> Allocation:
    """The allocation, or what a fixed strategy draws; TypeError for others, as `fixed_allocation`, where there is no network to ask."""
    fixed = allocation.allocation if isinstance(allocation, Strategy) else allocation
    if not isinstance(fixed, Allocation):
        raise TypeError(f"allocation: expected an Allocation or a strategy that always draws the same one, got {allocation!r}")
    return fixed


def _plain_copy(value: Any) -> Any:
    return value.copy() if isinstance(value, (list, dict)) else value
