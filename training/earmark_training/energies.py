"""Recordings as mel energies, kept in several variants, and energies as front-end rows.

The energies are those of the C front end, taken before its compression. Levels, equalisers, noise
and mixtures are sums and products of energies, so every epoch can be mixed anew for a tenth of the
cost of its training; what needs the waveform (speed, rooms) is drawn once per variant.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import os
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from earmark_datasets import synth
from earmark_datasets.audio import to_int16
from earmark_dsp.mel import breakpoints_hz
from earmark_dsp.native import extract_q8
from earmark_dsp.spec import LogCompression, PcenCompression
from earmark_dsp.tables import dct_matrix

from earmark_training import augment, windows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from earmark_dsp.spec import FrontEndSpec

# Level of the loudest 100 ms of every kept variant: loud, with room for its peaks.
BANK_DBFS = -15.6
NOISE_DBFS = -20.0
# Steps of the exponent of coloured noise, 1/f**(number / 4) from white to brown.
NOISE_QUARTERS = 8
SILENCE_LOG = -16.1  # where the front end's logarithm ends: rounding to 16 bits
_ROUNDING_ENERGY = np.float32(1e-7)
_MOST_VARIANTS = 12
_BANK_BYTES = 384 << 20
_N_ALARMS = 64  # of each cadence


def log_twin(spec: FrontEndSpec) -> FrontEndSpec:
    """Return the front end whose rows are the natural logarithm of the energies of `spec`."""
    log = LogCompression(offset=float(_ROUNDING_ENERGY), floor=0.0, unit="natural")
    # From ln(1e-7) = -16.1 to a full-scale square wave, about 10.6.
    return replace(spec, compression=log, dct=None, output_scale=27 / 256, output_zero_point=25)


def log_energies(twin: FrontEndSpec, samples: np.ndarray) -> np.ndarray:
    """Return ln of the C front end's mel powers of a waveform.

    Parameters
    ----------
    twin : FrontEndSpec
        `log_twin` of the front end.
    samples : ndarray [shape=(n_samples,), dtype=float32]
        Full scale is 1.0.

    Returns
    -------
    ndarray [shape=(n_rows, n_mels), dtype=float16]
        Powers also where the front end takes magnitudes: powers are what adds.
    """
    steps = extract_q8(twin, to_int16(samples)).astype(np.float32) / 256
    value = (steps - twin.output_zero_point) * np.float32(twin.output_scale)
    return (value if twin.spectrum == "power" else 2 * value).astype(np.float16)


@dataclass(frozen=True)
class Variants:
    """Sounds as energies.

    Attributes
    ----------
    rows : ndarray [shape=(n_variants, n_sounds, n_rows, n_mels), dtype=float16]
        Logarithms.
    active : ndarray [shape=(n_variants, n_sounds, n_rows), dtype=bool]
        Whether a row begins while the sound is heard.
    classes : ndarray [shape=(n_sounds,), dtype=int64]
    """

    rows: np.ndarray
    active: np.ndarray
    classes: np.ndarray

    @staticmethod
    def join(parts: Sequence[Variants]) -> Variants:
        """Return the sounds of all parts, in as many variants as all have."""
        n = min(len(part.rows) for part in parts)
        return Variants(
            np.concatenate([part.rows[:n] for part in parts], axis=1),
            np.concatenate([part.active[:n] for part in parts], axis=1),
            np.concatenate([part.classes for part in parts]),
        )

    def draw(
        self, sounds: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return (log energies float32, activity, class) of a random variant of each sound."""
        variant = rng.integers(len(self.rows), size=len(sounds))
        rows = self.rows[variant, sounds].astype(np.float32)
        return rows, self.active[variant, sounds], self.classes[sounds]


@dataclass(frozen=True)
class Bank:
    """What the windows of a group of clips are mixed from.

    Attributes
    ----------
    clips, alarms : Variants
    """

    clips: Variants
    alarms: Variants


