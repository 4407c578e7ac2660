"""Epochs of labelled windows: waveforms are augmented, then the C front end computes features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from earmark_datasets import synth
from earmark_dsp.native import extract

from earmark_training import augment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from earmark_dsp.spec import FrontEndSpec

BACKGROUND = "background"
SMOKE_ALARM = "smoke_alarm"
CO_ALARM = "co_alarm"
_CLIP_S = 5.0
# A window this far below the clip's loudest one holds background, whatever the clip's label.
_SILENT_DB = 25.0
# An alarm's pulse must fill this much of a window for the window to be called an alarm.
_ALARM_ACTIVE_S = 0.15


@dataclass(frozen=True)
class LabelledClip:
    """A training waveform.

    Attributes
    ----------
    samples : ndarray [shape=(n_samples,), dtype=float32]
    label : int
        Index of its class.
    """

    samples: np.ndarray
    label: int


@dataclass(frozen=True)
class EpochPlan:
    """How many windows an epoch holds.

    Attributes
    ----------
    windows_per_clip : int
    n_alarm_clips : int
        Freshly synthesised T3 and T4 clips, each.
    n_background_clips : int
    """

    windows_per_clip: int = 2
    n_alarm_clips: int = 16
    n_background_clips: int = 40


def make_epoch(
    clips: Sequence[LabelledClip],
    *,
    labels: Sequence[str],
    spec: FrontEndSpec,
    plan: EpochPlan,
    options: augment.Augmentation,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one epoch.

    Returns
    -------
    windows : ndarray [shape=(n, context_frames, n_features), dtype=int8]
        Shuffled.
    targets : ndarray [shape=(n, n_labels), dtype=float32]
        Rows sum to 1; mixtures have two entries.
    """
    n_samples = round(_CLIP_S * spec.sample_rate_hz)
    draw = _Draw(clips, len(labels), n_samples, spec.sample_rate_hz, options, rng)
    windows: list[np.ndarray] = []
    targets: list[np.ndarray] = []

    def add(pcm: np.ndarray, active: np.ndarray, target: np.ndarray, n_windows: int) -> None:
        rows = extract(spec, pcm)
        for start in rng.integers(0, len(rows) - spec.context_frames + 1, n_windows):
            windows.append(rows[start : start + spec.context_frames])
            begin = start * spec.hop_length
            end = begin + spec.context_frames * spec.hop_length
            is_active = active[begin:end].any()
            targets.append(target if is_active else _one_hot(labels, BACKGROUND))

    for index in rng.permutation(len(clips)):
        samples, target, active = draw.clip(int(index))
        pcm = augment.finish(samples, rng, options, spec.sample_rate_hz)
        add(pcm, active, target, plan.windows_per_clip)
    for cadence, name in ((synth.T3, SMOKE_ALARM), (synth.T4, CO_ALARM)):
        for _ in range(plan.n_alarm_clips):
            samples, active = draw.alarm(cadence)
            pcm = augment.finish(samples, rng, options, spec.sample_rate_hz)
            add(pcm, active, _one_hot(labels, name), plan.windows_per_clip)
    for _ in range(plan.n_background_clips):
        noise = synth.background(_CLIP_S, rng, sample_rate_hz=spec.sample_rate_hz)
        pcm = augment.finish(noise * 0.01, rng, _QUIETER, spec.sample_rate_hz)
        nothing = np.zeros(n_samples, bool)
        add(pcm, nothing, _one_hot(labels, BACKGROUND), plan.windows_per_clip)
    order = rng.permutation(len(windows))
    return np.stack(windows)[order], np.stack(targets)[order]


_QUIETER = augment.Augmentation(gain_db=(-60.0, -20.0))


def _one_hot(labels: Sequence[str], name: str) -> np.ndarray:
    target = np.zeros(len(labels), np.float32)
    target[labels.index(name)] = 1
    return target


def activity(samples: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Return where a clip is within 25 dB of its loudest 50 ms [shape=(n_samples,), dtype=bool]."""
    frame = sample_rate_hz // 20
    n_frames = len(samples) // frame
    power = np.mean(samples[: n_frames * frame].reshape(n_frames, -1) ** 2, axis=1)
    loud = power > power.max() * 10 ** (-_SILENT_DB / 10)
    out = np.zeros(len(samples), bool)
    out[: n_frames * frame] = np.repeat(loud, frame)
    return out


@dataclass(frozen=True)
class _Draw:
    """Draws one waveform of an epoch, with the times at which its label is heard."""

    clips: Sequence[LabelledClip]
    n_labels: int
    n_samples: int
    sample_rate_hz: int
    options: augment.Augmentation
    rng: np.random.Generator

    def clip(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return (samples, target, activity) of a clip, perhaps mixed with another."""
        first = self.clips[index]
        a = augment.fit(first.samples, self.n_samples, self.rng).astype(np.float64)
        target = np.zeros(self.n_labels, np.float32)
        target[first.label] = 1
        active = activity(a, self.sample_rate_hz)
        if self.rng.random() >= self.options.mix_probability:
            return a, target, active
        second = self.clips[int(self.rng.integers(len(self.clips)))]
        b = augment.fit(second.samples, self.n_samples, self.rng).astype(np.float64)
        share = self.rng.uniform(0.5, 1.0)
        weight = augment.mix_ratio(
            augment.peak_level(a, self.sample_rate_hz),
            augment.peak_level(b, self.sample_rate_hz),
            share,
        )
        mixture = (weight * a + (1 - weight) * b) / np.hypot(weight, 1 - weight)
        target *= np.float32(share)
        target[second.label] += np.float32(1 - share)
        return mixture, target, active

    def alarm(self, cadence: synth.Cadence) -> tuple[np.ndarray, np.ndarray]:
        """Return an alarm, often over a recording, and where a window hears its pulses."""
        rate_hz = self.sample_rate_hz
        signal = synth.alarm(cadence, self.n_samples / rate_hz, self.rng, sample_rate_hz=rate_hz)
        # A window is an alarm only if enough of it sounds: count over the last 150 ms.
        width = round(_ALARM_ACTIVE_S * rate_hz)
        sounding = np.cumsum(np.abs(signal) > 0.1, dtype=np.int64)
        recent = sounding - np.pad(sounding, (width, 0))[: self.n_samples]
        if self.clips and self.rng.random() < 0.5:
            other = self.clips[int(self.rng.integers(len(self.clips)))].samples
            other = augment.fit(other, self.n_samples, self.rng)
            level = augment.peak_level(other, rate_hz)
            signal = signal + other / level * 10 ** (-self.rng.uniform(3, 20) / 20)
        return signal, recent > 0.3 * width
