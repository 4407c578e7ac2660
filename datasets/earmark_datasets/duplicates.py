"""The same recording twice: bit for bit, or after gain, trimming or another codec."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from earmark_datasets.features import ClipFacts

_CANDIDATES = 5
# Measured on ESC-10: re-encoded copies with another gain and trim lie above 0.97; different
# recordings of one class reach 0.9.
_SAME_RECORDING = 0.95
_SHORTEST_OVERLAP = 0.5


def exact_duplicates(facts: Sequence[ClipFacts]) -> list[list[int]]:
    """Return groups of clips whose decoded samples are equal, as indices."""
    by_digest: dict[str, list[int]] = {}
    for index, fact in enumerate(facts):
        if fact.digest:
            by_digest.setdefault(fact.digest, []).append(index)
    return [group for group in by_digest.values() if len(group) > 1]


def acoustic_duplicates(facts: Sequence[ClipFacts]) -> list[tuple[int, int, float]]:
    """Return pairs (i, j, similarity) that sound the same though their samples differ.

    Nearest neighbours by embedding are confirmed by `similarity`, so that the cost grows with
    the number of clips and not with its square.
    """
    usable = [i for i, f in enumerate(facts) if f.embedding is not None and f.rms_dbfs > -80]
    if len(usable) < 2:
        return []
    matrix = np.array([facts[i].embedding for i in usable])
    matrix = (matrix - matrix.mean(axis=0)) / (matrix.std(axis=0) + 1.0)
    squares = (matrix**2).sum(axis=1)
    pairs = set()
    for row, vector in enumerate(matrix):
        distance = squares - 2 * (matrix @ vector)
        distance[row] = np.inf
        for column in np.argsort(distance)[:_CANDIDATES]:
            if distance[column] < np.inf:
                pairs.add((min(row, int(column)), max(row, int(column))))
    found = []
    for first, second in sorted(pairs):
        one, two = facts[usable[first]], facts[usable[second]]
        if one.digest == two.digest or one.rows is None or two.rows is None:
            continue
        score = similarity(one.rows, two.rows)
        if score >= _SAME_RECORDING:
            found.append((usable[first], usable[second], score))
    return found


def similarity(one: np.ndarray, two: np.ndarray) -> float:
    """Return the best correlation of two spectrograms over all lags (-1 to 1).

    Parameters
    ----------
    one, two : ndarray [shape=(n_frames, n_mels), dtype=int8]

    Returns
    -------
    float
        Pearson correlation of the overlapping parts. Each band's mean over its own clip is
        removed first: two clips through one microphone share a spectrum, not a course in time.
        Lags whose overlap is below half of the shorter clip are left out.
    """
    a, b = (part.astype(np.float64) - part.mean(axis=0) for part in (one, two))
    n_fft = 1 << (len(a) + len(b)).bit_length()
    cross = _correlate(a, b, n_fft)
    # Energy of the parts that overlap at each lag.
    ones_a, ones_b = np.ones((len(a), 1)), np.ones((len(b), 1))
    energy_a = _correlate((a**2).sum(axis=1, keepdims=True), ones_b, n_fft)
    energy_b = _correlate(ones_a, (b**2).sum(axis=1, keepdims=True), n_fft)
    overlap = _correlate(ones_a, ones_b, n_fft)
    valid = overlap >= max(1, _SHORTEST_OVERLAP * min(len(a), len(b)) - 1e-6)
    scale = np.sqrt(np.maximum(energy_a * energy_b, 1.0))
    return float(np.max(np.where(valid, cross / scale, -1.0)))


def _correlate(a: np.ndarray, b: np.ndarray, n_fft: int) -> np.ndarray:
    spectrum = np.fft.rfft(a, n_fft, axis=0) * np.conj(np.fft.rfft(b, n_fft, axis=0))
    return np.asarray(np.fft.irfft(spectrum.sum(axis=1), n_fft))
