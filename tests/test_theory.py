"""Predictions by hand, one theorem after the other, and structures solved exactly to show that they are
solvable.

What is called maximal is solved mod p with the slow twin, where "equal outputs" means equal: the
substitutions of T7 and the linear systems of T2 use ring operations and divisions only. Grids and
every-allocation checks: test_theory_grid.py.
"""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from sublearn import _cpu
from sublearn.model.allocation import Allocation
from sublearn.model.layers import plain
from sublearn.model.network import Feedforward, Recurrent
from sublearn.model.strategies import everything, only, scattered, split
from sublearn.model.strategy import as_strategy
from sublearn.ranks import generic_rank
from sublearn.ranks.affine import affine
from sublearn.ranks.block_structures import output_splits, structures_in
from sublearn.ranks.closed_forms import attained_rank_formula, feature_rank, required_rank_formula, scattered_full_rank_chance
from sublearn.ranks.generic_rank import attained_ranks, required_rank
from sublearn.theory.bounds import predict_strategy
from sublearn.theory.predict import attained_rank, predict, predictions
from tests.twins import ranks as twin
from tests.twins.counts import layer_spans

P = _cpu.PRIMES[0]


def is_affine(net, allocation):
    return bool(affine(net, as_strategy(allocation).draw().mask[None])[0])


def grid(net, name, rows=None, columns=None):
    """One group with some rows and columns learnable."""
    mask = np.zeros(net.groups[name], dtype=bool)
    mask[np.ix_(*[range(size) if some is None else some for size, some in zip(mask.shape, (rows, columns))])] = True
    return mask


def random_mask(net, names, rng, share):
    mask = np.zeros(net.size, dtype=bool)
    for name in names:
        mask[net.slices[name]] = rng.random(net.slices[name].stop - net.slices[name].start) < share
    return mask


# The twin itself


@pytest.mark.parametrize(
    "net",
    [
        Recurrent(2, 3, 2, 4, bias=True),
        Recurrent(1, 2, 1, 3, bias=("b",)),
        Feedforward((2, 3, 2, 2), 3, bias=True),
        Feedforward((3, 2), 2),
        Feedforward((2, 2, 3), 2, bias=("b2",)),
    ],
    ids=lambda net: net.describe(),
)
def test_compiled_jacobian_and_ranks_equal_the_twin(net):
    for seed, p in enumerate(_cpu.PRIMES):
        rng = np.random.default_rng(seed)
        theta, x = rng.integers(0, p, net.size), rng.integers(0, p, net.x_shape)
        J = twin.jacobian(net, theta, x, p)
        compiled = _cpu.jacobian_mod(net.shape, theta[None], x.reshape(1, -1), 0, p)
        assert (compiled[0] == J.astype(np.int64)).all()
        assert _cpu.rank_mod(compiled, p)[0] == twin.rank_mod(J, p) == required_rank(net)


@pytest.mark.parametrize(
    "net",
    [
        Recurrent(2, 3, 2, 3, "tanh", True),
        Feedforward((2, 3, 2, 2), 2, "tanh", True),
        Feedforward((2, 3, 2), 2, "relu"),
    ],
)
def test_the_twin_has_the_slope_of_its_outputs(net):
    rng = np.random.default_rng(1)
    theta, x, step = rng.standard_normal(net.size), rng.standard_normal(net.x_shape), 1e-6
    J = twin.jacobian(net, theta, x).astype(float)
    for k, edge in enumerate(np.eye(net.size)):
        change = twin.outputs(net, theta + step * edge, x) - twin.outputs(net, theta - step * edge, x)
        np.testing.assert_allclose(J[:, k], change.astype(float).reshape(-1) / (2 * step), atol=1e-6)


def test_tanh_ranks_equal_the_twin_with_given_activities():
    net = Recurrent(1, 3, 1, 5, "tanh")
    rng = np.random.default_rng(0)
    theta, x, hidden = (
        rng.integers(0, P, net.size),
        rng.integers(0, P, net.x_shape),
        rng.integers(0, P, (5, 3)),
    )
    J = twin.jacobian(net, theta, x, P, hidden)
    for _ in range(20):
        mask = rng.random(net.size) < rng.random()
        assert twin.rank_mod(J[:, mask], P) == attained_rank(net, Allocation.from_mask(net, mask))


# T1 and the ranks


def test_t1_fewer_weights_than_required_never_match():
    net, shared = Recurrent(2, 8, 2, 6), ("B", "D")
    said = predict(net, scattered(net, 9, within="W").draw(0), shared)
    assert (said.kind, said.reason, said.required_rank) == ("minimal", "T1", 10)
    assert said.attained_rank <= 9 and said.sure == "proven" and said.error == 0.0 and said.degree is None


@pytest.mark.parametrize("activation", ["linear", "tanh"])
def test_t1_full_rank_matches_sometimes(activation):
    net, shared = Recurrent(2, 4, 2, 6, activation), ("B", "D")
    mask = Allocation(
        net,
        {"W": np.eye(4, dtype=bool) | np.eye(4, k=1, dtype=bool) | np.eye(4, k=2, dtype=bool) | np.eye(4, k=-3, dtype=bool)},
    )
    said = predict(net, mask, shared)
    assert mask.budget == 10 and required_rank(net, shared) == 10
    assert (said.kind, said.reason, said.attained_rank) == ("intermediate", "T1", 10)
    assert "MP > 0" in str(said)


def test_ranks_of_many_masks_are_the_ranks_of_each():
    net, shared = Recurrent(1, 5, 2, 6, bias=True), ("D",)
    rng = np.random.default_rng(2)
    masks = np.stack([random_mask(net, "BWbc", rng, share) for share in rng.random(200)])
    masks[0] = False
    ranks = attained_ranks(net, masks, shared)
    assert ranks.dtype == np.int64 and ranks[0] == 0
    x = rng.integers(0, P, net.x_shape)
    J = twin.jacobian(net, rng.integers(0, P, net.size), x, P)
    for mask, rank in zip(masks[:40], ranks):
        assert rank == twin.rank_mod(J[:, mask], P) == attained_rank(net, Allocation.from_mask(net, mask), shared)
    assert (attained_ranks(net, masks[::-1], shared) == ranks[::-1]).all()
    assert attained_ranks(net, masks[:0], shared).shape == (0,)


def test_a_memory_bound_splits_a_large_batch_without_changing_it(monkeypatch):
    net = Recurrent(1, 4, 1, 8)
    masks = np.random.default_rng(0).random((300, net.size)) < 0.4
    whole = attained_ranks(net, masks)
    monkeypatch.setattr(generic_rank, "_CHUNK_BYTES", 2000)
    assert (attained_ranks(net, masks) == whole).all()


