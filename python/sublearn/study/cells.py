"""Cells, the questions of a study.

A *cell* is one (network, shared, strategy at one budget, method) with everything that can change a verdict:
its `id` is a hash of that content alone. Labels, threads, chunk sizes and the number of trials are not part
of it, so a study can be relabelled, extended or moved to another machine and keeps what it has. Not here: which
cells a study has (sweep.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

from ..data.real_data import RealData
from ..match.methods import EXACT, Method
from ..match.probability import EXISTENCE
from ..model.network import Network, network_from_spec
from ..model.strategies import size_text, strategy_from_spec
from ..model.strategy import Strategy
from ..model.teacher_student import TARGETS, Targets
from .spec import Reference, Stop

__all__ = ["CONTENT", "Cell", "content_id"]

LATER_CONTENT = (
    "quantity",
    "data",
    "targets",
)  # keys that are there only where they are not at their default, so that the ids from before them stay
CONTENT = ("draws", "network", "shared", "gains", "strategy", "method", "options", "tol", "screen", "seed")  # the keys of a cell's content


_TESTED = {
    "accuracy": "share of test pictures that are told right",
    "rmse": "root mean square error of one step, tested",
    "valid_time": "time that the network's own prediction stays good, tested",
}


@dataclass(frozen=True)
class Cell:
    """One question: `content` is everything that the answer depends on.

    content: {"draws", "network", "shared", "gains", "strategy", "method", "options", "tol", "screen", "seed"}; options are those of
    match_probability that the method uses: starts, iterations (newton), steps, optimizer, lr (descent; loss if it is not squared), none
    (exact; tanh and relu as newton); "quantity" where a mean is measured, not matches, "data" {"source", ..} where there is no teacher,
    "targets" where targets are random numbers. Labels, `trials`, `stop`, which may end it before all of them are done, and `control` (a
    cell with r = kappa - 1 that the study added by itself, D8) are not in it. `parameters` and `family` are those of its network in the
    study's file (spec.NetworkSpec).
    """

    content: Mapping[str, Any]
    network_label: str
    strategy_label: str
    trials: int
    control: bool = False
    reference: tuple[Reference, ...] = ()
    split_over: tuple[str, ...] = field(default=())
    parameters: Mapping[str, Any] = field(default_factory=dict)
    family: str = ""
    stop: Stop | None = None

    @cached_property
    def id(self) -> str:
        return content_id(self.content)

    @cached_property
    def task_number(self) -> int:
        """The `task` counter of the draws (D3): the same for all cells of one (network, shared, gains).

        So all strategies, budgets and methods meet the same teachers, students and inputs.
        """
        keys = ("draws", "network", "shared", "gains")
        return int(_digest({key: self.content[key] for key in keys})[:8], 16)

    @cached_property
    def net(self) -> Network:
        return network_from_spec(self.content["network"])

    @cached_property
    def strategy(self) -> Strategy:
        return strategy_from_spec(self.net, self.content["strategy"], self.shared)

    @property
    def shared(self) -> tuple[str, ...]:
        return tuple(self.content["shared"])

    @property
    def gains(self) -> dict[str, float]:
        return dict(self.content["gains"])

    @property
    def method(self) -> Method:
        return self.content["method"]

    @property
    def quantity(self) -> str | None:
        """The quantity whose mean over trials is measured ("loss", "accuracy", "rmse", "valid_time"); None where verdicts are counted."""
        return self.content.get("quantity")

    @cached_property
    def data(self) -> RealData | None:
        """The law of real data, None where there are teachers."""
        if (data := self.content.get("data")) is None:
            return None
        return RealData.checked(self.net, data["source"], self.gains, **{key: value for key, value in data.items() if key != "source"})

    @property
    def targets(self) -> Targets:
        return self.content.get("targets", TARGETS[0])

    @property
    def taught(self) -> bool:
        """Are there teachers, about which theory speaks?"""
        return "data" not in self.content and "targets" not in self.content

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.content["options"])

    @property
    def starts(self) -> int:
        """Starts of a search; descent has one."""
        return self.content["options"].get("starts", 1)

    @property
    def tol(self) -> float:
        return self.content["tol"]

    @property
    def screen(self) -> bool:
        return self.content["screen"]

    @property
    def seed(self) -> int:
        return self.content["seed"]

    @cached_property
    def budget(self) -> int:
        return self.strategy.budget

    @cached_property
    def arguments(self) -> str:
        """The strategy's size in words: "10", "2 rows x 5", "W1 3 + W2 3"."""
        return size_text(self.content["strategy"], self.budget)

    @property
    def name(self) -> str:
        """The strategy's label, with a note if the study added the cell as a control."""
        noted = self.control and not self.strategy_label.startswith("control")
        return f"{self.strategy_label} (control)" if noted else self.strategy_label

    def quantity_text(self, quantity: str) -> str:
        """The name of what was measured, for axes, tables, reports; existence and findability share none."""
        if quantity == "existence":
            return EXISTENCE
        tol = f"{self.tol:.3g}".replace("e-0", "e-")
        if self.method == EXACT:
            return "share of trials with a known match (exact, undecided trials left open)"
        options = self.options
        how = f"{self.starts} start{'s' if self.starts != 1 else ''}"
        if self.method == "descent":
            how = f"{options['steps']} steps of {options['optimizer']}{', softmax' if 'loss' in options else ''}"
        if quantity in _TESTED:
            return f"mean {_TESTED[quantity]} ({self.method}, {how})"
        if quantity == "loss":
            return f"mean log10 of the relative loss reached ({self.method}, {how}, not below {tol})"
        return f"found probability ({self.method}, {how}, relative loss < {tol})"

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone: what is made of them is made again where a pickle arrives, and may be large."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    def describe(self) -> str:
        quantity = f" / {self.quantity}" if self.quantity else ""
        return f"{self.network_label} / {self.strategy_label} / {self.arguments} / {self.method}{quantity}"


def content_id(content: Mapping[str, Any]) -> str:
    """The id of a cell: 16 hexadecimal digits, a hash of its canonical content only."""
    return _digest(content)[:16]


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
