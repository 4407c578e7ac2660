"""The presets: short Keras functions, meant to be copied and edited (`--model my.py`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from earmark_dsp.errors import EarmarkError

if TYPE_CHECKING:
    from collections.abc import Callable


def tiny(input_shape: tuple[int, int], n_classes: int) -> Any:
    """Build a depthwise-separable network of about 45 k parameters, trained from scratch.

    Channels are multiples of 8 and strides fall early: pointwise layers, which the LX6 computes at
    little more than one instruction per multiply-accumulate, carry nearly all of the work.

    Parameters
    ----------
    input_shape : tuple of int
        (context_frames, n_features).
    n_classes : int

    Returns
    -------
    keras.Model
        Input float32 (batch, frames, features); output softmax (batch, n_classes).
    """
    import keras
    from keras import layers

    def batch_norm_relu(x: Any) -> Any:
        return layers.ReLU(max_value=6.0)(layers.BatchNormalization(momentum=0.9)(x))

    def separable(x: Any, channels: int, strides: int = 1) -> Any:
        x = layers.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False)(x)
        x = batch_norm_relu(x)
        return batch_norm_relu(layers.Conv2D(channels, 1, use_bias=False)(x))

    inputs = keras.Input(input_shape, name="features")
    x = layers.Reshape((*input_shape, 1))(inputs)
    x = layers.Conv2D(24, 3, strides=(1, 2), padding="same", use_bias=False)(x)
    x = batch_norm_relu(x)
    x = separable(x, 32, strides=2)
    x = separable(x, 64, strides=2)
    x = separable(x, 64)
    x = separable(x, 96, strides=2)
    x = separable(x, 128)
    x = separable(x, 128)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.2)(x)
    outputs = layers.Dense(n_classes, activation="softmax", name="scores")(x)
    return keras.Model(inputs, outputs, name="tiny")


PRESETS: dict[str, Callable[[tuple[int, int], int], Any]] = {"tiny": tiny}


def build(preset: str, input_shape: tuple[int, int], n_classes: int) -> Any:
    """Build a preset by name; `EarmarkError` names the presets there are."""
    try:
        make = PRESETS[preset]
    except KeyError as exc:
        raise EarmarkError(
            f"there is no preset {preset!r}", f"choose one of {', '.join(PRESETS)}"
        ) from exc
    return make(input_shape, n_classes)
