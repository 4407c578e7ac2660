"""The line that everyone starts with: train, quantise to int8, run in every engine.

    python examples/linear_regression/linear_regression.py

Explained in the page beside this file.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from earmark_dsp.errors import EarmarkError
from earmark_training.deploy.compile import compile_model
from earmark_training.deploy.hostlib import HostModel
from earmark_training.quiet import import_tensorflow, quiet
from earmark_training.tflm import TflmModel
from rich.console import Console
from rich.table import Table

SLOPE, OFFSET, NOISE = 2.0, -1.0, 0.1
X_RANGE = 4.0


def train(epochs: int) -> object:
    """Fit y = a x + b to noisy points with gradient descent."""
    import keras

    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(1)
    x = rng.uniform(-X_RANGE, X_RANGE, (1000, 1)).astype(np.float32)
    y = SLOPE * x + OFFSET + rng.normal(0, NOISE, x.shape).astype(np.float32)
    model = keras.Sequential([keras.Input((1,), batch_size=1), keras.layers.Dense(1)])
    fitted = keras.Sequential([keras.Input((1,)), model.layers[0]])
    fitted.compile(optimizer=keras.optimizers.Adam(0.05), loss="mse")
    fitted.fit(x, y, epochs=epochs, batch_size=64, verbose=0)
    return model


def to_int8(model: object) -> bytes:
    """Convert with full integer quantisation; the examples set the scales of x and y."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    samples = np.linspace(-X_RANGE, X_RANGE, 100, dtype=np.float32).reshape(-1, 1, 1)
    converter.representative_dataset = lambda: ([x] for x in samples)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    with quiet():
        return bytes(converter.convert())


def main() -> None:
    """Train, compile, run everywhere and print x and y."""
    parser = argparse.ArgumentParser(description="train, quantise and run a line in every engine")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--output", type=Path, default=Path("build/examples/linear_regression"))
    arguments = parser.parse_args()
    console = Console()
    import_tensorflow()

    model = train(arguments.epochs)
    slope, offset = (float(w.numpy().ravel()[0]) for w in model.weights)
    console.print(f"trained: y = {slope:.3f} x + {offset:.3f}")

    tflite = to_int8(model)
    compiled = compile_model(tflite, arguments.output / "c", "line")
    console.print(f"compiled into {compiled.directory}: arena {compiled.program.arena_bytes} bytes")

    engine, tflm = HostModel(compiled.directory, "line"), TflmModel(tflite)
    t_in, t_out = (tflm.model.tensors[i] for i in (*tflm.model.inputs, *tflm.model.outputs))
    x = np.linspace(-X_RANGE, X_RANGE, 9)
    q_in, q_out = t_in.quantisation, t_out.quantisation
    x_int8 = np.clip(np.round(x / q_in.scale[0]) + q_in.zero_point[0], -128, 127).astype(np.int8)
    outputs = {
        "compiled C": engine.invoke(x_int8[:, None]).ravel(),
        "TFLM": tflm.invoke(x_int8[:, None]).ravel(),
    }
    try:
        from earmark_training.deploy.emulator import run_model

        result = run_model(compiled.directory, "line", [[v.reshape(1, 1)] for v in x_int8])
        outputs["emulated LX6"] = np.array([o[0].ravel()[0] for o in result.outputs])
    except (ImportError, EarmarkError) as exc:
        console.print(f"emulated LX6 skipped: {exc}")

    table = Table("x", "2x - 1", "float y", *outputs)
    for i, value in enumerate(x):
        ys = [(o[i] - q_out.zero_point[0]) * q_out.scale[0] for o in outputs.values()]
        table.add_row(
            f"{value:.2f}",
            f"{SLOPE * value + OFFSET:.2f}",
            f"{slope * value + offset:.3f}",
            *(f"{y:.3f}" for y in ys),
        )
    console.print(table)
    equal = all((o == outputs["TFLM"]).all() for o in outputs.values())
    console.print("all engines give the same bytes" if equal else "the engines DIFFER")
    if not equal:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
