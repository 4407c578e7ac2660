"""What the pages show: plain values read in one snapshot, and the templates around them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import jinja2
import msgspec

from earmark_gateway import explain, messages, rules
from earmark_gateway.labels import CRITICAL, display_name
from earmark_gateway.selftest import own_device_id

if TYPE_CHECKING:
    from earmark_gateway import model
    from earmark_gateway.config import Config
    from earmark_gateway.service import Gateway

PAGE_SIZE = 50
RECENT = 8
_LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})


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
    environment.filters["duration"] = duration_text
    return environment


def duration_text(dur_ms: int | None) -> str:
    """Say how long a sound lasted."""
    if dur_ms is None:
        return ""
    if dur_ms < 60_000:
        return f"{dur_ms / 1000:.1f} s"
    return f"{dur_ms // 60_000} min {dur_ms % 60_000 // 1000} s"


def render(name: str, gateway: Gateway, **values: Any) -> str:
    """Render a template; times are shown in the gateway's zone."""
    now_ms = gateway.clock.now_ms()
    zone = ZoneInfo(gateway.config.gateway.timezone)
    return (
        _environment()
        .get_template(name)
        .render(
            **values,
            time_text=lambda ms: messages.clock_text(ms, now_ms, zone),
            ago=lambda ms: ago_text(now_ms - ms),
            critical=CRITICAL,
            people=gateway.config.people,
            signed_in_pages=gateway.config.web.login,
        )
    )


def ago_text(ms: int) -> str:
    """Say how long ago something was."""
    seconds = max(0, ms // 1000)
    for unit_s, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= unit_s:
            count = seconds // unit_s
            return f"{count} {name}{'s' if count > 1 else ''} ago"
    return "just now"


def allowed_hosts(gateway: Gateway) -> frozenset[str]:
    """Host names the page answers to: loopback and the one in ``gateway.base_url``."""
    web = gateway.config.web
    if web.host not in _LOOPBACK_NAMES:
        return frozenset()
    base = gateway.config.gateway.base_url.split("://")[-1].split("/")[0].rsplit(":", 1)[0]
    return _LOOPBACK_NAMES | ({base} if base else frozenset())


def person_id(gateway: Gateway, given: str) -> str:
    """Return `given` if it is somebody in the circle, else a neutral word."""
    return given if given in {person.id for person in gateway.config.people} else "page"


def now_values(gateway: Gateway) -> dict[str, Any]:
    """Open alerts with who has been told, the latest sounds, devices in trouble."""
    own = own_device_id(gateway.config)
    with gateway.store.read() as tx:
        alerts = [
            (alert, _told(gateway.config, tx.outbox_of_alert(alert.id)))
            for alert in tx.open_alerts()
        ]
        episodes = tx.timeline(limit=RECENT)
        devices = [d for d in tx.devices(state="approved") if d.id != own]
        problems = tx.problems()
    return {
        "alerts": alerts,
        "episodes": [e for e in episodes if e.device_id != own],
        "devices": devices,
        "problems": problems,
        "store_ok": gateway.store_ok,
        "broker_ok": gateway.mqtt.connected,
    }


def _told(config: Config, rows: list[model.OutboxRow]) -> list[tuple[str, str]]:
    """Return (name, outcome) per person, the best outcome of their channels."""
    names = {person.id: person.name for person in config.people}
    outcome: dict[str, str] = {}
    for row in rows:
        if row.state == "sent" or outcome.get(row.recipient) != "sent":
            outcome[row.recipient] = row.state
    return [(names.get(who, who), state) for who, state in outcome.items()]


def timeline_values(gateway: Gateway, before_ms: int | None) -> dict[str, Any]:
    """One page of sounds, newest first."""
    with gateway.store.read() as tx:
        episodes = tx.timeline(before_ms=before_ms, limit=PAGE_SIZE)
    own = own_device_id(gateway.config)
    return {
        "episodes": [e for e in episodes if e.device_id != own],
        "before": episodes[-1].occurred_ms if len(episodes) == PAGE_SIZE else None,
    }


def device_values(gateway: Gateway) -> dict[str, Any]:
    """Devices by state, each with its problems."""
    own = own_device_id(gateway.config)
    with gateway.store.read() as tx:
        devices = [d for d in tx.devices() if d.id != own]
        problems = tx.problems()
    return {
        "devices": [
            (d, [p for p in problems if p.device_id == d.id])
            for d in devices
            if d.state == "approved"
        ],
        "waiting": [d for d in devices if d.state == "quarantined"],
    }


def circle_values(gateway: Gateway) -> dict[str, Any]:
    """Return the circle and the rules in words."""
    now_ms = gateway.clock.now_ms()
    config = gateway.config
    return {
        "summary": explain.summary(config, now_ms),
        "warnings": explain.warnings(config),
        "unfilled": rules.unfilled_roles(config),
    }


def privacy_values(gateway: Gateway) -> dict[str, Any]:
    """Return the latest message exactly as its fields came, without what the gateway added."""
    added = {"id", "received_ms", "occurred_ms", "room", "resident", "alert_id"}
    own = own_device_id(gateway.config)
    latest = None
    with gateway.store.read() as tx:
        for device in tx.devices(state="approved"):
            event = tx.last_event(device.id) if device.id != own else None
            if event and (latest is None or event.received_ms > latest.received_ms):
                latest = event
    if latest is None:
        return {"payload": "", "n_bytes": 0}
    fields = {k: v for k, v in msgspec.structs.asdict(latest).items() if k not in added}
    return {
        "payload": msgspec.json.format(msgspec.json.encode(fields), indent=2).decode(),
        "n_bytes": len(msgspec.json.encode(fields)),
    }


def alert_of(gateway: Gateway, alert_id: int) -> model.Alert | None:
    """Read one alert."""
    with gateway.store.read() as tx:
        return tx.get_alert(alert_id)
