"""Networks (D1): which groups of weights a network has, their shapes, and the flat order they are kept in.

`Recurrent` and `Feedforward` hold sizes only, no weights and no mathematics: outputs and Jacobians are
compiled. A flat vector `theta` [..., size] holds the groups one after the other, each in C order:
B, W, D, then b, c, then g (recurrent), or W1 .. WL, then b1 .. bL, then g1 .. g{L-1} (feedforward), as far
as the network has them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Any, Literal, cast, get_args

import numpy as np

from .._checks import list_of_names, positive, whole_number
from ..backend.compiled import cpu
from .parameters import LARGEST_SIZE, Parameters

Activation = Literal["linear", "relu", "tanh"]
ACTIVATIONS = get_args(Activation)


class Network(Parameters, ABC):
    """What all networks have in common. Two networks with the same sizes are equal and hash alike."""

    activation: Activation
    bias: tuple[str, ...]
    gain: tuple[str, ...]

    # What a network is made of

    def _shapes(self) -> list[tuple[str, tuple[int, ...]]]:
        return [(name, shape) for name, shape, _ in self._layout()]

    @abstractmethod
    def _layout(self) -> list[tuple[str, tuple[int, ...], int | None]]:
        """(name, shape, fan-in; None for a bias and a gain) of every group in flat order."""

    @property
    @abstractmethod
    def x_shape(self) -> tuple[int, ...]:
        """Shape of one trial's inputs x, without a batch axis."""

    @property
    @abstractmethod
    def y_shape(self) -> tuple[int, ...]:
        """Shape of one trial's outputs y, without a batch axis."""

    @property
    def extended(self) -> bool:
        """Whether there is more to it than D1 has: gains, a leak or several sequences. Theorems whose proof needs D1 ask this."""
        return bool(self.gain)

    @abstractmethod
    def at(self, m: int) -> Any:
        """The same network with m samples (Feedforward) or m steps (Recurrent)."""

    @abstractmethod
    def describe(self) -> str:
        """Short text, such as "recurrent 2-8-2, T=6, linear"."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, names and lists that TOML and JSON can hold; `network_from_spec` reads them back."""

    @abstractmethod
    def _compiled_shape(self) -> tuple[Any, ...]:
        """The arguments of `cpu.Shape`."""

    @classmethod
    def from_dict(cls, spec: Mapping[str, Any]) -> Network:
        """The network that `to_dict` wrote. ValueError if it is of another class than this one."""
        net = network_from_spec(spec)
        if not isinstance(net, cls):
            raise ValueError(f"spec: expected a {cls.__name__} network, got kind {spec['kind']!r}")
        return net

    @property
    def fan_in(self) -> dict[str, int | None]:
        """Name to the number of weights into one unit (the scale of D3); None for a bias and a gain."""
        return {name: fan_in for name, _, fan_in in self._layout()}

    @property
    def equations(self) -> int:
        """Number of outputs of one trial: T o (recurrent), m n_L (feedforward)."""
        return prod(self.y_shape)

    def is_bias(self, name: str) -> bool:
        """Whether the group is a bias. ValueError for an unknown group."""
        fan_in = self.fan_in
        if name not in fan_in:
            raise ValueError(f"name: expected one of the groups {', '.join(fan_in)}, got {name!r}")
        return fan_in[name] is None and name not in self.gain

    # The compiled twin of this description

    @cached_property
    def shape(self) -> Any:
        """The `cpu.Shape` of this network, made on first use."""
        return cpu.Shape(*self._compiled_shape())

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("shape", "shape_from_h0", "_table")}

    def _keep(self, **fields: Any) -> None:
        for name, value in fields.items():
            object.__setattr__(self, name, value)
        counts = {"weights": self.size, "inputs of a trial": prod(self.x_shape), "outputs of a trial": self.equations}
        for what, count in counts.items():
            if count > LARGEST_SIZE:
                raise ValueError(f"network: expected at most {LARGEST_SIZE} {what}, got {count}")

    def _units_text(self) -> str:
        return "".join(f", {what} {'+'.join(names)}" for what, names in (("bias", self.bias), ("gain", self.gain)) if names)

    def _units_spec(self, biases: tuple[str, ...], gains: tuple[str, ...]) -> dict[str, Any]:
        bias = {"bias": list(self.bias) if self.bias and self.bias != biases else bool(self.bias)}
        return bias | ({"gain": list(self.gain) if self.gain != gains else True} if self.gain else {})


