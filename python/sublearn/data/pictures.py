"""Pictures of digits, as data for classification: which are for training, which for testing?

scikit-learn's 1797 pictures of 8 x 8 pixels (extra `data`), scaled to [0, 1], in the layout of a feedforward network: one column each.
Which of them train is drawn anew for every number: the order of raw numbers of numpy's Philox with key (seed, task) and counter
(0, 0, 1, number).
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from .._checks import whole_number
from ..model.checks import check_trial_range

PIXELS, CLASSES, COUNT = 64, 10, 1797
_STREAM = 1  # 0: starts of trajectories (systems.py)


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


def digits(train: int = 1347, seed: int = 0, task: int = 0, number: int = 0) -> Pictures:
    """The digits, split number `number` of (seed, task): `train` pictures for training (at most 1796), the others for testing; float64.

    Errors: ImportError where scikit-learn is not installed; ValueError for numbers out of range.

    >>> split = sl.pictures.digits(1000)
    >>> split.x.shape, split.y.shape, split.x_test.shape, float(split.x.max())
    ((64, 1000), (10, 1000), (64, 797), 1.0)
    """
    train = whole_number("train", train, 1, COUNT - 1, "of 1797 pictures; the others are for testing")
    seed, task, number, _ = check_trial_range(seed, task, number, 1)
    x, labels = _digits()
    philox = np.random.Philox(key=np.array([seed, task], dtype=np.uint64), counter=np.array([0, 0, _STREAM, number], dtype=np.uint64))
    order = np.argsort(philox.random_raw(COUNT), kind="stable")
    here, rest = order[:train], order[train:]
    return Pictures(x[:, here], labels[here], x[:, rest], labels[rest])


@cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    """x [64, 1797], labels int64 [1797]."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ImportError("digits: expected scikit-learn, which comes with the extra `data`: pip install 'sublearn[data]'") from None
    x, labels = load_digits(return_X_y=True)
    return np.ascontiguousarray(x.T / 16.0), np.asarray(labels, dtype=np.int64)
