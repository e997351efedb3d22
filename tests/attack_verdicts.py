"""An attack on verdicts: networks, inputs, weights and scales of every kind, with an answer planted in each trial.

    python -m tests.attack_verdicts [--seconds 60] [--seed N] [--only TEXT] [--least 0]

planted: the targets are what the student computes with other values of its learnable weights, so a match exists: a verdict "no" is wrong
(but where terms cancel so far that the targets are rounding errors: other numbers than those that match).
With screen=True the answer is that for a generic teacher, which then has every weight that is not shared drawn afresh, and all of them
learn (but gains that what reads their units makes up for). A third of these networks have gains, a leak or several sequences.
none: no weights match, by construction: a target off the image of an affine allocation; beyond what bounded units can give; not zero where
all inputs have been zero; different for equal inputs; of too high a rank; generic for an allocation of too low a rank (a rank mod p);
wrong, by a little, where no weight acts. A certified yes is wrong, and so is any yes of the exact method, and one of a search whose
tolerance is below the known distance.

A kind is answer / network / activation / method. The table at the end has for each: trials, wrong, undecided, certified. The exit code is
the number of kinds with a wrong verdict. A slice of it with fresh seeds is part of the tests (test_attack.py).
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from dataclasses import dataclass, field, replace

import numpy as np

import sublearn as sl
from sublearn.match.methods import TOLERANCE
from sublearn.ops.units import reach
from sublearn.ranks.generic_rank import attained_ranks, required_rank

ANSWERS = ("planted", "none")
NETWORKS = ("recurrent", "feedforward")
ACTIVATIONS = ("linear", "tanh", "relu")
METHODS = ("newton", "descent", "exact")
KINDS = tuple(f"{a}/{n}/{f}/{m}" for a in ANSWERS for n in NETWORKS for f in ACTIVATIONS for m in METHODS)
_BATCH = {"newton": 96, "descent": 96, "exact": 64}
_OPTIONS = {"newton": {"starts": 2, "iterations": 40}, "descent": {"steps": 30}, "exact": {"starts": 2, "iterations": 40}}


@dataclass
class Count:
    """trials = yes + no + undecided; certified: of both; wrong: those that contradict what was planted."""

    trials: int = 0
    yes: int = 0
    no: int = 0
    undecided: int = 0
    certified: int = 0
    wrong: int = 0
    seconds: float = 0.0
    examples: list = field(default_factory=list)


# Problems


def network(rng: np.random.Generator, kind: str, activation: str, method: str) -> sl.Recurrent | sl.Feedforward:
    """Small, so that a million trials are affordable; sizes of one are among them."""
    bias = (True, False, "some")[rng.choice(3, p=[0.3, 0.5, 0.2])]
    if kind == "recurrent":
        most = 3 if method == "exact" and activation == "linear" else 5
        i, n, o, T = int(rng.integers(1, 4)), int(rng.integers(1, most + 1)), int(rng.integers(1, 4)), int(rng.integers(1, 5))
        some = tuple(name for name in ("b", "c") if rng.random() < 0.5)
        return sl.Recurrent(i, n, o, T, activation, bias=some if bias == "some" else bias)
    layers = int(rng.integers(1, 5 if method != "exact" or activation != "linear" else 4))
    patterns = method == "exact" and activation == "relu"  # their number grows exponentially
    widths = tuple(int(w) for w in rng.integers(1, 4 if patterns else 5, layers + 1))
    some = tuple(f"b{k}" for k in range(1, layers + 1) if rng.random() < 0.5)
    return sl.Feedforward(widths, int(rng.integers(1, 4 if patterns else 5)), activation, bias=some if bias == "some" else bias)


def extended(rng: np.random.Generator, net):
    """The network with gains of some units, and a recurrent one with a leak or two sequences."""
    if isinstance(net, sl.Feedforward):
        return replace(net, gain=tuple(f"g{k}" for k in range(1, len(net.widths) - 1) if rng.random() < 0.7))
    return replace(net, gain=bool(rng.random() < 0.7), samples=int(rng.integers(1, 3)), leak=float(rng.choice([1.0, 0.5, 0.1])))


def inputs(rng: np.random.Generator, net, count: int) -> np.ndarray:
    """[count, *x_shape]: Gaussian, repeated, one-hot, dead, sparse, whole numbers, padded with zeros, constant; nearly equal features, one
    small sample or step."""
    x = rng.standard_normal((count, *net.x_shape))
    samples = -1 if isinstance(net, sl.Feedforward) else -2  # the axis of samples or steps
    features = -2 if samples == -1 else -1
    styles = ["repeated", "one-hot", "dead", "sparse", "whole", "padded", "constant", "zero", "near", "small"]
    style = rng.choice(["gauss", "gauss", "gauss", *styles])
    if style == "repeated":
        x = np.take(x, rng.integers(0, max(1, x.shape[samples] // 2), x.shape[samples]), axis=samples)
    elif style == "one-hot":
        at = rng.integers(0, x.shape[features], np.delete(x.shape, features))
        x = np.moveaxis((np.arange(x.shape[features]) == at[..., None]).astype(float), -1, features)
    elif style == "dead":
        keep = rng.random(x.shape[features]) < 0.6
        x = x * (keep[:, None] if samples == -1 else keep)
    elif style == "sparse":
        x = x * (rng.random(x.shape) < 0.3)
    elif style == "whole":
        x = rng.integers(-2, 3, x.shape).astype(float)
    elif style == "padded":
        keep = np.arange(x.shape[samples]) < rng.integers(0, x.shape[samples] + 1)
        keep = keep if rng.random() < 0.5 else keep[::-1]
        x = x * (keep if samples == -1 else keep[:, None])
    elif style == "constant":
        x = np.ones_like(x)
    elif style == "zero":
        x = np.zeros_like(x)
    elif style == "near":
        x = np.moveaxis(x, features, 0)
        x[-1] = x[0] * (1 + 10.0 ** rng.uniform(-12, -2) * rng.standard_normal(x[0].shape))
        x = np.moveaxis(x, 0, features)
    elif style == "small":
        x = np.moveaxis(x, samples, 0)
        x[-1] *= 10.0 ** rng.choice([rng.uniform(-12, 0), rng.uniform(-200, 0)])
        x = np.moveaxis(x, 0, samples)
    return np.ascontiguousarray(x)


def weights(rng: np.random.Generator, net, count: int) -> np.ndarray:
    """[count, size]: of the law (D3), sparse, whole numbers, or with units and groups of zeros."""
    theta = rng.standard_normal((count, net.size))
    for name, where in net.slices.items():
        theta[:, where] /= np.sqrt(net.fan_in[name] or 1)
    style = rng.choice(["law", "law", "law", "sparse", "whole", "ones", "group"])
    if style == "sparse":
        theta *= rng.random(theta.shape) < 0.5
    elif style == "whole":
        theta = rng.integers(-2, 3, theta.shape).astype(float)
    elif style == "ones":
        theta = rng.choice([-1.0, 1.0], theta.shape)
    elif style == "group":
        theta[:, net.slices[str(rng.choice(list(net.groups)))]] = 0.0
    return theta


def scale(rng: np.random.Generator, net, theta: np.ndarray, other: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Brings theta and other (in place) and x to units between 1e-8 and 1e8; returns x."""
    style = rng.choice(["none", "none", "none", "x against first", "x", "groups", "last", "W"])
    factor = 10.0 ** rng.uniform(-8, 8)
    groups = list(net.groups)
    first = groups[0]
    if style in ("x", "x against first"):
        x = x * factor
    if style == "x against first":
        for t in (theta, other):
            t[:, net.slices[first]] /= factor
    if style == "groups":
        for name in groups:
            by = 10.0 ** rng.uniform(-8, 8)
            for t in (theta, other):
                t[:, net.slices[name]] *= by
    last = ("D", "c") if isinstance(net, sl.Recurrent) else (f"W{len(net.widths) - 1}", f"b{len(net.widths) - 1}")
    if style in ("last", "W"):
        for name in last if style == "last" else ("W",):
            if name in groups:
                for t in (theta, other):
                    t[:, net.slices[name]] *= factor
    return x


