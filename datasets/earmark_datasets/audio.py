"""Audio files in: mono int16 PCM at one rate, decoded once and cached."""

from __future__ import annotations

import hashlib
import os
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from earmark_dsp.errors import EarmarkError

from earmark_datasets.locate import cache_dir

if TYPE_CHECKING:
    from soundfile import SoundFile

    from earmark_datasets.manifest import Clip

SAMPLE_RATE_HZ = 16000
_CACHE_VERSION = 1  # raise when decoding or resampling changes


class AudioNote(UserWarning):
    """Something about a file was adapted (rate, channels); the message says what."""


def read_pcm(path: Path, *, sample_rate_hz: int = SAMPLE_RATE_HZ) -> np.ndarray:
    """Decode a file to mono, resampling if needed (with an `AudioNote`).

    Parameters
    ----------
    path : Path
        Anything libsndfile reads: WAV, FLAC, Ogg, MP3, AIFF.
    sample_rate_hz : int
        The rate of the result.

    Returns
    -------
    ndarray [shape=(n_samples,), dtype=int16]
        Channels are averaged; 24-bit and float files are rounded and clipped to 16 bits.

    Raises
    ------
    EarmarkError
        If the file is missing, unreadable, empty or holds values that are not numbers.
    """
    import soundfile

    try:
        with soundfile.SoundFile(path) as stream:
            pcm, notes = _decode(stream, sample_rate_hz, path)
    except (soundfile.LibsndfileError, OSError, TypeError) as exc:
        if not path.exists():
            raise EarmarkError(f"{path} does not exist") from exc
        raise EarmarkError(
            f"{path} cannot be read as audio: {exc}", "convert it to WAV or FLAC, or remove it"
        ) from exc
    if not len(pcm):
        raise EarmarkError(f"{path} holds no audio", "remove it from the data set")
    if notes:
        warnings.warn(f"{path}: {', '.join(notes)}", AudioNote, stacklevel=2)
    return pcm


def _decode(stream: SoundFile, sample_rate_hz: int, path: Path) -> tuple[np.ndarray, list[str]]:
    """Decode by the minute: two hours of 48 kHz stereo would take 5.5 GB at once."""
    import soxr

    notes = []
    if stream.channels > 1:
        notes.append(f"{stream.channels} channels averaged")
    resampler = None
    if stream.samplerate != sample_rate_hz:
        notes.append(f"resampled from {stream.samplerate} to {sample_rate_hz} Hz")
        resampler = soxr.ResampleStream(
            stream.samplerate, sample_rate_hz, 1, dtype="float64", quality="HQ"
        )
    pieces = []
    n_block = 60 * stream.samplerate
    while len(block := stream.read(n_block, dtype="float64", always_2d=True)):
        if not np.isfinite(block).all():
            raise EarmarkError(f"{path} holds values that are not numbers", "export it again")
        mono = block.mean(axis=1)
        pieces.append(to_int16(mono if resampler is None else resampler.resample_chunk(mono)))
    if resampler is not None:
        pieces.append(to_int16(resampler.resample_chunk(np.zeros(0), last=True)))
    return np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.int16), notes


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Round full scale +-1.0 to int16, clipping what is beyond."""
    return np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)


def read_pcm_cached(path: Path, *, sample_rate_hz: int = SAMPLE_RATE_HZ) -> np.ndarray:
    """Like `read_pcm`, remembering the result until the file changes.

    The key holds the file's path, size and modification time; an entry is written under another
    name first, so that an interrupted run leaves nothing a later one would trust.
    """
    try:
        stat = path.stat()
    except OSError as exc:
        raise EarmarkError(f"{path} cannot be opened: {exc.strerror}") from exc
    identity = f"{_CACHE_VERSION}:{path.resolve()}:{stat.st_size}:{stat.st_mtime_ns}"
    key = hashlib.sha256(f"{identity}:{sample_rate_hz}".encode()).hexdigest()[:32]
    entry = cache_dir() / "pcm" / key[:2] / f"{key}.npy"
    try:
        cached: np.ndarray = np.load(entry, allow_pickle=False)
    except (OSError, ValueError):
        pass
    else:
        return cached
    with warnings.catch_warnings():
        # A whole data set at another rate would say so for every file.
        warnings.simplefilter("ignore", AudioNote)
        pcm = read_pcm(path, sample_rate_hz=sample_rate_hz)
    _write_entry(entry, pcm)
    return pcm


def read_clip(clip: Clip, *, sample_rate_hz: int = SAMPLE_RATE_HZ) -> np.ndarray:
    """Return a clip's own span of its file [shape=(n_samples,), dtype=int16], from the cache."""
    pcm = read_pcm_cached(clip.path, sample_rate_hz=sample_rate_hz)
    begin = round((clip.onset_s or 0.0) * sample_rate_hz)
    end = len(pcm) if clip.offset_s is None else round(clip.offset_s * sample_rate_hz)
    if begin >= len(pcm):
        raise EarmarkError(
            f"{clip.path} ends after {len(pcm) / sample_rate_hz:.2f} s, before the label "
            f"{clip.label} at {clip.onset_s} s",
            "correct the onset in the manifest",
        )
    return pcm[begin:end]


def _write_entry(entry: Path, pcm: np.ndarray) -> None:
    """Write atomically. A cache that cannot be written (full disk, read-only) is not an error."""
    temporary = None
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=entry.parent, suffix=".part", delete=False) as stream:
            temporary = stream.name
            np.save(stream, pcm)
        os.replace(temporary, entry)  # noqa: PTH105 - `temporary` is a plain name
    except OSError:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def write_wav(path: Path, pcm: np.ndarray, *, sample_rate_hz: int = SAMPLE_RATE_HZ) -> None:
    """Write int16 mono PCM atomically as WAV."""
    import soundfile

    temporary = path.with_name(path.name + ".part")
    try:
        soundfile.write(temporary, pcm, sample_rate_hz, subtype="PCM_16", format="WAV")
    except (soundfile.LibsndfileError, OSError) as exc:
        temporary.unlink(missing_ok=True)
        raise EarmarkError(
            f"cannot write {path}: {exc}", "is the disk full, or the folder read-only?"
        ) from exc
    temporary.replace(path)
