# Written by .ci/stubs from the compiled module. To numpy's types, arrays of float32 and of float64 are not disjoint.
# mypy: disable-error-code="overload-overlap"

"""
Compiled CUDA kernels of sublearn. Arguments are checked by the Python layer.
"""

from __future__ import annotations
import collections.abc
import numpy as np
import numpy.typing as npt
import sublearn._cpu
import typing
import typing_extensions

__all__: list[str] = [
    "AFFINE",
    "Array",
    "EMULATED",
    "NO",
    "NOT_ALLOWED",
    "Queue",
    "SEARCHED",
    "choose_columns",
    "continuation",
    "device_count",
    "device_info",
    "device_of",
    "draw",
    "finish",
    "fit",
    "found_by_loss",
    "free_bytes",
    "groups_used",
    "jacobian",
    "jacobian_mod",
    "let_wait",
    "newton",
    "outputs",
    "pinned",
    "planted_limit",
    "pretend",
    "project",
    "rank_mod",
    "rank_questions",
    "rank_real",
    "screen",
    "strips",
    "synchronize",
    "why_no_device",
]

class Queue:
    """
    A stream of its own, in no order with the default stream.
    """
    def __init__(self, device: typing.SupportsInt = 0) -> None: ...
    def wait(self) -> None: ...
    @property
    def stream(self) -> int: ...

class Array:
    """
    A row-major array in the memory of a GPU; cupy, torch and jax read it by __cuda_array_interface__ or __dlpack__.
    """
    @staticmethod
    def from_dlpack(name: str, capsule: typing.Any, stream: typing.SupportsInt = 0) -> Array: ...
    @staticmethod
    def view(
        data: typing.SupportsInt,
        shape: collections.abc.Sequence[typing.SupportsInt],
        dtype: np.dtype[typing.Any],
        device: typing.SupportsInt,
        keep: typing.Any,
    ) -> Array: ...
    def __dlpack__(
        self, *, stream: typing.Any = None, max_version: typing.Any = None, dl_device: typing.Any = None, copy: typing.Any = None
    ) -> typing_extensions.CapsuleType: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...
    @typing.overload
    def __init__(
        self,
        shape: collections.abc.Sequence[typing.SupportsInt],
        dtype: np.dtype[typing.Any],
        device: typing.SupportsInt = 0,
        queue: Queue | None = None,
    ) -> None: ...
    @typing.overload
    def __init__(
        self,
        shape: collections.abc.Sequence[typing.SupportsInt],
        dtype: np.dtype[typing.Any],
        device: typing.SupportsInt,
        stream: typing.SupportsInt,
        of_a_call: bool,
    ) -> None: ...
    def carry(self, to: np.ndarray, stream: typing.SupportsInt = 0) -> None: ...
    def numpy(self, stream: typing.SupportsInt = 0) -> np.ndarray: ...
    def reshape(self, shape: collections.abc.Sequence[typing.SupportsInt]) -> Array: ...
    def rows(self, from_: typing.SupportsInt, to: typing.SupportsInt) -> Array: ...
    def take(self, rows: typing.Annotated[npt.ArrayLike, np.int32], stream: typing.SupportsInt = 0) -> np.ndarray: ...
    def upload(self, from_: np.ndarray, stream: typing.SupportsInt = 0) -> None: ...
    @property
    def __cuda_array_interface__(self) -> dict[str, typing.Any]: ...
    @property
    def data(self) -> int: ...
    @property
    def device(self) -> int: ...
    @property
    def dtype(self) -> np.dtype[typing.Any]: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def ndim(self) -> int: ...
    @property
    def shape(self) -> tuple[typing.Any, ...]: ...
    @property
    def stream(self) -> int: ...
    @stream.setter
    def stream(self, arg0: typing.SupportsInt) -> None: ...

def choose_columns(
    a: Array,
    g: Array,
    candidates: Array,
    given: Array,
    rule: typing.SupportsInt,
    guard: typing.SupportsFloat,
    indices: Array,
    residuals: Array,
    finite: Array,
    stream: typing.SupportsInt = 0,
) -> None: ...
def continuation(
    shape: sublearn._cpu.Shape,
    points: Array,
    teacher: bool,
    indices: Array,
    degrees: Array,
    rows: typing.Annotated[npt.ArrayLike, np.int32] | None,
    mix: typing.Annotated[npt.ArrayLike, np.float64] | None,
    learns: collections.abc.Sequence[bool],
    allocation: Array,
    from_: Array,
    to: Array,
    group: Array,
    start: Array,
    stop_at_real: bool,
    aim: typing.SupportsFloat,
    least_step: typing.SupportsFloat,
    max_steps: typing.SupportsInt,
    sliced: bool,
    end: Array,
    status: Array,
    steps: Array,
    largest: Array,
    correction: Array,
    done: Array,
    first: typing.SupportsInt,
    stream: typing.SupportsInt = 0,
) -> None: ...
def device_count() -> int: ...
def device_info(device: typing.SupportsInt = 0) -> dict[str, typing.Any]: ...
def device_of(pointer: typing.SupportsInt) -> int: ...
def draw(
    shape: sublearn._cpu.Shape,
    seed: typing.SupportsInt,
    task: typing.SupportsInt,
    first: typing.SupportsInt,
    shared: collections.abc.Sequence[bool],
    gains: collections.abc.Sequence[typing.SupportsFloat],
    recipe: tuple[typing.Any, ...],
    teacher: Array,
    student: Array,
    x: Array,
    mask: Array,
    stream: typing.SupportsInt = 0,
) -> None: ...
def finish() -> None:
    """
    For tests: waits for all streams.
    """