def choose(rng: np.random.Generator, net) -> tuple[np.ndarray, tuple[str, ...]]:
    """(mask bool [size], shared): any density, whole groups, one layer; shared groups hold no learnable weight."""
    groups = list(net.groups)
    style = rng.choice(["density", "rows", "groups", "last", "first", "units", "empty"], p=[0.3, 0.15, 0.15, 0.13, 0.13, 0.12, 0.02])
    mask = np.zeros(net.size, dtype=bool)
    if style == "units" and isinstance(net, sl.Feedforward) and len(net.widths) > 2:
        mask, style = units(rng, net), "empty"
    if style == "rows" and isinstance(net, sl.Recurrent) and net.outputs <= net.hidden and 1 < net.steps <= net.hidden + 1:
        parts = {name: np.zeros(shape, bool) for name, shape in net.groups.items()}  # row forms (T7), with or without c
        for row in rng.permutation(net.hidden)[: net.outputs]:
            parts["W"][row, rng.permutation(net.hidden)[: net.steps - 1]] = True
        if "c" in parts and rng.random() < 0.5:
            parts["c"][:] = True
        return net.pack(parts), tuple(name for name in groups if name not in ("W", "c") and (name != "b" or rng.random() < 0.8))
    if style == "density":
        mask = rng.random(net.size) < rng.uniform(0.05, 1.0)
    elif style == "groups":
        for name in groups:
            mask[net.slices[name]] = rng.random() < 0.4
    elif style in ("last", "first"):
        last = ("D", "c") if isinstance(net, sl.Recurrent) else (f"W{len(net.widths) - 1}", f"b{len(net.widths) - 1}")
        first = ("B", "W", "b") if isinstance(net, sl.Recurrent) else ("W1", "b1")
        for name in last if style == "last" else first:
            if name in groups:
                part = slice(net.slices[name].start, net.slices[name].stop)
                mask[part] = rng.random(part.stop - part.start) < rng.uniform(0.5, 1.0)
    shared = tuple(name for name in groups if not mask[net.slices[name]].any() and rng.random() < 0.6)
    return mask, shared


