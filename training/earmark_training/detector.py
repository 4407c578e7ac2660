"""The device's detector (portable C), with its parameters as Python data."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
from earmark_dsp.errors import EarmarkError
from earmark_dsp.spec import PcenCompression

from earmark_training._native import ffi, lib

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from earmark_dsp.spec import FrontEndSpec

LABEL_PATTERN = re.compile(r"[a-z][a-z0-9_]{0,31}")
NEVER_PERMILLE: int = lib.EM_NEVER_PERMILLE
NO_SMOOTHING_Q15 = 32767
# Names under which networks learn what is not an event.
BACKGROUND_LABELS = frozenset({"background", "other", "silence", "noise", "speech", "music"})


class Cadence(StrEnum):
    """Temporal pattern that a label must show besides its score."""

    NONE = "none"
    T3 = "t3"
    T4 = "t4"

    @property
    def c_value(self) -> int:
        """The value of ``em_cadence_pattern_t``."""
        return ("none", "t3", "t4").index(self.value)


class Phase(IntEnum):
    """``em_phase_t``: what an event says about the sound."""

    START = 1
    UPDATE = 2
    END = 3
    ONCE = 4


class LabelParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Detector parameters of one label, as stored in ``bundle.json`` and in ``em_label_t``.

    Thresholds are in thousandths; times in milliseconds. `classes` are the network outputs whose
    largest score is the label's; None: the output with the label's own index.
    """

    name: str
    classes: tuple[int, ...] | None = None
    on_permille: int = 600
    off_permille: int = 400
    min_permille: int = 200
    max_permille: int = 980
    alpha_q15: int = NO_SMOOTHING_Q15
    min_duration_ms: int = 0
    refractory_ms: int = 5000
    update_ms: int = 0
    reported: bool = True
    critical: bool = False
    once: bool = False
    cadence: Cadence = Cadence.NONE
    cadence_permille: int = 650
    cadence_alone_permille: int = NEVER_PERMILLE
    gate_permille: int = 0

    @property
    def flags(self) -> int:
        """The bits of ``em_label_t.flags``."""
        flags: int = (
            lib.EM_LABEL_REPORTED * self.reported
            | lib.EM_LABEL_CRITICAL * self.critical
            | lib.EM_LABEL_ONCE * self.once
        )
        return flags

    @property
    def threshold_permille(self) -> int:
        """The threshold that an event of this label passes: on the correlation, or on the score."""
        return self.on_permille if self.cadence is Cadence.NONE else self.cadence_permille


class DetectorParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that ``em_detector_config_t`` needs beyond the front end.

    `min_contrast` is the least difference between pulses and silences of a cadence, in int8 steps
    of a front-end row; 0 switches the cadence check off (front ends without bands).
    `clip_steps` is `default_clip`.
    """

    labels: tuple[LabelParams, ...]
    hop_frames: int
    min_contrast: int = 12
    clip_steps: int = 0


@dataclass(frozen=True)
class Event:
    """One message of the detector. Times in seconds of audio since the start of the stream."""

    label: str
    phase: Phase
    at_s: float
    onset_s: float
    duration_s: float
    confidence: float
    threshold: float
    event_id: int


@dataclass(frozen=True)
class StreamShape:
    """How rows and inferences follow each other in time."""

    row_period_us: int
    n_features: int
    n_scores: int


def smoothing_q15(time_constant_s: float, period_s: float) -> int:
    """Coefficient of a first-order low pass, s += a (x - s), as the integer that the C code uses.

    Parameters
    ----------
    time_constant_s : float
        Time to reach 63 % of a step, in seconds; 0 for no smoothing.
    period_s : float
        Time between two values, in seconds.

    Returns
    -------
    int
        a * 32767 with a = 1 - exp(-period / time constant), 1..32767.
    """
    if time_constant_s <= 0:
        return NO_SMOOTHING_Q15
    alpha = -np.expm1(-period_s / time_constant_s)
    return int(np.clip(round(float(alpha) * NO_SMOOTHING_Q15), 1, NO_SMOOTHING_Q15))


class Detector:
    """One ``em_detector_t``. Feed rows and scores in order of time, read events.

    Parameters
    ----------
    params : DetectorParams
        Labels and thresholds.
    shape : StreamShape
        Row period in microseconds, values per row, network outputs.
    """

    def __init__(self, params: DetectorParams, shape: StreamShape) -> None:
        check_params(params, shape.n_scores)
        self.params = params
        self.shape = shape
        self._keep: list[Any] = []
        config = ffi.new("em_detector_config_t *")
        labels = ffi.new("em_label_t[]", len(params.labels))
        for target, source in zip(labels, params.labels, strict=True):
            self._fill(target, source)
        config.labels = labels
        config.n_labels = len(params.labels)
        config.n_scores = shape.n_scores
        config.inference_period_us = shape.row_period_us * params.hop_frames
        config.cadence.row_period_us = shape.row_period_us
        config.cadence.min_contrast = params.min_contrast
        config.cadence.clip_steps = params.clip_steps
        config.cadence.n_features = shape.n_features if params.min_contrast else 0
        needed = lib.em_detector_needed_bytes(config)
        memory = ffi.new("uint64_t[]", needed // 8 + 1)
        handle = ffi.new("em_detector_t **")
        self._keep += [config, labels, memory]
        if needed == 0 or lib.em_detector_init(handle, config, memory, needed) != lib.EM_OK:
            raise EarmarkError(
                f"the detector refuses {params.hop_frames=} with {shape}",
                "rows must follow each other every 5 to 25 ms and hold at least 8 bands",
            )
        self._handle = handle[0]
        self._event = ffi.new("em_event_t *")

    def _fill(self, target: Any, source: LabelParams) -> None:
        name = ffi.new("char[]", source.name.encode())
        self._keep.append(name)
        target.name = name
        if source.classes is not None:
            classes = ffi.new("uint16_t[]", list(source.classes))
            self._keep.append(classes)
            target.classes = classes
            target.n_classes = len(source.classes)
        for field in _PLAIN_FIELDS:
            setattr(target, field, getattr(source, field))
        target.flags = source.flags
        target.cadence = source.cadence.c_value

    def row(self, row: np.ndarray, now_us: int) -> None:
        """Take one front-end row, ndarray [shape=(n_features,), dtype=int8], contiguous."""
        lib.em_detector_row(self._handle, ffi.from_buffer("int8_t[]", row), now_us)

    def scores(self, scores: np.ndarray, now_us: int) -> None:
        """Take the scores of one inference, ndarray [shape=(n_scores,), dtype=int8]."""
        lib.em_detector_scores(self._handle, ffi.from_buffer("int8_t[]", scores), now_us)

    def score(self, label: int) -> float:
        """Smoothed score of a label, 0..1."""
        return float(lib.em_detector_score_permille(self._handle, label)) / 1000

    def events(self) -> Iterator[Event]:
        """Yield what has happened since the last call."""
        while lib.em_detector_pop(self._handle, self._event):
            event = self._event
            yield Event(
                label=self.params.labels[event.label].name,
                phase=Phase(event.phase),
                at_s=event.at_us / 1e6,
                onset_s=event.onset_us / 1e6,
                duration_s=event.dur_ms / 1e3,
                confidence=event.conf_permille / 1e3,
                threshold=event.thr_permille / 1e3,
                event_id=event.id,
            )

    def dropped(self) -> int:
        """Events that the full queue refused."""
        return int(lib.em_detector_dropped(self._handle))


# Fields that have the same name and unit in LabelParams and em_label_t.
_PLAIN_FIELDS = (
    "on_permille",
    "off_permille",
    "min_permille",
    "max_permille",
    "alpha_q15",
    "min_duration_ms",
    "refractory_ms",
    "update_ms",
    "cadence_permille",
    "cadence_alone_permille",
    "gate_permille",
)


def check_params(params: DetectorParams, n_scores: int) -> None:
    """Raise EarmarkError unless the C code would accept the parameters."""
    names = [label.name for label in params.labels]
    for name in names:
        if LABEL_PATTERN.fullmatch(name) is None:
            raise EarmarkError(
                f"label '{name}' is not a valid event type",
                "use up to 32 of a-z, 0-9 and _, beginning with a letter",
            )
    if len(set(names)) != len(names):
        raise EarmarkError(f"a label appears twice: {', '.join(names)}", "rename one of them")
    for index, label in enumerate(params.labels):
        _check_label(index, label, n_scores)
    if params.hop_frames < 1:
        raise EarmarkError(f"hop_frames is {params.hop_frames}", "it counts rows: at least 1")


def _check_label(index: int, label: LabelParams, n_scores: int) -> None:
    classes = (index,) if label.classes is None else label.classes
    if not classes or min(classes) < 0 or max(classes) >= n_scores:
        raise EarmarkError(
            f"label '{label.name}' uses outputs {list(classes)} of a network with {n_scores}",
            "labels and model belong to different trainings",
        )
    for field in ("on_permille", "cadence_permille", "cadence_alone_permille"):
        if not 1 <= getattr(label, field) <= NEVER_PERMILLE:
            raise EarmarkError(
                f"label '{label.name}': {field} is {getattr(label, field)}",
                f"1 to 1000 thousandths, or {NEVER_PERMILLE} for never",
            )
    if not 0 <= label.off_permille <= label.on_permille:
        raise EarmarkError(
            f"label '{label.name}': off {label.off_permille} is above on {label.on_permille}",
            "an event must end below the level at which it begins",
        )
    if not 1 <= label.alpha_q15 <= NO_SMOOTHING_Q15 or label.min_permille > label.max_permille:
        raise EarmarkError(
            f"label '{label.name}': smoothing or threshold bounds out of range",
            f"alpha_q15 1..{NO_SMOOTHING_Q15}, min_permille <= max_permille",
        )


class _CadenceLevels(NamedTuple):
    """Correlations, in thousandths: with the network's agreement, and without it."""

    agreed: int
    alone: int


