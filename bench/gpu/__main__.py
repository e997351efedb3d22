"""python -m bench.gpu [W1 .. W4, W6, match, verdicts, crossovers] [--quick] [--json FILE]: tables on stdout. Exit codes as of `sublearn
bench`.

The file is written anew after every table, so that what was measured survives a time limit.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from pathlib import Path

from .. import harness, machine
from .workloads import WORKLOADS, GpuOptions, module


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu")
    parser.add_argument("workloads", nargs="*", metavar="W", help=f"out of {', '.join(WORKLOADS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that all works")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.workloads if name not in WORKLOADS]:
        parser.error(f"expected workloads out of {', '.join(WORKLOADS)}, got {', '.join(unknown)}")
    about = {**machine.header(machine.cores()), "gpu": module().device_info(0), "emulated": module().EMULATED}
    print(machine.as_text(about), f"gpu: {about['gpu']}", sep="\n", flush=True)
    tables, listings, failures = [], [], {}

    def save() -> None:
        if options.json:
            result = {
                "format": 1,
                "machine": about,
                "quick": options.quick,
                "failures": failures,
                "tables": [t.as_json() for t in tables],
                "listings": [part.as_json() for part in listings],
            }
            written = options.json.with_suffix(".part")
            written.write_text(json.dumps(result, indent=1, allow_nan=False, default=str) + "\n", encoding="utf-8")
            written.replace(options.json)

    for name in options.workloads or WORKLOADS:
        try:
            for part in WORKLOADS[name](GpuOptions(peers=True, quick=options.quick, threads=machine.cores())):
                print("\n" + part.as_text(), flush=True)
                (tables if isinstance(part, harness.Table) else listings).append(part)
                save()
        except Exception as error:  # the others are still measured
            failures[name] = harness.describe(error)
            print(f"\n{name} failed: {failures[name]}", flush=True)
            traceback.print_exc()
        save()
    return 1 if failures or any(table.failed for table in tables) else 0


if __name__ == "__main__":
    sys.exit(main())