def test_an_unlucky_prime_is_caught_and_repeated(monkeypatch):
    """A rank mod p can only be too small: a second draw repairs it, and the closed forms demand one."""
    net, shared = Recurrent(2, 4, 2, 4), ("B", "D")
    masks = np.stack([scattered(net, 7, within="W").draw(seed).mask for seed in range(50)])
    right = attained_ranks(net, masks, shared)
    honest = generic_rank.ranks_at
    generic_rank.required_with_error.cache_clear()
    monkeypatch.setattr(generic_rank, "ranks_at", lambda net, masks, draw: honest(net, masks, draw) - (draw == 0))
    assert required_rank(net, shared) == 6 and (attained_ranks(net, masks, shared) == right).all()
    generic_rank.required_with_error.cache_clear()
    monkeypatch.setattr(generic_rank, "ranks_at", lambda net, masks, draw: honest(net, masks, draw) - 1)
    with pytest.raises(RuntimeError, match=r"required rank mod p 5 contradicts the closed form \(T3\) 6"):
        required_rank(net, shared)
    monkeypatch.setattr(generic_rank, "ranks_at", honest)
    monkeypatch.setattr(
        generic_rank,
        "attained_rank_formula",
        lambda net, masks: (np.full(len(masks), 2), np.full(len(masks), True)),
    )
    with pytest.raises(RuntimeError, match="attained rank mod p .* contradicts the closed form .* 2"):
        attained_ranks(net, masks, shared)


def test_sure_says_what_is_proven():
    net = Recurrent(1, 3, 1, 4, "tanh")
    assert predict(net, everything(net)).sure == "proven"  # kappa meets the number of equations
    net = Feedforward((1, 2, 1, 2), 3, "tanh", True)
    said = predict(net, only(net, "W1", "W2", "W3"))
    assert said.required_rank == 5 < net.equations
    assert 0 < said.error < 1e-12 and said.sure == f"error below {said.error:.1e}"
    # Minimal without a proof by counts: the closed forms would allow rank kappa, the rank mod p says no.
    net, shared = Feedforward((3, 4, 4, 2), 2), ()
    masks = np.stack([scattered(net, budget, within="W2").draw(seed).mask for budget in (4, 5) for seed in range(60)])
    bounds, exact = attained_rank_formula(net, masks)
    seen = set()
    for mask, bound, is_exact in zip(masks, bounds, exact):
        said = predict(net, Allocation.from_mask(net, mask), shared)
        if said.kind == "minimal":
            assert (said.sure == "proven") == (bound < 4) and not is_exact
            seen.add(said.sure == "proven")
    assert seen == {True, False}


# T2


def test_t2_cases():
    net = Feedforward((3, 4, 2), 3, bias=True)
    for names, straight in [
        (("W2",), True),
        (("W1",), True),
        (("W1", "b1", "b2"), True),
        (("b1", "b2"), True),
        (("W2", "b2"), True),
        (("W1", "W2"), False),
        (("b1", "W2"), False),
    ]:
        assert is_affine(net, only(net, *names)) is straight, names
    net = Feedforward((3, 4, 2), 3)
    said = predict(net, only(net, "W2"))
    assert (said.kind, said.reason, said.witness, said.required_rank) == ("maximal", "T2", None, 6)
    # Only incoming or only outgoing weights at each hidden unit: units 0, 1 in, 2, 3 out.
    mixed = Allocation(net, {"W1": grid(net, "W1", rows=[0, 1]), "W2": grid(net, "W2", columns=[2, 3])})
    assert is_affine(net, mixed) and predict(net, mixed).reason == "T2"
    one_more = Allocation(net, {"W1": grid(net, "W1", rows=[0, 1, 2]), "W2": grid(net, "W2", columns=[2, 3])})
    said = predict(net, one_more)
    assert not is_affine(net, one_more) and (said.kind, said.reason) == ("maximal", "T9 via T2")
    assert is_affine(net, said.witness) and one_more.contains(said.witness)
    assert attained_rank(net, said.witness) == 6


@pytest.mark.parametrize("steps, straight", [(1, True), (2, True), (3, False), (4, False)])
def test_t2_recurrent_matrix_by_steps(steps, straight):
    net = Recurrent(2, 3, 2, steps)
    assert is_affine(net, only(net, "W")) is straight


def test_t2_single_edges_of_w_at_three_steps():
    net = Recurrent(1, 3, 1, 3)
    assert is_affine(net, Allocation.from_edges(net, [("W", 0, 1), ("W", 0, 2)]))
    assert not is_affine(net, Allocation.from_edges(net, [("W", 0, 1), ("W", 1, 2)]))  # 2 to 1 to 0
    assert not is_affine(net, Allocation.from_edges(net, [("W", 0, 0)]))  # twice the same edge
    longer = Recurrent(1, 3, 1, 4)
    assert not is_affine(longer, Allocation.from_edges(longer, [("W", 0, 1)]))  # again, with a frozen step between


def test_t2_below_the_number_of_equations():
    """Saturated: kappa = 2 of 6 equations (one hidden unit); the last layer reaches it and matches."""
    net, shared = Recurrent(1, 1, 2, 3), ("B", "W")
    said = predict(net, only(net, "D"), shared)
    assert (said.kind, said.reason, said.required_rank, net.equations) == ("maximal", "T2", 2, 6)


def test_t2_not_with_relu_and_last_layer_only_with_tanh():
    for activation, kind in [("linear", "maximal"), ("tanh", "maximal"), ("relu", "intermediate")]:
        net = Feedforward((3, 4, 2), 3, activation)
        three_each = Allocation(net, {"W2": grid(net, "W2", columns=[0, 1, 2])})
        assert is_affine(net, three_each) and predict(net, three_each).kind == kind
    tanh = Feedforward((3, 4, 2), 3, "tanh")
    assert not is_affine(tanh, only(tanh, "W1")) and predict(tanh, only(tanh, "W1")).kind == "intermediate"
    said = predict(tanh, everything(tanh))
    assert (said.kind, said.reason) == ("maximal", "T9 via T2") and not said.witness.by_group["W1"].any()


def test_no_hidden_layer_means_no_activation():
    for activation in ("relu", "tanh"):
        net = Feedforward((3, 2), 2, activation, True)
        assert plain(net).activation == "linear"
        said = predict(net, only(net, "W1"))
        assert (said.kind, said.reason, said.required_rank) == ("maximal", "T2", 4)
        assert predict(net, only(net, "b1")).kind == "minimal"


# T3


def test_t3_familiar_values():
    assert required_rank_formula(Recurrent(2, 8, 2, 6), ("B", "D")) == 10 == required_rank(Recurrent(2, 8, 2, 6), ("B", "D"))
    assert required_rank_formula(Recurrent(2, 4, 2, 6)) == min(6 * 2, 4 * (2 + 2))
    assert required_rank_formula(Recurrent(1, 4, 1, 50)) == 8
    assert required_rank_formula(Recurrent(1, 5, 2, 40)) == (5 + 3) + (5 + 2)  # o does not divide n
    assert required_rank_formula(Feedforward((3, 4, 2), 3)) == 6
    assert required_rank_formula(Feedforward((3, 1, 2), 5)) == 1 * (2 + 3 - 1)
    assert required_rank_formula(Recurrent(1, 2, 1, 3, "tanh")) is None
    assert required_rank(Recurrent(2, 3, 1, 4), ("B", "W", "D")) == 0


