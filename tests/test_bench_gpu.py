"""The GPU benchmarks, run by the emulator with tiny sizes, so that errors in them are found without a GPU; and the script around them."""

import json
import os
import re
import struct
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from bench import harness
from bench.gpu import collect, crossovers
from sublearn.backend.compiled import cuda_module

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("workload", ["W1", "W2", "W3", "W4", "W6", "match", "verdicts", "crossovers"])
def test_workloads(emulated, monkeypatch, tmp_path, capsys, workload):
    from bench.gpu import __main__, workloads

    monkeypatch.setattr(workloads, "BATCH", {8: 4, 32: 4})
    monkeypatch.setattr(harness.Options, "call_seconds", 0.0)
    monkeypatch.setattr(harness.Options, "rounds", 2)
    for peer in ("torch_gpu", "jax_gpu", "cupy_gpu"):  # installed or not
        monkeypatch.setattr(workloads, peer, lambda *_: (_ for _ in ()).throw(harness.Skipped("no GPU in a test")))
    path = tmp_path / "out.json"
    assert __main__.main([workload, "--quick", "--json", str(path)]) == 0
    told = json.loads(path.read_text())
    assert not told["failures"] and told["tables"] + told["listings"] and told["machine"]["emulated"]
    for table in told["tables"]:
        assert table["timings"][0]["rate"] > 0 and all(t["rate"] or t["not_measured"] for t in table["timings"])
    if workload == "W1":
        assert all("no GPU in a test" == t["not_measured"] for t in told["tables"][0]["timings"][1:])
    if workload == "crossovers":
        lines = told["listings"][-1]["rows"]
        assert [line[1] for line in lines] == ["CUDA_LEAST_WORK", "TRIALS_AT_ONCE", "kSharedStrip"]
        for file, name, now, _ in lines:  # they are there, with the value told
            found = re.search(rf"\b{name} = ([^;#\n]+)", (ROOT / file).read_text())
            assert found and eval(found[1]) == (now if isinstance(now, int) else eval(now))
        assert cuda_module()[0].strips(0) > 0
    assert "0 of" in capsys.readouterr().out or workload != "W1"


def test_failures_are_kept_apart(emulated, monkeypatch, tmp_path, capsys):
    from bench.gpu import __main__

    def broken(options):
        yield harness.Listing("first", "kept", ["n"], [[1]])
        raise RuntimeError("planted")

    whole = lambda options: iter([harness.Listing("second", "kept", ["n"], [[2]])])  # noqa: E731
    monkeypatch.setattr(__main__, "WORKLOADS", {"broken": broken, "whole": whole})
    path = tmp_path / "out.json"
    assert __main__.main(["--json", str(path)]) == 1
    told = json.loads(path.read_text())
    assert [part["workload"] for part in told["listings"]] == ["first", "second"] and "planted" in told["failures"]["broken"]
    with pytest.raises(SystemExit):
        __main__.main(["W9"])
    assert "expected workloads out of broken, whole, got W9" in capsys.readouterr().err


def test_small_runs_every_kernel(emulated):
    import runpy

    runpy.run_module("bench.gpu.small")


def test_first_lead():
    assert crossovers.first_lead([1, 2, 4, 8], [1, 2, 4, 8], [3, 1, 5, 5]) == 8  # one lucky call is no lead
    assert crossovers.first_lead([1, 2, 4, 8], [1, 2, 4, 8], [3, 1, 3, 5]) == 2
    assert crossovers.first_lead([1, 2], [1, 2], [2, 3]) is None


def script(tmp_path, step, **environment):
    """bench/gpu/run.sh with a Python that does as it is told: W3 writes its first table and hangs, W4 fails."""
    fake = tmp_path / "python"
    fake.write_text(
        '#!/bin/bash\necho "$@" >>"$(dirname "$0")/asked"\n'
        f'case "$*" in *"bench.gpu W3"*) echo \'{json.dumps({"tables": [TABLE]})}\' >"${{@: -1}}"; sleep 60;;\n'
        '*"bench.gpu W4"*) echo oh no; exit 3;; *xdist*) exit 1;;\n'
        f'"- "*|*collect.py*) exec {os.environ.get("PYTHON", "python3")} "$@";; *pytest*) echo "7 passed";; esac\n'
    )
    fake.chmod(0o755)
    out = tmp_path / "results"
    where = {"PATH": os.environ["PATH"], "PYTHON": str(fake), "OUT": str(out), "SUBLEARN_GPU_SITE": str(tmp_path), **environment}
    return subprocess.Popen(
        [str(ROOT / "bench/gpu/run.sh"), step], env=where, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ), out


TABLE = {
    "workload": "W3",
    "dtype": "float32",
    "case": "64 students",
    "unit": "steps",
    "notes": ["x0.3 of the goal"],
    "best_peer": "other",
    "times_best_peer": 2.5,
    "timings": [{"rate": 1234.0, "note": "", "not_measured": None}],
}


