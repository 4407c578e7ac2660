"""`earmark-gateway check`: what the configuration means, in sentences."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, time
from typing import TYPE_CHECKING

from earmark_gateway import rules
from earmark_gateway.clock import local, to_ms
from earmark_gateway.labels import CRITICAL, display_name
from earmark_gateway.rules import Sound

if TYPE_CHECKING:
    from collections.abc import Iterable

    from earmark_gateway.config import Config, Person, Rule, Step


def duration_text(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds == 0:
        return "now"
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size and seconds % size == 0:
            return f"after {seconds / size:g} {unit}"
    return f"after {seconds:g} s"


@dataclass(frozen=True)
class Plan:
    """What the configuration does with one sound at one time.

    Attributes
    ----------
    told : tuple of (str, str)
        ("Anna", "now"), ("Ben", "after 2 min"), in order; empty if nobody is told.
    afterwards : str
        What happens without an answer.
    """

    rule: Rule = field(compare=False)
    severity: str
    told: tuple[tuple[str, str], ...]
    afterwards: str

    @property
    def summary(self) -> str:
        """Say who is told when, e.g. "Anna now, Ben and Carla after 2 min"."""
        names: dict[str, list[str]] = {}
        for name, when in self.told:
            names.setdefault(when, []).append(name)
        return ", ".join(f"{' and '.join(who)} {when}" for when, who in names.items())


def plan(
    config: Config, label: str, *, at: time, room: str = "", resident: str = "", now_ms: int
) -> Plan:
    """Who is told what, when, if `label` is heard at local time `at`."""
    today = local(now_ms, config.zone).date()
    at_ms = to_ms(datetime.combine(today, at, config.zone))
    way = rules.route(config, Sound(label, "", room, resident, at_ms, at_ms))
    told = []
    if way.severity != "log":
        steps = way.rule.steps if way.severity in ("critical", "alert") else way.rule.steps[:1]
        for i, step in enumerate(steps):
            if i and rules.step_is_empty(config, step):
                continue
            told += [_person(config, p, step, way.severity, at_ms) for p in _people(config, step)]
    afterwards = {
        "critical": f"starts over {duration_text(way.rule.repeat_s)}, until answered",
        "alert": "stays on the page as unanswered",
    }.get(way.severity, "")
    return Plan(way.rule, way.severity, tuple(told), afterwards)


def explain(
    config: Config, label: str, *, at: time, room: str = "", resident: str = "", now_ms: int
) -> list[str]:
    """Put a plan into sentences.

    Returns
    -------
    list of str
        The first line summarises ("smoke_alarm at 03:00 in the kitchen: Anna now, Ben after 2
        min"); the others say which rule decides and what happens without an answer.
    """
    found = plan(config, label, at=at, room=room, resident=resident, now_ms=now_ms)
    where = f" in the {room}" if room else ""
    head = f"{label} at {at:%H:%M}{where}: "
    rule = found.rule
    by = f'  rule "{rule.name or ", ".join(rule.labels)}", severity {found.severity}'
    if found.severity == "log":
        return [head + "nobody is told; listed on the page", by]
    lines = [head + (", ".join(map(" ".join, found.told)) or "NOBODY: no person has a channel"), by]
    lines.append(
        f"  unanswered: {found.afterwards}" if found.afterwards else "  told once, no answer needed"
    )
    if found.severity != "critical" and rule.group_s:
        lines.append(f"  more of the same: counted, told {duration_text(rule.group_s)}")
    return lines


def _people(config: Config, step: Step) -> list[Person]:
    return rules.recipients(config, step.to)


def _person(
    config: Config, person: Person, step: Step, severity: str, at_ms: int
) -> tuple[str, str]:
    due_ms = at_ms + round(step.after_s * 1000)
    deliver_ms = rules.deliver_at(config, person, severity, due_ms)
    if deliver_ms == due_ms:
        return person.name, duration_text(step.after_s)
    return person.name, f"at {local(deliver_ms, config.zone):%H:%M} (quiet hours)"


@dataclass(frozen=True)
class Row:
    """One line of the table "who is told what, when": sounds that are treated alike."""

    labels: tuple[str, ...]
    where: str  # "in the kitchen", "at Marta's"; empty: anywhere
    day: Plan
    night: Plan

    @property
    def same(self) -> bool:
        """Whether day and night do not differ."""
        return self.day == self.night


def table(config: Config, known_labels: Iterable[str], now_ms: int) -> list[Row]:
    """Who is told what by day (15:00) and by night (03:00), the most urgent first.

    Parameters
    ----------
    known_labels : iterable of str
        What the devices can hear, beside what the rules name.
    """
    named = {label for rule in config.rules for label in rule.labels if label != "*"}
    labels = named | set(known_labels) | {"smoke_alarm", "co_alarm", "device_offline"}
    places = {"": ("", "")}
    for rule in config.rules:
        places |= {f"in the {room}": (room, "") for room in rule.rooms}
        places |= {f"at {resident}'s": ("", resident) for resident in rule.residents}
    groups: dict[tuple[str, Plan, Plan], list[str]] = {}
    for label in sorted(labels, key=display_name):
        anywhere = _day_and_night(config, label, places[""], now_ms)
        for where, place in places.items():
            here = _day_and_night(config, label, place, now_ms)
            if not where or here != anywhere:
                groups.setdefault((where, *here), []).append(label)
    rows = [Row(tuple(found), *key) for key, found in groups.items()]
    order = ("critical", "alert", "notice", "log")
    return sorted(rows, key=lambda row: order.index(row.night.severity))


def _day_and_night(
    config: Config, label: str, place: tuple[str, str], now_ms: int
) -> tuple[Plan, Plan]:
    room, resident = place
    day, night = (
        plan(config, label, at=time(hour), room=room, resident=resident, now_ms=now_ms)
        for hour in (15, 3)
    )
    return day, night


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
        found.append("notifications carry no link to answer with: gateway.base_url is empty")
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
