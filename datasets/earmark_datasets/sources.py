"""Opens what a user names: a manifest, a folder with one, or a data set in its own layout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from earmark_dsp.errors import EarmarkError

from earmark_datasets.esc import load_esc10
from earmark_datasets.locate import find_dataset
from earmark_datasets.manifest import Manifest, load_manifest

if TYPE_CHECKING:
    from pathlib import Path

_NAMES = ("ESC-10", "home-sounds")


def open_data(path: Path) -> Manifest:
    """Read a data set.

    Parameters
    ----------
    path : Path
        A manifest file, a folder that holds ``manifest.csv``, a folder in the layout of the
        ESC-50 archive, or one of the names ``ESC-10`` and ``home-sounds`` for wherever that is on
        this machine.

    Raises
    ------
    EarmarkError
        If it is none of these.
    """
    if not path.exists() and str(path) in _NAMES:
        path = find_dataset(str(path)) or path
    if (path / "meta" / "esc50.csv").is_file():
        return load_esc10(path)
    manifest = path / "manifest.csv" if path.is_dir() else path
    if not manifest.is_file():
        raise EarmarkError(
            f"{path} is neither a manifest nor a folder with one, nor the ESC-50 archive",
            f"name a manifest.csv, or set EARMARK_DATA for {' and '.join(_NAMES)}",
        )
    return load_manifest(manifest)
