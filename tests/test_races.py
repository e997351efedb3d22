"""Races of the CUDA kernels, found without a GPU: the emulator under ThreadSanitizer, with threads in a random order
(csrc/cuda/emulation/emulate.cpp).

Only in a build with SUBLEARN_CUDA=EMULATE and SUBLEARN_SANITIZE=thread; .ci/run makes one and runs these tests in it.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

emulated = pytest.importorskip("sublearn._cuda_emulated", reason="built only with SUBLEARN_CUDA=EMULATE")
pytestmark = pytest.mark.skipif(not hasattr(emulated, "RACES"), reason="built only with SUBLEARN_SANITIZE=thread")
ROOT = Path(__file__).resolve().parent.parent
FOUND = 66  # ThreadSanitizer's exit code


def run(*arguments, order):
    environment = {
        **os.environ,
        "SUBLEARN_CUDA_MODULE": "emulated",
        "SUBLEARN_EMULATED_ORDER": str(order),
        "TSAN_OPTIONS": f"halt_on_error=1:report_signal_unsafe=0:exitcode={FOUND}",
    }
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1200)


@pytest.mark.parametrize("race", ["none", "no barrier", "one buffer", "no atomic"])
def test_planted_races_are_found(race):
    number = ["none", "no barrier", "one buffer", "no atomic"].index(race)
    for order in (1, 2, 3):
        done = run("-c", f"from sublearn import _cuda_emulated as m; print(m.planted_race({number}))", order=order)
        if race == "none":
            assert done.returncode == 0 and done.stdout == "1276\n", done.stderr
        else:
            assert done.returncode == FOUND and "data race" in done.stderr and "planted_races.cpp" in done.stderr, done.stderr


@pytest.mark.parametrize("part", ["ranks", "networks", "resident", "paths"])
def test_kernels_have_no_races(part):
    done = run("-m", "bench.gpu.small", part, order=int.from_bytes(os.urandom(3), "big"))
    assert done.returncode == 0 and f"{part} ran" in done.stdout, done.stdout + done.stderr[-6000:]
