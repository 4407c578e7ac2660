"""What is measured on every clip once: levels, bandwidth, a fingerprint and an embedding."""

from __future__ import annotations

import hashlib
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from earmark_dsp.errors import EarmarkError
from earmark_dsp.native import extract
from earmark_dsp.spec import FrontEndSpec, load_spec

from earmark_datasets.audio import SAMPLE_RATE_HZ, AudioNote, read_clip

if TYPE_CHECKING:
    from collections.abc import Callable

    from earmark_datasets.manifest import Clip, Manifest

_LONGEST_S = 30.0  # of a long file; enough to recognise a duplicate
_BAND_HZ = 250.0
# A resampler or codec cuts by more than this within two bands; rooms and microphones do not.
_CUT_DB = 30.0


@dataclass(frozen=True)
class ClipFacts:
    """Measurements on one clip.

    Attributes
    ----------
    error : str
        Why the clip could not be read; the other fields then have no meaning.
    duration_s : float
    sample_rate_hz, n_channels : int
        As stored in the file.
    peak_dbfs, rms_dbfs : float
    clipped_share : float
        Share of samples in runs of at least three at full scale or at the clip's own peak.
    zero_share : float
        Share of 20 ms frames that are digital silence.
    bandwidth_hz : float
        Where the spectrum ends in a cut; 8000 if it does not.
    digest : str
        sha256 of the decoded samples.
    rows : ndarray [shape=(n_frames, n_mels), dtype=int8] or None
        Front-end rows of at most 30 s.
    embedding : ndarray [shape=(4 * n_mels,), dtype=float64] or None
        Level-free mean, deviation and change of the rows.
    """

    error: str = ""
    duration_s: float = 0.0
    sample_rate_hz: int = 0
    n_channels: int = 0
    peak_dbfs: float = -120.0
    rms_dbfs: float = -120.0
    clipped_share: float = 0.0
    zero_share: float = 0.0
    bandwidth_hz: float = SAMPLE_RATE_HZ / 2
    digest: str = ""
    rows: np.ndarray | None = None
    embedding: np.ndarray | None = None


@cache
def explorer_spec() -> FrontEndSpec:
    """Return the front end of lint and explorer: plain log-mel, whatever the model uses."""
    return load_spec("logmel-64-20ms")


def measure(clip: Clip) -> ClipFacts:
    """Read and measure one clip; an unreadable one gets its `error`, nothing is raised."""
    import soundfile

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AudioNote)
            pcm = read_clip(clip)
        info = soundfile.info(clip.path)
    except EarmarkError as exc:
        return ClipFacts(error=exc.what)
    if not len(pcm):
        return ClipFacts(error=f"{clip.path} holds no audio between onset and offset")
    head = pcm[: round(_LONGEST_S * SAMPLE_RATE_HZ)]
    rows = extract(explorer_spec(), head)
    magnitude = np.abs(pcm.astype(np.int32))
    return ClipFacts(
        duration_s=len(pcm) / SAMPLE_RATE_HZ,
        sample_rate_hz=info.samplerate,
        n_channels=info.channels,
        peak_dbfs=_dbfs(float(magnitude.max())),
        rms_dbfs=_dbfs(float(np.sqrt(np.mean(np.square(pcm, dtype=np.float64))))),
        clipped_share=_clipped_share(magnitude),
        zero_share=_zero_share(pcm),
        bandwidth_hz=min(bandwidth_hz(head), info.samplerate / 2),
        digest=hashlib.sha256(pcm.tobytes()).hexdigest(),
        rows=rows,
        embedding=embed(rows) if len(rows) else None,
    )


def measure_all(
    manifest: Manifest, *, progress: Callable[[int, int], None] | None = None
) -> list[ClipFacts]:
    """Measure every clip on all cores (decoding and the front end release the interpreter)."""
    facts = []
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for done, result in enumerate(pool.map(measure, manifest.clips), start=1):
            facts.append(result)
            if progress:
                progress(done, len(manifest.clips))
    return facts


def _dbfs(value: float) -> float:
    return 20 * float(np.log10(max(value, 1e-2) / 32768))


def _clipped_share(magnitude: np.ndarray) -> float:
    """Share of samples in runs of three or more at the clip's peak, if that is a loud one."""
    peak = int(magnitude.max())
    if peak < 3277:  # below -20 dBFS a flat top is a quiet tone, not an overdriven input
        return 0.0
    flat = magnitude >= peak - 1
    runs = flat[2:] & flat[1:-1] & flat[:-2]
    return float(np.mean(runs)) if len(runs) else 0.0


def _zero_share(pcm: np.ndarray) -> float:
    frame = SAMPLE_RATE_HZ // 50
    n_frames = len(pcm) // frame
    if not n_frames:
        return 0.0
    return float(np.mean(~pcm[: n_frames * frame].reshape(n_frames, frame).any(axis=1)))


def bandwidth_hz(pcm: np.ndarray) -> float:
    """Return the frequency above which the recording was cut off, or 8000.

    The mean spectrum in bands of 250 Hz is searched for a fall of 30 dB within two bands below
    which three bands agree (so that the skirt of a single tone does not count) and above which
    nothing comes back.
    """
    n_fft = 1024
    n_frames = len(pcm) // n_fft
    if not n_frames:
        return SAMPLE_RATE_HZ / 2
    frames = pcm[: n_frames * n_fft].reshape(n_frames, n_fft) * np.hanning(n_fft)
    power = np.mean(np.abs(np.fft.rfft(frames, axis=1)) ** 2, axis=0)[1:]
    per_band = round(_BAND_HZ * n_fft / SAMPLE_RATE_HZ)
    level_db = 10 * np.log10(power.reshape(-1, per_band).mean(axis=1) + 1e-3)
    for band in range(4, len(level_db) - 2):
        above_db = float(level_db[band + 2 :].max())
        if level_db[band - 2 : band + 1].min() - above_db > _CUT_DB:
            return (band + 1) * _BAND_HZ
    return SAMPLE_RATE_HZ / 2


def embed(rows: np.ndarray) -> np.ndarray:
    """Summarise rows: spectrum shape, its spread, its speed, and its loudest decile.

    Returns
    -------
    ndarray [shape=(4 * n_mels,), dtype=float64]
        Independent of gain: the clip's mean level is removed first.
    """
    values = rows.astype(np.float64)
    values -= values.mean()
    speed = np.abs(np.diff(values, axis=0)).mean(axis=0) if len(values) > 1 else values[0] * 0
    return np.concatenate(
        [values.mean(axis=0), values.std(axis=0), speed, np.percentile(values, 90, axis=0)]
    )
