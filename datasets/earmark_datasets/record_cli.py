"""The command line of `earmark data record`."""

from __future__ import annotations

import datetime as dt
import json
from contextlib import closing
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import TYPE_CHECKING, Annotated, Self

import typer
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from earmark_datasets import record
from earmark_datasets.audio import SAMPLE_RATE_HZ
from earmark_datasets.manifest import check_label
from earmark_datasets.microphone import level_dbfs, microphone_chunks
from earmark_datasets.recorder import FrameReader

if TYPE_CHECKING:
    from collections.abc import Generator

    import numpy as np

_FLOOR_DBFS = -80.0


def record_command(
    out: Annotated[Path, typer.Argument(help="Folder of the data set; made if need be.")],
    *,
    label: Annotated[str | None, typer.Option(help="Of every take; asked for if left out.")] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="Of one take; Ctrl-C ends it.")] = 5.0,
    takes: Annotated[int, typer.Option(min=1)] = 1,
    port: Annotated[
        str | None, typer.Option(help="Serial port of a board with firmware/recorder.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="Microphone: number or name.")] = None,
    group: Annotated[
        str | None, typer.Option(help="Room, person or session; default: this session.")
    ] = None,
    licence: Annotated[str, typer.Option(help="Of the recordings.")] = "",
    attribution: Annotated[str, typer.Option(help="Who is to be named.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per take.")] = False,
) -> None:
    """RECORD AUDIO from a microphone or a development board into a data set.

    For training data, with the consent of everybody who is heard. The product never does this.
    """
    console = Console(stderr=True)
    started = dt.datetime.now().astimezone()
    session = group or f"{'board' if port else 'microphone'}-{started:%Y%m%d-%H%M%S}"
    for number in range(1, takes + 1):
        name = label or typer.prompt(f"label of take {number} of {takes}")
        check_label(name, "--label")
        path = record.next_path(out, name, dt.datetime.now().astimezone())
        reader = FrameReader()
        where = port or "the microphone of this computer"
        console.print(
            Text(f" RECORDING: everything {where} hears is written to {path} ", "bold white on red")
        )
        with closing(_open(port, device, reader)) as chunks, _Meter(console, seconds) as meter:
            heard_s = record.write_take(chunks, path, seconds, meter.show)
        console.print(Text(" recording has ended ", "bold black on green"))
        take = record.Take(name, session, "earmark data record", licence, attribution)
        record.add_to_manifest(out, path, take)
        losses = {**vars(reader.losses)} if port else {}
        if as_json:
            row = {"path": str(path), "label": name, "seconds": heard_s, "clipped": meter.clipped}
            typer.echo(json.dumps({**row, **losses}))
            continue
        typer.echo(f"{path}: {heard_s:.1f} s")
        if meter.clipped:
            typer.echo("it reaches full scale: record with less gain or from further away")
        if losses and any(losses[k] for k in ("lost_frames", "corrupt_frames", "overruns")):
            typer.echo(
                f"lost on the way: {losses['lost_frames']} frames (silence stands in their place), "
                f"{losses['corrupt_frames']} corrupt; {losses['overruns']} overruns on the board"
            )


def _open(port: str | None, device: str | None, reader: FrameReader) -> Generator[np.ndarray]:
    if port is not None:
        return record.board_chunks(port, reader)
    number = int(device) if device is not None and device.isdecimal() else device
    return microphone_chunks(SAMPLE_RATE_HZ, device=number)


class _Meter:
    """Level and time while a take runs; silent where there is no terminal."""

    def __init__(self, console: Console, seconds: float) -> None:
        self._live = Live(console=console, transient=True) if console.is_terminal else None
        self._seconds = seconds
        self.clipped = False

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *problem: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, heard_s: float, chunk: np.ndarray) -> None:
        """Draw the newest chunk's level."""
        self.clipped |= record.is_clipped(chunk)
        if self._live is not None:
            self._live.update(meter(heard_s, self._seconds, level_dbfs(chunk), self.clipped))


def meter(heard_s: float, seconds: float, dbfs: float, clipped: bool) -> Table:  # noqa: FBT001
    """Return the picture of one moment of a take."""
    table = Table.grid(padding=(0, 1))
    share = max(0.0, 1 - dbfs / _FLOOR_DBFS)
    state = Text("TOO LOUD", "bold red") if clipped else Text("")
    table.add_row(
        Text("● REC", "bold red"), f"{heard_s:.1f} of {seconds:.1f} s", f"{dbfs:.0f} dBFS",
        ProgressBar(total=1, completed=share, width=40), state,
    )  # fmt: skip
    return table
