"""`earmark-gateway init` and `devices add`: what they ask and what they print."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from typing import TYPE_CHECKING

from earmark_gateway.deploy import devices
from earmark_gateway.deploy.house import House, Plan, create
from earmark_gateway.errors import GatewayError

if TYPE_CHECKING:
    from pathlib import Path

_QUIET_ZONE = 4


def init(
    root: Path,
    *,
    host: str,
    port: int,
    timezone: str,
    user: str,
    page: bool,
    home_assistant: bool,
) -> None:
    """Write a house and say what to do with it."""
    plan = Plan(
        host=host or f"{socket.gethostname().split('.')[0].lower()}.local",
        port=port,
        timezone=timezone or _local_timezone(),
        user=user,
        password_hash=_ask_password() if page else "",
        home_assistant=home_assistant,
    )
    house = create(root, plan)
    if os.geteuid() == 0 and not user:
        sys.stderr.write("note: the services will run as root; with --user NAME they would not\n")
    _out(f"""{house.root} is ready. Devices will look for the broker at {plan.host}:{plan.port}.

  1. who is told:     edit {house.config_path}
                      cd {house.config_path.parent} && earmark-gateway check
  2. start (systemd): sudo cp {house.root}/*.service /etc/systemd/system/
                      sudo systemctl daemon-reload
                      sudo systemctl enable --now earmark-broker earmark-gateway
     or (docker):     see {house.root / "compose.yaml"}
  3. devices:         earmark-gateway devices add --house {house.root} --room kitchen

Keep {house.root / "ca"} out of reach of others and a copy of it elsewhere: it makes devices.""")


def add(
    house_path: Path, *, host: str, name: str, room: str, resident: str, qr: bool | None
) -> None:
    """Register a device and print what its firmware takes."""
    os.umask(0o077)  # the database, if this is the first command that needs it
    device = devices.add_device(
        House(house_path), host=host, name=name, room=room, resident=resident
    )
    _out(device.provisioning)
    code = devices.qr_code(device.provisioning)
    columns = code.symbol_size(border=_QUIET_ZONE)[0]
    if qr is None:
        qr = sys.stderr.isatty() and shutil.get_terminal_size().columns >= columns
    # On standard error, like all that is not data: `devices add > provisioning.json` works.
    if qr:
        code.terminal(out=sys.stderr, border=_QUIET_ZONE, compact=True)
    sys.stderr.write(
        f"{device.id} is registered. The line above goes to the device's endpoint `earmark`\n"
        f"(docs/firmware-flashing.md); also as {device.folder}/provisioning.json, qr.png, qr.svg.\n"
        "It contains the device's private key: delete that directory once the device has it.\n"
    )


def add_client(house_path: Path, name: str, *, gateway: bool) -> None:
    """Let a program in."""
    folder = House(house_path).add_client(name, gateway=gateway)
    _out(f"{folder}: ca.crt, client.crt, client.key")
    _out("`systemctl reload earmark-broker` makes the broker read its rights")


def revoke_client(house_path: Path, name: str) -> None:
    """Revoke the certificate of a program."""
    if not House(house_path).revoke(name):
        raise GatewayError(f"no certificate was issued for {name!r}", "see ca/issued in the house")
    _out(f"{name} revoked: `systemctl reload earmark-broker` makes the broker read that")


def revoke(config_path: Path, device_id: str) -> None:
    """Revoke the certificate of a device, where this house has issued it."""
    try:
        house = House(config_path.absolute().parent)
    except GatewayError:
        return  # another broker, with accounts of its own
    if house.revoke(device_id):
        _out("its certificate too: `systemctl reload earmark-broker` makes the broker read that")


def _ask_password() -> str:
    """Hash of a password for the page; empty where nobody can be asked."""
    if not sys.stdin.isatty():
        sys.stderr.write("no terminal: the page stays off until `hash-password` has been used\n")
        return ""
    import typer

    from earmark_gateway.web.session import hash_password

    password = typer.prompt("Password for the page", hide_input=True, confirmation_prompt=True)
    return hash_password(password)


def _local_timezone() -> str:
    """Time zone of this machine, UTC if it does not say."""
    from pathlib import Path

    target = Path("/etc/localtime").resolve().as_posix()
    return target.partition("/zoneinfo/")[2] or "UTC"


def _out(line: str) -> None:
    sys.stdout.write(line + "\n")
