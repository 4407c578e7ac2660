"""Delivery of notifications: leases, outcomes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from earmark_gateway.store.sql import SqlBase
from earmark_gateway.store.sql_alerts import OUTBOX

if TYPE_CHECKING:
    from earmark_gateway import model

# The longest back-off after a failed delivery (docs/gateway.md).
MAX_BACKOFF_MS = 300_000


_OPEN = "state IN ('pending', 'leased', 'failed')"
_URGENCY = "CASE severity WHEN 'critical' THEN 0 ELSE 1 END"
# A lease or back-off longer than it can be means that the clock was set back; the clocks of
# replicas may differ by a lease before one would take what another has in hand.
_DUE = (
    f"{_OPEN} AND (next_ms <= ? OR (state = 'failed' AND next_ms > ?) "
    "OR (state = 'leased' AND next_ms > ?))"
)
_ONE_LANE = (
    f"(SELECT id FROM outbox WHERE channel = ? AND {_DUE} ORDER BY {_URGENCY}, next_ms, id LIMIT ?"
)
_ANY_LANE = f"(SELECT id FROM outbox WHERE {_DUE} ORDER BY {_URGENCY}, next_ms, id LIMIT ?"
_LEASE = (
    "UPDATE outbox SET state = 'leased', owner = ?, lease_until_ms = ?, next_ms = ?, "
    "attempts = attempts + 1 WHERE id IN "
)
# Hops over the index from channel to channel: the length of their queues costs nothing.
_CHANNELS = (
    f"WITH RECURSIVE lane(channel) AS (SELECT MIN(channel) FROM outbox WHERE {_OPEN} UNION ALL "
    f"SELECT (SELECT MIN(o.channel) FROM outbox o WHERE o.{_OPEN} AND o.channel > lane.channel) "
    "FROM lane WHERE lane.channel IS NOT NULL) "
    f"SELECT channel, (SELECT {_URGENCY} FROM outbox WHERE channel = lane.channel AND {_DUE} "
    f"ORDER BY {_URGENCY}, next_ms, id LIMIT 1) FROM lane WHERE channel IS NOT NULL"
)


def _due_values(now_ms: int, lease_ms: int) -> tuple[int, int, int]:
    return now_ms, now_ms + MAX_BACKOFF_MS, now_ms + 2 * lease_ms


class OutboxSql(SqlBase):
    """Claim and finish notifications."""

    # PostgreSQL: replicas pass over rows that another one is claiming.
    skip_suffix = ""

    def claim(
        self, owner: str, *, now_ms: int, lease_ms: int, limit: int, channel: str = ""
    ) -> list[model.OutboxRow]:
        """Lease due notifications of a channel or of all, critical first, then oldest."""
        until_ms = now_ms + lease_ms
        rows = self._all(
            f"{_LEASE}{_ONE_LANE if channel else _ANY_LANE}{self.skip_suffix}) "
            f"RETURNING {OUTBOX.columns}",
            owner,
            until_ms,
            until_ms,
            *([channel] if channel else []),
            *_due_values(now_ms, lease_ms),
            limit,
        )
        claimed = [OUTBOX(row) for row in rows]
        return sorted(claimed, key=lambda row: (row.severity != "critical", row.id))

    def due_channels(self, *, now_ms: int, lease_ms: int) -> list[str]:
        """Channels with something due, those with something critical first."""
        rows = self._all(_CHANNELS, *_due_values(now_ms, lease_ms))
        due = sorted((urgency, channel) for channel, urgency in rows if urgency is not None)
        return [channel for _, channel in due]

    def finish(
        self, row_id: int, owner: str, *, state: str, now_ms: int, next_ms: int, error: str
    ) -> bool:
        """Record an outcome; False if the lease has passed to somebody else.

        A dead row makes its alert's escalation due now: waiting for somebody who cannot be reached
        helps nobody.
        """
        finished = self._change(
            "UPDATE outbox SET state = ?, sent_ms = ?, next_ms = ?, error = ? "
            "WHERE id = ? AND owner = ? AND state = 'leased'",
            state,
            now_ms if state == "sent" else None,
            next_ms,
            error,
            row_id,
            owner,
        )
        if finished and state == "dead":
            self._change(
                "UPDATE timers SET due_ms = ? WHERE kind = 'escalate' AND due_ms > ? "
                "AND alert_id = (SELECT alert_id FROM outbox WHERE id = ?)",
                now_ms,
                now_ms,
                row_id,
            )
        return finished == 1

    def end_leases(self) -> int:
        """Make every leased row due now."""
        return self._change(
            "UPDATE outbox SET lease_until_ms = 0, next_ms = 0 WHERE state = 'leased'"
        )

    def next_due(self, *, after_ms: int = -1) -> int | None:
        """When the next delivery or lease after `after_ms` is due."""
        row = self._one(f"SELECT MIN(next_ms) FROM outbox WHERE {_OPEN} AND next_ms > ?", after_ms)
        return row[0] if row else None
