"""Events, boots, timeline: the SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from earmark_gateway import model
from earmark_gateway.store.sql import RowReader, SqlBase

if TYPE_CHECKING:
    from earmark_gateway import wire

_BOOT = RowReader(model.Boot)
_EVENT = RowReader(model.StoredEvent, bool_fields=("sync", "late"))
_EPISODE = RowReader(model.Episode, bool_fields=("false_alarm",))

# dur_ms comes from whichever phase carried it; the episode index makes the lookup cheap.
_TIMELINE = """
SELECT e.id, e.device_id, e.label, e.room, e.resident, e.occurred_ms, e.received_ms, e.conf, e.thr,
  (SELECT MAX(d.dur_ms) FROM events d
    WHERE d.device_id = e.device_id AND d.eid = e.eid AND d.boot = e.boot),
  e.alert_id, a.state, COALESCE(a.false_alarm, 0)
FROM events e LEFT JOIN alerts a ON a.id = e.alert_id
WHERE (e.phase IN ('start', 'once') OR (e.phase = 'end' AND NOT EXISTS (
  SELECT 1 FROM events s WHERE s.device_id = e.device_id AND s.eid = e.eid AND s.boot = e.boot
    AND s.phase = 'start')))
"""


class EventSql(SqlBase):
    """`store.base.EventQueries` in SQL."""

    def get_boot(self, device_id: str, boot: str) -> model.Boot | None:
        """Bookkeeping of one boot."""
        row = self._one(
            f"SELECT {_BOOT.columns} FROM boots WHERE device_id = ? AND boot = ?", device_id, boot
        )
        return _BOOT(row) if row else None

    def put_boot(self, boot: model.Boot) -> None:
        """Insert or replace the bookkeeping of one boot."""
        self._change(
            f"INSERT INTO boots ({_BOOT.columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (device_id, boot) DO UPDATE SET last_ms = excluded.last_ms, "
            "upto = excluded.upto, max_seq = excluded.max_seq, stored = excluded.stored, "
            "seq_next = excluded.seq_next, offset_ms = excluded.offset_ms",
            boot.device_id,
            boot.boot,
            boot.boot_n,
            boot.first_ms,
            boot.last_ms,
            boot.upto,
            boot.max_seq,
            boot.stored,
            boot.seq_next,
            boot.offset_ms,
        )

    def boot_number_taken(self, device_id: str, boot: str, boot_n: int) -> bool:
        """Whether another boot of the device has had this number."""
        row = self._one(
            "SELECT 1 FROM boots WHERE device_id = ? AND boot_n = ? AND boot <> ? LIMIT 1",
            device_id,
            boot_n,
            boot,
        )
        return row is not None

    def boots_with_gaps(self, *, older_than_ms: int) -> list[model.Boot]:
        """Boots that miss events and have been quiet about it since `older_than_ms`."""
        rows = self._all(
            f"SELECT {_BOOT.columns} FROM boots WHERE last_ms < ? AND "
            "CASE WHEN max_seq > seq_next - 1 THEN max_seq ELSE seq_next - 1 END > stored",
            older_than_ms,
        )
        return [_BOOT(row) for row in rows]

    def insert_event(
        self,
        device: model.Device,
        event: wire.Event,
        *,
        received_ms: int,
        occurred_ms: int,
    ) -> int | None:
        """Store an event; None if it is stored already."""
        row = self._one(
            "INSERT INTO events (device_id, boot, boot_n, seq, eid, label, phase, ts, up_ms, sync, "
            "conf, thr, dur_ms, model, late, received_ms, occurred_ms, room, resident) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (device_id, boot, seq) DO NOTHING RETURNING id",
            device.id,
            event.boot,
            event.boot_n,
            event.seq,
            event.eid,
            event.event_type,
            event.phase,
            event.ts,
            event.up_ms,
            int(event.sync),
            event.conf,
            event.thr,
            event.dur_ms,
            event.model,
            int(event.late),
            received_ms,
            occurred_ms,
            device.room,
            device.resident,
        )
        return row[0] if row else None

    def contiguous_upto(self, device_id: str, boot: str, upto: int) -> int:
        """Highest n such that 1..n are stored."""
        # The first stored number whose successor is missing, looking from `upto` on.
        row = self._one(
            "SELECT MIN(e.seq) FROM events e WHERE e.device_id = ? AND e.boot = ? AND e.seq >= ? "
            "AND NOT EXISTS (SELECT 1 FROM events n WHERE n.device_id = e.device_id "
            "AND n.boot = e.boot AND n.seq = e.seq + 1) "
            "AND EXISTS (SELECT 1 FROM events f WHERE f.device_id = e.device_id "
            "AND f.boot = e.boot AND f.seq = ?)",
            device_id,
            boot,
            upto + 1,
            upto + 1,
        )
        return upto if row is None or row[0] is None else int(row[0])

    def set_event_alert(self, event_id: int, alert_id: int) -> None:
        """Join an event to an alert."""
        self._change("UPDATE events SET alert_id = ? WHERE id = ?", alert_id, event_id)

    def episode_alert(self, device_id: str, boot: str, eid: str) -> int | None:
        """Alert of an earlier phase of the same sound."""
        row = self._one(
            "SELECT alert_id FROM events WHERE device_id = ? AND eid = ? AND boot = ? "
            "AND alert_id IS NOT NULL LIMIT 1",
            device_id,
            eid,
            boot,
        )
        return row[0] if row else None

    def has_start(self, device_id: str, boot: str, eid: str) -> bool:
        """Whether the start of a sound is stored."""
        row = self._one(
            "SELECT 1 FROM events WHERE device_id = ? AND eid = ? AND boot = ? "
            "AND phase = 'start' LIMIT 1",
            device_id,
            eid,
            boot,
        )
        return row is not None

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
        sql, values = _TIMELINE, []
        for condition, value in (
            ("e.occurred_ms < ?", before_ms),
            ("e.occurred_ms >= ?", since_ms),
            ("e.label = ?", label or None),
            ("e.room = ?", room or None),
            ("e.device_id = ?", device_id or None),
            ("e.resident = ?", resident or None),
        ):
            if value is not None:
                sql += f" AND {condition}"
                values.append(value)
        rows = self._all(f"{sql} ORDER BY e.occurred_ms DESC, e.id DESC LIMIT ?", *values, limit)
        return [_EPISODE(row) for row in rows]

    def events_of_alert(self, alert_id: int) -> list[model.StoredEvent]:
        """Events joined to an alert, in order of time."""
        rows = self._all(
            f"SELECT {_EVENT.columns} FROM events WHERE alert_id = ? ORDER BY occurred_ms, id",
            alert_id,
        )
        return [_EVENT(row) for row in rows]

    def last_event(self, device_id: str) -> model.StoredEvent | None:
        """Latest stored event of a device (the privacy page shows it as received)."""
        row = self._one(
            f"SELECT {_EVENT.columns} FROM events WHERE device_id = ? ORDER BY id DESC LIMIT 1",
            device_id,
        )
        return _EVENT(row) if row else None

    def count_events(
        self, *, since_ms: int, until_ms: int, resident: str | None = None
    ) -> dict[tuple[str, str], int]:
        """Sounds by (resident, label)."""
        sql = (
            "SELECT resident, label, COUNT(*) FROM events WHERE phase IN ('start', 'once') "
            "AND occurred_ms >= ? AND occurred_ms < ?"
        )
        values: list[object] = [since_ms, until_ms]
        if resident is not None:
            sql += " AND resident = ?"
            values.append(resident)
        rows = self._all(sql + " GROUP BY resident, label", *values)
        return {(who, label): n for who, label, n in rows}
