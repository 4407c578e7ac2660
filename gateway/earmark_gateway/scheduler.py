"""What happens without a message: timers, heartbeats that stop, days that begin."""

from __future__ import annotations

import logging
import math
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

from earmark_gateway import escalation, model
from earmark_gateway.clock import DAY_MS, HOUR_MS, local, next_at, to_ms
from earmark_gateway.daily import send_digest
from earmark_gateway.errors import StoreUnavailableError
from earmark_gateway.rules import Sound, recipients

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from earmark_gateway.clock import Clock
    from earmark_gateway.config import Config
    from earmark_gateway.ingest import Processor
    from earmark_gateway.model import Timer
    from earmark_gateway.store.base import Store, Transaction

log = logging.getLogger(__name__)

_POLL_S = 1.0
# Heartbeats and gaps are looked at this often; a tenth of the shortest limit worth setting.
_WATCH_S = 5.0
# Timers per transaction: a thousand overdue ones after a restart must not hold up the writer.
_TIMERS_PER_TRANSACTION = 50
_ALIVE_KEY = "alive_ms"
# How exactly a break of the gateway is known, against wear of a memory card.
_ALIVE_S = 30.0
_DAILY = ("digest", "no_activity", "self_test", "retention")
# Brokers and devices deliver what they have kept within this time after a start.
_CATCH_UP_MS = 300_000


