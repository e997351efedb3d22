"""How things are measured: warm-up, interleaved rounds, medians and spread, ratios, goals, the machine, JSON.

No workload lives here. A workload builds Candidates (sublearn and its peers, all doing the same work) and calls `measure`, which
times them in one run: one warm-up each, then rounds in which every candidate is timed once, in order and in reverse order by turns.
A ratio is the median over the rounds of peer / ours, so a machine that slows down for a while slows both. A candidate that is missing,
fails or gives another answer is kept in the table with the reason, and takes no part in any ratio.
"""

from __future__ import annotations

import math
import statistics
import time
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

OURS = "sublearn"
SETTLE = 0.01  # seconds of rest before a timing: threads of the candidate before may still be spinning


@dataclass(frozen=True)
class Options:
    """What the command line asked for. seconds: time after which a table starts no further round."""

    peers: bool = False
    quick: bool = False
    threads: int = 1

    @property
    def rounds(self) -> int:
        return 3 if self.quick else 9

    @property
    def least_rounds(self) -> int:
        return 2 if self.quick else 3

    @property
    def seconds(self) -> float:
        return 4.0 if self.quick else 30.0

    @property
    def call_seconds(self) -> float:
        """A timing repeats its call until it lasts about this long."""
        return 0.02 if self.quick else 0.1


class Skipped(Exception):
    """Raised by the builder of a candidate that cannot be measured here; its text is the reason."""


@dataclass(frozen=True)
class Candidate:
    """One way to do the work. call() does `work` units of it (matrices, student-steps, ..) and blocks until they are done."""

    name: str
    library: str
    call: Callable[[], object]
    work: float
    note: str = ""
    answer: Callable[[], Any] | None = None  # what a check compares, of less work than call()


@dataclass(frozen=True)
class Peer:
    """A candidate still to be built: build(problem, options) imports the library and prepares its data, outside all timings."""

    name: str
    library: str
    build: Callable[[Any, Options], Candidate]


@dataclass
class Timing:
    """Seconds per unit of work, one number a round; absent: why it was not measured (None if it was)."""

    name: str
    library: str
    note: str = ""
    per_unit: list[float] = field(default_factory=list)
    absent: str | None = None

    @property
    def measured(self) -> bool:
        return self.absent is None and bool(self.per_unit)

    @property
    def median(self) -> float:
        return statistics.median(self.per_unit)

    @property
    def rate(self) -> float:
        return 1.0 / self.median

    @property
    def spread(self) -> float:
        """(largest - smallest) / median."""
        return (max(self.per_unit) - min(self.per_unit)) / self.median


def describe(error: BaseException) -> str:
    """One line that names an error."""
    text = " ".join(str(error).split())
    name = "" if isinstance(error, (ImportError, Skipped)) else type(error).__name__ + (": " if text else "")
    return (name + text)[:160]


def build(
    peers: Sequence[Peer], problem: Any, options: Options, check: Callable[[Candidate], str | None] | None = None
) -> tuple[list[Candidate], list[Timing]]:
    """The candidates that can be measured, and a Timing with the reason for each that cannot.

    check(candidate) returns None, or in words how its answer differs from ours.
    """
    ready, absent = [], []
    for peer in peers:
        reason = None
        if not options.peers:
            reason = "left out without --peers"
        else:
            try:
                candidate = peer.build(problem, options)
                differs = check(candidate) if check else None
                reason = f"another answer: {differs}" if differs else None
            except Exception as error:  # a peer may fail in any way; the table says how
                reason = describe(error)
        if reason is None:
            ready.append(candidate)
        else:
            absent.append(Timing(peer.name, peer.library, absent=reason))
    return ready, absent


