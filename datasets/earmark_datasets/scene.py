"""A random stream from the clips of a manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from earmark_dsp.errors import EarmarkError

from earmark_datasets import synth
from earmark_datasets.audio import SAMPLE_RATE_HZ, read_clip
from earmark_datasets.mix import (
    Scene,
    Sound,
    active_span,
    microphone_response,
    mix_scene,
    room_response,
)

if TYPE_CHECKING:
    from earmark_datasets.manifest import Manifest

_LEAD_S = 1.0  # of background before each event


def random_scene(
    manifest: Manifest,
    *,
    n_events: int,
    duration_s: float,
    snr_db: tuple[float, float],
    background_label: str | None,
    rng: np.random.Generator,
) -> Scene:
    """Place random clips without overlap, at random SNRs, in one random room and microphone.

    Parameters
    ----------
    manifest : Manifest
    n_events : int
    duration_s : float
    snr_db : (float, float)
        Lowest and highest.
    background_label : str or None
        Its clips are the background and no events; None synthesises a quiet room.
    rng : numpy.random.Generator

    Raises
    ------
    EarmarkError
        If a label is missing or the events do not fit.
    """
    beds = [clip for clip in manifest.clips if clip.label == background_label]
    if background_label is not None and not beds:
        raise EarmarkError(
            f"no clip is labelled {background_label}", f"labels: {', '.join(manifest.labels)}"
        )
    events = [clip for clip in manifest.clips if clip.label != background_label]
    if n_events and not events:
        raise EarmarkError("no clip is left for events", "choose another --background")
    if beds:
        bed = read_clip(beds[int(rng.integers(len(beds)))]) / 32768
    else:
        bed = synth.background(duration_s, rng)
    sounds = []
    for index in rng.choice(len(events), n_events, replace=n_events > len(events)):
        clip = events[int(index)]
        samples = read_clip(clip) / 32768
        begin, end = active_span(samples)
        sounds.append(
            Sound(samples[begin:end], clip.label, clip.path.name, float(rng.uniform(*snr_db)))
        )
    needed_s = sum(_LEAD_S + len(sound.samples) / SAMPLE_RATE_HZ for sound in sounds)
    # The slack is spread over the gaps at random, so that every arrangement is as likely.
    slack_s = duration_s - needed_s - _LEAD_S
    if slack_s < 0:
        raise EarmarkError(
            f"{n_events} events need {needed_s + _LEAD_S:.0f} s, the stream has {duration_s:.0f} s",
            "ask for a longer stream or fewer events",
        )
    gaps_s = np.diff(np.sort(rng.uniform(0, slack_s, n_events)), prepend=0.0)
    placed, at_s = [], 0.0
    for gap_s, sound in zip(gaps_s, sounds, strict=True):
        at_s += float(gap_s) + _LEAD_S
        placed.append((at_s, sound))
        at_s += len(sound.samples) / SAMPLE_RATE_HZ
    return mix_scene(
        duration_s=duration_s,
        background=bed,
        sounds=placed,
        rng=rng,
        room=room_response(rng),
        microphone=microphone_response(rng),
    )
