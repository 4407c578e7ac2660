"""Delivery of queued notifications: lease, send, record.

One lane per channel: a channel's notifications go out one after the other, in order, and each is
recorded before the next is sent. So a kill can repeat at most one notification per channel (the
one that the provider had accepted and the database had not yet), and a provider that hangs holds
up nobody else's.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from earmark_gateway.errors import StoreUnavailableError
from earmark_gateway.escalation import channel_id
from earmark_gateway.notify.base import Delivery, Notifier, make_notifier
from earmark_gateway.store.sql_outbox import MAX_BACKOFF_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from earmark_gateway.clock import Clock
    from earmark_gateway.config import Config
    from earmark_gateway.model import OutboxRow
    from earmark_gateway.store.base import Store

log = logging.getLogger(__name__)

# Longer than any provider takes to answer; shorter means a second message after a slow one.
LEASE_MS = 60_000
# Then the row is dead; with back-off up to 300 s this is about a day.
MAX_ATTEMPTS = 300
# Channels that deliver at the same time; more wait for one that hangs, fewer cost threads.
LANES = 16
# Leased in one commit if a channel is fast: as many as it delivers in this time, so that
# something critical or an acknowledgement never waits behind a long batch.
BATCH_S = 0.1
MAX_BATCH = 16
# Without an event to wake it (another replica's row, an expired lease), how often to look.
POLL_S = 1.0
# How long to wait before asking a database again that refuses.
RETRY_S = 1.0


class OutboxWorker:
    """Sends what is due, each channel in a lane of its own.

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
    lease_ms : int
        After this time another replica may send what this one has in hand.
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
        self._lock = threading.Lock()
        self._busy: set[str] = set()
        self._send_s: dict[str, float] = {}  # how long a channel's last delivery took
        self._notifiers: dict[str, Notifier] = {}
        self._random = random.Random()  # noqa: S311 - jitter
        self.counts = {"sent": 0, "failed": 0, "dead": 0}
        self.delays_s: list[float] = []
        self.set_config(config)
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._pool = ThreadPoolExecutor(LANES, thread_name_prefix="notify")

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
            # Cleared before looking: what is queued from here on is seen now or wakes us again.
            self._wake.clear()
            pause_s = POLL_S
            try:
                self._open_lanes()
                pause_s = self._pause_s()
            except StoreUnavailableError as exc:
                log.error("database refuses", extra={"reason": str(exc.__cause__)})  # noqa: TRY400
            except Exception:
                log.exception("outbox failed; trying again")
            self._wake.wait(pause_s)

    def _open_lanes(self) -> None:
        now_ms = self._clock.now_ms()
        for channel in self._store.due_channels(now_ms=now_ms, lease_ms=self._lease_ms):
            with self._lock:
                # A busy lane asks for more itself and wakes us when it ends; so does a full house.
                if channel in self._busy or len(self._busy) >= LANES:
                    continue
                self._busy.add(channel)
            self._pool.submit(self._lane, channel)

    def _pause_s(self) -> float:
        now_ms = self._clock.now_ms()
        # What is due already is in a lane.
        due_ms = self._store.next_outbox_ms(after_ms=now_ms)
        return POLL_S if due_ms is None else min(POLL_S, max(0.001, (due_ms - now_ms) / 1000))

    def _lane(self, channel: str) -> None:
        """Deliver all that a channel has to deliver now."""
        try:
            while not self._stop.is_set() and (rows := self._claim(channel)):
                self._deliver_in_order(rows)
        except StoreUnavailableError as exc:
            log.error("database refuses", extra={"reason": str(exc.__cause__)})  # noqa: TRY400
            self._stop.wait(RETRY_S)
        except Exception:
            # The leases run out and the rows come again.
            log.exception("delivery failed")
            self._stop.wait(RETRY_S)
        finally:
            with self._lock:
                self._busy.discard(channel)
            self._wake.set()

    def _claim(self, channel: str) -> Sequence[OutboxRow]:
        send_s = self._send_s.get(channel, BATCH_S)
        return self._store.claim_outbox(
            self._owner,
            now_ms=self._clock.now_ms(),
            lease_ms=self._lease_ms,
            limit=max(1, min(MAX_BATCH, int(BATCH_S / max(send_s, 1e-6)))),
            channel=channel,
        )

    def _deliver_in_order(self, rows: Sequence[OutboxRow]) -> None:
        for i, row in enumerate(rows):
            now_ms = self._clock.now_ms()
            # A delivery that took long: what it held up may be another replica's soon.
            late = i > 0 and row.lease_until_ms - now_ms < self._lease_ms // 2
            if late or self._stop.is_set():
                for rest in rows[i:]:
                    self._record(rest, "pending", now_ms, "")
                return
            self.deliver(row)

    def deliver(self, row: OutboxRow) -> None:
        """Send one leased row and record the outcome."""
        outcome = self._send(row)
        now_ms = self._clock.now_ms()
        if outcome.ok:
            state, next_ms = "sent", 0
        elif outcome.permanent or row.attempts >= MAX_ATTEMPTS:
            state, next_ms = "dead", 0
        else:
            state, next_ms = "failed", now_ms + self._backoff_ms(row.attempts)
        if state != "sent":
            log.warning(
                "notification not delivered",
                extra={"row": row.id, "state": state, "reason": outcome.error},
            )
        self._record(row, state, next_ms, outcome.error)
        with self._lock:
            self.counts[state] += 1

    def _send(self, row: OutboxRow) -> Delivery:
        url = self._urls.get(row.channel)
        if url is None:
            return Delivery(ok=False, permanent=True, error="channel no longer configured")
        self.delays_s.append((self._clock.now_ms() - row.created_ms) / 1000)
        del self.delays_s[:-1000]
        began_s = time.perf_counter()
        try:
            notifier = self._notifiers.get(url)
            if notifier is None:
                notifier = self._notifiers[url] = self._make(url)
            return notifier.send(self._decorate(row, dict(row.payload)))
        except Exception as exc:  # noqa: BLE001 - its text may hold addresses and names
            return Delivery(ok=False, error=type(exc).__name__)
        finally:
            self._send_s[row.channel] = time.perf_counter() - began_s

    def _record(self, row: OutboxRow, state: str, next_ms: int, error: str) -> None:
        """Write an outcome down; while the database refuses, nothing else leaves this lane."""
        while True:
            try:
                self._store.finish_outbox(
                    row.id,
                    self._owner,
                    state=state,
                    now_ms=self._clock.now_ms(),
                    next_ms=next_ms,
                    error=error,
                )
            except StoreUnavailableError as exc:
                log.error("database refuses", extra={"reason": str(exc.__cause__)})  # noqa: TRY400
                if self._stop.wait(RETRY_S):
                    return
            else:
                return

    def _backoff_ms(self, attempts: int) -> int:
        """1, 2, 4 .. 300 s, each less up to a quarter, so that outages do not end in a stampede."""
        full = min(MAX_BACKOFF_MS, 1000 << min(attempts - 1, 20))
        return round(full * self._random.uniform(0.75, 1.0))
