# Written by .ci/stubs from the compiled module. To numpy's types, arrays of float32 and of float64 are not disjoint.
# mypy: disable-error-code="overload-overlap"

"""
Compiled CPU kernels of sublearn. Arguments are checked by the Python layer.
"""

from __future__ import annotations
import collections.abc
import numpy as np
import numpy.typing as npt
import typing

__all__: list[str] = [
    "PRIMES",
    "Shape",
    "activation_patterns",
    "certify",
    "choose_columns",
    "continuation",
    "draw",
    "draw_masks",
    "enclosed_outputs",
    "enclosed_systems",
    "feasible",
    "fit",
    "fma_peak",
    "is_prime",
    "isa",
    "isas",
    "jacobian",
    "jacobian_mod",
    "newton",
    "normals",
    "outputs",
    "outputs_complex",
    "outputs_mod",
    "pattern_proof",
    "philox",
    "pick_columns",
    "project",
    "quota_cores",
    "rank_mod",
    "rank_real",
    "reduce_mod",
    "set_isa",
    "substitute_affine",
    "substitute_column",
    "substitute_last_rows",
    "substitute_rows",
    "threads_available",
]

class Shape:
    def __init__(
        self,
        kind: str,
        sizes: collections.abc.Sequence[typing.SupportsInt],
        activation: str,
        biases: collections.abc.Sequence[bool],
        gains: collections.abc.Sequence[bool] = [],
        leak: typing.SupportsFloat = 1.0,
        start: bool = False,
    ) -> None: ...
    @property
    def equations(self) -> int: ...
    @property
    def group_begin(self) -> list[int]: ...
    @property
    def inputs_size(self) -> int: ...
    @property
    def size(self) -> int: ...

