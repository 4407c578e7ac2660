"""Training: deterministic by seed, interruptible, resumed where it stopped."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import sys
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from earmark_datasets.audio import read_clip
from earmark_dsp.errors import EarmarkError

from earmark_training import augment, networks, pipeline, yamnet
from earmark_training.early_stop import CHECK_EVERY, EarlyStop
from earmark_training.fresh import FreshWindows
from earmark_training.shards import EMBEDDING, Needs, Shards
from earmark_training.training_set import TrainingSet
from earmark_training.windows import (
    BACKGROUND,
    CO_ALARM,
    SMOKE_ALARM,
    EpochPlan,
    LabelledClip,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from earmark_datasets.manifest import Manifest
    from earmark_dsp.spec import FrontEndSpec

_CHECKPOINT_EVERY = 5  # epochs; about ten seconds of work


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights besides the data; `recipe_for` knows the presets'.

    Attributes
    ----------
    preset : str
        A name of `networks.PRESETS`, or the path of a Python file (`networks.build`).
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
        Of a shard.
    augmentation : Augmentation
    n_shards : int
        Epochs' worth of windows drawn as waveforms and kept; later epochs visit them again, masked
        elsewhere. 0: none.
    fresh : EpochPlan or None
        Windows mixed anew each epoch from mel energies, besides the shards; None: none.
    distillation : float
        Share of the teacher's scores in the targets; 0 trains without a teacher.
    hint : float
        Weight of the cosine distance between a linear view of the network's last features and
        YAMNet's embedding (Romero et al., "FitNets", 2015).
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
    n_shards: int = 40
    fresh: EpochPlan | None = None
    distillation: float = 0.0
    hint: float = 0.0


def recipe_for(preset: str, **changes: Any) -> Recipe:
    """Return a preset's recipe, or that of `tiny` for a network of one's own, with changes."""
    known = networks.PRESETS.get(preset, networks.PRESETS["tiny"])
    return Recipe(preset=preset, **{**known.settings, **changes})


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
        pcm = read_clip(clip, sample_rate_hz=spec.sample_rate_hz)
        samples = pcm.astype(np.float32) / 32768
        clips.append(LabelledClip(samples, labels.index(clip.label)))
        if progress:
            progress(number / len(manifest.clips))
    return clips


def _source(
    manifest: Manifest,
    labels: Sequence[str],
    spec: FrontEndSpec,
    recipe: Recipe,
    folder: Path | None,
) -> TrainingSet:
    """Return the training windows, clips grouped by fold."""
    groups: dict[str, list[LabelledClip]] = {}
    clips = load_clips(manifest, labels, spec)
    for clip, loaded in zip(manifest.clips, clips, strict=True):
        groups.setdefault(str(clip.fold), []).append(loaded)
    cut = networks.trained_from(recipe.preset)
    if (cut or recipe.distillation or recipe.hint) and not recipe.n_shards:
        raise EarmarkError(
            f"the preset {recipe.preset} learns from YAMNet, which hears shards: there are none",
            "give the recipe n_shards",
        )
    shards = None
    if recipe.n_shards:
        shards = Shards(
            groups,
            labels=labels,
            spec=spec,
            plan=recipe.plan,
            options=recipe.augmentation,
            needs=Needs(cut, bool(recipe.distillation or recipe.hint)),
            folder=folder,
        )
    fresh = None
    if recipe.fresh:
        fresh = FreshWindows(
            groups,
            labels=labels,
            spec=spec,
            plan=recipe.fresh,
            options=recipe.augmentation,
            seed=recipe.seed,
            folder=folder,
        )
    return TrainingSet(shards, recipe.n_shards, fresh)


def _fingerprint(recipe: Recipe, source: TrainingSet, inner_fold: int | None) -> str:
    digest = hashlib.sha256(json.dumps([asdict(recipe), inner_fold], sort_keys=True).encode())
    digest.update(source.fingerprint.encode())
    digest.update(networks.source_of(recipe.preset).encode())
    # A checkpoint of other code is another training.
    for module in (networks, pipeline, yamnet, sys.modules[__name__]):
        digest.update(inspect.getsource(module).encode())
    return digest.hexdigest()[:16]


def train(
    manifest: Manifest,
    *,
    spec: FrontEndSpec,
    recipe: Recipe,
    work_dir: Path,
    progress: Callable[[int, int, float], None] | None = None,
    shard_dir: Path | None = None,
    log_dir: Path | None = None,
    inner_fold: int | None = None,
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
    shard_dir : Path or None
        Keeps the augmented windows for other trainings on the same clips.
    log_dir : Path or None
        TensorBoard's.
    inner_fold : int or None
        A fold of `manifest` to leave out and to stop early on; None: the schedule is fixed.

    Returns
    -------
    TrainResult
    """
    import keras

    use_one_thread()
    labels = all_labels(manifest)
    cut = networks.trained_from(recipe.preset)
    if cut and spec.name != yamnet.SPEC_NAME:
        raise EarmarkError(
            f"the preset {recipe.preset} needs the front end {yamnet.SPEC_NAME}, not {spec.name}",
            f"use --spec {yamnet.SPEC_NAME}",
        )
    inner = None
    if inner_fold is not None:
        manifest, inner = manifest.split(inner_fold)
    source = _source(manifest, labels, spec, recipe, shard_dir)
    # Keras numbers layers through the life of a process, and the numbers get into the model file.
    keras.backend.clear_session()
    keras.utils.set_random_seed(recipe.seed)
    model = networks.build(recipe.preset, (spec.context_frames, spec.n_features), len(labels))
    if cut:
        yamnet.load_weights(model, yamnet.teacher_path())
    teacher = _teacher(source, recipe) if recipe.distillation else None
    stop = None
    if inner is not None:
        stop = EarlyStop(model, inner, labels, spec, spec.context_frames // 2)
    fit = _Fit(_trained_part(model, recipe), recipe, source, spec, teacher, stop)
    losses = fit.run(work_dir / _fingerprint(recipe, source, inner_fold), progress, log_dir)
    return TrainResult(model, labels, losses)


def _trained_part(model: Any, recipe: Recipe) -> Any:
    """Return the layers above the frozen ones, whose outputs come with the windows.

    With a hint, a second output guesses YAMNet's embedding from the features before the scores.
    """
    import keras

    cut = networks.trained_from(recipe.preset)
    if not cut and not recipe.hint:
        return model
    inputs = model.get_layer(cut).output if cut else model.input
    if not recipe.hint:
        return keras.Model(inputs, model.output)
    part = keras.Model(inputs, [model.output, model.get_layer(EMBEDDING).output])
    scores, features = part.outputs
    return keras.Model(part.inputs, [scores, keras.layers.Dense(yamnet.N_EMBEDDING)(features)])


def _teacher(source: TrainingSet, recipe: Recipe) -> Callable[[np.ndarray], np.ndarray]:
    """Train a linear layer on YAMNet's embedding of the training windows; return its scores."""
    import keras
    from earmark_dsp.spec import load_spec

    own = recipe_for("yamnet-1024", seed=recipe.seed, n_shards=recipe.n_shards)
    inputs = keras.Input((yamnet.N_EMBEDDING,))
    head = keras.Model(inputs, networks.scores(inputs, len(source.labels)))
    _Fit(head, own, source.embeddings(), load_spec(yamnet.SPEC_NAME)).run(None, None, None)
    return lambda embedding: head.predict_on_batch(embedding.astype(np.float32))


@dataclass
class _Fit:
    """One optimisation of `model` over the batches of a source."""

    model: Any
    recipe: Recipe
    source: pipeline.Source
    spec: FrontEndSpec
    teacher: Callable[[np.ndarray], np.ndarray] | None = None
    stop: EarlyStop | None = None

    def run(
        self,
        checkpoints: Path | None,
        progress: Callable[[int, int, float], None] | None,
        log_dir: Path | None,
    ) -> tuple[float, ...]:
        """Train; returns the mean loss of each epoch. `model` ends with the averaged weights."""
        import tensorflow as tf

        recipe = self.recipe
        model = self.model
        n_batches = len(self.source.get(0)["targets"]) // recipe.batch_size
        optimizer = _optimizer(recipe, n_batches)
        optimizer.build(model.trainable_variables)
        step = _make_step(model, optimizer, recipe.hint)
        epoch_done = tf.Variable(0, dtype=tf.int64)
        losses = tf.Variable(tf.zeros(recipe.epochs))
        # Listed one by one: tracking the objects would miss the state of the dropout's seed.
        state = [v.value for v in (*model.variables, *optimizer.variables)]
        state += self.stop.state if self.stop else []
        manager = None
        if checkpoints:
            manager = tf.train.CheckpointManager(
                tf.train.Checkpoint(variables=state, epoch=epoch_done, losses=losses),
                str(checkpoints),
                max_to_keep=1,
            )
            manager.restore_or_initialize()
        first = int(epoch_done.numpy())
        writer = tf.summary.create_file_writer(str(log_dir)) if log_dir else None
        batches = iter(self._batches(first) if first < recipe.epochs else ())
        for epoch in range(first, recipe.epochs):
            if self.stop and self.stop.stopped:
                break
            mean_loss = sum(float(step(*next(batches))) for _ in range(n_batches)) / n_batches
            losses[epoch].assign(mean_loss)
            figures = {"loss": mean_loss, "learning_rate": optimizer.learning_rate}
            if self.stop and (epoch + 1) % CHECK_EVERY == 0:
                figures["inner_fold_loss"] = self.stop.check(model, optimizer)
            epoch_done.assign(epoch + 1)
            if manager and ((epoch + 1) % _CHECKPOINT_EVERY == 0 or epoch + 1 == recipe.epochs):
                _save(manager)
            _log(writer, epoch + 1, figures)
            if progress:
                progress(epoch + 1, recipe.epochs, mean_loss)
        if self.stop:
            self.stop.restore()
        else:
            optimizer.finalize_variable_values(model.trainable_variables)
        return tuple(float(v) for v in losses.numpy()[: int(epoch_done.numpy())])

    def _batches(self, first_epoch: int) -> Any:
        recipe = self.recipe
        schedule = pipeline.Schedule(
            recipe.epochs,
            recipe.batch_size,
            recipe.seed,
            recipe.label_smoothing,
            recipe.distillation,
        )
        return pipeline.batches(
            self.source, schedule, self.spec, first_epoch=first_epoch, teacher=self.teacher
        )


def _log(writer: Any, epoch: int, figures: Mapping[str, Any]) -> None:
    """Write an epoch's figures for TensorBoard, if asked for; it need not be installed."""
    import tensorflow as tf

    if not writer:
        return
    metadata = tf.compat.v1.SummaryMetadata()
    metadata.plugin_data.plugin_name = "scalars"
    with writer.as_default():
        for name, value in figures.items():
            scalar = tf.cast(value, tf.float32)
            tf.summary.write(name, scalar, step=epoch, metadata=metadata)


def _optimizer(recipe: Recipe, n_batches: int) -> Any:
    import keras

    n_steps = recipe.epochs * n_batches
    return keras.optimizers.AdamW(
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


def _make_step(model: Any, optimizer: Any, hint: float) -> Any:
    import keras
    import tensorflow as tf

    loss_of = keras.losses.CategoricalCrossentropy()

    def step(x: Any, y: Any, embedding: Any) -> Any:
        with tf.GradientTape() as tape:
            output = model(x, training=True)
            if hint:
                scores, guess = output
                cosine = keras.losses.cosine_similarity(embedding, guess)
                known = tf.cast(tf.reduce_any(embedding != 0, axis=1), tf.float32)
                loss = loss_of(y, scores) + hint * tf.reduce_mean(known * (1 + cosine))
            else:
                loss = loss_of(y, output)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    # jit_compile is several times slower for depthwise convolutions on a CPU.
    return tf.function(step, jit_compile=False)