@dataclass(frozen=True, repr=False)
class Recurrent(Network):
    """h_0 = 0, h_t = phi(W h_{t-1} + B x_t + b), y_t = D h_t + c for t = 1 .. steps (D1).

    Groups: B [hidden, inputs], W [hidden, hidden], D [outputs, hidden], and with `bias` b [hidden] and
    c [outputs]. `bias`: False, True (both), or a tuple of names such as ("b",).
    x is [steps, inputs], y is [steps, outputs].
    gain: with True there is a gain of every unit, group g [hidden]: h_t = g * phi(..) is what W and D read. Gains
    are 1 in teachers and students until they learn; one that is 0 takes its unit out.
    samples: one network, many sequences: x is [samples, steps, inputs], y [samples, steps, outputs] where samples > 1.
    leak: a in (0, 1], constant: s_t = (1 - a) s_{t-1} + a phi(..), and h_t = s_t, or g * s_t.
    h_0 = 0, unless a call is given `h0`, what the units send before the first step (no gains act on it; s_0 = h_0).

    >>> net = sl.Recurrent(inputs=2, hidden=8, outputs=2, steps=6)
    >>> net.groups, net.size, net.equations
    ({'B': (8, 2), 'W': (8, 8), 'D': (2, 8)}, 96, 12)
    """

    inputs: int
    hidden: int
    outputs: int
    steps: int
    activation: Activation = "linear"
    bias: bool | tuple[str, ...] = False
    gain: bool | tuple[str, ...] = False
    samples: int = 1
    leak: float = 1.0

    def __post_init__(self) -> None:
        sizes = ("inputs", "hidden", "outputs", "steps", "samples")
        self._keep(
            **{name: whole_number(name, getattr(self, name), 1, most=LARGEST_SIZE) for name in sizes},
            activation=_checked_activation(self.activation),
            bias=_checked_units("bias", self.bias, ("b", "c")),
            gain=_checked_units("gain", self.gain, ("g",)),
            leak=_checked_leak(self.leak),
        )

    def _layout(self) -> list[tuple[str, tuple[int, ...], int | None]]:
        i, n, o = self.inputs, self.hidden, self.outputs
        every = [("B", (n, i), i), ("W", (n, n), n), ("D", (o, n), n), ("b", (n,), None), ("c", (o,), None), ("g", (n,), None)]
        return [row for row in every if row[2] is not None or row[0] in self.bias + self.gain]

    @property
    def x_shape(self) -> tuple[int, ...]:
        return (*self._sequences, self.steps, self.inputs)

    @property
    def y_shape(self) -> tuple[int, ...]:
        return (*self._sequences, self.steps, self.outputs)

    @property
    def _sequences(self) -> tuple[int, ...]:
        return (self.samples,) if self.samples > 1 else ()

    @property
    def extended(self) -> bool:
        return bool(self.gain) or self.samples > 1 or self.leak != 1

    @property
    def h0_shape(self) -> tuple[int, ...]:
        """Shape of the states before the first step, where they are given with the inputs."""
        return (*self._sequences, self.hidden)

    @cached_property
    def shape_from_h0(self) -> Any:
        """The `cpu.Shape` of this network with states given before the first step, behind x."""
        return cpu.Shape(*self._compiled_shape(), start=True)

    def at(self, m: int) -> Recurrent:
        return replace(self, steps=m)

    def describe(self) -> str:
        widths = f"{self.inputs}-{self.hidden}-{self.outputs}"
        sequences = f", {self.samples} sequences" if self.samples > 1 else ""
        leak = f", leak {self.leak!r}" if self.leak != 1 else ""
        return f"recurrent {widths}, T={self.steps}{sequences}, {self.activation}{leak}{self._units_text()}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": "recurrent",
            "inputs": self.inputs,
            "hidden": self.hidden,
            "outputs": self.outputs,
            "steps": self.steps,
            "activation": self.activation,
            **self._units_spec(("b", "c"), ("g",)),
            **({"samples": self.samples} if self.samples > 1 else {}),
            **({"leak": self.leak} if self.leak != 1 else {}),
        }

    def _compiled_shape(self) -> tuple[Any, ...]:
        sizes = [self.inputs, self.hidden, self.outputs, self.steps, self.samples]
        return "recurrent", sizes, self.activation, ["b" in self.bias, "c" in self.bias], ["g" in self.gain], self.leak

    def __repr__(self) -> str:
        sizes = f"inputs={self.inputs}, hidden={self.hidden}, outputs={self.outputs}, steps={self.steps}"
        more = (f", samples={self.samples}" if self.samples > 1 else "") + (f", leak={self.leak!r}" if self.leak != 1 else "")
        return f"Recurrent({sizes}, activation={self.activation!r}{_units_repr(self)}{more})"


