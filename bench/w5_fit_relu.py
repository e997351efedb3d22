"""W5: masked gradient descent of shallow relu students on inputs shared by all of them.

4096 students 5-8-2 with m = 16 or 64 samples; 16 of the 56 weights learn, another 16 for every student. And 512 students 20-64-5 with
64 samples, where 100 of the 1600 weights learn. Loss = sum over outputs and samples of (y - y*)^2, learning rate 0.01 / m. Ours is
`sl.fit(..., optimizer="sgd")` with x without a batch axis. The peers compute the dense gradient and mask it, and may run fewer steps: rates
are per student and step. Activities of a peer are [hidden, samples], or, where it says "samples first", [samples, hidden], as one would
write it for one network: the form that "must" was measured with, and mostly the slower one. Before the timing each peer's loss after
CHECK_STEPS steps, computed from its weights in numpy, must be ours.

FLOP of one student-step, dense: 2 m (2 i h + 3 h o): the first layer forward and its gradient, the second layer forward, its gradient and
its adjoint. Ours leaves out what does not learn where that is faster, so the share of the peak can pass 100 %.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

import sublearn as sl

from . import machine
from .fit_peers import CHECK_STEPS, NAMES, candidate, compiling_torch, peers, same_loss
from .harness import OURS, Candidate, Options, Peer, Sweep, Table, goal_of, measure, short, sweep, thread_steps
from .libraries import jax_cpu, torch_cpu

STUDENTS, BUDGET = 4096, 16
SAMPLES_FIRST = ", samples first"
FLOP_TEXT = "2 m (2 i h + 3 h o), the gradient dense"


@dataclass(frozen=True)
class Problem:
    net: sl.Feedforward
    theta: np.ndarray  # [batch, size] flat: W1 [h, i], then W2 [o, h]
    x: np.ndarray  # [i, m], shared by all students
    y: np.ndarray  # [batch, o, m]
    mask: np.ndarray  # bool [batch, size]
    widths: tuple[int, int, int]

    @property
    def lr(self) -> float:
        return 0.01 / self.x.shape[1]


def problem_of(
    dtype: type,
    samples: int = 16,
    students: int = STUDENTS,
    hidden: int = 8,
    budget: int = BUDGET,
    seed: int = 0,
    inputs: int = 5,
    outputs: int = 2,
) -> Problem:
    widths = (inputs, hidden, outputs)
    net = sl.Feedforward(widths, samples, activation="relu")
    trials = sl.draw_trials(net, sl.scattered(net, budget), students, seed=seed, dtype=dtype)
    x = np.ascontiguousarray(trials.x[0])
    return Problem(net, trials.student, x, sl.outputs(net, trials.teacher, x), trials.mask, widths)


def loss(problem: Problem, theta: np.ndarray) -> np.ndarray:
    """[batch], in float64: what every candidate must lower alike."""
    i, h, o = problem.widths
    theta, x = theta.astype(np.float64), problem.x.astype(np.float64)
    z = np.maximum(theta[:, : h * i].reshape(-1, h, i) @ x, 0)
    return ((theta[:, h * i :].reshape(-1, o, h) @ z - problem.y) ** 2).sum(axis=(1, 2))


def fit(problem: Problem, steps: int, threads: int) -> sl.FitResult:
    return sl.fit(
        problem.net, problem.theta, problem.x, problem.y, problem.mask, steps=steps, optimizer="sgd", lr=problem.lr, threads=threads
    )


def _torch_bmm(problem: Problem, options: Options) -> Candidate:
    torch = torch_cpu(options)
    i, h, o = problem.widths
    X, Y = torch.from_numpy(problem.x), torch.from_numpy(problem.y)
    M = torch.from_numpy(problem.mask.astype(problem.theta.dtype))

    def train(steps: int):
        theta = torch.tensor(problem.theta, requires_grad=True)
        sgd = torch.optim.SGD([theta], lr=problem.lr)
        for _ in range(steps):
            sgd.zero_grad(set_to_none=True)
            z = torch.relu(torch.matmul(theta[:, : h * i].view(-1, h, i), X))
            e = torch.bmm(theta[:, h * i :].view(-1, o, h), z) - Y
            (e * e).sum().backward()
            theta.grad.mul_(M)
            sgd.step()
        return theta.detach()

    return candidate("torch", train, len(Y), 5 if options.quick else 20)


def _torch_compile(problem: Problem, options: Options, samples_first: bool = False) -> Candidate:
    torch = compiling_torch(options)
    torch.compiler.reset()  # it stops compiling after eight sizes
    i, h, o = problem.widths
    X, Y, M = (torch.from_numpy(a) for a in _arrays(problem, samples_first))
    lr = problem.lr

    def loss(w, y):
        W1, W2 = w[: h * i].view(h, i), w[h * i :].view(o, h)
        e = (torch.relu(X @ W1.T) @ W2.T if samples_first else W2 @ torch.relu(W1 @ X)) - y
        return (e * e).sum()

    gradient = torch.func.vmap(torch.func.grad(loss))
    step = torch.compile(lambda theta: theta - lr * (gradient(theta, Y) * M))

    def train(steps: int):
        theta = torch.tensor(problem.theta)
        for _ in range(steps):
            theta = step(theta)
        return theta

    return candidate("torch compiled" + SAMPLES_FIRST * samples_first, train, len(Y), 20)


def _jax(problem: Problem, options: Options, samples_first: bool = False) -> Candidate:
    jax, jnp = jax_cpu()
    i, h, o = problem.widths
    X, Y, M = (jnp.asarray(a) for a in _arrays(problem, samples_first))
    start, lr = jnp.asarray(problem.theta), problem.lr

    def loss(w, y):
        W1, W2 = w[: h * i].reshape(h, i), w[h * i :].reshape(o, h)
        e = (jax.nn.relu(X @ W1.T) @ W2.T if samples_first else W2 @ jax.nn.relu(W1 @ X)) - y
        return (e * e).sum()

    gradient = jax.vmap(jax.grad(loss))

    def body(theta, _):
        return theta - lr * (gradient(theta, Y) * M), None

    train = jax.jit(lambda theta, steps: jax.lax.scan(body, theta, None, length=steps)[0], static_argnums=1)
    return candidate(
        "jax" + SAMPLES_FIRST * samples_first, lambda steps: train(start, steps).block_until_ready(), len(Y), 10 if options.quick else 50
    )


def _arrays(problem: Problem, samples_first: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, y and the mask as numbers; x and y [.., m] or [m, ..]."""
    x, y = (problem.x.T, problem.y.transpose(0, 2, 1)) if samples_first else (problem.x, problem.y)
    return np.ascontiguousarray(x), np.ascontiguousarray(y), problem.mask.astype(problem.theta.dtype)


