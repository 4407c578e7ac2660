"""`earmark evaluate`: a bundle against held-out clips."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - typer reads annotations
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(add_completion=False, help="Score a bundle on held-out clips.")


@app.command()
def evaluate_command(
    bundle_path: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder or .tar.")],
    data: Annotated[Path, typer.Argument(help="manifest.csv, its folder, or ESC-10.")],
    *,
    test_fold: Annotated[int, typer.Option(help="The fold to score.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Score a bundle's int8 network under TFLM and as C; both must give the same integers.

    Example: earmark evaluate build/demo/bundle ESC-10 --test-fold 5
    """
    from earmark_datasets.sources import open_data

    from earmark_training.demo.ui import Ui
    from earmark_training.deploy.bundle import Bundle
    from earmark_training.evaluate import evaluate_bundle

    ui = Ui(Console(stderr=as_json))
    bundle = Bundle.load(bundle_path)
    _, test_clips = open_data(data).split(test_fold)
    with ui.step(f"Scoring {len(test_clips.clips)} clips") as step:
        scores = evaluate_bundle(
            bundle,
            test_clips,
            progress=lambda n, total: step.update(n, total, f"clip {n}/{total}"),
        )
    if as_json:
        figures = {
            "test_fold": test_fold,
            "n_test_clips": len(test_clips.clips),
            "accuracy_int8_tflm": scores.int8_tflm.accuracy,
            "accuracy_c": scores.c.accuracy,
            "n_identical_windows": scores.n_windows,
            "labels": list(bundle.info.class_names),
            "confusion": scores.c.confusion.tolist(),
        }
        typer.echo(json.dumps(figures, indent=2))
        return
    table = Table(
        title=f"fold {test_fold}: {scores.c.accuracy:.1%} of {len(test_clips.clips)} clips"
    )
    for heading in ("label", "clips", "right", "mostly heard as"):
        table.add_column(heading)
    for index, label in enumerate(bundle.info.class_names):
        row = scores.c.confusion[index]
        if row.sum():
            wrong = row.copy()
            wrong[index] = 0
            heard = bundle.info.class_names[wrong.argmax()] if wrong.any() else ""
            table.add_row(label, str(row.sum()), f"{row[index] / row.sum():.0%}", heard)
    ui.console.print(table)
