"""Models from the real converter, and YAMNet: the compiled C equals TFLM's interpreter."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from earmark_datasets.locate import find_model
from earmark_dsp.errors import EarmarkError
from earmark_training.deploy.compile import compile_model
from earmark_training.deploy.golden import random_inputs
from earmark_training.deploy.hostlib import HostModel
from earmark_training.tflm import TflmModel

ROOT = Path(__file__).resolve().parents[2]
YAMNET_RAM_LIMIT = 128 * 1024


def check(tflite: bytes, directory: Path, *, ram_limit: int | None = None, n: int = 5) -> int:
    """Compare and return the RAM of the compiled form."""
    compiled = compile_model(tflite, directory, ram_limit=ram_limit)
    engine, oracle = HostModel(directory), TflmModel(tflite)
    rng = np.random.default_rng(0)
    for _ in range(n):
        inputs = random_inputs(oracle.model, rng)
        for got, want in zip(engine.invoke_many(inputs), oracle.invoke_many(inputs), strict=True):
            np.testing.assert_array_equal(got, want.reshape(got.shape))
    return compiled.ram_bytes


def test_yamnet_within_128_kib(tmp_path: Path) -> None:
    path = find_model("yamnet_int8.tflite")
    if path is None:
        pytest.skip("yamnet_int8.tflite is not on this machine (see earmark_datasets.locate)")
    ram_bytes = check(path.read_bytes(), tmp_path / "c", ram_limit=YAMNET_RAM_LIMIT, n=2)
    assert ram_bytes <= YAMNET_RAM_LIMIT


def convert(model: object, shapes: list[tuple[int, ...]], *, batch_size: int | None = 1) -> bytes:
    import keras
    import tensorflow as tf

    rng = np.random.default_rng(0)
    # The converter orders inputs by name: automatic ones change places from 99 to 100.
    inputs = [keras.Input(s, batch_size, name=f"in{i}") for i, s in enumerate(shapes)]
    fixed = keras.Model(inputs, model(inputs if len(inputs) > 1 else inputs[0]))
    converter = tf.lite.TFLiteConverter.from_keras_model(fixed)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: (
        [rng.normal(0, 1, (1, *s)).astype(np.float32) for s in shapes] for _ in range(20)
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def mobile_block(keras: object) -> tuple[object, list[tuple[int, ...]]]:
    """Explicit zero padding before strided convolutions, inverted residuals, depth multiplier."""
    layers = keras.layers
    x = inputs = keras.Input((33, 20, 2))
    x = layers.ZeroPadding2D(((0, 1), (1, 1)))(x)
    x = layers.Conv2D(12, 3, strides=2, activation="relu6")(x)
    y = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, activation="relu6")(x)
    y = layers.Conv2D(12, 1)(y)
    x = layers.Add()([x, y])
    x = layers.DepthwiseConv2D((1, 5), padding="same", dilation_rate=(1, 2))(x)
    x = layers.AveragePooling2D(2)(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(6, activation="sigmoid")(x)), [(33, 20, 2)]


def two_inputs(keras: object) -> tuple[object, list[tuple[int, ...]]]:
    """Two inputs, channel gating (broadcast product), concatenation, leaky relu, softmax."""
    layers = keras.layers
    a, b = keras.Input((16, 12, 4)), keras.Input((8,))
    x = layers.Conv2D(8, 3, padding="same")(a)
    x = layers.LeakyReLU(negative_slope=0.2)(x)
    gate = layers.Reshape((1, 1, 8))(layers.Dense(8, activation="sigmoid")(b))
    x = layers.Multiply()([x, gate])
    x = layers.Concatenate()([x, layers.MaxPooling2D(3, strides=1, padding="same")(x)])
    x = layers.Permute((2, 1, 3))(x)[:, 1:, ::2, :]
    x = layers.Flatten()(layers.Subtract()([x, layers.AveragePooling2D(3, 1, padding="same")(x)]))
    return keras.Model([a, b], layers.Softmax()(layers.Dense(5)(x))), [(16, 12, 4), (8,)]


def test_dilation_with_an_open_batch_is_refused_with_the_way_out(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    inputs = keras.Input((12, 10, 4))
    dilated = keras.Model(inputs, keras.layers.Conv2D(4, 3, dilation_rate=2)(inputs))
    with pytest.raises(EarmarkError, match="SPACE_TO_BATCH_ND") as caught:
        compile_model(convert(dilated, [(12, 10, 4)], batch_size=None), tmp_path / "open")
    assert "batch_size=1" in caught.value.hint
    check(convert(dilated, [(12, 10, 4)]), tmp_path / "fixed")


@pytest.mark.slow
def test_models_from_the_converter_and_the_first_example(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keras = pytest.importorskip("keras")
    for i, make in enumerate((mobile_block, two_inputs)):
        keras.utils.set_random_seed(i)
        tflite = convert(*make(keras))
        for limit in (None, 0):
            check(tflite, tmp_path / f"{i}{limit}", ram_limit=limit)
    script = ROOT / "examples" / "linear_regression" / "linear_regression.py"
    monkeypatch.setattr(sys, "argv", [str(script), "--epochs", "15", "--output", str(tmp_path)])
    capsys.readouterr()
    runpy.run_path(str(script), run_name="__main__")
    assert "all engines give the same bytes" in capsys.readouterr().out
