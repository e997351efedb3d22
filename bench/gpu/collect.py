"""python bench/gpu/collect.py WORK OUT: what run.sh has measured so far, as OUT/results.json, OUT/tables.txt and, short, on stdout.

Needs nothing but Python, so that it works whatever failed. WORK holds stages.tsv (name, exit code, seconds), about.json (device, driver,
date, commit), bench-NAME.json and bench-NAME.log, and ncu-KERNEL.log, of which COUNTERS are kept. The short form has a line per table and
stays under LONGEST characters, most valuable first.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

ORDER = ("W1", "W3", "W4", "W6", "W2", "match", "crossovers", "verdicts")
LONGEST = 10_000
COUNTERS = {  # a profiler's line -> the name here
    "Duration": "duration",
    "Executed Ipc Active": "instructions per cycle",
    "Issue Slots Busy": "issue slots busy",
    "No Eligible": "no warp eligible",
    "Registers Per Thread": "registers",
    "Achieved Occupancy": "occupancy",
    "Achieved Active Warps Per SM": "warps per multiprocessor",
    "Compute (SM) Throughput": "compute throughput",
    "DRAM Throughput": "memory throughput",
    "Warp Cycles Per Issued Instruction": "cycles per instruction",
    "Executed Instructions": "instructions",
}


def line_of(table: dict) -> str:
    """One line for a table of harness.Table."""
    ours, *_ = table["timings"]
    text = f"{table['workload']} {table['dtype']} {table['case']}: "
    if not ours["rate"]:
        return f"{text}not measured: {ours['not_measured']}"
    parts = [f"{ours['rate']:.3g} {table['unit']}/s", *([ours["note"]] if ours["note"] else []), *table["notes"]]
    if table["best_peer"]:
        parts.append(f"x{table['times_best_peer']:.3g} of the best peer, {table['best_peer']}")
    return text + "; ".join(parts)


def lines_of(listing: dict) -> list[str]:
    """The rows of a harness.Listing, tabs between the cells."""
    cells = [[f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row] for row in [listing["columns"], *listing["rows"]]]
    return [f"{listing['workload']} {listing['what']}", *("  " + "\t".join(row) for row in cells)]


def counters_of(log: str) -> dict[str, str]:
    """A profiler's report: "  Name   unit   value" lines; the first of a name counts."""
    found: dict[str, str] = {}
    for line in log.splitlines():
        text = line.strip()
        for label, name in COUNTERS.items():
            if text.startswith(label + " ") and name not in found:
                *unit, value = text[len(label) :].split()
                found[name] = " ".join([value, *unit])
    return found


def short(workloads: dict[str, dict], counters: dict[str, dict[str, str]]) -> str:
    lines = []
    for name in (*ORDER, *(name for name in workloads if name not in ORDER)):
        found = workloads.get(name, {})
        lines += [line_of(table) for table in found.get("tables", ())]
        lines += [line for listing in found.get("listings", ()) for line in lines_of(listing)]
        lines += [f"{failed} failed: {why}" for failed, why in found.get("failures", {}).items()]
    lines += [
        f"counters of {kernel}: " + ", ".join(f"{name} {value}" for name, value in found.items()) for kernel, found in counters.items()
    ]
    text = "\n".join(line[:400] for line in lines)
    return text if len(text) <= LONGEST else text[:LONGEST].rpartition("\n")[0] + "\n(cut here: tables.txt has the rest)"


def main(work: Path, out: Path) -> None:
    stages = [line.split("\t") for line in (work / "stages.tsv").read_text().splitlines()]
    workloads = {path.stem.removeprefix("bench-"): json.loads(path.read_text()) for path in sorted(work.glob("bench-*.json"))}
    counters = {path.stem.removeprefix("ncu-"): counters_of(path.read_text(errors="replace")) for path in sorted(work.glob("ncu-*.log"))}
    results = {
        **json.loads((work / "about.json").read_text()),
        "stages": [{"name": name, "exit_code": int(code), "seconds": int(seconds)} for name, code, seconds in stages],
        "workloads": workloads,
        "counters": counters,
    }
    (out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    text = short(workloads, counters)
    logs = [path.read_text(errors="replace") for name in ORDER if (path := work / f"bench-{name}.log").exists()]
    if logs:
        (out / "tables.txt").write_text("\n\n".join([text, *logs]))
    if text:
        print(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
