"""Which tenth, hundredth or thousandth of a pretrained model's weights should learn a new task? Eleven rules at equal budgets.

    python examples/fine_tune.py                # torch, scikit-learn; 13 minutes of a core; writes examples/results/fine_tune.csv
    python examples/fine_tune.py --table        # the table of docs/own_model.md, from that file
    python examples/fine_tune.py --seeds 1 --nets mlp --steps 20 --save ""

A small MLP and a small CNN learn the digits 0 to 4 from 500 pictures. Then a share of their weights learns a new task from 60 others: the
digits 5 to 9, the digits 0 to 4 turned by 90 degrees, or with their labels changed round. AdamW, the whole batch, 150 steps, the better of
two rates by its loss in training; all rules meet the same networks and pictures. Loss in training and accuracy on all pictures left over.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

import sublearn as sl

RESULTS = Path(__file__).parent / "results" / "fine_tune.csv"
SHARES = (0.001, 0.01, 0.1)
TASKS = ("5 to 9", "turned", "relabelled")
RATES = (0.01, 0.05)
TRAIN, PRETRAIN = 60, 500
ROUNDS = 4  # of regrowing
RULES = (
    "random",
    "magnitude",
    "gradient",
    "Fisher",
    "last layer",
    "biases",
    "low rank",
    "rank",
    "pivoted QR",
    "bottleneck",
    "regrow",
)


def networks():
    from torch import nn

    return {
        "mlp": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 5)),
        "cnn": lambda: nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(256, 32),
            nn.ReLU(),
            nn.Linear(32, 5),
        ),
    }


def pictures(task, rng):
    """(pretraining, training, testing), each pictures [n, 1, 8, 8] and labels 0 to 4; none is in two of them."""
    import torch
    from sklearn.datasets import load_digits

    digits = load_digits()
    x, labels = digits.images[:, None] / 8 - 1, digits.target

    def data(places, change=lambda x: x, label=lambda y: y % 5):
        return torch.tensor(change(x[places]).copy(), dtype=torch.float32), torch.tensor(label(labels[places]))

    low, high = rng.permutation(np.flatnonzero(labels < 5)), rng.permutation(np.flatnonzero(labels >= 5))
    few = high if task == "5 to 9" else low[PRETRAIN:]
    few = np.concatenate([few[labels[few] % 5 == k][: TRAIN // 5] for k in range(5)] + [few])
    few = few[np.sort(np.unique(few, return_index=True)[1])]  # as many of each class first
    change = {"turned": lambda x: np.rot90(x, axes=(2, 3))}.get(task, lambda x: x)
    label = {"relabelled": lambda y: (y + 1) % 5}.get(task, lambda y: y % 5)
    return data(low[:PRETRAIN]), data(few[:TRAIN], change, label), data(few[TRAIN:], change, label)


def train(module, data, steps, rate):
    """AdamW on the whole batch; the loss at the end."""
    import torch

    x, y = data
    optimizer = torch.optim.AdamW([value for value in module.parameters() if value.requires_grad], lr=rate)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(module(x), y).backward()
        optimizer.step()
    with torch.no_grad():
        return float(torch.nn.functional.cross_entropy(module(x), y))


def accuracy(module, data):
    import torch

    with torch.no_grad():
        return float((module(data[0]).argmax(dim=1) == data[1]).float().mean())


def linearized(module, data):
    """The model, and g [equations]: minus the gradient of the loss at the outputs, where training wants them to go."""
    import torch

    x, y = data
    with torch.no_grad():
        g = torch.nn.functional.one_hot(y, 5) - module(x).softmax(dim=1)
    return sl.interop.torch.linearize(module, x), g.double().numpy().reshape(-1)


class Chooser:
    """The rules: each gives an allocation of `budget` weights of the module as it is, fewer where its kind of weights has no more."""

    def __init__(self, module, data, rng):
        self.model, self.g = linearized(module, data)
        self.theta = np.concatenate([value.detach().numpy().reshape(-1) for value in module.parameters()])
        self.rng = rng
        by_sample = np.einsum("so,sop->sp", self.g.reshape(TRAIN, -1), self.model.J.reshape(TRAIN, -1, self.model.size))
        self.gradient, self.fisher = np.abs(by_sample.sum(axis=0)), (by_sample**2).sum(axis=0)
        self.known = {}

    def top(self, score, budget, among=None):
        """The `budget` largest scores, among some places first and then, without `among`, nowhere else."""
        places = np.arange(self.model.size) if among is None else among
        return sl.Allocation.from_indices(self.model, places[np.argsort(-score[places], kind="stable")[:budget]])

    def filled(self, indices, budget):
        """The first `budget` of an order of weights, and where it ends those of the largest gradients."""
        chosen = indices[indices >= 0][:budget]
        score = self.gradient.copy()
        score[chosen] = np.inf
        return self.top(score, budget)

    def places(self, *names):
        return np.concatenate([np.arange(self.model.size)[self.model.slices[name]] for name in names])

    def order(self, rule, most):
        """Greedy choices do not change with the budget: the largest holds the others."""
        if rule not in self.known:
            self.known[rule] = sl.choose_columns(self.model.J, self.g, min(most, self.model.equations), rule).indices
        return self.known[rule]

    def __call__(self, rule, budget, most):
        names, chance = list(self.model.groups), self.rng.random(self.model.size)
        if rule == "random":
            return self.top(chance, budget)
        if rule == "magnitude":
            return self.top(np.abs(self.theta), budget)
        if rule == "gradient":
            return self.top(self.gradient, budget)
        if rule == "Fisher":
            return self.top(self.fisher, budget)
        if rule == "last layer":
            return self.top(chance, budget, self.places(*names[-2:]))
        if rule == "biases":
            return self.top(chance, budget, self.places(*(name for name in names if name.endswith("bias"))))
        if rule == "rank":  # the largest gradients among independent columns: the cheapest basis, and of that a part
            if rule not in self.known:
                cost = self.model.unpack(-self.gradient)
                basis = sl.best_allocation(self.model, cost).indices
                self.known[rule] = basis[np.argsort(-self.gradient[basis])]
            return self.filled(self.known[rule], budget)
        return self.filled(self.order({"pivoted QR": "pivot", "bottleneck": "ols"}[rule], most), budget)


def regrown(module, data, budget, steps, rate):
    """A quarter of the budget at a time by the bottleneck of the loss as it is by then, training in between."""
    chosen = np.empty(0, dtype=np.int64)
    for k in range(ROUNDS):
        now = budget * (k + 1) // ROUNDS
        sl.interop.torch.train_only(module, None)
        model, g = linearized(module, data)
        found = sl.choose_columns(model.J, g, min(now, max(len(chosen), model.equations)), given=chosen).indices
        gradient = np.abs(g @ model.J)
        gradient[found[found >= 0]] = np.inf
        gradient[chosen] = np.inf
        chosen = np.sort(np.argsort(-gradient, kind="stable")[:now])
        sl.interop.torch.train_only(module, sl.Allocation.from_indices(model, chosen))
        loss = train(module, data, steps // ROUNDS, rate)
    return loss, len(chosen)


def add_low_rank(module, budget):
    """Trainable U V^T beside every matrix, of the largest rank that the budget allows; rank one in the last layers alone where it allows
    no more. The number of weights in U and V; 0 and no change where it allows none."""
    import torch
    from torch.nn.utils import parametrize

    class LowRank(torch.nn.Module):
        def __init__(self, weight, rank):
            super().__init__()
            rows, columns = weight.shape[0], weight[0].numel()
            self.U, self.V = torch.nn.Parameter(torch.zeros(rows, rank)), torch.nn.Parameter(torch.randn(columns, rank) / columns**0.5)

        def forward(self, weight):
            return weight + (self.U @ self.V.T).reshape(weight.shape)

    layers = [layer for layer in module if hasattr(layer, "weight")]
    sizes = [layer.weight.shape[0] + layer.weight[0].numel() for layer in layers]
    rank = max(1, budget // sum(sizes))
    while layers and rank * sum(sizes) > budget:
        layers, sizes = layers[1:], sizes[1:]
    for value in module.parameters():
        value.requires_grad_(False)
    for layer in layers:
        parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, rank))
    return rank * sum(sizes)


def measured(net, seed, task, steps):
    """Rows (net, task, seed, share, rule, weights, loss, accuracy) of one pretrained network."""
    import torch

    rng = np.random.default_rng([seed, TASKS.index(task)])
    torch.manual_seed(seed)
    before, data, test = pictures(task, rng)
    base = networks()[net]()
    train(base, before, 200, 0.01)
    state = {name: value.clone() for name, value in base.state_dict().items()}

    def fresh():
        module = networks()[net]()
        module.load_state_dict(state)
        return module

    choose = Chooser(base, data, rng)
    budgets = [max(1, round(share * choose.model.size)) for share in SHARES]
    for share, budget in zip(SHARES, budgets):
        for rule in RULES:
            allocation = None if rule in ("regrow", "low rank") else choose(rule, budget, budgets[-1])
            best = None
            for rate in RATES:
                module = fresh()
                if rule == "regrow":
                    loss, count = regrown(module, data, budget, steps, rate)
                elif rule == "low rank":
                    torch.manual_seed(seed)
                    if not (count := add_low_rank(module, budget)):
                        break
                    loss = train(module, data, steps, rate)
                else:
                    sl.interop.torch.train_only(module, allocation)
                    loss, count = train(module, data, steps, rate), allocation.budget
                if best is None or loss < best[1]:
                    best = (count, loss, accuracy(module, test))
            if best is not None:
                yield (net, task, seed, share, rule, best[0], round(best[1], 5), round(best[2], 5))


def table(rows):
    """Means over tasks and seeds with 95 % intervals of the mean (Student's t over seeds), a line for each rule."""
    from scipy.stats import t

    cells = defaultdict(lambda: defaultdict(list))
    for net, _, seed, share, rule, _, loss, right in rows:
        cells[rule, net, float(share)][int(seed)].append((float(loss), 100 * float(right)))
    nets = sorted({key[1] for key in cells}, reverse=True)
    lines = [
        f"| rule | {' | '.join(f'{net} {100 * share:g} %' for net in nets for share in SHARES)} |",
        "| --- |" + " --- |" * len(nets) * len(SHARES),
    ]
    for rule in RULES:
        texts = []
        for net in nets:
            for share in SHARES:
                seeds = cells.get((rule, net, share))
                if not seeds:
                    texts.append("-")
                    continue
                means = np.array([np.mean(values, axis=0) for values in seeds.values()])
                spread = (
                    t.ppf(0.975, len(means) - 1) * means.std(axis=0, ddof=1) / len(means) ** 0.5 if len(means) > 1 else (np.nan, np.nan)
                )
                texts.append(f"{means[:, 0].mean():.2f} ± {spread[0]:.2f}, {means[:, 1].mean():.0f} ± {spread[1]:.0f}")
        lines.append(f"| {rule} | {' | '.join(texts)} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> list[tuple]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="pretrained networks of each kind and task (default: 5)")
    parser.add_argument("--nets", nargs="+", default=["mlp", "cnn"], choices=["mlp", "cnn"])
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--save", default=str(RESULTS), help='where the rows go; "" for nowhere')
    parser.add_argument("--table", action="store_true", help="print the table of rows measured before")
    args = parser.parse_args(arguments)
    if args.table:
        with RESULTS.open() as file:
            print(table(list(csv.reader(file))[1:]))
        return []
    import torch

    torch.set_num_threads(1)
    begin, rows = time.process_time(), []
    for net in args.nets:
        for seed in range(args.seeds):
            for task in args.tasks:
                rows += measured(net, seed, task, args.steps)
                print(f"{net} {task} seed {seed}: {time.process_time() - begin:.0f} s", flush=True)
    if args.save:
        with open(args.save, "w", newline="") as file:
            csv.writer(file).writerows([("net", "task", "seed", "share", "rule", "weights", "loss", "accuracy"), *rows])
    print(table(rows))
    return rows


if __name__ == "__main__":
    main()
