"""Alerts, notifications, timers, snoozes: the SQL."""

from __future__ import annotations

from typing import Any

from earmark_gateway import model
from earmark_gateway.store.sql import RowReader, SqlBase

_ALERT = RowReader(model.Alert, bool_fields=("late", "false_alarm"))
OUTBOX = RowReader(model.OutboxRow, json_fields=("payload",))
_TIMER = RowReader(model.Timer, json_fields=("payload",))
_SNOOZE = RowReader(model.Snooze, renamed={"by": "by_whom"})


class AlertSql(SqlBase):
    """`store.base.AlertQueries` in SQL."""

    # PostgreSQL adds FOR UPDATE so that an acknowledgement and a timer cannot both win.
    lock_suffix = ""

    def insert_alert(self, alert: model.Alert) -> int:
        """Store a new alert and return its id."""
        values = {f: getattr(alert, f) for f in alert.__struct_fields__ if f != "id"}
        row = self._insert("alerts", values, "RETURNING id").fetchone()
        assert row is not None  # noqa: S101 - RETURNING without conflict clause
        return int(row[0])

    def get_alert(self, alert_id: int, *, lock: bool = False) -> model.Alert | None:
        """Read an alert; `lock` keeps others from changing it in this transaction."""
        suffix = self.lock_suffix if lock else ""
        row = self._one(f"SELECT {_ALERT.columns} FROM alerts WHERE id = ?{suffix}", alert_id)
        return _ALERT(row) if row else None

    def find_group(self, group_key: str, *, since_ms: int) -> model.Alert | None:
        """Latest alert of a group that is open or recent."""
        row = self._one(
            f"SELECT {_ALERT.columns} FROM alerts WHERE group_key = ? "
            "AND (state = 'open' OR last_ms >= ?) ORDER BY id DESC LIMIT 1",
            group_key,
            since_ms,
        )
        return _ALERT(row) if row else None

    def update_alert(self, alert_id: int, **changes: Any) -> None:
        """Change columns of an alert."""
        self._update("alerts", "id", alert_id, changes)

    def acknowledge_alert(self, alert_id: int, *, by: str, how: str, now_ms: int) -> bool:
        """Acknowledge if nobody has."""
        return (
            self._change(
                "UPDATE alerts SET state = 'acknowledged', acked_by = ?, acked_how = ?, "
                "acked_ms = ? WHERE id = ? AND state <> 'acknowledged'",
                by,
                how,
                now_ms,
                alert_id,
            )
            == 1
        )

    def set_false_alarm(self, alert_id: int, *, false_alarm: bool, note: str) -> None:
        """Record what a person says about an alert."""
        self._update("alerts", "id", alert_id, {"false_alarm": false_alarm, "note": note})

    def open_alerts(self) -> list[model.Alert]:
        """Alerts that wait for somebody, newest first."""
        rows = self._all(
            f"SELECT {_ALERT.columns} FROM alerts WHERE state = 'open' ORDER BY id DESC"
        )
        return [_ALERT(row) for row in rows]

    def alerts(
        self, *, before_ms: int | None = None, limit: int = 50, resident: str = ""
    ) -> list[model.Alert]:
        """Alerts, newest first."""
        sql, values = f"SELECT {_ALERT.columns} FROM alerts WHERE 1 = 1", []
        for condition, value in (("opened_ms < ?", before_ms), ("resident = ?", resident or None)):
            if value is not None:
                sql += f" AND {condition}"
                values.append(value)
        rows = self._all(f"{sql} ORDER BY opened_ms DESC, id DESC LIMIT ?", *values, limit)
        return [_ALERT(row) for row in rows]

    def insert_outbox(self, row: model.NewOutboxRow, *, now_ms: int) -> bool:
        """Queue a notification once."""
        values = {f: getattr(row, f) for f in row.__struct_fields__}
        values |= {"state": "pending", "attempts": 0, "lease_until_ms": 0, "owner": ""}
        values |= {"created_ms": now_ms, "sent_ms": None, "error": ""}
        return self._insert("outbox", values, "ON CONFLICT (key) DO NOTHING").rowcount == 1

    def outbox_of_alert(self, alert_id: int) -> list[model.OutboxRow]:
        """Notifications of an alert, oldest first."""
        rows = self._all(
            f"SELECT {OUTBOX.columns} FROM outbox WHERE alert_id = ? ORDER BY id", alert_id
        )
        return [OUTBOX(row) for row in rows]

    def count_outbox(self) -> dict[str, int]:
        """Notifications by state."""
        return dict(self._all("SELECT state, COUNT(*) FROM outbox GROUP BY state"))

    def cancel_outbox(self, alert_id: int) -> int:
        """Take back unsent notifications; one being delivered right now is left to finish."""
        return self._change(
            "UPDATE outbox SET state = 'cancelled' WHERE alert_id = ? "
            "AND state IN ('pending', 'failed')",
            alert_id,
        )

    def count_unsent(self, alert_id: int) -> int:
        """Notifications of an alert that are still to be delivered."""
        row = self._one(
            "SELECT COUNT(*) FROM outbox WHERE alert_id = ? "
            "AND state IN ('pending', 'leased', 'failed')",
            alert_id,
        )
        return int(row[0]) if row else 0

    def insert_timer(self, timer: model.Timer) -> bool:
        """Set a timer once."""
        values = {f: getattr(timer, f) for f in timer.__struct_fields__ if f != "id"}
        return self._insert("timers", values, "ON CONFLICT (key) DO NOTHING").rowcount == 1

    def due_timers(self, now_ms: int, limit: int) -> list[model.Timer]:
        """Timers due by now, the most overdue first."""
        rows = self._all(
            f"SELECT {_TIMER.columns} FROM timers WHERE due_ms <= ? ORDER BY due_ms, id LIMIT ?",
            now_ms,
            limit,
        )
        return [_TIMER(row) for row in rows]

    def take_timer(self, timer_id: int) -> bool:
        """Remove a timer; whoever succeeds acts on it."""
        return self._change("DELETE FROM timers WHERE id = ?", timer_id) == 1

    def timers_of_alert(self, alert_id: int) -> list[model.Timer]:
        """Timers of an alert."""
        rows = self._all(
            f"SELECT {_TIMER.columns} FROM timers WHERE alert_id = ? ORDER BY due_ms", alert_id
        )
        return [_TIMER(row) for row in rows]

    def timers(self) -> list[model.Timer]:
        """All timers in order of time."""
        return [
            _TIMER(row)
            for row in self._all(f"SELECT {_TIMER.columns} FROM timers ORDER BY due_ms, id")
        ]

    def delete_timers(self, alert_id: int) -> None:
        """Drop the timers of an alert."""
        self._change("DELETE FROM timers WHERE alert_id = ?", alert_id)

    def pull_in_timers(self, now_ms: int) -> int:
        """No interval may take longer than its length, whatever the clock did."""
        return self._change(
            "UPDATE timers SET due_ms = ? + delay_ms WHERE delay_ms IS NOT NULL "
            "AND due_ms > ? + delay_ms",
            now_ms,
            now_ms,
        )

    def longest_wait_ms(self, now_ms: int) -> int:
        """By how much a timer is due later than its own length allows; 0 if none is."""
        row = self._one(
            "SELECT MAX(due_ms - delay_ms - ?) FROM timers WHERE delay_ms IS NOT NULL", now_ms
        )
        return max(0, int(row[0])) if row and row[0] is not None else 0

    def insert_snooze(self, snooze: model.Snooze) -> int:
        """Hold back non-critical notifications."""
        values = {f: getattr(snooze, f) for f in snooze.__struct_fields__ if f != "id"}
        values["by_whom"] = values.pop("by")
        row = self._insert("snoozes", values, "RETURNING id").fetchone()
        assert row is not None  # noqa: S101 - RETURNING without conflict clause
        return int(row[0])

    def snoozes(self, now_ms: int) -> list[model.Snooze]:
        """Snoozes in force."""
        rows = self._all(f"SELECT {_SNOOZE.columns} FROM snoozes WHERE until_ms > ?", now_ms)
        return [_SNOOZE(row) for row in rows]

    def delete_snooze(self, snooze_id: int) -> None:
        """End a snooze."""
        self._change("DELETE FROM snoozes WHERE id = ?", snooze_id)

    def use_link(self, token_id: str, now_ms: int) -> bool:
        """Use a one-time link."""
        return (
            self._change(
                "INSERT INTO used_links (token_id, used_ms) VALUES (?, ?) "
                "ON CONFLICT (token_id) DO NOTHING",
                token_id,
                now_ms,
            )
            == 1
        )