PEERS = (
    *peers(torch=_torch_bmm, torch_compiled=_torch_compile, jax=_jax),
    *(
        Peer(NAMES[library] + SAMPLES_FIRST, library.split()[0], partial(build, samples_first=True))
        for library, build in (("torch compiled", _torch_compile), ("jax", _jax))
    ),
)


CASES = {  # how each table names its case in goals.toml
    "m = 16": {"samples": 16},
    "m = 64": {"samples": 64},
    "20-64-5": {"samples": 64, "students": 512, "inputs": 20, "hidden": 64, "outputs": 5, "budget": 100},
}


def run(options: Options) -> Iterator[Table | Sweep]:
    threads = options.threads
    for case, sizes in CASES.items():
        for dtype in (np.float32, np.float64):
            name = np.dtype(dtype).name
            students = sizes.get("students", STUDENTS) // (8 if options.quick else 1)
            problem = problem_of(dtype, **{**sizes, "students": students})
            i, h, o = problem.widths
            m, steps = sizes["samples"], 50 if options.quick else 200
            reached, first = fit(problem, CHECK_STEPS, threads).loss, loss(problem, problem.theta)
            timings = measure(
                Candidate(OURS, OURS, lambda p=problem, s=steps: fit(p, s, threads), students * steps),
                PEERS,
                problem,
                options,
                lambda peer: same_loss(reached, first, loss(problem, peer.answer()), name),
            )
            table = Table(
                "W5",
                case,
                name,
                "student-steps",
                f"gradient descent of {students} relu students {i}-{h}-{o}, {m} samples, "
                f"{sizes.get('budget', BUDGET)} learnable weights each, {steps} steps in one call, {threads} threads",
                timings,
                2 * m * (2 * i * h + 3 * h * o),
                FLOP_TEXT,
                machine.peak(np.dtype(dtype).itemsize * 8, threads),
                goal_of("W5", name, case),
            )
            ratio = table.ratio(table.best_peer)
            if ratio is not None:
                table.notes.append(f"x{short(ratio)} the best peer, {table.best_peer.name}")
            yield table
    yield from sweeps(options)


def sweeps(options: Options) -> Iterator[Sweep]:
    """How our cost grows, from one base case."""
    what = "float32, h = 8, r = 16, m = 16, batch 4096, all threads, 50 steps"

    def point(threads=options.threads, **sizes):
        problem = problem_of(np.float32, **sizes)
        return lambda: fit(problem, 50, threads), 50 * len(problem.theta)

    unit = "student-step"
    yield sweep("W5", "h", what, unit, (4, 8, 12, 16, 32), lambda h: point(hidden=h), options)
    yield sweep("W5", "r", what, unit, (1, 4, 16, 32, 56), lambda r: point(budget=r), options)
    yield sweep("W5", "m", what, unit, (4, 16, 64, 256), lambda m: point(samples=m, students=STUDENTS if m <= 64 else 1024), options)
    yield sweep("W5", "batch", what, unit, (1, 16, 256, 4096, 16384), lambda batch: point(students=batch), options)
    yield sweep("W5", "threads", what, unit, thread_steps(options), lambda threads: point(threads=threads), options)
