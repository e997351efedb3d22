"""Allocations (D2): which weights of a network may learn, as one mask."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .._checks import list_of_names, whole_number
from .checks import bool_array, check_frozen, check_parameters, shared_groups
from .parameters import Parameters
from .picture import picture
from .recipe import Piece


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

    def __init__(self, net: Parameters, masks: Mapping[str, Any]) -> None:
        check_parameters(net)
        if not isinstance(masks, Mapping):
            raise TypeError(f"masks: expected a dict of bool arrays by group, got {type(masks).__name__}")
        shapes = net.groups
        list_of_names("masks", list(masks), tuple(shapes))
        flat = np.zeros(net.size, dtype=bool)
        for name, where in net.slices.items():
            if name in masks:
                flat[where] = bool_array(f"masks[{name!r}]", masks[name], shapes[name]).reshape(-1)
        self._keep(net, flat)

    def _keep(self, net: Parameters, mask: np.ndarray) -> None:
        mask.setflags(write=False)
        self._net, self._mask = net.layout, mask

    @classmethod
    def from_mask(cls, net: Parameters, mask: Any) -> Allocation:
        """The allocation of a flat bool mask [size]."""
        check_parameters(net)
        self = cls.__new__(cls)
        self._keep(net, bool_array("mask", mask, (net.size,)).copy())
        return self

    @classmethod
    def from_indices(cls, net: Parameters, indices: Any) -> Allocation:
        """The allocation of flat positions int [k], in any order, each once; -1 is none, as in what `choose_columns` returns."""
        check_parameters(net)
        array = np.asarray(indices)
        if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
            raise TypeError(f"indices: expected whole numbers [k], got {array.dtype} {list(array.shape)}")
        outside = (array < -1) | (array >= net.size)
        if outside.any():
            raise ValueError(f"indices: expected positions below {net.size}, or -1 for none, got {array[outside][0]}")
        places = array[array >= 0].astype(np.int64)
        if len(np.unique(places)) < len(places):
            raise ValueError("indices: expected each weight once, got one twice")
        mask = np.zeros(net.size, dtype=bool)
        mask[places] = True
        return cls.from_mask(net, mask)

    @classmethod
    def from_edges(cls, net: Parameters, edges: Iterable[tuple]) -> Allocation:
        """The allocation of single weights: (group, row, column) in a matrix, (group, unit) in a bias."""
        check_parameters(net)
        shapes, slices = net.groups, net.slices
        mask = np.zeros(net.size, dtype=bool)
        for edge in edges:
            edge = tuple(edge)
            if not edge or edge[0] not in tuple(shapes):
                raise ValueError(f"edges: expected (group, ...) with a group out of {', '.join(shapes)}, got {edge!r}")
            name, place = edge[0], edge[1:]
            if len(place) != len(shapes[name]):
                wanted = "(group, unit)" if len(shapes[name]) == 1 else "(group, row, column)"
                raise ValueError(f"edges: expected {wanted} in {name}, got {edge!r}")
            place = tuple(whole_number(f"edges: place in {name}", p, 0, length - 1) for p, length in zip(place, shapes[name]))
            position = slices[name].start + int(np.ravel_multi_index(place, shapes[name]))
            if mask[position]:
                raise ValueError(f"edges: expected each weight once, got {edge!r} twice")
            mask[position] = True
        return cls.from_mask(net, mask)

    @property
    def net(self) -> Parameters:
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
        shared = shared_groups(self._net, shared)
        check_frozen(self._net, self._mask, shared)
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


# Checks that other files use


# Checks of what this file keeps
