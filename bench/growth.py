"""What growing a network is worth, and what a growth costs, beside gromo: python -m bench.growth (needs scikit-learn; peer: gromo).

Networks 64-2-10 on scikit-learn's digits (1347 pictures for training, split 0), biases everywhere, trained for 300 steps of Adam at .01,
all samples in a step. Then 2 neurons at a time, and `between` steps after each growth (fresh moments). The same starts for all, `--seeds`
of them.
  refit only  between = 0: incoming weights stay as they are chosen, all outgoing ones are fitted by least squares after each growth
  10, 200     steps between growths
  pool, joint, projected, raw   `sl.grow_network`, its forms; pool is its default for the squared loss, raw for the softmax
  gromo       GrowingMLP: statistics of the batch, optimal updates (projected form, without the change of the layer's own weights), line
              search over the same amplitudes, torch's Adam between, float32
  random      incoming and outgoing weights drawn at random, the better sign of the latter, the same line search; refit only: incoming
              weights of pre-activations of root mean square 1, all outgoing ones by least squares
  scratch     the final width from the start, as many steps as the others have in all
Told: loss per sample at each width, mean over the seeds; the share of test pictures that are right at the last.

Time of one growth: 64-16-10 by 2 neurons, tanh, squared loss: CPU time of all that happens but training (one step of it, measured beside,
is subtracted), one thread, float32, by turns; medians. Ours and gromo search 14 amplitudes. gromo gets its data as one ready batch; what
its DataLoader costs is shown apart.

`--quick`: two widths, 2 seeds, no 200 steps. `--json FILE`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

import sublearn as sl

from . import machine

AMPLITUDES = (0.0, *(2.0**k for k in range(-8, 5)))
FIRST, TRAINED, LR = 2, 300, 1e-2
ROUNDS = 21  # of the timing


class Task:
    """Digits, and starts [seeds, size] that were trained."""

    def __init__(self, activation: str, loss: str, seeds: int, dtype: type = np.float64) -> None:
        split = sl.pictures.digits(1347)
        self.loss, self.labels = loss, split.labels
        self.x, self.x_test = split.x.astype(dtype), split.x_test.astype(dtype)
        self.labels_test = split.labels_test
        self.y = split.labels if loss == "softmax" else np.ascontiguousarray(split.y.astype(dtype))
        self.net = sl.Feedforward((64, FIRST, 10), self.x.shape[1], activation=activation, bias=True)
        self.start = self.train(self.net, np.stack([self.drawn(FIRST, seed) for seed in range(seeds)]).astype(dtype), TRAINED)

    def of_width(self, width: int) -> sl.Feedforward:
        return sl.Feedforward((64, width, 10), self.net.samples, activation=self.net.activation, bias=True)

    def drawn(self, width: int, seed: int) -> np.ndarray:
        rng = np.random.default_rng([3, seed])
        W1, W2 = rng.normal(size=(width, 64)) / 8, rng.normal(size=(10, width)) / width**0.5
        return self.of_width(width).pack({"W1": W1, "W2": W2, "b1": np.zeros(width), "b2": np.zeros(10)})

    def train(self, net: sl.Feedforward, theta: np.ndarray, steps: int) -> np.ndarray:
        return sl.fit(net, theta, self.x, self.y, sl.everything(net), steps, lr=LR, loss=self.loss).theta

    def value(self, net: sl.Feedforward, theta: np.ndarray) -> np.ndarray:
        """Loss per sample [seeds]."""
        return sl.fit(net, theta, self.x, self.y, sl.everything(net), 0, loss=self.loss).loss / net.samples

    def right(self, net: sl.Feedforward, theta: np.ndarray) -> float:
        return float(sl.accuracy(net.at(len(self.labels_test)), theta, self.x_test, self.labels_test).mean())


def ours(form: str) -> Callable:
    def grown(task: Task, marks: Sequence[int], between: int) -> tuple[list[float], float]:
        found = sl.grow_network(task.net, task.start, task.x, task.y, to=marks[-1], steps=between, form=form, loss=task.loss, lr=LR)
        at = [found.history.widths.tolist().index(width) for width in marks]
        return list(found.history.loss[:, at].mean(axis=0) / task.net.samples), task.right(found.net, found.theta)

    return grown


def random(task: Task, marks: Sequence[int], between: int) -> tuple[list[float], float]:
    parts, told, net = [task.net.unpack(theta) for theta in task.start], [], task.net
    rngs = [np.random.default_rng([4, seed]) for seed in range(len(parts))]
    for width in range(FIRST, marks[-1] + 1, 2):
        if width > FIRST:
            net = task.of_width(width)
            parts = [wider(task, net, part, rng, between) for part, rng in zip(parts, rngs)]
            theta = np.stack([net.pack(part) for part in parts])
            theta = task.train(net, theta, between) if between else theta
            parts = [net.unpack(one) for one in theta]
            if width in marks:
                told.append(float(task.value(net, theta).mean()))
    return told, task.right(net, theta)


def wider(task: Task, net: sl.Feedforward, part: dict, rng: np.random.Generator, between: int) -> dict:
    """A network with two random neurons more."""
    phi = {"tanh": np.tanh, "relu": lambda z: np.maximum(z, 0)}[net.activation]
    W, b = rng.normal(size=(2, 64)), np.zeros(2)
    if not between:
        W /= (W @ (task.x - task.x.mean(axis=1, keepdims=True))).std(axis=1, keepdims=True)
        b = -W @ task.x.mean(axis=1)
        W1, b1 = np.concatenate([part["W1"], W]), np.concatenate([part["b1"], b])
        H = np.concatenate([phi(W1 @ task.x + b1[:, None]), np.ones((1, net.samples))])
        out = np.linalg.lstsq(H.T, task.y.T, rcond=1e-10)[0].T
        return {"W1": W1, "W2": out[:, :-1], "b1": b1, "b2": out[:, -1]}
    V = rng.normal(size=(10, 2)) / part["W2"].shape[1] ** 0.5
    tried = []
    for sign in np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]]):
        for a in AMPLITUDES:
            new = {"W1": np.concatenate([part["W1"], a / 8 * W]), "W2": np.concatenate([part["W2"], a * sign * V], axis=1)}
            tried.append(net.pack({**new, "b1": np.concatenate([part["b1"], b]), "b2": part["b2"]}))
    return net.unpack(tried[int(task.value(net, np.stack(tried)).argmin())])


def scratch(task: Task, marks: Sequence[int], between: int) -> tuple[list[float], float]:
    net, seeds = task.of_width(marks[-1]), range(len(task.start))
    steps = TRAINED + between * ((marks[-1] - FIRST) // 2)
    theta = task.train(net, np.stack([task.drawn(marks[-1], seed) for seed in seeds]).astype(task.x.dtype), steps)
    return [float("nan")] * (len(marks) - 1) + [float(task.value(net, theta).mean())], task.right(net, theta)


class Gromo:
    """The peer, on one task."""

    def __init__(self, task: Task, loader: bool = False) -> None:
        import torch
        from gromo.containers.growing_mlp import GrowingMLP
        from gromo.utils import training_utils

        torch.set_num_threads(1)
        self.torch, self.tools, self.model_of, self.cpu = torch, training_utils, GrowingMLP, torch.device("cpu")
        self.x = torch.tensor(task.x.T.copy(), dtype=torch.float32)
        self.hot = torch.eye(10)[torch.tensor(task.labels)]
        self.data: object = [(self.x, self.hot)]
        if loader:
            self.data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(self.x, self.hot), batch_size=len(self.x))

    def mean(self, f, target):
        return ((f - target) ** 2).sum(1).mean()

    def model(self, part: dict):
        torch = self.torch
        model = self.model_of(64, 10, len(part["b1"]), 1, activation=torch.nn.Tanh(), device=self.cpu)
        with torch.no_grad():
            for layer, k in zip(model.layers, "12"):
                layer.weight.copy_(torch.tensor(part["W" + k]))
                layer.bias.copy_(torch.tensor(part["b" + k]))
        return model

    def grow(self, model) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that amplitude 0 adds nothing, and that S is singular
            self._grow(model)

    def _grow(self, model) -> None:
        model.set_growing_layers(index=0)
        total = lambda f, target: ((f - target) ** 2).sum()  # noqa: E731  the average over samples is taken inside
        self.tools.compute_statistics(model, self.data, loss_function=total, device=self.cpu)
        model.compute_optimal_updates(maximum_added_neurons=2, compute_delta=False)
        model.reset_computation()
        model.dummy_select_update()
        best = float("inf"), 0.0
        for a in AMPLITUDES:
            model.set_scaling_factor(a)
            loss, _ = self.tools.evaluate_model(model, self.data, self.mean, use_extended_model=True, device=self.cpu)
            best = min(best, (loss, a))
        model.set_scaling_factor(best[1])
        model.apply_change()

    def train(self, model, steps: int) -> None:
        adam = self.torch.optim.Adam(model.parameters(), lr=LR)
        for _ in range(steps):
            adam.zero_grad()
            self.mean(model(self.x), self.hot).backward()
            adam.step()


def gromo(task: Task, marks: Sequence[int], between: int) -> tuple[list[float], float]:
    peer, told, right = Gromo(task), [], []
    for theta in task.start:
        model, row = peer.model(task.net.unpack(theta)), []
        for width in range(FIRST + 2, marks[-1] + 1, 2):
            peer.grow(model)
            peer.train(model, between)
            if width in marks:
                row.append(peer.mean(model(peer.x), peer.hot).item())
        told.append(row)
        f = model(peer.torch.tensor(task.x_test.T.copy(), dtype=peer.torch.float32)).detach().numpy()
        right.append((f.argmax(axis=1) == task.labels_test).mean())
    return list(np.mean(told, axis=0)), float(np.mean(right))


METHODS: dict[str, Callable] = {
    **{form: ours(form) for form in ("pool", "joint", "projected", "raw")},
    "gromo": gromo,
    "random": random,
    "scratch": scratch,
}


def questions(quick: bool) -> list[tuple[str, str, int, tuple[int, ...], tuple[str, ...]]]:
    """(activation, loss, steps between, widths, methods)."""
    short = (8, 16)
    found = [
        ("tanh", "squared", 0, (8, 16, 32, 64), ("pool", "joint", "projected", "random")),
        ("relu", "squared", 0, (8, 16, 32, 64), ("pool", "joint", "projected", "random")),
        ("tanh", "squared", 10, (8, 16, 32), ("pool", "projected", "joint", "gromo", "random")),
        ("relu", "squared", 10, (8, 16, 32), ("pool", "projected", "random")),
        ("tanh", "softmax", 10, (8, 16, 32), ("raw", "pool", "random")),
        ("tanh", "squared", 200, (8, 16, 32), ("pool", "projected", "random", "scratch")),
    ]
    return [(*head, short, methods) if quick else (*head, marks, methods) for *head, marks, methods in found if head[2] < 200 or not quick]


def times(rounds: int = ROUNDS) -> dict[str, object]:
    """CPU milliseconds of one growth: medians, and the median ratio of gromo with a ready batch to each of ours."""
    task = Task("tanh", "squared", 1, np.float32)
    net, theta = task.of_width(16), task.drawn(16, 0).astype(np.float32)
    theta = task.train(net, theta, 20)
    wide, after = task.of_width(18), np.stack([task.drawn(18, 0)]).astype(np.float32)
    one_step = lambda: sl.fit(wide, after, task.x, task.y, sl.everything(wide), 1, threads=1)  # noqa: E731
    how = {
        "pool": {"steps": 1},
        "projected": {"form": "projected", "steps": 1},
        "pool, refit": {"steps": 0},
        "joint": {"form": "joint", "steps": 0},
    }
    call = lambda more: lambda: sl.grow_network(net, theta, task.x, task.y, to=18, threads=1, **more)  # noqa: E731
    found: dict[str, Callable] = {"step": one_step, **{name: call(more) for name, more in how.items()}}
    try:
        for name, loader in (("gromo", False), ("gromo, DataLoader", True)):
            peer = Gromo(task, loader)
            found[name] = lambda peer=peer: peer.grow(peer.model(net.unpack(theta)))
    except ImportError as error:
        print(f"gromo: not measured: {error}", file=sys.stderr)
    seconds: dict[str, list[float]] = {name: [] for name in found}
    for number in range(rounds + 2):
        for name in found if number % 2 else reversed(found):
            start = time.process_time()
            found[name]()
            seconds[name].append(time.process_time() - start)
    kept = {name: spent[2:] for name, spent in seconds.items()}
    step = kept.pop("step")
    for name, more in how.items():  # a growth that is followed by training, less the training
        kept[name] = [a - b * more["steps"] for a, b in zip(kept[name], step)]
    told: dict[str, object] = {name: {"ms": 1e3 * statistics.median(spent)} for name, spent in kept.items()}
    if "gromo" in kept:
        for name in how:
            told[name] = told[name] | {"gromo takes": statistics.median(b / a for a, b in zip(kept[name], kept["gromo"]))}  # type: ignore[operator]
    return told


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description="What growing a network is worth, and what it costs.")
    parser.add_argument("--seeds", type=int, default=3, metavar="N")
    parser.add_argument("--quick", action="store_true", help="small widths, 2 seeds: to see that all works")
    parser.add_argument("--only", choices=("loss", "time"))
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    head = machine.header(1) | {"gromo": machine.version("gromo")}
    print(machine.as_text(head) + f"\ngromo {head['gromo'] or '(not installed)'}")
    if warning := machine.busy(head):
        print(f"warning: {warning}")
    result: dict = {"format": 1, "machine": head, "losses": []}
    tasks: dict[tuple, Task] = {}
    for activation, loss, between, marks, methods in questions(options.quick) if options.only != "time" else ():
        what = "refit only" if between == 0 else f"{between} steps between"
        print(
            f"\n{activation}, {loss}, {what}: loss per sample at width, test accuracy at the last\n{'':10}"
            + "".join(f"{w:>9}" for w in marks)
        )
        task = tasks.setdefault((activation, loss), Task(activation, loss, 2 if options.quick else options.seeds))
        for name in methods:
            try:
                told, right = METHODS[name](task, marks, between)
            except ImportError as error:
                print(f"{name:10}not measured: {error}")
                continue
            print(f"{name:10}" + "".join(f"{value:9.4f}" for value in told) + f"{right:9.3f}", flush=True)
            row = {"activation": activation, "loss": loss, "between": between, "method": name}
            result["losses"].append(row | {"widths": marks, "values": told, "accuracy": right})
    if options.only != "loss":
        print("\nCPU time of one growth, 64-16-10 by 2 neurons, float32")
        result["times"] = times(5 if options.quick else ROUNDS)
        for name, row in result["times"].items():
            print(
                f"{name:18}{row['ms']:8.1f} ms" + (f", gromo takes {row['gromo takes']:.1f} times as long" if "gromo takes" in row else "")
            )
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

if __name__ == "__main__":  # BLAS reads the number of its threads when it is loaded, and that is now
    if ONE_THREAD.items() <= os.environ.items():
        sys.exit(main())
    sys.exit(subprocess.run([sys.executable, "-m", "bench.growth", *sys.argv[1:]], env=os.environ | ONE_THREAD, check=False).returncode)
