"""The demonstration's recordings: found, downloaded, or, without a network, synthesised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from earmark_datasets import synth
from earmark_datasets.audio import to_int16, write_wav
from earmark_datasets.download import fetch_esc10
from earmark_datasets.esc import load_esc10
from earmark_datasets.locate import find_dataset
from earmark_datasets.manifest import Clip, Manifest, load_manifest, save_manifest
from earmark_dsp.errors import EarmarkError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Long enough for the detector, which wants a sound in two windows.
SYNTHESISED_EVENTS = ("doorbell", "phone_ring")
_N_FOLDS = 5
_CLIPS_PER_FOLD = 8
_CLIP_S = 5.0


@dataclass(frozen=True)
class DemoData:
    """What the demonstration trains on.

    Attributes
    ----------
    manifest : Manifest
    name : str
        For the report.
    real_recordings : bool
        False: synthesised, which the report says plainly.
    event_labels : tuple of str
        Labels that a caregiver is told about, besides the alarms.
    """

    manifest: Manifest
    name: str
    real_recordings: bool
    event_labels: tuple[str, ...]


def get_data(
    work_dir: Path,
    *,
    say: Callable[[str], None],
    progress: Callable[[int, int], None],
) -> DemoData:
    """Find, download or synthesise the data.

    Parameters
    ----------
    work_dir : Path
        Where synthesised sounds go.
    say : callable
        Told in one line what is used.
    progress : callable
        Told bytes so far and total bytes of a download.
    """
    root = find_dataset("ESC-10")
    if root is None:
        say("ESC-10 is not on this machine; downloading the public ESC-50 archive (600 MB)")
        try:
            root = fetch_esc10(progress)
        except EarmarkError as exc:
            say(f"{exc.what}")
            say("no recordings: SYNTHESISED sounds are used instead, which are not recordings")
            return DemoData(
                _synthesise(work_dir / "synthetic"),
                "synthesised sounds (not recordings)",
                real_recordings=False,
                event_labels=SYNTHESISED_EVENTS,
            )
    manifest = load_esc10(root)
    say(f"ESC-10: {len(manifest.clips)} recordings, {len(manifest.labels)} classes")
    return DemoData(
        manifest, "ESC-10", real_recordings=True, event_labels=("crying_baby", "dog", "sneezing")
    )


def _synthesise(folder: Path) -> Manifest:
    """Write (once) bells, hums and noises as WAV with a manifest; returns the manifest."""
    path = folder / "manifest.csv"
    if path.is_file():
        # Written last and atomically: if it is there, so are the sounds.
        return load_manifest(path)
    folder.mkdir(parents=True, exist_ok=True)
    clips = []
    for label in (*SYNTHESISED_EVENTS, "noise", "hum"):
        for number in range(_N_FOLDS * _CLIPS_PER_FOLD):
            rng = np.random.default_rng((number, len(label)))
            wav = folder / f"{label}-{number:02d}.wav"
            write_wav(wav, to_int16(_sound(label, rng)))
            clips.append(
                Clip(
                    path=wav,
                    label=label,
                    fold=1 + number % _N_FOLDS,
                    group=f"{label}-{number}",
                    source="synthesised",
                    licence="CC0",
                )
            )
    manifest = Manifest(tuple(clips))
    save_manifest(manifest, path)
    return manifest


def _sound(label: str, rng: np.random.Generator) -> np.ndarray:
    n_samples = round(_CLIP_S * synth.SAMPLE_RATE_HZ)
    if label in SYNTHESISED_EVENTS:
        return 0.3 * _bell(label, n_samples, rng)
    if label == "hum":
        voice = synth.Voice(rng.uniform(80, 400), "square")
        return 0.1 * synth.tone(voice, n_samples)
    return 0.05 * synth.coloured_noise(n_samples, rng.uniform(0, 2), rng)


def _bell(label: str, n_samples: int, rng: np.random.Generator) -> np.ndarray:
    """Return a doorbell, two notes that fade by turns, or a telephone's warble, on and off."""
    time_s = np.arange(n_samples) / synth.SAMPLE_RATE_HZ
    voice = synth.Voice(rng.uniform(500, 800) if label == "doorbell" else rng.uniform(1000, 1600))
    lower = synth.Voice(voice.frequency_hz * rng.uniform(0.75, 0.85), voice.waveform)
    every_s = rng.uniform(0.7, 1.0) if label == "doorbell" else rng.uniform(0.04, 0.06)
    is_lower = (time_s / every_s).astype(int) % 2 == 1
    notes = np.where(is_lower, synth.tone(lower, n_samples), synth.tone(voice, n_samples))
    if label == "doorbell":
        return np.asarray(notes * np.exp(-4 * (time_s % every_s)))
    return np.asarray(notes * (time_s % 1.5 < 1.0))
