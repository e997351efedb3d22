"""sublearn: where should a network learn?

When only some weights of a network may learn, which ones should they be? An *allocation* names them; its *match probability* says how
often a student with random frozen weights can reproduce a random teacher of the same architecture. This package predicts it by theory
(`predict`), measures it (`match_probability`), and offers the batched kernels underneath (`rank`, `fit`, `jacobian`, ...).
"""

from . import _cpu  # noqa: F401  before numpy, which needs SSE4.2 as well: it says so where the processor lacks it
from ._dispatch import backend_of
from ._version import VERSION as __version__
from .allocation import Allocation, Strategy
from .best import Impossible, best_allocation
from .bounds import MatchBounds, ParityBounds, match_bounds, parity_bounds
from .capacity import Capacity, capacity
from .decide import Verdicts, decide
from .degree import degree
from .explain import Explanation, explain
from .fit import FitResult, fit
from .jacobian import jacobian, outputs
from .match import MatchResult, match_probability
from .network import Feedforward, Recurrent
from .rank import rank, rank_mod
from .strategies import (
    block,
    columns,
    diagonal,
    even_rows,
    everything,
    only,
    per_column,
    per_row,
    rows,
    scattered,
    split,
)
from .theory import Prediction, Predictions, predict, predict_strategy, predictions
from .trial import Trials, draw_trials

__all__ = [
    "Allocation",
    "Capacity",
    "Explanation",
    "Feedforward",
    "FitResult",
    "Impossible",
    "MatchBounds",
    "MatchResult",
    "ParityBounds",
    "Prediction",
    "Predictions",
    "Recurrent",
    "Strategy",
    "Trials",
    "Verdicts",
    "__version__",
    "backend_of",
    "best_allocation",
    "block",
    "capacity",
    "columns",
    "decide",
    "degree",
    "diagonal",
    "draw_trials",
    "even_rows",
    "everything",
    "explain",
    "fit",
    "jacobian",
    "match_bounds",
    "match_probability",
    "only",
    "outputs",
    "parity_bounds",
    "per_column",
    "per_row",
    "predict",
    "predict_strategy",
    "predictions",
    "rank",
    "rank_mod",
    "rows",
    "scattered",
    "split",
]
