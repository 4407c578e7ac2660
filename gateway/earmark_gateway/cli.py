"""`earmark-gateway`: every sub-command imports what it needs when it is called."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from earmark_gateway.errors import GatewayError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Turn the labels of listening devices into notifications that somebody answers.",
)

ConfigPath = Annotated[
    Path,
    typer.Option("--config", "-c", help="Configuration file.", envvar="EARMARK_GATEWAY_CONFIG"),
]
DEFAULT_CONFIG = Path("earmark-gateway.toml")


@app.command()
def run(
    config: ConfigPath = DEFAULT_CONFIG,
    ready_file: Annotated[
        Path | None, typer.Option(help="Created once the gateway listens to the broker.")
    ] = None,
) -> None:
    """Run the gateway until SIGTERM or Ctrl-C; SIGHUP reads the configuration again."""
    from earmark_gateway.runner import run_gateway

    raise typer.Exit(run_gateway(config, ready_file))


@app.command()
def schema() -> None:
    """Print the JSON Schema of everything a device can say."""
    import json

    from earmark_gateway.wire import json_schema

    sys.stdout.write(json.dumps(json_schema(), indent=1) + "\n")


@app.command()
def check(
    label: Annotated[str, typer.Argument(help="Explain this label only.")] = "",
    config: ConfigPath = DEFAULT_CONFIG,
    at: Annotated[str, typer.Option(help="Local time, e.g. 03:00.")] = "",
    room: Annotated[str, typer.Option(help="Room of the device.")] = "",
) -> None:
    """Validate the configuration and say who is told what, when."""
    from earmark_gateway import admin

    admin.check(config, label, at, room)


@app.command()
def backup(target: Path, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Copy the database to TARGET while the gateway runs."""
    from earmark_gateway import admin

    admin.backup(config, target)


@app.command()
def export(resident: str, target: Path, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Write everything about RESIDENT to TARGET as JSON lines."""
    from earmark_gateway import admin

    admin.export(config, resident, target)


@app.command()
def erase(
    resident: str,
    config: ConfigPath = DEFAULT_CONFIG,
    yes: Annotated[bool, typer.Option("--yes", help="Really delete.")] = False,  # noqa: FBT002 - typer's way,
) -> None:
    """Delete everything about RESIDENT."""
    from earmark_gateway import admin

    admin.erase(config, resident, confirmed=yes)


@app.command("test-notify")
def notify_test(person: str = "", config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Send a test message over every channel of PERSON, or of everybody."""
    from earmark_gateway import admin

    raise typer.Exit(admin.notify_test(config, person))


devices = typer.Typer(no_args_is_help=True, help="The registry of devices.")
app.add_typer(devices, name="devices")


@devices.command("list")
def devices_list(config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Show every device with its state."""
    from earmark_gateway import admin

    admin.list_devices(config)


@devices.command("approve")
def devices_approve(
    device_id: str,
    config: ConfigPath = DEFAULT_CONFIG,
    name: str = "",
    room: str = "",
    resident: str = "",
) -> None:
    """Let a quarantined device in."""
    from earmark_gateway import admin

    admin.approve(config, device_id, name, room, resident)


@devices.command("revoke")
def devices_revoke(device_id: str, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Stop listening to a device."""
    from earmark_gateway import admin

    admin.revoke(config, device_id)


def main() -> None:
    """Entry point: a problem is one message, not a traceback."""
    try:
        app()
    except GatewayError as exc:
        sys.stderr.write(f"error: {exc}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
