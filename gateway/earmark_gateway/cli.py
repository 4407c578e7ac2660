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


def main() -> None:
    """Entry point: a problem is one message, not a traceback."""
    try:
        app()
    except GatewayError as exc:
        sys.stderr.write(f"error: {exc}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
