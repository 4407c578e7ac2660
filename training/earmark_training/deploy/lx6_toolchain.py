"""Compiles and assembles C for the Xtensa LX6 with Debian's LLVM 22; objects are cached by content.

LLVM's Xtensa back end is young. Two of its habits are corrected between its output and the
assembler: literals are printed in front of a function's section change and unaligned, and
conditional branches are not relaxed when their target is too far away.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from earmark_dsp.errors import EarmarkError
from earmark_dsp.sources import sources_root

if TYPE_CHECKING:
    from collections.abc import Sequence

TOOLS = ("clang-22", "llc-22", "llvm-mc-22", "xtensa-lx106-elf-ld", "qemu-system-xtensa")
PACKAGES = "clang-22 llvm-22 binutils-xtensa-lx106 qemu-system-misc"
WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Werror")
CLANG = (
    "clang-22", "--target=xtensa", "-std=c11", "-ffreestanding", "-fomit-frame-pointer",
    "-ffunction-sections", "-fdata-sections", "-D__XTENSA_LX6__",
)  # fmt: skip
ASSEMBLER = ("llvm-mc-22", "--triple=xtensa", "-mcpu=esp32", "-filetype=obj")
# Part of the cache key: raise when the steps below change.
RECIPE = "4"

_OPPOSITE = {
    "beq": "bne", "blt": "bge", "bltu": "bgeu", "beqz": "bnez", "bltz": "bgez", "beqi": "bnei",
    "blti": "bgei", "bltui": "bgeui", "bbci": "bbsi", "bbc": "bbs", "ball": "bnall",
    "bany": "bnone", "bf": "bt",
}  # fmt: skip
_OPPOSITE |= {b: a for a, b in _OPPOSITE.items()}


@dataclass(frozen=True)
class Unit:
    """One translation unit.

    Parameters
    ----------
    path : Path
        A ``.c`` or ``.S`` file.
    flags : tuple of str
        Further compiler flags, e.g. ``-O3`` (default -O2), ``-DNAME``, ``-I...``.
    count_functions : bool
        Count instructions of every function of this file as a region, callees included.
    """

    path: Path
    flags: tuple[str, ...] = ()
    count_functions: bool = False


def require_tools() -> None:
    """Raise `EarmarkError` naming what is not installed."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        raise EarmarkError(
            f"the LX6 emulation needs {', '.join(missing)}",
            f"run scripts/install-system-packages.sh, or: apt-get install {PACKAGES}",
        )


def run_tool(command: Sequence[str], what: str) -> str:
    """Run a tool; its first complaint becomes an `EarmarkError`."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise EarmarkError(f"{command[0]} refuses {what}: {done.stderr.strip()[:1500]}")
    return done.stdout


def object_file(unit: Unit, cache: Path) -> Path:
    """Return the object of a unit, from `cache` if its preprocessed text is known."""
    includes = ("-I", str(sources_root() / "firmware/emulator/include"))
    level = () if any(f.startswith("-O") for f in unit.flags) else ("-O2",)
    command = [*CLANG, *level, *WARNINGS, *includes, *unit.flags]
    if unit.count_functions:
        command += ["-finstrument-functions"]
    text = run_tool([*command, "-E", "-P", str(unit.path)], str(unit.path))
    key = hashlib.sha256("\0".join((RECIPE, *command, text)).encode()).hexdigest()[:24]
    target = cache / f"{unit.path.stem}-{key}.o"
    if target.exists():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        made = Path(scratch) / "unit.o"
        if unit.path.suffix == ".S":
            source = Path(scratch) / "unit.s"
            source.write_text(text, encoding="utf-8")
            _assemble(source, made, unit.path)
        else:
            _compile(unit.path, command, Path(scratch), made)
        made.replace(target)
    return target


def _compile(path: Path, command: Sequence[str], scratch: Path, target: Path) -> None:
    ir = scratch / "unit.ll"
    run_tool([*command, "-S", "-emit-llvm", str(path), "-o", str(ir)], str(path))
    llc = ["llc-22", "-mcpu=esp32", "-O2", "--function-sections", "--data-sections", str(ir)]
    with ir.open(encoding="utf-8") as lines:
        has_code = any(line.startswith("define ") for line in lines)
    if not has_code:  # tables: no literals, and much faster than through text
        run_tool([*llc, "-filetype=obj", "-o", str(target)], str(path))
        return
    assembly = scratch / "unit.s"
    run_tool([*llc, "-o", str(assembly)], str(path))
    assembly.write_text(place_literals(assembly.read_text(encoding="utf-8")), encoding="utf-8")
    _assemble(assembly, target, path)


def place_literals(assembly: str) -> str:
    """Put the literals of each function in front of it, aligned, in its own section.

    MULSH and MULUH are trapped under QEMU (firmware/emulator/start.S); the `or` in front makes a
    window overflow of the destination happen before the trap.
    """
    out: list[str] = []
    literals: list[str] = []
    for line in assembly.splitlines():
        words = line.split()
        if words and words[0] == ".literal_position":
            continue
        if words and words[0] == ".literal":
            name, value = line.split(None, 1)[1].split(",", 1)
            literals += [f"{name.strip()}:", f"\t.long\t{value.strip()}"]
            continue
        if literals and re.match(r"\s*\.type\s+\S+,@function", line):
            out += ["\t.p2align\t2", *literals]
            literals = []
        if product := re.match(r"\s*mul[us]h\s+(a\d+),", line):
            out.append("\tor\t{0}, {0}, {0}".format(product[1]))
        out.append(line)
    if literals:
        raise EarmarkError("the assembly has literals without a function", "report this")
    return "\n".join(out) + "\n"


def _assemble(source: Path, target: Path, origin: Path) -> None:
    """Assemble; a conditional branch that cannot reach its target becomes one over a jump."""
    command = [*ASSEMBLER, str(source), "-o", str(target)]
    lines = source.read_text(encoding="utf-8").splitlines()
    n_relaxed = 0
    while True:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
        far = {int(n) for n in re.findall(r":(\d+):\d+: error: fixup value out of", done.stderr)}
        if not far:
            raise EarmarkError(f"llvm-mc-22 refuses {origin}: {done.stderr.strip()[:1500]}")
        for number in sorted(far, reverse=True):
            branch = re.match(r"\s*(\w+)\s+(.*),\s*(\S+)\s*$", lines[number - 1])
            if branch is None or branch[1] not in _OPPOSITE:
                raise EarmarkError(f"{origin}: cannot relax '{lines[number - 1].strip()}'")
            label = f".Lrelaxed{n_relaxed}"
            n_relaxed += 1
            lines[number - 1 : number] = [
                f"\t{_OPPOSITE[branch[1]]}\t{branch[2]}, {label}",
                f"\tj\t{branch[3]}",
                f"{label}:",
            ]
        source.write_text("\n".join(lines) + "\n", encoding="utf-8")


def cache_directory() -> Path:
    """Where objects are kept: ``build/lx6`` of the checkout, or $EARMARK_LX6_CACHE."""
    override = os.environ.get("EARMARK_LX6_CACHE")
    return Path(override) if override else sources_root() / "build" / "lx6"
