"""Audio, chunk by chunk, through the device's C path: level, scores and events as they come.

Front end, network and detector are the C code of the bundle; the events are those of
`stream.run_bundle`, for any size of chunk.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from earmark_datasets.microphone import CHUNK_S, level_dbfs
from earmark_dsp.native import FrontEnd

from earmark_training.detector import Detector, StreamShape

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from earmark_training.deploy.bundle import Bundle
    from earmark_training.detector import Event
    from earmark_training.stream import Network


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
