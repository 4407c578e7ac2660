"""`earmark compare`: what differs between two bundles."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from earmark_training.deploy.bundle import Bundle
    from earmark_training.report_measure import ClipFindings

app = typer.Typer(add_completion=False)


@app.command()
def main(
    first: Annotated[Path, typer.Argument(help="Bundle A.")],
    second: Annotated[Path, typer.Argument(help="Bundle B.")],
    data: Annotated[Path | None, typer.Option(help="Score both on clips of this data.")] = None,
    fold: Annotated[int | None, typer.Option(help="Fold that neither has seen.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,  # noqa: FBT002
) -> None:
    """Show what differs between two bundles: front end, size, labels, thresholds, figures.

    Example: earmark compare build/demo/bundle build/calibrated --data ESC-10
    """
    from rich.table import Table

    from earmark_training.deploy.bundle import Bundle

    bundles = [Bundle.load(path) for path in (first, second)]
    columns = [facts(bundle) for bundle in bundles]
    console = Console(stderr=as_json)
    if data is not None:
        scored = [_score(bundle, data, fold, console) for bundle in bundles]
        for i, clips in enumerate(scored):
            columns[i] |= clip_facts(clips) | head_to_head(clips, scored[1 - i])
    a, b = columns
    rows = [(key, a.get(key), b.get(key)) for key in [*a, *(k for k in b if k not in a)]]
    if as_json:
        typer.echo(json.dumps({key: [left, right] for key, left, right in rows}))
        return
    table = Table(title=f"{first}  |  {second}")
    for heading in ("", "A", "B"):
        table.add_column(heading)
    for key, left, right in rows:
        style = None if left == right else "bold yellow"
        table.add_row(key, *(_shown(value) for value in (left, right)), style=style)
    console.print(table)


def _shown(value: object) -> str:
    return "-" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


def facts(bundle: Bundle) -> dict[str, object]:
    """Return what a bundle says about itself, by name."""
    info = bundle.info
    record = info.metrics.get("training") or {}
    recipe = record.get("recipe") or {}
    found: dict[str, object] = {
        "version": info.model_version,
        "front end": f"{info.frontend.name} {info.frontend.hash}",
        "model bytes": info.model.n_bytes,
        "arena bytes (C)": info.model.arena_bytes,
        "window": "x".join(map(str, info.model.input_shape)),
        "inference every": f"{bundle.hop_s:.2f} s",
        "classes": len(info.class_names),
        "trained on": record.get("data"),
        "sounds to ignore": record.get("background"),
        "held-out fold": record.get("test_fold"),
        "preset": recipe.get("preset"),
        "epochs": recipe.get("epochs"),
        "last training loss": (record.get("losses") or [None])[-1],
        "licences": ", ".join(sorted({source.licence for source in info.data})) or None,
    }
    calibrated = info.metrics.get("calibration", {}).get("labels", {})
    for label in bundle.params.labels:
        if not label.reported:
            continue
        found[f"{label.name}: threshold"] = label.threshold_permille / 1000
        entry = calibrated.get(label.name, {"curve": []})
        for point in entry["curve"]:
            if point["threshold_permille"] == entry["chosen_permille"]:
                found[f"{label.name}: recall"] = point["recall"]
                found[f"{label.name}: false per 24 h"] = point["false_per_24h"]
    return found


def _score(bundle: Bundle, data: Path, fold: int | None, console: Console) -> ClipFindings:
    from earmark_training.demo.ui import Ui
    from earmark_training.report_cli import held_out
    from earmark_training.report_measure import measure_clips

    clips, name = held_out(bundle, data, fold)
    with Ui(console).step(f"Scoring {bundle.info.model_version}") as step:
        return measure_clips(
            bundle,
            clips,
            data=name,
            progress=lambda n, total: step.update(n, total, f"clip {n}/{total}"),
        )


def clip_facts(clips: ClipFindings) -> dict[str, object]:
    """Return the accuracy of the C code per slice."""
    from earmark_training.report_measure import C

    found: dict[str, object] = {"clips": clips.data}
    for part in clips.slices():
        name = part.name if part.kind == "all" else f"{part.kind} {part.name}"
        found[f"right, {name}"] = f"{part.right[C]}/{part.n}"
    return found


def head_to_head(own: ClipFindings, other: ClipFindings) -> dict[str, object]:
    """Return on how many of the same clips only this bundle is right (McNemar's discordant)."""
    from earmark_training.report_measure import AS_RECORDED, C

    def right(clips: ClipFindings) -> dict[Path, bool]:
        return {
            h.clip.path: clips.class_names[h.voted(C)] == h.clip.label
            for h in clips.under(AS_RECORDED)
        }

    mine, theirs = right(own), right(other)
    only = sum(mine[path] and not theirs[path] for path in mine.keys() & theirs.keys())
    return {"only this one is right": f"{only} of {len(mine.keys() & theirs.keys())} clips"}
