"""Closed forms and predictions against brute force, over every allocation of small networks and grids of
sizes.

Brute force is the slow twin (ranks of explicit Jacobians in floats) or one elimination mod p per allocation
with draws of its own. Hand cases and solved structures are in test_theory.py.
"""

import itertools
from collections import Counter

import numpy as np
import pytest

from sublearn import _cpu
from sublearn.model.allocation import Allocation
from sublearn.model.layers import plain
from sublearn.model.network import Feedforward, Recurrent
from sublearn.ranks.affine import affine, affine_families
from sublearn.ranks.closed_forms import attained_rank_formula, required_rank_bound, required_rank_formula
from sublearn.ranks.generic_rank import attained_ranks, required_rank
from sublearn.theory.predict import predict, predictions
from tests.twins import ranks as twin
from tests.twins.counts import layer_spans


def subsets(names):
    return [chosen for size in range(len(names) + 1) for chosen in itertools.combinations(names, size)]


def every_mask(net, groups, most=14, rng=None):
    """All masks bool [2^w, size] inside the groups named; of more than `most` weights, 2^most random ones."""
    places = np.concatenate([np.arange(net.size)[net.slices[name]] for name in groups])
    if len(places) <= most:
        bits = (np.arange(2 ** len(places))[:, None] >> np.arange(len(places))) & 1 == 1
    else:
        bits = rng.random((2**most, len(places))) < rng.random((2**most, 1))
    masks = np.zeros((len(bits), net.size), dtype=bool)
    masks[:, places] = bits
    return masks


def ranks_mod(net, masks):
    """The largest rank over both primes at points of its own; columns outside a mask are zero."""
    net, ranks = plain(net), np.zeros(len(masks), dtype=np.int64)
    for seed, p in enumerate(_cpu.PRIMES):
        rng = np.random.default_rng([seed, 12345])
        theta, x = rng.integers(0, p, (1, net.size)), rng.integers(0, p, (1, net.shape.inputs_size))
        J = _cpu.jacobian_mod(net.shape, theta, x, 77 + seed, p)[0]
        for start in range(0, len(masks), 4096):
            part = slice(start, start + 4096)
            ranks[part] = np.maximum(ranks[part], _cpu.rank_mod(np.where(masks[part, None, :], J, 0), p))
    return ranks


def real_points(net, count=4, seed=5):
    rng = np.random.default_rng(seed)
    points = [twin.jacobian(net, rng.standard_normal(net.size), rng.standard_normal(net.x_shape)) for _ in range(count)]
    return np.stack(points).astype(float)


# (a) every allocation of small networks

EVERY = [
    (Recurrent(1, 3, 1, 4), ("D",)),
    (Recurrent(1, 3, 1, 5), ("D",)),
    (Recurrent(1, 3, 1, 3), ("B", "D")),
    (Recurrent(1, 3, 2, 2), ("D",)),
    (Recurrent(2, 4, 2, 3), ("B", "D")),
    (Recurrent(1, 2, 2, 3, bias=("b",)), ()),
    (Recurrent(2, 2, 1, 2, bias=True), ()),
    (Recurrent(1, 3, 1, 1, bias=True), ()),
    (Recurrent(1, 1, 2, 4, bias=True), ()),
    (Recurrent(1, 3, 1, 3, "tanh"), ("D",)),
    (Recurrent(1, 2, 1, 3, "tanh", True), ()),
    (Feedforward((2, 3, 2), 3), ()),
    (Feedforward((2, 3, 2), 2), ()),
    (Feedforward((3, 4, 2), 3), ()),
    (Feedforward((2, 2, 2), 3, bias=True), ()),
    (Feedforward((2, 2, 2, 2), 2), ()),
    (Feedforward((2, 2, 2, 2), 3), ("W1",)),
    (Feedforward((2, 1, 2, 3), 2), ()),
    (Feedforward((2, 2, 1, 2), 3, bias=True), ()),
    (Feedforward((3, 2, 3), 4, bias=("b2",)), ("W1",)),
    (Feedforward((2, 3, 2), 3, "tanh"), ()),
    (Feedforward((1, 2, 1, 2), 3, "tanh", True), ()),
    (Feedforward((3, 3), 2, "tanh", True), ()),
]


