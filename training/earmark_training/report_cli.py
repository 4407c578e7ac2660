"""`earmark report` and `earmark compare`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from earmark_dsp.errors import EarmarkError

if TYPE_CHECKING:
    from earmark_datasets.manifest import Manifest

    from earmark_training.deploy.bundle import Bundle
    from earmark_training.deploy.estimate import Estimate
    from earmark_training.report import Findings, HardClip

app = typer.Typer(add_completion=False)
compare_app = typer.Typer(add_completion=False)
N_HARDEST = 8
SLICE_SNRS_DB = (20.0, 10.0, 0.0)


@app.command()
def main(
    bundle: Annotated[Path, typer.Argument(help="Bundle directory or .tar.")],
    out: Annotated[Path, typer.Option("-o", help="Directory to write.")] = Path("build/report"),
    fold: Annotated[int, typer.Option(help="Held-out fold of ESC-10.")] = 5,
    streams: Annotated[Path | None, typer.Option(help="Result of the stream benchmark.")] = None,
) -> None:
    """Write report.html (one self-contained file) and model_card.md for a bundle.

    Example: earmark report build/demo/bundle --streams build/bench/streams.json
    """
    from earmark_training import report
    from earmark_training.deploy.bundle import Bundle

    loaded = Bundle.load(bundle)
    findings = report.Findings(loaded, losses=loaded.info.metrics.get("losses", ()))
    if streams is not None:
        findings.streams = _read_streams(streams, loaded)
    _measure_clips(findings, fold)
    findings.estimate = _estimate(loaded)
    out.mkdir(parents=True, exist_ok=True)
    for name, text in (
        ("report.html", report.html_page(findings)),
        ("model_card.md", report.model_card(findings)),
    ):
        temporary = out / f"{name}.part"
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(out / name)
    typer.echo(f"wrote {out / 'report.html'} and {out / 'model_card.md'}")


def _estimate(bundle: Bundle) -> Estimate:
    """Cost on the chip: executed where the emulator's tools are, otherwise sizes only."""
    from earmark_training.deploy.estimate import estimate, target

    chip = target("esp32-pico")
    try:
        return estimate(bundle.tflite, name=bundle.info.model_version, chip=chip)
    except EarmarkError as exc:
        typer.echo(f"note: {exc.what}: no instruction counts in the report", err=True)
        return estimate(bundle.tflite, name=bundle.info.model_version, chip=chip, execute=False)


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


def _measure_clips(findings: Findings, fold: int) -> None:
    """Score the held-out fold of ESC-10, if it is here and the labels are the bundle's."""
    from earmark_datasets.esc import load_esc10
    from earmark_datasets.locate import find_dataset

    from earmark_training.evaluate import evaluate_bundle

    root = find_dataset("ESC-10")
    if root is None:
        return
    _, clips = load_esc10(root).split(fold)
    if set(clips.labels) - set(findings.bundle.info.class_names):
        return
    findings.fold = fold
    findings.scores = evaluate_bundle(findings.bundle, clips)
    findings.tflm_arena_bytes = findings.scores.tflm_arena_bytes
    _slices_and_hardest(findings, clips)


def _slices_and_hardest(findings: Findings, clips: Manifest) -> None:
    from earmark_datasets.audio import read_pcm_cached, to_int16
    from earmark_datasets.synth import coloured_noise

    bundle = findings.bundle
    network = bundle.network()
    rng = np.random.default_rng(0)
    audio = [read_pcm_cached(clip.path, sample_rate_hz=16_000) for clip in clips.clips]
    for snr_db in (None, *SLICE_SNRS_DB):
        results = []
        for clip, pcm in zip(clips.clips, audio, strict=True):
            heard = pcm
            if snr_db is not None:
                samples = pcm / 32768
                noise = coloured_noise(len(samples), 1.0, rng)
                level = np.sqrt(np.mean(samples**2) / np.mean(noise**2)) * 10 ** (-snr_db / 20)
                heard = to_int16(samples + noise * level)
            results.append(_judge(bundle, network, clip.label, heard, clip.path.stem))
        name = "clean" if snr_db is None else f"pink noise, {snr_db:.0f} dB SNR"
        right = float(np.mean([result.margin > 0 for result in results]))
        findings.slices.append((name, len(results), right))
        if snr_db is None:
            findings.hardest = sorted(results, key=lambda r: r.margin)[:N_HARDEST]


def _judge(bundle: Bundle, network: Any, label: str, pcm: np.ndarray, name: str) -> HardClip:
    from earmark_training.report import HardClip
    from earmark_training.stream import trace_stream
    from earmark_training.windows import BACKGROUND

    names = bundle.info.class_names
    trace = trace_stream(bundle.spec, network, pcm, hop_frames=bundle.hop_frames)
    votes = (trace.scores.astype(np.int64) + 128).sum(axis=0).astype(float)
    if BACKGROUND in names:
        votes[names.index(BACKGROUND)] = 0
    votes /= max(1.0, votes.sum())
    truth = names.index(label)
    others = np.delete(votes, truth)
    return HardClip(
        label, names[int(votes.argmax())], float(votes[truth] - others.max()), name, pcm
    )


@compare_app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="Bundle A.")],
    second: Annotated[Path, typer.Argument(help="Bundle B.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,  # noqa: FBT002
) -> None:
    """Show what differs between two bundles: front end, size, labels, thresholds, figures.

    Example: earmark compare build/demo/bundle build/calibrated
    """
    from rich.console import Console
    from rich.table import Table

    from earmark_training.deploy.bundle import Bundle

    a, b = (_facts(Bundle.load(path)) for path in (first, second))
    rows = [(key, a.get(key), b.get(key)) for key in [*a, *(k for k in b if k not in a)]]
    if as_json:
        typer.echo(json.dumps({key: [left, right] for key, left, right in rows}))
        return
    table = Table(title=f"{first}  |  {second}")
    for column in ("", "A", "B"):
        table.add_column(column)
    for key, left, right in rows:
        style = None if left == right else "bold yellow"
        shown = ("-" if value is None else str(value) for value in (left, right))
        table.add_row(key, *shown, style=style)
    Console().print(table)


def _facts(bundle: Bundle) -> dict[str, object]:
    info = bundle.info
    facts: dict[str, object] = {
        "version": info.model_version,
        "front end": f"{info.frontend.name} {info.frontend.hash}",
        "model bytes": info.model.n_bytes,
        "arena bytes (C)": info.model.arena_bytes,
        "window": "x".join(map(str, info.model.input_shape)),
        "inference every": f"{bundle.hop_s:.2f} s",
        "classes": len(info.class_names),
    }
    calibrated = info.metrics.get("calibration", {}).get("labels", {})
    for label in bundle.params.labels:
        if not label.reported:
            continue
        facts[f"{label.name}: threshold"] = label.threshold_permille / 1000
        entry = calibrated.get(label.name, {"curve": []})
        for point in entry["curve"]:
            if point["threshold_permille"] == entry["chosen_permille"]:
                facts[f"{label.name}: recall"] = point["recall"]
                facts[f"{label.name}: false per 24 h"] = point["false_per_24h"]
    return facts
