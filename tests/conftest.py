"""Shared fixtures: the compiled instruction sets, the emulated GPU, and the rule that GPU tests skip themselves with a reason."""

import pytest

from sublearn import _cpu
from sublearn.backend import places


@pytest.fixture(params=_cpu.isas())
def isa(request):
    """Runs the test once on every instruction set this machine has."""
    before = _cpu.isa()
    _cpu.set_isa(request.param)
    yield request.param
    _cpu.set_isa(before)


@pytest.fixture
def emulated(monkeypatch):
    """The emulator takes the place of a GPU; skips where it is not built."""
    pytest.importorskip("sublearn._cuda_emulated", reason="built only with SUBLEARN_CUDA=EMULATE")
    monkeypatch.setenv("SUBLEARN_CUDA_MODULE", "emulated")
    places.compiled.cache_clear()
    assert places.compiled()[0].EMULATED
    yield
    places.compiled.cache_clear()


def pytest_collection_modifyitems(items):
    module, why = places.compiled()
    if module is None or module.EMULATED:
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason=why or "the kernels are emulated on the CPU"))


@pytest.fixture(params=["lanes", "threads"])
def paths_kernel(request):
    """Which of the two kernels follows paths of networks and systems that fit the first: some lanes per path, or one thread."""
    module = places.compiled()[0]
    module.strips(1 if request.param == "threads" else 0)
    yield request.param
    module.strips(0)
