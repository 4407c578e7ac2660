"""The connection to the broker: receive, acknowledge, publish.

paho's pitfalls, each measured (docs/gateway.md): an acknowledgement after a reconnection may hit
another message, so every message carries the epoch of its connection; an exception in a callback
ends the network thread, so none leaves one; a dead thread looks alive, so an echo through the
broker is watched.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

import msgspec
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from earmark_gateway import topics, wire
from earmark_gateway.ingest import Incoming

if TYPE_CHECKING:
    from collections.abc import Callable

    from earmark_gateway.clock import Clock
    from earmark_gateway.config import Config

log = logging.getLogger(__name__)

# The broker keeps our session this long while we are away.
_SESSION_EXPIRY_S = 7 * 86400
# Unacknowledged messages at a time: the group commit needs many, memory and restarts few.
_RECEIVE_MAXIMUM = 512
_QOS1 = 1
# Kept for the dead-letter table when somebody publishes megabytes: enough for its size and head.
_OVERSIZE_KEEP = wire.MAX_PAYLOAD_BYTES + 1


class _Client(paho.Client):
    """paho's client that tells when a connection is about to be replaced."""

    before_reconnect: Callable[[], None] = staticmethod(lambda: None)

    def reconnect(self) -> MQTTErrorCode:
        """Reconnect; acknowledgements of the old connection must not reach the new one."""
        self.before_reconnect()
        return super().reconnect()


