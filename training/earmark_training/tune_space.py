"""What `earmark tune` may choose: front end, window, hop between inferences, and network."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from earmark_dsp.spec import FrontEndSpec, PcenCompression, load_spec

if TYPE_CHECKING:
    from collections.abc import Mapping

RATE_HZ = 16_000
COMPRESSIONS = {"pcen": "pcen-64-20ms", "log": "logmel-64-20ms"}
# Window and transform lengths in samples; a longer window resolves lower bands.
WINDOWS = {400: 512, 512: 512, 1024: 1024}
CHOICES: dict[str, tuple[Any, ...]] = {
    "compression": ("pcen", "log"),
    "window_length": tuple(WINDOWS),
    "hop_ms": (10, 16, 20, 32),
    "n_mels": (32, 40, 48, 64),
    "context_ms": (640, 1000, 1280, 1920),
    "inference_ms": (320, 500, 640, 1000),
    "stem": (8, 12, 16, 24),
    "stem_stride": (1, 2),
    "conv_1": (16, 24, 32, 40),
    "conv_2": (24, 32, 40, 56),
    "separable": (48, 64, 80, 96, 128),
    "n_separable": (1, 2, 3, 4),
    "last": (48, 64, 80, 112, 144),
    "bands": (1, 2, 4),
}
# Tried first: the layers of the preset `tiny` behind its front end.
START: dict[str, Any] = {
    "compression": "pcen", "window_length": 512, "hop_ms": 20, "n_mels": 64, "context_ms": 1000,
    "inference_ms": 500, "stem": 16, "stem_stride": 1, "conv_1": 32, "conv_2": 40, "separable": 96,
    "n_separable": 3, "last": 112, "bands": 4,
}  # fmt: skip


@dataclass(frozen=True)
class Candidate:
    """One point of the space; times in milliseconds, lengths in samples, the rest in channels.

    `stem_stride` is that of the first layer along time; along frequency it is always 2. Of the
    `n_separable` blocks the last has `last` channels, the others `separable`. The end averages over
    time, and over frequency within each of about `bands` bands.
    """

    compression: str
    window_length: int
    hop_ms: int
    n_mels: int
    context_ms: int
    inference_ms: int
    stem: int
    stem_stride: int
    conv_1: int
    conv_2: int
    separable: int
    n_separable: int
    last: int
    bands: int

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Candidate:
        """Take the fields from Optuna's parameters."""
        return cls(**{field.name: params[field.name] for field in fields(cls)})

    @property
    def context_frames(self) -> int:
        """Rows per window."""
        return round(self.context_ms / self.hop_ms)

    @property
    def hop_frames(self) -> int:
        """Rows between inferences: at most a window, so that no sound is skipped."""
        return min(round(self.inference_ms / self.hop_ms), self.context_frames)

    @property
    def inferences_per_s(self) -> float:
        """How often the network runs."""
        return 1000 / (self.hop_frames * self.hop_ms)


def suggest(trial: Any) -> Candidate:
    """Let an Optuna trial choose."""
    chosen = {name: trial.suggest_categorical(name, values) for name, values in CHOICES.items()}
    return Candidate.of(chosen)


def spec_of(candidate: Candidate) -> FrontEndSpec:
    """Return the candidate's front end; the time constants stay those of the specification.

    Raises
    ------
    EarmarkError
        If the front end is impossible (a hop longer than the window, a mel band without a bin).
    """
    base = load_spec(COMPRESSIONS[candidate.compression])
    hop_length = candidate.hop_ms * RATE_HZ // 1000
    compression = base.compression
    if isinstance(compression, PcenCompression):
        # The same time constant at another hop.
        smoothing = 1 - (1 - compression.smoothing) ** (hop_length / base.hop_length)
        compression = replace(compression, smoothing=round(smoothing, 6))
    return replace(
        base,
        name=(
            f"{candidate.compression}-{candidate.n_mels}-{candidate.hop_ms}ms"
            f"-w{candidate.window_length}-c{candidate.context_frames}"
        ),
        description="found by earmark tune",
        context_frames=candidate.context_frames,
        window_length=candidate.window_length,
        hop_length=hop_length,
        fft_length=WINDOWS[candidate.window_length],
        n_mels=candidate.n_mels,
        compression=compression,
    )


def model_source(candidate: Candidate) -> str:
    """Return the candidate's network as a Python file for ``earmark train --model``."""
    blocks = [
        f"    x = conv(x, {candidate.stem}, ({candidate.stem_stride}, 2))",
        f"    x = conv(x, {candidate.conv_1}, (2, 2))",
        f"    x = conv(x, {candidate.conv_2}, (2, 2))",
    ]
    # The second block halves the map once more, as in the preset `tiny`.
    widths = [candidate.separable] * (candidate.n_separable - 1) + [candidate.last]
    blocks += [
        f"    x = separable(x, {width}, {2 if i == 1 else 1})" for i, width in enumerate(widths)
    ]
    return _TEMPLATE.format(blocks="\n".join(blocks), bands=candidate.bands)


_TEMPLATE = '''"""A network that `earmark tune` found; edit it and train it with --model."""

import keras
from keras import layers


def norm(x):
    return layers.ReLU(max_value=6.0)(layers.BatchNormalization(momentum=0.9)(x))


def conv(x, channels, strides):
    layer = layers.Conv2D(channels, 3, strides=strides, padding="same", use_bias=False)
    return norm(layer(x))


def separable(x, channels, strides):
    layer = layers.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False)
    return norm(layers.Conv2D(channels, 1, use_bias=False)(norm(layer(x))))


def build(input_shape, n_classes):
    inputs = keras.Input(input_shape, name="features")
    x = layers.Reshape((*input_shape, 1))(inputs)
{blocks}
    height, width = x.shape[1:3]
    x = layers.AveragePooling2D((height, max(1, width // {bands})))(x)
    x = layers.Flatten(name="embedding")(x)
    x = layers.Dropout(0.2)(x)
    outputs = layers.Dense(n_classes, activation="softmax", name="scores")(x)
    return keras.Model(inputs, outputs, name="tuned")
'''


def build(candidate: Candidate, n_classes: int) -> Any:
    """Build the candidate's Keras model, with random weights."""
    namespace: dict[str, Any] = {}
    exec(compile(model_source(candidate), "<tuned>", "exec"), namespace)  # noqa: S102 - our text
    spec = spec_of(candidate)
    return namespace["build"]((spec.context_frames, spec.n_features), n_classes)
