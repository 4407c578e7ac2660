"""Rows of the database as Python values. Times are Unix milliseconds, `None` means unknown."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

DeviceState = Literal["approved", "quarantined", "revoked"]
# open: somebody must acknowledge; told: needs no answer; unanswered: the last step has passed.
AlertState = Literal["open", "told", "acknowledged", "unanswered"]
OutboxState = Literal["pending", "leased", "sent", "failed", "dead", "cancelled"]


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A device in the registry with its last known health."""

    id: str
    state: DeviceState
    name: str = ""
    room: str = ""
    resident: str = ""
    first_seen_ms: int = 0
    last_seen_ms: int = 0
    status: str = ""  # what it said last: online, offline (will) or stopped; a hint only
    status_ms: int = 0
    offline_since_ms: int | None = None  # decided from the age of the last heartbeat
    labels: tuple[str, ...] | None = None  # None: it has not said yet
    thresholds: dict[str, float] = {}
    firmware: str = ""
    model: str = ""
    frontend: str = ""
    health: dict[str, Any] | None = None  # the last `wire.Health` as a dictionary
    health_ms: int = 0
    refused: int = 0  # messages refused: quarantine or rate limit


class Boot(msgspec.Struct, kw_only=True):
    """Bookkeeping of one boot of a device; decides duplicates and gaps."""

    device_id: str
    boot: str
    boot_n: int
    first_ms: int
    last_ms: int
    upto: int = 0  # every event 1..upto is stored
    max_seq: int = 0
    stored: int = 0
    seq_next: int = 0  # from health: reveals a lost tail
    offset_ms: int | None = None  # Unix time at up_ms == 0, best estimate

    @property
    def missing(self) -> int:
        """Events that the device has numbered and the gateway has not."""
        return max(self.max_seq, self.seq_next - 1) - self.stored


class StoredEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `events`."""

    id: int
    device_id: str
    boot: str
    boot_n: int
    seq: int
    eid: str
    label: str
    phase: str
    ts: int | None
    up_ms: int
    sync: bool
    conf: float
    thr: float
    dur_ms: int | None
    model: str
    late: bool
    received_ms: int
    occurred_ms: int
    room: str
    resident: str
    alert_id: int | None


class Episode(msgspec.Struct, frozen=True, kw_only=True):
    """One sound on the timeline: its start joined with its end."""

    event_id: int
    device_id: str
    label: str
    room: str
    resident: str
    occurred_ms: int
    received_ms: int
    conf: float
    thr: float
    dur_ms: int | None  # None: still sounding, or an end that never came
    alert_id: int | None
    alert_state: AlertState | None
    false_alarm: bool


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """Something people are told about."""

    id: int
    group_key: str
    label: str
    severity: str
    device_id: str
    room: str
    resident: str
    rule: str
    state: AlertState
    opened_ms: int
    occurred_ms: int
    last_ms: int
    count: int  # sounds joined to it
    flushed: int  # how many of them people know about
    dur_ms: int | None
    conf: float | None
    step: int  # rungs of the escalation taken
    round: int  # how often the escalation has started over
    late: bool
    acked_by: str
    acked_ms: int | None
    acked_how: str
    false_alarm: bool
    note: str


class OutboxRow(msgspec.Struct, frozen=True, kw_only=True):
    """One notification to one person over one channel."""

    id: int
    key: str
    alert_id: int | None
    recipient: str
    channel: str
    kind: str
    severity: str
    payload: dict[str, Any]
    state: OutboxState
    attempts: int
    next_ms: int
    lease_until_ms: int
    owner: str
    created_ms: int
    sent_ms: int | None
    error: str


class NewOutboxRow(msgspec.Struct, frozen=True, kw_only=True):
    """A notification to be queued; `key` makes it unique."""

    key: str
    alert_id: int | None
    recipient: str
    channel: str
    kind: str
    severity: str
    payload: dict[str, Any]
    next_ms: int


class Timer(msgspec.Struct, frozen=True, kw_only=True):
    """Something due later. `delay_ms` None: tied to a time of day, otherwise to an interval."""

    key: str
    kind: str
    due_ms: int
    delay_ms: int | None = None
    alert_id: int | None = None
    payload: dict[str, Any] = {}
    id: int = 0


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A refused message: never its whole content."""

    id: int
    topic: str
    reason: str
    detail: str
    sha256: str
    head: bytes
    n_bytes: int
    count: int
    first_ms: int
    last_ms: int


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is wrong with a device now."""

    device_id: str
    kind: str
    since_ms: int
    detail: str


class Snooze(msgspec.Struct, frozen=True, kw_only=True):
    """Non-critical notifications held back. Empty `label`, `device_id`, `room`: any."""

    id: int
    label: str
    device_id: str
    room: str
    until_ms: int
    by: str
