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
HousePath = Annotated[Path, typer.Option(help="Directory written by `init`.")]


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
def init(  # noqa: PLR0917 - typer turns arguments into options
    directory: Annotated[Path, typer.Argument(help="New directory; nothing is overwritten.")],
    host: Annotated[
        str, typer.Option(help="Name or address by which devices find this machine.")
    ] = "",
    port: Annotated[int, typer.Option(min=1, max=65535, help="TLS port of the broker.")] = 8883,
    timezone: Annotated[str, typer.Option(help="As Europe/Berlin; default: this machine's.")] = "",
    user: Annotated[str, typer.Option(help="Who runs the services; default: you.")] = "",
    page: Annotated[bool, typer.Option(help="Ask for the page's password.")] = True,  # noqa: FBT002 - typer's way
    home_assistant: Annotated[  # noqa: FBT002 - typer's way
        bool, typer.Option("--home-assistant", help="Mirror to Home Assistant.")
    ] = False,
) -> None:
    """Write a complete house: broker, certificates, configuration, services."""
    from earmark_gateway.deploy import command

    command.init(
        directory,
        host=host,
        port=port,
        timezone=timezone,
        user=user,
        page=page,
        home_assistant=home_assistant,
    )


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


@app.command()
def simulate(  # noqa: PLR0917 - typer turns arguments into options
    devices: Annotated[int, typer.Option(min=1, help="How many devices.")] = 10,
    host: str = "127.0.0.1",
    port: int = 1883,
    seconds: Annotated[float, typer.Option(help="How long they hear sounds.")] = 60,
    events_per_s: Annotated[float, typer.Option(help="Sounds per device and second.")] = 0.02,
    reboots_per_s: Annotated[float, typer.Option(help="Power cuts per device and second.")] = 0,
    gap_rate: Annotated[float, typer.Option(help="Share of numbers without an event.")] = 0,
    clock_errors: Annotated[  # noqa: FBT002 - typer's way
        bool, typer.Option("--clock-errors", help="Unset and wrong device clocks.")
    ] = False,
) -> None:
    """Run simulated devices sim0000, sim0001, ... against a broker."""
    from earmark_gateway.simulate.command import run_simulation
    from earmark_gateway.simulate.fleet import FleetOptions

    options = FleetOptions(
        host=host,
        port=port,
        n_devices=devices,
        duration_s=seconds,
        events_per_s=events_per_s,
        reboots_per_s=reboots_per_s,
        gap_rate=gap_rate,
        clock_errors=clock_errors,
    )
    raise typer.Exit(run_simulation(options))


devices_app = typer.Typer(no_args_is_help=True, help="The registry of devices.")
app.add_typer(devices_app, name="devices")


@devices_app.command("add")
def devices_add(  # noqa: PLR0917 - typer turns arguments into options
    house: HousePath = Path(),
    name: str = "",
    room: str = "",
    resident: str = "",
    host: Annotated[str, typer.Option(help="Where it finds the broker, if not as in init.")] = "",
    qr: Annotated[
        bool | None, typer.Option(help="Draw the QR code in the terminal; default: if it fits.")
    ] = None,
) -> None:
    """Register a new device; prints the provisioning data for its firmware."""
    from earmark_gateway.deploy import command

    command.add(house, host=host, name=name, room=room, resident=resident, qr=qr)


@devices_app.command("list")
def devices_list(config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Show every device with its state."""
    from earmark_gateway import admin

    admin.list_devices(config)


@devices_app.command("approve")
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


@devices_app.command("revoke")
def devices_revoke(device_id: str, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Stop listening to a device."""
    from earmark_gateway import admin

    admin.revoke(config, device_id)
    from earmark_gateway.deploy import command

    command.revoke(config, device_id)


clients_app = typer.Typer(no_args_is_help=True, help="Programs with access to the broker.")
app.add_typer(clients_app, name="clients")


@clients_app.command("add")
def clients_add(
    name: str,
    house: HousePath = Path(),
    gateway: Annotated[  # noqa: FBT002 - typer's way
        bool, typer.Option("--gateway", help="Another replica of the gateway.")
    ] = False,
) -> None:
    """Make a certificate for a program that sees what Home Assistant sees."""
    from earmark_gateway.deploy import command

    command.add_client(house, name, gateway=gateway)


@clients_app.command("revoke")
def clients_revoke(name: str, house: HousePath = Path()) -> None:
    """Lock a program out."""
    from earmark_gateway.deploy import command

    command.revoke_client(house, name)


@app.command("hash-password")
def hash_password() -> None:
    """Ask for the page's password; print the line for the configuration."""
    from earmark_gateway.web.session import hash_password as hashed

    password = typer.prompt("Password for the page", hide_input=True, confirmation_prompt=True)
    typer.echo(f'[web]\nenabled = true\npassword_hash = "{hashed(password)}"')


def main() -> None:
    """Entry point: a problem is one message, not a traceback."""
    try:
        app()
    except GatewayError as exc:
        sys.stderr.write(f"error: {exc}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
