"""`earmark estimate`."""

from __future__ import annotations

import json
import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer
from earmark_dsp.errors import EarmarkError
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from earmark_training.deploy.estimate import Estimate

app = typer.Typer(add_completion=False)


@app.command()
def estimate_command(  # noqa: PLR0917 - typer passes them by name
    model: Annotated[
        str,
        typer.Argument(help="int8 .tflite, model bundle, .keras file, or the name of a preset"),
    ],
    target: Annotated[str, typer.Option(help="chip")] = "esp32-pico",
    spec: Annotated[str | None, typer.Option(help="front end of a preset, if not its own")] = None,
    classes: Annotated[int, typer.Option(help="classes of a preset", min=2)] = 10,
    execute: Annotated[  # noqa: FBT002 - an option
        bool, typer.Option(help="run it on the emulated LX6 (needs clang-22 and QEMU)")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="JSON only")] = False,  # noqa: FBT002
    chart: Annotated[Path | None, typer.Option(help="bar chart to write (.png, .svg)")] = None,
) -> None:
    """Cost of a model on a target, before flashing and even before training."""
    from earmark_training.deploy import estimate as e
    from earmark_training.deploy.estimate_source import tflite_of

    chip = e.target(target)
    console = Console(stderr=as_json)
    with console.status("reading") as status:
        source, name = tflite_of(model, spec, classes)
        result = e.estimate(
            source, name=name, chip=chip, execute=execute,
            progress=lambda what: status.update(f"{name}: {what}"),
        )  # fmt: skip
    if chart is not None:
        from earmark_training.deploy.estimate_chart import draw

        if chart.suffix not in (".png", ".svg"):
            raise EarmarkError(f"{chart} is neither .png nor .svg", "choose one of the two")
        draw(result, chart)
    if as_json:
        sys.stdout.write(json.dumps(result.to_json(), indent=2) + "\n")
    else:
        show(result, console)


def show(result: Estimate, console: Console) -> None:
    """Print layers and totals against the target's budget."""
    from earmark_training.deploy.estimate import CYCLES_PER_INSTRUCTION

    table = Table(title=f"{result.name} on {result.target.name}")
    for heading in ("layer", "output", "MAC", "weights B", "instructions", "per MAC", "ms"):
        table.add_column(heading, justify="left" if heading in ("layer", "output") else "right")
    for layer in result.layers:
        per_mac = layer.instructions / layer.macs if layer.instructions and layer.macs else None
        table.add_row(
            layer.name,
            "x".join(map(str, layer.shape)),
            f"{layer.macs:,}",
            f"{layer.weight_bytes:,}",
            _number(layer.instructions),
            "-" if per_mac is None else f"{per_mac:.2f}",
            _ms(result.milliseconds(layer.instructions)),
        )
    console.print(table)
    totals = Table(title="three forms")
    for heading in ("", "compiled", "RAM-optimised", "TFLM + ESP-NN", "budget"):
        totals.add_column(heading, justify="left" if not heading else "right")
    chip = result.target
    forms = (result.instructions, result.instructions_optimised, result.esp_nn_instructions)
    totals.add_row("instructions", *map(_number, forms), "")
    totals.add_row("estimated ms", *(_ms(result.milliseconds(n)) for n in forms), "")
    totals.add_row(
        "RAM bytes", f"{result.ram_bytes:,}", f"{result.ram_bytes_optimised:,}",
        f"{result.tflm_arena_bytes:,}", f"{chip.ram_bytes:,}",
    )  # fmt: skip
    code = result.code_bytes or 0
    flash = f"{result.weight_bytes + code:,}"
    totals.add_row(
        "flash bytes", flash, flash, f"{result.flatbuffer_bytes:,} + TFLM", f"{chip.flash_bytes:,}"
    )
    console.print(totals)
    per_mac = result.instructions_per_mac
    console.print(
        f"{result.macs:,} MAC"
        + (f", {per_mac:.2f} executed instructions per MAC" if per_mac else "")
        + f"; {'fits' if result.fits else 'does NOT fit'} {chip.name}\n"
        f"ms = instructions x {CYCLES_PER_INSTRUCTION} cycles / {chip.clock_hz / 1e6:.0f} MHz, an "
        "estimate; TFLM + ESP-NN: instructions per MAC measured once, RAM as TFLM reports it",
        soft_wrap=True,
    )


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
