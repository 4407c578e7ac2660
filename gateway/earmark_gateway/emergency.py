"""When the usual way is broken: tell people without the database, and let others miss us."""

from __future__ import annotations

import logging
import threading
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from earmark_gateway.notify.base import make_notifier
from earmark_gateway.rules import recipients

if TYPE_CHECKING:
    from collections.abc import Callable

    from earmark_gateway.clock import Clock
    from earmark_gateway.config import Config
    from earmark_gateway.notify.base import Notifier

log = logging.getLogger(__name__)

# A short refusal (a backup, a checkpoint) heals by itself; a caregiver need not know.
_STORE_GRACE_S = 60.0
_REPEAT_S = 3600.0
_PING_S = 60.0
_PING_TIMEOUT_S = 10.0


class StoreAlarm:
    """Says directly, past the outbox, that the database refuses work.

    Parameters
    ----------
    clock : Clock
    make : callable
        Channel for a URL.
    """

    def __init__(self, clock: Clock, make: Callable[[str], Notifier] = make_notifier) -> None:
        self._clock = clock
        self._make = make
        self._since_s: float | None = None
        self._told_s: float | None = None

    def set_state(self, *, ok: bool) -> None:
        """Note whether the database works."""
        if ok:
            self._since_s = self._told_s = None
        elif self._since_s is None:
            self._since_s = self._clock.monotonic_s()

    def check(self, config: Config) -> bool:
        """Tell the primary caregivers if it is time; returns whether it was."""
        now_s = self._clock.monotonic_s()
        if self._since_s is None or now_s - self._since_s < _STORE_GRACE_S:
            return False
        if self._told_s is not None and now_s - self._told_s < _REPEAT_S:
            return False
        self._told_s = now_s
        threading.Thread(target=self._tell, args=(config,), daemon=True).start()
        return True

    def _tell(self, config: Config) -> None:
        message = {
            "title": "Gateway cannot store sounds",
            "body": (
                "The database refuses work (disk full or read-only?). Devices keep their sounds "
                "until it works again, but nobody is told of them meanwhile."
            ),
            "label": "gateway_fault",
            "kind": "emergency",
            "severity": "critical",
        }
        for person in recipients(config, ("primary",)):
            for url in person.channels:
                result = self._make(url.get_secret_value()).send(
                    {**message, "recipient": person.id}
                )
                if not result.ok:
                    log.error("emergency not delivered", extra={"reason": result.error})


class DeadManSwitch:
    """Visits a page of an outside service once a minute; it reports when the visits stop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last_s = -_PING_S

    def visit(self, url: str) -> bool:
        """Visit if it is time; returns whether it was."""
        now_s = self._clock.monotonic_s()
        if not url or now_s - self._last_s < _PING_S:
            return False
        self._last_s = now_s
        threading.Thread(target=_visit, args=(url,), daemon=True).start()
        return True


def _visit(url: str) -> None:
    if not url.startswith(("http://", "https://")):
        log.error("dead-man switch", extra={"reason": "watch.dead_man_url is not http(s)"})
        return
    try:
        with urllib.request.urlopen(url, timeout=_PING_TIMEOUT_S) as answer:  # noqa: S310 - checked
            answer.read(1)
    except (urllib.error.URLError, OSError) as exc:
        log.warning("dead-man switch", extra={"reason": type(exc).__name__})