# Measured on the calibration half (docs/streams.md): in 11.7 h of backgrounds and other sounds the
# strongest false pair of bursts is 711 for T3 and below 400 for T4, over all front ends; of 300
# alarms of each kind at 0 dB SNR in rooms the weakest pairs are 764 and 657.
_LEVELS = {
    Cadence.T3: _CadenceLevels(730, 770),
    Cadence.T4: _CadenceLevels(560, 650),
}
_CADENCES = {"smoke_alarm": Cadence.T3, "co_alarm": Cadence.T4}
_ONCE = frozenset({"glass_break", "door_knock", "doorbell", "low_battery_chirp", "sneezing"})
_CRITICAL = frozenset({"smoke_alarm", "co_alarm", "glass_break", "scream"})


def default_label(
    name: str, *, spec: FrontEndSpec, hop_frames: int, classes: Sequence[int] | None = None
) -> LabelParams:
    """Return cautious parameters for a label before `earmark calibrate` has seen streams.

    Parameters
    ----------
    name : str
        Event type. Smoke and CO alarms are recognised by name and get their cadence.
    spec : FrontEndSpec
        Decides how strongly a cadence shows.
    hop_frames : int
        Rows between two inferences.
    classes : sequence of int or None
        Network outputs, None for the output with the label's index.
    """
    period_s = hop_frames * spec.hop_length / spec.sample_rate_hz
    outputs = None if classes is None else tuple(classes)
    cadence = _CADENCES.get(name, Cadence.NONE)
    if cadence is not Cadence.NONE and has_bands(spec):
        levels = _LEVELS[cadence]
        return LabelParams(
            name=name,
            classes=outputs,
            # The score alone never raises an alarm: it cannot tell T3 from T4 or a ringtone.
            on_permille=NEVER_PERMILLE,
            off_permille=NEVER_PERMILLE,
            min_permille=500,
            alpha_q15=smoothing_q15(0.5, period_s),
            update_ms=60_000,
            refractory_ms=10_000,
            critical=True,
            cadence=cadence,
            cadence_permille=levels.agreed,
            cadence_alone_permille=levels.alone,
            gate_permille=400,
        )
    return LabelParams(
        name=name,
        classes=outputs,
        on_permille=700,
        off_permille=400,
        alpha_q15=smoothing_q15(0.8, period_s),
        min_duration_ms=round(2 * period_s * 1000),
        reported=name not in BACKGROUND_LABELS,
        critical=name in _CRITICAL,
        once=name in _ONCE,
    )


def default_params(labels: Sequence[str], *, spec: FrontEndSpec, hop_frames: int) -> DetectorParams:
    """Return `default_label` for every label of a network with one output per label."""
    return DetectorParams(
        labels=tuple(default_label(name, spec=spec, hop_frames=hop_frames) for name in labels),
        hop_frames=hop_frames,
        min_contrast=default_contrast(spec),
        clip_steps=default_clip(spec),
    )


def has_bands(spec: FrontEndSpec) -> bool:
    """Whether rows are bands of a spectrum, in which a cadence can be seen (not cepstra)."""
    return spec.dct is None


def default_contrast(spec: FrontEndSpec) -> int:
    """Return the least difference between pulse and gap that counts, in int8 steps: 5 dB.

    PCEN rows are taken back to logarithmic ones first, with about as many steps per decibel as
    0.14 / 5 dB of PCEN. 0 (no cadence check) for cepstra.
    """
    if not has_bands(spec):
        return 0
    if isinstance(spec.compression, PcenCompression):
        return max(1, round(0.14 / spec.output_scale))
    step = 5.0 if spec.compression.unit == "decibel" else 0.5 * math.log(10)
    # A band of magnitudes moves half as far in the logarithm as one of powers.
    return max(1, round(step / (1 if spec.spectrum == "power" else 2) / spec.output_scale))


def default_clip(spec: FrontEndSpec) -> int:
    """Return how many int8 steps lie above 0.9 in PCEN rows; 0: rows are logarithmic.

    It tells the cadence check how PCEN is quantised (``pcen_log.h``).
    """
    if not isinstance(spec.compression, PcenCompression):
        return 0
    return max(0, 127 - round(0.9 / spec.output_scale) - spec.output_zero_point)
