"""Who may import whom, in Python and in C++: arrows go down. Arrows of today that go up are listed; a list may only become shorter.
docs/development/structure.md shows the tree that is on disk."""

import ast
import fnmatch
import functools
import re
import shutil
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE, CSRC = ROOT / "python" / "sublearn", ROOT / "csrc"
TREES = ROOT / "docs" / "development" / "structure.md"

# From the top; a room is a folder of the package, or a module that lies flat in it. Rooms of one storey never import each other.
LAYERS = (
    "cli",
    "study",
    "compare",
    "design",
    "theory | match | growth",
    "existence",
    "homotopy",
    "ranks | data",
    "interop",
    "ops",
    "model",
    "numerics",
    "backend",
    "_checks",
)
LEVEL = {room: -level for level, storey in enumerate(LAYERS) for room in storey.split(" | ")}
FLAT = {"", "__main__", "_version", "_checks", "compare"}  # modules that lie flat
OUTSIDE = {"__main__", "_version"}  # in no storey: the command line by another name, and a number

COMPILED = ("_cpu", "_cuda", "_cuda_emulated")

# What is left to mend.
UP: set[tuple[str, str]] = set()
CIRCLES: list[tuple[str, ...]] = []  # by imports in functions or for types only
LIBRARIES = {  # the room of each, or the rooms
    "matplotlib": "study",
    "xarray": "study",
    "rich": "study",
    "jinja2": "study",
    "distributed": "study",
    "scipy": "numerics",
    "sklearn": "data",
    "torch": "backend interop",
    "jax": "backend interop",
    "cupy": "backend",
}

# {folder: the folders that its files may include}. Of the mathematics only methods know the contracts in ops; cpu and cuda never meet.
MAY_INCLUDE = {
    "core": {"core"},
    "ops": {"core", "ops"},
    "scalar": {"core", "scalar"},
    "network": {"core", "scalar", "network"},
    "method": {"core", "ops", "scalar", "network", "method"},
    "cpu": {"core", "ops", "scalar", "network", "method", "cpu"},
    "cuda": {"core", "ops", "scalar", "network", "method", "cuda"},
    "bind": {"core", "ops", "bind"},
}
INCLUDED = {  # the emulator
    ("bind/register_cuda_devices.cpp", "cuda/emulation/planted_limit.h"),
    ("bind/register_cuda_devices.cpp", "cuda/emulation/planted_races.h"),
    ("bind/register_cuda_devices.cpp", "cuda/emulation/runtime.h"),
}
# {folder: files that several operations share}. All others carry the name of an operation, with a suffix or without.
SHARED = {"cpu": {"models", "networks"}, "cuda": {"check", "convolve", "group", "launch", "strip"}}


@functools.cache
def tree_of(text):
    return ast.parse(text)


def parse(file):
    return tree_of(file.read_text())


def modules(root):
    """{dotted name below the package: file}."""
    found = {}
    for file in sorted(root.rglob("*.py")):
        parts = file.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imports(tree):
    """(node, whether it runs when the module is imported) of every import, those under TYPE_CHECKING and in functions too."""
    waiting = [(tree, True)]
    while waiting:
        node, at_once = waiting.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.Import, ast.ImportFrom)):
                yield child, at_once
            for_types = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            waiting.append((child, at_once and not for_types and not isinstance(child, (ast.FunctionDef, ast.Lambda))))


def arrows(root=PACKAGE):
    """{(importer, imported): whether at import}, inside the package; the package itself is ""."""
    known, found = modules(root), {}
    for name, file in known.items():
        package = name if file.stem == "__init__" else name.rpartition(".")[0]
        for node, at_once in imports(parse(file)):
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            else:
                base = ["sublearn", *package.split(".")][: len(package.split(".")) + 2 - node.level] if node.level else []
                base = ".".join(part for part in (*base, *(node.module or "").split(".")) if part)
                targets = [f"{base}.{alias.name}" for alias in node.names]
            for target in targets:
                if target.split(".")[0] == "sublearn":
                    inner = target.partition(".")[2]
                    while inner not in (*known, *COMPILED, ""):
                        inner = inner.rpartition(".")[0]
                    found[name, inner] = found.get((name, inner), False) or at_once
    return found


