"""Durable state behind one protocol: SQLite in a home, PostgreSQL for a fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from earmark_gateway.errors import GatewayError

if TYPE_CHECKING:
    from earmark_gateway.store.base import Store


def open_store(url: str) -> Store:
    """Open (and migrate) the database of a store URL.

    Parameters
    ----------
    url : str
        ``sqlite:///relative.db``, ``sqlite:////absolute.db`` or ``postgresql://...``.
    """
    if url.startswith("sqlite:///"):
        from earmark_gateway.store.sqlite import SqliteStore

        return SqliteStore(url.removeprefix("sqlite:///"))
    if url.startswith(("postgresql://", "postgres://")):
        from earmark_gateway.store.postgres import PostgresStore

        return PostgresStore(url)
    scheme = url.split(":", 1)[0]
    raise GatewayError(
        f"store.url: unknown kind of database {scheme!r}",
        "use sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE",
    )