def interleave(candidates: Sequence[Candidate], options: Options, clock: Callable[[], float] = time.perf_counter) -> list[Timing]:
    """Times all candidates together: Timings in the same order. An exception ends that candidate's part, and is told."""
    timings = [Timing(c.name, c.library, c.note) for c in candidates]
    repeats = [1] * len(candidates)

    def attempt(k: int, when: str, count: int) -> float | None:
        """Seconds of `count` calls; None if one failed."""
        try:
            time.sleep(SETTLE)
            began = clock()
            for _ in range(count):
                candidates[k].call()
            return clock() - began
        except Exception as error:
            timings[k].absent = f"failed in {when}: {describe(error)}"
            return None

    for k in range(len(candidates)):
        took = attempt(k, "the warm-up", 1)
        if took is not None and took < 2.0:  # the first call may have compiled: ask again
            took = attempt(k, "the warm-up", 1)
        if took is not None:
            repeats[k] = max(1, min(10_000, math.ceil(options.call_seconds / max(took, 1e-7))))
    began = clock()
    for number in range(options.rounds):
        if number >= options.least_rounds and clock() - began > options.seconds:
            break
        order = range(len(candidates))
        for k in order if number % 2 == 0 else reversed(order):
            if timings[k].absent is None:
                took = attempt(k, f"round {number + 1} of {options.rounds}", repeats[k])
                if took is not None:
                    timings[k].per_unit.append(took / (repeats[k] * candidates[k].work))
    return timings