def circles(edges):
    """The sets of modules that can reach each other."""
    after = defaultdict(set)
    for one, other in edges:
        after[one].add(other)
    reach = {}
    for start in list(after):
        seen, waiting = set(), [start]
        while waiting:
            for other in after[waiting.pop()] - seen:
                seen.add(other)
                waiting.append(other)
        reach[start] = seen
    return sorted({tuple(sorted(o for o in reach[m] if m in reach.get(o, ()))) for m in reach if m in reach[m]})


def upward(edges):
    """Arrows to a room above, or to another room of the same storey."""
    found = set()
    for one, other in edges:
        here, there = one.split(".")[0], other.split(".")[0]
        if here in LEVEL and there in LEVEL and here != there and LEVEL[there] >= LEVEL[here]:
            found.add((one, other))
    return found


def libraries(root=PACKAGE):
    """{(module, library)} of the imports of LIBRARIES, by statement or by importlib.import_module; True where one runs at import."""
    found = {}
    for name, file in modules(root).items():
        asked = []
        for node, at_once in imports(parse(file)):
            if isinstance(node, ast.Import):
                asked += [(alias.name, at_once) for alias in node.names]
            elif not node.level:
                asked.append((node.module, at_once))
        asked += [(library, False) for library in re.findall(r"import_module\([\"']([\w.]+)", file.read_text())]
        for library, at_once in asked:
            if (top := library.split(".")[0]) in LIBRARIES:
                found[name, top] = found.get((name, top), False) or at_once
    return found


def includes(root=CSRC):
    """{(file, included file)} of the includes in quotes that MAY_INCLUDE forbids."""
    found = set()
    for file in sorted(root.rglob("*.*")):
        here = file.relative_to(root)
        for included in re.findall(r'^\s*#\s*include\s+"([^"]+)"', file.read_text(), re.MULTILINE):
            if included.split("/")[0] not in MAY_INCLUDE.get(here.parts[0], ()):
                found.add((here.as_posix(), included))
    return found


def nameless(folder, root=CSRC):
    """Stems of the files of a folder that carry no operation's name."""
    operations = tuple(file.stem for file in (root / "ops").iterdir())
    stems = {file.stem for file in (root / folder).iterdir() if file.is_file()}
    return {stem for stem in stems if stem not in operations and not stem.startswith(tuple(f"{name}_" for name in operations))}


def private_users(root=ROOT):
    """(file, line) of bench and examples that name something of the package that begins with an underscore."""
    found = set()
    for folder in ("bench", "examples"):
        for file in (root / folder).rglob("*.py"):
            ours = {"sl"}
            for node, _ in imports(parse(file)):
                module = "" if isinstance(node, ast.Import) else ("." * node.level + (node.module or ""))
                for alias in node.names:
                    whole = f"{module}.{alias.name}" if module else alias.name
                    if whole.split(".")[0] == "sublearn":
                        ours.add(alias.asname or alias.name)
                        if re.search(r"\._", whole):
                            found.add((file.relative_to(root).as_posix(), node.lineno))
            for node in ast.walk(parse(file)):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ours:
                    if node.attr.startswith("_") and not node.attr.startswith("__"):
                        found.add((file.relative_to(root).as_posix(), node.lineno))
    return found


def shown(text):
    """Paths in the trees of a page, folders with a slash at the end: blocks of code whose first line is a folder. Two or more spaces stand
    between names and what is said of them; a line may hold several files."""
    found = set()
    for block in re.findall(r"^```text\n(\S+/[ \n].*?)^```", text, re.DOTALL | re.MULTILINE):
        above = []  # (indent, folder) of the folders around a line
        for line in block.splitlines():
            indent = len(line) - len(line.lstrip())
            above = [(depth, folder) for depth, folder in above if depth < indent]
            for name in re.split(r" {2,}", line.strip())[0].split(" "):
                path = (above[-1][1] if above else "") + name
                found.add(path)
                if name.endswith("/"):
                    above.append((indent, path))
    return found


