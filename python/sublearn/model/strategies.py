"""Strategies: the rules by which weights are chosen, by name, by call and as the plain dicts of a study.

Each function makes a `Strategy` (model/allocation.py), a law of masks of one budget. Several matrices in `within` stand side by side for
the strategies that work by rows: ("B", "W") is [B W]. They stand one above the other for those that work by columns: ("W", "D") is W over
D, and a column of it is what leaves one hidden unit. A bias is a matrix with one column.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .._checks import list_of_names, whole_number
from .allocation import Allocation
from .checks import check_net, check_parameters, shared_groups
from .layers import last_layer
from .network import Network
from .parameters import Parameters
from .recipe import Piece
from .strategy import Strategy, as_strategy

# The registry


class Kind(NamedTuple):
    """What the name of a strategy means wherever it is written: in a call, in a study's file, on the command line, in a report.

    make(net, **arguments) -> Strategy. needed, optional: names of the arguments, those of `make` after net.
    size: the arguments that one entry of `budgets` holds in a study's file; ("budget",) is one whole number, ("budgets",) a number for each
    group, () nothing. within: the argument that takes the group names, None if there is none.
    sentence: which weights learn, for {groups}; size_text: the size in words, of the arguments and the budget.
    """

    make: Callable[..., Strategy]
    needed: tuple[str, ...]
    optional: tuple[str, ...]
    size: tuple[str, ...]
    within: str | None
    sentence: str
    size_text: str

    @property
    def by_group(self) -> bool:
        """Whether its size is a number for each group."""
        return self.size == ("budgets",)


STRATEGIES: dict[str, Kind] = {}


def _kind(
    sentence: str,
    size: tuple[str, ...] = (),
    within: str | None = None,
    size_text: str = "{budget}",
    needed: tuple[str, ...] | None = None,
) -> Callable:
    """Enters the function below it into STRATEGIES under its name: all there is to do for a new strategy, beside its name in `sublearn`."""

    def enter(make: Callable[..., Strategy]) -> Callable[..., Strategy]:
        arguments = list(inspect.signature(make).parameters.values())[1:]
        several = [a.name for a in arguments if a.kind is a.VAR_POSITIONAL]  # `only` takes its groups one by one
        must = tuple(a.name for a in arguments if a.default is a.empty) if needed is None else needed
        optional = tuple(a.name for a in arguments if a.default is not a.empty) if needed is None else ()
        call = make if not several else lambda net, **given: make(net, *_several(given[several[0]]))
        STRATEGIES[make.__name__.strip("_")] = Kind(call, must, optional, size, within, sentence, size_text)
        return make

    return enter


# Strategies in which the weights are drawn


@_kind("r weights drawn at random in {groups}, anew for every trial", ("budget",), "within")
def scattered(net: Parameters, budget: int, within: str | tuple[str, ...] | None = None) -> Strategy:
    """`budget` weights, uniformly at random without replacement, of the groups `within` (default: all).

    >>> net = sl.Recurrent(inputs=1, hidden=4, outputs=1, steps=5)
    >>> sl.scattered(net, 5, "W").draw(0).indices
    array([ 4,  7, 11, 14, 17])
    """
    names = _groups_within(net, within)
    positions = _positions(net, names)
    budget = whole_number("budget", budget, 0, positions.size, f"the weights of {', '.join(names)}")
    spec = {"kind": "scattered", "budget": budget} | ({} if within is None else _within_spec(within))
    name = "scattered" if within is None else f"scattered({', '.join(names)})"
    return Strategy(net, name, _none(net), [_piece([positions], 1, budget)], spec)


@_kind("a number of weights in each of {groups}, drawn at random, anew for every trial", ("budgets",))
def split(net: Parameters, budgets: Mapping[str, int]) -> Strategy:
    """A number of weights for each group, {"W1": 3, "W2": 3}, scattered inside it.

    >>> net = sl.Feedforward(widths=(3, 4, 2), samples=3)
    >>> sl.split(net, {"W1": 3, "W2": 2}).draw(0).indices
    array([ 5,  9, 10, 12, 16])
    """
    check_parameters(net)
    if not isinstance(budgets, Mapping):
        raise TypeError(f"budgets: expected a dict such as {{'W1': 3, 'W2': 3}}, got {type(budgets).__name__}")
    if not budgets:
        raise ValueError(f"budgets: expected at least one group out of {', '.join(net.groups)}, got none")
    list_of_names("budgets", list(budgets), tuple(net.groups))
    pieces, checked = [], {}
    for name in net.groups:
        if name in budgets:
            positions = _positions(net, (name,))
            checked[name] = whole_number(f"budgets[{name!r}]", budgets[name], 0, positions.size, f"the weights of {name}")
            pieces.append(_piece([positions], 1, checked[name]))
    text = ", ".join(f"{name} {budget}" for name, budget in checked.items())
    return Strategy(net, f"split({text})", _none(net), pieces, {"kind": "split", "budgets": checked})


@_kind("random rows of {groups}, random weights in each, anew for every trial", ("rows", "each"), "within", "{rows} rows x {each}")
def per_row(net: Parameters, rows: int, each: int, within: str | tuple[str, ...]) -> Strategy:
    """`rows` random rows of `within`, and in each of them `each` random weights.

    >>> net = sl.Recurrent(inputs=1, hidden=4, outputs=1, steps=5)
    >>> sl.per_row(net, rows=2, each=3, within="W").draw(0).indices
    array([ 4,  5,  6, 17, 18, 19])
    """
    lines = _rows_of(net, within)
    return _per_line(net, "per_row", "rows", lines, rows, each, within)


@_kind(
    "random columns of {groups}, random weights in each, anew for every trial",
    size=("columns", "each"),
    within="within",
    size_text="{columns} columns x {each}",
    needed=("columns", "each", "within"),  # `rows` is another name of `columns` in calls only
)
def per_column(
    net: Parameters,
    columns: int | None = None,
    each: int | None = None,
    within: str | tuple[str, ...] | None = None,
    *,
    rows: int | None = None,
) -> Strategy:
    """`columns` random columns of `within`, and in each of them `each` random weights.

    `rows` is another name of `columns`, so that a call of `per_row` by keywords can be turned.

    >>> net = sl.Recurrent(inputs=1, hidden=4, outputs=1, steps=5)
    >>> sl.per_column(net, columns=2, each=3, within="W").draw(0).indices
    array([ 4,  8, 11, 12, 15, 19])
    """
    if columns is not None and rows is not None:
        raise TypeError(f"columns: expected columns or rows, its other name, got both: {columns!r} and {rows!r}")
    columns = rows if columns is None else columns
    lines = _columns_of(net, within)
    return _per_line(net, "per_column", "columns", lines, columns, each, within)


@_kind("equally many random weights in every row of {groups}, anew for every trial", ("each",), "within", "{each} per row")
def even_rows(net: Parameters, each: int, within: str | tuple[str, ...]) -> Strategy:
    """`each` random weights in every row of `within` (T4: the cheapest last layer if each = f).

    >>> net = sl.Recurrent(inputs=1, hidden=4, outputs=1, steps=5)
    >>> sl.even_rows(net, 1, "W").draw(0).indices
    array([ 6,  8, 12, 18])
    """
    lines = _rows_of(net, within)
    each = whole_number("each", each, 0, len(lines[0]), f"the weights in a row of {_text(within)}")
    spec = {"kind": "even_rows", "each": each} | _within_spec(within)
    return Strategy(net, f"even_rows({_text(within)})", _none(net), [_piece(lines, len(lines), each)], spec)


# Strategies that always give the same weights


@_kind("the first r weights of {groups}, row by row", ("budget",), "within")
def rows(net: Parameters, budget: int, within: str | tuple[str, ...]) -> Strategy:
    """The first `budget` weights of `within`, row by row.

    >>> net = sl.Recurrent(inputs=1, hidden=4, outputs=1, steps=5)
    >>> print(sl.rows(net, 5, "W").picture())
    recurrent 1-4-1, T=5, linear: 5 of 24 weights learn (# learnable, . frozen)
    <BLANKLINE>
    B 0/4   W 5/16   D 0/4
    .       ####     ....
    .       #...
    .       ....
    .       ....
    """
    return _first_of_lines(net, "rows", _rows_of(net, within), budget, within)


@_kind("the first r weights of {groups}, column by column", ("budget",), "within")
def columns(net: Parameters, budget: int, within: str | tuple[str, ...]) -> Strategy:
    """The first `budget` weights of `within`, column by column.

    >>> net = sl.Recurrent(inputs=1, hidden=4, outputs=1, steps=5)
    >>> sl.columns(net, 5, "W").draw(0).indices
    array([ 4,  5,  8, 12, 16])
    """
    return _first_of_lines(net, "columns", _columns_of(net, within), budget, within)


@_kind("the leading block of {groups}", ("shape",), "within", "{shape[0]}x{shape[1]} block")
def block(net: Parameters, shape: tuple[int, int], within: str) -> Strategy:
    """The leading block of `shape` = (height, width) of one group.

    >>> net = sl.Recurrent(inputs=1, hidden=4, outputs=1, steps=5)
    >>> sl.block(net, (2, 3), "W").draw(0).indices
    array([ 4,  5,  6,  8,  9, 10])
    """
    grid = _one_grid(net, within)
    if not isinstance(shape, (tuple, list)) or len(shape) != 2:
        raise TypeError(f"shape: expected a pair (height, width), got {shape!r}")
    height = whole_number("shape[0]", shape[0], 1, grid.shape[0], f"the rows of {_text(within)}")
    width = whole_number("shape[1]", shape[1], 1, grid.shape[1], f"the columns of {_text(within)}")
    spec = {"kind": "block", "shape": [height, width]} | _within_spec(within)
    return _always(net, f"block({_text(within)}, {height}x{width})", grid[:height, :width].reshape(-1), spec)


@_kind("the first r weights of {groups} along its diagonals", ("budget",), "within")
def diagonal(net: Parameters, budget: int, within: str) -> Strategy:
    """The first `budget` weights of one group along the main diagonal, then the wrapped super-diagonals.

    Diagonal d = 0, 1, .. holds (row, (row + d) mod columns) for every row from the top: in a matrix with more
    rows than columns the main diagonal wraps as well, and all diagonals together hold every weight once.

    >>> net = sl.Recurrent(inputs=1, hidden=4, outputs=1, steps=5)
    >>> sl.diagonal(net, 5, "W").draw(0).indices
    array([ 4,  5,  9, 14, 19])
    """
    grid = _one_grid(net, within)
    budget = whole_number("budget", budget, 0, grid.size, f"the weights of {_text(within)}")
    row = np.arange(grid.shape[0])
    order = np.concatenate([grid[row, (row + d) % grid.shape[1]] for d in range(grid.shape[1])])
    spec = {"kind": "diagonal", "budget": budget} | _within_spec(within)
    return _always(net, f"diagonal({_text(within)})", order[:budget], spec)


@_kind("all weights of {groups}", within="groups")
def only(net: Parameters, *groups: str) -> Strategy:
    """All weights of the groups named.

    >>> net = sl.Feedforward(widths=(3, 4, 2), samples=3)
    >>> sl.only(net, "W2").budget
    8
    """
    check_parameters(net)
    names = list_of_names("groups", groups, tuple(net.groups))
    if not names:
        raise ValueError(f"groups: expected at least one out of {', '.join(net.groups)}, got none")
    names = tuple(name for name in net.groups if name in names)
    return _always(net, f"only({', '.join(names)})", _positions(net, names), {"kind": "only", "groups": list(names)})


@_kind("all biases that are not shared")
def biases(net: Network, shared: tuple[str, ...] = ()) -> Strategy:
    """All biases that are not shared: one random network, many tasks, one vector of biases each (Williams et al. 2024). `only`, by what
    the groups are.

    >>> net = sl.Feedforward(widths=(3, 4, 2), samples=3, bias=True, gain=True)
    >>> sl.biases(net).name, sl.gains(net).name, sl.readout(net).name
    ('only(b1, b2)', 'only(g1)', 'only(W2, b2)')
    """
    check_net(net)
    return _but_shared(net, "biases (bias=True makes some)", net.bias, shared)


@_kind("all gains of units that are not shared")
def gains(net: Network, shared: tuple[str, ...] = ()) -> Strategy:
    """All gains of units that are not shared; see `biases`. They alone match up to floor(n / o) samples (T2).

    >>> net = sl.Feedforward(widths=(3, 8, 2), samples=4, activation="tanh", gain=True)
    >>> sl.predict(net, sl.gains(net)).kind, sl.predict(net.at(5), sl.gains(net.at(5))).kind
    ('maximal', 'minimal')
    """
    check_net(net)
    return _but_shared(net, "gains (gain=True makes some)", net.gain, shared)


@_kind("the last layer, as far as it is not shared")
def readout(net: Network, shared: tuple[str, ...] = ()) -> Strategy:
    """All weights of the last layer, its bias included, as far as it is not shared; see `biases`.

    >>> sl.readout(sl.Recurrent(inputs=2, hidden=8, outputs=2, steps=6, bias=True)).name
    'only(D, c)'
    """
    check_net(net)
    return _but_shared(net, "a last layer", tuple(name for name in last_layer(net) if name is not None), shared)


def _but_shared(net: Network, what: str, names: tuple[str, ...], shared: tuple[str, ...]) -> Strategy:
    own = [name for name in names if name not in shared_groups(net, shared)]
    if not own:
        raise ValueError(f"net: expected a network with {what} that are not shared, got none in {net.describe()}")
    return only(net, *own)


@_kind("all weights that are not shared")
def everything(net: Parameters, shared: tuple[str, ...] = ()) -> Strategy:
    """All weights of all groups that are not shared: N of D3.

    >>> net = sl.Feedforward(widths=(3, 4, 2), samples=3)
    >>> sl.everything(net, shared=("W1",)).budget
    8
    """
    shared = shared_groups(net, shared)
    names = tuple(name for name in net.groups if name not in shared)
    spec = {"kind": "everything"} | ({"shared": list(shared)} if shared else {})
    return _always(net, "everything", _positions(net, names), spec)


# Strategies as plain dicts


@_kind("the weights listed")
def _given(net: Parameters, indices: object) -> Strategy:
    return as_strategy(_allocation_of_indices(net, indices))


@_kind("the weights listed in the study")
def _edges(net: Parameters, edges: Iterable[Sequence]) -> Strategy:
    return as_strategy(Allocation.from_edges(net, [tuple(edge) for edge in edges]))


def size_text(spec: Mapping[str, Any], budget: int) -> str:
    """The size of a strategy, given by its spec, in words: "10", "2 rows x 5", "W1 3 + W2 3"."""
    kind = STRATEGIES[spec["kind"]]
    if kind.by_group:
        return " + ".join(f"{group} {count}" for group, count in spec["budgets"].items())
    return kind.size_text.format(budget=budget, **{key: value for key, value in spec.items() if key in kind.size and key != "budget"})


def strategy_from_spec(net: Parameters, spec: Mapping[str, Any], shared: tuple[str, ...] = ()) -> Strategy:
    """The strategy that a plain dict describes, as written in a study or by `Strategy.spec`.

    The keys are "kind" (the name of a function above, or "given" with "indices") and that function's
    arguments.
    With `shared`, what means "all groups" (scattered without `within`, everything) means all others.
    Errors: ValueError that names the unknown kind, the missing key or the unknown key.
    """
    check_parameters(net)
    shared = shared_groups(net, shared)
    if not isinstance(spec, Mapping):
        raise TypeError(f"spec: expected a dict, got {spec!r} ({type(spec).__name__})")
    kind = spec.get("kind")
    if kind not in tuple(STRATEGIES):
        raise ValueError(f"spec['kind']: expected one of {', '.join(STRATEGIES)}, got {kind!r}")
    make, needed, optional = STRATEGIES[kind][:3]
    arguments = {key: value for key, value in spec.items() if key != "kind"}
    missing = [key for key in needed if key not in arguments]
    unknown = [str(key) for key in arguments if key not in needed + optional]
    if missing or unknown:
        wanted = ", ".join(needed + tuple(f"{key} (optional)" for key in optional)) or "no other key"
        came = f"missing {', '.join(missing) or 'none'}, unknown {', '.join(unknown) or 'none'}"
        raise ValueError(f"spec: expected {wanted} for kind {kind!r}, got {came}")
    if shared and "within" in optional and "within" not in arguments:
        arguments["within"] = tuple(name for name in net.groups if name not in shared)
    if shared and "shared" in optional and "shared" not in arguments:
        arguments["shared"] = shared
    return make(net, **arguments)


# How positions are laid out


def _positions(net: Parameters, names: Iterable[str]) -> np.ndarray:
    slices = net.slices
    parts = [np.arange(slices[name].start, slices[name].stop, dtype=np.int64) for name in names]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def _several(names: Any) -> Any:
    return (names,) if isinstance(names, str) else names


def _groups_within(net: Parameters, within: Any) -> tuple[str, ...]:
    """Names in flat order, at least one."""
    check_parameters(net)
    if within is None:
        return tuple(net.groups)
    names = list_of_names("within", _several(within), tuple(net.groups))
    if not names:
        raise ValueError(f"within: expected at least one group out of {', '.join(net.groups)}, got none")
    return tuple(name for name in net.groups if name in names)


def _grids(net: Parameters, within: object) -> dict[str, np.ndarray]:
    """Flat positions [rows, columns] of each group in `within`, in the order given; a bias has one column."""
    if within is None:
        raise TypeError("within: expected a group name or a tuple of them, got None")
    _groups_within(net, within)
    shapes = net.groups
    return {name: _positions(net, (name,)).reshape(shapes[name][0], -1) for name in _several(within)}


def _one_grid(net: Parameters, within: object) -> np.ndarray:
    grids = _grids(net, within)
    if len(grids) != 1:
        raise ValueError(f"within: expected one group, got {', '.join(grids)}")
    return next(iter(grids.values()))


def _rows_of(net: Parameters, within: object) -> list[np.ndarray]:
    grids = _grids(net, within)
    if len({grid.shape[0] for grid in grids.values()}) != 1:
        came = ", ".join(f"{name} with {grid.shape[0]}" for name, grid in grids.items())
        raise ValueError(f"within: expected groups with the same number of rows, got {came}")
    return list(np.concatenate(list(grids.values()), axis=1))


def _columns_of(net: Parameters, within: object) -> list[np.ndarray]:
    grids = _grids(net, within)
    if len({grid.shape[1] for grid in grids.values()}) != 1:
        came = ", ".join(f"{name} with {grid.shape[1]}" for name, grid in grids.items())
        raise ValueError(f"within: expected groups with the same number of columns, got {came}")
    return list(np.concatenate(list(grids.values()), axis=0).T)


# How strategies are put together


def _none(net: Parameters) -> np.ndarray:
    return np.zeros(net.size, dtype=bool)


def _always(net: Parameters, name: str, positions: np.ndarray, spec: dict[str, Any]) -> Strategy:
    fixed = _none(net)
    fixed[positions] = True
    return Strategy(net, name, fixed, [], spec)


def _piece(lists: Sequence[np.ndarray], pick: int, each: int) -> Piece:
    offsets = np.concatenate([[0], np.cumsum([len(line) for line in lists])]).astype(np.int64)
    return Piece(np.concatenate(lists).astype(np.int64), offsets, pick, each)


def _per_line(
    net: Parameters, kind: str, word: str, lines: list[np.ndarray], pick: object, each: object, within: str | Sequence[str]
) -> Strategy:
    pick = whole_number(word, pick, 0, len(lines), f"the {word} of {_text(within)}")
    each = whole_number("each", each, 0, len(lines[0]), f"the weights in a {word[:-1]} of {_text(within)}")
    spec = {"kind": kind, word: pick, "each": each} | _within_spec(within)
    return Strategy(net, f"{kind}({_text(within)}, {pick}x{each})", _none(net), [_piece(lines, pick, each)], spec)


def _first_of_lines(net: Parameters, kind: str, lines: list[np.ndarray], budget: object, within: str | Sequence[str]) -> Strategy:
    order = np.concatenate(lines)
    budget = whole_number("budget", budget, 0, order.size, f"the weights of {_text(within)}")
    spec = {"kind": kind, "budget": budget} | _within_spec(within)
    return _always(net, f"{kind}({_text(within)})", order[:budget], spec)


def _text(within: str | Sequence[str]) -> str:
    return ", ".join(_several(within))


def _within_spec(within: str | Sequence[str]) -> dict[str, Any]:
    names = _several(within)
    return {"within": names[0] if len(names) == 1 else list(names)}


def _allocation_of_indices(net: Parameters, indices: object) -> Allocation:
    if not isinstance(indices, (list, tuple, np.ndarray)):
        raise TypeError(f"indices: expected a list of flat positions, got {indices!r}")
    mask = _none(net)
    for index in indices:
        position = whole_number("indices", index, 0, net.size - 1)
        if mask[position]:
            raise ValueError(f"indices: expected each position once, got {position} twice")
        mask[position] = True
    return Allocation.from_mask(net, mask)
