"""Checks of arguments that name a network, its groups, or a range of trials."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._checks import list_of_names, no_mask, whole_number
from .network import Network
from .parameters import Parameters

LARGEST_WORD = 2**32 - 1

LARGEST_SEED = 2**64 - 1


def shared_groups(net: Parameters, shared: object) -> tuple[str, ...]:
    """`shared` as a tuple of group names in flat order.

    Errors: TypeError for a str, ValueError for an unknown name or one that comes twice.
    """
    check_parameters(net)
    names = list_of_names("shared", shared, tuple(net.groups))
    return tuple(name for name in net.groups if name in names)


def check_shared(net: Network, shared: object) -> tuple[str, ...]:
    """`shared_groups` of a network: what has a teacher."""
    check_net(net)
    return shared_groups(net, shared)


def check_trial_range(seed: object, task: object, first: object, count: object, name: str = "count") -> tuple[int, int, int, int]:
    """(seed, task, first, count) as ints that the counters of the draws can hold (D3); count >= 1, called `name` in errors."""
    seed = whole_number("seed", seed, 0, LARGEST_SEED)
    task = whole_number("task", task, 0, LARGEST_WORD)
    first = whole_number("first", first, 0, LARGEST_WORD)
    count = whole_number(name, count, 1, LARGEST_WORD + 1 - first, "trials are numbered in 32 bits")
    return seed, task, first, count


def check_parameters(net: object) -> None:
    if not isinstance(net, Parameters):
        raise TypeError(f"net: expected a Recurrent or Feedforward network, or Parameters, got {type(net).__name__}")


def check_net(net: object) -> None:
    if not isinstance(net, Network):
        raise TypeError(f"net: expected a Recurrent or Feedforward network, got {type(net).__name__}")


def bool_array(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    no_mask(name, value)
    try:
        array = np.asarray(value)
    except ValueError:
        raise ValueError(f"{name}: expected a bool array of shape {shape}, got a ragged list") from None
    if array.dtype != np.bool_:
        raise TypeError(f"{name}: expected a bool array, got dtype {array.dtype}")
    if array.shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {array.shape}")
    return array


def check_frozen(net: Parameters, support: np.ndarray, shared: tuple[str, ...]) -> None:
    """ValueError if a weight of bool [size], those that could learn, lies in a shared group (D3)."""
    learnable = {name: int(support[net.slices[name]].sum()) for name in shared}
    clash = [f"{name} ({count})" for name, count in learnable.items() if count]
    if clash:
        raise ValueError(
            f"allocation: expected no learnable weight in the shared groups {', '.join(shared)}, "
            f"got weights that can learn in {', '.join(clash)}"
        )
