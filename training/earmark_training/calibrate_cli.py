"""`earmark calibrate`: choose thresholds from streams and store them in the bundle."""

from __future__ import annotations

import itertools
import json
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

app = typer.Typer(add_completion=False)
STREAM_S = 300.0
N_ALARMS = 20


@app.command()
def main(  # noqa: PLR0917 - options of a command line
    bundle: Annotated[Path, typer.Argument(help="Bundle directory of `earmark train`.")],
    out: Annotated[Path | None, typer.Option("-o", help="New bundle; default: in place.")] = None,
    max_false_per_day: Annotated[
        float, typer.Option(help="False alarms per 24 h that are acceptable, per label.")
    ] = 12.0,
    data: Annotated[
        list[Path] | None,
        typer.Option(help="Events and backgrounds, as `earmark train` takes them; repeat it."),
    ] = None,
    hours: Annotated[float, typer.Option(help="Hours of streams to mix.")] = 2.0,
    events: Annotated[int, typer.Option(help="Events mixed into them.")] = 200,
    fold: Annotated[int | None, typer.Option(help="Events from the held-out fold only.")] = 5,
    seed: Annotated[int, typer.Option(help="Draws the streams.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print the choice as JSON.")] = False,  # noqa: FBT002
) -> None:
    """Choose per-label thresholds from streams mixed of recordings.

    A label that no threshold keeps within the bound becomes silent. The curve of false alarms per
    24 h against recall is drawn into the bundle's report.

    Example: earmark calibrate build/demo/bundle --max-false-per-day 2
    """
    from earmark_training import calibrate, recordings, stream_scenes
    from earmark_training.deploy.bundle import Bundle, rewrite_bundle

    loaded = Bundle.load(bundle)
    labels = [label.name for label in loaded.params.labels if label.reported]
    found = recordings.manifests(data or ())
    material = recordings.sort_material(found, labels, fold=fold, half=0)
    n_streams = max(1, round(hours * 3600 / STREAM_S))
    alarms = [label for label in labels if label in stream_scenes.CADENCES]
    streams = itertools.chain(
        stream_scenes.home_streams(
            material, n_streams=n_streams, duration_s=STREAM_S, n_events=events, seed=seed
        ),
        *(
            stream_scenes.alarm_streams(material, label=label, n_streams=N_ALARMS, seed=seed)
            for label in alarms
        ),
    )
    console = Console(stderr=True)
    with Progress(console=console) as progress:
        total = n_streams + N_ALARMS * len(alarms)
        task = progress.add_task("listening", total=total)
        heard = calibrate.hear(loaded, streams, lambda: progress.advance(task))
        progress.add_task("trying thresholds", total=None)
        curves = calibrate.sweep(heard, loaded.params)
    chosen = calibrate.choose_all(curves, loaded.params, max_false_per_day)
    settings = {
        "max_false_per_24h": max_false_per_day,
        "hours": sum(item.trace.audio_s for item in heard) / 3600,
        "fold": fold,
        "seed": seed,
    }
    summary = calibrate.summary(curves, chosen, settings)
    rewrite_bundle(
        loaded,
        out,
        detector_params=calibrate.apply_choice(loaded.params, chosen),
        metrics={**loaded.info.metrics, "calibration": summary},
    )
    if as_json:
        typer.echo(json.dumps({"chosen_permille": chosen, "settings": settings}))
    else:
        _print(summary, console)
        typer.echo(f"wrote {out or bundle}; `earmark report {out or bundle}` draws the curves")


def _print(found: dict[str, Any], console: Console) -> None:
    table = Table(title=f"{found['settings']['hours']:.1f} h of streams")
    for column in ("label", "threshold", "recall", "false per 24 h", "95 %", "latency"):
        table.add_column(column, justify="left" if column == "label" else "right")
    for name, entry in found["labels"].items():
        permille = entry["chosen_permille"]
        point = next((p for p in entry["curve"] if p["threshold_permille"] == permille), None)
        if point is None:
            played = entry["curve"][0]["n_played"]
            reason = "none keeps the bound" if played else "never played"
            table.add_row(name, "unchanged" if permille is None else "silent", reason, "", "", "")
            continue
        latency = point["latency_median_s"]
        table.add_row(
            name,
            f"{permille / 1000:.3f}",
            f"{point['n_found']}/{point['n_played']}",
            f"{point['false_per_24h']:.1f}",
            "{:.1f}-{:.1f}".format(*point["false_per_24h_interval"]),
            "-" if latency is None else f"{latency:.1f} s",
        )
    console.print(table)
