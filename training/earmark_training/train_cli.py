"""`earmark train`: recordings in, bundle out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - typer reads annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    import numpy as np
    from earmark_datasets.manifest import Manifest
    from earmark_dsp.spec import FrontEndSpec

    from earmark_training.demo.ui import Ui
    from earmark_training.detector import DetectorParams
    from earmark_training.train import Recipe, TrainResult

app = typer.Typer(add_completion=False, help="Train a preset and write a model bundle.")


@dataclass(frozen=True)
class _Network:
    """A float network, ready to be quantised.

    Attributes
    ----------
    result : TrainResult
    windows : ndarray [shape=(n, context_frames, n_features), dtype=int8]
        To calibrate activations with.
    recipe : Recipe or None
        None if nothing was trained.
    detector : DetectorParams or None
        None: those of a network trained on mixtures.
    """

    result: TrainResult
    windows: np.ndarray
    recipe: Recipe | None = None
    detector: DetectorParams | None = None


@app.command()
def train_command(
    data: Annotated[Path, typer.Argument(help="manifest.csv, its folder, or ESC-10.")],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The bundle's folder.")],
    background: Annotated[
        Path | None,
        typer.Option(help="Sounds to ignore: a manifest.csv, its folder, or home-sounds."),
    ] = None,
    test_fold: Annotated[int, typer.Option(help="Held out; only scored at the end.")] = 5,
    preset: Annotated[
        str,
        typer.Option(help="tiny, tiny-distilled, yamnet-256, yamnet-512, yamnet-1024, yamnet-521."),
    ] = "tiny",
    model: Annotated[
        Path | None, typer.Option(help="Your own network: a .py file with build(shape, n_classes).")
    ] = None,
    label_map: Annotated[
        Path | None, typer.Option(help="yamnet-521: your own labels as sets of AudioSet classes.")
    ] = None,
    spec: Annotated[
        str | None, typer.Option(help="Front end: a name or .toml; else the preset's.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Length of the schedule; else the preset's.")
    ] = None,
    hop_frames: Annotated[
        int | None, typer.Option(min=1, help="Rows between inferences; else half a window.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same weights.")] = 1,
    inner_fold: Annotated[
        int | None, typer.Option(help="A training fold to leave out and stop early on.")
    ] = None,
    log_dir: Annotated[Path | None, typer.Option(help="Write TensorBoard logs there.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train, quantise to int8, write the bundle and score it on the held-out fold.

    Interrupt it at any time; the same command goes on where it stopped. The preset yamnet-521 is
    not trained: DATA calibrates its integers and scores the labels that both know.

    Example: earmark train ESC-10 --out build/my-bundle --preset yamnet-256
    """
    from earmark_datasets.sources import open_data
    from earmark_dsp.errors import EarmarkError
    from earmark_dsp.spec import load_spec

    from earmark_training import networks, recordings, workflow, yamnet521
    from earmark_training.demo.ui import Ui
    from earmark_training.quantize import quantize
    from earmark_training.quiet import import_tensorflow
    from earmark_training.train import recipe_for

    ui = Ui(Console(stderr=as_json))
    manifest = open_data(data)
    train_clips, test_clips = manifest.split(test_fold)
    untrained = preset == yamnet521.NAME and model is None
    name = str(model) if model else preset
    front_end = load_spec(spec or ("yamnet-64" if untrained else networks.spec_of(name)))
    import_tensorflow()
    ignored = None
    if background and untrained:
        raise EarmarkError(f"{preset} is not trained", "leave --background away")
    if background:
        ignored = recordings.open_background(
            background, manifest, leave_out={test_fold, inner_fold} - {None}
        )
        train_clips = ignored.added_to(train_clips)
    if untrained:
        network = _untrained(train_clips, front_end, label_map, ui)
        test_clips = yamnet521.known_clips(test_clips, network.result.labels)
    else:
        recipe = recipe_for(name, seed=seed, **({} if epochs is None else {"epochs": epochs}))
        network = _trained(
            train_clips,
            front_end,
            recipe,
            ui,
            work_dir=out.with_name(out.name + ".checkpoints"),
            log_dir=log_dir,
            inner_fold=inner_fold,
        )
    detector = network.detector
    if hop_frames is not None and not untrained:
        detector = workflow.mixture_detector(network.result.labels, front_end, hop_frames)
    with ui.step("Quantising to int8, writing the bundle"):
        bundle = workflow.bundle_from(
            out,
            tflite=quantize(network.result.model, network.windows, front_end),
            spec=front_end,
            result=network.result,
            data_name=str(data),
            clips=manifest,
            name=out.name,
            test_fold=test_fold,
            recipe=network.recipe,
            detector=detector,
            background=ignored,
        )
    figures = {
        "bundle": str(out),
        "model_version": bundle.info.model_version,
        "test_fold": test_fold,
        **_score(bundle, test_clips, network.result.model, ui),
        "model_bytes": len(bundle.tflite),
    }
    if as_json:
        typer.echo(json.dumps(figures, indent=2))
        return
    ui.console.print(
        f"{out}: {len(bundle.tflite) / 1000:.0f} kB, fold {test_fold}, "
        f"{figures['n_test_clips']} clips: float {figures['accuracy_float']:.1%}, "
        f"int8 {figures['accuracy_int8_tflm']:.1%}, C {figures['accuracy_c']:.1%}"
    )


def _trained(
    clips: Manifest,
    spec: FrontEndSpec,
    recipe: Recipe,
    ui: Ui,
    *,
    work_dir: Path,
    log_dir: Path | None,
    inner_fold: int | None,
) -> _Network:
    from earmark_training import workflow
    from earmark_training.train import train

    with ui.step(f"Training on {len(clips.clips)} clips") as step:
        result = train(
            clips,
            spec=spec,
            recipe=recipe,
            work_dir=work_dir,
            log_dir=log_dir,
            inner_fold=inner_fold,
            progress=lambda epoch, total, loss: step.update(
                epoch, total, f"epoch {epoch}/{total}, loss {loss:.2f}"
            ),
        )
    windows = workflow.representative_windows(clips, result.labels, spec, recipe)
    return _Network(result, windows, recipe)


def _untrained(clips: Manifest, spec: FrontEndSpec, label_map: Path | None, ui: Ui) -> _Network:
    from earmark_training import yamnet, yamnet521
    from earmark_training.train import TrainResult

    with ui.step("YAMNet as it is"):
        classes = yamnet521.read_label_map(label_map or yamnet521.LABEL_MAP, yamnet.class_names())
        result = TrainResult(yamnet521.build(classes), tuple(classes), ())
        return _Network(
            result,
            yamnet521.plain_windows(clips, spec),
            detector=yamnet521.detector(result.labels, spec),
        )


def _score(bundle: Any, clips: Manifest, model: Any, ui: Ui) -> dict[str, Any]:
    from earmark_training.evaluate import TFLM_SAMPLE, TFLM_SLOW_BYTES, evaluate_bundle

    with ui.step(f"Scoring {len(clips.clips)} held-out clips") as step:
        scores = evaluate_bundle(
            bundle,
            clips,
            float_model=model,
            progress=lambda n, total: step.update(n, total, f"clip {n}/{total}"),
            tflm_windows=TFLM_SAMPLE if len(bundle.tflite) > TFLM_SLOW_BYTES else None,
        )
    return {
        "n_test_clips": len(clips.clips),
        "accuracy_float": scores.float32.accuracy if scores.float32 else None,
        "accuracy_int8_tflm": scores.int8_tflm.accuracy,
        "accuracy_c": scores.c.accuracy,
    }
