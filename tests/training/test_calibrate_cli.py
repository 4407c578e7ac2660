"""`earmark calibrate`: thresholds chosen on streams are those in the bundle, with their curves."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import soundfile
from earmark_datasets import synth
from earmark_datasets.manifest import Clip, Manifest, save_manifest
from earmark_training import calibrate_cli
from earmark_training.deploy.bundle import Bundle
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent))

import bundle_kit
import numpy as np


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Hums as events, noise as the background, clicks as other sounds; both halves, fold 5."""
    monkeypatch.setenv("EARMARK_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(1)
    clips = []
    for number in range(8):
        for label, samples in (
            ("hum", 0.3 * bundle_kit.tone(240 + number, 3)),
            ("home_background", 0.01 * synth.coloured_noise(80_000, 1, rng)),
            ("click", 0.3 * synth.coloured_noise(3_000, 0, rng)),
        ):
            path = tmp_path / f"{label} {number}.wav"
            soundfile.write(path, samples, bundle_kit.RATE)
            clips.append(Clip(path, label, 5, f"{label}-{number}"))
    save_manifest(Manifest(tuple(clips)), tmp_path / "manifest.csv")
    monkeypatch.setattr(calibrate_cli, "N_ALARMS", 1)
    monkeypatch.setattr(calibrate_cli, "STREAM_S", 60.0)
    return tmp_path / "manifest.csv"


def run(*arguments):
    return CliRunner().invoke(calibrate_cli.app, [str(a) for a in arguments])


def test_the_choice_and_its_curve_are_in_the_bundle(data, tmp_path):
    before = bundle_kit.make_bundle(tmp_path / "before")
    out = tmp_path / "after"
    options = ("--data", data, "--hours", 2 / 60, "--events", 6, "--max-false-per-day", 100)
    result = run(before.path, "-o", out, *options, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    bundle = Bundle.load(out)
    chosen = told["chosen_permille"]
    assert set(chosen) == {"smoke_alarm", "co_alarm", "hum"}
    assert chosen["hum"] is not None
    by_name = {label.name: label for label in bundle.params.labels}
    assert by_name["hum"].on_permille == chosen["hum"]
    assert by_name["hum"].off_permille < chosen["hum"]
    entry = bundle.info.metrics["calibration"]["labels"]["hum"]
    point = next(p for p in entry["curve"] if p["threshold_permille"] == chosen["hum"])
    best = max(p["n_found"] for p in entry["curve"] if p["false_per_24h"] <= 100)
    assert point["n_found"] >= 0.8 * best > 0
    low, high = point["false_per_24h_interval"]
    assert low <= point["false_per_24h"] <= high
    # The source is untouched, and the same streams give the same choice.
    assert Bundle.load(before.path).params == before.params
    again = run(before.path, "-o", tmp_path / "again", *options, "--json")
    assert json.loads(again.stdout) == told
