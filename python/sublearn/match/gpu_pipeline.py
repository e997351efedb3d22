"""Trials that are drawn, screened and searched on a GPU and never leave it: a class and the start that matched are what comes back.

A chunk of trials is one sequence of kernels on one stream: draw (D3), the teacher's outputs, which weights learn, rank screen (T1), path
rule (T2), search. Two chunks are under way at a time, so the GPU has work while the CPU counts. Device memory is planned beforehand.
Where outputs are affine in the learnable weights (T2, T11), start 0 of Newton's method solves the linear system; the trials that it
leaves open, and with method "descent" all of them, are fetched for the solve of match/decide.py, which can also say no.
Step 0 of `decide` has nothing to do: the teacher of a drawn trial does share these groups.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..backend.compiled import cuda_module
from ..backend.memory import byte_count, memory_limit, rows_at_once
from ..data.trials import Trials
from ..existence.verdicts import Verdicts
from ..model.layers import has_effect, plain
from ..model.network import Network
from ..model.reasons import Reason
from ..model.strategy import Strategy
from ..ops.arguments import thread_count
from ..ops.fit import OPTIMIZERS
from ..ops.search import start_scale
from ..ranks.affine import affine, affine_families
from ..ranks.generic_rank import attained_ranks, point, required_rank
from .decide import decide_drawn
from .linear_solve import solve_affine
from .methods import METHODS
from .problem import Data
from .question import Question

TRIALS_AT_ONCE = 2**18  # of a chunk: a GPU needs tens of thousands of students at a time, and about a second per chunk lets Ctrl-C through
_SCREEN_BYTES = 2**26  # of matrices whose ranks are taken at a time
_POINTS = 2  # primes that must agree on a no (T1)


def applies(net: Network, strategy: Strategy, method: str) -> bool:
    """Whether the GPU can decide most trials: not where all are linear systems that the method does not solve."""
    return method == "newton" or (method in METHODS and not affine(net, strategy.support[None])[0])


def chunks(
    question: Question, first: int, trials: int, keep_masks: bool, threads: int | None = None
) -> Iterator[tuple[Verdicts, np.ndarray | None]]:
    """(Verdicts without theta, masks or None) of trials first .. first + trials - 1, in order."""
    asked = _Question(question, threads)
    found = _screened(asked, trials) if asked.hopeless else _searched(asked, first, trials)
    for part in found:
        yield part, question.strategy.masks(question.seed, question.task, first, len(part.match)) if keep_masks else None
        first += len(part.match)


def _screened(asked: _Question, trials: int) -> Iterator[Verdicts]:
    for begin in range(0, trials, TRIALS_AT_ONCE):
        found = _nothing_known(min(TRIALS_AT_ONCE, trials - begin), Reason.RANK)
        found.settle(slice(None), 0, Reason.RANK, certified=True)
        yield found


def _nothing_known(count: int, reason: str) -> Verdicts:
    """Verdicts without theta, which stays on the GPU."""
    return Verdicts.undecided(np.empty((count, 0)), reason)


def _searched(question: _Question, first: int, trials: int) -> Iterator[Verdicts]:
    module, device = cuda_module()[0], 0
    limit = memory_limit(module, device)
    many = question.trials_at_once(trials, limit) < trials
    size = question.trials_at_once(trials, limit // 2) if many else trials
    in_flight = [_ChunkInFlight(module, device, question, size) for _ in range(1 + many)]
    begins = iter(range(first, first + trials, size))
    launch = lambda chunk, begin: chunk.launch(begin, min(size, first + trials - begin))  # noqa: E731
    for chunk, begin in zip(in_flight, begins):
        launch(chunk, begin)
    waiting = in_flight
    while waiting:
        chunk, *waiting = waiting
        found = chunk.collect()
        if (begin := next(begins, None)) is not None:
            launch(chunk, begin)
            waiting.append(chunk)
        yield found


class _Question:
    """What is asked of every trial, with what the CPU can say beforehand."""

    def __init__(self, question: Question, threads: int | None) -> None:
        self.law, strategy, self.settings, self.seed, self.task = question
        self.strategy, self.threads = strategy, threads
        self.method, self.options, self.tol, screen = self.settings
        self.net, self.shared, self.gains = self.law.net, self.law.shared, list(self.law.gains)
        net, shared, self.starts = self.net, self.shared, self.options["starts"]
        self.allocation = strategy.allocation  # None: every trial has its own
        ranked = screen and net.activation != "relu"
        self.required = required_rank(net, shared) if ranked else 0
        self.hopeless = strategy.budget < self.required
        if ranked and self.allocation is not None:
            self.hopeless = bool(attained_ranks(net, self.allocation.mask[None], shared)[0] < self.required)
        self.affine = self.allocation is not None and bool(affine(net, self.allocation.mask[None])[0])
        self.learns = [bool(strategy.support[where].any()) for where in net.slices.values()]
        self.scale = start_scale(net, np.array(self.gains)).tolist()

    @property
    def rows(self) -> dict[str, tuple[tuple[int, ...], type]]:
        """The device arrays of a trial: name -> (shape, dtype)."""
        net = self.net
        rows = {
            "teacher": ((net.size,), np.float64),
            "student": ((net.size,), np.float64),
            "x": ((net.shape.inputs_size,), np.float64),
            "y": ((net.equations,), np.float64),
            "loss": ((), np.float64),
            "found": ((), np.int32),
        }
        if self.allocation is None:
            rows |= {"mask": ((net.size,), np.bool_), "indices": ((self.strategy.budget,), np.intc)}
        if self.allocation is None or self.affine:
            rows |= {"class": ((), np.int8)}
        if self.method == "newton":
            return rows | {"trial": ((), np.uint32)}
        return rows | {"steps": ((), np.int64), "status": ((), np.int8)}

    @property
    def constants(self) -> dict[str, np.ndarray]:
        """The device arrays that all trials share."""
        if self.allocation is not None:
            return {"indices": np.flatnonzero(self.allocation.mask)[None].astype(np.intc)}
        net = plain(self.net)
        points = [point(net, draw)[0][:, :-1] for draw in range(_POINTS)] if self.required else []
        jacobian = np.array(points, np.int64).reshape(len(points), net.equations, net.size)
        return {"jacobian": jacobian, **affine_tables(self.net)}

    @property
    def matrix_bytes(self) -> int:
        """Of device memory for each trial of those that are ranked at a time; large matrices are copied."""
        return 12 * self.net.equations * self.strategy.budget + 8 * _POINTS if self.allocation is None and self.required else 0

    def trials_at_once(self, trials: int, limit: int) -> int:
        """The largest chunk whose device memory stays below `limit` bytes. MemoryError if no trial fits."""
        per = sum(byte_count(*row) for row in self.rows.values()) + 4  # a lock
        per += sum(4 * (len(piece.offsets) - 1 + int(np.diff(piece.offsets).max())) for piece in self.strategy.recipe[1])  # shuffled lists
        fixed = sum(array.nbytes for array in self.constants.values()) + 8 * self.net.size + 16
        most = min(trials, TRIALS_AT_ONCE)
        if not self.matrix_bytes:
            return rows_at_once(most, per, fixed, limit, "match_probability")
        together = rows_at_once(most, per + self.matrix_bytes, fixed, limit, "match_probability")
        if together <= self.ranked_at_once:
            return together
        return rows_at_once(most, per, fixed + self.matrix_bytes * self.ranked_at_once, limit, "match_probability")

    @property
    def ranked_at_once(self) -> int:
        return max(1, _SCREEN_BYTES // self.matrix_bytes) if self.matrix_bytes else 1


def affine_tables(net: Network) -> dict[str, np.ndarray]:
    """inside, outside int32 [families, size] of ops/screen.h, from `affine_families`."""
    net, module = plain(net), cuda_module()[0]
    idle, inside, outside = ~has_effect(net), [], []
    for family in affine_families(net):
        inside.append(np.where(family.allowed, family.inside, module.NOT_ALLOWED))
        outside.append(family.outside.copy())
        inside[-1][idle] = outside[-1][idle] = -1
    return {"inside": np.array(inside, np.intc), "outside": np.array(outside, np.intc)}


class _ChunkInFlight:
    """One of the chunks under way: its stream, arrays, and pinned memory for what comes back. Once collected, the next takes them."""

    def __init__(self, module: Any, device: int, question: _Question, count: int):
        self._module, self._device, self._asked = module, device, question
        self._queue = module.Queue(device)
        new = lambda shape, dtype: module.Array(list(shape), np.dtype(dtype), device, self._queue)  # noqa: E731
        self._rows = {name: new((count, *shape), dtype) for name, (shape, dtype) in question.rows.items()}
        self._constants = {}
        for name, array in question.constants.items():
            self._constants[name] = new(array.shape, array.dtype)
            self._constants[name].upload(np.ascontiguousarray(array), self._queue.stream)
        self._iterations = new((1,), np.int64)
        back = ("found", "class") if "class" in self._rows else ("found",)
        self._back = {name: module.pinned([count], self._rows[name].dtype, self._queue) for name in back}
        self._numbers = module.pinned([count], np.dtype(np.uint32), self._queue)
        self._first = self._count = 0
        if question.affine:
            self._rows["class"].upload(np.full(count, module.AFFINE, np.int8), self._queue.stream)

    def launch(self, first: int, count: int) -> None:
        """Queues trials first .. first + count - 1; waits for none of their kernels."""
        asked, module, stream = self._asked, self._module, self._queue.stream
        self._first, self._count = first, count
        shape, strategy = asked.net.shape, asked.strategy
        a = {name: rows.rows(0, count) for name, rows in self._rows.items()}
        if asked.method == "newton":  # first: an upload from pinned memory waits for its stream, on which nothing runs yet
            self._numbers[:count] = np.arange(first, first + count, dtype=np.uint32)
            a["trial"].upload(self._numbers[:count], stream)
        module.draw(
            shape,
            asked.seed,
            asked.task,
            first,
            asked.law.is_shared.tolist(),
            asked.gains,
            strategy.recipe,
            a["teacher"],
            a["student"],
            a["x"],
            a.get("mask"),
            stream,
        )
        module.outputs(shape, a["teacher"], a["x"], a["y"], stream)
        indices = a["indices"] if asked.allocation is None else self._constants["indices"]
        if asked.allocation is None:
            c = self._constants
            primes = [point(plain(asked.net), k)[1] for k in range(c["jacobian"].shape[0])]
            module.screen(
                a["mask"],
                c["jacobian"],
                primes,
                asked.required,
                c["inside"],
                c["outside"],
                asked.ranked_at_once,
                indices,
                a["class"],
                stream,
            )
        if asked.method == "newton":
            module.newton(
                shape,
                a["student"],
                a["x"],
                a["y"],
                indices,
                asked.learns,
                asked.scale,
                asked.starts,
                asked.options["iterations"],
                asked.tol,
                asked.seed,
                asked.task,
                a["trial"],
                None,
                a["loss"],
                a["found"],
                self._iterations,
                stream,
                a.get("class"),
            )
        else:
            o = asked.options
            module.fit(
                shape,
                a["student"],
                a["x"],
                a["y"],
                indices,
                asked.learns,
                o["steps"],
                OPTIMIZERS.index(o["optimizer"]),
                o["lr"],
                asked.tol,
                None,
                a["loss"],
                a["steps"],
                a["status"],
                stream,
                a.get("class"),
            )
            module.found_by_loss(a["loss"], a["y"], asked.tol, a.get("class"), a["found"], stream)
        for name, to in self._back.items():
            a[name].carry(to, stream)

    def collect(self) -> Verdicts:
        """Waits for the chunk."""
        self._queue.wait()
        count, module = self._count, self._module
        found = _nothing_known(count, self._asked.method)
        found.start[:] = np.maximum(self._back["found"][:count], -1)
        found.match[found.start >= 0] = 1
        if "class" in self._back:
            kind = self._back["class"][:count]
            straight = kind == module.AFFINE
            found.settle(kind == module.NO, 0, Reason.RANK, certified=True)
            found.reason[straight] = Reason.REGIONS if self._asked.net.activation == "relu" else Reason.AFFINE
            rows = np.flatnonzero(straight & (found.start < 0))
            if len(rows):
                found.match[rows], found.start[rows], found.reason[rows] = self._solve(rows)
        return found

    def _solve(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """match, start and reason of affine trials; what a linear solve leaves open is searched on the CPU."""
        asked, net = self._asked, self._asked.net
        take = lambda name: self._rows[name].take(rows.astype(np.intc), self._queue.stream)  # noqa: E731
        masks = take("mask") if asked.allocation is None else np.broadcast_to(asked.allocation.mask, (len(rows), net.size))
        data = Data(take("student"), take("x"), take("y"), masks)
        match = solve_affine(asked.law, data, asked.tol, thread_count(asked.threads))
        start = np.where(match == 1, 0, -1).astype(np.int32)
        reason = np.full(len(rows), "T11" if net.activation == "relu" else "T2", dtype="<U8")
        for k in np.flatnonzero(match == -1):
            theta, x, y = data.theta[k : k + 1], data.x[k].reshape(1, *net.x_shape), data.y[k].reshape(1, *net.y_shape)
            number = self._first + int(rows[k])
            trial = Trials(asked.law, theta, theta, x, y, masks[k : k + 1], asked.seed, asked.task, number)  # searches need no teacher
            one = decide_drawn(trial, asked.settings._replace(screen=False), threads=asked.threads, backend="cpu")
            match[k], start[k], reason[k] = int(one.match[0]), int(one.start[0]), str(one.reason[0])
        return match, start, reason
