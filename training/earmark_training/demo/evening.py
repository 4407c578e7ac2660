"""An evening at home: held-out clips and a T3 smoke alarm over a quiet room, at known times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from earmark_datasets import mix, synth
from earmark_datasets.audio import read_pcm_cached

from earmark_training.demo.score import Played
from earmark_training.windows import BACKGROUND, SMOKE_ALARM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from earmark_datasets.manifest import Manifest

EVENING_S = 240.0
_ALARM_S = 30.0
_ALARM_AT_S = 170.0
_FIRST_AT_S = 8.0
_SPACING_S = 15.0
# A sound shorter than this is heard in fewer windows than the detector wants to see.
_SHORTEST_S = 2.0
_SNR_DB = (15.0, 22.0)


@dataclass(frozen=True)
class Evening:
    """A scene and what is expected of it.

    Attributes
    ----------
    pcm : ndarray [shape=(n_samples,), dtype=int16]
    events : list of Played
        What the caregiver should be told.
    not_events : list of Played
        What nobody should be told about.
    """

    pcm: np.ndarray
    events: list[Played]
    not_events: list[Played]


def make_evening(
    test_clips: Manifest, *, event_labels: Sequence[str], seed: int, n_events: int = 5
) -> Evening:
    """Mix the evening.

    Clips are drawn by `seed` among those that sound for at least 2 s, never by how well the network
    does on them.

    Parameters
    ----------
    test_clips : Manifest
        Held-out clips only.
    event_labels : sequence of str
        Labels that the caregiver is told about, besides the smoke alarm.
    seed : int
    n_events : int
        Sounds of each kind: those to be told and those not.
    """
    rng = np.random.default_rng(seed)
    events = _draw(test_clips, event_labels, n_events, rng)
    others = sorted(set(test_clips.labels) - set(event_labels) - {BACKGROUND})
    not_events = _draw(test_clips, others, n_events, rng) if others else []
    placed = []
    at_s = _FIRST_AT_S
    for pair in zip(events, not_events, strict=False):
        for sound in pair:
            if at_s + _SPACING_S > _ALARM_AT_S:
                break
            placed.append((at_s, sound))
            at_s += _SPACING_S
    alarm = synth.alarm(synth.T3, _ALARM_S, rng, voice=synth.Voice(3100.0), exact=True)
    reverberant = mix.reverberate(alarm, mix.room_response(rng))
    placed.append((_ALARM_AT_S, mix.Sound(reverberant, SMOKE_ALARM, "T3, synthesised", 20.0)))
    scene = mix.mix_scene(
        duration_s=EVENING_S,
        background=synth.background(60.0, rng),
        sounds=placed,
        rng=rng,
    )
    told = {*event_labels, SMOKE_ALARM}
    played = [Played(e.label, e.onset_s, e.offset_s) for e in scene.events]
    return Evening(
        scene.pcm,
        [p for p in played if p.label in told],
        [p for p in played if p.label not in told],
    )


def _draw(
    clips: Manifest, labels: Sequence[str], n_sounds: int, rng: np.random.Generator
) -> list[mix.Sound]:
    """Draw clips of the labels in turn."""
    sounds = []
    for number in range(n_sounds):
        label = labels[number % len(labels)]
        candidates = [c for c in clips.clips if c.label == label]
        for index in rng.permutation(len(candidates)):
            samples = read_pcm_cached(candidates[index].path) / 32768
            begin, end = mix.active_span(samples)
            if end - begin >= _SHORTEST_S * synth.SAMPLE_RATE_HZ:
                break
        sounds.append(
            mix.Sound(samples, label, candidates[index].path.name, float(rng.uniform(*_SNR_DB)))
        )
    return sounds
