"""W7: Adam of the biases of tanh recurrent students, all steps in one call.

256 students 3-64-3, T = 100 steps, each with random weights of its own; b and c learn, all else is frozen. Loss = sum over the outputs of
(y - y*)^2, learning rate 0.001. The peers differentiate in b and c only, as one would write it; weights and data are arguments of what jax
compiles, so that it folds nothing. Before the timing each peer's loss after CHECK_STEPS steps, computed from its biases in numpy, must be
ours. One thread: goals are per core.

FLOP of one student-step: 2 T 2 (n^2 + 2 n o), forward and back through h: W h and its adjoint are n^2 multiply-adds each, B x, D h and its
adjoint o n (i = o).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

import sublearn as sl

from . import machine
from .fit_peers import CHECK_STEPS, candidate, peers, same_loss, scan_of
from .harness import OURS, Candidate, Options, Sweep, Table, goal_of, measure, sweep
from .libraries import jax_cpu, torch_cpu

STUDENTS, LR = 256, 1e-3
FLOP_TEXT = "2 T 2 (n^2 + 2 n o), through the activities only"


@dataclass(frozen=True)
class Problem:
    net: sl.Recurrent
    theta: np.ndarray  # [batch, size]
    x: np.ndarray  # [batch, T, i]
    y: np.ndarray  # [batch, T, o]

    @property
    def parts(self) -> dict[str, np.ndarray]:
        return {name: np.ascontiguousarray(part) for name, part in self.net.unpack(self.theta).items()}


def problem_of(dtype: type, students: int = STUDENTS, n: int = 64, steps: int = 100, seed: int = 0) -> Problem:
    net = sl.Recurrent(3, n, 3, steps, activation="tanh", bias=True)
    trials = sl.draw_trials(net, sl.only(net, "b", "c"), students, shared=(), seed=seed, dtype=dtype)
    return Problem(net, trials.student, trials.x, trials.y)


def loss(problem: Problem, biases: np.ndarray) -> np.ndarray:
    """[batch], in float64: what every candidate must lower alike. biases [batch, n + o]: b, then c."""
    n = problem.net.hidden
    parts = {name: part.astype(np.float64) for name, part in problem.parts.items()}
    biases, x = biases.astype(np.float64), problem.x.astype(np.float64)
    h, total = np.zeros((len(x), n)), np.zeros(len(x))
    for t in range(x.shape[1]):
        z = np.einsum("bij,bj->bi", parts["W"], h) + np.einsum("bij,bj->bi", parts["B"], x[:, t]) + biases[:, :n]
        h = np.tanh(z)
        total += ((np.einsum("boi,bi->bo", parts["D"], h) + biases[:, n:] - problem.y[:, t]) ** 2).sum(axis=1)
    return total


def fit(problem: Problem, steps: int, threads: int) -> sl.FitResult:
    learn = sl.only(problem.net, "b", "c")
    return sl.fit(problem.net, problem.theta, problem.x, problem.y, learn, steps=steps, lr=LR, compact=True, threads=threads)


def _torch(problem: Problem, options: Options) -> Candidate:
    torch = torch_cpu(options)
    parts = {name: torch.from_numpy(part) for name, part in problem.parts.items()}
    x, y = torch.from_numpy(problem.x), torch.from_numpy(problem.y)
    W, D = parts["W"], parts["D"].transpose(1, 2)
    drive = torch.bmm(x, parts["B"].transpose(1, 2))

    def train(steps: int):
        b, c = parts["b"].clone().requires_grad_(), parts["c"].clone().requires_grad_()
        adam = torch.optim.Adam([b, c], lr=LR)
        for _ in range(steps):
            adam.zero_grad(set_to_none=True)
            h, hs = torch.zeros_like(b), []
            for t in range(x.shape[1]):
                h = torch.tanh(torch.bmm(W, h[:, :, None])[:, :, 0] + drive[:, t] + b)
                hs.append(h)
            e = torch.bmm(torch.stack(hs, 1), D) + c[:, None] - y
            (e * e).sum().backward()
            adam.step()
        return torch.cat([b, c], 1).detach()

    return candidate("torch", train, len(x), 1)


def _jax(problem: Problem, options: Options) -> Candidate:
    jax, jnp = jax_cpu()
    given = {name: jnp.asarray(part) for name, part in problem.parts.items()}
    x, y, n = jnp.asarray(problem.x), jnp.asarray(problem.y), problem.net.hidden
    start = jnp.concatenate([given["b"], given["c"]], 1)

    def loss(biases, given, x, y):
        def step(h, x):
            h = jnp.tanh(given["W"] @ h + given["B"] @ x + biases[:n])
            return h, given["D"] @ h + biases[n:]

        e = jax.lax.scan(step, jnp.zeros(n, x.dtype), x)[1] - y
        return (e * e).sum()

    gradient = jax.vmap(jax.grad(loss))
    train = jax.jit(lambda w, steps, *data: scan_of(jax, jnp, w, lambda w: gradient(w, *data), steps, LR), static_argnums=1)
    return candidate("jax", lambda steps: train(start, steps, given, x, y).block_until_ready(), len(x), 2 if options.quick else 10)


PEERS = peers(torch=_torch, jax=_jax)


def run(options: Options) -> Iterator[Table | Sweep]:
    for dtype in (np.float32, np.float64):
        name = np.dtype(dtype).name
        problem = problem_of(dtype, 32 if options.quick else STUDENTS)
        batch, steps = len(problem.theta), 5 if options.quick else 50
        reached, first = fit(problem, CHECK_STEPS, 1).loss, fit(problem, 0, 1).loss
        timings = measure(
            Candidate(OURS, OURS, lambda p=problem, s=steps: fit(p, s, options.threads), batch * steps),
            PEERS,
            problem,
            options,
            lambda peer: same_loss(reached, first, loss(problem, peer.answer()), name),
        )
        n, o, T = problem.net.hidden, problem.net.outputs, problem.net.steps
        yield Table(
            "W7",
            "3-64-3, T = 100",
            name,
            "student-steps",
            f"Adam of the biases of {batch} tanh recurrent students 3-64-3, T = 100, {steps} steps in one call, {options.threads} threads",
            timings,
            2 * T * 2 * (n * n + 2 * n * o),
            FLOP_TEXT,
            machine.peak(np.dtype(dtype).itemsize * 8, options.threads),
            goal_of("W7", name, "3-64-3, T = 100"),
        )

    def point(**sizes):
        problem = problem_of(np.float32, **{"students": 64, **sizes})
        return lambda: fit(problem, 5, options.threads), 5 * len(problem.theta)

    what = "float32, n = 64, T = 100, 64 students, all threads, 5 steps"
    yield sweep("W7", "n", what, "student-step", (16, 32, 64, 128, 256), lambda n: point(n=n), options)
    yield sweep("W7", "T", what, "student-step", (10, 100, 1000), lambda T: point(steps=T), options)
