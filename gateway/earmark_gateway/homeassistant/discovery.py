"""What Home Assistant is told, as pure functions of the registry: discovery, state, events.

Device-based discovery (Home Assistant 2024.12 and later): one retained message per device lists
all its entities. Source: https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery
"""

from __future__ import annotations

import datetime as dt
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from earmark_gateway import labels, topics

if TYPE_CHECKING:
    from collections.abc import Collection

    from earmark_gateway import model
    from earmark_gateway.config import Config
    from earmark_gateway.ingest import Change

# Not below earmark/v1: no device's access rights reach it.
ROOT = "earmark/ha"
GATEWAY_PREFIX = "gateway_"

# Home Assistant's device classes; "safety" reads "Unsafe" while on.
_ALARM_CLASSES = {"smoke_alarm": "smoke", "co_alarm": "carbon_monoxide"}
_PROBLEMS = {
    "microphone_fault": "Microphone",
    "device_fault": "Self-test",
    "events_missing": "Lost sounds",
    "boot_repeated": "Copied or reset device",
}
# (key of the state, name, further options)
_SENSORS: tuple[tuple[str, str, dict[str, str]], ...] = (
    (
        "rssi",
        "Wi-Fi signal",
        {
            "device_class": "signal_strength",
            "unit_of_measurement": "dBm",
            "state_class": "measurement",
        },
    ),
    ("queue", "Sounds waiting", {"state_class": "measurement"}),
    (
        "noise_dbfs",
        "Noise floor",
        {"unit_of_measurement": "dBFS", "state_class": "measurement"},
    ),
    ("firmware", "Firmware", {}),
    ("model", "Model", {}),
    ("last_seen", "Last seen", {"device_class": "timestamp"}),
)


def topic(node: str, kind: str) -> str:
    """Topic of the mirror, e.g. ``topic("4f0c9a1b22d3", "event")``."""
    return f"{ROOT}/{node}/{kind}"


def discovery_topic(config: Config, node: str) -> str:
    """Topic of a node's discovery message."""
    return f"{config.homeassistant.discovery_prefix}/device/earmark_{node}/config"


def gateway_node(config: Config) -> str:
    """Node of the gateway itself."""
    return f"{GATEWAY_PREFIX}{config.gateway.id}"


def device_discovery(device: model.Device, config: Config) -> dict[str, Any]:
    """Every entity of a device.

    Parameters
    ----------
    device : Device
    config : Config

    Returns
    -------
    dict
        Payload of `discovery_topic`. The resident's name is not in it.
    """
    node = device.id
    heard = labels.CATALOGUE if device.labels is None else frozenset(device.labels)
    components: dict[str, Any] = {"sounds": {"platform": "event"}}
    if heard:
        components["sounds"] = _entity(
            node,
            "event",
            "sounds",
            name="Sounds",
            icon="mdi:ear-hearing",
            state_topic=topic(node, "event"),
            event_types=sorted(heard),
        )
    for label in sorted(labels.CRITICAL):
        # Only its platform: Home Assistant then removes what an earlier model could hear.
        components[label] = {"platform": "binary_sensor"}
        if label in heard:
            components[label] = _alarm(node, label, config)
    for kind, name in _PROBLEMS.items():
        components[kind] = _diagnostic(
            node, "binary_sensor", kind, name=name, device_class="problem"
        )
    components["muted"] = _diagnostic(node, "binary_sensor", "muted", name="Microphone muted")
    components["connected"] = _diagnostic(
        node, "binary_sensor", "connected", name="Connected", device_class="connectivity"
    )
    for key, name, options in _SENSORS:
        components[key] = _diagnostic(node, "sensor", key, name=name, **options)
    # What the gateway knows about a silent device stays visible.
    for key in (*_PROBLEMS, "muted", "connected", "last_seen"):
        components[key]["availability"] = _gateway_availability(config)
    room = device.room.strip()
    about = {
        "name": device.name or room.capitalize() or f"Earmark {node}",
        "model": "Listening device",
        "via_device": f"earmark_{gateway_node(config)}",
    }
    if room:
        about["suggested_area"] = room.capitalize()
    if device.firmware:
        about["sw_version"] = device.firmware
    online = {"topic": topic(node, "availability")}
    return _message(
        node,
        config,
        about=about,
        availability=[*_gateway_availability(config), online],
        components=components,
    )


