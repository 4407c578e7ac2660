"""Alerts from the first sound to the acknowledgement, inside the caller's transaction.

Every function takes the time as an argument and changes nothing but the transaction, so the event,
its alert, its notifications and its timers become durable together or not at all.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from earmark_gateway import messages, model, rules
from earmark_gateway.rules import Sound

if TYPE_CHECKING:
    from collections.abc import Iterable

    from earmark_gateway.config import Config, Person, Rule
    from earmark_gateway.store.base import Transaction

_WAITING = ("critical", "alert")


def channel_id(url: str) -> str:
    """Name a channel: its URL holds secrets and stays out of the database."""
    return hashlib.sha256(url.encode()).hexdigest()[:10]


def on_sound(tx: Transaction, config: Config, sound: Sound, now_ms: int) -> int | None:
    """Open an alert for a sound, or join it to one; returns the alert's id, None if only listed."""
    way = rules.route(config, sound)
    if way.severity == "log":
        return None
    if rules.snoozed(tx.snoozes(now_ms), sound, way.severity, now_ms):
        return None
    key = rules.group_key(sound, way.rule)
    if way.severity == "critical" or way.rule.group_s > 0:
        group = tx.find_group(key, since_ms=now_ms - round(way.rule.group_s * 1000))
        if group is not None and _joins(group, way.severity):
            _join(tx, config, group, sound, way=way, now_ms=now_ms)
            return group.id
    return _open(tx, config, sound, way=way, key=key, now_ms=now_ms)


def _joins(group: model.Alert, severity: str) -> bool:
    # A critical sound after an acknowledgement is a new emergency, never part of the old one.
    return group.state == "open" if severity == "critical" else not group.false_alarm


def _open(
    tx: Transaction, config: Config, sound: Sound, *, way: rules.Route, key: str, now_ms: int
) -> int:
    alert_id = tx.insert_alert(
        model.Alert(
            id=0,
            group_key=key,
            label=sound.label,
            severity=way.severity,
            device_id=sound.device_id,
            room=sound.room,
            resident=sound.resident,
            rule=way.rule.name,
            state="open" if way.severity in _WAITING else "told",
            opened_ms=now_ms,
            occurred_ms=sound.occurred_ms,
            last_ms=now_ms,
            count=1,
            flushed=1,
            dur_ms=None,
            conf=sound.conf,
            step=0,
            round=0,
            late=way.late,
            acked_by="",
            acked_ms=None,
            acked_how="",
            false_alarm=False,
            note="",
        )
    )
    alert = tx.get_alert(alert_id)
    assert alert is not None  # noqa: S101 - inserted above
    if way.rule.steps[0].after_s > 0 and alert.state == "open":
        _set_escalation(tx, alert, round(way.rule.steps[0].after_s * 1000), now_ms)
    else:
        _take_step(tx, config, alert, way.rule, now_ms)
    return alert_id


def _join(
    tx: Transaction,
    config: Config,
    alert: model.Alert,
    sound: Sound,
    *,
    way: rules.Route,
    now_ms: int,
) -> None:
    count = alert.count + 1
    if way.severity != "critical":
        tx.update_alert(alert.id, count=count, last_ms=now_ms)
        delay_ms = round(way.rule.group_s * 1000)
        tx.insert_timer(
            model.Timer(
                key=f"{alert.id}:flush",
                kind="flush",
                due_ms=now_ms + delay_ms,
                delay_ms=delay_ms,
                alert_id=alert.id,
            )
        )
        return
    # Grouping never holds back a critical sound: everybody told so far hears of it now.
    tx.update_alert(alert.id, count=count, flushed=count, last_ms=now_ms)
    body = messages.sound_body(sound, late=way.late, now_ms=now_ms, zone=config.zone)
    text = messages.title(sound.label, sound.room, prefix=f"Again ({count}x): ")
    told = {row.recipient for row in tx.outbox_of_alert(alert.id)}
    people = [person for person in config.people if person.id in told]
    note = _Note(f"again{count}", "again", text, body, alert.severity)
    _queue(tx, config, note, people, alert=alert, now_ms=now_ms)


