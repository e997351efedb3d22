"""What must never change: the ids of cells and their task numbers, by which rows of a study are kept, and the draws of trials."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

import sublearn as sl
from sublearn.study import cells_of, default_spec, read_spec

EXAMPLES = Path(__file__).parent.parent / "examples"

# Study, place of the cell in it, what it asks, id, task number. As of the first release; keys added since are not written at their default.
CELLS = [
    ("default", 0, "recurrent / scattered / 8 / newton", "e2690aca07c8243e", 2722825336),
    ("default", 7, "recurrent / scattered / 8 / descent", "a32d134130f4dca1", 2722825336),
    ("default", 25, "recurrent / column by column / 12 / newton", "ba628d5019394c73", 2722825336),
    ("default", 40, "deep linear / middle layer / 5 / newton", "5b658bc32fbfd69f", 2282440562),
    ("default", 60, "shallow relu / first layer / 6 / newton", "37df1ac34913180d", 443338003),
    ("exact", 0, "recurrent n=4, T=5 / scattered / 3 / exact", "4a2f43b60deddc4f", 2077107841),
    ("recurrent_f1", 0, "recurrent n=4 / scattered / 8 / newton", "96b4b947e46184b7", 3615566741),
    ("recurrent_f3", 2, "recurrent n=8 / scattered / 10 / newton", "fe901d10ae0ead46", 2722825336),
    ("feedforward_f4", 1, "linear 3-4-2 / split / W1 1 + W2 4 / newton", "e8e7c864b435618f", 4239216697),
    ("relu_f5", 0, "relu 3-4-2 / split / W1 0 + W2 5 / newton", "531460e5848fc68e", 2243786005),
    ("relu_f5", -1, "relu 3-4-2 / split / W1 12 + W2 0 / newton", "ce1fa64ff05ce085", 2243786005),
]  # fmt: skip


@pytest.mark.parametrize("study, place, asked, cell_id, number", CELLS)
def test_cells_keep_their_ids(study, place, asked, cell_id, number):
    cell = cells_of(default_spec() if study == "default" else read_spec(EXAMPLES / f"{study}.toml"))[place]
    assert (cell.describe(), cell.id, cell.task_number) == (asked, cell_id, number)


# Strategy, shared groups, digest of 50 trials (teacher, student, x, mask).
DRAWS = [
    (sl.scattered(sl.Recurrent(2, 8, 2, 6), 10, "W"), ("B", "D"), "bf71c65a25a65d65"),
    (sl.per_row(sl.Recurrent(2, 4, 2, 3, activation="tanh", bias=True), 2, 3, "W"), (), "54c9da29ccf3cbc4"),
    (sl.split(sl.Feedforward((3, 4, 2), 3, activation="relu", bias=True), {"W1": 3, "b1": 2}), ("W2",), "92507320a541a2ff"),
    (sl.even_rows(sl.Feedforward((3, 4, 4, 2), 3), 2, "W2"), (), "eefeff15aa71a6be"),
]  # fmt: skip


@pytest.mark.parametrize("strategy, shared, digest", DRAWS, ids=str)
def test_draws_keep_their_bits(strategy, shared, digest):
    assert digest_of(strategy, shared) == digest


def digest_of(strategy, shared):
    drawn = sl.draw_trials(strategy.net, strategy, 50, shared=shared, seed=2**40 + 7, task=3, first=11)
    whole = hashlib.sha256()
    for array in (drawn.teacher, drawn.student, drawn.x, drawn.mask):
        whole.update(np.ascontiguousarray(array).tobytes())
    return whole.hexdigest()[:16]
