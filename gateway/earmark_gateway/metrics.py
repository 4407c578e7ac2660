"""Prometheus metrics: numbers only; no names, rooms, residents or addresses.

Counters start at zero with the process. Gauges about the house come from the database, so every
replica of a fleet reports the same.
"""

from __future__ import annotations

from collections import Counter
from importlib.metadata import version
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

from earmark_gateway import rules
from earmark_gateway.selftest import own_device_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client import Metric

    from earmark_gateway import model
    from earmark_gateway.ingest import Change
    from earmark_gateway.service import Gateway
    from earmark_gateway.store.base import Transaction

# Around the targets of docs/gateway.md: 25 ms to the commit, 250 ms to the provider.
_COMMIT_BUCKETS_S = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30)
_DELAY_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 30, 120, 600)
_DEAD_LETTER = "dead_letter_"
_EVENTS = {
    "events": "stored",
    "duplicates": "duplicate",
    "rate_limited": "rate_limited",
    "unapproved": "unapproved",
}
_FROM_DEVICES = frozenset({"event", "status", "health", "info", "rsp"})
_OUTBOX_STATES = ("pending", "leased", "failed", "dead")


class Metrics:
    """The gateway's numbers, in a registry of their own.

    Parameters
    ----------
    gateway : Gateway
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._registry = CollectorRegistry(auto_describe=False)
        self._commits = Histogram(
            "earmark_commit_latency_seconds",
            "From the receipt of a batch's oldest message to its durability",
            buckets=_COMMIT_BUCKETS_S,
            registry=self._registry,
        )
        self._delays = Histogram(
            "earmark_notification_delay_seconds",
            "From when a notification was due to the first call of its provider",
            buckets=_DELAY_BUCKETS_S,
            registry=self._registry,
        )
        self._registry.register(_House(gateway))
        ProcessCollector(registry=self._registry)
        gateway.add_listener(self._committed)
        gateway.add_delivery_listener(self._delivering)

    def _committed(self, changes: list[Change]) -> None:
        # People's actions are announced too, and no message has caused those.
        if any(change.kind in _FROM_DEVICES for change in changes):
            self._commits.observe(self._gateway.writer.last_commit_s)

    def _delivering(self, row: model.OutboxRow) -> None:
        if row.attempts > 1:
            return  # a provider that refuses says nothing about our own delay
        due_ms = row.created_ms
        person = self._gateway.config.person(row.recipient)
        if person is not None:
            due_ms = rules.deliver_at(self._gateway.config, person, row.severity, due_ms)
        self._delays.observe(max(0, self._gateway.clock.now_ms() - due_ms) / 1000)

    def render(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)


class _House:
    """Reads the gateway and the database when Prometheus asks."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def collect(self) -> Iterator[Metric]:
        """Yield every metric family."""
        yield InfoMetricFamily("earmark_build", "What runs", {"version": version("earmark")})
        yield from self._counters()
        yield from self._parts()
        with self._gateway.store.read() as tx:
            families = [*self._devices(tx), *self._alerts(tx)]
        yield from families

    def _counters(self) -> Iterator[Metric]:
        counts = dict(self._gateway.counts)
        yield _counter(
            "earmark_events",
            "Events since start, by what became of them",
            "outcome",
            {word: counts.get(name, 0) for name, word in _EVENTS.items()},
        )
        yield _counter(
            "earmark_dead_letters",
            "Messages refused since start, by reason",
            "reason",
            {
                name.removeprefix(_DEAD_LETTER): n
                for name, n in counts.items()
                if name.startswith(_DEAD_LETTER)
            },
        )
        yield _counter(
            "earmark_notification_attempts",
            "Deliveries tried since start, by outcome",
            "outcome",
            dict(self._gateway.outbox.counts),
        )

    def _parts(self) -> Iterator[Metric]:
        gateway = self._gateway
        due_ms = gateway.store.next_outbox_ms()
        overdue_s = 0.0 if due_ms is None else max(0, gateway.clock.now_ms() - due_ms) / 1000
        for name, text, value in (
            ("mqtt_connected", "1 while the broker is connected", float(gateway.mqtt.connected)),
            ("store_writable", "1 while the database takes writes", float(gateway.store_ok)),
            ("writer_backlog_messages", "Messages waiting to be stored", gateway.writer.backlog),
            ("notification_overdue_seconds", "Age of the oldest notification due", overdue_s),
        ):
            yield GaugeMetricFamily(f"earmark_{name}", text, value=value)

    def _devices(self, tx: Transaction) -> Iterator[Metric]:
        own = own_device_id(self._gateway.config)
        devices = [device for device in tx.devices() if device.id != own]
        states = dict.fromkeys(("online", "offline", "new", "quarantined", "revoked"), 0)
        states |= Counter(map(_state, devices))
        yield _gauge("earmark_devices", "Devices by state", "state", states)
        problems = Counter(problem.kind for problem in tx.problems())
        yield _gauge("earmark_device_problems", "Present problems of devices", "kind", problems)
        now_ms = self._gateway.clock.now_ms()
        gap_ms = round(self._gateway.config.watch.gap_after_s * 1000)
        missing = sum(boot.missing for boot in tx.boots_with_gaps(older_than_ms=now_ms - gap_ms))
        yield GaugeMetricFamily(
            "earmark_missing_events", "Numbered by devices and never arrived", value=missing
        )
        seen = [
            device.last_seen_ms for device in devices if _state(device) in ("online", "offline")
        ]
        for which, choose in (("latest", max), ("oldest", min)):
            yield GaugeMetricFamily(
                f"earmark_{which}_heartbeat_timestamp_seconds",
                f"When the {which} of the devices' last signs of life came; 0: none",
                value=choose(seen, default=0) / 1000,
            )

    def _alerts(self, tx: Transaction) -> Iterator[Metric]:
        severities = dict.fromkeys(("critical", "alert"), 0)
        severities |= Counter(alert.severity for alert in tx.open_alerts())
        yield _gauge(
            "earmark_open_alerts", "Alerts that wait for an answer", "severity", severities
        )
        outbox = tx.count_outbox()
        yield _gauge(
            "earmark_notifications",
            "Notifications in the database that have not been sent",
            "state",
            {state: outbox.get(state, 0) for state in _OUTBOX_STATES},
        )
        yield _gauge("earmark_database_rows", "Rows in the database", "table", tx.counts())


def _state(device: model.Device) -> str:
    if device.state != "approved":
        return device.state
    if not device.last_seen_ms:
        return "new"
    return "online" if device.offline_since_ms is None else "offline"


def _counter(name: str, text: str, label: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _gauge(name: str, text: str, label: str, values: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