@pytest.mark.parametrize("net, shared", EVERY, ids=lambda value: getattr(value, "describe", lambda: value)())
def test_every_allocation_against_real_ranks(net, shared):
    rng = np.random.default_rng(0)
    masks = every_mask(net, [name for name in net.groups if name not in shared], 14, rng)
    ranks = twin.real_ranks(real_points(net), masks)
    full = np.ones((1, net.size), dtype=bool)
    for name in shared:
        full[:, net.slices[name]] = False
    kappa = int(twin.real_ranks(real_points(net), full)[0])
    assert required_rank(net, shared) == kappa
    assert (attained_ranks(net, masks, shared) == ranks).all()
    bound, exact = attained_rank_formula(net, masks)
    assert (ranks <= bound).all() and (ranks[exact] == bound[exact]).all()
    found = predictions(net, masks, shared)
    straight = affine(net, masks)
    for mask, rank, is_straight, said in zip(masks, ranks, straight, found):
        assert (said.attained_rank, said.required_rank) == (rank, kappa)
        assert (said.kind == "minimal") == (rank < kappa)  # T1
        if rank == kappa and is_straight:
            assert (said.kind, said.reason) == ("maximal", "T2")
        else:
            assert said.reason != "T2"
        if said.kind == "maximal" and said.witness is not None:
            assert not (said.witness.mask & ~mask).any()
    # T9: more learnable weights never make a proven match probability of one unproven.
    if len(masks) == 2 ** int(full.sum()):
        proven = found.kind == "maximal"
        for bit in range(int(full.sum())):
            more = np.arange(len(masks)) | (1 << bit)
            assert (proven[more] | ~proven).all()
    # The public function says the same, one allocation at a time.
    for k in rng.integers(0, len(masks), 20):
        assert predict(net, Allocation.from_mask(net, masks[k]), shared) == found[k]


def test_every_allocation_covers_at_least_three_networks_with_4096_masks():
    sizes = [sum(np.prod(net.groups[name]) for name in net.groups if name not in shared) for net, shared in EVERY]
    assert sum(size >= 12 for size in sizes) >= 8


# (b) T3 over a grid of sizes, biases and shared groups


def recurrent_grid():
    sizes = itertools.product((1, 2, 3), (1, 2, 3, 4, 5), (1, 2, 3), (1, 2, 3, 4, 5, 7, 12))
    for i, n, o, T in sizes:
        for bias in (False, ("b",), ("c",), True):
            yield Recurrent(i, n, o, T, bias=bias)
    for i, n, o in itertools.product((1, 2, 3), (6, 7, 8), (1, 2, 3, 5)):  # where the sums begin to saturate
        nu = (n + o - 1) // o
        for T in (n + i * (nu - 1), n + i * nu, n + i * nu + 1):
            for bias in (False, ("b",), True):
                yield Recurrent(i, n, o, T, bias=bias)


@pytest.mark.slow
def test_required_rank_of_recurrent_networks():
    counted, nets = Counter(), list(recurrent_grid())
    assert len(nets) >= 1500
    for net in nets:
        choices = subsets(tuple(net.groups))
        masks = np.ones((len(choices), net.size), dtype=bool)
        for mask, shared in zip(masks, choices):
            for name in shared:
                mask[net.slices[name]] = False
        for shared, rank in zip(choices, ranks_mod(net, masks).tolist()):
            formula = required_rank_formula(net, shared)
            assert rank <= required_rank_bound(net, shared), (net, shared)
            if formula is not None:
                assert formula == rank, (net, shared)
                counted[net.bias, shared] += 1
    plain_choices = [shared for bias, shared in counted if bias == ()]
    assert len(plain_choices) == 8  # every choice of B, W, D has its closed form
    assert {(("b",), ()), (("b", "c"), ()), (("b",), ("B", "D", "b"))} <= set(counted)
    assert sum(counted.values()) > 17_000 and min(counted.values()) >= 315


def test_required_rank_asks_the_closed_form_and_agrees_with_it():
    for net in list(recurrent_grid())[::37]:
        for shared in subsets(tuple(net.groups)):
            rank, formula = required_rank(net, shared), required_rank_formula(net, shared)
            assert formula in (None, rank)


def test_required_rank_of_feedforward_networks():
    counted = 0
    shapes = [w for layers in (1, 2, 3) for w in itertools.product((1, 2, 3, 4), repeat=layers + 1)]
    shapes += [(2, 3, 3, 2, 3), (4, 3, 2, 3, 4), (5, 5, 2, 5, 3), (1, 6, 6, 6, 2), (6, 4, 5, 6, 1)]
    for widths in shapes:
        for m in (1, 2, 3, 5):
            for bias in (False, True):
                net = Feedforward(widths, m, bias=bias)
                assert required_rank_formula(net) == ranks_mod(net, np.ones((1, net.size), dtype=bool))[0], net
                counted += 1
    assert counted > 2500
    assert required_rank_formula(Feedforward((2, 3, 2), 3, bias=("b1",))) is None
    assert required_rank_formula(Feedforward((2, 3, 2), 3), ("W1",)) is None


# T4, T5, T6, T12: where each is exact, and that it bounds elsewhere


