"""Who may hear which recording: events, backgrounds, training, calibration, evaluation."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from earmark_datasets.audio import write_wav
from earmark_datasets.manifest import Clip, Manifest, save_manifest
from earmark_dsp.errors import EarmarkError
from earmark_training import recordings

sys.path.insert(0, str(Path(__file__).parent))

import trained_kit

RATE_HZ = 16000
TRAINING = Manifest(
    tuple(Clip(Path(f"dog {i}.wav"), "dog", fold=1 + i % 3, group=f"dog {i}") for i in range(30))
)


@pytest.fixture
def home(tmp_path):
    """Minutes of music, seconds of speech, barks; a group each."""
    clips = []
    kinds = (("music", 16, 70.0), ("speech_word", 40, 1.0), ("dog_bark", 8, 1.0))
    for label, n, duration_s in kinds:
        for number in range(n):
            path = tmp_path / f"{label} {number}.wav"
            write_wav(path, np.full(round(duration_s * RATE_HZ), number, np.int16))
            clips.append(Clip(path, label, group=f"{label} {number}"))
    save_manifest(Manifest(tuple(clips)), tmp_path / "manifest.csv")
    return tmp_path / "manifest.csv"


def test_no_recording_teaches_and_judges(home):
    """Training, calibration and evaluation share no background; events are in the last two."""
    found = recordings.manifests([home])
    many = Manifest(TRAINING.clips * 40)
    taught = recordings.open_background(home, many, leave_out=()).clips.clips
    parts = [{clip.group for clip in taught}]
    for half in (0, 1):
        material = recordings.sort_material(found, ["dog"], half=half)
        assert {clip.label for clip in material.beds} == {"music"}
        assert {clip.label for clip in material.others} == {"speech_word"}
        assert {clip.label for clip in material.events["dog"]} == {"dog_bark"}
        parts.append({clip.group for clip in material.beds + material.others})
    assert all(parts)
    assert sum(map(len, parts)) == len(set.union(*parts)) == 16 + 40
    assert len(parts[2]) > len(parts[0])


def test_pieces_of_the_background(home):
    taught = recordings.open_background(home, TRAINING, leave_out={2})
    clips = taught.clips.clips
    assert taught.name == str(home)
    assert {clip.label for clip in clips} == {"background"}
    assert {clip.fold for clip in clips} == {1, 3}
    everything = recordings.open_background(home, TRAINING, leave_out=()).clips.clips
    assert len(everything) == len(TRAINING.clips), "not more than there are events"
    assert clips == tuple(clip for clip in everything if clip.fold != 2)
    assert all(len({c.fold for c in clips if c.group == g}) == 1 for g in {c.group for c in clips})
    assert not any("dog" in clip.group for clip in clips)
    many = Manifest(TRAINING.clips * 40)
    clips = recordings.open_background(home, many, leave_out=()).clips.clips
    long = [clip for clip in clips if clip.onset_s is not None]
    assert all(clip.offset_s - clip.onset_s == 5.0 for clip in long)
    assert max(Counter(clip.group for clip in long).values()) == 12
    n_of_label = Counter(clip.group.split()[0] for clip in clips)
    assert n_of_label["music"] == 12 * len({clip.group for clip in long}) <= 60
    assert 0 < n_of_label["speech_word"] < 40


def test_no_kind_of_sound_crowds_out_the_others(tmp_path):
    path = trained_kit.backgrounds(tmp_path / "songs", n=400)
    clips = recordings.open_background(path, Manifest(TRAINING.clips * 40), leave_out=())
    assert len(clips.clips.clips) == 60


def test_events_without_folds_get_backgrounds_without_folds(home):
    clips = Manifest(tuple(Clip(Path("a"), "dog") for _ in range(3)))
    assert {c.fold for c in recordings.open_background(home, clips, leave_out=()).clips.clips} == {
        None
    }


def test_nothing_to_ignore_is_explained(tmp_path):
    path = trained_kit.backgrounds(tmp_path / "songs", n=1)
    clips = Manifest((Clip(Path("a"), "music"),))
    with pytest.raises(EarmarkError, match="none of the 1 recordings"):
        recordings.open_background(path, clips, leave_out=())
