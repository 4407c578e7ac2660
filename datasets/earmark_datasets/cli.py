"""`earmark data`: recordings in, checked, looked at, mixed, synthesised."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from earmark_dsp.errors import EarmarkError
from rich.console import Console
from rich.progress import Progress

from earmark_datasets.importers import LAYOUTS, import_folder
from earmark_datasets.manifest import load_manifest, save_manifest
from earmark_datasets.record_cli import record_command

if TYPE_CHECKING:
    from earmark_datasets.features import ClipFacts
    from earmark_datasets.manifest import Manifest

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Recordings: import, check, look, mix, synthesise.",
)
app.command("record")(record_command)
_notes = Console(stderr=True)

Source = Annotated[Path, typer.Argument(help="A manifest, or a folder in any known layout.")]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable result on stdout.")]


def _open(source: Path) -> Manifest:
    return load_manifest(source) if source.is_file() else import_folder(source)[0]


def _measure(manifest: Manifest) -> list[ClipFacts]:
    from earmark_datasets.features import measure_all

    with Progress(console=_notes, transient=True) as bar:
        task = bar.add_task("listening", total=len(manifest.clips))
        return measure_all(manifest, progress=lambda done, _total: bar.update(task, completed=done))


@app.command("import")
def import_command(
    folder: Annotated[Path, typer.Argument(help="The unpacked collection or your own folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The manifest to write.")],
    layout: Annotated[
        str | None, typer.Option(help=f"One of {', '.join(LAYOUTS)}; recognised if left out.")
    ] = None,
    rename: Annotated[
        list[str] | None, typer.Option(help="OLD=new, or OLD= to leave a label out; repeatable.")
    ] = None,
    folds: Annotated[int | None, typer.Option(help="Assign folds by group.", min=2)] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Write the manifest of a folder of recordings."""
    pairs = dict(_pair(text) for text in rename or [])
    manifest, notes = import_folder(folder, layout=layout, rename=pairs, n_folds=folds)
    out.parent.mkdir(parents=True, exist_ok=True)
    save_manifest(manifest, out)
    if as_json:
        result = {"manifest": str(out), "n_clips": len(manifest.clips), "labels": manifest.labels}
        typer.echo(json.dumps({**result, "notes": notes}))
        return
    for note in notes:
        typer.echo(note)
    typer.echo(f"{out}: {len(manifest.clips)} clips, {len(manifest.labels)} labels")


def _pair(text: str) -> tuple[str, str]:
    old, sign, new = text.partition("=")
    if not sign or not old:
        raise EarmarkError(f"--rename {text!r} is not OLD=new")
    return old, new


@app.command("lint")
def lint_command(source: Source, *, as_json: AsJson = False) -> None:
    """Find what would make a network or its score wrong; exit status 1 if there are errors."""
    from earmark_datasets.lint import lint

    manifest = _open(source)
    findings = lint(manifest, _measure(manifest))
    n_errors = sum(finding.severity == "error" for finding in findings)
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        for finding in findings:
            typer.echo(f"{finding.severity:8} {finding.check}: {finding.message}")
        typer.echo(f"{len(manifest.clips)} clips, {n_errors} errors, {len(findings)} findings")
    raise typer.Exit(1 if n_errors else 0)


@app.command("explore")
def explore_command(
    source: Source,
    out: Annotated[Path, typer.Option("--out", "-o")] = Path("build/explore.html"),
    per_label: Annotated[int, typer.Option(min=1, help="Clips shown of each label.")] = 60,
) -> None:
    """Write one page: spectrograms, players, a map of all clips, suspected mislabels."""
    from earmark_datasets.explore import write_page

    manifest = _open(source)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_page(manifest, _measure(manifest), out, per_label=per_label)
    typer.echo(f"{out}: {out.stat().st_size / 1e6:.1f} MB, opens without a network")


@app.command("synth")
def synth_command(
    kind: Annotated[str, typer.Argument(help="t3 (smoke), t4 (CO), chirp or background.")],
    out: Annotated[Path, typer.Option("--out", "-o")],
    duration_s: Annotated[float, typer.Option(min=0.1)] = 20.0,
    seed: Annotated[int, typer.Option()] = 0,
    *,
    exact: Annotated[bool, typer.Option(help="Nominal timing instead of the tolerance.")] = False,
) -> None:
    """Synthesise an alarm from its standard, a low-battery chirp, or a quiet room."""
    from earmark_datasets import synth
    from earmark_datasets.audio import to_int16, write_wav

    rng = np.random.default_rng(seed)
    if kind in ("t3", "t4"):
        cadence = synth.T3 if kind == "t3" else synth.T4
        signal = 0.5 * synth.alarm(cadence, duration_s, rng, exact=exact)
    elif kind == "chirp":
        signal = 0.5 * synth.low_battery_chirp(duration_s, rng)
    elif kind == "background":
        signal = 0.01 * synth.background(duration_s, rng)
    else:
        raise EarmarkError(f"unknown signal {kind!r}", "one of: t3, t4, chirp, background")
    write_wav(out, to_int16(signal))
    typer.echo(f"{out}: {duration_s:g} s, seed {seed}")


@app.command("mix")
def mix_command(
    source: Source,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="A WAV file; labels go beside it.")],
    n_events: Annotated[int, typer.Option(min=0)] = 10,
    duration_s: Annotated[float, typer.Option(min=1)] = 180.0,
    snr_db: Annotated[tuple[float, float], typer.Option(help="Lowest and highest.")] = (0.0, 20.0),
    background: Annotated[
        str | None, typer.Option(help="Label of the backgrounds; synthesised if left out.")
    ] = None,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Mix a stream with known onsets: a WAV, a CSV of events, an Audacity label track."""
    from earmark_datasets.audio import write_wav
    from earmark_datasets.scene import random_scene

    scene = random_scene(
        _open(source),
        n_events=n_events,
        duration_s=duration_s,
        snr_db=snr_db,
        background_label=background,
        rng=np.random.default_rng(seed),
    )
    write_wav(out, scene.pcm)
    with out.with_suffix(".csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("label", "onset_s", "offset_s", "snr_db", "source"))
        writer.writerows(
            (e.label, f"{e.onset_s:.3f}", f"{e.offset_s:.3f}", f"{e.snr_db:.1f}", e.source)
            for e in scene.events
        )
    lines = [f"{e.onset_s:.3f}\t{e.offset_s:.3f}\t{e.label}\n" for e in scene.events]
    out.with_suffix(".txt").write_text("".join(lines), encoding="utf-8")
    typer.echo(f"{out}: {duration_s:g} s, {len(scene.events)} events")


@app.command("fetch")
def fetch_command(
    what: Annotated[str, typer.Argument(help="esc10 or yamnet.")],
) -> None:
    """Download a public collection or model into the cache; goes on where it stopped."""
    from earmark_datasets.download import fetch_esc10, fetch_yamnet

    fetchers = {"esc10": fetch_esc10, "yamnet": fetch_yamnet}
    if what not in fetchers:
        raise EarmarkError(f"cannot fetch {what!r}", f"one of: {', '.join(fetchers)}")
    with Progress(console=_notes) as bar:
        task = bar.add_task(what, total=None)
        path = fetchers[what](
            lambda done, total: bar.update(task, completed=done, total=total or None)
        )
    typer.echo(path)
