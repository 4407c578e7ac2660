"""The promise under fire: gateway and broker are killed again and again while devices report.

Every event that a device's outbox has accepted must be stored exactly once and cause its
notification at least once; a second notification only for what was in delivery at a kill.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from earmark_gateway.errors import GatewayError
from earmark_gateway.simulate.fleet import Fleet, FleetOptions, run_fleet

if TYPE_CHECKING:
    from collections.abc import Callable

    from earmark_gateway.simulate.device import Key

_TERMINATE_S = 15


@dataclass(frozen=True)
class KillOptions:
    """How hard to be.

    `gateway_period_s` and `broker_period_s` are mean times between kills. With `application_ack`
    off, devices believe the broker: the negative control.
    """

    n_events: int = 3000
    n_devices: int = 20
    events_per_s: float = 200.0
    gateway_period_s: float = 1.5
    broker_period_s: float = 5.0
    application_ack: bool = True
    drain_s: float = 90.0
    seed: int = 0


@dataclass
class KillResult:
    """The outcome; the names are those of ``build/bench/gateway.json``."""

    events: int = 0
    gateway_kills: int = 0
    broker_kills: int = 0
    reboots: int = 0
    lost: int = 0
    stored_twice: int = 0
    never_notified: int = 0
    duplicate_notifications: int = 0
    resent: int = 0
    seconds: float = 0.0

    def as_dict(self) -> dict[str, float]:
        """For JSON."""
        return asdict(self)


def find_mosquitto() -> str:
    """Path of the broker's program."""
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise GatewayError("mosquitto is not installed", "Debian: apt-get install mosquitto")
    return program


def free_port() -> int:
    """Find a TCP port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Victim:
    """A process that is killed with SIGKILL and started again.

    Parameters
    ----------
    command : list of str
    log_path : Path
        Receives its output.
    """

    def __init__(self, command: list[str], log_path: Path) -> None:
        self._command = command
        self._log = log_path.open("ab")
        self.kills = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log
        )

    def kill(self) -> None:
        """Kill it without warning. Counts only if it was still running."""
        assert self._process is not None  # noqa: S101 - started before
        if self._process.poll() is None:
            self._process.kill()
            self.kills += 1
        self._process.wait()

    def cpu_s(self) -> float:
        """Processor time that it has used since it was started, seconds."""
        assert self._process is not None  # noqa: S101 - started before
        fields = Path(f"/proc/{self._process.pid}/stat").read_text("ascii").rsplit(") ", 1)[1]
        user, system = fields.split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def ensure(self) -> None:
        """Start it again if it has ended by itself."""
        if self._process is None or self._process.poll() is not None:
            self.start()

    def stop(self) -> None:
        """End it properly, for good."""
        self.end()
        self._log.close()

    def end(self) -> None:
        """End it properly; it can be started again."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_TERMINATE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def write_mosquitto_config(folder: Path, port: int) -> Path:
    """Debian's default configuration but for the port and the folder."""
    path = folder / "mosquitto.conf"
    path.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\n"
        f"persistence_location {folder}/\nuser {_user_name()}\n",
        "utf-8",
    )
    return path


def _user_name() -> str:
    import pwd

    return pwd.getpwuid(os.geteuid()).pw_name


def write_gateway_config(
    folder: Path, port: int, *, device_ids: list[str], application_ack: bool = True
) -> Path:
    """Configure a gateway that tells one person about every single event."""
    path = folder / "gateway.toml"
    devices = "\n".join(f'[[devices]]\nid = "{name}"' for name in device_ids)
    path.write_text(
        f"""
[mqtt]
port = {port}
application_ack = {str(application_ack).lower()}
[store]
url = "sqlite:///{folder}/gateway.db"
[web]
enabled = false
[limits]
events_per_s = 100000
burst = 100000
critical_events_per_s = 100000
critical_burst = 100000
[watch]
offline_after_s = 3600
will_grace_s = 3600
gateway_gap_s = 3600
self_test_day = 0
[[people]]
id = "anna"
name = "Anna"
role = "primary"
channels = ["file:{folder}/notifications.jsonl"]
[[rules]]
labels = ["*"]
severity = "notice"
group_s = 0
{devices}
""",
        "utf-8",
    )
    return path