def activation_patterns(
    shape: Shape,
    theta: npt.NDArray[np.float64],
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    masks: typing.Annotated[npt.ArrayLike, np.bool],
    layer: typing.SupportsInt,
    most: typing.SupportsInt,
    eps: typing.SupportsFloat,
    threads: typing.SupportsInt = 0,
) -> tuple[typing.Any, ...]: ...
def certify(
    shape: Shape,
    theta: npt.NDArray[np.float64],
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    indices: typing.Annotated[npt.ArrayLike, np.int32],
    rows: typing.Annotated[npt.ArrayLike, np.int32],
    y_radius: typing.Annotated[npt.ArrayLike, np.float64] | None = None,
    teacher: typing.Annotated[npt.ArrayLike, np.float64] | None = None,
    threads: typing.SupportsInt = 0,
) -> tuple[typing.Any, ...]: ...
@typing.overload
def choose_columns(
    a: npt.NDArray[np.float32],
    g: npt.NDArray[np.float32],
    candidates: typing.Annotated[npt.ArrayLike, np.bool] | None,
    given: typing.Annotated[npt.ArrayLike, np.int32],
    budget: typing.SupportsInt,
    rule: typing.SupportsInt,
    guard: typing.SupportsFloat,
    threads: typing.SupportsInt = 0,
) -> dict[str, typing.Any]: ...
@typing.overload
def choose_columns(
    a: npt.NDArray[np.float64],
    g: npt.NDArray[np.float64],
    candidates: typing.Annotated[npt.ArrayLike, np.bool] | None,
    given: typing.Annotated[npt.ArrayLike, np.int32],
    budget: typing.SupportsInt,
    rule: typing.SupportsInt,
    guard: typing.SupportsFloat,
    threads: typing.SupportsInt = 0,
) -> dict[str, typing.Any]: ...
def continuation(
    shape: Shape,
    points: npt.NDArray[np.complex128],
    teacher: bool,
    indices: typing.Annotated[npt.ArrayLike, np.int32],
    degrees: typing.Annotated[npt.ArrayLike, np.int32],
    rows: typing.Annotated[npt.ArrayLike, np.int32] | None,
    mix: typing.Annotated[npt.ArrayLike, np.float64] | None,
    allocation: typing.Annotated[npt.ArrayLike, np.int32],
    from_: typing.Annotated[npt.ArrayLike, np.int32],
    to: typing.Annotated[npt.ArrayLike, np.int32],
    group: typing.Annotated[npt.ArrayLike, np.int32],
    start: npt.NDArray[np.complex128],
    stop_at_real: bool = False,
    aim: typing.SupportsFloat = 0.0001,
    least_step: typing.SupportsFloat = 1e-10,
    max_steps: typing.SupportsInt = 2000,
    sliced: bool = False,
    threads: typing.SupportsInt = 0,
) -> dict[str, typing.Any]: ...
def draw(
    shape: Shape,
    seed: typing.SupportsInt,
    task: typing.SupportsInt,
    first: typing.SupportsInt,
    count: typing.SupportsInt,
    shared: typing.Annotated[npt.ArrayLike, np.bool],
    gains: typing.Annotated[npt.ArrayLike, np.float64],
    recipe: tuple[typing.Any, ...],
    threads: typing.SupportsInt = 0,
) -> dict[str, typing.Any]: ...
def draw_masks(
    size: typing.SupportsInt,
    seed: typing.SupportsInt,
    task: typing.SupportsInt,
    first: typing.SupportsInt,
    count: typing.SupportsInt,
    recipe: tuple[typing.Any, ...],
) -> npt.NDArray[np.bool]: ...
def enclosed_outputs(
    shape: Shape,
    theta: typing.Annotated[collections.abc.Sequence[typing.Annotated[npt.ArrayLike, np.float64] | None], "FixedSize(3)"],
    x: typing.Annotated[npt.ArrayLike, np.float64],
    y: typing.Annotated[collections.abc.Sequence[typing.Annotated[npt.ArrayLike, np.float64] | None], "FixedSize(3)"] | None = None,
    threads: typing.SupportsInt = 0,
) -> tuple[typing.Any, ...]: ...
def enclosed_systems(
    A: typing.Annotated[collections.abc.Sequence[typing.Annotated[npt.ArrayLike, np.float64] | None], "FixedSize(3)"],
    right: typing.Annotated[collections.abc.Sequence[typing.Annotated[npt.ArrayLike, np.float64] | None], "FixedSize(3)"],
    values: typing.Annotated[collections.abc.Sequence[typing.Annotated[npt.ArrayLike, np.float64] | None], "FixedSize(3)"],
    allowed: typing.Annotated[npt.ArrayLike, np.bool],
    threads: typing.SupportsInt = 0,
) -> tuple[typing.Any, ...]: ...
def feasible(
    C: typing.Annotated[npt.ArrayLike, np.float64], e: typing.Annotated[npt.ArrayLike, np.float64], margin: typing.SupportsFloat = 0.0
) -> tuple[typing.Any, ...]: ...
@typing.overload
def fit(
    shape: Shape,
    theta: npt.NDArray[np.float32],
    x: npt.NDArray[np.float32],
    y: npt.NDArray[np.float32],
    indices: typing.Annotated[npt.ArrayLike, np.int32],
    steps: typing.SupportsInt,
    optimizer: typing.SupportsInt,
    lr: typing.SupportsFloat,
    tol: typing.SupportsFloat,
    threads: typing.SupportsInt = 0,
    loss: typing.SupportsInt = 0,
    schedule: typing.SupportsInt = 0,
    horizon: typing.SupportsInt = 0,
    begun: typing.SupportsInt = 0,
    left: tuple[
        typing.Annotated[npt.ArrayLike, np.float32],
        typing.Annotated[npt.ArrayLike, np.float32] | None,
        typing.Annotated[npt.ArrayLike, np.float32] | None,
        typing.Annotated[npt.ArrayLike, np.int64],
        typing.Annotated[npt.ArrayLike, np.int8],
    ]
    | None = None,
    compact: bool = False,
    keep: bool = False,
    batch_size: typing.SupportsInt = 0,
    seed: typing.SupportsInt = 0,
    washout: typing.SupportsInt = 0,
) -> dict[str, typing.Any]: ...
@typing.overload
def fit(
    shape: Shape,
    theta: npt.NDArray[np.float64],
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    indices: typing.Annotated[npt.ArrayLike, np.int32],
    steps: typing.SupportsInt,
    optimizer: typing.SupportsInt,
    lr: typing.SupportsFloat,
    tol: typing.SupportsFloat,
    threads: typing.SupportsInt = 0,
    loss: typing.SupportsInt = 0,
    schedule: typing.SupportsInt = 0,
    horizon: typing.SupportsInt = 0,
    begun: typing.SupportsInt = 0,
    left: tuple[
        typing.Annotated[npt.ArrayLike, np.float64],
        typing.Annotated[npt.ArrayLike, np.float64] | None,
        typing.Annotated[npt.ArrayLike, np.float64] | None,
        typing.Annotated[npt.ArrayLike, np.int64],
        typing.Annotated[npt.ArrayLike, np.int8],
    ]
    | None = None,
    compact: bool = False,
    keep: bool = False,
    batch_size: typing.SupportsInt = 0,
    seed: typing.SupportsInt = 0,
    washout: typing.SupportsInt = 0,
) -> dict[str, typing.Any]: ...
def fma_peak(bits: typing.SupportsInt, threads: typing.SupportsInt = 0) -> float:
    """
    Best of five: GFLOP/s of independent multiply-adds in the chosen instruction set.
    """

