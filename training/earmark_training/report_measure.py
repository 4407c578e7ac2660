"""Measures a bundle on held-out clips for the report: every arithmetic, every slice."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from earmark_datasets.audio import read_clip, to_int16
from earmark_datasets.synth import coloured_noise
from earmark_dsp.errors import EarmarkError

from earmark_training import evaluate
from earmark_training.evaluate import ClipWindows
from earmark_training.stream import binomial_interval
from earmark_training.windows import BACKGROUND

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from earmark_datasets.manifest import Clip, Manifest

    from earmark_training.deploy.bundle import Bundle
    from earmark_training.stream import Network

FLOAT, TFLM, C = "float", "int8, TFLM", "int8, C"
AS_RECORDED = "as recorded"
SNRS_DB = (20.0, 10.0, 0.0)
_NOISE_EXPONENT = 1.0  # pink


@dataclass(frozen=True)
class Heard:
    """A held-out clip under one condition, as each arithmetic voted.

    Attributes
    ----------
    clip : Clip
    condition : str
        ``AS_RECORDED`` or a noise level.
    votes : dict
        Arithmetic to share of the vote per class [shape=(n_classes,), sum 1], background aside.
    """

    clip: Clip
    condition: str
    votes: dict[str, np.ndarray]

    def voted(self, arithmetic: str) -> int:
        """Index of the winning class."""
        return int(self.votes[arithmetic].argmax())

    def margin(self, truth: int, arithmetic: str = C) -> float:
        """Share of the vote for the truth minus that of the best other class."""
        votes = self.votes[arithmetic]
        return float(votes[truth] - np.delete(votes, truth).max(initial=0.0))


@dataclass
class ClipFindings:
    """All held-out clips of a bundle under all conditions.

    Attributes
    ----------
    data : str
        What was scored, with the fold.
    class_names : tuple of str
    heard : list of Heard
    n_identical_windows : int
        On which the C engine gave the integers of TFLM, or of LiteRT's reference kernels.
    n_tflm_windows : int
        Those of them that ran in TFLM itself.
    tflm_arena_bytes : int
    """

    data: str
    class_names: tuple[str, ...]
    heard: list[Heard] = field(default_factory=list)
    n_identical_windows: int = 0
    n_tflm_windows: int = 0
    tflm_arena_bytes: int = 0

    def under(self, condition: str) -> list[Heard]:
        """Return the clips under one condition."""
        return [h for h in self.heard if h.condition == condition]

    @property
    def arithmetics(self) -> list[str]:
        """Return the arithmetics of the clips as recorded, float first if it was there."""
        return list(self.under(AS_RECORDED)[0].votes)

    def confusion(self, arithmetic: str, condition: str = AS_RECORDED) -> np.ndarray:
        """Count (truth, vote) pairs [shape=(n_classes, n_classes), dtype=int64]."""
        matrix = np.zeros((len(self.class_names),) * 2, np.int64)
        for heard in self.under(condition):
            matrix[self.class_names.index(heard.clip.label), heard.voted(arithmetic)] += 1
        return matrix

    def slices(self) -> list[Slice]:
        """Return accuracy per label, per noise level and, where there are several, per source."""
        clean = self.under(AS_RECORDED)
        groups = [("all", AS_RECORDED, clean)]
        groups += [("SNR", c, self.under(c)) for c in _unique(h.condition for h in self.heard)][1:]
        sources = _unique(h.clip.source for h in clean)
        if len(sources) > 1:
            groups += [
                ("source", s or "not stated", [h for h in clean if h.clip.source == s])
                for s in sources
            ]
        groups += [
            ("label", label, [h for h in clean if h.clip.label == label])
            for label in sorted({h.clip.label for h in clean})
        ]
        return [self._slice(kind, name, members) for kind, name, members in groups]

    def _slice(self, kind: str, name: str, members: Sequence[Heard]) -> Slice:
        right = {
            arithmetic: sum(self.class_names[h.voted(arithmetic)] == h.clip.label for h in members)
            for arithmetic in members[0].votes
        }
        return Slice(kind, name, len(members), right)


@dataclass(frozen=True)
class Slice:
    """Part of the held-out clips, and how many each arithmetic got right."""

    kind: str
    name: str
    n: int
    right: dict[str, int]

    def accuracy(self, arithmetic: str) -> float:
        """Share of clips that are right, 0..1; NaN where the arithmetic was not run."""
        return self.right[arithmetic] / self.n if arithmetic in self.right else math.nan

    def interval(self, arithmetic: str = C) -> tuple[float, float]:
        """Exact 95 % interval of the accuracy."""
        return binomial_interval(self.right[arithmetic], self.n)

    @property
    def lost_points(self) -> float:
        """How many points int8 is below float; NaN without the float network."""
        return 100 * (self.accuracy(FLOAT) - self.accuracy(C))


def _unique(values: Any) -> list[str]:
    return list(dict.fromkeys(values))


def condition_name(snr_db: float | None) -> str:
    """Return the name of a condition; None is the clip as recorded."""
    return AS_RECORDED if snr_db is None else f"pink noise, {snr_db:.0f} dB SNR"


def in_noise(pcm: np.ndarray, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    """Add pink noise at a signal-to-noise ratio over the whole clip (int16 in, int16 out)."""
    samples = pcm / 32768
    noise = coloured_noise(len(samples), _NOISE_EXPONENT, rng)
    power = float(np.mean(samples**2))
    level = math.sqrt(power / float(np.mean(noise**2))) * 10 ** (-snr_db / 20)
    return to_int16(samples + noise * level)


def measure_clips(
    bundle: Bundle,
    manifest: Manifest,
    *,
    data: str,
    float_model: Any = None,
    snrs_db: Sequence[float] = SNRS_DB,
    progress: Callable[[int, int], None] | None = None,
) -> ClipFindings:
    """Score clips as the device votes, as recorded and in noise, in every arithmetic at hand.

    Parameters
    ----------
    bundle : Bundle
    manifest : Manifest
        Held-out clips; their labels must be classes of the network.
    data : str
        Its name in the report.
    float_model : keras.Model or None
    snrs_db : sequence of float
    progress : callable or None
        Called with (clips done, clips).

    Raises
    ------
    EarmarkError
        If a label is unknown or TFLM and the C code differ in one integer.
    """
    from earmark_training.tflm import TflmModel

    names = bundle.info.class_names
    if unknown := sorted(set(manifest.labels) - set(names)):
        raise EarmarkError(
            f"the network has no output for {', '.join(unknown)}",
            f"its labels are {', '.join(names)}; give clips of these with --data",
        )
    network, tflm = bundle.network(), TflmModel(bundle.tflite)
    is_slow = len(bundle.tflite) > evaluate.TFLM_SLOW_BYTES
    reference = evaluate.Reference(bundle.tflite) if is_slow else None
    findings = ClipFindings(data, names, tflm_arena_bytes=tflm.arena_used_bytes)
    rng = np.random.default_rng(0)
    for number, clip in enumerate(manifest.clips, start=1):
        pcm = read_clip(clip, sample_rate_hz=bundle.spec.sample_rate_hz)
        for snr_db in (None, *snrs_db):
            heard = pcm if snr_db is None else in_noise(pcm, snr_db, rng)
            cut = _cut(bundle, clip, heard)
            votes = _vote(bundle, network, cut, float_model)
            if snr_db is None:
                by_c = evaluate.int8_outputs(network, [cut])
                if reference is None:
                    expected, n_tflm_windows = evaluate.int8_outputs(tflm, [cut]), len(cut.windows)
                else:
                    judged, n_tflm_windows = evaluate.judged_by_tflm(
                        tflm, reference, cut.windows, by_c[0]
                    )
                    expected = [judged]
                findings.n_identical_windows += evaluate.require_identical(expected, by_c)
                findings.n_tflm_windows += n_tflm_windows
                votes[TFLM] = _shares(evaluate.as_scores(expected)[0], names)
            ordered = {a: votes[a] for a in (FLOAT, TFLM, C) if a in votes}
            findings.heard.append(Heard(clip, condition_name(snr_db), ordered))
        if progress:
            progress(number, len(manifest.clips))
    order = [condition_name(snr_db) for snr_db in (None, *snrs_db)]
    findings.heard.sort(key=lambda h: order.index(h.condition))
    return findings


def clip_windows(bundle: Bundle, manifest: Manifest, n: int) -> np.ndarray:
    """Return up to `n` windows spread evenly over all clips, as the device would cut them.

    Returns
    -------
    ndarray [shape=(n, context_frames, n_features), dtype=int8]
    """
    rate_hz = bundle.spec.sample_rate_hz
    cut = [_cut(bundle, c, read_clip(c, sample_rate_hz=rate_hz)) for c in manifest.clips]
    every = np.concatenate([clip.windows for clip in cut])
    chosen: np.ndarray = every[
        np.linspace(0, len(every) - 1, min(n, len(every))).round().astype(int)
    ]
    return chosen


def _cut(bundle: Bundle, clip: Clip, pcm: np.ndarray) -> ClipWindows:
    cut = evaluate.device_windows(pcm, bundle.spec, bundle.hop_frames)
    return ClipWindows(bundle.info.class_names.index(clip.label), cut)


def _vote(
    bundle: Bundle, network: Network, cut: ClipWindows, float_model: Any
) -> dict[str, np.ndarray]:
    names = bundle.info.class_names
    votes = {C: _shares(evaluate.as_scores(evaluate.int8_outputs(network, [cut]))[0], names)}
    if float_model is not None:
        votes[FLOAT] = _shares(evaluate.float_scores(float_model, [cut], bundle.spec)[0], names)
    return votes


def _shares(scores: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Sum the windows' scores as `evaluate.vote` does; background does not stand for election."""
    total = scores.sum(axis=0, dtype=np.float64)
    if BACKGROUND in names:
        total[list(names).index(BACKGROUND)] = 0
    shares: np.ndarray = total / max(1e-9, total.sum())
    return shares
