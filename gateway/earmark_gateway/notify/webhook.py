"""A signed POST to a program of the operator's: the outbox keeps it until the program answers 2xx.

``webhook+https://SECRET@host/path``: the body is the message as JSON, and the headers are

* ``X-Earmark-Timestamp``: Unix seconds of this attempt,
* ``X-Earmark-Signature``: ``v1=`` and the HMAC-SHA256, in hex, of timestamp, ``.`` and body,
* ``Idempotency-Key``: the same for every attempt to deliver one message.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import ssl
import time
import urllib.parse
from typing import Any

import msgspec

from earmark_gateway.notify.base import Delivery

PREFIX = "webhook+"
# Well below the lease of an outbox row: a slow program must not get every message twice.
_TIMEOUT_S = 10.0
_SUCCESS = range(200, 300)
_CLIENT_ERRORS = range(400, 500)
# Come back later rather than give up: timeout, conflict, too early, too many requests.
_TRANSIENT = frozenset({408, 409, 425, 429})


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Value of ``X-Earmark-Signature``; the receiver compares it in constant time."""
    digest = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    return f"v1={digest.hexdigest()}"


class WebhookNotifier:
    """Posts to one address.

    Parameters
    ----------
    url : str
        ``webhook+https://SECRET@host:port/path?query``, or ``webhook+http://`` for a program on
        the same machine. Without a secret the message is not signed.
    """

    def __init__(self, url: str) -> None:
        self._url = url.removeprefix(PREFIX)

    def send(self, message: dict[str, Any]) -> Delivery:
        """Deliver one message; redirects are not followed, they could leak it."""
        try:
            status = self._post(message, msgspec.json.encode(message))
        except (OSError, http.client.HTTPException) as exc:
            return Delivery(ok=False, error=type(exc).__name__)
        except ValueError:
            return Delivery(ok=False, permanent=True, error="not a webhook URL")
        if status in _SUCCESS:
            return Delivery(ok=True)
        permanent = status in _CLIENT_ERRORS and status not in _TRANSIENT
        return Delivery(ok=False, permanent=permanent, error=f"HTTP {status}")

    def _post(self, message: dict[str, Any], body: bytes) -> int:
        parts = urllib.parse.urlsplit(self._url)
        path = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
        connection = _connection(parts)
        try:
            connection.request("POST", path, body, _headers(parts, message, body))
            return connection.getresponse().status
        finally:
            connection.close()


def _connection(parts: urllib.parse.SplitResult) -> http.client.HTTPConnection:
    host, port = parts.hostname, parts.port
    if not host or parts.scheme not in {"http", "https"}:
        raise ValueError("no host")
    if parts.scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
    context = ssl.create_default_context()
    return http.client.HTTPSConnection(host, port, timeout=_TIMEOUT_S, context=context)


def _headers(
    parts: urllib.parse.SplitResult, message: dict[str, Any], body: bytes
) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "User-Agent": "earmark-gateway"}
    if "id" in message:
        headers["Idempotency-Key"] = str(message["id"])
    if parts.username:
        timestamp = str(int(time.time()))
        secret = urllib.parse.unquote(parts.username)
        headers["X-Earmark-Timestamp"] = timestamp
        headers["X-Earmark-Signature"] = signature(secret, timestamp, body)
    return headers
