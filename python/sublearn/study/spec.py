"""A study's file as checked values: its networks, strategies, settings and their defaults.

Not here: how the file is read (reading.py), and its cells (sweep.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..data.real_data import RealData
from ..match.methods import EXACT, TOLERANCE
from ..match.methods import METHODS as SEARCHES
from ..model.network import Network
from ..model.teacher_student import Targets
from ..ops.fit import Loss

__all__ = [
    "NetworkSpec",
    "Reference",
    "Spec",
    "SpecError",
    "StrategySpec",
]

METHODS = (*SEARCHES, EXACT)
OF_TEACHERS = ("matches", "loss")  # how many trials match, or a mean over trials: of log10 of the relative loss that a search reaches
MEASURES = (*OF_TEACHERS, "accuracy", "rmse", "valid_time")  # of real data: means of what is found on data for testing


class SpecError(ValueError):
    """A study file that cannot be run; the text names the file, the key, what was expected and what came."""


@dataclass(frozen=True)
class Stop:
    """When the trials of a cell say enough before all that are asked for are done: at the first of these that holds (None: never).

    width: of the 95 % interval, at most this; matches: at least so many trials matched; seconds: so many spent on the cell.
    """

    width: float | None = None
    matches: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class NetworkSpec:
    """One [[network]]: the network, the groups copied from the teacher (D3), and overrides of [study].

    parameters: what distinguishes it from the other networks of the same table, where the table sweeps some of its keys
    ({"hidden": 8}); family: the label that these networks have in common (its own label where nothing is swept); data: the law of real
    data in place of teachers; targets: "gaussian" where targets are random numbers in place of a teacher's outputs.
    """

    label: str
    net: Network
    shared: tuple[str, ...] = ()
    gains: Mapping[str, float] = field(default_factory=dict)
    trials: int | None = None
    starts: int | None = None
    methods: tuple[str, ...] | None = None
    stop: Stop | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    family: str = ""
    data: RealData | None = None
    targets: Targets = "teacher"

    @property
    def taught(self) -> bool:
        """Are there teachers, about which theory speaks?"""
        return self.data is None and self.targets == "teacher"

    @property
    def measures(self) -> tuple[str, ...]:
        """What can be measured of its trials."""
        return OF_TEACHERS if self.data is None else self.data.quantities


@dataclass(frozen=True)
class Reference:
    """A value known from elsewhere for one budget; `trials` None means it is exact."""

    arguments: Mapping[str, Any]
    value: float
    trials: int | None = None
    starts: int | None = None
    network: str | None = None
    method: str | None = None
    note: str = ""


@dataclass(frozen=True)
class StrategySpec:
    """One [[strategy]]: its kind, the groups it may use, and one `arguments` dict per budget."""

    label: str
    kind: str
    within: tuple[str, ...]
    arguments: tuple[Mapping[str, Any], ...]
    networks: tuple[str, ...]
    trials: int | None = None
    starts: int | None = None
    methods: tuple[str, ...] | None = None
    stop: Stop | None = None
    reference: tuple[Reference, ...] = ()
    where: str = ""
    split_totals: tuple[int, ...] = ()


@dataclass(frozen=True)
class Spec:
    """A checked study. `text` is the file as it was read; `source` names it in messages."""

    name: str
    networks: tuple[NetworkSpec, ...]
    strategies: tuple[StrategySpec, ...]
    title: str = ""
    description: str = ""
    seed: int = 0
    trials: int = 1000
    starts: int = 30
    methods: tuple[str, ...] = ("newton",)
    measures: tuple[str, ...] = ("matches",)
    stop: Stop | None = None
    tol: Mapping[str, float] = field(default_factory=lambda: dict(TOLERANCE))
    iterations: int = 200
    steps: int = 10_000
    optimizer: str = "adam"
    lr: float = 1e-2
    loss: Loss = "squared"
    screen: bool = False
    control: bool = True
    compare: int = 1024
    chunk: int = 2**20
    text: str = ""
    source: str = "<spec>"

    def network(self, label: str) -> NetworkSpec:
        return next(entry for entry in self.networks if entry.label == label)
