"""Strongly labelled streams: events at known onsets over backgrounds, in a room, at an SNR."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from earmark_dsp.errors import EarmarkError

from earmark_datasets.audio import SAMPLE_RATE_HZ, to_int16

if TYPE_CHECKING:
    from collections.abc import Sequence

_FADE_S = 0.02
# Everything a microphone hears lies over its own noise; digital silence does not occur.
_SELF_NOISE_DBFS = -75.0
_ACTIVE_THRESHOLD_DB = 30.0


@dataclass(frozen=True)
class SceneEvent:
    """A sound in a scene, in seconds from its start.

    Attributes
    ----------
    label : str
    onset_s, offset_s : float
        When the sound itself is audible: silence around it in its file is not counted.
    snr_db : float
        Active level of the event over the background's level.
    source : str
        The file, or what synthesised it.
    """

    label: str
    onset_s: float
    offset_s: float
    snr_db: float
    source: str


@dataclass
class Scene:
    """A stream and what is in it.

    Attributes
    ----------
    pcm : ndarray [shape=(n_samples,), dtype=int16]
    events : list of SceneEvent
        In order of onset.
    """

    pcm: np.ndarray
    events: list[SceneEvent] = field(default_factory=list)


@dataclass(frozen=True)
class Sound:
    """A sound to be placed.

    Attributes
    ----------
    samples : ndarray [shape=(n_samples,), dtype=float64]
        Any scale: the mixer sets the level.
    label : str
    source : str
    snr_db : float
    """

    samples: np.ndarray
    label: str
    source: str = ""
    snr_db: float = 15.0


def active_span(samples: np.ndarray, *, sample_rate_hz: int = SAMPLE_RATE_HZ) -> tuple[int, int]:
    """Return (begin, end) in samples of what is within 30 dB of the loudest 20 ms.

    Recordings are padded with silence; an onset is where the sound starts, not its file.
    """
    frame = sample_rate_hz // 50
    n_frames = max(1, len(samples) // frame)
    power = np.mean(samples[: n_frames * frame].reshape(n_frames, -1) ** 2, axis=1)
    loud = np.flatnonzero(power > power.max() * 10 ** (-_ACTIVE_THRESHOLD_DB / 10))
    if not len(loud):
        return 0, len(samples)
    return int(loud[0]) * frame, min(len(samples), (int(loud[-1]) + 1) * frame)


def rms(samples: np.ndarray) -> float:
    """Return the root mean square, at least 1e-9."""
    return max(1e-9, float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))))


def room_response(rng: np.random.Generator, *, sample_rate_hz: int = SAMPLE_RATE_HZ) -> np.ndarray:
    """Draw a room of a home and return its impulse response, direct sound at gain 1.

    Image-source model of pyroomacoustics: 2.5 to 6 m walls, RT60 0.2 to 0.7 s, source and
    microphone anywhere at least 0.4 m from a wall.
    """
    import pyroomacoustics

    size_m = rng.uniform((2.5, 2.5, 2.3), (6.0, 5.0, 2.8))
    absorption, order = pyroomacoustics.inverse_sabine(rng.uniform(0.2, 0.7), size_m)
    room = pyroomacoustics.ShoeBox(
        size_m,
        fs=sample_rate_hz,
        materials=pyroomacoustics.Material(absorption),
        max_order=min(order, 12),
    )
    room.add_source(rng.uniform(0.4, size_m - 0.4))
    room.add_microphone(rng.uniform(0.4, size_m - 0.4))
    room.compute_rir()
    response = np.asarray(room.rir[0][0], dtype=np.float64)
    direct = int(np.argmax(np.abs(response)))
    return np.asarray(response[direct:] / response[direct])


def microphone_response(
    rng: np.random.Generator, *, sample_rate_hz: int = SAMPLE_RATE_HZ, largest_db: float = 6.0
) -> np.ndarray:
    """Draw the response of a microphone in its case, 0 dB at 1 kHz.

    Smooth between 100 Hz and 7 kHz within `largest_db`; below, MEMS microphones roll off.

    Returns
    -------
    ndarray [shape=(255,), dtype=float64]
        Linear-phase impulse response: 127 samples of delay, which `mix_scene` takes off.
    """
    from scipy.signal import firwin2

    corners_hz = np.array([100, 300, 1000, 2500, 4500, 7000])
    gains_db = rng.uniform(-largest_db, largest_db, len(corners_hz))
    gains_db[2] = 0.0
    below_db = gains_db[0] - rng.uniform(6, 20)
    frequencies_hz = [0, *corners_hz, sample_rate_hz / 2]
    levels = 10 ** (np.array([below_db, *gains_db, gains_db[-1]]) / 20)
    return np.asarray(firwin2(255, frequencies_hz, levels, fs=sample_rate_hz))


def reverberate(samples: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Convolve with an impulse response; the result is as long as its input plus the tail."""
    from scipy.signal import fftconvolve

    return np.asarray(fftconvolve(samples, response))


