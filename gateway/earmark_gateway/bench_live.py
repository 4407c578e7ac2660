"""How fast events flow from a real mosquitto into the database (part ``live`` of the benchmark)."""

from __future__ import annotations

import contextlib
import sqlite3
import sys
import time
from typing import TYPE_CHECKING

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from earmark_gateway.simulate.killloop import (
    Victim,
    find_mosquitto,
    free_port,
    write_gateway_config,
    write_mosquitto_config,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from earmark_gateway.ingest import Incoming

_PATIENCE_S = 900.0


def live_events_per_s(
    folder: Path, messages: list[Incoming], device_ids: list[str]
) -> tuple[float, float]:
    """Rate at which a gateway takes in what its broker has kept for it.

    The events are queued first, so that the publisher takes no processor time from the two that
    are measured; the clock runs from the first to the last durable event.

    Returns
    -------
    rate : float
        Events per second through broker, network, validation, rules and commits (FULL).
    cpu_s : float
        Processor time of the gateway per event, seconds: it depends less on what else runs.
    """
    port = free_port()
    config = write_mosquitto_config(folder, port)
    # What docs/gateway.md asks of a broker for a fleet; `earmark-gateway init` writes the same.
    with config.open("a", encoding="utf-8") as file:
        file.write("max_inflight_messages 512\nmax_queued_messages 0\n")
    toml = write_gateway_config(folder, port, device_ids=device_ids)
    toml.write_text(toml.read_text("utf-8").replace('"notice"', '"log"'), "utf-8")
    ready = folder / "ready"
    command = [sys.executable, "-m", "earmark_gateway.cli", "run", "-c", str(toml)]
    gateway = Victim([*command, "--ready-file", str(ready)], folder / "gateway.log")
    broker = Victim([find_mosquitto(), "-c", str(config)], folder / "broker.log")
    broker.start()
    with _process(gateway):
        _wait(ready.exists)  # its session exists from now on
    with contextlib.ExitStack() as stack:
        stack.callback(broker.stop)
        _publish(port, messages)
        stack.enter_context(_process(gateway))
        first, began, cpu_s = _wait(lambda: _stored(folder)), time.perf_counter(), gateway.cpu_s()
        _wait(lambda: _stored(folder) >= len(messages))
        n = len(messages) - first
        seconds, cpu_s = time.perf_counter() - began, gateway.cpu_s() - cpu_s
        return n / seconds, cpu_s / n


@contextlib.contextmanager
def _process(victim: Victim) -> Iterator[None]:
    victim.start()
    try:
        yield
    finally:
        victim.end()


def _publish(port: int, messages: list[Incoming]) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.max_inflight_messages_set(500)
    client.connect("127.0.0.1", port)
    client.loop_start()
    sent = [client.publish(message.topic, message.payload, qos=1) for message in messages]
    for info in sent:
        info.wait_for_publish(_PATIENCE_S)
    client.disconnect()
    client.loop_stop()


def _stored(folder: Path) -> int:
    uri = f"file:{folder / 'gateway.db'}?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=5)) as connection:
        (n,) = connection.execute("SELECT COUNT(*) FROM events").fetchone()
    return int(n)


def _wait(condition: Callable[[], int]) -> int:
    deadline = time.monotonic() + _PATIENCE_S
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError("the gateway does not take the events in")
        time.sleep(0.02)
    return value
