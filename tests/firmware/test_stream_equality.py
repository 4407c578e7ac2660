"""What the simulator reports is, event by event, what the training side's evaluation computes."""

from __future__ import annotations

import json
import subprocess

import numpy as np
import pytest
from earmark_dsp.spec import load_spec
from earmark_training.detector import DetectorParams, LabelParams
from earmark_training.stream import detect, trace_stream
from firmware_kit import RATE_HZ, evening, write_wav

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


@pytest.mark.parametrize("chunking", ["wav", "pcm"])
def test_simulator_and_streaming_evaluation_agree(simulator, tmp_path, chunking):
    pcm = hours_of_happenings()
    trace = trace_stream(
        load_spec("logmel-64-20ms"), StandInNetwork(), pcm, hop_frames=PARAMS.hop_frames
    )
    expected = []
    for event in detect(trace, PARAMS):
        begins = event.phase.name in {"START", "ONCE"}
        at_s = event.onset_s if begins else event.at_s
        expected.append(
            (
                event.label,
                event.phase.name.lower(),
                int(at_s * 1e6 + 0.5) // 1000,
                None if event.phase.name == "START" else round(event.duration_s * 1000),
                round(event.confidence, 3),
                round(event.threshold, 3),
            )
        )
    assert len(expected) > 30
    if chunking == "wav":
        source = ["--wav", write_wav(tmp_path / "a.wav", pcm)]
        stdin = None
    else:
        source, stdin = ["--pcm", "-"], pcm.tobytes()
    run = subprocess.run(
        [simulator, *source, "--loopback"], input=stdin, capture_output=True, check=True
    )
    told = []
    for line in run.stdout.decode("ascii").splitlines():
        verb, _, _, topic, payload = line.split("\t")
        if verb == "PUB" and topic.endswith("/event"):
            e = json.loads(payload)
            told.append((e["event_type"], e["phase"], e["up_ms"], e["dur_ms"], e["conf"], e["thr"]))
    assert told == expected
