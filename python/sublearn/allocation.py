"""Allocations (D2) and the strategies that make one: which weights of a network may learn.

An `Allocation` is one mask. A `Strategy` is a law of masks of one budget, given by a recipe that the
compiled draws follow (D3). Here masks are described, drawn, named, written to specs and pictured; teachers,
students and inputs are drawn in trial.py, and what an allocation can match is said in theory.py and
measured in match.py.

Several matrices in `within` stand side by side for the strategies that work by rows: ("B", "W") is [B W].
They stand one above the other for those that work by columns: ("W", "D") is W over D, and a column of it is
what leaves one hidden unit. A bias is a matrix with one column.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, product
from math import comb, prod
from typing import Any, NamedTuple

import numpy as np

from ._errors import list_of_names, whole_number
from .network import Network

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
    """

    __slots__ = ("_mask", "_net")

    def __init__(self, net: Network, masks: Mapping[str, Any]) -> None:
        _check_net(net)
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
        _check_net(net)
        self = cls.__new__(cls)
        self._keep(net, _bool_array("mask", mask, (net.size,)).copy())
        return self

    @classmethod
    def from_edges(cls, net: Network, edges: Iterable[tuple]) -> Allocation:
        """The allocation of single weights: (group, row, column) in a matrix, (group, unit) in a bias."""
        _check_net(net)
        shapes, slices = net.groups, net.slices
        mask = np.zeros(net.size, dtype=bool)
        for edge in edges:
            edge = tuple(edge)
            if not edge or edge[0] not in tuple(shapes):
                raise ValueError(
                    f"edges: expected (group, ...) with a group out of {', '.join(shapes)}, got {edge!r}"
                )
            name, place = edge[0], edge[1:]
            if len(place) != len(shapes[name]):
                wanted = "(group, unit)" if net.is_bias(name) else "(group, row, column)"
                raise ValueError(f"edges: expected {wanted} in {name}, got {edge!r}")
            place = tuple(
                whole_number(f"edges: place in {name}", p, 0, length - 1)
                for p, length in zip(place, shapes[name])
            )
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
        return [
            (name, *(int(p) for p in place))
            for name, mask in self.by_group.items()
            for place in np.argwhere(mask)
        ]

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
            raise ValueError(
                f"other: expected an allocation of {self._net.describe()}, got {other._net.describe()}"
            )
        return bool(np.all(self._mask | ~other._mask))

    def picture(self, shared: tuple[str, ...] = ()) -> str:
        """Text, a grid for every group: `#` learnable, `.` frozen, `=` shared with the teacher."""
        return _picture(self, check_shared(self._net, shared))

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
    """A law of masks of one budget, made by the functions below (scattered, rows, only, ...).

    .net .budget .name (short) .spec() .recipe; .support is the bool mask [size] of all weights that could
    learn; .allocation is the one allocation a deterministic strategy always draws, None for a random one.
    Immutable and hashable; equal when network, name and recipe are.
    """

    __slots__ = ("_fixed", "_net", "_pieces", "_spec", "_support", "name")

    def __init__(
        self, net: Network, name: str, fixed: Any, pieces: Sequence[tuple], spec: Mapping[str, Any]
    ) -> None:
        """Start from the mask `fixed` [size], then apply every piece in order; see `Piece`.

        Errors: ValueError if a weight occurs twice, or if a piece asks for more than it has.
        """
        _check_net(net)
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
                raise TypeError(
                    f"rng: expected a numpy.random.Generator or an int seed, got {came}"
                ) from None
        return Allocation.from_mask(self._net, self.masks(seed, 0, 0, 1)[0])

    def masks(self, seed: int, task: int, first: int, count: int) -> np.ndarray:
        """bool [count, size]: masks of trials first .. first + count - 1, as match_probability meets them."""
        seed, task, first, count = check_trial_range(seed, task, first, count)
        if not self._pieces:
            return np.repeat(self._fixed[None], count, axis=0)
        from . import _cpu

        size, recipe = self._net.size, self.recipe
        out = np.empty((count, size), dtype=bool)
        for row in range(count):
            out[row] = _cpu.draw_mask(size, seed, task, first + row, recipe)
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
            chosen, chance = [], []
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


# Strategies in which the weights are drawn


