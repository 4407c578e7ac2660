"""Which recordings serve for what: events, backgrounds, training, calibration, evaluation.

Half of the recordings judge (`earmark_training.bench.streams`) and nothing else. Of the other
half, sounds that are no event are divided again: a quarter of all teaches networks what to ignore
(`earmark train --background`), a quarter sets thresholds (`earmark calibrate`).
"""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from earmark_datasets.audio import SAMPLE_RATE_HZ, read_clip
from earmark_datasets.esc import load_esc10
from earmark_datasets.locate import find_dataset
from earmark_datasets.manifest import Manifest, load_manifest
from earmark_datasets.sources import open_data
from earmark_dsp.errors import EarmarkError

from earmark_training.windows import BACKGROUND, CLIP_S, CO_ALARM, SMOKE_ALARM

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from earmark_datasets.manifest import Clip

# Labels of data sets under which the sound of a caregiver label is found, if not only its own.
SYNONYMS: dict[str, frozenset[str]] = {
    "dog": frozenset({"dog", "dog_bark"}),
    "dog_bark": frozenset({"dog", "dog_bark"}),
    "crackling_fire": frozenset({"crackling_fire", "fire_crackling"}),
    "water_running": frozenset({"water_running", "water_tap", "stream", "waterfall"}),
}
# Labels under which it may be heard besides: neither events nor backgrounds.
DOUBTFUL: dict[str, frozenset[str]] = {
    "rain": frozenset({"thunder"}),
    "helicopter": frozenset({"aircraft"}),
}
# Long recordings that can lie under everything else.
BEDS = frozenset(
    {
        "background", "home_background", "rain", "wind", "birds", "crickets", "city_traffic",
        "cafe_babble", "music", "water_running", "stream", "leaves", "farm", "dishes",
        "keyboard_typing", "exercise_bike", "noise_synthetic", "sea_waves", "waterfall",
    }
)  # fmt: skip
# Tones that are no smoke or CO alarm, however often they repeat.
BEEPS = frozenset(
    {
        "ui_beep", "ui_alarm", "phone_ring", "doorbell", "bell_horn", "car_horn", "train_whistle",
        "whistle", "toy_squeak", "church_bells", "siren", "clock_tick",
    }
)  # fmt: skip
ALARMS = (SMOKE_ALARM, CO_ALARM)
_PIECES_PER_RECORDING = 12
_PIECES_PER_LABEL = 60


def dataset_labels(label: str) -> frozenset[str]:
    """Return the data-set labels that mean this event type."""
    return SYNONYMS.get(label, frozenset({label}))


def _not_background(labels: Iterable[str]) -> frozenset[str]:
    """Return the data-set labels whose recordings hold or may hold one of these event types."""
    return frozenset().union(
        *(dataset_labels(label) | DOUBTFUL.get(label, frozenset()) for label in labels)
    )


@dataclass(frozen=True)
class Material:
    """Recordings sorted by their use: event types, backgrounds, other short sounds."""

    events: Mapping[str, tuple[Clip, ...]]
    beds: tuple[Clip, ...]
    others: tuple[Clip, ...]


def _key(clip: Clip) -> bytes:
    """Return what names the recording."""
    return (clip.group or clip.path.name).encode()


def _number(clip: Clip) -> int:
    """Return a number drawn by recording, independent of its half."""
    return int.from_bytes(hashlib.sha256(_key(clip)).digest()[:4], "big")


def in_half(clip: Clip, half: int | None) -> bool:
    """Whether a clip belongs to one of two halves, drawn by recording; None: both halves."""
    return half is None or zlib.crc32(_key(clip)) % 2 == half


def in_training_quarter(clip: Clip) -> bool:
    """Whether a sound that is no event may be trained on: half of `in_half(clip, 0)`."""
    return in_half(clip, 0) and _number(clip) % 2 == 0