class MqttLink:
    """One persistent session with the broker.

    Parameters
    ----------
    config : Config
    clock : Clock
    deliver : callable
        Gets every `Incoming`; may block to slow the broker down.
    """

    def __init__(self, config: Config, clock: Clock, deliver: Callable[[Incoming], None]) -> None:
        self._config = config
        self._clock = clock
        self._deliver = deliver
        self._lock = threading.Lock()
        self._epoch = 0
        self._handlers: list[tuple[str, Callable[[str, bytes], None]]] = []
        self._connected = threading.Event()
        self._subscribed = threading.Event()
        self._subscribe_mid: int | None = None
        self._closing = False
        self.lost_since_s: float | None = clock.monotonic_s()
        self.echo_s = clock.monotonic_s()
        self.errors = 0
        self._echo_topic = topics.gateway(config.gateway.id, "echo")
        self._status_topic = topics.gateway(config.gateway.id, "status")
        self._client = self._make_client()

    def _make_client(self) -> _Client:
        mqtt = self._config.mqtt
        v5 = mqtt.protocol == "5"
        client_id = mqtt.client_id or mqtt.username or f"earmark-gateway-{self._config.gateway.id}"
        client = _Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=paho.MQTTv5 if v5 else paho.MQTTv311,
            clean_session=None if v5 else False,
            manual_ack=True,
        )
        if mqtt.username:
            client.username_pw_set(mqtt.username, mqtt.password.get_secret_value())
        if mqtt.tls is not None:
            tls = mqtt.tls
            client.tls_set(
                ca_certs=str(tls.ca),
                certfile=str(tls.certificate) if tls.certificate else None,
                keyfile=str(tls.key) if tls.key else None,
            )
        client.will_set(self._status_topic, b"offline", qos=1, retain=True)
        client.reconnect_delay_set(1, 15)
        client.max_queued_messages_set(1000)
        client.before_reconnect = self._new_epoch
        client.on_connect = self._guard(self._on_connect)
        client.on_subscribe = self._guard(self._on_subscribe)
        client.on_disconnect = self._guard(self._on_disconnect)
        client.on_message = self._guard(self._on_message)
        return client

    def _guard(self, callback: Callable[..., None]) -> Callable[..., None]:
        """Keep every exception away from paho's thread, which would end silently."""

        def guarded(*arguments: Any) -> None:
            try:
                callback(*arguments)
            except Exception:
                self.errors += 1
                log.exception("callback failed")

        return guarded

    def start(self) -> None:
        """Connect in the background; retries for ever."""
        mqtt = self._config.mqtt
        arguments: dict[str, Any] = {}
        if mqtt.protocol == "5":
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = _SESSION_EXPIRY_S
            properties.ReceiveMaximum = _RECEIVE_MAXIMUM
            arguments = {"clean_start": False, "properties": properties}
        self._client.connect_async(mqtt.host, mqtt.port, keepalive=mqtt.keepalive_s, **arguments)
        self._client.loop_start()

    def stop(self) -> None:
        """Say goodbye and disconnect."""
        self._closing = True
        if self._connected.is_set():
            self._client.publish(
                self._status_topic, b"stopped", qos=1, retain=True
            ).wait_for_publish(2)
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted us and our subscriptions."""
        return self._subscribed.is_set()

    @property
    def epoch(self) -> int:
        """Number of the present connection."""
        return self._epoch

    def wait_connected(self, timeout_s: float) -> bool:
        """Wait until the broker has accepted us and our subscriptions."""
        return self._subscribed.wait(timeout_s)

    def add_handler(self, topic: str, handler: Callable[[str, bytes], None]) -> None:
        """Also listen to `topic` (no wildcards), e.g. Home Assistant's birth message."""
        self._handlers.append((topic, handler))
        if self._connected.is_set():
            self._client.subscribe(topic, 1)

    def publish(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> bool:
        """Publish; False while disconnected (nothing is queued in memory)."""
        if not self._connected.is_set():
            return False
        return self._client.publish(topic, payload, qos, retain).rc == paho.MQTT_ERR_SUCCESS

    def ack(self, message: Incoming) -> None:
        """Acknowledge a message on the connection it came from, or not at all."""
        if message.qos != _QOS1:
            return
        with self._lock:
            if message.epoch == self._epoch:
                self._client.ack(message.mid, message.qos)

    def send_ack(self, device_id: str, ack: wire.Ack) -> None:
        """Tell a device what is stored. Lost ones are repeated when the device sends again."""
        if self._config.mqtt.application_ack:
            self.publish(topics.device(device_id, "ack"), msgspec.json.encode(ack))

    def send_echo(self) -> None:
        """Send ourselves a message through the broker."""
        self.publish(self._echo_topic, b"echo", qos=0)

    def _new_epoch(self) -> None:
        with self._lock:
            self._epoch += 1

    def _on_connect(
        self, client: paho.Client, _: Any, flags: Any, reason: Any, __: Any = None
    ) -> None:
        if reason.is_failure:
            log.error("broker refuses", extra={"reason": str(reason)})
            return
        self._new_epoch()
        # MQTT 5: retained messages only for new subscriptions would miss a lost session's updates.
        options = SubscribeOptions(qos=1)
        wanted = [*topics.subscriptions(), self._echo_topic, *(t for t, _h in self._handlers)]
        if self._config.mqtt.protocol == "5":
            _, self._subscribe_mid = client.subscribe([(topic, options) for topic in wanted])
        else:
            _, self._subscribe_mid = client.subscribe([(topic, 1) for topic in wanted])
        client.publish(self._status_topic, b"online", qos=1, retain=True)
        self._connected.set()
        log.info("broker connected", extra={"session_present": bool(flags.session_present)})

    def _on_subscribe(
        self, _: paho.Client, __: Any, mid: int, reasons: list[Any], ___: Any = None
    ) -> None:
        if mid != self._subscribe_mid:
            return
        if any(reason.is_failure for reason in reasons):
            # Not connected, then: people are told, and nobody believes that we listen.
            log.error("broker refuses subscriptions", extra={"reason": str(reasons)})
            return
        self.lost_since_s, self.echo_s = None, self._clock.monotonic_s()
        self._subscribed.set()

    def _on_disconnect(self, _: paho.Client, __: Any, ___: Any, reason: Any, ____: Any) -> None:
        self._new_epoch()
        self._connected.clear()
        self._subscribed.clear()
        if self.lost_since_s is None:  # else it has never been heard in between
            self.lost_since_s = self._clock.monotonic_s()
        if not self._closing:
            log.warning("broker lost", extra={"reason": str(reason)})

    def _on_message(self, client: paho.Client, _: Any, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = "\N{REPLACEMENT CHARACTER}"
        if topic == self._echo_topic:
            self.echo_s = self._clock.monotonic_s()
            client.ack(message.mid, message.qos)
            return
        for wanted, handler in self._handlers:
            if topic == wanted:
                client.ack(message.mid, message.qos)
                handler(topic, bytes(message.payload))
                return
        self._deliver(
            Incoming(
                topic=topic,
                payload=bytes(message.payload[:_OVERSIZE_KEEP]),
                retain=message.retain,
                qos=message.qos,
                mid=message.mid,
                epoch=self._epoch,
                received_ms=self._clock.now_ms(),
            )
        )
