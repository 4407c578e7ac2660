"""Augmentation of waveforms, before the C front end: training sees the device's own integers.

The stages, in the order of `STAGES`, are functions of samples and a random generator; `gallery.py`
draws what each one does. Between-class mixing follows Tokozume et al., "Learning from
Between-class Examples for Deep Sound Recognition", ICLR 2018. Waveforms are added with levels
measured as RMS: for independent sounds that is a mixture in the power domain.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import scipy.fft

N_ROOMS = 24
# Rooms fall by 3 to 6 dB per octave (Hoth noise: 5); whiter noise is what rain sounds like.
ROOM_EXPONENT = (1.0, 2.0)
STAGES = ("speed", "shift", "mix", "room and equaliser", "background", "gain", "noise floor")


@dataclass(frozen=True)
class Augmentation:
    """Strengths; the defaults are the recipe of every preset.

    Attributes
    ----------
    mix_probability : float
        Share of examples that are mixtures of two classes.
    gain_db : (float, float)
        Level of the loudest 100 ms relative to full scale.
    eq_db : float
        Largest boost or cut of the random equaliser.
    noise_floor_dbfs : (float, float)
        Level of the coloured noise under everything; the last bit is at -90 dBFS, so that padding
        is digital silence in a fifth of the examples of every class.
    speed : float
        Largest relative change of speed, and with it of pitch; half of the clips are changed.
    room_probability : float
        Share of examples heard through the response of a room.
    background_probability : float
        Share of examples over the noise of a home.
    background_snr_db : (float, float)
        Loudest 100 ms of the sound over that noise.
    """

    mix_probability: float = 0.8
    gain_db: tuple[float, float] = (-30.0, -1.0)
    eq_db: float = 6.0
    noise_floor_dbfs: tuple[float, float] = (-100.0, -50.0)
    speed: float = 0.15
    room_probability: float = 0.25
    background_probability: float = 0.25
    background_snr_db: tuple[float, float] = (5.0, 30.0)


def peak_level(samples: np.ndarray, sample_rate_hz: int) -> float:
    """Return the RMS of the loudest 100 ms, at least 1e-6."""
    frame = sample_rate_hz // 10
    n_frames = max(1, len(samples) // frame)
    framed = samples[: n_frames * frame].reshape(n_frames, -1)
    power = np.einsum("ij,ij->i", framed, framed) / framed.shape[1]
    return max(1e-6, float(np.sqrt(power.max())))


def change_speed(samples: np.ndarray, rng: np.random.Generator, largest: float) -> np.ndarray:
    """Play faster or slower by up to `largest`, as a tape does."""
    factor = 1 + rng.uniform(-largest, largest)
    if rng.random() < 0.5 or not largest:
        return samples
    at = np.arange(int(len(samples) / factor)) * factor
    played: np.ndarray = np.interp(at, np.arange(len(samples)), samples).astype(np.float32)
    return played


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


@functools.cache
def room_spectra(n_fft: int, sample_rate_hz: int) -> np.ndarray:
    """Return the spectra of `N_ROOMS` rooms of a home [shape=(n, n_fft // 2 + 1), complex64]."""
    from earmark_datasets.mix import room_response

    rng = np.random.default_rng(0)
    rooms = [room_response(rng, sample_rate_hz=sample_rate_hz) for _ in range(N_ROOMS)]
    return np.stack([scipy.fft.rfft(r[:n_fft].astype(np.float32), n_fft) for r in rooms])


def place(
    samples: np.ndarray, rng: np.random.Generator, options: Augmentation, sample_rate_hz: int
) -> np.ndarray:
    """Put a sound into another room and before another microphone.

    The microphone is a smooth random frequency response of up to `options.eq_db`; the room is one
    of `N_ROOMS` simulated ones, or none.
    """
    # Half a second behind the end, so that reverberation does not come back at the start.
    n_fft = scipy.fft.next_fast_len(len(samples) + sample_rate_hz // 2, real=True)
    spectrum = scipy.fft.rfft(samples.astype(np.float32), n_fft)
    knots = rng.uniform(-options.eq_db, options.eq_db, 6)
    response_db = np.interp(np.linspace(0, 5, len(spectrum)), np.arange(6), knots)
    spectrum *= (10 ** (response_db / 20)).astype(np.float32)
    number = int(rng.integers(N_ROOMS))
    if rng.random() < options.room_probability:
        spectrum *= room_spectra(n_fft, sample_rate_hz)[number]
    placed: np.ndarray = scipy.fft.irfft(spectrum, n_fft)[: len(samples)]
    return placed


def noise(
    n_samples: int, exponent: float, rng: np.random.Generator, sample_rate_hz: int
) -> np.ndarray:
    """Cut noise falling as 1/f**exponent (to the nearest quarter), RMS about 1, from a minute."""
    minute = _minute_of_noise(round(4 * exponent), sample_rate_hz)
    start = int(rng.integers(len(minute)))
    return np.take(minute, np.arange(start, start + n_samples), mode="wrap")


@functools.cache
def _minute_of_noise(quarters: int, sample_rate_hz: int) -> np.ndarray:
    from earmark_datasets.synth import coloured_noise

    rng = np.random.default_rng(quarters)
    made = coloured_noise(60 * sample_rate_hz, quarters / 4, rng, sample_rate_hz=sample_rate_hz)
    return made.astype(np.float32)


def add_background(
    samples: np.ndarray, rng: np.random.Generator, options: Augmentation, sample_rate_hz: int
) -> np.ndarray:
    """Lay some examples over the coloured noise of a home, at an SNR."""
    snr_db, exponent = rng.uniform(*options.background_snr_db), rng.uniform(*ROOM_EXPONENT)
    if rng.random() >= options.background_probability:
        return samples
    level = peak_level(samples, sample_rate_hz) * 10 ** (-snr_db / 20)
    return samples + np.float32(level) * noise(len(samples), exponent, rng, sample_rate_hz)


def set_level(
    samples: np.ndarray, rng: np.random.Generator, options: Augmentation, sample_rate_hz: int
) -> np.ndarray:
    """Give the loudest 100 ms a random level."""
    level = 10 ** (rng.uniform(*options.gain_db) / 20)
    return samples * np.float32(level / peak_level(samples, sample_rate_hz))


def add_floor(
    samples: np.ndarray, rng: np.random.Generator, options: Augmentation, sample_rate_hz: int
) -> np.ndarray:
    """Put a floor of noise under everything."""
    floor = 10 ** (rng.uniform(*options.noise_floor_dbfs) / 20)
    exponent = rng.uniform(0, 2)
    return samples + np.float32(floor) * noise(len(samples), exponent, rng, sample_rate_hz)


def finish(
    samples: np.ndarray, rng: np.random.Generator, options: Augmentation, sample_rate_hz: int
) -> np.ndarray:
    """Apply every stage after mixing and return int16 PCM."""
    from earmark_datasets.audio import to_int16

    for stage in (place, add_background, set_level, add_floor):
        samples = stage(samples, rng, options, sample_rate_hz)
    return to_int16(samples)
