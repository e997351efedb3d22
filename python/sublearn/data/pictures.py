"""Pictures of digits, as data for classification: which are for training, which for testing, and which tasks are made of them?

scikit-learn's 1797 pictures of 8 x 8 pixels (extra `data`), scaled to [0, 1], in the layout of a feedforward network: one column each.
Which of them train is drawn anew for every number: the order of raw numbers of numpy's Philox with key (seed, task) and counter
(0, 0, 1, number). Variants make several tasks of the same pictures; the orders that two of them need are drawn in the same way, third word
2 and 3.
"""

from __future__ import annotations

from functools import cache
from typing import Literal, NamedTuple, get_args

import numpy as np

from .._checks import whole_number
from ..model.checks import check_trial_range

PIXELS, CLASSES, COUNT = 64, 10, 1797
_SIDE = 8
_SPLIT, _LABELS, _PIXELS = 1, 2, 3  # streams; 0: starts of trajectories (systems.py)
Variant = Literal["plain", "labels", "pixels", "turned", "inverted"]
VARIANTS = get_args(Variant)


class Pictures(NamedTuple):
    """x [64, train], labels int64 [train], and the same of the others, for testing."""

    x: np.ndarray
    labels: np.ndarray
    x_test: np.ndarray
    labels_test: np.ndarray

    @property
    def y(self) -> np.ndarray:
        """Targets of the squared loss, [10, train]: 1 for the digit, else 0."""
        return np.eye(CLASSES, dtype=self.x.dtype)[:, self.labels]


def digits(train: int = 1347, seed: int = 0, task: int = 0, number: int = 0, variant: Variant = "plain") -> Pictures:
    """The digits, split number `number` of (seed, task): `train` pictures for training (at most 1796), the others for testing; float64.

    variant, of the same split: "plain"; "labels" or "pixels" in another order, one for each number; "turned" by a quarter; "inverted",
    1 - x. Errors: ImportError where scikit-learn is not installed; ValueError for numbers out of range and an unknown variant.

    >>> split = sl.pictures.digits(1000)
    >>> split.x.shape, split.y.shape, split.x_test.shape, float(split.x.max())
    ((64, 1000), (10, 1000), (64, 797), 1.0)
    """
    train = whole_number("train", train, 1, COUNT - 1, "of 1797 pictures; the others are for testing")
    seed, task, number, _ = check_trial_range(seed, task, number, 1)
    if not isinstance(variant, str) or variant not in VARIANTS:
        raise ValueError(f"variant: expected one of {', '.join(VARIANTS)}, got {variant!r}")
    x, labels = _digits()
    order = _order(COUNT, (seed, task, _SPLIT, number))
    if variant == "labels":
        labels = _order(CLASSES, (seed, task, _LABELS, number))[labels]
    elif variant == "pixels":
        x = x[_order(PIXELS, (seed, task, _PIXELS, number))]
    elif variant == "turned":
        x = np.rot90(x.reshape(_SIDE, _SIDE, -1)).reshape(x.shape)
    elif variant == "inverted":
        x = 1.0 - x
    here, rest = order[:train], order[train:]
    return Pictures(x[:, here], labels[here], x[:, rest], labels[rest])


def _order(count: int, which: tuple[int, int, int, int]) -> np.ndarray:
    """int64 [count]: a random order. which: seed, task, stream and number."""
    seed, task, stream, number = which
    philox = np.random.Philox(key=np.array([seed, task], dtype=np.uint64), counter=np.array([0, 0, stream, number], dtype=np.uint64))
    return np.argsort(philox.random_raw(count), kind="stable")


@cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    """x [64, 1797], labels int64 [1797]."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ImportError("digits: expected scikit-learn, which comes with the extra `data`: pip install 'sublearn[data]'") from None
    x, labels = load_digits(return_X_y=True)
    return np.ascontiguousarray(x.T / 16.0), np.asarray(labels, dtype=np.int64)
