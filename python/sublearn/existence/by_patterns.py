"""Exact verdicts (T11) of relu networks that learn in one hidden layer only, at any depth: a search over activation patterns.

A joint pattern fixes which units are on, in the learning layer and in all hidden layers above it, in every sample; whether some weights
give it and match is one linear programme (existence/pattern_programmes.py), and all joint patterns are searched, depth first, sample by
sample:

- a sample alone must be able to meet its target. Its patterns are listed layer by layer from the top, and every partial pattern that no
  activities of the layer below can give is dropped with all that would continue it;
- a unit of the learning layer must be able to have its signs in all samples so far. Its patterns are those of the cells of its own
  affine space (by Zaslavsky at most sum_{k <= d_j} C(m, k)), listed once;
- the programme of all samples so far must be feasible.

Programmes are solved side by side by the simplex method (numerics/simplex.py), batched over trials and samples.

Answers: yes (a solution with a margin; the weights are returned), no (everything that was dropped misses by more than the tolerance),
undecided (neither, or more than MOST programmes). All up to rounding, but a yes is proven afterwards where the weights can be moved
inside their pattern (existence/pattern_proofs.py).
Cost, one core: 3-4-2, m = 3 (nine learnable in W1) 2 ms per trial; learning W1 of 2-3-3-2, m = 3: 2 ms, of 3-4-4-2, m = 3: 8 ms, of
3-5-5-2, m = 3: 25 ms. Joint patterns of one sample are at most
2^(units that can be on or off), those of all samples a product of which the rules leave little.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import numpy as np

from ..model.network import Feedforward, Network
from ..model.reasons import Reason
from ..numerics.simplex import TOLERANCE, feasible
from .pattern_programmes import OneLayer, layer_names
from .pattern_proofs import prove, reads_nothing
from .verdicts import Verdicts

MOST = 20_000  # programmes of one trial that are solved
_MARGINS = (1e-2, 1e-4, 1e-6, 1e-8)  # tried, for a solution that is no corner
_EPS = float(np.finfo(np.float64).eps)
_BYTES = 2**24  # of tableaux solved side by side
_TRIALS = 64  # searched side by side
_BLOCK = 64  # nodes of one trial that are continued in the first round; four times as many in every later one
_MOST_BLOCK = 4096
_MOST_SAMPLES = 8  # 2^m patterns are listed per unit


def applies(net: Network, masks: np.ndarray) -> np.ndarray:
    """bool [n] for masks bool [n, size]: learnable weights only in one hidden layer (its biases included) of a relu network."""
    if not isinstance(net, Feedforward) or net.activation != "relu" or len(net.widths) < 3 or net.samples > _MOST_SAMPLES:
        return np.zeros(len(masks), dtype=bool)
    return _layer(net, masks) > 0


def _layer(net: Feedforward, masks: np.ndarray) -> np.ndarray:
    """int [n]: the hidden layer that holds all learnable weights (the last one if there are none), 0 if there is no such layer."""
    found = np.zeros(len(masks), dtype=np.int64)
    for k in range(1, len(net.widths) - 1):
        other = np.ones(net.size, dtype=bool)
        for name in layer_names(net, k):
            other[net.slices[name]] = False
        found[~masks[:, other].any(axis=1)] = k
    return found


def settle(net: Feedforward, theta: np.ndarray, x: np.ndarray, y: np.ndarray, masks: np.ndarray, eps: float = _EPS) -> Verdicts:
    """Verdicts of n trials for which `applies`: theta [n, size], x [n, inputs], y [n, equations]. eps: what the numbers were rounded to;
    where that moves the programmes by more than their tolerance, there is no no. certified: a true solution lies next to theta."""
    answer = Verdicts.undecided(theta, Reason.REGIONS)
    layers = _layer(net, masks)
    for k in np.unique(layers):
        rows = np.flatnonzero(layers == k)
        for at in range(0, len(rows), _TRIALS):
            _settle(net, k, rows[at : at + _TRIALS], theta, x, y, masks, answer, eps)
    return answer


def _settle(net, k, rows, theta, x, y, masks, answer: Verdicts, eps: float) -> None:
    trials = [OneLayer(net, k, theta[q], x[q].reshape(net.x_shape), y[q].reshape(net.y_shape), masks[q]) for q in rows]
    nothing = np.array([trial.asks_for_nothing() for trial in trials])
    for q in rows[nothing]:  # weights of zero do that; but no pattern may have this with a margin
        answer.match[q], answer.theta[q, masks[q]] = 1, 0.0
    if nothing.any():
        answer.certified[rows[nothing]] = reads_nothing(
            net, k, theta[rows[nothing]], x[rows[nothing]], y[rows[nothing]], masks[rows[nothing]]
        )
    rows, trials = rows[~nothing], [trial for trial, none in zip(trials, nothing) if not none]
    if not trials:
        return
    units = [[trial.unit_patterns(j) for j in range(trial.n)] for trial in trials]
    searches = [_Search(*each) for each in zip(trials, units, _patterns_of_samples(trials, units))]
    while True:
        asked = [(search, step) for search in searches if (step := search.next_step()) is not None]
        if not asked:
            break
        for (search, step), (status, v) in zip(asked, _solve([search.job(step) for search, step in asked])):
            search.take(step, status, v)
    yes = [s for s, search in enumerate(searches) if search.match == 1]
    answer.match[rows] = [
        -1 if search.match == 0 and trial.rounding(eps) > TOLERANCE else search.match for trial, search in zip(trials, searches)
    ]
    if yes:
        at = rows[yes]
        answer.theta[at] = [searches[s].weights() for s in yes]
        patterns = np.stack([searches[s].pattern() for s in yes])
        answer.theta[at], answer.certified[at] = prove(net, k, answer.theta[at], x[at], y[at], masks[at], patterns)


def _patterns_of_samples(trials: list[OneLayer], units: list[list[np.ndarray]]) -> list[list[np.ndarray] | None]:
    """Per trial and sample bool [c, total], the joint patterns with which this sample alone can meet its target; None: too many to list."""
    places = [(t, i) for t, trial in enumerate(trials) for i in range(trial.m)]
    known = {place: np.zeros((1, 0), dtype=bool) for place in places}  # of the layers above
    many = set()
    for layer in range(len(trials[0].units) - 1, -1, -1):
        jobs = []
        for t, i in places:
            trial, upper = trials[t], known[t, i]
            choices = [np.unique(unit[:, i]) for unit in units[t]] if layer == 0 else [np.array([False, True])] * trial.units[layer]
            if t in many or len(upper) * np.prod([float(len(c)) for c in choices]) > MOST:
                many.add(t)
                known[t, i] = upper[:0]
                continue
            own = np.array(list(product(*choices)), dtype=bool).reshape(-1, len(choices))
            on = np.concatenate([np.repeat(own, len(upper), axis=0), np.tile(upper, (len(own), 1))], axis=1)
            on = known[t, i] = on[~(trial.silent(on, layer) & on[:, trial.units[layer] :]).any(axis=1)]
            jobs.append(((t, i), _of_sample(trial, i, on, layer)))
        for (place, _), (status, _) in zip(jobs, _solve([job for _, job in jobs])):
            known[place] = known[place][status != 0]
    return [None if t in many else [known[t, i] for i in range(trial.m)] for t, trial in enumerate(trials)]


def _of_sample(trial: OneLayer, i: int, on: np.ndarray, layer: int) -> _Job:
    """Programmes of one sample with the patterns of all layers from number `layer` on.

    Where everything that is asked for is zero, activities count up to a factor, and activities of zero are what the pattern with all units
    off has: others must have activities of sum 1 in this layer.
    """
    if layer == 0:
        rest = trial.units_of([i])
        build, at = lambda where: trial.programmes([i], on[where, None], rest), 0
        size = trial.shape(1, rest)
        free = not any(N.size for N in rest)
    else:
        at, free = trial.units[layer - 1], True
        whole = np.concatenate([np.ones((len(on), at), dtype=bool), on], axis=1)  # below: any activities >= 0
        build, size = lambda where: trial.sample(i, whole[where], layer - 1), trial.upper_shape(layer - 1)
    if not (free and trial.silent_target(i)):
        return _Job(len(on), *size, build)

    def with_sum(where):
        C, e = build(where)
        acts = on[where, : trial.units[layer]]
        row = np.zeros((len(C), 1, C.shape[2]))
        row[:, 0, at : at + acts.shape[1]] = acts
        right = np.broadcast_to(e, C.shape[:2])
        return np.concatenate([C, row], axis=1), np.concatenate([right, acts.any(axis=1, keepdims=True)], axis=1)

    return _Job(len(on), size[0] + 1, size[1], with_sum)


class _Step(NamedTuple):
    """Programmes of one trial: choice int [c, s], the number of the pattern of each of the first s samples; codes int [c, n], per unit of
    the learning layer the bits of its own pattern."""

    choice: np.ndarray
    codes: np.ndarray
    margin: float = 0.0


class _Search:
    """One trial, depth first. match (1, 0, -1) is the answer once `next_step` has nothing to ask.

    A pattern that is neither feasible nor not (a corner without margin: mostly an activity of exactly 0, which another pattern has too) is
    asked again with a margin; if no pattern is feasible in the end, such ones leave the trial undecided.
    """

    def __init__(self, trial: OneLayer, units: list[np.ndarray], samples: list[np.ndarray] | None):
        self.trial, self.match = trial, -1
        self.stack: list[tuple[np.ndarray, np.ndarray]] = []
        self.best: list[np.ndarray] = []  # choices of whole patterns that are no clear no; of the one that is a yes
        self.margins, self.spent, self.block, self.v = list(_MARGINS), 0, _BLOCK, None
        self.doubts: np.ndarray | None = None  # asked again with a margin, at once
        if samples is None or trial.doubtful:
            return
        self.order = sorted(range(trial.m), key=lambda i: len(samples[i]))
        self.samples = [samples[i] for i in self.order]
        self.bits = [on[:, : trial.n].astype(np.int64) << s for s, on in enumerate(self.samples)]
        self.fits = []  # bool [n, 2^s]: can a unit have these signs in the first s samples?
        self.rest = []
        for s in range(1, trial.m + 1):
            table = np.zeros((trial.n, 2**s), dtype=bool)
            for j, unit in enumerate(units):
                table[j, unit[:, self.order[:s]] @ (1 << np.arange(s))] = True
            self.fits.append(table)
            self.rest.append(trial.units_of(self.order[:s]))
        self.match = 0  # until a pattern says otherwise
        self.stack.append((np.zeros((1, 0), dtype=np.int64), np.zeros((1, trial.n), dtype=np.int64)))

    def next_step(self) -> _Step | None:
        if self.doubts is not None:
            doubts, self.doubts = self.doubts, None
            return self._again(doubts, _MARGINS[1])
        while self.stack:
            choice, codes = self.stack.pop()
            s = choice.shape[1]
            count = len(self.samples[s])
            take = max(1, self.block // max(1, count))
            if len(choice) > take:
                self.stack.append((choice[take:], codes[take:]))
                choice, codes = choice[:take], codes[:take]
            codes = (codes[:, None] | self.bits[s]).reshape(-1, self.trial.n)
            good = np.flatnonzero(self.fits[s][np.arange(self.trial.n), codes].all(axis=1))
            if not len(good):
                continue
            choice, codes = np.concatenate([choice[good // count], good[:, None] % count], axis=1), codes[good]
            if s == 0 and self.trial.m > 1:
                self.stack.append((choice, codes))  # a sample alone: known to be feasible
                continue
            self.spent += len(choice)
            if self.spent > MOST:
                self.match, self.stack, self.margins = -1, [], []
                return None
            self.block = min(4 * self.block, _MOST_BLOCK)
            return _Step(choice, codes)
        if self.best and self.margins:
            if self.match == 0:
                self.match = -1
            return self._again(np.concatenate(self.best), self.margins.pop(0))
        return None

    def _again(self, choice: np.ndarray, margin: float) -> _Step:
        return _Step(choice, np.zeros((len(choice), self.trial.n), dtype=np.int64), margin)

    def job(self, step: _Step) -> _Job:
        samples, rest = self.order[: step.choice.shape[1]], self.rest[step.choice.shape[1] - 1]
        return _Job(
            len(step.choice),
            *self.trial.shape(len(samples), rest),
            lambda where: self.trial.programmes(samples, self._on(step.choice[where]), rest),
            step.margin,
        )

    def _on(self, choice: np.ndarray) -> np.ndarray:
        return np.stack([self.samples[s][choice[:, s]] for s in range(choice.shape[1])], axis=1)

    def take(self, step: _Step, status: np.ndarray, v: np.ndarray) -> None:
        if step.choice.shape[1] < self.trial.m:
            keep = status != 0
            self.stack.append((step.choice[keep], step.codes[keep]))
            return
        yes = np.flatnonzero(status == 1)
        if len(yes):
            best = yes[v[yes].max(axis=1).argmin()]
            self.match, self.stack = 1, []
            self.best, self.v = [step.choice[best : best + 1]], v[best]
            if step.margin:
                self.margins = []
        elif not step.margin and (status == -1).any():
            self.doubts = step.choice[status == -1]
            self.best.append(self.doubts)

    def pattern(self) -> np.ndarray:
        """bool [m, total] of the yes."""
        out = np.empty((self.trial.m, self.trial.total), dtype=bool)
        out[self.order] = self._on(self.best[0])[0]
        return out

    def weights(self) -> np.ndarray:
        n, m = self.trial.n, self.trial.m
        u = np.empty((n, m))
        u[:, self.order] = (np.where(self._on(self.best[0])[0], 1.0, -1.0) * self.v.reshape(m, -1))[:, :n].T
        return self.trial.weights(u)


# Programmes of many trials, solved together


class _Job(NamedTuple):
    """count programmes of shape rows x columns, built when they are needed: build(slice) gives C [c, rows, columns], e [c, rows]."""

    count: int
    rows: int
    columns: int
    build: Callable[[slice], tuple[np.ndarray, np.ndarray]]
    margin: float = 0.0


def _solve(jobs: list[_Job]) -> list[tuple[np.ndarray, np.ndarray]]:
    """(status int8 [count], v [count, columns]) of every job; jobs of similar shape are solved together, padded with 0 v = 0."""
    out = [(np.empty(job.count, dtype=np.int8), np.empty((job.count, job.columns))) for job in jobs]
    for members in _alike(jobs):
        rows, columns = (max(getattr(jobs[k], side) for k, _ in members) for side in ("rows", "columns"))
        ends = np.cumsum([0, *(where.stop - where.start for _, where in members)])
        C, e = np.zeros((ends[-1], rows, columns)), np.zeros((ends[-1], rows))
        for (k, where), begin, end in zip(members, ends, ends[1:]):
            C[begin:end, : jobs[k].rows, : jobs[k].columns], e[begin:end, : jobs[k].rows] = jobs[k].build(where)
        status, v = feasible(C, e, jobs[members[0][0]].margin)
        for (k, where), begin, end in zip(members, ends, ends[1:]):
            out[k][0][where], out[k][1][where] = status[begin:end], v[begin:end, : jobs[k].columns]
    return out


def _alike(jobs: list[_Job]) -> list[list[tuple[int, slice]]]:
    """Ranges of every job's programmes, joined to groups of similar shape and bounded size."""
    groups: list[list[tuple[int, slice]]] = []
    first, room = None, 0
    for k in sorted(range(len(jobs)), key=lambda k: (jobs[k].margin, jobs[k].columns, jobs[k].rows)):
        job, begin = jobs[k], 0
        if first is None or job.margin != first.margin or job.columns > 1.2 * first.columns or job.rows > 1.2 * first.rows:
            first, room = job, 0
        while begin < job.count:
            if room <= 0:
                groups.append([])
                room = max(1, _BYTES // (8 * (job.rows + 1) * (job.columns + 1)))
            end = min(job.count, begin + room)
            groups[-1].append((k, slice(begin, end)))
            room -= end - begin
            begin = end
    return groups