def test_everything_shared_matches_by_itself():
    for activation in ("linear", "tanh", "relu"):
        net = Recurrent(1, 2, 1, 2, activation)
        said = predict(net, Allocation(net, {}), ("B", "W", "D"))
        assert (said.kind, said.required_rank) == ("maximal", 0)


# T4, T5, T6, T12 by hand


def test_t4_last_layer_needs_f_in_every_row():
    net = Feedforward((3, 4, 2), 3)
    assert feature_rank(net) == 3
    three = np.array([[1, 1, 1, 0], [0, 1, 1, 1]], dtype=bool)
    assert predict(net, Allocation(net, {"W2": three})).kind == "maximal"
    four_two = np.array([[1, 1, 1, 1], [1, 1, 0, 0]], dtype=bool)
    said = predict(net, Allocation(net, {"W2": four_two}))
    assert (said.kind, said.attained_rank, said.sure) == ("minimal", 5, "proven")


def test_t4_with_an_output_bias():
    net = Recurrent(2, 3, 2, 6, bias=("c",))
    assert feature_rank(net) == 4
    bound, exact = attained_rank_formula(net, only(net, "D", "c").allocation.mask[None])
    assert exact[0] and bound[0] == 8 == attained_rank(net, only(net, "D", "c"))


def test_t5_encoder_place_does_not_matter():
    net = Recurrent(2, 4, 2, 3)  # o (T - 1) = 4 <= n
    for places in itertools.combinations(range(8), 6):
        mask = np.zeros(net.size, dtype=bool)
        mask[list(places)] = True
        assert attained_rank(net, Allocation.from_mask(net, mask)) == 6


def test_t6_rules_of_an_inner_layer():
    net = Feedforward((3, 4, 2), 3)  # W1: the map after is 2 x 4, not injective; the input has full row rank
    assert layer_spans(net, 1, grid(net, "W1", columns=[0, 1, 2], rows=[0, 1]))
    assert layer_spans(net, 1, grid(net, "W1", rows=[0])) is False  # one weight in each column, two are needed
    assert attained_rank(net, Allocation(net, {"W1": grid(net, "W1", rows=[0])})) == 3


def test_t12_only_rows_matter():
    net, shared = Recurrent(2, 4, 2, 3), ("B", "D")
    for rows, rank in [([0], 2), ([0, 1], 4), ([2, 3], 4), ([0, 1, 2], 4)]:
        for columns in itertools.combinations(range(4), 2):
            mask = Allocation(net, {"W": grid(net, "W", rows=rows, columns=list(columns))})
            assert attained_rank(net, mask, shared) == rank


def test_t12_chance_of_full_rank_is_counted():
    small, large = Recurrent(2, 4, 2, 3), Recurrent(2, 8, 2, 6)
    given = "W", ("B", "D")
    chance = scattered_full_rank_chance(small, 4, *given)
    assert round(float(chance), 3) == 0.892
    assert round(float(scattered_full_rank_chance(large, 10, *given)), 5) == 0.99945
    masks = np.zeros((1820, small.size), dtype=bool)
    for mask, places in zip(masks, itertools.combinations(range(16), 4)):
        mask[small.slices["W"].start + np.array(places)] = True
    full = int((attained_ranks(small, masks, ("B", "D")) == 4).sum())
    assert Fraction(full, 1820) == chance
    assert scattered_full_rank_chance(small, 3, *given) == 0 and scattered_full_rank_chance(small, 16, *given) == 1
    assert scattered_full_rank_chance(small, 16, "W") == 0  # y_1 needs B or b
    assert scattered_full_rank_chance(Recurrent(2, 4, 2, 6), 10, *given) is None  # o (T - 2) > n: T12 is a bound
    with pytest.raises(ValueError, match="budget: expected a whole number from 0 to 16"):
        scattered_full_rank_chance(small, 17, *given)


@pytest.mark.parametrize(
    "net, within, shared",
    [
        (Recurrent(2, 3, 1, 4), "W", ("B", "D")),
        (Recurrent(2, 4, 2, 2, bias=("b",)), ("B", "b"), ("W", "D")),
        (Recurrent(1, 3, 2, 4), "D", ("B", "W")),
        (Recurrent(1, 3, 2, 4, bias=("c",)), ("D", "c"), ("B", "W")),
        (Feedforward((3, 4, 2), 3), "W2", ()),
        (Feedforward((3, 4, 2), 3), "W1", ()),
        (Feedforward((2, 2, 3, 2), 3), "W2", ("W1",)),
        (Feedforward((4, 3, 4), 2), "W1", ()),
        (Feedforward((2, 3, 2), 4, "tanh", bias=("b2",)), ("W2", "b2"), ("W1",)),
    ],
    ids=lambda value: getattr(value, "describe", lambda: None)(),
)
def test_chances_of_full_rank_are_those_of_all_masks(net, within, shared):
    counted = 0
    for budget in range(2, min(10, int(only(net, *[within] if isinstance(within, str) else within).budget))):
        strategy = scattered(net, budget, within)
        chance = scattered_full_rank_chance(net, budget, within, shared)
        if chance is None:
            continue
        masks, chances = strategy.law()
        assert chances.sum() == pytest.approx(1) and len(np.unique(masks, axis=0)) == len(masks)
        full = (attained_ranks(net, masks, shared) == required_rank(net, shared)).sum()
        assert Fraction(int(full), len(masks)) == chance
        counted += 0 < chance < 1
    assert counted or required_rank_formula(net, shared) is None or chance in (0, 1)


def test_f6_match_probabilities_counted_inside_one_layer():
    """3-4-2, m = 3: allocations inside one layer are affine, so the kinds give the match probability."""
    net = Feedforward((3, 4, 2), 3)
    for name, size, budget, chance in [
        ("W2", 8, 6, Fraction(4, 7)),
        ("W2", 8, 7, 1),
        ("W1", 12, 6, 0.234),
        ("W1", 12, 7, 0.545),
    ]:
        kinds = []
        for places in itertools.combinations(range(size), budget):
            mask = np.zeros(net.size, dtype=bool)
            mask[net.slices[name].start + np.array(places)] = True
            kinds.append(predict(net, Allocation.from_mask(net, mask)).kind)
        assert set(kinds) <= {"maximal", "minimal"}
        share = Fraction(kinds.count("maximal"), len(kinds))
        assert share == chance if isinstance(chance, (Fraction, int)) else round(float(share), 3) == chance


# T7: where each structure must and must not be seen


def names_of(net, masks, shared=()):
    allocation = Allocation(net, masks)
    return {name for name, has, _ in structures_in(net, allocation.mask[None], shared) if has[0]}


