"""The presets: short Keras functions, meant to be copied and edited (`--model my.py`)."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark_dsp.errors import EarmarkError

from earmark_training import yamnet
from earmark_training.windows import EpochPlan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Frequency bands that keep their place up to the outputs.
TINY_BANDS = 4
CUT_BANDS = 4


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
    x = pool(x, TINY_BANDS)
    return keras.Model(inputs, scores(x, n_classes), name="tiny")


def pool(x: Any, n_bands: int) -> Any:
    """Average over time, and over frequency within `n_bands` equal bands.

    Convolutions do not know where they are: with a band or more per kilohertz the outputs can
    tell a helicopter from the sea.
    """
    from keras import layers

    if n_bands == 1:
        return layers.GlobalAveragePooling2D(name=yamnet.EMBEDDING)(x)
    x = layers.AveragePooling2D((x.shape[1], x.shape[2] // n_bands))(x)
    return layers.Flatten(name=yamnet.EMBEDDING)(x)


def scores(x: Any, n_classes: int, dropout: float = 0.2) -> Any:
    """Return softmax scores of pooled features."""
    from keras import layers

    x = layers.Dropout(dropout)(x)
    return layers.Dense(n_classes, activation="softmax", name="scores")(x)


def yamnet_cut(input_shape: tuple[int, int], n_classes: int, *, width: int) -> Any:
    """Build YAMNet up to its last block of `width` channels, with outputs of our own.

    Structure only: `train` puts the public weights in, keeps the lower layers as they are and
    trains the upper ones.

    Parameters
    ----------
    input_shape : tuple of int
        (context_frames, n_features).
    n_classes : int
    width : int
        256, 512 or 1024.

    Returns
    -------
    keras.Model
        Input float32 (batch, frames, features); output softmax (batch, n_classes).
    """
    import keras
    from keras import layers

    inputs = keras.Input(input_shape, name="features")
    x = layers.Reshape((*input_shape, 1))(inputs)
    x = pool(yamnet.trunk(x, yamnet.WIDTHS[width]), CUT_BANDS if width < 1024 else 1)
    return keras.Model(inputs, scores(x, n_classes), name=f"yamnet-{width}")


def yamnet_256(input_shape: tuple[int, int], n_classes: int) -> Any:
    """Cut YAMNet at 256 channels: about 145 k parameters."""
    return yamnet_cut(input_shape, n_classes, width=256)


def yamnet_512(input_shape: tuple[int, int], n_classes: int) -> Any:
    """Cut YAMNet at 512 channels: about 1.6 M parameters."""
    return yamnet_cut(input_shape, n_classes, width=512)


def yamnet_1024(input_shape: tuple[int, int], n_classes: int) -> Any:
    """Keep all of YAMNet but its 521 outputs: about 3.2 M parameters."""
    return yamnet_cut(input_shape, n_classes, width=1024)


@dataclass(frozen=True)
class Preset:
    """A network and what belongs to it.

    Attributes
    ----------
    build : callable
        (input_shape, n_classes) -> keras.Model.
    spec_name : str
        Its front end.
    trained_from : str
        The layer of YAMNet up to which weights stay as they are; "" trains everything from scratch.
    settings : mapping
        Fields of `train.Recipe` that differ from its defaults.
    """

    build: Callable[[tuple[int, int], int], Any]
    spec_name: str = "pcen-64-20ms"
    trained_from: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)


PRESETS: dict[str, Preset] = {
    "tiny": Preset(tiny, settings={"epochs": 130, "n_shards": 0, "fresh": EpochPlan(3, 10, 26)}),
    "tiny-distilled": Preset(
        tiny,
        settings={
            "epochs": 65,
            "n_shards": 24,
            "fresh": EpochPlan(2, 10, 26),
            "distillation": 0.8,
            "hint": 1.0,
        },
    ),
    "yamnet-256": Preset(
        yamnet_256,
        yamnet.SPEC_NAME,
        "block4_depthwise_relu",
        {"epochs": 60, "n_shards": 24, "learning_rate": 5e-3, "distillation": 0.8, "hint": 1.0},
    ),
    "yamnet-512": Preset(
        yamnet_512,
        yamnet.SPEC_NAME,
        "block6_depthwise_relu",
        {"epochs": 24, "n_shards": 24, "learning_rate": 1e-3, "distillation": 0.5},
    ),
    "yamnet-1024": Preset(
        yamnet_1024,
        yamnet.SPEC_NAME,
        yamnet.EMBEDDING,
        {"epochs": 24, "n_shards": 24},
    ),
}


def build(preset: str, input_shape: tuple[int, int], n_classes: int) -> Any:
    """Build a preset by name, or what the function ``build`` of a Python file returns.

    Raises
    ------
    EarmarkError
        Naming the presets there are, or what is wrong with the file.
    """
    if preset in PRESETS:
        return PRESETS[preset].build(input_shape, n_classes)
    if not preset.endswith(".py"):
        raise EarmarkError(f"there is no preset {preset!r}", f"choose one of {', '.join(PRESETS)}")
    return _build_own(Path(preset), input_shape, n_classes)


def _build_own(path: Path, input_shape: tuple[int, int], n_classes: int) -> Any:
    wanted = f"def build(input_shape, n_classes) that returns a keras.Model, as in {__file__}"
    if not path.is_file():
        raise EarmarkError(f"{path} does not exist", "name a Python file")
    module_spec = importlib.util.spec_from_file_location(path.stem, path)
    assert module_spec is not None  # noqa: S101 - only for unknown suffixes
    assert module_spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(module_spec)
    try:
        module_spec.loader.exec_module(module)
        model = module.build(input_shape, n_classes)
        shapes = (tuple(model.input_shape), tuple(model.output_shape))
    except Exception as exc:
        raise EarmarkError(f"{path}: {type(exc).__name__}: {exc}", f"it needs {wanted}") from exc
    if shapes != ((None, *input_shape), (None, n_classes)):
        raise EarmarkError(
            f"{path}: the model takes {shapes[0]} and gives {shapes[1]}, not "
            f"{(None, *input_shape)} and {(None, n_classes)}",
            f"it needs {wanted}",
        )
    return model


def spec_of(preset: str) -> str:
    """Return the front end of a preset, or of a network of one's own."""
    if preset not in PRESETS and not preset.endswith(".py"):
        raise EarmarkError(
            f"there is no preset {preset!r}", f"choose one of {', '.join(PRESETS)}, yamnet-521"
        )
    return PRESETS.get(preset, PRESETS["tiny"]).spec_name


def trained_from(preset: str) -> str:
    """Return the layer of YAMNet from which a preset is trained, or "" for all of a network."""
    return PRESETS[preset].trained_from if preset in PRESETS else ""


def source_of(preset: str) -> str:
    """Return the source of a network that is no preset, for fingerprints."""
    return "" if preset in PRESETS else Path(preset).read_text(encoding="utf-8")
