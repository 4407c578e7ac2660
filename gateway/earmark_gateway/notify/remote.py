"""apprise: one object per URL. Its own retries live in memory, so ours is the outbox."""

from __future__ import annotations

import logging
import re
import threading
from typing import Any

from earmark_gateway.notify.base import Delivery

_HTTP_ERROR = re.compile(r"error\s*[=:]\s*(\d{3})")
_CLIENT_ERRORS = range(400, 500)
# Come back later rather than give up: timeout and too many requests.
_TRANSIENT = frozenset({408, 425, 429})


class _LastError(logging.Handler):
    """Catches the status code that apprise only logs, without letting the text through."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._local = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        match = _HTTP_ERROR.search(record.getMessage())
        if match:
            self._local.status = int(match[1])

    def take(self) -> int | None:
        """Status code logged by this thread since the last call."""
        status: int | None = getattr(self._local, "status", None)
        self._local.status = None
        return status


_last_error = _LastError()
_setup_lock = threading.Lock()


def _apprise() -> Any:
    """Import apprise when the first message is due: it is the largest dependency."""
    with _setup_lock:
        import apprise

        logger = logging.getLogger("apprise")
        if _last_error not in logger.handlers:
            # apprise logs addresses and bodies; none of it may reach our log.
            logger.propagate = False
            logger.setLevel(logging.WARNING)
            logger.addHandler(_last_error)
    return apprise


class AppriseNotifier:
    """One of apprise's services.

    Parameters
    ----------
    url : str
        See https://github.com/caronc/apprise/wiki.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def send(self, message: dict[str, Any]) -> Delivery:
        """Deliver title and body."""
        apprise = _apprise()
        try:
            # The plugin itself, in this thread: Apprise.notify would start another one for it.
            service = apprise.Apprise.instantiate(self._url, suppress_exceptions=True)
            if service is None:
                return Delivery(ok=False, permanent=True, error="apprise does not know this URL")
            _last_error.take()
            kind = {"critical": "failure", "alert": "warning"}.get(message["severity"], "info")
            if service.notify(title=message["title"], body=message["body"], notify_type=kind):
                return Delivery(ok=True)
        except Exception as exc:  # noqa: BLE001 - 174 services of others
            return Delivery(ok=False, error=type(exc).__name__)
        status = _last_error.take()
        if status is None:
            return Delivery(ok=False, error="not accepted")
        permanent = status in _CLIENT_ERRORS and status not in _TRANSIENT
        return Delivery(ok=False, permanent=permanent, error=f"HTTP {status}")
