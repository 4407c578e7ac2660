"""Login, sessions and form tokens, without any state on the server but a signing key.

A session is a signed expiry time in a cookie; a form token is derived from the session, so that
another site can neither read nor guess it (OWASP: HMAC-based token pattern).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

COOKIE = "earmark_session"
SESSION_S = 14 * 24 * 3600
_TRIES = 5
_LOCK_S = 60.0


def hash_password(password: str) -> str:
    """Return the argon2id hash that belongs into ``web.password_hash``."""
    return PasswordHasher().hash(password)


def session_key(secret: bytes, password_hash: str) -> bytes:
    """Derive the key of sessions from the installation's secret.

    A restart leaves people signed in, and all replicas accept a session; a new password signs
    everybody out.
    """
    return hmac.digest(secret, b"session:" + password_hash.encode(), hashlib.sha256)


def password_matches(password_hash: str, password: str) -> bool:
    """Compare in constant time; a damaged hash never matches."""
    try:
        return PasswordHasher().verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False


def bearer_matches(token: str, header: str) -> bool:
    """Whether an ``Authorization`` header carries `token`; an empty token never matches."""
    scheme, _, sent = header.partition(" ")
    same = hmac.compare_digest(sent.strip().encode(), token.encode())
    return bool(token) and scheme.lower() == "bearer" and same


@dataclass
class Sessions:
    """Issues and checks cookies.

    Attributes
    ----------
    key : bytes
        From `session_key`.
    """

    key: bytes

    def issue(self, now_s: float) -> str:
        """Return a cookie value."""
        body = f"{secrets.token_hex(8)}.{int(now_s) + SESSION_S}"
        return f"{body}.{self._sign('session', body)}"

    def valid(self, cookie: str, now_s: float) -> bool:
        """Whether we issued the cookie and it has not expired."""
        body, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._sign("session", body).encode()):
            return False
        return float(body.rpartition(".")[2]) > now_s

    def form_token(self, cookie: str) -> str:
        """Return the hidden value for forms of this session."""
        return self._sign("form", cookie)

    def form_token_matches(self, cookie: str, token: str) -> bool:
        """Compare in constant time."""
        return hmac.compare_digest(token.encode(), self.form_token(cookie).encode())

    def _sign(self, purpose: str, text: str) -> str:
        return hmac.new(self.key, f"{purpose}:{text}".encode(), hashlib.sha256).hexdigest()


@dataclass
class LoginLimit:
    """At most five wrong passwords a minute from one address."""

    _failures: dict[str, list[float]] = field(default_factory=dict)

    def blocked(self, address: str, now_s: float) -> bool:
        """Whether this address has to wait."""
        recent = [t for t in self._failures.get(address, []) if now_s - t < _LOCK_S]
        self._failures[address] = recent
        return len(recent) >= _TRIES

    def failed(self, address: str, now_s: float) -> None:
        """Count a wrong password."""
        self._failures.setdefault(address, []).append(now_s)