def is_prime(n: typing.SupportsInt) -> bool: ...
def isa() -> str: ...
def isas(compiled: bool = True) -> list[str]:
    """
    Instruction sets that this machine runs, slowest first: those that are compiled in, or all that sublearn knows.
    """

@typing.overload
def jacobian(
    shape: Shape,
    theta: npt.NDArray[np.float32],
    x: npt.NDArray[np.float32],
    indices: typing.Annotated[npt.ArrayLike, np.int32],
    threads: typing.SupportsInt = 0,
) -> npt.NDArray[np.float32]: ...
@typing.overload
def jacobian(
    shape: Shape,
    theta: npt.NDArray[np.float64],
    x: npt.NDArray[np.float64],
    indices: typing.Annotated[npt.ArrayLike, np.int32],
    threads: typing.SupportsInt = 0,
) -> npt.NDArray[np.float64]: ...
def jacobian_mod(
    shape: Shape,
    theta: typing.Annotated[npt.ArrayLike, np.int64],
    x: typing.Annotated[npt.ArrayLike, np.int64],
    hidden_seed: typing.SupportsInt,
    p: typing.SupportsInt,
    threads: typing.SupportsInt = 0,
) -> npt.NDArray[np.int64]: ...
def newton(
    shape: Shape,
    theta: npt.NDArray[np.float64],
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    indices: typing.Annotated[npt.ArrayLike, np.int32],
    start_scale: typing.Annotated[npt.ArrayLike, np.float64],
    starts: typing.SupportsInt,
    max_iterations: typing.SupportsInt,
    tol: typing.SupportsFloat,
    seed: typing.SupportsInt,
    task: typing.SupportsInt,
    trials: typing.Annotated[npt.ArrayLike, np.uint32],
    threads: typing.SupportsInt = 0,
    norm2: typing.Annotated[npt.ArrayLike, np.float64] | None = None,
) -> dict[str, typing.Any]: ...
def normals(
    seed: typing.SupportsInt,
    stream: typing.SupportsInt,
    trial: typing.SupportsInt,
    task: typing.SupportsInt,
    first: typing.SupportsInt,
    count: typing.SupportsInt,
) -> npt.NDArray[np.float64]: ...
@typing.overload
def outputs(
    shape: Shape, theta: npt.NDArray[np.float32], x: npt.NDArray[np.float32], threads: typing.SupportsInt = 0
) -> npt.NDArray[np.float32]: ...
@typing.overload
def outputs(
    shape: Shape, theta: npt.NDArray[np.float64], x: npt.NDArray[np.float64], threads: typing.SupportsInt = 0
) -> npt.NDArray[np.float64]: ...
def outputs_complex(
    shape: Shape, theta: npt.NDArray[np.complex128], x: npt.NDArray[np.float64], threads: typing.SupportsInt = 0
) -> npt.NDArray[np.complex128]: ...
def outputs_mod(
    shape: Shape,
    theta: typing.Annotated[npt.ArrayLike, np.int64],
    x: typing.Annotated[npt.ArrayLike, np.int64],
    threads: typing.SupportsInt = 0,
) -> npt.NDArray[np.int64]: ...
def pattern_proof(
    shape: Shape,
    layer: typing.SupportsInt,
    theta: typing.Annotated[npt.ArrayLike, np.float64],
    x: typing.Annotated[npt.ArrayLike, np.float64],
    y: typing.Annotated[npt.ArrayLike, np.float64],
    learns: typing.Annotated[npt.ArrayLike, np.bool],
    pattern: typing.Annotated[npt.ArrayLike, np.bool] | None = None,
    nothing: bool = False,
    threads: typing.SupportsInt = 0,
) -> tuple[typing.Any, ...]: ...
def philox(counter: collections.abc.Sequence[typing.SupportsInt], key: collections.abc.Sequence[typing.SupportsInt]) -> list[int]: ...
def pick_columns(
    A: typing.Annotated[npt.ArrayLike, np.float64],
    allowed: typing.Annotated[npt.ArrayLike, np.bool],
    count: typing.SupportsInt,
    threads: typing.SupportsInt = 0,
) -> npt.NDArray[np.int32]: ...
@typing.overload
def project(
    a: npt.NDArray[np.float32],
    g: npt.NDArray[np.float32],
    columns: typing.Annotated[npt.ArrayLike, np.int32],
    rtol: typing.SupportsFloat,
    threads: typing.SupportsInt = 0,
) -> dict[str, typing.Any]: ...
@typing.overload
def project(
    a: npt.NDArray[np.float64],
    g: npt.NDArray[np.float64],
    columns: typing.Annotated[npt.ArrayLike, np.int32],
    rtol: typing.SupportsFloat,
    threads: typing.SupportsInt = 0,
) -> dict[str, typing.Any]: ...
def quota_cores(cgroup: str, mountinfo: str) -> float:
    """
    Cores that the CPU quota of a process allows, inf without one, by two files as in /proc/self; for tests.
    """

