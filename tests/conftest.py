"""Shared fixtures: the compiled instruction sets, and the rule that GPU tests skip themselves with a reason."""

import pytest

from sublearn import _cpu, _devices


@pytest.fixture(params=_cpu.isas())
def isa(request):
    """Runs the test once on every instruction set this machine has."""
    before = _cpu.isa()
    _cpu.set_isa(request.param)
    yield request.param
    _cpu.set_isa(before)


def pytest_collection_modifyitems(items):
    module, why = _devices.compiled()
    if module is None or module.EMULATED:
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason=why or "the kernels are emulated on the CPU"))
