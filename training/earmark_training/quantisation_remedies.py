"""Other ways to convert a float network to int8, and what each is worth.

Chosen by the error of the scores on training windows that no conversion has seen; the held-out
clips are only scored, never chosen by.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from earmark_dsp.errors import EarmarkError

from earmark_training.deploy.tflite import parse_model
from earmark_training.quantisation import float_tflite, interpreter, to_real
from earmark_training.quantize import check_input_quantisation, quantize
from earmark_training.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Callable

    from earmark_dsp.spec import FrontEndSpec

IN_BUNDLE = "as in the bundle"


@dataclass(frozen=True)
class Material:
    """What conversions may look at.

    Attributes
    ----------
    augmented : ndarray [shape=(n, context_frames, n_features), dtype=int8]
        Augmented training windows.
    recorded : ndarray [shape=(m, context_frames, n_features), dtype=int8]
        Windows of the training recordings as they are.
    unseen : ndarray [shape=(k, context_frames, n_features), dtype=int8]
        Augmented training windows from another seed, for choosing.
    """

    augmented: np.ndarray
    recorded: np.ndarray
    unseen: np.ndarray


@dataclass(frozen=True)
class Remedy:
    """One conversion and its error.

    Attributes
    ----------
    name, what : str
    tflite : bytes
    score_error : float
        Root mean square difference of the scores from float, on windows not used for conversion.
    deployable : bool
        Whether a device can run it; the others show which half of the quantisation costs.
    """

    name: str
    what: str
    tflite: bytes
    score_error: float
    deployable: bool


def try_remedies(
    model: Any,
    in_bundle: bytes,
    material: Material,
    spec: FrontEndSpec,
    progress: Callable[[int, int, str], None] | None = None,
) -> list[Remedy]:
    """Convert in every way that today's libraries offer and measure each.

    Parameters
    ----------
    model : keras.Model
    in_bundle : bytes
        The int8 network as it is.
    material : Material
    spec : FrontEndSpec
    progress : callable or None
        Called with (done, total, name).

    Returns
    -------
    list of Remedy
        The bundle's own first. Conversions that a library refused are left out.
    """
    exact = float_tflite(model)
    ways: list[tuple[str, str, bool, Callable[[], bytes]]] = [
        (IN_BUNDLE, "", True, lambda: in_bundle),
        (
            "more windows",
            f"{len(material.augmented)} representative windows instead of the usual few hundred",
            True,
            lambda: quantize(model, material.augmented, spec),
        ),
        (
            "recordings",
            f"{len(material.recorded)} windows of the recordings without augmentation",
            True,
            lambda: quantize(model, material.recorded, spec),
        ),
        (
            "averaged ranges",
            "ai-edge-quantizer: ranges averaged over windows instead of their extremes",
            True,
            lambda: averaged_ranges(exact, material.augmented, spec),
        ),
        (
            "int16 activations",
            "diagnosis only: no device engine here runs it; shows what int8 activations cost",
            False,
            lambda: int16_activations(model, material.augmented, spec),
        ),
        (
            "int8 weights alone",
            "diagnosis only: activations stay float; shows what int8 weights cost",
            False,
            lambda: weights_alone(exact),
        ),
    ]
    truth = scores_of(exact, material.unseen, spec)
    found = []
    for number, (name, what, deployable, convert) in enumerate(ways):
        if progress:
            progress(number, len(ways), name)
        try:
            tflite = convert()
        except (ImportError, RuntimeError, ValueError, EarmarkError) as exc:
            what = f"not possible here: {str(exc).splitlines()[0]}"  # noqa: PLW2901 - shown instead
            found.append(Remedy(name, what, b"", float("nan"), deployable=False))
            continue
        error = scores_of(tflite, material.unseen, spec) - truth
        found.append(
            Remedy(name, what, tflite, float(np.sqrt(np.mean(error**2))), deployable=deployable)
        )
    return found


def best(remedies: list[Remedy]) -> Remedy:
    """Return the deployable conversion whose scores are nearest to float."""
    return min((r for r in remedies if r.deployable), key=lambda r: r.score_error)


def scores_of(tflite: bytes, windows: np.ndarray, spec: FrontEndSpec) -> np.ndarray:
    """Return the scores [shape=(n_windows, n_classes), dtype=float64] of a float or integer model.

    Integer models run on the reference kernels, whose integers are the device's.
    """
    runner = interpreter(tflite)
    slot, output = runner.get_input_details()[0], runner.get_output_details()[0]
    is_int8 = slot["dtype"] == np.int8
    rows = []
    for window in windows:
        values = window if is_int8 else to_real(window, spec)
        runner.set_tensor(slot["index"], values.reshape(slot["shape"]))
        runner.invoke()
        result = runner.get_tensor(output["index"]).astype(np.float64)
        if np.issubdtype(output["dtype"], np.integer):
            scale, zero_point = output["quantization"]
            result = (result - zero_point) * scale
        rows.append(result.ravel())
    return np.stack(rows)


def averaged_ranges(exact: bytes, windows: np.ndarray, spec: FrontEndSpec) -> bytes:
    """Quantise with ai-edge-quantizer; the input keeps exactly the front end's quantisation."""
    os.environ.setdefault("TQDM_DISABLE", "1")
    from ai_edge_quantizer import quantizer, recipe

    with tempfile.TemporaryDirectory(prefix="earmark-quantise-") as folder, quiet():
        path = Path(folder) / "float.tflite"
        path.write_bytes(exact)
        signature = interpreter(exact).get_signature_list()
        key, slots = next(iter(signature.items()))
        tool = quantizer.Quantizer(str(path), recipe.static_wi8_ai8())
        ranges = tool.calibrate(
            {key: [{slots["inputs"][0]: to_real(w, spec)[None]} for w in windows]}
        )
        graph = parse_model(exact)
        # The library averages the input's range, too; there it is the front end's by contract.
        low, high = (to_real(np.array([[code]]), spec) for code in (-128, 127))
        name = graph.tensors[graph.inputs[0]].name
        if name not in ranges:
            raise EarmarkError(f"ai-edge-quantizer has no range for the input '{name}'")
        ranges[name] = {"min": low, "max": high}
        tflite = bytes(tool.quantize(ranges).quantized_model)
    check_input_quantisation(tflite, spec)
    return tflite


def int16_activations(model: Any, windows: np.ndarray, spec: FrontEndSpec) -> bytes:
    """Convert with 16-bit activations and 8-bit weights, float at both ends."""
    import keras
    import tensorflow as tf

    inputs = keras.Input(model.input_shape[1:], batch_size=1, name="features")
    converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(inputs, model(inputs)))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([to_real(w, spec)[None]] for w in windows)
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
    ]
    with quiet():
        return bytes(converter.convert())


def weights_alone(exact: bytes) -> bytes:
    """Round the weights to int8 and keep everything else float (ai-edge-quantizer)."""
    from ai_edge_quantizer import quantizer, recipe

    with tempfile.TemporaryDirectory(prefix="earmark-quantise-") as folder, quiet():
        path = Path(folder) / "float.tflite"
        path.write_bytes(exact)
        tool = quantizer.Quantizer(str(path), recipe.weight_only_wi8_afp32())
        return bytes(tool.quantize().quantized_model)
