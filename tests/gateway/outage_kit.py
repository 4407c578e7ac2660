"""What the tests of bad days share: a client of the broker, rows to deliver, a provider."""

from __future__ import annotations

import paho.mqtt.client as paho
from earmark_gateway import model
from earmark_gateway.clock import SystemClock
from earmark_gateway.mqtt_in import MqttLink
from earmark_gateway.notify.base import Delivery
from gwkit import config, encode, event_fields


def publisher(port):
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.connect("127.0.0.1", port)
    client.loop_start()
    return client


def publish(client, n, topic="earmark/v1/demo/event"):
    for seq in range(1, n + 1):
        fields = event_fields(seq=seq, eid=f"5b1e-{seq}", event_type="dog")
        client.publish(topic, encode(fields), qos=1).wait_for_publish(60)


def link_to(port, deliver, **mqtt):
    made = MqttLink(config(mqtt={"port": port, **mqtt}), SystemClock(), deliver)
    made.start()
    assert made.wait_connected(60)
    return made


def channel_of(url):
    from earmark_gateway.escalation import channel_id

    return channel_id(url)


def queue_rows(store, n, *, first=0, url="test://anna"):
    with store.write() as tx:
        for i in range(first, first + n):
            tx.insert_outbox(
                model.NewOutboxRow(
                    key=f"k{i}",
                    alert_id=None,
                    recipient="anna",
                    channel=channel_of(url),
                    kind="alert",
                    severity="notice",
                    payload={"n": i, "title": "t", "body": "b"},
                    next_ms=0,
                ),
                now_ms=0,
            )


class Provider:
    def __init__(self, outcomes):
        self.outcomes = list(outcomes)
        self.calls = []

    def send(self, message):
        self.calls.append(message["n"])
        outcome = self.outcomes.pop(0) if self.outcomes else Delivery(ok=True)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome
