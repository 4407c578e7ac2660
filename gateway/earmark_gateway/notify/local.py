"""Console and file: for the demonstration, for tests, for piping into other programs."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

import msgspec

from earmark_gateway.notify.base import Delivery

if TYPE_CHECKING:
    from pathlib import Path


class ConsoleNotifier:
    """Writes to standard output."""

    def send(self, message: dict[str, Any]) -> Delivery:
        """Print title and body."""
        sys.stdout.write(f"** {message['title']}: {message['body']}\n")
        sys.stdout.flush()
        return Delivery(ok=True)


class FileNotifier:
    """Appends one JSON object per line.

    Parameters
    ----------
    path : Path
        Created if missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def send(self, message: dict[str, Any]) -> Delivery:
        """Append the message with the time of delivery (`sent_ms`)."""
        line = msgspec.json.encode({**message, "sent_ms": time.time_ns() // 1_000_000}) + b"\n"
        try:
            # O_APPEND and a single write: lines of several gateways never mix.
            handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(handle, line)
            finally:
                os.close(handle)
        except OSError as exc:
            return Delivery(ok=False, error=exc.strerror or "write failed")
        return Delivery(ok=True)
