"""The demonstration, step by step: each step hands plain data to the next."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from earmark_datasets.audio import write_wav
from earmark_dsp.errors import EarmarkError
from earmark_dsp.native import extract
from earmark_dsp.spec import load_spec

from earmark_training.demo import chain, figures
from earmark_training.demo.data import get_data
from earmark_training.demo.evening import make_evening
from earmark_training.demo.report import write_report
from earmark_training.demo.score import Score, Told, score_scene
from earmark_training.deploy.simulate import build_simulator
from earmark_training.detector import Phase
from earmark_training.evaluate import BundleScores, ClipScores, evaluate_bundle
from earmark_training.quantize import quantize
from earmark_training.stream import run_bundle
from earmark_training.train import recipe_for, train
from earmark_training.windows import SMOKE_ALARM
from earmark_training.workflow import SPEC_NAME, bundle_from, representative_windows

if TYPE_CHECKING:
    from pathlib import Path

    from earmark_training.demo.ui import Ui
    from earmark_training.deploy.bundle import Bundle

TEST_FOLD = 5
SEED = 1


@dataclass(frozen=True)
class Options:
    """What the command line decides.

    Attributes
    ----------
    out_dir : Path
    ports : Ports
    epochs : int or None
        None: the preset's.
    serve : bool
        Keep the caregiver's page open at the end.
    """

    out_dir: Path
    ports: chain.Ports
    epochs: int | None
    serve: bool


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
    changes = {} if options.epochs is None else {"epochs": options.epochs}
    recipe = recipe_for("tiny", seed=SEED, **changes)
    with ui.step("Training") as step:
        result = train(
            train_clips,
            spec=spec,
            recipe=recipe,
            work_dir=out / "checkpoints",
            progress=lambda epoch, epochs, loss: step.update(
                epoch, epochs, f"epoch {epoch}/{epochs}, loss {loss:.2f}"
            ),
        )
    with ui.step("Quantising to int8"):
        windows = representative_windows(train_clips, result.labels, spec, recipe)
        tflite = quantize(result.model, windows, spec)
    with ui.step("Model bundle, C code"):
        bundle = bundle_from(
            out / "bundle",
            tflite=tflite,
            spec=spec,
            result=result,
            data_name=data.name,
            clips=data.manifest,
            name="demo",
            test_fold=TEST_FOLD,
            recipe=recipe,
        )
    with ui.step("Held-out fold: float, TFLM, C") as step:
        scores = evaluate_bundle(
            bundle,
            test_clips,
            float_model=result.model,
            progress=lambda n, total: step.update(n, total, f"clip {n}/{total}"),
        )
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
        summary = _summary(bundle, scores, score) | {
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
        figures.save_png(timeline, out / "evening.png")
        write_report(
            out / "report.html",
            summary=summary,
            score=score,
            timeline=timeline,
            confusion=_confusion_figure(scores.c, result.labels),
        )
        ui.result(summary, score, out)
        _require(summary, score)
        if options.serve:
            ui.serve(options.ports.web)
    return summary


def _summary(bundle: Bundle, scores: BundleScores, score: Score) -> dict[str, Any]:
    return {
        "accuracy_float": scores.float32.accuracy if scores.float32 else None,
        "accuracy_int8_tflm": scores.int8_tflm.accuracy,
        "accuracy_c": scores.c.accuracy,
        "n_identical_windows": scores.n_windows,
        "model_bytes": len(bundle.tflite),
        "model_version": bundle.info.model_version,
        "frontend_hash": bundle.spec.hash_hex,
        "tflm_arena_bytes": scores.tflm_arena_bytes,
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


def _confusion_figure(scores: ClipScores, labels: tuple[str, ...]) -> str:
    # Labels without a test clip (the synthesised alarms) would be empty rows.
    used = np.flatnonzero(scores.confusion.sum(0) + scores.confusion.sum(1))
    return figures.confusion(scores.confusion[np.ix_(used, used)], [labels[i] for i in used])


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
