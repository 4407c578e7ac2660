"""MQTT topics: ``earmark/v1/<device_id>/<kind>``."""

from __future__ import annotations

import re
from typing import NamedTuple

ROOT = "earmark/v1"
# New devices get 12 random hex digits; the wider form allows names such as ``demo``.
DEVICE_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
GATEWAY_SEGMENT = "gateway"
KINDS = ("event", "status", "health", "info", "rsp")

_TOPIC = re.compile(
    rf"{ROOT}/(?P<device>[a-z0-9][a-z0-9_-]{{0,31}})/(?P<kind>event|status|health|info|rsp)"
    r"(?:/(?P<name>[a-z_]{1,32}))?"
)


class Parsed(NamedTuple):
    """A topic that a device may publish to."""

    device_id: str
    kind: str
    name: str


def parse(topic: str) -> Parsed | None:
    """Split a topic; None if no device may publish to it."""
    match = _TOPIC.fullmatch(topic)
    if match is None or match["device"] == GATEWAY_SEGMENT:
        return None
    if (match["name"] is not None) != (match["kind"] == "rsp"):
        return None
    return Parsed(match["device"], match["kind"], match["name"] or "")


def device(device_id: str, kind: str) -> str:
    """Topic of a device, e.g. ``device("demo", "ack")``."""
    return f"{ROOT}/{device_id}/{kind}"


def gateway(gateway_id: str, kind: str) -> str:
    """Topic of a gateway, e.g. ``gateway("home", "status")``."""
    return f"{ROOT}/{GATEWAY_SEGMENT}/{gateway_id}/{kind}"


def subscriptions() -> list[str]:
    """List the filters the gateway listens to. No shared subscription: see docs/gateway.md."""
    return [f"{ROOT}/+/{kind}" for kind in KINDS if kind != "rsp"] + [f"{ROOT}/+/rsp/+"]
