"""Arguments that no call may take in silence, or hand on to the compiled functions: masked arrays, and numbers too large for them."""

import numpy as np
import pytest

import sublearn as sl
from sublearn import compare

NET, SHARED = sl.Recurrent(2, 4, 2, 3), ("B", "D")
T = sl.draw_trials(NET, sl.scattered(NET, 5, "W"), 4, shared=SHARED)
SQUARE = np.ones((4, 4), bool)
CHEAPEST = sl.best_allocation(NET, shared=SHARED)


def masked(array):
    """With one entry under the mask."""
    array = np.ma.array(array, copy=True)
    array[(0,) * array.ndim] = np.ma.masked
    return array


class Logged(np.ma.MaskedArray):
    pass


GROUPS = NET.unpack(T.student[0])
BOOLS = {name: np.zeros(shape, bool) for name, shape in NET.groups.items()}
MASKED = {  # name of the argument in the message, call
    "rank": ("a", lambda m: sl.rank(m(np.eye(3)))),
    "rank list": ("a", lambda m: sl.rank([m(np.eye(3)), m(np.eye(3))])),
    "rank_mod": ("a", lambda m: sl.rank_mod(m(np.eye(3, dtype=int)), 7)),
    "rank_mod list": ("a", lambda m: sl.rank_mod([m(np.eye(3, dtype=int)), m(np.eye(3, dtype=int))], 7)),
    "outputs theta": ("theta", lambda m: sl.outputs(NET, m(T.student), T.x)),
    "outputs x": ("x", lambda m: sl.outputs(NET, T.student, m(T.x))),
    "jacobian theta": ("theta", lambda m: sl.jacobian(NET, m(T.student), T.x, T.mask)),
    "jacobian allocation": ("allocation", lambda m: sl.jacobian(NET, T.student, T.x, m(T.mask))),
    "fit y": ("y", lambda m: sl.fit(NET, T.student, T.x, m(T.y), T.mask, steps=1)),
    "fit allocation": ("allocation", lambda m: sl.fit(NET, T.student, T.x, T.y, m(T.mask), steps=1)),
    "decide theta": ("theta", lambda m: sl.decide(NET, m(T.student), T.x, T.y, T.mask, SHARED)),
    "decide y": ("y", lambda m: sl.decide(NET, T.student, T.x, m(T.y), T.mask, SHARED)),
    "decide teacher": ("teacher", lambda m: sl.decide(NET, T.student, T.x, T.y, T.mask, SHARED, "exact", teacher=m(T.teacher))),
    "degree": ("allocation", lambda m: sl.degree(NET, m(CHEAPEST.mask), SHARED)),
    "Allocation": ("masks['W']", lambda m: sl.Allocation(NET, {"W": m(SQUARE)})),
    "Allocation list": ("masks['W']", lambda m: sl.Allocation(NET, {"W": [m(SQUARE[0])] * 4})),
    "from_mask": ("mask", lambda m: sl.Allocation.from_mask(NET, m(T.mask[0]))),
    "predictions": ("masks", lambda m: sl.predictions(NET, m(T.mask), SHARED)),
    "kinds_of_masks": ("masks", lambda m: compare.kinds_of_masks(NET, m(T.mask), SHARED)),
    "cost": ("cost['W']", lambda m: sl.best_allocation(NET, {"W": m(np.ones((4, 4)))}, shared=SHARED)),
    "cost list": ("cost['W']", lambda m: sl.best_allocation(NET, {"W": [m(np.ones(4))] * 4}, shared=SHARED)),
    "limits": ("limits[0]", lambda m: sl.best_allocation(NET, limits=[({"W": m(SQUARE)}, 4)], shared=SHARED)),
    "limits flat": ("limits[0]", lambda m: sl.best_allocation(NET, limits=[(m(T.mask[0]), 4)], shared=SHARED)),
    "explain": ("cost['W']", lambda m: sl.explain(NET, sl.Allocation(NET, {}), SHARED, {"W": m(np.ones((4, 4)))})),
    "pack": ("groups['W']", lambda m: NET.pack(GROUPS | {"W": m(GROUPS["W"])})),
    "pack bool": ("groups['W']", lambda m: NET.pack(BOOLS | {"W": m(BOOLS["W"])})),
}


@pytest.mark.parametrize("how", [masked, np.ma.asarray, lambda a: masked(a).view(Logged)], ids=["masked", "no entry", "subclass"])
@pytest.mark.parametrize("name", MASKED)
def test_masked_arrays_are_refused(name, how):
    """numpy drops a mask on the way to a plain array: what lies under it would be taken as data."""
    argument, call = MASKED[name]
    call(np.asarray)  # it is the mask that is refused
    with pytest.raises(TypeError) as caught:
        call(how)
    assert str(caught.value).startswith(f"{argument}: ") and "expected an array without a mask, got a" in str(caught.value)