def compare_counts(nets, choices, most):
    rng, tried, exact_count = np.random.default_rng(0), Counter(), Counter()
    for net in nets:
        for groups in choices:
            if not set(groups) <= set(net.groups):
                continue
            masks = every_mask(net, groups, most, rng)
            bound, exact = attained_rank_formula(net, masks)
            ranks = ranks_mod(net, masks)
            assert (ranks <= bound).all(), (net, groups)
            assert (ranks[exact] == bound[exact]).all(), (net, groups)
            tried[groups] += len(masks)
            exact_count[groups] += int(exact.sum())
    return tried, exact_count


@pytest.mark.slow
def test_counts_of_recurrent_networks():
    sizes = list(itertools.product((1, 2, 3), (1, 2, 3, 4, 5, 6), (1, 2, 3), (1, 2, 3, 4, 5, 7)))
    nets = [Recurrent(*size, bias=bias) for size in sizes for bias in (False, True)]
    choices = [
        ("D",),
        ("D", "c"),
        ("B",),
        ("B", "b"),
        ("W",),
        ("B", "W"),
        ("B", "W", "b"),
        ("B", "W", "D", "b", "c"),
    ]
    tried, exact = compare_counts(nets, choices, 8)
    assert exact["D",] == tried["D",] and exact["D", "c"] == tried["D", "c"]  # T4 is always exact
    assert min(exact[groups] for groups in choices[2:7]) > 20_000
    nets = [Recurrent(*size, "tanh", True) for size in sizes[::7]]
    tried, exact = compare_counts(nets, [("D", "c"), ("W",), ("B", "W", "D")], 7)
    assert exact["D", "c"] == tried["D", "c"]


@pytest.mark.slow
def test_counts_of_feedforward_networks():
    shapes = [
        (2, 3),
        (2, 3, 2),
        (3, 2, 3),
        (3, 4, 2),
        (2, 2, 2, 2),
        (3, 1, 2),
        (2, 3, 1, 3),
        (4, 2, 3, 3),
        (1, 2, 3, 2),
    ]
    nets = [
        Feedforward(widths, m, activation, bias)
        for widths in shapes
        for m in (1, 2, 3, 4, 5)
        for activation in ("linear", "tanh")
        for bias in (False, True, ("b1",))
    ]
    layers = [(f"W{k}",) for k in (1, 2, 3)] + [(f"W{k}", f"b{k}") for k in (1, 2, 3)]
    tried, exact = compare_counts(nets, layers + [("b1",), ("W1", "W2")], 9)
    assert all(0 < exact[groups] < tried[groups] for groups in layers[:2])


def test_counts_of_one_inner_layer():
    """T6: the count condition on the complement is necessary, and sufficient where one kernel is thin."""
    said = Counter()
    for rows, columns, after, m in [
        (3, 4, 2, 2),
        (4, 3, 2, 2),
        (4, 3, 1, 2),
        (4, 4, 3, 3),
        (4, 4, 2, 2),
        (4, 4, 2, 3),
        (3, 4, 1, 2),
        (4, 3, 4, 2),
        (3, 3, 1, 1),
        (3, 5, 2, 3),
        (5, 3, 3, 1),
    ]:
        for bias in (False, ("b1",)):
            net = Feedforward((3, columns, rows, after), m, bias=bias)
            masks = every_mask(net, ("W2",), 11, np.random.default_rng(1))
            whole = np.zeros((1, net.size), dtype=bool)
            whole[:, net.slices["W2"]] = True
            most = ranks_mod(net, whole)[0]
            for mask, rank in zip(masks, ranks_mod(net, masks)):
                verdict = layer_spans(net, 2, net.unpack(mask)["W2"])
                said[verdict] += 1
                if verdict is not None:
                    assert verdict == (rank == most), (net, mask)
    assert min(said[True], said[False], said[None]) > 4000
    # Degree counts alone misjudge: every row and every column here has enough, the pair of blocks does not.
    net = Feedforward((4, 4, 4, 3), 3)
    blocks = np.kron(np.eye(2, dtype=bool), np.ones((2, 2), dtype=bool))
    assert layer_spans(net, 2, blocks) is False


# T2: the path rule against second derivatives

PATH_NETS = [
    Recurrent(i, n, o, T, bias=bias)
    for i, n, o, T in [
        (1, 1, 1, 1),
        (1, 1, 2, 2),
        (1, 1, 1, 3),
        (2, 3, 2, 1),
        (2, 3, 2, 2),
        (1, 3, 2, 3),
        (2, 2, 1, 3),
        (1, 3, 1, 4),
        (2, 2, 2, 5),
    ]
    for bias in (False, ("b",), ("c",), True)
] + [
    Feedforward(widths, m, bias=bias)
    for widths, m in [
        ((2, 3), 2),
        ((2, 3, 2), 2),
        ((1, 1, 1), 1),
        ((2, 2, 3, 2), 3),
        ((1, 2, 2, 2, 1), 2),
        ((2, 1, 2, 1, 2), 1),
    ]
    for bias in (False, True, ("b1",))
]


