"""`earmark compile`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(add_completion=False)


class Engine(StrEnum):
    """Which engine's sources to write."""

    COMPILED = "compiled"
    TFLM = "tflm"
    BOTH = "both"


@app.command()
def compile_command(
    model: Annotated[Path, typer.Argument(help="int8 .tflite file")],
    output: Annotated[Path, typer.Option("-o", "--output", help="directory for the C")],
    name: Annotated[str, typer.Option(help="C symbol em_NAME")] = "model",
    engine: Annotated[
        Engine,
        typer.Option(help="tflm: C++ for TensorFlow Lite Micro, also for unknown operators"),
    ] = Engine.COMPILED,
    ram_limit: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="bytes for arena, input and output; leading layers then run in bands of rows "
            "until it fits (0: as small as possible)",
        ),
    ] = None,
) -> None:
    """Turn an int8 .tflite into readable C with a static memory plan."""
    from earmark_training.deploy.compile import compile_for_tflm, compile_model

    console = Console()
    if engine is Engine.TFLM:
        compile_for_tflm(model, output, name)
        console.print(f"{output}: sources for the TFLM engine (EM_ENGINE_TFLM)")
        return
    done = compile_model(model, output, name, ram_limit=ram_limit, tflm=engine is Engine.BOTH)
    program, tables = done.program, done.tables
    streamed = f", layers 0..{program.n_streamed - 1} in row bands" if program.n_streamed else ""
    console.print(
        f"{output}: {len(program.layers)} layers, {program.macs:,} multiply-accumulates{streamed}\n"
        f"RAM   {done.ram_bytes:,} bytes (arena {program.arena_bytes:,}, "
        f"input and output {program.io_bytes:,})\n"
        f"flash {tables.n_bytes('weights'):,} bytes of weights, "
        f"{tables.n_bytes('channels', 'lookup', 'exponentials', 'constant'):,} of other tables\n"
        f"memory plan drawn in {output / f'{name}_arena.svg'}",
        soft_wrap=True,
    )