def test_t7_row():
    net, shared = Recurrent(2, 8, 2, 6), ("B", "D")
    two_rows = {"W": grid(net, "W", rows=[1, 4], columns=[0, 2, 3, 5, 7])}
    said = predict(net, Allocation(net, two_rows), shared)
    assert (said.kind, said.reason, said.witness, said.sure) == ("maximal", "T7 row", None, "proven")
    more = {"W": two_rows["W"] | np.eye(8, dtype=bool)}
    said = predict(net, Allocation(net, more), shared)
    assert (said.kind, said.reason) == ("maximal", "T9 via T7 row")
    assert said.witness.budget == 12 and (said.witness.by_group["W"] <= more["W"]).all()  # with (1, 1) and (4, 4)
    # Not: four in one row; one row only; y_1 not the teacher's; tanh; o > n.
    four = two_rows["W"].copy()
    four[4, 7] = False
    assert "row" not in names_of(net, {"W": four}, shared)
    assert "row" not in names_of(net, {"W": grid(net, "W", rows=[3])}, shared)
    for fewer in [(), ("B",), ("D",)]:
        assert names_of(net, two_rows, fewer) == set()
    tanh = Recurrent(2, 8, 2, 6, "tanh")
    assert predict(tanh, Allocation(tanh, two_rows), shared).kind == "intermediate"
    wide = Recurrent(2, 2, 3, 3)
    assert names_of(wide, {"W": grid(wide, "W")}, shared) == set()
    # T - 1 > n: a row cannot hold T - 1 weights.
    long = Recurrent(1, 3, 1, 5)
    assert names_of(long, {"W": grid(long, "W")}, shared) == set()


def test_t7_row_needs_the_biases_right_too():
    net = Recurrent(2, 6, 2, 4, bias=True)
    rows = {"W": grid(net, "W", rows=[0, 3], columns=[1, 2, 4])}
    assert names_of(net, rows, ("B", "D", "b", "c")) == {"row"}
    assert names_of(net, rows, ("B", "D", "c")) == names_of(net, rows, ("B", "D", "b")) == set()
    # A fully learnable c makes y_1 right by itself: a block before the rows.
    with_c = rows | {"c": np.ones(2, dtype=bool)}
    assert names_of(net, with_c, ("B", "D", "b")) == names_of(net, with_c) == {"row"}
    assert names_of(net, rows | {"c": np.array([True, False])}, ("B", "D", "b")) == set()


def test_t7_column():
    net, shared = Recurrent(2, 8, 2, 5), ("B", "D")
    column = {"W": grid(net, "W", columns=[3])}
    said = predict(net, Allocation(net, column), shared)
    assert (said.kind, said.reason) == ("maximal", "T7 column")  # 8 = o (T - 1) weights
    assert names_of(net, {"W": grid(net, "W", columns=[3], rows=range(7))}, shared) == set()
    assert names_of(net, column, ("B",)) == set()
    longer = Recurrent(2, 8, 2, 6)  # o (T - 1) = 10 > n
    assert predict(longer, Allocation(longer, column), shared).kind == "minimal"
    assert predict(net, Allocation(net, {"W": column["W"] | np.eye(8, dtype=bool)}), shared).reason == "T9 via T7 column"


def test_t7_row_nothing_shared():
    net = Recurrent(2, 6, 2, 4, bias=("b",))
    masks = {
        "W": grid(net, "W", rows=[0, 3], columns=[1, 2, 4]),
        "B": grid(net, "B", rows=[0], columns=[1]),
        "b": np.arange(6) == 3,
    }
    said = predict(net, Allocation(net, masks))
    assert (said.kind, said.reason) == ("maximal", "T7 row, nothing shared")
    # Not without a weight in B or b in each row, and not with T - 1 weights in one of them.
    four = {"W": grid(net, "W", rows=[0, 3], columns=[1, 2, 4, 5])}
    assert names_of(net, four) == set()
    assert predict(net, Allocation(net, four)).kind == "minimal"
    assert names_of(net, masks | {"b": np.zeros(6, dtype=bool)}) == set()
    assert names_of(net, masks | {"W": grid(net, "W", rows=[0, 3], columns=[1, 2])}) == set()
    # W alone counts T - 1 times at most: B must bring the rest when n is large.
    assert "row, nothing shared" in names_of(net, masks | four)


def test_t7_column_nothing_shared():
    net = Recurrent(2, 6, 2, 4)
    masks = {"W": grid(net, "W", columns=[2]), "D": grid(net, "D", columns=[2])}
    said = predict(net, Allocation(net, masks))
    assert (said.kind, said.reason) == ("maximal", "T7 column, nothing shared")
    assert names_of(net, masks | {"D": grid(net, "D", columns=[1])}) == set()
    assert names_of(net, masks | {"D": grid(net, "D", columns=[2], rows=[0])}) == set()
    assert names_of(net, masks | {"W": grid(net, "W", columns=[2], rows=range(5))}) == set()


def test_t7_output_split():
    net = Feedforward((3, 4, 2), 3)
    masks = {"W1": grid(net, "W1", rows=[1]), "W2": grid(net, "W2", rows=[0], columns=[0, 1, 3])}
    allocation = Allocation(net, masks)
    said = predict(net, allocation)
    assert not is_affine(net, allocation)
    assert (said.kind, said.reason, said.witness) == ("maximal", "T7 output split", None)
    # One weight fewer in the solved row or in the inner set: rank 5.
    for fewer in (
        {"W2": grid(net, "W2", rows=[0], columns=[0, 1])},
        {"W1": grid(net, "W1", rows=[1], columns=[0, 1])},
    ):
        assert predict(net, Allocation(net, masks | fewer)).kind == "minimal"
    # A narrow layer before: the target of the solved row need not lie in the features' span.
    narrow = Feedforward((3, 2, 2), 3)
    assert feature_rank(narrow) == 2 and not output_splits(narrow, np.ones((1, narrow.size), dtype=bool), ())
    # ... unless that layer is shared: then teacher and student read the same two features.
    deep = Feedforward((3, 2, 4, 2), 3)
    mask = Allocation(deep, {"W2": grid(deep, "W2", rows=[0]), "W3": grid(deep, "W3", rows=[1], columns=[0, 1])})
    assert not output_splits(deep, mask.mask[None], ())
    assert predict(deep, mask, ("W1",)).reason == "T7 output split"


def test_t7_output_split_recurrent_with_a_row_inside():
    net = Recurrent(1, 4, 2, 4)
    masks = {
        "D": grid(net, "D", rows=[1]),
        "W": grid(net, "W", rows=[2], columns=[0, 1, 3]),
        "B": grid(net, "B", rows=[2]),
    }
    said = predict(net, Allocation(net, masks))
    assert (said.kind, said.reason) == (
        "maximal",
        "T7 output split",
    ) and "T7 row, nothing shared" in said.explanation
    assert predict(net, Allocation(net, masks | {"B": grid(net, "B", rows=[1])})).reason != "T7 output split"


