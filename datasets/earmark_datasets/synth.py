"""Alarm signals from their standards, and noises, as a seeded generator of training material.

T3, smoke (ISO 8201; NFPA 72): three pulses of 0.5 s with gaps of 0.5 s, then 1.5 s of silence: a
cycle of 4.0 s. T4, carbon monoxide (UL 2034): four pulses of 0.1 s with gaps of 0.1 s, then 5 s of
silence: a cycle of 5.7 s. The pitch is not fixed: about 3.1 kHz usually, about 4 kHz on
older units, a 520 Hz square wave in sleeping rooms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

SAMPLE_RATE_HZ = 16000
# Timing in the standards is given with 10 %; whole units drift together.
TIMING_TOLERANCE = 0.1
Waveform = Literal["sine", "square"]


@dataclass(frozen=True)
class Cadence:
    """An on/off pattern.

    Attributes
    ----------
    n_pulses : int
    pulse_s, gap_s, pause_s : float
        Pulse, gap between pulses, and silence after the last pulse, in seconds.
    """

    n_pulses: int
    pulse_s: float
    gap_s: float
    pause_s: float

    @property
    def cycle_s(self) -> float:
        """Duration of one cycle in seconds."""
        return self.n_pulses * self.pulse_s + (self.n_pulses - 1) * self.gap_s + self.pause_s

    def scaled(self, factor: float) -> Cadence:
        """Return the same pattern on a clock that runs slower by `factor`."""
        return Cadence(
            self.n_pulses, self.pulse_s * factor, self.gap_s * factor, self.pause_s * factor
        )


T3 = Cadence(n_pulses=3, pulse_s=0.5, gap_s=0.5, pause_s=1.5)
T4 = Cadence(n_pulses=4, pulse_s=0.1, gap_s=0.1, pause_s=5.0)


@dataclass(frozen=True)
class Voice:
    """How a sounder sounds.

    Attributes
    ----------
    frequency_hz : float
    waveform : {"sine", "square"}
        A square wave is limited to the harmonics below the Nyquist frequency.
    second_harmonic : float
        Amplitude of the second harmonic of a sine, relative to the first (0 to 1).
    attack_s : float
        Rise and fall time of a pulse in seconds; piezo discs take a few milliseconds.
    """

    frequency_hz: float
    waveform: Waveform = "sine"
    second_harmonic: float = 0.0
    attack_s: float = 0.005


def random_voice(rng: np.random.Generator) -> Voice:
    """Draw a sounder: 3.1 kHz (half of them), 4 kHz, or the 520 Hz square wave."""
    kind = rng.choice(3, p=(0.5, 0.25, 0.25))
    if kind == 2:
        return Voice(520 * rng.uniform(0.95, 1.05), "square", attack_s=rng.uniform(0.002, 0.01))
    centre_hz = 3100 if kind == 0 else 4000
    return Voice(
        centre_hz * rng.uniform(0.93, 1.07),
        "sine",
        second_harmonic=rng.uniform(0, 0.4),
        attack_s=rng.uniform(0.002, 0.02),
    )


def tone(voice: Voice, n_samples: int, *, sample_rate_hz: int = SAMPLE_RATE_HZ) -> np.ndarray:
    """Return a steady tone [shape=(n_samples,), dtype=float64], peak about 1."""
    phase = 2 * np.pi * voice.frequency_hz * np.arange(n_samples) / sample_rate_hz
    nyquist_hz = sample_rate_hz / 2
    if voice.waveform == "square":
        orders = np.arange(1, int(nyquist_hz / voice.frequency_hz) + 1, 2)
        return np.asarray(sum(np.sin(k * phase) / k for k in orders) * (4 / np.pi) * 0.8)
    wave = np.sin(phase)
    if 2 * voice.frequency_hz < nyquist_hz:
        wave = (wave + voice.second_harmonic * np.sin(2 * phase + 0.7)) / (
            1 + voice.second_harmonic
        )
    return np.asarray(wave)


def envelope(
    cadence: Cadence,
    duration_s: float,
    *,
    start_s: float = 0.0,
    attack_s: float = 0.005,
    sample_rate_hz: int = SAMPLE_RATE_HZ,
) -> np.ndarray:
    """Return the on/off envelope [shape=(n_samples,), dtype=float64, range 0 to 1].

    Parameters
    ----------
    cadence : Cadence
    duration_s : float
    start_s : float
        Position in the cycle at which the envelope begins.
    attack_s : float
        Linear rise and fall time.
    sample_rate_hz : int
    """
    time_s = (np.arange(round(duration_s * sample_rate_hz)) / sample_rate_hz + start_s) % (
        cadence.cycle_s
    )
    gain = np.zeros_like(time_s)
    for pulse in range(cadence.n_pulses):
        onset_s = pulse * (cadence.pulse_s + cadence.gap_s)
        inside = np.minimum(time_s - onset_s, onset_s + cadence.pulse_s - time_s)
        gain = np.maximum(gain, np.clip(inside / attack_s, 0, 1))
    return gain


def alarm(
    cadence: Cadence,
    duration_s: float,
    rng: np.random.Generator,
    *,
    voice: Voice | None = None,
    exact: bool = False,
    sample_rate_hz: int = SAMPLE_RATE_HZ,
) -> np.ndarray:
    """Synthesise an alarm from its standard.

    Parameters
    ----------
    cadence : Cadence
        `T3` or `T4`.
    duration_s : float
    rng : numpy.random.Generator
        Draws the sounder and the timing error.
    voice : Voice or None
        None draws one with `random_voice`.
    exact : bool
        Nominal timing from the first pulse on; otherwise the clock is off by up to 10 % and the
        signal starts anywhere in its cycle.
    sample_rate_hz : int

    Returns
    -------
    ndarray [shape=(n_samples,), dtype=float64]
        Peak about 1.
    """
    voice = voice or random_voice(rng)
    factor = 1.0 if exact else rng.uniform(1 - TIMING_TOLERANCE, 1 + TIMING_TOLERANCE)
    timing = cadence.scaled(factor)
    gain = envelope(
        timing,
        duration_s,
        start_s=0.0 if exact else rng.uniform(0, timing.cycle_s),
        attack_s=voice.attack_s,
        sample_rate_hz=sample_rate_hz,
    )
    return np.asarray(gain * tone(voice, len(gain), sample_rate_hz=sample_rate_hz))


def low_battery_chirp(
    duration_s: float, rng: np.random.Generator, *, sample_rate_hz: int = SAMPLE_RATE_HZ
) -> np.ndarray:
    """One short chirp every 30 to 60 s, as alarms give when their battery runs low.

    Returns
    -------
    ndarray [shape=(n_samples,), dtype=float64]
        Peak about 1; the first chirp falls into the first 5 s (or the signal, if shorter).
    """
    voice = random_voice(rng)
    signal: np.ndarray = np.zeros(round(duration_s * sample_rate_hz))
    at_s = rng.uniform(0, min(5.0, 0.8 * duration_s))
    interval_s = rng.uniform(30, 60)
    pulse_s = rng.uniform(0.03, 0.2)
    pulse = Cadence(1, pulse_s, 0.0, 1.0)
    while at_s + pulse_s < duration_s:
        burst = envelope(pulse, pulse_s, attack_s=voice.attack_s, sample_rate_hz=sample_rate_hz)
        begin = int(at_s * sample_rate_hz)
        signal[begin : begin + len(burst)] = burst * tone(
            voice, len(burst), sample_rate_hz=sample_rate_hz
        )
        at_s += interval_s
    return signal


def coloured_noise(
    n_samples: int,
    exponent: float,
    rng: np.random.Generator,
    *,
    sample_rate_hz: int = SAMPLE_RATE_HZ,
) -> np.ndarray:
    """Return Gaussian noise whose power falls as 1/f**exponent (0 white, 1 pink, 2 brown), RMS 1.

    The spectrum is flat below 20 Hz, where no microphone of ours hears.
    """
    spectrum = np.fft.rfft(rng.standard_normal(n_samples))
    frequency_hz = np.maximum(np.fft.rfftfreq(n_samples, 1 / sample_rate_hz), 20.0)
    shaped = np.fft.irfft(spectrum * frequency_hz ** (-exponent / 2), n_samples)
    return np.asarray(shaped / max(1e-12, float(np.sqrt(np.mean(shaped**2)))))


def background(
    duration_s: float,
    rng: np.random.Generator,
    *,
    exponent: tuple[float, float] = (0.0, 2.0),
    sample_rate_hz: int = SAMPLE_RATE_HZ,
) -> np.ndarray:
    """Return a quiet room: coloured noise, sometimes hum, slow level changes; RMS about 1.

    `exponent` is the range from which the slope of the noise is drawn (`coloured_noise`).
    """
    n_samples = round(duration_s * sample_rate_hz)
    signal = coloured_noise(n_samples, rng.uniform(*exponent), rng, sample_rate_hz=sample_rate_hz)
    time_s = np.arange(n_samples) / sample_rate_hz
    if rng.random() < 0.4:
        mains_hz = rng.choice([50, 60])
        for order in range(1, 6):
            level = rng.uniform(0, 0.5) / order
            signal += level * np.sin(2 * np.pi * mains_hz * order * time_s + rng.uniform(0, 6.28))
    if rng.random() < 0.5:
        signal *= 1 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.05, 0.5) * time_s)
    return np.asarray(signal)
