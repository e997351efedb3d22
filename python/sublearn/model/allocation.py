"""Allocations (D2) and laws of them: which weights of a network may learn.

An `Allocation` is one mask. A `Strategy` is a law of masks of one budget, given by a recipe that the compiled draws follow (D3); the
functions that make one are in model/strategies.py. Here masks are described, drawn and checked; teachers, students and inputs are drawn in
data/trials.py, and what an allocation can match is said in theory/predict.py and measured in match/probability.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, product
from math import comb, prod
from typing import Any, NamedTuple

import numpy as np

from .._checks import list_of_names, no_mask, whole_number
from .network import Network
from .picture import picture

LARGEST_WORD = 2**32 - 1
LARGEST_SEED = 2**64 - 1


class Piece(NamedTuple):
    """One random step of a recipe: choose `pick` of the lists, then `each` members in every chosen list.

    List number l is members[offsets[l]:offsets[l + 1]] (flat positions); lists of one piece share no member.
    """

    members: np.ndarray
    offsets: np.ndarray
    pick: int
    each: int


class Allocation:
    """Which weights of `net` may learn (D2): a bool mask for every group.

    `masks`: dict of bool arrays with the shapes of the groups; a missing group learns nothing.
    Immutable and hashable; two allocations are equal when network and mask are.
    Errors: ValueError for an unknown group or a wrong shape, TypeError for a mask that is not bool.

    >>> net = sl.Feedforward(widths=(3, 4, 2), samples=3)
    >>> a = sl.Allocation(net, {"W2": np.eye(2, 4, dtype=bool)})
    >>> a.budget, a.indices
    (2, array([12, 17]))
    """

    __slots__ = ("_mask", "_net")

    def __init__(self, net: Network, masks: Mapping[str, Any]) -> None:
        check_net(net)
        if not isinstance(masks, Mapping):
            raise TypeError(f"masks: expected a dict of bool arrays by group, got {type(masks).__name__}")
        shapes = net.groups
        list_of_names("masks", list(masks), tuple(shapes))
        flat = np.zeros(net.size, dtype=bool)
        for name, where in net.slices.items():
            if name in masks:
                flat[where] = _bool_array(f"masks[{name!r}]", masks[name], shapes[name]).reshape(-1)
        self._keep(net, flat)

    def _keep(self, net: Network, mask: np.ndarray) -> None:
        mask.setflags(write=False)
        self._net, self._mask = net, mask

    @classmethod
    def from_mask(cls, net: Network, mask: Any) -> Allocation:
        """The allocation of a flat bool mask [size]."""
        check_net(net)
        self = cls.__new__(cls)
        self._keep(net, _bool_array("mask", mask, (net.size,)).copy())
        return self

    @classmethod
    def from_edges(cls, net: Network, edges: Iterable[tuple]) -> Allocation:
        """The allocation of single weights: (group, row, column) in a matrix, (group, unit) in a bias."""
        check_net(net)
        shapes, slices = net.groups, net.slices
        mask = np.zeros(net.size, dtype=bool)
        for edge in edges:
            edge = tuple(edge)
            if not edge or edge[0] not in tuple(shapes):
                raise ValueError(f"edges: expected (group, ...) with a group out of {', '.join(shapes)}, got {edge!r}")
            name, place = edge[0], edge[1:]
            if len(place) != len(shapes[name]):
                wanted = "(group, unit)" if net.is_bias(name) else "(group, row, column)"
                raise ValueError(f"edges: expected {wanted} in {name}, got {edge!r}")
            place = tuple(whole_number(f"edges: place in {name}", p, 0, length - 1) for p, length in zip(place, shapes[name]))
            position = slices[name].start + int(np.ravel_multi_index(place, shapes[name]))
            if mask[position]:
                raise ValueError(f"edges: expected each weight once, got {edge!r} twice")
            mask[position] = True
        return cls.from_mask(net, mask)

    @property
    def net(self) -> Network:
        return self._net

    @property
    def mask(self) -> np.ndarray:
        """bool [size], read-only."""
        return self._mask

    @property
    def support(self) -> np.ndarray:
        """bool [size]: the weights that could learn; for an allocation the mask itself."""
        return self._mask

    @property
    def budget(self) -> int:
        """Number of learnable weights, r."""
        return int(self._mask.sum())

    @property
    def indices(self) -> np.ndarray:
        """int64 [budget]: flat positions of the learnable weights, ascending."""
        return np.flatnonzero(self._mask).astype(np.int64)

    @property
    def by_group(self) -> dict[str, np.ndarray]:
        """Read-only bool arrays with the shapes of the groups, for all groups in flat order."""
        return self._net.unpack(self._mask)

    @property
    def edges(self) -> list[tuple]:
        """What `from_edges` reads: (group, row, column) or (group, unit) per learnable weight."""
        return [(name, *(int(p) for p in place)) for name, mask in self.by_group.items() for place in np.argwhere(mask)]

    @property
    def recipe(self) -> tuple[np.ndarray, list[Piece]]:
        """(mask, []): the recipe that always gives this mask."""
        return self._mask, []

    @property
    def name(self) -> str:
        return "given"

    def spec(self) -> dict[str, Any]:
        """{"kind": "given", "indices": [...]}, which `strategy_from_spec` reads back."""
        return {"kind": "given", "indices": self.indices.tolist()}

    def contains(self, other: Allocation) -> bool:
        """Whether every weight that learns in `other` learns here too (the order of T9)."""
        if not isinstance(other, Allocation):
            raise TypeError(f"other: expected an Allocation, got {type(other).__name__}")
        if other._net != self._net:
            raise ValueError(f"other: expected an allocation of {self._net.describe()}, got {other._net.describe()}")
        return bool(np.all(self._mask | ~other._mask))

    def picture(self, shared: tuple[str, ...] = ()) -> str:
        """Text, a grid for every group: `#` learnable, `.` frozen, `=` shared with the teacher."""
        shared = check_shared(self._net, shared)
        check_allocation(self._net, self, shared)
        return picture(self._net, self.by_group, shared)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Allocation):
            return NotImplemented
        return self._net == other._net and bool(np.array_equal(self._mask, other._mask))

    def __hash__(self) -> int:
        return hash((self._net, self._mask.tobytes()))

    def __reduce__(self) -> tuple:
        return Allocation.from_mask, (self._net, self._mask)

    def __repr__(self) -> str:
        counts = [f"{name} {int(mask.sum())}" for name, mask in self.by_group.items() if mask.any()]
        where = f" ({', '.join(counts)})" if counts else ""
        return f"<Allocation: {self.budget} of {self._net.size} weights{where} of {self._net.describe()}>"


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

    def __init__(self, net: Network, name: str, fixed: Any, pieces: Sequence[tuple], spec: Mapping[str, Any]) -> None:
        """Start from the mask `fixed` [size], then apply every piece in order; see `Piece`.

        Errors: ValueError if a weight occurs twice, or if a piece asks for more than it has.
        """
        check_net(net)
        fixed = _bool_array("fixed", fixed, (net.size,)).copy()
        support, kept = fixed.copy(), []
        for number, piece in enumerate(pieces):
            piece = _checked_piece(f"pieces[{number}]", Piece(*piece), net.size)
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
        self._net, self._fixed, self._pieces, self._support = net, fixed, kept, support
        self._spec, self.name = dict(spec), name

    @property
    def net(self) -> Network:
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
        from ..backend.compiled import cpu

        size, recipe = self._net.size, self.recipe
        out = np.empty((count, size), dtype=bool)
        for row in range(count):
            out[row] = cpu.draw_mask(size, seed, task, first + row, recipe)
        return out

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
            chance: list[float] = []
            for picked in combinations(lists, piece.pick):
                for parts in product(*(combinations(line, piece.each) for line in picked)):
                    chosen.append(np.concatenate(parts))
                    if len(chosen) * len(masks) > most:
                        return None
                ways = comb(len(lists), piece.pick) * prod(comb(len(line), piece.each) for line in picked)
                chance += [1 / ways] * (len(chosen) - len(chance))
            some = np.zeros((len(chosen), self._net.size), dtype=bool)
            np.put_along_axis(some, np.array(chosen), True, axis=1)
            masks = (masks[:, None] | some).reshape(-1, self._net.size)
            chances = np.multiply.outer(chances, chance).reshape(-1)
        return masks, chances

    def spec(self) -> dict[str, Any]:
        """Plain dict for TOML or JSON, such as {"kind": "scattered", "budget": 10, "within": "W"}."""
        return {key: _plain_copy(value) for key, value in self._spec.items()}

    def picture(self, rng: np.random.Generator | int = 0, shared: tuple[str, ...] = ()) -> str:
        """Text picture of one draw; see `Allocation.picture`."""
        shared = check_shared(self._net, shared)
        check_allocation(self._net, self, shared)
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


def as_strategy(allocation: Allocation | Strategy) -> Strategy:
    """A strategy as it is; an allocation as the strategy "given" that always draws it."""
    if isinstance(allocation, Strategy):
        return allocation
    if isinstance(allocation, Allocation):
        return Strategy(allocation.net, allocation.name, allocation.mask, [], allocation.spec())
    raise TypeError(f"allocation: expected an Allocation or a Strategy, got {type(allocation).__name__}")


# Checks that other files use


def check_shared(net: Network, shared: object) -> tuple[str, ...]:
    """`shared` as a tuple of group names in flat order.

    Errors: TypeError for a str, ValueError for an unknown name or one that comes twice.
    """
    check_net(net)
    names = list_of_names("shared", shared, tuple(net.groups))
    return tuple(name for name in net.groups if name in names)


def check_allocation(net: Network, allocation: Allocation | Strategy, shared: tuple[str, ...] = ()) -> Allocation | Strategy:
    """`allocation` itself, if it belongs to `net` and can make no weight of a shared group learnable (D3)."""
    shared = check_shared(net, shared)
    if not isinstance(allocation, (Allocation, Strategy)):
        raise TypeError(f"allocation: expected an Allocation or a Strategy, got {type(allocation).__name__}")
    if allocation.net != net:
        raise ValueError(f"allocation: expected one of {net.describe()}, got one of {allocation.net.describe()}")
    learnable = {name: int(allocation.support[net.slices[name]].sum()) for name in shared}
    clash = [f"{name} ({count})" for name, count in learnable.items() if count]
    if clash:
        raise ValueError(
            f"allocation: expected no learnable weight in the shared groups {', '.join(shared)}, "
            f"got weights that can learn in {', '.join(clash)}"
        )
    return allocation


def fixed_allocation(
    net: Network,
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


def check_trial_range(seed: object, task: object, first: object, count: object, name: str = "count") -> tuple[int, int, int, int]:
    """(seed, task, first, count) as ints that the counters of the draws can hold (D3); count >= 1, called `name` in errors."""
    seed = whole_number("seed", seed, 0, LARGEST_SEED)
    task = whole_number("task", task, 0, LARGEST_WORD)
    first = whole_number("first", first, 0, LARGEST_WORD)
    count = whole_number(name, count, 1, LARGEST_WORD + 1 - first, "trials are numbered in 32 bits")
    return seed, task, first, count


# Checks of what this file keeps


def check_net(net: object) -> None:
    if not isinstance(net, Network):
        raise TypeError(f"net: expected a Recurrent or Feedforward network, got {type(net).__name__}")


def _bool_array(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    no_mask(name, value)
    try:
        array = np.asarray(value)
    except ValueError:
        raise ValueError(f"{name}: expected a bool array of shape {shape}, got a ragged list") from None
    if array.dtype != np.bool_:
        raise TypeError(f"{name}: expected a bool array, got dtype {array.dtype}")
    if array.shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {array.shape}")
    return array


def _checked_piece(name: str, piece: Piece, size: int) -> Piece:
    members = np.array(piece.members, dtype=np.int64)
    offsets = np.array(piece.offsets, dtype=np.int64)
    lengths = np.diff(offsets)
    if offsets.ndim != 1 or offsets.size < 2 or offsets[0] != 0 or offsets[-1] != members.size or (lengths < 0).any():
        raise ValueError(f"{name}: expected offsets that rise from 0 to {members.size}, got {offsets.tolist()}")
    if members.ndim != 1 or np.unique(members).size != members.size:
        raise ValueError(f"{name}: expected a flat list of distinct positions, got {members.tolist()}")
    if members.size and (members.min() < 0 or members.max() >= size):
        raise ValueError(f"{name}: expected positions from 0 to {size - 1}, got {members.min()} to {members.max()}")
    pick = whole_number(f"{name} pick", piece.pick, 0, len(lengths), "the number of lists")
    each = whole_number(f"{name} each", piece.each, 0, int(lengths.min()), "the shortest list")
    members.setflags(write=False)
    offsets.setflags(write=False)
    return Piece(members, offsets, pick, each)


def _plain_copy(value: Any) -> Any:
    return value.copy() if isinstance(value, (list, dict)) else value
