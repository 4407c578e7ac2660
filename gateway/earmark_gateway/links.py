"""Signed one-time links: acknowledge from the notification without a login.

GET only shows (mail scanners follow links); POST acknowledges and uses the link up.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from earmark_gateway import escalation

if TYPE_CHECKING:
    from earmark_gateway.config import Config
    from earmark_gateway.store.base import Store

_MAC_BYTES = 16


class LinkError(ValueError):
    """A link that is not ours, has expired or has been used; the text may be shown."""


@dataclass(frozen=True)
class Link:
    """What a token says."""

    token_id: str
    alert_id: int
    person_id: str
    expires_ms: int


def secret_of(store: Store) -> bytes:
    """Return the installation's signing key; made at first use, shared by all replicas."""
    with store.read() as tx:
        known = tx.get_meta("link_secret")
    if known is None:
        with store.write() as tx:
            known = tx.put_meta_once("link_secret", secrets.token_hex(32))
    return bytes.fromhex(known)


def make_token(secret: bytes, alert_id: int, person_id: str, expires_ms: int) -> str:
    """Create a token for one person and one alert; repeated notifications share it."""
    body = f"{alert_id}.{person_id}.{expires_ms}".encode()
    mac = hmac.digest(secret, body, hashlib.sha256)[:_MAC_BYTES]
    return base64.urlsafe_b64encode(mac + body).decode().rstrip("=")


def read_token(secret: bytes, token: str, now_ms: int) -> Link:
    """Check a token's signature and expiry.

    Raises
    ------
    LinkError
        If it is not ours or has expired.
    """
    try:
        raw = base64.urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
    except (binascii.Error, UnicodeEncodeError, ValueError):
        raise LinkError("This link is damaged.") from None
    mac, body = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
    if not hmac.compare_digest(mac, hmac.digest(secret, body, hashlib.sha256)[:_MAC_BYTES]):
        raise LinkError("This link is damaged.")
    alert, person, expires = body.decode().split(".")
    if int(expires) <= now_ms:
        raise LinkError("This link has expired. Open the page and sign in instead.")
    return Link(hashlib.sha256(mac).hexdigest()[:32], int(alert), person, int(expires))


def acknowledge_by_link(
    store: Store, config: Config, secret: bytes, token: str, now_ms: int
) -> bool:
    """Acknowledge an alert with a token.

    Returns
    -------
    bool
        False if somebody has acknowledged the alert already.

    Raises
    ------
    LinkError
        If the token is not ours, has expired or has been used.
    """
    link = read_token(secret, token, now_ms)
    with store.write() as tx:
        if not tx.use_link(link.token_id, now_ms):
            raise LinkError("This link has been used.")
        return escalation.acknowledge(
            tx, config, link.alert_id, by=link.person_id, how="link", now_ms=now_ms
        )
