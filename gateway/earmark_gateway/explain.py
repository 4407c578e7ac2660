"""`earmark-gateway check`: what the configuration means, in sentences."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from itertools import pairwise
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
    return _sentences(f"{label} at {at:%H:%M}{where}: ", found)


def _sentences(head: str, found: Plan) -> list[str]:
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
class Period:
    """A part of the day in which a sound is treated alike; the last one may cross midnight."""

    start: time
    end: time
    plan: Plan

    @property
    def name(self) -> str:
        """The period in words, e.g. "22:00 to 07:00"."""
        if self.start == self.end:
            return "at any time"
        return f"{_clock_text(self.start)} to {_clock_text(self.end)}"


@dataclass(frozen=True)
class Row:
    """One line of the table "who is told what, when": sounds that are treated alike."""

    labels: tuple[str, ...]
    where: str  # "in the kitchen", "at Marta's"; empty: anywhere
    periods: tuple[Period, ...]

    @property
    def severity(self) -> str:
        """The most urgent severity of the day."""
        return min((period.plan.severity for period in self.periods), key=_SEVERITIES.index)


_SEVERITIES = ("critical", "alert", "notice", "log")


def _clock_text(at: time) -> str:
    return f"{at:%H:%M:%S}" if at.second else f"{at:%H:%M}"


def _turns(config: Config) -> list[time]:
    """Every time of day at which it may change who is told, midnight first."""
    steps = [step for rule in (*config.rules, *rules.DEFAULTS) for step in rule.steps]
    # Of a later step its own moment, not the sound's, may lie in somebody's quiet hours.
    delays_s = {0.0} | {step.after_s for step in steps}
    turns = {time()}
    for rule in config.rules:
        if rule.between is not None:
            turns |= {rule.between.start, rule.between.end}
    for person in config.people:
        for edge in (person.quiet.start, person.quiet.end) if person.quiet else ():
            moment = datetime.combine(date(2000, 1, 2), edge)
            turns |= {(moment - timedelta(seconds=s)).time() for s in delays_s}
    return sorted(turns)


def periods(
    config: Config, label: str, *, room: str = "", resident: str = "", now_ms: int
) -> tuple[Period, ...]:
    """Return what is done with a sound over a whole day, split where it changes.

    Returns
    -------
    tuple of Period
        In order, each beginning where the one before ends; a single one from midnight to midnight
        if the hour does not matter.
    """
    turns = _turns(config)
    plans = [
        plan(config, label, at=at, room=room, resident=resident, now_ms=now_ms) for at in turns
    ]
    changes = [i for i in range(len(turns)) if plans[i] != plans[i - 1]]
    if not changes:
        return (Period(time(), time(), plans[0]),)
    around = pairwise([*changes, changes[0]])
    return tuple(Period(turns[i], turns[j], plans[i]) for i, j in around)


def table(config: Config, known_labels: Iterable[str], now_ms: int) -> list[Row]:
    """Who is told what at which time of day, the most urgent first.

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
    groups: dict[tuple[str, tuple[Period, ...]], list[str]] = {}
    for label in sorted(labels, key=display_name):
        anywhere = periods(config, label, now_ms=now_ms)
        for where, (room, resident) in places.items():
            here = periods(config, label, room=room, resident=resident, now_ms=now_ms)
            if not where or here != anywhere:
                groups.setdefault((where, here), []).append(label)
    rows = [Row(tuple(found), *key) for key, found in groups.items()]
    return sorted(rows, key=lambda row: _SEVERITIES.index(row.severity))


def summary(config: Config, now_ms: int) -> list[str]:
    """Explain every label and room that the configuration mentions, over the whole day."""
    named = {label for rule in config.rules for label in rule.labels if label != "*"}
    rooms = list(dict.fromkeys(device.room for device in config.devices)) or [""]
    lines = []
    for label in sorted(named | {"smoke_alarm", "co_alarm"}, key=lambda x: (x not in CRITICAL, x)):
        for room in rooms:
            where = f" in the {room}" if room else ""
            for period in periods(config, label, room=room, now_ms=now_ms):
                lines += _sentences(f"{label}{where}, {period.name}: ", period.plan)
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
