"""Models of which only the Jacobian is known: ranks and choices agree with the exact ones of networks, and planted ranks are found."""

import math
import pickle

import numpy as np
import pytest

import sublearn as sl
from sublearn.numerics import matroid
from sublearn.numerics.real_tableau import RealTableau
from tests.test_matroid import laminar_family, random_caps

NETWORKS = [
    (sl.Recurrent(2, 8, 2, 6), ("B", "D")),
    (sl.Recurrent(1, 4, 1, 5), ("B", "D")),
    (sl.Feedforward((3, 4, 2), 5), ("W1",)),
    (sl.Feedforward((3, 4, 2), 3, activation="tanh", bias=True), ()),
]
IDS = [net.describe().replace(" ", "_") for net, _ in NETWORKS]


def linearized(net, seed=0):
    rng = np.random.default_rng(seed)
    theta, x = rng.normal(size=net.size) / 2, rng.normal(size=net.x_shape)
    return sl.from_jacobian(sl.jacobian(net, theta, x, sl.everything(net)), net, outputs=net.y_shape)


def planted(rng, equations, size, rank, low=1e-3):
    """A matrix whose singular values fall from 1 to `low`, then are 0 but for rounding."""
    left, right = (np.linalg.qr(rng.normal(size=(n, rank)))[0] for n in (equations, size))
    return left * np.geomspace(1, low, rank) @ right.T


def best(net, *arguments):
    try:
        return sl.best_allocation(net, *arguments)
    except sl.Impossible as proof:
        return proof


@pytest.mark.parametrize("net, shared", NETWORKS, ids=IDS)
def test_best_allocations_are_those_of_exact_ranks(net, shared):
    model, rng = linearized(net), np.random.default_rng(net.size)
    assert sl.required_rank(model, shared) == sl.required_rank(net, shared)
    for number in range(24):
        cost = {name: rng.integers(0, 5, shape) for name, shape in net.groups.items()}
        make = (lambda *_: [], laminar_family, random_caps)[number % 3]
        limits = [(cap.members, cap.most) for cap in make(rng, net.size)]
        exact, found = best(net, cost, limits, shared), best(model, cost, limits, shared)
        assert type(exact) is type(found)
        if isinstance(exact, sl.Impossible):
            assert (exact.reachable, exact.limits, exact.required_rank) == (found.reachable, found.limits, found.required_rank)
        else:
            total = net.pack(cost)
            assert total[exact.mask].sum() == total[found.mask].sum()
            assert sl.attained_rank(model, found, shared) == sl.attained_rank(net, found, shared) == exact.budget
            assert limits or exact == found or exact.ties > 1


@pytest.mark.parametrize("net, shared", NETWORKS, ids=IDS)
def test_explanations_are_those_of_exact_ranks(net, shared):
    model, rng = linearized(net), np.random.default_rng(net.size)
    free = sl.everything(net, shared).support
    for share in (0.0, 0.05, 0.1, 0.2, 0.4, 1.0):
        allocation = sl.Allocation.from_mask(net, (rng.random(net.size) < share) & free)
        exact, found = (sl.explain(one, allocation, shared, dict.fromkeys(net.groups, 2.0)) for one in (net, model))
        assert found.attained_rank == exact.attained_rank == sl.attained_rank(model, allocation, shared)
        for name in ("required_rank", "unlocks", "lines", "useless", "surplus", "completion", "completion_cost"):
            assert getattr(found, name) == getattr(exact, name), name
        places = [np.ravel_multi_index(unmet.equation, net.y_shape) for unmet in found.unmet]
        swap = slice(None, None, -1 if isinstance(net, sl.Recurrent) else 1)
        assert [unmet.equation for unmet in found.unmet] == [unmet.equation[swap] for unmet in exact.unmet]
        assert [len(unmet.tied_to) for unmet in found.unmet] == [len(unmet.tied_to) for unmet in exact.unmet]
        assert len(set(places)) == found.missing and found.numerical.sure and exact.numerical is None


