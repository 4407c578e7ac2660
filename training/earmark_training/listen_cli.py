"""`earmark listen`: what a device would hear and say, live in the terminal."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np

    from earmark_training.detector import Event
    from earmark_training.listen import Heard, Listener

app = typer.Typer(add_completion=False)
N_LABELS = 5
N_EVENTS = 8
_FLOOR_DBFS = -80.0


@app.command()
def main(  # noqa: PLR0917 - options of a command line
    bundle: Annotated[Path, typer.Argument(help="Bundle directory or .tar.")],
    wav: Annotated[
        Path | None, typer.Option(help="A recording instead of the microphone; any format.")
    ] = None,
    fast: Annotated[bool, typer.Option(help="A recording as fast as possible.")] = False,  # noqa: FBT002
    device: Annotated[
        str | None, typer.Option(help="Microphone: number or part of its name.")
    ] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="Stop after this time.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per event.")] = False,  # noqa: FBT002
) -> None:
    """Show level, leading labels and events of a microphone or a recording. Nothing is stored.

    Front end, network and detector are the C code of the device.

    Example: earmark listen build/demo/bundle --wav evening.wav --fast
    """
    from earmark_datasets.microphone import microphone_chunks

    from earmark_training import listen
    from earmark_training.deploy.bundle import Bundle

    listener = listen.Listener(Bundle.load(bundle))
    rate_hz = listener.sample_rate_hz
    if wav is not None:
        chunks = listen.file_chunks(wav, rate_hz, fast=fast)
        source = wav.name
    else:
        number = int(device) if device is not None and device.isdecimal() else device
        chunks = microphone_chunks(rate_hz, device=number)
        source = "microphone"
    try:
        shown = _run(listener, chunks, source, seconds, as_json=as_json)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None  # the way to stop listening
    if not as_json:
        typer.echo(f"{shown} events")


def _run(
    listener: Listener,
    chunks: Iterable[np.ndarray],
    source: str,
    seconds: float | None,
    *,
    as_json: bool,
) -> int:
    console = Console()
    told: list[Event] = []
    live = None if as_json or not console.is_terminal else Live(console=console, transient=True)
    with live or nullcontext():
        for chunk in chunks:
            heard = listener.process(chunk)
            told += heard.events
            for event in heard.events:
                line = json.dumps(as_dict(event)) if as_json else str(_line(event))
                if live is None:
                    typer.echo(line)
            if live is not None:
                live.update(screen(source, heard, told[-N_EVENTS:]))
            if seconds is not None and heard.at_s >= seconds:
                break
    if live is not None:
        for event in told:
            console.print(_line(event))
    return len(told)


def as_dict(event: Event) -> dict[str, Any]:
    """Return an event as it is printed for scripts; seconds of audio since the start."""
    return {
        "event": event.label,
        "phase": event.phase.name.lower(),
        "at_s": round(event.at_s, 3),
        "onset_s": round(event.onset_s, 3),
        "duration_s": round(event.duration_s, 3),
        "confidence": event.confidence,
        "threshold": event.threshold,
        "id": event.event_id,
    }


def _line(event: Event) -> Text:
    return Text(
        f"{event.at_s:8.2f} s  {event.phase.name.lower():7} {event.label}  "
        f"confidence {event.confidence:.2f}, threshold {event.threshold:.2f}"
    )


def screen(source: str, heard: Heard, events: list[Event]) -> Group:
    """Return the picture of one moment: level, leading labels, newest events."""
    table = Table.grid(padding=(0, 1))
    table.add_column(width=22, no_wrap=True)
    table.add_column(width=8, justify="right")
    table.add_column(width=40)
    share = max(0.0, 1 - heard.level_dbfs / _FLOOR_DBFS)
    table.add_row(
        "level", f"{heard.level_dbfs:.0f} dBFS", ProgressBar(total=1, completed=share, width=40)
    )
    leading = sorted(heard.scores.items(), key=lambda item: -item[1])[:N_LABELS]
    for name, score in leading:
        table.add_row(name, f"{score:.2f}", ProgressBar(total=1, completed=score, width=40))
    title = Text(f"{source}, {heard.at_s:.1f} s; nothing is stored; Ctrl-C ends", style="bold")
    return Group(title, table, *[_line(event) for event in events])
