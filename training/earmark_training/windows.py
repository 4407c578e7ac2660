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
CLIP_S = 5.0
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

    windows_per_clip: int = 4
    n_alarm_clips: int = 16
    n_background_clips: int = 40


@dataclass(frozen=True)
class WindowSet:
    """Labelled windows.

    Attributes
    ----------
    windows : ndarray [shape=(n, context_frames, n_features), dtype=int8]
    targets : ndarray [shape=(n, n_labels), dtype=float32]
        Rows sum to 1; mixtures have two entries.
    aligned : ndarray [shape=(n, context_frames, n_features), dtype=int8] or None
        The same moments through a second front end.
    """

    windows: np.ndarray
    targets: np.ndarray
    aligned: np.ndarray | None = None


def make_epoch(
    clips: Sequence[LabelledClip],
    *,
    labels: Sequence[str],
    spec: FrontEndSpec,
    plan: EpochPlan,
    options: augment.Augmentation,
    rng: np.random.Generator,
    aligned_spec: FrontEndSpec | None = None,
) -> WindowSet:
    """Draw one epoch: every clip once, alarms and backgrounds, augmented.

    Parameters
    ----------
    clips, labels, spec, plan, options, rng
        As their types say.
    aligned_spec : FrontEndSpec or None
        A second front end (a teacher's) that hears the same; its windows end where ours end.

    Returns
    -------
    WindowSet
        Shuffled.
    """
    n_samples = round(CLIP_S * spec.sample_rate_hz)
    background = labels.index(BACKGROUND)
    draw = _Draw(clips, len(labels), background, n_samples, spec.sample_rate_hz, options, rng)
    windows: list[np.ndarray] = []
    aligned: list[np.ndarray] = []
    targets: list[np.ndarray] = []

    def add(pcm: np.ndarray, active: np.ndarray, target: np.ndarray) -> None:
        rows = extract(spec, pcm)
        other = None if aligned_spec is None else extract(aligned_spec, pcm)
        for start in _starts(active, len(rows), spec, plan.windows_per_clip, rng):
            windows.append(rows[start : start + spec.context_frames])
            is_active = active[_span(start, spec)].any()
            targets.append(target if is_active else _one_hot(labels, BACKGROUND))
            if aligned_spec is not None and other is not None:
                aligned.append(_aligned_window(other, start, spec, aligned_spec))

    for index in rng.permutation(len(clips)):
        samples, target, active = draw.clip(int(index))
        add(augment.finish(samples, rng, options, spec.sample_rate_hz), active, target)
    for cadence, name in ((synth.T3, SMOKE_ALARM), (synth.T4, CO_ALARM)):
        for _ in range(plan.n_alarm_clips):
            samples, active = draw.alarm(cadence)
            pcm = augment.finish(samples, rng, options, spec.sample_rate_hz)
            add(pcm, active, _one_hot(labels, name))
    for _ in range(plan.n_background_clips):
        room = synth.background(
            CLIP_S, rng, exponent=augment.ROOM_EXPONENT, sample_rate_hz=spec.sample_rate_hz
        )
        pcm = augment.finish(room * 0.01, rng, _QUIETER, spec.sample_rate_hz)
        add(pcm, np.zeros(n_samples, bool), _one_hot(labels, BACKGROUND))
    order = rng.permutation(len(windows))
    return WindowSet(
        np.stack(windows)[order],
        np.stack(targets)[order],
        np.stack(aligned)[order] if aligned else None,
    )


def _span(start: int, spec: FrontEndSpec) -> slice:
    """Return the samples of the window that starts with row `start`."""
    begin = start * spec.hop_length
    return slice(begin, begin + spec.context_frames * spec.hop_length)


def _starts(
    active: np.ndarray, n_rows: int, spec: FrontEndSpec, n_windows: int, rng: np.random.Generator
) -> list[int]:
    """Draw where windows start; one in which nothing sounds is drawn again, once.

    So background keeps a share, and a clip that is mostly silence still teaches its sound.
    """
    out = []
    for first, second in rng.integers(0, n_rows - spec.context_frames + 1, (n_windows, 2)):
        out.append(int(first if active[_span(int(first), spec)].any() else second))
    return out


