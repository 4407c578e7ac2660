"""Where int8 departs from float: the same windows through both networks, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from earmark_dsp.errors import EarmarkError

from earmark_training.deploy.tflite import Op, TensorType, parse_model
from earmark_training.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from earmark_dsp.spec import FrontEndSpec

    from earmark_training.deploy.tflite import Model, Operator, Tensor

# Only move or convert values; their outputs carry the error of what came before.
_CONVERSIONS = {Op.QUANTIZE, Op.DEQUANTIZE}
N_CODES = 256
EXACT = 1e-12
TINY = 1e-30


@dataclass(frozen=True)
class LayerError:
    """How well one layer's int8 output stands for the float one.

    Attributes
    ----------
    name : str
        Position and operator.
    shape : tuple of int
    sqnr_db : float
        Signal-to-quantisation-noise ratio of the output, errors of earlier layers included, in dB.
    lost_db : float
        How much lower that is than the worst of the layer's inputs: what the layer itself adds.
    used : float
        Share of the 256 codes between the smallest and the largest that occurred, 0..1.
    saturated : float
        Share of values where int8 ends and float goes on, 0..1.
    scale : float
        Real value of one int8 step.
    """

    name: str
    shape: tuple[int, ...]
    sqnr_db: float
    lost_db: float
    used: float
    saturated: float
    scale: float


def float_tflite(model: Any) -> bytes:
    """Convert a Keras model to float TFLite with a batch of one, as `quantize` does for int8."""
    import keras
    import tensorflow as tf

    inputs = keras.Input(model.input_shape[1:], batch_size=1, name="features")
    converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(inputs, model(inputs)))
    with quiet():
        return bytes(converter.convert())


def layer_errors(
    float_model: bytes, int8_model: bytes, windows: np.ndarray, spec: FrontEndSpec
) -> list[LayerError]:
    """Compare both networks on the same windows, layer by layer.

    Parameters
    ----------
    float_model, int8_model : bytes
        TFLite of one training, see `float_tflite` and `quantize`.
    windows : ndarray [shape=(n, context_frames, n_features), dtype=int8]
    spec : FrontEndSpec

    Raises
    ------
    EarmarkError
        If the converter merged layers differently, so that they cannot be put side by side.
    """
    left, right = parse_model(float_model), parse_model(int8_model)
    pairs = _pair_operators(left, right)
    measured = _measure(
        float_model,
        int8_model,
        [(right.tensors[b.outputs[0]], a.outputs[0]) for a, b in pairs],
        windows,
        spec,
    )
    clean_db: dict[int, float] = {}
    errors = []
    for (_, operator), (sqnr_db, used, saturated) in zip(pairs, measured, strict=True):
        output = right.tensors[operator.outputs[0]]
        before_db = min((clean_db[i] for i in operator.inputs if i in clean_db), default=np.inf)
        clean_db[output.index] = sqnr_db
        _follow_conversions(right, clean_db)
        # The first layer's input is exact: the integers of the front end.
        lost_db = before_db - sqnr_db if np.isfinite(before_db) else 0.0
        quantisation = output.quantisation
        assert quantisation is not None  # noqa: S101 - int8 activations always have one
        errors.append(
            LayerError(
                name=f"{operator.position} {operator.name}",
                shape=output.shape,
                sqnr_db=sqnr_db,
                lost_db=lost_db,
                used=used,
                saturated=saturated,
                scale=float(quantisation.scale[0]),
            )
        )
    return errors


def _layers(model: Model) -> list[Operator]:
    return [o for o in model.operators if o.code not in _CONVERSIONS]


def _pair_operators(left: Model, right: Model) -> list[tuple[Operator, Operator]]:
    a, b = _layers(left), _layers(right)
    if [o.code for o in a] != [o.code for o in b]:
        raise EarmarkError(
            "the float and the int8 network have different operators, so their layers cannot be "
            "compared",
            "float and int8 must come from the same training; write the bundle again",
        )
    return [
        (x, y)
        for x, y in zip(a, b, strict=True)
        if right.tensors[y.outputs[0]].dtype is TensorType.INT8
    ]


def _follow_conversions(model: Model, clean_db: dict[int, float]) -> None:
    """Count a requantised copy as good as its source."""
    for operator in model.operators:
        if operator.code in _CONVERSIONS and operator.inputs[0] in clean_db:
            clean_db.setdefault(operator.outputs[0], clean_db[operator.inputs[0]])


def to_real(codes: np.ndarray, spec: FrontEndSpec) -> np.ndarray:
    """Return feature codes in real units, float32."""
    real: np.ndarray = (codes.astype(np.float32) - spec.output_zero_point) * np.float32(
        spec.output_scale
    )
    return real


def interpreter(tflite: bytes, *, keep_all: bool = False) -> Any:
    """Return LiteRT on its reference kernels: the integers of TFLM and of the C engine.

    Parameters
    ----------
    keep_all : bool
        Every intermediate tensor can be read after `invoke`.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    runner = Interpreter(
        model_content=tflite,
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
        experimental_preserve_all_tensors=keep_all,
    )
    runner.allocate_tensors()
    return runner


def _measure(
    float_model: bytes,
    int8_model: bytes,
    outputs: Sequence[tuple[Tensor, int]],
    windows: np.ndarray,
    spec: FrontEndSpec,
) -> list[tuple[float, float, float]]:
    """Return (SQNR in dB, share of codes used, share saturated) of each pair of tensors."""
    real = interpreter(float_model, keep_all=True)
    integer = interpreter(int8_model, keep_all=True)
    slot_real = real.get_input_details()[0]
    slot_integer = integer.get_input_details()[0]
    signal, noise = np.zeros(len(outputs)), np.zeros(len(outputs))
    clipped, counted = np.zeros(len(outputs)), np.zeros(len(outputs))
    low, high = np.full(len(outputs), 127), np.full(len(outputs), -128)
    for window in windows:
        real.set_tensor(slot_real["index"], to_real(window, spec).reshape(slot_real["shape"]))
        integer.set_tensor(slot_integer["index"], window.reshape(slot_integer["shape"]))
        real.invoke()
        integer.invoke()
        for k, (tensor, float_index) in enumerate(outputs):
            exact = real.get_tensor(float_index).astype(np.float64)
            codes = integer.get_tensor(tensor.index).astype(np.int64)
            quantisation = tensor.quantisation
            assert quantisation is not None  # noqa: S101 - int8 activations always have one
            scale, zero_point = float(quantisation.scale[0]), int(quantisation.zero_point[0])
            error = (codes - zero_point) * scale - exact
            signal[k] += np.square(exact).sum()
            noise[k] += np.square(error).sum()
            # Clipped: the code is at its end and the float value lies more than a step beyond.
            clipped[k] += ((codes == 127) & (error < -scale)).sum()
            clipped[k] += ((codes == -128) & (error > scale)).sum()
            counted[k] += codes.size
            low[k], high[k] = min(low[k], codes.min()), max(high[k], codes.max())
    # A reshape of the front end's integers differs from float by rounding alone: exact.
    exact_layers = noise <= EXACT * signal
    sqnr_db = np.where(
        exact_layers, np.inf, 10 * np.log10(signal / np.where(exact_layers, 1, noise) + TINY)
    )
    used = (high - low + 1) / N_CODES
    return [
        (float(a), float(b), float(c))
        for a, b, c in zip(sqnr_db, used, clipped / np.maximum(1, counted), strict=True)
    ]
