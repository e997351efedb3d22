"""python bench/gpu/resources.py BUILD LOG [--list]: what the compiler made of the main CUDA kernels, against bench/gpu/resources.toml.

BUILD: a folder with objects of csrc/cuda, compiled for sm_90 with `-Xptxas -v --no-compress`; LOG: what the compiler printed. Prints, of
every kernel that the file names, registers, bytes spilled, instructions (of the program text, loops counted once) and warps that fit a
multiprocessor.
Exit code 1 where a kernel spills more, or is longer by more than SLACK, than the file says; 0 with a reason where nvcc is of another
version than the file's. --list: every kernel found, to write the file anew. Needs Python and c++filt only.
"""

from __future__ import annotations

import re
import struct
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

SLACK = 1.03
INSTRUCTION = 16  # bytes, from sm_70 on
PARTS, REGISTERS, SHARED, MOST_WARPS, MOST_BLOCKS = (
    4,
    16384,
    228 * 1024,
    64,
    32,
)  # of a multiprocessor of sm_90; registers: of each of its parts
RESERVED = 1024  # bytes of shared memory the driver keeps per block


class Kernel(NamedTuple):
    registers: int
    stack: int
    spilled: int
    instructions: int


def device_code(data: bytes) -> list[bytes]:
    """The ELF files inside an object file, but for itself."""
    return [data[at.start() :] for at in re.finditer(b"\x7fELF", data) if at.start() > 0]


def texts(elf: bytes) -> dict[str, int]:
    """Mangled kernel name -> bytes of its program text, of a 64-bit little-endian ELF file."""
    sections, size, count, names = *struct.unpack_from("<Q", elf, 40), *struct.unpack_from("<HHH", elf, 58)
    headers = [struct.unpack_from("<IIQQQQ", elf, sections + k * size) for k in range(count)]
    strings = headers[names][4]
    found = {}
    for name, _, _, _, _, length in headers:
        begin = strings + name
        label = elf[begin : elf.index(b"\0", begin)].decode()
        if label.startswith(".text."):
            found[label.removeprefix(".text.")] = length
    return found


def reported(log: str) -> dict[str, tuple[int, int, int]]:
    """Mangled kernel name -> (registers, stack, spilled bytes) of ptxas's lines."""
    found = {}
    for part in log.split("Compiling entry function '")[1:]:
        stack, stores, loads = map(
            int, re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", part).groups()
        )
        found[part.partition("'")[0]] = int(re.search(r"Used (\d+) registers", part)[1]), stack, stores + loads
    return found


def plain_names(mangled: list[str]) -> list[str]:
    lines = subprocess.run(["c++filt"], input="\n".join(mangled), capture_output=True, text=True, check=True).stdout.splitlines()
    return [re.sub(r"\(anonymous namespace\)::|sl::(cuda|device)::|^void |\([^()]*(\([^()]*\)[^()]*)*\)$", "", line) for line in lines]


def kernels(build: Path, log: str) -> dict[str, Kernel]:
    """Plain name -> what it takes."""
    told, sizes = reported(log), {}
    for path in sorted(build.rglob("*.o")):
        for elf in device_code(path.read_bytes()):
            sizes |= texts(elf)
    known = [name for name in sizes if name in told]
    return {plain: Kernel(*told[name], sizes[name] // INSTRUCTION) for plain, name in zip(plain_names(known), known)}


def warps(registers: int, threads: int, shared: int) -> int:
    """Warps that fit a multiprocessor at once, for blocks of `threads` with `shared` bytes."""
    of_block = -(-threads // 32)
    by_registers = PARTS * (REGISTERS // (-(-registers * 32 // 256) * 256)) // of_block
    return min(by_registers, SHARED // (shared + RESERVED), MOST_BLOCKS, MOST_WARPS // of_block) * of_block


def compiler() -> str:
    try:
        return re.search(r"release (\S+),", subprocess.run(["nvcc", "--version"], capture_output=True, text=True, check=True).stdout)[1]
    except (OSError, subprocess.CalledProcessError):
        return ""


def main(build: Path, log: Path, everything: bool) -> int:
    wanted = tomllib.loads((Path(__file__).parent / "resources.toml").read_text())
    if (here := compiler()) != wanted["nvcc"]:
        print(f"resources: not compared, they were written for nvcc {wanted['nvcc']}, here is {here or 'none'}")
        return 0
    found = kernels(build, log.read_text(errors="replace"))
    if everything:
        for name, kernel in sorted(found.items()):
            print(name, kernel)
        return 0
    wrong = []
    print(f"{'kernel':<22}{'registers':>10}{'spilled':>9}{'instructions':>14}{'stated':>8}{'warps':>7}")
    for label, stated in wanted["kernel"].items():
        kernel = found.get(stated["name"])
        if kernel is None:
            wrong.append(f"{label}: no kernel of the name {stated['name']}")
            continue
        resident = warps(kernel.registers, stated["threads"], stated["shared"])
        print(f"{label:<22}{kernel.registers:>10}{kernel.spilled:>9}{kernel.instructions:>14}{stated['instructions']:>8}{resident:>7}")
        if kernel.spilled > stated.get("spilled", 0):
            wrong.append(f"{label}: spills {kernel.spilled} bytes, stated {stated.get('spilled', 0)}")
        if kernel.instructions > SLACK * stated["instructions"]:
            wrong.append(f"{label}: {kernel.instructions} instructions, stated {stated['instructions']}")
        if resident < stated["warps"]:
            wrong.append(f"{label}: {resident} warps fit a multiprocessor, stated {stated['warps']}")
    print("\n".join(wrong) if wrong else "resources: as stated")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), "--list" in sys.argv))
