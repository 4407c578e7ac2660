"""The words people read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from earmark_gateway.clock import DAY_MS, local
from earmark_gateway.labels import INTERNAL, display_name

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from earmark_gateway.rules import Sound


def clock_text(ms: int, now_ms: int, zone: ZoneInfo) -> str:
    """Local time, with the day when it is not today."""
    moment = local(ms, zone)
    same_day = moment.date() == local(now_ms, zone).date() and abs(now_ms - ms) < DAY_MS
    return f"{moment:%H:%M:%S}" if same_day else f"{moment:%a %d %b %H:%M:%S}"


def title(label: str, room: str, *, prefix: str = "") -> str:
    """First line, e.g. "Smoke alarm - kitchen"."""
    text = display_name(label) + (f" - {room}" if room else "")
    return f"{prefix}{text}"


def sound_body(sound: Sound, *, late: bool, now_ms: int, zone: ZoneInfo, extra: str = "") -> str:
    """Second line: when, how sure, and whether it is news."""
    verb = "Noticed" if sound.label in INTERNAL else "Heard"
    parts = [f"{verb} at {clock_text(sound.occurred_ms, now_ms, zone)}"]
    if late:
        parts.append(f"reported late at {clock_text(now_ms, now_ms, zone)}")
    if sound.conf is not None:
        parts.append(f"confidence {sound.conf * 100:.0f} %")
    if sound.resident:
        parts.append(f"at {sound.resident}'s")
    return ", ".join(parts) + "." + (f" {extra}" if extra else "")


def payload(sound: Sound, *, title_text: str, body: str, **more: Any) -> dict[str, Any]:
    """Assemble what an outbox row carries; the file notifier writes it as it is."""
    return {
        "title": title_text,
        "body": body,
        "label": sound.label,
        "device_id": sound.device_id,
        "room": sound.room,
        "resident": sound.resident,
        "occurred_ms": sound.occurred_ms,
        "conf": sound.conf,
        **more,
    }