def draw_bank(
    clips: Sequence[windows.LabelledClip],
    *,
    labels: Sequence[str],
    spec: FrontEndSpec,
    options: augment.Augmentation,
    folder: Path | None,
    n_all_clips: int,
) -> Bank:
    """Draw the variants of a group of clips, or read them if they are kept.

    Parameters
    ----------
    clips, labels, spec, options
        As their types say.
    folder : Path or None
        Keeps them for other trainings.
    n_all_clips : int
        Of all groups: many clips have few variants, for they must fit in memory.
    """
    row_bytes = 2 * windows.CLIP_S * spec.sample_rate_hz / spec.hop_length * spec.n_mels
    n_variants = int(np.clip(_BANK_BYTES / (row_bytes * n_all_clips), 1, _MOST_VARIANTS))
    seed = _seed(clips, labels, spec, options, n_variants)
    key = _key(seed, spec, clips[0])
    path = folder and folder / f"{key}-energies.npz"
    if path and path.is_file():
        with np.load(path) as kept:
            return Bank(
                Variants(kept["rows"], kept["active"], kept["classes"]),
                Variants(kept["alarm_rows"], kept["alarm_active"], kept["alarm_classes"]),
            )
    drawing = _Drawing(spec, options, np.random.default_rng(seed))
    bank = Bank(drawing.clips(clips, n_variants), drawing.alarms(labels))
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Other processes may draw the same: each finishes with equal content.
        draft = path.with_name(f"{key}-{os.getpid()}.part.npz")
        np.savez(
            draft,
            rows=bank.clips.rows,
            active=bank.clips.active,
            classes=bank.clips.classes,
            alarm_rows=bank.alarms.rows,
            alarm_active=bank.alarms.active,
            alarm_classes=bank.alarms.classes,
        )
        draft.replace(path)
    return bank


def _seed(
    clips: Sequence[windows.LabelledClip],
    labels: Sequence[str],
    spec: FrontEndSpec,
    options: augment.Augmentation,
    n_variants: int,
) -> int:
    """Return what decides the draws: content and settings, not the text of the program."""
    text = json.dumps([asdict(options), list(labels), spec.hash_hex, n_variants])
    digest = hashlib.sha256(text.encode())
    for clip in clips:
        digest.update(f"{clip.label}:{len(clip.samples)}".encode())
        digest.update(clip.samples.tobytes())
    return int.from_bytes(digest.digest()[:8], "big")


def _key(seed: int, spec: FrontEndSpec, clip: windows.LabelledClip) -> str:
    digest = hashlib.sha256(str(seed).encode())
    digest.update(inspect.getsource(inspect.getmodule(_key) or augment).encode())
    for module in (augment, windows, synth):
        digest.update(inspect.getsource(module).encode())
    # Compiled code: its output stands for it.
    digest.update(log_energies(log_twin(spec), clip.samples).tobytes())
    return digest.hexdigest()[:16]


