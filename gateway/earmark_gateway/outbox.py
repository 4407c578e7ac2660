"""Delivery of queued notifications: lease, send, record."""

from __future__ import annotations

import logging
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from earmark_gateway.errors import StoreUnavailableError
from earmark_gateway.escalation import channel_id
from earmark_gateway.notify.base import Delivery, Notifier, make_notifier
from earmark_gateway.store.sql_outbox import MAX_BACKOFF_MS

if TYPE_CHECKING:
    from collections.abc import Callable

    from earmark_gateway.clock import Clock
    from earmark_gateway.config import Config
    from earmark_gateway.model import OutboxRow
    from earmark_gateway.store.base import Store

log = logging.getLogger(__name__)

# Longer than any provider takes to answer; shorter means a second message after a slow one.
LEASE_MS = 60_000
# Then the row is dead; with back-off up to 300 s this is about a day.
MAX_ATTEMPTS = 300
WORKERS = 4
# Without an event to wake it (another replica's row, an expired lease), how often to look.
POLL_S = 1.0


class OutboxWorker:
    """Sends what is due, over several threads.

    Parameters
    ----------
    store : Store
    config : Config
    clock : Clock
    owner : str
        Name of this process in leases.
    decorate : callable
        Adds what must not be in the database (the acknowledge link) to a message.
    make : callable
        Channel for a URL; tests pass their own.
    """

    def __init__(
        self,
        store: Store,
        config: Config,
        clock: Clock,
        *,
        owner: str,
        decorate: Callable[[OutboxRow, dict[str, Any]], dict[str, Any]] = lambda _, m: m,
        make: Callable[[str], Notifier] = make_notifier,
        lease_ms: int = LEASE_MS,
    ) -> None:
        self._store = store
        self._clock = clock
        self._owner = owner
        self._decorate = decorate
        self._make = make
        self._lease_ms = lease_ms
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._notifiers: dict[str, Notifier] = {}
        self._random = random.Random()  # noqa: S311 - jitter
        self.counts = {"sent": 0, "failed": 0, "dead": 0}
        self.delays_s: list[float] = []
        self.set_config(config)
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="notify")
        self._slots = threading.Semaphore(WORKERS)

    def set_config(self, config: Config) -> None:
        """Use other people and channels from now on."""
        urls = [url.get_secret_value() for person in config.people for url in person.channels]
        self._urls = {channel_id(url): url for url in urls}
        self._notifiers = {}

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def wake(self) -> None:
        """Look now: something has been queued."""
        self._wake.set()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Let deliveries in progress finish; the rest keeps its place in the database."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(10)
        self._pool.shutdown(wait=True)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                n_claimed = self._claim()
            except StoreUnavailableError as exc:
                log.error("database refuses", extra={"reason": str(exc.__cause__)})  # noqa: TRY400
                n_claimed = 0
            except Exception:
                log.exception("outbox failed; trying again")
                n_claimed = 0
            if not n_claimed:
                self._wake.wait(self._pause_s())
                self._wake.clear()

    def _pause_s(self) -> float:
        try:
            due_ms = self._store.next_outbox_ms()
        except Exception:  # noqa: BLE001 - the next claim reports it
            return POLL_S
        if due_ms is None:
            return POLL_S
        return min(POLL_S, max(0.02, (due_ms - self._clock.now_ms()) / 1000))

    def _claim(self) -> int:
        # Claim only what a thread can take now: a lease must not expire in a queue.
        self._slots.acquire()
        n_free = 1
        while n_free < WORKERS and self._slots.acquire(blocking=False):
            n_free += 1
        rows: list[OutboxRow] = []
        try:
            rows = list(
                self._store.claim_outbox(
                    self._owner,
                    now_ms=self._clock.now_ms(),
                    lease_ms=self._lease_ms,
                    limit=n_free,
                )
            )
        finally:
            for _ in range(n_free - len(rows)):
                self._slots.release()
        for row in rows:
            self._pool.submit(self._deliver_and_release, row)
        return len(rows)

    def _deliver_and_release(self, row: OutboxRow) -> None:
        try:
            self.deliver(row)
        except Exception:
            # The lease runs out and the row comes again.
            log.exception("delivery failed")
        finally:
            self._slots.release()
            self._wake.set()

    def deliver(self, row: OutboxRow) -> None:
        """Send one leased row and record the outcome."""
        url = self._urls.get(row.channel)
        if url is None:
            outcome = Delivery(ok=False, permanent=True, error="channel no longer configured")
        else:
            notifier = self._notifiers.get(url)
            if notifier is None:
                notifier = self._notifiers[url] = self._make(url)
            self.delays_s.append((self._clock.now_ms() - row.created_ms) / 1000)
            del self.delays_s[:-1000]
            outcome = notifier.send(self._decorate(row, dict(row.payload)))
        now_ms = self._clock.now_ms()
        if outcome.ok:
            state, next_ms = "sent", 0
        elif outcome.permanent or row.attempts >= MAX_ATTEMPTS:
            state, next_ms = "dead", 0
        else:
            state, next_ms = "failed", now_ms + self._backoff_ms(row.attempts)
        self.counts[state] += 1
        if state != "sent":
            log.warning(
                "notification not delivered",
                extra={"row": row.id, "state": state, "reason": outcome.error},
            )
        self._store.finish_outbox(
            row.id,
            self._owner,
            state=state,
            now_ms=now_ms,
            next_ms=next_ms,
            error=outcome.error,
        )

    def _backoff_ms(self, attempts: int) -> int:
        """1, 2, 4 .. 300 s, each less up to a quarter, so that outages do not end in a stampede."""
        full = min(MAX_BACKOFF_MS, 1000 << min(attempts - 1, 20))
        return round(full * self._random.uniform(0.75, 1.0))
