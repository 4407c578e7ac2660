"""ESC-50 and its ten-class part ESC-10 (Piczak 2015), in the layout of the public archive."""

from __future__ import annotations

import csv
import hashlib
from typing import TYPE_CHECKING

from earmark_dsp.errors import EarmarkError

from earmark_datasets.manifest import Clip, Manifest

if TYPE_CHECKING:
    from pathlib import Path

# sha256 over the sorted lines "name,fold,category" of the 400 rows: the official folds, unchanged.
ROWS_SHA256 = "8c6edfdd6c140bff8e22f421620d0410bba2d1f0c52550fa1d5efb041d52ca80"
_SUFFIXES = (".wav", ".ogg", ".flac")


def load_esc10(root: Path) -> Manifest:
    """Read ESC-10 from a folder in the layout of the public ESC-50 archive.

    Parameters
    ----------
    root : Path
        Holds ``audio/`` (WAV as published, or Ogg) and ``meta/esc50.csv``; per-clip licences are
        read from ``meta/licenses.csv`` where that exists.

    Returns
    -------
    Manifest
        400 clips of 5 s; `group` is the source recording, so that no recording is split.

    Raises
    ------
    EarmarkError
        If the table is unreadable, is not ESC-10 with its official folds, or files are missing.
    """
    table = root / "meta" / "esc50.csv"
    rows = [row for row in _read_table(table) if row.get("esc10") == "True"]
    try:
        lines = sorted(f"{_stem(r['filename'])},{r['fold']},{r['category']}" for r in rows)
    except KeyError as exc:
        raise EarmarkError(f"{table} has no column {exc}", "download the archive again") from exc
    if hashlib.sha256("\n".join(lines).encode()).hexdigest() != ROWS_SHA256:
        raise EarmarkError(
            f"{table} does not hold ESC-10 with its official folds ({len(rows)} rows)",
            "download the archive again; for data of your own use `earmark data import`",
        )
    return _manifest(root, rows, "ESC-10", "CC BY (ESC-10 as a whole)")


def load_esc50(root: Path) -> Manifest:
    """Read all of ESC-50: like `load_esc10`, for the 2000 clips of the public archive."""
    table = root / "meta" / "esc50.csv"
    rows = _read_table(table)
    try:
        return _manifest(root, rows, "ESC-50", "CC BY-NC (ESC-50 as a whole)")
    except (KeyError, ValueError) as exc:
        raise EarmarkError(f"{table} is not the table of ESC-50: {exc!r}") from exc


def _manifest(root: Path, rows: list[dict[str, str]], source: str, licence: str) -> Manifest:
    licences = {
        _stem(row["filename"]): row for row in _read_table(root / "meta/licenses.csv", needed=False)
    }
    clips = []
    for row in rows:
        known = licences.get(_stem(row["filename"]), {})
        clips.append(
            Clip(
                path=_audio_path(root, row["filename"]),
                label=row["category"],
                fold=int(row["fold"]),
                group=f"freesound:{row['src_file']}",
                source=source,
                licence=known.get("license", licence),
                attribution=known.get("author", "K. J. Piczak, ESC: Dataset for ESC, 2015"),
            )
        )
    manifest = Manifest(tuple(clips))
    manifest.check_files()
    return manifest


def _stem(file_name: str) -> str:
    return file_name.rsplit(".", 1)[0]


def _audio_path(root: Path, file_name: str) -> Path:
    for suffix in _SUFFIXES:
        path = root / "audio" / (_stem(file_name) + suffix)
        if path.is_file():
            return path
    return root / "audio" / file_name


def _read_table(path: Path, *, needed: bool = True) -> list[dict[str, str]]:
    if not needed and not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            return list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise EarmarkError(f"cannot read {path}: {exc}", "download the data set again") from exc
