"""The monthly test along the whole path: broker, schema, database, rules, channels, people."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import msgspec

from earmark_gateway import topics, wire

if TYPE_CHECKING:
    from earmark_gateway.clock import Clock
    from earmark_gateway.config import Config
    from earmark_gateway.mqtt_in import MqttLink


def own_device_id(config: Config) -> str:
    """Name the gateway as a device: its test event takes the same way as every other."""
    return f"gw-{config.gateway.id}"[:32]


def start_self_test(mqtt: MqttLink, config: Config, clock: Clock) -> bool:
    """Publish a test event through the broker; False while it is not connected."""
    boot = secrets.token_hex(8)
    event = wire.Event(
        v=1,
        event_type="self_test",
        phase="once",
        eid=f"{boot[:4]}-1",
        boot=boot,
        boot_n=1,
        seq=1,
        up_ms=0,
        ts=clock.now_ms(),
        sync=True,
        conf=1.0,
        thr=0.5,
        dur_ms=0,
        model="selftest+0000",
        late=False,
    )
    topic = topics.device(own_device_id(config), "event")
    return mqtt.publish(topic, msgspec.json.encode(event), qos=1)
