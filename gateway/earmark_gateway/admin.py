"""Commands of the operator that work beside the running gateway."""

from __future__ import annotations

import os
import sys
from datetime import datetime, time
from typing import TYPE_CHECKING

import msgspec

from earmark_gateway.clock import SystemClock
from earmark_gateway.config import load_config
from earmark_gateway.errors import GatewayError
from earmark_gateway.store import open_store
from earmark_gateway.topics import DEVICE_ID

if TYPE_CHECKING:
    from pathlib import Path

    from earmark_gateway.store.base import Store


def out(line: str) -> None:
    """Print a line of the command's result."""
    sys.stdout.write(line + "\n")


def store_of(config_path: Path) -> Store:
    """Open the database of a configuration."""
    return open_store(load_config(config_path).store.url.get_secret_value())


def check(config_path: Path, label: str, at: str, room: str) -> None:
    """Validate and explain a configuration."""
    from earmark_gateway.explain import explain, summary, warnings

    config = load_config(config_path)
    now_ms = SystemClock().now_ms()
    if label:
        try:
            moment = time.fromisoformat(at) if at else datetime.now(config.zone).time()
        except ValueError as exc:
            raise GatewayError(f"--at {at}: not a time of day", "write it as 03:00") from exc
        lines = explain(config, label, at=moment, room=room, now_ms=now_ms)
    else:
        lines = summary(config, now_ms)
    for line in lines:
        out(line)
    for warning in warnings(config):
        out(f"warning: {warning}")
    out(f"{config_path}: valid")


def backup(config_path: Path, target: Path) -> None:
    """Copy the database while the gateway runs."""
    store = store_of(config_path)
    try:
        store.backup(target)
    finally:
        store.close()
    out(f"{target}: {target.stat().st_size} bytes")


def export(config_path: Path, resident: str, target: Path) -> None:
    """Write everything about a resident as JSON lines."""
    store = store_of(config_path)
    n_rows = 0
    try:
        # For the eyes of whoever asked only: it is somebody's life at home.
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with store.read() as tx, os.fdopen(handle, "wb") as file:
            for row in tx.export(resident):
                file.write(msgspec.json.encode(row) + b"\n")
                n_rows += 1
    except OSError as exc:
        raise GatewayError(f"{target}: {exc.strerror}", "choose another name or folder") from exc
    finally:
        store.close()
    out(f"{target}: {n_rows} rows")
    if not n_rows:
        out(f"nothing is stored about {resident!r}: the name is that of the devices' `resident`")


def erase(config_path: Path, resident: str, *, confirmed: bool) -> None:
    """Delete everything about a resident."""
    if not confirmed:
        raise GatewayError(
            f"this deletes everything about {resident!r} for good",
            "export first if needed, then repeat with --yes",
        )
    store = store_of(config_path)
    try:
        with store.write() as tx:
            deleted = tx.erase(resident)
        store.forget()
    finally:
        store.close()
    out(", ".join(f"{table} {n}" for table, n in deleted.items()))
    out("backups keep their copy until you delete them")


def list_devices(config_path: Path) -> None:
    """Show the registry."""
    store = store_of(config_path)
    try:
        with store.read() as tx:
            for device in tx.devices():
                state = "offline" if device.offline_since_ms else device.status or "never seen"
                where = ", ".join(filter(None, (device.room, device.resident, device.name)))
                out(f"{device.id}  {device.state}  {state}  {where}  refused {device.refused}")
    finally:
        store.close()


def approve(config_path: Path, device_id: str, name: str, room: str, resident: str) -> None:
    """Let a device in."""
    from earmark_gateway.service import approve_device

    if not DEVICE_ID.fullmatch(device_id):
        raise GatewayError(
            f"{device_id!r} is not a device id",
            "lower-case letters, digits, - and _; see `devices list`",
        )
    store = store_of(config_path)
    try:
        with store.write() as tx:
            known = tx.get_device(device_id) is not None
            tx.clear_problem(device_id, "boot_repeated")
            approve_device(
                tx,
                device_id,
                now_ms=SystemClock().now_ms(),
                name=name,
                room=room,
                resident=resident,
            )
    finally:
        store.close()
    if known:
        out(f"{device_id} approved; what it has kept arrives when it sends again")
    else:
        out(f"{device_id} approved before it was ever heard; check the id if it should be known")


def revoke(config_path: Path, device_id: str) -> None:
    """Stop listening to a device, for instance a stolen one."""
    store = store_of(config_path)
    try:
        with store.write() as tx:
            if tx.get_device(device_id) is None:
                raise GatewayError(f"no device {device_id}", "list them with `devices list`")
            tx.update_device(device_id, state="revoked")
    finally:
        store.close()
    out(f"{device_id} revoked; delete its broker account too")


def notify_test(config_path: Path, person_id: str) -> int:
    """Send a test message over every channel of a person (or of everybody), at once."""
    from earmark_gateway.notify.base import make_notifier

    config = load_config(config_path)
    people = [p for p in config.people if person_id in ("", p.id)]
    if not people:
        raise GatewayError(f"no person {person_id!r}", "ids are in [[people]]")
    failures = 0
    message = {
        "title": "Earmark test",
        "body": "This is a test. Notifications reach you on this channel.",
        "severity": "notice",
        "kind": "test",
    }
    for person in people:
        for url in person.channels:
            text = url.get_secret_value()
            result = make_notifier(text).send({**message, "recipient": person.id})
            failures += not result.ok
            scheme = text.split(":", 1)[0]
            out(f"{person.name} over {scheme}: {'sent' if result.ok else result.error}")
    return 1 if failures else 0
