"""Keeps Home Assistant's picture equal to the database.

The thread computes what should be on the broker and publishes what differs, so a restart of the
gateway, the broker or Home Assistant, a revoked device and a changed model are all the same case.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from earmark_gateway.errors import StoreUnavailableError
from earmark_gateway.homeassistant import discovery
from earmark_gateway.selftest import own_device_id

if TYPE_CHECKING:
    from earmark_gateway.ingest import Change
    from earmark_gateway.service import Gateway
    from earmark_gateway.store.base import Transaction

log = logging.getLogger(__name__)

# Changes made by other processes (`devices revoke`) and by time (offline) are found by looking.
_POLL_S = 2.0
# A flood of changes costs one look per pause.
_PAUSE_S = 0.1
# More sounds than this at once are not for automations; the page has all of them.
_MAX_EVENTS = 256
# Topics with a retained message of ours: to be cleared even if the process that set them is gone.
_META_KEY = "homeassistant_topics"


class HomeAssistantMirror:
    """A thread that mirrors to Home Assistant until `stop`, if and while the configuration says so.

    Parameters
    ----------
    gateway : Gateway
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._events: deque[Change] = deque(maxlen=_MAX_EVENTS)
        self._wake, self._stop = threading.Event(), threading.Event()
        self._again = threading.Event()
        self._published: dict[str, bytes] = {}
        self._epoch = -1
        self._remembered: set[str] | None = None
        self.counts = {"published": 0, "events": 0, "too_old": 0}
        self._birth_topics: set[str] = set()
        gateway.add_listener(self._changed)
        self._thread = threading.Thread(target=self._run, name="homeassistant", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what is retained stays, and the gateway's status says that it is gone."""
        self._stop.set()
        self._wake.set()
        self._thread.join(5)

    def _changed(self, changes: list[Change]) -> None:
        """Note sounds; runs in the writer's thread and never waits."""
        if self._gateway.config.homeassistant.enabled:
            self._events.extend(change for change in changes if change.kind == "event")
            self._wake.set()

    def _born(self, _topic: str, payload: bytes) -> None:
        """Send everything again: Home Assistant has started (paho's thread)."""
        if payload == b"online":
            self._again.set()
            self._wake.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait(_POLL_S)
            self._wake.clear()
            try:
                self._sync()
            except StoreUnavailableError as exc:
                log.warning("mirror waits for the database", extra={"reason": str(exc)})
            except Exception:
                log.exception("mirror failed; trying again")
            self._stop.wait(_PAUSE_S)

    def _sync(self) -> None:
        mqtt = self._gateway.mqtt
        if not mqtt.connected or not self._has_work():
            return
        # A broker without persistence has forgotten the retained messages.
        if self._again.is_set() or mqtt.epoch != self._epoch:
            self._again.clear()
            self._epoch = mqtt.epoch
            self._published.clear()
        with self._gateway.store.read() as tx:
            wanted = self._wanted(tx)
        remembered = self._remembered or set()
        self._remember(remembered | set(wanted))
        for name, payload in wanted.items():
            if self._published.get(name) != payload:
                self._publish(name, payload)
        for name in sorted(remembered - set(wanted)):
            self._publish(name, b"")
            self._published.pop(name, None)
        self._remember(set(wanted))
        self._fire(wanted)

    def _has_work(self) -> bool:
        """Whether Home Assistant is wanted, or an earlier configuration is to be cleared away."""
        if self._remembered is None:
            with self._gateway.store.read() as tx:
                self._remembered = set(json.loads(tx.get_meta(_META_KEY) or "[]"))
        settings = self._gateway.config.homeassistant
        if not settings.enabled:
            return bool(self._remembered)
        birth_topic = f"{settings.discovery_prefix}/status"
        if birth_topic not in self._birth_topics:
            self._birth_topics.add(birth_topic)
            self._gateway.mqtt.add_handler(birth_topic, self._born)
        return True

    def _publish(self, name: str, payload: bytes) -> None:
        if not self._gateway.mqtt.publish(name, payload, qos=1, retain=True):
            raise ConnectionError("the broker is gone")
        self._published[name] = payload
        self.counts["published"] += 1

    def _remember(self, names: set[str]) -> None:
        """Before something is published and after it is cleared: a crash leaves nothing behind."""
        if names != self._remembered:
            with self._gateway.store.write() as tx:
                tx.put_meta(_META_KEY, json.dumps(sorted(names)))
            self._remembered = names

    def _wanted(self, tx: Transaction) -> dict[str, bytes]:
        """Every retained message, discovery first."""
        config = self._gateway.config
        if not config.homeassistant.enabled:
            return {}
        own = own_device_id(config)
        devices = [d for d in tx.devices(state="approved") if d.id != own]
        alerts = tx.open_alerts()
        problems = tx.problems()
        found: dict[str, Any] = {}
        node = discovery.gateway_node(config)
        found[discovery.discovery_topic(config, node)] = discovery.gateway_discovery(config)
        found[discovery.topic(node, "state")] = discovery.gateway_state(
            n_open=len(alerts),
            n_waiting=len(tx.devices(state="quarantined")),
            store_ok=self._gateway.store_ok,
        )
        for device in devices:
            name = discovery.discovery_topic(config, device.id)
            found[name] = discovery.device_discovery(device, config)
            found[discovery.topic(device.id, "state")] = discovery.device_state(
                device,
                problems={p.kind for p in problems if p.device_id == device.id},
                open_labels={a.label for a in alerts if a.device_id == device.id},
            )
        wanted = {name: json.dumps(body).encode() for name, body in found.items()}
        for device in devices:
            status = b"online" if discovery.is_online(device) else b"offline"
            wanted[discovery.topic(device.id, "availability")] = status
        return wanted

    def _fire(self, wanted: dict[str, bytes]) -> None:
        """Pass sounds on, never retained: they would fire again. Old ones are for the page only."""
        oldest_ms = self._gateway.clock.now_ms() - round(
            self._gateway.config.homeassistant.max_event_age_s * 1000
        )
        while self._events:
            change = self._events.popleft()
            message = discovery.event(change)
            if message is None or discovery.topic(change.device_id, "state") not in wanted:
                continue
            if change.occurred_ms < oldest_ms:
                self.counts["too_old"] += 1
                continue
            body = json.dumps(message).encode()
            if self._gateway.mqtt.publish(discovery.topic(change.device_id, "event"), body, qos=1):
                self.counts["events"] += 1
