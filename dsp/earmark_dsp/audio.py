"""Audio files as the mono int16 PCM that the front end hears."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np

from earmark_dsp.errors import EarmarkError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff")


def optional_module(name: str, purpose: str) -> Any:
    """Import a package of the ``training`` extra, or say what is missing and why it is needed."""
    try:
        return importlib.import_module(name)
    except ImportError as exc:
        raise EarmarkError(
            f"{purpose} needs the Python package {name.partition('.')[0]!r}",
            "install it with `pip install 'earmark[training]'`",
        ) from exc


def to_pcm(signal: NDArray[np.floating[Any]]) -> NDArray[np.int16]:
    """Round a signal of full scale 1.0 to int16, clipping what lies outside."""
    return np.asarray(np.clip(np.rint(signal * 32768.0), -32768, 32767), dtype=np.int16)


def load_pcm(path: str | Path, sample_rate_hz: int) -> NDArray[np.int16]:
    """Read an audio file, mix it to one channel and resample it.

    Parameters
    ----------
    path : path
        Anything libsndfile reads.
    sample_rate_hz : int

    Returns
    -------
    ndarray [shape=(n_samples,), dtype=int16]

    Raises
    ------
    EarmarkError
        If the file cannot be read.
    """
    soundfile = optional_module("soundfile", "reading audio files")
    try:
        signal, file_rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as exc:
        raise EarmarkError(f"cannot read {path} as audio: {exc}") from exc
    mono = signal.mean(axis=1)
    if file_rate_hz != sample_rate_hz and mono.size:
        soxr = optional_module("soxr", "resampling")
        mono = soxr.resample(mono, file_rate_hz, sample_rate_hz)
    return to_pcm(mono)


def find_audio(folder: Path) -> list[Path]:
    """Return all audio files under `folder`, sorted; refuse a folder without any."""
    if not folder.is_dir():
        raise EarmarkError(f"{folder} is not a folder", "name the folder that holds the recordings")
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not files:
        raise EarmarkError(f"no audio files under {folder}", f"looked for {', '.join(SUFFIXES)}")
    return files
