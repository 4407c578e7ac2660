"""Any description of a network as an int8 model: costs can be measured before training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from earmark_dsp.errors import EarmarkError

N_REPRESENTATIVE = 4
# Enough updates for the moving averages of batch normalisation (momentum up to 0.9).
N_WARM_UP, WARM_UP_BATCH = 40, 8


def tflite_of(source: str, spec: str | None, n_classes: int) -> tuple[bytes, str]:
    """Return the int8 model behind a path or preset name, and a name for it.

    Parameters
    ----------
    source : str
        ``.tflite``, bundle directory or ``.tar``, ``.keras`` or ``.h5`` file, or preset. Keras
        models are converted with random weights and data: costs do not depend on the values.
    spec, n_classes
        Input (None: the preset's own front end) and output of a preset.
    """
    path = Path(source)
    if path.suffix == ".tflite":
        return _read(path), path.stem
    if path.suffix in (".keras", ".h5"):
        return convert(_load_keras(path)), path.stem
    if path.is_dir() or path.suffix == ".tar":
        from earmark_training.deploy.bundle import Bundle

        return Bundle.load(path).tflite, path.stem
    from earmark_dsp.spec import load_spec

    from earmark_training.networks import PRESETS, build

    if source not in PRESETS:
        raise EarmarkError(
            f"'{source}' is no .tflite, .keras, bundle or preset",
            f"presets: {', '.join(PRESETS)}",
        )
    front_end = load_spec(spec or PRESETS[source].spec_name)
    shape = (front_end.context_frames, front_end.n_features)
    return convert(build(source, shape, n_classes)), source


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise EarmarkError(f"cannot read {path}: {exc.strerror}") from exc


def _load_keras(path: Path) -> Any:
    import keras

    try:
        return keras.models.load_model(path, compile=False)
    except (OSError, ValueError) as exc:
        raise EarmarkError(f"{path} is no Keras model: {exc}") from exc


def convert(model: Any) -> bytes:
    """Quantise a Keras model, trained or not, on random input."""
    import keras
    import tensorflow as tf

    from earmark_training.quiet import quiet

    shape = tuple(model.input_shape[1:])
    if None in shape:
        raise EarmarkError(f"the model's input {shape} has an open dimension", "fix its size")
    rng = np.random.default_rng(0)
    # Fresh weights, settled normalisation: activations of ordinary size, the caller's model intact.
    model = keras.models.clone_model(model)
    for _ in range(N_WARM_UP):
        model(rng.standard_normal((WARM_UP_BATCH, *shape)).astype(np.float32), training=True)
    inputs = keras.Input(shape, batch_size=1)
    converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(inputs, model(inputs)))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: (
        [rng.standard_normal((1, *shape)).astype(np.float32)] for _ in range(N_REPRESENTATIVE)
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    with quiet():
        return bytes(converter.convert())