def scattered(net: Network, budget: int, within: str | tuple[str, ...] | None = None) -> Strategy:
    """`budget` weights, uniformly at random without replacement, of the groups `within` (default: all)."""
    names = _groups_within(net, within)
    positions = _positions(net, names)
    budget = whole_number("budget", budget, 0, positions.size, f"the weights of {', '.join(names)}")
    spec = {"kind": "scattered", "budget": budget} | ({} if within is None else _within_spec(within))
    name = "scattered" if within is None else f"scattered({', '.join(names)})"
    return Strategy(net, name, _none(net), [_piece([positions], 1, budget)], spec)


def split(net: Network, budgets: Mapping[str, int]) -> Strategy:
    """So many weights in each group, {"W1": 3, "W2": 3}, scattered inside each."""
    _check_net(net)
    if not isinstance(budgets, Mapping):
        raise TypeError(
            f"budgets: expected a dict such as {{'W1': 3, 'W2': 3}}, got {type(budgets).__name__}"
        )
    if not budgets:
        raise ValueError(f"budgets: expected at least one group out of {', '.join(net.groups)}, got none")
    list_of_names("budgets", list(budgets), tuple(net.groups))
    pieces, checked = [], {}
    for name in net.groups:
        if name in budgets:
            positions = _positions(net, (name,))
            checked[name] = whole_number(
                f"budgets[{name!r}]", budgets[name], 0, positions.size, f"the weights of {name}"
            )
            pieces.append(_piece([positions], 1, checked[name]))
    text = ", ".join(f"{name} {budget}" for name, budget in checked.items())
    return Strategy(net, f"split({text})", _none(net), pieces, {"kind": "split", "budgets": checked})


def per_row(net: Network, rows: int, each: int, within: str | tuple[str, ...]) -> Strategy:
    """`rows` random rows of `within`, and in each of them `each` random weights."""
    lines = _rows_of(net, within)
    return _per_line(net, "per_row", "rows", lines, rows, each, within)


def per_column(net: Network, columns: int, each: int, within: str | tuple[str, ...]) -> Strategy:
    """`columns` random columns of `within`, and in each of them `each` random weights."""
    lines = _columns_of(net, within)
    return _per_line(net, "per_column", "columns", lines, columns, each, within)


def even_rows(net: Network, each: int, within: str | tuple[str, ...]) -> Strategy:
    """`each` random weights in every row of `within` (T4: the cheapest last layer if each = f)."""
    lines = _rows_of(net, within)
    each = whole_number("each", each, 0, len(lines[0]), f"the weights in a row of {_text(within)}")
    spec = {"kind": "even_rows", "each": each} | _within_spec(within)
    return Strategy(net, f"even_rows({_text(within)})", _none(net), [_piece(lines, len(lines), each)], spec)


# Strategies that always give the same weights


def rows(net: Network, budget: int, within: str | tuple[str, ...]) -> Strategy:
    """The first `budget` weights of `within`, row by row."""
    return _first_of_lines(net, "rows", _rows_of(net, within), budget, within)


def columns(net: Network, budget: int, within: str | tuple[str, ...]) -> Strategy:
    """The first `budget` weights of `within`, column by column."""
    return _first_of_lines(net, "columns", _columns_of(net, within), budget, within)


def block(net: Network, shape: tuple[int, int], within: str) -> Strategy:
    """The leading block of `shape` = (height, width) of one group."""
    grid = _one_grid(net, within)
    if not isinstance(shape, (tuple, list)) or len(shape) != 2:
        raise TypeError(f"shape: expected a pair (height, width), got {shape!r}")
    height = whole_number("shape[0]", shape[0], 1, grid.shape[0], f"the rows of {_text(within)}")
    width = whole_number("shape[1]", shape[1], 1, grid.shape[1], f"the columns of {_text(within)}")
    spec = {"kind": "block", "shape": [height, width]} | _within_spec(within)
    return _always(net, f"block({_text(within)}, {height}x{width})", grid[:height, :width].reshape(-1), spec)


def diagonal(net: Network, budget: int, within: str) -> Strategy:
    """The first `budget` weights of one group along the main diagonal, then the wrapped super-diagonals.

    Diagonal d = 0, 1, .. holds (row, (row + d) mod columns) for every row from the top: in a matrix with more
    rows than columns the main diagonal wraps as well, and all diagonals together hold every weight once.
    """
    grid = _one_grid(net, within)
    budget = whole_number("budget", budget, 0, grid.size, f"the weights of {_text(within)}")
    row = np.arange(grid.shape[0])
    order = np.concatenate([grid[row, (row + d) % grid.shape[1]] for d in range(grid.shape[1])])
    spec = {"kind": "diagonal", "budget": budget} | _within_spec(within)
    return _always(net, f"diagonal({_text(within)})", order[:budget], spec)


