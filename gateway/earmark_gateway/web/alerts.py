"""One alert in words: what was heard, who knows, what comes next, what has happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from earmark_gateway import rules
from earmark_gateway.escalation import sound_of
from earmark_gateway.labels import INTERNAL, display_name
from earmark_gateway.web import words

if TYPE_CHECKING:
    from earmark_gateway import model
    from earmark_gateway.config import Config
    from earmark_gateway.store.base import Transaction

# Kinds of notification that ask somebody to act.
_ASKING = ("alert", "again", "more")
_HOW = {
    "link": "from the notification",
    "web": "on this page",
    "cli": "on the gateway",
    "homeassistant": "in Home Assistant",
}


@dataclass(frozen=True)
class AlertView:
    """An alert as the page shows it.

    Attributes
    ----------
    title : str
        "Smoke alarm in the kitchen".
    age : str
        "2 min ago".
    heard : str
        "At Marta's, 2 min ago, heard 3 times".
    told : list of (str, str)
        Name of a person, and whether they know.
    next_step : str
        What happens if nobody answers; empty if nothing does.
    verdict : str
        Who takes care of it, or that somebody has to.
    history : list of (int, str)
        Unix milliseconds, and what happened then; oldest first.
    """

    alert: model.Alert
    title: str
    age: str
    heard: str
    told: list[tuple[str, str]]
    next_step: str
    verdict: str
    history: list[tuple[int, str]]

    @property
    def age_begin(self) -> str:
        """The age at the beginning of a sentence."""
        return self.age[:1].upper() + self.age[1:]

    @property
    def waiting(self) -> bool:
        """Whether somebody has to answer."""
        return self.alert.state in ("open", "unanswered")

    @property
    def state(self) -> str:
        """Colour of the page: ``bad``, ``warn`` or ``good``."""
        if not self.waiting:
            return "good"
        return "warn" if self.alert.label in INTERNAL else "bad"


def view_of(tx: Transaction, config: Config, alert: model.Alert, now_ms: int) -> AlertView:
    """Read everything about an alert and put it into words."""
    rows = [row for row in tx.outbox_of_alert(alert.id) if row.kind in _ASKING]
    place = f" in the {alert.room}" if alert.room else ""
    age = words.ago(now_ms - alert.occurred_ms)
    heard = [f"at {alert.resident}'s"] if alert.resident else []
    heard.append(age)
    if alert.count > 1:
        heard.append(f"heard {alert.count} times, the last {words.ago(now_ms - alert.last_ms)}")
    if alert.dur_ms:
        heard.append(f"lasted {words.duration(alert.dur_ms)}")
    if alert.late:
        heard.append("reported late")
    sentence = ", ".join(heard)
    return AlertView(
        alert=alert,
        title=display_name(alert.label) + place,
        age=age,
        heard=sentence[:1].upper() + sentence[1:],
        told=_told(config, rows, now_ms),
        next_step=_next_step(tx, config, alert, now_ms),
        verdict=_verdict(config, alert, now_ms),
        history=_history(tx, config, alert, rows),
    )


def _name(config: Config, person_id: str) -> str:
    person = config.person(person_id)
    return person.name if person else "Somebody"


def _told(config: Config, rows: list[model.OutboxRow], now_ms: int) -> list[tuple[str, str]]:
    """Per person, the best outcome of their channels."""
    best: dict[str, tuple[int, str]] = {}
    for row in rows:
        rank, text = _outcome(row, now_ms)
        if rank >= best.get(row.recipient, (-1, ""))[0]:
            best[row.recipient] = rank, text
    return [(_name(config, who), text) for who, (_, text) in best.items()]


def _outcome(row: model.OutboxRow, now_ms: int) -> tuple[int, str]:
    if row.state == "sent" and row.sent_ms is not None:
        return 4, f"was told {words.ago(now_ms - row.sent_ms)}"
    if row.state == "pending" and row.next_ms > now_ms + 60_000:
        return 1, f"is told {words.until(row.next_ms - now_ms)}, after quiet hours"
    return {
        "pending": (3, "is being told now"),
        "leased": (3, "is being told now"),
        "failed": (2, "could not be reached yet, trying again"),
        "dead": (0, "could not be reached"),
    }.get(row.state, (0, "did not have to be told"))


def _next_step(tx: Transaction, config: Config, alert: model.Alert, now_ms: int) -> str:
    """Say who is told next, and when."""
    if alert.state != "open":
        return ""
    due = [timer.due_ms for timer in tx.timers_of_alert(alert.id) if timer.kind == "escalate"]
    if not due:
        return ""
    when = words.until(min(due) - now_ms)
    steps = rules.route(config, sound_of(alert, alert.opened_ms)).rule.steps
    if alert.step >= len(steps):
        if alert.severity != "critical":
            return f"Without an answer it ends as unanswered {when}."
        step = steps[0]
    else:
        step = steps[alert.step]
        if alert.step and rules.step_is_empty(config, step):
            return f"Without an answer it goes on {when}."
    names = " and ".join(person.name for person in rules.recipients(config, step.to))
    again = "again " if alert.step >= len(steps) else ""
    return f"Without an answer {names} will be told {again}{when}." if names else ""


def _verdict(config: Config, alert: model.Alert, now_ms: int) -> str:
    if alert.false_alarm:
        note = f' "{alert.note}"' if alert.note else ""
        return f"It was a false alarm, says {_name(config, alert.acked_by)}.{note}"
    if alert.acked_ms is not None:
        if alert.acked_how == "resolved":
            return f"Over by itself, {words.ago(now_ms - alert.acked_ms)}."
        return f"{_name(config, alert.acked_by)} takes care of it."
    if alert.state == "told":
        return "People were told. It needs no answer."
    if alert.state == "unanswered":
        return "Nobody has answered, and nobody else will be told."
    return "Nobody has answered yet."


def _history(
    tx: Transaction, config: Config, alert: model.Alert, rows: list[model.OutboxRow]
) -> list[tuple[int, str]]:
    story: list[tuple[int, str]] = []
    for event in tx.events_of_alert(alert.id):
        name = display_name(event.label)
        if event.phase in ("start", "once"):
            story.append((event.occurred_ms, f"{name} heard, {event.conf * 100:.0f} % sure"))
        elif event.phase == "end" and event.dur_ms:
            story.append((event.occurred_ms, f"Over after {words.duration(event.dur_ms)}"))
    if not story:
        story.append((alert.occurred_ms, display_name(alert.label)))
    for row in rows:
        name = _name(config, row.recipient)
        if row.state == "sent" and row.sent_ms is not None:
            story.append((row.sent_ms, f"{name} was told"))
        elif row.state == "dead":
            story.append((row.created_ms, f"{name} could not be reached over one channel"))
    if alert.acked_ms is not None:
        if alert.acked_how == "resolved":
            story.append((alert.acked_ms, "No longer the case"))
        else:
            how = _HOW.get(alert.acked_how, "")
            story.append(
                (alert.acked_ms, f"{_name(config, alert.acked_by)} answered {how}".strip())
            )
    return sorted(story, key=lambda entry: entry[0])
