"""The front end in float64: what the integers are judged against. Not for training or devices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from earmark_dsp.mel import filter_bank
from earmark_dsp.spec import LogCompression, PcenCompression
from earmark_dsp.windows import window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from earmark_dsp.spec import Dct, FrontEndSpec

PCM_FULL_SCALE = 32768.0


def frames(spec: FrontEndSpec, signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cut a signal into frames; frame i starts at sample ``i * hop_length``, nothing is padded.

    Returns
    -------
    ndarray [shape=(n_frames, window_length), dtype=float64]
    """
    if signal.size < spec.window_length:
        return np.empty((0, spec.window_length))
    view = np.lib.stride_tricks.sliding_window_view(signal, spec.window_length)
    return view[:: spec.hop_length]


def mel_energies(spec: FrontEndSpec, signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return mel-band sums of power or magnitude.

    Parameters
    ----------
    signal : ndarray [shape=(n_samples,), dtype=float64]
        Full scale is 1.0.

    Returns
    -------
    ndarray [shape=(n_frames, n_mels), dtype=float64]
    """
    emphasised = signal - spec.preemphasis * np.concatenate(([0.0], signal[:-1]))
    windowed = frames(spec, emphasised) * window(spec)
    spectrum = np.abs(np.fft.rfft(windowed, spec.fft_length, axis=1))
    if spec.spectrum == "power":
        spectrum = spectrum**2
    return spectrum @ filter_bank(spec).T


def pcen(part: PcenCompression, energies: NDArray[np.float64]) -> NDArray[np.float64]:
    """Apply per-channel energy normalisation along time; see `PcenCompression`.

    Parameters
    ----------
    energies : ndarray [shape=(n_frames, n_mels), dtype=float64]
    """
    out = np.empty_like(energies)
    smoothed = energies[0] if len(energies) else np.empty(0)
    for index, energy in enumerate(energies):
        smoothed = smoothed + part.smoothing * (energy - smoothed)
        ratio = energy / (smoothed + part.epsilon) ** part.gain
        out[index] = (ratio + part.bias) ** part.root - part.bias**part.root
    return out


def cepstrum(part: Dct, log_mel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the liftered DCT-II coefficients of log-mel rows, computed term by term."""
    n_mels = log_mel.shape[1]
    centres = np.arange(n_mels) + 0.5
    columns = []
    for n in range(part.n_coefficients):
        basis = np.cos(np.pi * n * centres / n_mels)
        basis /= np.linalg.norm(basis)
        lift = 1 + part.lifter / 2 * np.sin(np.pi * (n + 1) / part.lifter) if part.lifter else 1.0
        columns.append(lift * (log_mel @ basis))
    return np.stack(columns, axis=1)


def features(spec: FrontEndSpec, signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the features before quantisation.

    Parameters
    ----------
    signal : ndarray [shape=(n_samples,), dtype=float64]
        Full scale is 1.0: int16 PCM divided by 32768.

    Returns
    -------
    ndarray [shape=(n_frames, n_features), dtype=float64]
    """
    energies = mel_energies(spec, signal)
    part = spec.compression
    if isinstance(part, PcenCompression):
        return pcen(part, energies)
    log_mel = _log(part, energies)
    return log_mel if spec.dct is None else cepstrum(spec.dct, log_mel)


def _log(part: LogCompression, energies: NDArray[np.float64]) -> NDArray[np.float64]:
    value = np.maximum(energies, part.floor) + part.offset
    return np.log(value) if part.unit == "natural" else 10.0 * np.log10(value)


def quantized(spec: FrontEndSpec, pcm: NDArray[np.int16]) -> NDArray[np.int8]:
    """Return the features of int16 PCM rounded to the model's int8 input quantisation.

    Returns
    -------
    ndarray [shape=(n_frames, n_features), dtype=int8]
    """
    values = features(spec, pcm / PCM_FULL_SCALE)
    steps = np.rint(values / spec.output_scale) + spec.output_zero_point
    return np.asarray(np.clip(steps, -128, 127), dtype=np.int8)