def test_d4_every_free_weight():
    net = Recurrent(1, 2, 1, 9)  # saturated: kappa = 4 of 9 equations
    said = predict(net, everything(net))
    assert (said.kind, said.reason, said.required_rank) == ("maximal", "D4", 4)
    assert predict(net, only(net, "B", "W")).reason == "T7 change of basis"
    assert predict(net, only(net, "W")).kind == "minimal"
    relu = Recurrent(1, 2, 1, 9, "relu")
    assert (predict(relu, everything(relu)).kind, predict(relu, everything(relu)).reason) == ("maximal", "D4")


# T2, T7 and T9 solved: exact matches mod p


class Trial:
    """Teacher, student (shared groups copied) and inputs, mod p or real; the student is changed in place."""

    def __init__(self, net, shared, seed, p=P):
        rng = np.random.default_rng(seed)
        draw = (lambda shape: rng.integers(0, p, shape)) if p else rng.standard_normal
        self.net, self.p, self.field = net, p, twin.Field(p)
        self.teacher, self.student, self.x = (self.field(draw(s)) for s in (net.size, net.size, net.x_shape))
        for name in shared:
            self.student[net.slices[name]] = self.teacher[net.slices[name]]
        self.y = twin.outputs(net, self.teacher, self.x, p)
        self.before = self.student.copy()

    @property
    def groups(self):
        return self.net.unpack(self.student)  # views: writing to them changes the student

    def outputs(self):
        return twin.outputs(self.net, self.student, self.x, self.p)

    def solved(self, mask):
        """Equal outputs, and no frozen weight moved."""
        same = (self.student == self.before)[~mask].all()
        if self.p:
            return same and (self.outputs() == self.y).all()
        gap = (self.outputs() - self.y).astype(float)
        return same and np.linalg.norm(gap) <= 1e-5 * np.linalg.norm(self.y.astype(float))

    def rest(self, split, keep):
        """The same trial for the outputs that a split leaves; its student shares no memory with this one."""
        trial = object.__new__(Trial)
        trial.net, trial.p, trial.field, trial.x = split.rest, self.p, self.field, self.x
        trial.teacher, trial.student = self.teacher[split.place], self.student[split.place]
        trial.before = trial.student.copy()
        trial.y = self.y[keep] if isinstance(self.net, Feedforward) else self.y[:, keep]
        return trial


def solve_affine(trial, mask):
    J = twin.jacobian(trial.net, trial.student, trial.x, trial.p)[:, mask]
    start = trial.student[mask]
    right = trial.field((trial.y - trial.outputs()).reshape(-1) + J @ start)
    trial.student[mask] = twin.solve(J, right, start, trial.p)


def solve_c_first(trial, mask):
    """c from y_1, which B, b and D then make right."""
    g = trial.groups
    if "c" in g and mask[trial.net.slices["c"]].all():
        g["c"][:] = trial.field(trial.y[0] - g["D"] @ twin.activities(trial.net, trial.student, trial.x, trial.p)[1])


def solve_rows(trial, mask, nothing_shared):
    """Outputs fix the units of the o rows step by step, then every row solves a linear system."""
    net, field, g = trial.net, trial.field, trial.groups
    n, o, T = net.hidden, net.outputs, net.steps
    if not nothing_shared:
        solve_c_first(trial, mask)
    zero_b, zero_c = field(np.zeros(n)), field(np.zeros(o))
    b, c = g.get("b", zero_b), g.get("c", zero_c)
    learns = net.unpack(mask)
    table = np.concatenate([learns["W"], learns["B"], learns.get("b", np.zeros(n, dtype=bool))[:, None]], axis=1)
    rows = np.argsort(-table.sum(axis=1), kind="stable")[:o]
    others = np.setdiff1d(np.arange(n), rows)
    first = 0 if nothing_shared else 1
    h = [field(np.zeros(n))]
    for t in range(T):
        z = field(g["W"] @ h[-1] + g["B"] @ trial.x[t] + b)
        if t >= first:
            target = field(trial.y[t] - c - g["D"][:, others] @ z[others])
            z[rows] = twin.solve(g["D"][:, rows], target, z[rows], trial.p)
        h.append(z)
    h = np.array(h)
    table_in = np.concatenate([h[:-1], trial.x, field(np.ones((T, 1)))], axis=1)[first:]
    for a in rows:
        values = np.concatenate([g["W"][a], g["B"][a], b[a : a + 1]])
        free = table[a]
        right = field(h[1 + first :, a] - table_in[:, ~free] @ values[~free])
        values[free] = twin.solve(table_in[:, free], right, values[free], trial.p)
        g["W"][a], g["B"][a] = values[:n], values[n : n + net.inputs]
        if "b" in g:
            g["b"][a] = values[-1]


def solve_column(trial, mask, with_D):
    """With r = y - (outputs without the column), sum_j (a_{t-j} v_j + r_{t-j} g_j) = r_t is affine in it."""
    net, field, g = trial.net, trial.field, trial.groups
    n, o, T = net.hidden, net.outputs, net.steps
    if not with_D:
        solve_c_first(trial, mask)
    learns = net.unpack(mask)
    k = int(learns["W"].sum(axis=0).argmax())
    L = learns["W"][:, k]
    start = g["W"][L, k].copy()
    g["W"][L, k] = 0
    if with_D:
        g["D"][:, k] = 0
    a = np.array(twin.activities(net, trial.student, trial.x, trial.p))[1:, k]
    r = field(trial.y - trial.outputs())
    blocks, right = [], []
    power = [field(np.eye(n))]
    for _ in range(T):
        power.append(trial.field.times(power[-1], g["W"]))
    for t in range(T):
        block = field(np.zeros((o, int(L.sum()))))
        for j in range(1, t + 1):
            v, back = field.times(g["D"], power[j - 1])[:, L], power[j - 1][k, L]
            block = field(block + a[t - j] * v + np.multiply.outer(r[t - j], back))
        if with_D:
            block = np.concatenate([block, field(a[t] * np.eye(o, dtype=int))], axis=1)
        blocks.append(block)
        right.append(r[t])
    start = np.concatenate([start, trial.before[net.slices["D"]].reshape(o, n)[:, k]]) if with_D else start
    found = twin.solve(np.concatenate(blocks), np.concatenate(right), start, trial.p)
    g["W"][L, k] = found[: int(L.sum())]
    if with_D:
        g["D"][:, k] = found[int(L.sum()) :]


