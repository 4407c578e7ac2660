"""Early stopping on an inner fold: one of the training folds, never the one that is scored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from earmark_training import evaluate
from earmark_training.windows import BACKGROUND

if TYPE_CHECKING:
    from collections.abc import Sequence

    from earmark_datasets.manifest import Manifest
    from earmark_dsp.spec import FrontEndSpec

CHECK_EVERY = 5  # epochs
PATIENCE = 4  # checks without a better one


def clip_loss(scores: Sequence[np.ndarray], truth: Sequence[int], labels: Sequence[str]) -> float:
    """Return the mean negative log share of the right label in each clip's vote.

    Smoother than accuracy, which moves in steps of a clip.
    """
    losses = []
    for clip_scores, label in zip(scores, truth, strict=True):
        total = clip_scores.sum(axis=0, dtype=np.float64)
        if BACKGROUND in labels:
            total[labels.index(BACKGROUND)] = 0
        losses.append(-np.log(max(1e-6, total[label] / max(1e-12, total.sum()))))
    return float(np.mean(losses))


class EarlyStop:
    """Remembers the averaged weights that did best on the inner fold.

    Parameters
    ----------
    model : keras.Model
        The whole network.
    clips : Manifest
        The inner fold.
    labels : sequence of str
    spec : FrontEndSpec
    hop_frames : int
    """

    def __init__(
        self,
        model: Any,
        clips: Manifest,
        labels: Sequence[str],
        spec: FrontEndSpec,
        hop_frames: int,
    ) -> None:
        import tensorflow as tf

        self._model = model
        self._labels = labels
        self._spec = spec
        self._clips = evaluate.clip_windows(clips, labels, spec, hop_frames)
        self._best = [tf.Variable(v.value) for v in model.variables]
        self._best_loss = tf.Variable(np.inf, dtype=tf.float64)
        self._n_worse = tf.Variable(0)

    @property
    def state(self) -> list[Any]:
        """Variables that belong into a checkpoint."""
        return [*self._best, self._best_loss, self._n_worse]

    @property
    def stopped(self) -> bool:
        """Whether patience is used up."""
        return int(self._n_worse.numpy()) >= PATIENCE

    def check(self, trained: Any, optimizer: Any) -> float:
        """Score the averaged weights; returns the loss, and leaves the current weights in place.

        Parameters
        ----------
        trained : keras.Model
            What the optimiser works on.
        optimizer : keras.optimizers.Optimizer
            Keeps the moving averages.
        """
        import tensorflow as tf

        current = [tf.identity(v.value) for v in trained.trainable_variables]
        optimizer.finalize_variable_values(trained.trainable_variables)
        scores = evaluate.float_scores(self._model, self._clips, self._spec)
        loss = clip_loss(scores, [clip.label for clip in self._clips], self._labels)
        if loss < float(self._best_loss.numpy()):
            self._best_loss.assign(loss)
            self._n_worse.assign(0)
            for best, variable in zip(self._best, self._model.variables, strict=True):
                best.assign(variable.value)
        else:
            self._n_worse.assign_add(1)
        for variable, value in zip(trained.trainable_variables, current, strict=True):
            variable.assign(value)
        return loss

    def restore(self) -> None:
        """Put the best weights into the network."""
        for best, variable in zip(self._best, self._model.variables, strict=True):
            variable.assign(best)
