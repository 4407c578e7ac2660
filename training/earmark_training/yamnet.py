"""YAMNet rebuilt in Keras from the public int8 file, whole or cut after any width.

The network is MobileNet v1 on patches of 96 x 64 log-mel values (Google, "YAMNet", 2019,
tensorflow/models). The int8 file has its batch normalisation folded into weights and biases, which
are dequantised here: one scale per output channel.
"""

from __future__ import annotations

import csv
import functools
from typing import TYPE_CHECKING, Any

import numpy as np
from earmark_dsp.errors import EarmarkError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SPEC_NAME = "yamnet-64"
N_CLASSES = 521
N_EMBEDDING = 1024
EMBEDDING = "embedding"
# ReLU6 in 8 bits: the resolution of the int8 file's own feature maps.
ACTIVATION_SCALE = 6 / 255
_BATCH = 64
FILE_NAME = "yamnet_int8.tflite"
CLASS_MAP_NAME = "yamnet_class_map.csv"
# (channels, stride) of the first convolution and of each depthwise-separable block.
_STEM = (32, 2)
BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *((512, 1),) * 5,
    (1024, 2),
    (1024, 1),
)
# The last block of each width.
WIDTHS = {256: 5, 512: 11, 1024: 13}


def teacher_path() -> Path:
    """Return the int8 file: named by the user, beside the checkout, cached, or downloaded.

    Raises
    ------
    EarmarkError
        If it is nowhere and cannot be downloaded, or is another file.
    """
    from earmark_datasets.download import YAMNET_SHA256, fetch_yamnet, file_sha256
    from earmark_datasets.locate import find_model

    path = find_model(FILE_NAME) or fetch_yamnet()
    if file_sha256(path) != YAMNET_SHA256:
        raise EarmarkError(
            f"{path} is not the public int8 YAMNet: its sha256 is not {YAMNET_SHA256[:12]}...",
            "remove it, and it is downloaded again",
        )
    return path


def class_names(path: Path | None = None) -> tuple[str, ...]:
    """Return the display names of the 521 AudioSet classes, in the order of the scores.

    Parameters
    ----------
    path : Path or None
        The class map; None: where data and models are looked for.
    """
    from earmark_datasets.locate import find_model

    path = path or find_model(CLASS_MAP_NAME)
    if path is None:
        raise EarmarkError(
            f"{CLASS_MAP_NAME} is not on this machine",
            "put it beside the model (it belongs to tensorflow/models, research/audioset/yamnet) "
            "and name the folder with EARMARK_DATA",
        )
    with path.open(newline="", encoding="utf-8") as stream:
        names = tuple(row["display_name"] for row in csv.DictReader(stream))
    if len(names) != N_CLASSES:
        raise EarmarkError(f"{path} names {len(names)} classes, not {N_CLASSES}")
    return names


