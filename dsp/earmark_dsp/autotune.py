"""Proposes a front end for a data set from what is in the recordings, and says why."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from earmark_dsp import reference
from earmark_dsp.probe import N_FOLDS, probe_score
from earmark_dsp.spec import LogCompression, load_spec
from earmark_dsp.windows import window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from earmark_dsp.spec import FrontEndSpec

SILENCE_DBFS = -80.0  # frames below this are padding, not material
ACTIVE_BELOW_PEAK_DB = 20.0
BAND_FLOOR_DB = 40.0  # a frequency matters if its spectrum comes this close to the peak
PCEN_LEVEL_SPREAD_DB = 6.0  # level differences that a small network should not have to learn
MIN_CLASSES, MIN_PER_CLASS = 2, N_FOLDS
OUTPUT_STEPS = 255


@dataclass(frozen=True)
class Proposal:
    """A specification, the reasons in plain words, and scores by candidate where labels allowed."""

    spec: FrontEndSpec
    reasons: list[str]
    scores: dict[str, float]


@dataclass(frozen=True)
class _Survey:
    """What the recordings are like."""

    low_hz: float
    high_hz: float
    level_spread_db: float
    active_s: float
    n_active: int


def _survey(spec: FrontEndSpec, recordings: Sequence[NDArray[np.int16]]) -> _Survey:
    spectra, levels, durations = [], [], []
    for pcm in recordings:
        frames = reference.frames(spec, pcm / reference.PCM_FULL_SCALE)
        power = np.square(frames).mean(axis=1)
        level_db = 10 * np.log10(power + 1e-12)
        active = level_db > max(SILENCE_DBFS, level_db.max(initial=-120.0) - ACTIVE_BELOW_PEAK_DB)
        if not active.any():
            continue
        spectrum = np.abs(np.fft.rfft(frames[active] * window(spec), spec.fft_length)) ** 2
        spectra.append(10 * np.log10(spectrum.mean(axis=0) / spectrum.mean() + 1e-12))
        levels.append(level_db[active].mean())
        durations.append(active.sum() * spec.hop_length / spec.sample_rate_hz)
    if not spectra:
        return _Survey(spec.fmin_hz, spec.fmax_hz, 0.0, 0.0, 0)
    # Loud in at least a tenth of the recordings: a rare class must not lose its band.
    typical = np.percentile(np.array(spectra), 90, axis=0)
    used = np.flatnonzero(typical > typical.max() - BAND_FLOOR_DB)
    bin_hz = spec.sample_rate_hz / spec.fft_length
    return _Survey(
        low_hz=float(used[0] * bin_hz),
        high_hz=float((used[-1] + 1) * bin_hz),
        level_spread_db=float(np.std(levels)),
        active_s=float(np.median(durations)),
        n_active=len(spectra),
    )


def fit_output(spec: FrontEndSpec, recordings: Sequence[NDArray[np.int16]]) -> FrontEndSpec:
    """Choose scale and zero point so that all but 1 value in 1000 of the recordings fit int8.

    The scale is a short binary fraction, which float32 holds exactly.
    """
    values = np.concatenate(
        [
            reference.features(spec, pcm / reference.PCM_FULL_SCALE).ravel()
            for pcm in [*recordings, np.zeros(spec.window_length, np.int16)]
        ]
    )
    # The lowest value of an exact logarithm is silence, and silence is common: keep it.
    low, high = float(values.min()), float(np.quantile(values, 0.999))
    raw = max(high - low, 1e-3) / OUTPUT_STEPS
    step = 2.0 ** (math.floor(math.log2(raw)) - 4)
    scale = math.ceil(raw / step) * step
    zero_point = int(np.clip(round(-128 - low / scale), -128, 127))
    return dataclasses.replace(spec, output_scale=scale, output_zero_point=zero_point)


def _base(spec: FrontEndSpec, survey: _Survey) -> tuple[FrontEndSpec, list[str]]:
    nyquist_hz = spec.sample_rate_hz / 2
    fmin_hz = float(np.clip(10 * round(survey.low_hz / 10), 50, 300))
    fmax_hz = float(np.clip(100 * math.ceil(survey.high_hz / 100), 2000, 0.975 * nyquist_hz))
    frame_rate = spec.sample_rate_hz / spec.hop_length
    context = int(np.clip(round(survey.active_s * frame_rate), 0.96 * frame_rate, 2 * frame_rate))
    changed = dataclasses.replace(
        spec, fmin_hz=fmin_hz, fmax_hz=fmax_hz, context_frames=context, name="autotuned"
    )
    bands = (
        f"bands from {fmin_hz:g} to {fmax_hz:g} Hz: outside, the spectra of nine in ten recordings "
        f"stay {BAND_FLOOR_DB:g} dB below their peak (found {survey.low_hz:.0f} to "
        f"{survey.high_hz:.0f} Hz; limits 50..300 and 2000..{0.975 * nyquist_hz:g})"
    )
    length = (
        f"{context} frames ({context / frame_rate:.2f} s) of context: half of the recordings are "
        f"active for {survey.active_s:.2f} s or less (limits 0.96..2 s)"
    )
    return changed, [bands, length]


def propose(
    recordings: Sequence[NDArray[np.int16]],
    *,
    sample_rate_hz: int = 16000,
    labels: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
) -> Proposal:
    """Propose a specification for recordings at `sample_rate_hz`.

    Parameters
    ----------
    recordings : sequence of ndarray [shape=(n_samples,), dtype=int16]
    sample_rate_hz : int
    labels : sequence of str or None
        With at least two classes of five recordings, candidates are compared by `probe_score`;
        None: chosen from levels alone.
    groups : sequence of str or None
        Recordings of one group (one source) stay in one fold; None: each is its own.
    """
    pcen = dataclasses.replace(load_spec("pcen-64-20ms"), sample_rate_hz=sample_rate_hz)
    survey = _survey(pcen, recordings)
    pcen, reasons = _base(pcen, survey)
    log = load_spec("logmel-64-20ms").compression
    candidates = {
        "pcen, 64 bands": pcen,
        "log, 64 bands": dataclasses.replace(pcen, compression=log),
        "log, 40 bands": dataclasses.replace(pcen, compression=log, n_mels=40),
        "pcen, 40 bands": dataclasses.replace(pcen, n_mels=40),
    }
    scores: dict[str, float] = {}
    names, label_ids = np.unique(labels if labels is not None else [], return_inverse=True)
    if len(names) >= MIN_CLASSES and np.bincount(label_ids).min() >= MIN_PER_CLASS:
        sources = groups if groups is not None else [str(i) for i in range(len(label_ids))]
        group_ids = np.unique(sources, return_inverse=True)[1]
        scores = {
            name: probe_score(candidate, recordings, label_ids, group_ids)
            for name, candidate in candidates.items()
        }
    chosen, reason = _choose(scores, survey, len(recordings))
    spec = fit_output(candidates[chosen], recordings)
    reasons.append(reason)
    reasons.append(
        f"output scale {spec.output_scale:g}, zero point {spec.output_zero_point}: 99.9 % of the "
        "feature values fit int8"
    )
    kind = "log-mel" if isinstance(spec.compression, LogCompression) else "PCEN"
    description = f"{spec.n_mels}-band {kind}, proposed from {len(recordings)} recordings"
    return Proposal(dataclasses.replace(spec, description=description), reasons, scores)


def _choose(scores: dict[str, float], survey: _Survey, n: int) -> tuple[str, str]:
    spread = survey.level_spread_db
    by_level = "pcen, 64 bands" if spread > PCEN_LEVEL_SPREAD_DB else "log, 64 bands"
    if not scores:
        return by_level, (
            f"{by_level}: levels differ by {spread:.1f} dB (standard deviation) between "
            f"recordings; above {PCEN_LEVEL_SPREAD_DB:g} dB, PCEN removes what would have to be "
            "learnt. No labels to compare by"
        )
    best = max(scores.values())
    margin = math.sqrt(best * (1 - best) / n)
    close = [name for name, score in scores.items() if score >= best - margin]
    if by_level in close:
        return by_level, (
            f"{by_level}: {scores[by_level]:.1%} in a quick test, best {best:.1%}, one standard "
            f"error {margin:.1%}; among equals the levels decide: they differ by {spread:.1f} dB "
            f"(PCEN above {PCEN_LEVEL_SPREAD_DB:g} dB)"
        )
    chosen = max(close, key=lambda name: scores[name])
    return chosen, (
        f"{chosen}: {scores[chosen]:.1%} in a quick test in {N_FOLDS} folds; {by_level} gave "
        f"{scores[by_level]:.1%}, more than one standard error ({margin:.1%}) less"
    )
