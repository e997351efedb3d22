"""SUBLEARN_EXPECT_PACKAGE (tests/conftest.py): where .ci/run says which build it means, no other one is tested."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import sublearn
from sublearn import _cpu

ROOT = Path(__file__).parent.parent
PACKAGE = Path(sublearn.__file__).parent


def collect(expected, path=PACKAGE.parent):
    """pytest, as far as collecting a file; path: the folders where Python looks for packages first."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-p", "no:cacheprovider", "tests/test_stubs.py"],
        env={**os.environ, "SUBLEARN_EXPECT_PACKAGE": str(expected), "PYTHONPATH": str(path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )


def refused(done, module, expected, found):
    said = f"SUBLEARN_EXPECT_PACKAGE: expected {module} from {expected}/sublearn, got {found}"
    return done.returncode == 4 and said in done.stdout + done.stderr and "test_stubs.py" not in done.stdout


def test_the_package_meant_is_tested():
    done = collect(PACKAGE.parent)
    assert done.returncode == 0 and "test_stubs.py" in done.stdout, done.stdout + done.stderr


def test_another_package_is_refused(tmp_path):
    assert refused(collect(tmp_path), "sublearn", tmp_path, PACKAGE)
    shutil.copytree(PACKAGE, tmp_path / "sublearn", ignore=shutil.ignore_patterns("__pycache__"))
    assert refused(collect(tmp_path), "sublearn", tmp_path, PACKAGE)  # it is there, but is not what Python imports
    assert collect(tmp_path, tmp_path).returncode == 0


def test_another_compiled_module_is_refused(tmp_path):
    """As beside an editable install, whose finder of modules comes before the folders of PYTHONPATH."""
    shutil.copytree(PACKAGE, tmp_path / "sublearn", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "sitecustomize.py").write_text(f"""
import importlib.util, sys

class Finder:
    def find_spec(name, path=None, target=None):
        return importlib.util.spec_from_file_location(name, {_cpu.__file__!r}) if name == "sublearn._cpu" else None

sys.meta_path.insert(0, Finder)
""")
    assert refused(collect(tmp_path, tmp_path), "sublearn._cpu", tmp_path, PACKAGE)