def test_script_goes_on_after_failures_and_limits(tmp_path):
    """The other stages run, what was written is collected, in four files, and the tables are printed last."""
    running, out = script(tmp_path, "bench", SUBLEARN_GPU_STAGE_SECONDS="2", SUBLEARN_GPU_QUICK="1", SUBLEARN_COMMIT="abc")
    said, errors = running.communicate(timeout=60)
    summary = (out / "summary.txt").read_text()
    assert running.returncode == 1, errors
    for line in (
        "bench-W1: ok",
        "bench-W3: FAILED (stopped after 2 s)",
        "bench-W4: FAILED (exit code 3)",
        "  oh no",
        "bench-W2: ok",
        "bench-match: ok",
        "bench-verdicts: ok",
        "bench-crossovers: ok",
    ):
        assert line in summary, summary
    assert re.findall("bench-(.*?): ", summary) == ["W1", "W3", "W4", "W6", "W2", "match", "crossovers", "verdicts"]
    assert sorted(path.name for path in out.iterdir()) == ["logs.tgz", "results.json", "summary.txt", "tables.txt"]
    told = json.loads((out / "results.json").read_text())
    assert told["workloads"] == {"W3": {"tables": [TABLE]}}
    assert {"device", "driver", "date"} <= set(told) and (told["commit"] == "abc" or len(told["commit"].split()[0]) == 40)
    assert {stage["name"]: stage["exit_code"] for stage in told["stages"]}["bench-W4"] == 3
    line = "W3 float32 64 students: 1.23e+03 steps/s; x0.3 of the goal; x2.5 of the best peer, other"
    assert said.splitlines()[-1] == line and (out / "tables.txt").read_text().startswith(line + "\n\n")
    assert "bench.gpu W1 --quick --json" in (tmp_path / "asked").read_text()
    with tarfile.open(out / "logs.tgz") as logs:
        assert b"oh no" in logs.extractfile("./bench-W4.log").read()


def test_script_checks(tmp_path):
    """The tests and both tools of compute-sanitizer run side by side, each with its log."""
    tool = tmp_path / "compute-sanitizer"
    tool.write_text('#!/bin/sh\ndate +%s >>"$0.ran"; sleep 2; date +%s >>"$0.ran"; echo "ran $2"; [ $2 = memcheck ]\n')
    tool.chmod(0o755)
    running, out = script(tmp_path, "check", PATH=f"{tmp_path}:{os.environ['PATH']}", SUBLEARN_GPU_STAGES="doctor tests memcheck racecheck")
    errors = running.communicate(timeout=60)[1]
    summary = (out / "summary.txt").read_text()
    assert running.returncode == 1, errors
    for line in (
        "doctor: ok",
        r"tests: ok, \d+ s; 7 passed",
        r"memcheck: ok, [2-9] s; ran memcheck",
        r"racecheck: FAILED \(exit code 1\), [2-9] s",
    ):
        assert re.search(line, summary), summary
    begins, ends = (sorted(map(int, Path(f"{tool}.ran").read_text().split()))[part] for part in (slice(2), slice(2, None)))
    assert max(begins) < min(ends)
    assert sorted(path.name for path in out.iterdir()) == ["logs.tgz", "results.json", "summary.txt"]
    assert [stage["name"] for stage in json.loads((out / "results.json").read_text())["stages"]][:2] == ["doctor", "tests"]


def test_script_stopped_from_outside_keeps_what_it_has(tmp_path):
    running, out = script(tmp_path, "bench")
    while "bench.gpu W3" not in ((tmp_path / "asked").read_text() if (tmp_path / "asked").exists() else ""):
        time.sleep(0.05)
    time.sleep(0.5)
    began = time.monotonic()
    running.terminate()
    running.communicate(timeout=60)
    assert running.returncode == 1 and time.monotonic() - began < 10
    assert json.loads((out / "results.json").read_text())["workloads"] == {"W3": {"tables": [TABLE]}}
    assert "bench-W1: ok" in (out / "summary.txt").read_text() and "stopped by a signal" in (out / "summary.txt").read_text()


def test_script_says_what_had_no_time(tmp_path):
    running, out = script(tmp_path, "bench", SUBLEARN_GPU_STAGES="bench-W1 bench-W3", SUBLEARN_GPU_SECONDS="0")
    running.communicate(timeout=60)
    assert running.returncode == 1
    assert [line for line in (out / "summary.txt").read_text().splitlines() if "no time left" in line] == [
        "bench-W1: not run, no time left",
        "bench-W3: not run, no time left",
    ]
    assert "-m bench.gpu" not in (tmp_path / "asked").read_text()


def test_script_wants_a_step(tmp_path):
    running, out = script(tmp_path, "all")
    assert "run.sh check" in running.communicate(timeout=60)[1] and running.returncode == 2 and not out.exists()


