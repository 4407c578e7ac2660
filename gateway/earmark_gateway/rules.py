"""Who is told what, when: pure functions of the configuration, the sound and the time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from earmark_gateway import labels
from earmark_gateway.clock import DAY_MS, local, next_at
from earmark_gateway.config import ROLES, Config, Person, Rule, Step

if TYPE_CHECKING:
    from collections.abc import Iterable

    from earmark_gateway import model


# What holds when no rule in the file matches.
_DEFAULT_CRITICAL = Rule(
    name="critical sounds (default)",
    labels=("*",),
    severity="critical",
    steps=(
        Step(after_s=0, to=("primary",)),
        Step(after_s=120, to=("backup",)),
        Step(after_s=300, to=("professional", "primary", "backup")),
    ),
    group_s=0,
)
_DEFAULT_HOUSE = Rule(
    name="gateway and devices (default)",
    labels=("*",),
    severity="alert",
    steps=(Step(after_s=0, to=("primary",)), Step(after_s=1800, to=("backup",))),
    group_s=3600,
)
_DEFAULT_NOTICE = Rule(
    name="told once (default)",
    labels=("*",),
    severity="notice",
    steps=(Step(after_s=0, to=("primary",)),),
    group_s=0,
)
_DEFAULT_LOG = Rule(name="listed only (default)", labels=("*",), severity="log", group_s=0)
# What decides where no rule of the configuration does.
DEFAULTS = (_DEFAULT_CRITICAL, _DEFAULT_HOUSE, _DEFAULT_NOTICE, _DEFAULT_LOG)


@dataclass(frozen=True)
class Sound:
    """What a rule sees."""

    label: str
    device_id: str
    room: str
    resident: str
    occurred_ms: int
    received_ms: int
    conf: float | None = None


@dataclass(frozen=True)
class Route:
    """The rule that decides, and the severity after lateness is taken into account."""

    rule: Rule
    severity: str
    late: bool


def route(config: Config, sound: Sound) -> Route:
    """Find the first rule that matches; lateness softens all but critical sounds.

    A sound that the device could report only after `watch.late_after_s` is told once, without
    escalation; after a day it is only listed. Critical sounds are always told, with their time.
    """
    at = local(sound.occurred_ms, config.zone).time()
    for rule in config.rules:
        if sound.label in labels.INTERNAL and sound.label not in rule.labels:
            continue
        if (
            (sound.label in rule.labels or _any(rule, sound.label))
            and (not rule.rooms or sound.room in rule.rooms)
            and (not rule.residents or sound.resident in rule.residents)
            and (rule.between is None or rule.between.contains(at))
        ):
            break
    else:
        rule = _default(config, sound)
    age_ms = sound.received_ms - sound.occurred_ms
    late = age_ms > config.watch.late_after_s * 1000
    severity: str = rule.severity
    if late and severity == "alert":
        severity = "notice"
    if age_ms > DAY_MS and severity == "notice":
        severity = "log"
    return Route(rule, severity, late)


def _any(rule: Rule, label: str) -> bool:
    # "*" must not soften a smoke alarm by accident: that takes a rule that names it.
    return "*" in rule.labels and (label not in labels.CRITICAL or rule.severity == "critical")


def _default(config: Config, sound: Sound) -> Rule:
    label = sound.label
    if label == "no_activity":
        return _no_activity(config, sound.resident)
    if label == "events_missing":
        return _DEFAULT_LOG  # shown with the device; a rule that names it tells people
    if label == "microphone_muted":
        return _DEFAULT_NOTICE
    if label in labels.CRITICAL:
        return _DEFAULT_CRITICAL
    return _DEFAULT_HOUSE if label in labels.INTERNAL else _DEFAULT_LOG


def _no_activity(config: Config, resident: str) -> Rule:
    """Whoever the ``[[no_activity]]`` entries of a resident name is told first."""
    entries = [entry for entry in config.no_activity if entry.resident == resident]
    to = tuple(dict.fromkeys(name for entry in entries for name in entry.to))
    if not to:
        return _DEFAULT_HOUSE
    first = _DEFAULT_HOUSE.steps[0].model_copy(update={"to": to})
    return _DEFAULT_HOUSE.model_copy(update={"steps": (first, *_DEFAULT_HOUSE.steps[1:])})


def group_key(sound: Sound, rule: Rule) -> str:
    """Sounds with the same key join one alert. Per device: no sensor silences another."""
    return f"{rule.name}|{sound.label}|{sound.device_id}|{sound.resident}"


def recipients(config: Config, names: Iterable[str]) -> list[Person]:
    """People behind role names and ids, each once, in the order of the file.

    Nobody may be forgotten because a role is empty: if nobody is left, everybody with a channel
    but the resident is told.
    """
    wanted = set(names)
    everybody = "everybody" in wanted
    found = [
        person
        for person in config.people
        if person.channels and (everybody or person.id in wanted or person.role in wanted)
    ]
    if found:
        return found
    return [p for p in config.people if p.channels and p.role != "resident"]


def step_is_empty(config: Config, step: Step) -> bool:
    """Whether a step names only roles that nobody fills."""
    return not any(p.id in step.to or p.role in step.to for p in config.people if p.channels)


def deliver_at(config: Config, person: Person, severity: str, now_ms: int) -> int:
    """When a person may be told: now, or at the end of their quiet hours unless critical."""
    if severity == "critical" or person.quiet is None:
        return now_ms
    if not person.quiet.contains(local(now_ms, config.zone).time()):
        return now_ms
    return next_at(now_ms, person.quiet.end, config.zone)


def snoozed(snoozes: Iterable[model.Snooze], sound: Sound, severity: str, now_ms: int) -> bool:
    """Whether a person has asked not to hear about this now. Critical sounds are never held."""
    if severity == "critical":
        return False
    return any(
        snooze.until_ms > now_ms
        and snooze.label in ("", sound.label)
        and snooze.device_id in ("", sound.device_id)
        and snooze.room in ("", sound.room)
        for snooze in snoozes
    )


def unfilled_roles(config: Config) -> list[str]:
    """Roles that rules name and nobody with a channel fills."""
    named = {to for rule in config.rules for step in rule.steps for to in step.to}
    filled = {person.role for person in config.people if person.channels}
    return [role for role in ROLES if role in named and role not in filled]