def test_what_is_unmet_is_unmet():
    """The stated combination of equations is zero on the learnable columns: least squares from the equations it is tied to."""
    rng = np.random.default_rng(3)
    J = planted(rng, 12, 40, 9)
    model = sl.from_jacobian(J, {"a": (4, 5), "b": (20,)}, outputs=(4, 3))
    allocation = sl.scattered(model, 5).draw(0)
    found = sl.explain(model, allocation)
    assert (found.required_rank, found.attained_rank, len(found.unmet)) == (9, 5, 4)
    for unmet in found.unmet:
        row, tied = np.ravel_multi_index(unmet.equation, (4, 3)), [np.ravel_multi_index(place, (4, 3)) for place in unmet.tied_to]
        few = J[:, allocation.mask]
        factors = np.linalg.lstsq(few[tied].T, few[row], rcond=None)[0]
        assert np.linalg.norm(few[row] - factors @ few[tied]) < 1e-13 < np.linalg.norm(J[row] - factors @ J[tied])
    assert str(found).count("output") >= 8 and "rank 9: 9 singular values down to 0.001 are above the tolerance" in str(found)
    assert sl.attained_rank(model, found.completed) == 9


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("equations, size, rank", [(30, 500, 30), (60, 200, 41), (300, 70, 55), (5, 5, 0), (1, 9, 1)])
def test_planted_ranks_are_found_and_sure(equations, size, rank, dtype):
    rng = np.random.default_rng(size)
    J = planted(rng, equations, size, rank, low=0.05).astype(dtype)
    model = sl.from_jacobian(J, {"w": (size,)})
    found = sl.numerical_rank(model)
    assert found.rank == rank and found.sure and found.above > 0.049 and found.below <= found.tolerance
    if rank:
        allocation = sl.best_allocation(model, {"w": rng.random(size)})
        assert allocation.budget == rank == sl.attained_rank(model, allocation)
        fewer = sl.Allocation.from_mask(allocation.net, allocation.mask & (np.cumsum(allocation.mask) > 1))
        assert sl.attained_rank(model, fewer) == rank - 1
        assert sl.explain(model, fewer).completion.budget == 1


def test_a_singular_value_next_to_the_tolerance_is_said():
    J = np.diag([1.0, 1e-2, 3e-8, 1e-16])
    found = sl.numerical_rank(sl.from_jacobian(J, {"w": (4,)}, rtol=1e-8))
    assert (found.rank, found.tolerance, found.above, found.below) == (3, 1e-8, 3e-8, 1e-16)
    assert not found.sure and math.isclose(found.margin, 3) and "unsure: a tolerance 3 times" in str(found)
    model = sl.from_jacobian(J, {"w": (4,)}, rtol=1e-8)
    found = sl.numerical_rank(model, sl.Allocation.from_mask(model, np.arange(4) < 2))
    assert found.rank == 2 and found.sure and found.below == 0 and "no other" in str(found)
    assert "no singular value" in str(sl.numerical_rank(model, shared=("w",)))


class Products:
    """A Jacobian that gives products with vectors only, and counts them."""

    def __init__(self, J):
        self.J, self.shape, self.asked = J, J.shape, []

    def matvec(self, vector):
        self.asked.append("jvp")
        return self.J @ vector

    def rmatvec(self, vector):
        self.asked.append("vjp")
        return vector @ self.J


@pytest.mark.parametrize("shape", [(7, 30), (30, 7)])
def test_all_forms_of_a_jacobian_are_the_same(shape):
    J, parameters = np.random.default_rng(0).normal(size=shape), sl.Parameters({"w": (shape[1],)})
    products = Products(J)
    for form in (J, lambda columns: J[:, columns], products):
        assert (sl.from_jacobian(form, parameters).J == J).all()
    assert products.asked == ["jvp" if shape[1] < shape[0] else "vjp"] * min(shape)
    sketched = [sl.from_jacobian(form, parameters, sketch=5, seed=3) for form in (J, lambda columns: J[:, columns], products)]
    assert products.asked[min(shape) :] == ["vjp"] * 5
    for model in sketched:
        assert model.J.shape == (5, shape[1]) and model.combined == shape[0]
        np.testing.assert_allclose(model.J, sketched[0].J, rtol=1e-12)


def test_arrays_are_copied_unless_nobody_can_change_them():
    J = np.random.default_rng(0).normal(size=(3, 5))
    model = sl.from_jacobian(J, {"w": (5,)})
    J[0, 0] = 7
    assert model.J[0, 0] != 7
    J.setflags(write=False)
    assert sl.from_jacobian(J, {"w": (5,)}).J is J and sl.from_jacobian(J[:2], {"w": (5,)}).J.base is None


def test_columns_are_asked_for_in_blocks():
    J, asked = np.random.default_rng(0).normal(size=(3, 9000)), []
    model = sl.from_jacobian(lambda columns: asked.append(columns) or J[:, columns], {"w": (9000,)})
    assert (model.J == J).all() and asked == [slice(0, 4096), slice(4096, 8192), slice(8192, 9000)]