def _take_step(
    tx: Transaction, config: Config, alert: model.Alert, rule: Rule, now_ms: int
) -> None:
    """Tell the people of the next rung and set the timer for the one after."""
    index = min(alert.step, len(rule.steps) - 1)
    step = rule.steps[index]
    first = alert.round == 0 and index == 0
    if first or not rules.step_is_empty(config, step):
        prefix = "" if first else "Still unanswered: "
        sound = sound_of(alert, now_ms)
        body = messages.sound_body(sound, late=alert.late, now_ms=now_ms, zone=config.zone)
        text = messages.title(alert.label, alert.room, prefix=prefix)
        name = str(alert.round * len(rule.steps) + index)
        people = rules.recipients(config, step.to)
        note = _Note(name, "alert", text, body, alert.severity)
        _queue(tx, config, note, people, alert=alert, now_ms=now_ms)
    tx.update_alert(alert.id, step=index + 1)
    if alert.state != "open":
        return
    after = rule.steps[index + 1].after_s if index + 1 < len(rule.steps) else None
    wait_s = rule.repeat_s if after is None else after - step.after_s
    _set_escalation(tx, alert, round(wait_s * 1000), now_ms, index + 1)


def _set_escalation(
    tx: Transaction, alert: model.Alert, delay_ms: int, now_ms: int, step: int = 0
) -> None:
    tx.insert_timer(
        model.Timer(
            key=f"{alert.id}:escalate:{alert.round}:{step}",
            kind="escalate",
            due_ms=now_ms + delay_ms,
            delay_ms=delay_ms,
            alert_id=alert.id,
        )
    )


def on_escalate(tx: Transaction, config: Config, alert_id: int, now_ms: int) -> None:
    """Take the next rung, start over (critical) or give up (everything else)."""
    alert = tx.get_alert(alert_id, lock=True)
    if alert is None or alert.state != "open":
        return
    rule = rules.route(config, sound_of(alert, alert.opened_ms)).rule
    if alert.step >= len(rule.steps):
        if alert.severity != "critical":
            tx.update_alert(alert_id, state="unanswered")
            return
        tx.update_alert(alert_id, round=alert.round + 1, step=0)
        alert = tx.get_alert(alert_id)
        assert alert is not None  # noqa: S101 - locked above
    _take_step(tx, config, alert, rule, now_ms)


def on_flush(tx: Transaction, config: Config, alert_id: int, now_ms: int) -> None:
    """Tell how many sounds have joined a group since people were told."""
    alert = tx.get_alert(alert_id, lock=True)
    if alert is None or alert.count <= alert.flushed:
        return
    more = alert.count - alert.flushed
    tx.update_alert(alert_id, flushed=alert.count)
    if alert.false_alarm:
        return
    told = {row.recipient for row in tx.outbox_of_alert(alert_id)}
    people = [person for person in config.people if person.id in told]
    last = messages.clock_text(alert.last_ms, now_ms, config.zone)
    text = messages.title(alert.label, alert.room, prefix=f"+{more} more: ")
    body = f"{more} more since you were told, the last at {last}."
    note = _Note(f"more{alert.count}", "more", text, body, "notice")
    _queue(tx, config, note, people, alert=alert, now_ms=now_ms)


def on_end(tx: Transaction, alert_id: int, dur_ms: int | None, now_ms: int) -> None:
    """Note how long the sound lasted."""
    if dur_ms is not None:
        tx.update_alert(alert_id, dur_ms=dur_ms, last_ms=now_ms)