@dataclass(frozen=True, repr=False)
class Feedforward(Network):
    """Widths n_0 .. n_L, hidden activation phi, last layer linear, `samples` input columns (D1).

    Groups: W1 [n_1, n_0] .. WL [n_L, n_{L-1}], and with `bias` b1 [n_1] .. bL [n_L].
    `bias`: False, True (all), or a tuple of names such as ("b2",). x is [n_0, samples], y is [n_L, samples].
    gain: False, True, or a tuple of names such as ("g1",): gains of the units of hidden layers, g1 [n_1] .. g{L-1} [n_{L-1}],
    with which layer k sends g_k * phi(..) to the layer above. They are 1 in teachers and students until they learn; one that
    is 0 takes its unit out.

    >>> net = sl.Feedforward(widths=(3, 4, 2), samples=3)
    >>> net.groups, net.size, net.equations
    ({'W1': (4, 3), 'W2': (2, 4)}, 20, 6)
    """

    widths: tuple[int, ...]
    samples: int
    activation: Activation = "linear"
    bias: bool | tuple[str, ...] = False
    gain: bool | tuple[str, ...] = False

    def __post_init__(self) -> None:
        if isinstance(self.widths, str) or not isinstance(self.widths, (Sequence, np.ndarray)):
            raise TypeError(f"widths: expected a tuple such as (3, 4, 2), got {self.widths!r}")
        if len(self.widths) < 2:
            raise ValueError(f"widths: expected at least two (inputs and outputs), got {tuple(self.widths)!r}")
        widths = tuple(whole_number(f"widths[{k}]", width, 1, most=LARGEST_SIZE) for k, width in enumerate(self.widths))
        self._keep(
            widths=widths,
            samples=whole_number("samples", self.samples, 1, most=LARGEST_SIZE),
            activation=_checked_activation(self.activation),
            bias=_checked_units("bias", self.bias, self._every("b", len(widths) - 1)),
            gain=_checked_units("gain", self.gain, self._every("g", len(widths) - 2)),
        )

    @staticmethod
    def _every(letter: str, layers: int) -> tuple[str, ...]:
        return tuple(f"{letter}{k}" for k in range(1, layers + 1))

    def _layout(self) -> list[tuple[str, tuple[int, ...], int | None]]:
        n = self.widths
        layers = range(1, len(n))
        biases = [(f"b{k}", (n[k],), None) for k in layers if f"b{k}" in self.bias]
        gains = [(f"g{k}", (n[k],), None) for k in layers if f"g{k}" in self.gain]
        return [(f"W{k}", (n[k], n[k - 1]), n[k - 1]) for k in layers] + biases + gains

    @property
    def x_shape(self) -> tuple[int, ...]:
        return (self.widths[0], self.samples)

    @property
    def y_shape(self) -> tuple[int, ...]:
        return (self.widths[-1], self.samples)

    def at(self, m: int) -> Feedforward:
        return replace(self, samples=m)

    def describe(self) -> str:
        widths = "-".join(map(str, self.widths))
        return f"feedforward {widths}, m={self.samples}, {self.activation}{self._units_text()}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": "feedforward",
            "widths": list(self.widths),
            "samples": self.samples,
            "activation": self.activation,
            **self._units_spec(self._every("b", len(self.widths) - 1), self._every("g", len(self.widths) - 2)),
        }

    def _compiled_shape(self) -> tuple[Any, ...]:
        biases = [name in self.bias for name in self._every("b", len(self.widths) - 1)]
        gains = [name in self.gain for name in self._every("g", len(self.widths) - 2)]
        return "feedforward", [self.samples, *self.widths], self.activation, biases, gains

    def __repr__(self) -> str:
        sizes = f"widths={self.widths}, samples={self.samples}"
        return f"Feedforward({sizes}, activation={self.activation!r}{_units_repr(self)})"


