"""Modules of torch: Jacobians against one autograd pass for every output, and optimizers that leave frozen entries bit-identical."""

import contextlib
import gc
import importlib.util
import io
import re
import weakref
from pathlib import Path

import numpy as np
import pytest

import sublearn as sl

torch = pytest.importorskip("torch", reason="torch is in an environment of its own: the step of models in .ci/run")
from torch import nn  # noqa: E402

interop = sl.interop.torch


@pytest.fixture(autouse=True)
def _one_thread():
    torch.manual_seed(0)
    torch.set_num_threads(1)


class Residual(nn.Module):
    """Convolutions, batch norm, dropout, a skip, and a scale without axes."""

    def __init__(self, channels=4):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, channels, 3, padding=1), nn.BatchNorm2d(channels)
        self.conv, self.drop = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.Dropout(0.1)
        self.head, self.scale = nn.Linear(4 * channels, 3), nn.Parameter(torch.tensor(1.5))
        self.norm.running_mean += 0.1

    def forward(self, x):
        h = nn.functional.max_pool2d(torch.relu(self.norm(self.stem(x))), 3)
        return self.scale * self.head(self.drop(torch.tanh(h + self.conv(h))).flatten(1))


class Tied(nn.Module):
    """A decoder that is the encoder's transpose, and a bias of two layers."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder, self.again = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 2)
        self.decoder.weight = self.encoder.weight

    def forward(self, x):
        return self.again(torch.tanh(self.decoder(torch.tanh(self.encoder(x)))))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.head = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.cell(x)[0])


class Branches(nn.Module):
    """Control flow that looks at the data, which torch cannot vectorise."""

    def __init__(self):
        super().__init__()
        self.one, self.other = nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, x):
        return torch.stack([self.one(row) if row[0].item() > 0 else self.other(row).exp() for row in x])


class Words(nn.Module):
    """Token ids and a mask in, one of several results out."""

    def __init__(self):
        super().__init__()
        self.table, self.mix = nn.Embedding(7, 4), nn.TransformerEncoderLayer(4, 2, 8, dropout=0.1, batch_first=True)

    def forward(self, ids, weights):
        return {"hidden": self.mix(self.table(ids)) * weights[..., None]}


MODELS = {
    "residual": (lambda: Residual().eval(), lambda: torch.randn(5, 1, 6, 6), None),
    "tied": (Tied, lambda: torch.randn(6, 5), None),
    "recurrent": (Recurrent, lambda: torch.randn(3, 4, 3), None),
    "branches": (Branches, lambda: torch.randn(6, 3), None),
    "words": (lambda: Words().eval(), lambda: (torch.randint(0, 7, (3, 5)), torch.rand(3, 5)), lambda out: out["hidden"]),
}


def by_rows(module, x, output):
    """The Jacobian in double precision, one pass back for each output."""
    import copy

    module, arguments = copy.deepcopy(module).double(), x if isinstance(x, tuple) else (x,)
    y = module(*(part.double() if part.is_floating_point() else part for part in arguments))
    y = (y if output is None else output(y)).reshape(-1)
    rows = [torch.autograd.grad(entry, list(module.parameters()), retain_graph=True, materialize_grads=True) for entry in y]
    return np.stack([torch.cat([part.reshape(-1) for part in row]).numpy() for row in rows])


@pytest.mark.parametrize("name", MODELS)
def test_jacobians(name, monkeypatch):
    make, inputs, output = MODELS[name]
    module, x = make(), inputs()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    model, J = interop.linearize(module, x, output=output), by_rows(module, x, output)
    assert model.J.dtype == np.float64 and model.J.shape == J.shape
    np.testing.assert_allclose(model.J, J, atol=1e-12)
    assert model.groups == {key: tuple(value.shape) or (1,) for key, value in module.named_parameters()}
    assert all(torch.equal(value, module.state_dict()[key]) for key, value in before.items())
    monkeypatch.setattr(interop, "_CHUNK_BYTES", 2 * J.nbytes // len(x[0] if isinstance(x, tuple) else x))
    np.testing.assert_allclose(interop.linearize(module, x, output=output).J, model.J, atol=1e-13)
    sketched = interop.linearize(module, x, output=output, sketch=4, seed=2)
    mixture = np.random.default_rng(2).standard_normal((4, len(J))) / 2
    np.testing.assert_allclose(sketched.J, mixture @ J, atol=1e-11)
    if output is None:
        single = interop.linearize(module, x, dtype=torch.float32)
        assert single.J.dtype == np.float32 and np.allclose(single.J, J, atol=1e-3)


def test_outputs_are_named_and_shared_groups_stay():
    module, x = Residual().eval(), torch.randn(4, 1, 6, 6)
    model = interop.linearize(module, x)
    assert model.y_shape == (4, 3) and model.equation_text(5) == "output 2 of sample 1"
    kept = ("scale", "head.weight", "head.bias")
    allocation = sl.best_allocation(model, shared=kept)
    assert allocation.budget == sl.required_rank(model, shared=kept) and not any(allocation.by_group[name].any() for name in kept)
    assert allocation.net == interop.parameters(module)
    few = interop.linearize(module, x, within=kept[::-1])
    assert list(few.groups) == ["scale", "head.weight", "head.bias"]
    np.testing.assert_array_equal(few.J, model.J[:, np.concatenate([np.arange(model.size)[model.slices[name]] for name in few.groups])])
    module.stem.requires_grad_(False)
    assert "stem.weight" not in interop.parameters(module).groups and "stem.weight" in interop.parameters(module, ("stem.weight",)).groups


OPTIMIZERS = {
    "AdamW": lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.1),
    "AdamW foreach": lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.1, foreach=True),
    "AdamW fused": lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.1, fused=True),
    "SGD": lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9, weight_decay=0.1, nesterov=True),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=1e-3, momentum=0.9, weight_decay=0.1),
    "Adafactor": lambda p: torch.optim.Adafactor(p, lr=1e-2, weight_decay=0.1),
    "Rprop": lambda p: torch.optim.Rprop(p),
    "LBFGS": lambda p: torch.optim.LBFGS(p, lr=0.1),
}


def bits(module):
    return {name: value.detach().clone().view(torch.int32) for name, value in module.named_parameters()}


def trained(module, optimizer, x, steps):
    target = torch.arange(len(x)) % 3

    def closure():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(module(x), target)
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("when", ["before", "after", "in the middle"])
def test_frozen_entries_stay_bit_identical(name, when):
    """Whether the optimizer is made before or after, and with momentum of steps in which everything learned."""
    module, x = Residual().eval(), torch.randn(6, 1, 6, 6)
    with torch.no_grad():
        module.stem.weight[0, 0, 0, 0] = -0.0
    allocation = sl.scattered(interop.parameters(module), 40, within=("stem.weight", "norm.bias", "head.weight")).draw(3)
    optimizer = None if when == "after" else OPTIMIZERS[name](module.parameters())
    if when == "in the middle":
        trained(module, optimizer, x, 3)
    before = bits(module)
    interop.train_only(module, allocation)
    trained(module, optimizer or OPTIMIZERS[name](module.parameters()), x, 4)
    masks = interop.masks(allocation)
    for key, value in bits(module).items():
        moved = value != before[key]
        assert not moved[~masks[key].reshape(value.shape)].any(), key
        if masks[key].any():
            assert moved[masks[key]].float().mean() > 0.5, key


class Lookahead(torch.optim.Optimizer):
    """Steps another optimizer inside its own step, then draws all weights, with gradients or without, to where they were."""

    def __init__(self, weights):
        weights = list(weights)
        super().__init__(weights, {})
        self.inner, self.slow = torch.optim.AdamW(weights, lr=1e-2, weight_decay=0.1), [w.detach() + 0.1 for w in weights]

    def step(self, closure):
        loss = self.inner.step(closure)
        with torch.no_grad():
            for w, slow in zip(self.param_groups[0]["params"], self.slow):
                w.lerp_(slow, 0.5)
        return loss


def test_optimizers_inside_optimizers():
    module, x = Residual().eval(), torch.randn(6, 1, 6, 6)
    allocation = sl.scattered(interop.parameters(module), 10, within=("stem.weight", "head.weight")).draw(0)
    before, masks = bits(module), interop.masks(allocation)
    interop.train_only(module, allocation)
    optimizer = Lookahead(module.parameters())
    trained(module, optimizer, x, 3)
    for key, value in bits(module).items():
        mask = masks[key].reshape(value.shape)
        assert torch.equal(value != before[key], mask), key

    def closure():  # frozen while a step is on its way
        interop.train_only(module, allocation)
        return module(x).sum()

    interop.train_only(module, sl.everything(allocation.net))
    optimizer.step(closure)


def test_gradients_of_frozen_entries_do_not_count_when_clipped():
    module, x = Residual().eval(), torch.randn(6, 1, 6, 6)
    allocation = sl.scattered(interop.parameters(module), 10, within="head.weight").draw(0)
    module(x).sum().backward()
    whole = module.head.weight.grad.clone()
    interop.train_only(module, allocation)
    mask = interop.masks(allocation)["head.weight"]
    assert torch.equal(module.head.weight.grad, torch.where(mask, whole, 0.0)) and module.stem.weight.grad is None
    module.zero_grad()
    module(x).sum().backward()
    assert torch.equal(module.head.weight.grad, torch.where(mask, whole, 0.0))
    assert np.isclose(float(nn.utils.clip_grad_norm_(module.parameters(), 1e-3)), float(whole[mask].norm()))


def test_another_call_replaces_the_first_and_everything_undoes_it():
    module, x = Residual().eval(), torch.randn(6, 1, 6, 6)
    parameters, names = interop.parameters(module), list(module.state_dict())
    for chosen in (sl.only(parameters, "stem.weight"), sl.scattered(parameters, 5, "head.weight").draw(0), sl.everything(parameters)):
        before = bits(module)
        interop.train_only(module, chosen)
        trained(module, torch.optim.AdamW(module.parameters(), lr=1e-2, weight_decay=0.1), x, 2)
        masks, after = interop.masks(chosen), bits(module)
        assert all(((after[key] != before[key]) <= masks[key].reshape(after[key].shape)).all() for key in after)
        assert sum(int((after[key] != before[key]).sum()) for key in after) > 0.9 * chosen.budget
    assert all(value.requires_grad for value in module.parameters()) and list(module.state_dict()) == names
    module.norm.bias.requires_grad_(False)
    interop.train_only(module, sl.scattered(parameters, 5, "head.weight").draw(1))
    interop.train_only(module, None)
    before = bits(module)
    trained(module, torch.optim.AdamW(module.parameters(), lr=1e-2, weight_decay=0.1), x, 1)
    moved = {key: (value != before[key]).float().mean() for key, value in bits(module).items()}
    assert moved.pop("norm.bias") == 0 and min(moved.values()) > 0.5
    module.load_state_dict(Residual().state_dict())


def test_loaded_weights_and_other_modules_are_left_alone():
    module, other, x = Residual().eval(), Residual().eval(), torch.randn(6, 1, 6, 6)
    interop.train_only(module, sl.scattered(interop.parameters(module), 5, "head.weight").draw(0))
    trained(module, torch.optim.SGD(module.parameters(), lr=0.1), x, 1)
    module.load_state_dict(other.state_dict())  # what is loaded is what stays
    before = bits(other)
    trained(module, torch.optim.SGD(module.parameters(), lr=0.1), x, 1)
    assert 0 < sum(int((bits(module)[key] != before[key]).sum()) for key in before) <= 5
    trained(other, torch.optim.SGD(other.parameters(), lr=0.1), x, 1)
    assert sum(int((bits(other)[key] != before[key]).sum()) for key in before) > 100
    kept = weakref.ref(module.head.weight)
    del module
    gc.collect()
    assert kept() is None


def noisy():
    return type("Noisy", (nn.Linear,), {"forward": lambda self, x: nn.functional.dropout(x @ self.weight)})(3, 3)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)), r"1 \(BatchNorm1d\) mixes samples; call module.eval\(\) first"),
        (lambda: nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5)), r"1 \(Dropout\) draws random numbers; call module.eval\(\) first"),
        (lambda: nn.BatchNorm1d(3, track_running_stats=False).eval(), r"BatchNorm1d \(BatchNorm1d\) .* it keeps no running statistics"),
        (lambda: nn.LSTM(3, 3, 2, dropout=0.5), r"LSTM \(LSTM\) draws random numbers"),
        (noisy, "chance; call"),
    ],
)
def test_layers_that_need_eval_are_refused(make, message):
    with pytest.raises(ValueError, match=f"module: expected samples .*{message}"):
        interop.linearize(make(), torch.randn(4, 3))


X = torch.ones(2, 3)


@pytest.mark.parametrize(
    "ask, error, message",
    [
        (lambda net: interop.linearize(net.forward, X), TypeError, "module: expected a torch.nn.Module, got method"),
        (
            lambda net: interop.linearize(net, X.numpy()),
            TypeError,
            r"x: expected a tensor \[samples, ...\] or .*, got ndarray",
        ),
        (lambda net: interop.linearize(net, X[:0]), TypeError, r"got shape \(0, 3\)"),
        (lambda net: interop.linearize(net, (X, X[:1])), ValueError, "x: expected tensors of 2 samples each, got 1"),
        (lambda net: interop.linearize(net, X, within=("nope",)), ValueError, "within: expected names out of weight, bias"),
        (lambda net: interop.linearize(net, X, output=lambda y: y.sum()), ValueError, r"expected outputs \[samples, ...\]"),
        (lambda net: interop.linearize(net, X, output=lambda y: 1), TypeError, "expected one that returns a tensor, got int"),
        (lambda net: interop.parameters(net.requires_grad_(False)), ValueError, "expected parameters that need gradients, got none"),
        (
            lambda net: interop.train_only(net, sl.scattered(interop.parameters(net), 2)),
            TypeError,
            "allocation: expected an Allocation or a strategy that always draws the same one, got <Strategy scattered",
        ),
        (
            lambda net: interop.train_only(net, sl.everything(sl.Parameters({"other": (2,)}))),
            ValueError,
            "allocation: expected groups that are parameters of the module, weight, bias, got 'other'",
        ),
        (
            lambda net: interop.train_only(net, sl.everything(sl.Parameters({"bias": (3,)}))),
            ValueError,
            r"allocation: expected 'bias' of shape \(2,\) as in the module, got \(3,\)",
        ),
    ],
)
def test_refused(ask, error, message):
    with pytest.raises(error, match=message):
        ask(nn.Linear(3, 2))


def test_the_page_shows_what_comes_out():
    """docs/own_model.md: its blocks one after the other, and what the first prints."""
    page = (Path(__file__).parents[1] / "docs" / "own_model.md").read_text()
    first, *more = re.findall(r"```python\n(.*?)```", page[: page.index("## jax")], re.DOTALL)
    printed, names = io.StringIO(), {}
    with contextlib.redirect_stdout(printed):
        exec(first, names)
    assert printed.getvalue() == re.search(r"```text\n(.*?)```", page, re.DOTALL)[1]
    before = bits(names["module"])
    nn.functional.cross_entropy(names["module"](names["x"]), torch.arange(20) % 3).backward()
    names["optimizer"].step()
    masks, after = interop.masks(names["allocation"]), bits(names["module"])
    assert all(((after[key] != before[key]) == masks[key]).all() for key in after)
    with contextlib.redirect_stdout(io.StringIO()):
        for block in more:
            exec(block, names)
    assert len(more) == 2 and names["chosen"].indices.min() >= 0


def test_the_fine_tuning_example():
    """All its rules, for two steps: no rule has more weights than its budget, and random ones exactly as many."""
    pytest.importorskip("sklearn", reason="the extra data")
    spec = importlib.util.spec_from_file_location("fine_tune", Path(__file__).parents[1] / "examples" / "fine_tune.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        rows = example.main(["--seeds", "1", "--nets", "mlp", "--tasks", "turned", "--steps", "4", "--save", ""])
    budgets = {share: round(share * 6405) for share in example.SHARES}
    assert all(0 < count <= budgets[share] and 0 < loss < 1e3 and 0 <= right <= 1 for _, _, _, share, _, count, loss, right in rows)
    full = ("random", "magnitude", "gradient", "Fisher", "rank", "pivoted QR", "bottleneck", "regrow")
    assert all(count == budgets[share] for _, _, _, share, rule, count, *_ in rows if rule in full)
    assert len(rows) == 3 * len(example.RULES) - 1  # the smallest budget has no low rank
    assert all(f"| {rule} |" in printed.getvalue() for rule in example.RULES)
