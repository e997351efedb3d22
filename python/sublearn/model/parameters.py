"""Named groups of weights in one flat order: all that an allocation needs to know of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from .._checks import no_mask, whole_number
from ..backend.arrays import to_numpy

LARGEST_SIZE = 2**31 - 1  # weights, inputs and outputs of a trial are counted in 32 bits by the compiled functions


class Parameters:
    """The weights of any model: group names, their shapes and the flat order they are kept in. `Recurrent` and `Feedforward` are such.

    shapes: dict of shapes by name, in flat order; a flat vector `theta` [..., size] holds the groups one after the other, each in C order.
    The first axis of a group is its rows (units), all others together its columns. Equal and hash alike when names, shapes and order are.
    Allocations, strategies and `sl.Allocation.picture` need no more than this; outputs and ranks need a network, or a Jacobian.
    Errors: TypeError and ValueError that name the group.

    >>> model = sl.Parameters({"encoder.weight": (16, 8), "encoder.bias": (16,), "decoder.weight": (8, 16)})
    >>> model.size, sl.scattered(model, 5, within="encoder.weight").budget
    (272, 5)
    """

    def __init__(self, shapes: Mapping[str, Sequence[int]]) -> None:
        if not isinstance(shapes, Mapping):
            raise TypeError(f"shapes: expected a dict of shapes by group, got {type(shapes).__name__}")
        checked = []
        for name, shape in shapes.items():
            if not isinstance(name, str) or not name:
                raise TypeError(f"shapes: expected group names that are strings, got {name!r}")
            if isinstance(shape, str) or not isinstance(shape, Sequence) or not len(shape):
                raise TypeError(f"shapes[{name!r}]: expected a shape of at least one axis such as (8, 2), got {shape!r}")
            checked.append((name, tuple(whole_number(f"shapes[{name!r}]", side, 1, most=LARGEST_SIZE) for side in shape)))
        if not checked:
            raise ValueError("shapes: expected at least one group, got none")
        if (count := sum(prod(shape) for _, shape in checked)) > LARGEST_SIZE:
            raise ValueError(f"shapes: expected at most {LARGEST_SIZE} weights, got {count}")
        self._named = tuple(checked)

    def _shapes(self) -> list[tuple[str, tuple[int, ...]]]:
        """(name, shape) of every group in flat order."""
        return list(self._named)

    @property
    def layout(self) -> Parameters:
        """What allocations keep of it: itself, or where it has a Jacobian the `Parameters` without it."""
        return self

    def describe(self) -> str:
        """Short text, such as "3 groups, 272 weights"."""
        return f"{len(self.groups)} group{'s' if len(self.groups) > 1 else ''}, {self.size} weights"

    def __eq__(self, other: object) -> bool:
        return self._named == other._named if type(other) is Parameters else NotImplemented

    def __hash__(self) -> int:
        return hash(self._named)

    def __repr__(self) -> str:
        return f"Parameters({dict(self._named)})"

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_table"}

    # The flat layout

    @cached_property
    def _table(self) -> tuple[tuple[str, tuple[int, ...], slice], ...]:
        rows, start = [], 0
        for name, shape in self._shapes():
            rows.append((name, shape, slice(start, start + prod(shape))))
            start += prod(shape)
        return tuple(rows)

    @property
    def groups(self) -> dict[str, tuple[int, ...]]:
        """Name to shape, in flat order: {"B": (8, 2), ...}. A matrix is [rows, columns], a bias [units]."""
        return {name: shape for name, shape, _ in self._table}

    @property
    def slices(self) -> dict[str, slice]:
        """Name to the slice of the flat vector that holds the group."""
        return {name: where for name, _, where in self._table}

    @property
    def size(self) -> int:
        """Number of all weights, biases included."""
        return self._table[-1][2].stop

    # Groups to flat and back

    def pack(self, groups: Mapping[str, Any]) -> np.ndarray:
        """Flat vector [..., size] of a dict of arrays [..., *shape], one for every group, in any order.

        The dtype (bool too) is kept. Batch axes in front are kept; a group without them is repeated.
        Errors: ValueError for a missing or unknown group or a wrong shape, TypeError for mixed dtypes.
        """
        if not isinstance(groups, Mapping):
            raise TypeError(f"groups: expected a dict of arrays by group, got {type(groups).__name__}")
        shapes = self.groups
        if set(groups) != set(shapes):
            raise ValueError(f"groups: expected exactly {', '.join(shapes)}, got {', '.join(map(str, groups)) or 'none'}")
        parts = {}
        for name, shape in shapes.items():
            no_mask(f"groups[{name!r}]", groups[name])
            try:
                part = np.asarray(to_numpy(f"groups[{name!r}]", groups[name]))
            except ValueError:
                raise ValueError(f"groups[{name!r}]: expected an array [..., {_commas(shape)}], got a ragged list") from None
            if part.shape[max(part.ndim - len(shape), 0) :] != shape:
                raise ValueError(f"groups[{name!r}]: expected shape [..., {_commas(shape)}], got {part.shape}")
            parts[name] = part
        if len({part.dtype for part in parts.values()}) > 1:
            came = ", ".join(f"{name} {part.dtype}" for name, part in parts.items())
            raise TypeError(f"groups: expected one dtype for all groups, got {came}")
        batches = {name: part.shape[: part.ndim - len(shapes[name])] for name, part in parts.items()}
        try:
            batch = np.broadcast_shapes(*batches.values())
        except ValueError:
            raise ValueError(f"groups: expected batch axes that fit together, got {batches}") from None
        theta = np.empty((*batch, self.size), dtype=next(iter(parts.values())).dtype)
        for name, where in self.slices.items():
            flat = parts[name].reshape(*batches[name], where.stop - where.start)
            theta[..., where] = flat
        return theta

    def unpack(self, theta: Any) -> dict[str, Any]:
        """Dict of arrays [..., *shape] by group, in flat order, of a flat vector [..., size].

        The dtype is kept (bool too). The arrays are views: what is written to them is written to `theta`.
        Any array that can be sliced and reshaped is taken as it is (also one on a GPU); a list becomes a
        numpy array.
        Errors: ValueError if the last axis is not `size` long.
        """
        if not (hasattr(theta, "reshape") and hasattr(theta, "shape")):
            theta = np.asarray(theta)
        came = tuple(theta.shape)
        if not came or came[-1] != self.size:
            raise ValueError(f"theta: expected shape [..., {self.size}] for {self.describe()}, got {came}")
        return {name: theta[..., where].reshape((*came[:-1], *shape)) for name, shape, where in self._table}


def _commas(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
