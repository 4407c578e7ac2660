"""The same recording twice: bit for bit, or after gain, trimming or another codec."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from earmark_datasets.features import ClipFacts

_CANDIDATES = 5
# On ESC-10, 40 of 50 copies that were cut, attenuated by up to 12 dB and coded again as Ogg lie
# above this; of pairs of different files only seven do (consecutive takes and re-uploads).
_SAME_RECORDING = 0.6
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
        Correlation of the fine structure (`_fine_structure`) of the overlapping parts. Lags whose
        overlap is below half of the shorter clip are left out.
    """
    a, b = _fine_structure(one), _fine_structure(two)
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


def _fine_structure(rows: np.ndarray) -> np.ndarray:
    """Remove each band's and each frame's mean over the audible frames; the others become zero.

    What is left differs between two recordings of one thing: neither a shared spectrum (one
    microphone) nor a shared envelope (a bark padded with silence) makes them a duplicate.
    """
    values = rows.astype(np.float64)
    level = values.mean(axis=1)
    audible = level > level.min() + 0.1 * max(1.0, level.max() - level.min())
    if not audible.any():
        audible[:] = True
    values = values[audible.argmax() : len(audible) - audible[::-1].argmax()]
    audible = audible[audible.argmax() : len(audible) - audible[::-1].argmax()]
    values -= values[audible].mean(axis=0)
    values -= values.mean(axis=1, keepdims=True)
    values[~audible] = 0.0
    return values


def _correlate(a: np.ndarray, b: np.ndarray, n_fft: int) -> np.ndarray:
    spectrum = np.fft.rfft(a, n_fft, axis=0) * np.conj(np.fft.rfft(b, n_fft, axis=0))
    return np.asarray(np.fft.irfft(spectrum.sum(axis=1), n_fft))
