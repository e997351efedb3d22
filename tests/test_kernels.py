"""The CPU and a GPU offer the same calls (backend/kernels.py), and the CPU hands each on to the compiled function as it is."""

import ast
import dataclasses
import inspect
import types
from pathlib import Path

import pytest

import sublearn
from sublearn.backend import host
from sublearn.backend.cuda import CudaKernels
from sublearn.backend.host import HostKernels
from sublearn.backend.kernels import FitOptions, Kernels

METHODS = [name for name, member in vars(Kernels).items() if inspect.isfunction(member) and not name.startswith("_")]
STUB = ast.parse((Path(sublearn.__file__).parent / "_cpu.pyi").read_text()).body
COMPILED = [name for name in METHODS if name in {node.name for node in STUB if isinstance(node, ast.FunctionDef)}]


def arguments(function):
    """[(name, kind, default)] of a method."""
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


def differences(kind):
    """The methods that `kind` lacks, takes other arguments for or does not annotate."""
    found = []
    for name in METHODS:
        method = vars(kind).get(name)
        if not inspect.isfunction(method) or arguments(method) != arguments(vars(Kernels)[name]):
            found.append(name)
        elif set(method.__annotations__) != {p for p, *_ in arguments(method)} - {"self"} | {"return"}:
            found.append(name)
    return found


def test_the_protocol_lists_what_calls_use():
    networks = {"outputs", "jacobian", "jacobian_mod", "fit", "newton", "continuation", "draw"}
    assert set(COMPILED) == networks | {"rank_real", "rank_mod", "project", "choose_columns"}
    assert set(METHODS) - set(COMPILED) == {"from_caller", "to_caller", "to_host", "gather", "for_numpy"}
    assert all(inspect.getdoc(vars(Kernels)[name]) for name in METHODS)


@pytest.mark.parametrize("made", [HostKernels(), CudaKernels(None, 0, 0)], ids=["cpu", "gpu"])
def test_both_fulfil_the_protocol(made):
    assert differences(type(made)) == []
    assert {name for name in dir(made) if not name.startswith("_")} == {*METHODS, *Kernels.__annotations__}
    assert made.on_device is False and type(made.largest_side) is int


@pytest.mark.parametrize("wrong", ["absent", "renamed", "another default", "bare"])
def test_a_planted_difference_is_found(wrong):
    class Planted(HostKernels):
        vars().update({name: vars(HostKernels)[name] for name in METHODS})
        if wrong == "absent":
            del rank_mod  # noqa: F821
        elif wrong == "renamed":

            def rank_mod(self, a: object, prime: int, threads: int = 0) -> object: ...

        elif wrong == "another default":

            def rank_mod(self, a: object, p: int, threads: int = 1) -> object: ...

        else:

            def rank_mod(self, a, p, threads=0): ...

    assert differences(Planted) == ["rank_mod"]


@pytest.mark.parametrize("name", COMPILED)
def test_the_compiled_functions_take_the_same(name):
    """In the same order, under the same names and with the same defaults, so that HostKernels can pass them on by position."""
    stub = next(node for node in STUB if isinstance(node, ast.FunctionDef) and node.name == name).args
    defaults = [inspect.Parameter.empty] * (len(stub.args) - len(stub.defaults)) + [ast.literal_eval(d) for d in stub.defaults]
    other = {"from_": "origin"}  # `from` is a word of Python
    compiled = [(other.get(a.arg, a.arg), default) for a, default in zip(stub.args, defaults)]
    wanted = [(p, default) for p, _, default in arguments(vars(Kernels)[name])[1:] if p != "options"]
    if len(wanted) < len(arguments(vars(Kernels)[name])) - 1:  # options of fit: its fields, one by one
        wanted += [(one.name, one.default) for one in dataclasses.fields(FitOptions)]
    assert compiled == wanted


@pytest.mark.parametrize("name", sorted(set(COMPILED) - {"rank_real"}))  # which counts what is proven
def test_the_cpu_hands_every_argument_on(monkeypatch, name):
    names, result = [p for p, *_ in arguments(vars(Kernels)[name])[1:]], object()
    fields = [object() for _ in dataclasses.fields(FitOptions)] if "options" in names else []
    own = tuple(object() for p in names if p != "options")
    given = (*own, FitOptions(*fields)) if fields else own
    seen = []
    monkeypatch.setattr(host, "cpu", types.SimpleNamespace(**{name: lambda *a: seen.append(a) or result}))
    assert getattr(HostKernels(), name)(*given) is result
    assert seen == [(*own, *fields)]
