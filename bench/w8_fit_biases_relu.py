"""W8: Adam of the biases of wide relu students, the setting of many tasks of a random network.

64 students 64-512-10, 1000 samples shared by all, each with random weights of its own; b1 and b2 learn, all else is frozen, so W1 x may be
computed once. Loss = sum over outputs and samples of (y - y*)^2, learning rate 0.001, all samples in every step. The peers differentiate in
b1 and b2 only; each is measured as one would write it and, "W x given", with W1 x computed once outside of the timing. Weights and data are
arguments of what jax compiles, so that it folds nothing. Before the timing each peer's loss after CHECK_STEPS steps, computed from its
biases in numpy, must be ours. One thread: goals are per core.

FLOP of one student-step: 2 m 2 h o, W2 h and its adjoint, with W1 x given.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

import sublearn as sl

from . import machine
from .fit_peers import CHECK_STEPS, NAMES, candidate, peers, same_loss, scan_of
from .harness import OURS, Candidate, Options, Peer, Sweep, Table, goal_of, measure, sweep
from .libraries import jax_cpu, torch_cpu

STUDENTS, LR = 64, 1e-3
GIVEN = ", W x given"
FLOP_TEXT = "2 m 2 h o, W x given"


@dataclass(frozen=True)
class Problem:
    net: sl.Feedforward
    theta: np.ndarray  # [batch, size]
    x: np.ndarray  # [i, m], shared
    y: np.ndarray  # [batch, o, m]

    @property
    def parts(self) -> dict[str, np.ndarray]:
        return {name: np.ascontiguousarray(part) for name, part in self.net.unpack(self.theta).items()}


def problem_of(dtype: type, students: int = STUDENTS, hidden: int = 512, samples: int = 1000, seed: int = 0) -> Problem:
    net = sl.Feedforward((64, hidden, 10), samples, activation="relu", bias=True)
    trials = sl.draw_trials(net, sl.only(net, "b1", "b2"), students, shared=(), seed=seed, dtype=dtype)
    x = np.ascontiguousarray(trials.x[0])
    return Problem(net, trials.student, x, sl.outputs(net, trials.teacher, x))


def loss(problem: Problem, biases: np.ndarray) -> np.ndarray:
    """[batch], in float64: what every candidate must lower alike. biases [batch, h + o]: b1, then b2."""
    h, total = problem.net.widths[1], []
    for k, (W1, W2) in enumerate(zip(problem.parts["W1"], problem.parts["W2"])):
        z = W1.astype(np.float64) @ problem.x + biases[k, :h, None]
        total.append(((W2.astype(np.float64) @ np.maximum(z, 0) + biases[k, h:, None] - problem.y[k]) ** 2).sum())
    return np.array(total)


def fit(problem: Problem, steps: int, threads: int) -> sl.FitResult:
    learn = sl.only(problem.net, "b1", "b2")
    return sl.fit(problem.net, problem.theta, problem.x, problem.y, learn, steps=steps, lr=LR, compact=True, threads=threads)


def _torch(problem: Problem, options: Options, given: bool = False) -> Candidate:
    torch = torch_cpu(options)
    parts = {name: torch.from_numpy(part) for name, part in problem.parts.items()}
    x, y = torch.from_numpy(problem.x), torch.from_numpy(problem.y)
    z0 = parts["W1"] @ x if given else None

    def train(steps: int):
        b1, b2 = parts["b1"].clone().requires_grad_(), parts["b2"].clone().requires_grad_()
        adam = torch.optim.Adam([b1, b2], lr=LR)
        for _ in range(steps):
            adam.zero_grad(set_to_none=True)
            h = torch.relu((z0 if given else parts["W1"] @ x) + b1[:, :, None])
            e = torch.bmm(parts["W2"], h) + b2[:, :, None] - y
            (e * e).sum().backward()
            adam.step()
        return torch.cat([b1, b2], 1).detach()

    return candidate("torch" + GIVEN * given, train, len(y), 1)


def _jax(problem: Problem, options: Options, given: bool = False) -> Candidate:
    jax, jnp = jax_cpu()
    parts = {name: jnp.asarray(part) for name, part in problem.parts.items()}
    x, y, h = jnp.asarray(problem.x), jnp.asarray(problem.y), problem.net.widths[1]
    start = jnp.concatenate([parts["b1"], parts["b2"]], 1)
    first = parts["W1"] @ x if given else parts["W1"]

    def loss(biases, first, W2, y, x):
        z = (first if given else first @ x) + biases[:h, None]
        e = W2 @ jax.nn.relu(z) + biases[h:, None] - y
        return (e * e).sum()

    gradient = jax.vmap(jax.grad(loss), in_axes=(0, 0, 0, 0, None))
    train = jax.jit(lambda w, steps, *data: scan_of(jax, jnp, w, lambda w: gradient(w, *data), steps, LR), static_argnums=1)
    steps = 1 if options.quick else 3
    run = lambda steps: train(start, steps, first, parts["W2"], y, x).block_until_ready()  # noqa: E731
    return candidate("jax" + GIVEN * given, run, len(y), steps)


PEERS = (
    *peers(torch=_torch, jax=_jax),
    *(Peer(NAMES[library] + GIVEN, library, partial(build, given=True)) for library, build in (("torch", _torch), ("jax", _jax))),
)


def run(options: Options) -> Iterator[Table | Sweep]:
    for dtype in (np.float32, np.float64):
        name = np.dtype(dtype).name
        problem = problem_of(dtype, 4 if options.quick else STUDENTS)
        batch, steps = len(problem.theta), 5 if options.quick else 25
        reached, first = fit(problem, CHECK_STEPS, 1).loss, fit(problem, 0, 1).loss
        timings = measure(
            Candidate(OURS, OURS, lambda p=problem, s=steps: fit(p, s, options.threads), batch * steps),
            PEERS,
            problem,
            options,
            lambda peer: same_loss(reached, first, loss(problem, peer.answer()), name),
        )
        yield Table(
            "W8",
            "64-512-10, m = 1000",
            name,
            "student-steps",
            f"Adam of the biases of {batch} relu students 64-512-10, 1000 samples, {steps} steps in one call, {options.threads} threads",
            timings,
            2 * 1000 * 2 * 512 * 10,
            FLOP_TEXT,
            machine.peak(np.dtype(dtype).itemsize * 8, options.threads),
            goal_of("W8", name, "64-512-10, m = 1000"),
        )

    def point(**sizes):
        problem = problem_of(np.float32, **{"students": 8, **sizes})
        return lambda: fit(problem, 5, options.threads), 5 * len(problem.theta)

    what = "float32, h = 512, m = 1000, 8 students, all threads, 5 steps"
    yield sweep("W8", "h", what, "student-step", (64, 256, 1024, 4096), lambda hidden: point(hidden=hidden), options)
    yield sweep("W8", "m", what, "student-step", (100, 1000, 10000), lambda samples: point(samples=samples), options)
