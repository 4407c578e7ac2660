"""Audio, chunk by chunk, through the device's C path: level, scores and events as they come.

Front end, network and detector are the C code of the bundle; the events are those of
`stream.run_bundle`, for any size of chunk.
"""

from __future__ import annotations

import queue
import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from earmark_dsp.errors import EarmarkError
from earmark_dsp.native import FrontEnd

from earmark_training.detector import Detector, StreamShape

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from earmark_training.deploy.bundle import Bundle
    from earmark_training.detector import Event
    from earmark_training.stream import Network

CHUNK_S = 0.1
# A microphone that is not read for this long has lost audio; the terminal is never that slow.
QUEUE_S = 10.0
SILENCE_DBFS = -100.0


@dataclass(frozen=True)
class Heard:
    """What one chunk brought.

    Attributes
    ----------
    at_s : float
        Seconds of audio since the start, at the end of the chunk.
    level_dbfs : float
        RMS of the chunk relative to full scale; -100 for digital silence.
    scores : dict of str to float
        Smoothed score of every label of the detector, 0 to 1.
    events : list of Event
    """

    at_s: float
    level_dbfs: float
    scores: dict[str, float]
    events: list[Event]


class Listener:
    """One device's ears.

    Parameters
    ----------
    bundle : Bundle
    network : Network or None
        None compiles the bundle's own.
    """

    def __init__(self, bundle: Bundle, network: Network | None = None) -> None:
        self.bundle = bundle
        spec = bundle.spec
        self.sample_rate_hz: int = spec.sample_rate_hz
        self._network = bundle.network() if network is None else network
        self._front_end = FrontEnd(spec)
        self._recent = np.zeros((0, spec.n_features), np.int8)
        self._n_rows = 0
        self._n_samples = 0
        n_scores = len(bundle.info.class_names)
        self._detector = Detector(
            bundle.params,
            StreamShape(
                row_period_us=spec.hop_length * 1_000_000 // spec.sample_rate_hz,
                n_features=spec.n_features,
                n_scores=n_scores,
            ),
        )

    def process(self, pcm: np.ndarray) -> Heard:
        """Take a chunk, ndarray [shape=(n_samples,), dtype=int16], at the bundle's sample rate."""
        spec, params = self.bundle.spec, self.bundle.params
        events: list[Event] = []
        for row in self._front_end.process(pcm):
            now_us = (
                (spec.window_length + self._n_rows * spec.hop_length)
                * 1_000_000
                // spec.sample_rate_hz
            )
            self._recent = np.concatenate([self._recent[1 - spec.context_frames :], row[None]])
            self._n_rows += 1
            if params.min_contrast:
                self._detector.row(row, now_us)
            since_first = self._n_rows - spec.context_frames
            if since_first >= 0 and since_first % params.hop_frames == 0:
                scores = self._network.invoke(self._recent[None]).reshape(-1)
                self._detector.scores(scores, now_us)
            events += self._detector.events()
        self._n_samples += len(pcm)
        names = [label.name for label in params.labels]
        return Heard(
            at_s=self._n_samples / self.sample_rate_hz,
            level_dbfs=level_dbfs(pcm),
            scores={name: self._detector.score(i) for i, name in enumerate(names)},
            events=events,
        )


def level_dbfs(pcm: np.ndarray) -> float:
    """Return the RMS level of int16 samples in dB relative to full scale, at least -100."""
    if not len(pcm):
        return SILENCE_DBFS
    mean = float(np.mean((pcm / 32768.0) ** 2))
    return max(SILENCE_DBFS, 10 * np.log10(mean)) if mean > 0 else SILENCE_DBFS


def file_chunks(
    path: Path, sample_rate_hz: int, *, fast: bool, chunk_s: float = CHUNK_S
) -> Iterator[np.ndarray]:
    """Yield a file in chunks (int16), resampled; in real time unless `fast`."""
    from earmark_datasets.audio import AudioNote, read_pcm

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AudioNote)  # that any format is converted is expected
        pcm = read_pcm(path, sample_rate_hz=sample_rate_hz)
    n_chunk = round(chunk_s * sample_rate_hz)
    started = time.monotonic()
    for begin in range(0, len(pcm), n_chunk):
        yield pcm[begin : begin + n_chunk]
        if not fast:
            due_s = started + (begin + n_chunk) / sample_rate_hz
            time.sleep(max(0.0, due_s - time.monotonic()))


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
) -> Iterator[np.ndarray]:
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