def test_short_tables_stay_short():
    many = {
        "W1": {"tables": [TABLE] * 500},
        "crossovers": {"listings": [{"workload": "crossovers", "what": "x", "columns": ["n"], "rows": [[1.5]]}]},
    }
    assert len(collect.short(many, {})) < collect.LONGEST + 100 and "tables.txt has the rest" in collect.short(many, {})
    del many["W1"]
    assert collect.short(many, {"rank-8": {"registers": "56"}}) == "crossovers x\n  n\n  1.5\ncounters of rank-8: registers 56"


REPORT = """
    Section: GPU Speed Of Light Throughput
    ----------------------- ------------- ------------
    Duration                           ms         2.31
    Executed Ipc Active        inst/cycle         2.10
    Registers Per Thread  register/thread          154
"""


def test_counters_of_a_profiler_are_kept(tmp_path):
    """One launch of each main kernel, after its benchmark; where there is no profiler, nothing is said."""
    tool = tmp_path / "ncu"
    tool.write_text(f"#!/bin/sh\necho \"$@\" >>{tmp_path}/profiled\ncat <<'END'\n{REPORT}END\n")
    tool.chmod(0o755)
    running, out = script(tmp_path, "bench", PATH=f"{tmp_path}:{os.environ['PATH']}", SUBLEARN_GPU_STAGES="bench-W2 ncu")
    errors = running.communicate(timeout=60)[1]
    assert running.returncode == 0, errors
    told = json.loads((out / "results.json").read_text())["counters"]
    assert sorted(told) == ["descend", "modp-16", "newton", "paths", "rank-32", "rank-8"]
    assert told["rank-8"] == {"duration": "2.31 ms", "instructions per cycle": "2.10 inst/cycle", "registers": "154 register/thread"}
    assert "bench.gpu.one rank 32" in (tmp_path / "profiled").read_text() and "--clock-control none" in (tmp_path / "profiled").read_text()


def test_resources_of_kernels_are_compared(tmp_path, monkeypatch, capsys):
    """Registers and spills from the compiler's lines, instructions from the program text inside the object, each against what is stated."""
    from bench.gpu import resources

    def elf(**lengths):  # section headers after the strings: .text.NAME of so many bytes
        names = b"\0" + b"".join(b".text." + name.encode() + b"\0" for name in lengths)
        header = bytearray(64)
        struct.pack_into("<Q", header, 40, 64 + len(names))
        struct.pack_into("<HHH", header, 58, 64, 1 + len(lengths), 0)
        sections, at = struct.pack("<IIQQQQ", 0, 3, 0, 0, 64, len(names)).ljust(64, b"\0"), 1
        for name, length in lengths.items():
            sections += struct.pack("<IIQQQQ", at, 1, 0, 0, 0, length).ljust(64, b"\0")
            at += len(name) + 7
        return b"\x7fELF" + bytes(header[4:]) + names + sections

    (tmp_path / "kernels.o").write_bytes(elf(host=32) + elf(_Z4rankv=1600, _Z3fitv=3200, not_reported=16))
    log = "".join(
        f"ptxas info : Compiling entry function '{name}' for 'sm_90'\n    {stack} bytes stack frame, {spill} bytes spill stores, 4 "
        f"bytes spill loads\nptxas info : Used {registers} registers\n"
        for name, stack, spill, registers in (("_Z4rankv", 0, 12, 56), ("_Z3fitv", 8, 0, 255))
    )
    (tmp_path / "log").write_text(log)
    found = resources.kernels(tmp_path, log)
    assert found == {"rank": resources.Kernel(56, 0, 16, 100), "fit": resources.Kernel(255, 8, 4, 200)}
    assert (
        resources.warps(56, 64, 0) == 36
        and resources.warps(48, 64, 512) == 40
        and resources.warps(255, 32, 0) == 8
        and resources.warps(32, 32, 112 * 1024) == 2
    )
    assert resources.warps(16, 32, 0) == 32 and resources.warps(32, 256, 0) == 64

    stated = {
        "nvcc": "13.0",
        "kernel": {"ours": {"name": "rank", "threads": 64, "shared": 0, "instructions": 100, "spilled": 16, "warps": 36}},
    }
    monkeypatch.setattr(resources, "compiler", lambda: "13.0")
    monkeypatch.setattr(resources.tomllib, "loads", lambda text: stated)
    assert resources.main(tmp_path, tmp_path / "log", False) == 0 and "as stated" in capsys.readouterr().out
    for changed, said in (
        ({"instructions": 96}, "100 instructions, stated 96"),
        ({"spilled": 15}, "spills 16 bytes, stated 15"),
        ({"warps": 38}, "36 warps fit a multiprocessor, stated 38"),
        ({"name": "gone"}, "no kernel of the name gone"),
    ):
        kernel = stated["kernel"]["ours"] | changed
        monkeypatch.setattr(resources.tomllib, "loads", lambda text, kernel=kernel: stated | {"kernel": {"ours": kernel}})
        assert resources.main(tmp_path, tmp_path / "log", False) == 1 and said in capsys.readouterr().out
    monkeypatch.setattr(resources, "compiler", lambda: "12.4")
    assert resources.main(tmp_path, tmp_path / "log", False) == 0 and "not compared" in capsys.readouterr().out
