"""What the simulator reports is, event by event, what the training side's evaluation computes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from earmark_dsp.spec import load_spec
from earmark_training.deploy.simulate import build_simulator
from earmark_training.detector import DetectorParams, Event, LabelParams
from earmark_training.stream import detect, run_bundle, trace_stream
from firmware_kit import RATE_HZ, evening, write_wav

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))

from bundle_kit import make_bundle, t3, t4, tone

NEWEST_ROWS, HALF, CONTRAST, SURE, NO = 12, 32, 24, 115, -120
PARAMS = DetectorParams(
    labels=tuple(
        LabelParams(
            name=name,
            on_permille=800,
            off_permille=500,
            min_permille=300,
            max_permille=950,
            min_duration_ms=400,
            refractory_ms=1000,
            reported=name != "background",
            critical=name == "whistle",
        )
        for name in ("whistle", "hum", "background")
    ),
    hop_frames=10,
    min_contrast=0,
)


class StandInNetwork:
    """`stand_in/model.c` in numpy."""

    def invoke(self, batch: np.ndarray) -> np.ndarray:
        newest = batch[:, -NEWEST_ROWS:].astype(np.int32)
        low = newest[:, :, :HALF].sum(axis=(1, 2))
        high = newest[:, :, HALF:].sum(axis=(1, 2))
        contrast = np.trunc((high - low) / (NEWEST_ROWS * HALF))
        scores = np.full((len(batch), 3), NO, np.int8)
        scores[contrast > CONTRAST, 0] = SURE
        scores[contrast < -CONTRAST, 1] = SURE
        return scores


def hours_of_happenings() -> np.ndarray:
    """Five minutes with sounds at irregular times and levels."""
    rng = np.random.default_rng(5)
    parts = [evening(int(seed))[: int(rng.uniform(5, 20) * RATE_HZ)] for seed in range(20)]
    return np.concatenate(parts)


Told = list[tuple[object, ...]]


def as_told(events: list[Event]) -> Told:
    """What the wire format says of each event."""
    told: Told = []
    for event in events:
        begins = event.phase.name in {"START", "ONCE"}
        at_s = event.onset_s if begins else event.at_s
        told.append(
            (
                event.label,
                event.phase.name.lower(),
                int(at_s * 1e6 + 0.5) // 1000,
                None if event.phase.name == "START" else round(event.duration_s * 1000),
                round(event.confidence, 3),
                round(event.threshold, 3),
            )
        )
    return told


def told_by(simulator: Path, *source: object, stdin: bytes | None = None) -> Told:
    """Events of a simulator's run, in the order in which it sent them."""
    run = subprocess.run(
        [simulator, *map(str, source), "--loopback"], input=stdin, capture_output=True, check=True
    )
    told: Told = []
    for line in run.stdout.decode("ascii").splitlines():
        verb, _, _, topic, payload = line.split("\t")
        if verb == "PUB" and topic.endswith("/event"):
            e = json.loads(payload)
            told.append((e["event_type"], e["phase"], e["up_ms"], e["dur_ms"], e["conf"], e["thr"]))
    return told


@pytest.mark.parametrize("chunking", ["wav", "pcm"])
def test_simulator_and_streaming_evaluation_agree(simulator, tmp_path, chunking):
    pcm = hours_of_happenings()
    trace = trace_stream(
        load_spec("logmel-64-20ms"), StandInNetwork(), pcm, hop_frames=PARAMS.hop_frames
    )
    expected = as_told(detect(trace, PARAMS))
    assert len(expected) > 30
    if chunking == "wav":
        told = told_by(simulator, "--wav", write_wav(tmp_path / "a.wav", pcm))
    else:
        told = told_by(simulator, "--pcm", "-", stdin=pcm.tobytes())
    assert told == expected


def alarms_and_a_hum() -> np.ndarray:
    """Smoke alarm (T3), CO alarm (T4) and a hum, one after the other in noise, twice."""
    quiet = np.zeros(6 * RATE_HZ)
    once = [0.2 * t3(), quiet, 0.2 * t4(), quiet, 0.1 * tone(250.0, 4.0), quiet]
    audio = np.concatenate(2 * once)
    audio += 0.001 * np.random.default_rng(11).standard_normal(len(audio))
    return np.clip(np.round(audio * 32768), -32768, 32767).astype("<i2")


def test_a_bundle_with_cadences_and_several_labels_agrees(tmp_path):
    """Everything that `earmark train` writes, compiled: cadence check and network together."""
    bundle = make_bundle(tmp_path / "bundle")
    pcm = alarms_and_a_hum()
    expected = as_told(run_bundle(bundle, pcm))
    assert {"smoke_alarm", "co_alarm", "hum"} <= {label for label, *_ in expected}
    simulator = build_simulator(tmp_path / "bundle" / "c", tmp_path / "simulator")
    assert told_by(simulator, "--wav", write_wav(tmp_path / "a.wav", pcm)) == expected
