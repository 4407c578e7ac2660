"""A week of the device's core against the real gateway: ingest, rules and SQLite store.

Usage: python tests/firmware/week.py BUILD/test/test_week [DAYS]

The device side (`firmware/host/test/test_week.c`) has an event every few minutes, no network half
of the time and twenty power cuts; here the gateway stops and starts again whenever it says so.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import msgspec
from earmark_gateway.config import Config
from earmark_gateway.ingest import Incoming, Processor
from earmark_gateway.service import approve_device
from earmark_gateway.store.sqlite import SqliteStore

DEVICE = "4f0c9a1b22d3"
START_S = 1_795_000_000  # as in firmware/host/test/rig.c


class WorldClock:
    """The simulated time, for both of the gateway's clocks."""

    def __init__(self) -> None:
        self.second = 0

    def now_ms(self) -> int:
        return (START_S + self.second) * 1000

    def monotonic_s(self) -> float:
        return float(self.second)


class Gateway:
    """What a gateway does with messages, without broker and threads."""

    def __init__(self, path: Path, clock: WorldClock) -> None:
        self.path, self.clock = path, clock
        self.waiting: list[Incoming] = []
        self.counts: dict[str, int] = {}
        self.config = Config(devices=[{"id": DEVICE, "room": "hall"}])
        self.open()
        with self.store.write() as tx:
            approve_device(tx, DEVICE, now_ms=clock.now_ms(), room="hall", resident="")

    def open(self) -> None:
        self.store = SqliteStore(str(self.path))
        self.processor = Processor(self.config, self.clock)

    def restart(self) -> None:
        self.waiting.clear()
        self.store.close()
        self.open()

    def put(self, topic: str, payload: str) -> None:
        now_ms = self.clock.now_ms()
        self.waiting.append(Incoming(topic, payload.encode(), False, 1, 1, 1, now_ms))

    def answers(self) -> list[str]:
        """Work off what waits in one transaction, then acknowledge."""
        with self.store.write() as tx:
            outcome = self.processor.apply(tx, self.waiting)
        self.waiting.clear()
        for name, n in outcome.counts.items():
            self.counts[name] = self.counts.get(name, 0) + n
        return [msgspec.json.encode(ack).decode() for _, ack in outcome.ack_messages()]


def rss_bytes(pid: int | str) -> int:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def run_week(executable: Path, days: int, folder: Path) -> dict[str, object]:
    """Run both ends; return what the store holds at the end."""
    clock = WorldClock()
    gateway = Gateway(folder / "gateway.db", clock)
    critical: list[int] = []
    told: dict[str, object] = {}
    early: tuple[int, int] | None = None
    restarts = 0
    command = [str(executable), str(days), "external"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="ascii"
    ) as device:
        assert device.stdin is not None
        assert device.stdout is not None
        for line in device.stdout:
            kind, *fields = line.rstrip("\n").split("\t")
            if kind in {"PUB", "RESTART"}:
                clock.second = int(fields[0])
            if kind == "PUB":
                gateway.put(*fields[1:])
            elif kind == "RESTART":
                gateway.restart()
                restarts += 1
            elif kind == "FLUSH":
                answers = "".join(f"ACK {text}\n" for text in gateway.answers())
                device.stdin.write(answers + "DONE\n")
                device.stdin.flush()
                if early is None and clock.second > days * 86400 // 4:
                    early = rss_bytes(device.pid), rss_bytes("self")
                late = rss_bytes(device.pid), rss_bytes("self")
            elif kind == "CRITICAL":
                critical.append(int(fields[0]))
            else:
                told = json.loads(line)
    assert device.returncode == 0, device.returncode
    assert early is not None
    return {
        **told,
        "critical": critical,
        "restarts": restarts,
        "counts": gateway.counts,
        "device_growth_bytes": late[0] - early[0],
        "gateway_growth_bytes": late[1] - early[1],
        **stored(gateway),
    }


def stored(gateway: Gateway) -> dict[str, object]:
    """Episodes of critical events as stored, with repetitions, and boots that miss numbers."""
    with gateway.store.read() as tx:
        gaps = tx.boots_with_gaps(older_than_ms=2**60)
    gateway.store.close()
    with closing(sqlite3.connect(gateway.path)) as database:
        events = database.execute("SELECT eid, label FROM events").fetchall()
    episodes = [int(eid.split("-")[1]) for eid, label in events if label == "smoke_alarm"]
    return {"stored": len(events), "episodes": sorted(episodes), "gaps": len(gaps)}


def main(argv: list[str]) -> int:
    """Print the result as one JSON object."""
    with tempfile.TemporaryDirectory(prefix="earmark-week-") as folder:
        days = int(argv[2]) if len(argv) > 2 else 7
        result = run_week(Path(argv[1]).resolve(), days, Path(folder))
    wanted, got = result.pop("critical"), result.pop("episodes")
    result["critical_accepted"], result["critical_stored"] = len(wanted), len(got)
    result["missing"] = sorted(set(wanted) - set(got))
    result["twice"] = len(got) - len(set(got))
    sys.stdout.write(json.dumps(result) + "\n")
    return 1 if result["missing"] or result["twice"] or result["gaps"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
