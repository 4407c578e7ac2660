"""Runs C for the Xtensa LX6 under QEMU: files in, files and exact instruction counts out.

See docs/emulator.md. Correctness and instruction counts are what QEMU shows; cycles it does not.
"""

from __future__ import annotations

import struct
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from earmark_dsp.errors import EarmarkError
from earmark_dsp.sources import sources_root

from earmark_training.deploy.lx6_toolchain import (
    Unit,
    cache_directory,
    object_file,
    require_tools,
    run_tool,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# QEMU 7.2 computes MAC16 wrongly inside longer translation blocks, hence -singlestep.
QEMU = (
    "qemu-system-xtensa", "-M", "sim", "-cpu", "de233_fpu", "-m", "128M", "-nographic",
    "-monitor", "none", "-semihosting", "-icount", "shift=7", "-singlestep",
)  # fmt: skip
TIMEOUT_S = 300.0
_FIRST_EXCEPTION_STATUS = 100
_REGION = struct.Struct("<48sIIQ")
_TENSOR = struct.Struct("<IIBx6Hxxfi")  # em_tensor_t of model.h
_INT8 = 1
_STATUS_OVERRUN = 20
_MODEL_INCLUDES = (
    "firmware/components/nn/include", "firmware/components/nn/src",
    "firmware/components/engine/include", "dsp/c/include",
)  # fmt: skip


@dataclass(frozen=True)
class Region:
    """Instructions of a named region or function, callees included."""

    name: str
    calls: int
    instructions: int


@dataclass(frozen=True)
class Run:
    """What a program left behind."""

    status: int
    files: dict[str, bytes]
    regions: dict[str, Region] = field(default_factory=dict)


@dataclass(frozen=True)
class Executable:
    """A linked program.

    Attributes
    ----------
    sections : dict
        Bytes by input object and kind, ``{"model.o": {"text": n, "rodata": n, ...}}``.
    """

    path: Path
    symbols: dict[int, str]
    sections: dict[str, dict[str, int]]


def sources_of(*folders: str) -> list[Path]:
    """C and assembly sources of folders below the root of the checkout."""
    root = sources_root()
    return [p for f in folders for p in sorted((root / f).iterdir()) if p.suffix in (".c", ".S")]


def build(units: Sequence[Unit], target: Path, *, cache: Path | None = None) -> Executable:
    """Compile and link a program with the emulator's start-up code.

    Parameters
    ----------
    units : sequence of Unit
        Translation units; one defines ``int main(void)``.
    target : Path
        ELF file to write.
    cache : Path or None
        Where objects are kept; None: `cache_directory`.

    Raises
    ------
    EarmarkError
        If tools are missing, or the compiler or linker refuses.
    """
    require_tools()
    cache = cache or cache_directory()
    runtime = [Unit(p, ("-fno-builtin",)) for p in sources_of("firmware/emulator")]
    objects = [str(object_file(u, cache)) for u in (*runtime, *units)]
    script = sources_root() / "firmware/emulator/sim.ld"
    map_file = target.with_suffix(".map")
    command = [
        "xtensa-lx106-elf-ld", "--no-relax", "--gc-sections", "-z", "noexecstack",
        "-no-warn-rwx-segments", "-T", str(script), *objects, "-Map", str(map_file),
        "-o", str(target),
    ]  # fmt: skip
    run_tool(command, target.name)
    listing = run_tool(["llvm-nm-22", "--defined-only", str(target)], target.name)
    symbols = {int(a, 16): n for a, _, n in (line.split() for line in listing.splitlines())}
    return Executable(target, symbols, _sections(map_file.read_text(encoding="utf-8")))


def _sections(text: str) -> dict[str, dict[str, int]]:
    """Sizes from the linker's map: what of each object survived --gc-sections."""
    sizes: dict[str, dict[str, int]] = {}
    name = ""
    for line in text[text.index("Linker script and memory map") :].splitlines():
        words = line.split()
        if len(words) == 1 and words[0].startswith("."):
            name = words[0]
        elif len(words) >= 3 and words[-1].endswith(".o") and words[-2].startswith("0x"):
            name = words[0] if words[0].startswith(".") else name
            kind = name.split(".")[1]
            unit = sizes.setdefault(Path(words[-1]).name.rsplit("-", 1)[0], {})
            unit[kind] = unit.get(kind, 0) + int(words[-2], 16)
    return sizes


def run(
    program: Executable, files: Mapping[str, bytes] | None = None, *, timeout_s: float = TIMEOUT_S
) -> Run:
    """Run a program in a directory of its own.

    Parameters
    ----------
    files : mapping
        Files that the program can read, by name.

    Returns
    -------
    Run
        Status (``main``'s return value), files written, and counted regions.

    Raises
    ------
    EarmarkError
        If the program stops with a processor exception or exceeds the time.
    """
    require_tools()
    with tempfile.TemporaryDirectory(prefix="earmark-lx6-") as folder:
        for name, content in (files or {}).items():
            (Path(folder) / name).write_bytes(content)
        command = [*QEMU, "-kernel", str(program.path.resolve())]
        try:
            done = subprocess.run(
                command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True,
                timeout=timeout_s, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as exc:
            raise EarmarkError(
                f"{program.path.name} ran longer than {timeout_s:.0f} s under QEMU",
                "it may not terminate; otherwise allow more time",
            ) from exc
        if done.returncode < 0 or done.returncode >= _FIRST_EXCEPTION_STATUS:
            cause = done.returncode - _FIRST_EXCEPTION_STATUS
            raise EarmarkError(
                f"{program.path.name} stopped with exception cause {cause} "
                f"{done.stderr.decode(errors='replace')[:300]}"
            )
        written = {p.name: p.read_bytes() for p in Path(folder).iterdir()}
    raw = written.pop("regions.bin", b"")
    for name in files or {}:
        if written.get(name) == (files or {})[name]:
            del written[name]
    return Run(done.returncode, written, _regions(raw, program.symbols))


def _regions(raw: bytes, symbols: Mapping[int, str]) -> dict[str, Region]:
    regions = {}
    for name_bytes, address, calls, instructions in _REGION.iter_unpack(raw):
        name = name_bytes.rstrip(b"\0").decode() or symbols.get(address, hex(address))
        regions[name] = Region(name, calls, instructions)
    return regions


@dataclass(frozen=True)
class ModelRun:
    """Result of `run_model`.

    Attributes
    ----------
    outputs : list of list of ndarray
        One list per set of inputs, one array per model output in the shape of its tensor.
    instructions : int
        Executed instructions per inference, input to output (mean over the sets of inputs).
    layers : dict of str to Region
        With `per_layer`: functions of the generated C, over all sets of inputs.
    """

    outputs: list[list[np.ndarray]]
    instructions: int
    layers: dict[str, Region]
    executable: Executable


def build_model(
    directory: Path, name: str, target: Path, *, mac16: bool = True, per_layer: bool = False
) -> Executable:
    """Link a directory from `earmark compile` with kernels, engine and driver.

    Parameters
    ----------
    mac16 : bool
        Kernels in MAC16 assembly; False: portable C, for comparison.
    per_layer : bool
        Count each function of the generated C. Adds instructions, which the count leaves out but
        for about ten per function call.
    """
    root = sources_root()
    flags = tuple(f"-I{root / folder}" for folder in _MODEL_INCLUDES)
    kernels = sources_of("firmware/components/nn/src")
    if mac16:
        flags += ("-DEM_NN_MAC16",)
        kernels += sources_of("firmware/components/nn/xtensa")
    units = [Unit(path, flags) for path in kernels]
    units += [
        Unit(path, (*flags, f"-I{directory}"), per_layer and path.stem == name)
        for path in sorted(directory.glob("*.c"))
    ]
    driver = root / "firmware/emulator/programs/run_model.c"
    units.append(Unit(driver, (*flags, f"-DEM_MODEL=em_{name}")))
    return build(units, target)


def run_model(
    directory: Path,
    name: str,
    inputs: Sequence[Sequence[np.ndarray]],
    *,
    mac16: bool = True,
    per_layer: bool = False,
    timeout_s: float = TIMEOUT_S,
) -> ModelRun:
    """Run a compiled model on the emulated LX6.

    Parameters
    ----------
    directory : Path
        Written by `compile_model`.
    name : str
        Name given to `compile_model`.
    inputs : sequence of sequence of ndarray
        Sets of inputs; one array per model input in the order of the model.
    mac16, per_layer
        See `build_model`.

    Raises
    ------
    EarmarkError
        If tools are missing, or the program fails or writes beyond its arena.
    """
    with tempfile.TemporaryDirectory(prefix="earmark-lx6-") as folder:
        target = Path(folder) / f"{name}.elf"
        program = build_model(Path(directory), name, target, mac16=mac16, per_layer=per_layer)
        sent = b"".join(np.ascontiguousarray(a).tobytes() for arrays in inputs for a in arrays)
        result = run(program, {"inputs.bin": sent}, timeout_s=timeout_s)
    if result.status == _STATUS_OVERRUN:
        raise EarmarkError(f"{name} writes beyond its arena on the LX6", "report this")
    if result.status != 0:
        raise EarmarkError(f"{name} stopped with status {result.status} on the LX6")
    tensors = [
        (kind, elements, dims[:rank])
        for kind, elements, rank, *dims, _scale, _zero in _TENSOR.iter_unpack(
            result.files["layout.bin"]
        )
    ]
    outputs, at = [], 0
    for _ in inputs:
        arrays = []
        for kind, elements, shape in tensors:
            dtype = np.dtype(np.int8 if kind == _INT8 else np.float32)
            values = np.frombuffer(result.files["outputs.bin"], dtype, elements, at)
            arrays.append(values.reshape(shape))
            at += values.nbytes
        outputs.append(arrays)
    total = int.from_bytes(result.files["instructions.bin"], "little")
    return ModelRun(outputs, total // max(len(inputs), 1), result.regions, program)
