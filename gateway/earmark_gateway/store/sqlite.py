"""SQLite: the embedded default. WAL, synchronous=FULL (18 % slower than NORMAL, durable)."""

from __future__ import annotations

import contextlib
import fcntl
import sqlite3
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from earmark_gateway.errors import GatewayError, StoreUnavailableError
from earmark_gateway.store.fifo import FifoLock
from earmark_gateway.store.sql import migrations, statements
from earmark_gateway.store.transaction import SqlTransaction

if TYPE_CHECKING:
    from collections.abc import Iterator

    from earmark_gateway import model

# Another process (a backup, the command line) may hold the write lock for a moment.
_BUSY_TIMEOUT_S = 5.0
_DIALECT = {"id": "INTEGER PRIMARY KEY AUTOINCREMENT", "blob": "BLOB"}


class SqliteStore:
    """A `store.base.Store` in one file.

    Parameters
    ----------
    path : str
        Database file; created (with its folder) if missing.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._write_lock = FifoLock()
        self._local = threading.local()
        self._all: list[sqlite3.Connection] = []
        self._all_lock = threading.Lock()
        self._lock_file: IO[str] | None = None
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            # Somebody's life at home: for this user only. The log file gets the same rights.
            Path(path).touch(mode=0o600)
            self._writer = self._connect()
            self._migrate()
        except (sqlite3.Error, OSError) as exc:
            raise GatewayError(
                f"database {path}: {exc}", "check that the folder exists and is writable"
            ) from exc

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path,
            timeout=_BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        # Erased residents must not linger in free pages.
        connection.execute("PRAGMA secure_delete = ON")
        with self._all_lock:
            self._all.append(connection)
        return connection

    def _migrate(self) -> None:
        connection = self._writer
        connection.execute("BEGIN IMMEDIATE")
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            available = migrations()
            self._refuse_newer(version, available[-1][0])
            for number, script in available:
                if number > version:
                    for statement in statements(script, _DIALECT):
                        connection.execute(statement)
                    connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise

    def _refuse_newer(self, version: int, known: int) -> None:
        if version > known:
            raise GatewayError(
                f"database {self._path} is of a newer gateway (schema {version})",
                "install the newer earmark, or restore a backup",
            )

    @contextmanager
    def write(self) -> Iterator[SqlTransaction]:
        """Open the transaction; durable when the block ends."""
        with self._write_lock:
            connection = self._writer
            try:
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield SqlTransaction(connection.execute)
                    connection.execute("COMMIT")
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
            except sqlite3.OperationalError as exc:
                raise StoreUnavailableError(
                    f"database {self._path}: {exc}", "free disk space or correct its permissions"
                ) from exc

    @contextmanager
    def read(self) -> Iterator[SqlTransaction]:
        """Open a snapshot on this thread's own connection."""
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._connect()
            connection.execute("PRAGMA query_only = ON")
            self._local.connection = connection
        try:
            connection.execute("BEGIN")
            try:
                yield SqlTransaction(connection.execute)
            finally:
                connection.execute("ROLLBACK")
        except sqlite3.OperationalError as exc:
            raise StoreUnavailableError(
                f"database {self._path}: {exc}", "check the disk and its permissions"
            ) from exc

    def take_over(self) -> None:
        """Make sure that no other gateway works on this file; end its predecessor's leases."""
        self._lock_file = Path(f"{self._path}.lock").open("w")  # noqa: SIM115 - held until close
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            raise GatewayError(
                f"another gateway works on {self._path}",
                "stop it first, or use PostgreSQL for several replicas",
            ) from exc
        with self.write() as tx:
            tx.end_leases()

    def claim_outbox(
        self, owner: str, *, now_ms: int, lease_ms: int, limit: int, channel: str = ""
    ) -> list[model.OutboxRow]:
        """Lease due notifications, critical first."""
        with self.write() as tx:
            return tx.claim(owner, now_ms=now_ms, lease_ms=lease_ms, limit=limit, channel=channel)

    def due_channels(self, *, now_ms: int, lease_ms: int) -> list[str]:
        """Channels with something to deliver now."""
        with self.read() as tx:
            return tx.due_channels(now_ms=now_ms, lease_ms=lease_ms)

    def finish_outbox(
        self, row_id: int, owner: str, *, state: str, now_ms: int, next_ms: int = 0, error: str = ""
    ) -> bool:
        """Record the outcome of a leased notification."""
        with self.write() as tx:
            return tx.finish(
                row_id, owner, state=state, now_ms=now_ms, next_ms=next_ms, error=error
            )

    def next_outbox_ms(self, *, after_ms: int = -1) -> int | None:
        """When the next notification is due."""
        with self.read() as tx:
            return tx.next_due(after_ms=after_ms)

    def forget(self) -> None:
        """Empty the write-ahead log: it still holds deleted rows (secure_delete does the rest)."""
        with self._write_lock:
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def backup(self, target: Path) -> None:
        """Write a consistent copy while the gateway runs."""
        if target.exists():
            raise GatewayError(f"{target} exists", "choose another name for the backup")
        try:
            target.touch(mode=0o600)
            with contextlib.closing(sqlite3.connect(target)) as copy, self._write_lock:
                self._writer.backup(copy)
        except (sqlite3.Error, OSError) as exc:
            raise GatewayError(
                f"backup to {target}: {exc}", "check the folder and its free space"
            ) from exc

    def close(self) -> None:
        """Close every connection."""
        with self._all_lock:
            for connection in self._all:
                connection.close()
            self._all.clear()
        if self._lock_file is not None:
            self._lock_file.close()
