"""Streams with known content: an hour at home, mixed from recordings, and alarms from standards."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from earmark_datasets import synth
from earmark_datasets.audio import read_clip, to_int16
from earmark_datasets.mix import Sound, mix_scene, room_response

from earmark_training.recordings import BEEPS
from earmark_training.stream import SoundEvent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from earmark_datasets.manifest import Clip

    from earmark_training.recordings import Material

RATE_HZ = 16_000
BED_MIN_S = 4.0
CADENCES = {"smoke_alarm": synth.T3, "co_alarm": synth.T4}


@dataclass(frozen=True)
class Stream:
    """PCM with its known content.

    Attributes
    ----------
    name : str
    pcm : ndarray [shape=(n_samples,), dtype=int16]
    played : list of SoundEvent
        Sounds of event types.
    heard : list of (float, str)
        Everything else that was placed, for finding the cause of a false alarm: onset, source.
    beds : list of (float, str)
        The backgrounds, one after the other: onset, source.
    """

    name: str
    pcm: np.ndarray
    played: list[SoundEvent]
    heard: list[tuple[float, str]]
    beds: list[tuple[float, str]] = field(default_factory=list)


def samples_of(clip: Clip) -> np.ndarray:
    """Return a clip's samples [shape=(n,), dtype=float64, range -1 to 1]."""
    return read_clip(clip, sample_rate_hz=RATE_HZ).astype(np.float64) / 32768


def _bed(
    beds: Sequence[Clip], duration_s: float, rng: np.random.Generator
) -> tuple[np.ndarray, list[tuple[float, str]]]:
    """Concatenate backgrounds at equal level; also return where each begins."""
    parts: list[np.ndarray] = []
    sources: list[tuple[float, str]] = []
    length, needed = 0, round(duration_s * RATE_HZ)
    while length < needed:
        clip = beds[int(rng.integers(len(beds)))]
        part = samples_of(clip)
        if len(part) < BED_MIN_S * RATE_HZ:
            continue
        part = part[: round(60 * RATE_HZ)] / max(1e-6, float(np.sqrt(np.mean(part**2))))
        parts.append(part)
        sources.append((length / RATE_HZ, f"{clip.label}/{clip.path.stem}"))
        length += len(part)
    return np.concatenate(parts)[:needed], sources


def home_streams(
    material: Material,
    *,
    n_streams: int,
    duration_s: float,
    n_events: int,
    seed: int,
    snr_db: tuple[float, float] = (0.0, 20.0),
    others_per_minute: float = 6.0,
) -> Iterator[Stream]:
    """Yield streams of backgrounds, other sounds and events.

    Parameters
    ----------
    material : Material
    n_streams : int
    duration_s : float
        Of each stream.
    n_events : int
        Over all streams, dealt evenly to the labels that have recordings.
    seed : int
    snr_db : (float, float)
        Range of the active level of events over the background.
    others_per_minute : float
        Short sounds that are no event, 0 to 25 dB over the background.
    """
    labels = sorted(material.events)
    deck = [labels[i % len(labels)] for i in range(n_events)] if labels else []
    np.random.default_rng(seed).shuffle(deck)
    for index in range(n_streams):
        rng = np.random.default_rng((seed, index))
        sounds = [
            _drawn(material.events[label], label, rng.uniform(*snr_db), rng)
            for label in deck[index::n_streams]
        ]
        if material.others:
            sounds += [
                _drawn(material.others, "", rng.uniform(0, 25), rng)
                for _ in range(round(others_per_minute * duration_s / 60))
            ]
        bed, sources = _bed(material.beds, duration_s, rng)
        stream = _place(f"home-{index:02d}", sounds, bed, rng)
        yield replace(stream, beds=sources)


def _drawn(
    clips: Sequence[Clip], label: str, snr_db: float, rng: np.random.Generator
) -> tuple[Sound, bool]:
    clip = clips[int(rng.integers(len(clips)))]
    samples = samples_of(clip)[: 20 * RATE_HZ]
    source = f"{clip.label}/{clip.path.stem}"
    return Sound(samples, label or clip.label, source, snr_db), bool(label)