class Scheduler:
    """Fires timers and watches over devices.

    Parameters
    ----------
    store : Store
    processor : Processor
        Knows when each device was last heard.
    clock : Clock
    wake_outbox : callable
        Called when notifications may have been queued.
    run_self_test : callable
        Starts the monthly test along the whole path.
    """

    def __init__(
        self,
        store: Store,
        processor: Processor,
        clock: Clock,
        *,
        wake_outbox: Callable[[], None],
        run_self_test: Callable[[], None],
    ) -> None:
        self._store = store
        self._processor = processor
        self._clock = clock
        self._wake_outbox = wake_outbox
        self._run_self_test = run_self_test
        self._alive_s = clock.monotonic_s()
        self._offline_s: dict[str, float] = {}  # when this process decided so
        self._stop = threading.Event()
        self._started_s = clock.monotonic_s()
        self._watched_s = clock.monotonic_s()
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)

    @property
    def _config(self) -> Config:
        return self._processor.config

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to fire timers."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the transaction in progress."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def _run(self) -> None:
        while not self._stop.wait(_POLL_S):
            try:
                self.tick()
            except StoreUnavailableError as exc:
                log.error("database refuses", extra={"reason": str(exc.__cause__)})  # noqa: TRY400
            except Exception:
                log.exception("scheduler failed; trying again")

    def tick(self) -> None:
        """Fire what is due, then look after the devices if it is time."""
        self.fire_due()
        now_s = self._clock.monotonic_s()
        if now_s - self._watched_s >= _WATCH_S:
            self._watched_s = now_s
            self.watch()

    def begin(self) -> None:
        """At start: report a break, set the timers of the configuration."""
        now_ms = self._clock.now_ms()
        with self._store.write() as tx:
            before = tx.get_meta(_ALIVE_KEY)
            if before is not None:
                self._report_break(tx, int(before), now_ms)
            tx.put_meta(_ALIVE_KEY, str(now_ms))
            self.set_daily_timers(tx, now_ms)
        self._wake_outbox()

    def _report_break(self, tx: Transaction, since_ms: int, now_ms: int) -> None:
        if now_ms - since_ms <= self._config.watch.gateway_gap_s * 1000:
            return
        zone = self._config.zone
        body = (
            f"The gateway was off from {local(since_ms, zone):%a %H:%M} to "
            f"{local(now_ms, zone):%a %H:%M}. Sounds of that time arrive now, marked as late."
        )
        escalation.tell(
            tx,
            self._config,
            recipients(self._config, ("primary",)),
            key=str(since_ms),  # a break is the one that began then, whoever reports it
            kind="gateway_was_offline",
            text=("Gateway was off", body),
            now_ms=now_ms,
        )

    def set_daily_timers(self, tx: Transaction, now_ms: int) -> None:
        """Set the timers that belong to a time of day, anew after every start and reload.

        What fell due while the gateway was off is made up for: soon for "no activity", because the
        sounds of that time are still arriving, at once for the others.
        """
        config, zone = self._config, self._config.zone
        for timer in tx.timers():
            if timer.kind in _DAILY and timer.due_ms > now_ms:
                tx.take_timer(timer.id)
            elif timer.kind == "no_activity":
                tx.take_timer(timer.id)
                due_ms = now_ms + _CATCH_UP_MS
                tx.insert_timer(model.Timer(key=timer.key, kind=timer.kind, due_ms=due_ms))
        times = {"retention:": next_at(now_ms, config.watch.digest_at, zone) - HOUR_MS}
        times["digest:"] = next_at(now_ms, config.watch.digest_at, zone)
        for i, entry in enumerate(config.no_activity):
            times[f"no_activity:{i}"] = next_at(now_ms, entry.by, zone)
        if config.watch.self_test_day:
            times["self_test:"] = self._next_self_test(now_ms)
        for key, due_ms in times.items():
            kind = key.split(":")[0]
            tx.insert_timer(model.Timer(key=key, kind=kind, due_ms=due_ms))

    def _next_self_test(self, now_ms: int) -> int:
        due_ms = now_ms
        while True:
            due_ms = next_at(due_ms, self._config.watch.self_test_at, self._config.zone)
            if local(due_ms, self._config.zone).day == self._config.watch.self_test_day:
                return due_ms

    # --- timers ------------------------------------------------------------------------------

    def fire_due(self) -> int:
        """Fire every timer that is due; returns how many."""
        n_fired = 0
        while True:
            now_ms = self._clock.now_ms()
            with self._store.read() as tx:
                due = tx.due_timers(now_ms, _TIMERS_PER_TRANSACTION)
                late = tx.longest_wait_ms(now_ms) if not due else 0
            if not due and not late:
                return n_fired
            with self._store.write() as tx:
                tx.pull_in_timers(now_ms)
                fired = [timer for timer in due if tx.take_timer(timer.id)]
                for timer in fired:
                    self._fire(tx, timer, now_ms)
            n_fired += len(fired)
            self._wake_outbox()

    def _fire(self, tx: Transaction, timer: Timer, now_ms: int) -> None:
        config = self._config
        if timer.kind == "escalate" and timer.alert_id is not None:
            escalation.on_escalate(tx, config, timer.alert_id, now_ms)
        elif timer.kind == "flush" and timer.alert_id is not None:
            escalation.on_flush(tx, config, timer.alert_id, now_ms)
        elif timer.kind == "will":
            self._on_will(tx, timer.payload["device_id"], timer.payload["will_ms"], now_ms)
        elif timer.kind == "digest":
            send_digest(tx, config, now_ms)
            self._again(tx, timer, next_at(now_ms, config.watch.digest_at, config.zone))
        elif timer.kind == "no_activity":
            self._on_no_activity(tx, timer, now_ms)
        elif timer.kind == "self_test":
            self._again(tx, timer, self._next_self_test(now_ms))
            self._run_self_test()
        elif timer.kind == "retention":
            self.purge(tx, now_ms)
            self._again(tx, timer, max(now_ms, timer.due_ms) + DAY_MS)

    def _again(self, tx: Transaction, timer: Timer, due_ms: int) -> None:
        tx.insert_timer(model.Timer(key=timer.key, kind=timer.kind, due_ms=due_ms))

    def purge(self, tx: Transaction, now_ms: int) -> dict[str, int]:
        """Delete what has reached the end of its retention."""
        store = self._config.store
        day = local(now_ms - store.digests_days * DAY_MS, self._config.zone).date()
        return tx.purge(
            events_ms=now_ms - store.events_days * DAY_MS,
            alerts_ms=now_ms - store.alerts_days * DAY_MS,
            digest_day=day.isoformat(),
            dead_letters_ms=now_ms - store.dead_letters_days * DAY_MS,
        )

    def _on_no_activity(self, tx: Transaction, timer: Timer, now_ms: int) -> None:
        index = int(timer.key.split(":")[1])
        if index >= len(self._config.no_activity):
            return
        entry = self._config.no_activity[index]
        zone = self._config.zone
        self._again(tx, timer, next_at(now_ms, entry.by, zone))
        today: date = local(now_ms, zone).date()
        since = local(now_ms, zone).replace(
            hour=entry.since.hour, minute=entry.since.minute, second=0, microsecond=0
        )
        since_ms = to_ms(since if since.date() == today else since - timedelta(days=1))
        if since_ms > now_ms:
            since_ms -= DAY_MS
        heard = tx.count_events(since_ms=since_ms, until_ms=now_ms, resident=entry.resident)
        if any("*" in entry.labels or label in entry.labels for _, label in heard):
            return
        sound = Sound("no_activity", "", "", entry.resident, now_ms, now_ms)
        escalation.on_sound(tx, self._config, sound, now_ms)

    # --- devices -----------------------------------------------------------------------------

    def watch(self) -> None:
        """Find devices whose heartbeat has stopped or come back, and gaps that stay."""
        now_ms, now_s = self._clock.now_ms(), self._clock.monotonic_s()
        limit_s = self._config.watch.offline_after_s
        with self._store.read() as tx:
            devices = tx.devices(state="approved")
            gaps = self._changed_gaps(tx, now_ms)
        ages = self._ages(devices, now_s)
        silent = [(d, age) for d, age in ages if age > limit_s and d.offline_since_ms is None]
        heard = self._processor.last_seen_s
        back = [
            d
            for d, age in ages
            if d.offline_since_ms is not None
            and age <= limit_s
            and heard.get(d.id, -math.inf) > self._offline_s.get(d.id, -math.inf)
        ]
        note_alive = now_s - self._alive_s >= _ALIVE_S
        if not (silent or back or gaps or note_alive):
            return
        with self._store.write() as tx:
            for device, age_s in silent:
                self._set_offline(tx, device, now_ms - round(age_s * 1000), now_ms)
            for device in back:
                self._set_online(tx, device, now_ms)
            known = {device.id: device for device in devices}
            for device_id, detail in gaps.items():
                if gapped := known.get(device_id):
                    self._note_gap(tx, gapped, detail, now_ms)
            tx.put_meta(_ALIVE_KEY, str(now_ms))
        self._alive_s = now_s
        self._wake_outbox()

    def _changed_gaps(self, tx: Transaction, now_ms: int) -> dict[str, str]:
        """Find what has changed about missing events: text by device, empty if all arrived."""
        limit_ms = now_ms - round(self._config.watch.gap_after_s * 1000)
        missing: dict[str, int] = {}
        for boot in tx.boots_with_gaps(older_than_ms=limit_ms):
            missing[boot.device_id] = missing.get(boot.device_id, 0) + boot.missing
        now = {name: f"{n} numbered events never arrived" for name, n in missing.items()}
        before = {p.device_id: p.detail for p in tx.problems() if p.kind == "events_missing"}
        names = now.keys() | before.keys()
        return {name: now.get(name, "") for name in names if now.get(name) != before.get(name)}

    def _ages(self, devices: list[model.Device], now_s: float) -> list[tuple[model.Device, float]]:
        """Seconds since each device was heard; since our start if it has not been heard yet."""
        heard = self._processor.last_seen_s
        return [
            (device, now_s - heard.get(device.id, self._started_s))
            for device in devices
            if device.last_seen_ms and not device.id.startswith("gw-")
        ]

    def _on_will(self, tx: Transaction, device_id: str, will_ms: int, now_ms: int) -> None:
        """End the grace after a will: offline only if nothing was heard since."""
        device = tx.get_device(device_id)
        if device is None or device.state != "approved" or device.offline_since_ms is not None:
            return
        if device.last_seen_ms <= will_ms:
            self._set_offline(tx, device, device.last_seen_ms, now_ms)

    def _set_offline(
        self, tx: Transaction, device: model.Device, since_ms: int, now_ms: int
    ) -> None:
        tx.update_device(device.id, offline_since_ms=since_ms)
        self._offline_s[device.id] = self._clock.monotonic_s()
        problem = model.Problem(
            device_id=device.id, kind="device_offline", since_ms=since_ms, detail=""
        )
        if tx.set_problem(problem):
            sound = Sound("device_offline", device.id, device.room, device.resident, now_ms, now_ms)
            escalation.on_sound(tx, self._config, sound, now_ms)

    def _set_online(self, tx: Transaction, device: model.Device, now_ms: int) -> None:
        tx.update_device(device.id, offline_since_ms=None)
        if tx.clear_problem(device.id, "device_offline"):
            escalation.resolve(tx, self._config, "device_offline", device.id, now_ms)

    def _note_gap(self, tx: Transaction, device: model.Device, detail: str, now_ms: int) -> None:
        """Show a gap with the device: it has heard something that never arrived."""
        kind = "events_missing"
        tx.clear_problem(device.id, kind)
        if not detail:
            escalation.resolve(tx, self._config, kind, device.id, now_ms)
            return
        tx.set_problem(
            model.Problem(device_id=device.id, kind=kind, since_ms=now_ms, detail=detail)
        )
        sound = Sound(kind, device.id, device.room, device.resident, now_ms, now_ms)
        escalation.on_sound(tx, self._config, sound, now_ms)
