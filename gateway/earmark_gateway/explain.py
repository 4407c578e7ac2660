"""`earmark-gateway check`: what the configuration means, in sentences."""

from __future__ import annotations

from datetime import datetime, time
from typing import TYPE_CHECKING

from earmark_gateway import rules
from earmark_gateway.clock import local, to_ms
from earmark_gateway.labels import CRITICAL, display_name
from earmark_gateway.rules import Sound

if TYPE_CHECKING:
    from earmark_gateway.config import Config, Person, Step


def duration_text(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds == 0:
        return "now"
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size and seconds % size == 0:
            return f"after {seconds / size:g} {unit}"
    return f"after {seconds:g} s"


def explain(
    config: Config, label: str, *, at: time, room: str = "", resident: str = "", now_ms: int
) -> list[str]:
    """Who is told what, when, if `label` is heard at local time `at`.

    Returns
    -------
    list of str
        The first line summarises ("smoke_alarm at 03:00 in the kitchen: Anna now, Ben after 2
        min"); the others say which rule decides and what happens without an answer.
    """
    today = local(now_ms, config.zone).date()
    at_ms = to_ms(datetime.combine(today, at, config.zone))
    sound = Sound(label, "", room, resident, at_ms, at_ms)
    way = rules.route(config, sound)
    where = f" in the {room}" if room else ""
    head = f"{label} at {at:%H:%M}{where}: "
    by = f'  rule "{way.rule.name or ", ".join(way.rule.labels)}", severity {way.severity}'
    if way.severity == "log":
        return [head + "nobody is told; listed on the page", by]
    steps = way.rule.steps if way.severity in ("critical", "alert") else way.rule.steps[:1]
    told = []
    for i, step in enumerate(steps):
        if i and rules.step_is_empty(config, step):
            continue
        told += [_person(config, p, step, way.severity, at_ms) for p in _people(config, step)]
    lines = [head + (", ".join(told) or "NOBODY: no person has a channel"), by]
    if way.severity == "critical":
        lines.append(
            f"  unanswered: starts over {duration_text(way.rule.repeat_s)}, until answered"
        )
    elif way.severity == "alert":
        lines.append("  unanswered: stays on the page as unanswered")
    else:
        lines.append("  told once, no answer needed")
    if way.severity != "critical" and way.rule.group_s:
        lines.append(f"  more of the same: counted, told {duration_text(way.rule.group_s)}")
    return lines


def _people(config: Config, step: Step) -> list[Person]:
    return rules.recipients(config, step.to)


def _person(config: Config, person: Person, step: Step, severity: str, at_ms: int) -> str:
    due_ms = at_ms + round(step.after_s * 1000)
    deliver_ms = rules.deliver_at(config, person, severity, due_ms)
    if deliver_ms == due_ms:
        return f"{person.name} {duration_text(step.after_s)}"
    return f"{person.name} at {local(deliver_ms, config.zone):%H:%M} (quiet hours)"


def summary(config: Config, now_ms: int) -> list[str]:
    """Explain every label and room that the configuration mentions, by day and by night."""
    named = {label for rule in config.rules for label in rule.labels if label != "*"}
    rooms = list(dict.fromkeys(device.room for device in config.devices)) or [""]
    lines = []
    for label in sorted(named | {"smoke_alarm", "co_alarm"}, key=lambda x: (x not in CRITICAL, x)):
        for room in rooms:
            for hour in (15, 3):
                lines += explain(config, label, at=time(hour), room=room, now_ms=now_ms)
    return lines


def warnings(config: Config) -> list[str]:
    """List what is allowed but probably not meant."""
    found = []
    if not any(person.channels for person in config.people):
        found.append("nobody has a channel: nobody will ever be told")
    found += [
        f'rules name the role "{role}", but nobody with a channel has it'
        for role in rules.unfilled_roles(config)
    ]
    if not config.gateway.base_url:
        found.append("gateway.base_url is empty: notifications carry no link to answer with")
    residents = {device.resident for device in config.devices}
    found += [
        f'no device listens to "{entry.resident}" of no_activity'
        for entry in config.no_activity
        if config.devices and entry.resident not in residents
    ]
    silenced = {
        label
        for rule in config.rules
        for label in rule.labels
        if label in CRITICAL and rule.severity != "critical"
    }
    found += [
        f'a rule makes "{label}" ({display_name(label)}) less than critical'
        for label in sorted(silenced)
    ]
    return found
