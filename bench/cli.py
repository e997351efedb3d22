"""`sublearn bench`: arguments, the order of the workloads, tables on stdout, progress on stderr, JSON to a file."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from . import harness, machine

WORKLOADS = {
    "W1": "w1_rank",
    "W2": "w2_rank_mod",
    "W3": "w3_fit_recurrent",
    "W4": "w4_newton",
    "W5": "w5_fit_relu",
    "W6": "w6_exact",
    "W7": "w7_fit_biases_recurrent",
    "W8": "w8_fit_biases_relu",
    "W9": "w9_bottleneck",
    "W10": "w10_choose_columns",
}
OK, FAILED, BAD, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks. Exit codes: 0 measured (goals met or not), 1 something of our own failed, 2 bad arguments, 130 interrupted."""
    parser = _parser()
    try:
        options = parser.parse_args(arguments)
    except SystemExit as stop:  # argparse has said what it wanted
        return BAD if stop.code else OK
    names = [name.upper() for name in options.workloads] or list(WORKLOADS)
    unknown = [name for name in names if name not in WORKLOADS]
    if unknown:
        print(f"sublearn bench: expected workloads out of {', '.join(WORKLOADS)}, got {', '.join(unknown)}", file=sys.stderr)
        return BAD
    if options.json is not None and not (options.json.parent.is_dir() and os.access(options.json.parent, os.W_OK)):
        print(f"sublearn bench: --json: expected a file in a folder that can be written, got {options.json}", file=sys.stderr)
        return BAD
    threads = options.threads or machine.cores()
    unpinned = machine.limit_cores(threads) if options.threads else None
    head = machine.header(threads)
    head["warnings"] = [text for text in (unpinned, machine.busy(head)) if text]
    source = harness.goals()["source"]
    print("\n".join([machine.as_text(head), *(f"warning: {text}" for text in head["warnings"])]))
    print(f"goals of {source['date']}. {source['text']}", flush=True)
    if options.quick:
        print("--quick: small batches and few rounds, so met and not met are hints; good for seeing that all works, not for quoting")
    done: list = []
    failures: dict[str, str] = {}
    code = OK

    def save() -> None:
        if options.json is None:
            return
        kinds = {"tables": harness.Table, "sweeps": harness.Sweep, "listings": harness.Listing}
        result = {
            "format": 1,
            "machine": head,
            "quick": options.quick,
            "peers": options.peers,
            "failures": failures,
            **{name: [part.as_json() for part in done if isinstance(part, kind)] for name, kind in kinds.items()},
        }
        options.json.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")

    try:
        for name in names:
            print(f"sublearn bench: {name} ..", file=sys.stderr, flush=True)
            try:
                for part in _parts(name, harness.Options(options.peers, options.quick, threads)):
                    print("\n" + part.as_text(), flush=True)
                    done.append(part)
            except BrokenPipeError:  # the reader of stdout has gone
                raise
            except Exception as error:  # of our own: the other workloads are still measured
                failures[name] = harness.describe(error)
                print(f"\n{name} failed: {failures[name]}", flush=True)
            save()
    except KeyboardInterrupt:
        print("sublearn bench: interrupted; what was measured is kept with --json", file=sys.stderr)
        save()
        code = INTERRUPTED
    return code or (FAILED if failures or any(part.failed for part in done) else OK)


def _parts(name: str, options: harness.Options) -> Iterable[harness.Table | harness.Sweep | harness.Listing]:
    yield from importlib.import_module(f".{WORKLOADS[name]}", __package__).run(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sublearn bench", description="Time the kernels against their peers, in one run on this machine.")
    parser.add_argument("workloads", nargs="*", metavar="W", help=f"out of {', '.join(WORKLOADS)} (default: all)")
    parser.add_argument(
        "--peers", action="store_true", help="time numpy, torch, jax, python-flint and scipy too (pip install 'sublearn[bench]')"
    )
    parser.add_argument("--quick", action="store_true", help="small batches, few rounds: a minute instead of many")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write everything measured to this file")
    parser.add_argument("--threads", type=_positive, metavar="N", help="use N threads, and keep the peers on N cores too (default: all)")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number >= 1, got {text}")
    return number
