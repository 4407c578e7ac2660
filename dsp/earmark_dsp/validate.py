"""Impossible specifications are refused with the reason and the nearest valid value."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

import numpy as np

from earmark_dsp.errors import EarmarkError
from earmark_dsp.mel import breakpoints_hz, filter_bank

if TYPE_CHECKING:
    from earmark_dsp.spec import FrontEndSpec

MIN_FFT_LENGTH = 64
MAX_FFT_LENGTH = 2048  # 64-bit band sums and the 16-bit positions have room for no more
MAX_SEGMENT_BINS = 100  # the carry-free sums of em_mel
MAX_OFFSET = 1e4  # far above full scale; still fits the 64-bit band units
# What the fixed-point gain of the output has room for.
MIN_LOG_SCALE, MIN_PCEN_SCALE, MAX_SCALE = 2.0**-12, 2.0**-20, 2.0**9
INT8_MIN, INT8_MAX = -128, 127

_CHOICES = {
    "window": ("hann", "hamming", "rectangular"),
    "spectrum": ("power", "magnitude"),
    "mel_scale": ("htk", "slaney"),
    "mel_interpolation": ("hertz", "mel"),
    "mel_norm": ("none", "slaney"),
}


def validate(spec: FrontEndSpec) -> None:
    """Raise EarmarkError for the first impossible value of `spec`."""
    _check_choices(spec)
    _check_finite(spec)
    _check_frame(spec)
    _check_mel(spec)
    _check_compression(spec)
    _check_output(spec)


def _require(condition: bool, what: str, hint: str) -> None:  # noqa: FBT001
    if not condition:
        raise EarmarkError(what, hint)


def _check_choices(spec: FrontEndSpec) -> None:
    for attribute, choices in _CHOICES.items():
        value = getattr(spec, attribute)
        _require(
            value in choices, f"{attribute}: {value!r} is not known", f"use {' or '.join(choices)}"
        )


def _check_finite(spec: FrontEndSpec) -> None:
    parts = [spec.__dict__, spec.compression.__dict__]
    for key, value in [item for part in parts for item in part.items()]:
        _require(
            not isinstance(value, float) or math.isfinite(value),
            f"{key}: {value} is not a finite number",
            "use a finite number",
        )


def _check_frame(spec: FrontEndSpec) -> None:
    for attribute in ("sample_rate_hz", "context_frames", "hop_length", "window_length", "n_mels"):
        value = getattr(spec, attribute)
        _require(value >= 1, f"{attribute}: {value} is not positive", "nearest valid value: 1")
    power = 1 << max(0, round(math.log2(max(1, spec.fft_length))))
    nearest = min(MAX_FFT_LENGTH, max(MIN_FFT_LENGTH, power))
    _require(
        spec.fft_length == nearest,
        f"fft_length: {spec.fft_length} is not a power of two from {MIN_FFT_LENGTH} to "
        f"{MAX_FFT_LENGTH}",
        f"nearest valid value: {nearest}",
    )
    fits = 1 << (spec.window_length - 1).bit_length()
    _require(
        spec.window_length <= spec.fft_length,
        f"fft_length: {spec.fft_length} is shorter than the window of {spec.window_length} samples",
        f"nearest valid value: {fits}"
        if fits <= MAX_FFT_LENGTH
        else f"shorten the window: window_length = {spec.fft_length}",
    )
    _require(
        spec.hop_length <= spec.window_length,
        f"hop_length: {spec.hop_length} is longer than the window of {spec.window_length} samples: "
        "some samples would never be heard",
        f"nearest valid value: {spec.window_length}",
    )
    _require(
        0 <= spec.preemphasis < 1,
        f"preemphasis: {spec.preemphasis} is not in [0, 1)",
        f"nearest valid value: {0.0 if spec.preemphasis < 0 else 0.99}",
    )


def _check_mel(spec: FrontEndSpec) -> None:
    nyquist_hz = spec.sample_rate_hz / 2
    _require(
        spec.fmax_hz <= nyquist_hz,
        f"fmax_hz: {spec.fmax_hz} is above the Nyquist frequency of {spec.sample_rate_hz} Hz audio",
        f"nearest valid value: {nyquist_hz}",
    )
    _require(spec.fmin_hz >= 0, f"fmin_hz: {spec.fmin_hz} is negative", "nearest valid value: 0.0")
    bin_hz = spec.sample_rate_hz / spec.fft_length
    _require(
        spec.fmin_hz < spec.fmax_hz,
        f"fmin_hz: {spec.fmin_hz} is not below fmax_hz, {spec.fmax_hz}",
        f"nearest valid value: {_highest_fmin_hz(spec)}",
    )
    if empty := empty_bands(spec):
        raise EarmarkError(
            f"n_mels: with {spec.n_mels} bands from {spec.fmin_hz} to {spec.fmax_hz} Hz, band "
            f"{empty[0]} contains no FFT bin (bins are {bin_hz:g} Hz apart)",
            f"nearest valid value: {_largest_n_mels(spec)}; or a longer fft_length",
        )
    widest = int(np.diff(np.ceil(breakpoints_hz(spec) / bin_hz)).max())
    _require(
        widest <= MAX_SEGMENT_BINS,
        f"n_mels: {spec.n_mels} bands are so wide that one spans {2 * widest} FFT bins",
        f"at most {2 * MAX_SEGMENT_BINS} are possible: more bands, or a shorter fft_length",
    )


def empty_bands(spec: FrontEndSpec) -> list[int]:
    """Return the indices of mel bands whose weights are all zero."""
    return [int(k) for k in np.flatnonzero(filter_bank(spec).max(axis=1) == 0.0)]


def _changed(spec: FrontEndSpec, attribute: str, value: float) -> FrontEndSpec:
    """Return a copy past the freeze: replace() would validate again, without end."""
    trial = copy.copy(spec)
    object.__setattr__(trial, attribute, value)
    return trial


def _largest_n_mels(spec: FrontEndSpec) -> int:
    fewer = range(spec.n_mels - 1, 1, -1)
    return next((n for n in fewer if not empty_bands(_changed(spec, "n_mels", n))), 1)


def _highest_fmin_hz(spec: FrontEndSpec) -> float:
    bin_hz = spec.sample_rate_hz / spec.fft_length
    lower = np.arange(spec.fmax_hz - bin_hz, 0.0, -bin_hz).tolist()
    return next((f for f in lower if not empty_bands(_changed(spec, "fmin_hz", f))), 0.0)


def _check_compression(spec: FrontEndSpec) -> None:
    from earmark_dsp.spec import LogCompression

    part = spec.compression
    if isinstance(part, LogCompression):
        _require(
            part.unit in {"natural", "decibel"},
            f"compression.unit: {part.unit!r} is not known",
            "use natural or decibel",
        )
        _require(
            part.offset >= 0 and part.floor >= 0 and part.offset + part.floor > 0,
            f"compression: offset {part.offset} and floor {part.floor} leave the logarithm of "
            "silence undefined",
            "nearest valid value: offset = 1e-07",
        )
        _check_range("compression.offset", part.offset, 0.0, MAX_OFFSET)
        _check_range("compression.floor", part.floor, 0.0, MAX_OFFSET)
    else:
        _check_range("compression.smoothing", part.smoothing, 1e-4, 0.9999)
        _check_range("compression.gain", part.gain, 0.0, 1.0)
        _check_range("compression.bias", part.bias, 0.01, 100.0)
        _check_range("compression.root", part.root, 0.05, 1.0)
        _check_range("compression.epsilon", part.epsilon, 1e-9, 1e3)
        _require(spec.dct is None, "dct: not possible after PCEN", 'use compression.kind = "log"')
    if spec.dct is not None:
        nearest = min(spec.n_mels, max(1, spec.dct.n_coefficients))
        _require(
            spec.dct.n_coefficients == nearest,
            f"dct.n_coefficients: {spec.dct.n_coefficients} is not in 1..{spec.n_mels}",
            f"nearest valid value: {nearest}",
        )
        _require(
            spec.dct.lifter >= 0,
            f"dct.lifter: {spec.dct.lifter} is negative",
            "nearest valid value: 0",
        )


def _check_range(name: str, value: float, low: float, high: float) -> None:
    _require(
        low <= value <= high,
        f"{name}: {value} is not in {low:g}..{high:g}",
        f"nearest valid value: {min(high, max(low, value)):g}",
    )


def _check_output(spec: FrontEndSpec) -> None:
    from earmark_dsp.spec import LogCompression

    is_log = isinstance(spec.compression, LogCompression)
    smallest = MIN_LOG_SCALE if is_log else MIN_PCEN_SCALE
    _check_range("output.scale", spec.output_scale, smallest, MAX_SCALE)
    nearest = float(np.float32(spec.output_scale))
    _require(
        spec.output_scale == nearest,
        f"output.scale: {spec.output_scale!r} is not a float32 value, but the model's scale is one",
        f"nearest valid value: {nearest!r}",
    )
    clamped = min(INT8_MAX, max(INT8_MIN, spec.output_zero_point))
    _require(
        spec.output_zero_point == clamped,
        f"output.zero_point: {spec.output_zero_point} is not in {INT8_MIN}..{INT8_MAX}",
        f"nearest valid value: {clamped}",
    )
