"""`python -m earmark_training.bench.engine`: LX6 instructions, memory, host speed."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from earmark_datasets.locate import find_model
from rich.console import Console

from earmark_training.deploy import estimate as estimates
from earmark_training.deploy.compile import compile_model, load
from earmark_training.deploy.estimate_source import tflite_of
from earmark_training.deploy.golden import random_inputs
from earmark_training.deploy.hostlib import HostModel
from earmark_training.tflm import TflmModel

if TYPE_CHECKING:
    from collections.abc import Callable

PRESET, SPEC, N_CLASSES = "tiny", "pcen-64-20ms", 10
TARGET = "esp32-pico"
MIN_S, ROUNDS = 0.2, 5

console = Console()


def _side_by_side(work: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return the least milliseconds per call of each; rounds alternate, so that drift hits all."""
    best = dict.fromkeys(work, float("inf"))
    for _ in range(ROUNDS):
        for name, call in work.items():
            start, n = time.perf_counter(), 0
            while time.perf_counter() - start < MIN_S:
                call()
                n += 1
            best[name] = min(best[name], 1e3 * (time.perf_counter() - start) / n)
    return best


def host_times(tflite: bytes) -> dict[str, float]:
    """Milliseconds per inference on one core of this machine."""
    from ai_edge_litert.interpreter import Interpreter

    inputs = random_inputs(load(tflite), np.random.default_rng(0))
    tflm = TflmModel(tflite)
    litert = Interpreter(model_content=tflite, num_threads=1)
    litert.allocate_tensors()
    for detail, array in zip(litert.get_input_details(), inputs, strict=True):
        litert.set_tensor(detail["index"], array.reshape(detail["shape"]))
    with tempfile.TemporaryDirectory() as folder:
        compile_model(tflite, Path(folder) / "c", golden=False)
        host = HostModel(Path(folder) / "c")
    times = _side_by_side(
        {
            "host_ms": lambda: host.invoke_many(inputs),
            "host_ms_tflm": lambda: tflm.invoke_many(inputs),
            "host_ms_litert": litert.invoke,
        }
    )
    return {name: round(value, 4) for name, value in times.items()}


def measure(name: str, tflite: bytes) -> dict[str, Any]:
    """All figures of one model."""
    with console.status(name) as status:
        result = estimates.estimate(
            tflite, name=name, chip=estimates.target(TARGET),
            progress=lambda what: status.update(f"{name}: {what}"),
        )  # fmt: skip
        status.update(f"{name}: on this machine")
        times = host_times(tflite)
    return {
        "name": name,
        "macs": result.macs,
        "lx6_instructions": result.instructions,
        "instructions_per_mac": result.instructions_per_mac,
        "lx6_instructions_optimised": result.instructions_optimised,
        "layers": [
            {"name": x.name, "macs": x.macs, "instructions": x.instructions} for x in result.layers
        ],
        "ram_bytes": result.ram_bytes,
        "ram_bytes_optimised": result.ram_bytes_optimised,
        "tflm_arena_bytes": result.tflm_arena_bytes,
        "code_bytes": result.code_bytes,
        "weight_bytes": result.weight_bytes,
        **times,
    }


def main(
    out: Annotated[Path, typer.Option(help="JSON file to write.")] = Path(
        "build/bench/engine.json"
    ),
) -> None:
    """Measure the default preset, and YAMNet where it is installed."""
    models = [(PRESET, tflite_of(PRESET, SPEC, N_CLASSES)[0])]
    yamnet = find_model("yamnet_int8.tflite")
    if yamnet is None:
        console.print("yamnet_int8.tflite is not on this machine: the preset only")
    else:
        models.append(("yamnet", yamnet.read_bytes()))
    results = {"models": [measure(name, tflite) for name, tflite in models]}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    for row in results["models"]:
        console.print_json(data={k: v for k, v in row.items() if k != "layers"})
    console.print(f"written: {out}")


if __name__ == "__main__":
    typer.run(main)