def run_kill_loop(
    options: KillOptions, folder: Path, progress: Callable[[str], None] = lambda _: None
) -> KillResult:
    """Run the loop in `folder` and count what was lost.

    Raises
    ------
    GatewayError
        If mosquitto is missing.
    """
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    broker = Victim(
        [find_mosquitto(), "-c", str(write_mosquitto_config(folder, port))], folder / "broker.log"
    )
    # No critical label: those repeat until acknowledged, and every notification is counted here.
    fleet_options = FleetOptions(
        port=port,
        n_devices=options.n_devices,
        duration_s=10 * options.n_events / options.events_per_s,
        drain_s=options.drain_s,
        max_events=options.n_events,
        events_per_s=options.events_per_s / options.n_devices,
        reboots_per_s=0.02,
        health_s=5,
        online_s=5,
        resend_s=2.0,
        labels=("dog", "cough", "doorbell"),
        trust_puback=not options.application_ack,
        seed=options.seed,
    )
    ids = [device.device_id for device in Fleet(fleet_options).devices]
    config = write_gateway_config(
        folder, port, device_ids=ids, application_ack=options.application_ack
    )
    command = [sys.executable, "-m", "earmark_gateway.cli", "run", "--config", str(config)]
    gateway = Victim(command, folder / "gateway.log")
    stop = threading.Event()
    rng = random.Random(options.seed)  # noqa: S311 - a simulation
    broker.start()
    gateway.start()
    killers = [
        _killer(gateway, options.gateway_period_s, rng, stop),
        _killer(broker, options.broker_period_s, rng, stop),
    ]

    def supervise() -> None:
        """Start again what ended by itself, as systemd would."""
        gateway.ensure()
        broker.ensure()

    def report(fleet: Fleet) -> None:
        if not fleet.hearing and not stop.is_set():
            stop.set()  # let them finish in peace, else nothing ever ends
        if stop.is_set() and not any(killer.is_alive() for killer in killers):
            supervise()
        progress(
            f"{fleet.n_heard} of {options.n_events} events, {fleet.pending} waiting, "
            f"killed gateway {gateway.kills}x, broker {broker.kills}x"
        )

    try:
        outcome = run_fleet(fleet_options, report)
        stop.set()
        for killer in killers:
            killer.join()
        _wait_until_sent(folder / "gateway.db", supervise, patience_s=60)
    finally:
        stop.set()
        for killer in killers:
            killer.join()
        gateway.stop()
        broker.stop()
    result = count(folder, outcome.accepted)
    result.gateway_kills, result.broker_kills = gateway.kills, broker.kills
    result.reboots, result.resent = outcome.reboots, outcome.resent
    result.seconds = round(outcome.seconds, 1)
    return result


def _killer(
    victim: Victim, period_s: float, rng: random.Random, stop: threading.Event
) -> threading.Thread:
    def work() -> None:
        while not stop.wait(rng.uniform(0.3, 2 * period_s - 0.3)):
            victim.kill()
            stop.wait(rng.uniform(0.0, 0.3))
            victim.start()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def _wait_until_sent(database: Path, supervise: Callable[[], None], patience_s: float) -> None:
    """Wait as long as the queue of notifications keeps getting shorter."""
    least, deadline = sys.maxsize, time.monotonic() + patience_s
    while time.monotonic() < deadline:
        supervise()
        with contextlib.closing(sqlite3.connect(database, timeout=5)) as connection:
            (unsent,) = connection.execute(
                "SELECT COUNT(*) FROM outbox WHERE state IN ('pending', 'leased', 'failed')"
            ).fetchone()
        if not unsent:
            return
        if unsent < least:
            least, deadline = unsent, time.monotonic() + patience_s
        time.sleep(0.5)


def count(folder: Path, accepted: set[Key]) -> KillResult:
    """Compare what the devices accepted with the database and with what people were told."""
    with contextlib.closing(sqlite3.connect(folder / "gateway.db")) as connection:
        rows = connection.execute("SELECT device_id, boot, seq, alert_id FROM events").fetchall()
    stored = collections.Counter((device, boot, seq) for device, boot, seq, _ in rows)
    alerts = {
        (device, boot, seq): alert for device, boot, seq, alert in rows if device.startswith("sim")
    }
    told: collections.Counter[int] = collections.Counter()
    path = folder / "notifications.jsonl"
    for line in path.read_text("utf-8").splitlines() if path.exists() else []:
        told[json.loads(line).get("alert_id", 0)] += 1
    extra_alerts = len(alerts) - len(set(alerts.values()))
    return KillResult(
        events=len(accepted),
        lost=len(accepted - stored.keys()),
        stored_twice=sum(n - 1 for n in stored.values()) + extra_alerts,
        never_notified=sum(told[alert] == 0 for alert in alerts.values()),
        duplicate_notifications=sum(told[a] - 1 for a in alerts.values() if told[a] > 1),
    )
