"""SQL that SQLite and PostgreSQL share; the dialects differ in placeholders and transactions."""

from __future__ import annotations

import re
from importlib import resources
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

T = TypeVar("T", bound=msgspec.Struct)
Row = tuple[Any, ...]


class Cursor(Protocol):
    """The part of a DB-API cursor that is used."""

    @property
    def rowcount(self) -> int:
        """Rows changed by the last statement."""
        ...

    def fetchone(self) -> Row | None:
        """Next row."""
        ...

    def fetchall(self) -> list[Row]:
        """All remaining rows."""
        ...


class SqlBase:
    """A transaction in progress.

    Parameters
    ----------
    execute : callable
        Runs one statement with ``?`` placeholders and returns its cursor.
    """

    def __init__(self, execute: Callable[[str, Sequence[Any]], Cursor]) -> None:
        self._execute = execute

    def _one(self, sql: str, *values: Any) -> Row | None:
        return self._execute(sql, values).fetchone()

    def _all(self, sql: str, *values: Any) -> list[Row]:
        return self._execute(sql, values).fetchall()

    def _change(self, sql: str, *values: Any) -> int:
        return self._execute(sql, values).rowcount

    def _update(self, table: str, key: str, key_value: Any, changes: dict[str, Any]) -> None:
        columns = ", ".join(f"{name} = ?" for name in changes)
        values = [plain(value) for value in changes.values()]
        self._execute(f"UPDATE {table} SET {columns} WHERE {key} = ?", (*values, key_value))

    def _insert(self, table: str, values: dict[str, Any], suffix: str = "") -> Cursor:
        columns, marks = ", ".join(values), ", ".join("?" * len(values))
        sql = f"INSERT INTO {table} ({columns}) VALUES ({marks}) {suffix}"
        return self._execute(sql, [plain(value) for value in values.values()])


def plain(value: Any) -> Any:
    """Convert to what both databases store: truth as 0 or 1, collections as JSON text."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, dict | list | tuple):
        return msgspec.json.encode(value).decode()
    return value


class RowReader(Generic[T]):
    """Builds one kind of struct from rows selected with `columns`.

    Parameters
    ----------
    kind : type
        The struct; its fields are the columns, in order.
    prefix : str
        Table alias.
    json_fields, bool_fields : iterable of str
        Columns that hold JSON text, and 0 or 1.
    renamed : dict, optional
        Column name by field name where they differ.
    """

    def __init__(
        self,
        kind: type[T],
        *,
        json_fields: Iterable[str] = (),
        bool_fields: Iterable[str] = (),
        renamed: dict[str, str] | None = None,
    ) -> None:
        self._kind = kind
        self._fields = kind.__struct_fields__
        names = [(renamed or {}).get(field, field) for field in self._fields]
        self.columns = ", ".join(names)
        self._json = [self._fields.index(field) for field in json_fields]
        self._bool = [self._fields.index(field) for field in bool_fields]

    def __call__(self, row: Row) -> T:
        """Build the struct of one row."""
        values = list(row)
        for i in self._json:
            values[i] = None if values[i] is None else msgspec.json.decode(values[i])
        for i in self._bool:
            values[i] = bool(values[i])
        return self._kind(**dict(zip(self._fields, values, strict=True)))


def migrations() -> list[tuple[int, str]]:
    """Numbered migrations, in order: (number, SQL with ``{{...}}`` for the dialect)."""
    folder = resources.files("earmark_gateway.store").joinpath("migrations")
    return sorted(
        (int(match[1]), file.read_text("utf-8"))
        for file in folder.iterdir()
        if (match := re.fullmatch(r"(\d{4})_\w+\.sql", file.name))
    )


def statements(script: str, replacements: dict[str, str]) -> list[str]:
    """Split a migration into single statements for one dialect."""
    for mark, text in replacements.items():
        script = script.replace("{{" + mark + "}}", text)
    script = re.sub(r"--[^\n]*", "", script)
    return [part.strip() for part in script.split(";") if part.strip()]
