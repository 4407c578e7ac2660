"""What the pages show: plain values read in one snapshot, and the templates around them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import jinja2
import msgspec

from earmark_gateway import explain, wire
from earmark_gateway.clock import DAY_MS, local
from earmark_gateway.labels import CRITICAL, INTERNAL, display_name
from earmark_gateway.selftest import own_device_id
from earmark_gateway.web import words
from earmark_gateway.web.alerts import view_of

if TYPE_CHECKING:
    from earmark_gateway import model
    from earmark_gateway.service import Gateway
    from earmark_gateway.store.base import Transaction
    from earmark_gateway.web.alerts import AlertView

PAGE_SIZE = 50
RECENT = 8
_LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
_FIELDS = {
    "v": "version of the message",
    "event_type": "which sound",
    "phase": "whether it begins, goes on or ends",
    "eid": "joins the beginning and the end of one sound",
    "boot": "random number of this start of the device",
    "boot_n": "how often the device has started",
    "seq": "number of the message: a missing one is noticed",
    "up_ms": "milliseconds since the device started",
    "ts": "when, in milliseconds since 1970",
    "sync": "whether the device's clock is set",
    "conf": "how sure the device is, from 0 to 1",
    "thr": "how sure it has to be",
    "dur_ms": "how long the sound lasted, in milliseconds",
    "model": "which network recognised it",
    "late": "whether the message had to wait on the device",
}


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("earmark_gateway.web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["label"] = display_name
    environment.filters["duration"] = words.duration
    return environment


def render(
    name: str, gateway: Gateway, *, path: str = "", live: bool = False, **values: Any
) -> str:
    """Render a template; times are shown in the residents' zone.

    Parameters
    ----------
    path : str
        Address of the page: marks its link, and where a live page asks for its next state.
    live : bool
        Whether the page follows changes by itself.
    """
    now_ms = gateway.clock.now_ms()
    zone = gateway.config.zone
    return (
        _environment()
        .get_template(name)
        .render(
            **values,
            path=path,
            live=live,
            clock=lambda ms: clock_text(gateway, ms, now_ms),
            hour=lambda ms: f"{local(ms, zone):%H:%M}",
            critical=CRITICAL,
            people=gateway.config.people,
            signed_in_pages=gateway.config.web.login,
        )
    )


def clock_text(gateway: Gateway, ms: int, now_ms: int) -> str:
    """Local time to the minute, with the day when it is not today."""
    zone = gateway.config.zone
    moment, now = local(ms, zone), local(now_ms, zone)
    if moment.date() == now.date():
        return f"{moment:%H:%M}"
    if abs((now.date() - moment.date()).days) < 7:
        return f"{moment:%a %H:%M}"
    return f"{moment:%a} {moment.day} {moment:%b} {moment:%H:%M}"


def allowed_hosts(gateway: Gateway) -> frozenset[str]:
    """Host names the page answers to: loopback and the one in ``gateway.base_url``."""
    web = gateway.config.web
    if web.host not in _LOOPBACK_NAMES:
        return frozenset()
    base = gateway.config.gateway.base_url.split("://")[-1].split("/")[0].rsplit(":", 1)[0]
    return _LOOPBACK_NAMES | ({base} if base else frozenset())


def person_id(gateway: Gateway, given: str) -> str:
    """Return `given` if it is somebody in the circle, else a neutral word."""
    return given if gateway.config.person(given) else "page"


def now_values(gateway: Gateway) -> dict[str, Any]:
    """Open alerts with who has been told, the latest sounds, what listens and what does not."""
    now_ms = gateway.clock.now_ms()
    own = own_device_id(gateway.config)
    with gateway.store.read() as tx:
        waiting = tx.open_alerts()
        waiting += [
            alert
            for alert in tx.alerts(limit=PAGE_SIZE)
            if alert.state == "unanswered" and now_ms - alert.opened_ms < DAY_MS
        ]
        waiting.sort(key=_urgency)
        alerts = [view_of(tx, gateway.config, alert, now_ms) for alert in waiting]
        # The gateway's own test sounds are not of the house: read a few more to leave them out.
        episodes = [e for e in tx.timeline(limit=3 * RECENT) if e.device_id != own][:RECENT]
        devices = _devices(tx, own, now_ms)
        snoozes = [(s, words.span(s.until_ms - now_ms)) for s in tx.snoozes(now_ms)]
    faults = []
    if not gateway.store_ok:
        faults.append("The gateway cannot write to its database. Sounds wait on the devices.")
    if not gateway.mqtt.connected:
        faults.append("The gateway has no connection to its message broker. Nothing can arrive.")
    state, headline, subline = _state(alerts, devices, episodes, faults, now_ms)
    return {
        "state": state,
        "headline": headline,
        "subline": subline,
        "faults": faults,
        "alerts": alerts,
        "episodes": episodes,
        "devices": devices,
        "snoozes": snoozes,
    }


def _urgency(alert: model.Alert) -> tuple[bool, bool, int]:
    """Sort key: what may be an emergency first, then sounds before devices, then the latest."""
    return alert.severity != "critical", alert.label in INTERNAL, -alert.id


def _state(
    alerts: list[AlertView],
    devices: list[words.DeviceWords],
    episodes: list[model.Episode],
    faults: list[str],
    now_ms: int,
) -> tuple[str, str, str]:
    """Say the state of the house: ``bad``, ``warn`` or ``good``, in a few words, in a sentence."""
    last = "Nothing has been heard yet."
    if episodes:
        first = episodes[0]
        place = f" in the {first.room}" if first.room else ""
        age = words.ago(now_ms - first.occurred_ms)
        last = f"Last sound: {display_name(first.label).lower()}{place}, {age}."
    sounds = [a for a in alerts if a.alert.label not in INTERNAL]
    if sounds:
        n_more = len(alerts) - 1
        more = (
            f" {n_more} more {'waits' if n_more == 1 else 'wait'} for an answer." if n_more else ""
        )
        return "bad", sounds[0].title, f"{sounds[0].age_begin}, and nobody has answered.{more}"
    if alerts:
        return "warn", alerts[0].title, f"{alerts[0].age_begin}, and nobody has answered."
    if faults:
        return "warn", "The gateway is in trouble", last
    return _listening(devices, last)


def _listening(devices: list[words.DeviceWords], last: str) -> tuple[str, str, str]:
    """Say the state of a house without alerts: quiet counts only where something listens."""
    deaf = [d for d in devices if d.state != "good"]
    if not devices:
        return "warn", "No device is listening", "Nothing can be heard yet."
    if all(d.state == "new" for d in devices):
        return "warn", "No device has reported yet", "Plug the devices in: they come by themselves."
    if deaf:
        names = ", ".join(d.title for d in deaf)
        return "warn", "Quiet, but not every room is heard", f"Needs a look: {names}. {last}"
    n_good = len(devices)
    return "good", "All quiet", f"{n_good} device{'s listen' if n_good > 1 else ' listens'}. {last}"


def _devices(tx: Transaction, own: str, now_ms: int) -> list[words.DeviceWords]:
    problems = tx.problems()
    return [
        words.describe(d, [p for p in problems if p.device_id == d.id], now_ms)
        for d in tx.devices(state="approved")
        if d.id != own
    ]


def alert_values(gateway: Gateway, alert_id: int) -> dict[str, Any] | None:
    """One alert with its history; None if it is no longer stored."""
    with gateway.store.read() as tx:
        alert = tx.get_alert(alert_id)
        if alert is None:
            return None
        return {"a": view_of(tx, gateway.config, alert, gateway.clock.now_ms())}


def timeline_values(gateway: Gateway, before_ms: int | None, room: str) -> dict[str, Any]:
    """One page of sounds by day, newest first."""
    now_ms = gateway.clock.now_ms()
    own = own_device_id(gateway.config)
    with gateway.store.read() as tx:
        episodes = tx.timeline(before_ms=before_ms, limit=PAGE_SIZE, room=room)
        rooms = sorted({d.room for d in tx.devices(state="approved") if d.room})
    days: dict[str, list[model.Episode]] = {}
    for episode in episodes:
        if episode.device_id != own:
            day = words.day_name(episode.occurred_ms, now_ms, gateway.config.zone)
            days.setdefault(day, []).append(episode)
    return {
        "days": list(days.items()),
        "before": episodes[-1].occurred_ms if len(episodes) == PAGE_SIZE else None,
        "rooms": rooms,
        "room": room,
        "keep_days": gateway.config.store.events_days,
        "keep_alert_days": gateway.config.store.alerts_days,
    }


def device_values(gateway: Gateway) -> dict[str, Any]:
    """Devices in words; those that wait to be let in."""
    own = own_device_id(gateway.config)
    with gateway.store.read() as tx:
        return {
            "devices": _devices(tx, own, gateway.clock.now_ms()),
            "waiting": tx.devices(state="quarantined"),
        }


def circle_values(gateway: Gateway) -> dict[str, Any]:
    """Return the circle, and for every sound who is told when."""
    config = gateway.config
    with gateway.store.read() as tx:
        known = {label for d in tx.devices(state="approved") for label in d.labels or ()}
    return {
        "rows": explain.table(config, known, gateway.clock.now_ms()),
        "warnings": explain.warnings(config),
        "zone": config.gateway.timezone,
        "self_test_day": config.watch.self_test_day,
        "self_test_at": f"{config.watch.self_test_at:%H:%M}",
    }


def privacy_values(gateway: Gateway) -> dict[str, Any]:
    """Return the latest message with its fields as they came."""
    own = own_device_id(gateway.config)
    latest: tuple[model.StoredEvent, model.Device] | None = None
    with gateway.store.read() as tx:
        for device in tx.devices(state="approved"):
            event = tx.last_event(device.id) if device.id != own else None
            if event and (latest is None or event.received_ms > latest[0].received_ms):
                latest = event, device
    values: dict[str, Any] = {"payload": "", "store": gateway.config.store}
    if latest is None:
        return values
    event, device = latest
    known = msgspec.structs.asdict(event) | {"v": 1, "event_type": event.label}
    message = {name: known[name] for name in wire.Event.__struct_fields__}
    raw = msgspec.json.encode(message)
    return values | {
        "payload": msgspec.json.format(raw, indent=2).decode(),
        "n_bytes": len(raw),
        "device": (device.room or device.name or device.id).capitalize(),
        "age": words.ago(gateway.clock.now_ms() - event.received_ms),
        "fields": [(name, _FIELDS[name]) for name in message],
    }
