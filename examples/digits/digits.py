"""Handwritten digits with Conv-Conv-Pool-Conv-Conv-GlobalPool-Dense, in every engine.

    python examples/digits/digits.py

The data come with scikit-learn, nothing is downloaded. Explained in the page beside this file.
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

N_TEST = 360
N_EMULATED = 5


def load() -> tuple[np.ndarray, np.ndarray]:
    """Return 1797 images (n, 8, 8, 1) in 0..1 and their labels, shuffled."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(2).permutation(len(digits.target))
    images = (digits.images[order] / 16).astype(np.float32)[..., None]
    return images, digits.target[order]


def train(images: np.ndarray, labels: np.ndarray, epochs: int) -> object:
    """Train about 8,000 parameters."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(2)
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(inputs)
    x = layers.Conv2D(16, 3, padding="same", activation="relu")(x)
    x = layers.MaxPooling2D(2)(x)
    x = layers.Conv2D(16, 3, padding="same", activation="relu")(x)
    x = layers.Conv2D(24, 3, padding="same", activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(10, activation="softmax")(x))
    model.compile(
        optimizer=keras.optimizers.Adam(3e-3),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    model.fit(images, labels, epochs=epochs, batch_size=32, verbose=0)
    return model


def to_int8(model: object, samples: np.ndarray) -> bytes:
    """Convert with full integer quantisation and a fixed batch of one."""
    import keras
    import tensorflow as tf

    inputs = keras.Input((8, 8, 1), batch_size=1)
    converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(inputs, model(inputs)))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([x[None]] for x in samples)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    with quiet():
        return bytes(converter.convert())


def main() -> None:
    """Train, compile, compare the engines on the held-out digits."""
    parser = argparse.ArgumentParser(description="classify digits in every engine")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--output", type=Path, default=Path("build/examples/digits"))
    arguments = parser.parse_args()
    console = Console()
    import_tensorflow()

    images, labels = load()
    with console.status("training"):
        model = train(images[N_TEST:], labels[N_TEST:], arguments.epochs)
    tflite = to_int8(model, images[N_TEST : N_TEST + 200])
    whole = compile_model(tflite, arguments.output / "c", "digits")
    bands = compile_model(tflite, arguments.output / "c_small", "digits", ram_limit=0)

    tflm = TflmModel(tflite)
    q = tflm.model.tensors[tflm.model.inputs[0]].quantisation
    x, y = images[:N_TEST], labels[:N_TEST]
    x_int8 = np.clip(np.round(x / q.scale[0]) + q.zero_point[0], -128, 127).astype(np.int8)

    expected = tflm.invoke(x_int8)
    results = {
        "TFLM": (expected, tflm.arena_used_bytes),
        "compiled C": (
            HostModel(whole.directory, "digits").invoke(x_int8),
            whole.program.arena_bytes + whole.program.io_bytes,
        ),
        "compiled C, row bands": (
            HostModel(bands.directory, "digits").invoke(x_int8),
            bands.program.arena_bytes + bands.program.io_bytes,
        ),
    }
    table = Table("engine", "images", "accuracy", "RAM bytes", "same bytes as TFLM")
    float_accuracy = (model.predict(x, verbose=0).argmax(axis=1) == y).mean()
    table.add_row("Keras float32", str(N_TEST), f"{float_accuracy:.3f}", "", "")
    try:
        from earmark_training.deploy.emulator import run_model

        few = run_model(whole.directory, "digits", [[v[None]] for v in x_int8[:N_EMULATED]])
        lx6 = np.stack([o[0][0] for o in few.outputs])
        results["emulated LX6"] = (lx6, whole.program.arena_bytes + whole.program.io_bytes)
    except (ImportError, EarmarkError) as exc:
        console.print(f"emulated LX6 skipped: {exc}")
    all_equal = True
    for name, (scores, ram_bytes) in results.items():
        n = len(scores)
        same = bool((scores == expected[:n]).all())
        all_equal &= same
        accuracy = (scores.argmax(axis=1) == y[:n]).mean()
        table.add_row(name, str(n), f"{accuracy:.3f}", f"{ram_bytes:,}", "yes" if same else "NO")
    console.print(table)
    console.print(f"{whole.program.macs:,} multiply-accumulates per image; C in {whole.directory}")
    if not all_equal:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
