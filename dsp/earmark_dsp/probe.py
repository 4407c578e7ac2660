"""How well a quick classifier tells recordings apart by the features of one front end."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from earmark_dsp import reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from earmark_dsp.spec import FrontEndSpec

N_FOLDS = 5
RIDGE = 0.1
PERCENTILES = (5, 25, 50, 75, 95)
# Modulation bands in DFT bins over the recording: rhythm tells a clock from rain.
MODULATION_EDGES = (1, 3, 6, 12, 25, 50, 100)


def pool(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Summarise features over time: level, spread, speed of change and rhythm of each band.

    Parameters
    ----------
    rows : ndarray [shape=(n_frames, n_features), dtype=float64]

    Returns
    -------
    ndarray [shape=(n_statistics * n_features,), dtype=float64]
    """
    # Short recordings repeat their last row, so that all statistics exist.
    short = max(0, 2 * MODULATION_EDGES[-1] - len(rows))
    rows = np.pad(rows, ((0, short), (0, 0)), mode="edge" if len(rows) else "constant")
    change = np.diff(rows, axis=0)
    modulation = np.abs(np.fft.rfft(rows - rows.mean(axis=0), axis=0))
    edges = itertools.pairwise(MODULATION_EDGES)
    statistics = [
        rows.mean(axis=0),
        rows.std(axis=0),
        change.std(axis=0),
        np.abs(change).mean(axis=0),
        *np.percentile(rows, PERCENTILES, axis=0),
        *(np.log(modulation[low:high].mean(axis=0) + 1e-3) for low, high in edges),
    ]
    return np.concatenate(statistics)


def _kernel(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    squared = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return np.asarray(np.exp(-squared / (2 * a.shape[1])))


def probe_score(
    spec: FrontEndSpec,
    recordings: Sequence[NDArray[np.int16]],
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
) -> float:
    """Return the accuracy of kernel ridge regression on pooled features, in five folds.

    Folds keep each group together and are the same for every front end.

    Parameters
    ----------
    labels, groups : ndarray [shape=(n_recordings,), dtype=int64]
        Numbered from 0.
    """
    signals = (pcm / reference.PCM_FULL_SCALE for pcm in recordings)
    pooled = np.array([pool(reference.features(spec, signal)) for signal in signals])
    targets = np.eye(int(labels.max()) + 1)[labels]
    fold_of_group = np.random.default_rng(0).permutation(int(groups.max()) + 1) % N_FOLDS
    hits = np.zeros(len(pooled), bool)
    for fold in range(N_FOLDS):
        held_out = fold_of_group[groups] == fold
        if not held_out.any() or held_out.all():
            continue
        mean, scale = pooled[~held_out].mean(axis=0), pooled[~held_out].std(axis=0) + 1e-9
        train, test = (pooled[~held_out] - mean) / scale, (pooled[held_out] - mean) / scale
        centre = targets[~held_out].mean(axis=0)
        regularised = _kernel(train, train) + RIDGE * np.eye(len(train))
        weights = np.linalg.solve(regularised, targets[~held_out] - centre)
        hits[held_out] = (_kernel(test, train) @ weights).argmax(axis=1) == labels[held_out]
    return float(hits.mean())
