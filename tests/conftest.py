"""Shared fixtures: the compiled instruction sets, the emulated GPU, and the rules that GPU tests skip themselves with a reason and that
the package under test is the one meant."""

import os
from contextlib import contextmanager
from pathlib import Path

import pytest

import sublearn
from sublearn import _cpu
from sublearn.backend.compiled import cuda_module
from sublearn.study.files import write_bytes
from sublearn.study.report import figures

_DRAWN = figures._write


@pytest.fixture(params=_cpu.isas())
def isa(request):
    """Runs the test once on every instruction set this machine has."""
    before = _cpu.isa()
    _cpu.set_isa(request.param)
    yield request.param
    _cpu.set_isa(before)


@pytest.fixture(scope="session", autouse=True)
def figures_are_a_byte():
    """Reports that tests have written draw nothing, for the time it takes; those that look at figures draw `with figures_drawn()`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "_write", lambda plan, data, paths: [write_bytes(path, b"x") for path in paths])
        yield


@pytest.fixture(scope="session")
def figures_drawn(figures_are_a_byte):
    """A context in which reports draw their figures."""

    @contextmanager
    def drawn():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(figures, "_write", _DRAWN)
            yield

    return drawn


@pytest.fixture
def emulated(monkeypatch):
    """The emulator takes the place of a GPU; skips where it is not built."""
    pytest.importorskip("sublearn._cuda_emulated", reason="built only with SUBLEARN_CUDA=EMULATE")
    monkeypatch.setenv("SUBLEARN_CUDA_MODULE", "emulated")
    cuda_module.cache_clear()
    assert cuda_module()[0].EMULATED
    yield
    cuda_module.cache_clear()


def pytest_configure():
    """SUBLEARN_EXPECT_PACKAGE: the folder that sublearn must come from. Another build would pass, and say nothing of this one."""
    expected = os.environ.get("SUBLEARN_EXPECT_PACKAGE")
    if expected is None:
        return
    for module in (sublearn, _cpu):
        folder = Path(module.__file__).parent
        if folder.resolve() != Path(expected, "sublearn").resolve():
            pytest.exit(f"SUBLEARN_EXPECT_PACKAGE: expected {module.__name__} from {expected}/sublearn, got {folder}", returncode=4)


def pytest_collection_modifyitems(items):
    module, why = cuda_module()
    if module is None or module.EMULATED:
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason=why or "the kernels are emulated on the CPU"))


@pytest.fixture(params=["lanes", "threads"])
def paths_kernel(request):
    """Which of the two kernels follows paths of networks and systems that fit the first: some lanes per path, or one thread."""
    module = cuda_module()[0]
    module.strips(1 if request.param == "threads" else 0)
    yield request.param
    module.strips(0)
