"""`earmark demo`."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(add_completion=False, help="Run the whole chain on an evening at home.")


@app.command()
def demo(
    *,
    out: Annotated[Path, typer.Option(help="Where results go.")] = Path("build/demo"),
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Length of the training; else the preset's.")
    ] = None,
    mqtt_port: Annotated[int, typer.Option(help="Demonstration broker; 0: any free port.")] = 0,
    web_port: Annotated[int, typer.Option(help="Caregiver's page; 0: any free port.")] = 0,
    serve: Annotated[
        bool, typer.Option("--serve", help="Keep the caregiver's page open at the end.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Train on recordings, run the device's C code on an evening at home, tell a caregiver.

    Interrupt it at any time: the next run goes on where the training stopped.
    """
    from earmark_training.quiet import import_tensorflow

    warnings.filterwarnings("ignore", module="tensorflow|keras")
    import_tensorflow()
    from earmark_training.demo.broker import free_port, require_free_port
    from earmark_training.demo.chain import Ports
    from earmark_training.demo.processes import raise_on_sigterm
    from earmark_training.demo.run import Options, run_demo
    from earmark_training.demo.ui import Ui

    raise_on_sigterm()
    for port, purpose, option in (
        (mqtt_port, "broker", "--mqtt-port"),
        (web_port, "caregiver's page", "--web-port"),
    ):
        if port:
            require_free_port(port, purpose=purpose, option=option)
    options = Options(
        out_dir=out.resolve(),
        ports=Ports(mqtt=mqtt_port or free_port(), web=web_port or free_port()),
        epochs=epochs,
        serve=serve,
    )
    summary = run_demo(options, Ui(Console(stderr=as_json)))
    if as_json:
        typer.echo(json.dumps(summary, indent=2))