def kept_apart(shown, root=ROOT):
    """(paths on disk that the trees lack, paths of the trees that are not on disk)."""
    disk = {file.relative_to(root).as_posix() for file in (root / "python" / "sublearn").rglob("*.py")}
    disk |= {file.relative_to(root).as_posix() for part in ("csrc", "cmake") for file in (root / part).rglob("*") if file.is_file()}
    ignored = [line.rstrip("/") for line in (ROOT / ".gitignore").read_text().split()]
    for folder in root.iterdir():
        if folder.is_dir() and not any(fnmatch.fnmatch(folder.name, pattern) for pattern in ignored):
            if not folder.name.startswith(".") or folder.name == ".ci":  # other hidden ones belong to git and to tools
                disk.add(folder.name + "/")
    return disk - shown, {path for path in shown if not (root / path).exists()}


@pytest.fixture
def planted(tmp_path):
    """A copy of a tree with one more line at the end of a file, and the copy."""

    def plant(source, file, line):
        copy = tmp_path / source.name
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        (copy / file).write_text((copy / file).read_text() + f"\n{line}\n")
        return copy

    return plant


def test_every_module_has_a_room():
    found = modules(PACKAGE)
    assert {name.split(".")[0] for name in found} - {""} - OUTSIDE == set(LEVEL)
    assert {name for name, file in found.items() if not name or (file.parent == PACKAGE and file.stem != "__init__")} == FLAT


def test_the_trees_in_the_docs_are_those_on_disk():
    assert kept_apart(shown(TREES.read_text())) == (set(), set())


@pytest.mark.parametrize(
    "path, line",
    [
        ("python/sublearn/ops/rank.py", r"^ *rank\.py .*\n"),
        ("csrc/method/rank_proof.h", r" rank_proof\.h"),
        ("csrc/cuda/emulation/emulate.h", r" emulate\.h"),
        ("cmake/isa.cmake", r"^ *isa\.cmake .*\n"),
        ("bench/", r"^bench/ .*\n"),
    ],
)
def test_a_path_that_the_docs_lack_is_found(path, line):
    text = TREES.read_text()
    less = re.sub(line, "", text, flags=re.MULTILINE)
    assert kept_apart(shown(less)) == ({path}, set())


@pytest.mark.parametrize(
    "path, after, more",
    [
        ("python/sublearn/ops/extra.py", "    rank.py ", "    extra.py   a file that is not there\n"),
        ("csrc/ops/extra.h", "    peak.h ", "    extra.h\n"),
        ("extra/", "examples/ ", "extra/   a folder that is not there\n"),
    ],
)
def test_a_path_of_the_docs_that_is_not_there_is_found(path, after, more):
    text = TREES.read_text()
    assert kept_apart(shown(text.replace(after, more + after, 1))) == (set(), {path})


def test_the_layers_in_the_docs_are_these():
    block = re.search(r"^```text\n(cli\n.*?)^```", TREES.read_text(), re.DOTALL | re.MULTILINE)[1]
    assert tuple(block.split("\n")[:-1]) == LAYERS


def test_arrows_go_down():
    assert upward(arrows()) == UP


def test_no_circles():
    every = arrows()
    assert circles([edge for edge, at_once in every.items() if at_once]) == []
    assert circles(every) == CIRCLES


def test_the_compiled_modules_are_imported_by_the_backend_only():
    found = {one for one, other in arrows() if other in COMPILED}
    assert {one.split(".")[0] for one in found} == {"backend"}


def test_libraries_are_imported_where_they_belong():
    found = libraries()
    assert {(module, library) for module, library in found if module.split(".")[0] not in LIBRARIES[library].split()} == set()
    assert [edge for edge, at_once in found.items() if at_once] == []  # `import sublearn` loads numpy alone


def test_bench_and_examples_use_public_names():
    assert private_users() == set()


@pytest.mark.parametrize(
    "line", ["from sublearn import _cpu", "from sublearn.ops.fit import _x", "import sublearn as sl; sl._cpu", "sl._cpu.isa()"]
)
def test_a_planted_private_name_is_found(planted, line):
    copy = planted(ROOT / "bench", "w1_rank.py", line)
    assert {file for file, _ in private_users(copy.parent)} == {"bench/w1_rank.py"}


