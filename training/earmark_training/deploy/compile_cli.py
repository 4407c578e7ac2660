"""`earmark compile`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(add_completion=False)


@app.command()
def compile_command(
    model: Annotated[Path, typer.Argument(help="int8 .tflite file")],
    output: Annotated[Path, typer.Option("-o", "--output", help="directory for the C")],
    name: Annotated[str, typer.Option(help="C symbol em_NAME")] = "model",
    tflm: Annotated[  # noqa: FBT002 - a command-line switch
        bool, typer.Option("--tflm", help="also write the C++ for the TFLM engine")
    ] = False,
    ram_limit: Annotated[
        int | None,
        typer.Option(
            help="bytes for arena, input and output; leading layers then run in bands of rows "
            "until it fits (0: as small as possible)"
        ),
    ] = None,
) -> None:
    """Turn an int8 .tflite into readable C with a static memory plan."""
    from earmark_training.deploy.compile import compile_model

    done = compile_model(model, output, name, ram_limit=ram_limit, tflm=tflm)
    program = done.program
    Console().print(
        f"{output}: {len(program.layers)} layers, {program.macs:,} MAC, "
        f"arena {program.arena_bytes:,} bytes, with input and output {done.ram_bytes:,} bytes"
    )