def only(net: Network, *groups: str) -> Strategy:
    """All weights of the groups named."""
    _check_net(net)
    names = list_of_names("groups", groups, tuple(net.groups))
    if not names:
        raise ValueError(f"groups: expected at least one out of {', '.join(net.groups)}, got none")
    names = tuple(name for name in net.groups if name in names)
    return _always(
        net, f"only({', '.join(names)})", _positions(net, names), {"kind": "only", "groups": list(names)}
    )


def everything(net: Network, shared: tuple[str, ...] = ()) -> Strategy:
    """All weights of all groups that are not shared: N of D3."""
    shared = check_shared(net, shared)
    names = tuple(name for name in net.groups if name not in shared)
    spec = {"kind": "everything"} | ({"shared": list(shared)} if shared else {})
    return _always(net, "everything", _positions(net, names), spec)


def as_strategy(allocation: Allocation | Strategy) -> Strategy:
    """A strategy as it is; an allocation as the strategy "given" that always draws it."""
    if isinstance(allocation, Strategy):
        return allocation
    if isinstance(allocation, Allocation):
        return Strategy(allocation.net, allocation.name, allocation.mask, [], allocation.spec())
    raise TypeError(f"allocation: expected an Allocation or a Strategy, got {type(allocation).__name__}")


# Strategies as plain dicts

_MAKERS = {
    "scattered": (scattered, ("budget",), ("within",)),
    "rows": (rows, ("budget", "within"), ()),
    "columns": (columns, ("budget", "within"), ()),
    "per_row": (per_row, ("rows", "each", "within"), ()),
    "per_column": (per_column, ("columns", "each", "within"), ()),
    "even_rows": (even_rows, ("each", "within"), ()),
    "block": (block, ("shape", "within"), ()),
    "diagonal": (diagonal, ("budget", "within"), ()),
    "split": (split, ("budgets",), ()),
    "only": (lambda net, groups: only(net, *_several(groups)), ("groups",), ()),
    "everything": (everything, (), ("shared",)),
    "given": (lambda net, indices: as_strategy(_allocation_of_indices(net, indices)), ("indices",), ()),
}


def strategy_from_spec(net: Network, spec: Mapping[str, Any], shared: tuple[str, ...] = ()) -> Strategy:
    """The strategy that a plain dict describes, as written in a study or by `Strategy.spec`.

    The keys are "kind" (the name of a function above, or "given" with "indices") and that function's
    arguments.
    With `shared`, what means "all groups" (scattered without `within`, everything) means all others.
    Errors: ValueError that names the unknown kind, the missing key or the unknown key.
    """
    _check_net(net)
    shared = check_shared(net, shared)
    if not isinstance(spec, Mapping):
        raise TypeError(f"spec: expected a dict, got {spec!r} ({type(spec).__name__})")
    kind = spec.get("kind")
    if kind not in tuple(_MAKERS):
        raise ValueError(f"spec['kind']: expected one of {', '.join(_MAKERS)}, got {kind!r}")
    make, needed, optional = _MAKERS[kind]
    arguments = {key: value for key, value in spec.items() if key != "kind"}
    missing = [key for key in needed if key not in arguments]
    unknown = [str(key) for key in arguments if key not in needed + optional]
    if missing or unknown:
        wanted = ", ".join(needed + tuple(f"{key} (optional)" for key in optional)) or "no other key"
        came = f"missing {', '.join(missing) or 'none'}, unknown {', '.join(unknown) or 'none'}"
        raise ValueError(f"spec: expected {wanted} for kind {kind!r}, got {came}")
    if shared and kind == "scattered" and "within" not in arguments:
        arguments["within"] = tuple(name for name in net.groups if name not in shared)
    if shared and kind == "everything" and "shared" not in arguments:
        arguments["shared"] = shared
    return make(net, **arguments)


# Checks that other files use


def check_shared(net: Network, shared: object) -> tuple[str, ...]:
    """`shared` as a tuple of group names in flat order.

    Errors: TypeError for a str, ValueError for an unknown name or one that comes twice.
    """
    _check_net(net)
    names = list_of_names("shared", shared, tuple(net.groups))
    return tuple(name for name in net.groups if name in names)