def units(rng: np.random.Generator, net) -> np.ndarray:
    """bool [size]: of each unit of the last hidden layer its bias, one weight, some, its gain, several of these or nothing (T13); of each
    output its bias or not."""
    last, mask = len(net.widths) - 2, np.zeros(net.size, dtype=bool)
    parts = net.unpack(mask)
    bias, gain = (parts.get(f"{letter}{last}", np.zeros(net.widths[last], bool)) for letter in "bg")
    kinds = rng.choice(["bias", "weight", "some", "gain", "none"], int(rng.integers(1, 4)))
    for unit, row in enumerate(parts[f"W{last}"]):
        for kind in rng.choice(kinds, 2 if rng.random() < 0.2 else 1):
            if kind == "weight":
                row[rng.integers(len(row))] = True
            elif kind == "some":
                row |= rng.random(len(row)) < 0.7
            elif kind in ("bias", "gain"):
                (bias if kind == "bias" else gain)[unit] = True
    if f"b{last + 1}" in parts and rng.random() < 0.5:
        parts[f"b{last + 1}"][:] = rng.random(net.widths[-1]) < 0.5
    return mask


def planted(rng: np.random.Generator, net, count: int, generic: bool):
    """(theta, x, y, mask, shared, teacher) with a solution: the teacher differs from the student in learnable weights only."""
    mask, shared = choose(rng, net)
    theta, other = weights(rng, net, count), weights(rng, net, count)
    if generic:
        other = rng.standard_normal(other.shape)
        mask = np.ones(net.size, dtype=bool)
        for name in shared:
            mask[net.slices[name]] = False
    x = scale(rng, net, theta, other, inputs(rng, net, count))
    if not generic and rng.random() < 0.1:
        other = theta.copy()
    if not generic and rng.random() < 0.1:  # where units saturate, and outputs are on the edge of what there is
        other = np.where(rng.random(other.shape) < 0.5, rng.choice([-1e6, 1e6], other.shape), other)
    if rng.random() < 0.1:  # nearly dependent rows of the last layer
        last = net.unpack(theta)["D" if isinstance(net, sl.Recurrent) else f"W{len(net.widths) - 1}"]
        last[:, -1] = last[:, 0] * (1 + 10.0 ** rng.uniform(-14, -3) * rng.standard_normal(last[:, 0].shape))
    if not generic and rng.random() < 0.2:  # a mask for every trial
        free = np.ones(net.size, dtype=bool)
        for name in shared:
            free[net.slices[name]] = False
        mask = (rng.random((count, net.size)) < rng.uniform(0.1, 0.9)) & free
    teacher = np.where(mask, other, theta)
    if generic:
        for name in net.gain:  # the law's, and frozen in some students whose readers make up for it
            teacher[:, net.slices[name]] = 1.0
            readers = ("W", "D") if isinstance(net, sl.Recurrent) else (f"W{int(name[1:]) + 1}",)
            if not set(readers) & set(shared) and theta[:, net.slices[name]].all() and rng.random() < 0.5:
                mask[net.slices[name]] = False
        for name in shared:
            teacher[:, net.slices[name]] = theta[:, net.slices[name]]
    return theta, x, sl.outputs(net, teacher, x), mask, shared, teacher


