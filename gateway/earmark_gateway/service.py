"""The running gateway: builds the parts, starts them, watches them, stops them."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
from typing import TYPE_CHECKING, Any

import msgspec

from earmark_gateway import escalation, links, model, topics
from earmark_gateway.clock import HOUR_MS, Clock, SystemClock
from earmark_gateway.config import load_config
from earmark_gateway.emergency import DeadManSwitch, StoreAlarm
from earmark_gateway.errors import GatewayError
from earmark_gateway.ingest import Change, Outcome, Processor
from earmark_gateway.mqtt_in import MqttLink
from earmark_gateway.outbox import OutboxWorker
from earmark_gateway.reloading import after_reload
from earmark_gateway.rules import recipients
from earmark_gateway.scheduler import Scheduler
from earmark_gateway.selftest import own_device_id, start_self_test
from earmark_gateway.store import open_store
from earmark_gateway.writer import Writer

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from pathlib import Path

    from earmark_gateway.config import Config
    from earmark_gateway.ingest import Incoming
    from earmark_gateway.store.base import Transaction

log = logging.getLogger(__name__)

EXIT_STUCK = 70  # EX_SOFTWARE: systemd and docker start us again
_CHECK_S = 2.0
_DEFECT_REPEAT_S = 3600.0


class Gateway:
    """Everything in one process.

    Parameters
    ----------
    config : Config
    config_path : Path, optional
        Where to reload from.
    clock : Clock, optional
    """

    def __init__(
        self, config: Config, *, config_path: Path | None = None, clock: Clock | None = None
    ) -> None:
        self.config = config
        self.clock: Clock = clock or SystemClock()
        self._config_path = config_path
        self.store = open_store(config.store.url.get_secret_value())
        self.processor = Processor(config, self.clock)
        self.mqtt = MqttLink(config, self.clock, self._deliver)
        self.writer = Writer(
            self.store,
            self.processor,
            self.mqtt,
            on_commit=self._on_commit,
            on_state=self._on_store_state,
            on_defect=self._on_defect,
        )
        self.outbox = OutboxWorker(
            self.store,
            config,
            self.clock,
            owner=f"{config.gateway.id}-{os.getpid()}-{secrets.token_hex(4)}",
            decorate=self._decorate,
        )
        self.scheduler = Scheduler(
            self.store,
            self.processor,
            self.clock,
            wake_outbox=self.outbox.wake,
            run_self_test=self.run_self_test,
        )
        self.store_ok = True
        self.counts: dict[str, int] = {}
        self._listeners: list[Callable[[list[Change]], None]] = []
        self._delivery_listeners: list[Callable[[model.OutboxRow], None]] = []
        self._secret = b""
        self._echo_sent_s = 0.0
        self._broker_told = False
        self._defect_told_s = -_DEFECT_REPEAT_S
        self._store_alarm = StoreAlarm(self.clock)
        self._dead_man = DeadManSwitch(self.clock)

    # --- for the page, Home Assistant and metrics --------------------------------------------

    def add_listener(self, listener: Callable[[list[Change]], None]) -> None:
        """Call `listener` with every batch of changes after it is durable (writer's thread)."""
        self._listeners.append(listener)

    def add_delivery_listener(self, listener: Callable[[model.OutboxRow], None]) -> None:
        """Call `listener` with every notification just before its channel gets it."""
        self._delivery_listeners.append(listener)

    def announce(self, changes: list[Change]) -> None:
        """Tell every listener; a failing one does not keep the others from hearing."""
        for listener in self._listeners:
            try:
                listener(changes)
            except Exception:
                log.exception("listener failed")

    def acknowledge(self, alert_id: int, *, by: str, how: str) -> bool:
        """Acknowledge an alert; False if somebody was faster."""
        with self.store.write() as tx:
            done = escalation.acknowledge(
                tx, self.config, alert_id, by=by, how=how, now_ms=self.clock.now_ms()
            )
        self._after_action(alert_id)
        return done

    def acknowledge_by_link(self, token: str) -> bool:
        """Acknowledge with a one-time link; raises `links.LinkError`."""
        now_ms = self.clock.now_ms()
        link = links.read_token(self._secret, token, now_ms)
        done = links.acknowledge_by_link(self.store, self.config, self._secret, token, now_ms)
        self._after_action(link.alert_id)
        return done

    def read_link(self, token: str) -> links.Link:
        """Check a one-time link without using it; raises `links.LinkError`."""
        return links.read_token(self._secret, token, self.clock.now_ms())

    def false_alarm(self, alert_id: int, *, by: str, note: str = "") -> bool:
        """Record that nothing was there; acknowledges too."""
        with self.store.write() as tx:
            done = escalation.false_alarm(
                tx, self.config, alert_id, by=by, note=note, now_ms=self.clock.now_ms()
            )
        self._after_action(alert_id)
        return done

    def snooze(
        self, *, minutes: int, by: str, label: str = "", device_id: str = "", room: str = ""
    ) -> int:
        """Hold back non-critical notifications for a while."""
        until_ms = self.clock.now_ms() + minutes * 60_000
        with self.store.write() as tx:
            return tx.insert_snooze(
                model.Snooze(
                    id=0, label=label, device_id=device_id, room=room, until_ms=until_ms, by=by
                )
            )

    def approve(
        self, device_id: str, *, name: str = "", room: str = "", resident: str = ""
    ) -> None:
        """Let a device in; its outbox delivers what it has kept."""
        with self.store.write() as tx:
            tx.clear_problem(device_id, "boot_repeated")
            approve_device(
                tx,
                device_id,
                now_ms=self.clock.now_ms(),
                name=name,
                room=room,
                resident=resident,
            )
        self.announce([Change("device", device_id, text="approved")])

    def send_command(self, device_id: str, name: str, **fields: Any) -> str:
        """Send a command to a device; returns the id that its answer will carry."""
        command_id = secrets.token_hex(6)
        body = {"id": command_id, "exp": self.clock.now_ms() + 60_000, **fields}
        topic = topics.device(device_id, f"cmd/{name}")
        if not self.mqtt.publish(topic, msgspec.json.encode(body), qos=1):
            raise GatewayError("the broker is not connected", "try again in a moment")
        return command_id

    def run_self_test(self) -> None:
        """Send a test event along the whole path, and ask every device to test itself."""
        start_self_test(self.mqtt, self.config, self.clock)
        with self.store.read() as tx:
            devices = tx.devices(state="approved")
        for device in devices:
            if self.mqtt.connected and device.id != own_device_id(self.config):
                self.send_command(device.id, "self_test")

    def _after_action(self, alert_id: int) -> None:
        self.outbox.wake()
        self.announce([Change("alert", "", alert_id=alert_id)])

    # --- life cycle --------------------------------------------------------------------------

    def start(self) -> None:
        """Start every part; returns when they run (not when the broker has answered)."""
        self.store.take_over()
        self._secret = links.secret_of(self.store)
        with self.store.write() as tx:
            self._register_configured(tx)
        self.scheduler.begin()
        self.writer.start()
        self.outbox.start()
        self.scheduler.start()
        self.mqtt.start()

    def stop(self) -> None:
        """Stop in the order in which messages flow."""
        self.mqtt.stop()
        self.writer.stop()
        self.scheduler.stop()
        self.outbox.stop()
        self.store.close()

    def run(self, stop: threading.Event, reload: threading.Event) -> int:
        """Watch the parts until `stop` is set.

        Returns
        -------
        int
            Exit status: 0, or `EXIT_STUCK` if a part has died or the broker's echo stays away.
        """
        while not stop.wait(_CHECK_S):
            if reload.is_set():
                reload.clear()
                self.reload()
            if reason := self.stuck():
                log.critical("restarting", extra={"reason": reason})
                return EXIT_STUCK
            self._watch_broker()
            self._store_alarm.check(self.config)
            if self.store_ok and self.mqtt.connected:
                self._dead_man.visit(self.config.watch.dead_man_url.get_secret_value())
        return 0

    def stuck(self) -> str:
        """Why the process should be restarted; empty while all is well."""
        for part in (self.writer, self.outbox, self.scheduler):
            if not part.alive:
                return f"{type(part).__name__} has stopped"
        now_s = self.clock.monotonic_s()
        if not self.mqtt.connected:
            return ""
        if now_s - self._echo_sent_s >= self.config.mqtt.echo_interval_s:
            self._echo_sent_s = now_s
            self.mqtt.send_echo()
        if now_s - self.mqtt.echo_s > self.config.mqtt.echo_timeout_s:
            return "no echo through the broker"
        return ""

    def _watch_broker(self) -> None:
        """Tell people when the broker stays away: nothing can arrive meanwhile."""
        lost_s = self.mqtt.lost_since_s
        if lost_s is None:
            if self._broker_told:
                self._broker_told = False
                self._tell_house("broker_offline", "Broker is back", "Sounds arrive again.")
            return
        away_s = self.clock.monotonic_s() - lost_s
        if not self._broker_told and away_s > self.config.watch.broker_offline_s:
            self._broker_told = True
            self._tell_house(
                "broker_offline",
                "Gateway cannot reach its message broker",
                f"For {away_s / 60:.0f} min no sound could arrive. Check the broker's machine.",
            )

    def _tell_house(self, kind: str, title: str, body: str) -> None:
        now_ms = self.clock.now_ms()
        people = recipients(self.config, ("primary",))
        try:
            with self.store.write() as tx:
                escalation.tell(
                    tx,
                    self.config,
                    people,
                    # Not the time: a notice and its all-clear may fall into one millisecond.
                    key=secrets.token_hex(8),
                    kind=kind,
                    text=(title, body),
                    now_ms=now_ms,
                )
        except GatewayError:
            log.exception("cannot queue a notice")
        self.outbox.wake()

    def reload(self) -> bool:
        """Read the configuration again; a wrong file changes nothing."""
        if self._config_path is None:
            return False
        try:
            config = load_config(self._config_path)
        except GatewayError as exc:
            log.error("configuration not reloaded", extra={"reason": str(exc)})  # noqa: TRY400
            return False
        config, needs_restart = after_reload(self.config, config)
        self.config = config
        self.processor.set_config(config)
        self.outbox.set_config(config)
        with self.store.write() as tx:
            self._register_configured(tx)
            self.scheduler.set_daily_timers(tx, self.clock.now_ms())
        log.info("configuration reloaded")
        if needs_restart:
            log.warning(
                "restart the gateway for these settings; until then the old ones hold",
                extra={"settings": ", ".join(needs_restart)},
            )
        return True

    def _register_configured(self, tx: Transaction) -> None:
        now_ms = self.clock.now_ms()
        for device in self.config.devices:
            known = tx.get_device(device.id)
            if known is not None and known.state == "revoked":
                continue  # a stolen device stays out until somebody approves it again
            approve_device(
                tx,
                device.id,
                now_ms=now_ms,
                name=device.name,
                room=device.room,
                resident=device.resident,
            )
        approve_device(tx, own_device_id(self.config), now_ms=now_ms, name="Self-test")

    def _deliver(self, message: Incoming) -> None:
        self.writer.put(message)

    def _on_commit(self, outcome: Outcome) -> None:
        for name, n in outcome.counts.items():
            self.counts[name] = self.counts.get(name, 0) + n
        if outcome.changes:
            self.outbox.wake()
            self.announce(outcome.changes)

    def _on_defect(self) -> None:
        """Ask somebody to look at a message that could not be processed, at most once an hour."""
        now_s = self.clock.monotonic_s()
        if now_s - self._defect_told_s < _DEFECT_REPEAT_S:
            return
        self._defect_told_s = now_s
        self._tell_house(
            "gateway_fault",
            "Gateway could not process a message",
            "A sound may have gone untold. Its device keeps it; see the dead letters.",
        )

    def _on_store_state(self, ok: bool) -> None:  # noqa: FBT001 - a callback's only argument
        self.store_ok = ok
        self._store_alarm.set_state(ok=ok)

    def _decorate(self, row: model.OutboxRow, message: dict[str, Any]) -> dict[str, Any]:
        """Add the acknowledge link: it is a key and stays out of the database."""
        for listener in self._delivery_listeners:
            listener(row)
        # The same for every attempt and replica, and never that of another row.
        message["id"] = hashlib.sha256(f"{row.created_ms}:{row.key}".encode()).hexdigest()[:32]
        base = self.config.gateway.base_url.rstrip("/")
        if base and row.alert_id is not None and row.kind in ("alert", "again", "more"):
            expires_ms = row.created_ms + round(self.config.gateway.link_hours * HOUR_MS)
            token = links.make_token(self._secret, row.alert_id, row.recipient, expires_ms)
            message["link"] = f"{base}/a/{token}"
            message["body"] += f"\nI take care of it: {message['link']}"
        return message


def approve_device(
    tx: Transaction,
    device_id: str,
    *,
    now_ms: int,
    name: str = "",
    room: str = "",
    resident: str = "",
) -> None:
    """Register a device as approved, or approve a known one; empty texts change nothing."""
    known = tx.get_device(device_id)
    if known is None:
        tx.insert_device(
            model.Device(
                id=device_id,
                state="approved",
                name=name,
                room=room,
                resident=resident,
                first_seen_ms=now_ms,
            )
        )
        return
    texts = {"name": name, "room": room, "resident": resident}
    tx.update_device(device_id, state="approved", **{k: v for k, v in texts.items() if v})
