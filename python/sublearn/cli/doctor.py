"""The verb `doctor`: versions, what computes here, and a self-test of the kernels. Needs numpy only."""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Sequence
from pathlib import Path

from .._version import installed_version
from .common import BAD, OK, STUDY_NEEDS, missing_for_studies, print_json


def doctor(options: argparse.Namespace) -> int:
    import numpy

    def version(name: str) -> str:
        from importlib import metadata

        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            return "not installed"

    lines = [
        ("sublearn", f"{installed_version()} in {Path(__file__).parents[1]}"),
        ("python", f"{platform.python_version()} ({platform.python_implementation()}), {platform.platform()}"),
        ("numpy", numpy.__version__),
    ]
    lines += [(name, version(name)) for name in (*STUDY_NEEDS, "cupy")]
    missing = missing_for_studies()
    lines.append(("extra 'study'", "complete" if not missing else f"missing {', '.join(missing)}: pip install 'sublearn[study]'"))
    try:
        from ..backend import selection
        from ..backend.compiled import cpu
    except ImportError as error:
        _print([*lines, ("compiled core", f"cannot be imported: {error}")], options.json)
        return BAD
    lines += [
        ("instruction set", instruction_set(cpu.isa(), cpu.isas(), cpu.isas(compiled=False))),
        ("threads", f"{cpu.threads_available()} by default, {os.cpu_count()} processors"),
        ("gpu", selection.cuda_device()),
        ("match", selection.backend_of("match_probability")),
        ("kernels", _self_test()),
    ]
    _print(lines, options.json)
    return OK if lines[-1][1] == "ok" else BAD


def _print(lines: Sequence[tuple[str, str]], as_json: bool) -> None:
    if as_json:
        print_json(dict(lines))
        return
    for name, text in lines:
        print(f"{name:<16}{text}")


def instruction_set(chosen: str, compiled: Sequence[str], possible: Sequence[str]) -> str:
    """What doctor says of the instruction sets; the lists are of this machine, slowest first."""
    text = f"{chosen} (compiled and possible here: {', '.join(compiled)})"
    if possible[-1] not in compiled:
        text += f"; {possible[-1]} would be faster: install sublearn again on this machine (docs/speed.md)"
    return text


def _self_test() -> str:
    """The word ok, if a small prediction and a small measurement come out as known; else what was wrong."""
    from ..match.probability import match_probability
    from ..model.network import Recurrent
    from ..model.strategies import everything, scattered
    from ..ranks.generic_rank import required_rank

    net = Recurrent(inputs=2, hidden=4, outputs=2, steps=3)
    shared = ("B", "D")
    kappa = required_rank(net, shared)
    few = match_probability(net, scattered(net, kappa - 1, within="W"), 32, shared=shared, screen=False, starts=3)
    every = match_probability(net, everything(net, shared), 32, shared=shared, starts=30)
    if kappa == 4 and few.matched == 0 and every.matched >= 24:
        return "ok"
    return f"wrong: required rank {kappa} (4), found {few.matched} of 32 (0) and {every.matched} of 32 (most)"
