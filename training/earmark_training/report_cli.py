"""`earmark report`: one page and a model card for a bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from earmark_dsp.errors import EarmarkError
from rich.console import Console

if TYPE_CHECKING:
    from earmark_datasets.manifest import Manifest

    from earmark_training.deploy.bundle import Bundle
    from earmark_training.deploy.estimate import Estimate
    from earmark_training.report import Findings

app = typer.Typer(add_completion=False)
N_LAYER_WINDOWS = 64


@app.command()
def main(  # noqa: PLR0917 - typer passes them by name
    bundle: Annotated[Path, typer.Argument(help="Bundle directory or .tar.")],
    out: Annotated[Path, typer.Option("-o", help="Directory to write.")] = Path("build/report"),
    data: Annotated[
        Path | None, typer.Option(help="Held-out clips; default: the data of the training.")
    ] = None,
    fold: Annotated[
        int | None, typer.Option(help="Held-out fold; default: the one of the training.")
    ] = None,
    streams: Annotated[Path | None, typer.Option(help="Result of the stream benchmark.")] = None,
    execute: Annotated[  # noqa: FBT002 - an option
        bool, typer.Option(help="Count instructions on the emulated chip.")
    ] = True,
) -> None:
    """Write report.html (one self-contained file) and model_card.md for a bundle.

    Example: earmark report build/demo/bundle --streams build/bench/streams.json
    """
    from earmark_training import report
    from earmark_training.demo.ui import Ui
    from earmark_training.deploy.bundle import Bundle

    ui = Ui(Console(stderr=True))
    loaded = Bundle.load(bundle)
    findings = report.Findings(loaded)
    if streams is not None:
        findings.streams = _read_streams(streams, loaded)
    measure(findings, data, fold, ui)
    with ui.step("Cost on the chip"):
        findings.estimate = _estimate(loaded, execute=execute)
    with ui.step("Page"):
        files = {
            "report.html": report.html_page(findings),
            "model_card.md": report.model_card(findings),
        }
    out.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        temporary = out / f"{name}.part"
        temporary.write_text(content, encoding="utf-8")
        temporary.replace(out / name)
    typer.echo(f"wrote {out / 'report.html'} and {out / 'model_card.md'}")


def measure(findings: Findings, data: Path | None, fold: int | None, ui: Any) -> None:
    """Score the held-out clips and compare the layers, as far as data and float network are here.

    Raises
    ------
    EarmarkError
        If `data` was asked for and cannot be scored.
    """
    from earmark_training.deploy.bundle_training import load_float
    from earmark_training.quantisation import float_tflite, layer_errors
    from earmark_training.quiet import import_tensorflow
    from earmark_training.report_measure import clip_windows, measure_clips

    bundle = findings.bundle
    try:
        clips, name = held_out(bundle, data, fold)
    except EarmarkError as exc:
        if data is not None:
            raise
        ui.say(f"no held-out clips: {exc.what}")
        return
    import_tensorflow()
    try:
        float_model = load_float(bundle)
    except EarmarkError as exc:
        ui.say(f"no float network: {exc.what}")
        float_model = None
    with ui.step(f"Scoring {len(clips.clips)} clips, also in noise") as step:
        findings.clips = measure_clips(
            bundle,
            clips,
            data=name,
            float_model=float_model,
            progress=lambda n, total: step.update(n, total, f"clip {n}/{total}"),
        )
    if float_model is not None:
        with ui.step("Comparing layers, float and int8"):
            windows = clip_windows(bundle, clips, N_LAYER_WINDOWS)
            try:
                findings.layers = layer_errors(
                    float_tflite(float_model), bundle.tflite, windows, bundle.spec
                )
            except EarmarkError as exc:
                ui.say(f"no comparison of layers: {exc.what}")


def held_out(bundle: Bundle, data: Path | None, fold: int | None) -> tuple[Manifest, str]:
    """Return the clips that the training did not see, and what to call them.

    Clips of labels that the network does not have are left out, and counted in the name.

    Raises
    ------
    EarmarkError
        If there are none, or the bundle does not say which fold was held out.
    """
    from earmark_datasets.manifest import Manifest

    from earmark_training.report_html import place

    _, clips, path = split_of(bundle, data, fold)
    known = (bundle.info.metrics.get("training") or {}).get("test_fold")
    chosen = fold if fold is not None else known
    seen = "" if known in (None, chosen) else f" (trained with fold {known} held out)"
    names = bundle.info.class_names
    known_clips = tuple(clip for clip in clips.clips if clip.label in names)
    if not known_clips:
        raise EarmarkError(
            f"the network has none of the labels {', '.join(clips.labels)}",
            f"its labels are {', '.join(names)}",
        )
    n_others = len(clips.clips) - len(known_clips)
    others = f" ({n_others} clips of other labels left out)" if n_others else ""
    return Manifest(known_clips), f"{place(path)}, fold {chosen}{seen}{others}"


def split_of(
    bundle: Bundle, data: Path | None, fold: int | None
) -> tuple[Manifest, Manifest, Path]:
    """Return (training clips, held-out clips, where the data is); see `held_out`."""
    from earmark_datasets.sources import open_data

    record = bundle.info.metrics.get("training") or {}
    if data is None and "data" not in record:
        raise EarmarkError(
            "the bundle does not say what it was trained on", "name clips with --data and --fold"
        )
    path = data if data is not None else Path(record["data"])
    known = record.get("test_fold")
    chosen = fold if fold is not None else known
    if chosen is None:
        raise EarmarkError("the bundle does not say which fold was held out", "name it with --fold")
    training, clips = open_data(path).split(chosen)
    return training, clips, path


def _estimate(bundle: Bundle, *, execute: bool) -> Estimate:
    """Cost on the chip: executed where the emulator's tools are, otherwise sizes only."""
    from earmark_training.deploy.estimate import estimate, target

    chip = target("esp32-pico")
    name = bundle.info.model_version
    try:
        return estimate(bundle.tflite, name=name, chip=chip, execute=execute)
    except EarmarkError as exc:
        typer.echo(f"note: {exc.what}: no instruction counts in the report", err=True)
        return estimate(bundle.tflite, name=name, chip=chip, execute=False)


def _read_streams(path: Path, bundle: Bundle) -> dict[str, Any]:
    try:
        result: dict[str, Any] = json.loads(path.read_text())
        measured = result["bundle"]
    except (OSError, ValueError, KeyError) as exc:
        raise EarmarkError(
            f"{path}: {exc}", "run python -m earmark_training.bench.streams first"
        ) from exc
    if measured != bundle.info.model_version:
        raise EarmarkError(
            f"{path} was measured with {measured}, the bundle is {bundle.info.model_version}",
            "measure this bundle",
        )
    return result
