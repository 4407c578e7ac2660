"""`earmark train`: recordings in, bundle out."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - typer reads annotations
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(help="Train a preset and write a model bundle.")


@app.command()
def train_command(
    data: Annotated[Path, typer.Argument(help="manifest.csv, its folder, or ESC-10.")],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The bundle's folder.")],
    test_fold: Annotated[int, typer.Option(help="Held out; only scored at the end.")] = 5,
    preset: Annotated[str, typer.Option(help="Network.")] = "tiny",
    model: Annotated[
        Path | None, typer.Option(help="Your own network: a .py file with build(shape, n_classes).")
    ] = None,
    spec: Annotated[
        str | None, typer.Option(help="Front end: a name or .toml; else the preset's.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Length of the schedule; else the preset's.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same weights.")] = 1,
    inner_fold: Annotated[
        int | None, typer.Option(help="A training fold to leave out and stop early on.")
    ] = None,
    log_dir: Annotated[Path | None, typer.Option(help="Write TensorBoard logs there.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train, quantise to int8, write the bundle and score it on the held-out fold.

    Interrupt it at any time; the same command goes on where it stopped.

    Example: earmark train ESC-10 --out build/my-bundle --preset yamnet-256
    """
    from earmark_datasets.sources import open_data
    from earmark_dsp.errors import EarmarkError
    from earmark_dsp.spec import load_spec

    from earmark_training import networks, workflow
    from earmark_training.demo.ui import Ui
    from earmark_training.evaluate import evaluate_bundle
    from earmark_training.quantize import quantize
    from earmark_training.quiet import import_tensorflow
    from earmark_training.train import recipe_for, train

    ui = Ui(Console(stderr=as_json))
    manifest = open_data(data)
    train_clips, test_clips = manifest.split(test_fold)
    name = str(model) if model else preset
    if not model and preset not in networks.PRESETS:
        raise EarmarkError(
            f"there is no preset {preset!r}", f"choose one of {', '.join(networks.PRESETS)}"
        )
    front_end = load_spec(
        spec or (workflow.SPEC_NAME if model else networks.PRESETS[preset].spec_name)
    )
    import_tensorflow()
    recipe = recipe_for(name, seed=seed, **({} if epochs is None else {"epochs": epochs}))
    with ui.step(f"Training on {len(train_clips.clips)} clips") as step:
        result = train(
            train_clips,
            spec=front_end,
            recipe=recipe,
            work_dir=out.with_name(out.name + ".checkpoints"),
            log_dir=log_dir,
            inner_fold=inner_fold,
            progress=lambda epoch, total, loss: step.update(
                epoch, total, f"epoch {epoch}/{total}, loss {loss:.2f}"
            ),
        )
    with ui.step("Quantising to int8, writing the bundle"):
        windows = workflow.representative_windows(train_clips, result.labels, front_end, recipe)
        bundle = workflow.bundle_from(
            out,
            tflite=quantize(result.model, windows, front_end),
            spec=front_end,
            result=result,
            data_name=str(data),
            clips=manifest,
            name=out.name,
            test_fold=test_fold,
            recipe=recipe,
        )
    with ui.step(f"Scoring {len(test_clips.clips)} held-out clips") as step:
        scores = evaluate_bundle(
            bundle,
            test_clips,
            float_model=result.model,
            progress=lambda n, total: step.update(n, total, f"clip {n}/{total}"),
        )
    figures = {
        "bundle": str(out),
        "model_version": bundle.info.model_version,
        "test_fold": test_fold,
        "n_test_clips": len(test_clips.clips),
        "accuracy_float": scores.float32.accuracy if scores.float32 else None,
        "accuracy_int8_tflm": scores.int8_tflm.accuracy,
        "accuracy_c": scores.c.accuracy,
        "model_bytes": len(bundle.tflite),
    }
    if as_json:
        typer.echo(json.dumps(figures, indent=2))
        return
    ui.console.print(
        f"{out}: {len(bundle.tflite) / 1000:.0f} kB, fold {test_fold}: float "
        f"{figures['accuracy_float']:.1%}, int8 {scores.int8_tflm.accuracy:.1%}, "
        f"C {scores.c.accuracy:.1%}"
    )
