"""Which new neurons of a layer lower the loss most, to first order?"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, get_args

import numpy as np

from .._checks import positive, whole_number
from ..backend.arrays import to_numpy
from ..model.network import ACTIVATIONS, Activation
from ..ops.arguments import FLOATS, Batched, common_batch, float_array
from .missing import CUT, Missing, transposed

Form = Literal["joint", "projected", "raw"]
FORMS = get_args(Form)
_ROUNDING = 1e-12  # singular values of at most so much of the root mean square of V are rounding


@dataclass(frozen=True, eq=False)
class NewNeurons:
    """incoming [K, k]: weights from G; outgoing [K, q]: weights to the layer above; values [K]: the singular values L, largest first, 0
    where nothing is left to gain (such a neuron is all zeros). dW [q, n]: what H's weights change by; None in the raw form.
    predicted: by how much the loss per sample falls, to first order, per unit of eta; cross: the part of it that the projected form
    does not see. All with the batch axis of the arguments in front, if any had one.

    >>> rng = np.random.default_rng(0)
    >>> new = sl.new_neurons(rng.normal(size=(2, 30)), rng.normal(size=(4, 30)), K=2, form="raw")
    >>> new.incoming.shape, new.outgoing.shape, bool(np.isclose(new.predicted, (new.values**2).sum()))
    ((2, 4), (2, 2), True)
    """

    incoming: np.ndarray
    outgoing: np.ndarray
    values: np.ndarray
    predicted: np.ndarray
    cross: np.ndarray
    dW: np.ndarray | None


def new_neurons(
    V: np.ndarray,
    G: np.ndarray,
    H: np.ndarray | None = None,
    K: int = 1,
    form: Form = "joint",
    activation: Activation = "linear",
    cut: float = CUT,
) -> NewNeurons:
    """K neurons to add to a layer, by a singular value decomposition: those that lower the loss most to first order.

    V [q, samples]: the change wanted of what the next layer receives (its pre-activations), minus the derivative of the loss *summed*
    over samples, which is `samples` times that of the mean: 2 (y - f) for the sum of squares where f are the outputs themselves.
    G [k, samples]: the signals below the layer, with a row of ones if the new neurons have biases. H [n, samples]: what the layer sends
    now, with a row of ones if the next layer has biases; not needed for "raw". Any may have a batch axis in front. float32 or float64;
    computed in float64.

    With P the projector on the rows of H, dW* = V H^+ and S = G G^T / samples, the forms decompose S^-1/2 G V^T / samples = U L Q^T, where
      raw        V is as it is: neurons alone lower the loss by sum L^2;
      projected  V (I - P) stands for V, what dW* leaves (the published form). Alone such neurons change the loss by sum L^2 + `cross`, with
                 cross = <V P, Z> / samples and Z their first-order signals: of either sign, so they may raise it. dW is dW*;
      joint      V (I - P) and G (I - P) stand for both: neurons and dW = dW* - Z H^+ together lower the loss by
                 |V P|^2 / samples + sum L^2, the most there is.
    Neuron k: incoming S^-1/2 u_k, outgoing q_k, L_k divided between them so that the root mean square of incoming G over samples is the
    length of outgoing (sqrt(L_k), but in the joint form). To first order means: both times sqrt(eta), dW times eta, eta small, and the
    loss per sample falls by eta * predicted. tanh and linear have slope 1 at 0. relu has a kink there: each neuron gets the better
    of its two signs, (in, out) or (-in, -out), which alone gains at least L^2 / 2; Z, dW and predicted are those of its true activities.
    S may be singular: directions in which it is below `cut` times the sum of the mean squares of G's rows are left out, and singular
    values of H below `cut` times the largest. K is at most k and q.
    Errors: TypeError and ValueError that name the argument.

    What a linear layer cannot express, as far as two neurons beside it can:

    >>> rng = np.random.default_rng(0)
    >>> G, V = rng.normal(size=(5, 40)), rng.normal(size=(3, 40))
    >>> new = sl.new_neurons(V, G, H=G[:2], K=2)
    >>> after = V - new.dW @ G[:2] - new.outgoing.T @ (new.incoming @ G)
    >>> bool(np.isclose(np.sum(V**2) - np.sum(after**2), 40 * new.predicted))
    True
    """
    wanted = _signals("V", V)
    samples, dtype = wanted.rows.shape[2], wanted.rows.dtype
    below = _signals("G", G, samples, dtype)
    sent = None if H is None else _signals("H", H, samples, dtype)
    if form not in FORMS:
        raise ValueError(f"form: expected one of {', '.join(FORMS)}, got {form!r}")
    if sent is None and form != "raw":
        raise ValueError(f"H: expected what the layer sends now, which the {form} form needs, got None")
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation: expected one of {', '.join(ACTIVATIONS)}, got {activation!r}")
    K = whole_number("K", K, 1, min(below.rows.shape[1], wanted.rows.shape[1]), "the smaller of the rows of G and V")
    cut = positive("cut", cut)
    batch = common_batch(V=wanted, G=below, **({} if sent is None else {"H": sent}))
    given = Missing(wanted.rows, below.rows, None if sent is None or form == "raw" else sent.rows, cut)
    found = decompose(given, K, form, activation == "relu", cut)
    whole = lambda part: np.array(np.broadcast_to(part, (batch or 1, *part.shape[1:])), dtype)  # noqa: E731
    parts = {field.name: getattr(found, field.name) for field in fields(found)}
    parts = {name: part if part is None else whole(part) if batch is not None else whole(part)[0] for name, part in parts.items()}
    return NewNeurons(**parts)


def singular_vectors(given: Missing, K: int, form: str, cut: float = CUT) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(S^-1/2 u [.., K, k], q [.., K, q], L [.., K]), in float64."""
    target, S, lifted, m = given.V if form == "raw" else given.target, given.S, given.G, given.V.shape[-1]
    if form == "joint":
        lifted = lifted - (lifted @ transposed(given.Q)) @ given.Q
        S = lifted @ transposed(lifted) / m
    w, E = np.linalg.eigh(S)
    kept = w > cut * given.S.trace(axis1=-2, axis2=-1)[..., None]
    root = (E * np.where(kept, 1 / np.sqrt(np.where(kept, w, 1.0)), 0.0)[..., None, :]) @ transposed(E)
    U, L, Qt = np.linalg.svd(root @ (lifted @ transposed(target)) / m, full_matrices=False)
    least = _ROUNDING * np.sqrt(_sum(given.V * given.V) / m)
    return transposed(root @ U[..., :K]), Qt[..., :K, :], np.where(L > least[..., None], L, 0.0)[..., :K]


