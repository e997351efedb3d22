"""What the peers of the fit workloads (W3, W5, W7, W8) share: how a peer's training run becomes a candidate, and when its answer counts
as ours."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .harness import Candidate, Options, Peer, Skipped
from .libraries import torch_cpu

CHECK_STEPS = 20  # of the run whose loss must be ours
TOLERANCE = {"float32": 1e-3, "float64": 1e-9}  # of the loss a student starts with


def candidate(library: str, train: Callable[[int], object], students: int, steps: int) -> Candidate:
    """library: one of NAMES, and after a comma how it is written. train(steps) fits all students and returns their weights, in the
    library's own array; it blocks until they are there."""
    known, comma, form = library.partition(",")
    return Candidate(
        NAMES[known] + comma + form, known.split()[0], lambda: train(steps), students * steps, answer=lambda: np.asarray(train(CHECK_STEPS))
    )


def compiling_torch(options: Options):
    """torch, unless a quick run was asked for."""
    if options.quick:
        raise Skipped("left out with --quick (compiling takes a minute)")
    return torch_cpu(options)


def scan_of(jax, jnp, w, gradient: Callable, steps: int, lr: float):
    """Adam (0.9, 0.999, 1e-8) of weights w in one scan of jax."""

    def body(carry, _):
        w, m, v, k = carry
        g = gradient(w)
        k = k + 1
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g * g
        w = w - lr * (m / (1 - 0.9**k)) / (jnp.sqrt(v / (1 - 0.999**k)) + 1e-8)
        return (w, m, v, k), None

    zero = jnp.zeros_like(w)
    return jax.lax.scan(body, (w, zero, zero, jnp.zeros((), w.dtype)), None, length=steps)[0][0]


NAMES = {"torch": "torch bmm + mask", "torch compiled": "torch.compile", "jax": "jax vmap(grad) + scan"}


def peers(**build: Callable) -> tuple[Peer, ...]:
    """One Peer per library; build: torch=, torch_compiled=, jax=, each a function (problem, options) -> Candidate."""
    return tuple(Peer(NAMES[name.replace("_", " ")], name.split("_")[0], function) for name, function in build.items())


def same_loss(ours: np.ndarray, first: np.ndarray, theirs: np.ndarray, dtype: str) -> str | None:
    """None, or how far the losses [batch] are apart; `first` is the loss before the first step."""
    with np.errstate(invalid="ignore"):
        apart = float(np.max(np.abs(theirs - ours) / first))
    return None if apart <= TOLERANCE[dtype] else f"loss after {CHECK_STEPS} steps differs by {apart:.2g} of the first loss"