def acknowledge(
    tx: Transaction, config: Config, alert_id: int, *, by: str, how: str, now_ms: int
) -> bool:
    """Stop an alert's escalation; tell those who were told that somebody is on it.

    Parameters
    ----------
    by : str
        Id of a person, or a name; empty when the cause has gone away by itself.
    how : str
        ``link``, ``web``, ``cli``, ``homeassistant`` or ``resolved``.

    Returns
    -------
    bool
        False if somebody else was faster, or there is no such alert.
    """
    if not tx.acknowledge_alert(alert_id, by=by, how=how, now_ms=now_ms):
        return False
    tx.cancel_outbox(alert_id)
    tx.delete_timers(alert_id)
    alert = tx.get_alert(alert_id)
    assert alert is not None  # noqa: S101 - the update above has found it
    told = {
        row.recipient
        for row in tx.outbox_of_alert(alert_id)
        if row.state in ("sent", "leased") and row.recipient != by
    }
    if not told or alert.label == "self_test":
        return True
    person = config.person(by)
    who = person.name if person else (by or "")
    text = messages.title(
        alert.label, alert.room, prefix="Over: " if how == "resolved" else "Answered: "
    )
    at = messages.clock_text(now_ms, now_ms, config.zone)
    body = f"{who} has answered at {at}." if who else f"No longer the case since {at}."
    people = [person for person in config.people if person.id in told]
    note = _Note("ack", "ack", text, body, alert.severity)
    _queue(tx, config, note, people, alert=alert, now_ms=now_ms)
    return True


def false_alarm(
    tx: Transaction, config: Config, alert_id: int, *, by: str, note: str, now_ms: int
) -> bool:
    """Record that nothing was there (text only), acknowledging the alert if it is open."""
    if tx.get_alert(alert_id) is None:
        return False
    acknowledge(tx, config, alert_id, by=by, how="web", now_ms=now_ms)
    tx.set_false_alarm(alert_id, false_alarm=True, note=note[:200])
    return True


def resolve(tx: Transaction, config: Config, label: str, device_id: str, now_ms: int) -> None:
    """Acknowledge the open alerts of a fault that has gone away."""
    for alert in tx.open_alerts():
        if alert.label == label and alert.device_id == device_id:
            acknowledge(tx, config, alert.id, by="", how="resolved", now_ms=now_ms)


def tell(
    tx: Transaction,
    config: Config,
    people: Iterable[Person],
    *,
    key: str,
    kind: str,
    text: tuple[str, str],
    now_ms: int,
) -> None:
    """Queue a notification that belongs to no alert (digest, notice of the gateway)."""
    note = _Note(key, kind, *text, severity="notice")
    _queue(tx, config, note, people, alert=None, now_ms=now_ms)


def sound_of(alert: model.Alert, now_ms: int) -> Sound:
    """Rebuild the sound that opened an alert."""
    return Sound(
        label=alert.label,
        device_id=alert.device_id,
        room=alert.room,
        resident=alert.resident,
        occurred_ms=alert.occurred_ms,
        received_ms=now_ms,
        conf=alert.conf,
    )


@dataclass(frozen=True)
class _Note:
    """A notification before it is known who gets it."""

    step: str  # makes the rows unique within their alert
    kind: str
    title: str
    body: str
    severity: str


def _queue(
    tx: Transaction,
    config: Config,
    note: _Note,
    people: Iterable[Person],
    *,
    alert: model.Alert | None,
    now_ms: int,
) -> None:
    """One row per person and channel."""
    more: dict[str, Any] = {"kind": note.kind, "severity": note.severity, "step": note.step}
    if alert is None:
        sound = Sound(note.kind, "", "", "", now_ms, now_ms)
    else:
        sound = sound_of(alert, now_ms)
        more["alert_id"] = alert.id
    content = messages.payload(sound, title_text=note.title, body=note.body, **more)
    for person in people:
        for url in person.channels:
            channel = channel_id(url.get_secret_value())
            owner = alert.id if alert else note.kind
            tx.insert_outbox(
                model.NewOutboxRow(
                    key=f"{owner}:{note.step}:{person.id}:{channel}",
                    alert_id=alert.id if alert else None,
                    recipient=person.id,
                    channel=channel,
                    kind=note.kind,
                    severity=note.severity,
                    payload={**content, "recipient": person.id},
                    next_ms=rules.deliver_at(config, person, note.severity, now_ms),
                ),
                now_ms=now_ms,
            )