def decompose(given: Missing, K: int, form: str, relu: bool, cut: float = CUT) -> NewNeurons:
    """`new_neurons`, in float64."""
    V, G, m = given.V, given.G, given.V.shape[-1]
    target = V if form == "raw" else given.target
    incoming, outgoing, L = singular_vectors(given, K, form, cut)
    incoming = L[..., None] * incoming
    z = incoming @ G
    half = np.sqrt(np.sqrt((z * z).mean(axis=-1, keepdims=True)))  # as large on the data as outgoing: sqrt(L), but in the joint form
    incoming, z = (np.divide(part, half, out=np.zeros_like(part), where=half > 0) for part in (incoming, z))
    outgoing = outgoing * half
    if relu:
        gains = [sign * (outgoing * (np.maximum(sign * z, 0) @ transposed(target))).sum(axis=-1) for sign in (1.0, -1.0)]
        sign = np.where(gains[0] >= gains[1], 1.0, -1.0)[..., None]
        incoming, outgoing, z = sign * incoming, sign * outgoing, np.maximum(sign * z, 0)
    moved = transposed(outgoing) @ z  # of what the next layer receives, per eta
    predicted = _sum(V * moved) / m
    if form == "raw":
        return NewNeurons(incoming, outgoing, L, predicted, np.zeros_like(predicted), None)
    if form == "projected":
        return NewNeurons(incoming, outgoing, L, predicted, _sum((V - target) * moved) / m, given.along @ given.C)
    change = given.along - moved @ transposed(given.Q)
    predicted = predicted + _sum(given.along * change) / m
    return NewNeurons(incoming, outgoing, L, predicted, np.zeros_like(predicted), change @ given.C)


def _sum(a: np.ndarray) -> np.ndarray:
    """Over the last two axes."""
    return np.asarray(a.sum(axis=(-2, -1)))


def _signals(name: str, value: object, samples: int | None = None, dtype: np.dtype | None = None) -> Batched:
    """rows [batch or 1, n, samples]."""
    if isinstance(value, (list, tuple)):
        raise TypeError(f"{name}: expected a numpy array of float32 or float64, got {type(value).__name__}")
    array = np.asarray(to_numpy(name, value))
    if array.dtype in FLOATS and dtype is not None and array.dtype != dtype:
        raise TypeError(f"{name}: expected {dtype} like V, got {array.dtype}")
    if array.ndim not in (2, 3) or 0 in array.shape or (samples is not None and array.shape[-1] != samples):
        last = "samples" if samples is None else f"{samples}"
        raise ValueError(f"{name}: expected shape [rows, {last}] or [batch, rows, {last}], got {list(array.shape)}")
    checked = float_array(name, array, array.shape[-2:])
    return Batched(checked.rows.reshape(-1, *array.shape[-2:]), checked.batch)