def meet_mod(net):
    """bool [size, size]: is the second derivative of y in a pair of weights (or one twice) not zero as a
    polynomial?

    J[:, e] is a polynomial in weight f; it is constant iff it does not change when f moves to a random place
    mod p.
    """
    p, rng = _cpu.PRIMES[0], np.random.default_rng(3)
    theta, x = rng.integers(0, p, net.size), rng.integers(0, p, net.shape.inputs_size)
    moved = np.repeat(theta[None], net.size + 1, axis=0)
    moved[np.arange(net.size), np.arange(net.size)] = rng.integers(0, p, net.size)
    J = _cpu.jacobian_mod(net.shape, moved, np.repeat(x[None], len(moved), axis=0), 0, p)
    return (J[:-1] != J[-1]).any(axis=1)


def pair_masks(net):
    """bool [size * size, size]: every pair of weights, and every weight alone (the pair with itself)."""
    masks = np.zeros((net.size, net.size, net.size), dtype=bool)
    one = np.arange(net.size)
    masks[one, :, one] = True
    masks[:, one, one] = True
    return masks.reshape(-1, net.size)


@pytest.mark.parametrize("net", PATH_NETS, ids=lambda net: net.describe())
def test_path_rule_for_every_pair_of_weights(net):
    meet = meet_mod(net)
    assert (meet == meet.T).all()
    told = affine(net, pair_masks(net)).reshape(net.size, net.size)
    brute = ~(meet | np.diag(meet)[:, None] | np.diag(meet)[None, :])
    assert (told == brute).all()


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_path_rule_for_nonlinear_networks(activation):
    for linear in PATH_NETS:
        net = plain(type(linear)(**{**vars_of(linear), "activation": activation}))
        meet = np.zeros((net.size, net.size), dtype=bool)
        for seed in range(12):
            rng = np.random.default_rng(seed)
            theta = np.repeat(2 * rng.standard_normal((1, net.size)), net.size + 1, axis=0)
            theta[np.arange(net.size), np.arange(net.size)] += 3 * rng.standard_normal(net.size)
            x = rng.standard_normal((1, net.shape.inputs_size))
            J = _cpu.jacobian(net.shape, theta, x, np.arange(net.size, dtype=np.intc)[None])
            meet |= (np.abs(J[:-1] - J[-1]) > 1e-9).any(axis=1)
        meet |= meet.T
        told = affine(net, pair_masks(net)).reshape(net.size, net.size)
        brute = ~(meet | np.diag(meet)[:, None] | np.diag(meet)[None, :])
        assert (brute | ~told).all(), net  # what is called affine is affine
        if activation == "tanh":
            # The rule asks for the last layer: single inner weights that meet nothing else are still not
            # affine.
            assert (told == brute).all(), net


def vars_of(net):
    if isinstance(net, Recurrent):
        return dict(inputs=net.inputs, hidden=net.hidden, outputs=net.outputs, steps=net.steps, bias=net.bias)
    return dict(widths=net.widths, samples=net.samples, bias=net.bias)


@pytest.mark.parametrize(
    "net",
    [
        Recurrent(1, 2, 2, 1, bias=True),
        Recurrent(1, 2, 2, 2, bias=True),
        Recurrent(1, 3, 1, 2),
        Recurrent(1, 3, 1, 3),
        Recurrent(1, 2, 1, 3, bias=True),
        Recurrent(1, 2, 1, 4, bias=True),
        Feedforward((2, 2, 2), 2, bias=True),
        Feedforward((2, 2, 1, 2), 2, bias=("b1", "b3")),
        Feedforward((1, 2, 2, 1, 1), 2, bias=True),
        Recurrent(1, 2, 2, 3, "tanh", True),
    ],
    ids=lambda net: net.describe(),
)
def test_path_rule_and_families_for_every_mask(net):
    masks = every_mask(net, tuple(net.groups), 15)
    straight = affine(net, masks)
    if net.activation == "linear":
        meet = meet_mod(net).astype(np.int64)
        assert (straight == (np.einsum("ke,ef,kf->k", masks, meet, masks) == 0)).all()
    # Every affine mask is part of a member of a family, and every member is affine.
    covered = np.zeros(len(masks), dtype=bool)
    acting = np.ones(net.size, dtype=bool)
    if isinstance(net, Recurrent) and net.steps == 1:
        acting[net.slices["W"]] = False
    for family in affine_families(net):
        sets = (np.arange(2**family.units)[:, None] >> np.arange(family.units)) & 1 == 1
        members = family.members(sets)
        assert affine(net, members).all()
        for member in members:
            covered |= ~(masks & acting & ~member).any(axis=1)
    assert (covered == straight).all()
