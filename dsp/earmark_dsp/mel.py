"""Mel scales and triangular filter banks, in the two conventions the field uses."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from earmark_dsp.spec import FrontEndSpec

_SLANEY_HZ_PER_MEL = 200.0 / 3.0
_SLANEY_BREAK_HZ = 1000.0
_SLANEY_BREAK_MEL = _SLANEY_BREAK_HZ / _SLANEY_HZ_PER_MEL
_SLANEY_LOG_STEP = math.log(6.4) / 27.0
_HTK_BREAK_HZ = 700.0
_HTK_MEL_PER_NEPER = 2595.0 / math.log(10.0)


def hz_to_mel(frequency_hz: NDArray[np.float64], *, scale: str) -> NDArray[np.float64]:
    """Convert frequency to mel.

    Parameters
    ----------
    frequency_hz : ndarray [dtype=float64]
        Frequencies in Hz, not negative.
    scale : {"htk", "slaney"}
        ``htk``: 2595 log10(1 + f / 700) [1]_. ``slaney``: linear below 1 kHz, logarithmic
        above [2]_.

    Returns
    -------
    ndarray [dtype=float64]
        Mel values, same shape.

    References
    ----------
    .. [1] S. Young et al., The HTK Book, section 5.4.
    .. [2] M. Slaney, Auditory Toolbox, Interval Research technical report 1998-010.
    """
    if scale == "htk":
        return np.asarray(_HTK_MEL_PER_NEPER * np.log1p(frequency_hz / _HTK_BREAK_HZ))
    linear = frequency_hz / _SLANEY_HZ_PER_MEL
    above = np.maximum(frequency_hz, _SLANEY_BREAK_HZ) / _SLANEY_BREAK_HZ
    return np.where(
        frequency_hz < _SLANEY_BREAK_HZ,
        linear,
        _SLANEY_BREAK_MEL + np.log(above) / _SLANEY_LOG_STEP,
    )


def mel_to_hz(mel: NDArray[np.float64], *, scale: str) -> NDArray[np.float64]:
    """Convert mel to frequency in Hz: the inverse of `hz_to_mel`."""
    if scale == "htk":
        return np.asarray(_HTK_BREAK_HZ * np.expm1(mel / _HTK_MEL_PER_NEPER))
    return np.where(
        mel < _SLANEY_BREAK_MEL,
        mel * _SLANEY_HZ_PER_MEL,
        _SLANEY_BREAK_HZ * np.exp(_SLANEY_LOG_STEP * (mel - _SLANEY_BREAK_MEL)),
    )


def breakpoints_hz(spec: FrontEndSpec) -> NDArray[np.float64]:
    """Return where triangles start, peak and end: band k spans breakpoints k to k + 2.

    Returns
    -------
    ndarray [shape=(n_mels + 2,), dtype=float64]
        Frequencies in Hz, equally spaced in mel from ``fmin_hz`` to ``fmax_hz``.
    """
    ends = hz_to_mel(np.array([spec.fmin_hz, spec.fmax_hz]), scale=spec.mel_scale)
    return mel_to_hz(np.linspace(ends[0], ends[1], spec.n_mels + 2), scale=spec.mel_scale)


def axes(spec: FrontEndSpec) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return bins and breakpoints on the axis along which the triangles have straight sides.

    librosa draws them in Hz, TensorFlow (and so YAMNet) in mel; ``spec.mel_interpolation`` chooses.

    Returns
    -------
    bins : ndarray [shape=(fft_length // 2 + 1,), dtype=float64]
    breakpoints : ndarray [shape=(n_mels + 2,), dtype=float64]
    """
    n_bins = spec.fft_length // 2 + 1
    bins = np.arange(n_bins, dtype=np.float64) * (spec.sample_rate_hz / spec.fft_length)
    points = breakpoints_hz(spec)
    if spec.mel_interpolation == "mel":
        return hz_to_mel(bins, scale=spec.mel_scale), hz_to_mel(points, scale=spec.mel_scale)
    return bins, points


def band_norm(spec: FrontEndSpec) -> NDArray[np.float64]:
    """Return the factor per band: 1, or 2 / bandwidth in Hz for ``mel_norm = "slaney"``.

    Returns
    -------
    ndarray [shape=(n_mels,), dtype=float64]
    """
    if spec.mel_norm == "none":
        return np.ones(spec.n_mels)
    points = breakpoints_hz(spec)
    return 2.0 / (points[2:] - points[:-2])


def filter_bank(spec: FrontEndSpec) -> NDArray[np.float64]:
    """Return the dense matrix of mel weights.

    Returns
    -------
    ndarray [shape=(n_mels, fft_length // 2 + 1), dtype=float64]
    """
    bins, points = axes(spec)
    rising = (bins - points[:-2, None]) / np.diff(points)[:-1, None]
    falling = (points[2:, None] - bins) / np.diff(points)[1:, None]
    return np.maximum(0.0, np.minimum(rising, falling)) * band_norm(spec)[:, None]
