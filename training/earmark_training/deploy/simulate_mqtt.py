"""MQTT for the simulator: version 5, or 3.1.1 where the broker knows no better (amqtt)."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as mqtt
from earmark_dsp.errors import EarmarkError
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_CONNECT_TIMEOUT_S = 5.0
_DELIVER_TIMEOUT_S = 5.0
_KEEPALIVE_S = 30


class MqttBridge:
    """Carries the simulator's messages to a broker.

    Parameters
    ----------
    host, port : str, int
        The broker.
    username, password : str or None
        The broker's user for this device; its name should be the device id.
    ca, certificate, key : Path or None
        PEM files; `ca` turns TLS on, the other two are the device's identity.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        username: str | None = None,
        password: str | None = None,
        ca: Path | None = None,
        certificate: Path | None = None,
        key: Path | None = None,
    ) -> None:
        self.host, self.port = host, port
        self.protocol = "MQTT 5"
        self._username, self._password = username, password
        self._tls = (ca, certificate, key)
        self._client: mqtt.Client | None = None
        self._ready = threading.Event()
        self._refusal = ""
        self._n_published = 0
        self._last: mqtt.MQTTMessageInfo | None = None
        self._send: Callable[[str], None] = lambda _line: None
        self._device_topic = ""

    def start(self, will: tuple[str, bytes, int, bool], send: Callable[[str], None]) -> None:
        """Connect with the newest protocol that the broker accepts.

        Raises
        ------
        EarmarkError
            If it accepts none, or nobody listens there.
        """
        self._send = send
        self._device_topic = will[0].removesuffix("/status")
        for version, name in (
            (MQTTProtocolVersion.MQTTv5, "MQTT 5"),
            (MQTTProtocolVersion.MQTTv311, "MQTT 3.1.1"),
        ):
            self.protocol = name
            if self._connect(version, will):
                return
        raise EarmarkError(
            f"the MQTT broker at {self.host}:{self.port} refused the connection"
            + (f": {self._refusal}" if self._refusal else ""),
            "check user, password and certificates",
        )

    def _connect(self, version: MQTTProtocolVersion, will: tuple[str, bytes, int, bool]) -> bool:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._device_topic.rsplit("/", 1)[-1],
            protocol=version,
        )
        client.will_set(will[0], will[1], qos=will[2], retain=will[3])
        if self._username is not None:
            client.username_pw_set(self._username, self._password)
        ca, certificate, key = self._tls
        if ca is not None:
            client.tls_set(
                str(ca),
                certfile=str(certificate) if certificate else None,
                keyfile=str(key) if key else None,
            )
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        self._ready.clear()
        self._client = client
        try:
            client.connect(self.host, self.port, keepalive=_KEEPALIVE_S)
        except OSError as exc:
            raise EarmarkError(
                f"no MQTT broker answers at {self.host}:{self.port} ({exc})",
                "start one, for example `earmark demo --serve`",
            ) from None
        client.loop_start()
        if self._ready.wait(_CONNECT_TIMEOUT_S):
            self._send("UP")
            return True
        self._client = None
        client.disconnect()
        client.loop_stop()
        return False

    def _on_connect(
        self, client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any
    ) -> None:
        if reason.is_failure:
            self._refusal = str(reason)
            return
        client.subscribe([(f"{self._device_topic}/ack", 1), (f"{self._device_topic}/cmd/#", 1)])

    def _on_subscribe(
        self, _client: mqtt.Client, _data: Any, _mid: int, _reasons: Any, _properties: Any
    ) -> None:
        # Only now can an acknowledgement reach us.
        if self._ready.is_set():
            self._send("UP")
        self._ready.set()

    def _on_disconnect(
        self, _client: mqtt.Client, _data: Any, _flags: Any, _reason: Any, _properties: Any
    ) -> None:
        if self._ready.is_set():
            self._send("DOWN")

    def _on_message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        payload = message.payload.decode("utf-8", errors="replace")
        if "\n" not in payload and "\t" not in payload:
            self._send(f"MSG\t{message.topic}\t{payload}")

    def _on_publish(
        self, _client: mqtt.Client, _data: Any, _mid: int, _reason: Any, _properties: Any
    ) -> None:
        self._n_published += 1
        self._send(f"SENT\t{self._n_published}")

    def publish(self, topic: str, payload: bytes, qos: int, *, retain: bool) -> None:
        """Send one message; the device itself repeats what nobody acknowledged."""
        if self._client is not None:
            self._last = self._client.publish(topic, payload, qos=qos, retain=retain)

    def stop(self) -> None:
        """Wait for the newest message to arrive at the broker, then disconnect."""
        client, self._client = self._client, None
        if client is None:
            return
        if self._last is not None:
            # Either error: the connection is gone, there is nothing to wait for.
            with contextlib.suppress(RuntimeError, ValueError):
                self._last.wait_for_publish(_DELIVER_TIMEOUT_S)
        self._ready.clear()
        client.disconnect()
        client.loop_stop()
