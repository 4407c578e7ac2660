"""From the specification to the integers of `em_frontend_tables_t` (earmark/frontend.h).

The one source of tables for the compiled Python extension and for generated C. "FFT units" are
2**fft_scale_log2 times the spectrum of PCM whose full scale is 1.0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from earmark_dsp.mel import axes, band_norm
from earmark_dsp.spec import LogCompression, PcenCompression
from earmark_dsp.windows import window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from earmark_dsp.spec import FrontEndSpec

Q31 = 1 << 31
POWER_LOW_SHIFT = 10  # EM_POWER_LOW_SHIFT in stages.h
OUTPUT_STEPS = 256  # row_q8: 1/256 of an int8 step
PCM_FULL_SCALE_LOG2 = 15
# em_power adds two transform values in 32 bits; a little room is left for rounding.
_FFT_LIMIT = 2.0**30 - 2.0**16
_LOG2_INTERVALS = 128
_CURVE_INTERVALS_PER_OCTAVE = 16
_INT16_MAX = 2**15 - 1
_INT32_MAX = 2**31 - 1


@dataclass(frozen=True)
class Tables:
    """Values by C field name, and the C element type of each array.

    Parameters
    ----------
    scalars : dict of str to int
    arrays : dict of str to (C type, ndarray)
    mel_scale_log2 : float
        Band units are mel energy times ``2**mel_scale_log2``.
    """

    scalars: dict[str, int]
    arrays: dict[str, tuple[str, NDArray[np.int64]]]
    mel_scale_log2: float


def build_tables(spec: FrontEndSpec) -> Tables:
    """Compute every table and constant of the C front end for `spec`."""
    scalars: dict[str, int] = {
        "output_zero_point": spec.output_zero_point,
        "sample_rate_hz": spec.sample_rate_hz,
        "window_length": spec.window_length,
        "hop_length": spec.hop_length,
        "fft_length": spec.fft_length,
        "n_mels": spec.n_mels,
        "n_features": spec.n_features,
        "context_frames": spec.context_frames,
        "spectrum": int(spec.spectrum == "magnitude"),
        "compression": int(isinstance(spec.compression, PcenCompression)),
        "has_dct": int(spec.dct is not None),
    }
    arrays: dict[str, tuple[str, NDArray[np.int64]]] = {}
    fft_scale_log2 = _fft_tables(spec, scalars, arrays)
    # Power is the square, cut by POWER_LOW_SHIFT; em_magnitude: sqrt(power) * 2**(4 + 28 - 10).
    mel_scale_log2 = 2.0 * fft_scale_log2 - POWER_LOW_SHIFT
    if spec.spectrum == "magnitude":
        mel_scale_log2 = mel_scale_log2 / 2 + 4 + 28 - POWER_LOW_SHIFT
    _mel_tables(spec, scalars, arrays)
    ramp = np.arange(_LOG2_INTERVALS + 1)
    arrays["log2_q16"] = ("int32_t", _rounded([math.log2(1 + i / 128) * 65536 for i in ramp]))
    arrays["sqrt_q14"] = (
        "uint16_t",
        _rounded([math.sqrt(i / 64) * (1 << 14) for i in range(64, 257)]),
    )
    if isinstance(spec.compression, LogCompression):
        _log_tables(spec, spec.compression, mel_scale_log2, scalars, arrays)
    else:
        _pcen_tables(spec, spec.compression, mel_scale_log2, scalars, arrays)
    return Tables(scalars, arrays, mel_scale_log2)


def _rounded(values: list[float] | NDArray[np.float64]) -> NDArray[np.int64]:
    return np.rint(np.asarray(values, dtype=np.float64)).astype(np.int64)


def _q31(value: float) -> int:
    return min(_INT32_MAX, round(value * Q31))


def _turn(step: int, points: int) -> tuple[int, int]:
    """Return cos and sin of `step` of `points` equal steps around the circle, in Q31."""
    angle = 2 * math.pi * step / points
    return _q31(math.cos(angle)), _q31(math.sin(angle))


def _radices(points: int) -> list[int]:
    """Return the factors of the complex FFT, first stage first."""
    log2 = points.bit_length() - 1
    return [4] * (log2 // 2) + [2] * (log2 % 2)


def _input_order(points: int, radices: list[int]) -> list[int]:
    """Return which input sits at each position for decimation in time."""
    if not radices:
        return [0]
    last = radices[-1]
    inner = _input_order(points // last, radices[:-1])
    return [residue + last * index for residue in range(last) for index in inner]


def _fft_peak(pairs: NDArray[np.float64], radices: list[int]) -> float:
    """Return the largest value any stage can reach, relative to the largest windowed sample."""
    peak, length, halvings = float(pairs.max()), 1, 0
    for stage, radix in enumerate(radices):
        length *= radix
        halvings += stage > 0
        classes = pairs.reshape(length, -1).sum(axis=0)
        peak = max(peak, float(classes.max()) / 2**halvings)
    return peak


def _fft_tables(
    spec: FrontEndSpec,
    scalars: dict[str, int],
    arrays: dict[str, tuple[str, NDArray[np.int64]]],
) -> int:
    """Add windowing and FFT tables; return fft_scale_log2."""
    points = spec.fft_length // 2
    radices = _radices(points)
    shape = np.zeros(spec.fft_length)
    shape[: spec.window_length] = window(spec)
    pairs = np.hypot(shape[0::2], shape[1::2])
    amplitude = 2.0**PCM_FULL_SCALE_LOG2 * (1 + spec.preemphasis)
    gain_log2 = math.floor(math.log2(_FFT_LIMIT / (amplitude * _fft_peak(pairs, radices))))
    # The multiplication with the Q31 window halves; 15 bits of PCM and its sign leave 16.
    pcm_shift = min(16, gain_log2 + 1)
    if spec.preemphasis:
        pcm_shift = min(14, pcm_shift)
    scalars["pcm_gain"] = 1 << pcm_shift
    scalars["preemphasis_q14"] = round(spec.preemphasis * (1 << 14))
    scalars["preemphasis_shift"] = 14 - pcm_shift if spec.preemphasis else 0
    window_q31 = np.array([_q31(w) for w in shape])
    arrays["window_q31"] = ("int32_t", window_q31.reshape(4, -1, 2).swapaxes(0, 1).ravel())
    position = np.argsort(_input_order(points, radices))
    arrays["fft_position"] = ("uint16_t", position[: points // 4])
    twiddles: list[int] = []
    length = radices[0]
    for radix in radices[1:]:
        for multiple in range(1, radix):
            turns = [_turn(j * multiple, length * radix) for j in range(length)]
            twiddles += [cosine for cosine, _ in turns] + [sine for _, sine in turns]
        length *= radix
    arrays["fft_twiddle_q31"] = ("int32_t", np.array(twiddles))
    split = [_turn(k, spec.fft_length) for k in range(points // 2)]
    arrays["split_twiddle_q31"] = ("int32_t", np.array(split).T.ravel())
    # Each twiddled stage halves, and so does em_power.
    halvings = len(radices) - 1
    return pcm_shift - 1 + PCM_FULL_SCALE_LOG2 - halvings


def _mel_tables(
    spec: FrontEndSpec,
    scalars: dict[str, int],
    arrays: dict[str, tuple[str, NDArray[np.int64]]],
) -> None:
    bins, points = axes(spec)
    segment = np.searchsorted(points, bins, side="right") - 1
    inside = (segment >= 0) & (segment <= spec.n_mels) & (bins < points[-1])
    scalars["first_bin"] = int(np.flatnonzero(inside)[0])
    segment = segment[inside]
    counts = np.bincount(segment, minlength=spec.n_mels + 1)
    rising = (bins[inside] - points[segment]) / (points[segment + 1] - points[segment])
    scalars["n_bins"] = len(segment)
    arrays["segment_bins"] = ("uint16_t", counts)
    arrays["mel_rising_q32"] = (
        "uint32_t",
        np.minimum(_rounded(rising * 2.0**32), 2**32 - 1),
    )


def _log_tables(
    spec: FrontEndSpec,
    part: LogCompression,
    mel_scale_log2: float,
    scalars: dict[str, int],
    arrays: dict[str, tuple[str, NDArray[np.int64]]],
) -> None:
    # log(norm * max(v, floor / norm) + offset) = log(norm) + log(max(..) + offset / norm)
    norm = band_norm(spec)
    floor = _rounded(part.floor / norm * 2.0**mel_scale_log2)
    offset = _rounded(part.offset / norm * 2.0**mel_scale_log2)
    if floor.any():
        arrays["band_floor"] = ("uint64_t", floor)
    arrays["band_offset"] = ("uint64_t", np.where(floor + offset == 0, 1, offset))
    per_log2 = math.log(2.0) if part.unit == "natural" else 10.0 * math.log10(2.0)
    steps_per_log2 = per_log2 / spec.output_scale * OUTPUT_STEPS
    constant = (np.log2(norm) - mel_scale_log2) * steps_per_log2
    if spec.dct is None:
        matrix = np.full((1, 1), steps_per_log2)
        bias = constant
    else:
        matrix = dct_matrix(spec) * steps_per_log2
        bias = dct_matrix(spec) @ constant
    # Gains use 30 bits; a sum of 2^9 products with log2_q16 < 2^22 then stays below 2^63.
    gain_log2 = 30 - math.ceil(math.log2(np.abs(matrix).max()))
    arrays["output_gain"] = ("int32_t", _rounded(matrix * 2.0**gain_log2).ravel())
    arrays["output_bias"] = (
        "int32_t",
        # One half, because the shift rounds down.
        np.floor(bias + spec.output_zero_point * OUTPUT_STEPS + 0.5).astype(np.int64),
    )
    # log2 in Q16; without DCT, 24 bits less because a high word of 2^8 log2_q16 is taken.
    scalars["output_shift"] = gain_log2 + 16 - (0 if spec.dct else 24)


def dct_matrix(spec: FrontEndSpec) -> NDArray[np.float64]:
    """Return the orthonormal DCT-II with the lifter folded in.

    Returns
    -------
    ndarray [shape=(n_coefficients, n_mels), dtype=float64]
    """
    if spec.dct is None:
        raise ValueError("this front end has no DCT")
    n = np.arange(spec.dct.n_coefficients)[:, None]
    k = np.arange(spec.n_mels)
    matrix = np.sqrt(2.0 / spec.n_mels) * np.cos(np.pi * n * (2 * k + 1) / (2 * spec.n_mels))
    matrix[0] /= np.sqrt(2.0)
    if spec.dct.lifter:
        matrix *= 1 + spec.dct.lifter / 2 * np.sin(np.pi * (n + 1) / spec.dct.lifter)
    return np.asarray(matrix)


def _pcen_tables(
    spec: FrontEndSpec,
    part: PcenCompression,
    mel_scale_log2: float,
    scalars: dict[str, int],
    arrays: dict[str, tuple[str, NDArray[np.int64]]],
) -> None:
    norm = band_norm(spec)
    epsilon = _rounded(part.epsilon / norm * 2.0**mel_scale_log2)
    arrays["band_offset"] = ("uint64_t", np.maximum(1, epsilon))
    scalars["pcen_smoothing_q31"] = _q31(part.smoothing)
    scalars["pcen_gain_q31"] = _q31(part.gain)
    # log2(E / M^gain) of real values from log2 of band units: the two scales do not cancel.
    bias = (1 - part.gain) * (np.log2(norm) - mel_scale_log2)
    zero = spec.output_zero_point * OUTPUT_STEPS
    # From where the curve leaves 0 by 1/16 of an output step to where int16 saturates.
    low = part.bias * ((1 + spec.output_scale / 16 * part.bias**-part.root) ** (1 / part.root) - 1)
    top = (_INT16_MAX - zero) / OUTPUT_STEPS * spec.output_scale + part.bias**part.root
    high = top ** (1 / part.root) - part.bias
    start = math.floor(math.log2(low))
    octaves = min(64, max(1, math.ceil(math.log2(max(high, low))) - start))
    intervals = octaves * _CURVE_INTERVALS_PER_OCTAVE
    exponents = start + np.arange(intervals + 1) / _CURVE_INTERVALS_PER_OCTAVE
    value = (2.0**exponents + part.bias) ** part.root - part.bias**part.root
    curve = _rounded(value / spec.output_scale * OUTPUT_STEPS + zero)
    curve[0] = zero  # also stands for everything below, and for no energy at all
    arrays["pcen_bias_q16"] = ("int32_t", _rounded((bias - start) * 65536))
    scalars["pcen_curve_intervals"] = intervals
    arrays["pcen_curve"] = ("int32_t", curve)
