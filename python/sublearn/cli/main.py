"""The command line `sublearn`: run, plan, status, report, predict, doctor.

stdout is data (paths, tables), stderr is progress and errors; what a terminal cannot show comes out as backslash escapes. Exit codes:
0 done; 2 a bad study, bad arguments, a folder that cannot be used or a missing extra; 3 incomplete; 130 interrupted. `predict` and
`doctor` need numpy only. What the verbs do lives in sublearn.study and sublearn.theory; here are arguments, messages and exit codes.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import platform
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .. import __version__
from ..model.checks import LARGEST_SEED

OK, BAD, INCOMPLETE, INTERRUPTED = 0, 2, 3, 130
LARGEST_NUMBER = 2**31 - 1  # of threads and draws
STUDY_NEEDS = ("matplotlib", "xarray", "rich")


class Refused(Exception):
    """An input that cannot be used: its text goes to stderr, the exit code is 2."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, "errors", None) in ("strict", "surrogateescape"):
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
    parser.add_argument("--version", action="version", version=f"sublearn {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    def verb(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
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

    sub = verb("predict", _predict, "say what theory predicts, for a study's cells or for one network and strategy")
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

    verb("doctor", _doctor, "print versions, the instruction set chosen and the threads, and test the kernels")
    return parser


def _positive(text: str) -> int:
    number = _number(text)
    if number is None or not 1 <= number <= LARGEST_NUMBER:
        raise argparse.ArgumentTypeError(f"expected a whole number >= 1 and <= {LARGEST_NUMBER}, got {_short(text)}")
    return number


def _seed(text: str) -> int:
    number = _number(text)
    if number is None or number > LARGEST_SEED:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 to {LARGEST_SEED}, got {_short(text)}")
    return number


def _number(text: str) -> int | None:
    """The whole number in a text of at most 20 ASCII digits, else None."""
    return int(text) if re.fullmatch("[0-9]{1,20}", text) else None


def _short(text: str) -> str:
    """What came, for messages: at most about 60 characters of it."""
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


# Studies


def _run(options: argparse.Namespace) -> int:
    _need_study()
    from ..study import StoreError, run, write_report
    from ..study.cells import cells_of
    from ..study.report.write import summary_table
    from ..study.store import Store, StoreBusy
    from ..study.summary import summaries

    spec = _spec(options.study)
    folder = Path(options.out) / f"sublearn-{spec.name}"
    cells = _checked(cells_of, spec)
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
    from ..study.cells import cells_of
    from ..study.timing import span_text

    spec = _spec(options.study)
    folder = Path(options.out) / f"sublearn-{spec.name}"
    _checked(cells_of, spec)
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
    _print_table(head, rows)
    unknown = any(line.seconds is None for line in lines)
    total = sum(line.seconds or 0 for line in lines)
    left = sum(max(0, line.cell.trials - line.done) for line in lines)
    what = "nothing left to run" if not left else f"{left} left, about {span_text(total)}{' and more' if unknown else ''}"
    print(f"{len(lines)} cells, {sum(line.cell.trials for line in lines)} trials, {what}; folder {folder}")
    return OK


def _status(options: argparse.Namespace) -> int:
    from ..study.cells import missing_ranges

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
    _print_table(("network", "strategy", "size", "method", "trials"), rows)
    if store.note:
        print(f"sublearn: {store.note}", file=sys.stderr)
    print(f"{store.folder}: {'complete' if not left else f'{left} trials left'}")
    return INCOMPLETE if left else OK


def _report(options: argparse.Namespace) -> int:
    _need_study()
    from ..study import StoreError, write_report
    from ..study.report.write import summary_table
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


def _spec(path: str | None) -> Any:
    from ..study import SpecError, default_spec, read_spec

    try:
        return default_spec() if path is None else read_spec(path)
    except SpecError as error:
        raise Refused(error) from None


def _checked(work: Callable[[Any], Any], spec: Any) -> Any:
    from ..study import SpecError

    try:
        return work(spec)
    except SpecError as error:
        raise Refused(error) from None


def _folder(options: argparse.Namespace) -> tuple[Any, Any, Any]:
    """(spec, store, cells) of a results folder, or of the folder that a study file's results are in."""
    from ..study import SpecError, Store, StoreError, cells_of

    try:
        if options.study is not None and os.path.isdir(options.study):
            store = Store(options.study)
            spec = store.spec()
        else:
            spec = _spec(options.study)
            store = Store(Path(options.out) / f"sublearn-{spec.name}")
        return spec, store, cells_of(spec)
    except (SpecError, StoreError) as error:
        raise Refused(error) from None


def _need_study() -> None:
    missing = [name for name in STUDY_NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        raise Refused(f"the extra 'study' is missing ({', '.join(missing)} not installed); install it with: pip install 'sublearn[study]'")


# Predictions


def _predict(options: argparse.Namespace) -> int:
    if options.study is not None:
        for name in ("network", "strategy", "shared"):
            if getattr(options, name):
                raise Refused(f"predict: expected a study file or --{name}, got both")
        return _predict_study(options)
    for name in ("network", "strategy"):
        if getattr(options, name) is None:
            raise Refused(f"predict: expected a study file, or --network and --strategy, got no --{name}")
    from ..model.checks import check_shared
    from ..model.layers import plain
    from ..model.strategy import check_allocation
    from ..theory.bounds import predict_strategy
    from ..theory.certain import at_least, at_most
    from ..theory.predict import predict

    net = _network(options.network)
    try:
        shared = check_shared(net, tuple(part.strip() for part in options.shared.split(",") if part.strip()))
        strategy = _strategy(net, options.strategy, shared)
        check_allocation(net, strategy, shared)
        if strategy.allocation is not None:
            found = predict(net, strategy, shared)
        else:
            found = predict_strategy(net, strategy, shared, draws=options.draws, seed=options.seed)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise Refused(f"predict: {error}") from None
    print(strategy.picture(options.seed, shared))
    print()
    sampled = " (the largest found among sampled regions)" if plain(net).activation == "relu" else ""
    if strategy.allocation is not None:
        print(f"prediction        {found.kind} ({found.reason})")
        print(f"attained rank     {found.attained_rank}{sampled}")
        print(f"required rank     {found.required_rank}{sampled}")
        print(f"certainty         {found.sure}")
        print(f"because           {found.explanation}")
    else:
        print(f"match probability at least {at_least(found.lower)}, at most {at_most(found.upper)} ({_known(found)})")
        print(f"required rank     {found.required_rank}{sampled}; reached by {100 * found.full_rank:.4g} % of {found.draws} masks drawn")
        print(f"{'masks predicted':<18}" + ", ".join(f"{count} {kind}" for kind, count in found.kinds.items() if count))
    return OK


def _known(found: Any) -> str:
    """Whether the bounds of a StrategyPrediction are exact or estimated."""
    from ..theory.certain import known_text

    return known_text(found.lower, found.upper, found.exact_lower is not None, found.exact_upper is not None, found.draws)


def _predict_study(options: argparse.Namespace) -> int:
    from ..model.layers import plain
    from ..study.cells import cells_of
    from ..theory.bounds import predict_strategy
    from ..theory.certain import at_least, at_most

    rows, seen = [], set()
    for cell in _checked(cells_of, _spec(options.study)):
        key = (cell.network_label, cell.strategy_label, cell.arguments)
        if cell.control or key in seen:
            continue  # theory does not depend on the method
        seen.add(key)
        try:
            found = predict_strategy(cell.net, cell.strategy, cell.shared, draws=options.draws, seed=options.seed)
        except (ValueError, TypeError, ArithmeticError) as error:
            raise Refused(f"predict: {cell.describe()}: {error}") from None
        kinds = ", ".join(f"{count} {kind}" if found.draws > 1 else kind for kind, count in found.kinds.items() if count)
        rows.append(
            (
                *key,
                cell.budget,
                f"{found.required_rank}{' (sampled)' if plain(cell.net).activation == 'relu' else ''}",
                at_least(found.lower),
                at_most(found.upper),
                _known(found),
                f"{found.full_rank:.4g}",
                kinds,
            )
        )
    _print_table(("network", "strategy", "size", "r", "kappa", "at least", "at most", "bounds", "full rank, drawn", "masks drawn"), rows)
    return OK


def _network(text: str) -> Any:
    """The network in a text like those of `Network.describe`."""
    from ..model.network import network_from_spec

    form = 'such as "recurrent 2-8-2, T=6, linear" or "feedforward 3-4-2, m=3, relu, bias b1+b2"'
    words = re.split(r"[,\s]+", text.strip())
    if len(words) < 3 or words[0] not in ("recurrent", "feedforward") or not re.fullmatch("[0-9]{1,9}(-[0-9]{1,9})+", words[1]):
        raise Refused(f"--network: expected a network {form}, got {_short(text)}")
    widths = [int(part) for part in words[1].split("-")]
    plain: dict[str, Any] = {"kind": words[0]}
    letter, count = ("T", "steps") if words[0] == "recurrent" else ("m", "samples")
    rest = words[2:]
    while rest:
        word = rest.pop(0)
        if re.fullmatch(f"{letter}=[0-9]{{1,9}}", word):
            key, value = count, int(word[2:])
        elif word in ("linear", "relu", "tanh"):
            key, value = "activation", word
        elif word == "bias":
            names = rest.pop(0).split("+") if rest and re.fullmatch(r"[bc][0-9]*(\+[bc][0-9]*)*", rest[0]) else None
            key, value = "bias", names or True
        else:
            raise Refused(f"--network: expected a network {form}, got {_short(word)} in {_short(text)}")
        if key in plain:
            raise Refused(f"--network: expected {key} once, got {_short(text)}")
        plain[key] = value
    if words[0] == "recurrent":
        if len(widths) != 3:
            raise Refused(f"--network: expected inputs-hidden-outputs such as 2-8-2, got {_short(words[1])}")
        plain |= dict(zip(("inputs", "hidden", "outputs"), widths, strict=True))
    else:
        plain["widths"] = widths
    try:
        return network_from_spec(plain)
    except (ValueError, TypeError) as error:
        raise Refused(f"--network: {error}") from None


def _strategy(net: Any, text: str, shared: tuple[str, ...]) -> Any:
    """The strategy in a text: its kind, then key=value for numbers, names (within=W1+W2) and shapes (2x5)."""
    from ..model.strategies import strategy_from_spec

    if not text.strip():
        raise ValueError(f'--strategy: expected a strategy such as "scattered budget=10 within=W", got {text!r}')
    kind, *words = text.split()
    plain: dict[str, Any] = {"kind": kind}
    for word in words:
        key, equals, value = word.partition("=")
        given = plain.setdefault("budgets", {}) if kind == "split" else plain
        if not equals and kind == "only":
            plain.setdefault("groups", []).append(word)
            continue
        if not (equals and key):
            raise ValueError(f"--strategy: expected key=value, got {_short(word)}")
        if key in given:
            raise ValueError(f"--strategy: expected {key} once, got {_short(text)}")
        number = _number(value)
        if number is not None:
            given[key] = number
        elif kind != "split" and re.fullmatch("[0-9]{1,9}x[0-9]{1,9}", value):
            given[key] = [int(part) for part in value.split("x")]
        else:
            given[key] = value.split("+") if "+" in value and kind != "split" else value
    return strategy_from_spec(net, plain, shared)


# This machine


def _bench(arguments: Sequence[str]) -> int:
    try:
        from ..bench import main as bench
    except ImportError as error:
        raise Refused(f"bench: expected the benchmarks beside the package, got: {error}") from None
    return bench(arguments)


def _doctor(options: argparse.Namespace) -> int:
    import numpy

    import sublearn

    def version(name: str) -> str:
        from importlib import metadata

        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            return "not installed"

    lines = [
        ("sublearn", f"{__version__} in {Path(sublearn.__file__).parent}"),
        (
            "python",
            f"{platform.python_version()} ({platform.python_implementation()}), {platform.platform()}",
        ),
        ("numpy", numpy.__version__),
    ]
    lines += [(name, version(name)) for name in (*STUDY_NEEDS, "cupy")]
    missing = [name for name in STUDY_NEEDS if importlib.util.find_spec(name) is None]
    lines.append(
        (
            "extra 'study'",
            "complete" if not missing else f"missing {', '.join(missing)}: pip install 'sublearn[study]'",
        )
    )
    try:
        from ..backend import selection
        from ..backend.compiled import cpu
    except ImportError as error:
        for name, text in lines:
            print(f"{name:<16}{text}")
        print(f"{'compiled core':<16}cannot be imported: {error}")
        return BAD
    lines += [
        ("instruction set", _instruction_set(cpu.isa(), cpu.isas(), cpu.isas(compiled=False))),
        ("threads", f"{cpu.threads_available()} by default, {os.cpu_count()} processors"),
        ("gpu", selection.cuda_device()),
        ("match", selection.backend_of("match_probability")),
        ("kernels", _self_test()),
    ]
    for name, text in lines:
        print(f"{name:<16}{text}")
    return OK if lines[-1][1] == "ok" else BAD


def _instruction_set(chosen: str, compiled: Sequence[str], possible: Sequence[str]) -> str:
    """What doctor says of the instruction sets; the lists are of this machine, slowest first."""
    text = f"{chosen} (compiled and possible here: {', '.join(compiled)})"
    if possible[-1] not in compiled:
        text += f"; {possible[-1]} would be faster: install sublearn again on this machine (docs/speed.md)"
    return text


def _self_test() -> str:
    """The word ok, if a small prediction and a small measurement come out as known; else what was wrong."""
    from ..match.probability import match_probability
    from ..model.network import Recurrent
    from ..model.strategies import everything, scattered
    from ..ranks.generic_rank import required_rank

    net = Recurrent(inputs=2, hidden=4, outputs=2, steps=3)
    shared = ("B", "D")
    kappa = required_rank(net, shared)
    few = match_probability(net, scattered(net, kappa - 1, within="W"), 32, shared=shared, screen=False, starts=3)
    every = match_probability(net, everything(net, shared), 32, shared=shared, starts=30)
    if kappa == 4 and few.matched == 0 and every.matched >= 24:
        return "ok"
    return f"wrong: required rank {kappa} (4), found {few.matched} of 32 (0) and {every.matched} of 32 (most)"


def _print_table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    lines = [tuple(" ".join(str(part).split()) for part in line) for line in (head, *rows)]  # a label may hold a line break
    widths = [max(len(line[k]) for line in lines) for k in range(len(head))]
    for line in lines:
        print("  ".join(part.ljust(width) for part, width in zip(line, widths, strict=True)).rstrip())
