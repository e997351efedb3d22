"""Any model, known by its parameters and the Jacobian of its outputs at one point."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from .._checks import no_mask, positive, whole_number
from ..backend.arrays import to_numpy
from ..numerics.numerical_rank import triangle
from .checks import LARGEST_SEED, check_net, shared_groups
from .parameters import LARGEST_SIZE, Parameters

_BLOCK = 4096  # columns that are asked for together
_ROUNDING = 10.0  # of entries of a Jacobian, in units of eps times the largest singular value over the root of the number of columns


class Linearized(Parameters):
    """A model near one point: outputs(theta + d) = outputs(theta) + J d, to first order. Made by `from_jacobian` and `sl.interop`.

    .J: float64 or float32 [equations, size], read-only, columns in flat order; [points, equations, size] if there are several points,
    and net[k] is the model at one of them. .layout: the `Parameters` whose weights these are: allocations belong to them.
    .y_shape: shape of the outputs of which the equations are the entries in C order. .rtol: singular values up to rtol times the largest
    count as zero. .combined: None, or the number of equations of which the rows of J are random combinations.
    It stands where a network can: in strategies and allocations, `required_rank`, `attained_rank`, `numerical_rank`, `explain`,
    `best_allocation`.

    >>> model = sl.from_jacobian(np.eye(3, 6), {"weight": (2, 2), "bias": (2,)})
    >>> model
    <Linearized: 3 equations of 2 groups, 6 weights>
    >>> sl.attained_rank(model, sl.only(model, "bias"))
    0
    """

    def __init__(self, J: np.ndarray, layout: Parameters, y_shape: tuple[int, ...], rtol: float, combined: int | None = None) -> None:
        J.setflags(write=False)
        self.J, self._weights, self.y_shape, self.rtol, self.combined = J, layout, y_shape, rtol, combined
        self._triangles: dict[tuple[str, ...], np.ndarray] = {}

    def _shapes(self) -> list[tuple[str, tuple[int, ...]]]:
        return self._weights._shapes()

    @property
    def layout(self) -> Parameters:
        return self._weights

    @property
    def equations(self) -> int:
        """Number of rows of J: of outputs, or of combinations of them."""
        return self.J.shape[-2]

    @property
    def points(self) -> int | None:
        """Number of points in a batch, None for a single one."""
        return self.J.shape[0] if self.J.ndim == 3 else None

    def triangle(self, shared: tuple[str, ...] = ()) -> np.ndarray:
        """R float64 [.., equations] with R^T R = J_N J_N^T, N the weights outside the groups `shared`; found once, for one point."""
        if shared not in self._triangles:
            some = np.ones(self.size, dtype=bool)
            for name in shared:
                some[self.slices[name]] = False
            self._triangles[shared] = triangle(self.J if some.all() else self.J[:, some])
        return self._triangles[shared]

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_triangles": {}}

    def __getitem__(self, point: int) -> Linearized:
        """The model at one point of a batch."""
        if self.points is None:
            raise TypeError("net: expected a batch of Jacobians [points, equations, size], got a single one")
        return Linearized(self.J[whole_number("point", point, 0, self.points - 1)], self._weights, self.y_shape, self.rtol, self.combined)

    def equation_text(self, row: int) -> str:
        """An equation in words: "output 2 of sample 5" where outputs are [samples, outputs], else by its place."""
        if self.combined is not None:
            return f"random combination {row} of the equations"
        place = tuple(int(k) for k in np.unravel_index(row, self.y_shape))
        if len(place) == 1:
            return f"equation {row}"
        return f"output {place[1] if len(place) == 2 else place[1:]} of sample {place[0]}"

    def describe(self) -> str:
        where = f" at {self.points} points" if self.points is not None else ""
        combined = f" that combine {self.combined}" if self.combined is not None else ""
        return f"{self.equations} equations{combined} of {self._weights.describe()}{where}"

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"<Linearized: {self.describe()}>"


def from_jacobian(
    J: Any,
    parameters: Parameters | Mapping[str, Sequence[int]],
    *,
    outputs: tuple[int, ...] | None = None,
    rtol: float | None = None,
    sketch: int | None = None,
    seed: int = 0,
) -> Linearized:
    """Your own model, by the Jacobian of its outputs in its weights at one point: allocations, ranks and best choices work with it.

    parameters: `Parameters`, a dict of shapes by name, or a network; p weights in all. J, one of
        an array [equations, p] of float64 or float32 (numpy, torch, jax); or [points, equations, p], for ranks at several points;
        a function of a slice of columns that returns J[:, columns]; it is asked for blocks of 4096;
        an object with .shape (equations, p), .rmatvec (J^T times a vector, "vjp") and perhaps .matvec (J times a vector, "jvp"), such as
        a scipy.sparse.linalg.LinearOperator; it is asked for the shorter of rows and columns, one at a time.
    outputs: shape of the outputs whose entries in C order are the equations, (samples, outputs) for instance; it names equations in texts.
    rtol: singular values up to rtol times the largest count as zero; by default 10 sqrt(max(equations, p)) eps of the dtype: ten times
    what rounding the entries of a matrix without structure does. A float32 Jacobian of 10^5 weights so has 4e-4: prefer float64.
    sketch: k random combinations of the equations (independent N(0, 1/k), from `seed`) in their place, for sizes that do not fit: k
    vector products instead of all rows. A rank below k is that of J with probability 1, and a singular value of columns of rank r moves
    by a factor within 1 +- (sqrt(r/k) + t / sqrt(k)) with probability at least 1 - 2 exp(-t^2/2); a rank of k means k or more.
    The allocation chosen by it has at most k weights.
    Memory: a copy of J, unless it is a read-only array of its own; or k p numbers. Errors: TypeError and ValueError that name the argument.

    >>> J = np.random.default_rng(0).normal(size=(4, 6))
    >>> model = sl.from_jacobian(J, {"weight": (2, 2), "bias": (2,)})
    >>> sl.required_rank(model), sl.best_allocation(model, limits=[({"bias": np.ones(2, dtype=bool)}, 1)]).indices
    (4, array([0, 1, 3, 4]))
    """
    if isinstance(parameters, Mapping):
        parameters = Parameters(parameters)
    if not isinstance(parameters, Parameters):
        raise TypeError(f"parameters: expected Parameters or a dict of shapes, got {type(parameters).__name__}")
    if sketch is not None:
        sketch = whole_number("sketch", sketch, 1, most=LARGEST_SIZE)
    mix = Mixture(sketch, whole_number("seed", seed, 0, LARGEST_SEED))
    matrix, rows = _gathered(J, parameters.size, mix)
    y_shape = (rows,) if outputs is None else tuple(whole_number("outputs", side, 1) for side in outputs)
    if prod(y_shape) != rows:
        raise ValueError(f"outputs: expected a shape of {rows} entries, one for every equation, got {y_shape}")
    if rtol is None:
        rtol = _ROUNDING * float(np.sqrt(max(matrix.shape[-2:]))) * float(np.finfo(matrix.dtype).eps)
    return Linearized(matrix, parameters, y_shape, positive("rtol", rtol), rows if sketch is not None else None)


class Mixture:
    """S float64 [k, m]: rows of a sketch, independent N(0, 1/k); the identity where k is None. Drawn anew from the seed where needed."""

    def __init__(self, rows: int | None, seed: int) -> None:
        self.rows, self.seed = rows, seed

    def matrix(self, equations: int) -> np.ndarray:
        assert self.rows is not None
        return np.random.default_rng(self.seed).standard_normal((self.rows, equations)) / np.sqrt(self.rows)

    def of(self, block: np.ndarray) -> np.ndarray:
        """S block, in the dtype of the block [..., m, n]."""
        return block if self.rows is None else self.matrix(block.shape[-2]).astype(block.dtype) @ block


def _gathered(J: Any, size: int, mix: Mixture) -> tuple[np.ndarray, int]:
    """The matrix to keep, and the number of equations behind it."""
    if hasattr(J, "rmatvec"):
        return _by_products(J, size, mix)
    if callable(J) and not hasattr(J, "__array__"):
        blocks: list[np.ndarray] = []
        rows = 0
        for start in range(0, size, _BLOCK):
            where = slice(start, min(start + _BLOCK, size))
            block = _checked("J(columns)", J(where))
            if block.ndim != 2 or block.shape[1] != where.stop - start or (blocks and block.shape[0] != rows):
                wanted = f"[{rows if blocks else 'equations'}, {where.stop - start}]"
                raise ValueError(f"J: expected {wanted} for columns {start} to {where.stop - 1}, got {list(block.shape)}")
            rows = block.shape[0]
            blocks.append(mix.of(block))
        return np.concatenate(blocks, axis=1), rows
    matrix = _checked("J", J)
    if matrix.ndim not in (2, 3) or matrix.shape[-1] != size or 0 in matrix.shape:
        raise ValueError(f"J: expected shape [equations, {size}] or [points, equations, {size}], got {list(matrix.shape)}")
    if mix.rows is not None:
        return mix.of(matrix), matrix.shape[-2]
    kept = matrix.flags.owndata and not matrix.flags.writeable  # nobody changes it
    return (matrix if kept else matrix.copy()), matrix.shape[-2]


def _by_products(J: Any, size: int, mix: Mixture) -> tuple[np.ndarray, int]:
    shape = tuple(J.shape)
    if len(shape) != 2 or shape[1] != size or not shape[0]:
        raise ValueError(f"J: expected shape (equations, {size}), got {shape}")
    rows = int(shape[0])
    if mix.rows is None and size < rows and hasattr(J, "matvec"):
        return _stacked(J.matvec, np.eye(size), rows, "J.matvec").T.copy(), rows
    return _stacked(J.rmatvec, np.eye(rows) if mix.rows is None else mix.matrix(rows), size, "J.rmatvec"), rows


def _stacked(product: Callable[[np.ndarray], Any], vectors: np.ndarray, length: int, name: str) -> np.ndarray:
    """float [vectors, length]: the product of each vector, which has the dtype that the first product has."""
    found = np.empty((len(vectors), length))
    for k, vector in enumerate(vectors):
        row = _checked(f"{name}(vector)", product(vector))
        if row.size != length:
            raise ValueError(f"{name}: expected a vector of {length} numbers, got shape {row.shape}")
        found = found.astype(row.dtype) if k == 0 else found
        found[k] = row.reshape(-1)
    return found


def _checked(name: str, value: Any) -> np.ndarray:
    no_mask(name, value)
    array = np.asarray(to_numpy(name, value))
    if array.dtype not in (np.float32, np.float64):
        raise TypeError(f"{name}: expected float64 or float32, got dtype {array.dtype}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: expected finite numbers, got nan or inf")
    return array


def check_one_point(net: Linearized) -> None:
    """ValueError for a batch, where what is asked has one answer for each point."""
    if net.points is not None:
        raise ValueError(f"net: expected a Jacobian at one point, got {net.points} of them; net[k] is one")


def check_model(net: Parameters, shared: object) -> tuple[str, ...]:
    """`shared_groups` of a network or of a model of which the Jacobian is known: what has ranks."""
    if not isinstance(net, Linearized):
        check_net(net)
    return shared_groups(net, shared)
