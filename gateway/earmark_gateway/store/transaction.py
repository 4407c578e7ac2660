"""The whole SQL transaction."""

from __future__ import annotations

from earmark_gateway.store.sql_alerts import AlertSql
from earmark_gateway.store.sql_devices import DeviceSql
from earmark_gateway.store.sql_events import EventSql
from earmark_gateway.store.sql_outbox import OutboxSql


class SqlTransaction(EventSql, AlertSql, DeviceSql, OutboxSql):
    """`store.base.Transaction` in SQL."""


class LockingSqlTransaction(SqlTransaction):
    """For databases with several writers."""

    lock_suffix = " FOR UPDATE"
    skip_suffix = " FOR UPDATE SKIP LOCKED"
