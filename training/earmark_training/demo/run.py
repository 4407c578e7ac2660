"""The demonstration, step by step: each step hands plain data to the next."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from earmark_datasets.audio import write_wav
from earmark_dsp.errors import EarmarkError
from earmark_dsp.native import extract
from earmark_dsp.spec import load_spec

from earmark_training import evaluate
from earmark_training.demo import chain, figures
from earmark_training.demo.data import DemoData, get_data
from earmark_training.demo.evening import make_evening
from earmark_training.demo.report import write_report
from earmark_training.demo.score import Score, Told, score_scene
from earmark_training.deploy.bundle import Bundle, write_bundle
from earmark_training.deploy.bundle_schema import DataSource
from earmark_training.deploy.simulate import build_simulator
from earmark_training.detector import Cadence, DetectorParams, Phase, default_params
from earmark_training.quantize import quantize
from earmark_training.stream import run_bundle
from earmark_training.tflm import TflmModel
from earmark_training.train import Recipe, TrainResult, load_clips, train
from earmark_training.windows import SMOKE_ALARM, make_epoch

if TYPE_CHECKING:
    from pathlib import Path

    from earmark_datasets.manifest import Manifest
    from earmark_dsp.spec import FrontEndSpec

    from earmark_training.demo.ui import Ui

SPEC_NAME = "pcen-64-20ms"
HOP_FRAMES = 25  # half a second between inferences
TEST_FOLD = 5
SEED = 1
_REPRESENTATIVE_WINDOWS = 256
LIMITS = (
    "Demonstration: trained in minutes on 320 clips; thresholds are defaults, not calibrated.",
    "Supplements smoke and CO alarms; not a life-safety device and not a medical device.",
)


@dataclass(frozen=True)
class Options:
    """What the command line decides.

    Attributes
    ----------
    out_dir : Path
    ports : Ports
    epochs : int
    serve : bool
        Keep the caregiver's page open at the end.
    """

    out_dir: Path
    ports: chain.Ports
    epochs: int
    serve: bool


@dataclass(frozen=True)
class Accuracies:
    """Clip-level results on the held-out fold."""

    float32: float
    int8_tflm: float
    c: evaluate.ClipScores
    n_windows: int
    arena_bytes: int


def run_demo(options: Options, ui: Ui) -> dict[str, Any]:
    """Run everything; returns the content of `summary.json`.

    Raises
    ------
    EarmarkError
        If a step fails, TFLM and the C code differ, or the smoke alarm is not told exactly once.
    """
    started_s = time.monotonic()
    out = options.out_dir
    out.mkdir(parents=True, exist_ok=True)
    with ui.step("Recordings") as step:
        data = get_data(out, say=ui.say, progress=step.bytes)
        train_clips, test_clips = data.manifest.split(TEST_FOLD)
    spec = load_spec(SPEC_NAME)
    with ui.step("Training") as step:
        result = train(
            train_clips,
            spec=spec,
            recipe=Recipe(epochs=options.epochs, seed=SEED),
            work_dir=out / "checkpoints",
            progress=lambda epoch, epochs, loss: step.update(
                epoch, epochs, f"epoch {epoch}/{epochs}, loss {loss:.2f}"
            ),
        )
    with ui.step("Quantising to int8"):
        tflite = quantize(result.model, _representative(train_clips, result, spec), spec)
    with ui.step("Model bundle, C code"):
        bundle = _write_bundle(out / "bundle", tflite, spec, result, data)
    with ui.step("Held-out fold: float, TFLM, C") as step:
        accuracies = _evaluate(result, bundle, test_clips, step)
    with ui.step("Device simulator"):
        simulator = build_simulator(bundle.path, out / "simulator")
    with ui.step("An evening at home"):
        evening = make_evening(test_clips, event_labels=data.event_labels, seed=SEED)
        write_wav(out / "evening.wav", evening.pcm, sample_rate_hz=spec.sample_rate_hz)
    config = chain.gateway_config(
        ports=options.ports, directory=out / "gateway", event_labels=data.event_labels, web=True
    )
    audio_s = len(evening.pcm) / spec.sample_rate_hz
    with chain.gateway_running(config, ports=options.ports, directory=out / "gateway"):
        with ui.step("Listening, reporting, notifying"):
            told, simulation = chain.hear(
                simulator,
                wav=out / "evening.wav",
                audio_s=audio_s,
                ports=options.ports,
                directory=out / "gateway",
            )
        score = score_scene(evening.events, _with_decision_time(told, bundle, evening.pcm))
        summary = _summary(bundle, accuracies, score) | {
            "dataset": data.name,
            "real_recordings": data.real_recordings,
            "test_fold": TEST_FOLD,
            "n_train_clips": len(train_clips.clips),
            "n_test_clips": len(test_clips.clips),
            "audio_s": audio_s,
            "events_reported": simulation.events,
            "wall_s": round(time.monotonic() - started_s, 1),
        }
        write_summary(out / "summary.json", summary)
        timeline = figures.timeline(
            extract(spec, evening.pcm),
            hop_s=spec.hop_length / spec.sample_rate_hz,
            score=score,
            not_events=evening.not_events,
        )
        write_report(
            out / "report.html",
            summary=summary,
            score=score,
            timeline=timeline,
            confusion=_confusion_figure(accuracies.c, result.labels),
        )
        ui.result(summary, score, out)
        _require(summary, score)
        if options.serve:
            ui.serve(options.ports.web)
    return summary


def _representative(clips: Manifest, result: TrainResult, spec: FrontEndSpec) -> np.ndarray:
    """Draw augmented training windows for the calibration of activations."""
    recipe = Recipe(seed=SEED)
    loaded = load_clips(clips, result.labels, spec)
    windows, _ = make_epoch(
        loaded,
        labels=result.labels,
        spec=spec,
        plan=recipe.plan,
        options=recipe.augmentation,
        rng=np.random.default_rng(SEED),
    )
    return windows[:_REPRESENTATIVE_WINDOWS]


def _write_bundle(
    directory: Path, tflite: bytes, spec: FrontEndSpec, result: TrainResult, data: DemoData
) -> Bundle:
    licences: dict[str, int] = {}
    for clip in data.manifest.clips:
        licences[clip.licence] = licences.get(clip.licence, 0) + 1
    return write_bundle(
        directory,
        tflite_model=tflite,
        spec=spec,
        class_names=result.labels,
        detector_params=demo_detector(result.labels, spec),
        data_licences=[
            DataSource(name=data.name, licence=licence, n_clips=n)
            for licence, n in sorted(licences.items())
        ],
        limits=LIMITS,
        name="demo",
    )


def _evaluate(result: TrainResult, bundle: Bundle, test_clips: Manifest, step: Any) -> Accuracies:
    labels = result.labels
    clips = evaluate.clip_windows(test_clips, labels, bundle.spec, HOP_FRAMES)
    as_float = evaluate.float_scores(result.model, clips, bundle.spec)
    tflm = TflmModel(bundle.tflite)
    tflm_outputs = evaluate.int8_outputs(
        tflm, clips, lambda n: step.update(n, len(clips), f"TFLM, clip {n}/{len(clips)}")
    )
    c_outputs = evaluate.int8_outputs(bundle.network(), clips)
    n_windows = evaluate.require_identical(tflm_outputs, c_outputs)
    return Accuracies(
        float32=evaluate.score_clips(clips, as_float, labels).accuracy,
        int8_tflm=evaluate.score_clips(clips, evaluate.as_scores(tflm_outputs), labels).accuracy,
        c=evaluate.score_clips(clips, evaluate.as_scores(c_outputs), labels),
        n_windows=n_windows,
        arena_bytes=tflm.arena_used_bytes,
    )


def _summary(bundle: Bundle, accuracies: Accuracies, score: Score) -> dict[str, Any]:
    return {
        "accuracy_float": accuracies.float32,
        "accuracy_int8_tflm": accuracies.int8_tflm,
        "accuracy_c": accuracies.c.accuracy,
        "n_identical_windows": accuracies.n_windows,
        "model_bytes": len(bundle.tflite),
        "model_version": bundle.info.model_version,
        "frontend_hash": bundle.spec.hash_hex,
        "tflm_arena_bytes": accuracies.arena_bytes,
        "c_arena_bytes": bundle.info.model.arena_bytes,
        "events_played": len(score.rows),
        "events_notified": score.n_notified,
        "events_repeated": score.n_repeated,
        "false_alarms": len(score.false_alarms),
        "median_latency_s": score.median_latency_s,
    }


def _with_decision_time(
    told: list[chain.Notification], bundle: Bundle, pcm: np.ndarray
) -> list[Told]:
    """Add when the device decided: messages carry the onset, which is earlier.

    The streaming evaluation runs the same C code over the same audio, so each notification must
    have its event there: the demonstration fails if device and evaluation disagree.
    """
    decided = {
        (event.label, round(event.onset_s, 2)): event.at_s
        for event in run_bundle(bundle, pcm)
        if event.phase in {Phase.START, Phase.ONCE}
    }
    timed = []
    for notification in told:
        at_s = decided.get((notification.label, round(notification.onset_s, 2)))
        if at_s is None:
            raise EarmarkError(
                f"the device reported {notification.label} at {notification.onset_s:.2f} s, the "
                "streaming evaluation of the same audio did not",
                "this is a defect; please report it",
            )
        timed.append(Told(notification.label, at_s, notification.confidence))
    return timed


def write_summary(path: Path, summary: dict[str, Any]) -> None:
    """Write `summary.json` atomically."""
    temporary = path.with_suffix(".json.part")
    temporary.write_text(json.dumps(summary, indent=2) + "\n", "utf-8")
    temporary.replace(path)


def _confusion_figure(scores: evaluate.ClipScores, labels: tuple[str, ...]) -> str:
    # Labels without a test clip (the synthesised alarms) would be empty rows.
    used = np.flatnonzero(scores.confusion.sum(0) + scores.confusion.sum(1))
    return figures.confusion(scores.confusion[np.ix_(used, used)], [labels[i] for i in used])


def demo_detector(labels: tuple[str, ...], spec: FrontEndSpec) -> DetectorParams:
    """Return the default parameters with thresholds for a network trained on mixtures.

    Mixtures have soft targets, so scores stay well below 1: a label counts from one half on, where
    it outweighs all others together. `earmark calibrate` finds better ones from streams.
    """
    params = default_params(labels, spec=spec, hop_frames=HOP_FRAMES)
    adapted = tuple(
        label
        if label.cadence is not Cadence.NONE
        else msgspec.structs.replace(label, on_permille=500, off_permille=250)
        for label in params.labels
    )
    return msgspec.structs.replace(params, labels=adapted)


def _require(summary: dict[str, Any], score: Score) -> None:
    """Hold the demonstration to its promise."""
    smoke = [told for played, told in score.rows if played.label == SMOKE_ALARM]
    if [len(told) for told in smoke] != [1]:
        raise EarmarkError(
            f"the smoke alarm was told {sum(map(len, smoke))} times instead of once",
            "build/demo/report.html shows the evening; please report this",
        )
    if summary["false_alarms"]:
        names = ", ".join(t.label for t in score.false_alarms)
        raise EarmarkError(f"the caregiver was told of what did not happen: {names}")
