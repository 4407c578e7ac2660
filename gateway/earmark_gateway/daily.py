"""The daily digest: yesterday in a few lines."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from earmark_gateway import escalation
from earmark_gateway.clock import local, to_ms
from earmark_gateway.labels import display_name

if TYPE_CHECKING:
    from earmark_gateway.config import Config
    from earmark_gateway.store.base import Transaction


def day_bounds(config: Config, now_ms: int) -> tuple[str, int, int]:
    """Yesterday in local time: (ISO date, first millisecond, first millisecond of today)."""
    today = local(now_ms, config.zone).date()
    yesterday = today - timedelta(days=1)
    begin = datetime.combine(yesterday, datetime.min.time(), config.zone)
    end = datetime.combine(today, datetime.min.time(), config.zone)
    return yesterday.isoformat(), to_ms(begin), to_ms(end)


def digest_text(counts: dict[tuple[str, str], int], problems: list[str]) -> str:
    """Write counts by resident and label as lines, most frequent first."""
    lines = []
    for resident in sorted({who for who, _ in counts}):
        sounds = sorted(
            ((n, label) for (who, label), n in counts.items() if who == resident), reverse=True
        )
        listed = ", ".join(f"{display_name(label)} {n}x" for n, label in sounds)
        lines.append(f"{resident or 'Home'}: {listed}")
    if not lines:
        lines.append("No sound was reported.")
    return "\n".join(lines + problems)


def send_digest(tx: Transaction, config: Config, now_ms: int) -> None:
    """Count yesterday's sounds, keep the counts, tell those who want to know."""
    day, since_ms, until_ms = day_bounds(config, now_ms)
    counts = tx.count_events(since_ms=since_ms, until_ms=until_ms)
    for (resident, label), n in counts.items():
        tx.put_digest(day, resident, label, n)
    names = {device.id: device.name or device.room or device.id for device in tx.devices()}
    problems = [
        f"{names.get(p.device_id, p.device_id)}: {display_name(p.kind)} since "
        f"{local(p.since_ms, config.zone):%a %H:%M}"
        for p in tx.problems()
    ]
    people = [person for person in config.people if person.digest]
    text = (f"Summary of {day}", digest_text(counts, problems))
    escalation.tell(tx, config, people, key=day, kind="digest", text=text, now_ms=now_ms)