_KINDS = {
    "recurrent": (Recurrent, ("inputs", "hidden", "outputs", "steps"), ("activation", "bias", "gain", "samples", "leak")),
    "feedforward": (Feedforward, ("widths", "samples"), ("activation", "bias", "gain")),
}


def network_from_spec(spec: Mapping[str, Any]) -> Network:
    """The network that a plain dict describes, as written in a study or by `to_dict`.

    {"kind": "recurrent", "inputs": 2, "hidden": 8, "outputs": 2, "steps": 6}
    {"kind": "feedforward", "widths": [3, 4, 2], "samples": 3, "activation": "tanh", "bias": ["b2"]}
    Without "activation", "bias" and "gain": linear, no bias, no gains.
    Errors: ValueError that names the unknown kind, the missing key or the unknown key.
    """
    if not isinstance(spec, Mapping):
        raise TypeError(f"spec: expected a dict, got {spec!r} ({type(spec).__name__})")
    kind = spec.get("kind")
    if kind not in tuple(_KINDS):
        raise ValueError(f"spec['kind']: expected one of {', '.join(_KINDS)}, got {kind!r}")
    cls, needed, optional = _KINDS[kind]
    fields = {key: value for key, value in spec.items() if key != "kind"}
    missing = [key for key in needed if key not in fields]
    unknown = [str(key) for key in fields if key not in needed + optional]
    if missing or unknown:
        wanted = f"{', '.join(needed)} and perhaps {', '.join(optional)}"
        came = f"missing {', '.join(missing) or 'none'}, unknown {', '.join(unknown) or 'none'}"
        raise ValueError(f"spec: expected {wanted} for a {kind} network, got {came}")
    return cls(**fields)


def _checked_activation(activation: Any) -> Activation:
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise ValueError(f"activation: expected one of {', '.join(ACTIVATIONS)}, got {activation!r}")
    return cast("Activation", activation)


def _checked_units(what: str, given: object, every: tuple[str, ...]) -> tuple[str, ...]:
    if isinstance(given, (bool, np.bool_)):
        return every if given else ()
    if not isinstance(given, (tuple, list)):
        raise TypeError(f"{what}: expected False, True or a tuple of names out of {', '.join(every) or 'none'}, got {given!r}")
    chosen = list_of_names(what, given, every)
    return tuple(name for name in every if name in chosen)


def _checked_leak(leak: object) -> float:
    value = positive("leak", leak)
    if value > 1:
        raise ValueError(f"leak: expected a number above 0 and up to 1, got {leak!r}")
    return value


def _units_repr(net: Network) -> str:
    return "".join(f", {what}={names!r}" for what, names in (("bias", net.bias), ("gain", net.gain)) if names)
