"""The pipeline in C, with sanitizers, against the streaming evaluation in Python."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from earmark_dsp.sources import sources_root

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))

import bundle_kit
from earmark_training.deploy.bundle import Bundle
from earmark_training.stream import detect, trace_stream

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    path = tmp_path_factory.mktemp("pipeline") / "bundle"
    bundle_kit.make_bundle(path)
    return Bundle.load(path)


@pytest.fixture(scope="module")
def runner(bundle, tmp_path_factory):
    root = sources_root()
    components = root / "firmware" / "components"
    parts = ("detector", "pipeline", "engine", "nn")
    includes = [root / "dsp/c/include", *(components / part / "include" for part in parts)]
    sources = [
        HERE / "pipeline_runner.c",
        *(root / "dsp/c/src").glob("*.c"),
        *(path for part in parts for path in (components / part / "src").glob("*.c")),
        *bundle.c_dir.glob("*.c"),
    ]
    out = tmp_path_factory.mktemp("runner") / "pipeline_runner"
    subprocess.run(
        [
            "cc", "-std=c11", "-O1", "-g", "-fsanitize=address,undefined",
            "-fno-sanitize-recover=all", *(f"-I{path}" for path in includes),
            *map(str, sources), "-lm", "-o", str(out),
        ],
        check=True,
    )  # fmt: skip
    return out


def run(runner, pcm, *arguments):
    done = subprocess.run(
        [runner, *map(str, arguments)], input=pcm.tobytes(), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    lines = [line.split() for line in done.stdout.decode().splitlines()]
    scores = [[int(x) for x in line[1:]] for line in lines if line[0] == "scores"]
    events = [line[1:] for line in lines if line[0] == "event"]
    return scores, events


def as_line(event):
    return [
        event.label,
        str(int(event.phase)),
        str(round(event.at_s * 1e6)),
        str(round(event.onset_s * 1e6)),
        str(round(event.duration_s * 1e3)),
        str(round(event.confidence * 1e3)),
        str(round(event.threshold * 1e3)),
        str(event.event_id),
    ]


def test_scores_and_events_equal_those_of_the_streaming_evaluation(bundle, runner):
    pcm, played = bundle_kit.evening()
    scores, events = run(runner, pcm, 320)
    trace = trace_stream(bundle.spec, bundle.network(), pcm, hop_frames=bundle.hop_frames)
    assert [line[1:] for line in scores] == trace.scores.tolist()
    expected = [as_line(event) for event in detect(trace, bundle.params)]
    assert events == expected
    # Not an equality of two silences: everything that was played was reported.
    assert {line[0] for line in events} == {label for label, _, _ in played}


@pytest.mark.parametrize("chunk", [1, 160, 997, 40000])
def test_any_chunking_gives_the_same_events(runner, chunk):
    pcm, _ = bundle_kit.evening()
    pcm = pcm[: 30 * bundle_kit.RATE] if chunk == 1 else pcm
    _, events = run(runner, pcm, chunk)
    assert events == run(runner, pcm, 320)[1]
    assert events


def test_lost_samples_move_the_clock(runner):
    pcm, _ = bundle_kit.evening()
    quiet = bundle_kit.scene([], 5)
    whole = np.concatenate([quiet, pcm[: 35 * bundle_kit.RATE]])
    _, reference = run(runner, whole, 320)
    # Half a second is lost in the quiet beginning: everything after it is half a second later.
    _, late = run(runner, whole, 320, 2000, 8000)
    shift = [int(b[2]) - int(a[2]) for a, b in zip(reference, late, strict=True)]
    assert {line[0] for line in late} == {line[0] for line in reference}
    # T3 is looked for every 80 ms, so the decision may move by one or two looks.
    assert all(abs(s - 500_000) <= 160_000 for s in shift), shift


def test_a_long_gap_starts_a_new_context(runner):
    pcm = bundle_kit.scene([(10, bundle_kit.t3(4), 0.2)], 40)
    _, whole = run(runner, pcm, 320)
    _, cut = run(runner, pcm, 320, 15000, 60 * bundle_kit.RATE)
    assert [line[0] for line in whole] == ["smoke_alarm", "smoke_alarm"]
    # One burst before the gap and one a minute later are no cadence: the pair must be found anew.
    starts = [line for line in cut if line[1] == "1"]
    assert len(starts) == 1
    assert int(starts[0][3]) > 75_000_000
