"""Prometheus metrics: numbers only, no names, rooms or residents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

    from earmark_gateway.service import Gateway


class GatewayCollector:
    """Reads the gateway when Prometheus asks."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def collect(self) -> Iterator[Metric]:
        """Yield every metric family."""
        gateway = self._gateway
        messages = CounterMetricFamily(
            "earmark_messages", "Messages since start, by outcome", labels=["outcome"]
        )
        for outcome, count in dict(gateway.counts).items():
            messages.add_metric([outcome], count)
        yield messages
        with gateway.store.read() as tx:
            sizes = tx.counts()
        rows = GaugeMetricFamily("earmark_rows", "Rows in the database", labels=["table"])
        for table, count in sizes.items():
            rows.add_metric([table], count)
        yield rows
        for name, help_text, state in (
            ("earmark_broker_connected", "1 while the broker is connected", gateway.mqtt.connected),
            ("earmark_store_ok", "1 while the database takes writes", gateway.store_ok),
        ):
            yield GaugeMetricFamily(name, help_text, value=float(state))


def render_metrics(gateway: Gateway) -> bytes:
    """Return the metrics in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(GatewayCollector(gateway))
    return generate_latest(registry)
