"""What calls give back or raise goes through pickle, copy and process pools, and can be compared and hashed."""

import concurrent.futures as cf
import copy
import dataclasses
import importlib
import inspect
import multiprocessing as mp
import pickle
import pkgutil

import numpy as np
import pytest

import sublearn as sl
from sublearn import compare
from sublearn.cli.common import Refused
from sublearn.numerics.matroid import Infeasible
from sublearn.study.files import DiskError, StoreError
from sublearn.study.spec import SpecError

NET, SHARED = sl.Recurrent(2, 4, 2, 3), ("B", "D")
WAYS = {"pickle": lambda value: pickle.loads(pickle.dumps(value)), "copy": copy.copy, "deepcopy": copy.deepcopy}


def modules():
    yield sl  # whose classes say so
    for found in pkgutil.walk_packages(sl.__path__, "sublearn."):
        if not found.name.startswith(("sublearn._cpu", "sublearn._cuda", "sublearn.bench")):
            yield importlib.import_module(found.name)


def classes():
    return [c for m in modules() for c in vars(m).values() if inspect.isclass(c) and c.__module__ == m.__name__]


def impossible(most=1):
    with pytest.raises(sl.Impossible) as caught:
        sl.best_allocation(NET, limits=[({"W": np.ones((4, 4), bool)}, most)], shared=SHARED)
    caught.value.add_note("a note")
    return caught.value


def raises_impossible():
    return sl.best_allocation(NET, limits=[({"W": np.ones((4, 4), bool)}, 1)], shared=SHARED)


ERRORS = [
    impossible(),
    Infeasible([(np.ones(3, bool), 2)], [0], 1),
    Refused("refused"),
    SpecError("study.toml: wrong"),
    StoreError("rows.jsonl: wrong"),
    DiskError("rows.jsonl: full"),
]


def test_every_exception_of_the_package_is_tried_here():
    assert {c for c in classes() if issubclass(c, BaseException)} == {type(error) for error in ERRORS}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_exceptions_pickle_and_copy(error, way):
    again = WAYS[way](error)
    assert type(again) is type(error) and str(again) == str(error) and again.args == error.args
    assert vars(again).keys() == vars(error).keys()
    for name, value in vars(error).items():
        np.testing.assert_equal(getattr(again, name), value)


def test_an_exception_comes_out_of_a_process_pool():
    with cf.ProcessPoolExecutor(1, mp_context=mp.get_context("spawn")) as pool:
        with pytest.raises(sl.Impossible, match="no allocation within the limits can match") as caught:
            pool.submit(raises_impossible).result(timeout=120)
        assert caught.value.required_rank == 4 and caught.value.tight == impossible().tight
        assert pool.submit(int, "7").result(timeout=60) == 7  # the pool goes on


def records():
    strategy = sl.scattered(NET, 5, "W")
    t = sl.draw_trials(NET, strategy, 8, shared=SHARED)
    data = NET, t.student, t.x, t.y, t.mask
    allocation = strategy.draw(0)
    return [
        NET, sl.Feedforward((2, 3, 1), 2), strategy, allocation, t, sl.fit(*data, steps=2), sl.decide(*data, SHARED),
        sl.match_probability(NET, strategy, 20, SHARED, keep_trials=True), sl.predict(NET, allocation, SHARED),
        sl.predictions(NET, t.mask, SHARED), sl.predict_strategy(NET, strategy, SHARED, draws=20),
        sl.capacity(NET, strategy, shared=SHARED, trials=20, most=4), sl.match_bounds(NET, strategy, SHARED),
        sl.parity_bounds(NET, sl.best_allocation(NET, shared=SHARED), SHARED, trials=3), sl.explain(NET, allocation, SHARED),
        compare.compare_with_theory(NET, strategy, 20, SHARED), impossible(), sl.levenberg_marquardt(*data),
        sl.Parameters({"weight": (3, 2), "bias": (3,)}),
        sl.compare_with_exact(sl.Recurrent(1, 3, 1, 3), sl.rows(sl.Recurrent(1, 3, 1, 3), 2, "W"), 9),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def made():
    return records()


@pytest.mark.parametrize("way", WAYS)
def test_records_pickle_and_copy(made, way):
    for value in made:
        again = WAYS[way](value)
        assert type(again) is type(value) and str(again) == str(value)
        if dataclasses.is_dataclass(value):
            for field in dataclasses.fields(value):
                mine, theirs = getattr(value, field.name), getattr(again, field.name)
                if isinstance(mine, np.ndarray):
                    assert theirs.dtype == mine.dtype
                    np.testing.assert_array_equal(theirs, mine)
                elif field.name == "state":
                    assert theirs.step == mine.step == 2 and theirs.net == mine.net
                    np.testing.assert_array_equal(theirs.learned, mine.learned)
                elif field.name == "evidence":
                    assert {m: str(seen) for m, seen in theirs.items()} == {m: str(seen) for m, seen in mine.items()}
                else:
                    assert theirs == mine


def test_records_compare_and_hash(made):
    """Records of plain values are equal when their values are; those that hold arrays only to themselves. None raises."""
    for value in made:
        assert value == value and value != "else" and hash(value) == hash(value)
        again = pickle.loads(pickle.dumps(value))
        if "__eq__" in vars(type(value)):
            assert again == value and hash(again) == hash(value)
        else:
            assert again != value


def test_records_with_arrays_compare_by_identity():
    """An == of dataclasses compares tuples of fields, which raises for arrays."""
    for c in classes():
        if dataclasses.is_dataclass(c) and any("ndarray" in str(field.type) for field in dataclasses.fields(c)):
            assert c.__eq__ is object.__eq__, c
