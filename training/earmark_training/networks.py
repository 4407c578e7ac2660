"""The presets: short Keras functions, meant to be copied and edited (`--model my.py`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from earmark_dsp.errors import EarmarkError

if TYPE_CHECKING:
    from collections.abc import Callable


def tiny(input_shape: tuple[int, int], n_classes: int) -> Any:
    """Build a small convolutional network of about 40 k parameters, trained from scratch.

    Made for the LX6's MAC16 unit: few outputs in the first layer, whose nine taps cost as much per
    output as a hundred; then dense 3x3 convolutions, which run at little more than one
    instruction per multiply-accumulate; depthwise layers, at three to four, only on small maps.

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

    def conv(x: Any, channels: int, strides: tuple[int, int] = (2, 2)) -> Any:
        layer = layers.Conv2D(channels, 3, strides=strides, padding="same", use_bias=False)
        return batch_norm_relu(layer(x))

    def separable(x: Any, channels: int, strides: int = 1) -> Any:
        layer = layers.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False)
        x = batch_norm_relu(layer(x))
        return batch_norm_relu(layers.Conv2D(channels, 1, use_bias=False)(x))

    inputs = keras.Input(input_shape, name="features")
    x = layers.Reshape((*input_shape, 1))(inputs)
    x = conv(x, 16, strides=(1, 2))
    x = conv(x, 32)
    x = conv(x, 40)
    x = separable(x, 96)
    x = separable(x, 96, strides=2)
    x = separable(x, 112)
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
