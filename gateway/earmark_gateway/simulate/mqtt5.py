"""A small MQTT 5 client for asyncio: thousands of connections in one thread.

paho needs a thread per client. Only what a device needs is here: connect with a will, subscribe,
publish with QoS 0 and 1, receive, ping.
Packet formats: OASIS MQTT Version 5.0, sections 2 and 3.
"""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_CONNECT, _CONNACK, _PUBLISH, _PUBACK = 1, 2, 3, 4
_SUBSCRIBE, _SUBACK, _PINGREQ, _DISCONNECT = 8, 9, 12, 14
_MAX_PACKET_ID = 65535


def _length(n: int) -> bytes:
    """Variable byte integer (section 1.5.5)."""
    out = bytearray()
    while True:
        n, byte = n >> 7, n & 0x7F
        out.append(byte | (0x80 if n else 0))
        if not n:
            return bytes(out)


def _text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack(">H", len(data)) + data


def _packet(kind: int, flags: int, body: bytes) -> bytes:
    return bytes([kind << 4 | flags]) + _length(len(body)) + body


class DeviceConnection(asyncio.Protocol):
    """One connection of one device.

    Parameters
    ----------
    client_id : str
    will : tuple of (str, bytes)
        Topic and payload, published retained with QoS 1 if the connection breaks.
    on_message : callable
        Gets topic and payload.
    on_published : callable
        Gets the packet id of a message that the broker has acknowledged.
    on_lost : callable
        Called once when the connection has ended.
    """

    def __init__(
        self,
        client_id: str,
        will: tuple[str, bytes],
        *,
        keepalive_s: int = 60,
        on_message: Callable[[str, bytes], None],
        on_published: Callable[[int], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._client_id = client_id
        self._will = will
        self._keepalive_s = keepalive_s
        self._on_message = on_message
        self._on_published = on_published
        self._on_lost = on_lost
        self._buffer = bytearray()
        self._packet_id = 0
        self._transport: asyncio.Transport | None = None
        self._pinger: asyncio.TimerHandle | None = None
        self.accepted: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.subscribed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    # --- asyncio.Protocol --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say CONNECT: version 5, clean start, will with QoS 1 and retain."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - asyncio's promise for TCP
        self._transport = transport
        topic, payload = self._will
        body = _text("MQTT") + bytes([5, 0b0010_1110]) + struct.pack(">H", self._keepalive_s)
        body += _length(0) + _text(self._client_id) + _length(0) + _text(topic) + _text(payload)
        self._send(_packet(_CONNECT, 0, body))

    def data_received(self, data: bytes) -> None:
        """Split the stream into packets."""
        self._buffer += data
        while (end := self._packet_end()) is not None:
            start, stop = end
            packet = bytes(self._buffer[:stop])
            del self._buffer[:stop]
            self._handle(packet[0], packet[start:])

    def connection_lost(self, exc: Exception | None) -> None:
        """Report the end."""
        del exc
        if self._pinger is not None:
            self._pinger.cancel()
        for future in (self.accepted, self.subscribed):
            if not future.done():
                future.set_result(False)
        self._on_lost()

    # --- what a device does ------------------------------------------------------------------

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> int:
        """Publish; returns the packet id (0 for QoS 0)."""
        packet_id = self._next_id() if qos else 0
        body = _text(topic) + (struct.pack(">H", packet_id) if qos else b"") + _length(0) + payload
        self._send(_packet(_PUBLISH, qos << 1 | int(retain), body))
        return packet_id

    def subscribe(self, topics: list[str]) -> None:
        """Subscribe with QoS 1."""
        body = struct.pack(">H", self._next_id()) + _length(0)
        body += b"".join(_text(topic) + b"\x01" for topic in topics)
        self._send(_packet(_SUBSCRIBE, 2, body))

    def disconnect(self) -> None:
        """Leave properly: no will."""
        self._send(_packet(_DISCONNECT, 0, b""))
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Vanish as in a power cut: the broker sends the will."""
        if self._transport is not None:
            self._transport.abort()

    # --- inside ------------------------------------------------------------------------------

    def _next_id(self) -> int:
        self._packet_id = self._packet_id % _MAX_PACKET_ID + 1
        return self._packet_id

    def _send(self, packet: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(packet)

    def _packet_end(self) -> tuple[int, int] | None:
        """Start of the body and end of the first packet; None while it is incomplete."""
        length, shift = 0, 0
        for i in range(1, min(5, len(self._buffer))):
            byte = self._buffer[i]
            length |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return (i + 1, i + 1 + length) if len(self._buffer) >= i + 1 + length else None
        return None

    def _handle(self, head: int, body: bytes) -> None:
        kind = head >> 4
        if kind == _CONNACK:
            if not self.accepted.done():
                self.accepted.set_result(body[1] == 0)
            self._ping()
        elif kind == _SUBACK:
            if not self.subscribed.done():
                self.subscribed.set_result(True)
        elif kind == _PUBACK:
            self._on_published(struct.unpack_from(">H", body)[0])
        elif kind == _PUBLISH:
            self._receive(head, body)
        elif kind == _DISCONNECT:
            self.abort()

    def _receive(self, head: int, body: bytes) -> None:
        (n,) = struct.unpack_from(">H", body)
        topic, at = body[2 : 2 + n].decode(), 2 + n
        if head >> 1 & 3:
            self._send(_packet(_PUBACK, 0, body[at : at + 2]))
            at += 2
        # Properties are skipped: one length byte suffices for those a gateway sends.
        at += 1 + body[at]
        self._on_message(topic, body[at:])

    def _ping(self) -> None:
        self._send(_packet(_PINGREQ, 0, b""))
        loop = asyncio.get_running_loop()
        self._pinger = loop.call_later(self._keepalive_s / 2, self._ping)