def mix_scene(
    *,
    duration_s: float,
    background: np.ndarray,
    sounds: Sequence[tuple[float, Sound]],
    background_dbfs: float = -50.0,
    rng: np.random.Generator,
    room: np.ndarray | None = None,
    microphone: np.ndarray | None = None,
    sample_rate_hz: int = SAMPLE_RATE_HZ,
) -> Scene:
    """Place sounds over a background.

    Parameters
    ----------
    duration_s : float
    background : ndarray [shape=(n_samples,), dtype=float64]
        Repeated with cross-fades if it is shorter than the scene.
    sounds : sequence of (float, Sound)
        Where the audible part of each sound begins, in seconds.
    background_dbfs : float
        RMS level of the background, in dB relative to full scale.
    rng : numpy.random.Generator
        Draws the microphone's own noise.
    room : ndarray or None
        Impulse response applied to every sound.
    microphone : ndarray or None
        Linear-phase response applied to everything but the microphone's own noise.
    sample_rate_hz : int

    Returns
    -------
    Scene

    Raises
    ------
    EarmarkError
        If a sound does not fit into the scene.
    """
    n_samples = round(duration_s * sample_rate_hz)
    level = 10 ** (background_dbfs / 20)
    bed = _loop(background, n_samples, round(0.5 * sample_rate_hz))
    stream = bed * (level / rms(bed))
    self_noise = rng.standard_normal(n_samples) * 10 ** (_SELF_NOISE_DBFS / 20)
    events = []
    for onset_s, sound in sorted(sounds, key=lambda item: item[0]):
        samples = np.asarray(sound.samples, dtype=np.float64)
        begin, end = active_span(samples, sample_rate_hz=sample_rate_hz)
        samples = _fade(samples[begin:end], round(_FADE_S * sample_rate_hz / 4))
        at = round(onset_s * sample_rate_hz)
        if at < 0 or at + len(samples) > n_samples:
            raise EarmarkError(
                f"{sound.label} at {onset_s:.1f} s needs {len(samples) / sample_rate_hz:.1f} s and "
                f"does not fit into a scene of {duration_s:.1f} s"
            )
        gain = level * 10 ** (sound.snr_db / 20) / _active_rms(samples, sample_rate_hz)
        placed = samples if room is None else reverberate(samples, room)
        placed = placed[: n_samples - at] * gain
        stream[at : at + len(placed)] += placed
        events.append(
            SceneEvent(
                sound.label,
                onset_s,
                onset_s + len(samples) / sample_rate_hz,
                sound.snr_db,
                sound.source,
            )
        )
    if microphone is not None:
        stream = reverberate(stream, microphone)[len(microphone) // 2 :][:n_samples]
    return Scene(to_int16(stream + self_noise), events)


def _active_rms(samples: np.ndarray, sample_rate_hz: int) -> float:
    """RMS over the 20 ms frames within 30 dB of the loudest, so that pauses do not count."""
    frame = sample_rate_hz // 50
    n_frames = max(1, len(samples) // frame)
    power = np.mean(samples[: n_frames * frame].reshape(n_frames, -1) ** 2, axis=1)
    active = power[power > power.max() * 10 ** (-_ACTIVE_THRESHOLD_DB / 10)]
    return max(1e-9, float(np.sqrt(np.mean(active)))) if len(active) else 1e-9


def _fade(samples: np.ndarray, n_fade: int) -> np.ndarray:
    n_fade = min(n_fade, len(samples) // 2)
    ramp = np.linspace(0, 1, n_fade, endpoint=False)
    faded = samples.copy()
    faded[:n_fade] *= ramp
    faded[len(faded) - n_fade :] *= ramp[::-1]
    return faded


def _loop(samples: np.ndarray, n_samples: int, n_cross: int) -> np.ndarray:
    """Repeat with equal-power cross-fades until `n_samples` are filled."""
    samples = np.asarray(samples, dtype=np.float64)
    if len(samples) >= n_samples:
        return samples[:n_samples].copy()
    n_cross = min(n_cross, len(samples) // 3)
    fade_in = np.sin(np.linspace(0, np.pi / 2, n_cross))
    out = np.zeros(n_samples + len(samples))
    out[: len(samples)] = samples
    position = len(samples) - n_cross
    while position < n_samples:
        out[position : position + n_cross] *= fade_in[::-1]
        piece = samples.copy()
        piece[:n_cross] *= fade_in
        out[position : position + len(piece)] += piece
        position += len(samples) - n_cross
    return out[:n_samples]