@pytest.mark.parametrize("rank", [3, 20, 39, 40, 60])
def test_sketches_keep_ranks_below_their_rows(rank):
    """And singular values within the stated factor: t = 4 fails in less than one of 1000 cases."""
    rng = np.random.default_rng(rank)
    J = planted(rng, 200, 700, rank, low=0.1)
    model = sl.from_jacobian(J, {"w": (700,)}, sketch=40, seed=rank)
    found = sl.numerical_rank(model)
    assert found.rank == min(rank, 40) and found.sure
    columns = sl.scattered(model, 10).draw(rank)
    if rank > 10:
        exact, moved = (np.linalg.svd(matrix[:, columns.mask], compute_uv=False) for matrix in (J, model.J))
        assert np.abs(moved / exact - 1).max() < math.sqrt(10 / 40) + 4 / math.sqrt(40)
    allocation = sl.best_allocation(model)
    assert np.linalg.matrix_rank(J[:, allocation.mask]) == allocation.budget == min(rank, 40)
    assert "random combination 0 of the equations: no learnable weight" in str(sl.explain(model, sl.Allocation(model, {})))


def test_ranks_at_several_points_are_the_largest():
    rng = np.random.default_rng(0)
    J = np.stack([planted(rng, 6, 20, rank) for rank in (2, 5, 3)])
    model = sl.from_jacobian(J, {"w": (20,)})
    assert (model.points, model.describe()) == (3, "6 equations of 1 group, 20 weights at 3 points")
    assert sl.required_rank(model) == 5 and sl.attained_rank(model, sl.everything(model)) == 5
    assert [sl.required_rank(model[k]) for k in range(3)] == [2, 5, 3]
    for ask in (sl.best_allocation, lambda net: sl.explain(net, sl.everything(net))):
        with pytest.raises(ValueError, match=r"net: expected a Jacobian at one point, got 3 of them; net\[k\] is one"):
            ask(model)
        ask(model[1])


def test_weights_without_effect_are_useless():
    J = np.random.default_rng(0).normal(size=(4, 10)) * (np.arange(10) != 3)
    model = sl.from_jacobian(J, {"w": (2, 4), "b": (2,)})
    assert sl.explain(model, sl.only(model, "b")).useless.indices.tolist() == [3]


def test_allocations_belong_to_the_parameters():
    parameters = sl.Parameters({"w": (2, 4), "b": (2,)})
    model = sl.from_jacobian(np.random.default_rng(0).normal(size=(4, 10)), parameters)
    allocation = sl.scattered(model, 3, within="w").draw(0)
    assert allocation.net == parameters and allocation == sl.scattered(parameters, 3, within="w").draw(0)
    assert sl.attained_rank(model, allocation) == 3 and pickle.loads(pickle.dumps(allocation)) == allocation
    assert len(pickle.dumps(allocation)) < 600  # without the Jacobian
    copy = pickle.loads(pickle.dumps(model))
    assert (copy.J == model.J).all() and copy.layout == parameters and copy != model and sl.required_rank(copy) == 4
    with pytest.raises(ValueError, match="read-only"):
        model.J[0, 0] = 1
    with pytest.raises(ValueError, match="allocation: expected one of 2 groups, 10 weights, got one of 1 group, 10 weights"):
        sl.attained_rank(model, sl.scattered(sl.Parameters({"w": (10,)}), 3).draw(0))


@pytest.mark.parametrize(
    "J, more, error, message",
    [
        (np.ones((3, 5)), {}, ValueError, r"J: expected shape \[equations, 4\] or \[points, equations, 4\], got \[3, 5\]"),
        (np.ones(4), {}, ValueError, r"J: expected shape"),
        (np.ones((0, 4)), {}, ValueError, r"J: expected shape"),
        (np.ones((3, 4), dtype=int), {}, TypeError, "J: expected float64 or float32, got dtype int64"),
        (np.full((3, 4), np.nan), {}, ValueError, "J: expected finite numbers, got nan or inf"),
        (lambda columns: np.ones((3, 3)), {}, ValueError, r"J: expected \[equations, 4\] for columns 0 to 3, got \[3, 3\]"),
        (Products(np.ones((3, 5))), {}, ValueError, r"J: expected shape \(equations, 4\), got \(3, 5\)"),
        (np.ones((3, 4)), {"outputs": (2, 2)}, ValueError, r"outputs: expected a shape of 3 entries, one for every equation, got \(2, 2\)"),
        (np.ones((3, 4)), {"rtol": 0.0}, ValueError, "rtol: expected a finite number above 0, got 0.0"),
        (np.ones((3, 4)), {"sketch": 0}, ValueError, "sketch: expected a whole number >= 1, got 0"),
    ],
)
def test_refused(J, more, error, message):
    with pytest.raises(error, match=message):
        sl.from_jacobian(J, {"w": (4,)}, **more)


