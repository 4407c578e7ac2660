"""Builds compiled models into an executable under AddressSanitizer and UBSan, and runs it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
from earmark_training.deploy.compile import compile_model
from earmark_training.deploy.tflite import DTYPES, Model, parse_model

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


Outputs = list[list[np.ndarray]]  # for each set of inputs, one array per output


def run_both_forms(
    networks: list[bytes],
    inputs: list[list[list[np.ndarray]]],
    objects: list[Path],
    directory: Path,
) -> list[tuple[Outputs, Outputs]]:
    """Outputs of the whole-map and of the row-band form of each network.

    `inputs` holds, for each network, the sets of inputs to run. All networks share one executable.
    """
    directory.mkdir()
    units = []
    for i, tflite in enumerate(networks):
        for form, limit in (("whole", None), ("banded", 0)):
            name = f"{form}_{i}"
            compile_model(tflite, directory / name, name, ram_limit=limit, golden=False)
            unit = directory / f"{name}.c"
            parts = (f"{name}.c", f"{name}_weights.c", f"{name}_golden.c")
            unit.write_text("".join(f'#include "{name}/{part}"\n' for part in parts))
            units.append(unit)
    units.append(_model_list(directory, len(networks), len(inputs[0])))
    program = directory / "run_models"
    includes = [f"-I{u.with_suffix('')}" for u in units[:-1]]
    command = [compiler(), *FLAGS, "-O0", *INCLUDES, *includes, *map(str, [*units, *objects])]
    subprocess.run([*command, "-o", str(program)], check=True)
    sent = b"".join(a.tobytes() for sets in inputs for arrays in sets for a in arrays)
    done = subprocess.run([program], input=sent, capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr.decode()[:3000]
    return _parse([parse_model(t) for t in networks], done.stdout, len(inputs[0]))


def _model_list(directory: Path, n: int, n_inputs: int) -> Path:
    names = [f"em_{form}_{i}" for i in range(n) for form in ("whole", "banded")]
    path = directory / "models.c"
    path.write_text(
        '#include "earmark/model.h"\n'
        f"extern const em_model_t {', '.join(names)};\n"
        "extern const em_model_t *const models[];\n"
        f"const em_model_t *const models[] = {{{', '.join(f'&{name}' for name in names)}}};\n"
        f"extern const int n_networks, n_input_sets;\n"
        f"const int n_networks = {n}, n_input_sets = {n_inputs};\n"
    )
    return path


def _parse(models: list[Model], raw: bytes, n: int) -> list[tuple[Outputs, Outputs]]:
    results = []
    at = 0
    for model in models:
        forms: tuple[Outputs, Outputs] = ([], [])
        for _ in range(n):
            for form in forms:
                arrays = []
                for t in (model.tensors[i] for i in model.outputs):
                    array = np.frombuffer(raw, DTYPES[t.dtype], t.elements, at)
                    arrays.append(array.reshape(t.shape))
                    at += t.n_bytes
                form.append(arrays)
        results.append(forms)
    assert at == len(raw)
    return results
