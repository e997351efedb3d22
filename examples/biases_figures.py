"""The figures of docs/biases.md: what networks with random weights reach by biases, gains and readout, and what learned biases look like.

    sublearn run examples/biases.toml; sublearn run examples/digits.toml; sublearn run examples/systems.toml
    sublearn run examples/generation.toml
    python examples/biases_figures.py            # reads sublearn-biases/ and so on, and writes biases-*.png; 2 minutes of one core

The pictures of learned biases and of trajectories are computed here; they need the extras `study` and `data`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray

import sublearn as sl
from sublearn import study

BLUE, ORANGE, GREEN, GREY, PINK = "#0072B2", "#D55E00", "#009E73", "#777777", "#CC79A7"
COLOURS = {
    "biases": BLUE,
    "gains": ORANGE,
    "gains and output biases": ORANGE,
    "biases and gains": GREEN,
    "readout": PINK,
    "everything": GREY,
}


def _curve(ax: Any, x: np.ndarray, cells: xarray.Dataset, label: str, **look: Any) -> None:
    """Estimates with their intervals, by x."""
    order = np.argsort(x)
    y = cells["estimate"].values[order]
    low, high = (cells[name].values[order] for name in ("low", "high"))
    ax.errorbar(x[order], y, np.clip([y - low, high - y], 0, None), label=label, capsize=2, **look)


def matches(folder: Path) -> Any:
    """Samples matched: what exists, what is found, and what is proven not to exist, by samples per hidden unit."""
    data = study.load(folder)
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.8), sharey=True, layout="constrained")
    shown = {"tanh": "tanh, teachers", "tanh, Gaussian targets": "tanh, Gaussian targets", "relu": "relu, teachers"}
    for ax, (family, title) in zip(axes, shown.items()):
        for strategy, marker in (("biases", "o"), ("gains", "s"), ("biases and gains", "^")):
            for width, shade in (("4-8-1", 0.45), ("4-16-1", 0.7), ("4-32-1", 1.0)):
                some = data.isel(cell=(data["family"] == family) & (data["strategy"] == strategy) & (data["widths"] == width))
                exact = some.isel(cell=some["method"] == "exact")
                if not exact.sizes["cell"]:
                    continue
                n = int(width.split("-")[1])
                look = {"color": COLOURS[strategy], "alpha": shade, "marker": marker, "ms": 4, "lw": 1.2}
                _curve(ax, exact["samples"].values / n, exact, f"{strategy}, n = {n}", **look)
                most = 1 - exact["unmatched"].values / exact["trials"].values  # all that is not proven impossible
                order = np.argsort(exact["samples"].values)
                at, low = exact["samples"].values[order] / n, exact["estimate"].values[order]
                ax.fill_between(at, low, most[order], color=COLOURS[strategy], alpha=0.15, lw=0)
        ax.set_xlabel("samples m over hidden units n")
        ax.set_title(title)
    axes[0].set_ylabel("share of trials with a match")
    lines, names = axes[0].get_legend_handles_labels()
    figure.legend(lines, names, fontsize=7, ncols=len(names), loc="outside lower center", columnspacing=1, handlelength=1.5)
    return figure


def digits(folder: Path) -> Any:
    """Accuracy by width, and by the number of learned parameters."""
    data = study.load(folder)
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), sharey=True, layout="constrained")
    for strategy in ("biases", "gains and output biases", "readout", "everything"):
        cells = data.isel(cell=data["strategy"] == strategy)
        widths = np.array([int(str(value).split("-")[1]) for value in cells["widths"].values])
        for ax, x, name in ((axes[0], widths, "hidden units n"), (axes[1], cells["budget"].values, "learned numbers")):
            for value in np.unique(x):
                y = cells["estimate"].values[x == value]
                ax.plot(np.full(len(y), value), y, ".", color=COLOURS[strategy], alpha=0.35, ms=5)
            at = np.unique(x)
            ax.plot(at, [cells["estimate"].values[x == value].mean() for value in at], "-o", color=COLOURS[strategy], ms=4, label=strategy)
            ax.set_xscale("log")
            ax.set_xlabel(name)
    axes[0].set_ylabel("accuracy on test pictures (mean of tasks)")
    axes[0].legend(fontsize=8)
    return figure


def systems(folder: Path, alone: Path) -> Any:
    """Error one step ahead by width, valid time by width, and the edge of networks without input."""
    data, lone = study.load(folder), study.load(alone)
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
    colours = {"van der Pol": BLUE, "Lorenz": ORANGE, "pendulum": GREEN, "linear oscillator": PINK}
    for ax, what in ((axes[0], "rmse"), (axes[1], "valid_time")):
        for name, colour in colours.items():
            for strategy, style in (("biases", "-o"), ("readout", "--s")):
                mine = (data["family"] == name) & (data["strategy"] == strategy)
                cells = data.isel(cell=mine & (data["quantity"] == what))
                order = np.argsort(cells["hidden"].values)
                at, y = cells["hidden"].values[order], cells["estimate"].values[order]
                ax.plot(at, y, style, label=f"{name}, {strategy}", color=colour, ms=4, lw=1)  # intervals are in report.html
        ax.set_xscale("log", base=2)
        ax.set_xlabel("hidden units n")
    axes[0].set_yscale("log")
    axes[0].set_ylabel("rmse one step ahead")
    axes[0].legend(fontsize=6)
    axes[1].set_yscale("log")
    axes[1].set_ylabel("valid time (periods)")
    for name, colour, style in (("van der Pol", BLUE, "-o"), ("van der Pol, tanh", BLUE, "--s"), ("linear oscillator", PINK, "-o")):
        cells = lone.isel(cell=lone["family"] == name)
        _curve(axes[2], cells["gains.W"].values, cells, name, fmt=style, color=colour, ms=4, lw=1)
    axes[2].set_ylim(0, 1.5)
    axes[2].set_xlabel("gain g of the recurrent weights")
    axes[2].set_ylabel("rmse of 100 steps without input")
    axes[2].legend(fontsize=8)
    return figure


def pictures() -> Any:
    """Learned biases of two tasks, biases against a mask of the same network, and a trajectory without input."""
    net = sl.Feedforward((64, 1024, 10), 1347, "relu", bias=True, gain=True)
    theta = sl.draw_trials(net.at(1), sl.gains(net.at(1)), 1, gains={"W2": 10.0}, dtype=np.float32).student[0]
    theta[net.slices["b1"]] = theta[net.slices["b2"]] = 0.0
    biases, accuracy = {}, {}
    for variant in ("plain", "labels", "pixels"):
        split = sl.pictures.digits(1347, variant=variant)
        x = split.x.astype(np.float32)
        found = sl.fit(net, theta, x, split.labels, sl.only(net, "b1", "b2"), steps=600, lr=0.1, loss="softmax")
        biases[variant] = net.unpack(found.theta)["b1"]
        accuracy[variant] = float(sl.accuracy(net.at(450), found.theta, split.x_test.astype(np.float32), split.labels_test))
    split = sl.pictures.digits(1347)
    kept = sl.fit_masks(net, theta, split.x.astype(np.float32), split.labels, "g1", sl.only(net, "b2"), steps=600, lr=0.01, loss="softmax")
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
    axes[0].plot(biases["plain"], biases["pixels"], ".", ms=2, color=BLUE)
    likeness = np.corrcoef(biases["plain"], biases["pixels"])[0, 1]
    told = ", ".join(f"{name} {value:.3f}" for name, value in accuracy.items())
    axes[0].set_title(f"biases of two tasks (correlation {likeness:.2f})\naccuracy: {told}", fontsize=9)
    axes[0].set(xlabel="learned bias, digits as they are", ylabel="learned bias, pixels in another order")
    edges = np.linspace(*np.percentile(biases["plain"], [0.5, 99.5]), 40)
    for on, colour, name in ((True, ORANGE, "kept by the mask"), (False, GREY, "left out")):
        axes[1].hist(biases["plain"][kept.masks == on], edges, color=colour, alpha=0.6, label=f"{name}: {int((kept.masks == on).sum())}")
    alike = np.corrcoef(biases["plain"], kept.masks)[0, 1]
    right = float(sl.accuracy(net.at(450), kept.theta, split.x_test.astype(np.float32), split.labels_test))
    axes[1].set_title(f"biases against a mask of the same network\n(correlation {alike:.2f}; mask alone {right:.3f})", fontsize=9)
    axes[1].set(xlabel="learned bias", ylabel="units")
    axes[1].legend(fontsize=8)
    lone = sl.Recurrent(1, 100, 2, 100, activation="tanh", bias=True)
    gains = {"W": 1.4, "b": 0.5}
    y = sl.systems.trajectories("vdp", 1, 100, dt=0.2).astype(np.float32)
    start = sl.draw_trials(lone, sl.biases(lone), 1, gains=gains, dtype=np.float32).student
    nothing = np.zeros((1, 100, 1), np.float32)
    for steps, colour in ((500, GREY), (5000, BLUE)):
        found = sl.fit(lone, start, nothing, y, sl.biases(lone), steps=steps, lr=0.01)
        axes[2].plot(sl.outputs(lone, found.theta, nothing)[0, :, 0], color=colour, label=f"{steps} steps of descent")
    axes[2].plot(y[0, :, 0], "k:", label="van der Pol")
    axes[2].set_title("without input: a tanh network, g = 1.4, biases learned", fontsize=9)
    axes[2].set(xlabel="step", ylabel="first coordinate (standard deviations)")
    axes[2].legend(fontsize=8, loc="lower right")
    return figure


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=Path, default=Path("."), help="where the folders sublearn-biases/ .. are (default: here)")
    parser.add_argument("--out", type=Path, default=Path("."), help="where the figures go (default: here)")
    parser.add_argument("--only", choices=("matches", "digits", "systems", "pictures"), help="one figure (default: all)")
    args = parser.parse_args(arguments)
    at = lambda name: args.studies / f"sublearn-{name}"  # noqa: E731
    figures = {
        "matches": lambda: matches(at("biases")),
        "digits": lambda: digits(at("digits")),
        "systems": lambda: systems(at("systems"), at("generation")),
        "pictures": pictures,
    }
    for name, draw in figures.items():
        if args.only in (None, name):
            draw().savefig(args.out / f"biases-{name}.png", dpi=130)
            print(args.out / f"biases-{name}.png")


if __name__ == "__main__":
    main()
