"""What was played against what the caregiver was told."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

# A detector may decide after a short sound has ended (smoothing, one window of 1 s), and a cadence
# needs two further cycles: later than this, a notification is about something else.
LATE_S = 6.0


@dataclass(frozen=True)
class Played:
    """A sound in the scene, in seconds from its start."""

    label: str
    onset_s: float
    offset_s: float


@dataclass(frozen=True)
class Told:
    """A notification, placed on the scene's time axis (seconds)."""

    label: str
    at_s: float
    confidence: float


@dataclass
class Score:
    """The outcome of one scene.

    `rows` pairs every played sound with its notifications, in order of time.
    """

    rows: list[tuple[Played, list[Told]]] = field(default_factory=list)
    false_alarms: list[Told] = field(default_factory=list)

    @property
    def n_notified(self) -> int:
        """How many played sounds were notified at least once."""
        return sum(bool(told) for _, told in self.rows)

    @property
    def n_repeated(self) -> int:
        """Notifications beyond the first for the same sound."""
        return sum(max(0, len(told) - 1) for _, told in self.rows)

    @property
    def median_latency_s(self) -> float | None:
        """Median time from onset to first notification; None when nothing was notified."""
        latencies = [told[0].at_s - played.onset_s for played, told in self.rows if told]
        return statistics.median(latencies) if latencies else None


def score_scene(played: list[Played], told: list[Told]) -> Score:
    """Match notifications to sounds: same label, between onset and `LATE_S` after the end.

    Each notification goes to the latest matching onset; what matches nothing is a false alarm.
    """
    score = Score(rows=[(event, []) for event in sorted(played, key=lambda e: e.onset_s)])
    for notification in sorted(told, key=lambda t: t.at_s):
        matches = [
            row
            for event, row in score.rows
            if event.label == notification.label
            and event.onset_s <= notification.at_s <= event.offset_s + LATE_S
        ]
        (matches[-1] if matches else score.false_alarms).append(notification)
    return score
