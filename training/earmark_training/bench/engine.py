"""Engine figures: `python -m earmark_training.bench.engine` writes build/bench/engine.json.

Memory of the compiled forms beside TFLM's arena, and host times of the compiled C, TFLM and LiteRT
(reference kernels, one thread) measured in turns within one run. LX6 instructions are executed, not
estimated; they stay null where the emulator's tools are missing.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from earmark_datasets.locate import find_model
from earmark_dsp.errors import EarmarkError
from rich.console import Console
from rich.table import Table

from earmark_training.deploy.compile import compile_model, plan_model
from earmark_training.deploy.golden import SEED, random_inputs
from earmark_training.deploy.hostlib import HostModel
from earmark_training.tflm import TflmModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OUTPUT = Path("build/bench/engine.json")
PRESET = "tiny"
# The default front end's window; the cost of a network does not depend on its weights.
PRESET_SHAPE, PRESET_CLASSES = (98, 40), 8
ROUNDS = 15


def preset_tflite() -> bytes:
    """Convert the default preset with random weights of a size that keeps activations alive."""
    from earmark_training.quiet import import_tensorflow, quiet

    import_tensorflow()
    import keras
    import tensorflow as tf

    from earmark_training.networks import build

    keras.utils.set_random_seed(SEED % 2**31)
    model = build(PRESET, PRESET_SHAPE, PRESET_CLASSES)
    for weight in model.trainable_weights:
        if "kernel" in weight.path:
            weight.assign(weight * 2.5)
    samples = np.random.default_rng(SEED).normal(0, 1, (16, 1, *PRESET_SHAPE)).astype(np.float32)
    inputs = keras.Input(PRESET_SHAPE, batch_size=1)
    converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(inputs, model(inputs)))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([sample] for sample in samples)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    with quiet():
        return bytes(converter.convert())


def models() -> Iterator[tuple[str, bytes]]:
    """Yield the default preset and, where it is found, YAMNet."""
    yield PRESET, preset_tflite()
    yamnet = find_model("yamnet_int8.tflite")
    if yamnet is not None:
        yield "yamnet", yamnet.read_bytes()


def _litert(tflite: bytes) -> Callable[[list[np.ndarray]], object]:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=tflite,
        num_threads=1,
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
    )
    interpreter.allocate_tensors()
    slots = [d["index"] for d in interpreter.get_input_details()]

    def run(inputs: list[np.ndarray]) -> object:
        for slot, array in zip(slots, inputs, strict=True):
            interpreter.set_tensor(slot, array)
        return interpreter.invoke()

    return run


def host_times_ms(
    runners: dict[str, Callable[[list[np.ndarray]], object]], inputs: list[np.ndarray]
) -> dict[str, float]:
    """Median milliseconds per inference, the runners taking turns."""
    samples: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(ROUNDS):
        for name, run in runners.items():
            start = time.perf_counter()
            run(inputs)
            samples[name].append(1e3 * (time.perf_counter() - start))
    return {name: round(statistics.median(values), 3) for name, values in samples.items()}


def _lx6(directory: Path, name: str, inputs: list[np.ndarray]) -> dict[str, Any]:
    """Count executed instructions on the emulated LX6, or say why not."""
    try:
        from earmark_training.deploy.emulator import (  # type: ignore[attr-defined,unused-ignore]
            run_model,
        )

        result = run_model(directory, name, [inputs])
    except (ImportError, EarmarkError) as exc:
        return {"lx6_instructions": None, "layers": None, "code_bytes": None, "lx6_note": str(exc)}
    return {
        "lx6_instructions": result.instructions,
        "layers": getattr(result, "layers", None),
        "code_bytes": getattr(result, "code_bytes", None),
    }


def measure(name: str, tflite: bytes) -> dict[str, Any]:
    """All figures of one model."""
    oracle = TflmModel(tflite)
    inputs = random_inputs(oracle.model, np.random.default_rng(SEED))
    with TemporaryDirectory() as scratch:
        compiled = compile_model(tflite, Path(scratch) / "c", name)
        engine = HostModel(compiled.directory, name)
        for got, want in zip(engine.invoke_many(inputs), oracle.invoke_many(inputs), strict=True):
            if not np.array_equal(got, want.reshape(got.shape)):
                raise EarmarkError(f"{name}: the compiled model differs from TFLM", "report this")
        times = host_times_ms(
            {
                "host_ms": engine.invoke_many,
                "host_ms_tflm": oracle.invoke_many,
                "host_ms_litert": _litert(tflite),
            },
            inputs,
        )
        lx6 = _lx6(compiled.directory, name, inputs)
    small = plan_model(oracle.model, ram_limit=0)
    instructions = lx6["lx6_instructions"]
    macs = compiled.program.macs
    return {
        "name": name,
        "macs": macs,
        **lx6,
        "instructions_per_mac": round(instructions / macs, 3) if instructions else None,
        "ram_bytes": compiled.ram_bytes,
        "ram_bytes_optimised": small.arena_bytes + small.io_bytes,
        "tflm_arena_bytes": oracle.arena_used_bytes,
        "weight_bytes": compiled.tables.n_bytes("weights"),
        "table_bytes": compiled.tables.n_bytes("channels", "lookup", "exponentials", "constant"),
        **times,
    }


def main() -> None:
    """Measure all models and write the JSON."""
    results = [measure(name, tflite) for name, tflite in models()]
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps({"models": results}, indent=1) + "\n", encoding="utf-8")
    columns = ("macs", "ram_bytes", "ram_bytes_optimised", "tflm_arena_bytes", "weight_bytes",
               "host_ms", "host_ms_tflm", "host_ms_litert", "instructions_per_mac")  # fmt: skip
    table = Table("", *(result["name"] for result in results))
    for column in columns:
        table.add_row(column, *(f"{r[column]:,}" if r[column] else "-" for r in results))
    console = Console()
    console.print(table)
    console.print(f"written to {OUTPUT}")


if __name__ == "__main__":
    main()
