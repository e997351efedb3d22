"""sublearn: where should a network learn?

When only some weights of a network may learn, which ones should they be? An *allocation* names them; its *match probability* says how
often a student with random frozen weights can reproduce a random teacher of the same architecture. This package predicts it by theory
(`predict`), measures it (`match_probability`), and offers the batched kernels underneath (`rank`, `fit`, `jacobian`, ...).
"""

from ._version import installed_version
from .backend.compiled import cpu  # noqa: F401  before numpy, which needs SSE4.2 as well: it says so where the processor lacks it

# isort: split
from . import interop
from .backend.selection import backend_of, machine
from .compare import Comparison, ExactComparison, compare_with_exact, compare_with_theory
from .data import pictures, systems
from .data.trials import Trials, draw_trials
from .design.best import BestAllocation, best_allocation
from .design.capacity import Capacity, capacity
from .design.explain import Explanation, explain
from .design.problem import Impossible
from .existence.verdicts import Verdicts
from .growth.allocation import Growth, grow_allocation
from .growth.network import GrownNetwork, GrowthHistory, grow_network
from .growth.neurons import NewNeurons, new_neurons
from .homotopy.degree import degree
from .match.decide import decide
from .match.probability import MatchResult, match_probability
from .model.allocation import Allocation
from .model.linearized import Linearized, from_jacobian
from .model.network import Feedforward, Recurrent
from .model.parameters import Parameters
from .model.strategies import (
    biases,
    block,
    columns,
    diagonal,
    even_rows,
    everything,
    gains,
    only,
    per_column,
    per_row,
    readout,
    rows,
    scattered,
    split,
)
from .model.strategy import Strategy
from .numerics.numerical_rank import NumericalRank
from .ops.fit import FitResult, fit
from .ops.fit_state import FitState
from .ops.free_run import free_run
from .ops.jacobian import jacobian, outputs
from .ops.masks import MaskFit, fit_masks
from .ops.projection import Bottleneck, ChosenColumns, bottleneck, choose_columns
from .ops.rank import rank, rank_mod
from .ops.search import SearchResult, levenberg_marquardt
from .ops.targets import accuracy
from .ranks.generic_rank import required_rank
from .ranks.numerical import numerical_rank
from .theory.bounds import MatchBounds, ParityBounds, match_bounds, parity_bounds, predict_strategy
from .theory.predict import Prediction, Predictions, attained_rank, predict, predictions

__all__ = [
    "Allocation",
    "BestAllocation",
    "Bottleneck",
    "Capacity",
    "ChosenColumns",
    "Comparison",
    "ExactComparison",
    "Explanation",
    "Feedforward",
    "FitResult",
    "FitState",
    "GrownNetwork",
    "Growth",
    "GrowthHistory",
    "Impossible",
    "Linearized",
    "MaskFit",
    "MatchBounds",
    "MatchResult",
    "NewNeurons",
    "NumericalRank",
    "Parameters",
    "ParityBounds",
    "Prediction",
    "Predictions",
    "Recurrent",
    "SearchResult",
    "Strategy",
    "Trials",
    "Verdicts",
    "__version__",
    "accuracy",
    "attained_rank",
    "backend_of",
    "best_allocation",
    "biases",
    "block",
    "bottleneck",
    "capacity",
    "choose_columns",
    "columns",
    "compare_with_exact",
    "compare_with_theory",
    "decide",
    "degree",
    "diagonal",
    "draw_trials",
    "even_rows",
    "everything",
    "explain",
    "fit",
    "fit_masks",
    "free_run",
    "from_jacobian",
    "gains",
    "grow_allocation",
    "grow_network",
    "interop",
    "jacobian",
    "levenberg_marquardt",
    "machine",
    "match_bounds",
    "match_probability",
    "new_neurons",
    "numerical_rank",
    "only",
    "outputs",
    "parity_bounds",
    "per_column",
    "per_row",
    "pictures",
    "predict",
    "predict_strategy",
    "predictions",
    "rank",
    "rank_mod",
    "readout",
    "required_rank",
    "rows",
    "scattered",
    "split",
    "systems",
]

__version__: str  # see __getattr__

for _name in __all__:
    if isinstance(_public := globals().get(_name), type):
        _public.__module__ = __name__  # where users find it
del _name, _public


def __getattr__(name: str) -> str:
    if name == "__version__":
        return installed_version()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
