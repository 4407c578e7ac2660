"""Full int8 quantisation whose input integers are the front end's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from earmark_dsp.errors import EarmarkError

from earmark_training.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from earmark_dsp.spec import FrontEndSpec


def quantize(model: Any, windows: np.ndarray, spec: FrontEndSpec) -> bytes:
    """Convert a Keras model to int8 TFLite.

    Parameters
    ----------
    model : keras.Model
        Float32 features in real units in, softmax or logistic scores out.
    windows : ndarray [shape=(n, context_frames, n_features), dtype=int8]
        Representative windows; a few hundred are enough.
    spec : FrontEndSpec

    Returns
    -------
    bytes
        A model whose input scale and zero point are exactly `spec`'s.

    Raises
    ------
    EarmarkError
        If the converter chose another input quantisation.
    """
    import keras
    import tensorflow as tf

    def real(rows: np.ndarray) -> np.ndarray:
        return (rows.astype(np.float32) - spec.output_zero_point) * np.float32(spec.output_scale)

    # Spanning -128..127 exactly makes the converter choose the specification's scale; two values
    # of one frame do, so that activations see no more of it than of any window.
    span = real(windows[0])
    span[0, :2] = _full_range(spec)

    def representative() -> Iterator[list[np.ndarray]]:
        yield [span[None]]
        for window in windows:
            yield [real(window)[None]]

    # A fixed batch of one: otherwise the graph computes shapes at run time.
    inputs = keras.Input(model.input_shape[1:], batch_size=1, name="features")
    fixed = keras.Model(inputs, model(inputs), name="device")
    converter = tf.lite.TFLiteConverter.from_keras_model(fixed)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    with quiet():
        tflite = bytes(converter.convert())
    check_input_quantisation(tflite, spec)
    return tflite


def _full_range(spec: FrontEndSpec) -> tuple[np.float32, np.float32]:
    """Return the ends of the int8 range, such that their float32 difference gives the scale.

    The converter divides the range by 255, all in float32. Rounding the ends may cost the last bit
    of the scale, unless the upper one is moved by an ulp or two.
    """
    scale = np.float32(spec.output_scale)
    low = np.float32((-128 - spec.output_zero_point) * float(scale))
    high = np.float32((127 - spec.output_zero_point) * float(scale))
    ulp = np.spacing(high)
    moved = [np.float32(high + n * ulp) for n in (0, 1, -1, 2, -2, 3, -3)]
    fitting = (h for h in moved if (h - low) / np.float32(255) == scale)
    return low, next(fitting, high)


def check_input_quantisation(tflite: bytes, spec: FrontEndSpec) -> None:
    """Raise `EarmarkError` unless the model's input integers are the specification's."""
    from earmark_training.deploy.tflite import parse_model

    model = parse_model(tflite)
    tensor = model.tensors[model.inputs[0]]
    if tensor.quantisation is None:
        raise EarmarkError("the model's input is not quantised", "convert it with `quantize`")
    scale = float(tensor.quantisation.scale[0])
    zero_point = int(tensor.quantisation.zero_point[0])
    if (np.float32(scale), zero_point) != (np.float32(spec.output_scale), spec.output_zero_point):
        raise EarmarkError(
            f"the model's input has scale {scale} and zero point {zero_point}, the front end "
            f"{spec.name} gives {spec.output_scale} and {spec.output_zero_point}",
            "choose an output scale that float32 holds exactly (k * 2**-n) in the specification",
        )
