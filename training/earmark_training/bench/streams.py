"""Streaming figures of a bundle: `python -m earmark_training.bench.streams --bundle DIR`.

Two hours of recorded backgrounds and other sounds with 200 mixed events; synthetic T3 and T4 alarms
at 0 dB SNR in rooms; recorded alarms. Recordings are those that `earmark calibrate` does not use.
Everything runs through the C front end, network and detector. Writes build/bench/streams.json;
every finished stream is kept, so that an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from earmark_training import _native, recordings, stream_scenes
from earmark_training.deploy.bundle import Bundle
from earmark_training.detector import Cadence, Event, Phase
from earmark_training.stream import (
    LabelResult,
    binomial_interval,
    detect,
    match_events,
    merge_results,
    trace_stream,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from earmark_datasets.manifest import Manifest

    from earmark_training.recordings import Material
    from earmark_training.stream import Network
    from earmark_training.stream_scenes import Stream

app = typer.Typer(add_completion=False)
MAX_CYCLES = 2.5
CAUSE_S = 12.0


class Runner:
    """Runs streams once; results are kept by bundle, parameters and stream."""

    def __init__(self, bundle: Bundle, cache: Path) -> None:
        self.bundle = bundle
        self.cache = cache
        # Results belong to the bundle and to the detector's machine code.
        code = Path(_native.__file__).read_bytes()
        self.key = hashlib.sha256(repr(bundle.info.files).encode() + code).hexdigest()[:16]
        self._network: Network | None = None
        cache.mkdir(parents=True, exist_ok=True)

    def events(self, stream: Stream) -> list[Event]:
        """Return the events of a stream, from the cache if it was run before."""
        content = hashlib.sha256(stream.pcm.tobytes()).hexdigest()[:16]
        path = self.cache / f"{self.key}-{content}.json"
        if path.is_file():
            return [
                Event(**{**e, "phase": Phase(e["phase"])}) for e in json.loads(path.read_text())
            ]
        if self._network is None:
            self._network = self.bundle.network()
        trace = trace_stream(
            self.bundle.spec, self._network, stream.pcm, hop_frames=self.bundle.hop_frames
        )
        events = detect(trace, self.bundle.params)
        temporary = path.with_suffix(".part")
        temporary.write_text(json.dumps([dataclasses.asdict(event) for event in events]))
        temporary.replace(path)
        return events


def home(
    runner: Runner, material: Material, hours: float, n_events: int, seed: int
) -> dict[str, Any]:
    """Events and false alarms over hours at home."""
    labels = [label.name for label in runner.bundle.params.labels if label.reported]
    n_streams = max(1, round(hours * 3600 / 300))
    parts: list[dict[str, LabelResult]] = []
    causes: list[dict[str, Any]] = []
    streams = stream_scenes.home_streams(
        material, n_streams=n_streams, duration_s=300.0, n_events=n_events, seed=seed
    )
    for stream in track(streams, "hours at home", total=n_streams):
        events = runner.events(stream)
        audio_s = len(stream.pcm) / stream_scenes.RATE_HZ
        parts.append(match_events(events, stream.played, labels, audio_s=audio_s))
        causes += list(_causes(stream, events))
    results = merge_results(parts)
    return {
        "hours": n_streams * 300 / 3600,
        "n_events": sum(result.n_played for result in results.values()),
        "labels": [result.summary() for result in results.values()],
        "false_alarms": causes,
    }


def _causes(stream: Stream, events: list[Event]) -> Iterator[dict[str, Any]]:
    """Yield what sounded in the seconds before each false alarm."""
    for event in events:
        if event.phase not in (Phase.START, Phase.ONCE):
            continue
        own = [e for e in stream.played if e.label == event.label]
        if any(e.onset_s <= event.at_s <= e.offset_s + CAUSE_S for e in own):
            continue
        yield {
            "stream": stream.name,
            "label": event.label,
            "at_s": event.at_s,
            "confidence": event.confidence,
            "heard": [s for t, s in stream.heard if event.at_s - CAUSE_S <= t <= event.at_s],
            "background": [s for t, s in stream.beds if t <= event.at_s][-1:],
        }


def alarms(runner: Runner, material: Material, label: str, n: int, seed: int) -> dict[str, Any]:
    """Recall, confusion and latency in cycles of synthetic alarms at 0 dB SNR."""
    found, wrong, in_time, cycles = 0, 0, 0, []
    streams = stream_scenes.alarm_streams(material, label=label, n_streams=n, seed=seed)
    alarm_labels = {p.name for p in runner.bundle.params.labels if p.cadence is not Cadence.NONE}
    for stream in track(streams, label, total=n):
        played = stream.played[0]
        cycle_s = float(stream.heard[0][1])
        starts = [e for e in runner.events(stream) if e.phase is Phase.START]
        own = [e for e in starts if e.label == label]
        wrong += any(e.label in alarm_labels - {label} for e in starts)
        if own:
            found += 1
            cycles.append((own[0].at_s - played.onset_s) / cycle_s)
            in_time += cycles[-1] <= MAX_CYCLES
    return {
        "label": label,
        "n_played": n,
        "n_found": found,
        "n_in_time": in_time,
        "n_confused": wrong,
        "recall": found / n,
        "recall_in_time": in_time / n,
        "recall_interval": list(binomial_interval(found, n)),
        "cycles_median": sorted(cycles)[len(cycles) // 2] if cycles else None,
        "cycles_max": max(cycles, default=None),
    }


def recorded(runner: Runner, found: list[Manifest], label: str, seed: int) -> list[dict[str, Any]]:
    """Whether recorded alarms are reported, at their own level."""
    clips = [clip for manifest in found for clip in manifest.clips if clip.label == label]
    rows = []
    for stream in stream_scenes.recorded_alarm_streams(clips, label, seed=seed):
        starts = [e for e in runner.events(stream) if e.phase is Phase.START]
        own = [e.at_s - 5.0 for e in starts if e.label == label]
        rows.append(
            {
                "clip": stream.name,
                "found": bool(own),
                "seconds_into_clip": own[0] if own else None,
                "other_events": [e.label for e in starts if e.label != label],
            }
        )
    return rows


def beeps(runner: Runner, found: list[Manifest], seed: int) -> dict[str, Any]:
    """Which recorded beeps and ringtones, repeated for half a minute, raise an alarm."""
    clips = [clip for manifest in found for clip in manifest.clips]
    alarm_labels = {p.name for p in runner.bundle.params.labels if p.cadence is not Cadence.NONE}
    streams = list(stream_scenes.beep_streams(clips, seed=seed))
    raised = [
        {"clip": stream.name, "event": event.label, "confidence": event.confidence}
        for stream in track(streams, "beeps and ringtones")
        for event in runner.events(stream)
        if event.phase is Phase.START and event.label in alarm_labels
    ]
    return {"n_clips": len(streams), "alarms_raised": raised}


@app.command()
def main(  # noqa: PLR0917 - options of a command line
    bundle: Annotated[Path, typer.Option(help="Bundle to measure.")] = Path("build/demo/bundle"),
    out: Annotated[Path, typer.Option(help="Result.")] = Path("build/bench/streams.json"),
    hours: Annotated[float, typer.Option(help="Audio at home.")] = 2.0,
    events: Annotated[int, typer.Option(help="Events mixed into it.")] = 200,
    n_alarms: Annotated[int, typer.Option(help="Synthetic alarms of each kind.")] = 100,
    fold: Annotated[int | None, typer.Option(help="Events from this held-out fold only.")] = 5,
    seed: Annotated[int, typer.Option(help="Draws the streams.")] = 1,
) -> None:
    """Measure a bundle on streams."""
    loaded = Bundle.load(bundle)
    runner = Runner(loaded, out.parent / "streams-cache")
    found = recordings.manifests()
    reported = [label for label in loaded.params.labels if label.reported]
    material = recordings.sort_material(
        found, [label.name for label in reported], fold=fold, half=1
    )
    with_cadence = [label.name for label in reported if label.cadence is not Cadence.NONE]
    result = {
        "bundle": loaded.info.model_version,
        "front_end": loaded.info.frontend.name,
        "settings": {
            "hours": hours,
            "events": events,
            "alarms": n_alarms,
            "fold": fold,
            "seed": seed,
        },
        "home": home(runner, material, hours, events, seed),
        "alarms": [alarms(runner, material, label, n_alarms, seed) for label in with_cadence],
        "beeps": beeps(runner, found, seed),
        "recorded": {label: recorded(runner, found, label, seed) for label in with_cadence},
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_suffix(".part")
    temporary.write_text(json.dumps(result, indent=1))
    temporary.replace(out)
    _print(result, Console())
    typer.echo(f"wrote {out}")


def _print(result: dict[str, Any], console: Console) -> None:
    table = Table(title=f"{result['home']['hours']:.1f} h at home, {result['bundle']}")
    for column in ("label", "recall", "95 %", "median latency", "false per hour", "95 %"):
        table.add_column(column, justify="left" if column == "label" else "right")
    for row in result["home"]["labels"]:
        recall, latency = row["recall"], row["latency_median_s"]
        table.add_row(
            row["label"],
            "-" if recall is None else f"{row['n_found']}/{row['n_played']}",
            "-" if recall is None else "{:.2f}-{:.2f}".format(*row["recall_interval"]),
            "-" if latency is None else f"{latency:.1f} s",
            f"{row['false_per_hour']:.2f}",
            "{:.2f}-{:.2f}".format(*row["false_per_hour_interval"]),
        )
    console.print(table)
    for row in result["alarms"]:
        console.print(
            f"{row['label']} at 0 dB in rooms: {row['n_found']}/{row['n_played']} found, "
            f"{row['n_in_time']} within {MAX_CYCLES} cycles, {row['n_confused']} confused, "
            f"slowest {row['cycles_max']}"
        )
    raised = result["beeps"]["alarms_raised"]
    console.print(
        f"{result['beeps']['n_clips']} beeps and ringtones, repeated: {len(raised)} alarms"
        + "".join(f"; {row['event']} by {row['clip']}" for row in raised)
    )
    for label, row in itertools.chain.from_iterable(
        ((label, row) for row in rows) for label, rows in result["recorded"].items()
    ):
        console.print(f"recorded {label} {row['clip']}: {'found' if row['found'] else 'MISSED'}")


if __name__ == "__main__":
    app()