def rank_mod(
    a: typing.Annotated[npt.ArrayLike, np.int64], p: typing.SupportsInt, threads: typing.SupportsInt = 0
) -> npt.NDArray[np.int64]: ...
@typing.overload
def rank_real(a: npt.NDArray[np.float32], rtol: typing.SupportsFloat, threads: typing.SupportsInt = 0) -> tuple[typing.Any, ...]: ...
@typing.overload
def rank_real(a: npt.NDArray[np.float64], rtol: typing.SupportsFloat, threads: typing.SupportsInt = 0) -> tuple[typing.Any, ...]: ...
def reduce_mod(
    table: npt.NDArray[np.int64],
    held: npt.NDArray[np.int64],
    row_of: npt.NDArray[np.int64],
    order: typing.Annotated[npt.ArrayLike, np.int64],
    p: typing.SupportsInt,
    most: typing.SupportsInt,
) -> int: ...
def set_isa(name: str) -> None: ...
def substitute_affine(
    shape: Shape,
    theta: typing.Annotated[collections.abc.Sequence[typing.Annotated[npt.ArrayLike, np.float64] | None], "FixedSize(3)"],
    x: typing.Annotated[npt.ArrayLike, np.float64],
    y: typing.Annotated[collections.abc.Sequence[typing.Annotated[npt.ArrayLike, np.float64] | None], "FixedSize(3)"],
    place: typing.Annotated[npt.ArrayLike, np.int32],
    rows: typing.Annotated[npt.ArrayLike, np.int32],
    threads: typing.SupportsInt = 0,
) -> tuple[typing.Any, ...]: ...
def substitute_column(
    shape: Shape,
    theta: typing.Annotated[collections.abc.Sequence[typing.Annotated[npt.ArrayLike, np.float64] | None], "FixedSize(3)"],
    x: typing.Annotated[npt.ArrayLike, np.float64],
    y: typing.Annotated[collections.abc.Sequence[typing.Annotated[npt.ArrayLike, np.float64] | None], "FixedSize(3)"],
    use: typing.Annotated[npt.ArrayLike, np.bool],
    unit: typing.Annotated[npt.ArrayLike, np.int32],
    first_given: bool,
    threads: typing.SupportsInt = 0,
) -> tuple[typing.Any, ...]: ...
def substitute_last_rows(
    shape: Shape,
    theta: typing.Annotated[collections.abc.Sequence[typing.Annotated[npt.ArrayLike, np.float64] | None], "FixedSize(3)"],
    x: typing.Annotated[npt.ArrayLike, np.float64],
    y: typing.Annotated[collections.abc.Sequence[typing.Annotated[npt.ArrayLike, np.float64] | None], "FixedSize(3)"],
    use: typing.Annotated[npt.ArrayLike, np.bool],
    held: typing.Annotated[npt.ArrayLike, np.bool],
    count: typing.SupportsInt,
    threads: typing.SupportsInt = 0,
) -> tuple[typing.Any, ...]: ...
def substitute_rows(
    shape: Shape,
    theta: typing.Annotated[collections.abc.Sequence[typing.Annotated[npt.ArrayLike, np.float64] | None], "FixedSize(3)"],
    x: typing.Annotated[npt.ArrayLike, np.float64],
    y: typing.Annotated[collections.abc.Sequence[typing.Annotated[npt.ArrayLike, np.float64] | None], "FixedSize(3)"],
    use: typing.Annotated[npt.ArrayLike, np.bool],
    first_given: bool,
    rounding: typing.Annotated[npt.ArrayLike, np.float64] | None = None,
    own_rounding: typing.SupportsFloat = 0.0,
    threads: typing.SupportsInt = 0,
) -> tuple[typing.Any, ...]: ...
def threads_available() -> int: ...

PRIMES: tuple[typing.Any, ...] = (2147483647, 2147483629)
