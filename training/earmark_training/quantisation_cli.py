"""`earmark quantize-report`: what int8 costs a bundle, where, and what helps."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from earmark_dsp.errors import EarmarkError
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from earmark_training.deploy.bundle import Bundle
    from earmark_training.quantisation import LayerError
    from earmark_training.quantisation_remedies import Material, Remedy
    from earmark_training.report import Findings

app = typer.Typer(add_completion=False)
N_DRAWS = 4  # times a few hundred augmented windows
N_RECORDED = 512
_UNSEEN_SEED = 1000


@app.command()
def main(
    bundle: Annotated[Path, typer.Argument(help="Bundle directory or .tar, with its model.keras.")],
    *,
    data: Annotated[Path | None, typer.Option(help="Default: the data of the training.")] = None,
    fold: Annotated[int | None, typer.Option(help="Held-out fold; default: as trained.")] = None,
    limit: Annotated[float, typer.Option(help="Points that int8 may lose.")] = 0.5,
    remedies: Annotated[
        bool, typer.Option("--remedies", help="Convert in other ways and measure them.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("-o", help="Write a bundle with the best remedy here.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare float and int8 per label, slice and layer; try other conversions.

    Exits with 2 if int8 loses more than the limit.

    Example: earmark quantize-report build/demo/bundle --remedies
    """
    from earmark_training.demo.ui import Ui
    from earmark_training.deploy.bundle import Bundle
    from earmark_training.report import Findings
    from earmark_training.report_cli import measure
    from earmark_training.report_measure import FLOAT

    console = Console(stderr=as_json)
    ui = Ui(console)
    loaded = Bundle.load(bundle)
    findings = Findings(loaded)
    measure(findings, data, fold, ui)
    if findings.clips is None or FLOAT not in findings.clips.arithmetics:
        raise EarmarkError(
            f"{bundle}: held-out clips or model.keras are missing: float is not at hand",
            "train again with this version, or name clips with --data and --fold",
        )
    tried = _try(loaded, data, fold, ui) if remedies or out is not None else []
    if as_json:
        typer.echo(json.dumps(_json(findings, tried), indent=2))
    else:
        _print(findings, tried, limit, console)
    if out is not None:
        _apply(loaded, tried, out, console)
    if findings.clips.slices()[0].lost_points > limit:
        raise typer.Exit(2)


def _try(bundle: Bundle, data: Path | None, fold: int | None, ui: Any) -> list[Remedy]:
    from earmark_training.deploy.bundle_training import load_float
    from earmark_training.quantisation_remedies import try_remedies

    with ui.step("Training windows"):
        material = training_material(bundle, data, fold)
    with ui.step("Converting in other ways") as step:
        return try_remedies(
            load_float(bundle),
            bundle.tflite,
            material,
            bundle.spec,
            progress=step.update,
        )


def training_material(bundle: Bundle, data: Path | None, fold: int | None) -> Material:
    """Return windows of the training clips: some to convert with, others to choose by."""
    from earmark_training import workflow
    from earmark_training.deploy.bundle_training import recipe_of
    from earmark_training.quantisation_remedies import Material
    from earmark_training.report_cli import split_of
    from earmark_training.report_measure import clip_windows

    clips, _, _ = split_of(bundle, data, fold)
    recipe = recipe_of(bundle)

    def draw(seed: int) -> np.ndarray:
        return workflow.representative_windows(
            clips, bundle.info.class_names, bundle.spec, dataclasses.replace(recipe, seed=seed)
        )

    return Material(
        augmented=np.concatenate([draw(recipe.seed + i) for i in range(N_DRAWS)]),
        recorded=clip_windows(bundle, clips, N_RECORDED),
        unseen=draw(recipe.seed + _UNSEEN_SEED),
    )


def _apply(bundle: Bundle, tried: list[Remedy], out: Path, console: Console) -> None:
    from earmark_training.deploy.bundle import rewrite_bundle
    from earmark_training.quantisation_remedies import best

    chosen = best(tried)
    rewrite_bundle(bundle, out, tflite_model=chosen.tflite)
    console.print(f"wrote {out} ({chosen.name})", highlight=False)


def _json(findings: Findings, tried: list[Remedy]) -> dict[str, Any]:
    clips = findings.clips
    assert clips is not None  # noqa: S101 - checked by the caller
    return {
        "slices": [
            {"kind": part.kind, "name": part.name, "n": part.n, "right": part.right}
            for part in clips.slices()
        ],
        "layers": [
            {k: (None if v == float("inf") else v) for k, v in dataclasses.asdict(layer).items()}
            for layer in findings.layers
        ],
        "remedies": [
            {
                "name": remedy.name,
                "what": remedy.what,
                "n_bytes": len(remedy.tflite),
                "score_error": remedy.score_error if remedy.tflite else None,
                "deployable": remedy.deployable,
            }
            for remedy in tried
        ],
    }


def _print(findings: Findings, tried: list[Remedy], limit: float, console: Console) -> None:
    from earmark_training.report_clips import verdict
    from earmark_training.report_html import percent
    from earmark_training.report_measure import FLOAT, C

    clips = findings.clips
    assert clips is not None  # noqa: S101 - checked by the caller
    table = Table(title=clips.data)
    for heading in ("", "slice", "clips", "float", "int8", "points"):
        table.add_column(heading, justify="left" if heading in ("", "slice") else "right")
    for part in clips.slices():
        lost = 0.0 - part.lost_points
        style = "red" if -lost > limit else None
        accuracies = (percent(part.accuracy(a)) for a in (FLOAT, C))
        table.add_row(part.kind, part.name, str(part.n), *accuracies, f"{lost:+.1f}", style=style)
    console.print(table)
    if findings.layers:
        _print_layers(findings.layers, console)
    console.print(verdict(clips, limit), highlight=False)
    if tried:
        _print_remedies(tried, console)


def _print_layers(found: list[LayerError], console: Console) -> None:
    from earmark_training.report_clips import worst_layer
    from earmark_training.report_html import number

    layers = Table(title="int8 against float, layer by layer")
    for heading in ("layer", "SQNR dB", "change dB", "codes used", "clipped"):
        layers.add_column(heading, justify="left" if heading == "layer" else "right")
    worst = worst_layer(found)
    for layer in found:
        layers.add_row(
            layer.name,
            number(layer.sqnr_db, ".1f"),
            f"{0.0 - layer.lost_db:+.1f}",
            f"{layer.used:.0%}",
            f"{layer.saturated:.2%}",
            style="bold yellow" if layer is worst else None,
        )
    console.print(layers)
    console.print(f"Most is lost in {worst.name}.", highlight=False)


def _print_remedies(tried: list[Remedy], console: Console) -> None:
    from earmark_training.quantisation_remedies import best

    chosen = best(tried)
    table = Table(title="other conversions (score error: on training windows unseen by them)")
    for heading in ("conversion", "bytes", "score error", "what"):
        table.add_column(
            heading, justify="right" if heading in ("bytes", "score error") else "left"
        )
    for remedy in tried:
        table.add_row(
            remedy.name,
            f"{len(remedy.tflite):,}" if remedy.tflite else "-",
            f"{remedy.score_error:.4f}" if remedy.tflite else "-",
            remedy.what,
            style="bold green" if remedy is chosen else None,
        )
    console.print(table)
