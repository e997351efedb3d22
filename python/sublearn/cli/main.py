"""The command line `sublearn`: its arguments and exit codes, and the verbs run, plan, status, report and bench.

stdout is data (paths, tables), stderr is progress and errors; what a terminal cannot show comes out as backslash escapes. Exit codes:
0 done; 2 a bad study, bad arguments, a folder that cannot be used or a missing extra; 3 incomplete; 130 interrupted. `predict` and
`doctor`, files of their own, need numpy only. What the verbs do lives in sublearn.study and sublearn.theory.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .._version import installed_version
from ..model.checks import LARGEST_SEED
from .common import BAD, INCOMPLETE, INTERRUPTED, OK, Refused, checked, need_study, print_table, read_study, short, whole_number
from .doctor import doctor
from .predict import predictions

LARGEST_NUMBER = 2**31 - 1  # of threads and draws


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")  # a label outside the terminal's encoding must not end a run
    options = _parser().parse_args(arguments[:1] if arguments[:1] == ["bench"] else arguments)
    try:
        # the benchmarks read their own arguments
        code = _bench(arguments[1:]) if options.verb is _bench else options.verb(options)
        print(end="", flush=True)  # what cannot be written is said here, not by the interpreter at its end
        return code
    except Refused as error:
        print(f"sublearn: {error}", file=sys.stderr)
        return BAD
    except KeyboardInterrupt:
        print("sublearn: interrupted; every finished row is kept", file=sys.stderr)
        with contextlib.suppress(OSError):
            print(end="", flush=True)
        os._exit(INTERRUPTED)  # a kernel may still be running in its thread: do not wait for it
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # the reader of stdout has gone
        return OK
    except MemoryError as error:
        print(f"sublearn: expected a question that fits into memory, got: {error or 'out of memory'}", file=sys.stderr)
        return BAD
    except OSError as error:
        sys.stdout = open(os.devnull, "w")  # it may hold what cannot be written
        print(f"sublearn: {error}", file=sys.stderr)
        return BAD


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sublearn",
        description="Where should a network learn? Match probabilities, predicted and measured.",
        epilog="exit codes: 0 done, 2 bad input or missing extra, 3 incomplete, 130 interrupted",
    )
    parser.add_argument("--version", action="version", version=f"sublearn {installed_version()}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    def verb(name: str, run: Callable[..., int], text: str) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        sub.set_defaults(verb=run)
        return sub

    verb("bench", _bench, "measure the kernels, with --peers against other libraries; see bench --help")

    def folder_options(sub: argparse.ArgumentParser, what: str) -> None:
        sub.add_argument(
            "study",
            nargs="?",
            metavar=what,
            help="study file (TOML)" + (" or results folder" if "FOLDER" in what else "") + "; without it the built-in study",
        )
        sub.add_argument("--out", metavar="DIR", default=".", help="where the folder sublearn-<name>/ is (default: here)")

    sub = verb("run", _run, "run a study, or continue it, and write its report")
    folder_options(sub, "SPEC.toml")
    sub.add_argument("--threads", type=_positive, metavar="N", help="threads of the compiled kernels (default: all)")
    sub.add_argument("--quiet", action="store_true", help="no progress on stderr")
    sub = verb("plan", _plan, "list the cells and trials of a study and predict the time, before anything runs")
    folder_options(sub, "SPEC.toml")
    sub.add_argument("--threads", type=_positive, metavar="N", help="threads of the compiled kernels (default: all)")
    sub = verb("status", _status, "say how much of a study is done (exit code 3 if not all of it)")
    folder_options(sub, "SPEC.toml|FOLDER")
    sub = verb("report", _report, "make figures and report.html anew from the results there are")
    folder_options(sub, "SPEC.toml|FOLDER")

    sub = verb("predict", predictions, "say what theory predicts, for a study's cells or for one network and strategy")
    sub.add_argument("study", nargs="?", metavar="SPEC.toml", help="study file: predict each of its cells")
    sub.add_argument(
        "--network",
        metavar="TEXT",
        help='such as "recurrent 2-8-2, T=6, linear" or "feedforward 3-4-2, m=3, relu, bias b1+b2"',
    )
    sub.add_argument("--shared", metavar="GROUPS", default="", help="groups copied from the teacher, such as B,D")
    sub.add_argument(
        "--strategy",
        metavar="TEXT",
        help='such as "scattered budget=10 within=W", "split W1=3 W2=3", "block shape=2x5 within=W", '
        '"per_row rows=2 each=5 within=W", "only b", "everything"',
    )
    sub.add_argument(
        "--draws",
        type=_positive,
        metavar="N",
        default=1000,
        help="masks drawn of a random strategy (default: 1000)",
    )
    sub.add_argument("--seed", type=_seed, metavar="N", default=0, help="seed of the masks (default: 0)")

    verb("doctor", doctor, "print versions, the instruction set chosen and the threads, and test the kernels")
    return parser


def _positive(text: str) -> int:
    number = whole_number(text)
    if number is None or not 1 <= number <= LARGEST_NUMBER:
        raise argparse.ArgumentTypeError(f"expected a whole number >= 1 and <= {LARGEST_NUMBER}, got {short(text)}")
    return number


def _seed(text: str) -> int:
    number = whole_number(text)
    if number is None or number > LARGEST_SEED:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 to {LARGEST_SEED}, got {short(text)}")
    return number


# Studies


def _run(options: argparse.Namespace) -> int:
    need_study()
    from ..study import StoreError, run, write_report
    from ..study.files import StoreBusy
    from ..study.report.text import summary_table
    from ..study.store import Store
    from ..study.summary import summaries
    from ..study.sweep import cells_of

    spec = read_study(options.study)
    folder = Path(options.out) / f"sublearn-{spec.name}"
    cells = checked(cells_of, spec)
    try:
        outcome = run(spec, folder, options.threads, None if options.quiet else sys.stderr)
    except StoreBusy as error:
        print(f"sublearn: {error}", file=sys.stderr)
        return INCOMPLETE
    except StoreError as error:
        raise Refused(error) from None
    try:
        for problem in outcome.problems:
            print(f"sublearn: {problem}", file=sys.stderr)
        if outcome.interrupted and not outcome.complete:
            print(
                f"sublearn: interrupted, {outcome.left} trials left; the same command continues",
                file=sys.stderr,
            )
            return INTERRUPTED
        rows = Store(folder).rows
        if rows:
            print(write_report(folder, spec))
            print(summary_table(summaries(cells, rows)))
    except StoreError as error:
        print(f"sublearn: {error}", file=sys.stderr)
        return INCOMPLETE
    if not outcome.complete:
        print(f"sublearn: {outcome.left} trials left; the same command continues", file=sys.stderr)
    return OK if outcome.complete and not outcome.problems else INCOMPLETE


def _plan(options: argparse.Namespace) -> int:
    from ..study import StoreError, plan
    from ..study.sweep import cells_of
    from ..study.timing import span_text

    spec = read_study(options.study)
    folder = Path(options.out) / f"sublearn-{spec.name}"
    checked(cells_of, spec)
    try:
        lines = plan(spec, folder, options.threads)
    except StoreError as error:
        raise Refused(error) from None
    head = ("network", "strategy", "size", "r", "method", "trials", "done", "time")
    rows = []
    for line in lines:
        cell = line.cell
        time = "-" if line.done >= cell.trials else span_text(line.seconds)
        rows.append(
            (
                cell.network_label,
                cell.name,
                cell.arguments,
                cell.budget,
                cell.method,
                cell.trials,
                line.done,
                time,
            )
        )
    print_table(head, rows)
    unknown = any(line.seconds is None for line in lines)
    total = sum(line.seconds or 0 for line in lines)
    left = sum(max(0, line.cell.trials - line.done) for line in lines)
    what = "nothing left to run" if not left else f"{left} left, about {span_text(total)}{' and more' if unknown else ''}"
    print(f"{len(lines)} cells, {sum(line.cell.trials for line in lines)} trials, {what}; folder {folder}")
    return OK


def _status(options: argparse.Namespace) -> int:
    from ..study.tasks import missing_ranges

    spec, store, cells = _folder(options)
    done, rows, left = store.done(), [], 0
    for cell in cells:
        missing = sum(count for _, count in missing_ranges(done.get(cell.id, ()), cell.trials))
        left += missing
        rows.append(
            (
                cell.network_label,
                cell.name,
                cell.arguments,
                cell.method,
                f"{cell.trials - missing}/{cell.trials}",
            )
        )
    print_table(("network", "strategy", "size", "method", "trials"), rows)
    if store.note:
        print(f"sublearn: {store.note}", file=sys.stderr)
    print(f"{store.folder}: {'complete' if not left else f'{left} trials left'}")
    return INCOMPLETE if left else OK


def _report(options: argparse.Namespace) -> int:
    need_study()
    from ..study import StoreError, write_report
    from ..study.report.text import summary_table
    from ..study.summary import summaries

    spec, store, cells = _folder(options)
    if not store.rows:
        came = f"none by today's rules ({store.note})" if store.aside else "none"
        raise Refused(f"{store.folder}: expected a folder with results, got {came}; run the study first")
    try:
        print(write_report(store.folder, spec))
    except StoreError as error:
        raise Refused(error) from None
    print(summary_table(summaries(cells, store.rows)))
    return OK


def _folder(options: argparse.Namespace) -> tuple[Any, Any, Any]:
    """(spec, store, cells) of a results folder, or of the folder that a study file's results are in."""
    from ..study import SpecError, Store, StoreError, cells_of

    try:
        if options.study is not None and os.path.isdir(options.study):
            store = Store(options.study)
            spec = store.spec()
        else:
            spec = read_study(options.study)
            store = Store(Path(options.out) / f"sublearn-{spec.name}")
        return spec, store, cells_of(spec)
    except (SpecError, StoreError) as error:
        raise Refused(error) from None


# This machine


def _bench(arguments: Sequence[str]) -> int:
    try:
        from ..bench import main as bench
    except ImportError as error:
        raise Refused(f"bench: expected the benchmarks beside the package, got: {error}") from None
    return bench(arguments)
