"""The GPU benchmarks, run by the emulator with tiny sizes, so that errors in them are found without a GPU; and the script around them."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from sublearn import _devices

from bench import harness
from bench.gpu import crossovers

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("workload", ["W1", "W2", "W3", "W4", "match", "verdicts", "crossovers"])
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
        assert [line[1] for line in lines] == ["CUDA_LEAST_WORK", "_TRIALS", "kSharedStrip"]
        for file, name, now, _ in lines:  # they are there, with the value told
            found = re.search(rf"\b{name} = ([^;#\n]+)", (ROOT / file).read_text())
            assert found and eval(found[1]) == (now if isinstance(now, int) else eval(now))
        assert _devices.compiled()[0].strips(0) > 0
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


def script(tmp_path, **environment):
    fake = tmp_path / "python"
    fake.write_text('#!/bin/bash\necho "$@" >>"$(dirname "$0")/asked"\n'
                    'case "$*" in *"bench.gpu W3"*) echo \'{"tables": [1]}\' >"${@: -1}"; sleep 60;; *"bench.gpu W4"*) echo oh no; exit 3;;'
                    f' "- "*) exec {os.environ.get("PYTHON", "python3")} "$@";; esac\n')
    fake.chmod(0o755)
    out = tmp_path / "results"
    where = {"PATH": os.environ["PATH"], "PYTHON": str(fake), "OUT": str(out), "SUBLEARN_GPU_SITE": str(tmp_path), **environment}
    done = subprocess.run([str(ROOT / "bench/gpu/run.sh")], env=where, capture_output=True, text=True, timeout=60)
    return done, out


def test_script_goes_on_after_failures_and_limits(tmp_path):
    """W3 writes its first table and hangs, W4 fails: the other stages run, and what was written is collected."""
    done, out = script(tmp_path, SUBLEARN_GPU_STAGE_SECONDS="2", SUBLEARN_GPU_STAGES="doctor tests bench", SUBLEARN_GPU_QUICK="1")
    summary = (out / "summary.txt").read_text()
    assert done.returncode == 1, done.stderr
    for line in ("doctor: ok", "tests: ok", "bench-W1: ok", "bench-W3: FAILED (stopped after 2 s)", "bench-W4: FAILED (exit code 3)", "  oh no",
                 "bench-W2: ok", "bench-match: ok", "bench-verdicts: ok", "bench-crossovers: ok"):
        assert line in summary, summary
    assert json.loads((out / "results.json").read_text()) == {"W3": {"tables": [1]}}
    assert "bench.gpu W1 --quick --json" in (tmp_path / "asked").read_text()


def test_script_says_what_had_no_time(tmp_path):
    done, out = script(tmp_path, SUBLEARN_GPU_STAGES="doctor bench-W1", SUBLEARN_GPU_SECONDS="0")
    assert done.returncode == 1
    assert [line for line in (out / "summary.txt").read_text().splitlines() if "no time left" in line] == [
        "doctor: not run, no time left", "bench-W1: not run, no time left"]
    assert "bench.gpu" not in (tmp_path / "asked").read_text()
