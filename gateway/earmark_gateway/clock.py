"""Time as an argument: nothing in the gateway reads a clock that it was not given."""

from __future__ import annotations

import datetime as dt
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

SECOND_MS = 1000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS


class Clock(Protocol):
    """Wall clock and monotonic clock."""

    def now_ms(self) -> int:
        """Unix time in milliseconds; may jump."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that never jump."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now_ms(self) -> int:
        """Unix time in milliseconds."""
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        """Seconds since an arbitrary point."""
        return time.monotonic()


def local(ms: int, zone: ZoneInfo) -> datetime:
    """Unix milliseconds as local time."""
    return datetime.fromtimestamp(ms / 1000, UTC).astimezone(zone)


def to_ms(moment: datetime) -> int:
    """Convert an aware datetime to Unix milliseconds."""
    return round(moment.timestamp() * 1000)


def next_at(after_ms: int, at: dt.time, zone: ZoneInfo) -> int:
    """First moment strictly after `after_ms` at which local clocks show `at`."""
    day = local(after_ms, zone)
    for offset in (0, 1, 2):
        date = (day + timedelta(days=offset)).date()
        candidate = to_ms(datetime.combine(date, at, zone))
        if candidate > after_ms:
            return candidate
    raise AssertionError("unreachable: some day has this time")