def fit(
    shape: sublearn._cpu.Shape,
    theta: Array,
    x: Array,
    y: Array,
    indices: Array,
    learns: collections.abc.Sequence[bool],
    steps: typing.SupportsInt,
    optimizer: typing.SupportsInt,
    lr: typing.SupportsFloat,
    tol: typing.SupportsFloat,
    theta_out: Array,
    loss: Array,
    steps_out: Array,
    status: Array,
    stream: typing.SupportsInt = 0,
    open: Array | None = None,
) -> None: ...
def found_by_loss(loss: Array, y: Array, tol: typing.SupportsFloat, open: Array, found: Array, stream: typing.SupportsInt = 0) -> None: ...
def free_bytes(device: typing.SupportsInt) -> int: ...
def groups_used(shape: sublearn._cpu.Shape, indices: typing.Annotated[npt.ArrayLike, np.int32]) -> list[bool]: ...
def jacobian(shape: sublearn._cpu.Shape, theta: Array, x: Array, indices: Array, out: Array, stream: typing.SupportsInt = 0) -> None: ...
def jacobian_mod(
    shape: sublearn._cpu.Shape,
    theta: Array,
    x: Array,
    hidden_seed: typing.SupportsInt,
    p: typing.SupportsInt,
    out: Array,
    stream: typing.SupportsInt = 0,
) -> None: ...
def let_wait(device: typing.SupportsInt, later: typing.SupportsInt, earlier: typing.SupportsInt) -> None:
    """
    What `later` does from now on waits for what `earlier` has been given so far.
    """

def newton(
    shape: sublearn._cpu.Shape,
    theta: Array,
    x: Array,
    y: Array,
    indices: Array,
    learns: collections.abc.Sequence[bool],
    start_scale: collections.abc.Sequence[typing.SupportsFloat],
    starts: typing.SupportsInt,
    max_iterations: typing.SupportsInt,
    tol: typing.SupportsFloat,
    seed: typing.SupportsInt,
    task: typing.SupportsInt,
    trials: Array,
    theta_out: Array,
    loss: Array,
    found: Array,
    iterations: Array,
    stream: typing.SupportsInt = 0,
    open: Array | None = None,
    norm2: Array | None = None,
) -> None: ...
def outputs(shape: sublearn._cpu.Shape, theta: Array, x: Array, out: Array, stream: typing.SupportsInt = 0) -> None: ...
def pinned(shape: collections.abc.Sequence[typing.SupportsInt], dtype: np.dtype[typing.Any], queue: Queue) -> np.ndarray: ...
def planted_limit(by_call: bool) -> None:
    """
    For tests: one kernel with two sizes of shared memory, allowed once or, by mistake, call by call.
    """

def pretend(busy: bool = False, capturing: bool = False, passed: bool = False, pageable: bool = False) -> None:
    """
    For tests: events do not happen; a graph is being captured; events have happened at once; no host memory is pinned.
    """

def project(
    a: Array,
    g: Array,
    columns: Array,
    rtol: typing.SupportsFloat,
    residual: Array,
    share: Array,
    rank: Array,
    coefficients: Array,
    finite: Array,
    stream: typing.SupportsInt = 0,
) -> None: ...
def rank_mod(a: Array, p: typing.SupportsInt, rank: Array, stream: typing.SupportsInt = 0) -> None: ...
def rank_questions(certified: Array, finite: Array, stream: typing.SupportsInt = 0) -> tuple[typing.Any, ...]:
    """
    (numbers of the matrices whose rank is not proven, number of the first with nan or inf or -1), as numpy and int.
    """

def rank_real(
    a: Array, rtol: typing.SupportsFloat, rank: Array, certified: Array, finite: Array, stream: typing.SupportsInt = 0
) -> None: ...
def screen(
    mask: Array,
    jacobian: Array,
    p: collections.abc.Sequence[typing.SupportsInt],
    required: typing.SupportsInt,
    inside: Array,
    outside: Array,
    at_once: typing.SupportsInt,
    indices: Array,
    classes: Array,
    stream: typing.SupportsInt = 0,
) -> None: ...
def strips(most: typing.SupportsInt) -> int:
    """
    Bytes per warp up to which tables lie in shared memory, 0: the constants of the kernels. Returns the last launch's.
    """

def synchronize(device: typing.SupportsInt = 0, stream: typing.SupportsInt = 0) -> None: ...
def why_no_device() -> str: ...

AFFINE: int = 2
EMULATED: bool
NO: int = 0
NOT_ALLOWED: int = -2
SEARCHED: int = 1
