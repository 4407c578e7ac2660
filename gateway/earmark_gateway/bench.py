"""Measures the gateway: ``python -m earmark_gateway.bench [PART ...]`` -> build/bench/gateway.json.

Parts: ``store``, ``live``, ``start`` (seconds), ``kill_loop`` (14 minutes), ``fleet`` (12
minutes). Parts that are not run keep their figures of the last run. Real mosquitto, real files,
one run: +-30 %.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Console

from earmark_gateway import topics
from earmark_gateway.bench_live import live_events_per_s
from earmark_gateway.clock import SystemClock
from earmark_gateway.config import Config
from earmark_gateway.ingest import Incoming, Processor
from earmark_gateway.notify.base import Delivery
from earmark_gateway.outbox import OutboxWorker
from earmark_gateway.service import approve_device
from earmark_gateway.simulate.device import SimDevice
from earmark_gateway.simulate.fleet import FleetOptions, run_fleet
from earmark_gateway.simulate.killloop import (
    KillOptions,
    Victim,
    count,
    find_mosquitto,
    free_port,
    run_kill_loop,
    write_mosquitto_config,
)
from earmark_gateway.store.sqlite import SqliteStore
from earmark_gateway.writer import MAX_BATCH, Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from earmark_gateway import wire

OUTPUT = Path("build/bench/gateway.json")
_N_DEVICES = 100
_N_EVENTS = 50_000
_PACED_PER_S = 1000
_PACED_S = 10
_N_NOTIFICATIONS = 500
_FLEET_DEVICES = 10_000
_FLEET_S = 600.0

console = Console(stderr=True)


def percentile(values: list[float], share: float) -> float:
    """Smallest value that `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _config(severity: str) -> Config:
    return Config.model_validate(
        {
            "limits": {"events_per_s": 1e6, "burst": 10**7, "critical_burst": 10**7},
            "people": [
                {"id": "anna", "name": "Anna", "role": "primary", "channels": ["bench://anna"]}
            ],
            "rules": [{"labels": ["*"], "severity": severity, "group_s": 0}],
        }
    )


def _messages(n: int) -> Iterator[Incoming]:
    devices = [SimDevice(f"bench{i:03}", labels=("dog", "cough")) for i in range(_N_DEVICES)]
    for device in devices:
        device.start(0.0)
    clock = SystemClock()
    for i in range(n):
        device = devices[i % _N_DEVICES]
        device.hear(i / 1000, clock.now_ms())
        _, entry = device.outbox.popitem()
        payload = msgspec.json.encode(entry.event)
        topic = topics.device(device.device_id, "event")
        yield Incoming(topic, payload, retain=False, qos=1, mid=i, epoch=1, received_ms=0)


def _store(folder: Path) -> SqliteStore:
    store = SqliteStore(str(folder / f"{time.monotonic_ns()}.db"))
    with store.write() as tx:
        for i in range(_N_DEVICES):
            approve_device(tx, f"bench{i:03}", now_ms=0)
    return store


def events_per_s(folder: Path, severity: str) -> float:
    """Sustained rate of validation, rules and commits (WAL, FULL, at most 64 per commit)."""
    store = _store(folder)
    processor = Processor(_config(severity), SystemClock())
    messages = list(_messages(_N_EVENTS if severity == "log" else _N_EVENTS // 5))
    began = time.perf_counter()
    for i in range(0, len(messages), MAX_BATCH):
        with store.write() as tx:
            processor.apply(tx, messages[i : i + MAX_BATCH])
    seconds = time.perf_counter() - began
    with store.read() as tx:
        stored = tx.counts()["events"]
    store.close()
    if stored != len(messages):
        raise AssertionError(f"{stored} of {len(messages)} stored")
    return len(messages) / seconds


class _Timer:
    """Takes the place of the broker connection: notes when a message is acknowledged."""

    def __init__(self) -> None:
        self.sent: dict[int, float] = {}
        self.delays_s: list[float] = []

    def ack(self, message: Incoming) -> None:
        self.delays_s.append(time.perf_counter() - self.sent[message.mid])

    def send_ack(self, device_id: str, ack: wire.Ack) -> None:
        """Count only."""


def commit_p99_ms(folder: Path) -> float:
    """Receipt to durable commit at 1000 events/s, 99th percentile, milliseconds."""
    store, timer = _store(folder), _Timer()
    processor = Processor(_config("log"), SystemClock())
    writer = Writer(store, processor, timer, on_commit=lambda _: None)
    writer.start()
    began = time.perf_counter()
    for i, message in enumerate(_messages(_PACED_PER_S * _PACED_S)):
        due = began + i / _PACED_PER_S
        while (now := time.perf_counter()) < due:
            time.sleep(min(0.001, due - now))
        timer.sent[message.mid] = time.perf_counter()
        writer.put(message)
    while len(timer.delays_s) < _PACED_PER_S * _PACED_S:
        time.sleep(0.01)
    writer.stop()
    store.close()
    return percentile(timer.delays_s, 0.99) * 1000


def notify_p99_ms(folder: Path) -> float:
    """Commit of an event to the call of the provider, 99th percentile, milliseconds (20/s)."""
    store, timer = _store(folder), _Timer()
    config, clock = _config("notice"), SystemClock()
    # A delivery may begin before on_commit has run; the commit has happened by then, too.
    committed = _Defaulting()
    delays: queue.Queue[float] = queue.Queue()

    class Provider:
        def send(self, message: dict[str, Any]) -> Delivery:
            delays.put(time.perf_counter() - committed[message["alert_id"]])
            return Delivery(ok=True)

    worker = OutboxWorker(store, config, clock, owner="bench", make=lambda _: Provider())

    def on_commit(outcome: Any) -> None:
        now = time.perf_counter()
        for change in outcome.changes:
            committed[change.alert_id] = now
        worker.wake()

    writer = Writer(store, Processor(config, clock), timer, on_commit=on_commit)
    writer.start()
    worker.start()
    for message in _messages(_N_NOTIFICATIONS):
        timer.sent[message.mid] = 0.0
        writer.put(message)
        time.sleep(0.05)
    values = [delays.get(timeout=10) for _ in range(_N_NOTIFICATIONS)]
    worker.stop()
    writer.stop()
    store.close()
    return percentile(values, 0.99) * 1000


class _Defaulting(dict[int, float]):
    def __missing__(self, key: int) -> float:
        return time.perf_counter()


def start_and_size(folder: Path) -> tuple[float, float]:
    """Seconds from exec to subscribed; resident MiB with page and apprise in use."""
    port, web_port = free_port(), free_port()
    broker = Victim(
        [find_mosquitto(), "-c", str(write_mosquitto_config(folder, port))], folder / "log"
    )
    broker.start()
    time.sleep(0.5)
    config = folder / "gateway.toml"
    config.write_text(
        f"[mqtt]\nport = {port}\n[store]\nurl = 'sqlite:///{folder}/start.db'\n"
        f"[web]\nenabled = true\nport = {web_port}\nlogin = false\n[[devices]]\nid = 'sim0000'\n"
        # An apprise service that is refused at once: loads the library, reaches nobody.
        f"[[people]]\nid = 'a'\nname = 'A'\nrole = 'primary'\n"
        f"channels = ['json://127.0.0.1:{free_port()}']\n"
        "[[rules]]\nlabels = ['*']\nseverity = 'notice'\ngroup_s = 0\n",
        "utf-8",
    )
    ready = folder / "ready"
    began = time.perf_counter()
    command = [sys.executable, "-m", "earmark_gateway.cli", "run", "-c", str(config)]
    with (folder / "gateway.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--ready-file", str(ready)], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        while not ready.exists():
            if process.poll() is not None:
                raise AssertionError((folder / "gateway.log").read_text("utf-8"))
            time.sleep(0.005)
        seconds = time.perf_counter() - began
        options = FleetOptions(
            port=port, n_devices=1, duration_s=8, events_per_s=50, labels=("dog",), max_events=300
        )
        run_fleet(options)
        with urllib.request.urlopen(f"http://127.0.0.1:{web_port}/", timeout=10) as page:
            page.read()
        return seconds, _resident_mib(process.pid)
    finally:
        process.terminate()
        process.wait()
        broker.stop()


def _resident_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text("utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


def fleet(folder: Path, n_devices: int, duration_s: float) -> dict[str, Any]:
    """Run thousands of devices with connections of their own; nothing may be lost."""
    port = free_port()
    config = write_mosquitto_config(folder, port)
    broker = Victim([find_mosquitto(), "-c", str(config)], folder / "broker.log")
    broker.start()
    width = max(4, len(str(n_devices)))
    options = FleetOptions(
        port=port,
        n_devices=n_devices,
        duration_s=duration_s,
        events_per_s=0.01,
        reboots_per_s=0.0001,
        connects_per_s=200.0,
        drain_s=120.0,
        labels=("dog", "cough", "doorbell"),
    )
    toml = folder / "gateway.toml"
    _write_fleet_config(toml, folder, port, [f"sim{i:0{width}}" for i in range(n_devices)])
    command = [sys.executable, "-m", "earmark_gateway.cli", "run", "-c", str(toml)]
    gateway = Victim(command, folder / "gateway.log")
    gateway.start()
    try:
        with console.status("fleet") as status:
            result = run_fleet(
                options,
                lambda f: status.update(f"fleet: {f.n_heard} events, {f.pending} waiting"),
            )
    finally:
        gateway.stop()
        broker.stop()
    outcome = count(folder, result.accepted)
    return {
        "devices": n_devices,
        "seconds": round(result.seconds),
        "events": outcome.events,
        "lost": outcome.lost,
        "waiting": result.pending,
        "stored_twice": _duplicates(folder),
        "reboots": result.reboots,
    }


def _write_fleet_config(path: Path, folder: Path, port: int, ids: list[str]) -> None:
    text = f"[mqtt]\nport = {port}\n[store]\nurl = 'sqlite:///{folder}/gateway.db'\n"
    text += "[web]\nenabled = false\n" + "".join(f"[[devices]]\nid = '{name}'\n" for name in ids)
    path.write_text(text, "utf-8")


def _duplicates(folder: Path) -> int:
    with contextlib.closing(sqlite3.connect(folder / "gateway.db")) as connection:
        total, distinct = connection.execute(
            "SELECT COUNT(*), COUNT(DISTINCT device_id || boot || seq) FROM events"
        ).fetchone()
    return int(total - distinct)


def _part_store(folder: Path) -> dict[str, Any]:
    return {
        "events_per_s": round(events_per_s(folder, "log")),
        "events_per_s_each_notified": round(events_per_s(folder, "notice")),
        "commit_p99_ms_at_1000": round(commit_p99_ms(folder), 1),
        "notify_p99_ms": round(notify_p99_ms(folder), 1),
    }


def _part_live(folder: Path) -> dict[str, Any]:
    ids = [f"bench{i:03}" for i in range(_N_DEVICES)]
    rate, cpu_s = live_events_per_s(folder, list(_messages(_N_EVENTS // 2)), ids)
    return {"live_events_per_s": round(rate), "live_cpu_us_per_event": round(cpu_s * 1e6)}


def _part_start(folder: Path) -> dict[str, Any]:
    seconds, mib = start_and_size(folder)
    return {"start_s": round(seconds, 2), "rss_mb": round(mib, 1)}


def _part_kill_loop(folder: Path) -> dict[str, Any]:
    options = KillOptions(
        n_events=50_000,
        n_devices=50,
        events_per_s=65.0,
        gateway_period_s=3.2,
        broker_period_s=10.0,
        drain_s=240,
    )
    with console.status("kill loop") as status:
        result = run_kill_loop(options, folder, lambda text: status.update(f"kill loop: {text}"))
    return {"kill_loop": result.as_dict()}


def _part_fleet(folder: Path) -> dict[str, Any]:
    return {"fleet": fleet(folder, _FLEET_DEVICES, _FLEET_S)}


PARTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "store": _part_store,
    "live": _part_live,
    "start": _part_start,
    "kill_loop": _part_kill_loop,
    "fleet": _part_fleet,
}


def main(parts: list[str]) -> None:
    """Run the named parts (default: all) and merge their figures into the file."""
    unknown = set(parts) - PARTS.keys()
    if unknown:
        sys.exit(f"error: unknown part {', '.join(sorted(unknown))}; parts: {', '.join(PARTS)}")
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    figures = json.loads(OUTPUT.read_text("utf-8")) if OUTPUT.exists() else {}
    for name in parts or PARTS:
        # On a real file system: a memory disk would make every fsync free.
        folder = Path(tempfile.mkdtemp(prefix=f"bench-{name}-", dir=OUTPUT.parent)).resolve()
        try:
            console.print(f"measuring {name}")
            figures |= PARTS[name](folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        figures["cpus"] = os.cpu_count()
        OUTPUT.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    sys.stdout.write(OUTPUT.read_text("utf-8"))


if __name__ == "__main__":
    main(sys.argv[1:])
