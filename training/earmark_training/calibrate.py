"""Operating points per label: false alarms per day against recall and latency, from streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from earmark_training.detector import NEVER_PERMILLE, Cadence
from earmark_training.stream import Trace, detect, match_events, merge_results, trace_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from earmark_training.deploy.bundle import Bundle
    from earmark_training.detector import DetectorParams, LabelParams
    from earmark_training.stream import LabelResult
    from earmark_training.stream_scenes import Stream

SCORE_THRESHOLDS = tuple(range(200, 1000, 25))
CADENCE_THRESHOLDS = tuple(range(500, 901, 50))
# The event ends when the smoothed score has fallen to this part of the threshold.
OFF_RATIO = 0.5
# Part of the best recall that is given for margin: a few hours hold few of the sounds of a home,
# and those not heard here raise more false alarms than those that were.
MARGIN = 0.2


@dataclass(frozen=True)
class Heard:
    """A stream after front end and network: thresholds are tried on it without running them."""

    stream: Stream
    trace: Trace


def hear(
    bundle: Bundle, streams: Iterable[Stream], progress: Callable[[], None] | None = None
) -> list[Heard]:
    """Run streams through the bundle's C front end and network."""
    network = bundle.network()
    out = []
    for stream in streams:
        trace = trace_stream(bundle.spec, network, stream.pcm, hop_frames=bundle.hop_frames)
        out.append(Heard(stream, trace))
        if progress is not None:
            progress()
    return out


def with_threshold(label: LabelParams, permille: int) -> LabelParams:
    """Return the label with another threshold; cadence labels keep theirs on the score."""
    if label.cadence is Cadence.NONE:
        return msgspec.structs.replace(
            label, on_permille=permille, off_permille=round(permille * OFF_RATIO)
        )
    alone = max(permille, label.cadence_alone_permille)
    return msgspec.structs.replace(label, cadence_permille=permille, cadence_alone_permille=alone)


def sweep(heard: Sequence[Heard], params: DetectorParams) -> dict[str, dict[int, LabelResult]]:
    """Try every threshold on every stream.

    Returns
    -------
    dict
        Label -> threshold in thousandths -> result over all streams.
    """
    curves: dict[str, dict[int, LabelResult]] = {
        label.name: {} for label in params.labels if label.reported
    }
    cadence = {label.name: label for label in params.labels if label.cadence is not Cadence.NONE}
    current = {label.cadence_permille for label in cadence.values()}
    by_score = msgspec.structs.replace(params, min_contrast=0)
    for thresholds, base, chosen in (
        (SCORE_THRESHOLDS, by_score, curves.keys() - cadence.keys()),
        (sorted(current.union(CADENCE_THRESHOLDS)), params, curves.keys() & cadence.keys()),
    ):
        for permille in thresholds if chosen else ():
            tried = msgspec.structs.replace(
                base, labels=tuple(with_threshold(label, permille) for label in base.labels)
            )
            for name, result in _evaluate(heard, tried, sorted(chosen)).items():
                curves[name][permille] = result
    return curves


def _evaluate(
    heard: Sequence[Heard], params: DetectorParams, labels: Sequence[str]
) -> Mapping[str, LabelResult]:
    return merge_results(
        match_events(
            [event for event in detect(item.trace, params) if event.label in labels],
            item.stream.played,
            labels,
            audio_s=item.trace.audio_s,
        )
        for item in heard
    )


def choose(
    curve: Mapping[int, LabelResult], max_false_per_24h: float, *, keep: int | None = None
) -> int | None:
    """Return the operating point: few enough false alarms, nearly the best recall, and margin.

    Parameters
    ----------
    curve : mapping of int to LabelResult
    max_false_per_24h : float
        Bound on the measured rate. Over short streams the rate moves in steps of 24 / hours.
    keep : int or None
        A threshold that was found on more material than this: the nearest one to it that loses no
        recall is taken.

    Returns
    -------
    int or None
        Without `keep` the highest threshold that finds at least 1 - `MARGIN` of what the best one
        finds. None if no threshold both finds the sound and keeps the bound, or the label was
        never played.
    """
    good = {
        permille: result.n_found
        for permille, result in curve.items()
        if result.n_played and 24 * result.n_false <= max_false_per_24h * result.negative_s / 3600
    }
    best = max(good.values(), default=0)
    if best == 0:
        return None
    if keep is not None:
        ties = (permille for permille, n_found in good.items() if n_found == best)
        return min(ties, key=lambda permille: abs(permille - keep))
    return max(permille for permille, n in good.items() if n >= (1 - MARGIN) * best)


def choose_all(
    curves: Mapping[str, Mapping[int, LabelResult]],
    params: DetectorParams,
    max_false_per_24h: float,
) -> dict[str, int | None]:
    """Choose a threshold for every label of `curves`.

    Labels without cadence that were played, and of which no threshold keeps the bound, get
    `NEVER_PERMILLE`: they are silent rather than a nuisance. Cadence levels rest on more hours
    than a calibration has and stay if they are as good as any other.
    """
    labels = {label.name: label for label in params.labels}
    chosen: dict[str, int | None] = {}
    for name, curve in curves.items():
        label = labels[name]
        is_cadence = label.cadence is not Cadence.NONE
        keep = label.cadence_permille if is_cadence else None
        chosen[name] = choose(curve, max_false_per_24h, keep=keep)
        played = any(result.n_played for result in curve.values())
        if chosen[name] is None and played and not is_cadence:
            chosen[name] = NEVER_PERMILLE
    return chosen


def apply_choice(params: DetectorParams, chosen: Mapping[str, int | None]) -> DetectorParams:
    """Return parameters with the chosen thresholds; labels without a choice stay as they are."""
    return msgspec.structs.replace(
        params,
        labels=tuple(
            label
            if (permille := chosen.get(label.name)) is None
            else with_threshold(label, permille)
            for label in params.labels
        ),
    )


def summary(
    curves: Mapping[str, Mapping[int, LabelResult]],
    chosen: Mapping[str, int | None],
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what is stored in the bundle's metrics under ``calibration``."""
    return {
        "settings": dict(settings),
        "labels": {
            name: {
                "chosen_permille": chosen.get(name),
                "curve": [
                    {"threshold_permille": permille, **result.summary()}
                    for permille, result in curve.items()
                ],
            }
            for name, curve in curves.items()
        },
    }