def _aligned_window(
    rows: np.ndarray, start: int, spec: FrontEndSpec, aligned_spec: FrontEndSpec
) -> np.ndarray:
    """Return the window of the second front end that ends where ours ends, or nearest to it."""

    def n_samples(one: FrontEndSpec) -> int:
        return (one.context_frames - 1) * one.hop_length + one.window_length

    end = start * spec.hop_length + n_samples(spec)
    begin = round((end - n_samples(aligned_spec)) / aligned_spec.hop_length)
    begin = min(max(0, begin), len(rows) - aligned_spec.context_frames)
    return rows[begin : begin + aligned_spec.context_frames]


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


def alarm_activity(samples: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Return where a synthesised alarm is heard [shape=(n_samples,), dtype=bool].

    A window is an alarm only if enough of it sounds: of the last 150 ms, a third.
    """
    width = round(_ALARM_ACTIVE_S * sample_rate_hz)
    sounding = np.cumsum(np.abs(samples) > 0.1, dtype=np.int64)
    recent = sounding - np.pad(sounding, (width, 0))[: len(samples)]
    active: np.ndarray = recent > 0.3 * width
    return active


def varied(
    samples: np.ndarray, n_samples: int, rng: np.random.Generator, options: augment.Augmentation
) -> np.ndarray:
    """Return `n_samples` of a recording from a random place, perhaps faster or slower."""
    # Cut first: a recording may last hours.
    longest = 2 * n_samples
    if len(samples) > longest:
        start = int(rng.integers(len(samples) - longest + 1))
        samples = samples[start : start + longest]
    return augment.fit(augment.change_speed(samples, rng, options.speed), n_samples, rng)


@dataclass(frozen=True)
class _Draw:
    """Draws one waveform of an epoch, with the times at which its label is heard."""

    clips: Sequence[LabelledClip]
    n_labels: int
    background: int
    n_samples: int
    sample_rate_hz: int
    options: augment.Augmentation
    rng: np.random.Generator

    def clip(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return (samples, target, activity) of a clip, perhaps mixed with another.

        A sound over a background is that sound; a background stays by itself.
        """
        first = self.clips[index]
        a = self._varied(first)
        target = np.zeros(self.n_labels, np.float32)
        target[first.label] = 1
        active = activity(a, self.sample_rate_hz)
        if self.rng.random() >= self.options.mix_probability:
            return a, target, active
        second = self.clips[int(self.rng.integers(len(self.clips)))]
        b = self._varied(second)
        share = self.rng.uniform(0.5, 1.0)
        if first.label == self.background != second.label:
            return a, target, active
        weight = augment.mix_ratio(
            augment.peak_level(a, self.sample_rate_hz),
            augment.peak_level(b, self.sample_rate_hz),
            share,
        )
        mixture = (weight * a + (1 - weight) * b) / np.hypot(weight, 1 - weight)
        if second.label != self.background:
            target *= np.float32(share)
            target[second.label] += np.float32(1 - share)
        return mixture, target, active

    def _varied(self, clip: LabelledClip) -> np.ndarray:
        return varied(clip.samples, self.n_samples, self.rng, self.options)

    def alarm(self, cadence: synth.Cadence) -> tuple[np.ndarray, np.ndarray]:
        """Return an alarm, often over a recording, and where a window hears its pulses."""
        rate_hz = self.sample_rate_hz
        signal = synth.alarm(cadence, self.n_samples / rate_hz, self.rng, sample_rate_hz=rate_hz)
        active = alarm_activity(signal, rate_hz)
        if self.clips and self.rng.random() < 0.5:
            other = self.clips[int(self.rng.integers(len(self.clips)))].samples
            other = augment.fit(other, self.n_samples, self.rng)
            level = augment.peak_level(other, rate_hz)
            signal = signal + other / level * 10 ** (-self.rng.uniform(3, 20) / 20)
        return signal, active
