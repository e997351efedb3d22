"""Which modules a build makes: cmake/find_gpu.cmake, asked with an nvcc that pretends."""

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sublearn import _cpu

ROOT = Path(__file__).parent.parent
CMAKE = shutil.which("cmake", path=str(Path(sys.executable).parent)) or shutil.which("cmake")


def find_gpu(folder, program, compiles=True):
    """(architectures, why) where nvcc knows 8.0, 9.0 and 10.0 and the program that it compiles does what the shell lines `program` say."""
    nvcc = folder / "nvcc"
    nvcc.write_text(f"""#!/bin/sh
if [ "$1" = --list-gpu-arch ]; then printf 'compute_80\\ncompute_90\\ncompute_100\\n'; exit 0; fi
{"" if compiles else "exit 2"}
printf '#!/bin/sh\\n%s\\n' '{program}' >find_gpu && chmod +x find_gpu
""")
    nvcc.chmod(0o755)
    script = folder / "ask.cmake"
    script.write_text(
        f"""cmake_minimum_required(VERSION 3.20)
set(CMAKE_CUDA_COMPILER "{nvcc}")
set(CMAKE_CURRENT_BINARY_DIR "{folder}")
include("{ROOT}/cmake/find_gpu.cmake")
sublearn_find_gpu(found why)
file(WRITE "{folder}/answer" "${{found}}\\n${{why}}")
""".replace("\\n", "\n")
    )
    subprocess.run([CMAKE, "-P", str(script)], check=True, timeout=60)
    return tuple((folder / "answer").read_text().split("\n"))


@pytest.mark.skipif(CMAKE is None, reason="no cmake here")
@pytest.mark.parametrize(
    "program, architectures, why",
    [
        ("echo -n 90", "90-real;90-virtual", "nvcc is here, and a GPU of compute capability 90"),
        ('echo -n "90;90"', "90-real;90-virtual", "a GPU of compute capability 90"),
        ('echo -n "100;80"', "100-real;80-real;100-virtual", "a GPU of compute capability 100, 80"),
        ('echo -n "75;80"', "80-real;80-virtual", "a GPU of compute capability 75, 80"),
        ("echo -n 120", "90-real;90-virtual", "a GPU of compute capability 120"),
        ("echo -n 75", "", "the GPU has compute capability 75, 80 (8.0) is the least"),
        (
            "echo -n no CUDA-capable device is detected; exit 1",
            "",
            "nvcc is here, but no GPU: no CUDA-capable device is detected; SUBLEARN_CUDA=ON",
        ),
    ],
    ids=str,
)
def test_cuda_is_built_for_the_gpu_that_is_here(tmp_path, program, architectures, why):
    found, said = find_gpu(tmp_path, program)
    assert found == architectures and why in said


@pytest.mark.skipif(CMAKE is None, reason="no cmake here")
def test_an_nvcc_that_does_not_compile(tmp_path):
    assert find_gpu(tmp_path, "echo -n 90", compiles=False) == (
        "",
        f"{tmp_path}/nvcc does not work here, or cannot compile for compute capability 9.0",
    )


def instruction_sets(folder, **options):
    """Those that a build on this machine would compile, by the message of its configuration."""
    done = subprocess.run(
        [CMAKE, "-S", ROOT, "-B", folder, "-DSUBLEARN_PYTHON=OFF", "-DSUBLEARN_CUDA=OFF", *(f"-D{k}={v}" for k, v in options.items())],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if "Kernels are compiled for" in line)
    return line.rpartition(": ")[2].split(";")


@pytest.mark.skipif(CMAKE is None, reason="no cmake here")
def test_instruction_sets_of_a_build(tmp_path):
    possible = _cpu.isas(compiled=False)
    assert instruction_sets(tmp_path / "auto") == ["base", *possible[1:][-1:]]
    assert instruction_sets(tmp_path / "off", SUBLEARN_SIMD="OFF") == ["base"]
    if platform.machine() == "x86_64":
        assert sorted(instruction_sets(tmp_path / "all", SUBLEARN_SIMD="ALL")) == ["avx2", "avx512", "base"]
    wrong = subprocess.run(
        [CMAKE, "-S", ROOT, "-B", tmp_path / "wrong", "-DSUBLEARN_PYTHON=OFF", "-DSUBLEARN_SIMD=AVX"], capture_output=True, text=True
    )
    assert wrong.returncode and "SUBLEARN_SIMD: expected AUTO, ALL or OFF, got AVX" in wrong.stderr
