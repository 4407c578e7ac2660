"""Device, broker, gateway: runs a scene through them and collects what the caregiver was told."""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from earmark_dsp.errors import EarmarkError

from earmark_training.demo.broker import embedded_broker
from earmark_training.demo.processes import child_process, wait_until_ready
from earmark_training.deploy.simulate import run_simulator
from earmark_training.deploy.simulate_mqtt import MqttBridge

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from earmark_training.deploy.simulate import SimulationResult

DEVICE_ID = "demo"
_READY_TIMEOUT_S = 60.0
_DELIVERY_TIMEOUT_S = 15.0
_QUIET_S = 1.5  # without a new line: everything due has been delivered


@dataclass(frozen=True)
class Ports:
    """TCP ports on the loopback interface."""

    mqtt: int
    web: int


@dataclass(frozen=True)
class Notification:
    """What reached the caregiver: onset in seconds of the scene, confidence 0..1."""

    label: str
    onset_s: float
    confidence: float


def gateway_config(
    *,
    ports: Ports,
    directory: Path,
    event_labels: Sequence[str],
    web: bool,
    protocol: str = "3.1.1",
) -> str:
    """Return the gateway's configuration (TOML) for one kitchen and one caregiver.

    `protocol` is MQTT's; the demonstration broker knows no better than 3.1.1.
    """
    # JSON strings are valid TOML strings.
    database = json.dumps(f"sqlite:///{directory / 'gateway.db'}")
    channel = json.dumps(f"file:{directory / 'notifications.jsonl'}")
    return f"""# Written by `earmark demo`.
[gateway]
base_url = "http://127.0.0.1:{ports.web}"

[mqtt]
host = "127.0.0.1"
port = {ports.mqtt}
protocol = "{protocol}"

[store]
url = {database}

[web]
enabled = {json.dumps(web)}
port = {ports.web}
login = false

[[devices]]
id = "{DEVICE_ID}"
room = "kitchen"
resident = "Marta"

[[people]]
id = "anna"
name = "Anna"
role = "primary"
channels = [{channel}]

[[rules]]
labels = ["smoke_alarm", "co_alarm"]
severity = "critical"
group_s = 0
repeat_s = 3600

[[rules]]
labels = {json.dumps(list(event_labels))}
severity = "notice"
group_s = 0

[[rules]]
labels = ["*"]
severity = "log"
"""


@contextmanager
def gateway_running(
    config: str,
    *,
    ports: Ports,
    directory: Path,
    broker: AbstractContextManager[object] | None = None,
) -> Iterator[None]:
    """Run broker (None: the embedded one) and gateway until the block ends."""
    directory.mkdir(parents=True, exist_ok=True)
    for stale in ("ready", "gateway.db", "gateway.db-wal", "gateway.db-shm", "notifications.jsonl"):
        (directory / stale).unlink(missing_ok=True)
    config_path = directory / "gateway.toml"
    config_path.write_text(config, "utf-8")
    log_path = directory / "gateway.log"
    command = [sys.executable, "-m", "earmark_gateway.cli", "run", "--config", str(config_path)]
    with ExitStack() as stack:
        stack.enter_context(broker or embedded_broker(ports.mqtt))
        process = stack.enter_context(
            child_process([*command, "--ready-file", str(directory / "ready")], log_path=log_path)
        )
        wait_until_ready(
            process, directory / "ready", log_path=log_path, timeout_s=_READY_TIMEOUT_S
        )
        yield


def hear(
    executable: Path, *, wav: Path, audio_s: float, ports: Ports, directory: Path
) -> tuple[list[Notification], SimulationResult]:
    """Let the simulated device hear a scene; return what reached the caregiver.

    Raises
    ------
    EarmarkError
        If the device's outbox was not emptied.
    """
    # The scene has just ended, so that no message looks old or from the future.
    start_unix_ms = round((time.time() - audio_s) * 1000)
    result = run_simulator(
        executable,
        wav=wav,
        bridge=MqttBridge("127.0.0.1", ports.mqtt),
        device_id=DEVICE_ID,
        start_unix_ms=start_unix_ms,
    )
    if result.undelivered or result.dropped:
        raise EarmarkError(
            f"{result.undelivered} events were not acknowledged and {result.dropped} dropped",
            f"see {directory / 'gateway.log'}",
        )
    lines = _settled_lines(directory / "notifications.jsonl")
    told = [
        Notification(line["label"], (line["occurred_ms"] - start_unix_ms) / 1000, line["conf"])
        for line in lines
        if line["kind"] == "alert"
    ]
    return told, result


def _settled_lines(path: Path) -> list[dict[str, Any]]:
    """Read the notifications once no new one has come for a moment."""
    deadline = time.monotonic() + _DELIVERY_TIMEOUT_S
    seen, since = -1, time.monotonic()
    while time.monotonic() < deadline:
        size = path.stat().st_size if path.exists() else 0
        if size != seen:
            seen, since = size, time.monotonic()
        elif time.monotonic() - since > _QUIET_S:
            break
        time.sleep(0.05)
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
