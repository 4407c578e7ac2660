"""One's own recordings: a folder per label, Audacity label tracks, an Edge Impulse export."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from earmark_dsp.errors import EarmarkError

from earmark_datasets.manifest import Clip
from earmark_datasets.tables import AUDIO_SUFFIXES, audio_files

if TYPE_CHECKING:
    from pathlib import Path


def folders(root: Path) -> list[Clip]:
    """Read a folder of folders: the first folder below the root is the label."""
    return [
        Clip(
            path=path,
            label=path.relative_to(root).parts[0],
            group=f"{root.name}:{path.relative_to(root).with_suffix('').as_posix()}",
            source=root.name,
        )
        for path in audio_files(root)
        if path.parent != root
    ]


def _audio_beside(track: Path) -> Path | None:
    for path in sorted(track.parent.iterdir()):
        if path.stem == track.stem and path.suffix.lower() in AUDIO_SUFFIXES:
            return path
    return None


def has_label_tracks(root: Path) -> bool:
    """Return whether an audio file below `root` has a label track beside it."""
    return any(_audio_beside(track) for track in root.rglob("*.txt"))


def audacity(root: Path) -> list[Clip]:
    """Read Audacity label tracks: ``NAME.txt`` (onset, offset, label by tabs) beside the audio.

    A point label (offset equal to onset) is refused: an event has a duration.
    """
    clips = []
    for track in sorted(root.rglob("*.txt")):
        audio = _audio_beside(track)
        if audio is None:
            continue
        try:
            lines = track.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as exc:
            raise EarmarkError(f"cannot read the label track {track}: {exc}") from exc
        for number, line in enumerate(lines, start=1):
            # A line that starts with a backslash holds the frequency range of the one before.
            if not line.strip() or line.startswith("\\"):
                continue
            onset_s, offset_s, label = _audacity_line(line, f"{track}, line {number}")
            clips.append(
                Clip(
                    path=audio,
                    label=label,
                    group=f"{root.name}:{audio.relative_to(root).with_suffix('').as_posix()}",
                    source=root.name,
                    onset_s=onset_s,
                    offset_s=offset_s,
                )
            )
    return clips


def _audacity_line(line: str, where: str) -> tuple[float, float, str]:
    try:
        onset, offset, label = line.split("\t", 2)
        # Some locales export a decimal comma.
        onset_s, offset_s = float(onset.replace(",", ".")), float(offset.replace(",", "."))
    except ValueError as exc:
        raise EarmarkError(
            f"{where}: {line!r} is not onset, offset and label separated by tabs",
            "export the label track from Audacity again",
        ) from exc
    if not 0 <= onset_s < offset_s:
        raise EarmarkError(
            f"{where}: the label {label!r} spans {onset_s} to {offset_s} s",
            "drag the label over the sound: a point has no duration",
        )
    return onset_s, offset_s, label.strip()


def edge_impulse(root: Path) -> list[Clip]:
    """Read an Edge Impulse export: audio in ``training/`` and ``testing/``, ``info.labels``.

    The studio's JSON and CBOR samples are not audio files: export as WAV.
    """
    table = root / "info.labels"
    try:
        entries = json.loads(table.read_text(encoding="utf-8"))["files"]
        return [clip for entry in entries for clip in _edge_impulse_entry(root, entry)]
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise EarmarkError(
            f"{table} is not the label file of an Edge Impulse export: {exc!r}",
            "export the project's data again",
        ) from exc


def _edge_impulse_entry(root: Path, entry: dict[str, Any]) -> list[Clip]:
    path = root / entry["path"]
    if path.suffix.lower() not in AUDIO_SUFFIXES:
        raise EarmarkError(f"{path} is not an audio file", "export the samples as WAV")
    common = {
        "path": path,
        "fold": 2 if entry.get("category") == "testing" else 1,
        "group": f"{root.name}:{entry.get('name', path.stem)}",
        "source": root.name,
    }
    label = entry["label"]
    if label["type"] == "label":
        return [Clip(label=label["label"], **common)]
    if label["type"] == "multi-label":
        import soundfile

        rate_hz = soundfile.info(path).samplerate  # the studio counts spans in samples
        return [
            Clip(
                label=span["label"],
                onset_s=span["startIndex"] / rate_hz,
                offset_s=(span["endIndex"] + 1) / rate_hz,
                **common,
            )
            for span in label["labels"]
        ]
    return []  # unlabelled
