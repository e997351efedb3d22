"""Streams of the emulator: with SUBLEARN_EMULATED_STREAMS=deferred, work happens as late as CUDA allows and in any order that CUDA leaves
open, so that memory which is read too late or given back too early shows as a wrong number (tests/stream_faults.py)."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import sublearn as sl
from sublearn.backend.compiled import cuda_module

pytest.importorskip("sublearn._cuda_emulated", reason="built only with SUBLEARN_CUDA=EMULATE")
pytestmark = pytest.mark.usefixtures("emulated")

FAULTS = {"lent_memory", "pinned_source", "missing_wait", "another_stream", "read_elsewhere"}
MODES = {
    "at once": {},
    "late": {"STREAMS": "deferred"},
    "seed 1": {"STREAMS": "deferred", "ORDER": "1"},
    "late, without memory pools": {"STREAMS": "deferred", "POOLS": "0"},
    "at once, without memory pools": {"POOLS": "0"},
}


@pytest.mark.parametrize("mode", MODES)
def test_planted_faults(mode):
    """Without a fault the numbers are right. With it they are wrong where work is deferred, and right where it happens at once."""
    names = {f"SUBLEARN_EMULATED_{name}": value for name, value in MODES[mode].items()}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SUBLEARN_EMULATED_")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.stream_faults"],
        cwd=Path(__file__).resolve().parent.parent,
        env={**kept, **names, "SUBLEARN_CUDA_MODULE": "emulated"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    late = "STREAMS" in MODES[mode]
    faults = {name: found.pop(name) for name in FAULTS}
    assert all(found.values()) and len(found) == (4 - ("POOLS" in MODES[mode]) if late else 1), found
    assert all(right for right, _ in faults.values()), faults
    wrong = {name for name, (_, right) in faults.items() if not right}
    if mode in ("at once", "late"):
        assert wrong == (FAULTS if late else set())
    elif late:  # what may run early, by chance or as a free waits, may be early enough
        assert wrong


def test_shared_memory_is_allowed_once():
    """The emulator refuses a launch above the least that the kernel was ever allowed, as if another host thread had just set it again."""
    module = cuda_module()[0]
    module.planted_limit(by_call=False)
    with pytest.raises(RuntimeError, match="invalid argument"):
        module.planted_limit(by_call=True)


def test_host_threads_with_different_needs_of_shared_memory():
    stacks = [np.random.default_rng(n).standard_normal((2, n, n)) for n in (40, 100, 60, 90)]
    with ThreadPoolExecutor(4) as threads:
        ranks = list(threads.map(lambda a: sl.rank(a, backend="cuda").tolist(), stacks))
    assert ranks == [[n, n] for n in (40, 100, 60, 90)]
