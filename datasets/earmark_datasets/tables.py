"""Reading the CSV tables and folders that collections come with."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from earmark_dsp.errors import EarmarkError

if TYPE_CHECKING:
    from pathlib import Path

AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif"})


def read_table(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Return the rows of a CSV file that must have `columns`; `EarmarkError` if it does not."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            rows = list(reader)
            found = reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise EarmarkError(f"cannot read {path}: {exc}", "download the data set again") from exc
    if missing := [name for name in columns if name not in found]:
        raise EarmarkError(
            f"{path} has no column {', '.join(missing)}", "is this the collection's own table?"
        )
    return rows


def audio_files(folder: Path) -> list[Path]:
    """Return the audio files below a folder, sorted; hidden files are left out."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in AUDIO_SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