def test_structured_arrays_are_refused_and_read_only_ones_taken():
    pairs = np.zeros((3, 3), dtype=[("a", float)])
    for call in (sl.rank, sl.rank_mod, lambda a: sl.outputs(NET, a, T.x)):
        with pytest.raises(TypeError, match=r"^(a|theta): expected .*got .*'a'"):
            call(pairs)
    with pytest.raises(TypeError, match=r"^cost\['W'\]: expected real numbers"):
        sl.best_allocation(NET, {"W": np.zeros((4, 4), dtype=[("a", float)])}, shared=SHARED)
    frozen = [a.copy() for a in (T.student, T.x, T.y, T.mask)]
    for a in frozen:
        a.setflags(write=False)
    np.testing.assert_array_equal(sl.fit(NET, *frozen, steps=5).theta, sl.fit(NET, T.student, T.x, T.y, T.mask, steps=5).theta)
    assert sl.rank_mod(np.broadcast_to(np.eye(3, dtype=int), (2, 3, 3)), 7).tolist() == [3, 3]


STRATEGY, DATA = sl.scattered(NET, 6), (NET, T.student, T.x, T.y, T.mask)
LARGE = {  # name of the argument, largest value, call
    "fit steps": ("steps", 2**63 - 1, lambda n: sl.fit(*DATA, steps=n)),
    "fit threads": ("threads", 2**31 - 1, lambda n: sl.fit(*DATA, steps=1, threads=n)),
    "outputs threads": ("threads", 2**31 - 1, lambda n: sl.outputs(NET, T.student, T.x, threads=n)),
    "draw threads": ("threads", 2**31 - 1, lambda n: sl.draw_trials(NET, STRATEGY, 2, threads=n)),
    "rank threads": ("threads", 2**31 - 1, lambda n: sl.rank(np.eye(3), threads=n)),
    "rank_mod p": ("p", 2**31 - 1, lambda n: sl.rank_mod(np.eye(3, dtype=int), n)),
    "degree threads": ("threads", 2**31 - 1, lambda n: sl.degree(NET, CHEAPEST, SHARED, threads=n)),
    "decide iterations": ("iterations", 2**31 - 1, lambda n: sl.decide(*DATA, SHARED, iterations=n)),
    "decide steps": ("steps", 2**63 - 1, lambda n: sl.decide(*DATA, SHARED, "descent", steps=n)),
    "decide starts": ("starts", 2**24, lambda n: sl.decide(*DATA, SHARED, starts=n)),
    "decide seed": ("seed", 2**64 - 1, lambda n: sl.decide(*DATA, SHARED, seed=n)),
    "match iterations": ("iterations", 2**31 - 1, lambda n: sl.match_probability(NET, STRATEGY, 2, iterations=n)),
    "match starts": ("starts", 2**24, lambda n: sl.match_probability(NET, STRATEGY, 2, starts=n)),
    "match steps": ("steps", 2**63 - 1, lambda n: sl.match_probability(NET, STRATEGY, 2, method="descent", steps=n)),
    "match trials": ("trials", 2**32, lambda n: sl.match_probability(NET, STRATEGY, n)),
    "predict draws": ("draws", 2**32, lambda n: sl.predict_strategy(NET, STRATEGY, draws=n)),
    "bounds draws": ("draws", 2**32, lambda n: sl.match_bounds(NET, STRATEGY, draws=n)),
    "parity trials": ("trials", 2**32, lambda n: sl.parity_bounds(NET, CHEAPEST, SHARED, n)),
    "network steps": ("steps", 2**31 - 1, lambda n: sl.Recurrent(2, 4, 2, n)),
    "network hidden": ("hidden", 2**31 - 1, lambda n: sl.Recurrent(2, n, 2, 3)),
    "network widths": ("widths[1]", 2**31 - 1, lambda n: sl.Feedforward((2, n, 2), 3)),
    "network samples": ("samples", 2**31 - 1, lambda n: sl.Feedforward((2, 2), n)),
}


@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("far", [1, 2**70])
def test_numbers_beyond_the_compiled_functions_name_their_argument(name, far):
    argument, most, call = LARGE[name]
    with pytest.raises(ValueError, match="expected a whole number") as caught:
        call(most + far)
    assert str(caught.value).startswith(f"{argument}: expected a whole number from ")
    assert f" to {most}" in str(caught.value) and str(caught.value).endswith(f", got {most + far}")


def test_the_largest_numbers_are_taken():
    assert sl.fit(*DATA, steps=2**63 - 1, tol=1e9).steps.tolist() == [0] * 4
    assert sl.outputs(NET, T.student, T.x, threads=2**31 - 1).shape == T.y.shape
    assert sl.decide(*DATA, SHARED, iterations=2**31 - 1, tol=1e9).match.tolist() == [1] * 4


def test_networks_whose_trials_overflow_are_refused():
    """Outputs and inputs of a trial are counted in 32 bits by the compiled functions: 2^16 x 2^16 outputs would be none."""
    for make, what in (
        (lambda: sl.Recurrent(1, 1, 2**16, 2**16), "outputs"),
        (lambda: sl.Recurrent(2**16, 1, 1, 2**16), "inputs"),
        (lambda: sl.Feedforward((1, 2**16), 2**16), "outputs"),
        (lambda: sl.Feedforward((2**16, 1), 2**16), "inputs"),
    ):
        with pytest.raises(ValueError, match=rf"^network: expected at most 2147483647 {what} of a trial, got 4294967296"):
            make()
