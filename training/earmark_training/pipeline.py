"""The training input: epochs, each fed through a `tf.data.Dataset` of named stages.

draw (waveform stages of `augment.STAGES` and the C front end, `shards.py`; or mixtures of mel
energies, `fresh.py`) -> shuffle -> batch -> dequantise -> spec_augment -> prefetch. Every stage is
seeded by what it works on, so an interrupted training goes on with the very batches it would have
seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from earmark_training import yamnet
from earmark_training.shards import EMBEDDING, TARGETS, WINDOWS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from earmark_dsp.spec import FrontEndSpec

# Widest stripe, as a share of an axis: 8 of 50 frames, 8 of 64 bands.
TIME_STRIPE, FREQUENCY_STRIPE = 0.16, 0.125


class Source(Protocol):
    """What gives the windows of numbered epochs; see `training_set.TrainingSet`."""

    labels: tuple[str, ...]

    def get(self, number: int) -> dict[str, np.ndarray]:
        """Return an epoch's arrays."""


@dataclass(frozen=True)
class Schedule:
    """Which batches a training sees.

    Attributes
    ----------
    epochs : int
    batch_size : int
    seed : int
    label_smoothing : float
    distillation : float
        Share of the teacher's scores in the targets, the rest is the labels.
    """

    epochs: int
    batch_size: int
    seed: int
    label_smoothing: float = 0.0
    distillation: float = 0.0


def batches(
    source: Source,
    schedule: Schedule,
    spec: FrontEndSpec,
    *,
    first_epoch: int = 0,
    teacher: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Iterator[tuple[Any, ...]]:
    """Draw epoch after epoch and yield their batches.

    Parameters
    ----------
    source : Source
    schedule : Schedule
    spec : FrontEndSpec
        Of the windows.
    first_epoch : int
        Where a resumed training goes on.
    teacher : callable or None
        Scores [shape=(n, n_labels)] from embeddings [shape=(n, 1024)]; for distillation.

    Yields
    ------
    tuple of tf.Tensor
        (inputs float32, targets float32, embeddings float32 or of no width), batch by batch. An
        embedding of zeros is not known.
    """

    def draw() -> Iterator[tuple[np.ndarray, ...]]:
        n = len(targets) // schedule.batch_size
        order = np.random.default_rng((schedule.seed, epoch)).permutation(len(targets))
        rows = np.sort(order[: n * schedule.batch_size].reshape(n, schedule.batch_size), axis=1)
        embedding = shard.get(EMBEDDING, np.zeros((len(targets), 0), np.float16))
        seeds = [(schedule.seed * 100_003 + epoch, number) for number in range(n)]
        # All batches at once: Python takes longer to hand over a batch than TensorFlow to cut it.
        yield (
            shard[WINDOWS][rows],
            targets[rows],
            embedding[rows].astype(np.float32),
            np.array(seeds, np.int32),
        )

    dataset = None
    for epoch in range(first_epoch, schedule.epochs):
        # In the caller's thread: in TensorFlow's own, large arrays take new memory each time.
        shard = source.get(epoch)
        targets = _targets(shard, schedule, teacher)
        if dataset is None:
            dataset = _dataset(draw, shard, len(source.labels), schedule.batch_size, spec)
        yield from dataset


def _dataset(
    draw: Callable[[], Iterator[tuple[Any, ...]]],
    shard: dict[str, np.ndarray],
    n_labels: int,
    batch_size: int,
    spec: FrontEndSpec,
) -> Any:
    """Return the batches that `draw` gives, as tf.data.Dataset of what the network takes."""
    import tensorflow as tf

    n_embedding = shard[EMBEDDING].shape[1] if EMBEDDING in shard else 0
    signature = (
        tf.TensorSpec((None, batch_size, *shard[WINDOWS].shape[1:]), shard[WINDOWS].dtype),
        tf.TensorSpec((None, batch_size, n_labels), tf.float32),
        tf.TensorSpec((None, batch_size, n_embedding), tf.float32),
        tf.TensorSpec((None, 2), tf.int32),
    )

    def prepare(x: Any, y: Any, embedding: Any, seed: Any) -> tuple[Any, ...]:
        real = dequantise(x, spec)
        return (spec_augment(real, seed) if len(x.shape) > 2 else real), y, embedding

    epochs = tf.data.Dataset.from_generator(draw, output_signature=signature)
    cut = epochs.flat_map(lambda *batches: tf.data.Dataset.from_tensor_slices(batches))
    return cut.map(prepare).prefetch(2)


def _targets(
    shard: dict[str, np.ndarray],
    schedule: Schedule,
    teacher: Callable[[np.ndarray], np.ndarray] | None,
) -> np.ndarray:
    """Cross-entropy is linear in its targets: labels and teacher are mixed before training."""
    labels = shard[TARGETS]
    smooth: np.ndarray = (
        labels * (1 - schedule.label_smoothing) + schedule.label_smoothing / labels.shape[1]
    )
    if teacher is None or not schedule.distillation:
        return smooth
    share = np.float32(schedule.distillation)
    mixed: np.ndarray = (1 - share) * smooth + share * teacher(shard[EMBEDDING])
    return np.where(shard[EMBEDDING].any(axis=1, keepdims=True), mixed, smooth)


def dequantise(x: Any, spec: FrontEndSpec) -> Any:
    """Turn int8 windows, uint8 activations or float16 embeddings of a batch into float32."""
    import tensorflow as tf

    real = tf.cast(x, tf.float32)
    if x.dtype == tf.int8:
        return (real - float(spec.output_zero_point)) * float(np.float32(spec.output_scale))
    return real * yamnet.ACTIVATION_SCALE if x.dtype == tf.uint8 else real


def spec_augment(x: Any, seed: Any) -> Any:
    """Set one stripe of time and one of frequency to the window's mean (Park et al. 2019).

    Parameters
    ----------
    x : tf.Tensor [shape=(n, time, frequency) or (n, time, frequency, channels), dtype=float32]
    seed : tf.Tensor [shape=(2,), dtype=int32]
        Decides the stripes.
    """
    import tensorflow as tf

    n = x.shape[0]
    mean = tf.reduce_mean(x, axis=(1, 2), keepdims=True)
    for axis, share in ((1, TIME_STRIPE), (2, FREQUENCY_STRIPE)):
        size = x.shape[axis]
        drawn = tf.random.stateless_uniform((2, n), seed + axis)
        width = tf.floor(drawn[0] * (round(share * size) + 1))
        start = tf.floor(drawn[1] * (size - width + 1))
        at = tf.range(size, dtype=tf.float32)
        hidden = (at >= start[:, None]) & (at < (start + width)[:, None])
        shape = [n, 1, 1, 1][: len(x.shape)]
        shape[axis] = size
        x = tf.where(tf.reshape(hidden, shape), mean, x)
    return x
