"""Builds compiled models into an executable under AddressSanitizer and UBSan, and runs it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
from earmark_training.deploy.compile import compile_model
from earmark_training.deploy.tflite import DTYPES, Model
from earmark_training.tflm import TflmModel

ROOT = Path(__file__).resolve().parents[2]
COMPONENTS = ROOT / "firmware" / "components"
FLAGS = (
    "-std=c11", "-D_POSIX_C_SOURCE=200809L", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-g0",
    "-fsanitize=address,undefined", "-fno-sanitize-recover=all",
)  # fmt: skip
INCLUDES = tuple(
    f"-I{path}"
    for path in (
        COMPONENTS / "nn" / "include",
        COMPONENTS / "engine" / "include",
        ROOT / "dsp" / "c" / "include",
    )
)


def compiler() -> str:
    return os.environ.get("CC", "cc")


def build_kernels(directory: Path) -> list[Path]:
    """Compile kernels, engine and driver once for all networks."""
    sources = [
        *sorted((COMPONENTS / "nn" / "src").glob("*.c")),
        COMPONENTS / "engine" / "src" / "engine.c",
        COMPONENTS / "engine" / "src" / "engine_self_test.c",
        Path(__file__).parent / "run_model.c",
    ]
    objects = []
    for source in sources:
        target = directory / f"{source.stem}.o"
        command = [compiler(), *FLAGS, "-O1", *INCLUDES, "-c", str(source), "-o", str(target)]
        subprocess.run(command, check=True)
        objects.append(target)
    return objects


def run_both_forms(
    tflite: bytes, inputs: list[list[np.ndarray]], objects: list[Path], directory: Path
) -> tuple[list[list[np.ndarray]], list[list[np.ndarray]]]:
    """Outputs of the whole-map and of the row-band form for each set of inputs."""
    generated = []
    for name, limit in (("whole", None), ("banded", 0)):
        compile_model(tflite, directory / name, name, ram_limit=limit, golden=False)
        generated += sorted((directory / name).glob("*.c"))
    program = directory / "run_model"
    includes = [f"-I{directory / name}" for name in ("whole", "banded")]
    command = [compiler(), *FLAGS, "-O0", *INCLUDES, *includes, *map(str, generated)]
    subprocess.run([*command, *map(str, objects), "-o", str(program)], check=True)
    model = TflmModel(tflite).model
    sent = b"".join(a.tobytes() for arrays in inputs for a in arrays)
    done = subprocess.run([program], input=sent, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode()[:3000]
    return _parse(model, done.stdout, len(inputs))


def _parse(
    model: Model, raw: bytes, n: int
) -> tuple[list[list[np.ndarray]], list[list[np.ndarray]]]:
    tensors = [model.tensors[i] for i in model.outputs]
    forms: tuple[list[list[np.ndarray]], list[list[np.ndarray]]] = ([], [])
    at = 0
    for _ in range(n):
        for form in forms:
            arrays = []
            for t in tensors:
                arrays.append(np.frombuffer(raw, DTYPES[t.dtype], t.elements, at).reshape(t.shape))
                at += t.n_bytes
            form.append(arrays)
    assert at == len(raw)
    return forms
