"""Training: deterministic by seed, interruptible, resumed where it stopped."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from earmark_datasets import synth
from earmark_datasets.audio import read_pcm_cached, to_int16
from earmark_dsp.errors import EarmarkError
from earmark_dsp.native import extract

from earmark_training import augment, networks, windows
from earmark_training.windows import (
    BACKGROUND,
    CO_ALARM,
    SMOKE_ALARM,
    EpochPlan,
    LabelledClip,
    make_epoch,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from earmark_datasets.manifest import Manifest
    from earmark_dsp.spec import FrontEndSpec

_CHECKPOINT_EVERY = 5  # epochs; about ten seconds of work


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights besides the data.

    Attributes
    ----------
    preset : str
    epochs : int
        A fixed schedule: nothing is chosen by looking at the test fold.
    batch_size : int
    learning_rate : float
        Peak of a cosine schedule with linear warm-up over the first 5 % of the steps.
    weight_decay : float
    label_smoothing : float
    ema_decay : float
        Exponential moving average of the weights; the averaged weights are the result.
    seed : int
    plan : EpochPlan
    augmentation : Augmentation
    """

    preset: str = "tiny"
    epochs: int = 60
    batch_size: int = 32
    learning_rate: float = 4e-3
    weight_decay: float = 2e-3
    label_smoothing: float = 0.05
    ema_decay: float = 0.995
    seed: int = 1
    plan: EpochPlan = field(default_factory=EpochPlan)
    augmentation: augment.Augmentation = field(default_factory=augment.Augmentation)


@dataclass(frozen=True)
class TrainResult:
    """A trained network.

    Attributes
    ----------
    model : keras.Model
    labels : tuple of str
        One per output.
    losses : tuple of float
        Mean training loss per epoch.
    """

    model: Any
    labels: tuple[str, ...]
    losses: tuple[float, ...]


def use_one_thread() -> None:
    """Make TensorFlow deterministic: with two threads the order of sums, and weights, differ."""
    import tensorflow as tf

    os.environ.setdefault("TF_DETERMINISTIC_OPS", "1")
    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:
        # Too late only if TensorFlow has already run in this process, with these settings or not.
        if tf.config.threading.get_intra_op_parallelism_threads() != 1:
            raise


def all_labels(manifest: Manifest) -> tuple[str, ...]:
    """Return the manifest's labels with the synthesised alarms and the background."""
    return tuple(sorted({*manifest.labels, SMOKE_ALARM, CO_ALARM, BACKGROUND}))


def load_clips(
    manifest: Manifest,
    labels: Sequence[str],
    spec: FrontEndSpec,
    progress: Callable[[float], None] | None = None,
) -> list[LabelledClip]:
    """Decode every clip of a manifest (cached); `progress` gets the fraction done."""
    clips = []
    for number, clip in enumerate(manifest.clips, start=1):
        pcm = read_pcm_cached(clip.path, sample_rate_hz=spec.sample_rate_hz)
        begin = round((clip.onset_s or 0) * spec.sample_rate_hz)
        end = None if clip.offset_s is None else round(clip.offset_s * spec.sample_rate_hz)
        samples = pcm[begin:end].astype(np.float32) / 32768
        clips.append(LabelledClip(samples, labels.index(clip.label)))
        if progress:
            progress(number / len(manifest.clips))
    return clips


def _fingerprint(
    recipe: Recipe, spec: FrontEndSpec, labels: Sequence[str], clips: Sequence[LabelledClip]
) -> str:
    digest = hashlib.sha256(json.dumps(asdict(recipe), sort_keys=True).encode())
    digest.update(f"{spec.hash_hex}:{labels}".encode())
    for clip in clips:
        digest.update(f"{clip.label}:{len(clip.samples)}".encode())
        digest.update(clip.samples.tobytes())
    # A checkpoint of other code is another training.
    for module in (augment, networks, windows, synth, sys.modules[__name__]):
        digest.update(inspect.getsource(module).encode())
    digest.update(extract(spec, to_int16(clips[0].samples)).tobytes() if clips else b"")
    return digest.hexdigest()[:16]