class _Drawing:
    """Draws waveforms and takes their energies."""

    def __init__(
        self, spec: FrontEndSpec, options: augment.Augmentation, rng: np.random.Generator
    ) -> None:
        self.twin = log_twin(spec)
        self.rate_hz = spec.sample_rate_hz
        self.n_samples = round(windows.CLIP_S * self.rate_hz)
        self.options = options
        # The equaliser is drawn anew each epoch.
        self.room_only = replace(options, eq_db=0.0)
        self.rng = rng

    def clips(self, clips: Sequence[windows.LabelledClip], n_variants: int) -> Variants:
        """Draw variants in speed, position and room."""
        drawn = [
            self._energies(samples, windows.activity(samples, self.rate_hz))
            for _ in range(n_variants)
            for samples in (self._varied(clip) for clip in clips)
        ]
        return _stacked(drawn, n_variants, [clip.label for clip in clips])

    def alarms(self, labels: Sequence[str]) -> Variants:
        """Draw T3 and T4 alarms."""
        drawn, classes = [], []
        for cadence, name in ((synth.T3, windows.SMOKE_ALARM), (synth.T4, windows.CO_ALARM)):
            for _ in range(_N_ALARMS):
                signal = synth.alarm(cadence, windows.CLIP_S, self.rng, sample_rate_hz=self.rate_hz)
                active = windows.alarm_activity(signal, self.rate_hz)
                drawn.append(self._energies(signal, active))
                classes.append(labels.index(name))
        return _stacked(drawn, 1, classes)

    def _varied(self, clip: windows.LabelledClip) -> np.ndarray:
        return windows.varied(clip.samples, self.n_samples, self.rng, self.options)

    def _energies(self, samples: np.ndarray, active: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        placed = augment.place(samples, self.rng, self.room_only, self.rate_hz)
        level = 10 ** (BANK_DBFS / 20) / augment.peak_level(placed, self.rate_hz)
        rows = log_energies(self.twin, placed * np.float32(level))
        hop = self.twin.hop_length
        return rows, np.any(active[: len(rows) * hop].reshape(len(rows), hop), axis=1)


def _stacked(
    drawn: Sequence[tuple[np.ndarray, np.ndarray]], n_variants: int, classes: Sequence[int]
) -> Variants:
    rows = np.stack([one for one, _ in drawn])
    active = np.stack([one for _, one in drawn])
    return Variants(
        rows.reshape(n_variants, len(classes), *rows.shape[1:]),
        active.reshape(n_variants, len(classes), *active.shape[1:]),
        np.array(classes, np.int64),
    )


@functools.cache
def draw_noise(spec: FrontEndSpec) -> np.ndarray:
    """Return a minute of energies of each colour of noise.

    Returns
    -------
    ndarray [shape=(NOISE_QUARTERS + 1, n_rows, n_mels), dtype=float32]
        Powers, at `NOISE_DBFS`.
    """
    twin = log_twin(spec)
    level = np.float32(10 ** (NOISE_DBFS / 20))
    minutes = [
        augment.noise(60 * spec.sample_rate_hz, quarters / 4, _first(), spec.sample_rate_hz)
        for quarters in range(NOISE_QUARTERS + 1)
    ]
    return np.stack([np.exp(log_energies(twin, level * m).astype(np.float32)) for m in minutes])


def _first() -> np.random.Generator:
    return np.random.default_rng(0)


def equalisers(
    spec: FrontEndSpec, n: int, largest_db: float, rng: np.random.Generator
) -> np.ndarray:
    """Return logarithms of random smooth responses [shape=(n, 1, n_mels), dtype=float32]."""
    bands_hz = np.ravel(breakpoints_hz(spec))[1:-1]
    at = bands_hz / (spec.sample_rate_hz / 2) * 5
    left = np.minimum(at.astype(int), 4)
    knots = rng.uniform(-largest_db, largest_db, (n, 6))
    response_db = knots[:, left] * (left + 1 - at) + knots[:, left + 1] * (at - left)
    response: np.ndarray = (response_db * (np.log(10) / 10)).astype(np.float32)[:, None]
    return response


def smoothed(spec: FrontEndSpec, powers: np.ndarray) -> np.ndarray | None:
    """Return PCEN's smoother after every row, or None for other compressions.

    Parameters
    ----------
    powers : ndarray [shape=(n, n_rows, n_mels), dtype=float32]
    """
    part = spec.compression
    if not isinstance(part, PcenCompression):
        return None
    energies = _own(spec, powers)
    out = np.empty_like(energies)
    state = energies[:, 0].copy()
    for index in range(energies.shape[1]):
        state += np.float32(part.smoothing) * (energies[:, index] - state)
        out[:, index] = state
    return out


def compressed(spec: FrontEndSpec, powers: np.ndarray, smooth: np.ndarray | None) -> np.ndarray:
    """Turn powers into the front end's int8 rows, all but rounding as its C code does.

    Parameters
    ----------
    powers : ndarray [shape=(..., n_mels), dtype=float32]
    smooth : ndarray of the same shape, or None
        As `smoothed` returns it, at the same rows.

    Returns
    -------
    ndarray [shape=(..., n_features), dtype=int8]
    """
    part = spec.compression
    energies = _own(spec, powers)
    if isinstance(part, LogCompression):
        value = np.log(np.maximum(energies, np.float32(part.floor)) + np.float32(part.offset))
        value = value if part.unit == "natural" else value * np.float32(10 / np.log(10))
        value = value if spec.dct is None else value @ dct_matrix(spec).T.astype(np.float32)
    else:
        assert smooth is not None  # noqa: S101 - PCEN has a smoother
        # exp(gain * log) is several times faster than a power.
        divisor = np.exp(np.float32(-part.gain) * np.log(smooth + np.float32(part.epsilon)))
        bias = np.float32(part.bias)
        value = (energies * divisor + bias) ** np.float32(part.root) - bias ** np.float32(part.root)
    steps = np.rint(value / np.float32(spec.output_scale)) + spec.output_zero_point
    rows: np.ndarray = np.clip(steps, -128, 127).astype(np.int8)
    return rows


def _own(spec: FrontEndSpec, powers: np.ndarray) -> np.ndarray:
    # The twin's offset is taken off again; of magnitudes, its square is nothing.
    is_power = spec.spectrum == "power"
    return np.maximum(powers - _ROUNDING_ENERGY, 0) if is_power else np.sqrt(powers)
