"""A microphone of this computer, through PortAudio; the package is optional."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Any

import numpy as np
from earmark_dsp.errors import EarmarkError

if TYPE_CHECKING:
    from collections.abc import Generator

CHUNK_S = 0.1
# A microphone that is not read for this long has lost audio; the terminal is never that slow.
QUEUE_S = 10.0
SILENCE_DBFS = -100.0


def level_dbfs(pcm: np.ndarray) -> float:
    """Return the RMS level of int16 samples in dB relative to full scale, at least -100."""
    if not len(pcm):
        return SILENCE_DBFS
    mean = float(np.mean((pcm / 32768.0) ** 2))
    return max(SILENCE_DBFS, 10 * np.log10(mean)) if mean > 0 else SILENCE_DBFS


def sounddevice_module() -> Any:
    """Return the module `sounddevice`.

    Raises
    ------
    EarmarkError
        If it, or the PortAudio library below it, is not installed.
    """
    try:
        import sounddevice
    except ImportError as exc:
        raise EarmarkError(
            "microphones need the package sounddevice", "pip install 'earmark[live]'"
        ) from exc
    except OSError as exc:  # the package is there, the library is not
        raise EarmarkError(
            f"microphones need the library PortAudio: {exc}",
            "Debian: apt-get install libportaudio2; or listen to a file with --wav",
        ) from exc
    return sounddevice


def microphone_chunks(
    sample_rate_hz: int, *, device: int | str | None = None, chunk_s: float = CHUNK_S
) -> Generator[np.ndarray]:
    """Yield what a microphone of this computer hears, in chunks (int16), until closed.

    Raises
    ------
    EarmarkError
        If there is no microphone, or it stops or is not read in time.
    """
    sounddevice = sounddevice_module()
    chunks: queue.Queue[np.ndarray] = queue.Queue(maxsize=round(QUEUE_S / chunk_s))

    def take(samples: np.ndarray, _frames: int, _time: Any, _status: Any) -> None:
        if not chunks.full():  # the reader notices by the sample count, see below
            chunks.put_nowait(samples[:, 0].copy())

    try:
        with sounddevice.InputStream(
            samplerate=sample_rate_hz,
            channels=1,
            dtype="int16",
            blocksize=round(chunk_s * sample_rate_hz),
            device=device,
            callback=take,
        ):
            while True:
                yield chunks.get(timeout=QUEUE_S)
                if chunks.full():
                    raise EarmarkError(
                        f"this computer is more than {QUEUE_S:.0f} s behind the microphone",
                        "close other programs, or listen with a smaller bundle",
                    )
    except queue.Empty:
        raise EarmarkError(
            "the microphone has stopped", "is it still plugged in, and not muted by the system?"
        ) from None
    except sounddevice.PortAudioError as exc:
        raise EarmarkError(
            f"no microphone can be opened: {exc}",
            "plug one in, choose one with --device, or listen to a file with --wav",
        ) from exc