@dataclass
class Table:
    """One case of a workload: ours first, then the peers.

    flop: floating-point operations of one unit of work, by the formula named in flop_text; peak in GFLOP/s, None if not measured.
    """

    workload: str
    case: str
    dtype: str
    unit: str  # "matrices"
    what: str  # the case in words
    timings: list[Timing]
    flop: float | None = None
    flop_text: str = ""
    peak: float | None = None
    goal: dict | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def ours(self) -> Timing:
        return self.timings[0]

    @property
    def peers(self) -> list[Timing]:
        return self.timings[1:]

    @property
    def best_peer(self) -> Timing | None:
        return self._best(self.peers)

    @staticmethod
    def _best(timings: Sequence[Timing]) -> Timing | None:
        return min((t for t in timings if t.measured), key=lambda t: t.median, default=None)

    def ratios(self, peer: Timing) -> list[float]:
        """How many times faster we are, round by round."""
        if not (self.ours.measured and peer.measured):
            return []
        return [theirs / ours for theirs, ours in zip(peer.per_unit, self.ours.per_unit)]

    def ratio(self, peer: Timing | None) -> float | None:
        ratios = self.ratios(peer) if peer is not None else []
        return statistics.median(ratios) if ratios else None

    @property
    def peak_share(self) -> float | None:
        if self.flop is None or self.peak is None or not self.ours.measured:
            return None
        return self.ours.rate * self.flop / (self.peak * 1e9)

    @property
    def failed(self) -> bool:
        return not self.ours.measured

    def verdicts(self) -> list[dict]:
        """Each goal with the value reached: {"name", "wanted", "reached", "met": True, False or None (not measured), "text"}."""
        out = []
        for name in ("must", "goal"):
            if self.goal and name in self.goal:
                out.append(self._ratio_verdict(name, self.goal[name]))
            elif self.goal and f"{name}_rate" in self.goal:
                out.append(self._rate_verdict(name, self.goal[f"{name}_rate"]))
            elif self.goal and f"{name}_peak" in self.goal:
                out.append(self._peak_verdict(name, self.goal[f"{name}_peak"]))
        return out

    def _ratio_verdict(self, name: str, wanted: float) -> dict:
        against = self.goal["against"]
        rivals = [t for t in self.peers if against in ("best", t.library) or t.name.endswith(against)]
        rival = self._best(rivals)
        reached = self.ratio(rival)
        who = "the best peer" if against == "best" else against
        text = f"{name} x{wanted:g} {who}: "
        met = None
        if reached is None:
            reason = "our own run failed" if self.failed else "; ".join(f"{t.name}: {t.absent}" for t in rivals if t.absent)
            text += f"not measured ({reason or 'no such peer'})"
        else:
            met = reached >= wanted
            missing = sorted({t.name for t in rivals if not t.measured})
            text += f"{'met' if met else 'not met'}, x{short(reached)} {rival.name}"
            text += f" (not measured: {', '.join(missing)})" if missing else ""
        return {"name": name, "wanted": wanted, "reached": reached, "met": met, "text": text}

    def _rate_verdict(self, name: str, wanted: float) -> dict:
        text, met, reached = f"{name} {short(wanted)} {self.unit}/s: ", None, None
        if not self.ours.measured:
            text += "not measured (our own run failed)"
        else:
            reached = self.ours.rate
            met = reached >= wanted
            text += f"{'met' if met else 'not met'}, {short(reached)}"
        return {"name": name, "wanted": wanted, "reached": reached, "met": met, "text": text}

    def _peak_verdict(self, name: str, wanted: float) -> dict:
        reached = self.peak_share
        text, met = f"{name} {wanted:.0%} of the multiply-add peak: ", None
        if reached is None:
            text += "not measured"
        else:
            met = reached >= wanted
            text += f"{'met' if met else 'not met'}, {reached:.0%}"
        return {"name": name, "wanted": wanted, "reached": reached, "met": met, "text": text}

    def as_text(self) -> str:
        width = max(len(t.name) for t in self.timings)
        size, prefix = scale(self.best_peer.rate if self.best_peer else self.ours.rate if self.ours.measured else 1.0)
        lines = [
            f"{self.workload} {self.dtype} {self.case}: {self.what}",
            f"  {'':{width}}  {'us per unit':>12}  {'spread':>6}  {f'{prefix}{self.unit}/s':>22}  {'times ours':>10}",
        ]
        for timing in self.timings:
            if not timing.measured:
                lines.append(f"  {timing.name:{width}}  not measured: {timing.absent or 'no round was run'}")
                continue
            ratio = self.ratio(timing)
            times = "" if timing is self.ours or ratio is None else short(ratio)
            note = f"  {timing.note}" if timing.note else ""
            lines.append(
                f"  {timing.name:{width}}  {short(timing.median * 1e6):>12}  {timing.spread:>6.0%}"
                f"  {short(timing.rate / size):>22}  {times:>10}{note}".rstrip()
            )
        if self.flop is not None:
            if self.ours.measured:
                line = f"  {short(self.ours.rate * self.flop / 1e9)} GFLOP/s"
                line += ", peak not measured" if self.peak is None else f", {self.peak_share:.0%} of the peak {short(self.peak)} GFLOP/s"
                lines.append(f"{line}; {short(self.flop)} FLOP per unit = {self.flop_text}")
        lines += [f"  {note}" for note in self.notes]
        lines += [f"  {verdict['text']}" for verdict in self.verdicts()] or ["  no goal is stated for this table"]
        return "\n".join(lines)

    def as_json(self) -> dict:
        best = self.best_peer
        return {
            "workload": self.workload,
            "case": self.case,
            "dtype": self.dtype,
            "unit": self.unit,
            "what": self.what,
            "timings": [
                {
                    "name": t.name,
                    "library": t.library,
                    "note": t.note,
                    "seconds_per_unit": t.per_unit,
                    "not_measured": t.absent,
                    "median": t.median if t.measured else None,
                    "rate": t.rate if t.measured else None,
                    "times_ours": None if t is self.ours else self.ratio(t),
                }
                for t in self.timings
            ],
            "best_peer": best.name if best else None,
            "times_best_peer": self.ratio(best),
            "flop_per_unit": self.flop,
            "flop_formula": self.flop_text,
            "peak_gflops": self.peak,
            "peak_share": self.peak_share,
            "goal": self.goal,
            "verdicts": self.verdicts(),
            "notes": self.notes,
        }


