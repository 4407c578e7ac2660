"""What the gateway asks of a database. Both stores pass the same contract tests.

`Store.write()` is one transaction: all of it becomes durable when the block ends, or none.
`Store.read()` sees a consistent snapshot. Both hand out a `Transaction`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from earmark_gateway import model, wire


class EventQueries(Protocol):
    """Events, boots and the timeline."""

    def get_boot(self, device_id: str, boot: str) -> model.Boot | None:
        """Bookkeeping of one boot."""
        ...

    def put_boot(self, boot: model.Boot) -> None:
        """Insert or replace the bookkeeping of one boot."""
        ...

    def boot_number_taken(self, device_id: str, boot: str, boot_n: int) -> bool:
        """Whether another boot of the device has had this number."""
        ...

    def boots_with_gaps(self, *, older_than_ms: int) -> list[model.Boot]:
        """Boots that miss events and have been quiet since `older_than_ms`."""
        ...

    def insert_event(
        self,
        device: model.Device,
        event: wire.Event,
        *,
        received_ms: int,
        occurred_ms: int,
    ) -> int | None:
        """Store an event; None if this (device, boot, seq) is stored already."""
        ...

    def contiguous_upto(self, device_id: str, boot: str, upto: int) -> int:
        """Highest n such that every event 1..n of the boot is stored, given that 1..upto are."""
        ...

    def set_event_alert(self, event_id: int, alert_id: int) -> None:
        """Join an event to an alert."""
        ...

    def episode_alert(self, device_id: str, boot: str, eid: str) -> int | None:
        """Alert that an earlier phase of the same sound belongs to."""
        ...

    def has_start(self, device_id: str, boot: str, eid: str) -> bool:
        """Whether the start of a sound is stored."""
        ...

    def timeline(
        self,
        *,
        before_ms: int | None = None,
        since_ms: int | None = None,
        limit: int = 50,
        label: str = "",
        room: str = "",
        device_id: str = "",
        resident: str = "",
    ) -> list[model.Episode]:
        """Sounds, newest first."""
        ...

    def events_of_alert(self, alert_id: int) -> list[model.StoredEvent]:
        """Events joined to an alert, in order of time."""
        ...

    def last_event(self, device_id: str) -> model.StoredEvent | None:
        """Latest stored event of a device."""
        ...

    def count_events(
        self, *, since_ms: int, until_ms: int, resident: str | None = None
    ) -> dict[tuple[str, str], int]:
        """Sounds (start or once) by (resident, label)."""
        ...


class AlertQueries(Protocol):
    """Alerts, notifications, timers, snoozes."""

    def insert_alert(self, alert: model.Alert) -> int:
        """Store a new alert; its `id` is ignored and returned."""
        ...

    def get_alert(self, alert_id: int, *, lock: bool = False) -> model.Alert | None:
        """Read an alert; `lock` keeps others from changing it."""
        ...

    def find_group(self, group_key: str, *, since_ms: int) -> model.Alert | None:
        """Return the latest alert of a group that is open or has sounded since `since_ms`."""
        ...

    def update_alert(self, alert_id: int, **changes: Any) -> None:
        """Change columns of an alert."""
        ...

    def acknowledge_alert(self, alert_id: int, *, by: str, how: str, now_ms: int) -> bool:
        """One UPDATE ... WHERE decides; False if it was acknowledged before."""
        ...

    def set_false_alarm(self, alert_id: int, *, false_alarm: bool, note: str) -> None:
        """Record what a person says about an alert."""
        ...

    def open_alerts(self) -> list[model.Alert]:
        """Alerts that wait for somebody, newest first."""
        ...

    def alerts(
        self, *, before_ms: int | None = None, limit: int = 50, resident: str = ""
    ) -> list[model.Alert]:
        """Alerts, newest first."""
        ...

    def insert_outbox(self, row: model.NewOutboxRow, *, now_ms: int) -> bool:
        """Queue a notification; False if its key exists."""
        ...

    def outbox_of_alert(self, alert_id: int) -> list[model.OutboxRow]:
        """Notifications of an alert, oldest first."""
        ...

    def count_outbox(self) -> dict[str, int]:
        """Notifications by state."""
        ...

    def cancel_outbox(self, alert_id: int) -> int:
        """Take back what has not been sent yet."""
        ...

    def count_unsent(self, alert_id: int) -> int:
        """Notifications of an alert that are still to be delivered."""
        ...

    def insert_timer(self, timer: model.Timer) -> bool:
        """Set a timer; False if its key exists."""
        ...

    def due_timers(self, now_ms: int, limit: int) -> list[model.Timer]:
        """Timers due by now, the most overdue first."""
        ...

    def take_timer(self, timer_id: int) -> bool:
        """Remove a timer; False if another replica was faster."""
        ...

    def timers_of_alert(self, alert_id: int) -> list[model.Timer]:
        """Timers of an alert."""
        ...

    def timers(self) -> list[model.Timer]:
        """All timers in order of time."""
        ...

    def delete_timers(self, alert_id: int) -> None:
        """Drop the timers of an alert."""
        ...

    def pull_in_timers(self, now_ms: int) -> int:
        """After the clock was set back: no interval may take longer than its length."""
        ...

    def longest_wait_ms(self, now_ms: int) -> int:
        """By how much a timer is due later than its own length allows; 0 if none is."""
        ...

    def insert_snooze(self, snooze: model.Snooze) -> int:
        """Hold back non-critical notifications; returns its id."""
        ...

    def snoozes(self, now_ms: int) -> list[model.Snooze]:
        """Snoozes in force."""
        ...

    def delete_snooze(self, snooze_id: int) -> None:
        """End a snooze."""
        ...

    def use_link(self, token_id: str, now_ms: int) -> bool:
        """Mark a one-time link as used; False if it was."""
        ...


class DeviceQueries(Protocol):
    """Registry, problems, dead letters, digests, key-value pairs."""

    def get_device(self, device_id: str) -> model.Device | None:
        """Look up a device."""
        ...

    def devices(self, *, state: str = "") -> list[model.Device]:
        """Devices by room and name; `state` selects."""
        ...

    def insert_device(self, device: model.Device) -> bool:
        """Register a device; False if it is known."""
        ...

    def update_device(self, device_id: str, **changes: Any) -> None:
        """Change columns of a device."""
        ...

    def delete_device(self, device_id: str) -> None:
        """Forget a device; its events stay until their retention ends."""
        ...

    def set_problem(self, problem: model.Problem) -> bool:
        """Note a problem; False if it was known."""
        ...

    def clear_problem(self, device_id: str, kind: str) -> bool:
        """Note the end of a problem; False if there was none."""
        ...

    def problems(self, device_id: str = "") -> list[model.Problem]:
        """Present problems, of one device or of all."""
        ...

    def insert_dead_letter(
        self, *, topic: str, reason: str, detail: str, payload: bytes, now_ms: int
    ) -> None:
        """Keep reason, hash and head of a refused message; repeats are counted."""
        ...

    def dead_letters(self, limit: int = 50) -> list[model.DeadLetter]:
        """Refused messages, newest first."""
        ...

    def put_digest(self, day: str, resident: str, label: str, n: int) -> None:
        """Remember the count of a day beyond the retention of its events."""
        ...

    def digest(self, day: str) -> dict[tuple[str, str], int]:
        """Return the counts of a day by (resident, label)."""
        ...

    def get_meta(self, key: str) -> str | None:
        """Read a value."""
        ...

    def put_meta(self, key: str, value: str) -> None:
        """Write a value."""
        ...

    def put_meta_once(self, key: str, value: str) -> str:
        """Set a value unless there is one; returns the one that holds."""
        ...

    def counts(self) -> dict[str, int]:
        """Rows by table, for metrics and diagnostics."""
        ...

    def purge(
        self, *, events_ms: int, alerts_ms: int, digest_day: str, dead_letters_ms: int
    ) -> dict[str, int]:
        """Delete what is older than the given times; rows deleted by table."""
        ...

    def export(self, resident: str) -> Iterator[dict[str, Any]]:
        """Everything about one resident, a dictionary with `table` per row."""
        ...

    def erase(self, resident: str) -> dict[str, int]:
        """Delete everything about one resident; rows deleted by table."""
        ...


class Transaction(EventQueries, AlertQueries, DeviceQueries, Protocol):
    """Everything that can be read or written in one transaction."""


class Store(Protocol):
    """A database."""

    def write(self) -> AbstractContextManager[Transaction]:
        """Open the transaction; it is durable when the block ends without an exception.

        Writers run one at a time, across replicas too.

        Raises
        ------
        StoreUnavailableError
            Disk full, read-only or unreachable: nothing was changed; try again later.
        """
        ...

    def read(self) -> AbstractContextManager[Transaction]:
        """Open a consistent view; writing through it is an error."""
        ...

    def take_over(self) -> None:
        """Begin to work on this database; a gateway calls it once.

        With SQLite there is only one: leases of a killed predecessor end now, and a second gateway
        on the same file is refused. With PostgreSQL leases end by their time.
        """
        ...

    def claim_outbox(
        self, owner: str, *, now_ms: int, lease_ms: int, limit: int, channel: str = ""
    ) -> Sequence[model.OutboxRow]:
        """Lease due notifications of one channel, or of all; critical first.

        No two replicas get the same one.
        """
        ...

    def due_channels(self, *, now_ms: int, lease_ms: int) -> list[str]:
        """Channels with something to deliver now, those with something critical first."""
        ...

    def finish_outbox(
        self, row_id: int, owner: str, *, state: str, now_ms: int, next_ms: int = 0, error: str = ""
    ) -> bool:
        """Record the outcome of a leased notification; False if the lease was lost."""
        ...

    def next_outbox_ms(self, *, after_ms: int = -1) -> int | None:
        """When the next notification after `after_ms` is due."""
        ...

    def forget(self) -> None:
        """Remove from the files what has been deleted from the tables, as far as we can."""
        ...

    def backup(self, target: Path) -> None:
        """Write a consistent copy while the gateway runs."""
        ...

    def close(self) -> None:
        """Release every connection."""
        ...