@functools.cache
def weights(path: Path) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Dequantise the (kernel, bias) of every layer, shaped as Keras keeps them.

    Returns
    -------
    tuple of (ndarray, ndarray), float32
        The first convolution, then depthwise and pointwise by turns, then the 521 outputs.
    """
    from earmark_training.deploy.tflite import read_model

    model = read_model(path)
    out = []
    for operator in model.operators:
        if operator.name not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            continue
        kernel, bias = (_dequantised(model.tensors[i]) for i in operator.inputs[1:3])
        if operator.name == "CONV_2D":
            kernel = kernel.transpose(1, 2, 3, 0)
        elif operator.name == "DEPTHWISE_CONV_2D":
            kernel = kernel.transpose(1, 2, 3, 0)  # (1, h, w, c) -> (h, w, c, 1)
        else:
            kernel = kernel.T
        out.append((np.ascontiguousarray(kernel), bias))
    return tuple(out)


def _dequantised(tensor: Any) -> np.ndarray:
    scale, zero_point = tensor.quantisation.scale, tensor.quantisation.zero_point
    shape = [1] * len(tensor.shape)
    shape[tensor.quantisation.axis if len(scale) > 1 else 0] = -1
    real: np.ndarray = (tensor.data - zero_point.reshape(shape)) * scale.reshape(shape)
    return real.astype(np.float32)


def trunk(x: Any, n_blocks: int, *, first: int = 0) -> Any:
    """Apply the stem (if `first` is 0) and blocks `first` .. `n_blocks` - 1 to a feature map."""
    from keras import initializers, layers

    # For untrained copies, as in cost estimates: activations keep an ordinary size.
    he = "he_normal"

    def relu6(x: Any, name: str) -> Any:
        return layers.ReLU(max_value=6.0, name=name)(x)

    if not first:
        channels, stride = _STEM
        x = layers.Conv2D(
            channels, 3, strides=stride, padding="same", kernel_initializer=he, name="stem"
        )(x)
        x = relu6(x, "stem_relu")
    for number in range(first, n_blocks):
        channels, stride = BLOCKS[number]
        name = f"block{number + 1}"
        x = layers.DepthwiseConv2D(
            3,
            strides=stride,
            padding="same",
            # Keras counts all channels as inputs of a depthwise kernel; there are nine.
            depthwise_initializer=initializers.RandomNormal(stddev=(2 / 9) ** 0.5),
            name=f"{name}_depthwise",
        )(x)
        x = relu6(x, f"{name}_depthwise_relu")
        x = layers.Conv2D(channels, 1, kernel_initializer=he, name=f"{name}_pointwise")(x)
        x = relu6(x, f"{name}_pointwise_relu")
    return x


def whole() -> Any:
    """Build the network with structure only; outputs (521 scores, 1024 embedding)."""
    import keras
    from keras import layers

    inputs = keras.Input((96, 64), name="features")
    x = layers.Reshape((96, 64, 1))(inputs)
    x = layers.GlobalAveragePooling2D(name=EMBEDDING)(trunk(x, len(BLOCKS)))
    scores = layers.Dense(N_CLASSES, activation="sigmoid", name="audioset")(x)
    return keras.Model(inputs, [scores, x], name="yamnet")


def layer_names() -> list[str]:
    """Names of the layers with weights, in the order of `weights`."""
    blocks = range(1, len(BLOCKS) + 1)
    parts = [f"block{n}_{kind}" for n in blocks for kind in ("depthwise", "pointwise")]
    return ["stem", *parts, "audioset"]


def load_weights(model: Any, path: Path) -> Any:
    """Put the teacher's weights into the layers of `model` that carry its names; return `model`."""
    known = dict(zip(layer_names(), weights(path), strict=True))
    for layer in model.layers:
        if layer.name in known:
            layer.set_weights(known[layer.name])
    return model


class Runner:
    """Runs the whole teacher and returns the outputs of named layers.

    Parameters
    ----------
    names : sequence of str
        Layers with a ReLU6, or ``embedding``.
    """

    def __init__(self, names: Sequence[str]) -> None:
        import keras
        import tensorflow as tf
        from earmark_dsp.spec import load_spec

        self._spec = load_spec(SPEC_NAME)
        model = load_weights(whole(), teacher_path())
        # In one graph up to the deepest of them.
        outputs = {name: model.get_layer(name).output for name in names}
        part = keras.Model(model.input, outputs)
        self._call = tf.function(
            lambda x: part(x, training=False),
            input_signature=[tf.TensorSpec((None, 96, 64), tf.float32)],
        )

    def run(self, windows: np.ndarray) -> dict[str, np.ndarray]:
        """Return outputs by layer: uint8 feature maps in steps of 6/255, float16 embeddings.

        Parameters
        ----------
        windows : ndarray [shape=(n, 96, 64), dtype=int8]
            Rows of the ``yamnet-64`` front end.
        """
        parts: dict[str, list[np.ndarray]] = {}
        for start in range(0, len(windows), _BATCH):
            batch = windows[start : start + _BATCH].astype(np.float32)
            real = (batch - self._spec.output_zero_point) * np.float32(self._spec.output_scale)
            for name, output in self._call(real).items():
                array = output.numpy()
                if name == EMBEDDING:
                    parts.setdefault(name, []).append(array.astype(np.float16))
                else:
                    steps = np.rint(array / ACTIVATION_SCALE)
                    parts.setdefault(name, []).append(steps.astype(np.uint8))
        return {name: np.concatenate(arrays) for name, arrays in parts.items()}