# Functions that take more than MOST_PARAMETERS, and why.
MOST_PARAMETERS = 8
MANY_PARAMETERS = {
    **dict.fromkeys(
        ("fit", "newton", "continuation", "draw"), "the signature of the compiled function"
    ),  # Kernels, HostKernels, CudaKernels
    **dict.fromkeys(
        (
            "choose_columns",
            "decide",
            "fit_masks",
            "grow_allocation",
            "grow_network",
            "match_probability",
            "draw_trials",
            "best_allocation",
            "compare_with_exact",
            "solution_count",
            "levenberg_marquardt",
        ),
        "public: options by keyword",
    ),
    "run": "public: options by keyword",
    "track": "what every path has of its own: options by keyword",
    **dict.fromkeys(("extend", "trace_test", "monodromy"), "options of a search, by keyword, with one caller each"),
    **dict.fromkeys(("certify", "solve"), "arrays of one batch, side by side"),
}


def parameters(root=PACKAGE):
    """{(module, function): number of parameters but self}."""
    found = {}
    for name, file in modules(root).items():
        for node in ast.walk(parse(file)):
            if isinstance(node, ast.FunctionDef):
                arguments = [a.arg for a in node.args.posonlyargs + node.args.args + node.args.kwonlyargs]
                count = len(arguments) - (arguments[:1] in (["self"], ["cls"]))
                found[name, node.name] = max(count, found.get((name, node.name), 0))
    return found


def test_functions_take_few_parameters():
    many = {function for (_, function), count in parameters().items() if count > MOST_PARAMETERS}
    assert many == set(MANY_PARAMETERS)


def test_includes_go_down():
    assert {folder.name for folder in CSRC.iterdir()} == set(MAY_INCLUDE)
    assert includes() == INCLUDED


@pytest.mark.parametrize("folder", SHARED)
def test_files_carry_the_names_of_operations(folder):
    assert nameless(folder) == SHARED[folder]


@pytest.mark.parametrize(
    "file, line, arrow",
    [
        ("model/network.py", "from ..theory import predict", ("model.network", "theory.predict")),
        ("theory/predict.py", "from .. import match", ("theory.predict", "match")),
        ("ops/rank.py", "def lazy():\n    from ..study.store import load", ("ops.rank", "study.store")),
        ("match/probability.py", "import sublearn.theory.bounds", ("match.probability", "theory.bounds")),
        ("study/spec.py", "from .. import cli", ("study.spec", "cli")),
    ],
)
def test_a_planted_import_is_found(planted, file, line, arrow):
    assert upward(arrows(planted(PACKAGE, file, line))) - UP == {arrow}


def test_a_planted_circle_is_found(planted):
    copy = planted(PACKAGE, "numerics/intervals.py", "from . import matroid")
    assert circles(arrows(copy)) == CIRCLES
    (copy / "numerics/matroid.py").write_text("from .intervals import clopper_pearson\n")
    assert circles([edge for edge, at_once in arrows(copy).items() if at_once]) == [("numerics.intervals", "numerics.matroid")]


def test_a_planted_library_is_found(planted):
    found = libraries(planted(PACKAGE, "ops/rank.py", "import scipy.linalg\ndef lazy():\n    return importlib.import_module('torch.cuda')"))
    assert found["ops.rank", "scipy"] and ("ops.rank", "torch") in found and not found["ops.rank", "torch"]


@pytest.mark.parametrize(
    "file, included",
    [
        ("core/shape.h", "scalar/modp.h"),
        ("ops/trial.h", "network/slots.h"),
        ("scalar/pack.h", "network/slots.h"),
        ("network/slots.h", "ops/trial.h"),
        ("network/tiles.h", "method/path_tracker.h"),
        ("method/path_tracker.h", "cpu/models.h"),
        ("cpu/models.h", "cuda/group.cuh"),
        ("cuda/newton.cu", "cpu/models.h"),
        ("bind/module_cpu.cpp", "cpu/models.h"),
        ("bind/module_cpu.cpp", "scalar/modp.h"),
    ],
)
def test_a_planted_include_is_found(planted, file, included):
    assert includes(planted(CSRC, file, f'#include "{included}"')) - INCLUDED == {(file, included)}


def test_a_planted_helper_without_an_operation_is_found(planted):
    copy = planted(CSRC, "cpu/models.h", "")
    (copy / "cpu" / "rows.h").touch()
    (copy / "cpu" / "rank_real_columns.h").touch()
    assert nameless("cpu", copy) - SHARED["cpu"] == {"rows"}
