"""`earmark-gateway run`: signals, readiness, watchdog."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any

from earmark_gateway import jsonlog
from earmark_gateway.config import load_config
from earmark_gateway.service import Gateway

if TYPE_CHECKING:
    from pathlib import Path

_WATCHDOG_PARTS = 3  # systemd asks for a sign of life at least every WatchdogSec / 2


def run_gateway(config_path: Path, ready_file: Path | None) -> int:
    """Run until a signal ends it; returns the exit status."""
    jsonlog.set_up()
    gateway = Gateway(load_config(config_path), config_path=config_path)
    stop, reload = threading.Event(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    signal.signal(signal.SIGHUP, lambda *_: reload.set())
    gateway.start()
    extras = start_extras(gateway)
    ready = threading.Thread(target=_announce_ready, args=(gateway, stop, ready_file), daemon=True)
    ready.start()
    threading.Thread(target=_watchdog, args=(gateway, stop), daemon=True).start()
    status = gateway.run(stop, reload)
    if status:
        # A part is stuck and may not let itself be stopped; everything unacknowledged comes again.
        os._exit(status)
    for part in extras:
        part.stop()
    gateway.stop()
    if ready_file is not None:
        ready_file.unlink(missing_ok=True)
    return 0


def start_extras(gateway: Gateway) -> list[Any]:
    """Start the optional parts; each has a `stop` method."""
    extras: list[Any] = []
    if gateway.config.web.enabled:
        from earmark_gateway.web.server import WebServer

        extras.append(WebServer(gateway))
    from earmark_gateway.homeassistant.mirror import HomeAssistantMirror

    extras.append(HomeAssistantMirror(gateway))
    return extras


def _announce_ready(gateway: Gateway, stop: threading.Event, ready_file: Path | None) -> None:
    while not stop.is_set():
        if gateway.mqtt.wait_connected(0.2):
            if ready_file is not None:
                ready_file.parent.mkdir(parents=True, exist_ok=True)
                ready_file.write_text(f"{os.getpid()}\n", "utf-8")
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            _notify_systemd("READY=1")
            return


def _watchdog(gateway: Gateway, stop: threading.Event) -> None:
    period_s = int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6 / _WATCHDOG_PARTS
    while period_s and not stop.wait(period_s):
        if not gateway.stuck():
            _notify_systemd("WATCHDOG=1")


def _notify_systemd(state: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.sendto(state.encode(), address)
