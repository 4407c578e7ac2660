"""Synthetic signals that front ends get wrong, as int16 PCM at 16 kHz."""

from __future__ import annotations

import numpy as np

RATE_HZ = 16000
N_SAMPLES = 4000  # 24 rows of 32/20 ms framing
FULL = 32767


def _time():
    return np.arange(N_SAMPLES) / RATE_HZ


def _tone(frequency_hz, amplitude, phase=0.0):
    signal = amplitude * np.sin(2 * np.pi * frequency_hz * _time() + phase)
    return np.rint(signal).astype(np.int16)


def _impulses(period, amplitude):
    pcm = np.zeros(N_SAMPLES, np.int16)
    pcm[::period] = amplitude
    return pcm


def _clipped_speech():
    """Harmonics under a formant-like envelope and syllables, 12 dB into clipping."""
    t = _time()
    pitch_hz = 120 + 20 * np.sin(2 * np.pi * 3 * t)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / RATE_HZ
    harmonics = sum(
        np.exp(-(((k * 120 - 700) / 500) ** 2)) * np.sin(k * phase) for k in range(1, 40)
    )
    syllables = 0.5 - 0.5 * np.cos(2 * np.pi * 4 * t)
    return np.clip(np.rint(harmonics * syllables * 4 * FULL / 3), -32768, FULL).astype(np.int16)


def _noise(amplitude, seed):
    noise = np.random.default_rng(seed).standard_normal(N_SAMPLES)
    return np.clip(np.rint(amplitude * noise), -32768, FULL).astype(np.int16)


def _chirp(low_hz, high_hz):
    t = _time()
    duration = N_SAMPLES / RATE_HZ
    phase = 2 * np.pi * (low_hz * t + (high_hz - low_hz) * t**2 / (2 * duration))
    return np.rint(20000 * np.sin(phase)).astype(np.int16)


def cases():
    """Return name -> PCM."""
    bin_hz = RATE_HZ / 512
    minus_80_db = 10 ** (-80 / 20) * 32768
    return {
        "silence": np.zeros(N_SAMPLES, np.int16),
        "dc": np.full(N_SAMPLES, 12345, np.int16),
        "dc_most_negative": np.full(N_SAMPLES, -32768, np.int16),
        "one_impulse": _impulses(N_SAMPLES, -32768),
        "impulses": _impulses(100, FULL),
        "square_full_scale": np.where(_tone(250, 100) >= 0, FULL, -32768).astype(np.int16),
        "square_nyquist": np.tile(np.array([FULL, -32768], np.int16), N_SAMPLES // 2),
        "square_half_nyquist": np.tile(
            np.array([FULL, FULL, -32768, -32768], np.int16), N_SAMPLES // 4
        ),
        "clipped_speech": _clipped_speech(),
        "sine_bin_centre": _tone(32 * bin_hz, 20000),
        "cosine_bin_centre": _tone(32 * bin_hz, 20000, np.pi / 2),
        "sine_bin_edge": _tone(32.5 * bin_hz, 20000),
        "cosine_bin_edge": _tone(32.5 * bin_hz, 20000, np.pi / 2),
        "chirp_up": _chirp(20, 7980),
        "chirp_down": _chirp(7980, 20),
        "white_noise": _noise(8000, 1),
        "white_noise_clipped": _noise(60000, 2),
        "whisper_noise": _noise(10 ** (-70 / 20) * 32768, 3),
        "tone_minus_80_dbfs": _tone(3100, minus_80_db * np.sqrt(2)),
        "tone_minus_80_dbfs_low": _tone(440, minus_80_db * np.sqrt(2)),
        "last_bit": _noise(0.4, 4),
    }
