"""Delivery of notifications: leases, outcomes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from earmark_gateway.store.sql import SqlBase
from earmark_gateway.store.sql_alerts import OUTBOX

if TYPE_CHECKING:
    from earmark_gateway import model

# The longest back-off after a failed delivery (docs/gateway.md).
MAX_BACKOFF_MS = 300_000


class OutboxSql(SqlBase):
    """Claim and finish notifications."""

    # PostgreSQL: replicas pass over rows that another one is claiming.
    skip_suffix = ""

    def claim(self, owner: str, *, now_ms: int, lease_ms: int, limit: int) -> list[model.OutboxRow]:
        """Lease due notifications, critical first, then oldest."""
        # A lease or back-off longer than it can be means that the clock was set back; the clocks
        # of replicas may differ by a lease before one would take what another has in hand.
        rows = self._all(
            "UPDATE outbox SET state = 'leased', owner = ?, lease_until_ms = ?, "
            "attempts = attempts + 1 WHERE id IN (SELECT id FROM outbox WHERE "
            "(state = 'pending' AND next_ms <= ?) "
            "OR (state = 'failed' AND (next_ms <= ? OR next_ms > ?)) "
            "OR (state = 'leased' AND (lease_until_ms <= ? OR lease_until_ms > ?)) "
            "ORDER BY CASE severity WHEN 'critical' THEN 0 ELSE 1 END, next_ms, id "
            f"LIMIT ?{self.skip_suffix}) RETURNING {OUTBOX.columns}",
            owner,
            now_ms + lease_ms,
            now_ms,
            now_ms,
            now_ms + MAX_BACKOFF_MS,
            now_ms,
            now_ms + 2 * lease_ms,
            limit,
        )
        claimed = [OUTBOX(row) for row in rows]
        return sorted(claimed, key=lambda row: (row.severity != "critical", row.id))

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
        return self._change("UPDATE outbox SET lease_until_ms = 0 WHERE state = 'leased'")

    def next_due(self) -> int | None:
        """When the next delivery or lease is due."""
        row = self._one(
            "SELECT MIN(CASE WHEN state = 'leased' THEN lease_until_ms ELSE next_ms END) "
            "FROM outbox WHERE state IN ('pending', 'leased', 'failed')"
        )
        return row[0] if row else None