def solve_split(trial, mask, shared):
    (split,) = output_splits(trial.net, mask[None], shared)
    matrix, bias = ("D", "c") if isinstance(trial.net, Recurrent) else (f"W{len(trial.net.widths) - 1}", f"b{len(trial.net.widths) - 1}")
    learns = trial.net.unpack(mask)
    held = trial.net.unpack(split.held[0])[matrix].any(axis=1)
    rest = trial.rest(split, ~held)
    said = predict(split.rest, Allocation.from_mask(split.rest, split.masks[0]), shared)
    solve(rest, said, split.masks[0], shared)
    trial.student[split.place] = rest.student
    g = trial.groups
    h = twin.activities(trial.net, trial.student, trial.x, trial.p)
    H = np.array(h[1:]) if isinstance(trial.net, Recurrent) else h[-1].T
    y = trial.y if isinstance(trial.net, Recurrent) else trial.y.T
    H = np.concatenate([H, trial.field(np.ones((len(H), 1)))], axis=1)
    for q in np.flatnonzero(held):
        values = np.concatenate([g[matrix][q], g[bias][q : q + 1] if bias in g else trial.field(np.zeros(1))])
        free = np.concatenate([learns[matrix][q], learns[bias][q : q + 1] if bias in g else [False]])
        right = trial.field(y[:, q] - H[:, ~free] @ values[~free])
        values[free] = twin.solve(H[:, free], right, values[free], trial.p)
        g[matrix][q] = values[:-1]
        if bias in g:
            g[bias][q] = values[-1]


def solve_basis(trial, mask):
    """S with D S = D*, or S [B* b*] = [B b]; then W = S W* S^-1 and what else is learnable."""
    net, field, g, t = trial.net, trial.field, trial.groups, trial.net.unpack(trial.teacher)
    n, learns = net.hidden, net.unpack(mask)
    unit, free = field(np.eye(n, dtype=int)), np.random.default_rng(0).integers(1, 99, (n, n))
    if "c" in g and learns["c"].all():
        g["c"][:] = t["c"]
    if learns["B"].all():
        S = np.stack([twin.solve(g["D"], t["D"][:, k], field(free[k]), trial.p) for k in range(n)], axis=1)
    else:
        into = [np.concatenate([w["B"], *([w["b"][:, None]] if "b" in w else [])], axis=1) for w in (g, t)]
        S = np.stack([twin.solve(into[1].T, into[0][k], field(free[k]), trial.p) for k in range(n)])
    back = np.stack([twin.solve(S, unit[k], field(np.zeros(n, dtype=int)), trial.p) for k in range(n)], axis=1)
    g["W"][:] = field.times(S, t["W"], back)
    if learns["B"].all():
        g["B"][:] = field.times(S, t["B"])
        if "b" in g:
            g["b"][:] = field.times(S, t["b"])
    else:
        g["D"][:] = field.times(t["D"], back)


def solve(trial, said, mask, shared):
    assert said.kind == "maximal"
    mask = mask if said.witness is None else said.witness.mask
    reason = said.reason.removeprefix("T9 via ")
    if reason == "T2":
        solve_affine(trial, mask)
    elif reason == "D4":
        trial.student[:] = trial.teacher
    elif reason == "T7 output split":
        solve_split(trial, mask, shared)
    elif reason == BASIS:
        solve_basis(trial, mask)
    elif reason.startswith("T7 row"):
        solve_rows(trial, mask, nothing_shared=reason.endswith("nothing shared"))
    else:
        solve_column(trial, mask, with_D=reason.endswith("nothing shared"))


ROW, COLUMN, ROW_N, COLUMN_N = "T7 row", "T7 column", "T7 row, nothing shared", "T7 column, nothing shared"
SPLIT, BASIS = "T7 output split", "T7 change of basis"
SOLVED = [  # network, shared, reasons that random allocations must meet
    (Recurrent(1, 4, 1, 4), ("B", "D"), {ROW, COLUMN}),
    (Recurrent(2, 4, 2, 3), ("B", "D"), {ROW, COLUMN}),
    (Recurrent(1, 4, 1, 4, bias=True), ("B", "D", "b", "c"), {ROW, COLUMN}),
    (Recurrent(1, 4, 1, 4, bias=True), ("B", "D", "b"), {ROW, COLUMN}),
    (Recurrent(2, 4, 2, 3, bias=("c",)), (), {ROW, ROW_N, COLUMN_N, SPLIT, "T2"}),
    (Recurrent(1, 4, 1, 4, bias=("b",)), (), {ROW_N, COLUMN_N}),
    (Recurrent(2, 4, 2, 3), (), {ROW_N, COLUMN_N}),
    (Recurrent(2, 4, 2, 3), ("B",), {COLUMN_N, SPLIT, "T2"}),
    (Recurrent(2, 3, 2, 2, bias=True), (), {ROW, ROW_N, COLUMN_N, SPLIT, "T2"}),
    (Recurrent(1, 3, 2, 1, bias=True), (), {"T2"}),
    (Recurrent(1, 3, 3, 4), ("D",), {ROW_N}),
    (Recurrent(1, 2, 2, 7), ("W",), {"T2"}),
    (Recurrent(1, 2, 1, 6), (), {BASIS}),
    (Recurrent(2, 2, 1, 7, bias=True), ("c",), {BASIS}),
    (Feedforward((2, 3, 2), 3), (), {"T2", SPLIT}),
    (Feedforward((3, 4, 3), 3), (), {"T2", SPLIT}),
    (Feedforward((2, 3, 2), 4, bias=True), (), {"T2", SPLIT}),
    (Feedforward((3, 2, 3, 2), 3), ("W1",), {"T2", SPLIT}),
    (Feedforward((2, 3, 3, 2), 2, bias=("b2",)), (), {"T2", SPLIT}),
    (Feedforward((2, 2, 1, 3), 3, bias=True), (), {"D4"}),
]


@pytest.mark.slow
@pytest.mark.parametrize("net, shared, expected", SOLVED)
def test_what_is_called_maximal_is_solved_exactly(net, shared, expected):
    """Random allocations, up to 10 for every reason that occurs, each with a trial of its own."""
    rng = np.random.default_rng(4)
    free = [name for name in net.groups if name not in shared]
    kappa, by_reason = required_rank(net, shared), {}
    masks = np.array([random_mask(net, free, rng, rng.random() if tried else 2) for tried in range(1500)])
    told = predictions(net, masks, shared)
    for mask, kind, reason in zip(masks, told.kind, told.reason, strict=True):
        if kind == "maximal" and len(by_reason.setdefault(reason, [])) < 10:
            by_reason[reason].append((mask, predict(net, Allocation.from_mask(net, mask), shared)))
    assert expected <= {reason.removeprefix("T9 via ") for reason in by_reason}
    for number, (mask, said) in enumerate(itertools.chain.from_iterable(by_reason.values())):
        assert mask.sum() >= kappa
        trial = Trial(net, shared, number)
        solve(trial, said, mask, shared)
        assert trial.solved(mask), said


