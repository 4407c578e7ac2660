"""Registry, problems, dead letters, digests, retention: the SQL."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec

from earmark_gateway import model
from earmark_gateway.store.sql import RowReader, SqlBase

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEVICE = RowReader(model.Device, json_fields=("labels", "thresholds", "health"))
_PROBLEM = RowReader(model.Problem)
_DEAD = RowReader(model.DeadLetter)

MAX_DEAD_LETTERS = 10_000
HEAD_BYTES = 256
_TOPIC_CHARS = 256
TABLES = ("devices", "boots", "events", "alerts", "outbox", "timers", "dead_letters", "problems")


class DeviceSql(SqlBase):
    """`store.base.DeviceQueries` in SQL."""

    def get_device(self, device_id: str) -> model.Device | None:
        """Look up a device."""
        row = self._one(f"SELECT {_DEVICE.columns} FROM devices WHERE id = ?", device_id)
        return _device(row) if row else None

    def devices(self, *, state: str = "") -> list[model.Device]:
        """Devices by room and name; `state` selects."""
        rows = self._all(
            f"SELECT {_DEVICE.columns} FROM devices WHERE ? IN ('', state) ORDER BY room, name, id",
            state,
        )
        return [_device(row) for row in rows]

    def insert_device(self, device: model.Device) -> bool:
        """Register a device; False if it is known."""
        values = {f: getattr(device, f) for f in device.__struct_fields__}
        return self._insert("devices", values, "ON CONFLICT (id) DO NOTHING").rowcount == 1

    def update_device(self, device_id: str, **changes: Any) -> None:
        """Change columns of a device."""
        self._update("devices", "id", device_id, changes)

    def delete_device(self, device_id: str) -> None:
        """Forget a device; its events stay until their retention ends."""
        self._change("DELETE FROM problems WHERE device_id = ?", device_id)
        self._change("DELETE FROM devices WHERE id = ?", device_id)

    def set_problem(self, problem: model.Problem) -> bool:
        """Note a problem once."""
        return (
            self._change(
                f"INSERT INTO problems ({_PROBLEM.columns}) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (device_id, kind) DO NOTHING",
                problem.device_id,
                problem.kind,
                problem.since_ms,
                problem.detail,
            )
            == 1
        )

    def clear_problem(self, device_id: str, kind: str) -> bool:
        """Note the end of a problem; False if there was none."""
        sql = "DELETE FROM problems WHERE device_id = ? AND kind = ?"
        return self._change(sql, device_id, kind) == 1

    def problems(self, device_id: str = "") -> list[model.Problem]:
        """Present problems, of one device or of all."""
        sql = (
            f"SELECT {_PROBLEM.columns} FROM problems WHERE ? IN ('', device_id) ORDER BY since_ms"
        )
        return [_PROBLEM(row) for row in self._all(sql, device_id)]

    def insert_dead_letter(
        self, *, topic: str, reason: str, detail: str, payload: bytes, now_ms: int
    ) -> None:
        """Keep the reason, a hash and the head of a refused message; repeats are counted."""
        self._change(
            "INSERT INTO dead_letters (topic, reason, detail, sha256, head, n_bytes, count, "
            "first_ms, last_ms) VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?) ON CONFLICT (topic, sha256) "
            "DO UPDATE SET count = dead_letters.count + 1, last_ms = excluded.last_ms",
            topic[:_TOPIC_CHARS],
            reason,
            detail,
            hashlib.sha256(payload).hexdigest(),
            payload[:HEAD_BYTES],
            len(payload),
            now_ms,
            now_ms,
        )
        self._change(
            "DELETE FROM dead_letters WHERE id <= (SELECT MAX(id) FROM dead_letters) - ?",
            MAX_DEAD_LETTERS,
        )

    def dead_letters(self, limit: int = 50) -> list[model.DeadLetter]:
        """Refused messages, newest first."""
        sql = f"SELECT {_DEAD.columns} FROM dead_letters ORDER BY last_ms DESC, id DESC LIMIT ?"
        return [_DEAD(row) for row in self._all(sql, limit)]

    def put_digest(self, day: str, resident: str, label: str, n: int) -> None:
        """Remember the count of a day beyond the retention of its events."""
        self._change(
            "INSERT INTO digests (day, resident, label, n) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (day, resident, label) DO UPDATE SET n = excluded.n",
            day,
            resident,
            label,
            n,
        )

    def digest(self, day: str) -> dict[tuple[str, str], int]:
        """Return the counts of a day by (resident, label)."""
        rows = self._all("SELECT resident, label, n FROM digests WHERE day = ?", day)
        return {(resident, label): n for resident, label, n in rows}

    def get_meta(self, key: str) -> str | None:
        """Read a value."""
        row = self._one("SELECT value FROM meta WHERE key = ?", key)
        return row[0] if row else None

    def put_meta(self, key: str, value: str) -> None:
        """Write a value."""
        self._change(
            "INSERT INTO meta (key, value) VALUES (?, ?) "
            "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            key,
            value,
        )

    def put_meta_once(self, key: str, value: str) -> str:
        """Write a value unless there is one; return the one that holds."""
        sql = "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO NOTHING"
        self._change(sql, key, value)
        return self.get_meta(key) or value

    def counts(self) -> dict[str, int]:
        """Rows by table."""
        sizes = {}
        for table in TABLES:
            row = self._one(f"SELECT COUNT(*) FROM {table}")
            sizes[table] = int(row[0]) if row else 0
        return sizes

    def purge(
        self, *, events_ms: int, alerts_ms: int, digest_day: str, dead_letters_ms: int
    ) -> dict[str, int]:
        """Delete what is older than the given times."""
        # A boot whose events go away keeps its numbers: replays stay recognisable.
        self._change(
            "UPDATE boots SET upto = max_seq WHERE last_ms < ? AND upto < max_seq", events_ms
        )
        old = "SELECT id FROM alerts WHERE opened_ms < ? AND state <> 'open'"
        return {
            "events": self._change("DELETE FROM events WHERE received_ms < ?", events_ms),
            "outbox": self._change(f"DELETE FROM outbox WHERE alert_id IN ({old})", alerts_ms)
            + self._change(
                "DELETE FROM outbox WHERE alert_id IS NULL AND created_ms < ? "
                "AND state NOT IN ('pending', 'leased', 'failed')",
                alerts_ms,
            ),
            "alerts": self._change(
                "DELETE FROM alerts WHERE opened_ms < ? AND state <> 'open'", alerts_ms
            ),
            "digests": self._change("DELETE FROM digests WHERE day < ?", digest_day),
            "dead_letters": self._change(
                "DELETE FROM dead_letters WHERE last_ms < ?", dead_letters_ms
            ),
            "used_links": self._change("DELETE FROM used_links WHERE used_ms < ?", alerts_ms),
            "snoozes": self._change("DELETE FROM snoozes WHERE until_ms < ?", alerts_ms),
        }

    def export(self, resident: str) -> Iterator[dict[str, Any]]:
        """Everything about one resident."""
        for table, columns, where in _OF_RESIDENT:
            names = columns.split(", ")
            sql = f"SELECT {columns} FROM {table} WHERE {where} ORDER BY 1"
            for row in self._all(sql, resident):
                yield {"table": table, **dict(zip(names, row, strict=True))}

    def erase(self, resident: str) -> dict[str, int]:
        """Delete everything about one resident; the device itself returns to quarantine."""
        mine = "SELECT id FROM alerts WHERE resident = ?"
        deleted = {
            "outbox": self._change(f"DELETE FROM outbox WHERE alert_id IN ({mine})", resident),
            "timers": self._change(f"DELETE FROM timers WHERE alert_id IN ({mine})", resident),
            "events": self._change("DELETE FROM events WHERE resident = ?", resident),
            "alerts": self._change("DELETE FROM alerts WHERE resident = ?", resident),
            "digests": self._change("DELETE FROM digests WHERE resident = ?", resident),
        }
        # A digest mail names several residents: none of it may stay.
        deleted["outbox"] += self._change("DELETE FROM outbox WHERE kind = 'digest'")
        deleted["devices"] = self._change(
            "UPDATE devices SET state = 'quarantined', resident = '', name = '', room = '', "
            "health = NULL WHERE resident = ?",
            resident,
        )
        return deleted


_OF_RESIDENT = (
    ("devices", "id, state, name, room, resident, first_seen_ms, last_seen_ms", "resident = ?"),
    (
        "events",
        (
            "id, device_id, boot, seq, eid, label, phase, ts, up_ms, conf, thr, dur_ms, model, "
            "late, received_ms, occurred_ms, room, resident, alert_id"
        ),
        "resident = ?",
    ),
    (
        "alerts",
        (
            "id, label, severity, device_id, room, resident, rule, state, opened_ms, occurred_ms, "
            "count, dur_ms, acked_by, acked_ms, acked_how, false_alarm, note"
        ),
        "resident = ?",
    ),
    (
        "outbox",
        "id, key, alert_id, recipient, kind, severity, payload, state, created_ms, sent_ms",
        "alert_id IN (SELECT id FROM alerts WHERE resident = ?)",
    ),
    ("digests", "day, resident, label, n", "resident = ?"),
)


def _device(row: tuple[Any, ...]) -> model.Device:
    device = _DEVICE(row)
    if device.labels is None:
        return device
    return msgspec.structs.replace(device, labels=tuple(device.labels))