def train(
    manifest: Manifest,
    *,
    spec: FrontEndSpec,
    recipe: Recipe,
    work_dir: Path,
    progress: Callable[[int, int, float], None] | None = None,
) -> TrainResult:
    """Train a preset on a manifest plus synthesised alarms and backgrounds.

    Parameters
    ----------
    manifest : Manifest
        Training clips only.
    spec : FrontEndSpec
    recipe : Recipe
    work_dir : Path
        Holds checkpoints; a second call with the same inputs goes on where the first stopped.
    progress : callable or None
        Called after each epoch with (epoch, epochs, mean loss).

    Returns
    -------
    TrainResult
    """
    import keras
    import tensorflow as tf

    use_one_thread()
    labels = all_labels(manifest)
    clips = load_clips(manifest, labels, spec)
    keras.utils.set_random_seed(recipe.seed)
    model = networks.build(recipe.preset, (spec.context_frames, spec.n_features), len(labels))
    epoch_size = recipe.plan.windows_per_clip * (
        len(clips) + 2 * recipe.plan.n_alarm_clips + recipe.plan.n_background_clips
    )
    n_steps = recipe.epochs * (epoch_size // recipe.batch_size)
    optimizer = keras.optimizers.AdamW(
        keras.optimizers.schedules.CosineDecay(
            0.0,
            n_steps,
            warmup_target=recipe.learning_rate,
            warmup_steps=max(1, n_steps // 20),
        ),
        weight_decay=recipe.weight_decay,
        use_ema=True,
        ema_momentum=recipe.ema_decay,
        ema_overwrite_frequency=None,
    )
    optimizer.build(model.trainable_variables)
    step = _make_step(model, optimizer, recipe.label_smoothing)
    epoch_done = tf.Variable(0, dtype=tf.int64)
    losses = tf.Variable(tf.zeros(recipe.epochs))
    manager = tf.train.CheckpointManager(
        tf.train.Checkpoint(
            # Listed one by one: tracking the objects would miss the state of the dropout's seed.
            variables=[v.value for v in (*model.variables, *optimizer.variables)],
            epoch=epoch_done,
            losses=losses,
        ),
        str(work_dir / _fingerprint(recipe, spec, labels, clips)),
        max_to_keep=1,
    )
    manager.restore_or_initialize()

    def draw(epoch: int) -> tuple[np.ndarray, np.ndarray]:
        # Seeded per epoch: a resumed run sees what an uninterrupted one would have seen.
        return make_epoch(
            clips,
            labels=labels,
            spec=spec,
            plan=recipe.plan,
            options=recipe.augmentation,
            rng=np.random.default_rng((recipe.seed, epoch)),
        )

    first = int(epoch_done.numpy())
    with ThreadPoolExecutor(1) as pool:
        # The next epoch is drawn (numpy and C, without the interpreter lock) during this one.
        ahead = pool.submit(draw, first) if first < recipe.epochs else None
        for epoch in range(first, recipe.epochs):
            assert ahead is not None  # noqa: S101 - for the type checker
            rows, targets = ahead.result()
            ahead = pool.submit(draw, epoch + 1) if epoch + 1 < recipe.epochs else None
            real = (rows.astype(np.float32) - spec.output_zero_point) * spec.output_scale
            mask_rng = np.random.default_rng((recipe.seed, epoch, 1))
            total = 0.0
            n_batches = len(real) // recipe.batch_size
            for b in range(n_batches):
                part = slice(b * recipe.batch_size, (b + 1) * recipe.batch_size)
                total += float(step(_mask(real[part], mask_rng), targets[part]))
            losses[epoch].assign(total / n_batches)
            epoch_done.assign(epoch + 1)
            if (epoch + 1) % _CHECKPOINT_EVERY == 0 or epoch + 1 == recipe.epochs:
                _save(manager)
            if progress:
                progress(epoch + 1, recipe.epochs, total / n_batches)
    optimizer.finalize_variable_values(model.trainable_variables)
    return TrainResult(model, labels, tuple(float(v) for v in losses.numpy()))


def _save(manager: Any) -> None:
    """Write a checkpoint; TensorFlow reports a full disk as an error of its own."""
    import tensorflow as tf

    try:
        manager.save()
    except tf.errors.OpError as exc:
        raise EarmarkError(
            f"cannot write the checkpoint in {manager.directory}: {exc.message.splitlines()[0]}",
            "free some space; the training goes on from the last checkpoint",
        ) from exc


def _make_step(model: Any, optimizer: Any, label_smoothing: float) -> Any:
    import keras
    import tensorflow as tf

    loss_of = keras.losses.CategoricalCrossentropy(label_smoothing=label_smoothing)

    def step(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = loss_of(y, model(x, training=True))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    # jit_compile is several times slower for depthwise convolutions on a CPU.
    return tf.function(step, jit_compile=False)


def _mask(windows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Set one time and one frequency stripe to the window's mean (SpecAugment, Park 2019)."""
    out = windows.copy()
    for window in out:
        mean = window.mean()
        for axis, limit in ((0, 8), (1, 8)):
            width = int(rng.integers(0, limit + 1))
            start = int(rng.integers(0, window.shape[axis] - width + 1))
            stripe = [slice(None), slice(None)]
            stripe[axis] = slice(start, start + width)
            window[tuple(stripe)] = mean
    return out
