"""Streaming evaluation: hours of audio through the very C code of the device, scored as events.

The front end, the network and the detector are the device's C; only the loop around them is
Python. Times are those that `pipeline.c` would see, sample by sample.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from scipy.stats import beta, chi2

from earmark_training.detector import Detector, Event, Phase, StreamShape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from earmark_dsp.spec import FrontEndSpec

    from earmark_training.deploy.bundle import Bundle
    from earmark_training.detector import DetectorParams

# Windows per call of the network: bounds memory, keeps the overhead of calling small.
BATCH = 512
# A short sound is decided after it has ended (smoothing, one window); a cadence needs two cycles.
LATE_S = 3.0


class Network(Protocol):
    """What runs windows: `deploy.hostlib.HostModel`, or TFLM as a cross-check."""

    def invoke(self, batch: np.ndarray) -> np.ndarray:
        """Return int8 scores [shape=(n, n_scores)] of windows [shape=(n, frames, features)]."""


@dataclass(frozen=True)
class SoundEvent:
    """A sound known to be in a stream; seconds from its start."""

    label: str
    onset_s: float
    offset_s: float


@dataclass(frozen=True)
class Trace:
    """Everything between the front end and the detector.

    Attributes
    ----------
    rows : ndarray [shape=(n_rows, n_features), dtype=int8]
    row_end_us : ndarray [shape=(n_rows,), dtype=uint64]
        When the last sample of a row was heard.
    scores : ndarray [shape=(n_inferences, n_scores), dtype=int8]
        The i-th inference follows row `first + i * hop_frames`, `first` = context_frames - 1.
    context_frames, hop_frames : int
    audio_s : float
    """

    rows: np.ndarray
    row_end_us: np.ndarray
    scores: np.ndarray
    context_frames: int
    hop_frames: int
    row_period_us: int
    audio_s: float

    @property
    def inference_rows(self) -> np.ndarray:
        """Index of the row that completes each window."""
        return self.context_frames - 1 + self.hop_frames * np.arange(len(self.scores))


def windows(rows: np.ndarray, context_frames: int, hop_frames: int) -> np.ndarray:
    """Return a view of all complete windows [shape=(n, context_frames, n_features)]."""
    if len(rows) < context_frames:
        return np.empty((0, context_frames, rows.shape[1]), rows.dtype)
    view = np.lib.stride_tricks.sliding_window_view(rows, context_frames, axis=0)
    return view[::hop_frames].transpose(0, 2, 1)


def trace_stream(
    spec: FrontEndSpec,
    network: Network,
    pcm: np.ndarray,
    *,
    hop_frames: int,
    progress: Callable[[float], None] | None = None,
) -> Trace:
    """Run a stream through the C front end and the network.

    Parameters
    ----------
    spec : FrontEndSpec
    network : Network
    pcm : ndarray [shape=(n_samples,), dtype=int16]
        At the specification's sample rate.
    hop_frames : int
        Rows between inferences.
    progress : callable or None
        Called with the fraction that is done.
    """
    from earmark_dsp.native import extract

    rows = extract(spec, pcm)
    view = windows(rows, spec.context_frames, hop_frames)
    scores: list[np.ndarray] = []
    for start in range(0, len(view), BATCH):
        batch = np.ascontiguousarray(view[start : start + BATCH])
        scores.append(network.invoke(batch).reshape(len(batch), -1))
        if progress is not None:
            progress(min(1.0, (start + BATCH) / len(view)))
    samples = spec.window_length + spec.hop_length * np.arange(len(rows), dtype=np.uint64)
    return Trace(
        rows=rows,
        row_end_us=samples * 1_000_000 // spec.sample_rate_hz,
        scores=np.concatenate(scores) if scores else np.empty((0, 0), np.int8),
        context_frames=spec.context_frames,
        hop_frames=hop_frames,
        row_period_us=spec.hop_length * 1_000_000 // spec.sample_rate_hz,
        audio_s=len(pcm) / spec.sample_rate_hz,
    )


def detect(trace: Trace, params: DetectorParams) -> list[Event]:
    """Run the C detector over a trace; the events are those of the device."""
    if len(trace.scores) == 0:
        return []
    detector = Detector(
        params,
        StreamShape(
            row_period_us=trace.row_period_us,
            n_features=trace.rows.shape[1],
            n_scores=trace.scores.shape[1],
        ),
    )
    events: list[Event] = []
    next_inference = trace.context_frames - 1
    times = trace.row_end_us.tolist()
    index = 0
    # Without a cadence check the rows between inferences do nothing.
    rows = range(len(times)) if params.min_contrast else trace.inference_rows.tolist()
    for i in rows:
        now_us = times[i]
        if params.min_contrast:
            detector.row(trace.rows[i], now_us)
        if i == next_inference and index < len(trace.scores):
            detector.scores(trace.scores[index], now_us)
            index += 1
            next_inference += trace.hop_frames
            events.extend(detector.events())
    events.extend(detector.events())
    return events


def run_bundle(bundle: Bundle, pcm: np.ndarray) -> list[Event]:
    """Return the events that a device with this bundle reports for a stream (int16 PCM)."""
    trace = trace_stream(bundle.spec, bundle.network(), pcm, hop_frames=bundle.hop_frames)
    return detect(trace, bundle.params)


@dataclass
class LabelResult:
    """How one label did over all streams."""

    label: str
    n_played: int = 0
    n_found: int = 0
    n_repeated: int = 0
    n_false: int = 0
    latencies_s: list[float] = field(default_factory=list)
    negative_s: float = 0.0

    @property
    def recall(self) -> float | None:
        """Found / played; None if never played."""
        return self.n_found / self.n_played if self.n_played else None

    @property
    def median_latency_s(self) -> float | None:
        """Median time from onset to message."""
        return statistics.median(self.latencies_s) if self.latencies_s else None

    def summary(self) -> dict[str, float | int | str | list[float] | None]:
        """Return the figures with their 95 % intervals, ready for JSON."""
        hours = self.negative_s / 3600
        low, high = poisson_interval(self.n_false)
        return {
            "label": self.label,
            "n_played": self.n_played,
            "n_found": self.n_found,
            "n_repeated": self.n_repeated,
            "recall": self.recall,
            "recall_interval": list(binomial_interval(self.n_found, self.n_played)),
            "latency_median_s": self.median_latency_s,
            "latency_max_s": max(self.latencies_s, default=None),
            "n_false": self.n_false,
            "hours": hours,
            "false_per_hour": self.n_false / hours if hours else None,
            "false_per_hour_interval": [low / hours, high / hours] if hours else None,
            "false_per_24h": 24 * self.n_false / hours if hours else None,
            "false_per_24h_interval": [24 * low / hours, 24 * high / hours] if hours else None,
        }


def poisson_interval(count: int, level: float = 0.95) -> tuple[float, float]:
    """Exact (Garwood) interval of a Poisson mean after `count` events [1]_.

    With no event the interval is one-sided: 3.0 at 95 %, as in "none in 72 h bounds the rate at 1
    per day".

    References
    ----------
    .. [1] F. Garwood, "Fiducial limits for the Poisson distribution", Biometrika 28, 1936.
    """
    if count == 0:
        return 0.0, float(chi2.ppf(level, 2) / 2)
    tail = (1 - level) / 2
    return (
        float(chi2.ppf(tail, 2 * count) / 2),
        float(chi2.ppf(1 - tail, 2 * (count + 1)) / 2),
    )


def binomial_interval(found: int, played: int, level: float = 0.95) -> tuple[float, float]:
    """Exact (Clopper-Pearson) interval of a proportion; (0, 1) without observations."""
    if played == 0:
        return 0.0, 1.0
    tail = (1 - level) / 2
    low = float(beta.ppf(tail, found, played - found + 1)) if found else 0.0
    high = float(beta.ppf(1 - tail, found + 1, played - found)) if found < played else 1.0
    return low, high


def match_events(
    events: Iterable[Event],
    played: Sequence[SoundEvent],
    labels: Sequence[str],
    *,
    audio_s: float,
    late_s: float = LATE_S,
) -> dict[str, LabelResult]:
    """Compare messages with what was played.

    A message (start or once) belongs to the latest sound of its label that began before it and
    ended at most `late_s` before it. Further messages for the same sound count as repeated, all
    others as false. The hours behind the false alarms are all audio outside the label's sounds.
    """
    results = {label: LabelResult(label, negative_s=audio_s) for label in labels}
    open_sounds: dict[str, list[tuple[SoundEvent, list[float]]]] = {label: [] for label in labels}
    for sound in sorted(played, key=lambda s: s.onset_s):
        if sound.label in results:
            results[sound.label].n_played += 1
            results[sound.label].negative_s -= sound.offset_s - sound.onset_s
            open_sounds[sound.label].append((sound, []))
    for event in sorted(events, key=lambda e: e.at_s):
        if event.phase not in (Phase.START, Phase.ONCE):
            continue
        matching = [
            latencies
            for sound, latencies in open_sounds[event.label]
            if sound.onset_s <= event.at_s <= sound.offset_s + late_s
        ]
        if matching:
            matching[-1].append(event.at_s)
        else:
            results[event.label].n_false += 1
    for label, sounds in open_sounds.items():
        for sound, told in sounds:
            results[label].n_found += bool(told)
            results[label].n_repeated += max(0, len(told) - 1)
            results[label].latencies_s += [told[0] - sound.onset_s] if told else []
    return results


def merge_results(parts: Iterable[dict[str, LabelResult]]) -> dict[str, LabelResult]:
    """Add up the results of several streams."""
    total: dict[str, LabelResult] = {}
    for part in parts:
        for label, result in part.items():
            into = total.setdefault(label, LabelResult(label))
            into.n_played += result.n_played
            into.n_found += result.n_found
            into.n_repeated += result.n_repeated
            into.n_false += result.n_false
            into.latencies_s += result.latencies_s
            into.negative_s += result.negative_s
    return total