STRUCTURES = [
    (Recurrent(2, 6, 2, 4), {"W": ([0, 3], [1, 2, 4])}, ("B", "D"), ROW),
    (Recurrent(1, 5, 3, 5), {"W": ([0, 2, 4], [0, 1, 2, 4])}, ("B", "D"), ROW),
    (Recurrent(3, 6, 2, 4), {"W": (None, [5])}, ("B", "D"), COLUMN),
    (Recurrent(1, 6, 3, 3, bias=True), {"W": (None, [0])}, ("B", "D", "b", "c"), COLUMN),
    (Recurrent(2, 6, 2, 4, bias=True), {"W": (None, [0]), "c": (None,)}, (), COLUMN),
    (Recurrent(2, 6, 2, 4, bias=True), {"W": ([1, 5], [1, 2, 5]), "c": (None,)}, ("D",), ROW),
    (Recurrent(1, 6, 2, 4), {"W": ([1, 5], [0, 1, 3]), "B": ([1, 5], None)}, (), ROW_N),
    (Recurrent(3, 4, 2, 5), {"W": ([0, 1], [0, 2]), "B": ([0, 1], None)}, (), ROW_N),
    (Recurrent(2, 5, 2, 3, bias=("b",)), {"W": ([0, 4], [2, 3]), "b": ([0, 4],)}, ("B", "D"), ROW_N),
    (Recurrent(1, 4, 2, 3), {"W": (None, [2]), "D": (None, [2])}, (), COLUMN_N),
    (Recurrent(2, 8, 2, 5, bias=("b",)), {"W": (None, [7]), "D": (None, [7])}, ("B", "b"), COLUMN_N),
    (Feedforward((3, 4, 2), 3), {"W1": ([1], None), "W2": ([0], [0, 1, 3])}, (), SPLIT),
    (
        Feedforward((2, 4, 3), 3, bias=True),
        {"W1": ([1], None), "b1": ([1],), "W2": ([0, 2], [0, 1, 3])},
        (),
        SPLIT,
    ),
    (Recurrent(1, 4, 2, 4), {"D": ([1], None), "W": ([2], [0, 1, 3]), "B": ([2], None)}, (), SPLIT),
]


@pytest.mark.parametrize("net, masks, shared, reason", STRUCTURES)
def test_t7_structures_are_solved_by_substitution(net, masks, shared, reason):
    """Each named structure, with no weight to spare: exact mod p, and in real numbers up to conditioning."""
    allocation = Allocation(net, {name: grid(net, name, *places) for name, places in masks.items()})
    said = predict(net, allocation, shared)
    assert (said.kind, said.reason, said.witness) == ("maximal", reason, None)
    assert allocation.budget == said.required_rank
    for seed in range(5):
        trial = Trial(net, shared, seed)
        assert not trial.solved(allocation.mask)
        solve(trial, said, allocation.mask, shared)
        assert trial.solved(allocation.mask)
    good = 0
    for seed in range(10):
        trial = Trial(net, shared, seed, p=None)
        solve(trial, said, allocation.mask, shared)
        good += trial.solved(allocation.mask)
    assert good >= 8


def test_t7_rows_of_tanh_match_only_while_activities_stay_inside():
    """MP = .0920 at (i, n, o, T) = (2, 8, 2, 3): a match exists iff every solved activity lies in (-1, 1)."""
    net, rng, inside = Recurrent(2, 8, 2, 3), np.random.default_rng(0), 0
    for _ in range(4000):
        B, D = rng.standard_normal((8, 2)) / np.sqrt(2), rng.standard_normal((2, 8)) / np.sqrt(8)
        W, teacher = rng.standard_normal((2, 8, 8)) / np.sqrt(8)
        h = target = np.tanh(B @ (x := rng.standard_normal((3, 2)))[0])
        for t in (1, 2):
            target = np.tanh(teacher @ target + B @ x[t])
            h = np.tanh(W @ h + B @ x[t])
            h[:2] = np.linalg.solve(D[:, :2], D @ target - D[:, 2:] @ h[2:])
            if not (np.abs(h[:2]) < 1).all():
                break
        else:
            inside += 1
    assert abs(inside / 4000 - 0.092) < 4 * np.sqrt(0.092 * 0.908 / 4000)
    tanh = Recurrent(2, 8, 2, 3, "tanh")
    rows = Allocation(tanh, {"W": grid(tanh, "W", rows=[0, 1], columns=[0, 1])})
    assert predict(tanh, rows, ("B", "D")).kind == "intermediate"
    assert predict(net, Allocation(net, rows.by_group), ("B", "D")).kind == "maximal"


def test_t2_of_tanh_last_layers_in_saturated_networks():
    """The last layer of tanh networks is solved by least squares, also where kappa < equations."""
    for net, shared in [
        (Recurrent(1, 3, 2, 5, "tanh", True), ("B", "W", "b")),
        (Feedforward((2, 4, 2), 3, "tanh"), ()),
    ]:
        allocation = only(net, *(name for name in net.groups if name in ("D", "c", "W2")))
        said = predict(net, allocation, shared)
        assert (said.kind, said.reason) == ("maximal", "T2")
        for seed in range(5):
            trial = Trial(net, shared, seed, p=None)
            solve_affine(trial, allocation.allocation.mask)
            assert trial.solved(allocation.allocation.mask)


# T9 via T2 in wide layers


def test_t9_search_in_layers_too_wide_for_all_sets():
    net = Feedforward((5, 20, 3), 5)
    rng = np.random.default_rng(1)
    for _ in range(5):
        mask = random_mask(net, net.groups, rng, 0.8)
        said = predict(net, Allocation.from_mask(net, mask))
        assert said.kind == "maximal" and is_affine(net, said.witness)
        assert attained_rank(net, said.witness) == 15
    # A planted split: units 0-9 only incoming, 10-19 only outgoing, and one weight across at each of them.
    W1, W2 = grid(net, "W1", rows=range(10)), grid(net, "W2", columns=range(10, 20))
    W1[10:, 0] = True
    said = predict(net, Allocation(net, {"W1": W1, "W2": W2}))
    assert said.kind == "maximal" and affine(net, said.witness.mask[None])[0]


# T11


def test_t11_dead_networks_match_without_learning():
    net = Feedforward((1, 1, 1), 1, "relu")
    said = predict(net, Allocation(net, {}))
    assert (said.kind, said.reason) == ("intermediate", "T11") and "dead" in said.explanation
    for name in ("W1", "W2"):
        assert predict(net, only(net, name)).kind == "intermediate"
    assert predict(net, everything(net)).kind == "maximal"


def test_t11_with_an_output_bias():
    net = Feedforward((2, 3, 2), 4, "relu", True)
    said = predict(net, Allocation(net, {}))
    assert (said.kind, said.reason, said.sure) == ("minimal", "T11", "proven")
    assert predict(net, Allocation(net, {}), ("b2",)).kind == "intermediate"  # dead ones agree in a shared bias
    assert predict(net, only(net, "b2")).kind == "intermediate"
    half = Allocation.from_edges(net, [("b2", 0), ("W2", 0, 0)])
    assert predict(net, half).kind == "unknown"


