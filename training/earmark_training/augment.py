"""Augmentation of waveforms, before the C front end: training sees the device's own integers.

Between-class mixing follows Tokozume et al., "Learning from Between-class Examples for Deep Sound
Recognition", ICLR 2018, with levels measured as RMS.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Augmentation:
    """Strengths; the defaults are the recipe of the `tiny` preset.

    Attributes
    ----------
    mix_probability : float
        Share of examples that are mixtures of two classes.
    gain_db : (float, float)
        Level of the loudest 100 ms relative to full scale.
    eq_db : float
        Largest boost or cut of the random equaliser.
    noise_floor_dbfs : (float, float)
        Level of the coloured noise under everything, so that padding is never digital silence.
    """

    mix_probability: float = 0.8
    gain_db: tuple[float, float] = (-30.0, -1.0)
    eq_db: float = 6.0
    noise_floor_dbfs: tuple[float, float] = (-75.0, -50.0)


def peak_level(samples: np.ndarray, sample_rate_hz: int) -> float:
    """Return the RMS of the loudest 100 ms, at least 1e-6."""
    frame = sample_rate_hz // 10
    n_frames = max(1, len(samples) // frame)
    power = np.mean(samples[: n_frames * frame].reshape(n_frames, -1) ** 2, axis=1)
    return max(1e-6, float(np.sqrt(power.max())))


def fit(samples: np.ndarray, n_samples: int, rng: np.random.Generator) -> np.ndarray:
    """Cut or pad to `n_samples` at a random position."""
    spare = len(samples) - n_samples
    if spare >= 0:
        start = int(rng.integers(spare + 1))
        return samples[start : start + n_samples]
    before = int(rng.integers(-spare + 1))
    return np.pad(samples, (before, -spare - before))


def mix_ratio(level_a: float, level_b: float, share: float) -> float:
    """Return the amplitude of sound a so that it is heard as `share` of the mixture."""
    return float(1 / (1 + level_a / level_b * (1 - share) / share))


def equalise(samples: np.ndarray, rng: np.random.Generator, eq_db: float) -> np.ndarray:
    """Apply a smooth random frequency response, a different microphone and place."""
    spectrum = np.fft.rfft(samples)
    knots = rng.uniform(-eq_db, eq_db, 6)
    response_db = np.interp(np.linspace(0, 5, len(spectrum)), np.arange(6), knots)
    return np.fft.irfft(spectrum * 10 ** (response_db / 20), len(samples))


def finish(
    samples: np.ndarray, rng: np.random.Generator, options: Augmentation, sample_rate_hz: int
) -> np.ndarray:
    """Equalise, set the level, put the noise floor under it and return int16 PCM."""
    from earmark_datasets.audio import to_int16
    from earmark_datasets.synth import coloured_noise

    samples = equalise(samples, rng, options.eq_db)
    samples = samples * (
        10 ** (rng.uniform(*options.gain_db) / 20) / peak_level(samples, sample_rate_hz)
    )
    floor = 10 ** (rng.uniform(*options.noise_floor_dbfs) / 20)
    noise = coloured_noise(len(samples), rng.uniform(0, 2), rng, sample_rate_hz=sample_rate_hz)
    return to_int16(samples + floor * noise)