def gateway_discovery(config: Config) -> dict[str, Any]:
    """Entities of the gateway itself."""
    node = gateway_node(config)
    counted = {"state_class": "measurement"}
    components = {
        "open_alerts": _entity(
            node, "sensor", "open_alerts", name="Open alerts", icon="mdi:bell-alert", **counted
        ),
        "devices_waiting": _diagnostic(
            node, "sensor", "devices_waiting", name="Devices waiting for approval", **counted
        ),
        "database": _diagnostic(
            node, "binary_sensor", "database", name="Database", device_class="problem"
        ),
    }
    return _message(
        node,
        config,
        about={"name": "Earmark gateway", "model": "Gateway", "sw_version": version("earmark")},
        availability=_gateway_availability(config),
        components=components,
    )


def device_state(
    device: model.Device, *, problems: Collection[str], open_labels: Collection[str]
) -> dict[str, Any]:
    """State of a device, the source of all its entities but the event.

    Parameters
    ----------
    device : Device
    problems : collection of str
        Present problems (`model.Problem.kind`).
    open_labels : collection of str
        Labels with an alert that nobody has answered.
    """
    health = device.health or {}
    state: dict[str, Any] = {label: _on(label in open_labels) for label in sorted(labels.CRITICAL)}
    state |= {kind: _on(kind in problems) for kind in _PROBLEMS}
    state["muted"] = _on("microphone_muted" in problems)
    state["connected"] = _on(is_online(device))
    state |= {key: health.get(key) for key in ("rssi", "queue", "noise_dbfs")}
    state |= {"firmware": device.firmware or None, "model": device.model or None}
    state["last_seen"] = _iso(device.last_seen_ms) if device.last_seen_ms else None
    return state


def gateway_state(*, n_open: int, n_waiting: int, store_ok: bool) -> dict[str, Any]:
    """State of the gateway."""
    return {"open_alerts": n_open, "devices_waiting": n_waiting, "database": _on(not store_ok)}


def event(change: Change) -> dict[str, Any] | None:
    """Message of the event entity; None unless a sound begins."""
    sound = change.event
    if sound is None or sound.phase not in ("start", "once"):
        return None
    return {
        "event_type": sound.event_type,
        "critical": sound.event_type in labels.CRITICAL,
        "occurred": _iso(change.occurred_ms),
        "confidence": sound.conf,
        "threshold": sound.thr,
        "duration_ms": sound.dur_ms,
    }


def is_online(device: model.Device) -> bool:
    """Whether the heartbeat says so; the will is only a hint."""
    return device.offline_since_ms is None and device.last_seen_ms > 0


def _message(
    node: str,
    config: Config,
    *,
    about: dict[str, str],
    availability: list[dict[str, str]],
    components: dict[str, Any],
) -> dict[str, Any]:
    device: dict[str, Any] = {"identifiers": [f"earmark_{node}"], "manufacturer": "Earmark"}
    device |= about
    if config.gateway.base_url:
        device["configuration_url"] = config.gateway.base_url
    return {
        "device": device,
        "origin": {"name": "Earmark", "sw_version": version("earmark")},
        "state_topic": topic(node, "state"),
        "availability": availability,
        "availability_mode": "all",
        "qos": 1,
        "components": components,
    }


def _entity(node: str, platform: str, key: str, **options: Any) -> dict[str, Any]:
    entity = {
        "platform": platform,
        "unique_id": f"earmark_{node}_{key}",
        # object_id has been removed in 2026.4.
        "default_entity_id": f"{platform}.earmark_{node}_{key}",
        **options,
    }
    if "state_topic" not in options:
        entity["value_template"] = f"{{{{ value_json.{key} }}}}"
    return entity


def _diagnostic(node: str, platform: str, key: str, **options: str) -> dict[str, Any]:
    return _entity(node, platform, key, entity_category="diagnostic", **options)


def _alarm(node: str, label: str, config: Config) -> dict[str, Any]:
    """On while an alert waits for an answer, whether the device is still there or not."""
    return _entity(
        node,
        "binary_sensor",
        label,
        name=labels.display_name(label),
        device_class=_ALARM_CLASSES.get(label, "safety"),
        availability=_gateway_availability(config),
    )


def _gateway_availability(config: Config) -> list[dict[str, str]]:
    return [
        {
            "topic": topics.gateway(config.gateway.id, "status"),
            # It says "stopped" too, which Home Assistant has no word for.
            "value_template": "{{ 'online' if value == 'online' else 'offline' }}",
        }
    ]


def _on(value: bool) -> str:  # noqa: FBT001 - a conversion
    return "ON" if value else "OFF"


def _iso(unix_ms: int) -> str:
    return dt.datetime.fromtimestamp(unix_ms / 1000, dt.UTC).isoformat(timespec="milliseconds")