def _place(
    name: str, sounds: list[tuple[Sound, bool]], bed: np.ndarray, rng: np.random.Generator
) -> Stream:
    """Spread sounds over the bed: events keep their distance, other sounds fall anywhere."""
    duration_s = len(bed) / RATE_HZ
    room = room_response(rng)
    events = [sound for sound, is_event in sounds if is_event]
    slot_s = (duration_s - 6) / max(1, len(events))
    placed: list[tuple[float, Sound]] = []
    for i, sound in enumerate(events):
        length_s = len(sound.samples) / RATE_HZ
        onset_s = 4 + i * slot_s + rng.uniform(0, max(0.1, slot_s - length_s - 8))
        if onset_s + length_s < duration_s:
            placed.append((onset_s, sound))
    event_labels = {sound.label for sound in events}
    for sound, is_event in sounds:
        length_s = len(sound.samples) / RATE_HZ
        if not is_event and length_s + 1 < duration_s:
            placed.append((rng.uniform(0, duration_s - length_s - 1), sound))
    scene = mix_scene(
        duration_s=duration_s,
        background=bed,
        sounds=placed,
        background_dbfs=rng.uniform(-55, -35),
        rng=rng,
        room=room,
    )
    return Stream(
        name,
        scene.pcm,
        [
            SoundEvent(event.label, event.onset_s, event.offset_s)
            for event in scene.events
            if event.label in event_labels
        ],
        [
            (event.onset_s, event.source)
            for event in scene.events
            if event.label not in event_labels
        ],
    )


def alarm_streams(
    material: Material, *, label: str, n_streams: int, seed: int, snr_db: float = 0.0
) -> Iterator[Stream]:
    """Yield one synthetic alarm per stream, over recorded backgrounds, in a simulated room.

    Pulse, gap and pause are drawn independently within 10 % of the standard's values; the alarm
    begins with its first pulse and sounds for four cycles.

    Parameters
    ----------
    material : Material
        Only its backgrounds are used.
    label : {"smoke_alarm", "co_alarm"}
    n_streams, seed : int
    snr_db : float
        Level while the alarm sounds, over the background's level.
    """
    nominal = CADENCES[label]
    for index in range(n_streams):
        rng = np.random.default_rng((seed, index, nominal.n_pulses))
        cadence = synth.Cadence(
            nominal.n_pulses,
            *(
                time_s * rng.uniform(0.9, 1.1)
                for time_s in (nominal.pulse_s, nominal.gap_s, nominal.pause_s)
            ),
        )
        duration_s = 4 * cadence.cycle_s
        samples = synth.alarm(cadence, duration_s, rng, exact=True)
        # The mixer trims the last pause; what is left ends with the last pulse.
        onset_s = rng.uniform(6, 8)
        bed, _ = _bed(material.beds, onset_s + duration_s + 6, rng)
        scene = mix_scene(
            duration_s=len(bed) / RATE_HZ,
            background=bed,
            sounds=[(onset_s, Sound(samples, label, f"{label}-{index}", snr_db))],
            background_dbfs=rng.uniform(-50, -25),
            rng=rng,
            room=room_response(rng),
        )
        played = SoundEvent(label, onset_s, onset_s + duration_s)
        yield Stream(f"{label}-{index:03d}", scene.pcm, [played], [(0.0, str(cadence.cycle_s))])


def beep_streams(clips: Sequence[Clip], *, duration_s: float = 30.0, seed: int) -> Iterator[Stream]:
    """Yield each recorded beep or ringtone repeated over quiet room noise, as devices repeat it."""
    for index, clip in enumerate(clip for clip in clips if clip.label in BEEPS):
        rng = np.random.default_rng((seed, index))
        samples = samples_of(clip)
        rest = np.zeros(round(rng.uniform(0, 1.5) * RATE_HZ))
        once = np.concatenate([samples, rest])
        repeated = np.resize(once, round(duration_s * RATE_HZ))
        pcm = to_int16(repeated + rng.standard_normal(len(repeated)) * 1e-4)
        yield Stream(f"{clip.label}/{clip.path.stem}", pcm, [], [])


def recorded_alarm_streams(clips: Sequence[Clip], label: str, *, seed: int) -> Iterator[Stream]:
    """Yield each recorded alarm with quiet room noise around it, at its own level."""
    for index, clip in enumerate(clips):
        rng = np.random.default_rng((seed, index))
        samples = samples_of(clip)
        quiet = rng.standard_normal(5 * RATE_HZ) * 1e-4
        pcm = to_int16(np.concatenate([quiet, samples, quiet]))
        played = SoundEvent(label, 5.0, 5.0 + len(samples) / RATE_HZ)
        yield Stream(clip.path.stem, pcm, [played], [])
