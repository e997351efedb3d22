"""The command line `sublearn`: its arguments and exit codes, and the verb bench.

stdout is data (paths, tables), stderr is progress and errors; what a terminal cannot show comes out as backslash escapes. Exit codes:
0 done; 1 rows differ from what verify measures; 2 a bad study, bad arguments, a folder that cannot be used or a missing extra; 3
incomplete; 4 results cannot be written; 130 interrupted. `predict` and `doctor` need numpy only. What the verbs do lives in
sublearn.study and sublearn.theory.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import os
import sys
from collections.abc import Callable, Sequence

from .._version import installed_version
from ..model.checks import LARGEST_SEED
from .common import BAD, INTERRUPTED, OK, Refused, short, whole_number
from .doctor import doctor
from .predict import predictions
from .results import export_results, verify_results
from .status import status
from .studies import join, plan_study, report, run_study

LARGEST_NUMBER = 2**31 - 1  # of threads and draws


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")  # a label outside the terminal's encoding must not end a run
    parser = _parser()
    if "_ARGCOMPLETE" in os.environ:  # a shell asks what the line could go on with
        with contextlib.suppress(ImportError):
            importlib.import_module("argcomplete").autocomplete(parser)
    options = parser.parse_args(arguments[:1] if arguments[:1] == ["bench"] else arguments)
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
        epilog="exit codes: 0 done, 1 verify found rows that differ, 2 bad input or missing extra, 3 incomplete, "
        "4 results cannot be written, 130 interrupted",
    )
    parser.add_argument("--version", action="version", version=f"sublearn {installed_version()}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB")
    parser.set_defaults(verb=lambda _: _help(parser))

    def verb(name: str, run: Callable[..., int], text: str, as_json: str = "as JSON, in one line") -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        sub.set_defaults(verb=run)
        if as_json:
            sub.add_argument("--json", action="store_true", help=as_json)
        return sub

    verb("bench", _bench, "measure the kernels, with --peers against other libraries; see bench --help", "")

    def folder_options(sub: argparse.ArgumentParser, what: str) -> None:
        sub.add_argument(
            "study",
            nargs="?",
            metavar=what,
            help="study file (TOML)" + (" or results folder" if "FOLDER" in what else "") + "; without it the built-in study",
        )
        sub.add_argument("--out", metavar="DIR", default=".", help="where the folder sublearn-<name>/ is (default: here)")

    sub = verb("run", run_study, "run a study, or continue it, and write its report")
    folder_options(sub, "SPEC.toml")
    sub.add_argument("--threads", type=_positive, metavar="N", help="threads of the kernels, all workers together (default: all)")
    sub.add_argument("--workers", type=_positive, metavar="N", help="measure in N processes of this machine (default: in this one)")
    sub.add_argument("--dask", metavar="ADDRESS", help="measure in the dask cluster at this address; local: one on this machine")
    sub.add_argument("--shard", type=_shard, metavar="i/N", help="run part i of N, i from 0; join parts in other folders with merge")
    sub.add_argument(
        "--resume",
        choices=("auto", "new", "overwrite"),
        default="auto",
        help="with results there: go on, use a new folder, delete",
    )
    sub.add_argument("--on-error", choices=("record", "raise"), default="record", help="an item that fails twice: go on, or stop")
    sub.add_argument("--quiet", action="store_true", help="no progress on stderr")
    text = "list the cells and trials of a study and predict the time, before anything runs"
    sub = verb("plan", plan_study, text, "as JSON, every cell")
    folder_options(sub, "SPEC.toml")
    sub.add_argument("--threads", type=_positive, metavar="N", help="threads of the kernels, all workers together (default: all)")
    sub.add_argument("--workers", type=_positive, metavar="N", help="the time it takes N workers (default: 1)")
    sub = verb("status", status, "say how much of a study is done (exit code 3 if not all of it)")
    folder_options(sub, "SPEC.toml|FOLDER")
    sub.add_argument(
        "--watch",
        nargs="?",
        type=_positive,
        const=2,
        metavar="SECONDS",
        help="look again every 2 (or so many) seconds until all is done, whoever works on it",
    )
    sub = verb("report", report, "make figures and report.html anew from the results there are")
    folder_options(sub, "SPEC.toml|FOLDER")

    sub = verb("merge", join, "put the rows of several folders (shards, other machines) into one")
    sub.add_argument("folders", nargs="+", metavar="FOLDER", help="results folder; the first one's study is the study")
    sub.add_argument("--out", metavar="DIR", default=".", help="where the folder sublearn-<name>/ is, or is made (default: here)")

    sub = verb("export", export_results, "write the results of a folder for other programs")
    sub.add_argument("folder", metavar="FOLDER", help="results folder")
    sub.add_argument("--to", choices=("csv", "parquet", "netcdf", "zarr", "json"), required=True, help="format")
    sub.add_argument("--output", metavar="FILE", help="where to (default: here, the folder's name with .csv, .nc, ..)")

    sub = verb("verify", verify_results, "measure a share of the rows in a folder anew and compare (exit code 1 if some differ)")
    sub.add_argument("folder", metavar="FOLDER", help="results folder")
    sub.add_argument("--share", type=_share, metavar="X", default=0.01, help="share of the rows, from 0 to 1 (default: 0.01)")
    sub.add_argument("--cells", type=_positive, metavar="N", default=100, help="a row at least of so many cells (default: 100)")
    sub.add_argument("--seconds", type=_seconds, metavar="S", help="begin no further row after so long (default: no limit)")
    sub.add_argument("--seed", type=_seed, metavar="N", default=0, help="seed of the choice (default: 0)")
    sub.add_argument("--threads", type=_positive, metavar="N", help="threads of the kernels (default: all)")

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


def _shard(text: str) -> tuple[int, int]:
    place, _, shards = text.partition("/")
    number, of = whole_number(place), whole_number(shards)
    if number is None or of is None or not number < of <= LARGEST_NUMBER:
        raise argparse.ArgumentTypeError(f"expected i/N with 0 <= i < N, got {short(text)}")
    return number, of


def _share(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, got {short(text)}")
    return number


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e9:
        raise argparse.ArgumentTypeError(f"expected a number of seconds above 0, got {short(text)}")
    return number


def _seed(text: str) -> int:
    number = whole_number(text)
    if number is None or number > LARGEST_SEED:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 to {LARGEST_SEED}, got {short(text)}")
    return number


def _help(parser: argparse.ArgumentParser) -> int:
    parser.print_help()
    return OK


# This machine


def _bench(arguments: Sequence[str]) -> int:
    try:
        from ..bench import main as bench
    except ImportError as error:
        raise Refused(f"bench: expected the benchmarks beside the package, got: {error}") from None
    return bench(arguments)