def check_allocation(
    net: Network, allocation: Allocation | Strategy, shared: tuple[str, ...] = ()
) -> Allocation | Strategy:
    """`allocation` itself, if it belongs to `net` and can make no weight of a shared group learnable (D3)."""
    shared = check_shared(net, shared)
    if not isinstance(allocation, (Allocation, Strategy)):
        raise TypeError(f"allocation: expected an Allocation or a Strategy, got {type(allocation).__name__}")
    if allocation.net != net:
        raise ValueError(
            f"allocation: expected one of {net.describe()}, got one of {allocation.net.describe()}"
        )
    learnable = {name: int(allocation.support[net.slices[name]].sum()) for name in shared}
    clash = [f"{name} ({count})" for name, count in learnable.items() if count]
    if clash:
        raise ValueError(
            f"allocation: expected no learnable weight in the shared groups {', '.join(shared)}, "
            f"got weights that can learn in {', '.join(clash)}"
        )
    return allocation


def fixed_allocation(
    net: Network, allocation: Allocation | Strategy, shared: tuple[str, ...] = (), name: str = "allocation", hint: str = ""
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


def check_trial_range(seed: object, task: object, first: object, count: object) -> tuple[int, int, int, int]:
    """(seed, task, first, count) as ints that the counters of the draws can hold (D3); count >= 1."""
    seed = whole_number("seed", seed, 0, LARGEST_SEED)
    task = whole_number("task", task, 0, LARGEST_WORD)
    first = whole_number("first", first, 0, LARGEST_WORD)
    count = whole_number("count", count, 1, LARGEST_WORD + 1 - first, "trials are numbered in 32 bits")
    return seed, task, first, count


# How positions are laid out


def _positions(net: Network, names: Iterable[str]) -> np.ndarray:
    slices = net.slices
    parts = [np.arange(slices[name].start, slices[name].stop, dtype=np.int64) for name in names]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def _several(names: object) -> object:
    return (names,) if isinstance(names, str) else names


def _groups_within(net: Network, within: object) -> tuple[str, ...]:
    """Names in flat order, at least one."""
    _check_net(net)
    if within is None:
        return tuple(net.groups)
    names = list_of_names("within", _several(within), tuple(net.groups))
    if not names:
        raise ValueError(f"within: expected at least one group out of {', '.join(net.groups)}, got none")
    return tuple(name for name in net.groups if name in names)


def _grids(net: Network, within: object) -> dict[str, np.ndarray]:
    """Flat positions [rows, columns] of each group in `within`, in the order given; a bias has one column."""
    if within is None:
        raise TypeError("within: expected a group name or a tuple of them, got None")
    _groups_within(net, within)
    shapes = net.groups
    return {name: _positions(net, (name,)).reshape(shapes[name][0], -1) for name in _several(within)}


def _one_grid(net: Network, within: object) -> np.ndarray:
    grids = _grids(net, within)
    if len(grids) != 1:
        raise ValueError(f"within: expected one group, got {', '.join(grids)}")
    return next(iter(grids.values()))


def _rows_of(net: Network, within: object) -> list[np.ndarray]:
    grids = _grids(net, within)
    if len({grid.shape[0] for grid in grids.values()}) != 1:
        came = ", ".join(f"{name} with {grid.shape[0]}" for name, grid in grids.items())
        raise ValueError(f"within: expected groups with the same number of rows, got {came}")
    return list(np.concatenate(list(grids.values()), axis=1))


def _columns_of(net: Network, within: object) -> list[np.ndarray]:
    grids = _grids(net, within)
    if len({grid.shape[1] for grid in grids.values()}) != 1:
        came = ", ".join(f"{name} with {grid.shape[1]}" for name, grid in grids.items())
        raise ValueError(f"within: expected groups with the same number of columns, got {came}")
    return list(np.concatenate(list(grids.values()), axis=0).T)


# How strategies are put together


def _none(net: Network) -> np.ndarray:
    return np.zeros(net.size, dtype=bool)


def _always(net: Network, name: str, positions: np.ndarray, spec: dict[str, Any]) -> Strategy:
    fixed = _none(net)
    fixed[positions] = True
    return Strategy(net, name, fixed, [], spec)


def _piece(lists: Sequence[np.ndarray], pick: int, each: int) -> Piece:
    offsets = np.concatenate([[0], np.cumsum([len(line) for line in lists])]).astype(np.int64)
    return Piece(np.concatenate(lists).astype(np.int64), offsets, pick, each)


def _per_line(
    net: Network, kind: str, word: str, lines: list[np.ndarray], pick: object, each: object, within: object
) -> Strategy:
    pick = whole_number(word, pick, 0, len(lines), f"the {word} of {_text(within)}")
    each = whole_number("each", each, 0, len(lines[0]), f"the weights in a {word[:-1]} of {_text(within)}")
    spec = {"kind": kind, word: pick, "each": each} | _within_spec(within)
    return Strategy(
        net, f"{kind}({_text(within)}, {pick}x{each})", _none(net), [_piece(lines, pick, each)], spec
    )


def _first_of_lines(
    net: Network, kind: str, lines: list[np.ndarray], budget: object, within: object
) -> Strategy:
    order = np.concatenate(lines)
    budget = whole_number("budget", budget, 0, order.size, f"the weights of {_text(within)}")
    spec = {"kind": kind, "budget": budget} | _within_spec(within)
    return _always(net, f"{kind}({_text(within)})", order[:budget], spec)


def _text(within: object) -> str:
    return ", ".join(_several(within))


def _within_spec(within: object) -> dict[str, Any]:
    names = _several(within)
    return {"within": names[0] if len(names) == 1 else list(names)}


def _plain_copy(value: Any) -> Any:
    return value.copy() if isinstance(value, (list, dict)) else value


def _allocation_of_indices(net: Network, indices: object) -> Allocation:
    if not isinstance(indices, (list, tuple, np.ndarray)):
        raise TypeError(f"indices: expected a list of flat positions, got {indices!r}")
    mask = _none(net)
    for index in indices:
        position = whole_number("indices", index, 0, net.size - 1)
        if mask[position]:
            raise ValueError(f"indices: expected each position once, got {position} twice")
        mask[position] = True
    return Allocation.from_mask(net, mask)


# Checks of what this file keeps


def _check_net(net: object) -> None:
    if not isinstance(net, Network):
        raise TypeError(f"net: expected a Recurrent or Feedforward network, got {type(net).__name__}")


def _bool_array(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
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
    if (
        offsets.ndim != 1
        or offsets.size < 2
        or offsets[0] != 0
        or offsets[-1] != members.size
        or (lengths < 0).any()
    ):
        raise ValueError(
            f"{name}: expected offsets that rise from 0 to {members.size}, got {offsets.tolist()}"
        )
    if members.ndim != 1 or np.unique(members).size != members.size:
        raise ValueError(f"{name}: expected a flat list of distinct positions, got {members.tolist()}")
    if members.size and (members.min() < 0 or members.max() >= size):
        raise ValueError(
            f"{name}: expected positions from 0 to {size - 1}, got {members.min()} to {members.max()}"
        )
    pick = whole_number(f"{name} pick", piece.pick, 0, len(lengths), "the number of lists")
    each = whole_number(f"{name} each", piece.each, 0, int(lengths.min()), "the shortest list")
    members.setflags(write=False)
    offsets.setflags(write=False)
    return Piece(members, offsets, pick, each)


# Pictures

_LEARNABLE, _FROZEN, _SHARED = "#", ".", "="
_PICTURE_WIDTH = 100


def _picture(allocation: Allocation, shared: tuple[str, ...]) -> str:
    """Groups side by side, as many as fit into 100 columns; a bias is a column."""
    check_allocation(allocation.net, allocation, shared)
    panels = []
    for name, mask in allocation.by_group.items():
        grid = mask.reshape(mask.shape[0], -1)
        if name in shared:
            title, lines = f"{name} shared", [_SHARED * grid.shape[1]] * grid.shape[0]
        else:
            title = f"{name} {int(grid.sum())}/{grid.size}"
            lines = ["".join(_LEARNABLE if entry else _FROZEN for entry in row) for row in grid]
        width = max(len(title), grid.shape[1])
        panels.append([line.ljust(width) for line in [title, *lines]])
    bands: list[list[list[str]]] = []
    for panel in panels:
        taken = sum(len(other[0]) + 3 for other in bands[-1]) if bands else 0
        if bands and taken + len(panel[0]) <= _PICTURE_WIDTH:
            bands[-1].append(panel)
        else:
            bands.append([panel])
    net, legend = (
        allocation.net,
        f"{_LEARNABLE} learnable, {_FROZEN} frozen" + (f", {_SHARED} shared" if shared else ""),
    )
    text = [f"{net.describe()}: {allocation.budget} of {net.size} weights learn ({legend})"]
    for band in bands:
        height = max(map(len, band))
        padded = [panel + [" " * len(panel[0])] * (height - len(panel)) for panel in band]
        text += [""] + ["   ".join(parts).rstrip() for parts in zip(*padded)]
    return "\n".join(text)
