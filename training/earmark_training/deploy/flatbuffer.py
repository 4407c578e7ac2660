"""Bounds-checked reading of FlatBuffers: a hostile file ends in one error, never in a crash.

Every offset, vtable, vector length and alignment is checked against the file before it is
followed (https://flatbuffers.dev/internals). Reading does not copy: vectors are views.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
from earmark_dsp.errors import EarmarkError

if TYPE_CHECKING:
    from collections.abc import Iterator

_HINT = "the file is truncated or damaged: export or copy it again"
# Far above any real model; keeps a hostile file from costing minutes.
MAX_TABLES = 65536


def damaged(what: str) -> EarmarkError:
    """Return the error for a file that does not parse."""
    return EarmarkError(f"not a valid .tflite file: {what}", _HINT)


class Table:
    """One FlatBuffers table inside `data`.

    Parameters
    ----------
    data : bytes
        The whole file.
    position : int
        Byte offset of the table.
    what : str
        Name for error messages.
    """

    __slots__ = ("_data", "_end", "_position", "_vtable", "_vtable_bytes", "what")

    def __init__(self, data: bytes, position: int, what: str) -> None:
        self._data, self._position, self.what = data, position, what
        distance = _unpack("<i", data, position, what)
        self._vtable = position - distance
        self._vtable_bytes = _unpack("<H", data, self._vtable, what)
        table_bytes = _unpack("<H", data, self._vtable + 2, what)
        self._end = position + table_bytes
        if (
            self._vtable_bytes < 4
            or self._vtable_bytes % 2
            or table_bytes < 4
            or self._vtable + self._vtable_bytes > len(data)
            or self._end > len(data)
        ):
            raise damaged(f"the layout of {what} points outside the file")

    def _field(self, slot: int, n_bytes: int) -> int:
        """Position of a field, or 0 when it is absent."""
        entry = 4 + 2 * slot
        if entry + 2 > self._vtable_bytes:
            return 0
        offset: int = _unpack("<H", self._data, self._vtable + entry, self.what)
        if offset == 0:
            return 0
        position = self._position + offset
        if offset < 4 or position + n_bytes > self._end:
            raise damaged(f"field {slot} of {self.what} lies outside its table")
        return position

    def scalar(self, slot: int, code: str, default: float = 0) -> int:
        """Integer (or boolean) field; `code` is a `struct` format character."""
        position = self._field(slot, struct.calcsize("<" + code))
        if position == 0:
            return int(default)
        return int(_unpack("<" + code, self._data, position, self.what))

    def float32(self, slot: int, default: float = 0.0) -> float:
        """Float field, exactly as stored."""
        position = self._field(slot, 4)
        return float(_unpack("<f", self._data, position, self.what)) if position else default

    def _pointee(self, slot: int) -> int:
        position = self._field(slot, 4)
        if position == 0:
            return 0
        target: int = position + _unpack("<I", self._data, position, self.what)
        if target + 4 > len(self._data):
            raise damaged(f"field {slot} of {self.what} points outside the file")
        return target

    def table(self, slot: int, what: str) -> Table | None:
        """Sub-table, or None when absent."""
        position = self._pointee(slot)
        return Table(self._data, position, what) if position else None

    def vector(self, slot: int, dtype: str) -> np.ndarray | None:
        """Vector of scalars as a read-only view, or None when absent."""
        position = self._pointee(slot)
        if position == 0:
            return None
        count: int = _unpack("<I", self._data, position, self.what)
        item = np.dtype(dtype)
        if position + 4 + count * item.itemsize > len(self._data):
            raise damaged(f"a vector of {self.what} is longer than the file")
        return np.frombuffer(self._data, item, count, position + 4)

    def text(self, slot: int) -> str:
        """UTF-8 string; damaged characters are replaced, for it is only ever shown."""
        raw = self.vector(slot, "u1")
        return "" if raw is None else raw[:200].tobytes().decode("utf-8", "replace")

    def tables(self, slot: int, what: str) -> Iterator[Table]:
        """Vector of tables; absent means empty."""
        position = self._pointee(slot)
        if position == 0:
            return
        count: int = _unpack("<I", self._data, position, self.what)
        if position + 4 + 4 * count > len(self._data) or count > MAX_TABLES:
            raise damaged(f"{self.what} claims {count} entries of {what}")
        for index in range(count):
            entry = position + 4 + 4 * index
            target = entry + _unpack("<I", self._data, entry, self.what)
            yield Table(self._data, target, f"{what} {index}")


def _unpack(code: str, data: bytes, position: int, what: str) -> int:
    if position < 0 or position + struct.calcsize(code) > len(data):
        raise damaged(f"{what} points outside the file")
    value: int = struct.unpack_from(code, data, position)[0]
    return value


def root(data: bytes, identifier: bytes) -> Table:
    """Return the root table of a file with the given four-byte identifier."""
    if len(data) < 8 or data[4:8] != identifier:
        raise EarmarkError(
            f"not a .tflite file: the identifier {identifier.decode()} is missing at byte 4",
            "give the int8 model that the TensorFlow Lite converter wrote",
        )
    return Table(data, _unpack("<I", data, 0, "the file header"), "the model")
