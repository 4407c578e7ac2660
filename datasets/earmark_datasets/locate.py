"""Where data sets and models are: named by the user, beside the checkout, or downloaded earlier."""

from __future__ import annotations

import os
from pathlib import Path

from earmark_dsp.errors import EarmarkError
from earmark_dsp.sources import sources_root


def cache_dir() -> Path:
    """Return the folder for downloads and caches (``EARMARK_CACHE``, else the user's cache)."""
    named = os.environ.get("EARMARK_CACHE")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "earmark"


def _neighbours(kind: str) -> list[Path]:
    """Folders called ``shared`` beside the checkout or above the current directory."""
    bases = [sources_root(), Path.cwd()]
    return [base.resolve().parent / "shared" / kind for base in bases]


def find_dataset(name: str) -> Path | None:
    """Find a data set's folder.

    Parameters
    ----------
    name : str
        ``"ESC-10"`` or ``"home-sounds"``.

    Returns
    -------
    Path or None
        None if it is neither named by ``EARMARK_DATA`` (the data set itself, or a folder that
        holds it), nor beside the checkout, nor in the cache.

    Raises
    ------
    EarmarkError
        If ``EARMARK_DATA`` names something that does not exist.
    """
    named = os.environ.get("EARMARK_DATA")
    folders = _neighbours("datasets")
    if named is not None:
        root = Path(named).expanduser()
        if not root.is_dir():
            raise EarmarkError(
                f"EARMARK_DATA names {root}, which is not a folder", "correct it or unset it"
            )
        if _is_dataset(root, name):
            return root
        # A user who names a folder wants that one and no other.
        folders = [root]
    for folder in (*folders, cache_dir() / "datasets"):
        if _is_dataset(folder / name, name):
            return folder / name
    return None


def _is_dataset(folder: Path, name: str) -> bool:
    if not (folder / "audio").is_dir():
        return False
    marker = {"ESC-10": "meta/esc50.csv", "home-sounds": "manifest.csv"}.get(name, "manifest.csv")
    return (folder / marker).is_file()


def find_model(file_name: str) -> Path | None:
    """Find a model file beside the checkout, in ``EARMARK_DATA`` or in the cache."""
    folders = [*_neighbours("models"), cache_dir() / "models"]
    if named := os.environ.get("EARMARK_DATA"):
        folders = [Path(named), Path(named) / "models", *folders]
    return next((f / file_name for f in folders if (f / file_name).is_file()), None)
