"""The stubs beside the compiled modules name what the modules have: every function, class, method and argument. .ci/stubs writes them."""

import ast
import re
from pathlib import Path

import pytest

import sublearn

FOLDER = Path(sublearn.__file__).parent


def stubbed(body):
    """{name: argument names of each overload, or the same for the members of a class, or None of a value}."""
    found = {}
    for node in body:
        if isinstance(node, ast.FunctionDef):
            arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
            found.setdefault(node.name, set()).add(tuple(a.arg for a in arguments if a.arg != "self"))
        elif isinstance(node, ast.ClassDef):
            found[node.name] = stubbed(node.body)
        elif isinstance(node, ast.AnnAssign):
            found[node.target.id] = None
    return found


def written(function):
    """The argument names of each overload in the docstring of a compiled function."""
    names = set()
    for line in re.findall(rf"^(?:\d+\. )?{function.__name__}\((.*)\) -> ", function.__doc__, re.MULTILINE):
        arguments = ast.parse(f"def f({re.sub(r'<[^>]*>', 'None', line)}): ...").body[0].args
        names.add(tuple(a.arg for a in arguments.args + arguments.kwonlyargs if a.arg != "self"))
    return names


def agree(stub, module):
    for name, entry in stub.items():
        if name == "__all__":
            continue
        real = getattr(module, name)
        if isinstance(entry, dict):
            assert {member for member in vars(real) if not member.startswith("_")} == {m for m in entry if not m.startswith("_")}, name
            agree(entry, real)
        elif callable(real):
            assert entry == written(real), name
        elif entry is not None:
            assert isinstance(real, property), name


@pytest.mark.parametrize("module, stub", [("_cpu", "_cpu"), ("_cuda_emulated", "_cuda")])
def test_stubs_are_those_of_the_compiled_modules(module, stub):
    compiled = pytest.importorskip(f"sublearn.{module}", reason="built only with SUBLEARN_CUDA=EMULATE")
    names = stubbed(ast.parse((FOLDER / f"{stub}.pyi").read_text()).body)
    public = {name for name in dir(compiled) if not name.startswith("_") and name not in ("RACES", "planted_race")}  # for ThreadSanitizer
    assert public == set(names) - {"__all__"}
    agree(names, compiled)


def test_the_package_says_that_it_is_typed():
    assert (FOLDER / "py.typed").exists()