@dataclass
class Sweep:
    """How our cost grows along one axis. points: (value, Timing)."""

    workload: str
    axis: str
    what: str
    unit: str
    points: list[tuple[Any, Timing]]

    @property
    def failed(self) -> bool:
        return any(not timing.measured for _, timing in self.points)

    def as_text(self) -> str:
        lines = [f"{self.workload} us per {self.unit} against {self.axis}, from {self.what}"]
        for value, timing in self.points:
            text = short(timing.median * 1e6) if timing.measured else f"not measured: {timing.absent}"
            lines.append(f"  {value:>8}  {text}")
        return "\n".join(lines)

    def as_json(self) -> dict:
        return {
            "workload": self.workload,
            "axis": self.axis,
            "what": self.what,
            "unit": self.unit,
            "points": [
                {"value": value, "seconds_per_unit": t.per_unit, "median": t.median if t.measured else None, "not_measured": t.absent}
                for value, t in self.points
            ],
        }


@dataclass
class Listing:
    """A table that is no race: columns and rows of numbers."""

    workload: str
    what: str
    columns: list[str]
    rows: list[list[Any]]
    failed: bool = False

    def as_text(self) -> str:
        texts = [[cell if isinstance(cell, str) else short(cell) for cell in row] for row in [self.columns, *self.rows]]
        widths = [max(map(len, column)) for column in zip(*texts)]
        lines = ["  " + "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths)) for row in texts]
        return "\n".join([f"{self.workload} {self.what}", *lines])

    def as_json(self) -> dict:
        return {"workload": self.workload, "what": self.what, "columns": self.columns, "rows": self.rows}


def measure(
    ours: Candidate,
    peers: Sequence[Peer],
    problem: Any,
    options: Options,
    check: Callable[[Candidate], str | None] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Timing]:
    """Ours and every peer that can be built, timed in one run; ours first, in the order of `peers` after it."""
    ready, absent = build(peers, problem, options, check)
    timed = interleave([ours, *ready], options, clock)
    by_name = {timing.name: timing for timing in timed[1:] + absent}
    return [timed[0], *(by_name[peer.name] for peer in peers)]


def sweep(
    workload: str,
    axis: str,
    what: str,
    unit: str,
    values: Sequence,
    point: Callable[[Any], tuple[Callable[[], object], float]],
    options: Options,
) -> Sweep:
    """Ours at several values of one axis, interleaved; the two ends only with --quick. point(value): (call, units of work of one call)."""
    values = values[:: max(1, len(values) - 1)] if options.quick else values
    timings = interleave([Candidate(f"{axis} = {value}", OURS, *point(value)) for value in values], options)
    return Sweep(workload, axis, what, unit, list(zip(values, timings)))


def thread_steps(options: Options) -> list[int]:
    """1, 2, 4, .. and all."""
    steps = [1]
    while steps[-1] * 2 < options.threads:
        steps.append(steps[-1] * 2)
    return steps + [options.threads] * (options.threads > 1)


def goals() -> dict:
    """goals.toml, which lies beside this file."""
    return tomllib.loads(resources.files(__package__).joinpath("goals.toml").read_text(encoding="utf-8"))


def goal_of(workload: str, dtype: str, case: str) -> dict | None:
    """{"must", "goal" or "goal_peak", or "must_rate", "goal_rate"; "against", "date"} of one table; None where none is stated."""
    every = goals()
    found = every.get(workload, {}).get(dtype, {}).get(case)
    if found is None:
        return None
    return {**found, "against": every[workload].get("against"), "date": str(every["source"]["date"])}


def short(number: float) -> str:
    """Three significant digits, without an exponent between 0.001 and a million."""
    if isinstance(number, int) and abs(number) < 10**6:
        return str(number)
    if number == 0 or not math.isfinite(number) or not 1e-3 <= abs(number) < 1e6:
        return f"{number:.3g}"
    return f"{number:.{max(0, 2 - math.floor(math.log10(abs(number))))}f}"


def scale(rate: float) -> tuple[float, str]:
    """(1e6, "M ") and the like, so that `rate` prints as a number near 1."""
    for size, prefix in ((1e9, "G "), (1e6, "M "), (1e3, "k ")):
        if rate >= size:
            return size, prefix
    return 1.0, ""