def test_what_needs_a_network_refuses_a_jacobian():
    model = sl.from_jacobian(np.eye(3, 4), {"w": (4,)})
    with pytest.raises(TypeError, match="parameters: expected Parameters or a dict of shapes, got list"):
        sl.from_jacobian(np.eye(3, 4), [4])
    with pytest.raises(TypeError, match="net: expected a model of from_jacobian or sl.interop, got Parameters"):
        sl.numerical_rank(model.layout)
    with pytest.raises(ValueError, match="prefer: expected None for a model of which only the Jacobian is known, got 'conditioning'"):
        sl.best_allocation(model, prefer="conditioning")
    with pytest.raises(TypeError, match="net: expected a batch of Jacobians"):
        model[0]
    for ask in (sl.predict, sl.degree, sl.match_probability, sl.jacobian, sl.capacity):
        with pytest.raises(TypeError, match="net: expected a Recurrent or Feedforward network"):
            ask(model, *((None, None, None) if ask is sl.jacobian else (sl.everything(model),)))


def test_what_is_chosen_reaches_the_rank():
    """Columns that make up others, some of them nearly parallel: these must not make independent what is not."""
    rng = np.random.default_rng(1)
    for _ in range(50):
        rows, n = int(rng.integers(6, 30)), int(rng.integers(20, 60))
        J = planted(rng, rows, n, min(rows - 2, 12), 1.0) * 2.0 ** rng.integers(-2, 3, n)
        J[:, 1] = J[:, 0] + 10.0 ** rng.uniform(-4, -1) * J[:, 2]
        model = sl.from_jacobian(J, {"w": (n,)})
        found, cost = sl.numerical_rank(model), rng.normal(size=n)
        cost[:2] = -9
        chosen = sl.best_allocation(model, {"w": cost})
        assert found.sure and chosen.budget == found.rank == sl.attained_rank(model, chosen)
        some = sl.Allocation.from_mask(model, rng.random(n) < 0.3)
        told = sl.explain(model, some)
        assert told.attained_rank == sl.attained_rank(model, some) and sl.attained_rank(model, told.completed) == found.rank
        assert all(unlock.moves for unlock in told.unlocks)


def test_exchanges_keep_members_independent():
    """Against ranks by numpy: what the table says of circuits, spans and exchanges."""
    rng = np.random.default_rng(5)
    for _ in range(30):
        rows, n, rank = rng.integers(2, 7), rng.integers(6, 15), rng.integers(1, 5)
        columns = planted(rng, rows, n, min(rows, rank), 0.1) * (rng.random(n) < 0.9)
        tableau = RealTableau(columns, 1e-12)
        tableau.restart(rng.permutation(n))
        true = lambda some: np.linalg.matrix_rank(columns[:, some], tol=1e-11)  # noqa: E731
        assert tableau.members.sum() == true(np.ones(n, dtype=bool)) and not tableau.addable().any()
        for element in np.flatnonzero(~tableau.members):
            circuit = tableau.circuit(int(element))
            for out in np.flatnonzero(tableau.members):
                mask = tableau.members.copy()
                mask[out], mask[element] = False, True
                assert (out in circuit) == (true(mask) == tableau.members.sum())
        if len(circuit):
            tableau.exchange(int(circuit[0]), int(element))
            assert true(tableau.members) == tableau.members.sum() and tableau.row_of[circuit[0]] == -1
        some = rng.random(n) < 0.5
        assert matroid.rank(tableau, some) == true(some)
        closed = matroid.closure(tableau, some)
        assert all(closed[e] == (true(some | (np.arange(n) == e)) == true(some)) for e in range(n))


def test_limits_among_many_weights_look_at_a_basis_of_each_kind(monkeypatch):
    """The exchange argument of `candidates`, against the whole ground set."""
    rng = np.random.default_rng(0)
    for _ in range(25):
        n = int(rng.integers(60, 120))
        tableau, allowed = matroid.Tableau(rng.integers(0, 3, (3, n)), 101), rng.random(n) < 0.9
        caps, cost = [matroid.Cap(rng.random(n) < 0.5, int(rng.integers(1, 3))) for _ in range(2)], rng.integers(0, 4, n).astype(float)
        assert matroid.candidates(tableau, caps, cost, allowed) is None
        with monkeypatch.context() as patch:
            patch.setattr(matroid, "_FEW", 10)
            some = matroid.candidates(tableau, caps, cost, allowed)
        assert some.sum() <= 12 and not (some & ~allowed).any()
        best = [matroid.cheapest_capped(tableau, caps, cost, 3, which) for which in (allowed, some)]
        assert cost[best[0]].sum() == cost[best[1]].sum()
