"""What a training sees in each epoch: shards visited in turn, fresh windows, or both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from earmark_training.shards import EMBEDDING, TARGETS, WINDOWS

if TYPE_CHECKING:
    from earmark_training.fresh import FreshWindows
    from earmark_training.shards import Shards


class TrainingSet:
    """The windows of numbered epochs.

    Parameters
    ----------
    shards : Shards or None
    n_shards : int
        Visited in turn; from then on known windows come back in another order, masked elsewhere.
    fresh : FreshWindows or None
    """

    def __init__(self, shards: Shards | None, n_shards: int, fresh: FreshWindows | None) -> None:
        parts = [part for part in (shards, fresh) if part]
        self._shards = shards
        self._n_shards = n_shards
        self._fresh = fresh
        self.labels = parts[0].labels
        self.fingerprint = "-".join(part.fingerprint for part in parts)

    def get(self, epoch: int) -> dict[str, np.ndarray]:
        """Return an epoch's arrays, as `Shards.get`; fresh windows have embeddings of zeros."""
        kept = self._shards.get(epoch % self._n_shards) if self._shards else {}
        if not self._fresh:
            return kept
        drawn = self._fresh.get(epoch)
        if not kept:
            return drawn
        both = {name: np.concatenate([kept[name], drawn[name]]) for name in (WINDOWS, TARGETS)}
        if EMBEDDING in kept:
            unknown = np.zeros((len(drawn[TARGETS]), kept[EMBEDDING].shape[1]), np.float16)
            both[EMBEDDING] = np.concatenate([kept[EMBEDDING], unknown])
        return both

    def embeddings(self) -> Embeddings:
        """Return a view whose windows are YAMNet's embeddings."""
        return Embeddings(self._shards, self._n_shards, self.labels)


class Embeddings:
    """YAMNet's embeddings of the shards, in the place of windows."""

    def __init__(self, shards: Shards | None, n_shards: int, labels: tuple[str, ...]) -> None:
        self._shards = shards
        self._n_shards = n_shards
        self.labels = labels

    def get(self, epoch: int) -> dict[str, np.ndarray]:
        """Return the arrays of the shard that an epoch visits."""
        assert self._shards is not None  # noqa: S101 - a recipe with a teacher has shards
        shard = self._shards.get(epoch % self._n_shards)
        return {WINDOWS: shard[EMBEDDING], TARGETS: shard[TARGETS]}