def _noise(net, teacher: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """bool [count]: may the targets be off by 1e-10 of the largest one, the terms that the teacher adds up being so much larger?"""
    terms, largest = reach(net, teacher, x.reshape(len(x), -1)).max(axis=1), np.abs(y).reshape(len(y), -1).max(axis=1)
    return (largest > 0) & (8 * np.finfo(float).eps * terms > 1e-10 * largest)


def none(rng: np.random.Generator, net, count: int):
    """(theta, x, y, mask, shared, teacher or None, distance): no weights match; the least ||f - y|| / ||y||, 0.0 where it is not known."""
    ways = ["affine", "equal inputs", "zero inputs", "bounded", "rank", "deficient", "constant"]
    for way in rng.permutation(ways):
        problem = _NONE[str(way)](rng, net, count)
        if problem is not None:
            return problem
    return None


def _affine(rng, net, count):
    mask = np.zeros(net.size, dtype=bool)
    last = ("D", "c") if isinstance(net, sl.Recurrent) else (f"W{len(net.widths) - 1}", f"b{len(net.widths) - 1}")
    for name in last:
        if name in net.groups:
            mask[net.slices[name]] = rng.random(net.slices[name].stop - net.slices[name].start) < 0.7
    theta, other = weights(rng, net, count), weights(rng, net, count)
    x = scale(rng, net, theta, other, inputs(rng, net, count))
    if (np.abs(x)[x != 0] < 1e-11).any():
        return None  # weights so large that they make use of it are lost in the differences below
    y = sl.outputs(net, np.where(mask, other, theta), x).reshape(count, -1)
    zero = np.where(mask, 0.0, theta)
    columns = []
    for k in np.flatnonzero(mask):  # outputs are affine in the last layer: differences are the columns
        one = zero.copy()
        one[:, k] = 1.0
        columns.append((sl.outputs(net, one, x) - sl.outputs(net, zero, x)).reshape(count, -1))
    off = rng.standard_normal((count, net.equations))
    if columns:
        A = np.stack(columns, axis=2)
        A /= np.maximum(np.abs(A).max(axis=(1, 2), keepdims=True), 1e-300)
        size = np.abs(A).max(axis=1, keepdims=True)
        A = A / np.where(size > 0, size, 1.0)
        u, s, _ = np.linalg.svd(A, full_matrices=False)
        if ((s > 1e-13 * s[:, :1]) & (s < 1e-6 * s[:, :1])).any():
            return None  # how far off is unclear
        u = u * (s > 1e-6 * np.maximum(s[:, :1], 1e-300))[:, None]
        for _ in range(2):
            off -= np.einsum("bek,bfk,bf->be", u, u, off)
    length = np.linalg.norm(off, axis=1)
    if (length < 0.1).any():
        return None
    share = 10.0 ** rng.uniform(-10, 0)
    size = np.linalg.norm(y, axis=1)
    if (size == 0).any() or not np.isfinite(size).all():
        return None
    y = y + off / length[:, None] * share * size[:, None]
    return theta, x, y.reshape(count, *net.y_shape), mask, (), None, 0.5 * share


def _any(rng, net, count):
    mask, shared = choose(rng, net)
    theta, other = weights(rng, net, count), weights(rng, net, count)
    x = scale(rng, net, theta, other, inputs(rng, net, count))
    return mask, shared, theta, x, sl.outputs(net, np.where(mask, other, theta), x)


def _unit_of(y):
    return np.maximum(np.abs(y).reshape(len(y), -1).max(axis=1), np.finfo(float).tiny ** 0.25)


def _equal_inputs(rng, net, count):
    if not isinstance(net, sl.Feedforward) or net.samples < 2:
        return None
    mask, shared, theta, x, y = _any(rng, net, count)
    x[:, :, 1] = x[:, :, 0]
    y[:, :, 1] = y[:, :, 0]
    share = 10.0 ** rng.uniform(-6, 0)
    y[:, 0, 1] += share * _unit_of(y)
    return theta, x, y, mask, shared, None, 0.4 * share / np.sqrt(net.equations)


def _zero_inputs(rng, net, count):
    if net.bias:
        return None
    mask, shared, theta, x, y = _any(rng, net, count)
    share = 10.0 ** rng.uniform(-6, 0)
    if isinstance(net, sl.Feedforward):
        x[:, :, 0], y[:, :, 0] = 0.0, 0.0
        y[:, 0, 0] = share * _unit_of(y)
    else:
        x[:, 0], y[:, 0] = 0.0, 0.0
        y[:, 0, 0] = share * _unit_of(y)
    return theta, x, y, mask, shared, None, 0.9 * share / np.sqrt(net.equations)


def _bounded(rng, net, count):
    """tanh: no output leaves c +- sum |D|; relu: with D >= 0 none is below c. The last layer is frozen."""
    plain = isinstance(net, sl.Feedforward) and len(net.widths) == 2
    if net.activation == "linear" or plain:
        return None
    mask, shared, theta, x, y = _any(rng, net, count)
    last = ("D", "c") if isinstance(net, sl.Recurrent) else (f"W{len(net.widths) - 1}", f"b{len(net.widths) - 1}")
    for name in last:
        if name in net.groups:
            mask[net.slices[name]] = False
    V = net.unpack(theta)[last[0]]
    c = net.unpack(theta)[last[1]] if last[1] in net.groups else np.zeros(V.shape[:2])
    share = 10.0 ** rng.uniform(-6, 0)
    if net.activation == "relu":
        V[...] = np.abs(V)
        edge, sign = c[:, 0], -1.0
    else:
        edge, sign = c[:, 0] + np.abs(V[:, 0]).sum(axis=1), 1.0
    y = sl.outputs(net, theta, x)
    size = np.maximum(_unit_of(y), np.abs(edge))
    beyond = edge + sign * share * size
    at = (
        (slice(None), 0, int(rng.integers(net.y_shape[1])))
        if isinstance(net, sl.Feedforward)
        else (slice(None), int(rng.integers(net.steps)), 0)
    )
    y[at] = beyond
    gap = share * size / np.linalg.norm(y.reshape(count, -1), axis=1)
    return theta, x, y, mask, shared, None, 0.9 * float(gap.min())


def _rank(rng, net, count):
    """Linear, no biases: outputs of rank above the narrowest layer."""
    if not isinstance(net, sl.Feedforward) or net.activation != "linear" or net.bias or len(net.widths) == 2:
        return None
    narrow = min(net.widths[1:-1])
    if min(net.widths[0], net.widths[-1], net.samples) <= narrow:
        return None
    mask, shared, theta, x, _ = _any(rng, net, count)
    y = rng.standard_normal((count, *net.y_shape)) * 10.0 ** rng.uniform(-8, 8)
    s = np.linalg.svd(y, compute_uv=False)
    distance = np.sqrt((s[:, narrow:] ** 2).sum(axis=1) / (s**2).sum(axis=1))
    if distance.min() < 1e-6:
        return None
    return theta, x, y, mask, shared, None, 0.9 * float(distance.min())


def _deficient(rng, net, count):
    """Too low a rank mod p, a teacher of the law, Gaussian inputs: no match, almost surely."""
    if net.activation == "relu" and not (isinstance(net, sl.Feedforward) and len(net.widths) == 2):
        return None
    for _ in range(4):
        mask, shared = choose(rng, net)
        if mask.any() and attained_ranks(net, mask[None], shared)[0] < required_rank(net, shared):
            t = sl.draw_trials(net, sl.Allocation.from_mask(net, mask), count, shared=shared, seed=int(rng.integers(2**32)))
            return t.student, t.x, t.y, mask, shared, t.teacher, 0.0
    return None


def _constant(rng, net, count):
    """A solution is planted, and an output that no learnable weight reaches is off by more than rounding."""
    if not isinstance(net, sl.Recurrent):
        return None
    mask = np.zeros(net.size, dtype=bool)
    mask[net.slices["W"]] = rng.random(net.hidden**2) < rng.uniform(0.3, 1.0)
    t = sl.draw_trials(
        net, sl.Allocation.from_mask(net, mask), count, shared=tuple(g for g in net.groups if g != "W"), seed=int(rng.integers(2**32))
    )
    teacher = np.where(mask, t.teacher, t.student)
    y = sl.outputs(net, teacher, t.x)
    share = 10.0 ** rng.uniform(-10, -2)
    y[:, 0, 0] += share * np.abs(y).max(axis=(1, 2))
    if (np.abs(y).max(axis=(1, 2)) == 0).any():
        return None
    return t.student, t.x, y, mask, tuple(g for g in net.groups if g != "W"), None, 0.9 * share / np.sqrt(net.equations)


_NONE = {
    "constant": _constant,
    "affine": _affine,
    "equal inputs": _equal_inputs,
    "zero inputs": _zero_inputs,
    "bounded": _bounded,
    "rank": _rank,
    "deficient": _deficient,
}


# The attack


def attack(kind: str, rng: np.random.Generator, count: Count) -> None:
    """One batch of a kind, added to its count."""
    answer, shape, activation, method = kind.split("/")
    net = network(rng, shape, activation, method)
    if answer == "planted" and rng.random() < 1 / 3:
        net = extended(rng, net)
    batch = _BATCH[method]
    options = dict(_OPTIONS[method])
    began = time.process_time()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        if answer == "planted":
            screen = bool(rng.random() < 0.25)
            *problem, teacher = planted(rng, net, batch, generic=screen)
            distance = 0.0
        else:
            made = none(rng, net, batch)
            if made is None:
                return
            *problem, teacher, distance = made
            screen = bool(rng.random() < 0.25)
        theta, x, y, mask, shared = problem
        if not np.isfinite(y).all():
            return
        if method == "exact" and teacher is not None and rng.random() < 0.6:
            options["teacher"] = teacher
        v = sl.decide(net, theta, x, y, mask, shared, method, screen=screen, **options)
    count.seconds += time.process_time() - began
    count.trials += batch
    for name, value in (("yes", 1), ("no", 0), ("undecided", -1)):
        setattr(count, name, getattr(count, name) + int((v.match == value).sum()))
    count.certified += int(v.certified.sum())
    if answer == "planted":
        wrong = (v.match == 0) & ~_noise(net, teacher, x, y)
    else:
        wrong = (v.match == 1) & (v.certified | (method == "exact") | (TOLERANCE[method] < distance**2))
    if not np.array_equal(np.where(mask, 0.0, v.theta), np.where(mask, 0.0, theta)):
        wrong = np.ones_like(wrong)
    count.wrong += int(wrong.sum())
    for k in np.flatnonzero(wrong)[:3]:
        if len(count.examples) < 5:
            count.examples.append(
                {
                    "net": net,
                    "theta": theta[k],
                    "x": x[k],
                    "y": y[k],
                    "mask": mask if mask.ndim == 1 else mask[k],
                    "shared": shared,
                    "screen": screen,
                    "method": method,
                    "reason": str(v.reason[k]),
                    "certified": bool(v.certified[k]),
                    "loss": float(v.loss[k]),
                    "options": options | ({"teacher": teacher[k]} if "teacher" in options else {}),
                }
            )


def run(kinds: list[str], seed: int, seconds: float, least: int = 0) -> dict[str, Count]:
    """Rounds over the kinds until `seconds` are over and every kind has `least` trials; kinds with few trials come first."""
    rng = np.random.default_rng(seed)
    counts = {kind: Count() for kind in kinds}
    end = time.monotonic() + seconds
    while True:
        behind = [kind for kind in kinds if counts[kind].trials < least]
        over = time.monotonic() > end
        if over and not behind:
            return counts
        for kind in behind if over else kinds:
            attack(kind, rng, counts[kind])
            if time.monotonic() > end and not behind:
                break


def table(counts: dict[str, Count]) -> str:
    lines = [f"{'kind':40s} {'trials':>9s} {'yes':>8s} {'no':>8s} {'undecided':>10s} {'certified':>10s} {'wrong':>6s} {'CPU s':>7s}"]
    total = Count()
    for kind, c in counts.items():
        if c.trials:
            share = c.undecided / c.trials
            lines.append(f"{kind:40s} {c.trials:9d} {c.yes:8d} {c.no:8d} {share:10.3f} {c.certified:10d} {c.wrong:6d} {c.seconds:7.1f}")
        for name in ("trials", "yes", "no", "undecided", "certified", "wrong", "seconds"):
            setattr(total, name, getattr(total, name) + getattr(c, name))
    lines.append(
        f"{'all':40s} {total.trials:9d} {total.yes:8d} {total.no:8d} {total.undecided / max(1, total.trials):10.3f} "
        f"{total.certified:10d} {total.wrong:6d} {total.seconds:7.1f}"
    )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None, help="a fresh one by default")
    parser.add_argument("--only", default="", help="kinds whose name contains this text")
    parser.add_argument("--least", type=int, default=0, help="trials of every kind, however long it takes")
    parser.add_argument("--save", default="", help="a file for examples of wrong verdicts (pickle)")
    options = parser.parse_args()
    seed = int(np.random.SeedSequence().entropy % 2**32) if options.seed is None else options.seed
    counts = run([kind for kind in KINDS if options.only in kind], seed, options.seconds, options.least)
    print(f"seed {seed}\n{table(counts)}")
    if options.save:
        import pickle

        with open(options.save, "wb") as file:
            pickle.dump([example for c in counts.values() for example in c.examples], file)
    return sum(c.wrong > 0 for c in counts.values())


if __name__ == "__main__":
    sys.exit(main())
