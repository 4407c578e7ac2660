"""The broker refuses, hangs or is half gone, and callbacks fail."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest
from earmark_gateway.clock import SystemClock
from earmark_gateway.mqtt_in import MqttLink
from earmark_gateway.service import Gateway
from gwkit import config, wait_for
from outage_kit import link_to, publish, publisher
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode
from servers import free_port, mosquitto_broker, wait_for_port


def test_acknowledgements_of_an_old_connection_are_dropped(tmp_path):
    """After a reconnection the same packet id means another message."""
    port = free_port()
    received = []
    with mosquitto_broker(port, tmp_path / "a"):
        link = link_to(port, received.append)
        client = publisher(port)
        publish(client, 1)
        wait_for(lambda: len(received) == 1)
        client.loop_stop()
    (old,) = received
    with mosquitto_broker(port, tmp_path / "b"):
        wait_for(lambda: link.connected and link.epoch > old.epoch)
        client = publisher(port)
        publish(client, 1)
        wait_for(lambda: len(received) == 2)
        new = received[1]
        assert (new.mid, new.epoch > old.epoch) == (old.mid, True)
        link.ack(old)
        # The new message is unacknowledged: it comes again on the next connection.
        link._client._sock.shutdown(2)
        wait_for(lambda: len(received) == 3, what="redelivery")
        # Control: the right acknowledgement, and nothing comes again.
        link.ack(received[2])
        # Packets keep their order: when this one is through, so is the acknowledgement.
        link._client.publish("after/it", b"", qos=1).wait_for_publish(60)
        link._client._sock.shutdown(2)
        wait_for(lambda: link.epoch > received[2].epoch + 1 and link.connected)
        publish(client, 1, topic="earmark/v1/demo/health")
        wait_for(lambda: len(received) >= 4)
        assert [message.topic[-6:] for message in received[3:]] == ["health"]
        client.loop_stop()
        link.stop()


@pytest.mark.parametrize(
    "broken", ["deliver", "handler", "_on_connect", "_on_subscribe", "_on_disconnect"]
)
def test_an_exception_in_any_callback_leaves_the_link_alive(mosquitto, broken):
    received, fail = [], threading.Event()
    fail.set()

    def deliver(message):
        if broken == "deliver" and fail.is_set():
            raise ZeroDivisionError
        received.append(message)

    def handler(_topic, _payload):
        raise ZeroDivisionError

    link = MqttLink(config(mqtt={"port": mosquitto}), SystemClock(), deliver)
    link.add_handler("other/topic", handler)
    if broken.startswith("_on"):
        original = getattr(link._client, broken[1:])
        inner = getattr(link, broken)

        def raising(*arguments):
            inner(*arguments)
            if fail.is_set():
                raise ZeroDivisionError

        assert original is not None
        setattr(link._client, broken[1:], link._guard(raising))
    link.start()
    assert link.wait_connected(60)
    client = publisher(mosquitto)
    if broken == "deliver":
        publish(client, 1)
    elif broken == "handler":
        client.publish("other/topic", b"x", qos=1).wait_for_publish(60)
    else:
        link._client._sock.shutdown(2)
    wait_for(lambda: link.errors > 0, what="the exception")
    fail.clear()
    wait_for(lambda: link.connected)
    publish(client, 1)
    wait_for(lambda: len(received) >= 1, what="a message after the exception")
    assert link._client._thread.is_alive()
    client.loop_stop()
    link.stop()


def test_refused_subscriptions_are_no_connection():
    link = MqttLink(config(), SystemClock(), print)
    granted = ReasonCode(PacketTypes.SUBACK, "Granted QoS 1")
    refused = ReasonCode(PacketTypes.SUBACK, "Not authorized")
    link._subscribe_mid = 7
    link._on_subscribe(link._client, None, 7, [granted, refused])
    assert not link.connected
    assert link.lost_since_s is not None  # counts towards "cannot reach its message broker"
    link._on_subscribe(link._client, None, 6, [granted])
    assert not link.connected
    link._on_subscribe(link._client, None, 7, [granted, granted])
    assert link.connected
    assert link.lost_since_s is None


def test_a_half_open_connection_is_noticed_and_replaced(tmp_path):
    port = free_port()
    received = []
    with mosquitto_broker(port, tmp_path / "m") as broker:
        link = link_to(port, received.append, keepalive_s=5)
        # The broker's machine freezes: the socket stays open and silent.
        broker.send_signal(signal.SIGSTOP)
        try:
            wait_for(lambda: not link.connected, what="loss noticed")
        finally:
            broker.send_signal(signal.SIGCONT)
        wait_for(lambda: link.connected)
        client = publisher(port)
        publish(client, 1)
        wait_for(lambda: received)
        client.loop_stop()
        link.stop()


def test_a_missing_echo_asks_for_a_restart(mosquitto, tmp_path):
    settings = {"port": mosquitto, "echo_interval_s": 0.1, "echo_timeout_s": 5}
    store = {"url": f"sqlite:///{tmp_path}/e.db"}
    gateway = Gateway(config(mqtt=settings, store=store))
    gateway.start()
    assert gateway.mqtt.wait_connected(60)
    for _ in range(3):
        before = gateway.mqtt.echo_s
        wait_for(lambda s=before: gateway.stuck() == "" and gateway.mqtt.echo_s > s, what="echo")
    # paho's thread hangs in a callback: connected, but nothing comes back.
    hang = threading.Event()
    gateway.mqtt._deliver = lambda _: hang.wait(60)
    client = publisher(mosquitto)
    publish(client, 1)
    wait_for(lambda: gateway.stuck() == "no echo through the broker")
    hang.set()
    client.loop_stop()
    gateway.stop()


def test_incoming_is_small_even_if_the_message_is_not(mosquitto):
    received = []
    link = link_to(mosquitto, received.append)
    client = publisher(mosquitto)
    client.publish("earmark/v1/demo/event", b"x" * 200_000, qos=1).wait_for_publish(60)
    wait_for(lambda: received)
    assert len(received[0].payload) == 1025
    client.loop_stop()
    link.stop()


def test_wait_for_port_notices_a_server_that_ended():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    with pytest.raises(AssertionError, match="ended"):
        wait_for_port(free_port(), process)
