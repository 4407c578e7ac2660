"""Logs as one JSON object per line: codes and ids, never names, rooms, addresses or texts."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from datetime import UTC, datetime

import msgspec

# What may accompany a message. Anything else is dropped: a log line is read by strangers.
_ALLOWED = ("reason", "row", "state", "topic", "session_present", "n", "port")


class JsonFormatter(logging.Formatter):
    """Formats a record as JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name in _ALLOWED:
            if hasattr(record, name):
                line[name] = getattr(record, name)
        if record.exc_info and record.exc_info[1] is not None:
            # The type and place of a defect; its text may quote somebody's data.
            error = record.exc_info[1]
            frames = traceback.extract_tb(error.__traceback__)[-4:]
            line["exception"] = type(error).__name__
            line["where"] = [f"{frame.name}:{frame.lineno}" for frame in frames]
        return msgspec.json.encode(line).decode()


def set_up(level: int = logging.INFO) -> None:
    """Send every log line to standard error as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    threading.excepthook = _log_thread_exception


def _log_thread_exception(args: threading.ExceptHookArgs) -> None:
    error = args.exc_value
    if error is not None:
        info = (type(error), error, args.exc_traceback)
        logging.getLogger(__name__).critical("thread ended", exc_info=info)