def sort_material(
    manifests: Sequence[Manifest],
    labels: Sequence[str],
    *,
    fold: int | None = None,
    half: int | None = None,
) -> Material:
    """Sort clips into events of `labels`, backgrounds, and other sounds.

    Parameters
    ----------
    manifests : sequence of Manifest
    labels : sequence of str
        The event types that are reported.
    fold : int or None
        Take events from this fold only, the one that training did not see; None: all.
    half : int or None
        0: recordings for calibration, 1: for evaluation, None: all.
    """
    clips = [clip for manifest in manifests for clip in manifest.clips if in_half(clip, half)]
    events = {
        label: tuple(
            clip
            for clip in clips
            if clip.label in dataset_labels(label) and (fold is None or clip.fold == fold)
        )
        for label in labels
    }
    taken = _not_background(labels)
    rest = [clip for clip in clips if clip.label not in taken and not in_training_quarter(clip)]
    beds = tuple(clip for clip in rest if clip.label in BEDS)
    if not beds:
        raise EarmarkError(
            "no background recordings for the streams",
            "put `home-sounds` into EARMARK_DATA, or label recordings of a home `background`",
        )
    return Material(
        {label: found for label, found in events.items() if found},
        beds,
        tuple(clip for clip in rest if clip.label not in BEDS),
    )


def manifests(named: Sequence[Path] = ()) -> list[Manifest]:
    """Return the data sets of these names, or what is at hand of home-sounds and ESC-10.

    Raises
    ------
    EarmarkError
        If nothing is found.
    """
    if named:
        return [open_data(path) for path in named]
    found = []
    if (home := find_dataset("home-sounds")) is not None:
        found.append(load_manifest(home / "manifest.csv"))
    if (esc := find_dataset("ESC-10")) is not None:
        found.append(load_esc10(esc))
    if not found:
        raise EarmarkError(
            "neither home-sounds nor ESC-10 is here", "set EARMARK_DATA to a folder that holds them"
        )
    return found


@dataclass(frozen=True)
class Background:
    """What a network learns to ignore.

    Attributes
    ----------
    name : str
        As the user named the data set.
    clips : Manifest
        Labelled ``background``.
    """

    name: str
    clips: Manifest

    def added_to(self, events: Manifest) -> Manifest:
        """Return clips of events, with these behind them."""
        return Manifest(events.clips + self.clips.clips)


def open_background(
    path: Path, events: Manifest, *, leave_out: Collection[int | None]
) -> Background:
    """Read recordings of other sounds and cut them into clips labelled ``background``.

    Long recordings give pieces of five seconds, at most twelve each; no label of the data set
    gives more than sixty pieces, all together not more than there are clips of events. Only
    `in_training_quarter`, and nothing that means a label of `events` or an alarm.

    Parameters
    ----------
    path : Path
        As `open_data` takes it.
    events : Manifest
        All folds. Sounds are mixed within a fold: recordings are dealt to the folds, whichever of
        them is left out, so that trainings can share what they draw of a fold.
    leave_out : collection of int
        The folds that are not trained on; what was dealt to them is not used.

    Raises
    ------
    EarmarkError
        If nothing is left.
    """
    manifest = open_data(path)
    folds = sorted({clip.fold or 0 for clip in events.clips})
    taken = _not_background({*events.labels, *ALARMS})
    pieces: list[Clip] = []
    n_of_label: Counter[str] = Counter()
    for clip in manifest.clips:
        n_wanted = _PIECES_PER_LABEL - n_of_label[clip.label]
        if not n_wanted or clip.label in taken or not in_training_quarter(clip):
            continue
        fold = folds[_number(clip) // 2 % len(folds)] or None
        for piece in _pieces(clip)[:n_wanted]:
            n_of_label[clip.label] += 1
            pieces.append(replace(piece, label=BACKGROUND, fold=fold))
    n = min(len(events.clips), len(pieces))
    kept = [pieces[index * len(pieces) // n] for index in range(n)]
    used = tuple(piece for piece in kept if piece.fold not in leave_out)
    if not used:
        raise EarmarkError(
            f"none of the {len(manifest.clips)} recordings of {path} can be trained on",
            "a quarter is used, drawn by recording, and nothing that is one of the event types: "
            "give it more recordings",
        )
    return Background(str(path), Manifest(used))


def _pieces(clip: Clip) -> list[Clip]:
    begin = clip.onset_s or 0.0
    end = begin + len(read_clip(clip)) / SAMPLE_RATE_HZ
    n = min(_PIECES_PER_RECORDING, round((end - begin) / CLIP_S))
    if n <= 1:
        return [clip]
    onsets_s = [begin + index * CLIP_S for index in range(n)]
    return [replace(clip, onset_s=at, offset_s=min(end, at + CLIP_S)) for at in onsets_s]