def test_t11_ranks_are_the_largest_found():
    net = Feedforward((3, 4, 2), 3, "relu")
    said = predict(net, only(net, "W2"))
    assert (said.kind, said.sure, said.error) == ("intermediate", "sampled", None)
    assert said.required_rank == required_rank(net) == 6 and said.attained_rank == attained_rank(net, only(net, "W2")) == 6
    masks = np.stack([only(net, "W1").allocation.mask, Allocation(net, {}).mask])
    assert attained_ranks(net, masks).tolist() == [6, 0]
    few = predict(net, Allocation(net, {"W2": grid(net, "W2", rows=[0])}))
    assert few.kind == "intermediate" and few.sure == "proven" and few.attained_rank < few.required_rank


# Strategies and the bounds


def test_predict_strategy_counts_the_bounds():
    net, shared = Recurrent(2, 4, 2, 3), ("B", "D")
    said = predict_strategy(net, scattered(net, 4, within="W"), shared, draws=2000, seed=1)
    chance = float(scattered_full_rank_chance(net, 4, "W", shared))
    assert abs(said.full_rank - chance) < 4 * np.sqrt(chance * (1 - chance) / 2000)
    assert said.upper == pytest.approx(chance) and 0 < said.lower <= said.upper  # counted, not the shares of the sample
    assert said.maximal == said.kinds["maximal"] / 2000 and abs(said.maximal - said.lower) < 0.05
    assert sum(said.kinds.values()) == said.draws == 2000 and said.required_rank == 4
    kinds = [predict(net, Allocation.from_mask(net, mask), shared).kind for mask in scattered(net, 4, within="W").masks(1, 0, 0, 2000)]
    assert {kind: kinds.count(kind) for kind in said.kinds} == said.kinds
    assert "<= MP <=" in str(said)


def test_predict_strategy_of_a_fixed_one_and_of_relu():
    net = Feedforward((3, 4, 2), 3)
    said = predict_strategy(net, only(net, "W2"))
    assert (said.draws, said.lower, said.upper, said.error) == (1, 1.0, 1.0, 0.0)
    said = predict_strategy(net, Allocation(net, {}))
    assert (said.lower, said.upper, said.full_rank) == (0.0, 0.0, 0.0)
    relu = Feedforward((3, 4, 2), 3, "relu")
    said = predict_strategy(relu, split(relu, {"W1": 3, "W2": 3}), draws=20)
    assert (said.lower, said.upper, said.error) == (0.0, 1.0, None)


# Errors


def test_errors_name_what_came():
    net = Recurrent(2, 3, 2, 4)
    with pytest.raises(TypeError, match="shared"):
        predict(net, only(net, "W"), "B")
    with pytest.raises(ValueError, match="shared groups W"):
        predict(net, only(net, "W"), ("W",))
    with pytest.raises(ValueError, match="allocation: expected one of"):
        predict(net, only(Recurrent(2, 3, 2, 5), "W"))
    with pytest.raises(TypeError, match="random strategy scattered.*predict_strategy"):
        predict(net, scattered(net, 3))
    with pytest.raises(TypeError, match="masks: expected a bool array"):
        attained_ranks(net, np.ones((1, net.size)))
    with pytest.raises(ValueError, match=r"masks: expected shape \[k, 21\]"):
        attained_ranks(net, np.ones(net.size, dtype=bool))
    with pytest.raises(ValueError, match="masks: expected no learnable weight in shared groups, got some in D"):
        attained_ranks(net, np.ones((1, net.size), dtype=bool), ("D",))
    with pytest.raises(ValueError, match="draws: expected a whole number >= 1"):
        predict_strategy(net, scattered(net, 3), draws=0)
    with pytest.raises(TypeError, match="allocation: expected an Allocation or a Strategy"):
        predict(net, np.ones(net.size, dtype=bool))


# Many masks at once


@pytest.mark.parametrize(
    "net, shared",
    [
        (Recurrent(2, 4, 2, 3, bias=("c",)), ()),
        (Recurrent(1, 4, 1, 4), ("B", "D")),
        (Feedforward((3, 4, 3), 3), ()),
        (Feedforward((2, 3, 2), 4, "relu", True), ()),
        (Feedforward((3, 4, 2), 3, "tanh"), ()),
    ],
    ids=lambda value: getattr(value, "describe", lambda: None)(),
)
def test_predictions_of_a_batch_are_those_of_each(net, shared):
    rng = np.random.default_rng(6)
    masks = np.stack([random_mask(net, [g for g in net.groups if g not in shared], rng, rng.random() ** 0.5) for _ in range(150)])
    masks = masks[rng.integers(0, 150, 300)]  # with repeats
    found = predictions(net, masks, shared)
    assert len(found) == 300 and len(set(found.kind)) > 1 and repr(found).startswith("<Predictions for 300")
    for k in range(0, 300, 3):
        said = predict(net, Allocation.from_mask(net, masks[k]), shared)
        assert found[k] == said
        assert (found.kind[k], found.reason[k], found.attained_rank[k], found.required_rank) == (
            said.kind, said.reason, said.attained_rank, said.required_rank,
        )  # fmt: skip
        assert found.witness[k].any() == (said.witness is not None)
    assert found[-1] == found[299] and [said.kind for said in found][:5] == found.kind[:5].tolist() and len(found[2:5]) == 3
    with pytest.raises(TypeError, match="masks: expected a bool array"):
        predictions(net, masks.astype(int), shared)
    with pytest.raises(ValueError, match=rf"masks: expected shape \[k, {net.size}\]"):
        predictions(net, masks[0], shared)
    assert len(predictions(net, masks[:0], shared)) == 0


@pytest.mark.parametrize(
    "net, names, shared",
    [
        (Recurrent(1, 3, 2, 9), ("B", "W"), ()),
        (Recurrent(2, 3, 1, 12, bias=("b",)), ("B", "W", "b"), ()),
        (Recurrent(2, 3, 2, 9, bias=True), ("W", "D", "c"), ()),
        (Recurrent(2, 3, 3, 9, bias=True), ("B", "W", "b"), ("c",)),
    ],
)
def test_t7_change_of_basis(net, names, shared):
    said = predict(net, only(net, *names), shared)
    assert (said.kind, said.reason, said.witness, said.sure) == ("maximal", "T7 change of basis", None, "proven")
    mask = only(net, *names).support
    for seed in range(5):
        trial = Trial(net, shared, seed)
        assert not trial.solved(mask)
        solve(trial, said, mask, shared)
        assert trial.solved(mask)
    for missing in np.flatnonzero(mask)[:: net.hidden]:  # one weight less, or too many outputs, and it is no structure any more
        less = mask & (np.arange(net.size) != missing)
        assert predict(net, Allocation.from_mask(net, less), shared).reason != "T7 change of basis"
    wide = Recurrent(2, 2, 3, 9)
    assert predict(wide, only(wide, "B", "W")).kind == "minimal"
    with_b = Recurrent(2, 2, 1, 12, bias=("b",))
    assert predict(with_b, only(with_b, "W", "D")).kind != "maximal"  # [B b] has more columns than there are units
