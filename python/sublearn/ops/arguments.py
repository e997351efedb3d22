"""Arrays in and out of the compiled functions: dtype, shape, finiteness and batch axes, checked in one place.

Every batched argument may lack its batch axis; it then holds for all students. A result has a batch axis if any
argument had one. No mathematics here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .._checks import LARGEST_INT, no_mask, whole_number
from ..backend.arrays import on_device, to_numpy
from ..backend.kernels import Kernels
from ..model.allocation import Allocation
from ..model.network import Network, Recurrent
from ..model.strategy import Strategy, fixed_allocation

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


@dataclass(eq=False)
class Batched:
    """One argument as the kernels want it: rows [batch or 1, numbers], C order; batch is None where it had no batch axis."""

    rows: np.ndarray
    batch: int | None


def float_array(name: str, value: object, shape: tuple[int, ...], dtype: np.dtype | None = None, search: bool = True) -> Batched:
    """`value` [batch, *shape] or [*shape] as rows. float32 or float64 only, never converted; finite; not empty.

    A device array (a view made by `Kernels.from_caller`) stays where it is and is not searched for nan: that would wait for the device.
    Nor is any without `search`, for kernels that meet nan on their way (`check_finite`).
    """
    array = _numpy(name, value)
    if array.dtype not in FLOATS:
        raise TypeError(f"{name}: expected float32 or float64, got {array.dtype}")
    if dtype is not None and array.dtype != dtype:
        raise TypeError(f"{name}: expected {dtype} like theta, got {array.dtype}")
    rows = _rows(name, array, shape)
    if search and isinstance(array, np.ndarray):
        check_finite(name, array)
    return rows


def check_finite(name: str, array: np.ndarray) -> None:
    if not np.isfinite(array).all():
        where = np.argwhere(~np.isfinite(array))[0].tolist()
        raise ValueError(f"{name}: expected finite numbers, got {array[tuple(where)]} at {where}")


def given_inputs(kernels: Kernels, net: Network, x: object, h0: object, dtype: np.dtype) -> tuple[Any, Batched]:
    """(compiled shape, rows [batch or 1, numbers]) of the inputs of a call: x, and behind it the states before the first step, if given."""
    inputs = float_array("x", kernels.from_caller("x", x), net.x_shape, dtype)
    if h0 is None:
        return net.shape, inputs
    if not isinstance(net, Recurrent):
        raise ValueError(f"h0: expected None for a network without states, {net.describe()}, got {type(h0).__name__}")
    starts = float_array("h0", kernels.from_caller("h0", h0), net.h0_shape, dtype)
    if not (isinstance(inputs.rows, np.ndarray) and isinstance(starts.rows, np.ndarray)):
        raise TypeError("h0: expected x and h0 in the memory of the CPU, got arrays on a GPU")
    batch = common_batch(x=inputs, h0=starts)
    both = [np.broadcast_to(part.rows, (batch or 1, part.rows.shape[1])) for part in (inputs, starts)]
    return net.shape_from_h0, Batched(np.concatenate(both, axis=1), batch)


def _numpy(name: str, value: Any) -> np.ndarray:
    no_mask(name, value)
    if isinstance(value, (list, tuple, int, float)):
        raise TypeError(f"{name}: expected a numpy array of float32 or float64, got {type(value).__name__}")
    if on_device(value):
        return value
    try:
        return to_numpy(name, value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: expected a numpy array, got {type(value).__name__} ({error})") from None


def _rows(name: str, array: np.ndarray, shape: tuple[int, ...]) -> Batched:
    wanted = ", ".join(map(str, shape))
    if array.shape == shape:
        batch = None
    elif array.ndim == len(shape) + 1 and array.shape[1:] == shape:
        batch = array.shape[0]
        if batch == 0:
            raise ValueError(f"{name}: expected at least one student, got an empty batch {array.shape}")
    else:
        raise ValueError(f"{name}: expected shape [{wanted}] or [batch, {wanted}], got {list(array.shape)}")
    numbers = int(np.prod(shape))
    if isinstance(array, np.ndarray):
        array = np.ascontiguousarray(array)
    return Batched(array.reshape((1 if batch is None else batch, numbers)), batch)


def common_batch(**arguments: Batched) -> int | None:
    """The batch size all arguments agree on; None if none has a batch axis."""
    sizes = {name: argument.batch for name, argument in arguments.items() if argument.batch is not None}
    if len(set(sizes.values())) > 1:
        came = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise ValueError(f"batch: expected one batch size, got {came}")
    return next(iter(sizes.values()), None)


def learnable(net: Network, allocation: object, name: str = "allocation") -> Batched:
    """bool rows [batch or 1, size] of an Allocation, a fixed Strategy, or a bool array [size] or [batch, size]."""
    if isinstance(allocation, (Allocation, Strategy)):
        hint = ", which draws a new one each time: use its .draw(rng) or .masks(...)"
        return Batched(fixed_allocation(net, allocation, name=name, hint=hint).mask[None], None)
    array = np.asarray(to_numpy(name, allocation))
    if array.dtype != bool:
        raise TypeError(
            f"{name}: expected an Allocation or a bool array [size] or [batch, size], got {array.dtype} ({type(allocation).__name__})"
        )
    return _rows(name, array, (net.size,))


def index_rows(masks: np.ndarray, pad: int | None = None) -> np.ndarray:
    """int32 [rows, budget]: ascending positions of the True entries; shorter rows end in `pad` (None: ValueError)."""
    counts = masks.sum(axis=1)
    most = int(counts.max(initial=0))
    if (counts == most).all():
        return np.nonzero(masks)[1].astype(np.int32).reshape(len(masks), most)
    if pad is None:
        raise ValueError(f"allocation: expected the same budget for all students, got {counts.min()} to {most}")
    out = np.full((len(masks), most), pad, dtype=np.int32)
    row, position = np.nonzero(masks)
    out[row, np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)] = position
    return out


def thread_count(threads: int | None) -> int:
    """0 (all cores) for None."""
    return 0 if threads is None else whole_number("threads", threads, 1, most=LARGEST_INT)


def shape_back(array: np.ndarray, batch: int | None, shape: tuple[int, ...] = ()) -> np.ndarray:
    """Rows [batch, ...] as [batch, *shape], or as [*shape] where no argument had a batch axis."""
    if batch is not None:
        return array.reshape((batch, *shape))
    return array.reshape((-1, *shape))[0] if isinstance(array, np.ndarray) else array.reshape(shape)


def distinct_rows(masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct rows of masks bool [k, size], and int64 [k]: the number of each row's distinct one."""
    if len(masks) < 2 or masks.strides[0] == 0:  # one mask, broadcast
        return np.ascontiguousarray(masks[:1]), np.zeros(len(masks), dtype=np.int64)
    packed = np.ascontiguousarray(np.packbits(masks, axis=1))
    _, index, which = np.unique(packed.view(f"V{packed.shape[1]}").reshape(-1), return_index=True, return_inverse=True)
    return masks[index], which.reshape(-1)
